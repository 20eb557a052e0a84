"""What tests of verification measures share: pairs to draw, and their error rates by counting."""

from fractions import Fraction

import numpy as np
from hypothesis import strategies as st


@st.composite
def comparisons(draw, max_size=30):
    """Draw a few pairs of both classes with integer scores, so that ties abound."""
    score = st.integers(-4, 4)
    genuine = draw(st.lists(score, min_size=1, max_size=max_size))
    impostor = draw(st.lists(score, min_size=1, max_size=max_size))
    order = draw(st.permutations(range(len(genuine) + len(impostor))))
    y_true = np.repeat([True, False], [len(genuine), len(impostor)])[order]
    return y_true, np.array(genuine + impostor, dtype=np.float32)[order]


def vertices_by_counting(y_true, y_score):
    """List (threshold, FMR, FNMR) at every distinct score and beyond the best, by counting."""
    genuine, impostor = y_score[y_true].tolist(), y_score[~y_true].tolist()
    levels = sorted({*genuine, *impostor})
    beyond = float(np.nextafter(y_score.max(), y_score.dtype.type(np.inf)))
    return [
        (
            t,
            Fraction(sum(s >= t for s in impostor), len(impostor)),
            Fraction(sum(s < t for s in genuine), len(genuine)),
        )
        for t in [*levels, beyond]
    ]
