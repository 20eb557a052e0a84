"""Image layouts: flat rows, ``(n, h, w)`` and ``(n, h, w, c)``, and the way between them.

Keras-free. What lives here only moves values between layouts and scales; distances between
images live in :mod:`skdistort.distances` (Keras) and :mod:`skdistort.metrics` (numpy).
"""

from math import isqrt, prod
from numbers import Integral

import numpy as np
from sklearn.utils._set_output import _get_output_config


def split_layout(X):
    """Flatten a stack of images to rows and remember the shape of one image.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
        Images. Anything that is not 3-D or 4-D is handed through untouched, so that
        scikit-learn's own validation gets to see it.

    Returns
    -------
    rows : array-like of shape (n_samples, n_features)
        The same values, one row an image.
    layout : tuple of int or None
        ``X.shape[1:]`` of a 3-D or 4-D input, None of a flat one.
    """
    if isinstance(X, (list, tuple)) and X and np.ndim(X[0]) in (2, 3):
        X = np.asarray(X)
    if getattr(X, "ndim", None) not in (3, 4):
        return X, None
    X = np.asarray(X)
    # An explicit width: numpy cannot work out -1 for a stack of no images.
    return X.reshape(len(X), prod(X.shape[1:])), X.shape[1:]


def restore_layout(rows, layout):
    """Give rows the layout that :func:`split_layout` remembered.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        One image a row.
    layout : tuple of int or None
        The shape of one image, or None for flat rows.

    Returns
    -------
    ndarray of shape (n_samples, n_features) or (n_samples, *layout)
        The same values.
    """
    return rows if layout is None else rows.reshape(len(rows), *layout)


def for_output(estimator, images):
    """Flatten what ``transform`` gives where a table is asked for, which has flat rows.

    Parameters
    ----------
    estimator : estimator
        Whose ``transform`` gives the images.
    images : ndarray of shape (n_samples, ...)
        Images in the layout of the data.

    Returns
    -------
    ndarray of shape (n_samples, n_features), or that of images
        The same values.
    """
    in_table = _get_output_config("transform", estimator)["dense"] != "default"
    return images.reshape(len(images), -1) if in_table else images


def infer_image_shape(n_features, layout=None, image_shape=None):
    """Find the height, width and channels of one image.

    The parameter decides, else the 3-D or 4-D layout, else a perfect square of one channel,
    else one row of pixels.

    Parameters
    ----------
    n_features : int
        Values in one image.
    layout : tuple of int or None, default=None
        What :func:`split_layout` returned.
    image_shape : tuple of 2 or 3 int or None, default=None
        The shape the caller asks for, channels last; two numbers mean one channel.

    Returns
    -------
    tuple of 3 int
        ``(height, width, channels)``.

    Raises
    ------
    ValueError
        If `image_shape` is no shape, does not hold `n_features` values, or contradicts the
        layout of the data.

    Examples
    --------
    >>> from skdistort.images._layout import infer_image_shape
    >>> infer_image_shape(64), infer_image_shape(10), infer_image_shape(12, image_shape=(3, 4))
    ((8, 8, 1), (1, 10, 1), (3, 4, 1))
    """
    from_layout = None if layout is None else with_channels(layout)
    if image_shape is not None:
        shape = tuple(image_shape)
        if len(shape) not in (2, 3) or not all(isinstance(s, Integral) and s > 0 for s in shape):
            raise ValueError(
                "image_shape must be (height, width) or (height, width, channels) of positive "
                f"integers, got {image_shape!r}."
            )
        shape = with_channels(tuple(int(s) for s in shape))
        if prod(shape) != n_features:
            raise ValueError(
                f"image_shape={image_shape!r} holds {prod(shape)} values, "
                f"but X has {n_features} features."
            )
        if from_layout is not None and from_layout != shape:
            raise ValueError(f"image_shape={image_shape!r} contradicts X's images of {layout}.")
        return shape
    if from_layout is not None:
        return from_layout
    side = isqrt(n_features)
    return (side, side, 1) if side * side == n_features else (1, n_features, 1)


def with_channels(shape):
    """Add the single channel that a grey image leaves out.

    Parameters
    ----------
    shape : tuple of 2 or 3 int
        ``(h, w)`` or ``(h, w, c)``.

    Returns
    -------
    tuple of 3 int
        ``(h, w, 1)`` or ``(h, w, c)``.
    """
    return (*shape, 1) if len(shape) == 2 else tuple(shape)


def as_images(X, image_shape=None):
    """Bring images of any layout to ``(n_samples, height, width, channels)``, float32.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
        Images.
    image_shape : tuple of 2 or 3 int or None, default=None
        Shape of one image where the layout does not say it.

    Returns
    -------
    ndarray of shape (n_samples, height, width, channels), dtype float32
        The images.

    Raises
    ------
    ValueError
        If `X` is neither 2-D, 3-D nor 4-D, or `image_shape` does not fit it.
    """
    rows, layout = split_layout(X)
    rows = np.asarray(rows, dtype=np.float32)
    if rows.ndim != 2:
        raise ValueError(f"Expected images in 2, 3 or 4 dimensions, got shape {rows.shape}.")
    return rows.reshape(len(rows), *infer_image_shape(rows.shape[1], layout, image_shape))


def check_pixel_range(pixel_range):
    """Check the darkest and the brightest value a pixel can have.

    Parameters
    ----------
    pixel_range : tuple of 2 float
        The parameter `pixel_range` of an estimator.

    Returns
    -------
    tuple of 2 float
        The two values.

    Raises
    ------
    ValueError
        If there are not two finite numbers, the first below the second.
    """
    try:
        low, high = (float(value) for value in pixel_range)
    except (TypeError, ValueError):
        low = high = np.nan
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(
            f"pixel_range must be 'auto' or (low, high) with low < high, got {pixel_range!r}."
        )
    return low, high


def to_unit_range(X, pixel_range):
    """Map pixels from ``(low, high)`` to ``[0, 1]``, as float32.

    Parameters
    ----------
    X : array-like
        Pixels.
    pixel_range : tuple of 2 float
        The values that become 0 and 1.

    Returns
    -------
    ndarray of the shape of X, dtype float32
        The scaled pixels; all zero where ``low == high``.

    Examples
    --------
    >>> from skdistort.images import to_unit_range
    >>> to_unit_range([0, 51, 255], (0, 255)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    low, high = pixel_range
    span = np.float32(high - low) if high > low else np.float32(1)
    return (np.asarray(X, dtype=np.float32) - np.float32(low)) / span


def from_unit_range(X, pixel_range):
    """Map pixels from ``[0, 1]`` back to ``(low, high)``: the inverse of :func:`to_unit_range`.

    Parameters
    ----------
    X : ndarray
        Pixels in ``[0, 1]``.
    pixel_range : tuple of 2 float
        The values that 0 and 1 stand for.

    Returns
    -------
    ndarray of the shape of X, dtype float32
        Pixels in the range of the data.

    Examples
    --------
    >>> from skdistort.images import from_unit_range
    >>> from_unit_range([0, 0.5, 1], (-1, 1)).tolist()
    [-1.0, 0.0, 1.0]
    """
    low, high = np.float32(pixel_range)
    # Rounding may carry the brightest pixel past the range, which would then refuse it.
    return np.clip(np.asarray(X, dtype=np.float32) * (high - low) + low, low, high)


_ROW_MULTIPLE = 32


# 512 KB of float32, 32 images of 64 x 64.
_MULTIPLE_VALUES = 2**17


def row_multiple(shape):
    """Tell in multiples of how many rows to predict.

    Kernels treat rows left over from their vector width differently, which would make a result
    depend, in its last bit, on a sample's neighbours. Large rows fill that width by themselves on
    most backends, and 31 of them for one that is wanted would cost more than the bit is worth.

    Parameters
    ----------
    shape : tuple of int
        Shape of a row.

    Returns
    -------
    int
        A power of two, 32 at most.
    """
    multiple = _ROW_MULTIPLE
    while multiple > 1 and multiple * prod(shape) > _MULTIPLE_VALUES:
        multiple //= 2
    return multiple
