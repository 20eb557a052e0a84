"""Random matrices that a key determines: the same on every platform and for ever.

What lives here turns keys into numbers. What the schemes do with them does not.
"""

import hashlib
from numbers import Integral

import numpy as np
from scipy.special import ndtri


def keyed_normals(key, purpose, shape):
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
    >>> from skdistort.template_baselines._keys import keyed_normals
    >>> keyed_normals(7, "example", (3,)).round(2)
    array([-0.25,  0.3 , -1.37])
    """
    size = int(np.prod(shape))
    stream = hashlib.shake_256(_encoded(purpose.encode()) + _encoded_key(key)).digest(4 * size)
    # Halfway between the steps of 32 bits, because the quantiles of 0 and 1 are infinite.
    uniform = (np.frombuffer(stream, dtype="<u4") + 0.5) / 2**32
    return ndtri(uniform).reshape(shape)


def keyed_orthonormal(key, purpose, n_rows, n_columns):
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
    >>> from skdistort.template_baselines._keys import keyed_orthonormal
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
        raise ValueError(f"key must be at least 0, got {key!r}.")
    key = int(key)
    return b"i" + _encoded(key.to_bytes((key.bit_length() + 7) // 8, "little"))


def _encoded(part):
    """Bytes with their length in front, so that where one part ends cannot be mistaken."""
    return len(part).to_bytes(8, "little") + part
