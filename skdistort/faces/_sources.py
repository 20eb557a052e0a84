"""What photos an aligner takes: checked cheaply, and decoded one by one.

How a file is decoded is the matter of :mod:`skdistort.images`; nothing here looks for faces.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..images._folder import ImageFolder
from ..images._photos import decode_photo


class UnusablePhoto(ValueError):
    """What is wrong with one photo, to be told with what is wrong with the others."""


class Photo(NamedTuple):
    """Where a photo is, checked but not decoded.

    Attributes
    ----------
    source : str or ndarray of shape (height, width[, 3]), uint8
        A path or the pixels.
    name : str
        What to call it in messages.
    """

    source: Any
    name: str

    @property
    def span(self) -> tuple:
        """What of the source it is: nothing but the whole.

        Returns
        -------
        tuple
            Empty.
        """
        return ()

    def decode(self) -> NDArray[np.uint8]:
        """Give the pixels.

        Returns
        -------
        ndarray of shape (height, width, 3), uint8
            Red, green and blue; those of the caller where they were given.

        Raises
        ------
        ImportError
            If it is a file and Pillow is not installed.
        UnusablePhoto
            If a file holds no photo.
        """
        if isinstance(self.source, np.ndarray):
            grey = self.source.ndim == 2
            return np.repeat(self.source[:, :, None], 3, axis=2) if grey else self.source
        try:
            return np.asarray(decode_photo(self.source))
        except (OSError, ValueError) as error:
            raise UnusablePhoto(f"{self.name}: {error}") from error


def check_photos(X: Any) -> tuple[list[Photo | None], dict[int, Exception]]:
    """Check cheaply what can be checked before any file is decoded.

    Parameters
    ----------
    X : ImageFolder, list, tuple or ndarray
        Paths and arrays.

    Returns
    -------
    photos : list of Photo or None
        The photos; None where there is a problem.
    problems : dict of int to Exception
        What is wrong, by index: ValueError if something is no photo, FileNotFoundError if there is
        no file at a path.

    Raises
    ------
    TypeError
        If `X` is no list: a table, a mapping or a set, or cannot be walked through.
    ValueError
        If `X` is empty, or one photo.
    """
    if isinstance(X, ImageFolder):
        X = X.files
    if isinstance(X, (str, os.PathLike)):
        hint = f": skdistort.datasets.ImageFolder({X!r})" if os.path.isdir(X) else ""
        raise ValueError(f"X must be a list of photos, got one path{hint or f', {X!r}'}.")
    unordered = isinstance(X, (Mapping, Set, bytes)) or hasattr(X, "columns")
    if unordered or not hasattr(X, "__len__") or getattr(X, "ndim", 1) == 0:
        raise TypeError(f"X must be a list of paths or arrays, got {type(X).__name__}.")
    if len(X) == 0:
        raise ValueError("X holds no photo: at least one is required.")
    if isinstance(X, np.ndarray) and X.ndim == 3 and X.shape[2] in (3, 4):
        raise ValueError(f"X of shape {X.shape} is one photo: give a list of it, or X[None].")
    photos: list[Photo | None] = []
    problems: dict[int, Exception] = {}
    for i, photo in enumerate(X):
        try:
            photos.append(_check_photo(photo, f"X[{i}]"))
        except (ValueError, FileNotFoundError) as problem:
            photos.append(None)
            problems[i] = problem
    return photos, problems


def _check_photo(photo, index):
    """Return what was given as a `Photo`."""
    if isinstance(photo, (str, os.PathLike)):
        path = os.fsdecode(photo)
        if not os.path.isfile(path):
            raise FileNotFoundError(f"{index}: there is no file {path!r}.")
        # Absolute: who decodes it may have another working directory.
        return Photo(os.path.abspath(path), f"{index} ({path})")
    array = np.asarray(photo)
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)) or not array.size:
        hint = ": photo[:, :, :3] leaves out how opaque it is" if array.shape[2:] == (4,) else ""
        raise ValueError(
            f"{index} must be a path or pixels (height, width, 3), got shape {array.shape}{hint}."
        )
    if array.dtype != np.uint8:
        raise ValueError(
            f"{index} must hold uint8 pixels from 0 to 255, got dtype {array.dtype}: those in "
            "[0, 1] become such by np.uint8(255 * photo + 0.5)."
        )
    return Photo(array, index)
