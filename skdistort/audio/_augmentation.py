"""Spectrograms changed at random in training, so that little speech teaches as much as more would.

Plain numpy, in the threads that make batches: the values are the same on every backend.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

_SHARE = Interval(Real, 0, 1, closed="left")

# By how many decibels the direct sound is above all its echoes, at most.
_MOST_DIRECT = 12.0

# Energy, as a share of the loudest, that float64 can tell from none after a convolution.
_FAINTEST = 1e-14


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
    reverberation : float, default=0.0
        The longest reverberation time, in seconds to -60 dB: that of a room of its own is drawn for
        each spectrogram, and between its echoes and the direct sound 0 to 12 dB.
    impulse_responses : list of array-like of shape (n_samples_i,), or None, default=None
        Rooms that were measured, or simulated elsewhere, to take in place of drawn ones: one of
        them or none, each as likely.
    sampling_rate : int, default=16000
        Samples a second of `impulse_responses`.
    hop_length : float, default=0.010
        Seconds from one frame to the next.
    log_unit : float, default=1.0
        What 1 in a spectrogram means in natural logarithms of energy, for reverberation: 1 for
        those of ``LogMelSpectrogram(cmvn=False)``, whose deviation over frames it is where bands
        were brought to unit variance, about 4 in words of a second.

    See Also
    --------
    skdistort.SiameseVerifier : Takes it as `augmentation`.
    skdistort.images.ImageAugmentation : The same for photos.

    Notes
    -----
    Noise is added to what the network sees, logarithms of energies, normalised or not, rather than
    to the sound. Recordings with noises of a street in them are to be made beforehand.

    Reverberation adds up energies: that of each band is convolved over frames with how the energy
    of the impulse response falls, which neglects how sound and echo interfere. The level stays.

    References
    ----------
    Krueger and Haeb-Umbach, "Model-based feature enhancement for reverberant speech recognition",
    IEEE Transactions on Audio, Speech, and Language Processing 18 (2010), for reverberation.
    Polack, "La transmission de l'energie sonore dans les salles", Universite du Maine (1988), for
    echoes that fall exponentially.
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
        "reverberation": [Interval(Real, 0, None, closed="left")],
        "impulse_responses": ["array-like", None],
        "sampling_rate": [Interval(Integral, 1, None, closed="left")],
        "hop_length": [Interval(Real, 0, None, closed="neither")],
        "log_unit": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        *,
        crop=1.0,
        tempo=0.0,
        noise=0.0,
        time_mask=0.0,
        band_mask=0.0,
        n_masks=2,
        reverberation=0.0,
        impulse_responses=None,
        sampling_rate=16000,
        hop_length=0.010,
        log_unit=1.0,
    ):
        self.crop = crop
        self.tempo = tempo
        self.noise = noise
        self.time_mask = time_mask
        self.band_mask = band_mask
        self.n_masks = n_masks
        self.reverberation = reverberation
        self.impulse_responses = impulse_responses
        self.sampling_rate = sampling_rate
        self.hop_length = hop_length
        self.log_unit = log_unit

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
        if self.reverberation or self.impulse_responses is not None:
            images = reverberate(images, self._draw_rooms(n, n_frames, rng), self.log_unit)
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
            If one is out of its bounds, or an impulse response is none.
        """
        validate_parameter_constraints(
            self._parameter_constraints, self.get_params(deep=False), caller_name="augmentation"
        )
        if self.impulse_responses is None:
            return
        if len(self.impulse_responses) == 0:
            raise ValueError("impulse_responses holds none: None draws rooms.")
        for i, response in enumerate(self.impulse_responses):
            response = np.asarray(response)
            real = response.ndim == 1 and response.dtype.kind in "fiu"
            if not (real and np.isfinite(response).all() and response.any()):
                raise ValueError(
                    f"impulse_responses[{i}] must be 1-D, finite and not all zero, got shape "
                    f"{response.shape} and dtype {response.dtype}."
                )

    def _draw_rooms(self, n, n_frames, rng):
        """Draw how the energy of a room's echoes falls, for each spectrogram, frame after frame."""
        if self.impulse_responses is None:
            times = self.reverberation * rng.random_sample(n)
            ratios = 10 ** (-_MOST_DIRECT * rng.random_sample(n) / 10)
            return echo_energies(times, ratios, n_frames, self.hop_length)
        hop = max(1, round(self.hop_length * self.sampling_rate))
        rooms = np.zeros((1 + len(self.impulse_responses), n_frames))
        rooms[0, 0] = 1
        for room, response in zip(rooms[1:], self.impulse_responses, strict=True):
            room[:] = response_energies(response, n_frames, hop)
        return rooms[rng.randint(len(rooms), size=n)]


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


def echo_energies(times, ratios, n_frames, hop_length):
    """Energy of exponentially falling echoes, frame after frame, the direct sound first.

    Echoes of the energy of the direct sound times a ratio fall by 60 dB in the reverberation time:
    by a factor of ``10 ** (-6 hop / T)`` from frame to frame.

    Parameters
    ----------
    times : ndarray of shape (n,)
        Reverberation times, in seconds.
    ratios : ndarray of shape (n,)
        Energy of all echoes by that of the direct sound.
    n_frames : int
        Frames.
    hop_length : float
        Seconds from one to the next.

    Returns
    -------
    ndarray of shape (n, n_frames), float64
        Energies; with the echoes after the last frame their sum is 1.

    References
    ----------
    Polack, "La transmission de l'energie sonore dans les salles", Universite du Maine (1988).

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.audio._augmentation import echo_energies
    >>> echo_energies(np.array([0.06]), np.array([1.0]), 3, 0.01).round(4).tolist()
    [[0.95, 0.045, 0.0045]]
    """
    # Of no time at all, there is no echo.
    logarithms = -6 * np.log(10) * hop_length / np.maximum(times, 1e-6)[:, None]
    falls = np.exp(logarithms * np.arange(n_frames))
    energies = ratios[:, None] * falls * (1 - np.exp(logarithms))
    energies[:, 0] += 1
    return energies / (1 + ratios[:, None])


def response_energies(response, n_frames, hop):
    """Energy of an impulse response, frame after frame, from its loudest sample on.

    Parameters
    ----------
    response : array-like of shape (n_samples,)
        An impulse response.
    n_frames : int
        Frames.
    hop : int
        Samples from one to the next.

    Returns
    -------
    ndarray of shape (n_frames,), float64
        Energies, of sum 1.

    Examples
    --------
    >>> from skdistort.audio._augmentation import response_energies
    >>> response_energies([0, 0, 2, 0, 1, 1, 1, -1], 4, 2)
    array([0.5 , 0.25, 0.25, 0.  ])
    """
    response = np.asarray(response, dtype=np.float64)
    squares = np.square(response[np.abs(response).argmax() :])[: n_frames * hop]
    squares = np.pad(squares, (0, n_frames * hop - len(squares)))
    energies = squares.reshape(n_frames, hop).sum(axis=1)
    return energies / energies.sum()


def reverberate(images, energies, log_unit):
    """Convolve the energies of each band over frames with those of echoes.

    Parameters
    ----------
    images : ndarray of shape (n_samples, n_bands, n_frames, n_channels), float32
        Spectrograms.
    energies : ndarray of shape (n_samples, n_frames)
        Energies of echoes, frame after frame.
    log_unit : float
        What 1 in a spectrogram means in natural logarithms of energy.

    Returns
    -------
    ndarray of shape (n_samples, n_bands, n_frames, n_channels), float32
        Spectrograms with echoes.

    References
    ----------
    Krueger and Haeb-Umbach, "Model-based feature enhancement for reverberant speech recognition",
    IEEE Transactions on Audio, Speech, and Language Processing 18 (2010).

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.audio._augmentation import reverberate
    >>> image = np.log(np.float32([1, 1e-6, 1e-6])).reshape(1, 1, 3, 1)
    >>> np.exp(reverberate(image, np.array([[0.5, 0.3, 0.2]]), 1.0)).ravel().round(3)
    array([0.5, 0.3, 0.2], dtype=float32)
    """
    logarithms = images.astype(np.float64) * log_unit
    highest = logarithms.max(axis=(1, 2, 3), keepdims=True)
    n_fft = 2 * images.shape[2]
    spectrum = rfft(np.exp(logarithms - highest), n_fft, axis=2, workers=1)
    spectrum *= rfft(energies, n_fft, axis=1, workers=1)[:, None, :, None]
    heard = irfft(spectrum, n_fft, axis=2, workers=1)[:, :, : images.shape[2]]
    # Below, what rounding leaves of the loudest frame.
    heard = np.log(np.maximum(heard, _FAINTEST)) + highest
    return (heard / log_unit).astype(np.float32)


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
