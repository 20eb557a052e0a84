"""Error rates of verification: EER, DET points, FNMR at a given FMR, best F1.

What lives here reads genuine and impostor comparison scores. How the scores come about does not:
see :mod:`skdistort.metrics._pairs` for the pairs of a set of embeddings.

Everywhere, a pair is accepted at ``similarity >= threshold`` (``distance <= threshold``), and a
*vertex* is one operating point: the decision at one distinct score, or the rejection of all.
FNMR and FMR are the false non-match and the false match rate of ISO/IEC 19795-1.
"""

from fractions import Fraction

import numpy as np
from sklearn.isotonic import isotonic_regression

from ._vertices import class_sizes, crossing, sign_change, vertices


def equal_error_rate(y_true, y_score, *, method="interp", distances=False):
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
    genuine, scores = _check_scores(y_true, y_score, distances)
    eer, threshold = solvers[method](genuine, scores)
    return eer, _in_input_units(threshold, distances)


def det_points(y_true, y_score, *, distances=False):
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
    genuine, scores = _check_scores(y_true, y_score, distances)
    thresholds, rejected, accepted = vertices(genuine, scores)
    # The last vertex rejects every pair: its rates are the totals.
    fmr, fnmr = accepted[:-1] / accepted[0], rejected[:-1] / rejected[-1]
    return fmr, fnmr, _in_input_units(thresholds[:-1], distances)


def fnmr_at_fmr(y_true, y_score, target_fmr, *, distances=False):
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
    genuine, scores = _check_scores(y_true, y_score, distances)
    impostor_scores = scores[~genuine]
    n_impostor = impostor_scores.size
    allowed = _largest_count(target_fmr, n_impostor)
    if allowed == n_impostor:
        return 0.0, _in_input_units(float(scores.min()), distances)
    rank = n_impostor - 1 - allowed
    best_refused = np.partition(impostor_scores, rank)[rank]
    stricter = scores[scores > best_refused]
    threshold = stricter.min() if stricter.size else np.nextafter(best_refused, np.inf)
    fnmr = float(np.mean(scores[genuine] <= best_refused))
    return fnmr, _in_input_units(float(threshold), distances)


def best_f1_threshold(y_true, y_score, *, distances=False):
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
    genuine, scores = _check_scores(y_true, y_score, distances)
    thresholds, rejected, false_matches = vertices(genuine, scores)
    true_matches = rejected[-1] - rejected
    f1 = 2 * true_matches / (rejected[-1] + true_matches + false_matches)
    best = np.flatnonzero(f1 == f1.max())[-1]
    return float(f1[best]), _in_input_units(float(thresholds[best]), distances)


def _check_scores(y_true, y_score, distances):
    """Validate one set of comparisons.

    Parameters
    ----------
    y_true, y_score : array-like of shape (n_pairs,)
        What the caller passed.
    distances : bool
        Whether to turn distances into similarities.

    Returns
    -------
    genuine : ndarray of shape (n_pairs,), bool
        True for a genuine pair.
    scores : ndarray of shape (n_pairs,), float32 or float64
        Similarities, all finite. The caller's own array where nothing had to change.
    """
    y_true, scores = np.asarray(y_true), np.asarray(y_score)
    for name, array in (("y_true", y_true), ("y_score", scores)):
        if array.ndim != 1:
            raise ValueError(f"{name} must be 1-D, got shape {array.shape}.")
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{name} must hold real numbers, got dtype {array.dtype}.")
    if y_true.size != scores.size:
        raise ValueError(
            f"y_true and y_score must have the same length, got {y_true.size} and {scores.size}."
        )
    if scores.size == 0:
        raise ValueError("y_true and y_score are empty: expected at least two pairs.")
    genuine = y_true if y_true.dtype == bool else y_true == 1
    n_genuine = np.count_nonzero(genuine)
    if y_true.dtype != bool and n_genuine + np.count_nonzero(y_true == 0) != y_true.size:
        raise ValueError("y_true must hold True/False or 1/0 only, got other values.")
    if n_genuine in (0, y_true.size):
        kind = "genuine" if n_genuine else "impostor"
        raise ValueError(f"y_true must hold both classes, got {y_true.size} {kind} pairs only.")
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float64)
    # The extremes tell about every score, NaN included, without a mask as long as the scores.
    # Infinite ones are refused because no threshold could be interpolated next to them, and so
    # are the largest floats, because rejecting every pair takes a number beyond the best score.
    limit = np.finfo(scores.dtype).max
    if not (-limit < scores.min() and scores.max() < limit):
        n_bad = np.count_nonzero(~(np.abs(scores) < limit))
        raise ValueError(
            f"y_score must be finite and below {limit:.3g} in magnitude, got {n_bad} NaN, "
            "infinite or larger scores."
        )
    return genuine, -scores if distances else scores


def _in_input_units(threshold, distances):
    """Turn a threshold on similarities back into one on the caller's scores."""
    # Not a plain minus, which would make -0.0 of a distance of 0.
    return 0.0 - threshold if distances else threshold


def _largest_count(rate, total):
    """Largest ``count`` with ``count / total <= rate`` as the caller would compute it."""
    # The product may round to either side of the whole number that the quotient stands for.
    near = int(rate * total)
    return max(c for c in (near - 1, near, near + 1) if c <= total and c / total <= rate)


def _interp_eer(genuine, scores):
    """EER of the DET polyline; see :func:`equal_error_rate`."""
    return _interpolate(*crossing(genuine, scores), *class_sizes(genuine))


def _midpoint_eer(genuine, scores):
    """Mean of both rates at the vertex where they differ least; see :func:`equal_error_rate`."""
    # FMR - FNMR falls strictly from vertex to vertex, so only the two at its change of sign count.
    n_genuine, n_impostor = class_sizes(genuine)

    def difference_then_mean(vertex):
        fmr, fnmr = Fraction(vertex.accepted, n_impostor), Fraction(vertex.rejected, n_genuine)
        return abs(fmr - fnmr), (fmr + fnmr) / 2

    best = min(crossing(genuine, scores), key=difference_then_mean)
    return float(difference_then_mean(best)[1]), best.threshold


def _rocch_eer(genuine, scores):
    """EER of the convex hull of the ROC; see :func:`equal_error_rate`.

    The hull's corners are where the steps of the isotonic regression of "genuine" on the score
    begin (Fawcett and Niculescu-Mizil, 2007).
    """
    thresholds, rejected, accepted = vertices(genuine, scores)
    genuine_here, impostor_here = np.diff(rejected), -np.diff(accepted)
    count = genuine_here + impostor_here
    fitted = isotonic_regression(genuine_here / count, sample_weight=count)
    corners = np.concatenate(([0], np.flatnonzero(np.diff(fitted)) + 1, [fitted.size]))
    hull = thresholds[corners], rejected[corners], accepted[corners]
    sizes = class_sizes(genuine)
    return _interpolate(*sign_change(*hull, *sizes), *sizes)


def _interpolate(lenient, strict, n_genuine, n_impostor):
    """Rate and threshold where the segment between two vertices meets FMR = FNMR, exactly."""
    gap_before, gap_after = (
        Fraction(v.accepted, n_impostor) - Fraction(v.rejected, n_genuine)
        for v in (lenient, strict)
    )
    weight = gap_before / (gap_before - gap_after)
    rejected = lenient.rejected + weight * (strict.rejected - lenient.rejected)
    start, end = Fraction(lenient.threshold), Fraction(strict.threshold)
    return float(rejected / n_genuine), float(start + weight * (end - start))
