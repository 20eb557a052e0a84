"""The templates of a store: ids, images and embeddings as bytes in SQLite, durable and erasable.

Standard library only. What the bytes mean does not live here: see
:mod:`skdistort.templates._eight_bit`. Nor what is kept about each row against damage and forgery:
see :mod:`skdistort.templates._seals`.
"""

import io
import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from .._files import make_private
from ._seals import Ledger, Sealer

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
# Seconds to wait for another writer, or for readers of what is erased.
_TIMEOUT = 30.0
# Seconds between two looks at whether a log can be emptied.
_PAUSE = 0.005
# Erased rows below which a file is not worth being written anew.
_FEW = 256


class TemplateDatabase:
    """Templates as bytes, each under an id and under a key of which only a check is kept.

    Every template has a number, and later ones have higher numbers. A change is one transaction,
    on the disk when it ends: after a crash it is there as a whole or not at all. Other processes
    may read meanwhile and see committed changes only. The connection, in write-ahead-log mode,
    belongs to the thread that opened it. When more is erased than is left, the file is written
    anew, and shrinks.

    Parameters
    ----------
    path : str or os.PathLike
        The file; made if there is none, or an empty one. A new one is its owner's only.
    read_only : bool, default=False
        Whether to change nothing: there must be a store then.
    mac_key : bytes or None, default=None
        Key of the HMAC by which rows and entries are sealed; None seals by checksums, which tell
        of damage and not of forgery.

    Raises
    ------
    ValueError
        If the file is not a template store, one of another version, sealed by another key, or
        damaged.
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

    def __init__(self, path, *, read_only=False, mac_key=None):
        self.path = os.path.abspath(path)
        self._read_only = bool(read_only)
        self._sealer = Sealer(mac_key)
        self._open = self._schema = None
        self._n_changes = 0
        with self._naming_the_file():
            connection = self._connect()
        try:
            self._open = connection
            with self._naming_the_file():
                self._set_up(connection)
        except BaseException:
            self._open = None
            connection.close()
            raise

    def add(self, templates, *, only_new=False):
        """Add templates, all or none.

        Parameters
        ----------
        templates : iterable of (str, bytes[, bytes[, bytes]])
            Id and image of each, its key check and its embedding, empty if left out.
        only_new : bool, default=False
            Whether to refuse ids that have templates already.

        Raises
        ------
        ValueError
            If an id has templates, and `only_new` is set.
        """
        with self._transaction() as connection:
            begun = set()
            seals = []
            for template in templates:
                subject = template[0]
                if only_new and subject not in begun:
                    if _first(connection, "SELECT 1 FROM templates WHERE subject = ?", subject):
                        raise ValueError(f"{subject!r} is enrolled already.")
                    begun.add(subject)
                seals.append(self._insert(connection, *template))
            self._record(connection, inserted=seals)

    def remove(self, subject):
        """Remove all templates of an id and erase the bytes of their images and embeddings.

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
                "SELECT number, embedding_seal FROM templates WHERE subject = ?", (subject,)
            ).fetchall()
            for number, _ in rows:
                _erase(connection, number)
            if rows:
                self._record(connection, erased=[seal for _, seal in rows])
        if rows:
            self._erase_log(f"The templates of {subject!r} are revoked")
            self._compact()
        return len(rows)

    def replace(self, contents, key_check):
        """Put others in the place of templates, all or none, and erase the old ones.

        Parameters
        ----------
        contents : dict of int to (bytes, bytes)
            New image and embedding of each template, by its number. One that is no longer there is
            left out.
        key_check : bytes
            Key check of the new ones.

        Returns
        -------
        int
            How many were replaced.

        Raises
        ------
        TimeoutError
            As :meth:`remove`; the replacement stands.
        """
        inserted, erased = [], []
        with self._transaction() as connection:
            for number, (image, embedding) in contents.items():
                found = _first(
                    connection,
                    "SELECT subject, embedding_seal FROM templates WHERE number = ?",
                    number,
                )
                if found is not None:
                    _erase(connection, number)
                    erased.append(found[1])
                    inserted.append(self._insert(connection, found[0], image, key_check, embedding))
            if erased:
                self._record(connection, inserted=inserted, erased=erased)
        if erased:
            self._erase_log("The templates are replaced")
            self._compact()
        return len(erased)

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
            "SELECT number, subject, key_check, image, image_seal FROM templates "
            "LEFT JOIN contents USING (number) WHERE number > ? "
            f"{''.join(f'AND {column} = ? ' for column in wanted)}ORDER BY number LIMIT ?",
            (number, *wanted.values(), limit),
        )
        self._check_rows("image", rows)
        return [(found, of, image) for found, of, _, image, _ in rows]

    def read_embeddings_after(self, number, limit):
        """Read the embeddings of templates in the order of their numbers.

        Parameters
        ----------
        number : int
            Read those of higher numbers.
        limit : int
            The most templates to read.

        Returns
        -------
        list of (int, str, bytes, bytes)
            Number, id, key check and embedding of each.

        Raises
        ------
        ValueError
            If an embedding is not what was written.
        """
        return self._read_embeddings("WHERE number > ? ORDER BY number LIMIT ?", number, limit)

    def read_embeddings_of(self, subject):
        """Read the embeddings of one id, and no other's.

        Parameters
        ----------
        subject : str
            The id.

        Returns
        -------
        list of (bytes, bytes)
            Key check and embedding of each template, in the order of their numbers.

        Raises
        ------
        ValueError
            If an embedding is not what was written.
        """
        rows = self._read_embeddings("WHERE subject = ? ORDER BY number", subject)
        return [row[2:] for row in rows]

    def numbers(self):
        """List the numbers of all templates, and hold the whole to what was recorded of it.

        Returns
        -------
        list of int
            In their order.

        Raises
        ------
        ValueError
            If templates are missing, or there are some that were not added or had been removed.
        """
        with self._naming_the_file():
            connection = self._connection()
            connection.execute("BEGIN")
            try:
                ledger = self._ledger(connection)
                rows = connection.execute(
                    "SELECT number, embedding_seal FROM templates ORDER BY number"
                ).fetchall()
            finally:
                connection.execute("ROLLBACK")
        found = len(rows), self._sealer.digest(seal for _, seal in rows)
        if found != (ledger.n_templates, ledger.digest):
            raise self.damaged("its templates are not those that it counted")
        return [number for number, _ in rows]

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

        Raises
        ------
        ValueError
            If it is not what was written.
        """
        with self._naming_the_file():
            return self._get(self._connection(), key)

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
            self._put(connection, key, value)
            self._record(connection)

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

        Raises
        ------
        ValueError
            If there is none and the file is open for reading only.
        """
        found = self.get(key)
        if found is not None:
            return found
        if self._read_only:
            raise ValueError(f"{self.path} is a template store that nothing was written to yet.")
        with self._transaction() as connection:
            if self._get(connection, key) is None:
                self._put(connection, key, value)
                self._record(connection)
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

    def ledger(self):
        """Tell what is recorded of all changes so far.

        Returns
        -------
        Ledger
            How many there were, and what they left.

        Raises
        ------
        ValueError
            If it is not what was written, or the file was put back to an earlier state.
        """
        with self._naming_the_file():
            return self._ledger(self._connection())

    def refuse_if_read_only(self):
        """Raise if nothing may be changed.

        Raises
        ------
        io.UnsupportedOperation
            If the file is open for reading only. It is an OSError and a ValueError.
        """
        if self._read_only:
            raise io.UnsupportedOperation(f"{self.path} is open for reading only.")

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

    def _connect(self):
        # No implicit transactions: each change says where it begins and ends.
        options = {"timeout": _TIMEOUT, "isolation_level": None}
        if self._read_only:
            return sqlite3.connect(f"{Path(self.path).as_uri()}?mode=ro", uri=True, **options)
        # SQLite would let others read it; its log and index have the mode of the file.
        with suppress(OSError):
            make_private(self.path)
        return sqlite3.connect(self.path, **options)

    def _set_up(self, connection):
        """Refuse what is no template store, before anything is changed; make the tables."""
        # What a schema says may run nothing.
        connection.execute("PRAGMA trusted_schema = OFF")
        # One transaction, so that another process does not make the tables in between.
        connection.execute("BEGIN")
        try:
            is_new = self._is_blank(connection)
        finally:
            connection.execute("ROLLBACK")
        if self._read_only:
            if is_new:
                raise ValueError(f"{self.path} is no template store yet: it is empty.")
            self._check_schema(connection)
            return
        if is_new:
            # Has to be said before there is anything in the file.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        if _switch_to_log(connection) != "wal":
            raise OSError(f"{self.path} is where SQLite cannot keep a write-ahead log.")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        if is_new:
            self._make_tables(connection)
        self._check_schema(connection)
        # A process killed between a removal and the emptying of the log left bytes in there. Who
        # reads now does not have to be waited for.
        self._empty_log(wait=0)

    def _make_tables(self, connection):
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have made them since.
            if self._is_blank(connection):
                for statement in _TABLES:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {_MARK}")
                connection.execute(f"PRAGMA user_version = {_VERSION}")
                self._put(connection, "ledger", Ledger().text(self._sealer))
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

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

    def _check_schema(self, connection):
        """Refuse tables, views and triggers that are not ours: a trigger could keep copies."""
        version = connection.execute("PRAGMA schema_version").fetchone()[0]
        if version == self._schema:
            return
        found = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        strange = {sql for (sql,) in found} ^ set(_TABLES)
        if strange or len(found) != len(_TABLES):
            raise self.damaged(f"its schema is not a template store's: {sorted(strange)[:1]}")
        self._schema = version

    def _empty_log(self, wait=None):
        """Bring the log into the file and cut it to nothing; False if someone was reading it."""
        give_up = time.monotonic() + (_TIMEOUT if wait is None else wait)
        try:
            while True:
                # SQLite waits for readers, but not where another connection empties the log.
                left = max(0.0, give_up - time.monotonic())
                self._execute(f"PRAGMA busy_timeout = {int(1000 * left)}")
                if self._execute("PRAGMA wal_checkpoint(TRUNCATE)")[0][0] == 0:
                    return True
                if time.monotonic() >= give_up:
                    return False
                time.sleep(_PAUSE)
        finally:
            self._execute(f"PRAGMA busy_timeout = {int(1000 * _TIMEOUT)}")

    def _erase_log(self, done):
        if not self._empty_log():
            raise TimeoutError(
                f"{done}, but their bytes stay in the log of {self.path}, which other connections "
                f"were using for {_TIMEOUT:g} s. They go with the next revocation, or when the "
                "store is opened or closed."
            )

    def _compact(self):
        """Write the file anew where more is erased than is left, and give the room back."""
        if not self._is_mostly_erased(self._connection()):
            return
        # What was asked for is done. If this is not, be it that the disk is full or that another
        # process has the file, the next revocation tries again.
        with suppress(OSError):
            with self._transaction() as connection:
                if not self._is_mostly_erased(connection):
                    return
                connection.execute(_CONTENTS.format("compacted"))
                # The last one stays even if it is erased, so that no number comes twice.
                connection.execute(
                    "INSERT INTO compacted SELECT * FROM contents WHERE number IN (SELECT number "
                    "FROM templates UNION SELECT max(number) FROM contents) ORDER BY number"
                )
                connection.execute("DROP TABLE contents")
                connection.execute("ALTER TABLE compacted RENAME TO contents")
                self._record(connection, compacted=True)
            with self._naming_the_file():
                # A page a step; only this takes all of the steps.
                self._connection().executescript("PRAGMA incremental_vacuum")
            self._empty_log(wait=0)

    def _is_mostly_erased(self, connection):
        ledger = self._ledger(connection)
        return ledger.n_erased >= max(_FEW, ledger.n_templates)

    def _insert(self, connection, subject, image, key_check=b"", embedding=b""):
        number = connection.execute(
            "INSERT INTO contents (embedding, image) VALUES (?, ?)", (embedding, image)
        ).lastrowid
        seals = [
            self._sealer.seal(content, kind, number, subject, key_check)
            for kind, content in (("embedding", embedding), ("image", image))
        ]
        connection.execute(
            "INSERT INTO templates VALUES (?, ?, ?, ?, ?)", (number, subject, key_check, *seals)
        )
        return seals[0]

    def _read_embeddings(self, where, *parameters):
        rows = self._execute(
            "SELECT number, subject, key_check, embedding, embedding_seal FROM templates "
            f"LEFT JOIN contents USING (number) {where}",
            parameters,
        )
        self._check_rows("embedding", rows)
        return [row[:4] for row in rows]

    def _check_rows(self, kind, rows):
        for number, subject, key_check, content, seal in rows:
            if not self._sealer.is_whole(seal, content, kind, number, subject, key_check):
                raise self.damaged(f"template {number} is not what was written")

    def _get(self, connection, key):
        found = _first(connection, "SELECT value, seal FROM metadata WHERE key = ?", key)
        if found is None:
            return None
        value, seal = found
        if not self._sealer.is_whole(seal, str(value).encode(), "metadata", key):
            raise self.damaged(
                f"its {key} is not what was written, or was sealed with another mac_key"
            )
        return value

    def _put(self, connection, key, value):
        seal = self._sealer.seal(value.encode(), "metadata", key)
        connection.execute("INSERT OR REPLACE INTO metadata VALUES (?, ?, ?)", (key, value, seal))

    def _ledger(self, connection):
        ledger = Ledger.read(self._get(connection, "ledger"), self._sealer)
        if ledger is None:
            raise self.damaged("its ledger is missing")
        if ledger.n_changes < self._n_changes:
            raise self.damaged(
                f"it was put back from {self._n_changes} changes to {ledger.n_changes}"
            )
        self._n_changes = ledger.n_changes
        return ledger

    def _record(self, connection, **change):
        ledger = self._ledger(connection).changed(self._sealer, **change)
        self._put(connection, "ledger", ledger.text(self._sealer))

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
        self.refuse_if_read_only()
        connection = self._connection()
        with self._naming_the_file():
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._check_schema(connection)
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


def _first(connection, query, *parameters):
    return connection.execute(query, parameters).fetchone()


def _erase(connection, number):
    connection.execute(
        "UPDATE contents SET embedding = zeroblob(length(embedding)), "
        "image = zeroblob(length(image)) WHERE number = ?",
        (number,),
    )
    connection.execute("DELETE FROM templates WHERE number = ?", (number,))
