"""Fusion and calibration of scores against the formulas, a direct fit and known ratios."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_param_validation,
    parametrize_with_checks,
)
from support import contract

from skdistort.fusion import IsotonicCalibration, ScoreFusion
from skdistort.metrics import cllr, equal_error_rate

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=30)
seeds = st.integers(0, 2**32 - 1)
NO_PENALTY = 1e6


def draw_trials(seed, n_genuine=300, n_impostor=700, n_systems=2):
    """Draw scores of systems that see the same trials with noise of their own."""
    rng = np.random.default_rng(seed)
    y = np.repeat([1, 0], [n_genuine, n_impostor])
    noise = rng.standard_normal((len(y), n_systems)) * np.arange(1, n_systems + 1)
    return 2 * y[:, None] + noise + rng.standard_normal((len(y), 1)) / 2, y


def prior_weighted_cross_entropy(llr, y, prior):
    genuine = np.mean(np.logaddexp(0, -llr[y == 1] - logit(prior)))
    impostor = np.mean(np.logaddexp(0, llr[y == 0] + logit(prior)))
    return prior * genuine + (1 - prior) * impostor


@properties
@given(n_systems=st.integers(1, 4), seed=seeds)
def test_standardised_is_the_mean_of_the_standard_scores(n_systems, seed):
    scores, _ = draw_trials(seed, 5, 9, n_systems)
    new, _ = draw_trials(seed + 1, 3, 2, n_systems)
    fused = ScoreFusion().fit(scores).decision_function(new)
    expected = np.mean(
        [(new[:, s] - scores[:, s].mean()) / scores[:, s].std() for s in range(n_systems)], axis=0
    )
    np.testing.assert_allclose(fused, expected, atol=1e-9)


@pytest.mark.parametrize("method", ["standardised", "logistic"])
def test_units_of_a_system_do_not_matter(method):
    scores, y = draw_trials(0)
    fusion = ScoreFusion(method)
    expected = fusion.fit(scores, y).decision_function(scores)
    moved = scores * [1e-5, 300] + [40, -7000]
    fused = fusion.fit(moved, y).decision_function(moved)
    np.testing.assert_allclose(fused, expected, atol=1e-7)


@pytest.mark.parametrize("method", ["standardised", "logistic"])
def test_a_trial_is_scored_by_what_fit_has_seen(method):
    scores, y = draw_trials(0)
    fusion = ScoreFusion(method).fit(scores, y)
    one_by_one = [fusion.decision_function([trial])[0] for trial in scores[:20]]
    np.testing.assert_allclose(fusion.decision_function(scores[:20]), one_by_one, atol=1e-12)


def test_standardised_ignores_labels():
    scores, y = draw_trials(0)
    with_labels, without = (ScoreFusion().fit(scores, labels) for labels in (y, None))
    np.testing.assert_array_equal(with_labels.coef_, without.coef_)
    assert not hasattr(with_labels, "predict_proba")


@pytest.mark.parametrize("method", ["standardised", "logistic"])
def test_fusion_beats_each_system(method):
    rng = np.random.default_rng(0)
    y = np.arange(4000) % 2
    scores = 2 * y[:, None] + rng.standard_normal((4000, 3)) * [1, 1.2, 1.4]
    fused = ScoreFusion(method).fit(scores[:1000], y[:1000]).decision_function(scores)
    best = min(equal_error_rate(y, system)[0] for system in scores.T)
    assert equal_error_rate(y, fused)[0] < best - 0.05


def test_logistic_weighs_a_useless_system_least():
    rng = np.random.default_rng(1)
    y = np.arange(2000) % 2
    scores = np.column_stack((2 * y + rng.standard_normal(2000), 5 * rng.standard_normal(2000)))
    standardised, logistic = (
        equal_error_rate(y, ScoreFusion(m).fit(scores, y).decision_function(scores))[0]
        for m in ("standardised", "logistic")
    )
    assert logistic < standardised - 0.05


@pytest.mark.parametrize("prior", [0.01, 0.5, 0.8])
@pytest.mark.parametrize("n_systems", [1, 3])
def test_logistic_minimises_the_prior_weighted_cross_entropy(n_systems, prior):
    scores, y = draw_trials(2, n_systems=n_systems)

    def loss(parameters):
        return prior_weighted_cross_entropy(scores @ parameters[:-1] + parameters[-1], y, prior)

    best = minimize(loss, np.zeros(n_systems + 1), method="BFGS", options={"gtol": 1e-7})
    fusion = ScoreFusion("logistic", prior=prior, C=NO_PENALTY).fit(scores, y)
    np.testing.assert_allclose([*fusion.coef_, fusion.intercept_], best.x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("prior", [0.001, 0.5])
@pytest.mark.parametrize("C", [1.0, 1e3, 1e6])
def test_logistic_is_that_of_scikit_learn(C, prior):
    scores, y = draw_trials(5)
    standardised = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    weights = np.where(y == 1, prior / y.mean(), (1 - prior) / (1 - y.mean()))
    expected = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10)
    expected.fit(standardised, y, weights)
    fusion = ScoreFusion("logistic", C=C, prior=prior).fit(scores, y)
    log_odds = fusion.decision_function(scores) + logit(prior)
    np.testing.assert_allclose(
        log_odds, expected.decision_function(standardised), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("n", "slope"), [(50, 1), (200, 0.5), (200, 1), (200, 4), (2000, 1), (2000, 4), (2000, 5)]
)
@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (1e-4, 7), (-300, -1e4)])
def test_calibration_shrinks_hardly(n, slope, scale, offset):
    # Unit normals whose means differ by the slope have log-likelihood ratios of that slope.
    rng = np.random.default_rng(3)
    y = np.arange(n) % 2
    x = rng.normal(slope * (y - 0.5))
    assert x[y == 1].min() < x[y == 0].max()
    fusion = ScoreFusion("logistic").fit((scale * x + offset)[:, None], y)

    def loss(parameters):
        return prior_weighted_cross_entropy(parameters[0] * x + parameters[1], y, 0.5)

    unpenalised = minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-7})
    assert scale * fusion.coef_[0] == pytest.approx(unpenalised.x[0], rel=0.007)
    if n == 2000:
        assert scale * fusion.coef_[0] == pytest.approx(slope, rel=0.25)


def test_calibrated_scores_cost_hardly_more_than_true_ratios():
    y, held_out = np.arange(200) % 2, np.arange(20_000) % 2
    losses = {1.0: [], 1e3: []}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        known, new = rng.normal(4.0 * y - 2)[:, None], rng.normal(4.0 * held_out - 2)[:, None]
        for C, values in losses.items():
            llr = ScoreFusion("logistic", C=C).fit(known, y).decision_function(new)
            values.append(cllr(held_out, llr) - cllr(held_out, 4 * new[:, 0]))
    assert ScoreFusion().C == 1e3
    # In bits, of 0.088 that the true ratios cost.
    assert np.median(losses[1e3]) < 0.01 < 0.03 < np.median(losses[1.0])


@pytest.mark.parametrize("gap", [1e-6, 1.0, 100.0])
@pytest.mark.parametrize("prior", [0.001, 0.5])
@pytest.mark.parametrize("n", [2, 20, 20_000])
def test_separable_scores_have_finite_ratios(n, prior, gap):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    scores = np.where(y, 1, -1) * (gap / 2 + np.abs(rng.normal(size=n)))
    fusion = ScoreFusion("logistic", prior=prior).fit(scores[:, None], y)
    llr = fusion.decision_function(scores[:, None])
    assert np.isfinite(llr).all()
    assert ((llr > 0) == y).mean() > 0.9
    assert np.abs(llr).min() < np.log(1e3 * n) + 1


def test_the_penalty_can_be_searched_by_the_cost_of_calibration():
    rng = np.random.default_rng(2)
    y = np.arange(200) % 2
    search = GridSearchCV(
        ScoreFusion("logistic"),
        {"C": [1e-4, 1e3]},
        scoring=lambda fusion, scores, y: -cllr(y, fusion.decision_function(scores)),
        cv=StratifiedKFold(5),
    ).fit(rng.normal(2.0 * y)[:, None], y)
    assert search.best_params_ == {"C": 1e3}


@pytest.mark.parametrize(("n_genuine", "prior"), [(20000, 0.5), (1000, 0.5), (20000, 0.05)])
def test_calibrated_scores_are_the_true_log_likelihood_ratios(n_genuine, prior):
    # Scores of N(3, 2^2) and N(-1, 2^2) have the ratio s - 1, whatever the share of genuine
    # trials. Its slope is known to about 0.05 from 1000 trials.
    rng = np.random.default_rng(3)
    y = np.repeat([True, False], [n_genuine, 20000])
    scores = rng.normal(np.where(y, 3, -1), 2)[:, None]
    fusion = ScoreFusion("logistic", prior=prior).fit(scores, y)
    assert fusion.coef_[0] == pytest.approx(1, abs=0.1)
    assert fusion.intercept_ == pytest.approx(-1, abs=0.2)
    llr = fusion.decision_function(scores)
    np.testing.assert_allclose(
        fusion.predict_proba(scores)[:, 1], expit(llr + logit(prior)), atol=1e-12
    )
    # Among trials given a posterior near p, at the prior fitted for, a share of p is genuine.
    posterior = expit(llr + logit(n_genuine / len(y)))
    for low in (0.2, 0.4, 0.6):
        chosen = (posterior > low) & (posterior < low + 0.2)
        assert y[chosen].mean() == pytest.approx(posterior[chosen].mean(), abs=0.08)


def test_probabilities_sum_to_one_even_far_out():
    scores, y = draw_trials(4)
    fusion = ScoreFusion("logistic").fit(scores, y)
    probabilities = fusion.predict_proba(1e4 * scores)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_probabilities_are_those_of_the_last_fit():
    scores, y = draw_trials(4)
    fusion = ScoreFusion("logistic").fit(scores, y).set_params(method="standardised").fit(scores)
    assert not hasattr(fusion, "classes_")
    with pytest.raises(NotFittedError, match="has not been fitted as 'logistic'"):
        fusion.set_params(method="logistic").predict_proba(scores)


def test_cross_validation_in_shuffled_folds():
    scores, y = draw_trials(4)
    order = np.argsort(-y, kind="stable")
    folds = StratifiedKFold(shuffle=True, random_state=0)
    found = cross_val_score(ScoreFusion("logistic"), scores[order], y[order], cv=folds)
    assert min(found) > 0.6


def test_separated_trials_have_finite_weights():
    fusion = ScoreFusion("logistic").fit([[0.0], [1.0], [9.0], [10.0]], [0, 0, 1, 1])
    assert 0 < fusion.coef_[0] < 10
    # A weaker penalty lets them grow.
    assert (
        ScoreFusion("logistic", C=1e9).fit([[0.0], [1.0], [9.0], [10.0]], [0, 0, 1, 1]).coef_[0]
        > fusion.coef_[0]
    )


@pytest.mark.parametrize("labels", [[0, 1], [False, True], [-1, 1], [0.0, 1.0]])
def test_the_higher_label_is_genuine(labels):
    scores, y = draw_trials(5)
    fusion = ScoreFusion("logistic").fit(scores, np.array(labels)[y])
    assert fusion.classes_.tolist() == labels
    assert (fusion.coef_ > 0).all()
    expected = ScoreFusion("logistic").fit(scores, y).coef_
    np.testing.assert_array_equal(fusion.coef_, expected)


@pytest.mark.parametrize("method", ["standardised", "logistic"])
def test_a_constant_system_is_refused(method):
    scores, y = draw_trials(6, n_systems=3)
    scores[:, 1] = 0.1
    with pytest.raises(ValueError, match=r"same value in every trial in column\(s\) \[1\]"):
        ScoreFusion(method).fit(scores, y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y"),
        ([1, 1, 1], r"got 1 class\(es\): \[1\]"),
        ([0, 1, 2], r"got 3 class\(es\)"),
        (["impostor", "genuine", "genuine"], "must hold numbers or booleans"),
        ([0, 1], "inconsistent numbers of samples"),
        ([0, 1, np.nan], "NaN"),
    ],
)
def test_logistic_needs_two_kinds_of_trials(y, message):
    with pytest.raises(ValueError, match=message):
        ScoreFusion("logistic").fit([[0.1], [0.2], [0.3]], y)


@pytest.mark.parametrize("scores", [[0.1, 0.2, 0.3], [[0.1], [np.nan], [0.3]], [[0.1]]])
def test_scores_that_cannot_be_fused(scores):
    with pytest.raises(ValueError, match="1D array|NaN|1 sample"):
        ScoreFusion().fit(scores)


@pytest.mark.parametrize("method", ["standardised", "logistic"])
def test_score_is_one_minus_the_eer(method):
    scores, y = draw_trials(7)
    fusion = ScoreFusion(method).fit(scores, y)
    expected = 1 - equal_error_rate(y, fusion.decision_function(scores))[0]
    assert fusion.score(scores, 2 * y - 1) == fusion.score(scores, y) == expected
    folds = cross_val_score(fusion, scores, y, cv=StratifiedKFold())
    assert folds.mean() == pytest.approx(expected, abs=0.03)
    with pytest.raises(ValueError, match=r"got 1 class\(es\)"):
        fusion.score(scores, np.ones(len(y)))


ESTIMATORS = [ScoreFusion(), ScoreFusion("logistic")]


@parametrize_with_checks(ESTIMATORS)
def test_check(estimator, check):
    contract.run_check(check, estimator)


@contract.parametrize_with_extra_checks(
    ESTIMATORS, [check_dataframe_column_names_consistency, check_param_validation]
)
def test_extra_check(estimator, check):
    contract.run_extra_check(check, estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: estimator.method)
def test_number_of_checks(estimator):
    # Fewer than a transformer has: there is no transform to check.
    assert contract.count_checks(estimator) >= 40


def test_isotonic_ratios_are_those_of_pooled_shares():
    scores, y = draw_trials(8, 40, 60, 1)
    calibration = IsotonicCalibration(bounded=False).fit(scores, y)
    ratios = calibration.decision_function(scores)
    order = np.argsort(scores[:, 0])
    # PAV: the largest of the least mean shares of genuine trials, over stretches that hold one.
    labels = y[order].astype(float)
    shares = [
        max(min(labels[i : k + 1].mean() for k in range(j, 100)) for i in range(j + 1))
        for j in range(100)
    ]
    with np.errstate(divide="ignore"):
        expected = logit(shares) - logit(0.4)
    np.testing.assert_allclose(ratios[order], expected, atol=1e-9)
    assert np.isinf(ratios).any()
    assert (np.diff(IsotonicCalibration().fit(scores, y).ratios_) >= 0).all()
    assert np.isfinite(IsotonicCalibration().fit(scores, y).decision_function(scores)).all()


def test_isotonic_ratios_of_separated_trials():
    calibration = IsotonicCalibration(bounded=False).fit([[0.0], [1.0], [4.0], [5.0]], [0, 0, 1, 1])
    found = calibration.decision_function([[-9.0], [1.0], [2.0], [4.0], [9.0]])
    np.testing.assert_array_equal(found, [-np.inf, -np.inf, 0, np.inf, np.inf])


def test_isotonic_calibration_follows_any_rising_curve():
    scores, y = draw_trials(9, 1500, 1500, 1)
    bent = np.sign(scores) * scores**4
    new, y_new = draw_trials(10, 1500, 1500, 1)
    fitted = IsotonicCalibration().fit(bent, y).decision_function(np.sign(new) * new**4)
    straight = ScoreFusion("logistic").fit(scores, y).decision_function(new)
    assert cllr(y_new, fitted) < cllr(y_new, straight) + 0.03
    with pytest.raises(ValueError, match="2 columns"):
        IsotonicCalibration().fit(np.c_[scores, scores], y)
