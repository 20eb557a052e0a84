"""Membership: whether an image, or a person, was among those that F and G learned from.

What lives here turns scores of members and of others into what an attacker can tell.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from .._labels import as_labels
from .._typing import Seed

# Share of others that may be called members by mistake.
_FALSE = 0.01


class Membership(NamedTuple):
    """What scores tell of membership.

    Attributes
    ----------
    auc : float
        How often a member has a higher score than another image: 0.5 by guessing.
    interval : tuple of 2 float
        Its 95 % interval, over people on both sides.
    found : float
        Share of members that are found where 1 % of the others are called so by mistake; NaN from
        fewer than 100 others.
    """

    auc: float
    interval: tuple[float, float]
    found: float


def membership(
    member_scores: ArrayLike,
    other_scores: ArrayLike,
    members: ArrayLike | None = None,
    others: ArrayLike | None = None,
    *,
    n_resamples: int = 200,
    random_state: Seed = 0,
) -> Membership:
    """Measure how well scores tell the images that were learned from, from others.

    Parameters
    ----------
    member_scores : array-like of shape (n_members,)
        Scores of images that were learned from, such as minus the loss: Yeom et al. (2018).
    other_scores : array-like of shape (n_others,)
        Scores of images of the same kind that were not.
    members, others : array-like of shape (n_members,) and (n_others,), or None, default=None
        Their people; None takes each image for one.
    n_resamples : int, default=200
        Resamples of the interval.
    random_state : int, RandomState instance or None, default=0
        Draws them.

    Returns
    -------
    Membership
        ``auc``, ``interval`` and ``found``.

    Raises
    ------
    ValueError
        If there are no scores on a side, or not a person for each.

    References
    ----------
    Shokri, Stronati, Song, Shmatikov, "Membership inference attacks against machine learning
    models", IEEE Symposium on Security and Privacy 2017.

    Yeom, Giacomelli, Fredrikson, Jha, "Privacy risk in machine learning: analyzing the connection
    to overfitting", IEEE Computer Security Foundations Symposium 2018.

    Carlini, Chien, Nasr, Song, Terzis, Tramèr, "Membership inference attacks from first
    principles", IEEE Symposium on Security and Privacy 2022, for the rate at few false ones.

    Examples
    --------
    >>> from skdistort.attacks import membership
    >>> membership([3.0, 2.0, 1.0], [0.5, 0.4, 2.5]).auc.__round__(2)
    0.78
    """
    sides = [np.asarray(s, dtype=np.float64) for s in (member_scores, other_scores)]
    people = []
    for scores, of_side, name in zip(sides, (members, others), ("members", "others"), strict=True):
        who = np.arange(len(scores)) if of_side is None else as_labels(of_side, name)
        if scores.ndim != 1 or scores.size == 0 or who.shape != scores.shape:
            raise ValueError(
                f"{name} must be as many as their scores, one or more, got {who.shape} people and "
                f"scores of shape {scores.shape}."
            )
        people.append(np.unique(who, return_inverse=True)[1])
    # Ranks among all scores, equal ones sharing theirs, are made once.
    values, codes = np.unique(np.concatenate(sides), return_inverse=True)
    codes = np.split(codes, [len(sides[0])])
    rng = check_random_state(random_state)
    replicates = []
    for _ in range(n_resamples):
        weights = []
        for who in people:
            n = int(who.max()) + 1
            weights.append(np.bincount(rng.randint(n, size=n), minlength=n)[who])
        replicates.append(_auc(codes, weights, len(values)))
    low, high = np.nanquantile(replicates, [0.025, 0.975])
    auc = _auc(codes, [np.ones(len(c)) for c in codes], len(values))
    found = np.nan
    if len(sides[1]) * _FALSE >= 1:
        limit = np.sort(sides[1])[-1 - int(len(sides[1]) * _FALSE)]
        found = float(np.mean(sides[0] > limit))
    return Membership(float(auc), (float(low), float(high)), found)


def _auc(codes: list[NDArray], weights: list[NDArray], n_values: int) -> float:
    """Share of weighted pairs in which the first side has the higher value; half of equal ones."""
    members, others = (
        np.bincount(c, weights=w, minlength=n_values) for c, w in zip(codes, weights, strict=True)
    )
    below = np.cumsum(others) - others / 2
    return members @ below / (members.sum() * others.sum())


def spread_of_people(embeddings: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Find how far each embedding lies from the mean of the others of its person.

    An embedder pulls together the photos of whom it learned from: less is a sign of a member.

    Parameters
    ----------
    embeddings : array-like of shape (n_images, m)
        F(X).
    labels : array-like of shape (n_images,)
        People.

    Returns
    -------
    ndarray of shape (n_images,), float64
        Squared distances; NaN for the only image of a person.

    Examples
    --------
    >>> from skdistort.attacks._membership import spread_of_people
    >>> spread_of_people([[0.0], [2.0], [5.0]], ["ann", "ann", "bob"])
    array([ 4.,  4., nan])
    """
    Z = np.asarray(embeddings, dtype=np.float64)
    codes = np.unique(np.asarray(labels), return_inverse=True)[1]
    counts = np.bincount(codes)[codes].astype(np.float64)
    sums = np.zeros((codes.max() + 1, Z.shape[1]))
    np.add.at(sums, codes, Z)
    counts[counts < 2] = np.nan
    return np.sum((Z - (sums[codes] - Z) / (counts - 1)[:, None]) ** 2, axis=1)
