"""In-batch triplet miners: which triplets of a labelled batch the triplet loss looks at.

A miner is a pure function of a batch's distances and labels. It gives the sum of the hinges of the
triplets that it chooses, and the number of those that violate the margin. No array grows with the
cube of the batch: each row of distances is sorted, and ranks tell how many triplets a distance is
in. Miners of clients and impostors in an unlabelled *database* are numpy and live in
:mod:`skdistort.selection`.
"""

from __future__ import annotations

from typing import Literal

from ._backend import keras
from ._typing import Tensor

ops = keras.ops


def mine_triplets(
    distances: Tensor,
    labels: Tensor,
    margin: float,
    miner: Literal["all", "hard", "random", "semi-hard"] = "semi-hard",
    seed: keras.random.SeedGenerator | int | None = None,
) -> tuple[Tensor, Tensor]:
    """Choose triplets in a batch and add up what they lack to the margin.

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
    total : tensor of shape ()
        Sum of ``relu(d(a, p) - d(a, n) + margin)`` over the triplets.
    n_active : tensor of shape ()
        How many of them violate the margin.

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
    >>> total, n_active = mine_triplets(d, ops.array([0, 0, 1]), margin=4.0, miner="hard")
    >>> round(float(total), 1), float(n_active)  # 1 - 9 + 4 is no violation, 1 - 4 + 4 is
    (1.0, 1.0)
    """
    if miner not in _MINERS:
        raise ValueError(f"miner must be one of {sorted(_MINERS)}, got {miner!r}.")
    same = ops.equal(labels[:, None], labels[None, :])
    itself = ops.eye(ops.shape(labels)[0], dtype="bool")
    positive = ops.logical_and(same, ops.logical_not(itself))
    return _MINERS[miner](distances, positive, ops.logical_not(same), margin, seed)


def _add_up(distances, positive, negative, margin, semi_hard):
    """Add up the hinges of all triplets, or of the semi-hard ones, by sorting rows of distances.

    In a sorted row stand the negatives' distances ``d(a, n)`` and the positives' bounds
    ``d(a, p) + margin``. A triplet is active if its negative comes before its bound, so that the
    negatives before a bound tell how often ``d(a, p)`` counts, and the bounds after a negative how
    often ``d(a, n)`` does. Of semi-hard triplets, those below ``d(a, p)`` are taken off again.
    """
    positive, negative = (ops.cast(mask, distances.dtype) for mask in (positive, negative))
    none = ops.zeros_like(positive)
    # Of equal ones the earlier comes first: a negative at the bound is not active, and one as far
    # as the positive is not semi-hard.
    n_parts = 3 if semi_hard else 2
    fixed = ops.stop_gradient(distances)
    keys = ops.concatenate([fixed + margin, fixed, fixed][:n_parts], axis=1)
    steps = ops.concatenate([positive, none, -positive][:n_parts], axis=1)
    negatives = ops.concatenate([none, negative, none][:n_parts], axis=1)
    order = ops.argsort(keys, axis=1)
    steps, negatives = (ops.take_along_axis(part, order, axis=1) for part in (steps, negatives))
    before = steps * ops.cumsum(negatives, axis=1)
    after = ops.sum(steps, axis=1, keepdims=True) - ops.cumsum(steps, axis=1)
    n_active = ops.sum(before)
    # Whole numbers are taken off from one another before anything that is rounded comes in.
    counts = ops.take_along_axis(before - negatives * after, ops.argsort(order, axis=1), axis=1)
    counts = sum(ops.split(counts, n_parts, axis=1))
    # Where next to nothing is lacking, rounding may leave less than that.
    return ops.relu(ops.sum(counts * distances) + margin * n_active), n_active


def _mine_all(distances, positive, negative, margin, seed):
    return _add_up(distances, positive, negative, margin, semi_hard=False)


def _mine_semi_hard(distances, positive, negative, margin, seed):
    return _add_up(distances, positive, negative, margin, semi_hard=True)


def _mine_hard(distances, positive, negative, margin, seed):
    farthest_positive = ops.max(ops.where(positive, distances, -float("inf")), axis=1)
    nearest_negative = ops.min(ops.where(negative, distances, float("inf")), axis=1)
    mined = ops.logical_and(ops.any(positive, axis=1), ops.any(negative, axis=1))
    return _add_hinges(farthest_positive - nearest_negative + margin, mined)


def _mine_random(distances, positive, negative, margin, seed):
    n = ops.shape(distances)[0]
    n_negatives = ops.sum(ops.cast(negative, "int32"), axis=1, keepdims=True)
    drawn = keras.random.uniform((n, n), seed=seed) * ops.cast(n_negatives, "float32")
    # The product may be rounded up to their number.
    nth = ops.maximum(ops.minimum(ops.cast(drawn, "int32"), n_negatives - 1), 0)
    negatives_first = ops.argsort(ops.cast(ops.logical_not(negative), "int32"), axis=1)
    chosen = ops.take_along_axis(negatives_first, nth, axis=1)
    to_negative = ops.take_along_axis(distances, chosen, axis=1)
    mined = ops.logical_and(positive, n_negatives > 0)
    return _add_hinges(distances - to_negative + margin, mined)


def _add_hinges(violations, mined):
    hinge = ops.relu(ops.where(mined, violations, 0.0))
    return ops.sum(hinge), ops.sum(ops.cast(hinge > 0.0, hinge.dtype))


_MINERS = {
    "all": _mine_all,
    "hard": _mine_hard,
    "random": _mine_random,
    "semi-hard": _mine_semi_hard,
}
MINERS = tuple(_MINERS)
