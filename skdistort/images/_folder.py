"""A folder of images as an array that is decoded row by row, when it is asked for.

Which files belong to it and what class they have is decided here; decoding lives in `_photos`, and
how an estimator reads it piece by piece in `_sources`.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._typing import FilePath
from ._photos import decode_photo

_EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class ImageFolder:
    """Images of a folder that has one subfolder for each class; needs Pillow, of extra ``faces``.

    No image is kept: ``folder[rows]`` decodes the files of those rows each time. Estimators take a
    folder as `X`, read as much at a time as memory should hold, and find its classes in `y`.

    Parameters
    ----------
    path : str or path-like
        The folder. Images are the files in its subfolders whose names end, in capitals or not, in
        .bmp, .gif, .jpeg, .jpg, .pgm, .png, .ppm, .tif, .tiff or .webp; names that begin with a
        dot are passed over.
    image_shape : tuple of 2 or 3 int or None, default=None
        What each image must measure: ``(height, width)``, to be read as grey values, or
        ``(height, width, 3)``, in colour. None means colour and the size of the first image.

    Attributes
    ----------
    files : list of str
        Paths of the images, sorted by class and name.
    y : ndarray of shape (n_images,)
        The class of each image, the name of its subfolder.
    classes : list of str
        The classes, sorted. A subfolder without images is none.
    shape : tuple of int
        ``(n_images, height, width)`` or ``(n_images, height, width, 3)``.
    ndim : int
        3 or 4.
    dtype : dtype
        uint8.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it holds no images, or `image_shape` is none that images can have; on access, with the
        path, if a file holds no image or one of another size.

    Examples
    --------
    >>> import os, tempfile
    >>> from skdistort.datasets import ImageFolder
    >>> with tempfile.TemporaryDirectory() as path:
    ...     for name in ("Ann", "Bo"):
    ...         os.mkdir(os.path.join(path, name))
    ...         with open(os.path.join(path, name, "1.pgm"), "wb") as file:
    ...             _ = file.write(b"P5 3 2 255 " + bytes(range(6)))
    ...     folder = ImageFolder(path, image_shape=(2, 3))
    ...     first = folder[:1]
    >>> folder.shape, folder.y.tolist(), first.tolist()
    ((2, 2, 3), ['Ann', 'Bo'], [[[0, 1, 2], [3, 4, 5]]])
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, path: FilePath, image_shape: tuple[int, ...] | None = None):
        self.files: list[str] = []
        names: list[str] = []
        for name in sorted(name for name in os.listdir(path) if not name.startswith(".")):
            found = _images_in(os.path.join(path, name))
            self.files += found
            names += [name] * len(found)
        if not self.files:
            raise ValueError(f"{os.fspath(path)} has no subfolder that holds images.")
        self.y = np.array(names)
        self.classes = sorted(set(names))
        if image_shape is None:
            image_shape = np.shape(decode_photo(self.files[0]))
        elif len(image_shape) not in (2, 3) or tuple(image_shape[2:]) not in ((), (3,)):
            raise ValueError(
                "image_shape must be (height, width) for grey values or (height, width, 3) for "
                f"colour, got {image_shape!r}."
            )
        self.shape = (len(self.files), *image_shape)
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, rows: Any) -> NDArray[np.uint8]:
        numbers = np.arange(len(self))[rows]
        images = np.empty((numbers.size, *self.shape[1:]), dtype=self.dtype)
        for image, number in zip(images, numbers.flat, strict=True):
            image[:] = self._decode(self.files[number])
        return images.reshape(numbers.shape + self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Decode all of them, for what wants an array."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def _decode(self, file):
        image = np.asarray(decode_photo(file, "RGB" if self.ndim == 4 else "L"))
        if image.shape != self.shape[1:]:
            raise ValueError(
                f"{file} has {image.shape[:2]} pixels, the images of this folder must have "
                f"{self.shape[1:3]}: resample them to one size."
            )
        return image


def _images_in(path):
    """List the images of one class, sorted; none where the path is no folder."""
    if not os.path.isdir(path):
        return []
    names = sorted(os.listdir(path))
    chosen = [n for n in names if n.lower().endswith(_EXTENSIONS) and not n.startswith(".")]
    return [os.path.join(path, name) for name in chosen]
