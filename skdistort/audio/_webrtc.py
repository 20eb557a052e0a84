"""WebRtcVAD: Google's detector of speech, by the package webrtcvad-wheels.

What asks, crops and refuses is :mod:`skdistort.audio._spectrogram`.
"""

import importlib
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from ._decoding import check_waveform, to_samples
from ._speech import _is_stationary

_RATES = (8000, 16000, 32000, 48000)
# What the detector decides about at a time, in parts of a second.
_WINDOWS_A_SECOND = 100


class WebRtcVAD(BaseEstimator):
    """Find speech: Gaussian mixtures over the energies of six bands, trained on speech and noise.

    The extra ``vad`` installs what it needs.

    Parameters
    ----------
    aggressiveness : int, default=2
        From 0, which takes most for speech, to 3.
    min_modulation : float, default=0.5772
        What :func:`temporal_modulation` of the frames found is to exceed, or no frame is speech:
        loud stationary noise alone is often taken for speech. As for :class:`EnergyVAD`; 0 leaves
        this out.

    See Also
    --------
    EnergyVAD : The default, by energy alone.
    LogMelSpectrogram : Takes it as `detector`.

    Notes
    -----
    It decides about 10 ms at a time, and remembers what came before in a recording. A frame is
    speech if the 10 ms in its middle are.

    References
    ----------
    The WebRTC project, "Voice activity detector", its code (common_audio/vad).

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.audio import LogMelSpectrogram, WebRtcVAD
    >>> hum = np.float32(0.1 * np.sin(np.arange(16000)))
    >>> LogMelSpectrogram(detector=WebRtcVAD()).transform([hum])
    Traceback (most recent call last):
        ...
    ValueError: X[0] holds 0.00 s of speech, at least 0.2 s are needed (min_speech).
    """

    _parameter_constraints: dict = {
        "aggressiveness": [Interval(Integral, 0, 3, closed="both")],
        "min_modulation": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, aggressiveness=2, *, min_modulation=0.5772):
        self.aggressiveness = aggressiveness
        self.min_modulation = min_modulation

    def detect(self, samples, features, *, sampling_rate, frame, hop):
        """Tell which frames of a recording are speech.

        Parameters
        ----------
        samples : ndarray of shape (n_samples,)
            The waveform: floats in [-1, 1], int16 or int32.
        features : ndarray of shape (n_frames, n_bands)
            Its log-mel spectrogram, not normalised.
        sampling_rate : int
            Samples a second: 8000, 16000, 32000 or 48000.
        frame, hop : int
            Length of a frame and distance from one to the next, in samples.

        Returns
        -------
        ndarray of shape (n_frames,), bool
            True for speech.

        Raises
        ------
        ImportError
            If webrtcvad is not installed.
        ValueError
            If a parameter is out of range, the detector does not know the sampling rate, or
            `samples` are no waveform.
        """
        self._validate_params()
        if sampling_rate not in _RATES:
            raise ValueError(
                f"WebRtcVAD knows sampling rates of {', '.join(map(str, _RATES))}, got "
                f"{sampling_rate}: LogMelSpectrogram(sampling_rate=16000, resample=True) brings "
                "files to one of them."
            )
        samples = to_samples(check_waveform(samples, "samples"), "samples")
        detector = _import_webrtcvad().Vad(int(self.aggressiveness))
        window = sampling_rate // _WINDOWS_A_SECOND
        padded = np.zeros(-(-len(samples) // window) * window, dtype="<i2")
        padded[: len(samples)] = np.rint(np.clip(samples, -1, 1) * np.float32(32767))
        heard = [
            detector.is_speech(padded[i : i + window].tobytes(), sampling_rate)
            for i in range(0, len(padded), window)
        ]
        middles = frame // 2 + hop * np.arange(len(features))
        speech = np.array(heard)[np.minimum(middles // window, len(heard) - 1)]
        if _is_stationary(speech, features, frame, hop, self.min_modulation):
            return np.zeros(len(features), dtype=bool)
        return speech


def _import_webrtcvad():
    try:
        return importlib.import_module("webrtcvad")
    except ImportError as error:
        raise ImportError(
            "WebRtcVAD needs webrtcvad: pip install 'skdistort[vad]', or webrtcvad-wheels."
        ) from error
