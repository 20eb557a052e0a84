"""Features of many recordings on a disk: made in parts, gone on with after a stop, read by mapping.

What features are is the matter of the transformer; recordings are checked and decoded in
:mod:`skdistort.audio._spectrogram`.
"""

import hashlib
import json
import os
import warnings
from numbers import Integral
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .._files import replacing
from .._problems import describe_problems, raise_problems
from .._progress import Progress
from ..persistence._fingerprint import Fingerprint
from ._decoding import check_utterances
from ._spectrogram import LogMelSpectrogram

# What is in a folder: what it belongs to, parts while they are made, and in the end all of them.
_ABOUT, _VALUES, _LENGTHS, _PROBLEMS = (
    "features.json",
    "features.npy",
    "lengths.npy",
    "problems.json",
)
_PART = "part-{:06d}.npz"
_VERSION = 1


def write_features(
    transformer, X, folder, *, part_size=256, n_jobs=None, skip_unusable=False, verbose=0
):
    """Compute features of recordings into a folder, in parts, and go on where a call was stopped.

    Parameters
    ----------
    transformer : LogMelSpectrogram or Pipeline
        What makes features of utterances; a pipeline begins with a :class:`LogMelSpectrogram`, and
        is fitted, on some of the recordings, say.
    X : list, tuple or ndarray of utterances
        Waveforms, paths, contents of files and segments, see :class:`LogMelSpectrogram`; no open
        files, of which nothing tells whether they are the same next time.
    folder : str or os.PathLike
        Where to write; made if there is none. What is there already is not computed again. It
        belongs to these recordings, told by path, size and time of change, and to the settings of
        the transformer: others are refused.
    part_size : int, default=256
        Utterances of a part: what a stop costs each worker, at most.
    n_jobs : int or None, default=None
        Threads, in joblib's way of counting; the transformer's own should be 1.
    skip_unusable : bool, default=False
        Whether to leave out recordings that cannot be used, and warn. Else they are named in the
        end in one message, all others being done: to call it again with True takes no time.
    verbose : bool or int, default=0
        Whether to draw a bar.

    Returns
    -------
    features : numpy.memmap or list of ndarray
        What :func:`read_features` returns.
    usable : ndarray of shape (n_utterances,), bool
        Of which utterances they are, to take labels by: ``y[usable]``.

    Raises
    ------
    TypeError
        If the transformer is no such thing, or an utterance an open file.
    ValueError
        If recordings cannot be used; if the folder is of other recordings or settings.
    FileNotFoundError
        If there is no file at a path, or no folder above `folder`.
    OSError
        If it cannot be written. What was written before stays.

    Warns
    -----
    UserWarning
        If recordings are left out; the message says why each of them is.

    See Also
    --------
    read_features : Reads the folder.

    Notes
    -----
    A part is written as a whole or not at all, so that the process may be killed at any time. In
    the end the parts are put together to one file, which takes the room of both for a moment.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skdistort.audio import LogMelSpectrogram, write_features
    >>> waveforms = [0.1 * np.random.default_rng(i).standard_normal(16000) for i in range(5)]
    >>> spectrograms = LogMelSpectrogram(n_mels=40, n_frames=50, detector=None)
    >>> folder = tempfile.mkdtemp()
    >>> features, usable = write_features(spectrograms, waveforms, folder)
    >>> type(features).__name__, features.shape, usable.tolist()
    ('memmap', (5, 40, 50, 1), [True, True, True, True, True])
    """
    if not isinstance(part_size, Integral) or part_size < 1:
        raise ValueError(f"part_size must be an integer of at least 1, got {part_size!r}.")
    first, rest = _steps(transformer)
    first._validate_params()
    utterances, problems = check_utterances(X)
    raise_problems(problems, len(utterances), "utterances")
    folder = Path(folder)
    about = {
        "version": _VERSION,
        "n_utterances": len(utterances),
        "part_size": int(part_size),
        "transformer": Fingerprint(transformer, "transformer")(),
        "utterances": _fingerprint_of(utterances),
    }
    _claim(folder, about)
    if not (folder / _VALUES).exists():
        _make_parts(first, rest, utterances, folder, int(part_size), n_jobs, verbose)
    problems = _gather(folder, about, skip_unusable)
    if problems and skip_unusable:
        warnings.warn(describe_problems(problems, len(utterances), "utterances"), stacklevel=2)
    features = read_features(folder)
    return features, np.array([i not in problems for i in range(len(utterances))])


def read_features(folder):
    """Map the features in a folder that :func:`write_features` filled.

    Parameters
    ----------
    folder : str or os.PathLike
        The folder.

    Returns
    -------
    numpy.memmap or list of ndarray
        Features of one shape as one array, which estimators read as they need it; of several
        lengths as a list. Nothing is read before it is asked for, and nothing can be changed.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it was not filled, or not to its end.

    Examples
    --------
    >>> from skdistort.audio import read_features
    >>> X = read_features("features")  # doctest: +SKIP
    """
    folder = Path(folder)
    if not (folder / _ABOUT).exists():
        raise FileNotFoundError(f"There are no features in {os.fspath(folder)!r}.")
    if not (folder / _VALUES).exists():
        raise ValueError(
            f"The features in {os.fspath(folder)!r} are not finished: call write_features again."
        )
    values = np.load(folder / _VALUES, mmap_mode="r")
    if not (folder / _LENGTHS).exists():
        return values
    lengths = np.load(folder / _LENGTHS)
    axis, lengths = int(lengths[0]), lengths[1:]
    stops = np.cumsum(lengths)
    parts = [values[stop - n : stop] for n, stop in zip(lengths, stops, strict=True)]
    return [np.moveaxis(part, 0, axis) for part in parts]


def _steps(transformer):
    """Take a transformer apart: the spectrograms, and what follows them."""
    first, rest = transformer, None
    if isinstance(transformer, Pipeline) and len(transformer):
        first, rest = transformer[0], transformer[1:]
    if not isinstance(first, LogMelSpectrogram):
        raise TypeError(
            "transformer must be a LogMelSpectrogram, or a pipeline that begins with one, got "
            f"{type(transformer).__name__}."
        )
    if not rest:
        return first, None
    check_is_fitted(rest)
    return first, rest


def _fingerprint_of(utterances):
    """Name recordings: files by path, size and time of change, all else by its bytes."""
    digest = hashlib.sha256()
    for utterance in utterances:
        source = utterance.source
        if isinstance(source, str):
            status = os.stat(source)
            known = os.path.abspath(source), status.st_size, status.st_mtime_ns
        elif hasattr(source, "read"):
            raise TypeError(f"{utterance.name} is an open file: pass its path or its content.")
        else:
            content = source if isinstance(source, bytes) else np.ascontiguousarray(source)
            known = hashlib.sha256(content).hexdigest(), str(getattr(source, "dtype", ""))
        digest.update(repr((known, utterance.start, utterance.end)).encode())
    return digest.hexdigest()


def _claim(folder, about):
    """Make the folder these features' own, or find that it is."""
    if folder.exists() and not (folder / _ABOUT).exists() and any(folder.iterdir()):
        raise ValueError(f"{os.fspath(folder)!r} holds other things: take an empty folder.")
    folder.mkdir(exist_ok=True)
    if not (folder / _ABOUT).exists():
        with replacing(folder / _ABOUT, "x", encoding="utf-8") as file:
            json.dump(about, file)
        return
    try:
        found = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        differ = [key for key, value in about.items() if found.get(key) != value]
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{os.fspath(folder / _ABOUT)!r} is damaged.") from error
    if differ:
        raise ValueError(
            f"{os.fspath(folder)!r} holds features of others: {', '.join(differ)} differ(s). Take "
            "another folder."
        )


def _make_parts(first, rest, utterances, folder, part_size, n_jobs, verbose):
    """Compute the parts that are not there yet."""
    progress = Progress(len(utterances), "utterances", verbose)
    starts = range(0, len(utterances), part_size)
    missing = []
    for number, start in enumerate(starts):
        if (folder / _PART.format(number)).exists():
            progress.step(min(part_size, len(utterances) - start))
        else:
            missing.append((number, start))

    def make(number, start):
        some = utterances[start : start + part_size]
        features, problems = first._make_images(some, {})
        usable = [i for i in range(len(some)) if i not in problems]
        features = [features[i] for i in usable]
        if first.n_frames is not None:
            features = np.array(features)
        if rest is not None and usable:
            features = rest.transform(features)
        arrays = _packed(features, several_lengths=first.n_frames is None) if usable else {}
        about = {
            "problems": {start + i: str(problem) for i, problem in problems.items()},
            "shape": arrays["values"].shape if usable else None,
            "dtype": arrays["values"].dtype.str if usable else None,
        }
        with replacing(folder / _PART.format(number)) as file:
            np.savez(file, **arrays, about=np.array(json.dumps(about)))
        progress.step(len(some))

    Parallel(n_jobs=n_jobs, require="sharedmem")(delayed(make)(*part) for part in missing)


def _packed(features, several_lengths):
    """Bring features of a part to arrays: of one shape, or one after the other with lengths."""
    if not several_lengths or np.ndim(features[0]) < 2:
        return {"values": np.asarray(features)}
    # Frames are the columns of spectrograms and the rows of cepstra.
    axis = 1 if np.ndim(features[0]) == 3 else 0
    moved = [np.moveaxis(np.asarray(feature), axis, 0) for feature in features]
    lengths = np.array([axis, *map(len, moved)])
    return {"values": np.concatenate(moved), "lengths": lengths}


def _gather(folder, about, skip_unusable):
    """Put the parts together, unless that is done; what is wrong with recordings, by index."""
    n_utterances = about["n_utterances"]
    if (folder / _VALUES).exists():
        problems = _as_problems(json.loads((folder / _PROBLEMS).read_text(encoding="utf-8")))
        if not skip_unusable:
            raise_problems(problems, n_utterances, "utterances")
    else:
        paths = sorted(folder.glob(_PART.format(0).replace("000000", "*")))
        problems = _join_parts(folder, paths, n_utterances, skip_unusable)
    for path in folder.glob(_PART.format(0).replace("000000", "*")):
        path.unlink()
    return problems


def _join_parts(folder, paths, n_utterances, skip_unusable):
    found, lengths, shapes = {}, [], []
    for path in paths:
        with np.load(path) as part:
            about = json.loads(str(part["about"]))
            found.update(about["problems"])
            if about["shape"] is not None:
                shapes.append(about["shape"])
                dtype = about["dtype"]
            if "lengths" in part:
                lengths.append(part["lengths"])
    problems = _as_problems(found)
    if not skip_unusable or not shapes:
        raise_problems(problems, n_utterances, "utterances")
    if lengths:
        with replacing(folder / _LENGTHS) as file:
            np.save(file, np.concatenate([lengths[0][:1], *(part[1:] for part in lengths)]))
    with replacing(folder / _PROBLEMS, "x", encoding="utf-8") as file:
        json.dump(found, file)
    shape = sum(n for n, *_ in shapes), *shapes[0][1:]
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    with replacing(folder / _VALUES) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for path in paths:
            with np.load(path) as part:
                if "values" in part:
                    file.write(np.ascontiguousarray(part["values"]).data)
    return problems


def _as_problems(messages):
    return {int(i): ValueError(message) for i, message in messages.items()}
