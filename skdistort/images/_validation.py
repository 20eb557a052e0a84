"""What estimators of networks check of images before anything else: one way in for all of them.

Arrays in memory are checked in `_arrays`; what is on disk or streams is gone through piece by
piece here, see `_sources` and `_streams`.
"""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._backend import keras
from .._labels import encode_classes
from ._arrays import settle_units, validate_array
from ._sources import StoredImages, is_stored, pieces
from ._streams import ImageStream
from ._units import hold_to_units, measure


def validate_images(estimator, X, *, reset, pixel_range=None):
    """Check images and bring them to ``(n, height, width, channels)``; remember the layout.

    Parameters
    ----------
    estimator : estimator
        Whose images they are; it has the parameter `image_shape`.
    X : array-like or ImageFolder of shape (n_samples, n_features) or (n_samples, h, w[, c])
        Images.
    reset : bool
        Whether to learn the shape of an image (``fit``) or to hold X to it.
    pixel_range : tuple of 2 float or "auto" or None, default=None
        Values that pixels must not leave, if they are numbers.

    Returns
    -------
    images : ndarray or StoredImages of shape (n_samples, height, width, channels)
        The images, float32. Those that are memory-mapped or in a folder stay there.
    layout : tuple of int or None
        How to give results back, see :func:`skdistort.images._layout.restore_layout`.
    """
    if isinstance(X, keras.utils.PyDataset):
        raise ValueError(
            f"X is a keras.utils.PyDataset, which this method of {type(estimator).__name__} does "
            "not take: give an array, which may be memory-mapped, or an ImageFolder."
        )
    if is_stored(X):
        found = _survey(estimator, X, reset, pixel_range)
        return found, X.shape[1:] if len(X.shape) > 2 else None
    return validate_array(
        estimator, X, reset=reset, least=2 if reset else 1, pixel_range=pixel_range
    )


def validate_training_images(estimator, X, y, *, reset, pixel_range=None):
    """Check images to train on, which may also come as batches that hold their classes.

    Parameters
    ----------
    estimator : estimator
        Whose images they are.
    X : array-like, ImageFolder or keras.utils.PyDataset
        Images.
    y : array-like or None
        Classes, to be None with a dataset.
    reset : bool
        Whether to learn the shape of an image.
    pixel_range : tuple of 2 float or "auto" or None, default=None
        See :func:`validate_images`.

    Returns
    -------
    ndarray, StoredImages or ImageStream of shape (n_samples, height, width, channels)
        The images, float32.
    """
    if not isinstance(X, keras.utils.PyDataset):
        return validate_images(estimator, X, reset=reset, pixel_range=pixel_range)[0]
    if y is not None:
        raise ValueError(
            "y must be None where X is a keras.utils.PyDataset, whose batches hold the classes."
        )
    return _survey(estimator, X, reset, pixel_range)


def load_images(estimator, X, *, pixel_range=None):
    """Check images given to a fitted estimator, and bring them into memory.

    Parameters
    ----------
    estimator : estimator
        A fitted one.
    X : array-like or ImageFolder of shape (n_samples, n_features) or (n_samples, h, w[, c])
        Images.
    pixel_range : tuple of 2 float or "auto" or None, default=None
        See :func:`validate_images`.

    Returns
    -------
    images : ndarray of shape (n_samples, height, width, channels), dtype float32
        The images.
    layout : tuple of int or None
        See :func:`validate_images`.
    """
    check_is_fitted(estimator)
    images, layout = validate_images(estimator, X, reset=False, pixel_range=pixel_range)
    return images[:], layout


def _survey(estimator, X, reset, pixel_range):
    """Check images that are not in memory, piece by piece."""
    sizes, measured, with_triplets = [], [], []
    goes_on = reset and getattr(estimator, "warm_start", False)
    earlier = getattr(estimator, "units_", None) if goes_on else None
    for piece, classes in pieces(X):
        images, _ = validate_array(
            estimator,
            piece,
            reset=reset and not sizes,
            pixel_range=pixel_range,
            units="none" if reset else "all",
            first=sum(sizes),
        )
        if earlier is not None:
            hold_to_units(earlier, images, sum(sizes))
        sizes.append(len(images))
        measured.append(measure(images))
        if classes is not None:
            counts = np.bincount(encode_classes(images, classes, name="the y of a batch of X"))
            with_triplets.append(len(counts) > 1 and max(counts) > 1)
    least = 2 if reset else 1
    if sum(sizes) < least:
        raise ValueError(f"X has {sum(sizes)} sample(s), a minimum of {least} is required.")
    measured = np.concatenate(measured, axis=1)
    if reset:
        settle_units(estimator, measured, pixel_range)
    limits = float(measured[0].min()), float(measured[1].max())
    if not isinstance(X, keras.utils.PyDataset):
        return StoredImages(X, estimator.image_shape_, limits)
    labelled = len(with_triplets) == len(sizes)
    return ImageStream(
        X, estimator.image_shape_, limits, sizes, with_triplets if labelled else None
    )
