"""LogMelSpectrogram: waveforms or audio files to log-mel "images" of one size.

The estimator only: decoding is in `_decoding`, the formulas are in `_log_mel` and `_filters`.
"""

from numbers import Integral

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils import gen_even_slices
from sklearn.utils._param_validation import Interval

from ..persistence import PersistenceMixin
from ._decoding import check_utterances, read_samples
from ._log_mel import ANALYSIS_CONSTRAINTS, make_analysis, normalise_bands

# More than one for each worker, so that one of them with long files does not hold up the rest.
_PARTS_PER_WORKER = 8


class LogMelSpectrogram(TransformerMixin, PersistenceMixin, BaseEstimator):
    """Turn waveforms or audio files of any length into log-mel "images" of one size.

    Nothing is learned: ``transform`` works without ``fit``. Longer utterances are cropped to
    their central frames, shorter ones repeated from their first frame on.

    Parameters
    ----------
    sampling_rate : int, default=16000
        Samples a second, of the waveforms and of the files. Nothing is resampled.
    n_mels : int, default=80
        Number of mel bands, the height of an image.
    frame_length, hop_length : float, default=0.025 and 0.010
        Length of a frame and distance from one to the next, in seconds, cut to whole samples.
    n_frames : int, default=350
        Number of frames, the width of an image.
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
    cmvn : bool, default=True
        Whether each band of an utterance is brought to mean 0 and variance 1 over the frames
        that are kept, before they are repeated. A band that does not vary becomes zero.
    n_jobs : int or None, default=None
        Threads, in joblib's way of counting; the decoding and most of the arithmetic run in
        parallel.

    See Also
    --------
    CepstralCoefficients : MFCC and their deltas from these images.
    log_mel : Every frame of one waveform, not normalised.

    Notes
    -----
    An utterance is a 1-D waveform, of floats in [-1, 1] as a rule or of int16, or the path of a
    file that `soundfile` decodes (the extra ``[audio]``): FLAC, WAV, Ogg, MP3 and more. The
    channels of a file are averaged. With the default settings, frames are Kaldi's, without dither;
    see :func:`log_mel`.

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
    >>> waveforms = [rng.uniform(-0.1, 0.1, n_samples) for n_samples in (16000, 80000)]
    >>> LogMelSpectrogram().transform(waveforms).shape
    (2, 80, 350, 1)
    """

    _parameter_constraints: dict = {
        **ANALYSIS_CONSTRAINTS,
        "n_frames": [Interval(Integral, 1, None, closed="left")],
        "cmvn": ["boolean"],
        "n_jobs": [Integral, None],
    }

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
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check parameters and the kind of input; nothing is learned and no file is decoded.

        Parameters
        ----------
        X : list, tuple or ndarray of waveforms and paths
            Utterances, see Notes of the class.
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
        check_utterances(X)
        self._make_analysis()
        return self

    def transform(self, X):
        """Compute the images.

        Parameters
        ----------
        X : list, tuple or ndarray of waveforms and paths
            Utterances, see Notes of the class.

        Returns
        -------
        ndarray of shape (n_utterances, n_mels, n_frames, 1), dtype float32
            Natural logarithms of energies, or these normalised; the first band is the lowest.

        Raises
        ------
        TypeError
            If `X` is no list of utterances.
        ValueError
            If `X` is empty; if an utterance is not a 1-D waveform of floats or int16, is shorter
            than a frame, or holds NaN, infinite or enormous samples; if a file cannot be decoded or
            has another sampling rate. The utterance is named by its index. Also if parameters
            contradict each other, as in :func:`log_mel`.
        FileNotFoundError
            If there is no file at a path.
        ImportError
            If there are paths and `soundfile` is not installed.
        """
        self._validate_params()
        utterances = check_utterances(X)
        analysis = self._make_analysis()
        images = np.empty((len(utterances), self.n_mels, self.n_frames, 1), dtype=np.float32)

        def fill(rows):
            for row in range(rows.start, rows.stop):
                self._fill_image(images[row, :, :, 0], utterances[row], f"X[{row}]", analysis)

        n_workers = effective_n_jobs(self.n_jobs)
        n_parts = 1 if n_workers == 1 else min(len(utterances), n_workers * _PARTS_PER_WORKER)
        Parallel(n_jobs=self.n_jobs, require="sharedmem")(
            delayed(fill)(rows) for rows in gen_even_slices(len(utterances), n_parts)
        )
        return images

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
        return make_analysis(**{name: getattr(self, name) for name in ANALYSIS_CONSTRAINTS})

    def _fill_image(self, image, utterance, name, analysis):
        """Write one utterance into its image, shape (n_mels, n_frames)."""
        samples = read_samples(utterance, name, self.sampling_rate)
        analysis.check_length(samples, name)
        features = analysis(analysis.crop(samples, self.n_frames))
        if self.cmvn:
            features = normalise_bands(features)
        n_found = features.shape[1]
        for start in range(0, self.n_frames, n_found):
            image[:, start : start + n_found] = features[:, : self.n_frames - start]

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.requires_fit = False
        return tags
