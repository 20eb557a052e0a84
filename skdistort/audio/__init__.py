"""Speech to "images": log-mel spectrograms of waveforms or files, and cepstra of these.

Keras-free. Networks that take the spectrograms live elsewhere, in :mod:`skdistort.networks`.
"""

from ._augmentation import SpeechAugmentation
from ._cepstra import CepstralCoefficients, dct_basis, delta_coefficients
from ._filters import analysis_window, mel_filterbank
from ._log_mel import log_mel, normalise_bands
from ._onnx import OnnxEncoder
from ._spectrogram import LogMelSpectrogram
from ._speech import (
    EnergyVAD,
    energy_vad,
    frame_log_energies,
    temporal_modulation,
    without_variation,
)
from ._webrtc import WebRtcVAD

__all__ = [
    "CepstralCoefficients",
    "EnergyVAD",
    "LogMelSpectrogram",
    "OnnxEncoder",
    "SpeechAugmentation",
    "WebRtcVAD",
    "analysis_window",
    "dct_basis",
    "delta_coefficients",
    "energy_vad",
    "frame_log_energies",
    "log_mel",
    "mel_filterbank",
    "normalise_bands",
    "temporal_modulation",
    "without_variation",
]
