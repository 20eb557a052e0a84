"""Images in memory, checked once for all estimators that take images.

`validate_array` is a function of the estimator, to which it gives `image_shape_`, `units_` and
`n_features_in_` in ``fit``, and to which it holds later images. Keras-free.
"""

import warnings

import numpy as np
from sklearn.utils.validation import validate_data

from ..exceptions import InputMismatchError, InputMismatchWarning
from ._layout import check_pixel_range, infer_image_shape, split_layout, with_channels
from ._units import (
    hold_to_units,
    learn_units,
    measure,
    warn_of_one_image,
    warn_of_unused_range,
)

# No more channels than these are looked for on the wrong axis.
_CHANNELS = (1, 2, 3, 4)
# Shorter rows than these are features more likely than images.
_LEAST_PIXELS = 32


def validate_array(
    estimator, X, *, reset, dtype="float32", least=1, pixel_range=None, units="all", first=0
):
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
    units : {"all", "refusals", "none"}, default="all"
        Whether to learn the units of images, or to hold X to them; "refusals" warns of nothing.
    first : int, default=0
        The number of the first image, for messages.

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
    try:
        rows = validate_data(estimator, rows, dtype=dtype, reset=reset, ensure_min_samples=least)
    except ValueError as error:
        _name_not_finite(rows, first, error)
        raise
    if reset:
        estimator.image_shape_ = infer_image_shape(rows.shape[1], layout, estimator.image_shape)
        if estimator.image_shape is None:
            _warn_of_layout(layout, rows.shape[1], estimator.image_shape_)
    if pixel_range is not None and not isinstance(pixel_range, str):
        _hold_to_range(rows, *np.float32(check_pixel_range(pixel_range)), first)
    if units != "none":
        # What goes on from an earlier fit has that one's scaling of pixels.
        goes_on = getattr(estimator, "warm_start", False)
        if hasattr(estimator, "units_") and (not reset or goes_on):
            hold_to_units(estimator.units_, rows, first, doubts=units == "all")
        if reset:
            settle_units(estimator, measure(rows), pixel_range, rows)
    return rows.reshape(len(rows), *estimator.image_shape_), layout


def _name_not_finite(rows, first, error):
    """Raise what names the image if an error is about NaN or infinity in one."""
    if not (isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.dtype.kind == "f"):
        return
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        i = int(finite.argmin())
        seen = "has a pixel that is NaN or infinite"
        raise InputMismatchError(
            f"X[{first + i}] {seen}. {error}", first + i, seen, "finite numbers"
        ) from error


def _hold_to_range(rows, low, high, first):
    """Raise if a pixel leaves the range that is stated."""
    outside = (rows.min(axis=1) < low) | (rows.max(axis=1) > high)
    if outside.any():
        i = int(outside.argmax())
        seen = f"has pixels from {rows[i].min():g} to {rows[i].max():g}"
        expected = f"pixel_range=({low:g}, {high:g})"
        raise InputMismatchError(
            f"X[{first + i}] {seen}, outside {expected}.", first + i, seen, expected
        )


def settle_units(estimator, measured, pixel_range=None, rows=None):
    """Give an estimator the units of the images it is fitted on, and warn of outliers.

    Parameters
    ----------
    estimator : estimator
        It comes to have `units_`.
    measured : ndarray of shape (3, n_samples)
        What :func:`skdistort.images._units.measure` gives for all the images.
    pixel_range : tuple of 2 float or "auto" or None, default=None
        The range that pixels are said to have, if it is one of numbers.
    rows : ndarray of shape (n_samples, n_features) or None, default=None
        The images, where they are in memory.
    """
    warn_of_one_image(measured, rows)
    estimator.units_, outliers = learn_units(measured)
    stated = None if isinstance(pixel_range, (str, type(None))) else check_pixel_range(pixel_range)
    warn_of_unused_range(estimator.units_, outliers, stated)


def _warn_of_layout(layout, n_features, shape):
    """Warn of images whose layout may be another than what was made of it."""
    doubt = None
    if layout is None:
        if shape[0] == 1 and n_features >= _LEAST_PIXELS:
            doubt = (
                f"X has flat rows of {n_features} values, which is no square: they are taken for "
                f"images of one row of pixels. Give image_shape, such as (height, width, "
                f"channels), or image_shape=(1, {n_features}) if that is what they are."
            )
    elif len(layout) == 3 and layout[0] in _CHANNELS and min(layout[1:]) > max(_CHANNELS):
        doubt = (
            f"X has images of shape {layout}, which is taken for {layout[0]} row(s) of pixels in "
            f"{layout[2]} channels. If channels come first, give np.moveaxis(X, 1, -1); if not, "
            f"image_shape={tuple(layout)} says so."
        )
    elif len(layout) == 2 and layout[1] in (3, 4) and layout[0] > max(_CHANNELS):
        doubt = (
            f"X has grey images of {layout[0]} rows of {layout[1]} pixels. If it is one image in "
            f"colour, give X[None]; if not, image_shape={tuple(layout)} says so."
        )
    if doubt:
        warnings.warn(doubt, InputMismatchWarning, stacklevel=2)
