"""In-batch miners, against loops in plain Python.

Embeddings are small integers in quarters and margins are dyadic, so that float32 is exact and
ties (a violation of exactly 0 or exactly the margin) occur and have one right answer.
"""

from itertools import product

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backends import evaluate, gradients, properties, to_tensor

from skdistort.losses import batch_triplet_loss
from skdistort.mining import MINERS, mine_triplets

pytestmark = [pytest.mark.backend, pytest.mark.fast]

N = 6
seeds = st.integers(0, 2**31 - 1)
margins = st.sampled_from([0.125, 0.25, 1.0, 4.0])
labellings = st.lists(st.integers(0, 3), min_size=N, max_size=N).map(np.array)


def make_embeddings(seed, n=N):
    return np.random.default_rng(seed).integers(-4, 5, (n, 2)).astype(np.float32) / 4


def distances_in(embeddings):
    return [[float(np.sum((a - b) ** 2)) for b in embeddings] for a in embeddings]


def mine(embeddings, labels, margin, miner, seed=None):
    return evaluate(
        mine_triplets, distances_in(embeddings), labels, margin=margin, miner=miner, seed=seed
    )


def partners(labels, a):
    """Positives and negatives of an anchor."""
    others = [i for i in range(len(labels)) if i != a]
    return (
        [i for i in others if labels[i] == labels[a]],
        [i for i in others if labels[i] != labels[a]],
    )


def true_triplets(labels, embeddings, margin, miner):
    """Triplets that a miner without chance chooses and that violate the margin."""
    d = distances_in(embeddings)
    chosen = []
    for a in range(len(labels)):
        positives, negatives = partners(labels, a)
        if miner == "hard" and positives and negatives:
            positives = [max(positives, key=lambda p, a=a: d[a][p])]
            negatives = [min(negatives, key=lambda n, a=a: d[a][n])]
        for p, n in product(positives, negatives):
            if miner != "semi-hard" or d[a][p] < d[a][n]:
                chosen.append((a, p, n))
    return [(a, p, n) for a, p, n in chosen if d[a][p] - d[a][n] + margin > 0]


def true_violations(labels, embeddings, margin, miner):
    d = distances_in(embeddings)
    triplets = true_triplets(labels, embeddings, margin, miner)
    return [d[a][p] - d[a][n] + margin for a, p, n in triplets]


def pulls(distances, labels, margin, miner, seed=None):
    """How many triplets pull each distance, less how many push it: the gradient of the sum."""
    (gradient,) = gradients(
        lambda d: mine_triplets(d, to_tensor(labels), margin, miner, seed)[0], distances
    )
    return gradient


@pytest.mark.parametrize("miner", ["all", "hard", "semi-hard"])
@properties
@given(seed=seeds, labels=labellings, margin=margins)
def test_sum_and_number_of_violations_equal_loops(miner, seed, labels, margin):
    embeddings = make_embeddings(seed)
    total, n_active = mine(embeddings, labels, margin, miner)
    violations = true_violations(labels, embeddings, margin, miner)
    assert n_active == len(violations)
    assert total == sum(violations)


@pytest.mark.parametrize("miner", ["all", "hard", "semi-hard"])
@properties
@given(seed=seeds, labels=labellings, margin=margins)
def test_each_active_triplet_pulls_its_positive_and_pushes_its_negative(
    miner, seed, labels, margin
):
    # Of no two equal distances, between which a miner might choose.
    embeddings = np.random.default_rng(seed).standard_normal((N, 2)).astype(np.float32)
    distances = np.array(distances_in(embeddings))
    expected = np.zeros((N, N))
    for a, p, n in true_triplets(labels, embeddings, margin, miner):
        expected[a, p] += 1
        expected[a, n] -= 1
    np.testing.assert_array_equal(pulls(distances, labels, margin, miner), expected)


@properties
@given(seed=seeds, labels=labellings)
def test_random_mines_one_negative_for_every_pair(seed, labels):
    # A margin that all triplets violate.
    pulled = pulls(distances_in(make_embeddings(seed)), labels, 100.0, "random", seed)
    for a in range(N):
        positives, negatives = partners(labels, a)
        n_mined = len(positives) if negatives else 0
        assert pulled[a][positives].tolist() == [min(1, n_mined)] * len(positives)
        assert pulled[a][negatives].sum() == -n_mined
        assert (pulled[a][negatives] <= 0).all()
        assert pulled[a, a] == 0


def test_random_draws_all_negatives_equally_often_and_for_each_pair_apart():
    labels = np.array([0] * 8 + [1, 2, 3, 3])
    distances = np.ones((12, 12))
    seed = keras.random.SeedGenerator(0)
    drawn = [-pulls(distances, labels, 1.0, "random", seed)[:8, 8:] for _ in range(30)]
    assert (np.sum(drawn, axis=2) == 7).all()
    # Binomial with mean 420 and standard deviation 18; and of an anchor with mean 52 and 6.
    assert np.abs(np.sum(drawn, axis=(0, 1)) - 420).max() < 90
    assert np.abs(np.sum(drawn, axis=0) - 52.5).max() < 31
    assert (np.count_nonzero(drawn, axis=2) > 1).mean() > 0.95


def test_random_is_reproducible_by_its_seed():
    labels, embeddings = np.array([0, 0, 1, 1, 2, 2]), np.arange(6, dtype=np.float32)[:, None]

    def draws(seed):
        return [float(mine(embeddings, labels, 9.0, "random", seed)[0]) for _ in range(4)]

    assert draws(keras.random.SeedGenerator(3)) == draws(keras.random.SeedGenerator(3))
    assert draws(keras.random.SeedGenerator(3)) != draws(keras.random.SeedGenerator(4))
    first, second, *_ = draws(5)
    assert first == second


@pytest.mark.parametrize("miner", sorted({*MINERS} - {"random"}))
def test_without_chance_the_seed_changes_nothing(miner):
    embeddings, labels = make_embeddings(0), np.array([0, 0, 1, 1, 0, 1])
    for one, other in zip(
        mine(embeddings, labels, 1.0, miner, 0),
        mine(embeddings, labels, 1.0, miner, 1),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("miner", ["all", "hard", "semi-hard"])
@properties
@given(seed=seeds, labels=labellings, margin=margins)
def test_loss_and_number_of_active_triplets_equal_loops(miner, seed, labels, margin):
    embeddings = make_embeddings(seed)
    hinges = [v for v in true_violations(labels, embeddings, margin, miner) if v > 0]
    loss, n_active = evaluate(batch_triplet_loss, labels, embeddings, margin=margin, miner=miner)
    assert n_active == len(hinges)
    np.testing.assert_allclose(loss, np.mean(hinges) if hinges else 0, rtol=1e-6)


@pytest.mark.parametrize("labels", [[1] * N, list(range(N))], ids=["no negative", "no positive"])
@pytest.mark.parametrize("miner", MINERS)
def test_nothing_is_mined_where_there_is_no_triplet(miner, labels):
    total, n_active = mine(make_embeddings(0), np.array(labels), 1.0, miner, 0)
    assert total == n_active == 0


@pytest.mark.parametrize("miner", MINERS)
@properties
@given(seed=seeds, labels=labellings)
def test_gradients_through_every_miner_are_finite(miner, seed, labels):
    (gradient,) = gradients(
        lambda x: batch_triplet_loss(to_tensor(labels), x, 0.25, miner, seed)[0],
        make_embeddings(seed),
    )
    assert np.isfinite(gradient).all()


def test_distances_may_be_of_any_size():
    embeddings = np.array([[0, 0], [1e5, 0], [0, 3e5], [0, 4e5]])
    labels = np.array([0, 0, 1, 1])
    assert mine(embeddings, labels, 0.5, "hard") == (0, 0)
    assert evaluate(batch_triplet_loss, labels, embeddings, margin=0.5, miner="hard") == (0, 0)
    # The margin is lost in distances of 1e10.
    assert mine(embeddings[[0, 3, 1, 2]], labels, 0.5, "hard")[1] == 4


@pytest.mark.parametrize("miner", MINERS)
def test_no_array_grows_with_the_cube_of_the_batch(miner, monkeypatch):
    sizes = []
    for name in ("argsort", "where", "take_along_axis", "concatenate", "relu", "cast", "sum"):
        operation = getattr(keras.ops, name)

        def noted(*args, operation=operation, **kwargs):
            result = operation(*args, **kwargs)
            sizes.append(np.prod(result.shape))
            return result

        monkeypatch.setattr(keras.ops, name, noted)
    mine(make_embeddings(0, 40), np.arange(40) // 4, 0.5, miner, 0)
    assert 0 < max(sizes) <= 3 * 40**2


def test_an_unknown_miner_is_refused():
    message = r"one of \['all', 'hard', 'random', 'semi-hard'\], got 'easy'"
    with pytest.raises(ValueError, match=message):
        mine(np.array([[0.0], [1.0]]), [0, 1], 0.2, "easy")
