"""SoftmaxEmbedder, and the classification losses it is trained with."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax
from sklearn.datasets import load_digits
from support.backends import evaluate, gradients, properties

from skdistort.audio import SpeechAugmentation
from skdistort.losses import aam_softmax_loss, am_softmax_loss, cross_entropy
from skdistort.verification import SoftmaxEmbedder
from skdistort.verification._softmax import CosineLogits

SMALL = {
    "filters": (4, 8),
    "n_components": 8,
    "hidden_units": 16,
    "learning_rate": 1e-2,
    "random_state": 0,
}
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:600], y[:600]


def make_cosines(seed, n=5, n_classes=4):
    rng = np.random.default_rng(seed)
    return rng.integers(0, n_classes, n), np.float32(rng.uniform(-1, 1, (n, n_classes)))


@pytest.mark.fast
@pytest.mark.backend
@properties
@given(seeds, st.floats(1, 40), st.floats(0, 1))
def test_am_softmax_is_its_formula(seed, scale, margin):
    labels, cosines = make_cosines(seed)
    logits = np.float64(cosines)
    logits[np.arange(5), labels] -= margin
    expected = -log_softmax(scale * logits, axis=1)[np.arange(5), labels]
    values = evaluate(am_softmax_loss, labels, cosines, scale=scale, margin=margin)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.fast
@pytest.mark.backend
def test_am_softmax_without_margin_is_cross_entropy():
    labels, cosines = make_cosines(0)
    plain = evaluate(cross_entropy, labels, 3 * cosines)
    np.testing.assert_allclose(
        evaluate(am_softmax_loss, labels, cosines, scale=3.0, margin=0.0), plain, rtol=1e-5
    )
    assert (evaluate(am_softmax_loss, labels, cosines, scale=3.0, margin=0.3) > plain).all()


@pytest.mark.fast
@pytest.mark.backend
def test_am_softmax_gradients_are_finite_at_certainty():
    labels = np.array([0])
    cosines = np.float32([[1.0, -1.0]])
    (gradient,) = gradients(lambda c: am_softmax_loss(labels, c), cosines)
    assert np.isfinite(gradient).all()


@pytest.mark.fast
@pytest.mark.backend
@properties
@given(seeds, st.floats(1, 40), st.floats(0, 1))
def test_aam_softmax_is_its_formula(seed, scale, margin):
    labels, cosines = make_cosines(seed)
    logits = np.float64(cosines)
    own = np.arange(5), labels
    angles = np.arccos(logits[own])
    beyond = logits[own] - margin * np.sin(margin)
    logits[own] = np.where(angles + margin < np.pi, np.cos(angles + margin), beyond)
    expected = -log_softmax(scale * logits, axis=1)[own]
    values = evaluate(aam_softmax_loss, labels, cosines, scale=scale, margin=margin)
    np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.fast
@pytest.mark.backend
@pytest.mark.parametrize("cosine", [1.0, -1.0])
def test_aam_softmax_gradients_are_finite_at_certainty(cosine):
    labels = np.array([0])
    (gradient,) = gradients(lambda c: aam_softmax_loss(labels, c), np.float32([[cosine, -cosine]]))
    assert np.isfinite(gradient).all()


@pytest.mark.backend
@pytest.mark.parametrize("loss", ["softmax", "am_softmax", "aam_softmax"])
def test_learns(loss, digits):
    X, y = digits
    embedder = SoftmaxEmbedder(loss=loss, epochs=6, **SMALL)
    scores = [
        embedder.set_params(learning_rate=rate).fit(X[:300], y[:300]).score(X[300:], y[300:])
        for rate in (1e-9, 1e-2)
    ]
    assert scores[1] > scores[0] + 0.08
    assert embedder.history_["accuracy"][-1] > 0.5


@pytest.mark.parametrize("loss", ["softmax", "am_softmax"])
def test_embeddings_are_of_unit_length_and_scored_by_cosine(loss, digits):
    X, y = digits
    embedder = SoftmaxEmbedder(loss=loss, epochs=1, **SMALL).fit(X[:100], y[:100])
    Z = embedder.transform(X[:8])
    assert Z.shape == (8, 8)
    np.testing.assert_allclose(np.linalg.norm(Z, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(
        embedder.pair_score(X[:4], X[4:8]), np.sum(Z[:4] * Z[4:], axis=1), atol=1e-6
    )
    np.testing.assert_array_equal(embedder.classes_, np.arange(10))


@pytest.mark.fast
@pytest.mark.backend
def test_cosine_logits_are_cosines():
    layer = CosineLogits(3, seed=0)
    x = np.float32([[0.6, 0.8], [1.0, 0.0]])
    logits = evaluate(layer, x)
    (centres,) = layer.get_weights()
    np.testing.assert_allclose(
        logits, x @ (centres / np.linalg.norm(centres, axis=0)), rtol=1e-4, atol=1e-5
    )


def test_seeded(digits):
    X, y = digits
    first, second = (
        SoftmaxEmbedder(epochs=1, **SMALL).fit(X[:100], y[:100]).transform(X[:5]) for _ in "ab"
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("change", "y", "message"),
    [
        ({}, None, "requires y"),
        ({}, np.zeros(20), "1 class"),
        ({}, np.full(20, np.nan), "NaN"),
        ({"loss": "triplet"}, np.arange(20) % 2, "loss"),
        ({"scale": 0.0}, np.arange(20) % 2, "scale"),
        ({"margin": -0.1}, np.arange(20) % 2, "margin"),
        ({"filters": ()}, np.arange(20) % 2, "filters must be positive"),
    ],
)
def test_bad_input_before_training(change, y, message, digits, monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", lambda *args, **kwargs: pytest.fail("trained"))
    with pytest.raises(ValueError, match=message):
        SoftmaxEmbedder(**{**SMALL, **change}).fit(digits[0][:20], y)


def test_augmentation_changes_what_is_learned_from(digits):
    X, y = digits
    images = X[:120].reshape(-1, 8, 8)
    params = {"epochs": 2, **SMALL}
    losses = [
        SoftmaxEmbedder(augmentation=augmentation, **params).fit(images, y[:120]).history_["loss"]
        for augmentation in (None, SpeechAugmentation(), "speech", SpeechAugmentation(noise=1.0))
    ]
    # One that changes nothing draws another seed for the batches, and so do all of them.
    assert len({tuple(loss) for loss in losses}) == 4
    search = SoftmaxEmbedder(augmentation=SpeechAugmentation())
    assert search.set_params(augmentation__crop=0.5).augmentation.crop == 0.5
    with pytest.raises(ValueError, match="'crop' parameter of augmentation"):
        SoftmaxEmbedder(augmentation=SpeechAugmentation(crop=2.0)).fit(images, y[:120])


def test_crops_are_embedded_by_their_mean(digits):
    X, y = digits
    embedder = SoftmaxEmbedder(epochs=1, **SMALL).fit(X[:100], y[:100])
    images = X[100:110].reshape(-1, 8, 8)
    halves = [np.concatenate([images[:, :, s : s + 4]] * 2, axis=2) for s in (0, 2, 4)]
    mean = np.mean([embedder.transform(half) for half in halves], axis=0)
    found = embedder.set_params(n_crops=3).transform(images)
    np.testing.assert_allclose(
        found, mean / np.linalg.norm(mean, axis=1, keepdims=True), rtol=1e-4, atol=1e-5
    )
