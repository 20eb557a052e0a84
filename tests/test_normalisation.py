"""Normalisation by a cohort against loops, within classes and between domains by covariances."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks
from support import contract
from support.two_covariance import draw_classes, draw_model

from skdistort.metrics import equal_error_rate
from skdistort.normalisation import (
    ScoreNormaliser,
    WithinClassNormaliser,
    cohort_statistics,
    normalise_scores,
    recolour,
)
from skdistort.plda import PLDA

pytestmark = pytest.mark.fast

METHODS = ["z", "t", "s", "adaptive_s"]


def cosine(a, b):
    return sum(a * b) / np.sqrt(sum(a * a) * sum(b * b))


def literal(score, left, right, cohort, method, n_top):
    """One trial, as the papers have it."""

    def normalised(side):
        scores = sorted((score(side, other) for other in cohort), reverse=True)
        if method == "adaptive_s":
            scores = scores[:n_top]
        mean = sum(scores) / len(scores)
        deviation = (sum((s - mean) ** 2 for s in scores) / len(scores)) ** 0.5
        return (score(left, right) - mean) / deviation

    if method == "z":
        return normalised(left)
    if method == "t":
        return normalised(right)
    return 0.5 * (normalised(left) + normalised(right))


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(0).standard_normal((40, 5)) + 0.3


@pytest.mark.parametrize("method", METHODS)
def test_cosines_against_a_loop(vectors, method):
    cohort, left, right = vectors[:25], vectors[25:32], vectors[32:39]
    normaliser = ScoreNormaliser(method=method, n_top=6).fit(cohort)
    expected = [literal(cosine, a, b, cohort, method, 6) for a, b in zip(left, right, strict=True)]
    np.testing.assert_allclose(normaliser.pair_score(left, right), expected, rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_plda_against_a_loop(method):
    X, _ = draw_classes(2, [3] * 12, *draw_model(0, 4))
    plda = PLDA(n_folds=None).fit(*draw_classes(1, [4] * 30, *draw_model(0, 4)))
    normaliser = ScoreNormaliser(plda, method=method, n_top=5).fit(X[:20])

    def score(a, b):
        return plda.pair_score(a[None], b[None])[0]

    expected = [literal(score, X[20 + i], X[30 - i], X[:20], method, 5) for i in range(4)]
    rows = np.arange(4)
    found = normaliser.score_trials(X, 20 + rows, 30 - rows)
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_models_are_scored_with_the_cohort_as_models(vectors):
    cohort, X, probes = vectors[:25], vectors[25:31], vectors[31:]
    models = np.array([0, 0, 0, 1, 1, 2])
    normaliser = ScoreNormaliser(n_top=6).fit(cohort)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    means = [unit[models == m].mean(axis=0) for m in range(3)]
    expected = [[literal(cosine, m, p, cohort, "adaptive_s", 6) for p in probes] for m in means]
    np.testing.assert_allclose(normaliser.score_models(X, models, probes), expected, rtol=1e-9)


def test_scores_that_are_there_already(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cohort, X = unit[:25], unit[25:]
    statistics = [column[:7] for column in cohort_statistics(X @ cohort.T, n_top=6)]
    others = [column[7:14] for column in cohort_statistics(X @ cohort.T, n_top=6)]
    scores = np.sum(X[:7] * X[7:14], axis=1)
    found = normalise_scores(scores, tuple(statistics), tuple(others))
    expected = ScoreNormaliser(n_top=6).fit(cohort).pair_score(X[:7], X[7:14])
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_helps_where_samples_are_like_everybodys():
    # Each recording has a share of what all recordings have, of a size of its own.
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(60), 5)
    voices = rng.standard_normal((60, 30))[speakers] + 0.8 * rng.standard_normal((300, 30))
    common = np.concatenate([np.full(15, 4.0), np.zeros(15)])
    X = voices + rng.exponential(1.0, (300, 1)) * common
    cohort, test = speakers < 30, speakers >= 30
    left, right = np.triu_indices(150, 1)
    genuine = speakers[test][left] == speakers[test][right]
    unit = X[test] / np.linalg.norm(X[test], axis=1, keepdims=True)
    plain = equal_error_rate(genuine, np.sum(unit[left] * unit[right], axis=1))[0]
    normaliser = ScoreNormaliser(n_top=50).fit(X[cohort])
    normalised = equal_error_rate(genuine, normaliser.score_trials(X[test], left, right))[0]
    assert normalised < 0.9 * plain


def test_decides_and_is_cloned_with_a_frozen_verifier():
    model = draw_model(0, 4)
    plda = PLDA(n_folds=None).fit(*draw_classes(1, [4] * 30, *model))
    X, y = draw_classes(2, [4] * 12, *model)
    normaliser = ScoreNormaliser(FrozenEstimator(plda), method="s").fit(X)
    again = clone(normaliser).fit(X)
    np.testing.assert_array_equal(
        again.pair_score(X[:5], X[5:10]), normaliser.pair_score(X[:5], X[5:10])
    )
    again.calibrate_threshold(X, y)
    assert again.verify(X[:5], X[5:10]).dtype == bool
    with pytest.raises(NotFittedError):
        ScoreNormaliser(PLDA()).fit(X)


def test_cohorts_that_tell_nothing(vectors):
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        ScoreNormaliser().fit(vectors[:1])
    normaliser = ScoreNormaliser().fit(vectors[[0, 0, 0]])
    with pytest.raises(ValueError, match="Sample 0 has the same score with all 3 members"):
        normaliser.pair_score(vectors[1:2], vectors[2:3])
    with pytest.raises(ValueError, match="2 samples or more, got 0"):
        ScoreNormaliser().fit(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="NaN"):
        cohort_statistics([[1.0, np.nan]])


@pytest.mark.parametrize("shrinkage", [None, 0.3, 1.0])
def test_whitens_within_the_classes(shrinkage):
    X, y = draw_classes(0, [3, 9, 1, 5] * 6, *draw_model(1, 4))
    Z = WithinClassNormaliser(shrinkage).fit_transform(X, y)
    residuals = np.concatenate([X[y == c] - X[y == c].mean(axis=0) for c in np.unique(y)])
    covariance = residuals.T @ residuals / (len(X) - 24)
    share = shrinkage or 0
    shrunk = (1 - share) * covariance + share * np.trace(covariance) / 4 * np.eye(4)
    expected = (X - X.mean(axis=0)) @ np.linalg.inv(shrunk) @ (X - X.mean(axis=0)).T
    np.testing.assert_allclose(Z @ Z.T, expected, atol=1e-8)


def test_classes_that_have_no_covariance():
    with pytest.raises(ValueError, match="no class of two samples"):
        WithinClassNormaliser().fit(np.eye(3), [0, 1, 2])
    with pytest.raises(ValueError, match="has no inverse"):
        WithinClassNormaliser(None).fit(np.eye(4), [0, 0, 1, 1])


def test_recolouring_gives_mean_and_covariance_of_the_target():
    source, _ = draw_classes(0, [40] * 8, *draw_model(0, 4))
    target, _ = draw_classes(1, [30] * 9, *draw_model(1, 4))
    found = recolour(source, target, regularisation=0)
    np.testing.assert_allclose(found.mean(axis=0), target.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(np.cov(found.T, bias=True), np.cov(target.T, bias=True), atol=1e-8)
    np.testing.assert_allclose(recolour(source, source, regularisation=0), source, atol=1e-8)
    assert recolour(np.float32(source), target).dtype == np.float32
    with pytest.raises(ValueError, match="source has 4 features and target 3"):
        recolour(source, target[:, :3])
    with pytest.raises(ValueError, match="covariance of target has no inverse"):
        recolour(source, np.zeros((5, 4)), regularisation=0)


CHECKED = [ScoreNormaliser(), WithinClassNormaliser()]


@parametrize_with_checks(CHECKED)
def test_check(estimator, check):
    contract.run_check(check, estimator)


@pytest.mark.parametrize("estimator", CHECKED, ids=contract.name)
def test_number_of_checks(estimator):
    assert contract.count_checks(estimator) >= 35


def test_strangers_without_length_are_no_cohort():
    X = np.random.default_rng(0).standard_normal((30, 4))
    blank = np.vstack([np.zeros((2, 4)), X])
    found, expected = (ScoreNormaliser(n_top=5).fit(cohort) for cohort in (blank, X))
    np.testing.assert_array_equal(found.cohort_codes_, expected.cohort_codes_)
    with pytest.raises(ValueError, match="A cohort needs 2 samples or more, got 1"):
        ScoreNormaliser().fit(blank[:3])
