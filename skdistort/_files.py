"""Files written as a whole or not at all, and text read line by line.

What is in them is the matter of who writes or reads them.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ._typing import FilePath


@contextmanager
def replacing(path, mode="xb", **options):
    """Give a new file, which takes the place of the one at `path` when all is on the disk.

    A new file may be read and written by its owner only; one that is replaced keeps its mode.

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
        with open(unfinished, mode, opener=_private, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.chmod(unfinished, stat.S_IMODE(path.stat().st_mode))
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def make_private(path):
    """Make an empty file that its owner only may read and write, unless there is a file.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    with suppress(FileExistsError):
        os.close(_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def _private(path, flags):
    return os.open(path, flags, 0o600)


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
