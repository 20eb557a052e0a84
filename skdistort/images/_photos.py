"""Photos in local files, decoded to arrays, and what compressing images makes of them.

Nothing here fetches anything. Which photos to read is said by folders (`_folder`) or by lists of
pairs (:mod:`skdistort.datasets`).
"""

from __future__ import annotations

import os
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._typing import FilePath, Names

# What the file names of photos promise. Pillow knows more formats, of which some start programs.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


def read_photos(
    folder: FilePath,
    names: Names,
    *,
    box: tuple[int, int, int, int] | None = None,
    size: tuple[int, int] | None = None,
) -> NDArray[np.uint8]:
    """Read photos of one size, in colour; needs Pillow, of the extra ``faces``.

    Parameters
    ----------
    folder : str or path-like
        Where the photos are.
    names : sequence of str
        Their paths within the folder, such as :attr:`TrialList.utterances` of
        :func:`read_lfw_pairs`.
    box : tuple of 4 int or None, default=None
        Part of each photo to take: left, upper, right and lower edge in pixels.
    size : tuple of 2 int or None, default=None
        Height and width to resample to, bilinearly; None keeps those of the photo or the box.

    Returns
    -------
    ndarray of shape (n_photos, height, width, 3), uint8
        Red, green and blue.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    FileNotFoundError
        If there is no such photo.
    ValueError
        If `names` is empty, a file holds no image, `box` lies outside of one, `size` is not
        positive, or the images differ in size.

    Examples
    --------
    >>> from skdistort.datasets import read_lfw_pairs, read_photos
    >>> pairs = read_lfw_pairs("lfw/pairs.txt")  # doctest: +SKIP
    >>> X = read_photos("lfw/aligned112", pairs.trials.utterances)  # doctest: +SKIP
    >>> X.shape, X.dtype  # doctest: +SKIP
    ((7701, 112, 112, 3), dtype('uint8'))
    """
    if len(names) == 0:
        raise ValueError("names holds no photo: at least one is required.")
    for name, value, length in (("box", box, 4), ("size", size, 2)):
        if value is not None and len(value) != length:
            raise ValueError(f"{name} must hold {length} numbers, got {value!r}.")
    photos: Any = None
    for i, name in enumerate(names):
        path = os.path.join(folder, name)
        photo = _cut(decode_photo(path), path, box, size)
        if photos is None:
            photos = np.empty((len(names), *photo.shape), dtype=np.uint8)
        if photo.shape != photos.shape[1:]:
            raise ValueError(
                f"{name} has {photo.shape[:2]} pixels, the photos before it {photos.shape[1:3]}: "
                "set size to resample them to one."
            )
        photos[i] = photo
    return photos


def decode_photo(path: FilePath, mode: str = "RGB") -> Any:
    """Decode one file, a BMP, GIF, JPEG, PNG, PNM, TIFF or WebP image; needs Pillow.

    Parameters
    ----------
    path : str or path-like
        The file.
    mode : {"RGB", "L"}, default="RGB"
        Whether to give colours or grey values.

    Returns
    -------
    PIL.Image.Image
        The photo, upright if the file tells which side that is.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds no image, or one of more than 8 bits a value.
    """
    Image, ImageOps = import_pillow()
    with open(path, "rb") as file:
        try:
            with Image.open(file, formats=_FORMATS) as image:
                # Cameras store photos as the sensor lay, and note how to turn them.
                ImageOps.exif_transpose(image, in_place=True)
                image.load()
        except Exception as error:  # Pillow's decoders raise anything on damaged files.
            raise ValueError(f"{path} could not be decoded: {error}") from error
    # Pillow would cut these off at 255.
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"{path} has pixels of mode {image.mode}, more than 8 bits a value.")
    return image.convert(mode)


def recompress(images: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Write images as JPEG and read them again; needs Pillow.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels), uint8
        Images of 1 or 3 channels.
    quality : int
        Quality of the compression, from 1 to 100.

    Returns
    -------
    ndarray of shape (n, height, width, channels), uint8
        What is left of them.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    ValueError
        If the images have another number of channels.
    """
    if images.shape[3] not in (1, 3):
        raise ValueError(f"A JPEG image has 1 or 3 channels, got {images.shape[3]}.")
    Image, _ = import_pillow()
    found = np.empty_like(images)
    for image, after in zip(images, found, strict=True):
        file = BytesIO()
        Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0]).save(
            file, "JPEG", quality=quality
        )
        after[:] = np.asarray(Image.open(file, formats=["JPEG"])).reshape(image.shape)
    return found


def _cut(image, path, box, size):
    """Cut and resample one photo."""
    if box is None and size is None:
        return np.asarray(image)
    box = (0, 0, *image.size) if box is None else tuple(box)
    height, width = (box[3] - box[1], box[2] - box[0]) if size is None else size
    bilinear = import_pillow()[0].Resampling.BILINEAR
    try:
        return np.asarray(image.resize((width, height), bilinear, box=box))
    except ValueError as error:
        raise ValueError(
            f"{path} of {image.height} by {image.width} pixels gives no photo with box={box}, "
            f"size={size}: {error}."
        ) from error


def import_pillow():
    """Import what decodes photos, or say how to get it.

    Returns
    -------
    Image : module
        Of Pillow.
    ImageOps : module
        Of Pillow.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ImportError(
            f"Reading photos needs Pillow and could not import it ({error}): install it with "
            "`pip install 'skdistort[faces]'`."
        ) from error
    return Image, ImageOps
