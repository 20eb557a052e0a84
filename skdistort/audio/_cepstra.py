"""Cepstral coefficients of log-mel spectrograms, and how they change over frames.

Log-mel spectrograms themselves are made in `_log_mel`.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import assert_all_finite
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from ..images._layout import infer_image_shape, split_layout, with_channels
from ..persistence import PersistenceMixin


def dct_basis(n_coefficients: int, n_bands: int) -> NDArray[np.float64]:
    """Return rows of the orthonormal discrete cosine transform, type II.

    Row k is ``s_k cos(pi k (b + 1/2) / n_bands)`` with ``s_0 = sqrt(1 / n_bands)`` and ``s_k =
    sqrt(2 / n_bands)`` else.

    Parameters
    ----------
    n_coefficients : int
        Rows to return, from the constant one on; at most `n_bands`.
    n_bands : int
        Length of what is transformed.

    Returns
    -------
    ndarray of shape (n_coefficients, n_bands), float64
        Orthonormal rows.

    Raises
    ------
    ValueError
        If not ``1 <= n_coefficients <= n_bands``.

    References
    ----------
    Davis and Mermelstein, "Comparison of parametric representations for monosyllabic word
    recognition in continuously spoken sentences", IEEE Transactions on ASSP 28 (1980).

    Examples
    --------
    >>> from skdistort.audio import dct_basis
    >>> dct_basis(2, 2).round(3)
    array([[ 0.707,  0.707],
           [ 0.707, -0.707]])
    """
    if not 1 <= n_coefficients <= n_bands:
        raise ValueError(
            f"n_coefficients={n_coefficients!r} must be at least 1 and at most the {n_bands} "
            "mel band(s)."
        )
    return dct(np.eye(n_bands), type=2, norm="ortho", axis=0)[:n_coefficients]


def delta_coefficients(features: NDArray[Any], window: int = 2) -> NDArray[Any]:
    """Slope of features over frames: the regression formula, edge frames repeated.

    ``d_t = sum_k k (c_{t+k} - c_{t-k}) / (2 sum_k k^2)``, k = 1 to `window`.

    Parameters
    ----------
    features : ndarray of shape (..., n_frames, n_features)
        Features of successive frames, at least one.
    window : int, default=2
        Frames on either side.

    Returns
    -------
    ndarray of the shape of `features`
        Change of the features a frame; of their type if they are floats, else float64.

    Raises
    ------
    ValueError
        If `features` has fewer than two dimensions, or no frame, or `window` is below 1.

    References
    ----------
    Young et al., "The HTK book", section 5.9.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.audio import delta_coefficients
    >>> delta_coefficients(np.arange(0, 14, 2.0)[:, None]).ravel()
    array([1. , 1.6, 2. , 2. , 2. , 1.6, 1. ])
    """
    features = np.asarray(features)
    if features.ndim < 2 or features.shape[-2] == 0:
        raise ValueError(
            "features must be of shape (..., n_frames, n_features) with a frame at least, got "
            f"{features.shape}."
        )
    if features.dtype.kind != "f":
        features = features.astype(np.float64)
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window!r}.")
    edges = [(0, 0)] * (features.ndim - 2) + [(window, window), (0, 0)]
    padded = np.pad(features, edges, mode="edge")
    n_frames = features.shape[-2]

    def difference(k):
        later = padded[..., window + k : window + k + n_frames, :]
        return later - padded[..., window - k : window - k + n_frames, :]

    steps = range(1, window + 1)
    return sum(k * difference(k) for k in steps) / (2 * sum(k * k for k in steps))


class CepstralCoefficients(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, PersistenceMixin, BaseEstimator
):
    """Turn log-mel spectrograms into mel-frequency cepstral coefficients, MFCC, and their deltas.

    The coefficients of a frame are the first ones of the orthonormal cosine transform of its log
    energies, the constant one included; deltas follow them. Nothing but the shape is learned.

    Parameters
    ----------
    n_coefficients : int, default=20
        Coefficients of a frame, without deltas; at most the number of mel bands.
    deltas : bool, default=True
        Whether the slopes of the coefficients over two frames on either side follow them, see
        :func:`delta_coefficients`.
    image_shape : tuple of int or None, default=None
        ``(n_mels, n_frames)`` or ``(n_mels, n_frames, 1)`` of flat rows. None infers it: a square
        if the number of features is one, else one mel band.

    Attributes
    ----------
    image_shape_ : tuple of 3 int
        ``(n_mels, n_frames, 1)`` of the spectrograms; `n_frames` is None if ``fit`` saw a list of
        spectrograms of different lengths.
    n_features_in_ : int
        Values in a spectrogram; if ``fit`` saw different lengths, in a frame.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if ``fit`` saw a data frame with string names.

    See Also
    --------
    LogMelSpectrogram : Makes the spectrograms.

    Notes
    -----
    There is no lifter: it scales each coefficient, which Gaussian models with diagonal
    covariances do not feel.

    A list of spectrograms of different lengths, as ``LogMelSpectrogram(n_frames=None)`` makes
    it, becomes a list of arrays, which :class:`IVectorExtractor` takes.

    Data frames hold flat rows only: with ``set_output(transform="pandas")``, pass flat rows.

    References
    ----------
    Davis and Mermelstein, "Comparison of parametric representations for monosyllabic word
    recognition in continuously spoken sentences", IEEE Transactions on ASSP 28 (1980). Khan and
    Hernando, "Unsupervised Training of Siamese Networks for Speaker Verification", Interspeech
    2020, section 4, for 20 coefficients with deltas.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.audio import CepstralCoefficients
    >>> spectrograms = np.random.default_rng(0).normal(size=(3, 80, 350, 1))
    >>> CepstralCoefficients().fit_transform(spectrograms).shape
    (3, 350, 40)
    """

    _parameter_constraints: dict = {
        "n_coefficients": [Interval(Integral, 1, None, closed="left")],
        "deltas": ["boolean"],
        "image_shape": ["array-like", None],
    }

    def __init__(self, n_coefficients=20, *, deltas=True, image_shape=None):
        self.n_coefficients = n_coefficients
        self.deltas = deltas
        self.image_shape = image_shape

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the shape of a spectrogram.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_mels, n_frames[, 1])
            Log-mel spectrograms, or a list of arrays of shape (n_mels, n_frames_i[, 1]).
        y : None
            Ignored.

        Returns
        -------
        CepstralCoefficients
            The fitted estimator.

        Raises
        ------
        ValueError
            If the spectrograms have several channels or fewer mel bands than `n_coefficients`, or
            `image_shape` does not fit them.
        """
        if _is_ragged(X):
            spectrograms = _check_ragged(X, self.image_shape and self.image_shape[0])
            n_mels = len(spectrograms[0])
            self._check_bands((n_mels, None))
            # Frames are what has features here: their number is that of the bands.
            validate_data(self, spectrograms[0].T, dtype="float32")
            self.image_shape_ = n_mels, None, 1
            self._n_features_out = self.n_coefficients * (2 if self.deltas else 1)
            return self
        rows, layout = split_layout(X)
        rows = validate_data(self, rows, dtype="float32")
        shape = infer_image_shape(rows.shape[1], layout, self.image_shape)
        n_mels, n_frames, n_channels = shape
        if n_channels != 1:
            raise ValueError(f"Spectrograms have one channel, got images of shape {shape}.")
        self._check_bands((n_mels, n_frames))
        self.image_shape_ = shape
        self._n_features_out = n_frames * self.n_coefficients * (2 if self.deltas else 1)
        return self

    def transform(self, X):
        """Compute the coefficients.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_mels, n_frames[, 1])
            Log-mel spectrograms of the shape of ``fit``, or a list of arrays of shape (n_mels,
            n_frames_i[, 1]), whose lengths need not be those of ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_frames, d), dtype float32
            `n_coefficients` coefficients and, with `deltas`, as many deltas of each frame. For
            flat rows ``(n_samples, n_frames * d)``, frame after frame. For a list of other
            lengths than in ``fit``, or after a ``fit`` on different ones, a list of arrays of
            shape (n_frames_i, d).
        """
        check_is_fitted(self)
        n_mels, fitted_frames, _ = self.image_shape_
        if fitted_frames is None or _is_ragged(X, self.image_shape_):
            spectrograms = _check_ragged(X, n_mels)
            return [self._compute(spectrogram.T) for spectrogram in spectrograms]
        rows, layout = split_layout(X)
        rows = validate_data(self, rows, dtype="float32", reset=False)
        n_mels, n_frames, _ = infer_image_shape(rows.shape[1], layout, self.image_shape_)
        frames = rows.reshape(len(rows), n_mels, n_frames).transpose(0, 2, 1)
        features = self._compute(frames)
        return features.reshape(len(rows), -1) if layout is None else features

    def _check_bands(self, shape):
        """Refuse more coefficients than bands."""
        if self.n_coefficients > shape[0]:
            raise ValueError(
                f"n_coefficients={self.n_coefficients} exceeds the {shape[0]} mel band(s) of "
                f"spectrograms of shape {shape}. Set image_shape=(n_mels, n_frames) if that is "
                "not the shape of the flat rows."
            )

    def _compute(self, frames):
        """Coefficients and deltas of frames, shape (..., n_frames, n_mels)."""
        basis = dct_basis(self.n_coefficients, frames.shape[-1]).astype(np.float32)
        features = frames @ basis.T
        if self.deltas:
            features = np.concatenate([features, delta_coefficients(features)], axis=-1)
        return features

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _is_ragged(X, image_shape=None):
    """Tell a list of spectrograms of different shapes, or others than of `fit`, from an array."""
    if isinstance(X, np.ndarray) and not (X.dtype == object and X.ndim == 1):
        return False
    if not isinstance(X, (list, tuple, np.ndarray)) or len(X) == 0:
        return False
    shapes = {getattr(spectrogram, "shape", ()) for spectrogram in X}
    if not all(len(shape) in (2, 3) for shape in shapes):
        return False
    return len(shapes) > 1 or image_shape not in (None, with_channels(shapes.pop()))


def _check_ragged(X, n_mels=None):
    """Return spectrograms as float32 of shape (n_mels, n_frames_i), or name what is none."""
    if len(X) == 0:
        raise ValueError("X holds no spectrogram: at least one is required.")
    spectrograms = []
    for i, spectrogram in enumerate(X):
        spectrogram = np.asarray(spectrogram)
        shape = spectrogram.shape
        if len(shape) == 3 and shape[2] == 1:
            spectrogram = spectrogram[:, :, 0]
        if spectrogram.ndim != 2 or spectrogram.size == 0:
            raise ValueError(f"X[{i}] must be of shape (n_mels, n_frames[, 1]), got {shape}.")
        n_mels = len(spectrogram) if n_mels is None else n_mels
        if len(spectrogram) != n_mels:
            raise ValueError(f"X[{i}] has {len(spectrogram)} mel bands, expected {n_mels}.")
        # What overflows is not finite.
        with np.errstate(over="ignore"):
            spectrogram = spectrogram.astype(np.float32, copy=False)
        assert_all_finite(spectrogram, input_name=f"X[{i}]")
        spectrograms.append(spectrogram)
    return spectrograms
