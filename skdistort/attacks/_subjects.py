"""Images and templates by their subjects: others of the same one, one of another, several as one.

What is made of them does not live here.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray


def draw_companions(labels, k, rng):
    """Draw for each image k - 1 others of its subject, different ones as far as there are so many.

    Parameters
    ----------
    labels : array-like of shape (n_images,)
        Subjects.
    k : int
        Images in a row of the result.
    rng : numpy.random.RandomState
        Source of randomness.

    Returns
    -------
    ndarray of shape (n_images, k), int
        Rows, the image itself first; those of subjects with fewer than k images repeat.
    """
    order, first, last = _ranges(labels, rng)
    rank = np.argsort(order)
    steps = (rank - first)[:, None] + np.arange(k)
    return order[first[:, None] + steps % (last - first)[:, None]]


def draw_strangers(labels, rows, rng):
    """Draw for each of some images one of another subject.

    Parameters
    ----------
    labels : array-like of shape (n_images,)
        Subjects, at least two.
    rows : ndarray of shape (n_rows,), int
        Which images.
    rng : numpy.random.RandomState
        Source of randomness.

    Returns
    -------
    ndarray of shape (n_rows,), int
        Rows of the others, which may repeat.
    """
    order, first, last = _ranges(labels, rng)
    first, size = first[rows], (last - first)[rows]
    drawn = (rng.random_sample(len(rows)) * (len(order) - size)).astype(int)
    return order[drawn + (drawn >= first) * size]


def pool_embeddings(
    embeddings: ArrayLike, pooling: Literal["mean", "stacked"] = "mean"
) -> NDArray[np.float32]:
    """Bring the embeddings of several templates of one subject to one vector.

    Parameters
    ----------
    embeddings : array-like of shape (n_subjects, k, m)
        Embeddings F(T) of k templates of each.
    pooling : {"mean", "stacked"}, default="mean"
        Their mean, which averages out how the photos differ, or all of them side by side, which
        loses nothing.

    Returns
    -------
    ndarray of shape (n_subjects, m) or (n_subjects, k * m), float32
        A vector for each.

    Raises
    ------
    ValueError
        If `embeddings` is not 3-D or `pooling` is unknown.

    References
    ----------
    ISO/IEC 30136:2018, "Performance testing of biometric template protection schemes", for the
    attack by record multiplicity.

    Examples
    --------
    >>> from skdistort.attacks import pool_embeddings
    >>> pool_embeddings([[[0.0, 1.0], [1.0, 0.0]]]), pool_embeddings([[[0.0, 1.0]]], "stacked")
    (array([[0.5, 0.5]], dtype=float32), array([[0., 1.]], dtype=float32))
    """
    embeddings = np.asarray(embeddings, dtype=np.float32)
    if embeddings.ndim != 3:
        raise ValueError(f"embeddings must have shape (n, k, m), got {embeddings.shape}.")
    if pooling not in ("mean", "stacked"):
        raise ValueError(f"pooling must be 'mean' or 'stacked', got {pooling!r}.")
    if pooling == "mean":
        return embeddings.mean(axis=1)
    return embeddings.reshape(len(embeddings), -1)


def _ranges(labels, rng):
    """Order images by subject, at random within one; and where each image's subject lies."""
    codes = np.unique(np.asarray(labels), return_inverse=True)[1]
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    in_order = codes[order]
    return order, np.searchsorted(in_order, codes), np.searchsorted(in_order, codes, "right")
