"""Files written as a whole or not at all, and text read line by line.

What is in them is the matter of who writes or reads them.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ._typing import FilePath


@contextmanager
def replacing(path, mode="xb", **options):
    """Give a new file, which takes the place of the one at `path` when all is on the disk.

    Parameters
    ----------
    path : str or os.PathLike
        The file to be; if anything raises, what was there before stays.
    mode : {"xb", "x"}, default="xb"
        Whether bytes or text is written.
    **options : dict
        Passed to ``open``.

    Yields
    ------
    file
        Open under another name.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path = Path(path)
    # Told of here, where the path is the one given.
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "There is no folder to write to", str(path.parent))
    if path.is_dir() or not path.name:
        raise IsADirectoryError(errno.EISDIR, "A folder has this name", str(path))
    # In the same folder: only within one file system is a file renamed in one step.
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(unfinished, mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder):
    """Bring a renaming to the disk, where the system lets a folder be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
