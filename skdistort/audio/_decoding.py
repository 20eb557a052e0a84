"""Getting at samples: what an utterance may be, and the decoding of audio files.

Nothing here resamples, and nothing knows of frames.
"""

import os
from collections.abc import Mapping, Set

import numpy as np

# Floats of 16-bit range are in use too (Kaldi's own); far beyond it squares overflow float32.
_LARGEST_SAMPLE = 2.0**24


def check_utterances(X):
    """Check cheaply what can be checked before any file is decoded.

    Parameters
    ----------
    X : list, tuple or ndarray
        Waveforms and paths.

    Returns
    -------
    list of ndarray or str
        The utterances: 1-D arrays, and paths of files that exist.

    Raises
    ------
    TypeError
        If `X` is no list: a table, a mapping or a set, or cannot be walked through.
    ValueError
        If `X` is empty or one path, or an utterance is neither path nor waveform.
    FileNotFoundError
        If there is no file at a path.
    """
    if isinstance(X, (str, bytes, os.PathLike)):
        raise ValueError(f"X must be a list of waveforms and paths, got one path: {X!r}.")
    # Walking through a table or a mapping gives its columns or keys.
    unordered = isinstance(X, (Mapping, Set)) or hasattr(X, "columns")
    if unordered or not hasattr(X, "__len__") or getattr(X, "ndim", 1) == 0:
        raise TypeError(f"X must be a list of waveforms and paths, got {type(X).__name__}.")
    if len(X) == 0:
        raise ValueError("X holds no utterance: at least one is required.")
    return [_check_utterance(utterance, f"X[{i}]") for i, utterance in enumerate(X)]


def check_waveform(waveform, name):
    """Return a waveform as a 1-D array of floats or int16, or say what else it is.

    Parameters
    ----------
    waveform : array-like of shape (n_samples,)
        The samples.
    name : str
        What to call it in errors.

    Returns
    -------
    ndarray of shape (n_samples,)
        The samples, not copied.

    Raises
    ------
    ValueError
        If it is not 1-D, empty, or of another type.
    """
    array = np.asarray(waveform)
    if array.ndim != 1:
        hint = "; a single waveform goes into a list" if array.ndim == 0 else ""
        raise ValueError(f"{name} must be a 1-D waveform, got shape {array.shape}{hint}.")
    if array.size == 0:
        raise ValueError(f"{name} has no samples.")
    if array.dtype.kind != "f" and array.dtype != np.int16:
        raise ValueError(
            f"{name} must hold floats in [-1, 1] or int16 samples, got dtype {array.dtype}."
        )
    return array


def to_samples(waveform, name):
    """Scale a checked waveform to float32, int16 to [-1, 1).

    Parameters
    ----------
    waveform : ndarray of shape (n_samples,), float or int16
        What :func:`check_waveform` returned.
    name : str
        What to call it in errors.

    Returns
    -------
    ndarray of shape (n_samples,), float32
        The samples, all finite; the caller's own array if it is float32.

    Raises
    ------
    ValueError
        If a sample is NaN, infinite or enormous.
    """
    if waveform.dtype == np.int16:
        return waveform * np.float32(2**-15)
    lowest, highest = float(waveform.min()), float(waveform.max())
    # NaN makes both extremes NaN, and fails the comparison.
    if not -_LARGEST_SAMPLE <= lowest <= highest <= _LARGEST_SAMPLE:
        raise ValueError(f"{name} holds NaN, infinite or enormous samples.")
    return waveform.astype(np.float32, copy=False)


def read_samples(utterance, name, sampling_rate):
    """Get the samples of one utterance, from its file if it is a path.

    Parameters
    ----------
    utterance : ndarray or str
        As :func:`check_utterances` returned it.
    name : str
        What to call it in errors.
    sampling_rate : int
        Samples a second that a file must have.

    Returns
    -------
    ndarray of shape (n_samples,), float32
        The samples, all finite.

    Raises
    ------
    ImportError
        If a file is to be decoded and `soundfile` is not installed.
    ValueError
        If a file cannot be decoded, has another sampling rate or no samples; if a sample is not
        finite.
    """
    if isinstance(utterance, np.ndarray):
        return to_samples(utterance, name)
    name = f"{name} ({utterance})"
    return to_samples(check_waveform(_decode(utterance, name, sampling_rate), name), name)


def _check_utterance(utterance, name):
    """Return a path as a string, a waveform as an array."""
    if not isinstance(utterance, (str, bytes, os.PathLike)):
        return check_waveform(utterance, name)
    path = os.fsdecode(utterance)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{name}: there is no file {path!r}.")
    return path


def _decode(path, name, sampling_rate):
    """Decode a file and average its channels."""
    soundfile = _import_soundfile()
    try:
        with soundfile.SoundFile(path) as file:
            if file.samplerate != sampling_rate:
                raise ValueError(
                    f"{name} has a sampling rate of {file.samplerate} Hz, expected "
                    f"{sampling_rate} Hz: resample it, or set sampling_rate."
                )
            channels = file.read(dtype="float32", always_2d=True)
    # A TypeError is what soundfile has for files without a header.
    except (soundfile.SoundFileError, TypeError) as error:
        raise ValueError(f"{name} could not be decoded: {error}") from error
    return channels.mean(axis=1) if channels.shape[1] > 1 else channels[:, 0]


def _import_soundfile():
    """Import what decodes files, or say how to get it."""
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise ImportError(
            f"Decoding audio files needs soundfile and could not import it ({error}): install it "
            "with `pip install 'skdistort[audio]'`."
        ) from error
    return soundfile
