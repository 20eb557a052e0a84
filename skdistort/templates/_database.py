"""The templates of a store: ids and images as bytes in SQLite, durable and erasable.

How the file is opened, changed and emptied is in `_durable_file`; what the bytes mean, in
:mod:`skdistort.templates`.
"""

from zlib import crc32

from . import _durable_file
from ._durable_file import DurableFile

# Marks a file as a template store: "skdT".
_APPLICATION_ID = 0x736B6454
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


class TemplateDatabase(DurableFile):
    """Templates as bytes, each under an id and under a key of which only a check is kept.

    Every template has a number, and later ones have higher numbers.

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
        super().__init__(
            path, kind="template store", mark=_APPLICATION_ID, version=_VERSION, tables=_TABLES
        )

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

    def _erase_log(self, done):
        if not self._empty_log():
            raise TimeoutError(
                f"{done}, but their bytes stay in the log of {self.path}, which another "
                f"connection was reading for {_durable_file.TIMEOUT:g} s. They go with the next "
                "revocation, or when the store is opened or closed."
            )


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
