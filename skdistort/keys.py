"""Keys, and the random matrices that they determine: the same on every platform and for ever.

What lives here turns keys into numbers and rotates embeddings by them. What is protected so does
not: see :class:`skdistort.DistortionGenerator` and :mod:`skdistort.template_baselines`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag
from scipy.special import ndtri

from ._typing import Key


def check_keys(keys: Any, n_samples: int) -> list[Key]:
    """Bring keys to a list, one for each sample.

    Parameters
    ----------
    keys : int, bytes or sequence of these
        One key for all samples, or one for each. An int is at least 0.
    n_samples : int
        How many samples there are.

    Returns
    -------
    list of int or bytes
        A key for each sample.

    Raises
    ------
    TypeError
        If a key is neither an int nor bytes.
    ValueError
        If a key is a negative int, or there is not one for each sample.

    Examples
    --------
    >>> from skdistort.keys import check_keys
    >>> check_keys(b"secret", 2)
    [b'secret', b'secret']
    """
    if isinstance(keys, (Integral, bytes)):
        keys = [keys] * n_samples
    elif isinstance(keys, str) or not hasattr(keys, "__len__"):
        # Names the types that a key may have.
        _encoded_key(keys)
    if len(keys) != n_samples:
        raise ValueError(f"keys has {len(keys)} keys for {n_samples} samples.")
    for key in keys:
        _encoded_key(key)
    return list(keys)


def key_rotation(
    key: Key, n_components: int, directions: tuple[NDArray[Any], int] | None = None
) -> NDArray[np.float64]:
    """Draw the orthogonal map R_key of embeddings that a key determines.

    Over all keys the maps are uniformly distributed (Haar), so that without the key R_key F(X)
    may be any vector of the length of F(X), one as likely as another.

    Parameters
    ----------
    key : int or bytes
        The key. An int is at least 0.
    n_components : int
        Length of an embedding.
    directions : tuple of (ndarray of shape (n_components, n_components), int), default=None
        Orthonormal columns V, and how many of the first ones are turned among themselves, as are
        the others: :class:`skdistort.DistortionGenerator` has them as ``directions_``. None turns
        all together.

    Returns
    -------
    ndarray of shape (n_components, n_components), float64
        R_key, orthogonal; with directions ``V diag(R_1, R_2) V'``, of two maps of the key.

    Raises
    ------
    TypeError
        If `key` is neither an int nor bytes.
    ValueError
        If `key` is a negative int.

    Examples
    --------
    >>> from skdistort.keys import key_rotation
    >>> R = key_rotation(b"secret", 2)
    >>> (R @ R.T).round(6) + 0.0
    array([[1., 0.],
           [0., 1.]])
    """
    if directions is None:
        return keyed_orthonormal(key, "rotation of embeddings", n_components, n_components)
    V, n_first = directions
    parts = {"rotation of first directions": n_first, "rotation of others": n_components - n_first}
    R = block_diag(*(keyed_orthonormal(key, purpose, n, n) for purpose, n in parts.items()))
    return V @ R @ V.T


def rotate_embeddings(
    embeddings: NDArray[Any],
    keys: Key | Sequence[Key],
    *,
    inverse: bool = False,
    directions: tuple[NDArray[Any], int] | None = None,
) -> NDArray[np.float32]:
    """Apply to each embedding the orthogonal map of its key.

    Parameters
    ----------
    embeddings : ndarray of shape (n_samples, n_components)
        Embeddings.
    keys : int, bytes or sequence of these
        One key for all, or one for each.
    inverse : bool, default=False
        Whether to undo the map instead.
    directions : tuple of (ndarray of shape (n_components, n_components), int), default=None
        As for :func:`key_rotation`.

    Returns
    -------
    ndarray of shape (n_samples, n_components), float32
        R_key z for each embedding z, or its inverse.

    Raises
    ------
    TypeError, ValueError
        As :func:`check_keys`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.keys import rotate_embeddings
    >>> Z = np.eye(3)[:2]
    >>> rotated = rotate_embeddings(Z, [7, b"secret"])
    >>> np.allclose(rotate_embeddings(rotated, [7, b"secret"], inverse=True), Z, atol=1e-6)
    True
    """
    keys = check_keys(keys, len(embeddings))
    rows: dict[Key, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    rotated = np.empty(embeddings.shape, dtype=np.float32)
    for key, of_key in rows.items():
        R = key_rotation(key, embeddings.shape[1], directions)
        rotated[of_key] = embeddings[of_key] @ (R if inverse else R.T)
    return rotated


def stretch_key(key: Key, salt: bytes, *, cost: int = 14) -> bytes:
    """Make of a key another one, for one place alone, so slowly that guesses take long.

    What is kept where the salt is can be held against a guess no faster than this takes.

    Parameters
    ----------
    key : int or bytes
        The key. An int is at least 0.
    salt : bytes
        Random bytes of the place. Elsewhere the same key becomes another one.
    cost : int, default=14
        From 1 to 20: scrypt's N is ``2 ** cost``. One more doubles the time, about 0.05 s at 14 on
        one core, and the memory, 16 MiB.

    Returns
    -------
    bytes
        A key of 32 bytes.

    Raises
    ------
    TypeError
        If `key` is neither an int nor bytes.
    ValueError
        If `key` is a negative int, or `cost` is out of its range.

    References
    ----------
    Percival and Josefsson, "The scrypt password-based key derivation function", RFC 7914 (2016).

    Examples
    --------
    >>> from skdistort.keys import stretch_key
    >>> here = stretch_key(b"secret", b"salt", cost=4)
    >>> len(here), here == stretch_key(b"secret", b"other", cost=4)
    (32, False)
    """
    check_cost(cost)
    n, r = 2 ** int(cost), 8
    # Of what it needs, twice as much is allowed.
    memory = 2 * 128 * r * (n + 2)
    parts = _encoded(b"stretched key") + _encoded_key(key)
    return hashlib.scrypt(parts, salt=salt, n=n, r=r, p=1, maxmem=memory, dklen=32)


def check_cost(cost: Any) -> None:
    """Check a cost of :func:`stretch_key`.

    Parameters
    ----------
    cost : int
        To be from 1 to 20.

    Raises
    ------
    ValueError
        If it is not.

    Examples
    --------
    >>> from skdistort.keys import check_cost
    >>> check_cost(14)
    """
    if not isinstance(cost, Integral) or not 1 <= int(cost) <= 20:
        raise ValueError(f"The cost of a key must be an int from 1 to 20, got {cost!r}.")


def refuse_guessable(key: Key) -> None:
    """Raise if a key is too short, or too simple, to be safe from being guessed.

    A key that passes may still be a word in a list: take random bytes.

    Parameters
    ----------
    key : int or bytes
        The key.

    Raises
    ------
    TypeError
        If `key` is neither an int nor bytes.
    ValueError
        If it has fewer than 16 bytes, is an int below ``2 ** 96``, or has fewer than 8 different
        bytes.

    Examples
    --------
    >>> import secrets
    >>> from skdistort.keys import refuse_guessable
    >>> refuse_guessable(secrets.token_bytes(16))
    >>> refuse_guessable(7)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: A key is easily guessed: ...
    """
    _encoded_key(key)
    if isinstance(key, bytes):
        data, least = key, 16
    else:
        # One of 128 random bits may begin with some zeros.
        data, least = int(key).to_bytes((int(key).bit_length() + 7) // 8, "little"), 13
    if len(data) < least or len(set(data)) < 8:
        raise ValueError(
            "A key is easily guessed: it has fewer than 16 bytes (an int: is below 2**96), or "
            "fewer than 8 different ones. Take secrets.token_bytes(16)."
        )


def key_check(key: Key, salt: bytes = b"") -> bytes:
    """Make bytes by which a key can be told from another one, without keeping it.

    Who has them can try keys that are easily guessed, and fast: :func:`stretch_key` them first.

    Parameters
    ----------
    key : int or bytes
        The key. An int is at least 0.
    salt : bytes, default=b""
        Random bytes, so that the same key gives other bytes elsewhere; a stretched key needs none.

    Returns
    -------
    bytes
        16 bytes.

    Raises
    ------
    TypeError
        If `key` is neither an int nor bytes.
    ValueError
        If `key` is a negative int.

    Examples
    --------
    >>> from skdistort.keys import key_check
    >>> key_check(b"secret", b"salt") == key_check(b"other", b"salt")
    False
    """
    parts = _encoded(b"key check") + _encoded(salt) + _encoded_key(key)
    return hashlib.shake_256(parts).digest(16)


class HiddenParameter:
    """A parameter of an estimator that is a key: kept as it is, and never shown.

    What ``get_params`` gives is equal to what was set and works in its place, but has no
    representation: neither that of an estimator or of a pipeline around it, in text or HTML, nor a
    message about a parameter shows it. A pickle holds it. None stays None.

    Examples
    --------
    >>> from sklearn.base import BaseEstimator
    >>> from skdistort.keys import HiddenParameter
    >>> class Lock(BaseEstimator):
    ...     key = HiddenParameter()
    ...
    ...     def __init__(self, key=None):
    ...         self.key = key
    >>> Lock(b"secret")
    Lock(key=<hidden>)
    >>> Lock(b"secret").key == b"secret"
    True
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        if self._name not in instance.__dict__:
            raise AttributeError(self._name)
        return instance.__dict__[self._name]

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self._name] = _hidden(value)


class Hidden:
    """A value without a representation, equal to what it hides: see :class:`HiddenParameter`."""

    def __repr__(self) -> str:
        return "<hidden>"

    def __str__(self) -> str:
        return "<hidden>"

    def __format__(self, spec: str) -> str:
        return "<hidden>"


class _HiddenBytes(Hidden, bytes):
    pass


class _HiddenInt(Hidden, int):
    pass


class _HiddenStr(Hidden, str):
    # Not a key, but what somebody takes for one comes into a message.
    pass


def revealed(value: Any) -> Any:
    """Give what a hidden value hides.

    Parameters
    ----------
    value : object
        Any value.

    Returns
    -------
    object
        The value as it was set; one that hides nothing comes back as it is.

    Examples
    --------
    >>> from skdistort.keys import revealed
    >>> revealed(7)
    7
    """
    for kind in (bytes, int, str):
        if isinstance(value, Hidden) and isinstance(value, kind):
            return kind.__getnewargs__(value)[0]
    return value


def _hidden(value):
    """Hide a key, or what may be meant as one; all else shows no secret."""
    if isinstance(value, (Hidden, bool)):
        return value
    for kind, hidden in ((bytes, _HiddenBytes), (Integral, _HiddenInt), (str, _HiddenStr)):
        if isinstance(value, kind):
            return hidden(value)
    return value


def keyed_normals(key: Key, purpose: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Draw standard normal numbers that a key determines.

    SHAKE-256 stretches the key, so that no other key and no other purpose gives numbers that are
    known to be related, and no release of numpy changes them.

    Parameters
    ----------
    key : int or bytes
        The key. An int is at least 0.
    purpose : str
        What the numbers are for: other numbers for each.
    shape : tuple of int
        How many numbers.

    Returns
    -------
    ndarray of the given shape, float64
        Independent standard normal numbers of 32 random bits each, in [-6.4, 6.4].

    Raises
    ------
    TypeError
        If `key` is neither an int nor bytes.
    ValueError
        If `key` is a negative int.

    References
    ----------
    NIST FIPS 202, "SHA-3 standard: permutation-based hash and extendable-output functions"
    (2015).

    Examples
    --------
    >>> from skdistort.keys import keyed_normals
    >>> keyed_normals(7, "example", (3,)).round(2)
    array([-0.25,  0.3 , -1.37])
    """
    size = int(np.prod(shape))
    stream = hashlib.shake_256(_encoded(purpose.encode()) + _encoded_key(key)).digest(4 * size)
    # Halfway between the steps of 32 bits, because the quantiles of 0 and 1 are infinite. In place,
    # since asking the system for memory takes as long as the arithmetic.
    uniform = np.frombuffer(stream, dtype="<u4") + 0.5
    uniform /= 2**32
    return ndtri(uniform, out=uniform).reshape(shape)


def keyed_orthonormal(key: Key, purpose: str, n_rows: int, n_columns: int) -> NDArray[np.float64]:
    """Draw a matrix with orthonormal columns, or rows where those are fewer, from a key.

    The Gram-Schmidt process is applied to normal numbers, which draws from the uniform
    distribution over all such matrices.

    Parameters
    ----------
    key : int or bytes
        As for :func:`keyed_normals`.
    purpose : str
        As for :func:`keyed_normals`.
    n_rows, n_columns : int
        Size of the matrix.

    Returns
    -------
    ndarray of shape (n_rows, n_columns), float64
        The matrix.

    Raises
    ------
    TypeError, ValueError
        As :func:`keyed_normals`.

    References
    ----------
    Mezzadri, "How to generate random matrices from the classical compact groups", Notices of the
    AMS 54 (2007).

    Examples
    --------
    >>> from skdistort.keys import keyed_orthonormal
    >>> Q = keyed_orthonormal(7, "example", 3, 2)
    >>> (Q.T @ Q).round(6) + 0.0
    array([[1., 0.],
           [0., 1.]])
    """
    normals = keyed_normals(key, purpose, (max(n_rows, n_columns), min(n_rows, n_columns)))
    Q, R = np.linalg.qr(normals)
    # LAPACK leaves the signs open; those of Gram-Schmidt make the diagonal of R positive.
    Q *= np.where(np.diagonal(R) < 0, -1.0, 1.0)
    return Q if n_rows >= n_columns else Q.T


def _encoded_key(key):
    """Bytes that no other key has, be it int or bytes."""
    if isinstance(key, bytes):
        return b"b" + _encoded(key)
    if not isinstance(key, Integral):
        raise TypeError(
            f"key must be an int or bytes, got {type(key).__name__}; encode a str to bytes."
        )
    if key < 0:
        raise ValueError("key must be at least 0, got a negative int.")
    key = int(key)
    return b"i" + _encoded(key.to_bytes((key.bit_length() + 7) // 8, "little"))


def _encoded(part):
    """Bytes with their length in front, so that where one part ends cannot be mistaken."""
    return len(part).to_bytes(8, "little") + part
