"""Real images: from what the dependencies embed or fetch, and from local folders.

Folders are read by `_image_folder`, photos by `_photos`; speech does not live here.
"""

from __future__ import annotations

import os
import zlib
from typing import NamedTuple
from zipfile import BadZipFile, is_zipfile

import numpy as np
from sklearn.datasets import fetch_lfw_people, load_digits
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from ._image_folder import ImageFolder
from ._lfw import LfwPairs, read_lfw_pairs
from ._photos import read_photos
from ._typing import Seed

__all__ = [
    "ImageFolder",
    "ImageSplit",
    "LfwPairs",
    "load_images",
    "read_lfw_pairs",
    "read_photos",
]


class ImageSplit(NamedTuple):
    """Images and classes to train on and to test on.

    Attributes
    ----------
    X_train, X_test : ndarray of shape (n, h, w) or (n, h, w, c)
        Images.
    y_train, y_test : ndarray of shape (n,)
        Classes.
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def load_images(name: str = "digits", random_state: Seed = 0) -> ImageSplit:
    """Load a set of images, split to train and test on.

    Parameters
    ----------
    name : str, default="digits"
        ``"digits"``: the 1,797 digits of 8x8 pixels that scikit-learn embeds, a third of them to
        test on. ``"mnist"``: fetched by Keras, its own split. ``"lfw"``: faces fetched by
        scikit-learn, no person both in training and in test. Or the path of an ``.npz`` file
        with ``x_train``, ``y_train``, ``x_test`` and ``y_test``, or with ``X`` and ``y``, of which
        a third is to test on.
    random_state : int, RandomState instance or None, default=0
        Draws the split where the data has none.

    Returns
    -------
    ImageSplit
        The images.

    Raises
    ------
    ValueError
        If the name is unknown, or the file lacks an array or has one of the wrong shape.

    Examples
    --------
    >>> from skdistort.datasets import load_images
    >>> data = load_images("digits")
    >>> data.X_train.shape, data.X_test.shape
    ((1198, 8, 8), (599, 8, 8))
    """
    if name == "digits":
        digits = load_digits()
        return _random_split(digits.images.astype(np.float32), digits.target, random_state)
    if name == "mnist":
        return _load_mnist()
    if name == "lfw":
        people = fetch_lfw_people(min_faces_per_person=10, resize=0.4)
        return _split_by_identity(people.images, people.target, random_state)
    if not name.endswith(".npz"):
        raise ValueError(f"data must be 'digits', 'mnist', 'lfw' or an .npz file, got {name!r}.")
    return _load_npz(name, random_state)


def _load_mnist():
    from ._backend import keras

    try:
        (X_train, y_train), (X_test, y_test) = keras.datasets.mnist.load_data()
    except Exception as error:  # Keras raises no narrower one where the download fails.
        raise OSError(f"MNIST could not be fetched: {error}") from error
    return ImageSplit(X_train, y_train, X_test, y_test)


def _load_npz(path, random_state):
    # What is no archive numpy would take for a pickle.
    if os.path.isfile(path) and not is_zipfile(path):
        raise ValueError(f"{path} is no .npz file.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (BadZipFile, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"{path} is damaged, or holds objects: {error}") from error
    names = ("x_train", "y_train", "x_test", "y_test")
    if set(names) <= set(arrays):
        given = [arrays[n] for n in names]
    elif {"X", "y"} <= set(arrays):
        given = [arrays["X"], arrays["y"]]
    else:
        raise ValueError(f"{path} must hold X and y, or {', '.join(names)}; got {sorted(arrays)}.")
    for images, classes in zip(given[::2], given[1::2], strict=True):
        if images.ndim not in (2, 3, 4) or classes.shape != (len(images),):
            raise ValueError(
                f"{path} must hold images (n, features), (n, h, w) or (n, h, w, c) and classes "
                f"(n,); got {images.shape} and {classes.shape}."
            )
    split = _random_split(*given, random_state) if len(given) == 2 else ImageSplit(*given)
    if split.X_train.shape[1:] != split.X_test.shape[1:]:
        raise ValueError(
            f"{path} must hold images of one shape to train and to test on, got "
            f"{split.X_train.shape[1:]} and {split.X_test.shape[1:]}."
        )
    return split


def _random_split(X, y, random_state):
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=1 / 3, random_state=random_state
    )
    return ImageSplit(X_train, y_train, X_test, y_test)


def _split_by_identity(X, y, random_state):
    splitter = GroupShuffleSplit(n_splits=1, test_size=1 / 3, random_state=random_state)
    train, test = next(splitter.split(X, groups=y))
    return ImageSplit(X[train], y[train], X[test], y[test])
