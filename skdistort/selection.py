"""Selection of clients and impostors in unlabelled data (paper B, Algorithm 1), in numpy.

Paper B is Khan and Hernando, "Unsupervised Training of Siamese Networks for Speaker
Verification" (Interspeech 2020). Miners of triplets within a labelled batch live in
:mod:`skdistort.mining`.
"""

import numpy as np
from sklearn.preprocessing import normalize


def nearest_by_cosine(
    queries,
    database,
    k,
    *,
    lowest=-1.0,
    highest=1.0,
    exclude_same_index=False,
    block_size=1024,
):
    """Find, for every query, the k most similar vectors of a database within two thresholds.

    Blockwise and exact; memory grows with ``block_size * len(database)``, not with the square.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, d)
        Vectors to find neighbours for.
    database : ndarray of shape (n_database, d)
        Vectors to choose from.
    k : int
        The most neighbours of one query.
    lowest, highest : float, default=-1.0 and 1.0
        Cosines a neighbour may have, both included.
    exclude_same_index : bool, default=False
        Whether row i of the database is never a neighbour of query i: for `queries` that are
        the database itself.
    block_size : int, default=1024
        Queries at a time.

    Returns
    -------
    ndarray of int, shape (n_queries, k)
        Rows of the database, the most similar first, -1 where there are fewer than k.

    References
    ----------
    Paper B, Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.selection import nearest_by_cosine
    >>> X = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    >>> nearest_by_cosine(X, X, 2, lowest=0.5, exclude_same_index=True).tolist()
    [[1, -1], [0, -1], [-1, -1]]
    """
    queries, database = normalize(queries), normalize(database)
    # Rounding must not push a vector's cosine with its equal or its opposite out of bounds.
    lowest, highest = lowest - 1e-6, highest + 1e-6
    n_found = min(k, len(database))
    neighbours = np.full((len(queries), k), -1, dtype=np.intp)
    for start in range(0, len(queries), block_size):
        scores = queries[start : start + block_size] @ database.T
        rows = np.arange(len(scores))[:, None]
        scores[(scores < lowest) | (scores > highest)] = -np.inf
        if exclude_same_index:
            scores[rows[:, 0], rows[:, 0] + start] = -np.inf
        found = np.argpartition(-scores, n_found - 1, axis=1)[:, :n_found]
        found = found[rows, np.argsort(-scores[rows, found], axis=1, kind="stable")]
        passed = np.isfinite(scores[rows, found])
        neighbours[start : start + len(scores), :n_found] = np.where(passed, found, -1)
    return neighbours


def select_clients_and_impostors(Z, k=10, *, client_threshold=0.2, impostor_threshold=0.0):
    """Choose clients and impostors for every sample of one unlabelled database.

    Paper B takes the impostors from a second database that shares no speaker with the first,
    where the most similar vectors are the hardest impostors. Within one database the most
    similar ones belong to the sample itself (nine in ten on scikit-learn's digits), so here
    `impostor_threshold` bounds an impostor's cosine from above, and the k highest below it are
    taken: the hardest of those that are unlikely to be the same class.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, d)
        The samples in the space where they are compared, centred.
    k : int, default=10
        The most clients and the most impostors of one sample.
    client_threshold : float, default=0.2
        The lowest cosine of a client.
    impostor_threshold : float, default=0.0
        The highest cosine of an impostor.

    Returns
    -------
    anchors : ndarray of int, shape (n_anchors,)
        The samples that have both a client and an impostor.
    clients, impostors : ndarray of int, shape (n_anchors, k)
        Their rows, the most similar first, -1 where there are fewer than k.

    Raises
    ------
    ValueError
        If no sample has both.

    References
    ----------
    Paper B, Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.selection import select_clients_and_impostors
    >>> Z = np.array([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0]])
    >>> anchors, clients, impostors = select_clients_and_impostors(Z, k=1)
    >>> anchors.tolist(), clients.tolist(), impostors.tolist()
    ([0, 1], [[1], [0]], [[2], [2]])
    """
    clients = nearest_by_cosine(Z, Z, k, lowest=client_threshold, exclude_same_index=True)
    impostors = nearest_by_cosine(Z, Z, k, highest=impostor_threshold, exclude_same_index=True)
    # The most similar stand first, so the first column tells whether there is any.
    anchors = np.flatnonzero((clients[:, 0] >= 0) & (impostors[:, 0] >= 0))
    if len(anchors) == 0:
        raise ValueError(
            f"No sample has both a client (cosine >= client_threshold={client_threshold}) and an "
            f"impostor (cosine <= impostor_threshold={impostor_threshold}) in the selection "
            f"space: {np.sum(clients[:, 0] >= 0)} of {len(Z)} samples have a client, "
            f"{np.sum(impostors[:, 0] >= 0)} an impostor."
        )
    return anchors, clients[anchors], impostors[anchors]
