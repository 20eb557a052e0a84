"""Trial lists: which utterances (or images) to compare, and which comparisons are genuine.

What lives here reads, writes and draws lists of names. It neither opens what the names stand for
nor scores it: encode each of :attr:`TrialList.utterances` once, then score the pairs of
:meth:`TrialList.indices`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.random import sample_without_replacement

from ._files import numbered_lines, replacing
from ._labels import as_labels
from ._typing import FilePath, Names, Seed


@dataclass(frozen=True, eq=False)
class TrialList:
    """Comparisons of named utterances.

    Attributes
    ----------
    labels : ndarray of shape (n_trials,), bool
        True for a genuine (target) trial.
    left, right : ndarray of shape (n_trials,), str
        The names of the two utterances.

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
    """

    labels: np.ndarray
    left: np.ndarray
    right: np.ndarray

    if TYPE_CHECKING:

        def __init__(self, labels: ArrayLike, left: ArrayLike, right: ArrayLike) -> None: ...

    def __post_init__(self):
        labels, left, right = np.asarray(self.labels), np.asarray(self.left), np.asarray(self.right)
        if labels.ndim != 1 or not labels.shape == left.shape == right.shape:
            raise ValueError(
                "labels, left and right must be 1-D and of one length, got shapes "
                f"{labels.shape}, {left.shape} and {right.shape}."
            )
        if labels.dtype != bool:
            raise ValueError(f"labels must hold True and False, got dtype {labels.dtype}.")
        # A frozen dataclass lets nothing but this set its fields.
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "left", left.astype(str, copy=False))
        object.__setattr__(self, "right", right.astype(str, copy=False))

    def __len__(self):
        """Count the trials."""
        return len(self.labels)

    @property
    def utterances(self) -> NDArray[np.str_]:
        """Name every utterance in the trials once.

        Returns
        -------
        ndarray of shape (n_utterances,), str
            The names, sorted.
        """
        # A set before the sort: a trial list names few utterances, each of them often.
        return np.array(sorted({*self.left.tolist(), *self.right.tolist()}), dtype=str)

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
        return tuple(
            np.fromiter(map(position.__getitem__, side.tolist()), np.intp, len(self))
            for side in (self.left, self.right)
        )


@dataclass(frozen=True)
class _Format:
    """Where a line of three words holds the label, and how it spells it."""

    label_column: int
    genuine: str
    impostor: str


_FORMATS = {
    "voxceleb": _Format(0, "1", "0"),
    "kaldi": _Format(2, "target", "nontarget"),
}


def read_trials(path: FilePath, format: Literal["auto", "voxceleb", "kaldi"] = "auto") -> TrialList:
    """Read a trial list.

    A line holds three words between white space: ``1 left right`` or ``0 left right`` as in
    VoxCeleb's lists, or ``left right target`` or ``left right nontarget`` as in Kaldi's. Blank
    lines are passed over. There are no comments: any other line is an error.

    Parameters
    ----------
    path : str or path-like
        A text file in UTF-8.
    format : {"auto", "voxceleb", "kaldi"}, default="auto"
        Which of the two forms; "auto" tells by the first line.

    Returns
    -------
    TrialList
        The trials in the order of the file.

    Raises
    ------
    ValueError
        If `format` is unknown, a line is not of that format, the first line could be of both, or
        the file holds no trial or is no text in UTF-8. The message has the file, the line's number
        and its text.

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
    if format not in ("auto", *_FORMATS):
        raise ValueError(f"format must be one of {['auto', *_FORMATS]}, got {format!r}.")
    chosen: Any = _FORMATS.get(format)
    columns: tuple[list[str], list[str], list[str]] = [], [], []
    for number, line in numbered_lines(path):
        words = line.split()
        if not words:
            continue
        chosen = chosen or _detected(words)
        if chosen is None or not _fits(words, chosen):
            expected = [chosen] if chosen else _FORMATS.values()
            raise ValueError(
                f"{os.fspath(path)}, line {number}, must hold "
                f"{' or '.join(map(_spelling, expected))}, got {line.strip()!r}."
            )
        # Lists of words, if kept, would cost the garbage collector more time than all else.
        columns[0].append(words[0])
        columns[1].append(words[1])
        columns[2].append(words[2])
    if not columns[0]:
        raise ValueError(f"{os.fspath(path)} holds no trials.")
    sides = [column for i, column in enumerate(columns) if i != chosen.label_column]
    return TrialList(np.array(columns[chosen.label_column]) == chosen.genuine, *sides)


def write_trials(
    path: FilePath, trials: TrialList, format: Literal["voxceleb", "kaldi"] = "voxceleb"
) -> None:
    """Write a trial list; the file is there as a whole or not at all.

    Parameters
    ----------
    path : str or path-like
        Where to. It is written beside under another name first, then renamed.
    trials : TrialList
        What to write.
    format : {"voxceleb", "kaldi"}, default="voxceleb"
        ``1 left right`` or ``left right target`` on each line; see :func:`read_trials`.

    Raises
    ------
    ValueError
        If `format` is unknown, or a name is empty or holds white space, which no line can carry.

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
    if format not in _FORMATS:
        raise ValueError(f"format must be one of {list(_FORMATS)}, got {format!r}.")
    for name in trials.utterances.tolist():
        if name.split() != [name]:
            raise ValueError(f"A name must be one word without white space, got {name!r}.")
    chosen = _FORMATS[format]
    columns = [trials.left.tolist(), trials.right.tolist()]
    words = np.where(trials.labels, chosen.genuine, chosen.impostor).tolist()
    columns.insert(chosen.label_column, words)
    with replacing(path, "x", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{a} {b} {c}\n" for a, b, c in zip(*columns, strict=True))


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
    return TrialList(is_genuine, *names[pairs])


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


def _fits(words, form):
    """Tell whether a line's words are of a format."""
    return len(words) == 3 and words[form.label_column] in (form.genuine, form.impostor)


def _detected(words):
    """Find the only format that a line's words are of; None where both are or neither is."""
    fitting = [form for form in _FORMATS.values() if _fits(words, form)]
    return fitting[0] if len(fitting) == 1 else None


def _spelling(form):
    """Show a format's line."""
    words = ["left", "right"]
    words.insert(form.label_column, f"{form.genuine}|{form.impostor}")
    return repr(" ".join(words))
