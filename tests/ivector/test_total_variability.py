"""Formulas of i-vectors, against their definitions, dense supervector algebra and quadrature."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.linalg import block_diag
from scipy.linalg.lapack import dtfttr
from scipy.special import softmax
from scipy.stats import multivariate_normal
from sklearn.frozen import FrozenEstimator
from support.ivectors import make_ubm, make_utterances, random_ubm

from skdistort.ivector import _total_variability, baum_welch_statistics

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**32 - 1)
small_shapes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5))


def random_problem(shape, seed, n=12):
    """Random whitened statistics and loadings."""
    n_components, d, rank = shape
    rng = np.random.default_rng(seed)
    zeroth = rng.uniform(0.1, 9.0, (n, n_components)).astype(np.float32)
    first = rng.standard_normal((n, n_components, d)) * zeroth[:, :, None] ** 0.7
    loadings = rng.standard_normal(shape)
    return zeroth, first.astype(np.float32), loadings.astype(np.float32)


def dense_posteriors(zeroth, first, loadings):
    """Means, covariances and likelihood terms by dense algebra on supervectors, in float64."""
    n_components, d, rank = loadings.shape
    supermatrix = np.float64(loadings).reshape(-1, rank)
    means, covariances, terms = [], [], []
    for counts, sums in zip(np.float64(zeroth), np.float64(first), strict=True):
        occupancy = block_diag(*(n * np.eye(d) for n in counts))
        precision = np.eye(rank) + supermatrix.T @ occupancy @ supermatrix
        right = supermatrix.T @ sums.ravel()
        covariances.append(np.linalg.inv(precision))
        means.append(covariances[-1] @ right)
        terms.append(0.5 * right @ means[-1] - 0.5 * np.linalg.slogdet(precision)[1])
    return np.array(means), np.array(covariances), np.array(terms)


def unpack(packed, rank):
    """Full symmetric matrix of a packed one, by LAPACK's own conversion."""
    upper = np.triu(dtfttr(rank, np.float64(packed))[0])
    return upper + np.triu(upper, 1).T


def second_moments(means, covariances):
    return covariances + means[:, :, None] * means[:, None, :]


def mean_likelihood(zeroth, first, loadings):
    return dense_posteriors(zeroth, first, loadings)[2].mean()


def e_step(zeroth, first, loadings, batch_size=128):
    sums = _total_variability.Accumulators(loadings.shape)
    model = _total_variability.TotalVariability(loadings)
    for start in range(0, len(zeroth), batch_size):
        rows = slice(start, start + batch_size)
        sums.add(zeroth[rows], first[rows], model)
    return sums


@properties
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    n_components=st.integers(1, 5),
    d=st.integers(1, 4),
    batch_size=st.integers(1, 20),
    seed=seeds,
)
def test_statistics_against_their_definition(lengths, n_components, d, batch_size, seed):
    rng = np.random.default_rng(seed)
    ubm = random_ubm(rng, n_components, d).set_params(batch_size=batch_size)
    utterances = make_utterances(rng, lengths, d)
    zeroth, first = baum_welch_statistics(utterances, ubm)
    assert zeroth.dtype == first.dtype == np.float32
    for i, frames in enumerate(utterances):
        expected = np.zeros(n_components), np.zeros((n_components, d))
        for frame in frames:
            joint = [
                np.log(w) + multivariate_normal(m, np.diag(v)).logpdf(frame)
                for w, m, v in zip(ubm.weights_, ubm.means_, ubm.variances_, strict=True)
            ]
            for c, posterior in enumerate(softmax(joint)):
                expected[0][c] += posterior
                expected[1][c] += posterior * (frame - ubm.means_[c])
        np.testing.assert_allclose(zeroth[i], expected[0], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(first[i], expected[1], rtol=1e-3, atol=1e-3)


def test_statistics_far_from_zero_and_in_other_units():
    rng = np.random.default_rng(0)
    ubm = random_ubm(rng, 4, 3)
    X = rng.standard_normal((5, 20, 3)).astype(np.float32)
    shift, unit = 4096.0, 2.0**-4
    moved = make_ubm(ubm.weights_, unit * ubm.means_ + shift, unit**2 * ubm.variances_)
    zeroth, first = baum_welch_statistics(X, ubm)
    moved_zeroth, moved_first = baum_welch_statistics(unit * X.astype(float) + shift, moved)
    # What float32 cannot hold of the moved frames is up to 2**-12, and they vary by 2**-4.
    np.testing.assert_allclose(moved_zeroth, zeroth, atol=0.2)
    np.testing.assert_allclose(moved_first / unit, first, atol=0.5)


def test_statistics_accept_a_frozen_model():
    rng = np.random.default_rng(0)
    ubm, X = random_ubm(rng, 3, 2), rng.standard_normal((4, 6, 2))
    for ours, theirs in zip(
        baum_welch_statistics(X, FrozenEstimator(ubm)), baum_welch_statistics(X, ubm), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@properties
@given(shape=small_shapes, seed=seeds)
def test_posteriors_against_dense_algebra(shape, seed):
    zeroth, first, loadings = random_problem(shape, seed)
    model = _total_variability.TotalVariability(loadings)
    means, terms, packed = _total_variability.posteriors(zeroth, first, model, second_moments=True)
    expected_means, covariances, expected_terms = dense_posteriors(zeroth, first, loadings)
    np.testing.assert_allclose(means, expected_means, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(terms, expected_terms, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        [unpack(row, shape[-1]) for row in packed],
        second_moments(expected_means, covariances),
        rtol=2e-3,
        atol=2e-3,
    )
    without_moments = _total_variability.posteriors(zeroth, first, model)
    np.testing.assert_array_equal(without_moments[0], means)
    assert without_moments[2] is None


def test_likelihood_against_quadrature():
    zeroth, first, loadings = random_problem((3, 2, 1), 0, n=4)
    column = np.float64(loadings[..., 0])
    for i, term in enumerate(dense_posteriors(zeroth, first, loadings)[2]):
        linear = np.sum(column * first[i])
        precision = 1 + np.sum(zeroth[i][:, None] * column**2)
        mode = linear / precision
        highest = 0.5 * linear * mode

        def density(w, linear=linear, precision=precision, highest=highest):
            return np.exp(linear * w - 0.5 * precision * w * w - highest) / np.sqrt(2 * np.pi)

        integral = quad(density, mode - 12, mode + 12, points=[mode])[0]
        assert np.log(integral) + highest == pytest.approx(term, rel=1e-6)


@properties
@given(shape=small_shapes, batch_size=st.integers(1, 13), seed=seeds)
def test_m_step_against_loops(shape, batch_size, seed):
    zeroth, first, loadings = random_problem(shape, seed)
    means, covariances, terms = dense_posteriors(zeroth, first, loadings)
    moments = second_moments(means, covariances)
    expected = np.empty(shape)
    for c in range(shape[0]):
        normal = sum(zeroth[u, c] * moments[u] for u in range(len(zeroth)))
        cross = sum(np.outer(first[u, c], means[u]) for u in range(len(zeroth)))
        expected[c] = cross @ np.linalg.inv(normal)
    sums = e_step(zeroth, first, loadings, batch_size)
    new = _total_variability.maximise(sums, loadings)
    np.testing.assert_allclose(new, expected, rtol=1e-2, atol=1e-2)
    assert sums.n_utterances == len(zeroth)
    assert sums.log_likelihood == pytest.approx(terms.sum(), rel=1e-3, abs=1e-2)


def test_a_component_without_frames_keeps_its_loadings():
    zeroth, first, loadings = random_problem((3, 2, 2), 0)
    zeroth[:, 1], first[:, 1] = 0, 0
    new = _total_variability.maximise(e_step(zeroth, first, loadings), loadings)
    np.testing.assert_array_equal(new[1], loadings[1])
    assert not np.isclose(new[[0, 2]], loadings[[0, 2]]).any()


@properties
@given(shape=small_shapes, seed=seeds)
def test_minimum_divergence(shape, seed):
    zeroth, first, loadings = random_problem((shape[2], *shape[1:]), seed)
    scaled = _total_variability.minimum_divergence(loadings, e_step(zeroth, first, loadings))
    rank = shape[2]
    change = np.linalg.lstsq(
        np.float64(loadings).reshape(-1, rank), np.float64(scaled).reshape(-1, rank)
    )[0]
    # T w = (T J)(J^-1 w): the same posteriors, whose mean second moment is now the identity.
    prior = second_moments(*dense_posteriors(zeroth, first, loadings)[:2]).mean(axis=0)
    np.testing.assert_allclose(change @ change.T, prior, rtol=1e-2, atol=1e-2 * prior.max())
    before = mean_likelihood(zeroth, first, loadings)
    assert mean_likelihood(zeroth, first, scaled) >= before - 1e-4 * (1 + abs(before))


def train(zeroth, first, loadings, **options):
    defaults = {"n_iter": 10, "re_estimate_prior": True, "batch_size": 5, "report": lambda *_: None}
    return _total_variability.train(zeroth, first, loadings, **{**defaults, **options})


@pytest.mark.parametrize("re_estimate_prior", [False, True])
@properties
@given(shape=small_shapes, seed=seeds)
def test_likelihood_never_falls(re_estimate_prior, shape, seed):
    zeroth, first, loadings = random_problem(shape, seed)
    model, terms = train(zeroth, first, loadings, re_estimate_prior=re_estimate_prior)
    assert terms[0] == pytest.approx(mean_likelihood(zeroth, first, loadings), rel=1e-3, abs=1e-3)
    terms = np.append(terms, mean_likelihood(zeroth, first, model.loadings))
    assert (np.diff(terms) >= -1e-4 * (1 + np.abs(terms[1:]))).all()


def test_trained_i_vectors_fit_their_prior():
    zeroth, first, loadings = random_problem((4, 3, 2), 0, n=40)
    model, _ = train(zeroth, first, loadings, n_iter=60)
    moments = second_moments(*dense_posteriors(zeroth, first, model.loadings)[:2])
    np.testing.assert_allclose(moments.mean(axis=0), np.eye(2), atol=0.01)
    # Without minimum divergence that is so at the end only, and the end is farther away.
    with_it, without = (
        train(zeroth, first, loadings, n_iter=5, re_estimate_prior=given)[1][-1]
        for given in (True, False)
    )
    assert with_it > without + 0.01


def test_more_frames_than_float32_can_tell_are_refused():
    loadings = np.random.default_rng(0).standard_normal((1, 1, 5)).astype(np.float32)
    model = _total_variability.TotalVariability(loadings)
    with pytest.raises(np.linalg.LinAlgError, match="1e.12 frames is too long"):
        _total_variability.posteriors(np.full((1, 1), 1e12, "f"), np.zeros((1, 1, 1), "f"), model)
