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
        The file, in UTF-8.

    Yields
    ------
    number : int
        Number of the line.
    line : str
        Its text.

    Raises
    ------
    ValueError
        If the file is no text in UTF-8.
    """
    with open(path, encoding="utf-8") as file:
        try:
            yield from enumerate(file, 1)
        except UnicodeDecodeError as error:
            raise ValueError(f"{os.fspath(path)} is no text in UTF-8: {error}.") from error
