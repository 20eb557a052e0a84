"""Comparison scores of every pair of embeddings.

What lives here turns embeddings and identities into the ``(y_true, y_score)`` that
:mod:`skdistort.metrics._verification` reads. It neither makes embeddings nor judges scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._labels import as_labels, joint_codes


def pair_scores(
    embeddings: ArrayLike,
    labels: ArrayLike,
    other: ArrayLike | None = None,
    other_labels: ArrayLike | None = None,
    *,
    metric: Literal["neg_sqeuclidean", "cosine"] = "neg_sqeuclidean",
    exclude_same_index: bool = False,
    block_size: int = 1024,
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Score every pair of embeddings, and say which pairs are genuine.

    Parameters
    ----------
    embeddings : array-like of shape (n_samples, n_dimensions)
        Embeddings of the probes, finite; used as float32.
    labels : array-like of shape (n_samples,)
        Their identities: all text, or all numbers, which are compared by value.
    other : array-like of shape (n_other, n_dimensions) or None, default=None
        Embeddings to compare with, such as those of enrolled templates. None compares
        `embeddings` with one another, each unordered pair once.
    other_labels : array-like of shape (n_other,) or None, default=None
        Identities of `other`; None takes `labels`.
    metric : {"neg_sqeuclidean", "cosine"}, default="neg_sqeuclidean"
        "neg_sqeuclidean" is the negated squared Euclidean distance (paper A, eq. 1), within
        [-4, 0] on the unit sphere; "cosine" the cosine of the angle, within [-1, 1].
    exclude_same_index : bool, default=False
        Whether to leave out the comparison of ``embeddings[i]`` with ``other[i]``, where the
        probe is the very image that was enrolled. Without `other` there is no such pair.
    block_size : int, default=1024
        Probes scored together: beyond the result, memory for ``block_size * n_other`` scores.

    Returns
    -------
    y_true : ndarray of shape (n_pairs,), bool
        True where both identities are the same.
    y_score : ndarray of shape (n_pairs,), float32
        Scores, higher for more alike. Squared distances come from the inner products and carry
        their rounding, about 1e-6 on the unit sphere. The order is that of the rows of the
        comparison matrix, above its diagonal where `other` is None.

    Raises
    ------
    ValueError
        If an array has the wrong number of dimensions, lengths or dimensions do not match, an
        embedding is not finite (or all zero, for "cosine"), no pair is left, `metric` is
        unknown, `block_size` is below 1, or `other_labels` comes without `other`; if labels are
        missing or of several kinds, such as text and numbers.

    References
    ----------
    Paper A: Zakharov, Kuznetsov, Frontoni, "Unrecognizable Yet Identifiable: Image Distortion
    with Preserved Embeddings", eq. 1.

    Examples
    --------
    >>> from skdistort.metrics import pair_scores
    >>> pair_scores([[1, 0], [1, 0], [0, 1]], ["ann", "ann", "bob"])
    (array([ True, False, False]), array([ 0., -2., -2.], dtype=float32))
    """
    comparison = _check_comparison(
        embeddings, labels, other, other_labels, metric, exclude_same_index, block_size
    )
    sizes = comparison.block_sizes()
    y_true, y_score = np.empty(sum(sizes), dtype=bool), np.empty(sum(sizes), dtype=np.float32)
    filled = 0
    for block, size in enumerate(sizes):
        end = filled + size
        comparison.fill(block, y_true[filled:end], y_score[filled:end])
        filled = end
    return y_true, y_score


def iter_pair_scores(
    embeddings: ArrayLike,
    labels: ArrayLike,
    other: ArrayLike | None = None,
    other_labels: ArrayLike | None = None,
    *,
    metric: Literal["neg_sqeuclidean", "cosine"] = "neg_sqeuclidean",
    exclude_same_index: bool = False,
    block_size: int = 256,
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.float32]]]:
    """Score every pair of embeddings, a block of probes at a time.

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
    iterator of tuple of 2 ndarray
        ``(y_true, y_score)`` of each block; one after the other they are what
        :func:`pair_scores` gives for the same `block_size`. Another one may round a score
        otherwise.

    Raises
    ------
    ValueError
        As :func:`pair_scores`, at the call.

    See Also
    --------
    streaming_equal_error_rate : What can be done with them.

    Examples
    --------
    >>> from skdistort.metrics import iter_pair_scores
    >>> blocks = iter_pair_scores([[1, 0], [1, 0], [0, 1]], ["ann", "ann", "bob"], block_size=1)
    >>> [y_score.tolist() for _, y_score in blocks]
    [[0.0, -2.0], [-2.0]]
    """
    comparison = _check_comparison(
        embeddings, labels, other, other_labels, metric, exclude_same_index, block_size
    )
    return comparison.blocks()


@dataclass(frozen=True)
class _Comparison:
    """Checked embeddings and what to compare: the rows of a matrix of scores, block by block."""

    probes: np.ndarray
    references: np.ndarray
    probe_codes: np.ndarray
    reference_codes: np.ndarray
    score_block: Callable
    once: bool
    skip_same_index: bool
    block_size: int

    def block_sizes(self):
        """Count the pairs in every block; the last may have none."""
        n = len(self.probes)
        if self.once:
            per_probe = np.arange(n - 1, -1, -1)
        else:
            per_probe = np.full(n, len(self.references) - bool(self.skip_same_index))
        return np.add.reduceat(per_probe, np.arange(0, n, self.block_size)).tolist()

    def blocks(self):
        """Yield ``(y_true, y_score)`` of every block that has pairs."""
        for block, size in enumerate(self.block_sizes()):
            if size:
                y_true, y_score = np.empty(size, dtype=bool), np.empty(size, dtype=np.float32)
                self.fill(block, y_true, y_score)
                yield y_true, y_score

    def fill(self, block, y_true, y_score):
        """Write the labels and the scores of one block's pairs into arrays of its size."""
        start = block * self.block_size
        # Comparing a set with itself, nothing to the left of the block's first probe is needed.
        offset = start if self.once else 0
        scores = self.score_block(
            self.probes[start : start + self.block_size], self.references[offset:]
        )
        filled = 0
        for i, row in enumerate(scores, start):
            if self.once:
                kept = [slice(i + 1, None)]
            elif self.skip_same_index:
                kept = [slice(0, i), slice(i + 1, None)]
            else:
                kept = [slice(0, None)]
            for columns in kept:
                pair_codes = self.reference_codes[columns]
                end = filled + pair_codes.size
                np.equal(pair_codes, self.probe_codes[i], out=y_true[filled:end])
                y_score[filled:end] = row[columns.start - offset :][: pair_codes.size]
                filled = end


def _check_comparison(
    embeddings, labels, other, other_labels, metric, exclude_same_index, block_size
):
    """Validate the arguments of :func:`pair_scores`."""
    if metric not in ("cosine", "neg_sqeuclidean"):
        raise ValueError(f"metric must be 'cosine' or 'neg_sqeuclidean', got {metric!r}.")
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size!r}.")
    probes, labels = _check_set("embeddings", embeddings, "labels", labels)
    if other is None:
        if other_labels is not None:
            raise ValueError("other_labels was given without other.")
        references, reference_labels = probes, labels
        n_pairs = len(probes) * (len(probes) - 1)
    else:
        references, reference_labels = _check_set(
            "other", other, "other_labels", labels if other_labels is None else other_labels
        )
        if references.shape[1] != probes.shape[1]:
            raise ValueError(
                f"other has {references.shape[1]} dimensions, embeddings have {probes.shape[1]}."
            )
        if exclude_same_index and len(references) != len(probes):
            raise ValueError(
                "exclude_same_index needs as many other embeddings as embeddings, got "
                f"{len(references)} and {len(probes)}."
            )
        n_pairs = len(probes) * (len(references) - bool(exclude_same_index))
    if n_pairs == 0:
        raise ValueError(f"No pair to compare among {len(probes)} embeddings.")
    if metric == "cosine":
        probes, references = _normalised("embeddings", probes), _normalised("other", references)

    probe_codes, reference_codes = joint_codes(labels, reference_labels, "labels", "other_labels")
    return _Comparison(
        probes,
        references,
        probe_codes,
        reference_codes,
        score_block=_cosines if metric == "cosine" else _negated_squared_distances,
        once=other is None,
        skip_same_index=exclude_same_index,
        block_size=block_size,
    )


def _check_set(name, embeddings, label_name, labels):
    """Validate embeddings and their labels; `name` and `label_name` go into the messages."""
    embeddings, labels = np.asarray(embeddings, dtype=np.float32), as_labels(labels, label_name)
    if embeddings.ndim != 2:
        raise ValueError(f"{name} must be 2-D, got shape {embeddings.shape}.")
    if labels.shape != (len(embeddings),):
        raise ValueError(
            f"{label_name} must have shape ({len(embeddings)},), one for each row of {name}, "
            f"got {labels.shape}."
        )
    if not np.isfinite(embeddings).all():
        raise ValueError(f"{name} must be finite, got NaN or infinite values.")
    return embeddings, labels


def _normalised(name, embeddings):
    """Scale every embedding to length 1."""
    # Squares of very large or small components would leave the range of floats.
    largest = np.abs(embeddings).max(axis=1, keepdims=True, initial=0)
    if not largest.all():
        raise ValueError(f"{name}[{int(largest.argmin())}] is all zero: its cosine is not defined.")
    scaled = embeddings / largest
    return scaled / np.linalg.norm(scaled, axis=1, keepdims=True)


def _cosines(A, B):
    """Cosines between the rows of two sets of unit vectors, of shape (n_A, n_B), float32."""
    return np.clip(A @ B.T, -1, 1)


def _negated_squared_distances(A, B):
    """Compute ``-||a - b||^2`` (paper A, eq. 1, negated) for all rows, of shape (n_A, n_B)."""
    scores = A @ (2 * B.T)
    scores -= np.einsum("ij,ij->i", A, A)[:, None]
    scores -= np.einsum("ij,ij->i", B, B)
    # Rounding can leave equal embeddings a hair apart on the wrong side.
    return np.minimum(scores, 0, out=scores)
