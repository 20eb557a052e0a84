"""Files written as a whole or not at all. What is in them is the matter of who writes them."""

import errno
import os
import secrets
from contextlib import contextmanager
from pathlib import Path


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
