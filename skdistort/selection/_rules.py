"""Selection of clients and impostors in whole databases, in numpy.

Paper B is Khan and Hernando, "Unsupervised Training of Siamese Networks for Speaker
Verification" (Interspeech 2020). Miners of triplets within a labelled batch live in
:mod:`skdistort.mining`, the search that all functions here rest on in `_nearest`.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import column_or_1d

from .._labels import as_labels, joint_codes
from ._nearest import find_nearest

# Large enough for the matrix product to run at full speed, 16 MB of cosines.
_BLOCK_SIZE = 2048
# So that squared lengths stay within float64.
_LARGEST = 1e150
# Beyond this cosine two samples are one recording, or photo, under two names.
_HIGHEST_CLIENT = 1 - 1e-6
_COUNT = [Interval(Integral, 1, None, closed="left")]
_COSINE = [Interval(Real, -1, 1, closed="both")]
_SELECTION: dict = {
    "Z": ["array-like"],
    "k": _COUNT,
    "client_threshold": _COSINE,
    "impostor_threshold": _COSINE,
    "groups": ["array-like", None],
}


@validate_params(
    {
        "queries": ["array-like"],
        "database": ["array-like", None],
        "k": _COUNT,
        "lowest": _COSINE,
        "highest": _COSINE,
        "groups": ["array-like", None],
        "database_groups": ["array-like", None],
        "block_size": _COUNT,
    },
    prefer_skip_nested_validation=True,
)
def nearest_by_cosine(
    queries: ArrayLike,
    database: ArrayLike | None,
    k: int,
    *,
    lowest: float = -1.0,
    highest: float = 1.0,
    groups: ArrayLike | None = None,
    database_groups: ArrayLike | None = None,
    block_size: int = _BLOCK_SIZE,
) -> NDArray[np.intp]:
    """Find, for every query, the k most similar vectors of a database within two bounds.

    The search is exact: cosines are compared in float64, in steps of 1e-9, and equal ones go by
    the lower row. Neither the blocks nor the number of threads show in the result.

    Parameters
    ----------
    queries : array-like of shape (n_queries, d)
        Vectors to find neighbours for, finite.
    database : array-like of shape (n_database, d) or None
        Vectors to choose from, finite. None means the queries themselves, where no query is a
        neighbour of its own; each pair is then computed once.
    k : int
        The most neighbours of one query.
    lowest, highest : float, default=-1.0 and 1.0
        Cosines a neighbour may have, both included.
    groups : array-like of shape (n_queries,), default=None
        Group of each query, such as its recording or its class: a neighbour never has the
        group of its query.
    database_groups : array-like of shape (n_database,), default=None
        Group of each vector of `database`, wanted with `groups` where `database` is not None.
    block_size : int, default=2048
        Queries, and vectors of the database, compared at a time.

    Returns
    -------
    ndarray of int, shape (n_queries, k)
        Rows of the database, the most similar first, then -1 where there are fewer than k. A
        vector of zeros has no direction: it has no neighbours and is none.

    Raises
    ------
    ValueError
        If a value is not finite, shapes do not match, `lowest` is above `highest`, or only one
        of `groups` and `database_groups` is given.

    Notes
    -----
    Beside float32 copies of the vectors, memory grows with ``n_queries * k + block_size ** 2``.
    Many equal vectors cost time: where more than k tie for the last place, all are compared.

    References
    ----------
    Paper B, Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.selection import nearest_by_cosine
    >>> X = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    >>> nearest_by_cosine(X, None, 2, lowest=0.5).tolist()
    [[1, -1], [0, -1], [-1, -1]]
    >>> nearest_by_cosine(X, None, 2, groups=["a", "a", "b"]).tolist()
    [[2, -1], [2, -1], [1, 0]]
    """
    queries = _check_vectors(queries, "queries")
    if lowest > highest:
        raise ValueError(f"lowest={lowest} is above highest={highest}.")
    if database is None:
        if database_groups is not None:
            raise ValueError("database_groups needs a database; groups alone are the queries'.")
        codes, database_codes = _own_codes(queries, groups), None
    else:
        database = _check_vectors(database, "database", queries)
        codes, database_codes = _common_codes(queries, groups, database, database_groups)
    bounds = [(lowest, highest)]
    return find_nearest(queries, database, k, bounds, codes, database_codes, block_size)[0]


@validate_params(
    {**_SELECTION, "impostor_database": ["array-like"]}, prefer_skip_nested_validation=True
)
def select_from_two_databases(
    Z: ArrayLike,
    impostor_database: ArrayLike,
    k: int = 10,
    *,
    client_threshold: float = 0.2,
    impostor_threshold: float = 0.0,
    groups: ArrayLike | None = None,
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Choose clients in one database and impostors in another that shares no identity with it.

    Paper B's rule: of either database the k vectors of the highest cosine, as far as they pass a
    threshold from below. The most similar vectors of the other database are the hardest
    impostors, so that `impostor_threshold` is a lower bound here, unlike the one of
    :func:`select_clients_and_impostors`.

    Parameters
    ----------
    Z : array-like of shape (n_samples, d)
        The samples in the space where they are compared, centred.
    impostor_database : array-like of shape (n_impostors, d)
        Vectors of other identities in the same space.
    k : int, default=10
        The most clients and the most impostors of one sample.
    client_threshold : float, default=0.2
        The lowest cosine of a client. One of 1 within rounding is the sample itself under another
        name, and no client.
    impostor_threshold : float, default=0.0
        The lowest cosine of an impostor.
    groups : array-like of shape (n_samples,), default=None
        Group of each sample, such as its recording, that its clients must not have.

    Returns
    -------
    anchors : ndarray of int, shape (n_anchors,)
        The samples that have both a client and an impostor, rows of `Z`.
    clients : ndarray of int, shape (n_anchors, k)
        Rows of `Z`, the most similar first, then -1 where there are fewer than k.
    impostors : ndarray of int, shape (n_anchors, k)
        Likewise rows of `impostor_database`.

    Raises
    ------
    ValueError
        If no sample has both; else as :func:`nearest_by_cosine`.

    References
    ----------
    Paper B, Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.selection import select_from_two_databases
    >>> Z = np.array([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0]])
    >>> others = np.array([[0.5, 0.5], [1.0, -0.1]])
    >>> anchors, clients, impostors = select_from_two_databases(Z, others, k=2)
    >>> anchors.tolist(), clients.tolist(), impostors.tolist()
    ([0, 1], [[1, -1], [0, -1]], [[1, 0], [1, 0]])
    """
    Z = _check_vectors(Z, "Z")
    others = _check_vectors(impostor_database, "impostor_database", Z)
    codes = _own_codes(Z, groups)
    of_clients = [_client_bounds(Z, client_threshold)]
    (clients,) = find_nearest(Z, None, k, of_clients, codes, None, _BLOCK_SIZE)
    (impostors,) = find_nearest(Z, others, k, [(impostor_threshold, 1)], None, None, _BLOCK_SIZE)
    return _anchors_of(
        clients,
        impostors,
        f"a client (cosine >= {client_threshold}) and an impostor (cosine >= "
        f"{impostor_threshold}, in the impostor database)",
    )


@validate_params(_SELECTION, prefer_skip_nested_validation=True)
def select_clients_and_impostors(
    Z: ArrayLike,
    k: int = 10,
    *,
    client_threshold: float = 0.2,
    impostor_threshold: float = 0.0,
    groups: ArrayLike | None = None,
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Choose clients and impostors for every sample of one unlabelled database.

    Within one database the most similar vectors belong to the sample itself (nine in ten on
    scikit-learn's digits), where paper B's second database has the hardest impostors. So here
    `impostor_threshold` bounds an impostor's cosine from above, and the k highest below it are
    taken: the hardest of those that are unlikely to be the same class.

    Parameters
    ----------
    Z : array-like of shape (n_samples, d)
        The samples in the space where they are compared, centred.
    k : int, default=10
        The most clients and the most impostors of one sample.
    client_threshold : float, default=0.2
        The lowest cosine of a client. One of 1 within rounding is the sample itself under another
        name, and no client.
    impostor_threshold : float, default=0.0
        The highest cosine of an impostor.
    groups : array-like of shape (n_samples,), default=None
        Group of each sample, such as its recording, that neither its clients nor its impostors
        must have.

    Returns
    -------
    anchors : ndarray of int, shape (n_anchors,)
        The samples that have both a client and an impostor.
    clients, impostors : ndarray of int, shape (n_anchors, k)
        Their rows, the most similar first, then -1 where there are fewer than k.

    Raises
    ------
    ValueError
        If no sample has both; else as :func:`nearest_by_cosine`.

    References
    ----------
    After paper B, Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.selection import select_clients_and_impostors
    >>> Z = np.array([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0]])
    >>> anchors, clients, impostors = select_clients_and_impostors(Z, k=1)
    >>> anchors.tolist(), clients.tolist(), impostors.tolist()
    ([0, 1], [[1], [0]], [[2], [2]])
    """
    Z = _check_vectors(Z, "Z")
    bounds = [_client_bounds(Z, client_threshold), (-1, impostor_threshold)]
    found: tuple[Any, Any] = find_nearest(
        Z, None, k, bounds, _own_codes(Z, groups), None, _BLOCK_SIZE
    )
    return _anchors_of(
        *found,
        f"a client (cosine >= {client_threshold}) and an impostor (cosine <= {impostor_threshold})",
    )


@validate_params(
    {"Z": ["array-like"], "y": ["array-like"], "k": _COUNT, "groups": ["array-like", None]},
    prefer_skip_nested_validation=True,
)
def select_by_class(
    Z: ArrayLike, y: ArrayLike, k: int = 10, *, groups: ArrayLike | None = None
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Choose the most similar clients of the own class and impostors of the other classes.

    A cosine of 1 within rounding is that of the sample itself under another name: no client.

    Parameters
    ----------
    Z : array-like of shape (n_samples, d)
        The samples in the space where they are compared, centred.
    y : array-like of shape (n_samples,)
        Class of each sample.
    k : int, default=10
        The most clients and the most impostors of one sample.
    groups : array-like of shape (n_samples,), default=None
        Group of each sample, such as its recording, that its clients must not have; impostors
        of the same group, which are the harder ones, stay.

    Returns
    -------
    anchors : ndarray of int, shape (n_anchors,)
        The samples that have both a client and an impostor.
    clients, impostors : ndarray of int, shape (n_anchors, k)
        Their rows, the most similar first, then -1 where there are fewer than k.

    Raises
    ------
    ValueError
        If no sample has both; else as :func:`nearest_by_cosine`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.selection import select_by_class
    >>> Z = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [0.0, 1.0]])
    >>> anchors, clients, impostors = select_by_class(Z, ["a", "b", "a", "b"], k=2)
    >>> anchors.tolist(), clients.tolist(), impostors.tolist()
    ([0, 1, 2, 3], [[2, -1], [3, -1], [0, -1], [1, -1]], [[1, 3], [2, 0], [1, 3], [2, 0]])
    """
    Z = _check_vectors(Z, "Z")
    classes, own_codes = _own_codes(Z, y, "y"), _own_codes(Z, groups)
    (impostors,) = find_nearest(Z, None, k, [(-1, 1)], classes, None, _BLOCK_SIZE)
    clients = np.full_like(impostors, -1)
    by_class = np.split(np.argsort(classes, kind="stable"), np.cumsum(np.bincount(classes))[:-1])
    for rows in by_class:
        bounds = [_client_bounds(Z, -1)]
        (found,) = find_nearest(Z[rows], None, k, bounds, own_codes[rows], None, _BLOCK_SIZE)
        clients[rows] = np.where(found >= 0, rows[found], -1)
    return _anchors_of(
        clients, impostors, "a client (of its class) and an impostor (of another class)"
    )


def _check_vectors(X, name, like=None):
    """Validate vectors, float32 or float64; `like` are others of as many components."""
    X = check_array(X, dtype=[np.float64, np.float32], input_name=name)
    if float(max(X.max(), -X.min())) > _LARGEST:
        raise ValueError(f"{name} holds values beyond {_LARGEST:g}, whose squares may overflow.")
    if like is not None and X.shape[1] != like.shape[1]:
        raise ValueError(
            f"{name} has vectors of {X.shape[1]} components, but they are compared with vectors "
            f"of {like.shape[1]}."
        )
    return X


def _check_groups(groups, name, X):
    """Validate one group, or class, for each vector."""
    groups = column_or_1d(as_labels(groups, name))
    if len(groups) != len(X):
        raise ValueError(f"{name} has {len(groups)} entries for {len(X)} vectors.")
    return groups


def _own_codes(X, groups, name="groups"):
    """Encode the groups of vectors that are searched among themselves; None is one for each."""
    if groups is None:
        return np.arange(len(X))
    return np.unique(_check_groups(groups, name, X), return_inverse=True)[1]


def _common_codes(queries, groups, database, database_groups):
    """Encode the groups of queries and of a database alike."""
    if (groups is None) != (database_groups is None):
        raise ValueError("groups and database_groups must be given together, or neither.")
    if groups is None:
        return None, None
    return joint_codes(
        _check_groups(groups, "groups", queries),
        _check_groups(database_groups, "database_groups", database),
        "groups",
        "database_groups",
    )


def _client_bounds(Z, lowest):
    """Tell which cosines a client may have; in one dimension all are 1 or -1, and tell nothing."""
    return lowest, 1 if Z.shape[1] == 1 else _HIGHEST_CLIENT


def _anchors_of(clients, impostors, both):
    """Keep the samples that have a client and an impostor, or tell which of `both` is missing."""
    # The most similar stand first, so the first column tells whether there is any.
    has_client, has_impostor = clients[:, 0] >= 0, impostors[:, 0] >= 0
    anchors = np.flatnonzero(has_client & has_impostor)
    if len(anchors) == 0:
        raise ValueError(
            f"No sample has both {both} in the selection space: {has_client.sum()} of "
            f"{len(clients)} samples have a client, {has_impostor.sum()} an impostor."
        )
    return anchors, clients[anchors], impostors[anchors]


def select_rows(Z, rows, impostor_rows, *, labels, groups, k, client_threshold, impostor_threshold):
    """Choose clients and impostors of some rows, by labels if there are any.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, d)
        All samples where they are compared.
    rows : ndarray of int
        Rows of the samples to choose for, and among.
    impostor_rows : ndarray of int or None
        Rows of a second database; None where there is none.
    labels, groups : ndarray of shape (n_samples,) or None
        Class and group of each sample.
    k : int
        The most clients and the most impostors of one sample.
    client_threshold, impostor_threshold : float
        Bounds of their cosines, where there are no labels.

    Returns
    -------
    tuple of 3 ndarray
        Anchors, clients and impostors as positions in `rows`, then `impostor_rows`.
    """
    of_rows = None if groups is None else groups[rows]
    if labels is not None:
        return select_by_class(Z[rows], labels[rows], k, groups=of_rows)
    bounds = {"client_threshold": client_threshold, "impostor_threshold": impostor_threshold}
    if impostor_rows is None:
        return select_clients_and_impostors(Z[rows], k, groups=of_rows, **bounds)
    anchors, clients, impostors = select_from_two_databases(
        Z[rows], Z[impostor_rows], k, groups=of_rows, **bounds
    )
    return anchors, clients, np.where(impostors < 0, -1, impostors + len(rows))
