"""LDA, likelihood and EM against scikit-learn, Gaussians in full and known covariances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from support.two_covariance import counts_of_classes, draw_classes, draw_model, log_density

from skdistort.plda._two_covariance import (
    class_statistics,
    diagonalise,
    em_step,
    fit_covariances,
    lda_projection,
    log_likelihood,
)

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=30)
seeds = st.integers(0, 2**32 - 1)


def summarise(X, codes):
    counts, means, residuals = class_statistics(X, codes)
    return counts, means, residuals.T @ residuals


@properties
@given(d=st.integers(1, 5), seed=seeds)
def test_diagonal_basis(d, seed):
    _, between, within = draw_model(seed, d, rank=1 + seed % d)
    V, variances = diagonalise(between, within)
    np.testing.assert_allclose(V.T @ within @ V, np.eye(d), atol=1e-8)
    size = 1 + variances.max()
    np.testing.assert_allclose(V.T @ between @ V, np.diag(variances), atol=1e-8 * size)
    assert (np.diff(variances) <= 0).all()
    assert (variances >= 0).all()


@properties
@given(d=st.integers(1, 3), counts=counts_of_classes, seed=seeds)
def test_likelihood_is_that_of_the_joint_gaussians(d, counts, seed):
    model = draw_model(seed, d, rank=1 + seed % d)
    X, codes = draw_classes(seed, counts, *model)
    expected = sum(log_density(X[codes == c], *model) for c in range(len(counts)))
    assert log_likelihood(*summarise(X, codes), *model) == pytest.approx(expected, rel=1e-7)


@properties
@given(d=st.integers(1, 4), counts=counts_of_classes, seed=seeds)
def test_em_never_lowers_the_likelihood(d, counts, seed):
    X, codes = draw_classes(seed, counts, *draw_model(seed, d))
    sizes, means, scatter = summarise(X, codes)
    data = sizes, means, scatter + 1e-3 * np.eye(d)
    model = draw_model(seed + 1, d)
    before = log_likelihood(*data, *model)
    for _ in range(8):
        model = em_step(*data, *model)
        after = log_likelihood(*data, *model)
        assert after >= before - 1e-9 * abs(before)
        before = after
    for covariance in model[1:]:
        np.testing.assert_allclose(covariance, covariance.T, atol=1e-9 * np.trace(covariance))
        assert np.linalg.eigvalsh(covariance)[0] >= -1e-9 * np.trace(covariance)


def test_em_reaches_the_analysis_of_variance_of_balanced_classes():
    # Where no estimate is negative, maximum likelihood is known: the pooled covariance within
    # the classes, and that of their means less its n-th part.
    n, n_classes, d = 6, 50, 3
    X, codes = draw_classes(3, [n] * n_classes, np.arange(d), 2 * np.eye(d), np.eye(d))
    data = _, means, scatter = summarise(X, codes)
    within = scatter / (n_classes * (n - 1))
    between = np.cov(means.T, bias=True) - within / n
    model = np.zeros(d), np.eye(d), np.eye(d)
    for _ in range(200):
        model = em_step(*data, *model)
    np.testing.assert_allclose(model[0], means.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(model[1], between, atol=1e-9)
    np.testing.assert_allclose(model[2], within, atol=1e-9)


def test_em_reaches_the_maximum_of_the_likelihood_of_unequal_classes():
    X, codes = draw_classes(4, [1, 2, 3, 9, 4, 1, 7], [1.0], [[3.0]], [[1.0]])
    classes = [X[codes == c] for c in range(7)]

    def loss(parameters):
        mean, between, within = parameters[0], *np.exp(parameters[1:])
        return -sum(log_density(x, [mean], [[between]], [[within]]) for x in classes)

    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-9})
    model = np.zeros(1), np.eye(1), np.eye(1)
    for _ in range(300):
        model = em_step(*summarise(X, codes), *model)
    expected = [best.x[0], *np.exp(best.x[1:])]
    np.testing.assert_allclose(np.ravel(np.concatenate(model, axis=None)), expected, rtol=1e-4)


def test_em_recovers_the_covariances_that_made_the_data():
    d, n_classes = 3, 4000
    mean, between, within = draw_model(5, d)
    counts = np.random.default_rng(6).integers(1, 9, n_classes)
    X, codes = draw_classes(7, counts, mean, between, within)
    model = np.zeros(d), np.eye(d), np.eye(d)
    data = summarise(X, codes)
    for _ in range(100):
        model = em_step(*data, *model)

    # Standard errors as if every class's centre were seen with the noise of one sample, which is
    # more than there is: those of a mean and of a Wishart's entries. Five of them fail about
    # once in 10^5 times.
    def standard_errors(covariance, n):
        variances = np.diag(covariance)
        return np.sqrt((np.outer(variances, variances) + covariance**2) / n)

    centres = between + within
    assert (abs(model[0] - mean) < 5 * np.sqrt(np.diag(centres) / n_classes)).all()
    assert (abs(model[1] - between) < 5 * standard_errors(centres, n_classes)).all()
    n_within = counts.sum() - n_classes
    assert (abs(model[2] - within) < 5 * standard_errors(within, n_within)).all()


@pytest.mark.parametrize("d", [3, 8, 60, 300])
def test_lda_without_shrinkage_is_that_of_scikit_learn(d):
    X, codes = draw_classes(d, np.arange(12) % 5 + 6, *draw_model(d, d))
    X[:, 0] *= 1000
    lda = LinearDiscriminantAnalysis(tol=1e-4).fit(X, codes)
    projection = lda_projection(X, codes)
    expected = lda.scalings_[:, : min(d, 11)]
    assert projection.shape == expected.shape
    cosines = np.sum(X @ projection * (X @ expected), axis=0) / (
        np.linalg.norm(X @ projection, axis=0) * np.linalg.norm(X @ expected, axis=0)
    )
    np.testing.assert_allclose(abs(cosines), 1, atol=1e-6)
    residuals = class_statistics(X @ projection, codes)[2]
    np.testing.assert_allclose(residuals.T @ residuals / len(X), np.eye(min(d, 11)), atol=1e-6)


@pytest.mark.parametrize("shrinkage", [0.2, 1.0, "auto"])
@pytest.mark.parametrize("d", [5, 150])
def test_lda_with_shrinkage_is_that_of_scikit_learn_on_scaled_features(d, shrinkage):
    X, codes = draw_classes(d, [6] * 10, *draw_model(d, d))
    residuals = class_statistics(X, codes)[2]
    scaled = X / residuals.std(axis=0)
    share = shrinkage
    if shrinkage == "auto":
        share = ledoit_wolf_shrinkage(residuals / residuals.std(axis=0), assume_centered=True)
        assert 0 < share < 1
    within = np.cov((residuals / residuals.std(axis=0)).T, bias=True)
    shrunk = (1 - share) * within + share * np.trace(within) / d * np.eye(d)
    means = class_statistics(scaled - scaled.mean(axis=0), codes)[1]
    ratios = np.linalg.eigvals(np.linalg.solve(shrunk, means.T @ means / 10)).real
    n = min(d, 9)
    projection = lda_projection(X, codes, shrinkage=shrinkage)
    directions = projection * residuals.std(axis=0)[:, None]
    # All there are; the classes do not differ along those past the ninth.
    np.testing.assert_allclose(directions.T @ shrunk @ directions, np.eye(d), atol=1e-8)
    directions = directions[:, :n]
    np.testing.assert_allclose(directions.T @ shrunk @ directions, np.eye(n), atol=1e-8)
    np.testing.assert_allclose(
        directions.T @ (means.T @ means / 10) @ directions,
        np.diag(np.sort(ratios)[::-1][:n]),
        atol=1e-8 * ratios.max(),
    )


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_shrunk_em_is_maximum_a_posteriori(share):
    # One dimension: an inverse Wishart prior adds share / (1 - share) times as many classes, and
    # samples, of the variance that the model starts from.
    X, codes = draw_classes(4, [3, 2, 3, 9, 4, 2, 7], [1.0], [[3.0]], [[1.0]])
    counts, means, residuals = class_statistics(X, codes)
    (mean, between, within), likelihoods = fit_covariances(
        counts, means, residuals, n_iter=300, shrinkage=share
    )
    assert len(likelihoods) == 301
    pooled = float(np.sum(residuals**2)) / (counts.sum() - len(counts))
    of_centres = float(means.var(ddof=1)) - pooled * np.mean(1 / counts)
    if share == 1:
        np.testing.assert_allclose([between.item(), within.item()], [of_centres, pooled], rtol=1e-5)
        return
    weight = share / (1 - share)

    def loss(parameters):
        m, b, w = parameters[0], *np.exp(parameters[1:])
        scatter = np.array([[np.sum(residuals**2)]])
        log_prior = -0.5 * weight * len(counts) * (np.log(b) + of_centres / b)
        log_prior -= 0.5 * weight * counts.sum() * (np.log(w) + pooled / w)
        data = counts, means, scatter
        return -log_likelihood(*data, np.array([m]), np.array([[b]]), np.array([[w]])) - log_prior

    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-9})
    found = [mean.item(), between.item(), within.item()]
    np.testing.assert_allclose(found, [best.x[0], *np.exp(best.x[1:])], rtol=1e-4)
