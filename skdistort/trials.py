"""Trial lists: which utterances (or images) to compare, and which comparisons are genuine.

What lives here reads, writes and draws lists of names, and reads what Kaldi's folders say of them.
It neither opens what the names stand for nor scores it: encode each of
:attr:`TrialList.utterances` once, then score the pairs of :meth:`TrialList.indices`.
"""

from __future__ import annotations

import os
import warnings
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.random import sample_without_replacement

from ._files import numbered_lines, replacing
from ._labels import as_labels
from ._typing import FilePath, Names, Seed

# Lines written at a time, so that a long list is never all text at once.
_BLOCK = 1 << 16


class TrialList:
    """Comparisons of named utterances.

    Each name is held once, so that a list takes about nine bytes a trial.

    Parameters
    ----------
    labels : array-like of shape (n_trials,), bool, or None
        True for a genuine (target) trial; None if nobody says which are.
    left, right : array-like of shape (n_trials,)
        The names of the two utterances; others than strings go by what ``str`` makes of them.

    Raises
    ------
    ValueError
        If the three are not 1-D of one length, or `labels` are not bool.

    Examples
    --------
    >>> from skdistort.trials import TrialList
    >>> trials = TrialList([True, False], ["ann/1", "ann/1"], ["ann/2", "bob/1"])
    >>> trials.utterances.tolist()
    ['ann/1', 'ann/2', 'bob/1']
    >>> left, right = trials.indices(trials.utterances)
    >>> left.tolist(), right.tolist()
    ([0, 0], [1, 2])
    >>> trials[trials.labels]
    TrialList(1 trials of 2 utterances, 1 genuine)
    """

    def __init__(self, labels: ArrayLike | None, left: ArrayLike, right: ArrayLike) -> None:
        left, right = np.asarray(left), np.asarray(right)
        labels = None if labels is None else np.asarray(labels)
        shapes = [side.shape for side in (labels, left, right) if side is not None]
        if left.ndim != 1 or len(set(shapes)) > 1:
            shown = ", ".join(map(str, shapes[:-1]))
            raise ValueError(
                "labels, left and right must be 1-D and of one length, got shapes "
                f"{shown} and {shapes[-1]}."
            )
        names: dict[str, int] = {}
        sides = [
            np.fromiter(
                (names.setdefault(name, len(names)) for name in side.astype(str).tolist()),
                np.int32,
                len(side),
            )
            for side in (left, right)
        ]
        self._hold(labels, np.array(list(names), dtype=str), *sides)

    @classmethod
    def _from_codes(cls, labels, names, left, right):
        """Make a list of positions in names."""
        trials = cls.__new__(cls)
        trials._hold(labels, names, left, right)
        return trials

    def _hold(self, labels, names, left, right):
        if labels is not None and labels.dtype != bool:
            raise ValueError(f"labels must hold True and False, got dtype {labels.dtype}.")
        self._labels, self._names, self._sides = labels, names, (left, right)

    @property
    def labels(self) -> Any:
        """Tell which trials are genuine.

        Returns
        -------
        ndarray of shape (n_trials,), bool, or None
            True for a genuine trial; None if nobody says which are.
        """
        return self._labels

    @property
    def left(self) -> NDArray[np.str_]:
        """Name the left utterance of every trial.

        Returns
        -------
        ndarray of shape (n_trials,), str
            The names, made anew at each access.
        """
        return self._names[self._sides[0]]

    @property
    def right(self) -> NDArray[np.str_]:
        """Name the right utterance of every trial.

        Returns
        -------
        ndarray of shape (n_trials,), str
            The names, made anew at each access.
        """
        return self._names[self._sides[1]]

    def __len__(self):
        """Count the trials."""
        return len(self._sides[0])

    def __repr__(self):
        genuine = "unlabelled" if self._labels is None else f"{self._labels.sum()} genuine"
        return f"TrialList({len(self)} trials of {len(self.utterances)} utterances, {genuine})"

    def __getitem__(self, chosen: Any) -> TrialList:
        """Choose trials by a mask, positions or a slice."""
        if isinstance(chosen, Integral):
            raise TypeError(f"Choose trials by a mask, positions or a slice, got {chosen!r}.")
        if not isinstance(chosen, slice):
            chosen = np.asarray(chosen)
            # An empty list is of floats.
            chosen = chosen.astype(np.intp) if chosen.size == 0 and chosen.dtype != bool else chosen
        labels = None if self._labels is None else self._labels[chosen]
        return self._from_codes(labels, self._names, *(side[chosen] for side in self._sides))

    @property
    def utterances(self) -> NDArray[np.str_]:
        """Name every utterance in the trials once.

        Returns
        -------
        ndarray of shape (n_utterances,), str
            The names, sorted.
        """
        return np.sort(self._names[self._named()])

    def indices(self, names: Names) -> tuple[NDArray[np.intp], ...]:
        """Find both sides of every trial in a sequence of utterance names.

        Parameters
        ----------
        names : sequence of str
            The names of the utterances at hand, in the order of their embeddings, say. Others than
            strings go by what ``str`` makes of them.

        Returns
        -------
        left : ndarray of shape (n_trials,), intp
            Positions of the left utterances in `names`.
        right : ndarray of shape (n_trials,), intp
            Positions of the right ones.

        Raises
        ------
        ValueError
            If a trial names an utterance that is not among `names`, or `names` holds one twice.
        """
        names = np.asarray(names).astype(str).tolist()
        position = {name: i for i, name in enumerate(names)}
        if len(position) < len(names):
            twice = next(name for i, name in enumerate(names) if position[name] != i)
            raise ValueError(f"names holds {twice!r} more than once.")
        missing = [name for name in self.utterances.tolist() if name not in position]
        if missing:
            raise ValueError(
                f"names lacks {len(missing)} of the utterances in the trials, such as "
                f"{missing[0]!r}."
            )
        # What no trial names any more, after a choice of trials, need not be among the names.
        places = np.array([position.get(name, -1) for name in self._names.tolist()], dtype=np.intp)
        return tuple(places[side] for side in self._sides)

    def _named(self):
        """Tell which of the names held are in a trial."""
        named = np.zeros(len(self._names), dtype=bool)
        for side in self._sides:
            named[side] = True
        return named

    def _pairs(self):
        """Give each pair of utterances a number, whichever of the two is left."""
        pairs = np.minimum(*self._sides, dtype=np.int64)
        pairs *= len(self._names)
        pairs += np.maximum(*self._sides)
        return pairs


@dataclass(frozen=True)
class _Format:
    """Where a line's words hold the label, and how it is spelled; None if there is none."""

    label_column: int | None
    genuine: str = ""
    impostor: str = ""

    @property
    def sides(self):
        """Columns of the names."""
        return (1, 2) if self.label_column == 0 else (0, 1)

    def fits(self, words):
        """Tell whether a line's words are of this format."""
        column = self.label_column
        if column is None:
            return len(words) == 2
        return len(words) == 3 and words[column] in (self.genuine, self.impostor)

    def __str__(self):
        words = ["left", "right"]
        if self.label_column is not None:
            words.insert(self.label_column, f"{self.genuine}|{self.impostor}")
        return repr(" ".join(words))


_FORMATS = {
    "voxceleb": _Format(0, "1", "0"),
    "kaldi": _Format(2, "target", "nontarget"),
    "cnceleb": _Format(2, "1", "0"),
    "unlabelled": _Format(None),
}
_NAMES = (*_FORMATS, "nist")

# The columns of NIST's lists, as they were called over the years.
_NIST_SEGMENTS = "segmentid", "segment"
_NIST_SIDES = "side", "channel"
_NIST_LABELS = {"target": True, "nontarget": False}


def read_trials(
    path: FilePath,
    format: Literal["auto", "voxceleb", "kaldi", "cnceleb", "unlabelled", "nist"] = "auto",
) -> TrialList:
    """Read a trial list.

    A line holds words between white space: ``1 left right`` or ``0 left right`` as in VoxCeleb's
    lists, ``left right target`` or ``left right nontarget`` as in Kaldi's, ``left right 1`` or
    ``left right 0`` as in CN-Celeb's, or ``left right``. NIST's lists have a line of names first:
    ``modelid``, ``segmentid``, perhaps ``side`` and, in a key, ``targettype``, between tabs or
    commas. Blank lines are passed over. There are no comments: any other line is an error.

    Parameters
    ----------
    path : str or path-like
        A text file in UTF-8.
    format : {"auto", "voxceleb", "kaldi", "cnceleb", "unlabelled", "nist"}, default="auto"
        Which of the forms; "auto" takes the one that all lines are of. Lines that all end in
        ``target`` or ``nontarget`` are taken for Kaldi's, however they begin.

    Returns
    -------
    TrialList
        The trials in the order of the file; its `labels` are None where the file has none. In
        NIST's lists a segment's side b is named ``segmentid:b``.

    Raises
    ------
    ValueError
        If `format` is unknown, a line is not of that format, the lines are of two formats, or the
        file holds no trial or is no text in UTF-8. The message has the file, the line's number and
        its text.

    Warns
    -----
    UserWarning
        If the list contradicts itself: the same two utterances are called genuine in one line and
        an impostor in another, or an utterance is called an impostor of itself.

    See Also
    --------
    write_trials : The way back.

    Examples
    --------
    >>> import os, tempfile
    >>> from skdistort.trials import TrialList, read_trials, write_trials
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "trials.txt")
    ...     write_trials(path, TrialList([True, False], ["ann/1", "ann/1"], ["ann/2", "bob/1"]))
    ...     read_trials(path).labels
    array([ True, False])
    """
    if format not in ("auto", *_NAMES):
        raise ValueError(f"format must be one of {['auto', *_NAMES]}, got {format!r}.")
    lines = _lines_of(path)
    first = next(lines, None)
    if first is None:
        raise ValueError(f"{os.fspath(path)} holds no trials.")
    if format == "nist" or (format == "auto" and _nist_columns(first[1])):
        trials, _ = _read_nist(path, first, lines)
    else:
        trials = _read_words(path, first, lines, format)
    _warn_of_contradictions(trials, path)
    return trials


def write_trials(
    path: FilePath,
    trials: TrialList,
    format: Literal["voxceleb", "kaldi", "cnceleb", "unlabelled", "nist"] = "voxceleb",
) -> None:
    """Write a trial list; the file is there as a whole or not at all.

    Parameters
    ----------
    path : str or path-like
        Where to. It is written beside under another name first, then renamed.
    trials : TrialList
        What to write.
    format : {"voxceleb", "kaldi", "cnceleb", "unlabelled", "nist"}, default="voxceleb"
        What a line is like, see :func:`read_trials`; "unlabelled" leaves the labels out, "nist"
        leaves them out where there are none.

    Raises
    ------
    ValueError
        If `format` is unknown or needs labels that the trials do not have, or a name is empty,
        holds white space or begins with a byte order mark, which no line can carry.

    Examples
    --------
    >>> import os, tempfile
    >>> from skdistort.trials import TrialList, write_trials
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "trials.txt")
    ...     write_trials(path, TrialList([True], ["ann/1"], ["ann/2"]), format="kaldi")
    ...     with open(path) as file:
    ...         file.read().strip()
    'ann/1 ann/2 target'
    """
    if format not in _NAMES:
        raise ValueError(f"format must be one of {list(_NAMES)}, got {format!r}.")
    if format == "nist":
        labels = trials.labels
        words = None if labels is None else np.where(labels, "target", "nontarget")
        _write_nist(path, trials, words, "targettype")
        return
    chosen = _FORMATS[format]
    words = None
    if chosen.label_column is not None:
        if trials.labels is None:
            raise ValueError(f"format={format!r} needs labels, and the trials have none.")
        words = np.where(trials.labels, chosen.genuine, chosen.impostor)
    _write_columns(path, trials, words, chosen.label_column)


def write_scores(
    path: FilePath,
    trials: TrialList,
    scores: ArrayLike,
    format: Literal["kaldi", "nist"] = "kaldi",
) -> None:
    """Write the scores of trials; the file is there as a whole or not at all.

    Parameters
    ----------
    path : str or path-like
        Where to. It is written beside under another name first, then renamed.
    trials : TrialList
        The trials.
    scores : array-like of shape (n_trials,)
        Their scores, which are written so that they are read as the same numbers.
    format : {"kaldi", "nist"}, default="kaldi"
        ``left right score`` on each line; or NIST's tab-separated ``modelid``, ``segmentid``,
        ``side`` and ``LLR`` under their names.

    Raises
    ------
    ValueError
        If `format` is unknown, there are not as many scores as trials, a score is NaN, or a name
        cannot be written, see :func:`write_trials`.

    See Also
    --------
    read_scores : The way back.

    Examples
    --------
    >>> import os, tempfile
    >>> from skdistort.trials import TrialList, write_scores
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "scores.txt")
    ...     write_scores(path, TrialList(None, ["ann/1"], ["ann/2"]), [0.5])
    ...     with open(path) as file:
    ...         file.read().strip()
    'ann/1 ann/2 0.5'
    """
    if format not in ("kaldi", "nist"):
        raise ValueError(f"format must be one of ['kaldi', 'nist'], got {format!r}.")
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape != (len(trials),):
        raise ValueError(f"scores must be of shape ({len(trials)},), got {scores.shape}.")
    if np.isnan(scores).any():
        raise ValueError(f"scores holds NaN, the first at {np.argmax(np.isnan(scores))}.")
    if format == "nist":
        _write_nist(path, trials, scores, "LLR")
    else:
        _write_columns(path, trials, scores, 2)


def read_scores(path: FilePath, trials: TrialList) -> NDArray[np.float64]:
    """Read the scores of trials, whatever order a file has them in.

    Parameters
    ----------
    path : str or path-like
        A text file in UTF-8: ``left right score`` on each line, or NIST's with ``LLR``, see
        :func:`write_scores`.
    trials : TrialList
        The trials whose scores are wanted.

    Returns
    -------
    ndarray of shape (n_trials,), float64
        The scores, in the order of the trials.

    Raises
    ------
    ValueError
        If a line is of another form or its score no number, a trial has no score or two different
        ones, or the file is no text in UTF-8. Scores of other trials are passed over.

    See Also
    --------
    write_scores : The way back.

    Examples
    --------
    >>> import os, tempfile
    >>> from skdistort.trials import TrialList, read_scores, write_scores
    >>> trials = TrialList([True, False], ["ann/1", "ann/1"], ["ann/2", "bob/1"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "scores.txt")
    ...     write_scores(path, trials[::-1], [-2.5, 1.5])
    ...     read_scores(path, trials)
    array([ 1.5, -2.5])
    """
    lines = _lines_of(path)
    first = next(lines, None)
    if first is None:
        raise ValueError(f"{os.fspath(path)} holds no scores.")
    if _nist_columns(first[1]):
        scored, scores = _read_nist(path, first, lines, "llr")
    else:
        table = _Columns("d")
        for number, line in _chained(first, lines):
            words = line.split()
            score = _as_number(words[2]) if len(words) == 3 else None
            if score is None:
                raise _unlike(path, number, line, "'left right score'")
            table.append(words[0], words[1], score)
        scored, scores = table.to_trials(), np.array(table.values)
    return _aligned(scored, scores, trials, path)


def make_trials(
    labels: ArrayLike,
    n_genuine: int | None = None,
    n_impostor: int | None = None,
    *,
    names: Names | None = None,
    random_state: Seed = None,
) -> TrialList:
    """Draw trials among labelled utterances, or list them all.

    Pairs are unordered, different from one another and never of an utterance with itself; all are
    equally likely. Memory grows with the trials drawn, not with the square of the utterances.

    Parameters
    ----------
    labels : array-like of shape (n_utterances,)
        Who is heard.
    n_genuine, n_impostor : int or None, default=None
        How many trials with one and with two identities; None takes all there are.
    names : sequence of str or None, default=None
        The utterances' names, each different; None calls them by their positions, "0", "1", ...
    random_state : int, RandomState instance or None, default=None
        Seed of the drawing.

    Returns
    -------
    TrialList
        The genuine trials, then the impostor trials. The left utterance is the one that comes
        first in `labels`.

    Raises
    ------
    ValueError
        If there are fewer trials than asked for, `names` does not fit `labels`, or a label is
        missing.

    Examples
    --------
    >>> from skdistort.trials import make_trials
    >>> trials = make_trials(["ann", "bob", "ann"], n_impostor=1, random_state=0)
    >>> trials.labels.tolist(), trials.left.tolist(), trials.right.tolist()
    ([True, False], ['0', '1'], ['2', '2'])
    """
    labels = as_labels(labels, "labels")
    names = np.asarray(np.arange(len(labels)) if names is None else names).astype(str)
    if labels.ndim != 1 or names.shape != labels.shape:
        raise ValueError(
            f"labels must be 1-D, got shape {labels.shape}, and names of the same shape, got "
            f"{names.shape}."
        )
    if len(set(names.tolist())) < len(names):
        raise ValueError("names must be different from one another.")
    rng = check_random_state(random_state)
    # Once utterances are sorted by identity, the later ones of the same identity and the later
    # ones of others are both neighbours in that order.
    order = np.argsort(labels, kind="stable")
    position = np.arange(len(labels))
    group_end = np.searchsorted(labels[order], labels[order], side="right")
    genuine = _draw("n_genuine", n_genuine, position + 1, group_end, rng)
    impostor = _draw("n_impostor", n_impostor, group_end, np.full_like(position, len(labels)), rng)
    pairs = np.sort(order[np.concatenate((genuine, impostor), axis=1)], axis=0)
    is_genuine = np.arange(pairs.shape[1]) < genuine.shape[1]
    return TrialList._from_codes(is_genuine, names, *pairs.astype(np.int32))


def _draw(name, n_pairs, begin, end, rng):
    """Draw pairs of position i and one from ``begin[i]`` to ``end[i] - 1``; shape (2, n_pairs)."""
    last = np.cumsum(end - begin)
    available = int(last[-1]) if last.size else 0
    if n_pairs is None:
        rank = np.arange(available)
    elif isinstance(n_pairs, Integral) and 0 <= n_pairs <= available:
        rank = np.sort(sample_without_replacement(available, n_pairs, random_state=rng))
    else:
        raise ValueError(
            f"{name} must be an integer from 0 to the {available} there are, got {n_pairs!r}."
        )
    first = np.searchsorted(last, rank, side="right")
    return np.stack((first, end[first] - (last[first] - rank)))


@dataclass(frozen=True)
class KaldiData:
    """What a folder of Kaldi's says of its utterances.

    Attributes
    ----------
    names : list of str
        Their names, in the order of the files.
    utterances : list
        For :class:`LogMelSpectrogram`: the path of each, or ``(path, start, end)`` in seconds.
    speakers : list of str or None
        Whose they are; None if the folder does not say.
    """

    names: list[str]
    utterances: list[Any]
    speakers: list[str] | None


def read_kaldi_data(folder: FilePath) -> KaldiData:
    r"""Read a data folder of Kaldi's: wav.scp, and segments, utt2spk and spk2utt where there are.

    Parameters
    ----------
    folder : str or path-like
        Holds ``wav.scp`` (``recording path``), perhaps ``segments`` (``utterance recording start
        end``), and perhaps ``utt2spk`` (``utterance speaker``) or ``spk2utt`` (``speaker utterance
        utterance ...``).

    Returns
    -------
    KaldiData
        Names, places and speakers of the utterances.

    Raises
    ------
    FileNotFoundError
        If there is no ``wav.scp``.
    ValueError
        If a line is of another form, names twice what is to be named once, names what is not
        there, or is a command, none of which is run; if ``utt2spk`` and ``spk2utt`` differ or an
        utterance has no speaker in them. The message has the file and the line.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skdistort.trials import read_kaldi_data
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "wav.scp").write_text("call /data/call.wav\n")
    ...     _ = Path(folder, "segments").write_text("ann-1 call 0.5 3.25\n")
    ...     _ = Path(folder, "utt2spk").write_text("ann-1 ann\n")
    ...     read_kaldi_data(folder)
    KaldiData(names=['ann-1'], utterances=[('/data/call.wav', 0.5, 3.25)], speakers=['ann'])
    """
    folder = Path(folder)
    recordings: dict[str, str] = {}
    for number, line in _lines_of(folder / "wav.scp"):
        words = line.split(maxsplit=1)
        if len(words) != 2:
            raise _unlike(folder / "wav.scp", number, line, "'recording path'")
        name, file = words[0], words[1].strip()
        if file.endswith("|"):
            raise ValueError(
                f"{folder / 'wav.scp'}, line {number}, is a command, and none is run, got "
                f"{line.strip()!r}: let Kaldi write its output to a file (wav-copy)."
            )
        _enter(recordings, name, file, folder / "wav.scp", number)
    utterances: dict[str, Any] = recordings
    if (folder / "segments").exists():
        utterances = _read_segments(folder / "segments", recordings)
    speakers = _read_speakers(folder)
    names = list(utterances)
    if speakers is not None:
        missing = [name for name in names if name not in speakers]
        if missing:
            raise ValueError(
                f"{folder} names no speaker of {len(missing)} utterances, such as {missing[0]!r}."
            )
    return KaldiData(
        names,
        list(utterances.values()),
        None if speakers is None else [speakers[name] for name in names],
    )


def _read_segments(path, recordings):
    """Read where in their recordings utterances are."""
    segments: dict[str, Any] = {}
    for number, line in _lines_of(path):
        words = line.split()
        times = [_as_number(word) for word in words[2:]]
        if len(words) != 4 or None in times:
            raise _unlike(path, number, line, "'utterance recording start end'")
        if words[1] not in recordings:
            raise ValueError(f"{path}, line {number}: wav.scp has no recording {words[1]!r}.")
        _enter(segments, words[0], (recordings[words[1]], *times), path, number)
    return segments


def _read_speakers(folder):
    """Read whose utterances are, from either file or from both; None if there is neither."""
    one_a_line, many_a_line = folder / "utt2spk", folder / "spk2utt"
    speakers = None
    if one_a_line.exists():
        speakers = {}
        for number, line in _lines_of(one_a_line):
            words = line.split()
            if len(words) != 2:
                raise _unlike(one_a_line, number, line, "'utterance speaker'")
            _enter(speakers, words[0], words[1], one_a_line, number)
    if many_a_line.exists():
        found: dict[str, str] = {}
        for number, line in _lines_of(many_a_line):
            speaker, *names = line.split()
            if not names:
                raise _unlike(many_a_line, number, line, "'speaker utterance utterance ...'")
            for name in names:
                _enter(found, name, speaker, many_a_line, number)
        if speakers is not None and found != speakers:
            differing = next(n for n in [*speakers, *found] if found.get(n) != speakers.get(n))
            raise ValueError(f"{folder}: utt2spk and spk2utt differ on {differing!r}.")
        speakers = found
    return speakers


class _Columns:
    """Names of both sides, and a value, of the lines of a file; each name is kept once."""

    def __init__(self, kind):
        self.names: dict[str, int] = {}
        self.left, self.right, self.values = array("i"), array("i"), array(kind)

    def append(self, left, right, value):
        """Take in a line."""
        names = self.names
        self.left.append(names.setdefault(left, len(names)))
        self.right.append(names.setdefault(right, len(names)))
        self.values.append(value)

    def to_trials(self, labelled=False):
        """Make a list of the trials, with the values for labels."""
        labels = np.frombuffer(self.values, dtype=bool) if labelled else None
        names = np.array(list(self.names), dtype=str)
        sides = (np.frombuffer(side, dtype=np.int32) for side in (self.left, self.right))
        return TrialList._from_codes(labels, names, *sides)


def _read_words(path, first, lines, format):
    """Read lines of two or three words, of a format, or of the one that all of them are of."""
    forms = _FORMATS if format == "auto" else {format: _FORMATS[format]}
    tables = {name: _Columns("b") for name in forms}
    for number, line in _chained(first, lines):
        words = line.split()
        if not all(form.fits(words) for form in forms.values()):
            fitting = {name: form for name, form in forms.items() if form.fits(words)}
            if not fitting:
                raise _unlike(path, number, line, " or ".join(map(str, forms.values())))
            forms = fitting
        for name, form in forms.items():
            left, right = form.sides
            genuine = form.label_column is not None and words[form.label_column] == form.genuine
            tables[name].append(words[left], words[right], genuine)
    # "target" is more of a label than "1" or "0", which may be names.
    chosen = ["kaldi"] if "kaldi" in forms else list(forms)
    if len(chosen) > 1:
        raise ValueError(
            f"{os.fspath(path)} may be of more than one format, {' or '.join(chosen)}: say which "
            "by format."
        )
    return tables[chosen[0]].to_trials(labelled=chosen[0] != "unlabelled")


def _nist_columns(line):
    """Return the columns' names, lower case, of NIST's first line; None if it is another."""
    words = [word.strip().lower() for word in line.replace(",", "\t").strip().split("\t")]
    if len(words) > 1 and words[0] == "modelid" and words[1] in _NIST_SEGMENTS:
        return words
    return None


def _read_nist(path, first, lines, value=None):
    """Read NIST's lists; return trials and, of a column of numbers, its values."""
    columns = _nist_columns(first[1])
    if columns is None:
        raise _unlike(path, *first, "NIST's 'modelid<tab>segmentid[<tab>side][<tab>targettype]'")
    if value is not None and value not in columns:
        raise ValueError(f"{os.fspath(path)} has no column {value.upper()}, got {columns}.")
    side = next((columns.index(name) for name in _NIST_SIDES if name in columns), None)
    labelled = value is None and "targettype" in columns
    column = columns.index("targettype" if labelled else value) if labelled or value else None
    table = _Columns("b" if labelled else "d")
    for number, line in lines:
        words = [word.strip() for word in line.replace(",", "\t").strip("\r\n").split("\t")]
        read = 0.0
        if len(words) == len(columns) and column is not None:
            read = _NIST_LABELS.get(words[column]) if labelled else _as_number(words[column])
        if len(words) != len(columns) or read is None or not words[0] or not words[1]:
            raise _unlike(path, number, line, f"{len(columns)} columns, {', '.join(columns)}")
        plain = side is None or words[side].lower() in ("a", "")
        table.append(words[0], words[1] if plain else f"{words[1]}:{words[side].lower()}", read)
    if not len(table.left):
        raise ValueError(f"{os.fspath(path)} holds no trials.")
    return table.to_trials(labelled), np.array(table.values)


def _write_columns(path, trials, values, column):
    """Write a trial a line, its value before, between or after the names, if there is one."""
    names = _checked_names(trials)
    left, right = trials._sides
    with replacing(path, "x", encoding="utf-8", newline="\n") as file:
        for start in range(0, len(trials), _BLOCK):
            block = slice(start, start + _BLOCK)
            columns = [[names[i] for i in side[block].tolist()] for side in (left, right)]
            if values is not None:
                columns.insert(column, list(map(str, values[block].tolist())))
            file.writelines(" ".join(words) + "\n" for words in zip(*columns, strict=True))


def _write_nist(path, trials, values, value_name):
    """Write NIST's columns under their names."""
    names = _checked_names(trials)
    header = ["modelid", "segmentid", "side"] + ([] if values is None else [value_name])
    with replacing(path, "x", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(header) + "\n")
        for start in range(0, len(trials), _BLOCK):
            block = slice(start, start + _BLOCK)
            left, right = (side[block].tolist() for side in trials._sides)
            ends = [[]] * len(left)
            if values is not None:
                ends = [[str(value)] for value in values[block].tolist()]
            for i, j, end in zip(left, right, ends, strict=True):
                segment, mark, side = names[j].rpartition(":")
                both = [segment, side] if mark and side in ("a", "b") else [names[j], "a"]
                file.write("\t".join([names[i], *both, *end]) + "\n")


def _checked_names(trials):
    """Return the names of a list, in the order held, if a line can carry each."""
    names, named = trials._names.tolist(), trials._named()
    for name, used in zip(names, named, strict=True):
        if used and (name.split() != [name] or name.startswith("\ufeff")):
            raise ValueError(f"A name must be one word without white space, got {name!r}.")
    return names


def _warn_of_contradictions(trials, path):
    """Warn if two utterances are both of one identity and of two."""
    if trials.labels is None:
        return
    left, right = trials._sides
    # Pairs that differ in the last bit only, their label, are neighbours in order.
    pairs = trials._pairs()
    pairs *= 2
    pairs += trials.labels
    pairs.sort()
    genuine = pairs[1:][(np.diff(pairs) == 1) & (pairs[1:] & 1 == 1)]
    itself = np.flatnonzero((left == right) & ~trials.labels)
    if len(genuine):
        one, other = divmod(int(genuine[0]) // 2, len(trials._names))
        what = "are genuine in one trial and impostors in another"
    elif len(itself):
        one = other = left[itself[0]]
        what = "are one utterance and called impostors"
    else:
        return
    warnings.warn(
        f"{os.fspath(path)} contradicts itself {len(genuine) + len(itself)} time(s): "
        f"{str(trials._names[one])!r} and {str(trials._names[other])!r} {what}.",
        stacklevel=3,
    )


def _aligned(scored, scores, trials, path):
    """Find the scores of trials among those of a file."""
    codes = {name: i for i, name in enumerate(scored._names.tolist())}
    wanted_names = trials._names.tolist()
    places = np.array([codes.get(name, -1) for name in wanted_names], dtype=np.int64)
    n = len(scored._names)
    left, right = (side.astype(np.int64) for side in scored._sides)
    found = left * n + right
    order = np.argsort(found, kind="stable")
    found, scores = found[order], scores[order]
    twice = (found[1:] == found[:-1]) & (scores[1:] != scores[:-1])
    if twice.any():
        i = order[1:][twice].min()
        raise ValueError(
            f"{os.fspath(path)} has two scores of {str(scored.left[i])!r} and "
            f"{str(scored.right[i])!r}."
        )
    left, right = (places[side] for side in trials._sides)
    wanted = np.where((left < 0) | (right < 0), -1, left * n + right)
    at = np.minimum(np.searchsorted(found, wanted), len(found) - 1)
    missing = np.flatnonzero(found[at] != wanted)
    if len(missing):
        i = missing[0]
        raise ValueError(
            f"{os.fspath(path)} has no score of {len(missing)} of the {len(trials)} trials, such "
            f"as {str(trials.left[i])!r} and {str(trials.right[i])!r}."
        )
    return scores[at]


def _lines_of(path) -> Iterator[tuple[int, str]]:
    """Go through the lines of a file that are not blank."""
    return ((number, line) for number, line in numbered_lines(path) if not line.isspace())


def _chained(first, lines):
    """Put a line that was looked at before the others again."""
    yield first
    yield from lines


def _enter(table, name, value, path, number):
    """Put what a line says into a table, once."""
    if name in table:
        raise ValueError(f"{path}, line {number}: {name!r} was named before.")
    table[name] = value


def _as_number(word):
    """Read a number, not NaN; None if it is none."""
    try:
        number = float(word)
    except ValueError:
        return None
    return None if number != number else number


def _unlike(path, number, line, expected):
    """Make the error of a line that is of another form."""
    return ValueError(
        f"{os.fspath(path)}, line {number}, must hold {expected}, got {line.strip()!r}."
    )
