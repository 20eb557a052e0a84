"""Where the points of an aligned face lie, and how a photo is turned to have them there.

Points are (x, y) in pixels, x to the right and y down; the centre of the first pixel is (0, 0).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..images._photos import import_pillow

# Eyes, nose and corners of the mouth, left ones of the picture first, in 112 by 112 pixels.
_ARCFACE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
_ARCFACE_SIZE = 112

# Points that span less of the image than this share are no pixels.
_LEAST_SPAN = 0.05


def similarity_transform(source: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    r"""Find the turn, scale and shift that bring points nearest to others, by least squares.

    With points as complex numbers :math:`z_j` and :math:`w_j`, centred, it is
    :math:`a = \sum_j \bar z_j w_j / \sum_j |z_j|^2`: eq. 40 to 42 of the reference in two
    dimensions, where nothing is mirrored.

    Parameters
    ----------
    source : array-like of shape (n_points, 2)
        Points (x, y).
    target : array-like of shape (n_points, 2)
        Where to bring them.

    Returns
    -------
    ndarray of shape (2, 3)
        The matrix: ``matrix[:, :2] @ point + matrix[:, 2]`` is near to the target.

    Raises
    ------
    ValueError
        If there are fewer than two points, not as many of both, one is not finite, or all of
        `source` or the result lie in one place.

    References
    ----------
    Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
    IEEE Transactions on Pattern Analysis and Machine Intelligence 13 (1991).

    Examples
    --------
    >>> from skdistort.faces import similarity_transform
    >>> similarity_transform([[0, 0], [1, 0]], [[5, 5], [5, 7]]).round(6) + 0.0
    array([[ 0., -2.,  5.],
           [ 2.,  0.,  5.]])
    """
    arrays = [np.asarray(points, dtype=np.float64) for points in (source, target)]
    shape = arrays[0].shape
    if arrays[1].shape != shape or len(shape) != 2 or shape[0] < 2 or shape[1] != 2:
        raise ValueError(
            "source and target must hold as many points (x, y), two at least; got shapes "
            f"{shape} and {arrays[1].shape}."
        )
    if not np.isfinite(arrays).all():
        raise ValueError("source and target must be finite.")
    z, w = (points @ (1, 1j) for points in arrays)
    centre, aim = z.mean(), w.mean()
    z, w = z - centre, w - aim
    size = np.vdot(z, z).real
    a = np.vdot(z, w) / size if size > 0 else 0
    if abs(a) <= np.finfo(np.float64).eps:
        raise ValueError("The points lie in one place: no scale can be told from them.")
    shift = aim - a * centre
    return np.array([[a.real, -a.imag, shift.real], [a.imag, a.real, shift.imag]])


def check_template(template: Any, image_size: Any) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Tell where the points of an aligned face go.

    Parameters
    ----------
    template : "arcface" or array-like of shape (n_points, 2)
        The parameter of an estimator.
    image_size : int or tuple of 2 int
        Likewise.

    Returns
    -------
    points : ndarray of shape (n_points, 2)
        The points.
    size : tuple of 2 int
        Height and width.

    Raises
    ------
    ValueError
        If they are none that an image can have.
    """
    sizes = np.asarray(image_size)
    if sizes.shape not in ((), (2,)) or sizes.dtype.kind not in "iu" or sizes.min() < 1:
        raise ValueError(
            f"image_size must be a positive int or two, (height, width), got {image_size!r}."
        )
    height, width = (int(n) for n in np.broadcast_to(sizes, 2))
    if isinstance(template, str):
        if height != width:
            raise ValueError(
                f"template={template!r} is for square images, image_size is {image_size!r}: give "
                "the points (x, y) themselves as template."
            )
        return (_ARCFACE + 0.5) * (height / _ARCFACE_SIZE) - 0.5, (height, width)
    points = np.array(template, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2 or not np.isfinite(points).all():
        raise ValueError(
            "template must be 'arcface' or two finite points (x, y) at least, got shape "
            f"{points.shape}."
        )
    low, high = points.min(axis=0), points.max(axis=0)
    if min(low) < 0 or high[0] > width - 1 or high[1] > height - 1:
        raise ValueError(
            f"template must lie in an image of {height} by {width} pixels; its points span x from "
            f"{low[0]:g} to {high[0]:g} and y from {low[1]:g} to {high[1]:g}."
        )
    if max(high - low) < _LEAST_SPAN * max(height, width):
        raise ValueError(
            f"template must hold pixels, (x, y) in an image of {height} by {width}; its points "
            f"span {max(high - low):g} pixels only."
        )
    return points, (height, width)


def cut_out(
    photo: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Turn, scale and shift a photo, and keep what lies in the image; needs Pillow.

    Parameters
    ----------
    photo : ndarray of shape (height, width, 3), uint8
        The photo.
    matrix : ndarray of shape (2, 3)
        From the photo to the image, as :func:`similarity_transform` gives it.
    size : tuple of 2 int
        Height and width of the image.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
        The image, interpolated bilinearly; black where there is no photo.
    """
    Image, _ = import_pillow()
    turn = np.linalg.inv(matrix[:, :2])
    # Pillow counts from the corner of the first pixel and not from its centre.
    shift = 0.5 - turn @ (matrix[:, 2] + 0.5)
    corners = np.array([(x, y) for x in (0, size[1]) for y in (0, size[0])]) @ turn.T + shift
    # Bilinear interpolation looks at four pixels: where more go into one, they are averaged first.
    factor = max(1, int(np.sqrt(np.linalg.det(turn))))
    first = np.floor(corners.min(axis=0) - factor).astype(int)
    last = np.ceil(corners.max(axis=0) + factor).astype(int)
    limits = photo.shape[1::-1]
    if np.any(first >= limits) or np.any(last <= 0):
        return np.zeros((*size, 3), dtype=np.uint8)
    first, last = np.maximum(first, 0), np.minimum(last, limits)
    part = Image.fromarray(np.ascontiguousarray(photo[first[1] : last[1], first[0] : last[0]]))
    if factor > 1:
        part = part.reduce(factor)
    rows = np.column_stack([turn, shift - first]) / factor
    return np.asarray(
        part.transform(
            size[::-1], Image.Transform.AFFINE, rows.ravel().tolist(), Image.Resampling.BILINEAR
        )
    )
