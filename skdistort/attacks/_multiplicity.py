"""Multiplicity: what several templates of one subject give away together.

What lives here gathers and pools them; the inversion is that of
:class:`skdistort.attacks.NetworkInversion`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
