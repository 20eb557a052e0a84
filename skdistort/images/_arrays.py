"""Images in memory, checked once for all estimators that take images.

`validate_array` is a function of the estimator, to which it gives `image_shape_` and
`n_features_in_` in ``fit``, and to which it holds later images. Keras-free.
"""

import numpy as np
from sklearn.utils.validation import validate_data

from ._layout import check_pixel_range, infer_image_shape, split_layout, with_channels


def validate_array(estimator, X, *, reset, dtype="float32", least=1, pixel_range=None):
    """Check images in memory and bring them to ``(n, height, width, channels)``.

    Parameters
    ----------
    estimator : estimator
        Whose images they are; it has the parameter `image_shape`.
    X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
        Images.
    reset : bool
        Whether to learn the shape of an image (``fit``) or to hold X to it.
    dtype : str or list of dtype, default="float32"
        What scikit-learn's ``validate_data`` takes.
    least : int, default=1
        The fewest images.
    pixel_range : tuple of 2 float or "auto" or None, default=None
        Values that pixels must not leave, if they are numbers.

    Returns
    -------
    images : ndarray of shape (n_samples, height, width, channels)
        The images.
    layout : tuple of int or None
        How to give results back, see :func:`skdistort.images._layout.restore_layout`.
    """
    # Some sparse arrays, of which scikit-learn tells, have no items either.
    if hasattr(X, "__iter__") and not (hasattr(X, "__getitem__") or hasattr(X, "shape")):
        raise TypeError(
            f"X is a {type(X).__name__}, which can only be walked through: give an array, an "
            "ImageFolder or a keras.utils.PyDataset."
        )
    rows, layout = split_layout(X)
    if not reset and layout is not None and with_channels(layout) != estimator.image_shape_:
        raise ValueError(
            f"X has images of shape {layout}, but {type(estimator).__name__} was fitted on images "
            f"of shape {estimator.image_shape_}."
        )
    rows = validate_data(estimator, rows, dtype=dtype, reset=reset, ensure_min_samples=least)
    if reset:
        estimator.image_shape_ = infer_image_shape(rows.shape[1], layout, estimator.image_shape)
    if pixel_range is not None and not isinstance(pixel_range, str):
        low, high = np.float32(check_pixel_range(pixel_range))
        if rows.min() < low or rows.max() > high:
            raise ValueError(
                f"X has pixels from {rows.min():g} to {rows.max():g}, outside "
                f"pixel_range=({low:g}, {high:g})."
            )
    return rows.reshape(len(rows), *estimator.image_shape_), layout
