"""Template stores in every database that they can be kept in."""

import sqlite3
from pathlib import Path

import pytest

from . import postgresql

# A test of what holds in all of them; `path` is where a new store may be.
in_both = pytest.mark.parametrize("path", ["sqlite", "postgresql"], indirect=True)


def bytes_on_disk(path):
    """All that a store's files hold, an SQLite file's log and its index of the log included."""
    if not isinstance(path, Path):
        return postgresql.bytes_on_disk(path)
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(path.name + "*")))


def attack(path, *statements):
    """Write to a store as somebody who knows all about it but its key; rows of the last query."""
    if isinstance(path, Path):
        connection = sqlite3.connect(path)
    else:
        import psycopg

        connection = psycopg.connect(path)
        statements = [(statement.replace("?", "%s"), values) for statement, values in statements]
    for statement, values in statements:
        cursor = connection.execute(statement, values)
    rows = cursor.fetchall() if cursor.description else []
    connection.commit()
    connection.close()
    return rows
