"""From one waveform to its log-mel spectrogram, and the normalisation of that.

Many waveforms, files and a fixed number of frames are the matter of
:mod:`skdistort.audio._spectrogram`.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from scipy.fft import rfft
from scipy.sparse import csr_array
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from ._decoding import check_waveform, loudest, remark_if_loud, to_samples
from ._filters import FILTERBANKS, WINDOWS, analysis_window, mel_filterbank

_POSITIVE = Interval(Real, 0, None, closed="neither")

ANALYSIS_CONSTRAINTS = {
    "sampling_rate": [Interval(Integral, 1, None, closed="left")],
    "n_mels": [Interval(Integral, 1, None, closed="left")],
    "frame_length": [_POSITIVE],
    "hop_length": [_POSITIVE],
    "f_min": [Interval(Real, 0, None, closed="left")],
    "f_max": [_POSITIVE, None],
    "window": [StrOptions(set(WINDOWS))],
    "preemphasis": [Interval(Real, 0, 1, closed="both")],
    "remove_dc_offset": ["boolean"],
    "filterbank": [StrOptions(set(FILTERBANKS))],
}

# About what the rounding to 16 bits puts into the highest bands, and kaldi-native-fbank's floor. It
# keeps digital silence, whose logarithm is not finite, near to quiet rooms, as dither would.
_ENERGY_FLOOR = np.float32(2**-23)

# Frames at a time: what lives meanwhile fits the processor's cache, and is small enough for the
# allocator to hand it out again without asking the system for pages, which took half of the time.
_BLOCK = 128

# float32 rounds log energies at 1e-6; what varies hardly more than that does not vary.
_LEAST_DEVIATION = 1e-4


@validate_params(
    {"waveform": ["array-like"], **ANALYSIS_CONSTRAINTS}, prefer_skip_nested_validation=True
)
def log_mel(
    waveform: ArrayLike,
    *,
    sampling_rate: int = 16000,
    n_mels: int = 80,
    frame_length: float = 0.025,
    hop_length: float = 0.010,
    f_min: float = 20.0,
    f_max: float | None = None,
    window: Literal["povey", "hamming", "hann"] = "povey",
    preemphasis: float = 0.97,
    remove_dc_offset: bool = True,
    filterbank: Literal["kaldi", "slaney"] = "kaldi",
) -> NDArray[np.float32]:
    """Log-mel spectrogram of one waveform: every frame, not normalised.

    Parameters
    ----------
    waveform : array-like of shape (n_samples,)
        Floats in [-1, 1], or int16 or int32, which are divided by 32768 or 2147483648.
    sampling_rate : int, default=16000
        Samples a second.
    n_mels : int, default=80
        Number of mel bands.
    frame_length, hop_length : float, default=0.025 and 0.010
        Length of a frame and distance from one to the next, in seconds, cut to whole samples.
    f_min, f_max : float, default=20.0 and None
        Where the first mel filter begins and the last one ends, in Hz; None is half the sampling
        rate.
    window : {"povey", "hamming", "hann"}, default="povey"
        What a frame is multiplied with, see :func:`analysis_window`.
    preemphasis : float, default=0.97
        Share of the sample before that is subtracted from each sample of a frame, in [0, 1].
    remove_dc_offset : bool, default=True
        Whether the mean of each frame is subtracted first.
    filterbank : {"kaldi", "slaney"}, default="kaldi"
        Shape of the mel filters, see :func:`mel_filterbank`.

    Returns
    -------
    ndarray of shape (n_frames, n_mels), float32
        Natural logarithm of the energy in each band, floored at ``log(2 ** -23)``; ``n_frames`` is
        ``1 + (n_samples - frame) // hop``, in samples: only whole frames count.

    Raises
    ------
    ValueError
        If the waveform is not 1-D, has another type, is shorter than a frame, holds NaN or infinite
        samples, or floats that cannot be in [-1, 1]; if a frame is shorter than 2 samples or a hop
        than 1; else as :func:`mel_filterbank`.

    Warns
    -----
    InputMismatchWarning
        If floats are so far beyond [-1, 1] that they may be in other units.

    Notes
    -----
    The defaults are Kaldi's for 80 mel bands, without dither. Kaldi takes samples of 16-bit range:
    its logarithms are higher by ``2 * log(32768)``, 20.79. The Fourier transform has the next power
    of two of a frame's length. ``window="hann", preemphasis=0, remove_dc_offset=False,
    filterbank="slaney"`` is librosa's ``melspectrogram(..., center=False)``, where ``n_fft`` is
    the length of a frame and a power of two.

    References
    ----------
    Povey et al., "The Kaldi speech recognition toolkit", ASRU 2011, and its code.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.audio import log_mel
    >>> tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    >>> spectrogram = log_mel(tone, n_mels=40)
    >>> spectrogram.shape, int(spectrogram.mean(axis=0).argmax())
    ((98, 40), 13)
    """
    analysis = make_analysis(
        sampling_rate=sampling_rate,
        n_mels=n_mels,
        frame_length=frame_length,
        hop_length=hop_length,
        f_min=f_min,
        f_max=f_max,
        window=window,
        preemphasis=preemphasis,
        remove_dc_offset=remove_dc_offset,
        filterbank=filterbank,
    )
    samples = to_samples(check_waveform(waveform, "waveform"), "waveform")
    analysis.check_length(len(samples), "waveform")
    remark = remark_if_loud(loudest(samples), "waveform")
    if remark is not None:
        warnings.warn(remark, stacklevel=3)
    return np.ascontiguousarray(analysis(samples).T)


def normalise_bands(
    features: NDArray[Any], speech: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Cepstral mean and variance normalisation: every band to mean 0 and variance 1 over frames.

    Parameters
    ----------
    features : ndarray of shape (n_frames, n_bands)
        One utterance, in logarithms, as :func:`log_mel` returns it.
    speech : ndarray of shape (n_frames,), bool, or None, default=None
        The frames of which mean and variance are taken; None is all.

    Returns
    -------
    ndarray of shape (n_frames, n_bands), float32
        The normalised bands; one that does not vary is all zero.

    Raises
    ------
    ValueError
        If `features` are not 2-D, or no frame is left to take the mean of.

    References
    ----------
    Viikki and Laurila, "Cepstral domain segmental feature vector normalization for noise robust
    speech recognition", Speech Communication 25 (1998).

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.audio import normalise_bands
    >>> normalise_bands(np.float32([[1, 7], [3, 7]]))
    array([[-1.,  0.],
           [ 1.,  0.]], dtype=float32)
    """
    features = np.asarray(features)
    if features.ndim != 2:
        raise ValueError(f"features must be of shape (n_frames, n_bands), got {features.shape}.")
    # A band in a row: that is how numpy takes means fastest, and most exactly.
    bands = np.ascontiguousarray(features.T, dtype=np.float32)
    counted = bands if speech is None else bands[:, speech]
    if counted.shape[1] == 0:
        raise ValueError("features hold no frame to take the mean of.")
    mean = counted.mean(axis=1, keepdims=True)
    centred = bands - mean
    deviation = _band_deviations(centred if speech is None else counted - mean)
    varies = deviation > _LEAST_DEVIATION
    centred *= np.where(varies, 1 / np.where(varies, deviation, 1), 0)[:, None]
    return centred.T


def bands_vary(bands: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which bands vary over time by more than float32 rounds.

    Parameters
    ----------
    bands : ndarray of shape (n_bands, n_frames), float32
        One utterance, in logarithms, a band in a row.

    Returns
    -------
    ndarray of shape (n_bands,), bool
        True for what varies.
    """
    return _band_deviations(bands - bands.mean(axis=1, keepdims=True)) > _LEAST_DEVIATION


def _band_deviations(centred):
    """Take the standard deviation of rows of mean 0."""
    return np.sqrt(np.einsum("bf,bf->b", centred, centred) / centred.shape[1])


@lru_cache(maxsize=8)
def make_analysis(**settings: Any) -> _Analysis:
    """Prepare window and filters; kept, since that takes as long as a second of speech.

    Parameters
    ----------
    **settings : dict
        The parameters named in ``ANALYSIS_CONSTRAINTS``.

    Returns
    -------
    _Analysis
        Ready to be applied to waveforms.

    Raises
    ------
    ValueError
        If the settings contradict each other.
    """
    return _Analysis(**settings)


class _Analysis:
    """Window, filters and lengths, ready to be applied to waveforms of one sampling rate."""

    def __init__(
        self,
        *,
        sampling_rate,
        n_mels,
        frame_length,
        hop_length,
        f_min,
        f_max,
        window,
        preemphasis,
        remove_dc_offset,
        filterbank,
    ):
        # Rounded before it is cut: 0.07 s at 100 Hz are 7 samples, not 7.000000000000001 or less.
        self.frame, self.hop = (
            int(round(seconds * sampling_rate, 6)) for seconds in (frame_length, hop_length)
        )
        if self.frame < 2 or self.hop < 1:
            raise ValueError(
                f"frame_length={frame_length!r} s and hop_length={hop_length!r} s are "
                f"{self.frame} and {self.hop} samples at {sampling_rate} Hz; at least 2 and 1 "
                "are needed."
            )
        self.n_fft = 1 << (self.frame - 1).bit_length()
        self.window = analysis_window(window, self.frame).astype(np.float32)
        weights = mel_filterbank(
            n_mels, self.n_fft, sampling_rate, f_min=f_min, f_max=f_max, filterbank=filterbank
        )
        # Sparse: three of the weights in a hundred are not zero, and there is no second layer of
        # threads below those of joblib.
        self.weights = csr_array(weights.astype(np.float32))
        # A numpy float64 would turn the samples it multiplies into float64.
        self.preemphasis = float(preemphasis)
        self.remove_dc_offset = remove_dc_offset

    def check_length(self, n_samples, name):
        """Refuse what does not fill one frame."""
        if n_samples < self.frame:
            raise ValueError(
                f"{name} has {n_samples} samples, fewer than the {self.frame} of one frame."
            )

    def crops(self, n_samples, n_frames):
        """Go through crops of `n_frames` frames: the central one, then the next on either side.

        Yields first and last sample. Crops overlap by half; None, or more frames than there are,
        is one crop of all.
        """
        if n_frames is None:
            yield 0, n_samples
            return
        length = (n_frames - 1) * self.hop + self.frame
        last = max(1 + (n_samples - self.frame) // self.hop - n_frames, 0)
        centre, step = last // 2, max(n_frames // 2, 1)
        for distance in range(0, last - centre + step, step):
            for first in {max(centre - distance, 0), min(centre + distance, last)}:
                yield first * self.hop, min(first * self.hop + length, n_samples)

    def __call__(self, samples):
        """Log energies, shape (n_mels, n_frames), of float32 samples that fill a frame or more."""
        if self.remove_dc_offset:
            # Each frame's own mean goes later; without most of it, float32 rounds less.
            samples = samples - samples.mean()
        emphasised = samples.copy()
        emphasised[1:] -= self.preemphasis * samples[:-1]
        frames = sliding_window_view(emphasised, self.frame)[:: self.hop]
        first, last = samples[:: self.hop], samples[self.frame - 1 :: self.hop]
        energies = np.empty((self.weights.shape[0], len(frames)), dtype=np.float32)
        padded = np.zeros((min(len(frames), _BLOCK), self.n_fft), dtype=np.float32)
        for start in range(0, len(frames), _BLOCK):
            block = slice(start, min(start + _BLOCK, len(frames)))
            rows = padded[: block.stop - start]
            self._window_frames(frames[block], first[block], last[block], rows[:, : self.frame])
            spectrum = rfft(rows, axis=1, workers=1)
            power = np.square(spectrum.real) + np.square(spectrum.imag)
            energies[:, block] = self.weights @ power.T
        return np.log(np.maximum(energies, _ENERGY_FLOOR, out=energies), out=energies)

    def _window_frames(self, emphasised, first, last, windowed):
        """Write frames of the pre-emphasised waveform to `windowed`, as Kaldi prepares them.

        Kaldi removes the mean m of a frame x, then pre-emphasises within the frame by c, where
        the first sample stands for the one before it too: ``y_0 = (1 - c) x_0``. That turns a
        constant m into (1 - c) m everywhere, so the mean may as well go afterwards, and the
        waveform be pre-emphasised as a whole; ``sum y = (1 - c) sum x + c (x_last - x_0)``.
        """
        if not self.remove_dc_offset:
            windowed[:] = emphasised
            windowed[:, 0] = (1 - self.preemphasis) * first
        else:
            begin = (1 - self.preemphasis) * first
            sums = np.einsum("fi->f", emphasised) + (begin - emphasised[:, 0])
            offsets = (sums - self.preemphasis * (last - first)) / self.frame
            np.subtract(emphasised, offsets[:, None], out=windowed)
            windowed[:, 0] = begin - offsets
        windowed *= self.window
