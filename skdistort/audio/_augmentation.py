"""Spectrograms changed at random in training, so that little speech teaches as much as more would.

Plain numpy, in the threads that make batches: the values are the same on every backend.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

_SHARE = Interval(Real, 0, 1, closed="left")


class SpeechAugmentation(BaseEstimator):
    """Which changes of a spectrogram leave its speaker as it is, and how far they go.

    Spectrograms of training are changed anew each time they are seen. By default nothing changes.

    Parameters
    ----------
    crop : float, default=1.0
        The least share of the frames that is kept, in (0, 1]: a stretch of them, drawn anew each
        time and repeated until it is as wide as before.
    tempo : float, default=0.0
        The most by which speech is slowed down or sped up, as a share; its pitch stays.
    noise : float, default=0.0
        The most that Gaussian noise is added, as a share of the standard deviation of the
        spectrogram: one drawn for each of them.
    time_mask : float, default=0.0
        The most frames that a mask covers, as a share (SpecAugment).
    band_mask : float, default=0.0
        The most bands that a mask covers, as a share (SpecAugment).
    n_masks : int, default=2
        Masks of either kind. They show the mean of the spectrogram.

    See Also
    --------
    skdistort.SiameseVerifier : Takes it as `augmentation`.
    skdistort.images.ImageAugmentation : The same for photos.

    Notes
    -----
    Noise is added to what the network sees, logarithms of energies, normalised or not, rather than
    to the sound. Recordings with noise or echoes of a room in them are to be made beforehand.

    References
    ----------
    Park et al., "SpecAugment: a simple data augmentation method for automatic speech recognition",
    Interspeech 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.audio import SpeechAugmentation
    >>> spectrogram = np.arange(12, dtype=np.float32).reshape(1, 2, 6, 1)
    >>> augmentation = SpeechAugmentation(crop=0.5)
    >>> augmentation.apply(spectrogram, np.random.RandomState(0))[0, :, :, 0]
    array([[ 1.,  2.,  3.,  4.,  5.,  1.],
           [ 7.,  8.,  9., 10., 11.,  7.]], dtype=float32)
    """

    _parameter_constraints: dict = {
        "crop": [Interval(Real, 0, 1, closed="right")],
        "tempo": [_SHARE],
        "noise": [Interval(Real, 0, None, closed="left")],
        "time_mask": [_SHARE],
        "band_mask": [_SHARE],
        "n_masks": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, *, crop=1.0, tempo=0.0, noise=0.0, time_mask=0.0, band_mask=0.0, n_masks=2):
        self.crop = crop
        self.tempo = tempo
        self.noise = noise
        self.time_mask = time_mask
        self.band_mask = band_mask
        self.n_masks = n_masks

    def apply(self, images, rng, pixel_range=None):
        """Change spectrograms, each in its own way.

        Parameters
        ----------
        images : ndarray of shape (n_samples, n_bands, n_frames, n_channels)
            Spectrograms, which stay as they are.
        rng : numpy.random.RandomState
            Source of the changes.
        pixel_range : tuple of 2 float or None, default=None
            Ignored: energies have no bounds.

        Returns
        -------
        ndarray of shape (n_samples, n_bands, n_frames, n_channels), dtype float32
            Changed spectrograms.

        Raises
        ------
        ValueError
            If a parameter is out of its bounds.
        """
        self.check()
        images = np.asarray(images, dtype=np.float32)
        n, n_bands, n_frames, _ = images.shape
        lengths = np.maximum(1, np.rint(rng.uniform(self.crop, 1, n) * n_frames)).astype(np.intp)
        starts = (rng.random_sample(n) * (n_frames - lengths + 1)).astype(np.intp)
        rates = 1 + self.tempo * rng.uniform(-1, 1, n)
        if self.crop < 1 or self.tempo:
            images = repeat_stretches(images, starts, lengths, rates)
        else:
            images = images.copy()
        means = images.mean(axis=(1, 2), keepdims=True)
        if self.noise:
            levels = self.noise * images.std(axis=(1, 2, 3)) * rng.random_sample(n)
            images += levels[:, None, None, None] * rng.standard_normal(images.shape)
        for axis, share, size in ((1, self.band_mask, n_bands), (2, self.time_mask, n_frames)):
            if share:
                _mask(images, means, axis, rng, self.n_masks, share * size)
        return images

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


def repeat_stretches(
    images: NDArray[np.float32],
    starts: NDArray[np.integer],
    lengths: NDArray[np.integer],
    rates: NDArray[Any],
) -> NDArray[np.float32]:
    """Repeat a stretch of the frames of each spectrogram until it is as wide as before.

    Parameters
    ----------
    images : ndarray of shape (n_samples, n_bands, n_frames, n_channels), float32
        Spectrograms.
    starts, lengths : ndarray of int, shape (n_samples,)
        First frame, and number of frames, of each stretch.
    rates : ndarray of shape (n_samples,)
        Frames of the stretch that pass in one frame of the result; what lies between two frames is
        interpolated.

    Returns
    -------
    ndarray of shape (n_samples, n_bands, n_frames, n_channels), float32
        The stretches.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.audio._augmentation import repeat_stretches
    >>> image = np.arange(5, dtype=np.float32).reshape(1, 1, 5, 1)
    >>> repeat_stretches(image, np.array([1]), np.array([3]), np.array([0.5])).ravel()
    array([1. , 1.5, 2. , 2.5, 3. ], dtype=float32)
    """
    places = np.arange(images.shape[2]) * rates[:, None]
    before = np.floor(places).astype(np.intp)
    weights = (places - before).astype(np.float32)[:, None, :, None]
    frames = [starts[:, None] + (b % lengths[:, None]) for b in (before, before + 1)]
    first, second = (np.take_along_axis(images, f[:, None, :, None], axis=2) for f in frames)
    return first + weights * (second - first)


def _mask(images, means, axis, rng, n_masks, most):
    """Paint over stretches of bands, or frames, with the mean of each image, in place."""
    size = images.shape[axis]
    places = np.arange(size)
    for _ in range(n_masks):
        widths = (rng.random_sample(len(images)) * (most + 1)).astype(np.intp)
        widths = np.minimum(widths, size)
        first = (rng.random_sample(len(images)) * (size - widths + 1)).astype(np.intp)[:, None]
        covered = (places >= first) & (places < first + widths[:, None])
        shape = [len(images), 1, 1, 1]
        shape[axis] = size
        np.copyto(images, means, where=covered.reshape(shape))
