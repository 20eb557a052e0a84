"""Images changed at random in training, so that few of them teach as much as many would.

Plain numpy and scipy, in the threads that make batches: the values are the same on every backend.
"""

from numbers import Real

import numpy as np
from scipy import ndimage
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

_SHARE = Interval(Real, 0, 1, closed="both")


class ImageAugmentation(BaseEstimator):
    """Which changes of an image leave its class as it is, and how far they go.

    Training images are changed anew each time they are seen. What an image shows where its edge
    moved in is the edge's own pixel. By default nothing changes: a mirrored letter may be no letter
    and a turned 6 is a 9, which no default can know.

    Parameters
    ----------
    shift : float, default=0.0
        The most that an image moves up, down, left or right, as a share of height and width.
    scale : float, default=0.0
        The most that it grows or shrinks, as a share of its size; below 1.
    rotation : float, default=0.0
        The most that it turns either way, in degrees.
    flip : bool, default=False
        Whether every other image is mirrored, left to right.
    contrast : float, default=0.0
        The most by which differences to the image's mean grow or shrink, as a share.
    brightness : float, default=0.0
        The most by which all pixels rise or fall, as a share of the range of pixels.
    erasing : float, default=0.0
        The share of images in which a rectangle, of a twentieth to a third of the area, is painted
        over with a value drawn from the range of pixels.

    See Also
    --------
    skdistort.TripletEmbedder : Takes it as `augmentation`.

    Notes
    -----
    Pixels stay within the range of those that ``fit`` was given.

    References
    ----------
    Zhong, Zheng, Kang, Li and Yang, "Random Erasing Data Augmentation", AAAI 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.images import ImageAugmentation
    >>> image = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    >>> augmentation = ImageAugmentation(shift=0.25, flip=True)
    >>> changed = augmentation.apply(image, np.random.RandomState(0), (0.0, 15.0))
    >>> changed.shape, bool((changed == image).all())
    ((1, 4, 4, 1), False)
    """

    _parameter_constraints: dict = {
        "shift": [_SHARE],
        "scale": [Interval(Real, 0, 1, closed="left")],
        "rotation": [Interval(Real, 0, 180, closed="both")],
        "flip": ["boolean"],
        "contrast": [_SHARE],
        "brightness": [_SHARE],
        "erasing": [_SHARE],
    }

    def __init__(
        self,
        *,
        shift=0.0,
        scale=0.0,
        rotation=0.0,
        flip=False,
        contrast=0.0,
        brightness=0.0,
        erasing=0.0,
    ):
        self.shift = shift
        self.scale = scale
        self.rotation = rotation
        self.flip = flip
        self.contrast = contrast
        self.brightness = brightness
        self.erasing = erasing

    def apply(self, images, rng, pixel_range):
        """Change images, each in its own way.

        Parameters
        ----------
        images : ndarray of shape (n_samples, height, width, channels)
            Images, which stay as they are.
        rng : numpy.random.RandomState
            Source of the changes.
        pixel_range : tuple of 2 float
            The darkest and brightest value that a pixel can have.

        Returns
        -------
        ndarray of shape (n_samples, height, width, channels), dtype float32
            Changed images.

        Raises
        ------
        ValueError
            If a parameter is out of its bounds.
        """
        self.check()
        images = np.asarray(images, dtype=np.float32)
        changed = np.empty_like(images)
        maps, offsets = self._draw_maps(rng, len(images), images.shape[1:3])
        for image, result, matrix, offset in zip(images, changed, maps, offsets, strict=True):
            _move(image, result, matrix, offset)
        low, high = pixel_range
        n = (len(images), 1, 1, 1)
        if self.contrast:
            mean = changed.mean(axis=(1, 2, 3), keepdims=True)
            factor = 1 + self.contrast * rng.uniform(-1, 1, n).astype(np.float32)
            changed = (changed - mean) * factor + mean
        if self.brightness:
            changed += np.float32(self.brightness * (high - low) * rng.uniform(-1, 1, n))
        np.clip(changed, low, high, out=changed)
        for i in np.flatnonzero(rng.random_sample(len(images)) < self.erasing):
            rows, columns = _draw_rectangle(rng, images.shape[1:3])
            changed[i, rows, columns] = rng.uniform(low, high)
        return changed

    def check(self):
        """Check the parameters.

        Raises
        ------
        ValueError
            If one is out of its bounds.
        """
        validate_parameter_constraints(
            self._parameter_constraints, self.get_params(deep=False), caller_name="augmentation"
        )

    def _draw_maps(self, rng, n, size):
        """Draw where each pixel comes from: a matrix and an offset for each image."""
        size = np.array(size)
        angles = np.deg2rad(self.rotation) * rng.uniform(-1, 1, n)
        factors = 1 + self.scale * rng.uniform(-1, 1, n)
        moves = self.shift * size * rng.uniform(-1, 1, (n, 2))
        mirrored = self.flip & (rng.random_sample(n) < 0.5)
        cos, sin = np.cos(angles) / factors, np.sin(angles) / factors
        sides = np.where(mirrored, -1.0, 1.0)
        maps = np.stack([cos, -sin * sides, sin, cos * sides], axis=1).reshape(n, 2, 2)
        centre = (size - 1) / 2
        return maps, centre - maps @ centre - moves


def _move(image, result, matrix, offset):
    """Move an image's pixels, writing to another one."""
    if np.array_equal(matrix, np.eye(2)) and not offset.any():
        result[...] = image
        return
    for c in range(image.shape[2]):
        ndimage.affine_transform(
            image[..., c], matrix, offset, output=result[..., c], order=1, mode="nearest"
        )


def _draw_rectangle(rng, size):
    """Draw a rectangle of a twentieth to a third of the area, and not too narrow."""
    area, ratio = rng.uniform(0.05, 0.33), np.exp(rng.uniform(-1, 1))
    shares = np.sqrt([area * ratio, area / ratio])
    extent = np.clip(np.rint(shares * size), 1, size).astype(int)
    first = [rng.randint(0, most + 1) for most in size - extent]
    return tuple(slice(start, start + n) for start, n in zip(first, extent, strict=True))


PRESETS = {
    "digits": {"shift": 0.08, "scale": 0.1, "rotation": 10.0},
    "photos": {
        "shift": 0.06,
        "scale": 0.1,
        "rotation": 10.0,
        "flip": True,
        "contrast": 0.3,
        "brightness": 0.1,
        "erasing": 0.5,
    },
}


def as_augmentation(augmentation):
    """Take what an estimator's parameter `augmentation` may be.

    Parameters
    ----------
    augmentation : None, str or ImageAugmentation
        Nothing, the name of a preset, or what is meant itself.

    Returns
    -------
    ImageAugmentation or None
        What to apply.

    Raises
    ------
    ValueError
        If a parameter of it is out of its bounds.
    """
    if isinstance(augmentation, str):
        return ImageAugmentation(**PRESETS[augmentation])
    if augmentation is not None:
        augmentation.check()
    return augmentation
