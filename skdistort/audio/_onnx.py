"""OnnxEncoder: a speaker encoder trained elsewhere, as a transformer.

Run by onnxruntime, so that no other deep-learning framework is in the process. Recordings are read
as everywhere, in :mod:`skdistort.audio._recordings`.
"""

import os
from functools import cached_property
from numbers import Integral

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._problems import raise_problems, warn_of_remarks
from ..exceptions import InputMismatchError
from ._cepstra import _check_ragged
from ._decoding import check_utterances, remark_if_loud
from ._recordings import open_recording
from ._spectrogram import LogMelSpectrogram
from ._speech import without_variation

_FLOATS = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
_NUMBERS = {**_FLOATS, "tensor(int64)": np.int64, "tensor(int32)": np.int32}


class OnnxEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Embed recordings, or spectrograms of them, by a network in an ONNX file.

    What comes out goes where embeddings go: PLDA, score normalisation, the selection of clients and
    impostors (`selection_vectors`), :class:`skdistort.EmbeddingStore`. Needs onnxruntime.

    Parameters
    ----------
    path : str or os.PathLike
        The file. ``fit`` reads it; what is fitted holds its content and needs the file no more.
    input_name, output_name : str or None, default=None
        Which input takes the sound and which output is the embedding. None takes the only one.
    lengths_name : str or None, default=None
        An input that takes the number of frames, or samples, of each utterance. With it, utterances
        of different lengths go through together, filled up with zeros. Without it, only those of
        one length do, so that none depends on its neighbours.
    bands_first : bool or None, default=None
        Whether the network wants frames last, ``(n, bands, frames)``. None finds out where the file
        gives the number of bands, which is that of the spectrograms.
    subtract_mean : bool, default=False
        Whether the mean over frames is subtracted from each band (CMN), as WeSpeaker's networks
        want it; for spectrograms that are not normalised, of ``LogMelSpectrogram(cmvn=False)``.
    batch_size : int, default=32
        Utterances at a time.
    sampling_rate : int, default=16000
        Samples a second, where the network takes waveforms; see :class:`LogMelSpectrogram`.
    channel : int or None, default=None
        Which channel of files is read, for such networks.
    resample : bool, default=False
        Whether files of another sampling rate are resampled, for such networks.
    detector : "energy", None or object, default="energy"
        What finds speech in waveforms, of which 0.2 s are needed, see :class:`LogMelSpectrogram`.

    Attributes
    ----------
    model_ : ndarray of uint8
        The content of the file.
    input_, output_ : str
        The names of the input and of the output.
    takes_waveforms_ : bool
        Whether the network takes waveforms, rather than spectrograms.
    n_components_ : int
        Length of an embedding.

    See Also
    --------
    skdistort.onnx.load_onnx : Networks of images, as Keras models that learn.

    Notes
    -----
    An input of the shape ``(n, samples)`` or ``(n, 1, samples)`` takes waveforms: `X` is then what
    :class:`LogMelSpectrogram` takes, waveforms, files and segments. One of ``(n, frames, bands)``,
    ``(n, bands, frames)`` or either with an axis of length 1 after the first takes spectrograms as
    that makes them. No file says how its features were made: frames, window, bands and
    normalisation have to be those of its training, or embeddings are worth little.

    Embeddings are not scaled. A network runs what its file says, on untrusted files too; what
    onnxruntime does with a damaged one is its own matter.

    References
    ----------
    Wang et al., "WeSpeaker: a research and production oriented speaker embedding learning toolkit",
    ICASSP 2023, for a source of such files.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skdistort.audio import LogMelSpectrogram, OnnxEncoder
    >>> frames = LogMelSpectrogram(n_frames=None, cmvn=False, window="hamming")
    >>> encoder = OnnxEncoder("wespeaker.onnx", subtract_mean=True)
    >>> make_pipeline(frames, encoder).fit_transform(paths).shape  # doctest: +SKIP
    (5, 256)
    """

    _parameter_constraints: dict = {
        "path": [str, os.PathLike],
        "input_name": [str, None],
        "output_name": [str, None],
        "lengths_name": [str, None],
        "bands_first": ["boolean", None],
        "subtract_mean": ["boolean"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "sampling_rate": [Interval(Integral, 1, None, closed="left")],
        "channel": [Interval(Integral, 0, None, closed="left"), None],
        "resample": ["boolean"],
        "detector": [StrOptions({"energy"}), HasMethods("detect"), None],
    }

    def __init__(
        self,
        path,
        *,
        input_name=None,
        output_name=None,
        lengths_name=None,
        bands_first=None,
        subtract_mean=False,
        batch_size=32,
        sampling_rate=16000,
        channel=None,
        resample=False,
        detector="energy",
    ):
        self.path = path
        self.input_name = input_name
        self.output_name = output_name
        self.lengths_name = lengths_name
        self.bands_first = bands_first
        self.subtract_mean = subtract_mean
        self.batch_size = batch_size
        self.sampling_rate = sampling_rate
        self.channel = channel
        self.resample = resample
        self.detector = detector

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Read the file and try it on the first utterance; nothing is learned.

        Parameters
        ----------
        X : list or ndarray
            Spectrograms of shape (n_mels, n_frames_i[, 1]), or what
            :class:`LogMelSpectrogram` takes.
        y : None
            Ignored.

        Returns
        -------
        OnnxEncoder
            The fitted estimator.

        Raises
        ------
        ImportError
            If onnxruntime is not installed.
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is no network that onnxruntime can run; if it has no such inputs or outputs,
            others that have to be given, an input of another kind, or an output that is not one
            vector for each utterance; if the spectrograms have another number of bands.
        """
        with open(self.path, "rb") as file:
            self.model_ = np.frombuffer(file.read(), dtype=np.uint8)
        self.__dict__.pop("_session", None)
        self._read_ends()
        first = X[:1] if hasattr(X, "__len__") and not isinstance(X, (str, bytes)) else X
        self._n_features_out = self.n_components_ = self._encode(first).shape[1]
        return self

    def transform(self, X):
        """Embed utterances.

        Parameters
        ----------
        X : list or ndarray
            Spectrograms of shape (n_mels, n_frames_i[, 1]), or what
            :class:`LogMelSpectrogram` takes.

        Returns
        -------
        ndarray of shape (n_utterances, n_components_), dtype float32
            Embeddings, as the network gives them.

        Raises
        ------
        InputMismatchError
            If a spectrogram has no band that varies, or an embedding is not finite.
        ValueError
            If recordings cannot be used, as :meth:`LogMelSpectrogram.transform` says; if
            spectrograms have another number of bands; if the network fails.
        """
        check_is_fitted(self)
        return self._encode(X)

    @cached_property
    def _session(self):
        """The network, ready to run; made anew where it was pickled."""
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(
                f"Running an ONNX file needs onnxruntime and could not import it ({error}): "
                "install it with `pip install onnxruntime`."
            ) from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(
                self.model_.tobytes(), options, providers=["CPUExecutionProvider"]
            )
        # What a damaged file raises nobody lists.
        except Exception as error:
            raise ValueError(
                f"{os.fspath(self.path)} is no ONNX file that onnxruntime can run: {error} (Where "
                "weights are in a second file, onnx.save(onnx.load(path), new) makes one of both.)"
            ) from error

    def __getstate__(self):
        return {key: value for key, value in super().__getstate__().items() if key != "_session"}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _read_ends(self):
        """Find input and output, and what the input wants."""
        inputs = {end.name: end for end in self._session.get_inputs()}
        outputs = {end.name: end for end in self._session.get_outputs()}
        if self.lengths_name is not None:
            _pick(inputs, self.lengths_name, "input")
        sounds = {name: end for name, end in inputs.items() if name != self.lengths_name}
        self.input_ = _pick(sounds, self.input_name, "input")
        self.output_ = _pick(outputs, self.output_name, "output")
        missing = [name for name in sounds if name != self.input_]
        if missing:
            raise ValueError(
                f"{os.fspath(self.path)} has more inputs that have to be given, {missing}, of all: "
                f"{_describe(inputs)}. That of the lengths of utterances is lengths_name; others "
                "have to become constants of the file."
            )
        end = inputs[self.input_]
        for name, kinds in ((self.input_, _FLOATS), (self.lengths_name, _NUMBERS)):
            if name is not None and inputs[name].type not in kinds:
                raise ValueError(
                    f"Input {name!r} takes {inputs[name].type}, expected one of {sorted(kinds)}."
                )
        shape = list(end.shape)
        # An axis of channels: there is one.
        self._with_axis = len(shape) > 2 and shape[1] == 1
        shape = [*shape[:1], *shape[2:]] if self._with_axis else shape
        if len(shape) not in (2, 3):
            raise ValueError(
                f"Input {self.input_!r} takes shape {end.shape}; waveforms are (n, samples), "
                "spectrograms (n, frames, bands) or (n, bands, frames)."
            )
        self.takes_waveforms_ = len(shape) == 2
        self._batch, *self._sizes = (n if isinstance(n, int) else None for n in shape)

    def _encode(self, X):
        utterances = self._read_waveforms(X) if self.takes_waveforms_ else self._read_frames(X)
        lengths = np.array([len(utterance) for utterance in utterances])
        embeddings = None
        for rows in self._batches(lengths):
            found = self._run([utterances[row] for row in rows], lengths[rows], rows)
            if embeddings is None:
                embeddings = np.empty((len(utterances), found.shape[1]), dtype=np.float32)
            embeddings[rows] = found
        finite = np.isfinite(embeddings).all(axis=1)
        if not finite.all():
            i = int(finite.argmin())
            raise InputMismatchError(
                f"The network gives an embedding of X[{i}] that is not finite.",
                i,
                "an embedding that is not finite",
                "a finite one",
            )
        return embeddings

    def _read_waveforms(self, X):
        """Decode recordings with speech in them, whole."""
        spectrogram = LogMelSpectrogram(
            self.sampling_rate,
            n_frames=None,
            channel=self.channel,
            resample=self.resample,
            detector=self.detector,
        )
        analysis = spectrogram._make_analysis()
        utterances, problems = check_utterances(X)
        raise_problems(problems, len(utterances), "utterances")
        waveforms, remarks = [], {}
        for i, utterance in enumerate(utterances):
            try:
                with open_recording(
                    utterance, self.sampling_rate, self.channel, self.resample
                ) as recording:
                    analysis.check_length(recording.n_samples, utterance.name)
                    peak = spectrogram._find_speech(recording, analysis, utterance.name)[2]
                    waveforms.append(recording.read(0, recording.n_samples))
                remark = remark_if_loud(peak, utterance.name)
                if remark is not None:
                    remarks[i] = remark
            except ValueError as problem:
                problems[i] = problem
        raise_problems(problems, len(utterances), "utterances")
        warn_of_remarks(remarks, len(utterances), "utterances", stacklevel=5)
        return waveforms

    def _read_frames(self, X):
        """Check spectrograms; an array of shape (n_frames_i, n_bands) for each."""
        spectrograms = _check_ragged(X)
        self._check_bands(len(spectrograms[0]))
        frames = []
        for i, spectrogram in enumerate(spectrograms):
            if spectrogram.shape[1] > 1 and len(without_variation(spectrogram[None])):
                raise InputMismatchError(
                    f"X[{i}] has no band that varies over time: silence, a constant or a hum.",
                    i,
                    "bands that do not vary",
                    "bands that vary",
                )
            if self.subtract_mean:
                spectrogram = spectrogram - spectrogram.mean(axis=1, keepdims=True)
            frames.append(np.ascontiguousarray(spectrogram.T))
        return frames

    def _check_bands(self, n_bands):
        """Tell which axis the bands go to, or refuse another number of them."""
        first, last = self._sizes
        if self.bands_first is None:
            if first == last:
                raise ValueError(
                    f"Input {self.input_!r} takes shape (n, {first or '?'}, {last or '?'}), which "
                    f"does not tell where the {n_bands} bands go: set bands_first."
                )
            self._bands_first = last is None or first == n_bands
        else:
            self._bands_first = self.bands_first
        wanted = first if self._bands_first else last
        if wanted not in (n_bands, None):
            raise ValueError(
                f"X has {n_bands} bands, but input {self.input_!r} takes shape (n, {first or '?'}, "
                f"{last or '?'}): LogMelSpectrogram(n_mels={wanted}) makes as many."
            )

    def _batches(self, lengths):
        """Go through the rows of utterances that can go through together."""
        size = self.batch_size if self._batch is None else self._batch
        # Of about one length even where others are allowed, so that little is filled up.
        order = np.argsort(lengths, kind="stable")
        starts = [0]
        if self.lengths_name is None:
            starts += (1 + np.flatnonzero(np.diff(lengths[order]))).tolist()
        for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
            for first in range(start, stop, size):
                yield order[first : min(first + size, stop)]

    def _run(self, utterances, lengths, rows):
        """Run the network on a batch; one embedding for each."""
        n, longest = len(utterances), int(lengths.max())
        # A file may be of one size of batch: the first one stands for those that are not there.
        shown = utterances + utterances[:1] * ((self._batch or n) - n)
        batch = np.zeros((len(shown), longest, *utterances[0].shape[1:]), dtype=np.float32)
        for image, utterance in zip(batch, shown, strict=True):
            image[: len(utterance)] = utterance
        if not self.takes_waveforms_ and self._bands_first:
            batch = batch.transpose(0, 2, 1)
        if self._with_axis:
            batch = batch[:, None]
        kinds = {end.name: end.type for end in self._session.get_inputs()}
        feed = {self.input_: np.ascontiguousarray(batch, dtype=_FLOATS[kinds[self.input_]])}
        if self.lengths_name is not None:
            counts = [len(utterance) for utterance in shown]
            feed[self.lengths_name] = np.array(counts, dtype=_NUMBERS[kinds[self.lengths_name]])
        try:
            (found,) = self._session.run([self.output_], feed)
        except Exception as error:
            named = f"X[{rows[0]}]" + (f" and {n - 1} more" if n > 1 else "")
            raise ValueError(
                f"The network failed on {named}, given as shape {batch.shape} to input "
                f"{self.input_!r}, which takes {self._session_shape()}: {error}"
            ) from error
        found = np.asarray(found)
        if found.ndim < 2 or len(found) != len(shown) or found[0].size != max(found.shape[1:]):
            raise ValueError(
                f"Output {self.output_!r} has shape {found.shape} for {len(shown)} utterance(s), "
                "not a vector for each. Outputs: "
                f"{_describe({end.name: end for end in self._session.get_outputs()})}."
            )
        return found.reshape(len(shown), -1)[:n]

    def _session_shape(self):
        return next(end.shape for end in self._session.get_inputs() if end.name == self.input_)


def _pick(ends, name, kind):
    """Take the end of that name, or the only one; the name."""
    if name is None and len(ends) == 1:
        return next(iter(ends))
    if name not in ends:
        asked = f"{kind}_name is None" if name is None else f"there is no {kind} {name!r}"
        raise ValueError(f"{asked}; the {kind}s of the file are {_describe(ends) or 'none'}.")
    return name


def _describe(ends):
    return ", ".join(f"{name!r} {list(end.shape)}" for name, end in ends.items())
