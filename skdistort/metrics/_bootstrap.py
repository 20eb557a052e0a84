"""Confidence intervals of verification measures, by resampling subjects.

What lives here knows which subjects a pair compares. The measures themselves do not live here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from .._labels import as_labels, joint_codes
from .._typing import Seed
from ._scores import check_scores


class BootstrapInterval(NamedTuple):
    """A measure and the interval that resampling its subjects gives.

    Attributes
    ----------
    estimate : float
        The measure on the pairs as they are.
    low, high : float
        The ends of the interval.
    replicates : ndarray of shape (n_resamples,), float64
        The measure on every resample.
    """

    estimate: float
    low: float
    high: float
    replicates: np.ndarray


def bootstrap_interval(
    metric: Callable[[NDArray[np.bool_], NDArray[np.floating]], float | tuple[Any, ...]],
    y_true: ArrayLike,
    y_score: ArrayLike,
    subjects_left: ArrayLike,
    subjects_right: ArrayLike,
    *,
    n_resamples: int = 200,
    confidence: float = 0.95,
    random_state: Seed = None,
) -> BootstrapInterval:
    """Confidence interval of a verification measure, by resampling subjects with replacement.

    Pairs that share a subject depend on one another, so an interval that resamples pairs is too
    narrow. Here every resample draws as many subjects as there are. A genuine pair counts as often
    as its subject was drawn, an impostor pair as often as both of its subjects were: the product.
    The interval is that of the percentiles, for other subjects of the same population. With few
    subjects it is a little too narrow: of 90 % intervals for 20 subjects, 88 % held the true EER.

    Parameters
    ----------
    metric : callable
        Called as ``metric(y_true, y_score)``; returns a float, or a tuple whose first item counts,
        such as :func:`~skdistort.metrics.equal_error_rate`. Bind its options, `distances`
        included, with :func:`functools.partial`.
    y_true : array-like of shape (n_pairs,), bool or 0/1
        True for a genuine pair.
    y_score : array-like of shape (n_pairs,)
        Comparison scores, finite.
    subjects_left, subjects_right : array-like of shape (n_pairs,)
        The subject on either side of each pair: the same for genuine pairs, different ones for
        impostor pairs.
    n_resamples : int, default=200
        Resamples; 1000 or more for the last digit of the interval.
    confidence : float, default=0.95
        Share of intervals, over repeated experiments, that cover the true value; in (0, 1).
    random_state : int, RandomState instance or None, default=None
        Seed of the resampling.

    Returns
    -------
    BootstrapInterval
        ``estimate``, ``low``, ``high`` and ``replicates``. A resample without both classes has no
        error rates and is drawn anew.

    Raises
    ------
    ValueError
        If a parameter is out of range, the subjects do not fit `y_true` or its length; else as
        :func:`~skdistort.metrics.equal_error_rate`.

    References
    ----------
    Bolle, Ratha, Pankanti, "Error analysis of pattern recognition systems: the subsets bootstrap",
    Computer Vision and Image Understanding 93 (2004).

    Poh, Martin, Bengio, "Performance generalization in biometric authentication using joint
    user-specific and sample bootstraps", IEEE Transactions on Pattern Analysis and Machine
    Intelligence 29 (2007).

    Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1 (2007), for the products.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.metrics import bootstrap_interval, equal_error_rate
    >>> rng = np.random.default_rng(0)
    >>> subjects = rng.integers(0, 20, (2, 500))
    >>> genuine = subjects[0] == subjects[1]
    >>> scores = rng.normal(2.0 * genuine)
    >>> interval = bootstrap_interval(equal_error_rate, genuine, scores, *subjects, random_state=0)
    >>> bool(interval.low < interval.estimate < interval.high)
    True
    """
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1, got {n_resamples!r}.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence!r}.")
    genuine, scores = check_scores(y_true, y_score, False)
    left, right, n_subjects = _subject_codes(genuine, subjects_left, subjects_right)
    # A genuine pair's own subject counts once: its other side is a subject always drawn once.
    right[genuine] = n_subjects
    rng = check_random_state(random_state)
    replicates = np.empty(n_resamples)
    for i in range(n_resamples):
        pairs = _resample(genuine, left, right, n_subjects, rng)
        replicates[i] = _value(metric, genuine[pairs], scores[pairs])
    low, high = np.quantile(replicates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return BootstrapInterval(_value(metric, genuine, scores), float(low), float(high), replicates)


def _value(metric, genuine, scores):
    """Call a metric and take the first item of a tuple."""
    value = metric(genuine, scores)
    return float(value[0] if isinstance(value, tuple) else value)


def _subject_codes(genuine, subjects_left, subjects_right):
    """Validate the subjects, and number them from 0 on; two arrays of codes and how many."""
    names = "subjects_left", "subjects_right"
    sides = [
        as_labels(s, name) for s, name in zip((subjects_left, subjects_right), names, strict=True)
    ]
    for name, side in zip(names, sides, strict=True):
        if side.shape != genuine.shape:
            raise ValueError(
                f"{name} must have shape {genuine.shape}, one for each pair, got {side.shape}."
            )
    left, right = joint_codes(*sides, *names)
    wrong = np.flatnonzero((left == right) != genuine)
    if wrong.size:
        i = int(wrong[0])
        raise ValueError(
            f"Pair {i} is {'genuine' if genuine[i] else 'impostor'} by y_true, but compares "
            f"subjects {sides[0][i]} and {sides[1][i]}; {wrong.size} such pairs in all."
        )
    return left, right, int(max(left.max(), right.max())) + 1


def _resample(genuine, left, right, n_subjects, rng):
    """Draw subjects, and list every pair as often as it occurs among them; both classes do."""
    # Pairs of both classes are among those drawn with a probability of at least 2/9, because one
    # genuine pair needs one subject and one impostor pair two. So this ends soon.
    while True:
        drawn = np.bincount(rng.randint(n_subjects, size=n_subjects), minlength=n_subjects + 1)
        drawn[n_subjects] = 1
        pairs = np.repeat(np.arange(genuine.size), drawn[left] * drawn[right])
        n_genuine = np.count_nonzero(genuine[pairs])
        if 0 < n_genuine < pairs.size:
            return pairs
