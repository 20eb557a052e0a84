"""Getting at samples: what an utterance may be, and what is wrong with one that may not.

Files are opened in :mod:`skdistort.audio._recordings`. Nothing here knows of frames.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Mapping, Set
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from threading import Lock
from typing import Any

import numpy as np

from ..exceptions import InputMismatchError, InputMismatchWarning

# Floats are in [-1, 1]. What overshoots, as an encoder's output or a mix of tracks does, stays near
# to it; samples scaled to unit variance, or louder by a gain, may be meant; nothing beyond may.
_LOUD, _TOO_LOUD = 4.0, 64.0

# Full scale of integer samples that may stand in an array of floats.
_FULL_SCALES = {8: 2.0**8, 16: 2.0**15, 24: 2.0**23, 32: 2.0**31}

# Channels that a recording may have; no waveform is as short.
_MOST_CHANNELS = 8

# Two channels of one recording are more alike than this, two recordings are not.
_ALIKE = 0.5

_PATHS = str, os.PathLike
_CONTENTS = bytes, bytearray, memoryview


@dataclass(frozen=True)
class Utterance:
    """Where the samples of an utterance are, checked but not decoded."""

    # A waveform, the path of a file, the content of one or a file object.
    source: Any
    name: str
    # Seconds; None is the end.
    start: float = 0.0
    end: float | None = None
    # Of a file object: it has one position, and may be in a list more than once.
    lock: Any = None

    @property
    def span(self):
        """What of the source it is.

        Returns
        -------
        tuple of (float, float or None)
            Start and end in seconds.
        """
        return self.start, self.end


def check_utterances(X):
    """Check cheaply what can be checked before any file is decoded.

    Parameters
    ----------
    X : list, tuple or ndarray
        Waveforms, paths, contents of files, file objects and segments.

    Returns
    -------
    utterances : list of Utterance or None
        The utterances; None where there is a problem.
    problems : dict of int to Exception
        What is wrong, by index: ValueError if an utterance is of no kind that is known,
        FileNotFoundError if there is no file at a path.

    Raises
    ------
    TypeError
        If `X` is no list: a table, a mapping or a set, or cannot be walked through.
    ValueError
        If `X` is empty, one path, or one recording with its channels in columns.

    Warns
    -----
    InputMismatchWarning
        If `X` may be one recording with its channels in rows.
    """
    if isinstance(X, (str, bytes, os.PathLike)):
        shown = f"content: {len(X)} bytes" if isinstance(X, bytes) else f"path: {X!r}"
        raise ValueError(f"X must be a list of waveforms and paths, got one {shown}.")
    # Walking through a table or a mapping gives its columns or keys.
    unordered = isinstance(X, (Mapping, Set)) or hasattr(X, "columns")
    if unordered or not hasattr(X, "__len__") or getattr(X, "ndim", 1) == 0:
        raise TypeError(f"X must be a list of waveforms and paths, got {type(X).__name__}.")
    if len(X) == 0:
        raise ValueError("X holds no utterance: at least one is required.")
    _check_channels(X)
    utterances, problems = [], {}
    locks: dict[int, Any] = {}
    for i, utterance in enumerate(X):
        try:
            utterances.append(_check_utterance(utterance, f"X[{i}]", locks))
        except (ValueError, FileNotFoundError) as problem:
            utterances.append(None)
            problems[i] = problem
    return utterances, problems


def check_waveform(waveform, name):
    """Return a waveform as a 1-D array of floats, int16 or int32, or say what else it is.

    Parameters
    ----------
    waveform : array-like of shape (n_samples,)
        The samples, in any byte order.
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
        if array.ndim == 2 and min(array.shape) <= _MOST_CHANNELS:
            hint = ": take one of the channels, or their mean"
        raise ValueError(f"{name} must be a 1-D waveform, got shape {array.shape}{hint}.")
    if array.size == 0:
        raise ValueError(f"{name} has no samples.")
    if not (array.dtype.kind == "f" or (array.dtype.kind == "i" and array.itemsize in (2, 4))):
        raise ValueError(
            f"{name} must hold floats in [-1, 1], int16 or int32 samples, got dtype {array.dtype}."
        )
    return array


def to_samples(waveform, name):
    """Scale a checked waveform to float32, integers to [-1, 1).

    Parameters
    ----------
    waveform : ndarray of shape (n_samples,), float, int16 or int32
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
        If a sample is NaN or infinite.
    InputMismatchError
        If samples cannot be in the units that their type says: floats far beyond [-1, 1], or whole
        numbers that leave it, or int32 that uses 16 bits.
    """
    if waveform.dtype.kind == "i":
        bits = 8 * waveform.itemsize
        if bits == 32:
            _refuse_narrow(waveform, name)
        return waveform.astype(np.float32) * np.float32(2.0 ** (1 - bits))
    lowest, highest = float(waveform.min()), float(waveform.max())
    # NaN makes both extremes NaN, and fails the comparison.
    if not -_TOO_LOUD <= lowest <= highest <= _TOO_LOUD or (
        not -1 <= lowest <= highest <= 1 and not np.any(waveform % 1)
    ):
        _refuse_units(lowest, highest, name)
    return waveform.astype(np.float32, copy=False)


def loudest(samples):
    """Find the largest magnitude of samples.

    Parameters
    ----------
    samples : ndarray of shape (n_samples,)
        What :func:`to_samples` returned.

    Returns
    -------
    float
        The magnitude.
    """
    return float(max(samples.max(), -samples.min()))


def remark_if_loud(peak, name):
    """Say of a waveform so far beyond [-1, 1] that it may be in other units.

    Parameters
    ----------
    peak : float
        What :func:`loudest` returned.
    name : str
        What to call the waveform.

    Returns
    -------
    InputMismatchWarning or None
        The remark; None if there is nothing to say.
    """
    if peak <= _LOUD:
        return None
    return InputMismatchWarning(
        f"{name} holds samples of up to {peak:.4g}, expected floats in [-1, 1]: other units? What "
        "is speech is judged by its level, and so are log energies."
    )


def _refuse_units(lowest, highest, name):
    """Raise for floats that are no samples in [-1, 1], and guess what they are."""
    peak = max(-lowest, highest)
    # NaN is below no scale.
    bits = next((bits for bits, scale in _FULL_SCALES.items() if peak <= scale), None)
    if bits is None:
        raise ValueError(f"{name} holds NaN, infinite or enormous samples.")
    seen, expected = f"floats from {lowest:.6g} to {highest:.6g}", "floats in [-1, 1]"
    way_out = f"Divide by {2 ** (bits - 1)}" + (
        f", or pass them as int{bits}." if bits in (16, 32) else "."
    )
    if bits == 8:
        way_out = "Divide them so that they are in [-1, 1], around 0."
    raise InputMismatchError(
        f"{name} holds {seen}, expected {expected}: samples of {bits} bits that were not scaled? "
        f"{way_out}",
        None,
        seen,
        expected,
    )


def _refuse_narrow(waveform, name):
    """Raise if int32 samples use 16 bits or fewer, from the lowest on, as no recording does."""
    lowest, highest = int(waveform.min()), int(waveform.max())
    # Of 24 bits, or of 16, the others are zero below them; so few above are next to silence.
    if 2**8 < max(-lowest, highest) <= 2**15 and np.any(waveform % 2**8):
        seen = f"int32 samples from {lowest} to {highest}"
        raise InputMismatchError(
            f"{name} holds {seen}, expected int32 samples of full scale 2**31: samples of 16 bits? "
            "Pass them as int16.",
            None,
            seen,
            "int32 samples of full scale 2**31",
        )


def _check_channels(X):
    """Refuse one recording with its channels in columns, and warn of one with them in rows."""
    if not isinstance(X, np.ndarray) or X.ndim != 2 or X.dtype.kind not in "fi":
        return
    n_rows, n_columns = X.shape
    if n_columns <= _MOST_CHANNELS < n_rows:
        raise ValueError(
            f"X of shape {X.shape} is no list of waveforms: one recording of {n_columns} "
            "channel(s)? Take one of them, [X[:, 0]], or their mean, [X.mean(axis=1)]."
        )
    if not 2 <= n_rows <= _MOST_CHANNELS < n_columns:
        return
    with np.errstate(all="ignore"):
        alike = np.corrcoef(X)[0, 1:]
    if (np.abs(alike) > _ALIKE).all():
        warnings.warn(
            f"The {n_rows} rows of X are as alike as the channels of one recording are, and are "
            "taken for utterances: [X[0]] takes one channel, [X.mean(axis=0)] the mean of all.",
            InputMismatchWarning,
            stacklevel=4,
        )


def _check_utterance(utterance, index, locks):
    """Return an utterance of any kind as an `Utterance`."""
    if not _is_segment(utterance):
        source, name, lock = _check_source(utterance, index, locks)
        return Utterance(source, name, lock=lock)
    source, start, end = utterance
    source, name, lock = _check_source(source, index, locks)
    shown = f"segment ({start!r}, {end!r})"
    for value in (start, end):
        if value is not None and not (isinstance(value, Real) and isfinite(value)):
            raise ValueError(f"{name}: {shown} must be seconds, or None for the end.")
    start = 0.0 if start is None else float(start)
    # Kaldi's segments have -1 for the end of a recording.
    end = None if end is None or end == -1 else float(end)
    if start < 0 or (end is not None and end <= start):
        raise ValueError(f"{name}: {shown} must hold 0 <= start < end, in seconds.")
    until = "the end" if end is None else f"{end:g} s"
    name = f"{name[:-1]}, {start:g} s to {until})" if name.endswith(")") else f"{name} ({shown})"
    return Utterance(source, name, start, end, lock)


def _is_segment(utterance):
    """Tell ``(source, start, end)`` from a waveform of three samples, also as a row of objects."""
    if isinstance(utterance, np.ndarray) and not (
        utterance.dtype == object and utterance.ndim == 1
    ):
        return False
    if not isinstance(utterance, (list, tuple, np.ndarray)) or len(utterance) != 3:
        return False
    source = utterance[0]
    return isinstance(source, (*_PATHS, *_CONTENTS, np.ndarray)) or hasattr(source, "read")


def _check_source(source, index, locks):
    """Return what holds samples, the name for errors and the lock of a file object."""
    if isinstance(source, _CONTENTS):
        return bytes(source), f"{index} ({len(source)} bytes)", None
    if isinstance(source, _PATHS):
        path = os.fsdecode(source)
        if not os.path.isfile(path):
            raise FileNotFoundError(f"{index}: there is no file {path!r}.")
        # Absolute: who decodes it may have another working directory.
        return os.path.abspath(path), f"{index} ({path})", None
    if hasattr(source, "read"):
        name = f"{index} ({getattr(source, 'name', type(source).__name__)})"
        _check_file_object(source, name)
        return source, name, locks.setdefault(id(source), Lock())
    return check_waveform(source, index), index, None


def _check_file_object(file, name):
    """Refuse what cannot be decoded from."""
    if getattr(file, "closed", False):
        raise ValueError(f"{name} is a closed file.")
    if isinstance(file, io.TextIOBase):
        raise ValueError(f"{name} is open as text: open it in mode 'rb'.")
    if not all(hasattr(file, method) for method in ("seek", "tell")) or (
        hasattr(file, "seekable") and not file.seekable()
    ):
        raise ValueError(f"{name} is no file that can seek: pass its content, file.read().")
