"""The templates of a store: ids and images as bytes in SQLite, durable and erasable.

Standard library only. What the bytes mean does not live here: see
:mod:`skdistort.templates._eight_bit`.
"""

import os
import sqlite3
import time
from contextlib import contextmanager
from zlib import crc32

# SQLite's application_id of template stores: "skdT". The version is that of the tables.
_MARK = 0x736B6454
_VERSION = 2
# Rows of `images` are appended and overwritten in place, and never deleted or resized: SQLite then
# never moves a row to another page. A moved row can leave a stale copy of itself behind, which
# secure_delete does not see when the row is deleted later.
_TABLES = (
    "CREATE TABLE metadata (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE images (number INTEGER PRIMARY KEY, image BLOB NOT NULL)",
    "CREATE TABLE templates (number INTEGER PRIMARY KEY, subject TEXT NOT NULL, "
    "key_check BLOB NOT NULL, checksum INTEGER NOT NULL)",
    "CREATE INDEX templates_by_subject ON templates (subject)",
)
# Seconds to wait for another writer, or for readers of what is erased.
_TIMEOUT = 30.0


class TemplateDatabase:
    """Templates as bytes, each under an id and under a key of which only a check is kept.

    Every template has a number, and later ones have higher numbers. A change is one transaction,
    on the disk when it ends: after a crash it is there as a whole or not at all. Other processes
    may read meanwhile and see committed changes only. The connection, in write-ahead-log mode,
    belongs to the thread that opened it.

    Parameters
    ----------
    path : str or os.PathLike
        The file; made if there is none, or an empty one.

    Raises
    ------
    ValueError
        If the file is not a template store, one of another version, or damaged.
    OSError
        If it cannot be opened or written.

    Examples
    --------
    >>> import os, tempfile
    >>> from skdistort.templates import TemplateDatabase
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     database = TemplateDatabase(os.path.join(folder, "templates.db"))
    ...     database.add([("ada", b"image"), ("ada", b"other")])
    ...     found = database.read_after(0, 10)
    ...     database.close()
    >>> found
    [(1, 'ada', b'image'), (2, 'ada', b'other')]
    """

    def __init__(self, path):
        self.path = os.path.abspath(path)
        self._open = None
        with self._naming_the_file():
            # No implicit transactions: each change says where it begins and ends.
            connection = sqlite3.connect(self.path, timeout=_TIMEOUT, isolation_level=None)
        try:
            self._open = connection
            with self._naming_the_file():
                self._set_up(connection)
        except BaseException:
            self._open = None
            connection.close()
            raise

    def add(self, templates):
        """Add templates, all or none.

        Parameters
        ----------
        templates : iterable of (str, bytes) or (str, bytes, bytes)
            Id and image of each, and its key check, empty if left out.
        """
        with self._transaction() as connection:
            for template in templates:
                _insert(connection, *template)

    def remove(self, subject):
        """Remove all templates of an id and erase the bytes of their images.

        Parameters
        ----------
        subject : str
            The id.

        Returns
        -------
        int
            How many templates it had.

        Raises
        ------
        TimeoutError
            If another connection was reading for so long that the log, which holds the bytes
            too, could not be emptied. The removal stands; the next one, or opening or closing
            the store, empties the log.
        """
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT number FROM templates WHERE subject = ?", (subject,)
            ).fetchall()
            for (number,) in rows:
                _erase(connection, number)
        if rows:
            self._erase_log(f"The templates of {subject!r} are revoked")
        return len(rows)

    def replace(self, images, key_check):
        """Put other images in the place of templates, all or none, and erase the old ones.

        Parameters
        ----------
        images : dict of int to bytes
            New image of each template, by its number. One that is no longer there is left out.
        key_check : bytes
            Key check of the new images.

        Raises
        ------
        TimeoutError
            As :meth:`remove`; the replacement stands.
        """
        with self._transaction() as connection:
            for number, image in images.items():
                found = connection.execute(
                    "SELECT subject FROM templates WHERE number = ?", (number,)
                ).fetchone()
                if found is not None:
                    _erase(connection, number)
                    _insert(connection, *found, image, key_check)
        self._erase_log("The templates are replaced")

    def read_after(self, number, limit, *, subject=None, key_check=None):
        """Read templates in the order of their numbers.

        Parameters
        ----------
        number : int
            Read those of higher numbers.
        limit : int
            The most templates to read.
        subject : str or None, default=None
            Read those of this id only.
        key_check : bytes or None, default=None
            Read those under this key only.

        Returns
        -------
        list of (int, str, bytes)
            Number, id and image of each.

        Raises
        ------
        ValueError
            If an image is not what was written.
        """
        wanted = {"subject": subject, "key_check": key_check}
        wanted = {column: value for column, value in wanted.items() if value is not None}
        rows = self._execute(
            "SELECT number, subject, image, key_check, checksum FROM templates LEFT JOIN images "
            f"USING (number) WHERE number > ? {''.join(f'AND {column} = ? ' for column in wanted)}"
            "ORDER BY number LIMIT ?",
            (number, *wanted.values(), limit),
        )
        for found, of, image, check, checksum in rows:
            if image is None or _checksum(of, image, check) != checksum:
                raise self.damaged(f"template {found} is not what was written")
        return [row[:3] for row in rows]

    def numbers(self):
        """List the numbers of all templates.

        Returns
        -------
        list of int
            In no order.
        """
        return [number for (number,) in self._execute("SELECT number FROM templates")]

    def subjects(self):
        """List the ids that have templates.

        Returns
        -------
        list of str
            In the order of their UTF-8 bytes.
        """
        rows = self._execute("SELECT DISTINCT subject FROM templates ORDER BY subject")
        return [subject for (subject,) in rows]

    def n_subjects(self):
        """Count the ids that have templates.

        Returns
        -------
        int
            The number of ids.
        """
        return self._execute("SELECT count(DISTINCT subject) FROM templates")[0][0]

    def get(self, key):
        """Read an entry of the metadata.

        Parameters
        ----------
        key : str
            Its name.

        Returns
        -------
        str or None
            None if there is none.
        """
        rows = self._execute("SELECT value FROM metadata WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def put(self, key, value):
        """Write an entry of the metadata.

        Parameters
        ----------
        key : str
            Its name.
        value : str
            What to write; replaces what was there.
        """
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO metadata VALUES (?, ?)", (key, value))

    def put_first(self, key, value):
        """Write an entry of the metadata unless there is one.

        Parameters
        ----------
        key : str
            Its name.
        value : str
            What to write.

        Returns
        -------
        str
            The value that is there now; also where two processes write at a time.
        """
        with self._transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO metadata VALUES (?, ?)", (key, value))
        return self.get(key)

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
        return ValueError(f"The template store {self.path} is damaged: {what}.")

    def _set_up(self, connection):
        """Refuse what is no template store, before anything is changed; make the tables."""
        connection.execute(f"PRAGMA busy_timeout = {int(1000 * _TIMEOUT)}")
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
                    for statement in _TABLES:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA application_id = {_MARK}")
                    connection.execute(f"PRAGMA user_version = {_VERSION}")
        # A process killed between a removal and the emptying of the log left bytes in there. Who
        # reads now does not have to be waited for.
        connection.execute("PRAGMA busy_timeout = 0")
        self._empty_log()
        connection.execute(f"PRAGMA busy_timeout = {int(1000 * _TIMEOUT)}")

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
            raise ValueError(f"{self.path} is not a template store: {error}.") from error
        if (mark, version) == (_MARK, _VERSION):
            return False
        if mark == _MARK:
            raise ValueError(
                f"{self.path} is a template store of version {version}; this is {_VERSION}."
            )
        if mark or version or n_tables:
            raise ValueError(f"{self.path} is not a template store, but another SQLite database.")
        return True

    def _empty_log(self):
        """Bring the log into the file and cut it to nothing; False if someone was reading it."""
        return self._execute("PRAGMA wal_checkpoint(TRUNCATE)")[0][0] == 0

    def _erase_log(self, done):
        if not self._empty_log():
            raise TimeoutError(
                f"{done}, but their bytes stay in the log of {self.path}, which another connection "
                f"was reading for {_TIMEOUT:g} s. They go with the next revocation, or when the "
                "store is opened or closed."
            )

    def _execute(self, query, parameters=()):
        """Read all rows of a query."""
        with self._naming_the_file():
            return self._connection().execute(query, parameters).fetchall()

    def _connection(self):
        if self._open is None:
            raise ValueError("The template store is closed.")
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
    give_up = time.monotonic() + _TIMEOUT
    while True:
        try:
            return connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up:
                raise
        time.sleep(0.01)


def _insert(connection, subject, image, key_check=b""):
    number = connection.execute("INSERT INTO images (image) VALUES (?)", (image,)).lastrowid
    connection.execute(
        "INSERT INTO templates VALUES (?, ?, ?, ?)",
        (number, subject, key_check, _checksum(subject, image, key_check)),
    )


def _erase(connection, number):
    connection.execute(
        "UPDATE images SET image = zeroblob(length(image)) WHERE number = ?", (number,)
    )
    connection.execute("DELETE FROM templates WHERE number = ?", (number,))


def _checksum(subject, image, key_check):
    """CRC-32 of a template; it tells of damage, not of forgery."""
    return crc32(image, crc32(key_check, crc32(subject.encode())))
