"""The file of a saved estimator: a JSON document, the bytes of its arrays and a checksum.

What the document says is not known here, see :mod:`skdistort.persistence._document`. The file is

- the line ``skdistort model 2``, the number being that of this layout,
- the length of the document, eight bytes, the lowest first,
- the document, JSON in ASCII,
- the bytes of the arrays, one after the other, as the document describes them,
- the SHA-256 of all that.

The checksum finds damage. It stops nobody who means harm: that nothing in the file is ever
executed does.
"""

import hashlib
import json
from pathlib import Path

from .._files import replacing

_SIGNATURE = b"skdistort model "
_VERSION = 2
_LENGTH_BYTES = 8


def write_model(path, document, arrays):
    """Write a file as a whole or not at all.

    Parameters
    ----------
    path : str or os.PathLike
        Where to; a file that is there is replaced.
    document : dict
        What can be written as JSON.
    arrays : iterable of ndarray
        The arrays, in the order in which the document counts their bytes.

    Raises
    ------
    OSError
        If it cannot be written; what was at `path` is still there then.
    """
    text = json.dumps(document, allow_nan=False, separators=(",", ":")).encode("ascii")
    digest = hashlib.sha256()
    with replacing(path) as file:

        def write(part):
            digest.update(part)
            file.write(part)

        write(_SIGNATURE + b"%d\n" % _VERSION)
        write(len(text).to_bytes(_LENGTH_BYTES, "little"))
        write(text)
        for array in arrays:
            write(array.tobytes())
        file.write(digest.digest())


def read_model(path):
    """Read a file and hold it to its checksum.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    document : dict
        What was written.
    payload : memoryview
        The bytes of the arrays.

    Raises
    ------
    ValueError
        If it is no such file, of another layout, or damaged.
    OSError
        If it cannot be read.
    """
    data = memoryview(Path(path).read_bytes())
    line, newline, _ = bytes(data[:64]).partition(b"\n")
    number = line.removeprefix(_SIGNATURE)
    if number == line:
        raise ValueError("this is not a file that skdistort saved an estimator in")
    if newline and number.isdigit() and int(number) != _VERSION:
        writer = "skdistort 0.1.0" if int(number) < _VERSION else "a newer skdistort"
        raise ValueError(
            f"it is of version {int(number)} of the layout, and this skdistort reads version "
            f"{_VERSION}: {writer} wrote it"
        )
    content, checksum = data[: -hashlib.sha256().digest_size], data[-hashlib.sha256().digest_size :]
    if hashlib.sha256(content).digest() != checksum:
        raise ValueError("it is damaged: cut short or changed, as its checksum shows")
    start = len(line) + len(newline) + _LENGTH_BYTES
    stop = start + int.from_bytes(content[start - _LENGTH_BYTES : start], "little")
    document = json.loads(bytes(content[start:stop]))
    if stop > len(content) or not isinstance(document, dict):
        raise ValueError("it is damaged: its document is not where it should be")
    return document, content[stop:]
