"""Images that stay on disk: read by row numbers, or piece by piece in order.

What can be read in any order is here: memory-mapped arrays and folders. Batches that come as they
come are in `_streams`.
"""

from math import prod

import numpy as np
from sklearn.utils.validation import _num_samples

from .._backend import keras
from ._folder import ImageFolder
from ._layout import as_images, row_multiple
from ._streams import Surveyed, read_batch

# 16 MB of float32.
_PIECE_VALUES = 2**22


class StoredImages(Surveyed):
    """Images on disk that were looked through once, given as float32 by row numbers.

    Parameters
    ----------
    X : ndarray or ImageFolder of shape (n_samples, n_features) or (n_samples, h, w[, c])
        Where they are.
    image_shape : tuple of 3 int
        Height, width and channels.
    limits : tuple of 2 float
        The darkest and the brightest pixel.

    Attributes
    ----------
    shape : tuple of 4 int
        ``(n_samples, height, width, channels)``.
    """

    def __init__(self, X, image_shape, limits):
        self._X = X
        self._limits = limits
        self.shape = (len(X), *image_shape)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        return as_images(np.asarray(self._X[rows]), self.shape[1:])


def is_stored(X):
    """Tell images that are to stay on disk from arrays in memory.

    Parameters
    ----------
    X : object
        Images.

    Returns
    -------
    bool
        Whether they can be read by row numbers, and should be.
    """
    return isinstance(X, (np.memmap, ImageFolder, StoredImages)) and len(X.shape) in (2, 3, 4)


def pieces(X):
    """Go through images, as many at a time as memory should hold.

    Parameters
    ----------
    X : array-like, ImageFolder, StoredImages or keras.utils.PyDataset
        Images. What is in memory already is one piece.

    Yields
    ------
    images : array-like of shape (n, n_features) or (n, h, w[, c])
        Images, in order.
    classes : ndarray of shape (n,) or None
        Their classes, if `X` holds some.

    Raises
    ------
    ValueError
        If `X` is a dataset without a batch, or does not tell how many it has.
    """
    if isinstance(X, keras.utils.PyDataset):
        n_batches = X.num_batches
        if not n_batches:
            raise ValueError(
                f"X is a keras.utils.PyDataset of {n_batches} batches; it must have a known "
                "number of them, one at least."
            )
        for i in range(n_batches):
            yield read_batch(X, i)
    elif is_stored(X):
        # Whole multiples of what predictions are padded to, so that pieces do not show in results.
        multiple = row_multiple(X.shape[1:])
        step = max(1, _PIECE_VALUES // max(1, prod(X.shape[1:])) // multiple) * multiple
        for start in range(0, max(1, len(X)), step):
            yield np.asarray(X[start : start + step]), None
    else:
        yield X, None


def joined(parts):
    """Put results for pieces together.

    Parameters
    ----------
    parts : iterable of ndarray of shape (n, ...)
        Results for each of the :func:`pieces`.

    Returns
    -------
    ndarray of shape (n_samples, ...)
        All of them; what is one piece is not copied.
    """
    parts = list(parts)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def some_images(images, n):
    """Take a few of the images that an estimator trains on.

    Parameters
    ----------
    images : ndarray, StoredImages or ImageStream of shape (n_samples, height, width, channels)
        Images.
    n : int
        The most to take.

    Returns
    -------
    ndarray of shape (min(n, n_samples), height, width, channels)
        Images from all over, or the first ones of a stream.
    """
    if not isinstance(images, keras.utils.PyDataset):
        step = max(1, len(images) // n)
        return images[: n * step : step]
    taken, count = [], 0
    for piece, _ in pieces(images):
        taken.append(piece)
        count += len(piece)
        if count >= n:
            break
    return np.concatenate(taken)[:n]


def fill(out, parts, X):
    """Write results into an array, piece by piece.

    Parameters
    ----------
    out : ndarray of shape (n_samples, ...), dtype float32
        The array, on disk or in memory.
    parts : iterable of ndarray of shape (n, ...), dtype float32
        Results for the pieces of `X`; those of the first are made before `out` is written to.
    X : array-like, ImageFolder or keras.utils.PyDataset
        What the results are for.

    Returns
    -------
    ndarray of shape (n_samples, ...), dtype float32
        `out`.

    Raises
    ------
    TypeError
        If `out` is no array of float32 that can be written to.
    ValueError
        If it has another shape than the results.
    """
    if not isinstance(out, np.ndarray) or out.dtype != np.float32 or not out.flags.writeable:
        kind = f"{out.dtype} array" if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(f"out must be a writable float32 array, got a {kind}.")
    expected = None if isinstance(X, keras.utils.PyDataset) else _num_samples(X)
    start = 0
    for part in parts:
        stop = start + len(part)
        if out.shape[1:] != part.shape[1:] or len(out) != (expected or max(stop, len(out))):
            raise ValueError(
                f"out has shape {out.shape}, but the results are "
                f"{('n_samples' if expected is None else expected, *part.shape[1:])}."
            )
        out[start:stop] = part
        start = stop
    if start != len(out):
        raise ValueError(f"out has room for {len(out)} results, but X gives {start}.")
    return out
