"""The keys that people give, made into those that a store's templates are really under.

What a key determines is in :mod:`skdistort.keys`.
"""

import os
import secrets
from concurrent.futures import ThreadPoolExecutor

from ..keys import check_cost, check_keys, refuse_guessable, stretch_key


class StoreKeys:
    """Stretches keys by the salt of one store, so that in another one they are others.

    Parameters
    ----------
    database : TemplateDatabase
        The file; it keeps the salt and the cost that it was begun with.
    cost : int
        Cost of a guess for a new file, see :func:`skdistort.keys.stretch_key`.
    allow_weak : bool
        Whether keys may be such that are easily guessed.

    Raises
    ------
    ValueError
        If the cost is out of its range, or what the file keeps is none.
    """

    def __init__(self, database, *, cost, allow_weak):
        self._allow_weak = allow_weak
        check_cost(cost)
        kept = database.put_first("salt", f"{cost} {secrets.token_hex(16)}")
        try:
            cost, salt = kept.split()
            self._cost, self._salt = int(cost), bytes.fromhex(salt)
        except ValueError as error:
            raise database.damaged("its salt is none") from error
        self._own = None, None

    def of(self, own, keys, n):
        """Make the keys that n templates or probes are under in this store.

        Parameters
        ----------
        own : int or bytes
            The key where none is given with a call.
        keys : int, bytes or sequence of these, or None
            One for all or one for each; None takes `own`.
        n : int
            How many there are.

        Returns
        -------
        list of bytes
            The stretched keys.

        Raises
        ------
        TypeError
            If a key is neither an int nor bytes.
        ValueError
            If there is not one for each, or one is easily guessed and may not be.
        """
        if keys is None:
            # It is in memory as it is; those that are given with a call are not kept.
            if self._own[0] != own or type(self._own[0]) is not type(own):
                self._refuse_weak([own])
                self._own = own, self._stretched(own)
            return [self._own[1]] * n
        keys = check_keys(keys, n)
        # Equal integers of any type are one key.
        different = list(dict.fromkeys(keys))
        self._refuse_weak(different)
        # Each takes its share of the memory: no more at a time than there are cores.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            stretched = dict(zip(different, pool.map(self._stretched, different), strict=True))
        return [stretched[key] for key in keys]

    def _refuse_weak(self, keys):
        if not self._allow_weak:
            for key in keys:
                refuse_guessable(key)

    def _stretched(self, key):
        return stretch_key(key, self._salt, cost=self._cost)
