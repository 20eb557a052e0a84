"""Background models and T that were trained elsewhere: diagonal and full covariances."""

import pickle

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from support.ivectors import make_utterances

from skdistort.ivector import IVectorExtractor, UniversalBackgroundModel, baum_welch_statistics

pytestmark = pytest.mark.fast

C, D, R = 4, 5, 3


def full_covariances(rng):
    factors = rng.standard_normal((C, D, D))
    return factors @ factors.transpose(0, 2, 1) + 0.3 * np.eye(D)


def joint_densities(frames, weights, means, covariances):
    parts = zip(weights, means, covariances, strict=True)
    return np.array([w * np.atleast_1d(multivariate_normal(m, S).pdf(frames)) for w, m, S in parts])


def literal_vectors(utterances, weights, means, covariances, T):
    """Posterior means of w by the formulas of Dehak et al., in float64, nothing whitened."""
    inverses = np.linalg.inv(covariances)
    vectors = []
    for frames in utterances:
        densities = joint_densities(frames, weights, means, covariances)
        posteriors = densities / densities.sum(axis=0)
        precision, linear = np.eye(R), np.zeros(R)
        for gamma, m, P, block in zip(posteriors, means, inverses, T, strict=True):
            precision += gamma.sum() * block.T @ P @ block
            linear += block.T @ P @ (gamma @ (frames - m))
        vectors.append(np.linalg.solve(precision, linear))
    return np.array(vectors)


@pytest.fixture(scope="module")
def given():
    rng = np.random.default_rng(0)
    weights, means = rng.dirichlet(np.full(C, 5.0)), 10 + 2 * rng.standard_normal((C, D))
    utterances = [10 + u for u in make_utterances(rng, (80, 50, 1, 60), D)]
    return utterances, weights, means, full_covariances(rng), rng.standard_normal((C, D, R))


def test_vectors_are_those_of_the_estimator_that_parameters_were_taken_from():
    utterances = make_utterances(np.random.default_rng(1), (80, 50, 90, 60), D)
    ubm = UniversalBackgroundModel(C, random_state=0)
    trained = IVectorExtractor(R, ubm=ubm, random_state=0).fit(utterances)
    ubm, T = trained.ubm_, trained.total_variability_
    for covariances, blocks in (
        (ubm.variances_, T),
        (ubm.variances_, T.reshape(C * D, R)),
        (np.array([np.diag(v) for v in ubm.variances_]), T.tolist()),
    ):
        taken = UniversalBackgroundModel.from_parameters(ubm.weights_, ubm.means_, covariances)
        extractor = IVectorExtractor.from_parameters(taken, blocks)
        np.testing.assert_allclose(
            extractor.transform(utterances), trained.transform(utterances), atol=1e-4
        )
        np.testing.assert_allclose(extractor.total_variability_, T, rtol=1e-4, atol=1e-6)
        assert taken.score(utterances) == pytest.approx(ubm.score(utterances), abs=1e-5)
        assert extractor.get_feature_names_out().tolist() == [
            f"ivectorextractor{i}" for i in range(R)
        ]


@pytest.mark.parametrize("full", [True, False])
def test_vectors_are_those_of_the_formulas(given, full):
    utterances, weights, means, covariances, T = given
    if not full:
        covariances = covariances * np.eye(D)
    shown = covariances if full else np.diagonal(covariances, axis1=1, axis2=2)
    ubm = UniversalBackgroundModel.from_parameters(weights, means, shown, batch_size=7)
    extractor = IVectorExtractor.from_parameters(ubm, T, batch_size=2)
    expected = literal_vectors(utterances, weights, means, covariances, T)
    for copy in (extractor, pickle.loads(pickle.dumps(extractor))):
        np.testing.assert_allclose(copy.transform(utterances), expected, atol=2e-4)
    np.testing.assert_allclose(extractor.total_variability_, T, atol=1e-5)
    frames = np.concatenate(utterances)
    density = joint_densities(frames, weights, means, covariances).sum(axis=0)
    assert ubm.score(utterances) == pytest.approx(np.log(density).mean(), abs=1e-4)


def test_t_is_trained_on_a_model_of_full_covariances(given):
    _, weights, means, covariances, T = given
    rng = np.random.default_rng(2)
    ubm = UniversalBackgroundModel.from_parameters(weights, means, covariances)
    factors = np.linalg.cholesky(covariances)
    utterances = []
    for w in rng.standard_normal((60, R)):
        of = rng.choice(C, p=weights, size=80)
        noise = np.einsum("fij,fj->fi", factors[of], rng.standard_normal((80, D)))
        utterances.append((means + 0.3 * T @ w)[of] + noise)
    extractor = IVectorExtractor(R, ubm=FrozenEstimator(ubm), random_state=0).fit(utterances)
    assert np.diff(extractor.log_likelihoods_).min() > -1e-3
    _, first = baum_welch_statistics(utterances, ubm)
    assert first.shape == (60, C, D)
    again = IVectorExtractor.from_parameters(ubm, extractor.total_variability_)
    np.testing.assert_allclose(
        again.transform(utterances), extractor.transform(utterances), atol=1e-3
    )
    # Fitted again, the model is one of diagonal covariances.
    assert not hasattr(ubm.fit(np.concatenate(utterances)), "covariances_")


def test_what_does_not_fit_is_refused(given):
    _, weights, means, covariances, T = given
    make = UniversalBackgroundModel.from_parameters
    lopsided = covariances.copy()
    lopsided[2, 0, 1] += 1
    for parameters, message in (
        ((weights[:3], means, covariances), r"are expected, got \(3,\), \(4, 5\) and \(4, 5, 5\)"),
        ((weights, means, covariances[:, :4]), "are expected"),
        ((weights, means, covariances[0]), "are expected"),
        ((np.log(weights), means, covariances), "positive and of sum 1.*logarithms"),
        ((2 * weights, means, covariances), "the sum 2"),
        ((weights, means, -covariances), "component 0 is not positive definite"),
        ((weights, means, lopsided), "component 2 is not positive definite.*packed"),
        ((weights, means, np.zeros((C, D))), "component 0 is not positive definite"),
        ((weights, np.nan * means, covariances), "means contains NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            make(*parameters)
    ubm = make(weights, means, covariances)
    for shape in ((C, R, D + 1), (C * D + 1, R), (C, D, R, 1)):
        with pytest.raises(ValueError, match=r"shape \(4, 5, R\) or \(20, R\)"):
            IVectorExtractor.from_parameters(ubm, np.ones(shape))
    with pytest.raises(ValueError, match="total_variability contains NaN"):
        IVectorExtractor.from_parameters(ubm, np.nan * T)
    with pytest.raises(TypeError, match="must be a UniversalBackgroundModel, got dict"):
        IVectorExtractor.from_parameters({}, T)
    with pytest.raises(NotFittedError):
        IVectorExtractor.from_parameters(UniversalBackgroundModel(), T)


def test_a_model_taken_over_is_an_estimator(given):
    utterances, weights, means, covariances, T = given
    ubm = UniversalBackgroundModel.from_parameters(weights, means, covariances)
    extractor = IVectorExtractor.from_parameters(ubm, T)
    assert clone(extractor).get_params()["n_components"] == R
    refitted = clone(extractor).set_params(n_iter=1, random_state=0).fit(utterances)
    assert refitted.transform(utterances).shape == (4, R)
    with pytest.raises(ValueError, match="features"):
        extractor.transform([u[:, :4] for u in utterances])
