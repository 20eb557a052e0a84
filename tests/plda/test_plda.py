"""PLDA: its scores against Gaussians in full, its fit, and scikit-learn's contract."""

import subprocess
import sys
import warnings
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks
from support import contract
from support.two_covariance import counts_of_classes, draw_classes, draw_model, log_density

from skdistort.metrics import cllr, equal_error_rate, min_cllr, pair_scores
from skdistort.plda import PLDA, _plda, llr_matrix, pair_llr
from skdistort.plda._two_covariance import diagonalise

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=30)
seeds = st.integers(0, 2**32 - 1)


def true_llr(left, right, *model):
    apart = log_density([left], *model) + log_density([right], *model)
    return log_density([left, right], *model) - apart


@properties
@given(d=st.integers(1, 4), n_left=st.integers(1, 4), n_right=st.integers(1, 4), seed=seeds)
def test_llr_is_that_of_the_joint_gaussians(d, n_left, n_right, seed):
    model = mean, between, within = draw_model(seed, d, rank=1 + seed % d)
    rng = np.random.default_rng(seed)
    left, right = 2 * rng.standard_normal((n_left, d)), 2 * rng.standard_normal((n_right, d))
    basis, variances = diagonalise(between, within)
    Z_left, Z_right = (left - mean) @ basis, (right - mean) @ basis
    expected = np.array([[true_llr(a, b, *model) for b in right] for a in left])
    scores = llr_matrix(Z_left, Z_right, variances)
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-6)
    n = min(n_left, n_right)
    pairs = pair_llr(Z_left[:n], Z_right[:n], variances)
    np.testing.assert_allclose(pairs, expected.diagonal(), rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def training_set():
    return draw_classes(1, np.arange(40) % 7 + 1, *draw_model(0, 8))


@pytest.fixture(scope="module")
def test_set():
    return draw_classes(2, [4] * 10, *draw_model(0, 8))


@pytest.fixture(scope="module")
def plda(training_set):
    return PLDA(5).fit(*training_set)


@pytest.mark.parametrize("length_norm", [True, False])
def test_scores_of_input_vectors(training_set, test_set, length_norm):
    plda = PLDA(5, length_norm=length_norm).fit(*training_set)
    X = test_set[0][:6]
    Z = (X - training_set[0].mean(axis=0)) @ plda.projection_
    if length_norm:
        Z = [z / np.sqrt(z @ z) for z in Z]
    model = plda.mean_, plda.between_covariance_, plda.within_covariance_
    expected = plda.llr_scale_ * np.array([[true_llr(a, b, *model) for b in Z] for a in Z])
    matrix = plda.score_matrix(X, X)
    np.testing.assert_allclose(matrix, expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(plda.score_matrix(X[:2], X[2:]), expected[:2, 2:], atol=1e-8)
    np.testing.assert_allclose(plda.pair_score(X[:3], X[3:]), expected[:3, 3:].diagonal())
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)


def test_encoded_once_scores_the_same(plda, test_set):
    X = test_set[0]
    Z = plda.transform(X)
    matrix, pairs = plda.score_matrix(X[:9], X), plda.pair_score(X[:9], X[9:18])
    scale, variances = plda.llr_scale_, plda.between_variances_
    np.testing.assert_allclose(scale * llr_matrix(Z[:9], Z, variances), matrix, atol=1e-9)
    np.testing.assert_allclose(scale * pair_llr(Z[:9], Z[9:18], variances), pairs, atol=1e-9)


def test_float32_scores(plda, test_set):
    X = test_set[0]
    single = plda.score_matrix(X.astype(np.float32), X.astype(np.float32))
    assert single.dtype == np.float32
    assert plda.pair_score(np.float32(X), np.float32(X)).dtype == np.float32
    # Some hundred roundings of terms of size 10.
    np.testing.assert_allclose(single, plda.score_matrix(X, X), atol=1e-3)


def test_score_is_one_minus_the_eer_of_every_pair(plda, test_set):
    X, y = test_set
    pairs = list(combinations(range(len(y)), 2))
    left, right = np.transpose(pairs)
    expected = 1 - equal_error_rate(y[left] == y[right], plda.pair_score(X[left], X[right]))[0]
    assert plda.score(X, y) == pytest.approx(expected, abs=1e-12)


def test_score_with_names_and_data_frames(training_set, test_set):
    X, y = test_set
    plda = PLDA(5).set_output(transform="pandas").fit(*training_set)
    assert list(plda.transform(X).columns) == [f"plda{i}" for i in range(5)]
    assert isinstance(plda.pair_score(X, X), np.ndarray)
    assert plda.score(X, [f"speaker {label}" for label in y]) == plda.score(X, y)


def test_units_of_ratios_with_few_classes():
    # Many more axes than classes: a model that took its own classes for all would be sure.
    d = 60
    model = np.zeros(d), np.diag(1 / np.arange(1.0, d + 1)), np.diag(np.arange(1.0, d + 1) ** -0.5)
    X, y = draw_classes(0, [3] * 16, *model)
    test = draw_classes(1, [4] * 40, *model)

    def lost_bits(plda):
        genuine, ratios = plda.fit(X, y)._score_all_pairs(*test)
        return cllr(genuine, ratios) - min_cllr(genuine, ratios)

    assert lost_bits(PLDA()) < 0.15
    assert lost_bits(PLDA(n_folds=None)) > 0.4


def test_says_when_ratios_cannot_be_read(training_set):
    X, y = training_set
    message = "cannot be read as such, though they rank: its 3 classes are too few"
    with pytest.warns(UserWarning, match=message):
        PLDA().fit(X[y > 36], y[y > 36])
    # All but two classes of one sample: no fold can be compared.
    with pytest.warns(UserWarning, match="its 12 classes are too few"):
        PLDA().fit(X[:14], [0, 0, 1, 1, *range(2, 12)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PLDA().fit(X, y)
        PLDA(n_folds=None).fit(X[y > 36], y[y > 36])


def test_models_of_several_vectors_by_the_book(training_set, test_set):
    plda = PLDA(5, length_norm=False).fit(*training_set)
    X = test_set[0]
    models, probes = np.array(["b", "a", "b", "b", "a", "c"]), X[6:10]
    model = plda.mean_, plda.between_covariance_, plda.within_covariance_
    Z = (X - training_set[0].mean(axis=0)) @ plda.projection_
    expected = [
        [
            log_density([*Z[:6][models == name], probe], *model)
            - log_density(Z[:6][models == name], *model)
            - log_density([probe], *model)
            for probe in Z[6:10]
        ]
        for name in "abc"
    ]
    scores = plda.score_models(X[:6], models, probes)
    np.testing.assert_allclose(scores, plda.llr_scale_ * np.array(expected), rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(scores[2], plda.score_matrix(X[5:6], probes)[0], atol=1e-8)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        plda.score_models(X[:6], models[:5], probes)


def test_better_than_cosine_where_the_classes_vary_along_few_axes():
    within = np.diag([40.0, 40.0, *[0.2] * 8])
    model = np.zeros(10), np.eye(10), within
    plda = PLDA().fit(*draw_classes(0, [8] * 150, *model))
    X, y = draw_classes(1, [5] * 40, *model)
    cosine = 1 - equal_error_rate(*pair_scores(X, y, metric="cosine"))[0]
    assert plda.score(X, y) > 0.85 > 0.6 > cosine


@properties
@given(counts=counts_of_classes.filter(lambda counts: len(counts) > 2), seed=seeds)
def test_log_likelihoods_of_fit_never_fall(counts, seed):
    X, y = draw_classes(seed, counts, *draw_model(seed, 4))
    plda = PLDA(shrinkage=None, n_iter=6, n_folds=None)
    log_likelihoods = plda.fit(X, y).log_likelihoods_
    assert log_likelihoods.shape == (7,)
    assert (np.diff(log_likelihoods) >= -1e-9 * abs(log_likelihoods[1:])).all()


def test_iterations_go_on_from_one_another(training_set):
    short, long = (PLDA(n_iter=n, n_folds=None).fit(*training_set).log_likelihoods_ for n in (2, 5))
    np.testing.assert_array_equal(short, long[:3])
    assert long[-1] > long[0]


def test_transform_diagonalises_the_model(plda, test_set):
    V = plda.basis_
    np.testing.assert_allclose(V.T @ plda.within_covariance_ @ V, np.eye(5), atol=1e-9)
    between = V.T @ plda.between_covariance_ @ V
    np.testing.assert_allclose(between, np.diag(plda.between_variances_), atol=1e-9)
    Z = plda.transform(test_set[0]) @ np.linalg.inv(V) + plda.mean_
    np.testing.assert_allclose(np.linalg.norm(Z, axis=1), 1)


@pytest.mark.parametrize("d", [4, 500])
@pytest.mark.parametrize("shrinkage", [None, "auto"])
def test_units_shifts_and_constant_features_do_not_matter(d, shrinkage):
    # Means of 3, 6 and 7 equal numbers are not always those numbers.
    X, y = draw_classes(0, [3, 6, 7] * 4, *draw_model(1, d))
    rng = np.random.default_rng(2)
    moved = X * np.exp(rng.normal(0, 3, d)) + rng.normal(0, 10, d)
    constant = np.tile([0.1, 1e6 / 3, 0.0], (len(X), 1))
    plda = PLDA(3, shrinkage=shrinkage, n_folds=3)
    expected = plda.fit(X, y).score_matrix(X, X)
    atol = 1e-6 * abs(expected).max()
    np.testing.assert_allclose(plda.fit(moved, y).score_matrix(moved, moved), expected, atol=atol)
    if shrinkage is None:
        wide = np.hstack([constant, X])
        np.testing.assert_allclose(plda.fit(wide, y).score_matrix(wide, wide), expected, atol=atol)


def test_many_more_features_than_samples():
    X, y = draw_classes(0, [5] * 12, np.zeros(6), 9 * np.eye(6), np.eye(6))
    # The covariance of 48,000 features would take 18 GB.
    X = np.tile(X, 8000)
    plda = PLDA(n_folds=None).fit(X, y)
    assert plda.projection_.shape == (48_000, 6)
    assert plda.score(X, y) > 0.9


def test_shrinkage_helps_where_there_are_more_features_than_samples():
    model = np.zeros(300), np.diag(4 / np.arange(1, 301)), np.diag(1 / np.arange(1, 301) ** 0.5)
    training, test = draw_classes(0, [6] * 30, *model), draw_classes(1, [5] * 40, *model)
    shrunk, plain = (
        PLDA(shrinkage=s, n_folds=None).fit(*training).score(*test) for s in ("auto", None)
    )
    assert shrunk > plain + 0.03


def test_one_dimension_keeps_its_lengths():
    X, y = draw_classes(0, [10] * 2, *draw_model(0, 4))
    Z = PLDA(1).fit_transform(X, y)
    assert Z.shape == (20, 1)
    assert len(np.unique(Z)) == 20


def test_no_variance_within_the_classes_after_length_normalisation():
    directions = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    X, y = np.vstack([directions, 2 * directions]), np.tile(np.arange(4), 2)
    plda = PLDA().fit(X, y)
    assert np.isfinite(plda.score_matrix(X, X)).all()
    assert plda.score(X, y) == 1


def test_fewer_components_are_the_first_ones(training_set):
    few, many = (PLDA(n, n_folds=None).fit(*training_set).projection_ for n in (2, None))
    assert many.shape == (8, 8)
    np.testing.assert_array_equal(few, many[:, :2])


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.eye(4), [1, 1, 1, 1], "y has one class: 1"),
        (np.eye(4), ["a", "b", "c", "d"], "4 samples in as many classes"),
        ([[1.0], [1.0], [2.0], [2.0]], [0, 0, 1, 1], "varies within no class"),
        ([[1.0], [2.0], [1.0], [2.0]], [0, 0, 1, 1], "same mean"),
        ([[1.0], [np.nan], [1.0], [2.0]], [0, 0, 1, 1], "NaN"),
    ],
)
@pytest.mark.parametrize("shrinkage", [None, "auto"])
def test_data_that_allow_no_model(X, y, message, shrinkage):
    with pytest.raises(ValueError, match=message):
        PLDA(shrinkage=shrinkage).fit(X, y)


@pytest.mark.parametrize(("counts", "most"), [([9] * 4, 3), ([2] + [1] * 8, 1), ([9] * 9, 6)])
def test_too_many_components(counts, most):
    X, y = draw_classes(0, counts, *draw_model(0, 6))
    plda = PLDA(most, shrinkage=None, n_folds=None)
    assert plda.fit_transform(X, y).shape == (len(X), most)
    with pytest.raises(ValueError, match=rf"n_components={most + 1} is more than the {most} that"):
        plda.set_params(n_components=most + 1).fit(X, y)


def test_pairs_of_different_length(plda, test_set):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        plda.pair_score(test_set[0][:3], test_set[0][:4])


def test_score_needs_both_kinds_of_pairs(plda, test_set):
    with pytest.raises(ValueError, match="both classes"):
        plda.score(test_set[0], np.zeros(len(test_set[0])))
    with pytest.raises(ValueError, match="y contains NaN"):
        plda.score(test_set[0], np.where(np.arange(len(test_set[0])), 1, np.nan))


def test_keras_is_not_needed():
    code = "import sys, skdistort.plda, skdistort.fusion; assert 'keras' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@parametrize_with_checks(
    [PLDA(), PLDA(shrinkage=None, n_folds=None), PLDA(length_norm=False, n_folds=None)]
)
def test_check(estimator, check):
    contract.run_check(check, estimator)


@contract.parametrize_with_extra_checks([PLDA()])
def test_extra_check(estimator, check):
    contract.run_extra_check(check, estimator)


def test_number_of_checks():
    assert contract.count_checks(PLDA()) >= 45


def test_decides_where_it_was_calibrated(training_set, test_set):
    plda, (X, y) = PLDA(5).fit(*training_set), test_set
    with pytest.raises(NotFittedError, match="no threshold"):
        plda.verify(X[:2], X[:2])
    assert plda.calibrate_threshold(X, y, strategy="fmr", target_fmr=0.1) is plda
    left, right = np.triu_indices(len(y), 1)
    genuine, accepted = y[left] == y[right], plda.verify(X[left], X[right])
    assert accepted.dtype == bool
    np.testing.assert_array_equal(accepted, plda.score_trials(X, left, right) >= plda.threshold_)
    assert 0 < accepted[~genuine].mean() <= 0.1 < accepted[genuine].mean()
    plda.calibrate_probability(X, y)
    likely = plda.verify_proba(X[left], X[right])
    assert likely[genuine].mean() > 0.5 > likely[~genuine].mean()


def test_a_new_fit_forgets_where_to_decide(training_set, test_set):
    plda = PLDA(5).fit(*training_set).calibrate_threshold(*test_set)
    plda.fit(*training_set)
    with pytest.raises(NotFittedError):
        plda.verify(test_set[0], test_set[0])


def test_adapts_as_kaldi_does(training_set):
    plda = PLDA(5, n_folds=None).fit(*training_set)
    X = 0.5 + 3 * draw_classes(5, [4] * 30, *draw_model(3, 8))[0]
    mean, W, B = plda.mean_, plda.within_covariance_, plda.between_covariance_
    Z = (X - plda.input_mean_) @ plda.projection_
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    # The program's own steps: the model diagonal and of total variance 1, then the eigenvectors of
    # what is seen, and each direction of a variance above 1 in turn.
    to_one = plda.basis_.T / np.sqrt(1 + plda.between_variances_)[:, None]
    moved = Z.mean(axis=0) - mean
    variance = to_one @ (np.cov(Z.T, bias=True) + np.outer(moved, moved)) @ to_one.T
    values, vectors = np.linalg.eigh(variance)
    parts = [vectors.T @ to_one @ part @ to_one.T @ vectors for part in (W, B)]
    for i, value in enumerate(values):
        if value > 1:
            parts[0][i, i] += (value - 1) * 0.6
            parts[1][i, i] += (value - 1) * 0.3
    back = np.linalg.inv(vectors.T @ to_one)
    plda.calibrate_threshold(*training_set)
    assert plda.adapt(X, within_scale=0.6, between_scale=0.3) is plda
    assert (values > 1).any()
    np.testing.assert_allclose(plda.mean_, Z.mean(axis=0))
    np.testing.assert_allclose(plda.within_covariance_, back @ parts[0] @ back.T, atol=1e-9)
    np.testing.assert_allclose(plda.between_covariance_, back @ parts[1] @ back.T, atol=1e-9)
    assert not hasattr(plda, "threshold_")
    with pytest.raises(ValueError, match="within_scale must be a number of 0 or more"):
        plda.adapt(X, within_scale=-1)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [((0.5, 0.4, 0.3), 0.7), ((0.5, 0.2, 0.3), 0.3), ((0.5, 0.5, 0.5), "auto")],
)
def test_classes_held_out_choose_the_shrinkage(losses, expected, monkeypatch):
    X, y = load_digits(return_X_y=True)
    X, y = X[:300], y[:300]
    found = iter(losses)
    monkeypatch.setattr(_plda, "scaled_cllr", lambda folds, *scales: next(found))
    plda = PLDA().fit(X, y)
    assert plda.shrinkage_ == expected
    assert plda.shrinkage == "auto"
    if expected == "auto":
        return
    alone = PLDA(shrinkage=expected)
    monkeypatch.setattr(_plda, "scaled_cllr", lambda folds, *scales: 0.0)
    alone.fit(X, y)
    assert alone.shrinkage_ == expected
    for name in ("projection_", "mean_", "between_covariance_", "within_covariance_"):
        np.testing.assert_array_equal(getattr(plda, name), getattr(alone, name))
    assert plda.llr_scale_ == alone.llr_scale_


def test_without_held_out_classes_the_formula_shrinks():
    X, y = load_digits(return_X_y=True)
    assert PLDA(n_folds=None).fit(X[:300], y[:300]).shrinkage_ == "auto"
    assert PLDA(shrinkage=None).fit(X[:300], y[:300]).shrinkage_ is None


def test_the_shrinkage_that_is_chosen_tells_unseen_classes_apart_better():
    X, y = load_digits(return_X_y=True)
    known = np.isin(y, [1, 2, 4, 6, 8, 9])
    with warnings.catch_warnings():
        # Of six classes no ratios can be read.
        warnings.simplefilter("ignore", UserWarning)
        chosen, formula = (PLDA(n_folds=n).fit(X[known], y[known]) for n in (10, None))
    assert chosen.shrinkage_ == 0.7
    # 0.82 and 0.78.
    assert chosen.score(X[~known], y[~known]) > formula.score(X[~known], y[~known]) + 0.02
