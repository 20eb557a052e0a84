"""In-batch triplet miners: which triplets of a labelled batch the triplet loss looks at.

A miner is a pure function of a batch's distances and labels. It returns a 0/1 weight for each
(anchor, positive, negative), in one of two layouts: ``"all"`` weighs every triplet; the others
choose one negative for a pair, or one pair for an anchor. Miners of clients and impostors in an
unlabelled *database* are numpy and live in :mod:`skdistort.selection`.
"""

from __future__ import annotations

from typing import Literal

from ._backend import keras
from ._typing import Tensor

ops = keras.ops

# Larger than any squared distance on the unit sphere, so that it never wins a minimum.
_FAR = 1e9


def mine_triplets(
    distances: Tensor,
    labels: Tensor,
    margin: float,
    miner: Literal["all", "hard", "random", "semi-hard"] = "semi-hard",
    seed: keras.random.SeedGenerator | int | None = None,
) -> tuple[Tensor, Tensor]:
    """Choose triplets in a batch and evaluate their margin violations.

    Parameters
    ----------
    distances : tensor of shape (n, n)
        Squared Euclidean distances between the embeddings of the batch.
    labels : tensor of shape (n,)
        Integer class of each row.
    margin : float
        The triplet loss's margin ``mu``.
    miner : {"all", "hard", "random", "semi-hard"}, default="semi-hard"
        ``"all"``: every triplet (a, p, n) of the batch. ``"random"``: one random negative for
        every pair (a, p). ``"semi-hard"``: for every pair (a, p), all negatives farther than the
        positive but within the margin. ``"hard"``: for every anchor, its farthest positive with
        its nearest negative.
    seed : keras.random.SeedGenerator, int or None, default=None
        Source of the ``"random"`` miner's draws; unused by the others.

    Returns
    -------
    violations : tensor of shape (n, n, n) or (n, n) or (n,)
        ``d(a, p) - d(a, n) + margin`` of the candidate triplets.
    mined : tensor of the same shape
        1.0 where the candidate was mined, else 0.0.

    Raises
    ------
    ValueError
        If `miner` is unknown.

    References
    ----------
    Schroff, Kalenichenko and Philbin, "FaceNet", CVPR 2015 (semi-hard); Hermans, Beyer and
    Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017 (all, hard).

    Examples
    --------
    >>> from keras import ops
    >>> from skdistort.distances import pairwise_squared_euclidean
    >>> from skdistort.mining import mine_triplets
    >>> d = pairwise_squared_euclidean(ops.array([[0.0], [1.0], [3.0]]))
    >>> violations, mined = mine_triplets(d, ops.array([0, 0, 1]), margin=0.2, miner="hard")
    >>> [round(float(v), 1) for v in violations], [float(m) for m in mined]
    ([-7.8, -2.8, 0.0], [1.0, 1.0, 0.0])
    """
    if miner not in _MINERS:
        raise ValueError(f"miner must be one of {sorted(_MINERS)}, got {miner!r}.")
    same = ops.equal(labels[:, None], labels[None, :])
    itself = ops.eye(ops.shape(labels)[0], dtype="bool")
    positive = ops.logical_and(same, ops.logical_not(itself))
    return _MINERS[miner](distances, positive, ops.logical_not(same), margin, seed)


def _mine_all(distances, positive, negative, margin, seed):
    violations = distances[:, :, None] - distances[:, None, :] + margin
    mined = ops.logical_and(positive[:, :, None], negative[:, None, :])
    return violations, ops.cast(mined, distances.dtype)


def _mine_semi_hard(distances, positive, negative, margin, seed):
    violations, mined = _mine_all(distances, positive, negative, margin, seed)
    within = ops.logical_and(violations > 0.0, violations < margin)
    return violations, mined * ops.cast(within, distances.dtype)


def _mine_hard(distances, positive, negative, margin, seed):
    farthest_positive = ops.max(ops.where(positive, distances, -_FAR), axis=1)
    nearest_negative = ops.min(ops.where(negative, distances, _FAR), axis=1)
    mined = ops.logical_and(ops.any(positive, axis=1), ops.any(negative, axis=1))
    violations = ops.where(mined, farthest_positive - nearest_negative + margin, 0.0)
    return violations, ops.cast(mined, distances.dtype)


def _mine_random(distances, positive, negative, margin, seed):
    n = ops.shape(distances)[0]
    noise = keras.random.uniform((n, n, n), seed=seed)
    chosen = ops.argmax(ops.where(negative[:, None, :], noise, -1.0), axis=2)
    to_negative = ops.take_along_axis(distances, chosen, axis=1)
    mined = ops.logical_and(positive, ops.any(negative, axis=1)[:, None])
    return distances - to_negative + margin, ops.cast(mined, distances.dtype)


_MINERS = {
    "all": _mine_all,
    "hard": _mine_hard,
    "random": _mine_random,
    "semi-hard": _mine_semi_hard,
}
MINERS = tuple(_MINERS)
