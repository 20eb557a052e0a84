"""How embeddings are kept under keys, and compared as they are kept.

The keyed hashes themselves are in :mod:`skdistort.template_baselines`, rotations in
:mod:`skdistort.keys`. The file is the matter of :mod:`skdistort.templates._embeddings`.
"""

import numpy as np
from sklearn.base import clone
from sklearn.preprocessing import normalize

from ..keys import rotate_embeddings
from ..template_baselines import BioHashing, IoMHashing, MLPHash, PolyProtect

HASHES = (BioHashing, IoMHashing, MLPHash, PolyProtect)


def check_protection(protection):
    """Check what protects embeddings.

    Parameters
    ----------
    protection : "rotation", a transformer of HASHES, or None
        It.

    Raises
    ------
    TypeError
        If it is none of these.
    """
    if protection not in ("rotation", None) and not isinstance(protection, HASHES):
        names = ", ".join(scheme.__name__ for scheme in HASHES)
        raise TypeError(
            f"protection must be 'rotation', None or one of {names}, got {protection!r}."
        )


def describe_protection(protection):
    """Name what protects embeddings, with its parameters and without its key.

    Parameters
    ----------
    protection : "rotation", a transformer of HASHES, or None
        What protects.

    Returns
    -------
    str
        Equal for those that give the same under the same key.
    """
    if not isinstance(protection, HASHES):
        return "none" if protection is None else protection
    params = {k: v for k, v in protection.get_params().items() if k != "key"}
    return f"{type(protection).__name__}({', '.join(f'{k}={params[k]}' for k in sorted(params))})"


def protect(protection, embeddings, keys):
    """Bring embeddings to what a file keeps of them.

    Parameters
    ----------
    protection : "rotation", a transformer of HASHES, or None
        What protects.
    embeddings : ndarray of shape (n_samples, n_components)
        Embeddings of unit length.
    keys : list of bytes or None
        The key of each; None for embeddings in clear.

    Returns
    -------
    ndarray of shape (n_samples, n_values), dtype float32
        Rotated embeddings, or bits, indices or values of polynomials, or the embeddings.
    """
    if protection is None:
        return embeddings.astype(np.float32)
    if protection == "rotation":
        return rotate_embeddings(embeddings, keys)
    rows_of = {}
    for row, key in enumerate(keys):
        rows_of.setdefault(key, []).append(row)
    parts = {key: _hashed(protection, embeddings[rows], key) for key, rows in rows_of.items()}
    width = next(iter(parts.values())).shape[1]
    values = np.empty((len(embeddings), width), dtype=np.float32)
    for key, rows in rows_of.items():
        values[rows] = parts[key]
    return values


def to_codes(protection, values):
    """Bring what a file keeps to vectors whose cosine compares it.

    That of rotated embeddings is that of the embeddings. For bits it is ``1 - 2 d`` with d the
    share that differ; for indices, of which one of several places holds a one, the share that
    agree; for polynomials it is the cosine of their values, by which their paper compares.

    Parameters
    ----------
    protection : "rotation", a transformer of HASHES, or None
        What protects.
    values : ndarray of shape (n_samples, n_values)
        What :func:`protect` gives.

    Returns
    -------
    ndarray of shape (n_samples, n_places), dtype float32
        Vectors of unit length.
    """
    if isinstance(protection, IoMHashing):
        places = np.arange(protection.n_projections)
        values = (values[:, :, None] == places).reshape(len(values), -1)
    elif isinstance(protection, (BioHashing, MLPHash)):
        values = 2 * values - 1
    return normalize(values.astype(np.float32))


def mean_codes(codes, groups, n_groups):
    """Average the codes of each group, and bring the means to unit length.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_places), float32
        What :func:`to_codes` gives.
    groups : ndarray of int, shape (n_samples,)
        Group of each.
    n_groups : int
        How many groups there are.

    Returns
    -------
    ndarray of shape (n_groups, n_places), dtype float32
        The means; one of codes that cancel out is zero.
    """
    sums = np.zeros((n_groups, codes.shape[1]), dtype=np.float32)
    np.add.at(sums, groups, codes)
    return normalize(sums)


def _hashed(protection, embeddings, key):
    scheme = clone(protection).set_params(key=key).set_output(transform="default")
    return scheme.fit_transform(embeddings)
