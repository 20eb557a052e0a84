"""Error rates of verification: EER, DET points, FNMR at given FMRs, best F1; and d-prime.

What lives here reads genuine and impostor comparison scores. How the scores come about does not:
see :mod:`skdistort.metrics._pairs` for the pairs of a set of embeddings. Costs of decisions are
in :mod:`skdistort.metrics._detection_cost`.

Everywhere, a pair is accepted at ``similarity >= threshold`` (``distance <= threshold``), and a
*vertex* is one operating point: the decision at one distinct score, or the rejection of all.
FNMR and FMR are the false non-match and the false match rate of ISO/IEC 19795-1.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._scores import check_scores, in_input_units
from ._vertices import class_sizes, crossing, hull, interpolate, sign_change, vertices


def equal_error_rate(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    method: Literal["interp", "midpoint", "rocch"] = "interp",
    distances: bool = False,
) -> tuple[float, float]:
    """Equal error rate: where the false match and the false non-match rate meet.

    The value is exact, with ties as without: counts are integers, and the crossing is worked out
    in rational arithmetic. For "interp" and "midpoint" the scores are not sorted as a whole: a
    sample tells where the crossing must lie, and only the scores there are sorted. Where the
    sample misled, which the counts show, everything is sorted instead.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), bool or 0/1
        True for a genuine pair, False for an impostor pair.
    y_score : array-like of shape (n_pairs,)
        Comparison scores, finite, higher for more alike (lower if `distances`). float32 and
        float64 are used as they are, any other number as float64.
    method : {"interp", "midpoint", "rocch"}, default="interp"
        - "interp": the DET polyline through all vertices, from (FMR=1, FNMR=0) to (0, 1), is
          followed to FMR = FNMR.
        - "midpoint": (FMR + FNMR) / 2 at the vertex where the two differ least; of two such
          vertices the one of the smaller mean, then the more lenient one.
        - "rocch": as "interp", on the convex hull of the ROC. Needs all scores sorted.
    distances : bool, default=False
        Whether `y_score` holds distances: lower for more alike.

    Returns
    -------
    eer : float
        The equal error rate, in [0, 1].
    threshold : float
        Where to decide, in the units of `y_score`. Interpolated between two vertices unless
        `method` is "midpoint"; where the later one rejects every pair, it stands at the next
        representable number beyond the best score.

    Raises
    ------
    ValueError
        If `method` is unknown, the arrays are not 1-D, differ in length or are empty, `y_true`
        holds one class only or something other than 0 and 1, or a score is not finite or is the
        largest number of its type.

    References
    ----------
    Fawcett, Niculescu-Mizil, "PAV and the ROC convex hull", Machine Learning 68 (2007).
    Bruemmer, de Villiers, "The BOSARIS toolkit: theory, algorithms and code" (2011), for "rocch".

    Examples
    --------
    >>> from skdistort.metrics import equal_error_rate
    >>> y_true = [True, True, True, False, False, False]
    >>> equal_error_rate(y_true, [0.9, 0.8, 0.3, 0.4, 0.2, 0.1])
    (0.3333333333333333, 0.4)
    >>> equal_error_rate(y_true, [0.1, 0.2, 0.7, 0.6, 0.8, 0.9], distances=True)
    (0.3333333333333333, 0.6)
    """
    solvers = {"interp": _interp_eer, "midpoint": _midpoint_eer, "rocch": _rocch_eer}
    if method not in solvers:
        raise ValueError(f"method must be one of {sorted(solvers)}, got {method!r}.")
    genuine, scores = check_scores(y_true, y_score, distances)
    eer, threshold = solvers[method](genuine, scores)
    return eer, in_input_units(threshold, distances)


def det_points(
    y_true: ArrayLike, y_score: ArrayLike, *, distances: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[Any]]:
    """Error rates at every distinct score, from the most lenient to the strictest threshold.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), bool or 0/1
        True for a genuine pair.
    y_score : array-like of shape (n_pairs,)
        Comparison scores, finite, higher for more alike (lower if `distances`).
    distances : bool, default=False
        Whether `y_score` holds distances.

    Returns
    -------
    fmr : ndarray of shape (n_thresholds,), float64
        Share of the impostor pairs accepted; falls from 1.
    fnmr : ndarray of shape (n_thresholds,), float64
        Share of the genuine pairs rejected; rises from 0.
    thresholds : ndarray of shape (n_thresholds,)
        The distinct scores: rising, or falling if `distances`. The rejection of every pair,
        (0, 1), is not among them: no score stands for it.

    Raises
    ------
    ValueError
        As :func:`equal_error_rate`.

    See Also
    --------
    sklearn.metrics.det_curve : The same points, cut where a rate stays at 0, and with the
        rejection of every pair where that is its only point without a false match.

    Examples
    --------
    >>> from skdistort.metrics import det_points
    >>> fmr, fnmr, thresholds = det_points([1, 1, 0, 0], [0.9, 0.4, 0.4, 0.1])
    >>> fmr, fnmr, thresholds
    (array([1. , 0.5, 0. ]), array([0. , 0. , 0.5]), array([0.1, 0.4, 0.9]))
    """
    genuine, scores = check_scores(y_true, y_score, distances)
    thresholds, rejected, accepted = vertices(genuine, scores)
    # The last vertex rejects every pair: its rates are the totals.
    fmr, fnmr = accepted[:-1] / accepted[0], rejected[:-1] / rejected[-1]
    return fmr, fnmr, in_input_units(thresholds[:-1], distances)


def fnmr_at_fmr(
    y_true: ArrayLike, y_score: ArrayLike, target_fmr: float, *, distances: bool = False
) -> tuple[float, float]:
    """Lowest false non-match rate among the thresholds whose false match rate is low enough.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), bool or 0/1
        True for a genuine pair.
    y_score : array-like of shape (n_pairs,)
        Comparison scores, finite, higher for more alike (lower if `distances`).
    target_fmr : float
        The highest false match rate allowed, in [0, 1].
    distances : bool, default=False
        Whether `y_score` holds distances.

    Returns
    -------
    fnmr : float
        Share of the genuine pairs rejected, in [0, 1].
    threshold : float
        The most lenient score that keeps to `target_fmr`, in the units of `y_score`; where even
        the best score is too lenient, the next representable number beyond it.

    Raises
    ------
    ValueError
        If `target_fmr` is outside [0, 1]; else as :func:`equal_error_rate`.

    Examples
    --------
    >>> from skdistort.metrics import fnmr_at_fmr
    >>> y_true = [True, True, True, False, False, False]
    >>> fnmr_at_fmr(y_true, [0.9, 0.8, 0.3, 0.4, 0.2, 0.1], 0.0)
    (0.3333333333333333, 0.8)
    """
    if not 0 <= target_fmr <= 1:
        raise ValueError(f"target_fmr must be in [0, 1], got {target_fmr!r}.")
    genuine, scores = check_scores(y_true, y_score, distances)
    impostor_scores = scores[~genuine]
    n_impostor = impostor_scores.size
    allowed = _largest_count(target_fmr, n_impostor)
    if allowed == n_impostor:
        return 0.0, in_input_units(float(scores.min()), distances)
    rank = n_impostor - 1 - allowed
    best_refused = np.partition(impostor_scores, rank)[rank]
    stricter = scores[scores > best_refused]
    threshold = stricter.min() if stricter.size else np.nextafter(best_refused, np.inf)
    fnmr = float(np.mean(scores[genuine] <= best_refused))
    return fnmr, in_input_units(float(threshold), distances)


class OperatingPoint(NamedTuple):
    """What one threshold gives.

    Attributes
    ----------
    fnmr : float
        Share of the genuine pairs rejected, in [0, 1].
    threshold : float
        The threshold, in the units of the scores.
    """

    fnmr: float
    threshold: float


class OperatingPoints(NamedTuple):
    """The operating points that fingerprint and face evaluations report.

    Attributes
    ----------
    fmr100 : OperatingPoint
        The lowest FNMR with FMR <= 1 %.
    fmr1000 : OperatingPoint
        The lowest FNMR with FMR <= 0.1 %.
    zero_fmr : OperatingPoint
        The lowest FNMR without a false match.
    """

    fmr100: OperatingPoint
    fmr1000: OperatingPoint
    zero_fmr: OperatingPoint


def operating_points(
    y_true: ArrayLike, y_score: ArrayLike, *, distances: bool = False
) -> OperatingPoints:
    """FMR100, FMR1000 and ZeroFMR: the lowest FNMR with FMR at most 1 %, 0.1 % and 0.

    Fewer than 100 or 1000 impostor pairs allow no false match at the first or the second, which
    then equal ZeroFMR.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), bool or 0/1
        True for a genuine pair.
    y_score : array-like of shape (n_pairs,)
        Comparison scores, finite, higher for more alike (lower if `distances`).
    distances : bool, default=False
        Whether `y_score` holds distances.

    Returns
    -------
    OperatingPoints
        ``fmr100``, ``fmr1000`` and ``zero_fmr``, each with ``fnmr`` and ``threshold``.

    Raises
    ------
    ValueError
        As :func:`equal_error_rate`.

    See Also
    --------
    fnmr_at_fmr : The same at any false match rate.

    References
    ----------
    Maio, Maltoni, Cappelli, Wayman, Jain, "FVC2000: fingerprint verification competition", IEEE
    Transactions on Pattern Analysis and Machine Intelligence 24 (2002).

    Examples
    --------
    >>> from skdistort.metrics import operating_points
    >>> y_true = [True, True, True, False, False, False]
    >>> operating_points(y_true, [0.9, 0.8, 0.3, 0.4, 0.2, 0.1]).zero_fmr
    OperatingPoint(fnmr=0.3333333333333333, threshold=0.8)
    """
    return OperatingPoints(
        *(
            OperatingPoint(*fnmr_at_fmr(y_true, y_score, target, distances=distances))
            for target in (0.01, 0.001, 0.0)
        )
    )


def d_prime(y_true: ArrayLike, y_score: ArrayLike, *, distances: bool = False) -> float:
    """Sensitivity index d': how far apart genuine and impostor scores lie, in their spread.

    Unlike error rates it changes under maps of the scores other than a shift and a scale, and it
    describes the overlap only as far as both kinds of scores are normally distributed.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), bool or 0/1
        True for a genuine pair.
    y_score : array-like of shape (n_pairs,)
        Comparison scores, finite, higher for more alike (lower if `distances`).
    distances : bool, default=False
        Whether `y_score` holds distances.

    Returns
    -------
    float
        ``(mean_G - mean_I) / sqrt((var_G + var_I) / 2)``, with the variances of the scores at
        hand (no ``n - 1``). Negative where impostor pairs are the more alike on average; where
        neither kind of score varies, infinite, or 0 if all scores are equal.

    Raises
    ------
    ValueError
        As :func:`equal_error_rate`.

    References
    ----------
    Daugman, "Biometric decision landscapes", University of Cambridge, technical report 482
    (2000), which takes the absolute value.

    Examples
    --------
    >>> from skdistort.metrics import d_prime
    >>> d_prime([1, 1, 0, 0], [5.0, 3.0, 2.0, 0.0])
    3.0
    """
    genuine, scores = check_scores(y_true, y_score, distances)
    classes = scores[genuine], scores[~genuine]
    difference = np.subtract(*(float(s.mean(dtype=np.float64)) for s in classes))  # type: ignore[call-overload]
    spread = np.sqrt(sum(s.var(dtype=np.float64) for s in classes) / 2)
    if spread == 0:
        return float(np.copysign(np.inf, difference)) if difference else 0.0
    return float(difference / spread)


def best_f1_threshold(
    y_true: ArrayLike, y_score: ArrayLike, *, distances: bool = False
) -> tuple[float, float]:
    """Threshold of the highest F1 of accepting genuine pairs.

    Paper A reports (FMR + FNMR) / 2 at this threshold, chosen on the data it is reported for,
    as its EER; that is a different, optimistic number. See :func:`equal_error_rate`.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), bool or 0/1
        True for a genuine pair.
    y_score : array-like of shape (n_pairs,)
        Comparison scores, finite, higher for more alike (lower if `distances`).
    distances : bool, default=False
        Whether `y_score` holds distances.

    Returns
    -------
    f1 : float
        2 TP / (2 TP + FP + FN), in (0, 1].
    threshold : float
        The score that reaches it, in the units of `y_score`; of several the strictest.

    Raises
    ------
    ValueError
        As :func:`equal_error_rate`.

    Examples
    --------
    >>> from skdistort.metrics import best_f1_threshold
    >>> best_f1_threshold([1, 1, 1, 0, 0, 0], [0.9, 0.8, 0.3, 0.4, 0.2, 0.1])
    (0.8571428571428571, 0.3)
    """
    genuine, scores = check_scores(y_true, y_score, distances)
    thresholds, rejected, false_matches = vertices(genuine, scores)
    true_matches = rejected[-1] - rejected
    f1 = 2 * true_matches / (rejected[-1] + true_matches + false_matches)
    best = np.flatnonzero(f1 == f1.max())[-1]
    return float(f1[best]), in_input_units(float(thresholds[best]), distances)


def _largest_count(rate, total):
    """Largest ``count`` with ``count / total <= rate`` as the caller would compute it."""
    # The product may round to either side of the whole number that the quotient stands for.
    near = int(rate * total)
    return max(c for c in (near - 1, near, near + 1) if c <= total and c / total <= rate)


def _interp_eer(genuine, scores):
    """EER of the DET polyline; see :func:`equal_error_rate`."""
    return interpolate(*crossing(genuine, scores), *class_sizes(genuine))


def _midpoint_eer(genuine, scores):
    """Mean of both rates at the vertex where they differ least; see :func:`equal_error_rate`."""
    # FMR - FNMR falls strictly from vertex to vertex, so only the two at its change of sign count.
    n_genuine, n_impostor = class_sizes(genuine)

    def difference_then_sum(vertex):
        """Both rates' difference and sum over their common denominator, in whole numbers."""
        fmr, fnmr = vertex.accepted * n_genuine, vertex.rejected * n_impostor
        return abs(fmr - fnmr), fmr + fnmr

    best = min(crossing(genuine, scores), key=difference_then_sum)
    return difference_then_sum(best)[1] / (2 * n_genuine * n_impostor), best.threshold


def _rocch_eer(genuine, scores):
    """EER of the convex hull of the ROC; see :func:`equal_error_rate`."""
    sizes = class_sizes(genuine)
    return interpolate(*sign_change(*hull(genuine, scores), *sizes), *sizes)
