"""Error counts at the vertices of the DET polyline, and where FMR and FNMR meet among them.

What lives here is integer counting and the search that spares sorting every score. The measures
that read it do not, nor does the validation of input: see :mod:`skdistort.metrics._verification`
and :mod:`skdistort.metrics._scores`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import isotonic_regression

# Scores in each class's sample; below a few times this, sorting everything costs less.
_SAMPLE = 2**16
# Scores looked at together: a block and its masks stay in the processor's second-level cache.
_BLOCK = 2**16


class Vertex(NamedTuple):
    """One operating point in counts: genuine pairs rejected, impostor pairs accepted."""

    threshold: float
    rejected: int
    accepted: int


def vertices(
    genuine: NDArray[np.bool_], scores: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    """Count the errors at every distinct score, and at one beyond the best of them.

    Parameters
    ----------
    genuine : ndarray of shape (n_pairs,), bool
        True for a genuine pair.
    scores : ndarray of shape (n_pairs,)
        Similarities.

    Returns
    -------
    thresholds : ndarray of shape (n_vertices,)
        The distinct scores, rising, then the next number beyond them.
    rejected : ndarray of shape (n_vertices,), int64
        Genuine pairs below each threshold.
    accepted : ndarray of shape (n_vertices,), int64
        Impostor pairs at or above each threshold.
    """
    ordered = np.sort(scores)
    is_first = np.ones(ordered.size, dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    below = np.flatnonzero(is_first)
    thresholds = ordered[below]
    genuine_ordered = np.sort(scores[genuine])
    rejected = np.searchsorted(genuine_ordered, thresholds)
    n_impostor = ordered.size - genuine_ordered.size
    accepted = n_impostor - (below - rejected)
    return (
        np.append(thresholds, np.nextafter(ordered[-1], ordered.dtype.type(np.inf))),
        np.append(rejected, genuine_ordered.size),
        np.append(accepted, 0),
    )


def class_sizes(genuine: NDArray[np.bool_]) -> tuple[int, int]:
    """Count the genuine and the impostor pairs.

    Parameters
    ----------
    genuine : ndarray of shape (n_pairs,), bool
        True for a genuine pair.

    Returns
    -------
    tuple of 2 int
        Genuine, impostor.
    """
    n_genuine = int(np.count_nonzero(genuine))
    return n_genuine, genuine.size - n_genuine


def crossing(genuine: NDArray[np.bool_], scores: NDArray[Any]) -> tuple[Vertex, ...]:
    """Find the neighbouring vertices between which FMR - FNMR turns negative, among all scores.

    Parameters
    ----------
    genuine : ndarray of shape (n_pairs,), bool
        True for a genuine pair.
    scores : ndarray of shape (n_pairs,)
        Similarities.

    Returns
    -------
    tuple of 2 Vertex
        The last vertex with FMR >= FNMR and the one after it.
    """
    found = None
    if scores.size > 4 * _SAMPLE:
        found = _crossing_between(genuine, scores, *_bracket(genuine, scores))
    return found or _crossing_between(genuine, scores, -np.inf, np.inf)


def sign_change(
    thresholds: NDArray[Any],
    rejected: NDArray[Any],
    accepted: NDArray[Any],
    n_genuine: int,
    n_impostor: int,
) -> tuple[Vertex, ...] | None:
    """Find the neighbouring vertices between which FMR - FNMR turns negative.

    Parameters
    ----------
    thresholds, rejected, accepted : ndarray of shape (n_vertices,)
        As :func:`vertices` gives them.
    n_genuine, n_impostor : int
        As :func:`class_sizes` gives them.

    Returns
    -------
    tuple of 2 Vertex or None
        The last vertex with FMR >= FNMR and the one after it; None if one of them is missing.
    """
    # Both rates over their common denominator, so that integers are compared: Python's own where
    # the products of a long stream's counts would overflow.
    if n_genuine * n_impostor > np.iinfo(np.int64).max:
        rejected, accepted = rejected.astype(object), accepted.astype(object)
    gap = accepted * n_genuine - rejected * n_impostor
    after = int(np.searchsorted(-gap, 0, side="right"))
    if not 0 < after < gap.size:
        return None
    return tuple(
        Vertex(float(thresholds[i]), int(rejected[i]), int(accepted[i])) for i in (after - 1, after)
    )


def interpolate(
    lenient: Vertex, strict: Vertex, n_genuine: int, n_impostor: int
) -> tuple[float, float]:
    """Rate and threshold where the segment between two vertices meets FMR = FNMR, exactly.

    Parameters
    ----------
    lenient, strict : Vertex
        As :func:`crossing` gives them.
    n_genuine, n_impostor : int
        As :func:`class_sizes` gives them.

    Returns
    -------
    eer : float
        The equal error rate, worked out in fractions and rounded once.
    threshold : float
        Where to decide, likewise.
    """
    gap_before, gap_after = (
        Fraction(v.accepted, n_impostor) - Fraction(v.rejected, n_genuine)
        for v in (lenient, strict)
    )
    weight = gap_before / (gap_before - gap_after)
    rejected = lenient.rejected + weight * (strict.rejected - lenient.rejected)
    start, end = Fraction(lenient.threshold), Fraction(strict.threshold)
    return float(rejected / n_genuine), float(start + weight * (end - start))


def hull(
    thresholds: NDArray[Any], rejected: NDArray[Any], accepted: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Keep the vertices on the convex hull of the ROC.

    Parameters
    ----------
    thresholds, rejected, accepted : ndarray of shape (n_vertices,)
        As :func:`vertices` gives them.

    Returns
    -------
    tuple of 3 ndarray of shape (n_corners,)
        The same of the vertices kept, the first and the last among them. The hull's corners are
        where the steps of the isotonic regression of "genuine" on the score begin.

    References
    ----------
    Fawcett, Niculescu-Mizil, "PAV and the ROC convex hull", Machine Learning 68 (2007).
    """
    genuine_here, impostor_here = np.diff(rejected), -np.diff(accepted)
    count = genuine_here + impostor_here
    fitted = isotonic_regression(genuine_here / count, sample_weight=count)
    corners = np.concatenate(([0], np.flatnonzero(np.diff(fitted)) + 1, [fitted.size]))
    return thresholds[corners], rejected[corners], accepted[corners]


def _crossing_between(genuine, scores, low, high):
    """Find the crossing among the scores in ``[low, high]``.

    Returns
    -------
    tuple of 2 Vertex or None
        As :func:`sign_change`; None if the crossing is not in there.
    """
    rejected_below = accepted_above = 0
    inside_genuine, inside_scores = [], []
    for start in range(0, scores.size, _BLOCK):
        is_genuine, score = genuine[start : start + _BLOCK], scores[start : start + _BLOCK]
        below, above = score < low, score > high
        rejected_below += np.count_nonzero(below & is_genuine)
        accepted_above += np.count_nonzero(above > is_genuine)
        inside = np.flatnonzero(~(below | above))
        inside_genuine.append(is_genuine[inside])
        inside_scores.append(score[inside])
    thresholds, rejected, accepted = vertices(
        np.concatenate(inside_genuine), np.concatenate(inside_scores)
    )
    # Rejecting every pair is a vertex of the whole only if nothing lies above the bracket.
    stop = None if high == np.inf else -1
    return sign_change(
        thresholds[:stop],
        rejected[:stop] + rejected_below,
        accepted[:stop] + accepted_above,
        *class_sizes(genuine),
    )


def _bracket(genuine, scores):
    """Guess two scores with the crossing between them, from a sample of each class.

    Returns
    -------
    low, high : float
        Scores that occur, or infinities where the sample holds none to be sure of.
    """
    samples = [_class_sample(kind, scores) for kind in (genuine, ~genuine)]
    (genuine_sample, genuine_error), (impostor_sample, impostor_error) = samples
    if not (genuine_sample.size and impostor_sample.size):
        return -np.inf, np.inf
    candidates = np.sort(np.concatenate((genuine_sample, impostor_sample)))
    fnmr = np.searchsorted(genuine_sample, candidates) / genuine_sample.size
    fmr = 1 - np.searchsorted(impostor_sample, candidates) / impostor_sample.size
    gap = fmr - fnmr
    # Four standard errors of the gap; being wrong costs time, never exactness.
    margin = 4 * np.hypot(genuine_error, impostor_error)
    lenient, strict = candidates[gap >= margin], candidates[gap <= -margin]
    return lenient[-1] if lenient.size else -np.inf, strict[0] if strict.size else np.inf


def _class_sample(members, scores):
    """Draw about `_SAMPLE` of the scores, always the same, and keep those of one class.

    A class of up to `_SAMPLE` scores is taken whole: it would hardly appear in the draw.

    Returns
    -------
    sample : ndarray
        Scores of the class, rising.
    error : float
        Upper bound of the standard error of a rate estimated from them.
    """
    if np.count_nonzero(members) <= _SAMPLE:
        return np.sort(scores[members]), 0.0
    # Multiples of the golden ratio modulo 1 cover the scores evenly, yet unlike a constant stride
    # they keep no step with data laid out periodically, such as genuine and impostor in turn.
    where = np.arange(_SAMPLE) * 0.6180339887498949 % 1.0 * scores.size
    where = where.astype(np.intp)
    sample = np.sort(scores[where[members[where]]])
    return sample, 0.5 / np.sqrt(max(sample.size, 1))
