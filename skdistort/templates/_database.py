"""The templates of a store: ids, images and embeddings as bytes, durable and erasable.

Standard library only. What a database does in its own way is in
:mod:`skdistort.templates._connection`. What the bytes mean does not live here: see
:mod:`skdistort.templates._eight_bit`. Nor what is kept about each row against damage and forgery:
see :mod:`skdistort.templates._seals`.
"""

import io
from itertools import islice

from ._postgresql import SCHEMES, PostgreSQLConnection
from ._seals import Ledger, Sealer
from ._sqlite import SQLiteConnection

# Rows of one statement: a database takes so many parameters, and over a network each takes time.
_ROWS = 500


class TemplateDatabase:
    """Templates as bytes, each under an id and under a key of which only a check is kept.

    Every template has a number, and later ones have higher numbers. A change is one transaction,
    on the disk when it ends: after a crash it is there as a whole or not at all. Other processes
    may read meanwhile and see committed changes only. The connection belongs to the thread that
    opened it. When more is erased than is left, the file is written anew, and shrinks.

    Parameters
    ----------
    path : str or os.PathLike
        The file, an SQLite database; made if there is none, or an empty one. A new one is its
        owner's only. Or the URL of a PostgreSQL database, ``"postgresql://..."`` as libpq takes it,
        whose current schema is the store's alone.
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
    ImportError
        If it is PostgreSQL's and psycopg is not installed.

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
        self._read_only = bool(read_only)
        self._sealer = Sealer(mac_key)
        self._n_changes = 0
        self._connection = _connect(path, read_only=self._read_only)
        self.path = self._connection.name
        try:
            self._connection.set_up(lambda: self._put("ledger", Ledger().text(self._sealer)))
            if not self._read_only:
                # A process killed between a removal and the erasing left bytes. Who reads now does
                # not have to be waited for.
                self._connection.erase(self._rewrite_contents, 0)
        except BaseException:
            self._connection.close()
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
        with self._transaction():
            ledger, begun, seals = self._ledger(), set(), []
            for rows in _parts(templates):
                if only_new:
                    subjects = {row[0]: None for row in rows if row[0] not in begun}
                    self._refuse_enrolled(subjects)
                    begun.update(subjects)
                seals += self._insert(ledger.last_number + len(seals), rows)
            self._record(inserted=seals)

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
        with self._transaction():
            rows = self._connection.execute(
                "SELECT number, embedding_seal FROM templates WHERE subject = ?",
                (self._connection.write_id(subject),),
            )
            if rows:
                self._forget(rows)
                self._record(erased=[seal for _, seal in rows])
        if rows:
            self._erase(f"The templates of {subject!r} are revoked")
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
        with self._transaction():
            found = {row[0]: row for row in self._rows_in("number", contents, "embedding_seal")}
            renewed = [
                (found[number][1], image, key_check, embedding)
                for number, (image, embedding) in contents.items()
                if number in found
            ]
            if found:
                last = self._ledger().last_number
                erased = [(number, seal) for number, _, seal in found.values()]
                self._forget(erased)
                inserted = []
                for rows in _parts(renewed):
                    inserted += self._insert(last + len(inserted), rows)
                self._record(inserted=inserted, erased=[seal for _, seal in erased])
        if found:
            self._erase("The templates are replaced")
        return len(found)

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
        if subject is not None:
            subject = self._connection.write_id(subject)
        wanted = {"subject": subject, "key_check": key_check}
        wanted = {column: value for column, value in wanted.items() if value is not None}
        rows = self._read_contents(
            "image",
            f"WHERE number > ? {''.join(f'AND {column} = ? ' for column in wanted)}"
            "ORDER BY number LIMIT ?",
            (number, *wanted.values(), limit),
        )
        return [(found, of, image) for found, of, _, image in rows]

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
        return self._read_contents(
            "embedding", "WHERE number > ? ORDER BY number LIMIT ?", (number, limit)
        )

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
        return self.read_claimed([subject])[subject]

    def read_claimed(self, subjects):
        """Read the embeddings of some ids, and no other's.

        Parameters
        ----------
        subjects : iterable of str
            The ids.

        Returns
        -------
        dict of str to list of (bytes, bytes)
            Of each id what :meth:`read_embeddings_of` gives; an empty list if it has none.

        Raises
        ------
        ValueError
            If an embedding is not what was written.
        """
        found = {subject: [] for subject in subjects}
        for part in _parts(found):
            rows = self._read_contents(
                "embedding",
                f"WHERE subject IN ({_places(part)}) ORDER BY number",
                [self._connection.write_id(subject) for subject in part],
            )
            for _, subject, *row in rows:
                found[subject].append(tuple(row))
        return found

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
        with self._connection.snapshot():
            ledger = self._ledger()
            rows = self._connection.execute(
                "SELECT number, embedding_seal FROM templates ORDER BY number"
            )
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
        rows = self._connection.execute("SELECT DISTINCT subject FROM templates ORDER BY subject")
        return [self._connection.read_id(subject) for (subject,) in rows]

    def n_subjects(self):
        """Count the ids that have templates.

        Returns
        -------
        int
            The number of ids.
        """
        return self._connection.execute("SELECT count(DISTINCT subject) FROM templates")[0][0]

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
        rows = self._connection.execute("SELECT value, seal FROM metadata WHERE key = ?", (key,))
        if not rows:
            return None
        ((value, seal),) = rows
        if not self._sealer.is_whole(seal, str(value).encode(), "metadata", key):
            raise self.damaged(
                f"its {key} is not what was written, or was sealed with another mac_key"
            )
        return value

    def put(self, key, value):
        """Write an entry of the metadata.

        Parameters
        ----------
        key : str
            Its name.
        value : str
            What to write; replaces what was there.
        """
        with self._transaction():
            self._put(key, value)
            self._record()

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
        with self._transaction():
            if self.get(key) is None:
                self._put(key, value)
                self._record()
        return self.get(key)

    def version(self):
        """Tell whether anything may have changed: equal versions stand for equal contents.

        Returns
        -------
        object
            Changed by commits, be they of others or of this connection.
        """
        return self._connection.version()

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
        return self._ledger()

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
        """Close the connection, and a file's log as far as no one reads it. May be called again."""
        self._connection.close()

    def damaged(self, what):
        """Make the exception that tells of damage.

        Parameters
        ----------
        what : str
            What was found.

        Returns
        -------
        ValueError
            To be raised.
        """
        return self._connection.damaged(what)

    def _transaction(self):
        self.refuse_if_read_only()
        return self._connection.transaction()

    def _erase(self, done):
        """Erase the bytes of what was removed, or tell that others kept that from being done."""
        connection = self._connection
        if not connection.erase(self._rewrite_contents, connection.timeout):
            raise TimeoutError(
                f"{done}, but their bytes stay in the {connection.remains} of {self.path}, which "
                f"other connections were using for {connection.timeout:g} s. They go with the next "
                "revocation, or when the store is opened."
            )

    def _rewrite_contents(self):
        """Write the contents anew where that is worth it; whether it was."""
        if not self._is_worth_rewriting():
            return False
        with self._transaction():
            # Another process may have done it since.
            if not self._is_worth_rewriting():
                return False
            self._connection.rewrite_contents()
            self._record(rewritten=True)
        return True

    def _is_worth_rewriting(self):
        try:
            return self._connection.is_worth_rewriting(self._ledger())
        except ValueError:
            # Of a store with another key, or a damaged one, all that uses it tells.
            return False

    def _refuse_enrolled(self, subjects):
        enrolled = {row[1] for row in self._rows_in("subject", subjects)}
        for subject in subjects:
            if subject in enrolled:
                raise ValueError(f"{subject!r} is enrolled already.")

    def _rows_in(self, column, values, *more):
        """Find the templates of some numbers or ids: number, id and what else is asked for."""
        write = self._connection.write_id if column == "subject" else int
        rows = []
        for part in _parts(values):
            rows += self._connection.execute(
                f"SELECT {', '.join(('number', 'subject', *more))} FROM templates "
                f"WHERE {column} IN ({_places(part)})",
                [write(value) for value in part],
            )
        return [(row[0], self._connection.read_id(row[1]), *row[2:]) for row in rows]

    def _insert(self, last, templates):
        """Insert templates under the numbers from `last` on; the seals of their embeddings."""
        contents, rows = [], []
        for number, template in enumerate(templates, last + 1):
            subject, image, key_check, embedding = (*template, b"", b"")[:4]
            seals = [
                self._sealer.seal(content, kind, number, subject, key_check)
                for kind, content in (("embedding", embedding), ("image", image))
            ]
            contents.append((number, embedding, image))
            rows.append((number, self._connection.write_id(subject), key_check, *seals))
        self._connection.execute_many("INSERT INTO contents VALUES (?, ?, ?)", contents)
        self._connection.execute_many("INSERT INTO templates VALUES (?, ?, ?, ?, ?)", rows)
        return [row[3] for row in rows]

    def _forget(self, rows):
        numbers = [row[:1] for row in rows]
        self._connection.execute_many(self._connection.forget, numbers)
        self._connection.execute_many("DELETE FROM templates WHERE number = ?", numbers)

    def _read_contents(self, kind, where, parameters):
        """Read number, id, key check and one kind of content, and hold them to their seal."""
        rows = self._connection.execute(
            # Not as a join, for which a database may choose to read all contents.
            f"SELECT number, subject, key_check, (SELECT {kind} FROM contents "
            f"WHERE contents.number = templates.number), {kind}_seal FROM templates {where}",
            parameters,
        )
        found = []
        for number, subject, key_check, content, seal in rows:
            subject = self._connection.read_id(subject)
            if not self._sealer.is_whole(seal, content, kind, number, subject, key_check):
                raise self.damaged(f"template {number} is not what was written")
            found.append((number, subject, key_check, content))
        return found

    def _put(self, key, value):
        seal = self._sealer.seal(value.encode(), "metadata", key)
        self._connection.execute(
            "INSERT INTO metadata VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE "
            "SET value = excluded.value, seal = excluded.seal",
            (key, value, seal),
        )

    def _ledger(self):
        ledger = Ledger.read(self.get("ledger"), self._sealer)
        if ledger is None:
            raise self.damaged("its ledger is missing")
        if ledger.n_changes < self._n_changes:
            raise self.damaged(
                f"it was put back from {self._n_changes} changes to {ledger.n_changes}"
            )
        self._n_changes = ledger.n_changes
        return ledger

    def _record(self, **change):
        ledger = self._ledger().changed(self._sealer, **change)
        self._put("ledger", ledger.text(self._sealer))


def _connect(path, *, read_only):
    kind = SQLiteConnection
    if isinstance(path, str) and path.startswith(SCHEMES):
        kind = PostgreSQLConnection
    return kind(path, read_only=read_only)


def _parts(rows):
    """Cut rows into lists that one statement can take."""
    rows = iter(rows)
    while part := list(islice(rows, _ROWS)):
        yield part


def _places(values):
    return ", ".join("?" * len(values))
