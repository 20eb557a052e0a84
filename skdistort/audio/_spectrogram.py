"""LogMelSpectrogram: waveforms or audio files to log-mel "images" of one size.

The estimator only: decoding is in `_decoding` and `_recordings`, what is speech in `_speech`, the
formulas are in `_log_mel` and `_filters`.
"""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from .._problems import raise_problems
from .._samples import make_all, make_usable
from ..persistence import PersistenceMixin
from ._decoding import check_utterances, loudest, remark_if_loud
from ._log_mel import ANALYSIS_CONSTRAINTS, make_analysis, normalise_bands
from ._recordings import open_recording
from ._speech import EnergyVAD


class LogMelSpectrogram(TransformerMixin, PersistenceMixin, BaseEstimator):
    """Turn waveforms or audio files of any length into log-mel "images" of one size.

    Nothing is learned: ``transform`` works without ``fit``. Longer utterances are cropped to
    their central frames or, if these hold too little speech, to the nearest ones that hold
    enough; shorter ones are repeated from their first frame on. Utterances without speech are
    refused.

    Parameters
    ----------
    sampling_rate : int, default=16000
        Samples a second, of the waveforms and, unless `resample` is set, of the files.
    n_mels : int, default=80
        Number of mel bands, the height of an image.
    frame_length, hop_length : float, default=0.025 and 0.010
        Length of a frame and distance from one to the next, in seconds, cut to whole samples.
    n_frames : int or None, default=350
        Number of frames, the width of an image. None keeps every frame: a list of images, each as
        wide as its utterance is long, for :class:`CepstralCoefficients` and
        :class:`IVectorExtractor`.
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
    cmvn : bool or "speech", default=True
        Whether each band of an utterance is brought to mean 0 and variance 1 over the frames
        that are kept, before they are repeated; with "speech", over those of them that are
        speech. A band that does not vary becomes zero.
    channel : int or None, default=None
        Which channel of the files, from 0 on; None is the mean of all channels. Two sides of a
        call are two speakers.
    resample : bool, default=False
        Whether files of another sampling rate are resampled; else they are refused.
    detector : "energy", None or object, default="energy"
        What finds speech. "energy" is :class:`EnergyVAD` with its defaults; None finds nothing
        and refuses nothing. Another object has a method ``detect(samples, features, *,
        sampling_rate, frame, hop)`` like :meth:`EnergyVAD.detect`: :class:`WebRtcVAD`, which is
        trained, or one of your own.
    min_speech : float, default=0.2
        Seconds of speech that an utterance holds at least, within the frames that are kept. The
        default is about a syllable; to tell speakers apart takes more.
    drop_silence : bool, default=False
        Whether frames that are no speech are left out, before the rest are repeated.
    n_jobs : int or None, default=None
        Threads, in joblib's way of counting; the decoding and most of the arithmetic run in
        parallel. Or what ``joblib.parallel_config`` names: processes, or the workers of a cluster.

    See Also
    --------
    CepstralCoefficients : MFCC and their deltas from these images.
    log_mel : Every frame of one waveform, not normalised.

    Notes
    -----
    An utterance is one of

    - a 1-D waveform: floats in [-1, 1], or int16 or int32;
    - the path of a file that `soundfile` decodes (the extra ``[audio]``): FLAC, WAV, Ogg, MP3 and
      more, the content of one as bytes, or an open binary file;
    - a segment of one of these, ``(source, start, end)`` in seconds, where None or -1 is the end.

    Of a file, only the frames that are kept are decoded, as far as its format lets one seek. With
    the default settings, frames are Kaldi's, without dither; see :func:`log_mel`. With
    ``n_frames=None, drop_silence=True`` they are those that Kaldi's recipes keep for i-vectors,
    the threshold being taken from the mean of the whole recording; else from the mean of the
    frames that are looked at.

    Images have four dimensions, which no data frame holds: `set_output` leaves them arrays.

    References
    ----------
    Khan and Hernando, "Unsupervised Training of Siamese Networks for Speaker Verification",
    Interspeech 2020, section 4, for 80 bands and 350 frames. Povey et al., "The Kaldi speech
    recognition toolkit", ASRU 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.audio import LogMelSpectrogram
    >>> rng = np.random.default_rng(0)
    >>> def murmur(n_samples):
    ...     syllables = np.sin(2 * np.pi * 4 * np.arange(n_samples) / 16000) ** 4
    ...     return 0.1 * syllables * rng.standard_normal(n_samples)
    >>> waveforms = [murmur(16000), murmur(80000)]
    >>> LogMelSpectrogram().transform(waveforms).shape
    (2, 80, 350, 1)
    >>> [image.shape for image in LogMelSpectrogram(n_frames=None).transform(waveforms)]
    [(80, 98, 1), (80, 498, 1)]
    >>> LogMelSpectrogram().transform([waveforms[0], np.zeros(16000)])
    Traceback (most recent call last):
        ...
    ValueError: X[1] holds 0.00 s of speech, at least 0.2 s are needed (min_speech).
    """

    _parameter_constraints: dict = {
        **ANALYSIS_CONSTRAINTS,
        "n_frames": [Interval(Integral, 1, None, closed="left"), None],
        "cmvn": ["boolean", StrOptions({"speech"})],
        "channel": [Interval(Integral, 0, None, closed="left"), None],
        "resample": ["boolean"],
        "detector": [StrOptions({"energy"}), HasMethods("detect"), None],
        "min_speech": [Interval(Real, 0, None, closed="neither")],
        "drop_silence": ["boolean"],
        "n_jobs": [Integral, None],
    }
    _sample_kind = "utterances"

    def __init__(
        self,
        sampling_rate=16000,
        n_mels=80,
        *,
        frame_length=0.025,
        hop_length=0.010,
        n_frames=350,
        f_min=20.0,
        f_max=None,
        window="povey",
        preemphasis=0.97,
        remove_dc_offset=True,
        filterbank="kaldi",
        cmvn=True,
        channel=None,
        resample=False,
        detector="energy",
        min_speech=0.2,
        drop_silence=False,
        n_jobs=None,
    ):
        self.sampling_rate = sampling_rate
        self.n_mels = n_mels
        self.frame_length = frame_length
        self.hop_length = hop_length
        self.n_frames = n_frames
        self.f_min = f_min
        self.f_max = f_max
        self.window = window
        self.preemphasis = preemphasis
        self.remove_dc_offset = remove_dc_offset
        self.filterbank = filterbank
        self.cmvn = cmvn
        self.channel = channel
        self.resample = resample
        self.detector = detector
        self.min_speech = min_speech
        self.drop_silence = drop_silence
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check parameters and the kind of input; nothing is learned and no file is decoded.

        Parameters
        ----------
        X : list, tuple or ndarray of utterances
            Waveforms, files and segments, see Notes of the class.
        y : None
            Ignored.

        Returns
        -------
        LogMelSpectrogram
            The estimator itself.

        Raises
        ------
        TypeError, ValueError, FileNotFoundError
            As ``transform``, except for what only shows in the samples.
        """
        utterances, problems = check_utterances(X)
        raise_problems(problems, len(utterances), "utterances")
        self._make_analysis()
        return self

    def transform(self, X):
        """Compute the images.

        Parameters
        ----------
        X : list, tuple or ndarray of utterances
            Waveforms, files and segments, see Notes of the class.

        Returns
        -------
        ndarray of shape (n_utterances, n_mels, n_frames, 1), dtype float32
            Natural logarithms of energies, or these normalised; the first band is the lowest. With
            ``n_frames=None`` a list of arrays of shape (n_mels, n_frames_i, 1).

        Raises
        ------
        TypeError
            If `X` is no list of utterances.
        ValueError
            If `X` is empty; if an utterance is of no kind named in Notes of the class, is shorter
            than a frame, holds less speech than `min_speech`, NaN or infinite samples, or samples
            that cannot be in the units that their type says, such as floats of 16-bit range (an
            InputMismatchError); if a file cannot be decoded, or has another sampling rate or no
            such channel. Every such utterance is named, by its index and file. Also if parameters
            contradict each other, as in :func:`log_mel`.
        FileNotFoundError
            If there is no file at a path.
        ImportError
            If there are files and `soundfile` is not installed, or one to be resampled and `soxr`
            is not.

        Warns
        -----
        InputMismatchWarning
            If floats are so far beyond [-1, 1] that they may be in other units, or `X` is an array
            whose rows may be the channels of one recording.
        """
        self._validate_params()
        return make_all(self, X)

    def transform_usable(self, X):
        """Compute the images of what can be used, and leave out the rest.

        Parameters
        ----------
        X : list, tuple or ndarray of utterances
            Waveforms, files and segments, see Notes of the class.

        Returns
        -------
        images : ndarray of shape (n_usable, n_mels, n_frames, 1), dtype float32
            As ``transform`` returns them, of the utterances that it does not refuse; with
            ``n_frames=None`` a list.
        usable : ndarray of shape (n_utterances,), bool
            Which those are, to take their labels by: ``y[usable]``.

        Raises
        ------
        TypeError, ValueError, ImportError
            If `X` is no list of utterances, no utterance can be used, parameters contradict each
            other or a library is missing.

        Warns
        -----
        UserWarning
            If utterances are left out; the message says why each of them is.
        """
        self._validate_params()
        return make_usable(self, X)

    def set_output(self, *, transform=None):
        """Accept the setting, as a pipeline passes it on, and keep to arrays.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            Ignored: no data frame holds images.

        Returns
        -------
        LogMelSpectrogram
            The estimator itself.
        """
        return self

    def _make_analysis(self):
        analysis = make_analysis(**{name: getattr(self, name) for name in ANALYSIS_CONSTRAINTS})
        if self.detector is None:
            if self.drop_silence or self.cmvn == "speech":
                raise ValueError(
                    f"cmvn={self.cmvn!r} and drop_silence={self.drop_silence!r} need a detector, "
                    "got detector=None."
                )
        elif self.n_frames is not None:
            kept = self.n_frames * analysis.hop / self.sampling_rate
            if self.min_speech > kept:
                raise ValueError(
                    f"min_speech={self.min_speech!r} s is more than the {kept:g} s of "
                    f"n_frames={self.n_frames}: raise n_frames, lower min_speech, or set "
                    "detector=None to take everything for speech."
                )
        return analysis

    def _check_samples(self, X):
        self._make_analysis()
        return check_utterances(X)

    def _make_images(self, samples):
        """Compute images of utterances one by one; problems and remarks by index."""
        analysis = self._make_analysis()
        images, problems, remarks = [], {}, {}
        if self.n_frames is not None:
            shape = len(samples), self.n_mels, self.n_frames, 1
            filled, n_filled = np.empty(shape, dtype=np.float32), 0
        for i, utterance in enumerate(samples):
            try:
                features, peak = self._compute_features(utterance, analysis)
            except ValueError as problem:
                problems[i] = problem
                continue
            # Bands lie upon each other.
            if self.n_frames is None:
                images.append(np.ascontiguousarray(features.T)[:, :, None])
            else:
                _repeat(features.T, filled[n_filled, :, :, 0])
                n_filled += 1
            remark = remark_if_loud(peak, utterance.name)
            if remark is not None:
                remarks[i] = remark
        return images if self.n_frames is None else filled[:n_filled], problems, remarks

    def _compute_features(self, utterance, analysis):
        """Compute the frames of one utterance that are kept, and the peak of what was looked at."""
        with open_recording(
            utterance, self.sampling_rate, self.channel, self.resample
        ) as recording:
            analysis.check_length(recording.n_samples, utterance.name)
            features, speech, peak = self._find_speech(recording, analysis, utterance.name)
        if self.drop_silence:
            features, speech = features[speech], None
        if self.cmvn:
            features = normalise_bands(features, speech if self.cmvn == "speech" else None)
        return features, peak

    def _find_speech(self, recording, analysis, name):
        """Return log energies of the first crop with enough speech, where that is, and its peak."""
        most = 0.0
        if self.detector is not None:
            detect = EnergyVAD()._detect if self.detector == "energy" else self.detector.detect
        for start, stop in analysis.crops(recording.n_samples, self.n_frames):
            samples = recording.read(start, stop)
            features = analysis(samples).T
            if self.detector is None:
                return features, None, loudest(samples)
            speech = detect(
                samples,
                features,
                sampling_rate=self.sampling_rate,
                frame=analysis.frame,
                hop=analysis.hop,
            )
            most = max(most, np.count_nonzero(speech) * analysis.hop / self.sampling_rate)
            if most >= self.min_speech:
                return features, speech, loudest(samples)
        raise ValueError(
            f"{name} holds {most:.2f} s of speech, at least {self.min_speech:g} s are needed "
            f"(min_speech){recording.hint}."
        )

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.requires_fit = False
        return tags


def _repeat(features, image):
    """Fill an image, shape (n_mels, n_frames), with frames over and over."""
    n_frames, n_found = image.shape[1], features.shape[1]
    for start in range(0, n_frames, n_found):
        image[:, start : start + n_found] = features[:, : n_frames - start]
