"""Equal error rate of more scores than fit in memory, read twice in chunks; exact.

What lives here counts float32 scores by their bits. Scores that fit in memory are faster judged
by :func:`skdistort.metrics.equal_error_rate`; where chunks of pairs come from is in
:mod:`skdistort.metrics._pairs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._pairs import iter_pair_scores
from ._scores import check_both_classes, check_chunk, in_input_units
from ._vertices import interpolate, sign_change

# A first pass counts scores by the upper half of their bits, a second one by the lower half.
_HALF = np.uint32(16)
_N_BINS = 2**16
# Scores counted together, many against the bins that each count walks through.
_BLOCK = 2**18
# Upper halves in the order of the floats they begin: negative ones, whose bits fall, then positive.
_RISING = np.concatenate((np.arange(_N_BINS - 1, _N_BINS // 2 - 1, -1), np.arange(_N_BINS // 2)))


def streaming_equal_error_rate(
    chunks: Callable[[], Iterable[tuple[ArrayLike, ArrayLike]]], *, distances: bool = False
) -> tuple[float, float]:
    """Equal error rate of scores that come in chunks, exact and in constant memory.

    The bits of a float32, read as an integer, order like its values. A first pass over the chunks
    counts the scores by the upper half of their bits, which tells the bin where FMR and FNMR
    meet; a second pass counts the scores of that bin and of the next one by the lower half.
    Beyond a chunk that takes some 10 MB.

    Parameters
    ----------
    chunks : callable
        Called twice without arguments; returns an iterable of ``(y_true, y_score)``, the same
        scores each time, such as ``lambda: iter_pair_scores(embeddings, labels)``. `y_true` is as
        for :func:`equal_error_rate`, `y_score` of dtype float32. A chunk may be empty or hold
        one class only.
    distances : bool, default=False
        Whether the scores are distances: lower for more alike.

    Returns
    -------
    eer : float
        The equal error rate, in [0, 1].
    threshold : float
        Where to decide: both as :func:`equal_error_rate` with ``method="interp"`` gives them for
        all the scores together.

    Raises
    ------
    TypeError
        If `chunks` is not callable.
    ValueError
        If a chunk's scores are not float32, both classes do not occur, or the second pass does
        not bring the scores of the first; else as :func:`equal_error_rate`.

    See Also
    --------
    equal_error_rate : The same for scores in memory, with other methods and any dtype.
    pairwise_equal_error_rate : The same for all pairs of a set of embeddings.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.metrics import streaming_equal_error_rate
    >>> y_true = np.array([True, True, True, False, False, False])
    >>> y_score = np.array([0.75, 0.5, 0.25, 0.375, 0.125, 0.0], dtype=np.float32)
    >>> parts = [slice(0, 4), slice(4, 6)]
    >>> streaming_equal_error_rate(lambda: ((y_true[p], y_score[p]) for p in parts))
    (0.3333333333333333, 0.375)
    """
    if not callable(chunks):
        raise TypeError(
            "chunks must be callable, so that the scores can be read twice, got "
            f"{type(chunks).__name__}."
        )
    by_upper = np.zeros((2, _N_BINS), dtype=np.int64)
    for genuine, bits in _blocks(chunks, distances):
        by_upper += _count(genuine, bits >> _HALF)
    # Bins are put in order here once, which spares arithmetic on every score.
    counts = by_upper[:, _RISING]
    n_impostor, n_genuine = counts.sum(axis=1).tolist()
    check_both_classes(n_genuine, n_genuine + n_impostor)

    # The first score of an occupied bin is a vertex whose counts are known by now. Where FMR and
    # FNMR meet between two of these, the vertices around it are in the one's bin, or are the last
    # there and the first of the other's.
    occupied = np.flatnonzero(counts.any(axis=0))
    rejected, accepted = _errors(counts[:, occupied], 0, n_impostor)
    bin_edges = np.append(occupied, _N_BINS)
    first, second = sign_change(bin_edges, rejected, accepted, n_genuine, n_impostor)  # type: ignore[misc]
    bins = _RISING[[int(edge) for edge, *_ in (first, second) if edge < _N_BINS]]

    by_lower = np.zeros((2, len(bins), _N_BINS), dtype=np.int64)
    for genuine, bits in _blocks(chunks, distances):
        for i, upper in enumerate(bins):
            inside = np.flatnonzero(bits >> _HALF == upper)
            by_lower[:, i] += _count(genuine[inside], bits[inside] & np.uint32(_N_BINS - 1))
    if not np.array_equal(by_lower.sum(axis=2), by_upper[:, bins]):
        raise ValueError("chunks must return the same scores at both calls, got different ones.")

    where, lower = np.nonzero(by_lower.any(axis=0))
    values = (bins[where] << int(_HALF) | lower).astype(np.uint32).view(np.float32)
    rising = np.argsort(values)
    values, counts = values[rising], by_lower[:, where[rising], lower[rising]]
    thresholds = np.append(values, np.nextafter(values[-1], np.float32(np.inf)))
    vertices = thresholds, *_errors(counts, first.rejected, first.accepted)
    around = sign_change(*vertices, n_genuine, n_impostor)
    eer, threshold = interpolate(*around, n_genuine, n_impostor)  # type: ignore[call-arg, misc]
    return eer, in_input_units(threshold, distances)


def pairwise_equal_error_rate(
    embeddings: ArrayLike,
    labels: ArrayLike,
    other: ArrayLike | None = None,
    other_labels: ArrayLike | None = None,
    *,
    metric: Literal["neg_sqeuclidean", "cosine"] = "neg_sqeuclidean",
    exclude_same_index: bool = False,
    block_size: int = 256,
) -> tuple[float, float]:
    """Equal error rate of all pairs of embeddings, without holding their scores.

    Every score is computed twice. Where memory for all of them is no matter,
    ``equal_error_rate(*pair_scores(...))`` takes about half the time.

    Parameters
    ----------
    embeddings, labels : array-like of shape (n_samples, n_dimensions) and (n_samples,)
        As for :func:`pair_scores`.
    other, other_labels : array-like or None, default=None
        As for :func:`pair_scores`.
    metric : {"neg_sqeuclidean", "cosine"}, default="neg_sqeuclidean"
        As for :func:`pair_scores`.
    exclude_same_index : bool, default=False
        As for :func:`pair_scores`.
    block_size : int, default=256
        Probes scored together: memory for about ``2 * block_size * n_other`` scores.

    Returns
    -------
    eer : float
        The equal error rate, in [0, 1].
    threshold : float
        Where to decide, in units of `metric`.

    Raises
    ------
    ValueError
        As :func:`pair_scores`, or if the pairs are all genuine or all impostor.

    See Also
    --------
    streaming_equal_error_rate : The same for scores from elsewhere.

    Examples
    --------
    >>> from skdistort.metrics import pairwise_equal_error_rate
    >>> pairwise_equal_error_rate([[1, 0], [1, 0], [0, 1]], ["ann", "ann", "bob"])
    (0.0, 0.0)
    """

    def chunks():
        return iter_pair_scores(
            embeddings,
            labels,
            other,
            other_labels,
            metric=metric,
            exclude_same_index=exclude_same_index,
            block_size=block_size,
        )

    return streaming_equal_error_rate(chunks)


def _blocks(chunks, distances):
    """Yield labels and bits of the similarities in every chunk, a block at a time."""
    for y_true, y_score in chunks():
        if np.asarray(y_score).dtype != np.float32:
            raise ValueError(
                f"y_score must be of dtype float32 in every chunk, got {np.asarray(y_score).dtype}."
            )
        genuine, scores = check_chunk(y_true, y_score, distances)
        for start in range(0, scores.size, _BLOCK):
            # Adding 0 turns -0.0, an equal of 0.0 with other bits, into it.
            block = scores[start : start + _BLOCK] + np.float32(0)
            yield genuine[start : start + _BLOCK], block.view(np.uint32)


def _count(genuine, bins):
    """Count impostor and genuine pairs in every bin, of shape (2, _N_BINS)."""
    both = bins + genuine * np.uint32(_N_BINS)
    return np.bincount(both, minlength=2 * _N_BINS).reshape(2, _N_BINS)


def _errors(counts, rejected_before, accepted_before) -> tuple[NDArray[Any], NDArray[Any]]:
    """Genuine pairs rejected and impostor pairs accepted at every value, and beyond the last."""
    impostor, genuine = np.pad(np.cumsum(counts, axis=1), ((0, 0), (1, 0)))
    return rejected_before + genuine, accepted_before - impostor
