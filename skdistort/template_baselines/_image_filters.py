"""Images made hard to see, without a key: blurred, or averaged over blocks.

What lives here is the oldest protection there is, as what a learned distortion has to beat. The
measures of how much it hides are in :mod:`skdistort.metrics`.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from ..images._arrays import validate_array
from ..images._layout import for_output, restore_layout
from ..persistence import PersistenceMixin


def blur(images: NDArray[Any], sigma: float) -> NDArray[Any]:
    """Blur images by a Gaussian filter; beyond their border they are mirrored.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width, channels)
        Images of a floating dtype.
    sigma : float
        Standard deviation of the filter, in pixels.

    Returns
    -------
    ndarray of the shape and dtype of images
        Blurred images, each channel by itself.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.template_baselines._image_filters import blur
    >>> X = np.zeros((1, 1, 5, 1))
    >>> X[0, 0, 2] = 1
    >>> blur(X, 1.0).ravel().round(2)
    array([0.06, 0.24, 0.4 , 0.24, 0.06])
    """
    return gaussian_filter(images, (0, sigma, sigma, 0))


def pixelate(images: NDArray[Any], block_size: int) -> NDArray[Any]:
    """Replace every square block of an image by its mean.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width, channels)
        Images of a floating dtype.
    block_size : int
        Side of a block in pixels; those at the lower and the right border may be smaller.

    Returns
    -------
    ndarray of the shape and dtype of images
        Pixelated images, each channel by itself.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.template_baselines._image_filters import pixelate
    >>> pixelate(np.arange(5.0).reshape(1, 1, 5, 1), 2).ravel()
    array([0.5, 0.5, 2.5, 2.5, 4. ])
    """
    for axis in (1, 2):
        length = images.shape[axis]
        starts = np.arange(0, length, block_size)
        sizes = np.diff(starts, append=length)
        sums = np.add.reduceat(images, starts, axis=axis)
        means = sums / np.expand_dims(sizes.astype(images.dtype), (0, 2) if axis == 2 else (1, 2))
        images = np.repeat(means, sizes, axis=axis)
    return images


class _ImageFilter(OneToOneFeatureMixin, TransformerMixin, PersistenceMixin, BaseEstimator):
    """What the image transformers share: subclasses filter ``(n, height, width, channels)``."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the shape of an image.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Images, finite.
        y : None
            Ignored.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            If `image_shape` does not fit the images.
        """
        validate_array(self, X, reset=True, dtype=[np.float64, np.float32])
        return self

    def transform(self, X):
        """Hide what the images show.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Images of the shape of ``fit``.

        Returns
        -------
        ndarray of the shape of X
            Images in the units of `X`: float32 if `X` is, else float64.
        """
        check_is_fitted(self)
        images, layout = validate_array(self, X, reset=False, dtype=[np.float64, np.float32])
        filtered = self._filter(images)
        return for_output(self, restore_layout(filtered.reshape(len(filtered), -1), layout))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class GaussianBlur(_ImageFilter):
    """Blur images by a Gaussian filter.

    Parameters
    ----------
    sigma : float, default=2.0
        Standard deviation of the filter, in pixels.
    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(height, width, channels)`` of flat rows.

    Attributes
    ----------
    image_shape_ : tuple of 3 int
        Height, width and channels of the images.
    units_ : dict of str to list of float
        What ``fit`` saw of pixels, to which later images are held: ``"range"``, and, at
        ``"shares"`` of the images, their ``"lowest"``, ``"highest"``, ``"mean"`` and ``"span"``.
    n_features_in_ : int
        Values in an image.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if ``fit`` saw a data frame with string names.

    See Also
    --------
    Pixelation : Means of blocks instead.

    Notes
    -----
    Blurring is linear, and no secret is kept: a least-squares attack, such as that of
    :func:`skdistort.metrics.ridge_inversion`, undoes much of it.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistort.template_baselines import GaussianBlur
    >>> GaussianBlur(sigma=1.5).fit_transform(load_digits().images).shape
    (1797, 8, 8)
    """

    _parameter_constraints: dict = {
        "sigma": [Interval(Real, 0, None, closed="neither")],
        "image_shape": ["array-like", None],
    }

    def __init__(self, sigma=2.0, *, image_shape=None):
        self.sigma = sigma
        self.image_shape = image_shape

    def _filter(self, images):
        return blur(images, self.sigma)


class Pixelation(_ImageFilter):
    """Replace every square block of an image by its mean.

    Parameters
    ----------
    block_size : int, default=4
        Side of a block in pixels; those at the lower and the right border may be smaller.
    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(height, width, channels)`` of flat rows.

    Attributes
    ----------
    image_shape_ : tuple of 3 int
        Height, width and channels of the images.
    units_ : dict of str to list of float
        What ``fit`` saw of pixels, to which later images are held: ``"range"``, and, at
        ``"shares"`` of the images, their ``"lowest"``, ``"highest"``, ``"mean"`` and ``"span"``.
    n_features_in_ : int
        Values in an image.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if ``fit`` saw a data frame with string names.

    See Also
    --------
    GaussianBlur : A smooth mean instead.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistort.template_baselines import Pixelation
    >>> Pixelation(block_size=2).fit_transform(load_digits().images).shape
    (1797, 8, 8)
    """

    _parameter_constraints: dict = {
        "block_size": [Interval(Integral, 1, None, closed="left")],
        "image_shape": ["array-like", None],
    }

    def __init__(self, block_size=4, *, image_shape=None):
        self.block_size = block_size
        self.image_shape = image_shape

    def _filter(self, images):
        return pixelate(images, self.block_size)
