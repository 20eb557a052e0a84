"""Attacks on templates, each alone: inversion, and whether what it gives is accepted."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

from skdistort.attacks import (
    AffineInversion,
    BlindGuess,
    KernelInversion,
    NegationInversion,
    NetworkInversion,
    RidgeInversion,
    decision_thresholds,
    match_rate,
    paired_scores,
    pool_embeddings,
    reconstruction_quality,
)
from skdistort.metrics import mse, pair_scores, ridge_inversion

properties = settings(deadline=None, max_examples=40)
IMAGES = (load_digits().images[..., None] / 16).astype(np.float32)
KNOWN, VICTIMS = IMAGES[:600], IMAGES[600:800]
SMALL = {"filters": (8, 16), "epochs": 8, "learning_rate": 0.01, "random_state": 0}
TINY = {**SMALL, "filters": (4,), "epochs": 1}


def sphere(n, m, seed=0):
    Z = np.random.default_rng(seed).normal(size=(n, m))
    return Z / np.linalg.norm(Z, axis=1, keepdims=True)


def test_negation_undoes_the_negative():
    attack = NegationInversion().fit(1 - KNOWN, KNOWN)
    np.testing.assert_allclose(attack.reconstruct(1 - VICTIMS), VICTIMS, atol=1e-6)


def test_affine_is_the_least_squares_line_of_each_pixel():
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(30, 2, 3, 1))
    templates = np.clip(0.2 + 0.5 * images + rng.normal(scale=0.1, size=images.shape), 0, 1)
    attack = AffineInversion().fit(templates, images)
    for pixel in np.ndindex(2, 3, 1):
        own = (slice(None), *pixel)
        slope, intercept = np.polyfit(templates[own], images[own], 1)
        assert attack.slope_[pixel] == pytest.approx(slope, abs=1e-5)
        assert attack.intercept_[pixel] == pytest.approx(intercept, abs=1e-5)


def test_affine_of_a_constant_pixel_is_the_mean_image():
    attack = AffineInversion().fit(np.full_like(KNOWN, 0.3), KNOWN)
    np.testing.assert_allclose(attack.reconstruct(VICTIMS[:1])[0], KNOWN.mean(axis=0), atol=1e-5)


def test_ridge_is_the_one_of_the_metrics():
    mixed = np.roll(KNOWN, 1, axis=2) / 2, np.roll(VICTIMS, 1, axis=2) / 2
    found = RidgeInversion(alpha=0.5).fit(mixed[0], KNOWN).reconstruct(mixed[1])
    expected = ridge_inversion(mixed[0], KNOWN, mixed[1], alpha=0.5)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_ridge_takes_embeddings():
    embeddings = KNOWN.reshape(600, -1) @ sphere(64, 20)
    found = RidgeInversion().fit(embeddings, KNOWN).reconstruct(embeddings)
    assert mse(KNOWN, found).mean() < 0.7 * KNOWN.var(axis=0).mean()


def test_kernel_ridge_bends_where_ridge_cannot():
    angle = np.random.default_rng(0).uniform(0, 6, size=(400, 1))
    embeddings = np.hstack([np.cos(angle), np.sin(angle)])
    images = (0.5 + 0.5 * np.sin(angle * [1, 2, 3, 4])).reshape(-1, 2, 2, 1)
    known, stolen, targets = embeddings[:300], embeddings[300:], images[300:]
    errors = {
        attack: mse(targets, attack.fit(known, images[:300]).reconstruct(stolen)).mean()
        for attack in (KernelInversion(), KernelInversion(max_samples=5), RidgeInversion())
    }
    assert [error < 0.005 for error in errors.values()] == [True, False, False]
    assert len(list(errors)[1].ridge_.dual_coef_) == 5


def test_kernel_ridge_learns_nothing_from_templates_that_are_alike():
    attack = KernelInversion().fit(np.ones((600, 3)), KNOWN)
    np.testing.assert_allclose(
        attack.reconstruct(np.ones((1, 3)))[0], KNOWN.mean(axis=0), atol=0.01
    )


def test_blind_guess_is_the_median_whatever_the_template():
    found = BlindGuess().fit(KNOWN, KNOWN).reconstruct(VICTIMS)
    np.testing.assert_array_equal(found, np.repeat(np.median(KNOWN, axis=0)[None], 200, axis=0))


@pytest.mark.backend
def test_networks_invert_what_they_can_see():
    blind = mse(VICTIMS, BlindGuess().fit(KNOWN, KNOWN).reconstruct(VICTIMS)).mean()
    unet = NetworkInversion(**SMALL).fit(1 - KNOWN, KNOWN)
    assert mse(VICTIMS, unet.reconstruct(1 - VICTIMS)).mean() < 0.2 * blind
    assert len(unet.history_["loss"]) == 8
    assert unet.history_["loss"][-1] < unet.history_["loss"][0]
    basis = sphere(64, 10)
    known, stolen = (images.reshape(len(images), -1) @ basis for images in (KNOWN, VICTIMS))
    decoder = NetworkInversion(**SMALL).fit(known, KNOWN)
    assert 0.2 * blind < mse(VICTIMS, decoder.reconstruct(stolen)).mean() < 0.9 * blind
    assert mse(VICTIMS, decoder.reconstruct(stolen[::-1])).mean() > blind


def test_network_minimises_the_distance_asked_for():
    by_name, by_callable = (
        NetworkInversion(**TINY, distance=distance).fit(KNOWN[:64], KNOWN[:64])
        for distance in ("l1", lambda x, y: 7 - 1e-6 * y[:, 0, 0, 0])
    )
    assert 0.05 < by_name.history_["loss"][0] < 1
    assert by_callable.history_["loss"] == pytest.approx([7])


def test_network_is_seeded_cloned_and_pickled():
    attack = NetworkInversion(**TINY)
    first, second = (clone(attack).fit(KNOWN[:64], KNOWN[:64]) for _ in range(2))
    other = clone(attack).set_params(random_state=1).fit(KNOWN[:64], KNOWN[:64])
    found = first.reconstruct(VICTIMS)
    np.testing.assert_array_equal(found, second.reconstruct(VICTIMS))
    np.testing.assert_array_equal(found, pickle.loads(pickle.dumps(first)).reconstruct(VICTIMS))
    assert not np.array_equal(found, other.reconstruct(VICTIMS))


@pytest.mark.parametrize(
    ("attack", "templates", "images", "message"),
    [
        (BlindGuess(), KNOWN[:3], KNOWN[:2], "same length, got 3 and 2"),
        (BlindGuess(), KNOWN[:1], KNOWN[:1], "at least two"),
        (BlindGuess(), KNOWN[:2], KNOWN[:2, ..., 0], r"\(n_samples, height, width, channels\)"),
        (BlindGuess(), KNOWN[:2], 2 * KNOWN[:2], r"pixels in \[0, 1\], got values in \[0, 2\]"),
        (BlindGuess(), KNOWN[:2] * np.nan, KNOWN[:2], "templates must be finite"),
        (NegationInversion(), KNOWN[:2, 1:], KNOWN[:2], "NegationInversion needs templates"),
        (AffineInversion(), np.zeros((2, 5)), KNOWN[:2], r"AffineInversion .* got \(5,\)"),
        (NetworkInversion(), KNOWN[:2, 1:], KNOWN[:2], "NetworkInversion needs embeddings"),
        (NetworkInversion(filters=(0,)), KNOWN[:2], KNOWN[:2], "filters must be positive"),
        (NetworkInversion(epochs=0), KNOWN[:2], KNOWN[:2], "'epochs' parameter"),
        (RidgeInversion(alpha=-1.0), KNOWN[:2], KNOWN[:2], "'alpha' parameter"),
        (KernelInversion(max_samples=1), KNOWN[:2], KNOWN[:2], "'max_samples' parameter"),
    ],
)
def test_inversion_refuses(attack, templates, images, message):
    with pytest.raises(ValueError, match=message):
        attack.fit(templates, images)


def test_reconstruction_refuses_other_templates():
    attack = BlindGuess()
    with pytest.raises(NotFittedError):
        attack.reconstruct(KNOWN)
    with pytest.raises(ValueError, match=r"as in fit, got \(2, 7, 8, 1\)"):
        attack.fit(KNOWN, KNOWN).reconstruct(KNOWN[:2, 1:])


def test_quality_of_the_image_itself_and_of_its_negative():
    own, negative = (reconstruction_quality(KNOWN[:9], X) for X in (KNOWN[:9], 1 - KNOWN[:9]))
    assert own == pytest.approx({"ssim": 1, "mse": 0, "abs_pearson": 1})
    assert negative["abs_pearson"] == pytest.approx(1)
    assert negative["ssim"] < 0 < negative["mse"]


def test_paired_scores_are_the_diagonal_of_all():
    left, right = sphere(5, 3), sphere(5, 3, seed=1)
    _, scores = pair_scores(left, np.arange(5), right, np.arange(5))
    np.testing.assert_allclose(paired_scores(left, right), np.diag(scores.reshape(5, 5)), atol=1e-5)
    with pytest.raises(ValueError, match="one shape"):
        paired_scores(left, right[:4])


def test_thresholds_keep_to_their_rates():
    rng = np.random.default_rng(0)
    genuine = np.arange(20_000) < 2000
    scores = rng.normal(2.0 * genuine)
    thresholds = decision_thresholds(genuine, scores)
    assert list(thresholds) == ["eer", "fmr_1%", "fmr_0.1%"]
    fmr = {name: np.mean(scores[~genuine] >= value) for name, value in thresholds.items()}
    assert fmr["fmr_1%"] == pytest.approx(0.01, abs=1e-3)
    assert fmr["fmr_0.1%"] == pytest.approx(0.001, abs=1e-4)
    assert fmr["eer"] == pytest.approx(np.mean(scores[genuine] < thresholds["eer"]), abs=1e-3)


def slow_match_rate(attempts, labels, embeddings, other_labels, threshold, exclude):
    shares = []
    for i, attempt in enumerate(attempts):
        scores = [
            -np.sum((attempt - embeddings[j]) ** 2)
            for j in range(len(embeddings))
            if other_labels[j] == labels[i] and j not in exclude[i]
        ]
        if scores:
            shares.append(np.mean(np.array(scores) >= threshold))
    return np.mean(shares)


@properties
@given(seed=st.integers(0, 10_000), k=st.integers(0, 3))
def test_match_rate_is_what_a_slow_count_gives(seed, k):
    rng = np.random.default_rng(seed)
    attempts, embeddings = rng.normal(size=(7, 2)), rng.normal(size=(9, 2))
    labels, other_labels = rng.integers(3, size=7), np.append(rng.integers(3, size=6), range(3))
    exclude = rng.integers(6, size=(7, k))
    arguments = attempts, labels, embeddings, other_labels
    expected = [slow_match_rate(*arguments, t, exclude) for t in (-3.0, -0.5)]
    got = match_rate(*arguments, [-3.0, -0.5], exclude=exclude)
    np.testing.assert_allclose(got, expected, atol=1e-12)
    assert match_rate(*arguments, -3.0, exclude=exclude) == pytest.approx(expected[0])


def test_match_rate_counts_an_attempt_once_however_many_images():
    embeddings, labels = np.array([[0.0], [0.0], [0.0], [9.0]]), np.array([0, 0, 0, 1])
    assert match_rate([[0.0], [0.0]], [0, 1], embeddings, labels, -1.0) == 0.5


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.zeros((2, 3)), [0, 0], np.zeros((2, 4)), [0, 0], 0), {}, "of one length"),
        (
            (np.zeros((2, 3)), [0], np.zeros((2, 3)), [0, 0], 0),
            {},
            r"labels must have shape \(2,\)",
        ),
        ((np.zeros((2, 3)), [0, 0], np.zeros((1, 3)), [0, 0], 0), {}, r"other_labels .* \(1,\)"),
        ((np.zeros((1, 3)), [0], np.zeros((1, 3)), [1], 0), {}, "No attempt"),
        (
            (np.zeros((2, 3)), [0, 0], np.zeros((2, 3)), [0, 0], 0),
            {"exclude": [0, 1]},
            r"exclude must have shape \(2, k\)",
        ),
    ],
)
def test_match_rate_refuses(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        match_rate(*arguments, **options)


def test_pooling():
    embeddings = np.arange(12.0).reshape(2, 3, 2)
    np.testing.assert_array_equal(pool_embeddings(embeddings), [[2, 3], [8, 9]])
    stacked = pool_embeddings(embeddings, "stacked")
    np.testing.assert_array_equal(stacked, embeddings.reshape(2, 6))
    with pytest.raises(ValueError, match="'mean' or 'stacked', got 'sum'"):
        pool_embeddings(embeddings, "sum")
    with pytest.raises(ValueError, match=r"\(n, k, m\), got \(3, 2\)"):
        pool_embeddings(embeddings[0])
