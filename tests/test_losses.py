"""Training losses: their formulas in numpy, their properties, and their gradients."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backends import evaluate, gradients, properties, to_tensor

from skdistort.losses import (
    batch_triplet_loss,
    distortion_loss,
    pair_cross_entropy,
    stacked_triplet_loss,
    triplet_loss,
)
from skdistort.mining import MINERS

pytestmark = [pytest.mark.backend, pytest.mark.fast]

N = 6
seeds = st.integers(0, 2**32 - 1)
margins = st.integers(0, 64).map(lambda i: i / 32)
weights = st.integers(0, 16).map(lambda i: i / 16)
miners = st.sampled_from(MINERS)
labellings = st.lists(st.integers(0, 2), min_size=N, max_size=N).map(np.array)


def make_embeddings(n, seed, d=3):
    vectors = np.random.default_rng(seed).standard_normal((n, d))
    return np.float32(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def make_distances(seed, n=5):
    return np.float32(4 * np.random.default_rng(seed).random((2, n)))


def true_hinge(anchor, positive, negative, margin):
    anchor, positive, negative = map(np.float64, (anchor, positive, negative))
    to_positive, to_negative = np.sum((anchor - positive) ** 2), np.sum((anchor - negative) ** 2)
    return max(0.0, to_positive - to_negative + margin)


def true_batch_loss(labels, embeddings, margin, miner):
    """Mean and number of the positive hinges, by loops over anchors, positives and negatives."""
    hinges = []
    for a in range(len(labels)):
        positives = [p for p in range(len(labels)) if p != a and labels[p] == labels[a]]
        negatives = [n for n in range(len(labels)) if labels[n] != labels[a]]
        triplets = [
            true_hinge(*embeddings[[a, p, n]], margin) for p, n in product(positives, negatives)
        ]
        if miner == "hard":
            # The farthest positive with the nearest negative violates the most.
            triplets = [max(triplets)] if triplets else []
        if miner == "semi-hard":
            triplets = [hinge for hinge in triplets if hinge < margin]
        hinges += [hinge for hinge in triplets if hinge > 0]
    return (np.mean(hinges) if hinges else 0.0), len(hinges)


def measure(labels, embeddings, margin=0.2, miner="semi-hard", seed=0):
    loss, n_active = evaluate(
        batch_triplet_loss, labels, embeddings, margin=margin, miner=miner, seed=seed
    )
    assert loss.shape == n_active.shape == ()
    return float(loss), float(n_active)


@properties
@given(seed=seeds, margin=margins)
def test_triplet_loss_equals_its_formula(seed, margin):
    triplets = make_embeddings(15, seed).reshape(3, 5, 3)
    expected = [true_hinge(*triplet, margin) for triplet in zip(*triplets, strict=True)]
    values = evaluate(triplet_loss, *triplets, margin=margin)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    assert (values >= 0).all()


@properties
@given(seed=seeds, margin=margins, wider=margins)
def test_triplet_loss_grows_with_the_margin(seed, margin, wider):
    triplets = make_embeddings(15, seed).reshape(3, 5, 3)
    margin, wider = sorted((margin, wider))
    values = [evaluate(triplet_loss, *triplets, margin=m) for m in (margin, wider)]
    assert (values[0] <= values[1]).all()
    # By no more than the margin does.
    assert (values[1] - values[0] <= wider - margin + 1e-6).all()


@properties
@given(seed=seeds, margin=margins, order=st.permutations(range(5)))
def test_triplets_of_a_batch_do_not_mix(seed, margin, order):
    triplets = make_embeddings(15, seed).reshape(3, 5, 3)
    values = evaluate(triplet_loss, *triplets, margin=margin)
    permuted = evaluate(triplet_loss, *triplets[:, order], margin=margin)
    np.testing.assert_allclose(permuted, values[order], rtol=1e-6, atol=1e-7)


@properties
@given(seed=seeds, margin=margins)
def test_triplet_loss_of_identical_embeddings(seed, margin):
    anchor, other = make_embeddings(10, seed).reshape(2, 5, 3)
    assert (evaluate(triplet_loss, anchor, anchor, anchor, margin=margin) == margin).all()
    assert (evaluate(triplet_loss, anchor, anchor, other, margin=0.0) == 0).all()
    # The roles of the positive and the negative cannot be exchanged.
    assert (evaluate(triplet_loss, anchor, other, anchor, margin=0.0) > 0).all()


def test_default_margins_are_the_paper_s():
    x = np.ones((3, 2), dtype=np.float32)
    np.testing.assert_allclose(evaluate(triplet_loss, x, x, x), 0.2)
    np.testing.assert_allclose(evaluate(stacked_triplet_loss, x)[0], 0.2)
    loss, _ = evaluate(batch_triplet_loss, np.array([0, 0, 1]), x, miner="all")
    np.testing.assert_allclose(loss, 0.2)


@properties
@given(seed=seeds, margin=margins)
def test_stacked_triplet_loss_is_the_mean_of_triplet_loss(seed, margin):
    stack = make_embeddings(15, seed)
    loss, n_active = evaluate(stacked_triplet_loss, stack, margin=margin)
    hinges = evaluate(triplet_loss, *stack.reshape(3, 5, 3), margin=margin)
    assert loss.shape == n_active.shape == ()
    np.testing.assert_allclose(loss, hinges.mean(), rtol=1e-6)
    assert n_active == np.sum(hinges > 0)


def test_triplet_loss_gradient():
    triplets = make_embeddings(15, 0).reshape(3, 5, 3)
    anchor, positive, negative = triplets
    margin = 0.2
    active = evaluate(triplet_loss, *triplets, margin=margin)[:, None] > 0
    assert 0 < active.sum() < 5
    expected = [2 * (negative - positive), 2 * (positive - anchor), 2 * (anchor - negative)]
    computed = gradients(lambda *t: triplet_loss(*t, margin=margin), *triplets)
    for gradient, formula in zip(computed, expected, strict=True):
        np.testing.assert_allclose(gradient, active * formula, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_gradients_on_identical_embeddings_are_finite(value):
    x = np.full((6, 3), value)
    for gradient in gradients(triplet_loss, x, x, x):
        assert np.isfinite(gradient).all()
    (gradient,) = gradients(lambda x: stacked_triplet_loss(x)[0], x)
    assert np.isfinite(gradient).all()
    for miner, labels in product(MINERS, ([0, 0, 1, 1, 2, 2], [0] * 6, [0, 1, 2, 3, 4, 5])):
        (gradient,) = gradients(
            lambda x, y=labels, m=miner: batch_triplet_loss(to_tensor(y), x, miner=m, seed=0)[0], x
        )
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("miner", ["all", "hard", "semi-hard"])
@properties
@given(seed=seeds, labels=labellings, margin=margins)
def test_batch_triplet_loss_equals_loops(miner, seed, labels, margin):
    embeddings = make_embeddings(N, seed)
    loss, n_active = measure(labels, embeddings, margin, miner)
    # A hinge within rounding of 0 or of the margin may fall on either side.
    bounds = [true_batch_loss(labels, embeddings, m, miner) for m in (margin - 1e-6, margin + 1e-6)]
    assert bounds[0][1] <= n_active <= bounds[1][1]
    np.testing.assert_allclose(loss * n_active, bounds[1][0] * bounds[1][1], rtol=1e-4, atol=1e-4)
    if n_active:
        np.testing.assert_allclose(loss, bounds[1][0], rtol=1e-3, atol=1e-3)
    else:
        assert loss == 0


@properties
@given(seed=seeds, labels=labellings, miner=miners, margin=margins, wider=margins)
def test_violations_grow_with_the_margin(seed, labels, miner, margin, wider):
    # Their sum and number; the mean over the active ones need not, as new ones start small.
    embeddings = make_embeddings(N, seed)
    (loss, n_active), (wider_loss, wider_n_active) = (
        measure(labels, embeddings, m, miner) for m in sorted((margin, wider))
    )
    assert 0 <= n_active <= wider_n_active
    assert 0 <= loss * n_active <= wider_loss * wider_n_active * (1 + 1e-5) + 1e-6


@properties
@given(
    seed=seeds,
    labels=labellings,
    miner=st.sampled_from(["all", "hard", "semi-hard"]),
    order=st.permutations(range(N)),
)
def test_batch_triplet_loss_is_invariant_to_order_and_class_names(seed, labels, miner, order):
    embeddings = make_embeddings(N, seed)
    expected = measure(labels, embeddings, miner=miner)
    permuted = measure(labels[order], embeddings[order], miner=miner)
    np.testing.assert_allclose(permuted, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(measure(7 - 3 * labels, embeddings, miner=miner), expected)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_random_miner_has_no_choice_with_one_negative(order):
    labels, embeddings = np.array([0, 0, 1])[order], make_embeddings(3, 0)[order]
    expected = true_batch_loss(labels, embeddings, 2.0, "all")
    np.testing.assert_allclose(measure(labels, embeddings, 2.0, "random"), expected, rtol=1e-5)


@pytest.mark.parametrize("miner", MINERS)
def test_no_loss_without_positives_or_without_negatives(miner):
    embeddings = make_embeddings(N, 0)
    for labels in ([3] * N, list(range(N))):
        assert measure(labels, embeddings, 1.0, miner) == (0, 0)
        (gradient,) = gradients(
            lambda x, y=labels: batch_triplet_loss(to_tensor(y), x, 1.0, miner, seed=0)[0],
            embeddings,
        )
        assert (gradient == 0).all()
    assert measure(np.array([0]), embeddings[:1], 1.0, miner) == (0, 0)


@pytest.mark.parametrize("miner", MINERS)
def test_no_loss_on_collapsed_and_separated_classes(miner):
    labels = np.array([0, 0, 1, 1, 2, 2])
    embeddings = np.eye(3, dtype=np.float32)[labels]
    assert measure(labels, embeddings, 0.2, miner) == (0, 0)


@pytest.mark.parametrize(
    ("miner", "n"), [("all", 24), ("hard", 6), ("random", 6), ("semi-hard", 0)]
)
def test_identical_embeddings_cost_the_margin_each(miner, n):
    # Semi-hard negatives are farther than the positive, so that there is none.
    labels, embeddings = np.array([0, 0, 1, 1, 2, 2]), np.ones((6, 2), dtype=np.float32)
    assert measure(labels, embeddings, 0.25, miner) == (0.25 if n else 0, n)


@pytest.mark.parametrize("miner", ["all", "hard", "semi-hard"])
def test_batch_triplet_loss_gradient_equals_differences_of_loops(miner):
    labels, embeddings, margin = np.array([0, 0, 1, 1, 0]), make_embeddings(5, 3), 0.5
    (computed,) = gradients(
        lambda x: batch_triplet_loss(to_tensor(labels), x, margin, miner)[0], embeddings
    )
    assert np.abs(computed).max() > 0.1
    step = 1e-6
    for index in np.ndindex(embeddings.shape):
        around = []
        for sign in (1, -1):
            moved = np.float64(embeddings)
            moved[index] += sign * step
            around.append(true_batch_loss(labels, moved, margin, miner)[0])
        np.testing.assert_allclose(
            computed[index], (around[0] - around[1]) / (2 * step), rtol=1e-3, atol=1e-4
        )


@properties
@given(seed=seeds, alpha=margins, pi_emb=weights)
def test_distortion_loss_equals_its_formula(seed, alpha, pi_emb):
    image, embedding = make_distances(seed)
    values = evaluate(distortion_loss, image, embedding, alpha=alpha, pi_emb=pi_emb)
    expected = pi_emb * np.maximum(embedding - alpha, 0) - (1 - pi_emb) * image
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


@properties
@given(seed=seeds, alpha=margins, pi_emb=weights, more=margins)
def test_distortion_loss_is_monotone(seed, alpha, pi_emb, more):
    image, embedding = make_distances(seed)

    def loss(image=image, embedding=embedding, alpha=alpha):
        return evaluate(distortion_loss, image, embedding, alpha=alpha, pi_emb=pi_emb)

    more = np.float32(more)
    assert (loss(alpha=alpha + more) <= loss()).all()
    assert (loss(image=image + more) <= loss()).all()
    assert (loss(embedding=embedding + more) >= loss()).all()


@properties
@given(seed=seeds, alpha=margins)
def test_distortion_loss_at_the_ends_of_pi(seed, alpha):
    image, embedding = make_distances(seed)
    at_zero = evaluate(distortion_loss, image, embedding, alpha=alpha, pi_emb=0.0)
    np.testing.assert_array_equal(at_zero, -image)
    at_one = evaluate(distortion_loss, image, embedding, alpha=alpha, pi_emb=1.0)
    np.testing.assert_allclose(at_one, np.maximum(embedding - np.float32(alpha), 0), rtol=1e-6)
    assert (at_one >= 0).all()
    undistorted = evaluate(distortion_loss, 0 * image, 0 * embedding, alpha=alpha, pi_emb=0.5)
    assert (undistorted == 0).all()


@properties
@given(seed=seeds, alpha=margins, pi_emb=weights, order=st.permutations(range(5)))
def test_distortion_losses_of_a_batch_do_not_mix(seed, alpha, pi_emb, order):
    distances = make_distances(seed)
    values = evaluate(distortion_loss, *distances, alpha=alpha, pi_emb=pi_emb)
    permuted = evaluate(distortion_loss, *distances[:, order], alpha=alpha, pi_emb=pi_emb)
    np.testing.assert_allclose(permuted, values[order], rtol=1e-6, atol=1e-7)


def test_distortion_loss_gradient():
    image, embedding = np.array([0.0, 0.3, 1.0]), np.array([0.0, 0.1, 1.5])
    by_image, by_embedding = gradients(
        lambda i, e: distortion_loss(i, e, alpha=0.5, pi_emb=0.75), image, embedding
    )
    np.testing.assert_array_equal(by_image, [-0.25] * 3)
    np.testing.assert_array_equal(by_embedding, [0, 0, 0.75])


@properties
@given(seeds)
def test_pair_cross_entropy_is_its_formula(seed):
    clients, impostors = np.float32(np.random.default_rng(seed).normal(0, 3, (2, 5, 1)))
    loss, accuracy = evaluate(pair_cross_entropy, clients, impostors)
    expected = np.mean(np.log1p(np.exp(-clients))) + np.mean(np.log1p(np.exp(impostors)))
    np.testing.assert_allclose(loss, expected / 2, rtol=1e-5)
    np.testing.assert_allclose(accuracy, np.mean([clients > 0, impostors < 0]), rtol=1e-6)


def test_pair_cross_entropy_is_finite_where_sigmoid_saturates():
    for gradient in gradients(
        lambda c, i: pair_cross_entropy(c, i)[0], np.full((2, 1), -200.0), np.full((2, 1), 200.0)
    ):
        assert np.isfinite(gradient).all()
        assert gradient.any()
