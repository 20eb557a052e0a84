"""SiameseVerifier and what verifiers share: training, pair scores, calibration."""

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from support.backends import TINY_VERIFIER

from skdistort import SiameseVerifier
from skdistort.exceptions import InputMismatchError
from skdistort.metrics import equal_error_rate

HOLDING = {"validation_fraction": 0.1, "client_threshold": 0.5}
OTHERS = load_digits().data[600:604]
SECOND = {"impostor_database": OTHERS}
VECTORS = {**SECOND, "selection_vectors": np.ones((20, 2))}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:600], y[:600]


@pytest.fixture(scope="module", params=["triple", "double"])
def fitted(request, digits):
    X, _ = digits
    return SiameseVerifier(mode=request.param, epochs=3, random_state=0, **TINY_VERIFIER).fit(
        X[:300]
    )


@pytest.mark.backend
@pytest.mark.parametrize("mode", ["triple", "double"])
def test_learns_without_labels(mode, digits):
    X, y = digits
    verifier = SiameseVerifier(mode=mode, epochs=6, random_state=0, **TINY_VERIFIER)
    scores = [
        verifier.set_params(learning_rate=rate).fit(X[:300]).score(X[300:], y[300:])
        for rate in (1e-9, 1e-2)
    ]
    assert scores[1] > scores[0] + 0.08
    assert verifier.history_["loss"][-1] < verifier.history_["loss"][0]


def test_pair_scores_agree_with_trials_and_are_symmetric(fitted, digits):
    X = digits[0][300:340]
    left, right = np.arange(20), np.arange(20, 40)
    scores = fitted.pair_score(X[left], X[right])
    assert scores.shape == (20,)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(fitted.score_trials(X, left, right), scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fitted.pair_score(X[right], X[left]), scores, rtol=1e-4, atol=1e-5)
    assert np.ptp(scores) > 0.01


@pytest.mark.parametrize("still", [0.0, 7.0, "bands"])
def test_sound_that_does_not_vary_is_refused_by_index(still, fitted, digits):
    X = digits[0][300:340].reshape(-1, 8, 8).copy()
    X[[3, 11]] = np.linspace(0, 9, 8)[:, None] if still == "bands" else still
    message = r"2 sample\(s\) of X vary along no row.* 3, 11\. Silence"
    with pytest.raises(InputMismatchError, match=message) as error:
        SiameseVerifier(epochs=1, **TINY_VERIFIER).fit(X)
    assert error.value.sample == 3
    # Where all pixels are equal, that is what is said of later samples.
    later = "vary along no row" if still == "bands" else "is blank"
    flat = X.reshape(-1, 64)
    for refused, sample in (
        (lambda: clone(fitted).fit(X[20:], impostor_database=X[:20]), 3),
        (lambda: fitted.transform(flat), 3),
        (lambda: fitted.pair_score(flat[3:4], flat[11:12]), 0),
    ):
        with pytest.raises(InputMismatchError, match=later) as error:
            refused()
        assert error.value.sample == sample


def test_counts_its_anchors_and_takes_no_copy_for_a_client(digits):
    X, _ = digits
    verifier = SiameseVerifier(epochs=1, random_state=0, client_threshold=0.9, **TINY_VERIFIER)
    n_anchors = verifier.fit(X[:60]).n_anchors_
    assert 0 < n_anchors < 60
    # The same recordings again: no more samples have a client than had one before.
    Z = X[:60] - X[:60].mean(axis=0)
    twice = np.concatenate([X[:60], X[:60]])
    assert verifier.fit(X[:60], selection_vectors=Z).n_anchors_ * 2 == (
        verifier.fit(twice, selection_vectors=np.concatenate([Z, Z])).n_anchors_
    )


def test_models_of_several_samples(fitted, digits):
    X = digits[0][300:312]
    models = np.array([1, 0, 1, 2, 2, 2])
    scores = fitted.score_models(X[:6], models, X[6:])
    assert scores.shape == (3, 6)
    for model, row in enumerate(scores):
        rows = np.flatnonzero(models == model)
        if fitted.mode == "double":
            expected = [fitted.pair_score(X[rows], X[[j] * len(rows)]).mean() for j in range(6, 12)]
        else:
            mean = fitted.transform(X[rows]).mean(axis=0)
            expected = fitted.transform(X[6:]) @ mean / np.linalg.norm(mean)
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)


def test_trials_encode_each_sample_once(fitted, digits, monkeypatch):
    X = digits[0][300:310]
    encoded = []
    encode = SiameseVerifier._encode
    monkeypatch.setattr(
        SiameseVerifier, "_encode", lambda self, X: encoded.append(len(X)) or encode(self, X)
    )
    fitted.score_trials(X, np.zeros(50, dtype=int), np.arange(50) % 10)
    assert encoded == [10]


def test_score_is_that_of_all_pairs(fitted, digits):
    X, y = digits[0][300:360], digits[1][300:360]
    left, right = np.triu_indices(60, 1)
    scores = fitted.score_trials(X, left, right)
    assert fitted.score(X, y) == 1 - equal_error_rate(y[left] == y[right], scores)[0]


def test_triple_scores_by_cosine_of_unit_embeddings(digits):
    X, _ = digits
    verifier = SiameseVerifier(epochs=1, random_state=0, **TINY_VERIFIER).fit(X[:100])
    Z = verifier.transform(X[:6])
    np.testing.assert_allclose(np.linalg.norm(Z, axis=1), 1, atol=1e-5)
    scores = verifier.pair_score(X[:3], X[3:6])
    np.testing.assert_allclose(scores, np.sum(Z[:3] * Z[3:], axis=1), atol=1e-6)
    assert verifier.head_ is None


def test_thresholds(fitted, digits):
    X, y = digits
    held_out = X[300:400], y[300:400]
    left, right = np.triu_indices(100, 1)
    genuine, scores = held_out[1][left] == held_out[1][right], None
    verifier = fitted.calibrate_threshold(*held_out)
    assert verifier is fitted
    scores = verifier.score_trials(held_out[0], left, right)
    accepted = scores >= verifier.threshold_
    fmr, fnmr = accepted[~genuine].mean(), 1 - accepted[genuine].mean()
    assert abs(fmr - fnmr) < 0.02
    verifier.calibrate_threshold(*held_out, strategy="fmr", target_fmr=0.05)
    assert (scores >= verifier.threshold_)[~genuine].mean() <= 0.05
    decisions = verifier.verify(X[400:420], X[420:440])
    np.testing.assert_array_equal(
        decisions, verifier.pair_score(X[400:420], X[420:440]) >= verifier.threshold_
    )


def test_probabilities_rise_with_scores_and_are_calibrated(fitted, digits):
    X, y = digits
    fitted.calibrate_probability(X[300:450], y[300:450])
    left, right = np.triu_indices(150, 1)
    X, y = X[450:], y[450:]
    scores = fitted.score_trials(X, left, right)
    probabilities = fitted.calibration_.predict_proba(scores[:, None])[:, 1]
    genuine = y[left] == y[right]
    # At equal priors the two kinds of error weigh the same in expectation.
    weights = np.where(genuine, 0.5 / genuine.mean(), 0.5 / (~genuine).mean())
    assert abs(np.average(probabilities, weights=weights) - 0.5) < 0.06
    pairs = fitted.verify_proba(X[:20], X[20:40])
    order = np.argsort(fitted.pair_score(X[:20], X[20:40]))
    assert (np.diff(pairs[order]) >= 0).all()


def test_refit_forgets_the_calibration(digits):
    X, y = digits
    verifier = SiameseVerifier(epochs=1, random_state=0, **TINY_VERIFIER).fit(X[:100])
    verifier.calibrate_threshold(X[100:200], y[100:200])
    verifier.calibrate_probability(X[100:200], y[100:200])
    verifier.fit(X[:100])
    with pytest.raises(NotFittedError, match="calibrate_threshold"):
        verifier.verify(X[:1], X[1:2])
    with pytest.raises(NotFittedError, match="calibrate_probability"):
        verifier.verify_proba(X[:1], X[1:2])


def test_early_stopping_watches_held_out_groups(digits):
    X, _ = digits
    verifier = SiameseVerifier(
        epochs=30,
        patience=1,
        validation_fraction=0.3,
        random_state=0,
        **{**TINY_VERIFIER, "learning_rate": 0.02},
    ).fit(X[:200], groups=np.arange(200) // 4)
    losses = verifier.history_["val_loss"]
    assert len(losses) < 30
    assert losses[-1] >= min(losses[:-1])


@pytest.mark.parametrize("mode", ["triple", "double"])
def test_warm_start_goes_on(mode, digits):
    X, _ = digits
    verifier = SiameseVerifier(
        mode=mode, epochs=4, warm_start=True, random_state=0, **TINY_VERIFIER
    )
    first = verifier.fit(X[:200]).history_["loss"]
    second = verifier.fit(X[:200]).history_["loss"]
    assert second[0] < first[0]
    assert clone(verifier).fit(X[:200]).history_["loss"][0] == pytest.approx(first[0], rel=1e-4)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("change", "fit", "message"),
    [
        ({}, {"y": np.zeros(20)}, "impostor"),
        ({}, {"y": np.arange(20)}, "client"),
        ({"client_threshold": 1.0}, {}, "client"),
        ({"head_units": (0,)}, {}, "head_units must be positive"),
        ({}, {"impostor_database": np.ones((4, 9))}, "9 features"),
        ({}, {"groups": np.zeros(20)}, "client"),
        ({}, {"groups": np.zeros(3)}, "inconsistent numbers of samples"),
        ({}, {"selection_vectors": np.ones((19, 2))}, "selection_vectors has 19 vectors for 20"),
        ({}, {"selection_vectors": np.full((20, 2), np.nan)}, "selection_vectors contains NaN"),
        ({}, {"impostor_vectors": np.ones((4, 2))}, "without an impostor_database"),
        ({}, {**SECOND, "selection_vectors": np.ones((20, 2))}, "impostor_vectors is missing"),
        ({}, {**SECOND, "impostor_vectors": np.ones((4, 2))}, "selection_vectors is missing"),
        ({}, {**VECTORS, "impostor_vectors": np.ones((3, 2))}, "impostor_vectors has 3 vectors"),
        ({}, {**VECTORS, "impostor_vectors": np.ones((4, 3))}, "of 3 components"),
        ({"impostor_fraction": 0.01}, {}, "impostor_fraction"),
        (HOLDING, {}, "The 2 samples that validation_fraction=0.1 holds out .* 0 of 2 samples"),
        (HOLDING, SECOND, "=0.1 splits 4 samples into 4 and 0"),
        ({}, {"groups": [None] * 20}, "groups must hold values of one kind"),
        ({"mode": "single"}, {}, "mode"),
        ({"margin": -1}, {}, "margin"),
    ],
)
def test_bad_input_before_training(change, fit, message, digits, monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", lambda *args, **kwargs: pytest.fail("trained"))
    verifier = SiameseVerifier(**{**TINY_VERIFIER, "random_state": 0, **change})
    with pytest.raises(ValueError, match=message):
        verifier.fit(digits[0][:20], **fit)


def test_labels_and_impostor_database_exclude_each_other(digits):
    X, y = digits
    with pytest.raises(ValueError, match="without labels"):
        SiameseVerifier(**TINY_VERIFIER).fit(X[:20], y[:20], impostor_database=X[20:])


def test_bad_pairs(fitted, digits):
    X, y = digits
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        fitted.pair_score(X[:3], X[:2])
    with pytest.raises(ValueError, match="right must hold row numbers of X, 0 to 2"):
        fitted.score_trials(X[:3], [0, 1], [2, 3])
    with pytest.raises(ValueError, match="left must hold row numbers"):
        fitted.score_trials(X[:3], [-1, 1], [2, 1])
    with pytest.raises(ValueError, match="right must hold row numbers of X, got dtype float64"):
        fitted.score_trials(X[:3], [0], [1.0])
    with pytest.raises(ValueError, match="left must hold row numbers of X, got dtype bool"):
        fitted.score_trials(X[:3], [True], [1])
    with pytest.raises(ValueError, match="y contains NaN"):
        fitted.score(X[:3], [0, 0, np.nan])
    with pytest.raises(ValueError, match="y must hold values of one kind, none of them missing"):
        fitted.calibrate_threshold(X[:3], np.array(["a", "a", None]))
    assert fitted.score_trials(X[:3], [], []).shape == (0,)
    with pytest.raises(ValueError, match="strategy must be one of"):
        fitted.calibrate_threshold(X[:50], y[:50], strategy="best")
    with pytest.raises(ValueError, match="target_fmr"):
        fitted.calibrate_threshold(X[:50], y[:50], strategy="fmr", target_fmr=2)
    with pytest.raises(ValueError, match="y is needed"):
        fitted.score(X[:50])
    with pytest.raises(NotFittedError):
        SiameseVerifier().pair_score(X[:1], X[:1])


def test_warm_start_refuses_another_mode(digits):
    X, _ = digits
    verifier = SiameseVerifier(mode="double", epochs=1, warm_start=True, **TINY_VERIFIER).fit(
        X[:60]
    )
    # Its embeddings are not of unit length: their products would be no cosines.
    with pytest.raises(ValueError, match="warm_start=True needs"):
        verifier.set_params(mode="triple").fit(X[:60])


@pytest.mark.backend
def test_learns_from_changed_spectrograms(digits):
    X, y = digits
    verifier = SiameseVerifier(epochs=5, random_state=0, augmentation="speech", **TINY_VERIFIER)
    images = X.reshape(-1, 8, 8)
    scores = [
        verifier.set_params(learning_rate=rate).fit(images[:300]).score(images[300:], y[300:])
        for rate in (1e-9, 1e-2)
    ]
    assert scores[1] > scores[0] + 0.04
    plain = clone(verifier).set_params(augmentation=None).fit(images[:300])
    assert plain.history_["loss"] != verifier.history_["loss"]


@pytest.mark.parametrize("mode", ["triple", "double"])
def test_crops_of_samples(mode, digits):
    images = digits[0][:120].reshape(-1, 8, 8)
    verifier = SiameseVerifier(mode=mode, epochs=1, random_state=0, **TINY_VERIFIER).fit(images)
    crops = [np.concatenate([images[:, :, s : s + 4]] * 2, axis=2)[:20] for s in (0, 4)]
    mean = np.mean([verifier.transform(crop) for crop in crops], axis=0)
    if mode == "triple":
        mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    found = verifier.set_params(n_crops=2).transform(images[:20])
    np.testing.assert_allclose(found, mean, rtol=1e-4, atol=1e-5)
