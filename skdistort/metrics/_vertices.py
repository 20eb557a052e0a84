"""Error counts at the vertices of the DET polyline, and where FMR and FNMR meet among them.

What lives here is integer counting and the search that spares sorting every score. The measures
that read it do not, nor does the validation of input: see :mod:`skdistort.metrics._verification`
and :mod:`skdistort.metrics._scores`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

# Up to so many scores, sorting everything costs less than looking for where to sort.
_FEW = 2**12
# A class of up to so many times the scores to draw of it is taken whole.
_WHOLE = 4
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


def crossing(genuine: NDArray[np.bool_], scores: NDArray[Any]) -> tuple[Vertex, Vertex]:
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
    sizes = class_sizes(genuine)
    if scores.size > _FEW:
        found = _crossing_between(genuine, scores, sizes, *_bracket(genuine, scores, sizes))
        if found:
            return found
    classes = scores[genuine], scores[~genuine]
    return _crossing_among(*classes, 0, 0, sizes, complete=True)  # type: ignore[return-value]


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
        The equal error rate, worked out in whole numbers and rounded once.
    threshold : float
        Where to decide, likewise.
    """
    before, after = (v.accepted * n_genuine - v.rejected * n_impostor for v in (lenient, strict))
    # The share of the way that lies before the crossing is before / whole.
    whole = before - after
    rejected = lenient.rejected * whole + before * (strict.rejected - lenient.rejected)
    (a, b), (c, d) = (v.threshold.as_integer_ratio() for v in (lenient, strict))
    threshold = a * d * whole + before * (c * b - a * d)
    # Python rounds the quotient of two whole numbers once, however large they are.
    return rejected / (whole * n_genuine), threshold / (b * d * whole)


def hull(
    genuine: NDArray[np.bool_], scores: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    """Find the vertices that are corners of the convex hull of the ROC.

    Parameters
    ----------
    genuine : ndarray of shape (n_pairs,), bool
        True for a genuine pair.
    scores : ndarray of shape (n_pairs,)
        Similarities.

    Returns
    -------
    tuple of 3 ndarray of shape (n_corners,)
        As :func:`vertices` gives them; the first and the last of its vertices are among them.
        The corners are where the steps of the isotonic regression of "genuine" on the score
        begin.

    References
    ----------
    Fawcett, Niculescu-Mizil, "PAV and the ROC convex hull", Machine Learning 68 (2007).
    """
    of_genuine, of_impostors = np.sort(scores[genuine]), np.sort(scores[~genuine])
    # A corner can only be at a genuine score with an impostor's before it: from any other vertex
    # a stricter threshold rejects more impostors, or a more lenient one more genuine pairs.
    below = np.searchsorted(of_impostors, of_genuine)
    is_corner = np.empty(below.size, dtype=bool)
    is_corner[0] = below[0] > 0
    np.not_equal(below[1:], below[:-1], out=is_corner[1:])
    at = np.flatnonzero(is_corner)
    first, last = min(of_genuine[0], of_impostors[0]), max(of_genuine[-1], of_impostors[-1])
    beyond = np.nextafter(last, last.dtype.type(np.inf))
    thresholds = np.concatenate(([first], of_genuine[at], [beyond]))
    rejected = np.concatenate(([0], at, [of_genuine.size]))
    accepted = np.concatenate(([of_impostors.size], of_impostors.size - below[at], [0]))
    genuine_here, impostor_here = np.diff(rejected), -np.diff(accepted)
    count = genuine_here + impostor_here
    fitted = isotonic_regression(genuine_here / count, weights=count).x
    corners = np.concatenate(([0], np.flatnonzero(np.diff(fitted)) + 1, [fitted.size]))
    return thresholds[corners], rejected[corners], accepted[corners]


def _crossing_between(genuine, scores, sizes, low, high):
    """Find the crossing among the scores in ``[low, high]``.

    Returns
    -------
    tuple of 2 Vertex or None
        As :func:`sign_change`; None if the crossing is not in there.
    """
    rejected = accepted = 0
    inside: tuple[list, list] = [], []
    for start in range(0, scores.size, _BLOCK):
        is_genuine, score = genuine[start : start + _BLOCK], scores[start : start + _BLOCK]
        below, above = score < low, score > high
        rejected += int(np.count_nonzero(below & is_genuine))
        accepted += int(np.count_nonzero(above > is_genuine))
        kept = np.flatnonzero(~(below | above))
        score, is_genuine = score[kept], is_genuine[kept]
        inside[0].append(score[is_genuine])
        inside[1].append(score[~is_genuine])
    classes = (np.concatenate(parts) for parts in inside)
    return _crossing_among(*classes, rejected, accepted, sizes, complete=high == np.inf)


def _crossing_among(genuine, impostor, rejected, accepted, sizes, *, complete):
    """Find the crossing among the scores of both classes in some interval, in any order.

    Parameters
    ----------
    genuine, impostor : ndarray
        The scores.
    rejected, accepted : int
        Genuine pairs below the interval, impostor pairs above it.
    sizes : tuple of 2 int
        As :func:`class_sizes` gives them.
    complete : bool
        Whether no score lies above the interval, so that rejecting every pair is a vertex of it.

    Returns
    -------
    tuple of 2 Vertex or None
        As :func:`sign_change`; None if the crossing is not in there.
    """
    classes = np.sort(genuine), np.sort(impostor)
    n_genuine, n_impostor = sizes
    # Items of a memoryview are Python's floats, which are faster to compare than numpy's.
    genuine, impostor = map(memoryview, classes)

    def count_rejected(threshold):
        return rejected + bisect_left(genuine, threshold)

    def count_accepted(threshold):
        return accepted + len(impostor) - bisect_left(impostor, threshold)

    def is_strict(threshold):
        return count_accepted(threshold) * n_genuine < count_rejected(threshold) * n_impostor

    # The first strict score is the first of genuine pairs or, just before it, of impostors.
    i = bisect_left(genuine, True, key=is_strict)
    start = bisect_left(impostor, genuine[i - 1]) if i else 0
    end = bisect_right(impostor, genuine[i]) if i < len(genuine) else len(impostor)
    j = bisect_left(impostor, True, start, end, key=is_strict)
    strict = [side[k] for side, k in ((genuine, i), (impostor, j)) if k < len(side)]
    if complete:
        last = max(side[-1] for side in classes if side.size)
        strict.append(float(np.nextafter(last, last.dtype.type(np.inf))))
    if not strict:
        return None
    first = min(strict)
    before = [side[k - 1] for side in (genuine, impostor) if (k := bisect_left(side, first))]
    if not before:
        return None
    return tuple(Vertex(t, count_rejected(t), count_accepted(t)) for t in (max(before), first))


def _bracket(genuine, scores, sizes):
    """Guess two scores with the crossing between them, from a sample of each class.

    Returns
    -------
    low, high : float
        Scores that occur, or infinities where the sample holds none to be sure of.
    """
    # Sorting the samples and what lies between the guesses then take about the same time.
    n_drawn = int(scores.size ** (2 / 3))
    samples = [
        _class_sample(genuine, kind, size, scores, n_drawn)
        for kind, size in zip((True, False), sizes, strict=True)
    ]
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


def _class_sample(genuine, kind, size, scores, n_drawn):
    """Draw about `n_drawn` scores of a class, always the same.

    A class of which too many scores would have to be visited is taken whole.

    Returns
    -------
    sample : ndarray
        Scores of the class, rising.
    error : float
        Upper bound of the standard error of a rate estimated from them.
    """
    if size <= _WHOLE * n_drawn:
        return np.sort(scores[genuine == kind]), 0.0
    # Multiples of the golden ratio modulo 1 cover the scores evenly, yet unlike a constant stride
    # they keep no step with data laid out periodically, such as genuine and impostor in turn.
    where = np.arange(n_drawn * scores.size // size) * 0.6180339887498949 % 1.0 * scores.size
    where = where.astype(np.intp)
    sample = np.sort(scores[where[genuine[where] == kind]])
    return sample, 0.5 / np.sqrt(max(sample.size, 1))
