"""Is there speech? Kaldi's detector by energy, and what stationary noise cannot do.

What asks, crops and refuses is :mod:`skdistort.audio._spectrogram`.
"""

from __future__ import annotations

from math import gcd
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, validate_params

from ._decoding import check_waveform, to_samples
from ._log_mel import bands_vary

# Kaldi's samples are of 16-bit range, and so are its thresholds.
_KALDI_SCALE = 2.0**15

# Samples at a time: what fits the processor's cache.
_BLOCK = 1 << 15

# Bands that are enough to tell whether energies vary.
_BANDS = 20

_FRACTION = Interval(Real, 0, 1, closed="neither")

_ENERGY_CONSTRAINTS: dict = {
    "threshold": [Real],
    "mean_scale": [Interval(Real, 0, None, closed="left")],
    "context": [Interval(Integral, 0, None, closed="left")],
    "proportion": [_FRACTION],
}


def frame_log_energies(samples: NDArray[np.float32], frame: int, hop: int) -> NDArray[np.float32]:
    """Log energy of each frame as Kaldi computes it, on samples of 16-bit range.

    ``log(max(sum_i (32768 (x_i - mean x))^2, eps))`` over the samples of a frame, before
    pre-emphasis and window, with the eps of float32.

    Parameters
    ----------
    samples : ndarray of shape (n_samples,)
        A waveform of one frame at least: floats in [-1, 1], int16 or int32.
    frame, hop : int
        Length of a frame and distance from one to the next, in samples.

    Returns
    -------
    ndarray of shape (n_frames,), float32
        Natural logarithms; digital silence has -15.94.

    Raises
    ------
    ValueError
        If it is no waveform, or holds floats that cannot be in [-1, 1].

    References
    ----------
    Povey et al., "The Kaldi speech recognition toolkit", ASRU 2011, and its code (ProcessWindow).

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.audio import frame_log_energies
    >>> samples = np.zeros(480, dtype=np.float32)
    >>> samples[::2] = 2.0**-9
    >>> frame_log_energies(samples, 400, 80).round(3)
    array([12.923, 12.923], dtype=float32)
    """
    samples = to_samples(check_waveform(samples, "samples"), "samples")
    # Sums over the pieces that frames share, then over the pieces of a frame; float64 squares
    # float32 without rounding, so that an offset cancels.
    piece = gcd(frame, hop)
    n_frames = 1 + (len(samples) - frame) // hop
    pieces = samples[: (n_frames - 1) * hop + frame].reshape(-1, piece)
    sums = np.empty((2, len(pieces)))
    step = max(1, _BLOCK // piece)
    for start in range(0, len(pieces), step):
        block = pieces[start : start + step].astype(np.float64)
        sums[0, start : start + step] = np.einsum("pi->p", block)
        sums[1, start : start + step] = np.einsum("pi,pi->p", block, block)
    windows = sliding_window_view(sums, frame // piece, axis=1)[:, :: hop // piece]
    total, squares = np.einsum("sfp->sf", windows)
    energies = (squares - np.square(total) / frame) * _KALDI_SCALE**2
    return np.log(np.maximum(energies, np.finfo(np.float32).eps)).astype(np.float32)


@validate_params(
    {"log_energies": ["array-like"], **_ENERGY_CONSTRAINTS}, prefer_skip_nested_validation=True
)
def energy_vad(
    log_energies: ArrayLike,
    *,
    threshold: float = 5.5,
    mean_scale: float = 0.5,
    context: int = 2,
    proportion: float = 0.12,
) -> NDArray[np.bool_]:
    """Which frames are speech by their energy: Kaldi's compute-vad-energy.

    A frame is, if of the frames from `context` before to `context` after it a share of
    `proportion` or more have a log energy above ``threshold + mean_scale * mean``, the mean being
    over the recording.

    Parameters
    ----------
    log_energies : array-like of shape (n_frames,)
        Natural logarithms, of samples of 16-bit range; see :func:`frame_log_energies`.
    threshold : float, default=5.5
        Constant term of the threshold.
    mean_scale : float, default=0.5
        Share of the mean in it.
    context : int, default=2
        Frames on either side that are looked at.
    proportion : float, default=0.12
        The share, in (0, 1).

    Returns
    -------
    ndarray of shape (n_frames,), bool
        True for speech.

    Raises
    ------
    ValueError
        If `log_energies` are not 1-D, or a parameter is out of range.

    Notes
    -----
    The defaults are those of Kaldi's recipe for VoxCeleb; the program's own are 5, 0.5, 0 and 0.6.

    References
    ----------
    Povey et al., "The Kaldi speech recognition toolkit", ASRU 2011, and its code
    (ComputeVadEnergy).

    Examples
    --------
    >>> from skdistort.audio import energy_vad
    >>> energy_vad([4, 4, 4, 4, 20, 5, 4, 4])
    array([False, False,  True,  True,  True,  True,  True, False])
    """
    log_energies = np.asarray(log_energies)
    if log_energies.ndim != 1:
        raise ValueError(f"log_energies must be 1-D, got shape {log_energies.shape}.")
    if len(log_energies) == 0:
        return np.zeros(0, dtype=bool)
    above = _above_threshold(log_energies, threshold, mean_scale)
    return _in_context(above, context, proportion)


def _above_threshold(log_energies, threshold, mean_scale):
    """Compare each frame with Kaldi's threshold."""
    return log_energies > threshold + mean_scale * log_energies.mean(dtype=np.float64)


def _in_context(above, context, proportion):
    """Tell where enough of the frames around one are above the threshold."""
    counts = np.concatenate([[0], np.cumsum(above)])
    frames = np.arange(len(above))
    first, last = np.maximum(frames - context, 0), np.minimum(frames + context + 1, len(above))
    # In float32, as Kaldi compares.
    least = (last - first).astype(np.float32) * np.float32(proportion)
    return counts[last] - counts[first] >= least


def _is_stationary(above, features, frame, hop, min_modulation):
    """Tell whether what was taken for speech varies no more over time than stationary noise."""
    if not min_modulation or not above.any():
        return False
    # A frame that shares samples with a silent one holds an onset, which is heard in every band,
    # whatever begins.
    inside = _in_context(above, -(-frame // hop) - 1, 1)
    # Bands overlap: a fourth of 80 tells what all of them do.
    bands = features.T[:: max(1, features.shape[1] // _BANDS), inside]
    return not inside.any() or temporal_modulation(bands.T) <= min_modulation


def temporal_modulation(features: ArrayLike) -> float:
    """How much the energies of bands vary over time, in a way that knows no colour of noise.

    ``mean_b (log mean_t e_bt - mean_t log e_bt)``: how far the geometric mean of a band's energy
    lies below the arithmetic one, averaged over the bands b. Scaling a band changes nothing, so
    neither the level nor the spectrum of a stationary sound does.

    Parameters
    ----------
    features : array-like of shape (n_frames, n_bands)
        Log energies, such as those of :func:`log_mel`.

    Returns
    -------
    float
        0 for a sound that does not vary; below Euler's constant, 0.5772, for stationary Gaussian
        noise of any spectrum; mostly above 1 for speech.

    Raises
    ------
    ValueError
        If `features` are not 2-D or hold no frame.

    Notes
    -----
    The energy of stationary Gaussian noise in a narrow band is exponentially distributed, whatever
    its spectrum, and that of a wider band varies less. The logarithm of an exponential variable
    lies Euler's constant below that of its mean, on average.

    References
    ----------
    Ma and Nishihara, "Efficient voice activity detection algorithm using long-term spectral
    flatness measure", EURASIP Journal on Audio, Speech, and Music Processing 2013:21.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.audio import log_mel, temporal_modulation
    >>> noise = 0.1 * np.random.default_rng(0).standard_normal(16000)
    >>> round(temporal_modulation(log_mel(noise)), 1)
    0.3
    """
    features = np.asarray(features)
    if features.ndim != 2 or len(features) == 0:
        raise ValueError(f"features must be of shape (n_frames, n_bands), got {features.shape}.")
    # A band in a row is fastest.
    bands = np.ascontiguousarray(features.T)
    above = bands - bands.mean(axis=1, keepdims=True)
    return float(np.log(np.exp(above).mean(axis=1)).mean())


def without_variation(spectrograms: NDArray[Any]) -> NDArray[np.intp]:
    """Find the spectrograms in which no band varies over time: silence, a constant, a hum.

    Normalised, all of them are the same all-zero image, so that any two of them are equal.

    Parameters
    ----------
    spectrograms : ndarray of shape (n_samples, n_mels, n_frames[, 1])
        Log-mel spectrograms, normalised or not.

    Returns
    -------
    ndarray of int
        Their indices.

    Raises
    ------
    ValueError
        If the array has another number of dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.audio import without_variation
    >>> spectrograms = np.zeros((3, 2, 4, 1))
    >>> spectrograms[1, 0, 2] = 1
    >>> without_variation(spectrograms)
    array([0, 2])
    """
    spectrograms = np.asarray(spectrograms)
    if spectrograms.ndim not in (3, 4):
        raise ValueError(
            "spectrograms must be of shape (n_samples, n_mels, n_frames[, 1]), got "
            f"{spectrograms.shape}."
        )
    bands = spectrograms.reshape(*spectrograms.shape[:3])
    varies = [bands_vary(image.astype(np.float32, copy=False)).any() for image in bands]
    return np.flatnonzero(~np.array(varies, dtype=bool))


class EnergyVAD(BaseEstimator):
    """Find speech: frames louder than Kaldi's threshold, in what is not stationary noise.

    Parameters
    ----------
    threshold : float, default=5.5
        Constant term of the threshold on log energies, of samples of 16-bit range.
    mean_scale : float, default=0.5
        Share of the mean log energy in the threshold.
    context : int, default=2
        Frames on either side that decide with a frame.
    proportion : float, default=0.12
        Share of them that is to be above the threshold.
    min_modulation : float, default=0.5772
        What :func:`temporal_modulation` is to exceed, or no frame is speech: that of about 20
        bands in the frames above the threshold whose neighbours are so too. The default, Euler's
        constant, is the bound for stationary Gaussian noise of any colour. 0 leaves this out.

    See Also
    --------
    LogMelSpectrogram : Asks it where to crop and what to refuse.
    energy_vad : The decision by energy, on energies.

    Notes
    -----
    Loud music, other sounds that vary, and noise that comes and goes are not told from speech. A
    trained detector may take the place of this one: see `detector` of
    :class:`LogMelSpectrogram`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.audio import EnergyVAD, log_mel
    >>> noise = np.float32(0.1 * np.random.default_rng(0).standard_normal(16000))
    >>> noise[:8000] = 0
    >>> arguments = noise, log_mel(noise)
    >>> int(EnergyVAD().detect(*arguments, sampling_rate=16000, frame=400, hop=160).sum())
    0
    >>> vad = EnergyVAD(min_modulation=0)
    >>> int(vad.detect(*arguments, sampling_rate=16000, frame=400, hop=160).sum())
    52
    """

    _parameter_constraints: dict = {
        **_ENERGY_CONSTRAINTS,
        "min_modulation": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        threshold=5.5,
        mean_scale=0.5,
        *,
        context=2,
        proportion=0.12,
        min_modulation=0.5772,
    ):
        self.threshold = threshold
        self.mean_scale = mean_scale
        self.context = context
        self.proportion = proportion
        self.min_modulation = min_modulation

    def detect(self, samples, features, *, sampling_rate, frame, hop):
        """Tell which frames of a recording are speech.

        Parameters
        ----------
        samples : ndarray of shape (n_samples,), float32
            The waveform.
        features : ndarray of shape (n_frames, n_bands)
            Its log-mel spectrogram, not normalised.
        sampling_rate : int
            Samples a second; not used here.
        frame, hop : int
            Length of a frame and distance from one to the next, in samples.

        Returns
        -------
        ndarray of shape (n_frames,), bool
            True for speech.
        """
        self._validate_params()
        return self._detect(samples, features, frame=frame, hop=hop)

    def _detect(self, samples, features, *, frame, hop, sampling_rate=None):
        """Do what `detect` does, parameters being right; `sampling_rate` is not used."""
        energies = frame_log_energies(samples, frame, hop)
        above = _above_threshold(energies, self.threshold, self.mean_scale)
        if _is_stationary(above, features, frame, hop, self.min_modulation):
            return np.zeros(len(energies), dtype=bool)
        return _in_context(above, self.context, self.proportion)
