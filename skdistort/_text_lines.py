"""Reading text files line by line. What the lines mean does not live here."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ._typing import FilePath


def numbered_lines(path: FilePath) -> Iterator[tuple[int, str]]:
    """Go through the lines of a text file, with their numbers from 1.

    Parameters
    ----------
    path : str or os.PathLike
        The file, in UTF-8, with a byte order mark or without.

    Yields
    ------
    number : int
        Number of the line.
    line : str
        Its text.

    Raises
    ------
    ValueError
        If a line is no text in UTF-8.
    """
    # What does not decode becomes surrogates, which UTF-8 does not have, so that it can be named.
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            try:
                line.encode()
            except UnicodeEncodeError as error:
                text = line.encode(errors="surrogateescape").strip()
                raise ValueError(
                    f"{os.fspath(path)}, line {number} is no text in UTF-8: {text!r}."
                ) from error
            yield number, line
