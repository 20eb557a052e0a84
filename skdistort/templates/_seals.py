"""What is kept about rows against damage and, under a key, forgery; and about all of them together.

Standard library only. Where it is kept is the matter of :mod:`skdistort.templates._database`.
"""

import hashlib
import hmac
import secrets
from functools import reduce
from operator import xor
from typing import NamedTuple
from zlib import crc32


class Sealer:
    """Seals parts that belong together: by a checksum, or by HMAC-SHA-256 under a key.

    Parameters
    ----------
    mac_key : bytes or None
        The key; None takes CRC-32, which tells of damage and not of forgery.

    Raises
    ------
    TypeError
        If the key is not bytes.
    ValueError
        If it has fewer than 16 bytes.

    References
    ----------
    Krawczyk, Bellare and Canetti, "HMAC: keyed-hashing for message authentication", RFC 2104.

    Examples
    --------
    >>> from skdistort.templates._seals import Sealer
    >>> sealer = Sealer(b"sixteen bytes or")
    >>> seal = sealer.seal(b"bytes", "image", 1, "ada")
    >>> sealer.is_whole(seal, b"bytes", "image", 1, "ada")
    True
    >>> sealer.is_whole(seal, b"bytes", "image", 1, "bob")
    False
    """

    def __init__(self, mac_key):
        if mac_key is not None and not isinstance(mac_key, bytes):
            raise TypeError(f"mac_key must be bytes or None, got {type(mac_key).__name__}.")
        if mac_key is not None and len(mac_key) < 16:
            raise ValueError(f"mac_key must have 16 bytes or more, it has {len(mac_key)}.")
        # A copy of an HMAC that took the key in is cheaper than a new one.
        self._mac = None if mac_key is None else hmac.new(mac_key, digestmod=hashlib.sha256)

    def seal(self, content, *about):
        """Make the seal of bytes and what belongs to them.

        Parameters
        ----------
        content : bytes
            The bytes.
        *about : str, int or bytes
            What they are, and whose.

        Returns
        -------
        bytes
            4 of a checksum, 32 of an HMAC.
        """
        # As text of a tuple, which shows where it ends, so that no two lists of parts are alike.
        header = ascii(about).encode()
        if self._mac is None:
            return crc32(content, crc32(header)).to_bytes(4, "little")
        mac = self._mac.copy()
        mac.update(header)
        mac.update(content)
        return mac.digest()

    def is_whole(self, seal, content, *about):
        """Tell whether parts are those that a seal was made of.

        Parameters
        ----------
        seal, content : object
            What was read in the place of a seal and of bytes.
        *about : object
            What was read in the place of the other parts.

        Returns
        -------
        bool
            False too where the first two are no bytes.
        """
        if not isinstance(seal, bytes) or not isinstance(content, bytes):
            return False
        return hmac.compare_digest(seal, self.seal(content, *about))

    def digest(self, seals):
        """Make a number that stands for a set of rows, whatever their order.

        Exclusive or of one for each row: what comes into the set, or leaves it, changes the number
        by its own. Under a key these are hidden, so that nobody else can find another set that has
        the same number.

        Parameters
        ----------
        seals : iterable of bytes
            The seals of the rows.

        Returns
        -------
        int
            The number.

        References
        ----------
        Clarke, Devadas, van Dijk, Gassend and Suh, "Incremental multiset hash functions and their
        application to memory integrity checking", ASIACRYPT 2003 (MSet-XOR-Hash).
        """
        if self._mac is not None:
            seals = (self.seal(seal, "member") for seal in seals)
        return reduce(xor, (int.from_bytes(seal, "little") for seal in seals), 0)

    def mask(self, nonce):
        """Make a number that hides another one, until the nonce comes again.

        Parameters
        ----------
        nonce : str
            Random.

        Returns
        -------
        int
            The number; 0 without a key.
        """
        return (
            0 if self._mac is None else int.from_bytes(self.seal(nonce.encode(), "mask"), "little")
        )


class Ledger(NamedTuple):
    """What is recorded of all changes to a file, so that rows cannot go or come back unseen.

    Attributes
    ----------
    n_changes : int
        How many there were: it never falls.
    n_templates : int
        How many templates there are.
    digest : int
        What stands for the set of them: it changes with each.
    n_removed : int
        How many templates have been removed so far.
    n_erased : int
        How many of them left their room in the files since the contents were last written anew.

    Examples
    --------
    >>> from skdistort.templates import Ledger
    >>> Ledger(n_changes=2, n_templates=1).n_removed
    0
    """

    n_changes: int = 0
    n_templates: int = 0
    digest: int = 0
    n_removed: int = 0
    n_erased: int = 0

    @property
    def last_number(self):
        """The number of the template that was added last.

        Returns
        -------
        int
            Numbers are given in turn, from 1 on, each once.
        """
        return self.n_templates + self.n_removed

    def changed(self, sealer, inserted=(), erased=(), rewritten=False):
        """Record a change.

        Parameters
        ----------
        sealer : Sealer
            What made the seals.
        inserted, erased : sequence of bytes
            Seals of the rows.
        rewritten : bool, default=False
            Whether what was erased was left out when the contents were written anew.

        Returns
        -------
        Ledger
            With the change.
        """
        return Ledger(
            self.n_changes + 1,
            self.n_templates + len(inserted) - len(erased),
            self.digest ^ sealer.digest((*inserted, *erased)),
            self.n_removed + len(erased),
            0 if rewritten else self.n_erased + len(erased),
        )

    def text(self, sealer):
        """Write it; the digest behind another mask each time.

        Parameters
        ----------
        sealer : Sealer
            What hides the digest.

        Returns
        -------
        str
            What :meth:`read` reads.
        """
        nonce = secrets.token_hex(16)
        hidden = self._replace(digest=self.digest ^ sealer.mask(nonce))
        return " ".join([nonce, *map(str, hidden)])

    @classmethod
    def read(cls, text, sealer):
        """Read what was written.

        Parameters
        ----------
        text : str or None
            What :meth:`text` gave.
        sealer : Sealer
            What hid the digest.

        Returns
        -------
        Ledger or None
            None where it is no such text.
        """
        nonce, _, numbers = (text or "").partition(" ")
        numbers = numbers.split(" ")
        if len(numbers) != len(cls._fields) or not all(map(str.isdecimal, numbers)):
            return None
        hidden = cls(*map(int, numbers))
        return hidden._replace(digest=hidden.digest ^ sealer.mask(nonce))
