"""Labels as callers pass them: identities, classes, groups.

What lives here tells labels from values that stand for none. What labels mean is known where they
are used; scores and their true labels are in :mod:`skdistort.metrics._scores`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite


def refuse_missing(labels: NDArray[Any], name: str) -> None:
    """Raise if a label is missing, which would else be an identity of its own, or several.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,)
        Labels.
    name : str
        What to call them in messages.

    Raises
    ------
    ValueError
        If a label is NaN, infinite, None or another that cannot be sorted among the others.
    """
    if labels.dtype == object:
        try:
            np.sort(labels)
        except TypeError as error:
            raise ValueError(
                f"{name} must hold values of one kind, none of them missing ({error})."
            ) from error
    assert_all_finite(labels, input_name=name)
