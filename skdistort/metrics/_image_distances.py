"""Distances and correlations between two stacks of images, one number for each pair of images.

What lives here is plain numpy on pixels in [0, 1], computed in float64 on a few images at a time.
Scaling pixels to [0, 1] lives in :mod:`skdistort.images._layout`, the differentiable twins for
training in :mod:`skdistort.distances`.

Paper A below is Zakharov, Kuznetsov, Frontoni, "Unrecognizable Yet Identifiable: Image Distortion
with Preserved Embeddings".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import correlate1d

# Values of each stack looked at together, so that they stay in the processor's cache.
_BLOCK = 2**15
# A step of 8-bit pixels is 4e-3 and float32 rounding in [0, 1] below 1e-7; an image whose values
# span less than this holds no picture, and one that strays further from [0, 1] is on another scale.
_ROUNDING = 1e-5

_SSIM_WINDOW = 11
_SSIM_SIGMA = 1.5
_SSIM_C1 = 0.01**2
_SSIM_C2 = 0.03**2
# Positions of the window that share a matrix product: with more of them it has more zeros, with
# fewer there are more products.
_SSIM_POSITIONS = 24

_INTENSITY_BINS = 16
# No image is halved to fewer pixels than this on its shorter side: about those of a digit.
_COARSEST = 24


def mse(X: ArrayLike, Y: ArrayLike) -> NDArray[np.float64]:
    """Mean squared difference of the pixels; what paper A's Table 3 reports.

    Negation, 1 - X, makes it large without hiding anything: read it beside
    :func:`abs_pearson`, :func:`edge_correlation` and :func:`pointwise_r2`.

    Parameters
    ----------
    X, Y : array-like of shape (n_images, height, width, channels)
        Images, pixels in [0, 1].

    Returns
    -------
    ndarray of shape (n_images,), float64
        Mean squared differences, in [0, 1].

    Raises
    ------
    ValueError
        If the stacks are not 4-D, differ in shape, are empty, or leave [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.metrics import mse
    >>> mse(np.zeros((2, 4, 4, 1)), np.full((2, 4, 4, 1), 0.5))
    array([0.25, 0.25])
    """
    return _per_image(_squared_difference, X, Y)


def rmse(X: ArrayLike, Y: ArrayLike) -> NDArray[np.float64]:
    """Root of the mean squared difference of the pixels.

    Paper A's d_E (eq. 12) divides the norm of the difference by the number of pixels, which makes
    it this times ``1 / sqrt(n_pixels)``: it cannot exceed 1/28 on a 28 x 28 image.

    Parameters
    ----------
    X, Y : array-like of shape (n_images, height, width, channels)
        Images, pixels in [0, 1].

    Returns
    -------
    ndarray of shape (n_images,), float64
        Root mean squared differences, in [0, 1].

    Raises
    ------
    ValueError
        As :func:`mse`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.metrics import rmse
    >>> rmse(np.zeros((2, 4, 4, 1)), np.full((2, 4, 4, 1), 0.5))
    array([0.5, 0.5])
    """
    return np.sqrt(mse(X, Y))


def l1(X: ArrayLike, Y: ArrayLike) -> NDArray[np.float64]:
    """Mean absolute difference of the pixels: paper A, d_H (among eq. 10-18).

    Parameters
    ----------
    X, Y : array-like of shape (n_images, height, width, channels)
        Images, pixels in [0, 1].

    Returns
    -------
    ndarray of shape (n_images,), float64
        Mean absolute differences, in [0, 1].

    Raises
    ------
    ValueError
        As :func:`mse`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.metrics import l1
    >>> l1(np.zeros((2, 4, 4, 1)), np.full((2, 4, 4, 1), 0.5))
    array([0.5, 0.5])
    """
    return _per_image(_absolute_difference, X, Y)


def dssim(X: ArrayLike, Y: ArrayLike) -> NDArray[np.float64]:
    """Structural dissimilarity, (1 - SSIM) / 2: paper A, DSSIM (among eq. 10-18).

    SSIM is the mean over the channels and over the positions where the whole window lies within
    the image. The window is Gaussian, 11 pixels with a standard deviation of 1.5; along an axis
    shorter than that it has the largest odd length that fits.

    Parameters
    ----------
    X, Y : array-like of shape (n_images, height, width, channels)
        Images, pixels in [0, 1].

    Returns
    -------
    ndarray of shape (n_images,), float64
        Dissimilarities, in [0, 1]: 0 for equal images, 0.5 for unrelated ones, more for
        negatives.

    Raises
    ------
    ValueError
        As :func:`mse`.

    References
    ----------
    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to
    structural similarity", IEEE Trans. Image Processing 13 (2004), eq. 13.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.metrics import dssim
    >>> X = np.linspace(0, 1, 144).reshape(1, 12, 12, 1)
    >>> dssim(X, X), dssim(X, 1 - X).round(2)
    (array([0.]), array([0.97]))
    """
    return _per_image(_structural_dissimilarity, X, Y)


def abs_pearson(X: ArrayLike, Y: ArrayLike) -> NDArray[np.float64]:
    """Absolute Pearson correlation between the pixels of two images.

    Parameters
    ----------
    X, Y : array-like of shape (n_images, height, width, channels)
        Images, pixels in [0, 1].

    Returns
    -------
    ndarray of shape (n_images,), float64
        Absolute correlations over all pixels and channels, in [0, 1]: 1 for the image itself and
        for its negative, 0 where either image is constant (up to rounding).

    Raises
    ------
    ValueError
        As :func:`mse`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.metrics import abs_pearson
    >>> X = np.linspace(0, 1, 16).reshape(1, 4, 4, 1)
    >>> abs_pearson(X, 1 - X).round(6), abs_pearson(X, np.full_like(X, 0.5))
    (array([1.]), array([0.]))
    """
    return _per_image(_absolute_correlation, X, Y)


def edge_correlation(X: ArrayLike, Y: ArrayLike) -> NDArray[np.float64]:
    """Absolute Pearson correlation between the Sobel gradient magnitudes of two images.

    Tells whether the contours survive, one of the failures in paper A's Table 5. The magnitude is
    the root that paper A's S(X) (among eq. 10-18) leaves out; beyond its border, the image is
    mirrored.

    Large images are compared at half, a quarter, ... of their resolution as well, down to 24 pixels
    on the shorter side, and the largest correlation counts: a pattern of single pixels hides
    contours from the gradient, but not from the eye.

    Parameters
    ----------
    X, Y : array-like of shape (n_images, height, width, channels)
        Images, pixels in [0, 1].

    Returns
    -------
    ndarray of shape (n_images,), float64
        Absolute correlations, in [0, 1]; 0 where either image has the same gradient everywhere.

    Raises
    ------
    ValueError
        As :func:`mse`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.metrics import edge_correlation
    >>> X = np.zeros((1, 8, 8, 1))
    >>> X[:, :, 4:] = 1
    >>> edge_correlation(X, 0.5 - X / 2).round(6)
    array([1.])
    """
    return _per_image(_edge_correlation, X, Y)


def pointwise_r2(X: ArrayLike, Y: ArrayLike) -> NDArray[np.float64]:
    """Share of Y's variance that a function of X's intensity explains, pixel by pixel.

    Within each image, the pixels of X fall into 16 equal bins over [0, 1]; between them, the
    share of the variance of Y's pixels is the correlation ratio eta^2, and epsilon^2 once
    corrected for what chance alone would explain. Near 1 for negation, gamma and any other
    look-up table, which hide nothing from anyone who inverts the table. An X of so little
    contrast that it falls into few bins is explained less than it might be.

    Parameters
    ----------
    X, Y : array-like of shape (n_images, height, width, channels)
        Images, pixels in [0, 1].

    Returns
    -------
    ndarray of shape (n_images,), float64
        Shares over all pixels and channels, in [0, 1]; 0 where Y is constant (up to rounding)
        or there are no more pixels than occupied bins.

    Raises
    ------
    ValueError
        As :func:`mse`.

    References
    ----------
    Kelley, "An unbiased correlation ratio measure", PNAS 21 (1935).

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.metrics import pointwise_r2
    >>> X = np.linspace(0, 1, 256).reshape(1, 16, 16, 1)
    >>> pointwise_r2(X, 1 - X).round(2), pointwise_r2(X, np.full_like(X, 0.5))
    (array([1.]), array([0.]))
    """
    return _per_image(_adjusted_correlation_ratio, X, Y)


def _per_image(kernel, X, Y):
    """Validate two stacks and apply ``kernel(X, Y) -> (n_images,)`` to a few images at a time."""
    X, Y = np.asarray(X), np.asarray(Y)
    if X.ndim != 4 or X.size == 0:
        raise ValueError(
            f"X must be non-empty of shape (n_images, height, width, channels), got {X.shape}."
        )
    if X.shape != Y.shape:
        raise ValueError(f"X and Y must have the same shape, got {X.shape} and {Y.shape}.")
    for name, images in (("X", X), ("Y", Y)):
        low, high = images.min(), images.max()
        # Put so that NaN fails it too.
        if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
            raise ValueError(f"{name} must hold pixels in [0, 1], got values in [{low}, {high}].")
    step = max(1, _BLOCK // X[0].size)
    return np.concatenate(
        [
            kernel(X[i : i + step].astype(np.float64), Y[i : i + step].astype(np.float64))
            for i in range(0, len(X), step)
        ]
    )


def _squared_difference(X, Y):
    return np.square(X - Y).mean(axis=(1, 2, 3))


def _absolute_difference(X, Y):
    return np.abs(X - Y).mean(axis=(1, 2, 3))


def _structural_dissimilarity(X, Y):
    # A channel at a time takes no more memory than a grey image does.
    channels = range(X.shape[3])
    similarity = np.mean([_mean_similarity(X[..., c], Y[..., c]) for c in channels], axis=0)
    return (1 - similarity) / 2


def _mean_similarity(X, Y):
    """Wang et al. (2004), eq. 13, of grey images; of the variances only the sum occurs."""
    mean_x, mean_y, mean_squares, mean_product = _window_means(
        np.stack((X, Y, X * X + Y * Y, X * Y))
    )
    product, squares = mean_x * mean_y, mean_x**2 + mean_y**2
    similarity = (2 * product + _SSIM_C1) * (2 * (mean_product - product) + _SSIM_C2)
    similarity /= (squares + _SSIM_C1) * (mean_squares - squares + _SSIM_C2)
    return similarity.mean(axis=(1, 2))


def _window_means(images):
    """Gaussian-weighted means around every position whose window lies within the image.

    Parameters
    ----------
    images : ndarray of shape (..., height, width)
        Images.

    Returns
    -------
    ndarray of shape (..., n_rows, n_columns)
        A mean for each position.
    """
    *stack, height, width = images.shape
    rows, columns = _window_blocks(height), _window_blocks(width)
    of_columns = np.empty((*stack, rows[-1][0].stop, width))
    for positions, pixels, weights in rows:
        np.matmul(weights, images[..., pixels, :], out=of_columns[..., positions, :])
    means = np.empty((*stack, rows[-1][0].stop, columns[-1][0].stop))
    for positions, pixels, weights in columns:
        np.matmul(of_columns[..., pixels], weights.T, out=means[..., positions])
    return means


def _window_blocks(size):
    """List blocks of the window's positions along an axis, the pixels they see, and the weights."""
    half = (min(_SSIM_WINDOW, size) - 1) // 2
    n_positions = size - 2 * half
    n_blocks = -(-n_positions // _SSIM_POSITIONS)
    step = -(-n_positions // n_blocks)
    offset = np.arange(-half, step + half) - np.arange(step)[:, None]
    weights = np.where(abs(offset) <= half, np.exp(-0.5 * (offset / _SSIM_SIGMA) ** 2), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    blocks = []
    for start in range(0, n_positions, step):
        stop = min(start + step, n_positions)
        of_block = weights[: stop - start, : stop - start + 2 * half]
        blocks.append((slice(start, stop), slice(start, stop + 2 * half), of_block))
    return blocks


def _absolute_correlation(X, Y):
    """Absolute Pearson correlation of all values of an image; 0 where one side is constant."""
    X, Y = X.reshape(len(X), -1), Y.reshape(len(Y), -1)
    varied = (np.ptp(X, axis=1) > _ROUNDING) & (np.ptp(Y, axis=1) > _ROUNDING)
    X = X - X.mean(axis=1, keepdims=True)
    Y = Y - Y.mean(axis=1, keepdims=True)
    scale = np.linalg.norm(X, axis=1) * np.linalg.norm(Y, axis=1)
    product = np.abs(np.einsum("ij,ij->i", X, Y))
    return np.minimum(np.divide(product, scale, out=np.zeros(len(X)), where=varied), 1)


def _edge_correlation(X, Y):
    largest = _absolute_correlation(_gradient_magnitude(X), _gradient_magnitude(Y))
    if min(X.shape[1:3]) < 2 * _COARSEST:
        return largest
    return np.maximum(largest, _edge_correlation(_halved(X), _halved(Y)))


def _halved(images):
    """Average squares of four pixels; an odd row or column at the end is left out."""
    n, height, width, channels = images.shape
    squares = images[:, : height // 2 * 2, : width // 2 * 2]
    return squares.reshape(n, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


def _gradient_magnitude(images):
    """Root of paper A's S(X) (among eq. 10-18), in each channel."""
    rows = correlate1d(correlate1d(images, [-1, 0, 1], axis=1), [1, 2, 1], axis=2)
    columns = correlate1d(correlate1d(images, [-1, 0, 1], axis=2), [1, 2, 1], axis=1)
    return np.hypot(rows, columns)


def _adjusted_correlation_ratio(X, Y):
    """Kelley's epsilon^2 of Y's values over the bins of X's, floored at 0."""
    n_images, n_values = len(X), X[0].size
    X, Y = X.reshape(n_images, -1), Y.reshape(n_images, -1)
    varied = np.ptp(Y, axis=1) > _ROUNDING
    Y = Y - Y.mean(axis=1, keepdims=True)
    bins = np.clip((X * _INTENSITY_BINS).astype(np.intp), 0, _INTENSITY_BINS - 1)
    # Each image counts in 16 cells of its own, so that one bincount serves the whole block.
    cells = (bins + _INTENSITY_BINS * np.arange(n_images)[:, None]).ravel()
    shape = n_images, _INTENSITY_BINS
    counts = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
    sums = np.bincount(cells, weights=Y.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
    total = np.einsum("ij,ij->i", Y, Y)
    between = np.sum(sums**2 / np.maximum(counts, 1), axis=1)
    free = n_values - np.count_nonzero(counts, axis=1)
    defined = varied & (free > 0)
    unexplained = np.divide(
        (total - between) * (n_values - 1), free * total, out=np.ones(n_images), where=defined
    )
    return np.clip(1 - unexplained, 0, 1)
