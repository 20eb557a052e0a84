"""The tables of a store in an SQLite file: durable, erasable, its owner's only.

Standard library only.
"""

import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from .._files import make_private
from ._connection import COPY, Connection

# SQLite's application_id of template stores: "skdT". The version is that of the tables.
_MARK = 0x736B6454
_VERSION = 3
# Rows of `contents` are appended and overwritten in place, and never deleted or resized: SQLite
# then never moves a row to another page. A moved row can leave a stale copy of itself behind, which
# secure_delete does not see when the row is deleted later. What is erased goes when the table is
# written anew. Embeddings come first, so that reading them alone reads no long image.
_CONTENTS = (
    'CREATE TABLE "{}" (number INTEGER PRIMARY KEY, embedding BLOB NOT NULL, image BLOB NOT NULL)'
)
_TABLES = (
    "CREATE TABLE metadata (key TEXT PRIMARY KEY, value TEXT NOT NULL, seal BLOB NOT NULL) "
    "WITHOUT ROWID",
    _CONTENTS.format("contents"),
    "CREATE TABLE templates (number INTEGER PRIMARY KEY, subject TEXT NOT NULL, "
    "key_check BLOB NOT NULL, embedding_seal BLOB NOT NULL, image_seal BLOB NOT NULL)",
    "CREATE INDEX templates_by_subject ON templates (subject)",
)
# Seconds between two looks at whether a log can be emptied.
_PAUSE = 0.005
# Erased rows below which a file is not worth being written anew.
_FEW = 256


class SQLiteConnection(Connection):
    """A connection to a file, in write-ahead-log mode.

    Parameters
    ----------
    path : str or os.PathLike
        The file; made if there is none, or an empty one. A new one is its owner's only.
    read_only : bool
        Whether to change nothing.

    Raises
    ------
    OSError
        If it cannot be opened or written.
    """

    forget = (
        "UPDATE contents SET embedding = zeroblob(length(embedding)), "
        "image = zeroblob(length(image)) WHERE number = ?"
    )
    remains = "log"

    def __init__(self, path, *, read_only):
        self.name = os.path.abspath(path)
        self._read_only = read_only
        self._open = self._schema = None
        # No implicit transactions: each change says where it begins and ends.
        options = {"timeout": self.timeout, "isolation_level": None}
        with self._naming_the_file():
            if read_only:
                uri = f"{Path(self.name).as_uri()}?mode=ro"
                self._open = sqlite3.connect(uri, uri=True, **options)
            else:
                # SQLite would let others read it; its log and index have the mode of the file.
                with suppress(OSError):
                    make_private(self.name)
                self._open = sqlite3.connect(self.name, **options)

    def set_up(self, begin):
        """Set the modes; make the tables of a new file."""
        with self._naming_the_file():
            # What a schema says may run nothing.
            self.execute("PRAGMA trusted_schema = OFF")
            # One transaction, so that another process does not make the tables in between.
            with self.snapshot():
                is_new = self._is_blank()
            if self._read_only:
                if is_new:
                    raise ValueError(f"{self.name} is no template store yet: it is empty.")
                self._check_schema()
                return
            if is_new:
                # Has to be said before there is anything in the file.
                self.execute("PRAGMA auto_vacuum = INCREMENTAL")
            if self._switch_to_log() != "wal":
                raise OSError(f"{self.name} is where SQLite cannot keep a write-ahead log.")
            self.execute("PRAGMA synchronous = FULL")
            self.execute("PRAGMA secure_delete = ON")
            if is_new:
                self._make_tables(begin)
            self._check_schema()

    def execute(self, statement, parameters=()):
        """Execute a statement and read all rows."""
        with self._naming_the_file():
            return self._connection().execute(statement, parameters).fetchall()

    def execute_many(self, statement, rows):
        """Execute a statement for each row."""
        with self._naming_the_file():
            self._connection().executemany(statement, rows)

    @contextmanager
    def transaction(self):
        """Write alone."""
        with self._immediate():
            self._check_schema()
            yield

    @contextmanager
    def snapshot(self):
        """Read one state."""
        self.execute("BEGIN")
        try:
            yield
        finally:
            self.execute("ROLLBACK")

    def version(self):
        """Count what others committed, and what this connection changed."""
        return self.execute("PRAGMA data_version")[0][0], self._connection().total_changes

    def write_id(self, subject):
        """Keep it as text, which SQLite compares byte by byte."""
        return subject

    def read_id(self, kept):
        """Give it as it is."""
        return kept

    def is_worth_rewriting(self, ledger):
        """Shrink the file where more is erased than is left; what is erased is zeros already."""
        return ledger.n_erased >= max(_FEW, ledger.n_templates)

    def rewrite_contents(self):
        """Write the table anew."""
        self.execute(_CONTENTS.format("compacted"))
        self.execute(COPY)
        self.execute("DROP TABLE contents")
        self.execute("ALTER TABLE compacted RENAME TO contents")

    def erase(self, rewrite, wait):
        """Empty the log, which holds what was overwritten, and shrink the file if it pays."""
        if not self._empty_log(wait):
            return False
        # What was asked for is done. If this is not, be it that the disk is full or that another
        # process has the file, the next revocation tries again.
        with suppress(OSError):
            if rewrite():
                with self._naming_the_file():
                    # A page a step; only this takes all of the steps.
                    self._connection().executescript("PRAGMA incremental_vacuum")
                self._empty_log(0)
        return True

    def close(self):
        """Empty the log as far as no one reads it, and close the file."""
        if self._open is not None:
            connection, self._open = self._open, None
            connection.close()

    def _connection(self):
        if self._open is None:
            raise ValueError("The template store is closed.")
        return self._open

    @contextmanager
    def _immediate(self):
        with self._naming_the_file():
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _make_tables(self, begin):
        with self._immediate():
            # Another process may have made them since.
            if self._is_blank():
                for statement in _TABLES:
                    self.execute(statement)
                self.execute(f"PRAGMA application_id = {_MARK}")
                self.execute(f"PRAGMA user_version = {_VERSION}")
                begin()

    def _is_blank(self):
        """Whether the file holds nothing yet; raises if it holds something else."""
        try:
            mark, version, n_tables = (
                self._open.execute(query).fetchone()[0]
                for query in (
                    "PRAGMA application_id",
                    "PRAGMA user_version",
                    "SELECT count(*) FROM sqlite_master",
                )
            )
        except sqlite3.DatabaseError as error:
            if "not a database" not in str(error):
                raise
            raise ValueError(f"{self.name} is not a template store: {error}.") from error
        if (mark, version) == (_MARK, _VERSION):
            return False
        if mark == _MARK:
            raise ValueError(
                f"{self.name} is a template store of version {version}; this is {_VERSION}."
            )
        if mark or version or n_tables:
            raise ValueError(f"{self.name} is not a template store, but another SQLite database.")
        return True

    def _check_schema(self):
        """Refuse tables, views and triggers that are not ours: a trigger could keep copies."""
        version = self.execute("PRAGMA schema_version")[0][0]
        if version == self._schema:
            return
        found = self.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")
        strange = {sql for (sql,) in found} ^ set(_TABLES)
        if strange or len(found) != len(_TABLES):
            raise self.damaged(f"its schema is not a template store's: {sorted(strange)[:1]}")
        self._schema = version

    def _switch_to_log(self):
        """Ask for write-ahead-log mode; the mode that is now."""
        # SQLite does not wait by itself where two connections begin a file at a time.
        give_up = time.monotonic() + self.timeout
        while True:
            try:
                return self._open.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > give_up:
                    raise
            time.sleep(0.01)

    def _empty_log(self, wait):
        """Bring the log into the file and cut it to nothing; False if someone was reading it."""
        give_up = time.monotonic() + wait
        try:
            while True:
                # SQLite waits for readers, but not where another connection empties the log.
                left = max(0.0, give_up - time.monotonic())
                self.execute(f"PRAGMA busy_timeout = {int(1000 * left)}")
                if self.execute("PRAGMA wal_checkpoint(TRUNCATE)")[0][0] == 0:
                    return True
                if time.monotonic() >= give_up:
                    return False
                time.sleep(_PAUSE)
        finally:
            self.execute(f"PRAGMA busy_timeout = {int(1000 * self.timeout)}")

    @contextmanager
    def _naming_the_file(self):
        """Turn SQLite's exceptions about the file into Python's, with its name."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OSError(f"{self.name}: {error}.") from error
        except UnicodeDecodeError as error:
            # SQLite quotes what it could not read.
            raise self.damaged("it holds text that is none") from error
        except sqlite3.DatabaseError as error:
            # The others of its subclasses tell of wrong use, not of the file.
            if type(error) not in (sqlite3.DatabaseError, sqlite3.IntegrityError):
                raise
            raise self.damaged(str(error)) from error
