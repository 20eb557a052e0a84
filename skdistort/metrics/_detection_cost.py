"""Detection cost of a verification system: at its best threshold, and at Bayes' threshold.

What lives here weighs the two kinds of errors for one application. How well scores are calibrated
over all applications does not: see :mod:`skdistort.metrics._calibration_cost`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ._scores import check_scores, in_input_units
from ._vertices import vertices


def min_dcf(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
    normalize: bool = True,
    distances: bool = False,
) -> tuple[float, float]:
    """Minimum detection cost: the cost of errors at the threshold where it is lowest.

    The threshold is chosen with the labels at hand, so the cost is a lower bound of what a
    threshold set beforehand attains; :func:`act_dcf` is the cost at such a threshold.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), bool or 0/1
        True for a genuine (target) pair.
    y_score : array-like of shape (n_pairs,)
        Comparison scores, finite, higher for more alike (lower if `distances`).
    p_target : float, default=0.01
        Prior probability of a genuine pair, in (0, 1).
    c_miss, c_fa : float, default=1.0
        Costs of rejecting a genuine pair and of accepting an impostor pair, above 0.
    normalize : bool, default=True
        Whether to divide by the cost of the better of accepting and of rejecting every pair, so
        that 1 stands for a system of no use.
    distances : bool, default=False
        Whether `y_score` holds distances.

    Returns
    -------
    cost : float
        In [0, 1] if `normalize`.
    threshold : float
        Where it is reached, in the units of `y_score`; of several the most lenient. Where that
        rejects every pair, the next representable number beyond the best score.

    Raises
    ------
    ValueError
        If `p_target`, `c_miss` or `c_fa` is out of range; else as
        :func:`~skdistort.metrics.equal_error_rate`.

    References
    ----------
    NIST, "2016 Speaker Recognition Evaluation Plan" (2016), "Performance measurement".

    Examples
    --------
    >>> from skdistort.metrics import min_dcf
    >>> y_true = [True, True, True, False, False, False]
    >>> min_dcf(y_true, [0.9, 0.8, 0.3, 0.4, 0.2, 0.1], p_target=0.5)
    (0.3333333333333333, 0.3)
    """
    _check_application(p_target, c_miss, c_fa)
    genuine, scores = check_scores(y_true, y_score, distances)
    thresholds, rejected, accepted = vertices(genuine, scores)
    fnmr, fmr = rejected / rejected[-1], accepted / accepted[0]
    costs = _detection_cost(fnmr, fmr, p_target, c_miss, c_fa, normalize)
    best = int(costs.argmin())
    return float(costs[best]), in_input_units(float(thresholds[best]), distances)


def act_dcf(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
    normalize: bool = True,
) -> float:
    """Actual detection cost: the cost of errors at the threshold that Bayes' rule gives.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), bool or 0/1
        True for a genuine (target) pair.
    y_score : array-like of shape (n_pairs,)
        Natural logarithms of likelihood ratios, genuine over impostor; they may be infinite.
    p_target : float, default=0.01
        Prior probability of a genuine pair, in (0, 1).
    c_miss, c_fa : float, default=1.0
        Costs of rejecting a genuine pair and of accepting an impostor pair, above 0.
    normalize : bool, default=True
        Whether to divide by the cost of the better of accepting and of rejecting every pair.

    Returns
    -------
    float
        The cost of accepting at ``y_score >= bayes_threshold(p_target, c_miss, c_fa)``, at least
        :func:`min_dcf` and, unlike it, not bounded by 1.

    Raises
    ------
    ValueError
        As :func:`min_dcf`.

    See Also
    --------
    bayes_threshold : The threshold.

    References
    ----------
    Bruemmer, de Villiers, "The BOSARIS toolkit: theory, algorithms and code" (2011).

    Examples
    --------
    >>> from skdistort.metrics import act_dcf
    >>> act_dcf([True, True, False, False], [7.0, 3.0, -2.0, -9.0], p_target=0.01)
    0.5
    """
    _check_application(p_target, c_miss, c_fa)
    genuine, scores = check_scores(y_true, _bounded(y_score), False)
    accepted = scores >= bayes_threshold(p_target, c_miss, c_fa)
    fnmr, fmr = 1 - accepted[genuine].mean(), accepted[~genuine].mean()
    return float(_detection_cost(fnmr, fmr, p_target, c_miss, c_fa, normalize))


def average_dcf(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    p_targets: ArrayLike = (0.01, 0.005),
    c_miss: float = 1.0,
    c_fa: float = 1.0,
    actual: bool = False,
) -> float:
    """Average the normalised detection cost over priors, as evaluations do to rank systems.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), bool or 0/1
        True for a genuine (target) pair.
    y_score : array-like of shape (n_pairs,)
        Comparison scores, higher for more alike; log-likelihood ratios in nats if `actual`.
    p_targets : array-like of float, default=(0.01, 0.005)
        The priors, in (0, 1): those of NIST SRE 2016 to 2021. VoxSRC has ``(0.05,)``.
    c_miss, c_fa : float, default=1.0
        Costs of rejecting a genuine pair and of accepting an impostor pair, above 0.
    actual : bool, default=False
        Whether to decide by Bayes' threshold, as :func:`act_dcf`, or for each prior where it costs
        least, as :func:`min_dcf`.

    Returns
    -------
    float
        The mean cost.

    Raises
    ------
    ValueError
        If there is no prior; else as :func:`min_dcf`.

    References
    ----------
    NIST, "2016 Speaker Recognition Evaluation Plan" (2016), "Performance measurement": C_Primary.

    Examples
    --------
    >>> from skdistort.metrics import average_dcf
    >>> average_dcf([True, True, False, False], [7.0, 3.0, -2.0, -9.0], actual=True)
    0.5
    """
    priors = np.atleast_1d(np.asarray(p_targets, dtype=np.float64))
    if priors.ndim != 1 or priors.size == 0:
        raise ValueError(f"p_targets must hold one prior or more, got {p_targets!r}.")
    for p_target in priors.tolist():
        _check_application(p_target, c_miss, c_fa)
    genuine, scores = check_scores(y_true, _bounded(y_score) if actual else y_score, False)
    if actual:
        accepted = [scores >= bayes_threshold(p, c_miss, c_fa) for p in priors.tolist()]
        rates = [(1 - a[genuine].mean(), a[~genuine].mean()) for a in accepted]
    else:
        _, rejected, passed = vertices(genuine, scores)
        rates = [(rejected / rejected[-1], passed / passed[0])] * len(priors)
    costs = [
        np.min(_detection_cost(*both, p_target, c_miss, c_fa, True))
        for both, p_target in zip(rates, priors.tolist(), strict=True)
    ]
    return float(np.mean(costs))


def bayes_threshold(p_target: float = 0.01, c_miss: float = 1.0, c_fa: float = 1.0) -> float:
    """Log-likelihood ratio above which accepting a pair costs less than rejecting it.

    Parameters
    ----------
    p_target : float, default=0.01
        Prior probability of a genuine pair, in (0, 1).
    c_miss, c_fa : float, default=1.0
        Costs of rejecting a genuine pair and of accepting an impostor pair, above 0.

    Returns
    -------
    float
        ``log(c_fa (1 - p_target)) - log(c_miss p_target)``.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    Bruemmer, du Preez, "Application-independent evaluation of speaker detection", Computer Speech
    and Language 20 (2006).

    Examples
    --------
    >>> from skdistort.metrics import bayes_threshold
    >>> bayes_threshold(0.5)
    0.0
    """
    _check_application(p_target, c_miss, c_fa)
    return float(np.log(c_fa) + np.log1p(-p_target) - np.log(c_miss) - np.log(p_target))


def _bounded(ratios):
    """Give infinite ratios a large number, which is on the same side of any threshold."""
    ratios = np.asarray(ratios)
    if ratios.dtype.kind != "f":
        return ratios
    largest = np.finfo(ratios.dtype).max / 2
    return np.clip(ratios, -largest, largest)


def _check_application(p_target, c_miss, c_fa):
    """Refuse a prior or a cost that is out of range."""
    if not 0 < p_target < 1:
        raise ValueError(f"p_target must be in (0, 1), got {p_target!r}.")
    for name, cost in (("c_miss", c_miss), ("c_fa", c_fa)):
        if not 0 < cost < np.inf:
            raise ValueError(f"{name} must be above 0 and finite, got {cost!r}.")


def _detection_cost(fnmr, fmr, p_target, c_miss, c_fa, normalize):
    """Weigh error rates by prior and costs (NIST SRE 2016, C_Det and C_Norm)."""
    # Divided before, not after, so that the cost of doing nothing is 1 without rounding.
    miss, false_alarm = c_miss * p_target, c_fa * (1 - p_target)
    unit = min(miss, false_alarm) if normalize else 1.0
    return (miss / unit) * fnmr + (false_alarm / unit) * fmr
