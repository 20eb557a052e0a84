"""The constants of a log-mel spectrogram: the window of a frame and the bank of mel filters.

What applies them to a waveform lives in :mod:`skdistort.audio._log_mel`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

WINDOWS = ("povey", "hamming", "hann")
FILTERBANKS = ("kaldi", "slaney")

# Slaney's mel scale: linear up to 1 kHz, then 27 logarithmic steps to 6.4 kHz.
_SLANEY_HZ_PER_MEL = 200 / 3
_SLANEY_KNEE_HZ = 1000.0
_SLANEY_KNEE_MEL = _SLANEY_KNEE_HZ / _SLANEY_HZ_PER_MEL
_SLANEY_LOG_STEP = np.log(6.4) / 27


def analysis_window(name: Literal["povey", "hamming", "hann"], length: int) -> NDArray[np.float64]:
    """Window that a frame is multiplied with.

    Parameters
    ----------
    name : {"povey", "hamming", "hann"}
        - "povey": Kaldi's default, ``(0.5 - 0.5 cos(2 pi i / (length - 1))) ** 0.85``.
        - "hamming": Kaldi's, ``0.54 - 0.46 cos(2 pi i / (length - 1))``.
        - "hann": ``0.5 - 0.5 cos(2 pi i / length)``, periodic as in librosa and PyTorch.
    length : int
        Samples in a frame, at least 2.

    Returns
    -------
    ndarray of shape (length,), float64
        The window, in [0, 1].

    Raises
    ------
    ValueError
        If `name` is unknown or `length` is below 2.

    References
    ----------
    Povey et al., "The Kaldi speech recognition toolkit", ASRU 2011, and its code.

    Examples
    --------
    >>> from skdistort.audio import analysis_window
    >>> analysis_window("hann", 4)
    array([0. , 0.5, 1. , 0.5])
    """
    if name not in WINDOWS:
        raise ValueError(f"name must be one of {WINDOWS}, got {name!r}.")
    if length < 2:
        raise ValueError(f"length must be at least 2 samples, got {length!r}.")
    period = length if name == "hann" else length - 1
    cosine = np.cos(2 * np.pi * np.arange(length) / period)
    if name == "hamming":
        return 0.54 - 0.46 * cosine
    raised_cosine = 0.5 - 0.5 * cosine
    return raised_cosine**0.85 if name == "povey" else raised_cosine


def mel_filterbank(
    n_mels: int,
    n_fft: int,
    sampling_rate: int,
    *,
    f_min: float = 20.0,
    f_max: float | None = None,
    filterbank: Literal["kaldi", "slaney"] = "kaldi",
) -> NDArray[np.float64]:
    """Make triangular mel filters: their weights on the power spectrum.

    Parameters
    ----------
    n_mels : int
        Number of filters.
    n_fft : int
        Length of the Fourier transform, in samples.
    sampling_rate : int
        Samples a second.
    f_min, f_max : float, default=20.0 and None
        Where the first filter begins and the last one ends, in Hz; None is half the sampling
        rate.
    filterbank : {"kaldi", "slaney"}, default="kaldi"
        - "kaldi": triangles on HTK's mel scale, ``1127 ln(1 + f / 700)``, straight in mels and 1
          at the peak, as in Kaldi.
        - "slaney": triangles equally spaced on Slaney's mel scale, straight in Hz and of area 1,
          as in Slaney's Auditory Toolbox and librosa.

    Returns
    -------
    ndarray of shape (n_mels, n_fft // 2 + 1), float64
        A filter a row, non-negative.

    Raises
    ------
    ValueError
        If `filterbank` is unknown, not ``0 <= f_min < f_max <= sampling_rate / 2``, or a filter
        is so narrow that no frequency of the transform falls into it.

    References
    ----------
    Slaney, "Auditory Toolbox", Interval Research technical report 1998-010. Young et al., "The
    HTK book". Povey et al., "The Kaldi speech recognition toolkit", ASRU 2011, and its code.

    Examples
    --------
    >>> from skdistort.audio import mel_filterbank
    >>> mel_filterbank(2, 8, 8000, f_min=0).round(2)
    array([[0.  , 0.6 , 0.  , 0.  , 0.  ],
           [0.  , 0.4 , 0.87, 0.38, 0.  ]])
    """
    if filterbank not in FILTERBANKS:
        raise ValueError(f"filterbank must be one of {FILTERBANKS}, got {filterbank!r}.")
    f_max = sampling_rate / 2 if f_max is None else f_max
    if not 0 <= f_min < f_max <= sampling_rate / 2:
        raise ValueError(
            f"f_min and f_max must hold 0 <= f_min < f_max <= {sampling_rate / 2:g} Hz, half the "
            f"sampling rate, got f_min={f_min!r} and f_max={f_max!r}."
        )
    frequencies = np.arange(n_fft // 2 + 1) * (sampling_rate / n_fft)
    if filterbank == "kaldi":
        positions = _htk_mels(frequencies)
        edges = np.linspace(_htk_mels(f_min), _htk_mels(f_max), n_mels + 2)
    else:
        positions = frequencies
        edges = _slaney_hz(np.linspace(*_slaney_mels(np.array([f_min, f_max])), n_mels + 2))  # type: ignore[call-overload]
    left, peak, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (positions - left) / (peak - left), (right - positions) / (right - peak)
    weights = np.maximum(0, np.minimum(rising, falling))
    n_empty = np.count_nonzero(~weights.any(axis=1))
    if n_empty:
        raise ValueError(
            f"n_mels={n_mels} leaves {n_empty} mel filters without a frequency of the "
            f"{n_fft}-point transform at {sampling_rate} Hz: lower n_mels or raise frame_length."
        )
    return weights * (2 / (right - left)) if filterbank == "slaney" else weights


def _htk_mels(frequencies):
    """HTK's mel scale (The HTK book, section 5.4)."""
    return 1127 * np.log1p(np.asarray(frequencies) / 700)


def _slaney_mels(frequencies):
    """Slaney's mel scale (Auditory Toolbox, mfcc)."""
    above_knee = np.maximum(frequencies, _SLANEY_KNEE_HZ) / _SLANEY_KNEE_HZ
    below_knee = np.minimum(frequencies, _SLANEY_KNEE_HZ) / _SLANEY_HZ_PER_MEL
    return below_knee + np.log(above_knee) / _SLANEY_LOG_STEP


def _slaney_hz(mels):
    """Invert :func:`_slaney_mels`."""
    above_knee = np.maximum(mels - _SLANEY_KNEE_MEL, 0)
    below_knee = np.minimum(mels, _SLANEY_KNEE_MEL)
    return below_knee * _SLANEY_HZ_PER_MEL * np.exp(above_knee * _SLANEY_LOG_STEP)
