"""UniversalBackgroundModel, against scikit-learn's mixture."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.mixture import GaussianMixture

from skdistort.ivector import IVectorExtractor, UniversalBackgroundModel
from skdistort.ivector._mixture import DiagonalMixture, maximise

pytestmark = pytest.mark.fast


def clustered_frames(rng, n, n_clusters=4, d=3):
    centres = 2 * rng.standard_normal((n_clusters, d))
    return (centres[rng.integers(n_clusters, size=n)] + rng.standard_normal((n, d))).astype("f")


@pytest.mark.parametrize("n_components", [1, 3, 6])
def test_em_as_in_scikit_learn(n_components):
    X = clustered_frames(np.random.default_rng(0), 500)
    options = {"tol": 0.0, "variance_floor": 1e-9, "random_state": 0}
    start = UniversalBackgroundModel(n_components, max_iter=1, **options).fit(X)
    ours = UniversalBackgroundModel(n_components, max_iter=7, **options).fit(X)
    theirs = GaussianMixture(
        n_components,
        covariance_type="diag",
        weights_init=start.weights_,
        means_init=start.means_,
        precisions_init=1 / start.variances_,
        reg_covar=0.0,
        max_iter=ours.n_iter_ - 1,
        tol=0.0,
    )
    with pytest.warns(match="did not converge"):
        theirs.fit(np.float64(X))
    np.testing.assert_allclose(ours.weights_, theirs.weights_, rtol=1e-4)
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.variances_, theirs.covariances_, rtol=1e-4)
    assert ours.score(X) == pytest.approx(theirs.score(np.float64(X)), rel=1e-5)
    # The likelihood at the start of the second iteration is that of one iteration's result.
    assert ours.log_likelihoods_[1] == pytest.approx(start.score(X), rel=1e-6)


@settings(deadline=None, max_examples=25)
@given(
    n=st.integers(6, 60),
    n_components=st.integers(1, 6),
    d=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_mixture_likelihood_never_falls(n, n_components, d, seed):
    X = clustered_frames(np.random.default_rng(seed), n, d=d)
    ubm = UniversalBackgroundModel(n_components, max_iter=15, tol=0.0, random_state=0).fit(X)
    assert len(ubm.log_likelihoods_) == ubm.n_iter_ <= 15
    assert np.diff(ubm.log_likelihoods_).min() >= -1e-4
    np.testing.assert_allclose(ubm.weights_.sum(), 1.0)


def test_mixture_does_not_depend_on_blocks_nor_on_utterances():
    X = clustered_frames(np.random.default_rng(0), 300)
    reference = UniversalBackgroundModel(4, random_state=0).fit(X)
    for batch_size in (7, 100, 299):
        other = clone(reference).set_params(batch_size=batch_size).fit(X.reshape(10, 30, 3))
        np.testing.assert_allclose(other.means_, reference.means_, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(other.variances_, reference.variances_, rtol=1e-3)
        assert other.score([X[:100], X[100:]]) == pytest.approx(reference.score(X), rel=1e-5)


def test_mixture_stops_where_little_is_gained():
    X = clustered_frames(np.random.default_rng(0), 300)
    gains = np.diff(
        UniversalBackgroundModel(6, max_iter=30, tol=0.01, random_state=0).fit(X).log_likelihoods_
    )
    assert gains[-1] < 0.01
    assert (gains[:-1] >= 0.01).all()


def test_variance_floor_is_relative_to_the_variance_of_all_frames():
    rng = np.random.default_rng(0)
    # Two features of very different units; half of the frames are nearly one point.
    units = np.array([1e-3, 1e3])
    X = units * np.concatenate([rng.standard_normal((200, 2)), 3 + 1e-4 * rng.random((200, 2))])
    ubm = UniversalBackgroundModel(2, variance_floor=0.05, random_state=0).fit(X)
    np.testing.assert_allclose(ubm.variances_.min(axis=0), 0.05 * X.var(axis=0), rtol=1e-4)
    free = UniversalBackgroundModel(2, variance_floor=1e-6, random_state=0).fit(X)
    assert (free.variances_.min(axis=0) < 1e-3 * X.var(axis=0)).all()
    assert np.diff(ubm.log_likelihoods_).min() >= -1e-4


def test_a_constant_feature_and_components_without_frames():
    X = np.tile([[0.1, 100.0], [0.1, 101.0], [0.1, 105.0]], (10, 1))
    ubm = UniversalBackgroundModel(6, random_state=0).fit(X)
    for parameter in (ubm.weights_, ubm.means_, ubm.variances_):
        assert np.isfinite(parameter).all()
    assert (ubm.variances_ > 0).all()
    np.testing.assert_allclose(ubm.means_[:, 0], 0.1)
    assert ubm.means_[:, 1].min() >= 99.9
    assert ubm.means_[:, 1].max() <= 105.1
    vectors = IVectorExtractor(2, ubm=ubm, random_state=0).fit_transform(X.reshape(5, 6, 2))
    assert np.isfinite(vectors).all()


def test_a_component_without_frames_keeps_its_mean_and_variance():
    means, variances = np.array([[7.0], [9.0]]), np.array([[2.0], [3.0]])
    mixture = DiagonalMixture(np.full(2, 0.5), means, variances)
    moments = np.array([[10.0, 1.0, 4.0], [0.0, 0.0, 0.0]])
    new = maximise(moments, mixture, np.array([1e-3]))
    np.testing.assert_allclose([new[0][0], new[1][1, 0], new[2][1, 0]], [1.0, 9.0, 3.0])
    assert new[0][1] > 0
    assert new[1][0, 0] == pytest.approx(mixture.centre[0] + 0.1 * mixture.scale[0])
    assert new[2][0, 0] == pytest.approx((0.4 - 0.01) * mixture.scale[0] ** 2)


def test_mixture_starts_from_some_of_the_frames():
    X = clustered_frames(np.random.default_rng(0), 2000)
    ubm = UniversalBackgroundModel(4, n_init_frames=50, max_iter=30, random_state=0)
    full = UniversalBackgroundModel(4, max_iter=30, random_state=0)
    assert ubm.fit(X).score(X) == pytest.approx(full.fit(X).score(X), abs=0.05)
    # As many frames as there are components are drawn all the same.
    UniversalBackgroundModel(4, n_init_frames=1, random_state=0).fit(X)


def test_mixture_holds_no_matrix_of_all_frames_and_components():
    X = clustered_frames(np.random.default_rng(0), 20_000, d=2)
    ubm = UniversalBackgroundModel(
        64, n_init_frames=500, batch_size=256, max_iter=2, random_state=0
    )
    tracemalloc.start()
    try:
        ubm.fit(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.4 * (len(X) * 64 * 4)
