"""What an impostor may present, and what he learns from keys and scores: no photo of the victim.

Each attack is a function of embeddings; how images are made of them is the system's affair.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import euclidean_distances

from .._typing import Key
from ..keys import key_rotation


def key_search_scores(
    embedding: ArrayLike,
    template_embeddings: ArrayLike,
    keys: Sequence[Key],
    directions: tuple[NDArray[np.float64], int] | None = None,
) -> NDArray[np.float64]:
    """Score one's own face, under one key after the other, against stolen templates.

    Whoever has the file of templates and can claim any key looks for one that sends his own
    embedding near F(T). He needs neither the victim's key nor her photo; how many keys he has to
    try depends on the threshold and on m, not on how many bits the victim's key has. It works where
    a system compares a template under a key that it was not made under.

    Parameters
    ----------
    embedding : array-like of shape (m,)
        F(X) of the attacker's own photo.
    template_embeddings : array-like of shape (n_templates, m)
        F(T), under keys that he does not know.
    keys : sequence of int or bytes
        The keys to try.
    directions : tuple of (ndarray of shape (m, m), int), default=None
        See :func:`skdistort.keys.key_rotation`.

    Returns
    -------
    ndarray of shape (n_templates, n_keys), float64
        Scores ``-||F(T) - R_key F(X)||^2``.

    See Also
    --------
    tries_to_accept : How many keys it takes.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.attacks import key_search_scores
    >>> stolen = np.eye(3)[:2]
    >>> scores = key_search_scores([0.0, 0.6, 0.8], stolen, keys=range(200))
    >>> scores.shape, bool((scores.max(axis=1) > -0.1).all())
    ((2, 200), True)
    """
    own = np.asarray(embedding, dtype=np.float64)
    rotated = np.stack([key_rotation(key, own.size, directions) @ own for key in keys])
    return -euclidean_distances(template_embeddings, rotated, squared=True)


def tries_to_accept(scores: ArrayLike, threshold: float) -> NDArray[np.float64]:
    """Count the tries until one is accepted.

    Parameters
    ----------
    scores : array-like of shape (n_victims, n_tries)
        Scores of the tries in their order.
    threshold : float
        The lowest score to accept.

    Returns
    -------
    ndarray of shape (n_victims,), float64
        Tries, from 1; infinite where none is accepted.

    Examples
    --------
    >>> from skdistort.attacks import tries_to_accept
    >>> tries_to_accept([[0.1, 0.9, 0.8], [0.1, 0.2, 0.3]], threshold=0.5)
    array([ 2., inf])
    """
    accepted = np.asarray(scores) >= threshold
    return np.where(accepted.any(axis=1), accepted.argmax(axis=1) + 1.0, np.inf)


def embedding_from_scores(embeddings: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
    """Solve for the embedding that probes were compared with, from the scores that they got.

    A score ``-||F(X_i) - z||^2`` is linear in z and in ``||z||^2``: as many probes as the
    embedding has components, and one more, determine both. With a key, z is ``R_key^T F(T)``: what
    the key hides, an oracle of scores gives away. Booleans give one bit of it.

    Parameters
    ----------
    embeddings : array-like of shape (n_probes, m)
        F(X_i), of images of the attacker's.
    scores : array-like of shape (n_victims, n_probes)
        The score of each of them against each victim's template, as the system tells them.

    Returns
    -------
    ndarray of shape (n_victims, m), float64
        The estimates of z; the shortest ones within the span of the probes where these do not
        determine them.

    Raises
    ------
    ValueError
        If there are fewer than two probes, or not a score for each.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.attacks import embedding_from_scores
    >>> rng = np.random.default_rng(0)
    >>> z, probes = rng.normal(size=4), rng.normal(size=(5, 4))
    >>> scores = -np.sum((probes - z) ** 2, axis=1)
    >>> np.allclose(embedding_from_scores(probes, [scores]), z)
    True
    """
    probes, scores = np.asarray(embeddings, np.float64), np.asarray(scores, np.float64)
    if probes.ndim != 2 or scores.ndim != 2 or scores.shape[1] != len(probes) or len(probes) < 2:
        raise ValueError(
            "embeddings must have shape (n_probes, m), two probes or more, and scores shape "
            f"(n_victims, n_probes); got {probes.shape} and {scores.shape}."
        )
    # The differences to the mean of all probes do not hold ||z||^2 any more.
    lengths = np.sum(probes**2, axis=1)
    rows = 2 * (probes - probes.mean(axis=0))
    told = (scores + lengths).T
    return np.linalg.lstsq(rows, told - told.mean(axis=0), rcond=1e-6)[0].T


def choose_wolf(embeddings: ArrayLike, template_embeddings: ArrayLike, threshold: float) -> int:
    """Find the image that the most templates of an attacker's own accept: a wolf.

    Parameters
    ----------
    embeddings : array-like of shape (n_images, m)
        F(X) of the attacker's images, as probes.
    template_embeddings : array-like of shape (n_images, m)
        F(T) of his own templates of them, in the same order. An image is not compared with its
        own one.
    threshold : float
        The lowest score to accept.

    Returns
    -------
    int
        The number of the image.

    References
    ----------
    Doddington, Liggett, Martin, Przybocki, Reynolds, "Sheep, goats, lambs and wolves: a
    statistical analysis of speaker performance", ICSLP 1998.

    Une, Otsuka, Imai, "Wolf attack probability: a new security measure in biometric
    authentication systems", ICB 2007.

    Examples
    --------
    >>> from skdistort.attacks import choose_wolf
    >>> Z = [[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [9.0, 0.0]]
    >>> choose_wolf(Z, Z, threshold=-1.5)
    0
    """
    scores = -euclidean_distances(embeddings, template_embeddings, squared=True)
    np.fill_diagonal(scores, -np.inf)
    return int(np.argmax((scores >= threshold).sum(axis=1)))


def best_of_several(
    probes: ArrayLike, template_embeddings: ArrayLike, enrolled: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """Score probes against subjects who have several templates each: the best score counts.

    Parameters
    ----------
    probes : array-like of shape (n_images, m)
        Images as probes.
    template_embeddings : array-like of shape (n_images, m)
        F(T) of the same images.
    enrolled : array-like of shape (n_subjects, k)
        The images whose templates each subject has.

    Returns
    -------
    scores : ndarray of shape (n_comparisons,), float64
        Of each subject with each image that is not among the subject's templates.
    left, right : ndarray of shape (n_comparisons,), int
        An image of the subject, the first that is enrolled, and the probe.

    Examples
    --------
    >>> from skdistort.attacks._probes import best_of_several
    >>> Z = [[0.0], [3.0], [1.0]]
    >>> best_of_several(Z, Z, [[0, 1]])[0]
    array([-1.])
    """
    probes, templates = np.asarray(probes, np.float64), np.asarray(template_embeddings, np.float64)
    enrolled = np.asarray(enrolled)
    scores, left, right = [], [], []
    for rows in enrolled:
        others = np.setdiff1d(np.arange(len(probes)), rows)
        distances = euclidean_distances(probes[others], templates[rows], squared=True)
        scores.append(-distances.min(axis=1))
        left.append(np.full(others.size, rows[0]))
        right.append(others)
    return np.concatenate(scores), np.concatenate(left), np.concatenate(right)
