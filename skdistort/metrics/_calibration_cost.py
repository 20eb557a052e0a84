"""Cost of log-likelihood ratios over all applications: Cllr, and what calibration could save.

What lives here judges scores as probabilities. The cost in one application does not: see
:mod:`skdistort.metrics._detection_cost`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr

from ._scores import check_scores
from ._vertices import class_sizes, hull

# Scores looked at together: with what is computed of them they stay in the processor's cache, and
# OpenBLAS, which may wait long for a second thread, takes one for an inner product of so few.
_BLOCK = 10_000
# Its exponential is finite.
_EXP_FITS = 700


def cllr(y_true: ArrayLike, y_score: ArrayLike) -> float:
    """Cost of log-likelihood ratios, Cllr, in bits.

    Cllr is the mean of the actual detection cost over all applications, up to a scale: it is 0
    for a perfect system, 1 for one that always says 0, and without bound for one that is sure and
    wrong. It pays for bad calibration as for bad discrimination; the difference to
    :func:`min_cllr` is the loss by calibration.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), bool or 0/1
        True for a genuine (target) pair.
    y_score : array-like of shape (n_pairs,)
        Natural logarithms of likelihood ratios, genuine over impostor, finite.

    Returns
    -------
    float
        Half the sum of the mean of ``log2(1 + exp(-y_score))`` over the genuine pairs and that of
        ``log2(1 + exp(y_score))`` over the impostor pairs.

    Raises
    ------
    ValueError
        As :func:`~skdistort.metrics.equal_error_rate`.

    References
    ----------
    Bruemmer, du Preez, "Application-independent evaluation of speaker detection", Computer Speech
    and Language 20 (2006).

    Examples
    --------
    >>> from skdistort.metrics import cllr
    >>> cllr([True, True, False], [0.0, 0.0, 0.0])
    1.0
    """
    genuine, llr = check_scores(y_true, y_score, False)
    costs_of_genuine = costs_of_impostor = 0.0
    for start in range(0, llr.size, _BLOCK):
        # As numbers, because taking the scores out by their class takes longer than all the rest.
        is_genuine = genuine[start : start + _BLOCK].astype(np.float64)
        is_impostor = 1 - is_genuine
        costs = _softplus((is_impostor - is_genuine) * llr[start : start + _BLOCK])
        costs_of_genuine += is_genuine @ costs
        costs_of_impostor += is_impostor @ costs
    n_genuine, n_impostor = class_sizes(genuine)
    nats = costs_of_genuine / n_genuine + costs_of_impostor / n_impostor
    return float(nats / (2 * np.log(2)))


def min_cllr(y_true: ArrayLike, y_score: ArrayLike, *, distances: bool = False) -> float:
    """Cllr after the best rising map of the scores: the loss by discrimination alone, in bits.

    The best map is found with the labels at hand, by pooling adjacent violators; equal scores
    stay equal. Scores that only one class reaches get infinite log-likelihood ratios and cost
    nothing, as in BOSARIS and PYLLR.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), bool or 0/1
        True for a genuine (target) pair.
    y_score : array-like of shape (n_pairs,)
        Comparison scores, finite, higher for more alike (lower if `distances`).
    distances : bool, default=False
        Whether `y_score` holds distances.

    Returns
    -------
    float
        In [0, 1], at most the :func:`cllr` of any rising map of the scores.

    Raises
    ------
    ValueError
        As :func:`~skdistort.metrics.equal_error_rate`.

    References
    ----------
    Bruemmer, du Preez, "Application-independent evaluation of speaker detection", Computer Speech
    and Language 20 (2006).

    Examples
    --------
    >>> from skdistort.metrics import min_cllr
    >>> min_cllr([True, True, False, False], [0.9, 0.2, 0.2, 0.1])
    0.5
    """
    _, rejected, accepted = hull(*check_scores(y_true, y_score, distances))
    return _pooled_cllr(np.diff(rejected) / rejected[-1], -np.diff(accepted) / accepted[0])


def _softplus(x):
    """``log(1 + exp(x))`` to the last bits, of small values and of large ones."""
    if x.max() < _EXP_FITS:
        return np.log1p(np.exp(x, out=x), out=x)
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _pooled_cllr(genuine_share, impostor_share):
    """Cllr where each bin's log-likelihood ratio is that of the shares of both classes in it.

    With the ratio put in, ``log2(1 + 1 / ratio)`` (Bruemmer and du Preez, 2006) is
    ``log2((genuine + impostor) / genuine)``, which no empty class makes infinite.
    """
    both = genuine_share + impostor_share
    nats = rel_entr(genuine_share, both).sum() + rel_entr(impostor_share, both).sum()
    return float(abs(nats) / (2 * np.log(2)))
