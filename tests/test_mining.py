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


def true_violations(labels, embeddings, margin, miner):
    """Violations of the triplets that a miner without chance chooses."""
    d = distances_in(embeddings)
    chosen = []
    for a in range(len(labels)):
        positives, negatives = partners(labels, a)
        if miner == "hard":
            if positives and negatives:
                farthest, nearest = max(d[a][p] for p in positives), min(d[a][n] for n in negatives)
                chosen.append(farthest - nearest + margin)
            continue
        for p, n in product(positives, negatives):
            if miner == "all" or d[a][p] < d[a][n] < d[a][p] + margin:
                chosen.append(d[a][p] - d[a][n] + margin)
    return chosen


@properties
@given(seed=seeds, labels=labellings, margin=margins)
def test_all_mines_every_triplet(seed, labels, margin):
    embeddings = make_embeddings(seed)
    violations, mined = mine(embeddings, labels, margin, "all")
    d = distances_in(embeddings)
    for a, p, n in product(range(N), repeat=3):
        positives, negatives = partners(labels, a)
        assert mined[a, p, n] == (p in positives and n in negatives)
        assert violations[a, p, n] == d[a][p] - d[a][n] + margin


@properties
@given(seed=seeds, labels=labellings, margin=margins)
def test_semi_hard_mines_negatives_between_the_positive_and_the_margin(seed, labels, margin):
    embeddings = make_embeddings(seed)
    violations, mined = mine(embeddings, labels, margin, "semi-hard")
    d = distances_in(embeddings)
    for a, p, n in product(range(N), repeat=3):
        positives, negatives = partners(labels, a)
        within = d[a][p] < d[a][n] < d[a][p] + margin
        assert mined[a, p, n] == (p in positives and n in negatives and within)
        assert violations[a, p, n] == d[a][p] - d[a][n] + margin


@properties
@given(seed=seeds, labels=labellings, margin=margins)
def test_hard_mines_the_farthest_positive_and_the_nearest_negative(seed, labels, margin):
    embeddings = make_embeddings(seed)
    violations, mined = mine(embeddings, labels, margin, "hard")
    d = distances_in(embeddings)
    assert np.isfinite(violations).all()
    for a in range(N):
        positives, negatives = partners(labels, a)
        assert mined[a] == bool(positives and negatives)
        if mined[a]:
            farthest, nearest = max(d[a][p] for p in positives), min(d[a][n] for n in negatives)
            assert violations[a] == farthest - nearest + margin


@properties
@given(seed=seeds, labels=labellings, margin=margins)
def test_random_mines_one_negative_for_every_pair(seed, labels, margin):
    embeddings = make_embeddings(seed)
    violations, mined = mine(embeddings, labels, margin, "random", seed)
    d = distances_in(embeddings)
    assert violations.shape == mined.shape == (N, N)
    for a, p in product(range(N), repeat=2):
        positives, negatives = partners(labels, a)
        assert mined[a, p] == (p in positives and bool(negatives))
        if mined[a, p]:
            assert violations[a, p] in [d[a][p] - d[a][n] + margin for n in negatives]


def test_random_draws_all_negatives_equally_often():
    labels = np.array([0, 0, 0, 1, 2, 2, 1])
    embeddings = np.array([[0], [0], [0], [1], [2], [3], [4]], dtype=np.float32)
    seed = keras.random.SeedGenerator(0)
    n_draws = 200
    counts = {}
    for _ in range(n_draws):
        violations, mined = mine(embeddings, labels, 0.0, "random", seed)
        # The anchors and positives of class 0 are at 0: the violation tells the negative.
        for pair in product(range(3), repeat=2):
            if mined[pair]:
                key = (*pair, float(-violations[pair]))
                counts[key] = counts.get(key, 0) + 1
    pairs = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    assert set(counts) == {(*pair, d) for pair in pairs for d in (1, 4, 9, 16)}
    # Binomial with mean 50 and standard deviation 6.
    assert min(counts.values()) > 20
    assert max(counts.values()) < 80


def test_random_draws_a_negative_for_each_pair_apart():
    labels = np.array([0] * 8 + [1, 2, 3, 4])
    embeddings = np.array([[0]] * 8 + [[1], [2], [3], [4]], dtype=np.float32)
    violations, mined = mine(embeddings, labels, 0.0, "random", 0)
    for a in range(8):
        assert len({float(v) for v in violations[a][mined[a] > 0]}) > 1
        assert len({float(v) for v in violations[:8, a][mined[:8, a] > 0]}) > 1


def test_random_is_reproducible_by_its_seed():
    labels, embeddings = np.array([0, 0, 1, 1, 2, 2]), np.arange(6, dtype=np.float32)[:, None]

    def draws(seed):
        return [mine(embeddings, labels, 0.0, "random", seed)[0].tolist() for _ in range(3)]

    assert draws(keras.random.SeedGenerator(3)) == draws(keras.random.SeedGenerator(3))
    assert draws(keras.random.SeedGenerator(3)) != draws(keras.random.SeedGenerator(4))
    # A generator moves on, a number does not.
    first, second, _ = draws(keras.random.SeedGenerator(3))
    assert first != second
    first, second, _ = draws(5)
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


@properties
@given(seed=seeds, labels=labellings, margin=margins)
def test_loss_and_number_of_active_random_triplets(seed, labels, margin):
    embeddings = make_embeddings(seed)
    violations, mined = mine(embeddings, labels, margin, "random", seed)
    hinges = violations[(mined > 0) & (violations > 0)]
    loss, n_active = evaluate(
        batch_triplet_loss, labels, embeddings, margin=margin, miner="random", seed=seed
    )
    assert n_active == len(hinges)
    np.testing.assert_allclose(loss, hinges.mean() if len(hinges) else 0, rtol=1e-6)


@pytest.mark.parametrize("labels", [[1] * N, list(range(N))], ids=["no negative", "no positive"])
@pytest.mark.parametrize("miner", MINERS)
def test_nothing_is_mined_where_there_is_no_triplet(miner, labels):
    violations, mined = mine(make_embeddings(0), np.array(labels), 1.0, miner, 0)
    assert np.isfinite(violations).all()
    assert (mined == 0).all()


@pytest.mark.parametrize("miner", MINERS)
@properties
@given(seed=seeds, labels=labellings)
def test_gradients_through_every_miner_are_finite(miner, seed, labels):
    (gradient,) = gradients(
        lambda x: batch_triplet_loss(to_tensor(labels), x, 0.25, miner, seed)[0],
        make_embeddings(seed),
    )
    assert np.isfinite(gradient).all()


def test_only_chosen_distances_get_a_gradient():
    embeddings, labels = np.array([[0], [1], [3], [5]]), np.array([0, 0, 1, 1])
    distances = np.array(distances_in(embeddings))

    def hard(d):
        violations, mined = mine_triplets(d, to_tensor(labels), 5.0, "hard")
        return violations * mined

    (gradient,) = gradients(hard, distances)
    # Rows are anchors: +1 at the farthest positive, -1 at the nearest negative.
    expected = [[0, 1, -1, 0], [1, 0, -1, 0], [0, -1, 0, 1], [0, -1, 1, 0]]
    np.testing.assert_array_equal(gradient, expected)


def test_an_unknown_miner_is_refused():
    message = r"one of \['all', 'hard', 'random', 'semi-hard'\], got 'easy'"
    with pytest.raises(ValueError, match=message):
        mine(np.array([[0.0], [1.0]]), [0, 1], 0.2, "easy")
