"""The list of pairs of Labeled Faces in the Wild, from a local file.

Nothing here fetches anything. The photos that it names are read in `_photos`; how the pairs are
scored and judged is in :mod:`skdistort.metrics`,
:func:`~skdistort.metrics.cross_validated_accuracy` above all.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from ._text_lines import numbered_lines
from ._typing import FilePath
from .trials import TrialList


class LfwPairs(NamedTuple):
    """Pairs of photos and the fold that each is in.

    Attributes
    ----------
    trials : TrialList
        The pairs; a photo is called ``"NAME/NAME_0001.jpg"``, its path within the folder.
    folds : ndarray of shape (n_pairs,), intp
        The fold of each pair, from 0.
    """

    trials: TrialList
    folds: np.ndarray


def read_lfw_pairs(path: FilePath) -> LfwPairs:
    r"""Read a list of pairs of Labeled Faces in the Wild.

    The first line has the number of folds, left out where there is one only, and of the pairs of
    one person in a fold; as many pairs of two people follow them. ``name 1 4`` is a pair of the
    person's photos 1 and 4, and ``name 1 other 3`` one of two people. Blank lines are passed over.

    Parameters
    ----------
    path : str or path-like
        A text file in UTF-8: ``pairs.txt`` (view 2), ``pairsDevTrain.txt`` or
        ``pairsDevTest.txt`` (view 1).

    Returns
    -------
    LfwPairs
        ``trials`` and ``folds``, in the order of the file.

    Raises
    ------
    ValueError
        If a line is not what is due there (the message has the file, the line's number and its
        text), or there are not as many pairs as the first line announces.

    References
    ----------
    Huang, Ramesh, Berg, Learned-Miller, "Labeled Faces in the Wild: a database for studying face
    recognition in unconstrained environments", University of Massachusetts, Amherst, technical
    report 07-49 (2007).

    Examples
    --------
    >>> import os, tempfile
    >>> from skdistort.datasets import read_lfw_pairs
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "pairs.txt")
    ...     with open(path, "w") as file:
    ...         _ = file.write("1 1\nAnn_Lee 1 4\nAnn_Lee 2 Bo_Ek 1\n")
    ...     pairs = read_lfw_pairs(path)
    >>> pairs.trials.labels.tolist(), pairs.folds.tolist()
    ([True, False], [0, 0])
    >>> pairs.trials.right.tolist()
    ['Ann_Lee/Ann_Lee_0004.jpg', 'Bo_Ek/Bo_Ek_0001.jpg']
    """
    stripped = [(number, line.strip()) for number, line in numbered_lines(path)]
    lines = [(number, line) for number, line in stripped if line]
    if not lines:
        raise ValueError(f"{os.fspath(path)} holds no pairs.")
    header = _parse_header(lines[0][1].split())
    if header is None:
        raise _unexpected(path, lines[0], "'folds pairs' or 'pairs', at least 1 of each")
    n_folds, n_each = header
    labels, pairs = [], []
    for i, line in enumerate(lines[1:]):
        same = i % (2 * n_each) < n_each
        pair = _parse_pair(line[1].split(), same)
        if pair is None:
            due = "'name number number'" if same else "'name number name number'"
            raise _unexpected(path, line, due)
        labels.append(same)
        pairs.append(pair)
    if len(pairs) != 2 * n_folds * n_each:
        raise ValueError(
            f"{os.fspath(path)} holds {len(pairs)} pairs, its first line announces "
            f"{2 * n_folds * n_each}."
        )
    left, right = zip(*pairs, strict=True)
    return LfwPairs(TrialList(labels, left, right), np.arange(len(pairs)) // (2 * n_each))


def _parse_header(words):
    """Read the number of folds and of pairs of one person in each; None if it is no such line."""
    numbers = [_parse_number(word) for word in words]
    if len(numbers) not in (1, 2) or None in numbers:
        return None
    return 1 if len(numbers) == 1 else numbers[0], numbers[-1]


def _parse_pair(words, same):
    """Read the names of both photos; None if the line is no pair of one person, or of two."""
    if len(words) != (3 if same else 4):
        return None
    numbers = _parse_number(words[1]), _parse_number(words[-1])
    if None in numbers:
        return None
    people = words[0], words[0 if same else 2]
    return [f"{who}/{who}_{number:04d}.jpg" for who, number in zip(people, numbers, strict=True)]


def _parse_number(word):
    """Read a whole number from 1, of few enough digits to be one; None if it is none."""
    return int(word) or None if word.isascii() and word.isdecimal() and len(word) < 10 else None


def _unexpected(path, line, due):
    """Make the error that says which line holds what instead of what is due."""
    number, text = line
    return ValueError(f"{os.fspath(path)}, line {number}, must hold {due}, got {text!r}.")
