"""An SQLite file in write-ahead-log mode: durable changes, erased bytes, exceptions that name it.

Standard library only. What tables it has does not live here.
"""

import os
import sqlite3
import time
from contextlib import contextmanager

# Seconds to wait for another writer, or for readers of what is erased.
TIMEOUT = 30.0


class DurableFile:
    """An SQLite file that belongs to the thread that opened it.

    A change is one transaction, on the disk when it ends: after a crash it is there as a whole
    or not at all. Other processes may read meanwhile and see committed changes only.

    Parameters
    ----------
    path : str or os.PathLike
        The file; made if there is none, or an empty one.
    kind : str
        What such a file is called in messages.
    mark : int
        SQLite's application_id of such files.
    version : int
        The version of their tables.
    tables : sequence of str
        The statements that make them.

    Raises
    ------
    ValueError
        If the file is of another kind or version, or damaged.
    OSError
        If it cannot be opened or written.
    """

    def __init__(self, path, *, kind, mark, version, tables):
        self.path = os.path.abspath(path)
        self._kind, self._mark, self._table_version = kind, mark, version
        self._open = None
        with self._naming_the_file():
            # No implicit transactions: each change says where it begins and ends.
            connection = sqlite3.connect(self.path, timeout=TIMEOUT, isolation_level=None)
        try:
            self._open = connection
            with self._naming_the_file():
                self._set_up(connection, tables)
        except BaseException:
            self._open = None
            connection.close()
            raise

    def version(self):
        """Tell whether anything may have changed: equal versions stand for equal contents.

        Returns
        -------
        tuple of 2 int
            Changed by commits of others, and by those of this connection.
        """
        by_others = self._execute("PRAGMA data_version")[0][0]
        return by_others, self._open.total_changes

    def close(self):
        """Empty the log as far as no one reads it, and close the file. May be called again."""
        if self._open is not None:
            connection, self._open = self._open, None
            connection.close()

    def damaged(self, what):
        """Make the exception that tells of a damaged file.

        Parameters
        ----------
        what : str
            What was found.

        Returns
        -------
        ValueError
            To be raised.
        """
        return ValueError(f"The {self._kind} {self.path} is damaged: {what}.")

    def _set_up(self, connection, tables):
        """Refuse what is no template store, before anything is changed; make the tables."""
        connection.execute(f"PRAGMA busy_timeout = {int(1000 * TIMEOUT)}")
        # One transaction, so that another process does not make the tables in between.
        connection.execute("BEGIN")
        try:
            is_new = self._is_blank(connection)
        finally:
            connection.execute("ROLLBACK")
        if _switch_to_log(connection) != "wal":
            raise OSError(f"{self.path} is where SQLite cannot keep a write-ahead log.")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        if is_new:
            with self._transaction():
                # Another process may have made them since.
                if self._is_blank(connection):
                    for statement in tables:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA application_id = {self._mark}")
                    connection.execute(f"PRAGMA user_version = {self._table_version}")
        # A process killed between a removal and the emptying of the log left bytes in there. Who
        # reads now does not have to be waited for.
        connection.execute("PRAGMA busy_timeout = 0")
        self._empty_log()
        connection.execute(f"PRAGMA busy_timeout = {int(1000 * TIMEOUT)}")

    def _is_blank(self, connection):
        """Whether the file holds nothing yet; raises if it holds something else."""
        try:
            mark, version, n_tables = (
                connection.execute(query).fetchone()[0]
                for query in (
                    "PRAGMA application_id",
                    "PRAGMA user_version",
                    "SELECT count(*) FROM sqlite_master",
                )
            )
        except sqlite3.DatabaseError as error:
            if "not a database" not in str(error):
                raise
            raise ValueError(f"{self.path} is not a {self._kind}: {error}.") from error
        if (mark, version) == (self._mark, self._table_version):
            return False
        if mark == self._mark:
            raise ValueError(
                f"{self.path} is a {self._kind} of version {version}; this is "
                f"{self._table_version}."
            )
        if mark or version or n_tables:
            raise ValueError(f"{self.path} is not a {self._kind}, but another SQLite database.")
        return True

    def _empty_log(self):
        """Bring the log into the file and cut it to nothing; False if someone was reading it."""
        return self._execute("PRAGMA wal_checkpoint(TRUNCATE)")[0][0] == 0

    def _execute(self, query, parameters=()):
        """Read all rows of a query."""
        with self._naming_the_file():
            return self._connection().execute(query, parameters).fetchall()

    def _connection(self):
        if self._open is None:
            raise ValueError(f"The {self._kind} is closed.")
        return self._open

    @contextmanager
    def _transaction(self):
        """Commit what is done within, or, if that raises, undo it."""
        connection = self._connection()
        with self._naming_the_file():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _naming_the_file(self):
        """Turn SQLite's exceptions about the file into Python's, with its name."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OSError(f"{self.path}: {error}.") from error
        except UnicodeDecodeError as error:
            # SQLite quotes what it could not read.
            raise self.damaged("it holds text that is none") from error
        except sqlite3.DatabaseError as error:
            # Its other subclasses tell of wrong use, not of the file.
            if type(error) is not sqlite3.DatabaseError:
                raise
            raise self.damaged(str(error)) from error


def _switch_to_log(connection):
    """Ask for write-ahead-log mode; the mode that is now."""
    # SQLite does not wait by itself where two connections begin a file at a time.
    give_up = time.monotonic() + TIMEOUT
    while True:
        try:
            return connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up:
                raise
        time.sleep(0.01)
