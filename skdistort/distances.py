"""Differentiable distances between images and between embeddings, in ``keras.ops``.

Every image distance takes two batches of shape ``(n, height, width, channels)`` with pixels in
``[0, 1]`` and returns one value an image. The batch-reduced losses built from them live in
:mod:`skdistort.losses`; their numpy counterparts for reporting, in :mod:`skdistort.metrics`.

Paper A is Zakharov, Kuznetsov and Frontoni, "Unrecognizable Yet Identifiable: Image Distortion
with Preserved Embeddings". Where a square root is taken, its gradient at zero is zero.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np

from ._backend import keras
from ._typing import ImageDistance, Tensor

ops = keras.ops

_IMAGE_AXES = (1, 2, 3)


def squared_euclidean(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distance between embeddings, row by row.

    Parameters
    ----------
    x, y : tensor of shape (n, m)
        Embeddings; on the unit sphere the result lies in ``[0, 4]``.

    Returns
    -------
    tensor of shape (n,)
        ``||x - y||^2``.

    References
    ----------
    Paper A, eq. 1.

    Examples
    --------
    >>> from skdistort.distances import squared_euclidean
    >>> [float(d) for d in squared_euclidean([[1.0, 0.0]], [[-1.0, 0.0]])]
    [4.0]
    """
    return ops.sum(ops.square(ops.subtract(x, y)), axis=-1)


def pairwise_squared_euclidean(x: Tensor) -> Tensor:
    """Squared Euclidean distances between all rows of one batch of embeddings.

    Parameters
    ----------
    x : tensor of shape (n, m)
        Embeddings.

    Returns
    -------
    tensor of shape (n, n)
        ``||x_i - x_j||^2``, never negative.

    Examples
    --------
    >>> from keras import ops
    >>> from skdistort.distances import pairwise_squared_euclidean
    >>> ops.convert_to_numpy(pairwise_squared_euclidean(ops.array([[0.0], [3.0]]))).tolist()
    [[0.0, 9.0], [9.0, 0.0]]
    """
    gram = ops.matmul(x, ops.transpose(x))
    squares = ops.sum(ops.square(x), axis=1)
    return ops.relu(squares[:, None] + squares[None, :] - 2.0 * gram)


def l1_distance(x: Tensor, y: Tensor) -> Tensor:
    """Hamming (L1) distance: the mean absolute difference of the pixels.

    Parameters
    ----------
    x, y : tensor of shape (n, height, width, channels)
        Images, pixels in ``[0, 1]``.

    Returns
    -------
    tensor of shape (n,)
        ``sum |x - y| / n_p`` in ``[0, 1]``, with ``n_p`` the values in an image.

    References
    ----------
    Paper A, d_H (among eq. 10-18).

    Examples
    --------
    >>> from keras import ops
    >>> from skdistort.distances import l1_distance
    >>> x = ops.zeros((1, 2, 2, 1))
    >>> float(l1_distance(x, x + 0.5)[0])
    0.5
    """
    return ops.mean(ops.abs(ops.subtract(x, y)), axis=_IMAGE_AXES)


def l2_distance(
    x: Tensor, y: Tensor, normalize: Literal["paper", "rmse", "mse"] = "paper"
) -> Tensor:
    """Euclidean (L2) distance between images.

    Parameters
    ----------
    x, y : tensor of shape (n, height, width, channels)
        Images, pixels in ``[0, 1]``.
    normalize : {"paper", "rmse", "mse"}, default="paper"
        ``"paper"`` divides the norm by the number of values ``n_p``, so that the distance cannot
        exceed ``1 / sqrt(n_p)``; ``"rmse"`` divides it by ``sqrt(n_p)`` and ``"mse"`` is the
        mean squared difference, both in ``[0, 1]``.

    Returns
    -------
    tensor of shape (n,)
        The distance.

    Raises
    ------
    ValueError
        If `normalize` is unknown.

    References
    ----------
    Paper A, d_E (eq. 12). Its Table 3 is in fact the ``"mse"`` form.

    Examples
    --------
    >>> from keras import ops
    >>> from skdistort.distances import l2_distance
    >>> x = ops.zeros((1, 2, 2, 1))
    >>> [float(l2_distance(x, x + 0.5, normalize=n)[0]) for n in ("paper", "rmse", "mse")]
    [0.25, 0.5, 0.25]
    """
    square = ops.square(ops.subtract(x, y))
    if normalize == "mse":
        return ops.mean(square, axis=_IMAGE_AXES)
    if normalize == "rmse":
        return _safe_sqrt(ops.mean(square, axis=_IMAGE_AXES))
    if normalize == "paper":
        n_values = int(np.prod(square.shape[1:]))
        return _safe_sqrt(ops.sum(square, axis=_IMAGE_AXES)) / n_values
    raise ValueError(f"normalize must be 'paper', 'rmse' or 'mse', got {normalize!r}.")


def dssim(x: Tensor, y: Tensor, window: int = 11, sigma: float = 1.5) -> Tensor:
    """Structural dissimilarity, ``(1 - SSIM) / 2``.

    SSIM uses a Gaussian window, population statistics and the constants of its authors
    (K1 = 0.01, K2 = 0.03, L = 1), averaged over the positions where the window fits whole.

    Parameters
    ----------
    x, y : tensor of shape (n, height, width, channels)
        Images, pixels in ``[0, 1]``.
    window : int, default=11
        Odd side of the window. Along an axis shorter than it, the largest odd length that fits.
    sigma : float, default=1.5
        Standard deviation of the window, in pixels.

    Returns
    -------
    tensor of shape (n,)
        Dissimilarity in ``[0, 1]``; 0 for equal images.

    References
    ----------
    Paper A, DSSIM (among eq. 10-18). Wang, Bovik, Sheikh and Simoncelli, "Image quality
    assessment: from error visibility to structural similarity", IEEE TIP 2004.

    Examples
    --------
    >>> from keras import ops
    >>> from skdistort.distances import dssim
    >>> x = ops.ones((1, 8, 8, 1))
    >>> float(dssim(x, x)[0])
    0.0
    """
    x, y = ops.convert_to_tensor(x, "float32"), ops.convert_to_tensor(y, "float32")
    blur = partial(_gaussian_filter, window=window, sigma=sigma)
    mean_x, mean_y = blur(x), blur(y)
    var_x = blur(x * x) - mean_x * mean_x
    var_y = blur(y * y) - mean_y * mean_y
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    ssim = ((2.0 * mean_x * mean_y + c1) * (2.0 * covariance + c2)) / (
        (mean_x * mean_x + mean_y * mean_y + c1) * (var_x + var_y + c2)
    )
    return (1.0 - ops.mean(ssim, axis=_IMAGE_AXES)) / 2.0


def sobel_mask(x: Tensor) -> Tensor:
    """Squared gradient magnitude of each image, by the Sobel operator.

    Borders are extended by repeating the edge pixel, so that a blank image has no edges.

    Parameters
    ----------
    x : tensor of shape (n, height, width, channels)
        Images, pixels in ``[0, 1]``.

    Returns
    -------
    tensor of shape (n, height, width, channels)
        ``(K_x * x)^2 + (K_y * x)^2``, in ``[0, 20]``.

    References
    ----------
    Paper A, S(X) (among eq. 10-18). (Its released code takes the square root and pads with zeros.)

    Examples
    --------
    >>> from keras import ops
    >>> from skdistort.distances import sobel_mask
    >>> float(ops.max(sobel_mask(ops.ones((1, 5, 5, 1)))))
    0.0
    """
    x = ops.convert_to_tensor(x, "float32")
    x = ops.concatenate([x[:, :1], x, x[:, -1:]], axis=1)
    x = ops.concatenate([x[:, :, :1], x, x[:, :, -1:]], axis=2)
    smooth_rows = x[:, :-2] + 2.0 * x[:, 1:-1] + x[:, 2:]
    smooth_columns = x[:, :, :-2] + 2.0 * x[:, :, 1:-1] + x[:, :, 2:]
    horizontal = smooth_rows[:, :, 2:] - smooth_rows[:, :, :-2]
    vertical = smooth_columns[:, 2:] - smooth_columns[:, :-2]
    return ops.square(horizontal) + ops.square(vertical)


def sobel_distance(x: Tensor, y: Tensor) -> Tensor:
    """L1 distance seen through the edges of the first image.

    Not symmetric: the mask comes from `x`, the true image.

    Parameters
    ----------
    x : tensor of shape (n, height, width, channels)
        True images, pixels in ``[0, 1]``.
    y : tensor of shape (n, height, width, channels)
        Distorted images.

    Returns
    -------
    tensor of shape (n,)
        ``d_H(S(x) . y, S(x) . x)``, in ``[0, 20]``.

    References
    ----------
    Paper A, d_sobel (among eq. 10-18).

    Examples
    --------
    >>> from keras import ops
    >>> from skdistort.distances import sobel_distance
    >>> blank = ops.zeros((1, 5, 5, 1))
    >>> float(sobel_distance(blank, blank + 1.0)[0])
    0.0
    """
    mask = sobel_mask(x)
    return l1_distance(mask * x, mask * y)


def combined_distance(x: Tensor, y: Tensor, beta: float = 0.5) -> Tensor:
    """Weighted sum of the L1 and the Sobel distance.

    Parameters
    ----------
    x : tensor of shape (n, height, width, channels)
        True images, pixels in ``[0, 1]``.
    y : tensor of shape (n, height, width, channels)
        Distorted images.
    beta : float, default=0.5
        Weight of the L1 distance, in ``[0, 1]``.

    Returns
    -------
    tensor of shape (n,)
        ``beta d_H + (1 - beta) d_sobel``.

    References
    ----------
    Paper A, combined distance (among eq. 10-18).

    Examples
    --------
    >>> from keras import ops
    >>> from skdistort.distances import combined_distance
    >>> blank = ops.zeros((1, 5, 5, 1))
    >>> float(combined_distance(blank, blank + 1.0)[0])
    0.5
    """
    return beta * l1_distance(x, y) + (1.0 - beta) * sobel_distance(x, y)


IMAGE_DISTANCES: dict[str, ImageDistance] = {
    "combined": combined_distance,
    "dssim": dssim,
    "l1": l1_distance,
    "l2": l2_distance,
    "mse": partial(l2_distance, normalize="mse"),
    "rmse": partial(l2_distance, normalize="rmse"),
    "sobel": sobel_distance,
}


def check_image_distance(distance: str | ImageDistance, image_shape: tuple[int, int, int]) -> None:
    """Check an image distance on two blank images, before anything is trained.

    Parameters
    ----------
    distance : str or callable
        See :func:`get_image_distance`.
    image_shape : tuple of 3 int
        Height, width and channels.

    Raises
    ------
    ValueError
        If the name is unknown, or the callable does not give one value an image.
    """
    blank = ops.zeros((2, *image_shape))
    shape = tuple(ops.shape(get_image_distance(distance)(blank, blank)))
    if shape != (2,):
        raise ValueError(
            f"distance must give one value an image, (n,); for 2 images it gave shape {shape}."
        )


def get_image_distance(distance: str | ImageDistance) -> ImageDistance:
    """Find an image distance by name, or let a callable through.

    Parameters
    ----------
    distance : {"combined", "dssim", "l1", "l2", "mse", "rmse", "sobel"} or callable
        Name, or ``f(x, y) -> (n,)`` on batches of images in ``[0, 1]``, `x` the true ones.

    Returns
    -------
    callable
        The distance.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> from skdistort.distances import get_image_distance
    >>> get_image_distance("l1").__name__
    'l1_distance'
    """
    if callable(distance):
        return distance
    if distance not in IMAGE_DISTANCES:
        raise ValueError(
            f"distance must be a callable or one of {sorted(IMAGE_DISTANCES)}, got {distance!r}."
        )
    return IMAGE_DISTANCES[distance]


def _safe_sqrt(x):
    # The square root's gradient is infinite at 0 and would turn into NaN under where() alone.
    positive = x > 0.0
    return ops.where(positive, ops.sqrt(ops.where(positive, x, 1.0)), 0.0)


def _gaussian_filter(x, window, sigma):
    # Two banded matrix products: separable, the same on every backend, differentiable.
    rows = _gaussian_band(x.shape[1], window, sigma)
    columns = _gaussian_band(x.shape[2], window, sigma)
    return ops.einsum("nawc,bw->nabc", ops.einsum("ah,nhwc->nawc", rows, x), columns)


def _gaussian_band(size, window, sigma):
    """Matrix of shape ``(size - w + 1, size)`` that slides a Gaussian window of length w."""
    window = min(window, size - 1 + size % 2)
    offsets = np.arange(window) - window // 2
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    band = np.zeros((size - window + 1, size), dtype=np.float32)
    for start, row in enumerate(band):
        row[start : start + window] = kernel
    return band
