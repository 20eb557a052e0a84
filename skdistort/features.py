"""Features of many recordings or photos on a disk: made in parts, gone on with after a stop.

What features are is the matter of the transformer, how its samples are looked at that of
:mod:`skdistort._samples`. Parts are made in threads, in processes or on the machines of a cluster,
as joblib is told; what these have in common is the folder.
"""

import hashlib
import json
import os
import pickle
import platform
import time
import warnings
from functools import lru_cache
from numbers import Integral
from pathlib import Path

import numpy as np
from joblib import delayed, wrap_non_picklable_objects
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ._files import replacing
from ._problems import describe_problems, raise_problems, warn_of_remarks
from ._progress import Progress
from ._samples import CountedParallel, SampleReader, make_part, shares_memory
from .exceptions import InputMismatchWarning
from .persistence._fingerprint import Fingerprint

__all__ = ["read_features", "write_features"]

# What is in a folder: what it belongs to, parts while they are made, and in the end all of them.
_ABOUT, _VALUES, _LENGTHS, _PROBLEMS = (
    "features.json",
    "features.npy",
    "lengths.npy",
    "problems.json",
)
_PART = "part-{:06d}.npz"
_VERSION = 1
# What makes the parts, for those who work elsewhere.
_TRANSFORMER = "transformer.pickle"
# Seconds until a file of another machine is seen here: what network file systems keep in mind is a
# minute old at most.
_PATIENCE = 90


def write_features(
    transformer, X, folder, *, part_size=256, n_jobs=None, skip_unusable=False, verbose=0
):
    """Compute features of samples into a folder, in parts, and go on where a call was stopped.

    Parameters
    ----------
    transformer : LogMelSpectrogram, FaceAligner or Pipeline
        What makes features of recordings or photos; a pipeline begins with one of these, and is
        fitted, on some of the samples, say.
    X : ImageFolder, list, tuple or ndarray of samples
        Recordings, see :class:`LogMelSpectrogram`, or photos, see
        :class:`~skdistort.faces.FaceAligner`; no open files, of which nothing tells whether they
        are the same next time.
    folder : str or os.PathLike
        Where to write; made if there is none. What is there already is not computed again. It
        belongs to these samples, told by path, size and time of change, and to the settings of
        the transformer: others are refused.
    part_size : int, default=256
        Samples of a part: what a stop costs each worker, at most.
    n_jobs : int or None, default=None
        Threads, in joblib's way of counting, or the workers of what ``joblib.parallel_config``
        names. None takes the number of the transformer.
    skip_unusable : bool, default=False
        Whether to leave out samples that cannot be used, and warn. Else they are named in the
        end in one message, all others being done: to call it again with True takes no time.
    verbose : bool or int, default=0
        Whether to draw a bar.

    Returns
    -------
    features : numpy.memmap or list of ndarray
        What :func:`read_features` returns.
    usable : ndarray of shape (n_samples,), bool
        Of which samples they are, to take labels by: ``y[usable]``.

    Raises
    ------
    TypeError
        If the transformer is no such thing, or holds what cannot be told from something else, such
        as a detector that is no estimator; if a sample is an open file.
    ValueError
        If samples cannot be used; if the folder is of other samples or settings.
    FileNotFoundError
        If there is no file at a path, or no folder above `folder`; if a worker does not see the
        folder, or a file.
    OSError
        If it cannot be written. What was written before stays.

    Warns
    -----
    UserWarning
        If samples are left out; the message says why each of them is.
    InputMismatchWarning
        If waveforms may be in other units.

    See Also
    --------
    read_features : Reads the folder.

    Notes
    -----
    A part is written as a whole or not at all, so that any process may be killed at any time. In
    the end the parts are put together to one file, which takes the room of both for a moment.

    Workers on other machines need to see the folder, and the files of `X`, under the same paths, to
    have this library in the same version, and to run as the same user. They write parts themselves:
    no features travel. The transformer goes by the folder too, once for each worker and not with
    each part, and is believed by its checksum only. Samples that are not files travel, each once.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skdistort.audio import LogMelSpectrogram
    >>> from skdistort.features import write_features
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
    kind = first._sample_kind
    samples, problems = first._check_samples(X)
    raise_problems(problems, len(samples), kind)
    # Absolute: workers have working directories of their own.
    folder = Path(os.path.abspath(folder))
    about = {
        "version": _VERSION,
        f"n_{kind}": len(samples),
        "part_size": int(part_size),
        "transformer": Fingerprint(transformer, "transformer")(),
        kind: _fingerprint_of(samples),
    }
    _claim(folder, about)
    parts = [
        (folder / _PART.format(number), start)
        for number, start in enumerate(range(0, len(samples), int(part_size)))
    ]
    if not (folder / _VALUES).exists():
        n_jobs = first.n_jobs if n_jobs is None else n_jobs
        progress = Progress(len(samples), kind, verbose)
        _make_parts((first, rest), samples, parts, int(part_size), n_jobs, progress)
    problems = _gather(folder, [path for path, _ in parts], kind, len(samples), skip_unusable)
    if problems and skip_unusable:
        warnings.warn(describe_problems(problems, len(samples), kind), stacklevel=2)
    features = read_features(folder)
    return features, np.array([i not in problems for i in range(len(samples))])


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
    >>> from skdistort.features import read_features
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
    """Take a transformer apart: what reads samples, and what follows it."""
    first, rest = transformer, None
    if isinstance(transformer, Pipeline) and len(transformer):
        first, rest = transformer[0], transformer[1:]
    if not isinstance(first, SampleReader):
        raise TypeError(
            "transformer must be a LogMelSpectrogram or a FaceAligner, or a pipeline that begins "
            f"with one, got {type(transformer).__name__}."
        )
    if not rest:
        return first, None
    check_is_fitted(rest)
    return first, rest


def _fingerprint_of(samples):
    """Name samples: files by path, size and time of change, all else by its bytes."""
    digest = hashlib.sha256()
    for sample in samples:
        source = sample.source
        if isinstance(source, str):
            status = os.stat(source)
            known = source, status.st_size, status.st_mtime_ns
        elif hasattr(source, "read"):
            raise TypeError(f"{sample.name} is an open file: pass its path or its content.")
        else:
            content = source if isinstance(source, bytes) else np.ascontiguousarray(source)
            known = hashlib.sha256(content).hexdigest(), str(getattr(source, "dtype", ""))
        digest.update(repr((known, *sample.span)).encode())
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


class _Sent:
    """What makes parts, which goes to other processes by a file, once and not with each part.

    Parameters
    ----------
    steps : tuple or None
        What reads samples, and what follows it; None where they come by the file.
    path : Path
        Where the file is, if there is one.
    digest : str or None, default=None
        SHA-256 of the file.
    """

    def __init__(self, steps, path, digest=None):
        self._steps, self._path, self._digest = steps, path, digest

    def __reduce__(self):
        return _Sent, (None, self._path, self._digest)

    def write(self):
        """Write the file."""
        # Classes that were made in a notebook go along.
        steps = wrap_non_picklable_objects(self._steps, keep_wrapper=False)
        content = pickle.dumps(steps, protocol=5)
        with replacing(self._path) as file:
            file.write(content)
        self._digest = hashlib.sha256(content).hexdigest()

    def steps(self):
        """Give what was sent, read from the file where it came from elsewhere."""
        return self._steps or _read_steps(self._path, self._digest)


@lru_cache(maxsize=1)
def _read_steps(path, digest):
    content = _see(path).read_bytes()
    # A folder of many machines may be one of many people: nothing of theirs is run.
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"{os.fspath(path)!r} is not what was written there.")
    return pickle.loads(content)


def _see(path):
    """Wait until a file that was written elsewhere is seen here."""
    for waited in range(_PATIENCE):
        if path.exists():
            return path
        if not path.parent.is_dir():
            break
        time.sleep(waited > 0)
        # Makes a network file system ask again.
        os.listdir(path.parent)
    raise FileNotFoundError(
        f"{os.fspath(path)!r}, which another process wrote, is not to be seen on "
        f"{platform.node()}. Every worker must see the folder under the same path."
    )


def _make_parts(steps, samples, parts, part_size, n_jobs, progress):
    """Compute the parts that are not there yet."""
    missing = []
    for path, start in parts:
        if path.exists():
            progress.step(min(part_size, len(samples) - start))
        else:
            missing.append((path, start))
    sent = _Sent(steps, parts[0][0].with_name(_TRANSFORMER))
    if not shares_memory():
        sent.write()
    CountedParallel(n_jobs, progress, part_size)(
        delayed(_write_part)(sent, samples[start : start + part_size], path, start)
        for path, start in missing
    )


def _write_part(sent, samples, path, start):
    """Compute one part and write it; nothing else is told to who asked for it."""
    first, rest = sent.steps()
    images, problems, remarks = make_part(first, samples)
    usable = len(problems) < len(samples)
    features = images if rest is None or not usable else rest.transform(images)
    # Lists are of images of several lengths, whatever a later step makes of those of one part.
    arrays = _packed(features, several_lengths=isinstance(images, list)) if usable else {}
    about = {
        "problems": {start + i: str(problem) for i, problem in problems.items()},
        "remarks": {start + i: str(remark) for i, remark in remarks.items()},
        "shape": arrays["values"].shape if usable else None,
        "dtype": arrays["values"].dtype.str if usable else None,
    }
    # Two workers that were given the same part, one of them taken for dead, write the same.
    with replacing(path) as file:
        np.savez(file, **arrays, about=np.array(json.dumps(about)))


def _packed(features, several_lengths):
    """Bring features of a part to arrays: of one shape, or one after the other with lengths."""
    if not several_lengths or np.ndim(features[0]) < 2:
        return {"values": np.asarray(features)}
    # Frames are the columns of spectrograms and the rows of cepstra.
    axis = 1 if np.ndim(features[0]) == 3 else 0
    moved = [np.moveaxis(np.asarray(feature), axis, 0) for feature in features]
    lengths = np.array([axis, *map(len, moved)])
    return {"values": np.concatenate(moved), "lengths": lengths}


def _gather(folder, paths, kind, n_samples, skip_unusable):
    """Put the parts together, unless that is done; what is wrong with samples, by index."""
    if (folder / _VALUES).exists():
        problems = _as_problems(json.loads((folder / _PROBLEMS).read_text(encoding="utf-8")))
        if not skip_unusable:
            raise_problems(problems, n_samples, kind)
    else:
        problems = _join_parts(folder, paths, kind, n_samples, skip_unusable)
    for pattern in ("part-*.npz", ".part-*.tmp", _TRANSFORMER):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    return problems


def _join_parts(folder, paths, kind, n_samples, skip_unusable):
    problems, remarks, lengths, shapes = {}, {}, [], []
    for path in paths:
        with np.load(_see(path)) as part:
            about = json.loads(str(part["about"]))
            problems.update(about["problems"])
            remarks.update(about.get("remarks", {}))
            if about["shape"] is not None:
                shapes.append(about["shape"])
                dtype = about["dtype"]
            if "lengths" in part:
                lengths.append(part["lengths"])
    remarks = {int(i): InputMismatchWarning(message) for i, message in remarks.items()}
    warn_of_remarks(remarks, n_samples, kind, stacklevel=5)
    found = _as_problems(problems)
    if not skip_unusable or not shapes:
        raise_problems(found, n_samples, kind)
    if lengths:
        with replacing(folder / _LENGTHS) as file:
            np.save(file, np.concatenate([lengths[0][:1], *(part[1:] for part in lengths)]))
    with replacing(folder / _PROBLEMS, "x", encoding="utf-8") as file:
        json.dump(problems, file)
    shape = sum(n for n, *_ in shapes), *shapes[0][1:]
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    with replacing(folder / _VALUES) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for path in paths:
            with np.load(path) as part:
                if "values" in part:
                    file.write(np.ascontiguousarray(part["values"]).data)
    return found


def _as_problems(messages):
    return {int(i): ValueError(message) for i, message in messages.items()}
