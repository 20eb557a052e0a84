"""What all stores do with ids, with the keys that are claimed, and with those who ask.

Where templates are kept is in :mod:`skdistort.templates._database`, how they are compared in
:mod:`skdistort.templates._gallery`.
"""

import unicodedata
from hmac import compare_digest
from numbers import Integral

import numpy as np
from sklearn.utils.validation import _num_samples

from ..keys import key_check
from ._gallery import Identification


def check_ids(ids, X, what="images"):
    """Check ids, one for each sample.

    Parameters
    ----------
    ids : sequence of str
        The ids.
    X : array-like or list
        The samples.
    what : str, default="images"
        What to call them.

    Returns
    -------
    list of str
        The ids, see :func:`check_id`.

    Raises
    ------
    TypeError
        If they are one text, or one of them is none.
    ValueError
        If there is not one for each sample, or one cannot be written.
    """
    if isinstance(ids, (str, bytes)):
        raise TypeError(f"ids must be a sequence of str, got a single {type(ids).__name__}.")
    ids = [check_id(id) for id in ids]
    if len(ids) != _num_samples(X):
        raise ValueError(f"ids has {len(ids)} entries for {_num_samples(X)} {what}.")
    return ids


def check_id(id):
    """Check one id, a str that can be written.

    Parameters
    ----------
    id : str
        The id.

    Returns
    -------
    str
        Its composed form (NFC).

    Raises
    ------
    TypeError
        If it is no text.
    ValueError
        If UTF-8 cannot hold it.
    """
    if not isinstance(id, str):
        raise TypeError(f"an id must be a str, got {id!r} of type {type(id).__name__}.")
    if any("\ud800" <= character <= "\udfff" for character in id):
        raise ValueError(f"an id must be text that UTF-8 can hold, got {id!r}.")
    # A name typed on one system and read from a file of another is one name.
    return unicodedata.normalize("NFC", id)


def key_checks(keys, n):
    """Make what a file keeps of n stretched keys; empty bytes where there are none.

    Parameters
    ----------
    keys : list of bytes or None
        The stretched keys.
    n : int
        How many there are.

    Returns
    -------
    list of bytes
        Their checks.
    """
    return [b""] * n if keys is None else [key_check(key) for key in keys]


def check_hook(on_attempt):
    """Check what is to be called before each attempt.

    Parameters
    ----------
    on_attempt : callable or None
        It.

    Raises
    ------
    TypeError
        If it cannot be called.
    """
    if on_attempt is not None and not callable(on_attempt):
        raise TypeError(f"on_attempt must be callable, got {type(on_attempt).__name__}.")


def attempt(on_attempt, ids):
    """Let the hook refuse; it must not seem to refuse by what it returns.

    Parameters
    ----------
    on_attempt : callable or None
        The hook.
    ids : list of str or None
        The claimed ids, None for a search.

    Raises
    ------
    TypeError
        If it returns something.
    """
    if on_attempt is None:
        return
    result = on_attempt(None if ids is None else list(ids))
    if result is not None:
        raise TypeError(f"on_attempt refuses by raising, and returns None; got {result!r}.")


def read_claimed(database, ids, checks):
    """Read the embeddings that each claim is compared with: those of its id under its key.

    Parameters
    ----------
    database : TemplateDatabase
        The file.
    ids : list of str
        The claimed ids.
    checks : list of bytes
        Checks of the claimed keys.

    Returns
    -------
    list of list of bytes
        Embeddings as they are kept; none where the id has none under the key.

    Raises
    ------
    KeyError
        If an id is not enrolled.
    """
    rows_of = database.read_claimed(ids)
    unknown = [id for id, rows in rows_of.items() if not rows]
    if unknown:
        raise KeyError(f"{len(unknown)} of the ids are not enrolled, such as {unknown[0]!r}.")
    # No other template takes part, whatever it is like.
    return [
        [blob for of, blob in rows_of[id] if compare_digest(of, check)]
        for id, check in zip(ids, checks, strict=True)
    ]


def check_n_best(k):
    """Check how many ids a search is to name.

    Parameters
    ----------
    k : int
        To be positive.

    Raises
    ------
    ValueError
        If it is not.
    """
    if not isinstance(k, Integral) or k < 1:
        raise ValueError(f"k must be a positive integer, got {k!r}.")


def search_under_keys(gallery_under, probes, checks, k):
    """Search for each probe among the templates under the key that it claims.

    Parameters
    ----------
    gallery_under : callable
        Gives the gallery of the templates under the key of a check.
    probes : ndarray of shape (n_probes, d), float32
        Embeddings.
    checks : list of bytes
        Checks of the claimed keys.
    k : int
        How many ids to name.

    Returns
    -------
    Identification
        The k best ids of each probe; None and -inf where fewer have templates under the key.
    """
    rows = {}
    for row, check in enumerate(checks):
        rows.setdefault(check, []).append(row)
    galleries = {check: gallery_under(check) for check in rows}
    most = max((len(gallery.names) for gallery in galleries.values()), default=0)
    ids = np.full((len(probes), min(k, most)), None, dtype=object)
    scores = np.full(ids.shape, -np.inf)
    for check, gallery in galleries.items():
        n = min(k, len(gallery.names))
        if n:
            found, scores[rows[check], :n] = gallery.search(probes[rows[check]], n)
            names = np.empty(len(gallery.names), dtype=object)
            names[:] = gallery.names
            ids[rows[check], :n] = names[found]
    return Identification(ids, scores)
