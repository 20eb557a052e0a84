"""IVectorExtractor: a planted subspace, layouts, seeds, errors, and scikit-learn's contract."""

import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
from scipy.linalg import subspace_angles
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_param_validation, parametrize_with_checks
from support import contract
from support.ivectors import make_ubm, make_utterances

from skdistort.exceptions import InputMismatchError, InputMismatchWarning
from skdistort.ivector import (
    IVectorExtractor,
    UniversalBackgroundModel,
    _utterances,
    baum_welch_statistics,
)

pytestmark = pytest.mark.fast

TINY = UniversalBackgroundModel(n_components=2, random_state=0)
ESTIMATORS = [TINY, IVectorExtractor(n_components=2, ubm=TINY, n_iter=3, random_state=0)]


def planted_problem(n=150, n_components=4, d=5, rank=3, n_frames=200):
    """Utterances of the model itself, its true background model and T."""
    rng = np.random.default_rng(0)
    ubm = make_ubm(
        np.full(n_components, 1 / n_components),
        6 * rng.standard_normal((n_components, d)),
        rng.uniform(0.5, 2.0, (n_components, d)),
    )
    planted = 0.5 * rng.standard_normal((n_components, d, rank))
    factors = rng.standard_normal((n, rank))
    utterances = []
    for w in factors:
        component = rng.integers(n_components, size=rng.integers(n_frames // 2, n_frames))
        noise = rng.standard_normal((len(component), d)) * np.sqrt(ubm.variances_[component])
        utterances.append((ubm.means_ + planted @ w)[component] + noise)
    return utterances, ubm, planted, factors


def test_planted_subspace_is_found():
    utterances, ubm, planted, factors = planted_problem()
    extractor = IVectorExtractor(3, ubm=FrozenEstimator(ubm), random_state=0)
    vectors = extractor.fit_transform(utterances)
    found = extractor.total_variability_
    assert found.shape == planted.shape
    angles = subspace_angles(found.reshape(20, 3), planted.reshape(20, 3))
    assert np.rad2deg(angles).max() < 3
    # Up to a rotation the vectors are the planted factors: what a linear map of them explains.
    residual = factors - vectors @ np.linalg.lstsq(vectors, factors)[0]
    assert (residual**2).sum() < 0.05 * (factors**2).sum()
    assert np.diff(extractor.log_likelihoods_).min() > -1e-3
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(extractor.ubm_.means_, ubm.means_)


def test_i_vectors_are_posterior_means_in_the_units_of_the_frames():
    utterances, ubm, _, _ = planted_problem(n=20, n_frames=30)
    extractor = IVectorExtractor(3, ubm=FrozenEstimator(ubm), random_state=0).fit(utterances)
    zeroth, first = baum_welch_statistics(utterances, ubm)
    T = np.float64(extractor.total_variability_).reshape(20, 3)
    precision = np.diag(1 / ubm.variances_.ravel())
    for counts, sums, vector in zip(zeroth, first, extractor.transform(utterances), strict=True):
        occupancy = np.diag(np.repeat(np.float64(counts), 5))
        left = np.eye(3) + T.T @ precision @ occupancy @ T
        expected = np.linalg.inv(left) @ T.T @ precision @ sums.ravel()
        np.testing.assert_allclose(vector, expected, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(1)
    utterances = make_utterances(rng, rng.integers(1, 60, size=30), 4)
    return IVectorExtractor(3, ubm=UniversalBackgroundModel(4), random_state=0).fit(
        utterances
    ), utterances


def test_an_i_vector_does_not_depend_on_its_neighbours(fitted):
    extractor, utterances = fitted
    together = extractor.transform(utterances)
    alone = np.concatenate([extractor.transform([u]) for u in utterances])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-6)
    backwards = extractor.transform(utterances[::-1])[::-1]
    np.testing.assert_allclose(together, backwards, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 29, 1000])
def test_batches_do_not_show(fitted, batch_size):
    extractor, utterances = fitted
    other = clone(extractor).set_params(batch_size=batch_size)
    np.testing.assert_allclose(
        other.fit_transform(utterances), extractor.transform(utterances), rtol=1e-3, atol=1e-4
    )


def test_layouts_are_the_same_to_it():
    X = np.random.default_rng(0).standard_normal((8, 12, 3)).astype(np.float32)
    extractor = clone(ESTIMATORS[1])
    expected = extractor.fit_transform(X)
    boxed = np.empty(8, dtype=object)
    boxed[:] = list(X)
    for layout in (
        list(X),
        tuple(X),
        boxed,
        X.tolist(),
        X.astype(np.float64),
        np.asfortranarray(X),
    ):
        np.testing.assert_array_equal(clone(extractor).fit_transform(layout), expected)
    # Rows of a table are utterances of one frame.
    np.testing.assert_allclose(
        extractor.transform(X[:, 0]), extractor.transform(X[:, :1]), rtol=1e-5, atol=1e-7
    )


def test_the_seed_decides():
    X = np.random.default_rng(0).standard_normal((10, 30, 3))

    def vectors(seed, ubm=None):
        ubm = UniversalBackgroundModel(4) if ubm is None else ubm
        return IVectorExtractor(2, ubm=ubm, random_state=seed).fit(X)

    np.testing.assert_array_equal(vectors(0).transform(X), vectors(0).transform(X))
    assert not np.allclose(vectors(0).transform(X), vectors(1).transform(X))
    # A seed of the UBM's own is left alone.
    own = UniversalBackgroundModel(4, random_state=3)
    np.testing.assert_array_equal(vectors(0, own).ubm_.means_, own.fit(X).means_)
    assert own.get_params()["random_state"] == 3


def test_default_background_model_and_a_given_one():
    X = np.random.default_rng(0).standard_normal((5, 40, 3))
    assert IVectorExtractor(2, random_state=0).fit(X).ubm_.weights_.shape == (64,)
    given_ubm = UniversalBackgroundModel(3, max_iter=2)
    extractor = IVectorExtractor(2, ubm=given_ubm, random_state=0).fit(X)
    assert extractor.ubm_ is not given_ubm
    assert not hasattr(given_ubm, "means_")
    assert extractor.ubm_.n_iter_ == 2
    frozen = FrozenEstimator(extractor.ubm_)
    assert IVectorExtractor(2, ubm=frozen, random_state=0).fit(X).ubm_ is frozen


def test_copies(fitted, tmp_path):
    extractor, utterances = fitted
    expected = extractor.transform(utterances)
    # The cached products, which grow with the square of the rank, are not pickled.
    wide = IVectorExtractor(40, ubm=UniversalBackgroundModel(10), n_iter=1, random_state=0)
    wide.fit(utterances).transform(utterances)
    stored = pickle.dumps(wide)
    assert len(stored) < 2 * wide.total_variability_.nbytes < 4 * 10 * 820
    np.testing.assert_array_equal(
        pickle.loads(stored).transform(utterances), wide.transform(utterances)
    )
    wide.save(tmp_path / "wide")
    assert (tmp_path / "wide").stat().st_size < 2 * wide.total_variability_.nbytes
    joblib.dump(extractor, tmp_path / "extractor")
    np.testing.assert_array_equal(
        joblib.load(tmp_path / "extractor").transform(utterances), expected
    )
    np.testing.assert_array_equal(clone(extractor).fit_transform(utterances), expected)


def test_feature_names_and_data_frames(fitted):
    pd = pytest.importorskip("pandas")
    extractor, utterances = fitted
    names = ["ivectorextractor0", "ivectorextractor1", "ivectorextractor2"]
    assert extractor.get_feature_names_out().tolist() == names
    frame = clone(extractor).set_output(transform="pandas").fit(utterances).transform(utterances)
    assert isinstance(frame, pd.DataFrame)
    assert frame.columns.tolist() == names


def test_verbose_prints_a_line_an_iteration(capsys):
    X = np.random.default_rng(0).standard_normal((5, 10, 2))
    ubm = UniversalBackgroundModel(2, max_iter=3, tol=0.0, random_state=0)
    IVectorExtractor(2, ubm=ubm, n_iter=4, random_state=0).fit(X)
    assert capsys.readouterr().out == ""
    ubm.set_params(verbose=True)
    extractor = IVectorExtractor(2, ubm=ubm, n_iter=4, verbose=1, random_state=0).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == extractor.ubm_.n_iter_ + 4
    assert lines[-1].startswith("[IVectorExtractor] iteration 4 of 4: mean log-likelihood")


GOOD = np.random.default_rng(0).standard_normal((6, 5, 3))


def spoiled(index, value):
    X = list(GOOD)
    X[index] = value
    return X


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize(
    ("X", "message"),
    [
        (spoiled(2, np.empty((0, 3))), "Utterance 2 of X has no frames"),
        (np.empty((4, 0, 3)), "Utterance 0 of X has no frames"),
        (spoiled(4, np.zeros((5, 2))), "Utterance 4 of X has 2 features, but utterance 0 has 3"),
        (spoiled(3, np.zeros(3)), r"Utterance 3 of X must have shape \(frames, d\), got \(3,\)"),
        (spoiled(5, np.full((2, 3), np.nan)), "NaN or infinite values: the first in utterance 5"),
        (spoiled(0, np.full((1, 3), 1e39)), "NaN or infinite values: the first in utterance 0"),
        (GOOD[None], r"utterances of shape \(n, frames, d\).*got shape \(1, 6, 5, 3\)"),
        (GOOD[0, 0], "Expected 2D array, got 1D array"),
        (np.empty((0, 5, 3)), "0 sample"),
    ],
    ids=["empty", "all empty", "features", "one frame", "nan", "overflow", "4-D", "1-D", "none"],
)
def test_bad_utterances_are_named(estimator, X, message):
    with pytest.raises(ValueError, match=message):
        clone(estimator).fit(X)
    fitted = clone(estimator).fit(GOOD)
    use = fitted.transform if hasattr(fitted, "transform") else fitted.score
    with pytest.raises(ValueError, match=message):
        use(X)


def test_a_sum_that_overflows_is_no_error():
    extractor = clone(ESTIMATORS[1]).fit(GOOD)
    with pytest.raises(InputMismatchError, match="^Utterance 1 of X has frames that lie"):
        extractor.transform(spoiled(1, np.full((4, 3), 3e38)))


@pytest.fixture(scope="module")
def learned():
    """An extractor, and frames as it learned from: far from 0, of unequal deviations."""
    rng = np.random.default_rng(0)
    X = [1, 5, 20] * rng.standard_normal((6, 40, 3)) + [0, -10, 100]
    return clone(ESTIMATORS[1]).fit(X), X


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda x: 32768 * x, "lie .* standard deviations"),
        (lambda x: x / 255, "spread 0.0.* times as far"),
        (lambda x: x + [0, 0, 400], "lie"),
        (lambda x: x[:, ::-1], "lie"),
        (lambda x: np.repeat(x[:1], 40, axis=0), "spread .* times as far"),
    ],
)
def test_frames_in_other_units_are_refused_by_number(change, seen, learned):
    extractor, X = learned
    odd = [*X[:3], change(X[3]), *X[4:]]
    frozen = clone(extractor).set_params(ubm=FrozenEstimator(extractor.ubm_))
    for use in (extractor.transform, extractor.ubm_.score, frozen.fit):
        with pytest.raises(InputMismatchError, match=f"^Utterance 3 of X has frames that {seen}"):
            use(odd)


def test_frames_that_may_be_in_other_units_are_warned_of(learned):
    extractor, X = learned
    mean = X.mean(axis=(0, 1))
    for odd in (mean + 4 * (X - mean), mean + 0.15 * (X - mean)):
        with pytest.warns(InputMismatchWarning, match="^Utterance 0 of X .* as have 5 others"):
            extractor.transform(odd)


def test_what_people_differ_by_passes(learned):
    extractor, X = learned
    mean = X.mean(axis=1, keepdims=True)
    for scale in (0.4, 2.0):
        extractor.transform(mean + scale * (X - mean))
    # A few frames may be alike.
    extractor.transform([X[0], np.repeat(X[1, :1], 15, axis=0)])


def test_blocks_of_frames_do_not_change_what_is_seen(learned, monkeypatch):
    _, X = learned
    frames = np.float32(X).reshape(-1, 3)
    offsets = np.array([0, 1, 40, 41, 100, 240])
    moments = frames.mean(axis=0), frames.std(axis=0)
    whole = _utterances._standardised(frames, offsets, *moments)
    z = (frames - moments[0]) / moments[1]
    for k, (i, j) in enumerate(zip(offsets[:-1], offsets[1:], strict=True)):
        np.testing.assert_allclose(whole[0][k], np.sqrt(np.mean(z[i:j] ** 2)), rtol=1e-4)
        np.testing.assert_allclose(whole[1][k], np.sqrt(z[i:j].var(axis=0).mean()), atol=1e-3)
    monkeypatch.setattr(_utterances, "_BLOCK", 50)
    in_blocks = _utterances._standardised(frames, offsets, *moments)
    for found, expected in zip(in_blocks, whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_too_few_frames_or_utterances():
    with pytest.raises(ValueError, match="n_components=31 needs .* n_samples=30 frames"):
        UniversalBackgroundModel(31).fit(GOOD)
    with pytest.raises(ValueError, match="n_components=31 needs .* n_samples=30 frames"):
        IVectorExtractor(2, ubm=UniversalBackgroundModel(31)).fit(GOOD)
    with pytest.raises(ValueError, match="at least 2 utterances, got n_samples=1"):
        clone(ESTIMATORS[1]).fit(GOOD[:1])
    with pytest.raises(ValueError, match="1 sample.*minimum of 2 is required"):
        clone(ESTIMATORS[1]).fit(GOOD[0, :1])
    assert clone(ESTIMATORS[1]).fit(GOOD).transform(GOOD[:1]).shape == (1, 2)


def test_more_components_than_the_supervector_has_values():
    assert clone(ESTIMATORS[1]).set_params(n_components=6).fit(GOOD)
    with pytest.raises(ValueError, match="n_components=7 must not exceed the 6 values"):
        clone(ESTIMATORS[1]).set_params(n_components=7).fit(GOOD)


def test_frozen_models_that_do_not_fit():
    def fit(frozen):
        IVectorExtractor(2, ubm=FrozenEstimator(frozen)).fit(GOOD)

    with pytest.raises(ValueError, match="X has 3 features, but the frozen ubm .* of 2"):
        fit(clone(TINY).fit(GOOD[..., :2]))
    with pytest.raises(NotFittedError):
        fit(UniversalBackgroundModel())
    with pytest.raises(TypeError, match="FrozenEstimator of StandardScaler"):
        fit(StandardScaler())


def test_statistics_need_a_fitted_model():
    with pytest.raises(NotFittedError):
        baum_welch_statistics(GOOD, UniversalBackgroundModel())
    with pytest.raises(ValueError, match="2 features.*expecting 3"):
        baum_welch_statistics(GOOD[..., :2], clone(TINY).fit(GOOD))


@parametrize_with_checks(ESTIMATORS)
def test_check(estimator, check):
    contract.run_check(check, estimator)


@contract.parametrize_with_extra_checks(ESTIMATORS[1:])
def test_extra_check(estimator, check):
    contract.run_extra_check(check, estimator)


def test_extra_check_of_the_mixture():
    contract.run_extra_check(check_param_validation, TINY)


@pytest.mark.parametrize(("estimator", "fewest"), list(zip(ESTIMATORS, (40, 45), strict=True)))
def test_number_of_checks(estimator, fewest):
    assert contract.count_checks(estimator) >= fewest


def test_importing_needs_no_keras():
    code = "import sys, skdistort.ivector; assert 'keras' not in sys.modules"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
