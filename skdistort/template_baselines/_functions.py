"""Cancelable hashes as functions, for a key a user, and the comparison of hashes.

What lives here are functions. The formulas are those of the transformers in
:mod:`skdistort.template_baselines._hashing`. The scores that say how well hashes verify or link
are in :mod:`skdistort.metrics`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from .._typing import Key
from ._hashing import BioHashing, IoMHashing, MLPHash, biohash_of_few, check_n_bits
from ._polynomials import PolyProtect


def biohash(embeddings: ArrayLike, key: Key, n_bits: int | None = None) -> NDArray[np.uint8]:
    """Hash embeddings to bits by BioHashing: Teoh, Ngo and Goh (2004).

    The inner products with orthonormal vectors that the key determines, thresholded at 0.

    Parameters
    ----------
    embeddings : array-like of shape (n_samples, n_features)
        Embeddings, finite.
    key : int or bytes
        The token. A user's own in the normal scenario, the same for all in that of stolen tokens.
    n_bits : int or None, default=None
        Length of the hash, at most n_features. None is n_features.

    Returns
    -------
    ndarray of shape (n_samples, n_bits), uint8
        Bits, 0 or 1.

    Raises
    ------
    ValueError
        If `n_bits` or `key` is out of range, or `embeddings` is not a matrix of finite numbers.
    TypeError
        If `key` is neither an int nor bytes.

    See Also
    --------
    BioHashing : The same for one key, as a transformer.

    References
    ----------
    Teoh, Ngo, Goh, "BioHashing: two factor authentication featuring fingerprint data and tokenised
    random number", Pattern Recognition 37 (2004).

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.template_baselines import biohash, hamming_similarity
    >>> x = np.random.default_rng(0).normal(size=(1, 256))
    >>> noisy = x + 0.1
    >>> bool(hamming_similarity(biohash(x, key=1), biohash(noisy, key=1)) > 0.9)
    True
    >>> bool(hamming_similarity(biohash(x, key=1), biohash(x, key=2)) < 0.7)
    True
    """
    X = _float64_matrix(embeddings)
    if len(X) < X.shape[1]:
        return biohash_of_few(X, key, check_n_bits(n_bits, X.shape[1]))
    return _hash_once(BioHashing(n_bits, key=key), X)


def mlp_hash(
    embeddings: ArrayLike,
    key: Key,
    n_bits: int | None = None,
    *,
    n_hidden_layers: int = 3,
    hidden_units: int | None = None,
) -> NDArray[np.uint8]:
    """Hash embeddings to bits by MLP-Hash: Shahreza, Hahn and Marcel (2023).

    A perceptron of random orthonormal weights that the key determines, with rectified linear
    hidden layers and without biases, whose outputs are thresholded at their mean.

    Parameters
    ----------
    embeddings : array-like of shape (n_samples, n_features)
        Embeddings, finite.
    key : int or bytes
        The user's seed.
    n_bits : int or None, default=None
        Length of the hash, at least 2. None is n_features.
    n_hidden_layers : int, default=3
        Hidden layers.
    hidden_units : int or None, default=None
        Width of each of them. None is ``2 * n_features``.

    Returns
    -------
    ndarray of shape (n_samples, n_bits), uint8
        Bits, 0 or 1.

    Raises
    ------
    ValueError
        If a parameter is out of range, or `embeddings` is not a matrix of finite numbers.
    TypeError
        If `key` is neither an int nor bytes.

    See Also
    --------
    MLPHash : The same for one key, as a transformer.

    References
    ----------
    Shahreza, Hahn, Marcel, "MLP-Hash: protecting face templates via hashing of randomized
    multi-layer perceptron", EUSIPCO 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.template_baselines import mlp_hash
    >>> mlp_hash(np.eye(4), key=b"user 1", n_bits=8).shape
    (4, 8)
    """
    scheme = MLPHash(n_bits, key=key, n_hidden_layers=n_hidden_layers, hidden_units=hidden_units)
    return _hash_once(scheme, embeddings)


def iom_hash(
    embeddings: ArrayLike, key: Key, n_hashes: int = 300, *, n_projections: int = 16
) -> NDArray[np.unsignedinteger]:
    """Hash embeddings to indices by Index-of-Max hashing, IoM-GRP: Jin et al. (2018).

    Each index says which of `n_projections` Gaussian random vectors has the greatest inner
    product with the embedding.

    Parameters
    ----------
    embeddings : array-like of shape (n_samples, n_features)
        Embeddings, finite.
    key : int or bytes
        The token.
    n_hashes : int, default=300
        Length of the hash.
    n_projections : int, default=16
        Values that an index can take, at least 2.

    Returns
    -------
    ndarray of shape (n_samples, n_hashes), uint8 (uint16 or more beyond 256 values)
        Indices from 0.

    Raises
    ------
    ValueError
        If a parameter is out of range, or `embeddings` is not a matrix of finite numbers.
    TypeError
        If `key` is neither an int nor bytes.

    See Also
    --------
    IoMHashing : The same for one key, as a transformer.

    References
    ----------
    Jin, Hwang, Lai, Kim, Teoh, "Ranking-based locality sensitive hashing-enabled cancelable
    biometrics: Index-of-Max hashing", IEEE Transactions on Information Forensics and Security 13
    (2018).

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.template_baselines import iom_hash
    >>> indices = iom_hash(np.eye(4), key=7, n_hashes=100)
    >>> indices.shape, int(indices.min()), int(indices.max())
    ((4, 100), 0, 15)
    """
    return _hash_once(IoMHashing(n_hashes, key=key, n_projections=n_projections), embeddings)


def polyprotect(
    embeddings: ArrayLike,
    key: Key,
    overlap: int = 4,
    *,
    n_terms: int = 5,
    max_coefficient: int = 50,
) -> NDArray[np.float64]:
    """Map embeddings by PolyProtect: Hahn and Marcel (2022).

    Each group of `n_terms` neighbouring values becomes one number, ``sum_j c_j v_j^e_j``, with
    coefficients and exponents that the key determines. Templates are compared by their cosine.

    Parameters
    ----------
    embeddings : array-like of shape (n_samples, n_features)
        Embeddings, finite. The paper's have values within [-1, 1].
    key : int or bytes
        The user's own.
    overlap : int, default=4
        How many values neighbouring groups share, below `n_terms`.
    n_terms : int, default=5
        Terms of the polynomial, m.
    max_coefficient : int, default=50
        Coefficients lie between this and its negative.

    Returns
    -------
    ndarray of shape (n_samples, n_outputs), float64
        Templates.

    Raises
    ------
    ValueError
        If a parameter is out of range, or `embeddings` is not a matrix of finite numbers.
    TypeError
        If `key` is neither an int nor bytes.

    See Also
    --------
    PolyProtect : The same for one key, as a transformer.

    References
    ----------
    Hahn, Marcel, "Towards protecting face embeddings in mobile face verification scenarios", IEEE
    Transactions on Biometrics, Behavior, and Identity Science 4 (2022).

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.template_baselines import polyprotect
    >>> [polyprotect(np.eye(1, 128), key=7, overlap=overlap).shape[1] for overlap in range(5)]
    [26, 32, 42, 63, 124]
    """
    scheme = PolyProtect(overlap, key=key, n_terms=n_terms, max_coefficient=max_coefficient)
    return _hash_once(scheme, embeddings)


def hamming_similarity(left: ArrayLike, right: ArrayLike) -> NDArray[np.float32]:
    """Share of the positions where two hashes agree, of bits or of indices.

    Parameters
    ----------
    left : array-like of shape (n_left, n_positions)
        Hashes.
    right : array-like of shape (n_right, n_positions)
        Hashes to compare each of them with.

    Returns
    -------
    ndarray of shape (n_left, n_right), float32
        Shares, in [0, 1]. Some rows of `left` at a time give the same rows of the result.

    Raises
    ------
    ValueError
        If an array is not 2-D, has no positions, or their lengths differ.

    Examples
    --------
    >>> from skdistort.template_baselines import hamming_similarity
    >>> hamming_similarity([[0, 1, 1, 0]], [[0, 1, 0, 0], [1, 0, 0, 1]])
    array([[0.75, 0.  ]], dtype=float32)
    """
    left, right = np.asarray(left), np.asarray(right)
    for name, hashes in (("left", left), ("right", right)):
        if hashes.ndim != 2 or hashes.shape[1] == 0:
            raise ValueError(f"{name} must have shape (n_hashes, n_positions), got {hashes.shape}.")
    if left.shape[1] != right.shape[1]:
        raise ValueError(
            "left and right must be hashes of the same length, got "
            f"{left.shape[1]} and {right.shape[1]} positions."
        )
    # A matrix product for each value; the counts are whole numbers, exact in float32.
    counts = np.zeros((len(left), len(right)), dtype=np.float32)
    for value in np.unique(left):
        counts += (left == value).astype(np.float32) @ (right == value).astype(np.float32).T
    counts /= np.float32(left.shape[1])
    return counts


def _hash_once(scheme, embeddings):
    """Hash with an estimator made for this call alone."""
    # An array, whatever is asked of transformers elsewhere.
    scheme.set_output(transform="default")
    return scheme.fit_transform(check_array(embeddings, dtype=np.float64))


def _float64_matrix(X):
    """Validate embeddings; what is right as it is takes a tenth of the time of `check_array`."""
    right = isinstance(X, np.ndarray) and X.dtype == np.float64 and X.ndim == 2 and X.size > 0
    return X if right and np.isfinite(X).all() else check_array(X, dtype=np.float64)
