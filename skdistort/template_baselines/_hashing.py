"""Cancelable hashes of embeddings: BioHashing, MLP-Hash and Index-of-Max hashing.

What lives here are the transformers, of one key each, and the formulas. The functions that take a
key a call are in :mod:`skdistort.template_baselines._functions`; how keys become random matrices
is in :mod:`skdistort.keys`.
"""

from numbers import Integral

import numpy as np
from scipy.linalg import lapack
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from ..keys import HiddenParameter, keyed_normals, keyed_orthonormal
from ..persistence import PersistenceMixin

# Values of one block of projections: 32 MB in float64.
_BLOCK = 2**22

# Householder reflections applied together.
_REFLECTIONS = 32


# What the key's numbers are for: of any other name, there would be other hashes.
_BIOHASHING = "BioHashing"


def check_n_bits(n_bits, n_features):
    """Give the length of a BioHash, or say why there is none of that length.

    Parameters
    ----------
    n_bits : int or None
        Length asked for.
    n_features : int
        Length of an embedding.

    Returns
    -------
    int
        `n_bits`, or `n_features` for None.

    Raises
    ------
    ValueError
        If it is no integer, below 1, or more than there are orthonormal vectors.
    """
    n_bits = n_features if n_bits is None else n_bits
    if not isinstance(n_bits, Integral) or n_bits < 1:
        raise ValueError(f"n_bits must be an integer of at least 1, got {n_bits!r}.")
    if n_bits > n_features:
        raise ValueError(
            f"n_bits={n_bits} exceeds n_features={n_features}: there are no more orthonormal "
            "vectors than that."
        )
    return n_bits


def biohash_of_few(X, key, n_bits):
    """Hash fewer embeddings than they have components, without the matrix of the projections.

    Householder reflections take the embeddings to their projections in half the time that making
    the orthonormal vectors takes.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Embeddings, float64.
    key : int or bytes
        The token.
    n_bits : int
        Length of the hash.

    Returns
    -------
    ndarray of shape (n_samples, n_bits), uint8
        The bits of :class:`BioHashing`.

    References
    ----------
    Golub, Van Loan, "Matrix computations" (4th edition, 2013), section 5.1.6, factored form.
    """
    n_features = X.shape[1]
    normals = keyed_normals(key, _BIOHASHING, (n_features, n_bits))
    # In blocks from the first column on: by itself LAPACK begins with them at 128 columns.
    reflectors, factors, _ = lapack.dgeqrt(min(_REFLECTIONS, n_bits), normals)
    projected, _ = lapack.dgemqrt(reflectors, factors, X.T, side="L", trans="T")
    # As in keyed_orthonormal, the diagonal of R is to be positive.
    signs = np.where(np.diagonal(reflectors) < 0, -1.0, 1.0)
    return (projected[:n_bits].T * signs > 0).view(np.uint8)


class _KeyedHashing(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, PersistenceMixin, BaseEstimator
):
    """What the keyed transformers share: subclasses draw weights and apply them."""

    key = HiddenParameter()

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Draw the random weights from the key; of X only the number of features counts.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings, finite.
        y : None
            Ignored.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            If the length of the hash does not suit the number of features.
        """
        X = validate_data(self, X, dtype=np.float64)
        self._draw(X.shape[1])
        return self

    def transform(self, X):
        """Protect embeddings.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings, finite.

        Returns
        -------
        ndarray of shape (n_samples, n_positions)
            Bits or indices, unsigned integers; values of polynomials, float64.
        """
        check_is_fitted(self)
        # In float64: a bit flips where rounding carries a projection over the threshold.
        return self._hash(validate_data(self, X, dtype=np.float64, reset=False))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


class BioHashing(_KeyedHashing):
    """Hash embeddings to bits by BioHashing, with one key.

    Parameters
    ----------
    n_bits : int or None, default=None
        Length of the hash, at most the number of features. None is that number.
    key : int or bytes, default=0
        The token. Other keys give hashes that agree in half of the bits.

    Attributes
    ----------
    projection_ : ndarray of shape (n_features_in_, n_bits)
        Orthonormal columns.
    n_features_in_ : int
        Length of the embeddings.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if ``fit`` saw a data frame with string names.

    See Also
    --------
    biohash : The same as a function, for a key a user.
    hamming_similarity : Compare the hashes.

    Notes
    -----
    The scheme is as secret as its key, which a pickle, and what is fitted, holds. To who has it,
    ``projection_ @ (2 * bits - 1)`` is an embedding with the very bits of a stolen hash.

    References
    ----------
    Teoh, Ngo, Goh, "BioHashing: two factor authentication featuring fingerprint data and tokenised
    random number", Pattern Recognition 37 (2004).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistort.template_baselines import BioHashing
    >>> X, _ = load_digits(return_X_y=True)
    >>> BioHashing(32, key=b"secret").fit_transform(X - X.mean(axis=0)).shape
    (1797, 32)
    """

    _parameter_constraints: dict = {
        "n_bits": [Interval(Integral, 1, None, closed="left"), None],
        "key": [Interval(Integral, 0, None, closed="left"), bytes],
    }

    def __init__(self, n_bits=None, *, key=0):
        self.n_bits = n_bits
        self.key = key

    def _draw(self, n_features):
        n_bits = check_n_bits(self.n_bits, n_features)
        self.projection_ = keyed_orthonormal(self.key, _BIOHASHING, n_features, n_bits)
        self._n_features_out = n_bits

    def _hash(self, X):
        return (X @ self.projection_ > 0).view(np.uint8)


class MLPHash(_KeyedHashing):
    """Hash embeddings to bits by MLP-Hash, with one key.

    Parameters
    ----------
    n_bits : int or None, default=None
        Length of the hash, at least 2. None is the number of features.
    key : int or bytes, default=0
        The user's seed. Other keys give hashes that agree in half of the bits.
    n_hidden_layers : int, default=3
        Hidden layers.
    hidden_units : int or None, default=None
        Width of each of them. None is twice the number of features.

    Attributes
    ----------
    weights_ : list of ndarray of shape (n_inputs, n_outputs)
        Weights of each layer: orthonormal rows, or columns where there are fewer of them, as in
        the last layer, which the paper leaves open.
    n_features_in_ : int
        Length of the embeddings.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if ``fit`` saw a data frame with string names.

    See Also
    --------
    mlp_hash : The same as a function, for a key a user.
    hamming_similarity : Compare the hashes.

    Notes
    -----
    The scheme is as secret as its key, which a pickle, and what is fitted, holds.

    References
    ----------
    Shahreza, Hahn, Marcel, "MLP-Hash: protecting face templates via hashing of randomized
    multi-layer perceptron", EUSIPCO 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistort.template_baselines import MLPHash
    >>> X, _ = load_digits(return_X_y=True)
    >>> MLPHash(32, key=b"secret").fit_transform(X - X.mean(axis=0)).shape
    (1797, 32)
    """

    _parameter_constraints: dict = {
        "n_bits": [Interval(Integral, 2, None, closed="left"), None],
        "key": [Interval(Integral, 0, None, closed="left"), bytes],
        "n_hidden_layers": [Interval(Integral, 0, None, closed="left")],
        "hidden_units": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(self, n_bits=None, *, key=0, n_hidden_layers=3, hidden_units=None):
        self.n_bits = n_bits
        self.key = key
        self.n_hidden_layers = n_hidden_layers
        self.hidden_units = hidden_units

    def _draw(self, n_features):
        n_bits = n_features if self.n_bits is None else self.n_bits
        if n_bits < 2:
            raise ValueError(
                "MLPHash needs two bits or more, of which a mean can be taken, but n_bits=None "
                f"means n_features={n_features}."
            )
        width = 2 * n_features if self.hidden_units is None else self.hidden_units
        sizes = [n_features, *[width] * self.n_hidden_layers, n_bits]
        self.weights_ = [
            keyed_orthonormal(self.key, f"MLPHash {layer}", n_inputs, n_outputs)
            for layer, (n_inputs, n_outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True))
        ]
        self._n_features_out = n_bits

    def _hash(self, X):
        for weights in self.weights_[:-1]:
            X = np.maximum(X @ weights, 0)
        outputs = X @ self.weights_[-1]
        return (outputs > outputs.mean(axis=1, keepdims=True)).view(np.uint8)


class IoMHashing(_KeyedHashing):
    """Hash embeddings to indices by Index-of-Max hashing with Gaussian projections, with one key.

    Parameters
    ----------
    n_hashes : int, default=300
        Length of the hash.
    key : int or bytes, default=0
        The token. Other keys give hashes that agree in ``1 / n_projections`` of the indices.
    n_projections : int, default=16
        Values that an index can take, at least 2.

    Attributes
    ----------
    projections_ : ndarray of shape (n_features_in_, n_hashes * n_projections)
        Gaussian random vectors, those of one index side by side.
    n_features_in_ : int
        Length of the embeddings.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if ``fit`` saw a data frame with string names.

    See Also
    --------
    iom_hash : The same as a function, for a key a user.
    hamming_similarity : Compare the hashes.

    Notes
    -----
    The scheme is as secret as its key, which a pickle, and what is fitted, holds.

    References
    ----------
    Jin, Hwang, Lai, Kim, Teoh, "Ranking-based locality sensitive hashing-enabled cancelable
    biometrics: Index-of-Max hashing", IEEE Transactions on Information Forensics and Security 13
    (2018).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistort.template_baselines import IoMHashing
    >>> X, _ = load_digits(return_X_y=True)
    >>> IoMHashing(32, key=b"secret").fit_transform(X).shape
    (1797, 32)
    """

    _parameter_constraints: dict = {
        "n_hashes": [Interval(Integral, 1, None, closed="left")],
        "key": [Interval(Integral, 0, None, closed="left"), bytes],
        "n_projections": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(self, n_hashes=300, *, key=0, n_projections=16):
        self.n_hashes = n_hashes
        self.key = key
        self.n_projections = n_projections

    def _draw(self, n_features):
        shape = (n_features, self.n_hashes * self.n_projections)
        self.projections_ = keyed_normals(self.key, "IoMHashing", shape)
        self._n_features_out = self.n_hashes

    def _hash(self, X):
        dtype = np.min_scalar_type(self.n_projections - 1)
        indices = np.empty((len(X), self.n_hashes), dtype=dtype)
        step = max(1, _BLOCK // self.projections_.shape[1])
        for i in range(0, len(X), step):
            products = (X[i : i + step] @ self.projections_).reshape(
                -1, self.n_hashes, self.n_projections
            )
            indices[i : i + step] = products.argmax(axis=2)
        return indices
