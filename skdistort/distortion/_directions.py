"""The directions that embeddings lie in, where these are few of all that there are.

An embedder that knows few people, or digits, gives embeddings that lie in few directions: those of
ten classes in nine. Images reach hardly any other, so that what a key turns out of them cannot be
reached. What lives here finds them; who turns within them is :mod:`skdistort.keys`.
"""

import numpy as np

# Embeddings lie in directions that hold so much of their squared length, if these are at most half
# of all. Where they are more, nearly every direction is reached, and keys are the stronger. Within
# fewer than eight, keys would be too much alike: rather is nothing reached, and `fit` warns.
_SHARE, _MOST, _FEWEST = 0.99, 0.5, 8
# How much of the squared length may lie elsewhere of images that are none. Of embedders of ten
# digits 0.11 to 0.14 does; of MobileFaceNet 0.83 beside what 40 faces fill, and 0.40 beside 80, and
# of the faces of others about as much.
_ELSEWHERE = 0.2


def filled_directions(embeddings):
    """Find the few directions that embeddings lie in, if they are few.

    Parameters
    ----------
    embeddings : ndarray of shape (n_samples, m)
        Embeddings.

    Returns
    -------
    tuple of (ndarray of shape (m, m), int) or None
        Orthonormal columns, and how many of the first ones hold 99 % of the squared length. None
        if these are more than half of all, or fewer than eight.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.distortion._directions import filled_directions
    >>> Z = np.random.default_rng(0).standard_normal((50, 9)) @ np.eye(9, 32)
    >>> directions, n_filled = filled_directions(Z)
    >>> directions.shape, n_filled
    ((32, 32), 9)
    """
    Z = embeddings.astype(np.float64)
    held, directions = np.linalg.eigh(Z.T @ Z)
    held, directions = held[::-1], directions[:, ::-1]
    n_filled = int(np.searchsorted(np.cumsum(held), _SHARE * held.sum())) + 1
    if not _FEWEST <= n_filled <= _MOST * len(held):
        return None
    return np.ascontiguousarray(directions), n_filled


def fills_no_others(embed, images, directions):
    """Whether F itself keeps to directions, and not only its embeddings of a few images.

    It is asked about images that are none, with their values in an order drawn at random.

    Parameters
    ----------
    embed : callable
        F, from images to embeddings.
    images : ndarray of shape (n_samples, height, width, channels)
        A few images.
    directions : tuple of (ndarray of shape (m, m), int)
        What :func:`filled_directions` gives.

    Returns
    -------
    bool
        Whether less than a fifth of the squared length lies elsewhere.
    """
    rng = np.random.RandomState(0)
    scrambled = np.stack([rng.permutation(image.ravel()).reshape(image.shape) for image in images])
    V, n_filled = directions
    parts = embed(scrambled).astype(np.float64) @ V
    return bool(np.sum(parts[:, n_filled:] ** 2) < _ELSEWHERE * np.sum(parts**2))


def rotate_at_random(embeddings, rng, directions=None):
    """Draw R_key z for each embedding z, each under a key of its own.

    Over the keys R_key is uniformly distributed among the orthogonal maps, and R_key z among the
    vectors of the length of z, so that no map has to be made.

    Parameters
    ----------
    embeddings : ndarray of shape (n_samples, m)
        Embeddings.
    rng : numpy.random.RandomState
        Source of randomness.
    directions : tuple of (ndarray of shape (m, m), int), default=None
        What :func:`filled_directions` gives: those that keys turn among themselves.

    Returns
    -------
    ndarray of shape (n_samples, m), float32
        Vectors of the same lengths.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.distortion._directions import rotate_at_random
    >>> Z = rotate_at_random(np.eye(3), np.random.RandomState(0))
    >>> np.linalg.norm(Z, axis=1).round(6).tolist()
    [1.0, 1.0, 1.0]
    """
    if directions is not None:
        V, n_first = directions
        parts = np.split(embeddings @ V, [n_first], axis=1)
        drawn = np.hstack([rotate_at_random(part, rng) for part in parts])
        return (drawn @ V.T).astype(np.float32)
    drawn = rng.standard_normal(embeddings.shape)
    lengths = np.linalg.norm(embeddings, axis=1) / np.linalg.norm(drawn, axis=1)
    return (drawn * lengths[:, None]).astype(np.float32)
