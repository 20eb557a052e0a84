"""Costs of detection and of calibration, operating points and d', from their definitions."""

from functools import partial
from statistics import mean, pvariance

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import det_curve, log_loss
from support.comparisons import comparisons, vertices_by_counting

from skdistort.metrics import (
    act_dcf,
    average_dcf,
    bayes_threshold,
    best_f1_threshold,
    cllr,
    d_prime,
    equal_error_rate,
    fnmr_at_fmr,
    min_cllr,
    min_dcf,
    operating_points,
)

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=60)
priors = st.floats(0.001, 0.999)
costs = st.floats(0.1, 20)
applications = st.fixed_dictionaries({"p_target": priors, "c_miss": costs, "c_fa": costs})


def normal_scores(n=20_000, seed=0, genuine_share=0.3):
    rng = np.random.default_rng(seed)
    y_true = rng.random(n) < genuine_share
    return y_true, rng.standard_normal(n) + 2 * y_true


def cost_by_definition(fnmr, fmr, p_target, c_miss, c_fa, normalize=True):
    cost = c_miss * p_target * fnmr + c_fa * (1 - p_target) * fmr
    return cost / min(c_miss * p_target, c_fa * (1 - p_target)) if normalize else cost


@properties
@given(comparisons(), applications, st.booleans())
def test_min_dcf_is_the_lowest_cost_of_all_thresholds(pairs, application, normalize):
    costs = {
        t: cost_by_definition(float(fnmr), float(fmr), **application, normalize=normalize)
        for t, fmr, fnmr in vertices_by_counting(*pairs)
    }
    cost, threshold = min_dcf(*pairs, **application, normalize=normalize)
    assert cost == pytest.approx(min(costs.values()), abs=1e-12)
    assert costs[threshold] == pytest.approx(cost, abs=1e-12)
    y, s = pairs
    by_distance = min_dcf(y, -s, **application, normalize=normalize, distances=True)
    assert by_distance == (cost, -threshold)


@pytest.mark.parametrize("p_target", [0.01, 0.05, 0.5, 0.99])
def test_min_dcf_agrees_with_scikit_learn_points(p_target):
    y_true, y_score = normal_scores()
    fpr, fnr, _ = det_curve(y_true, y_score)
    expected = cost_by_definition(fnr, fpr, p_target, 1, 1).min()
    # det_curve may leave out the rejection of all, which costs 1.
    assert min_dcf(y_true, y_score, p_target=p_target)[0] == pytest.approx(min(expected, 1))


def test_min_dcf_of_known_cases():
    assert min_dcf([1, 1, 0, 0], [4, 3, 2, 1]) == (0.0, 3.0)
    # Of no use: rejecting every pair costs least where genuine ones are rare, else accepting.
    useless = [1, 1, 0, 0], np.zeros(4, dtype=np.float32)
    assert min_dcf(*useless, p_target=0.01) == (1.0, float(np.nextafter(np.float32(0), 1)))
    assert min_dcf(*useless, p_target=0.99) == (1.0, 0.0)
    assert min_dcf(*useless, p_target=0.01, normalize=False)[0] == pytest.approx(0.01)
    # The lenient one of two thresholds that cost the same.
    assert min_dcf([0, 1, 0, 1], [1, 2, 3, 4], p_target=0.5) == (0.5, 2.0)


@properties
@given(comparisons(), applications, st.booleans())
def test_act_dcf_is_the_cost_at_the_threshold_of_bayes(pairs, application, normalize):
    y, llr = pairs
    accepted = [
        application["p_target"] * application["c_miss"] * np.exp(float(s))
        >= (1 - application["p_target"]) * application["c_fa"]
        for s in llr
    ]
    misses = mean(float(not a) for a, genuine in zip(accepted, y, strict=True) if genuine)
    false_alarms = mean(float(a) for a, genuine in zip(accepted, y, strict=True) if not genuine)
    expected = cost_by_definition(misses, false_alarms, **application, normalize=normalize)
    actual = act_dcf(y, llr, **application, normalize=normalize)
    assert actual == pytest.approx(expected, abs=1e-12)
    assert actual >= min_dcf(y, llr, **application, normalize=normalize)[0] - 1e-12


def test_act_dcf_of_true_ratios_is_close_to_the_minimum():
    y, x = normal_scores(200_000)
    # The log-likelihood ratio of unit normals at 2 and at 0.
    llr = 2 * x - 2
    application = {"p_target": 0.1, "c_miss": 3.0}
    minimum, threshold = min_dcf(y, llr, **application)
    assert act_dcf(y, llr, **application) == pytest.approx(minimum, rel=0.01)
    assert threshold == pytest.approx(bayes_threshold(**application), abs=0.3)
    assert act_dcf(y, llr + 3, **application) > 2 * minimum
    assert cllr(y, llr) == pytest.approx(min_cllr(y, llr), rel=0.01)
    assert cllr(y, 3 * llr) > cllr(y, llr) < cllr(y, llr / 3)


def test_bayes_threshold():
    assert bayes_threshold(0.01) == pytest.approx(np.log(99))
    assert bayes_threshold(0.01, c_miss=10, c_fa=1) == pytest.approx(np.log(9.9))
    assert act_dcf([1, 0], [0.0, -1.0], p_target=0.5) == 0


@properties
@given(comparisons())
def test_cllr_is_the_cross_entropy_of_the_posteriors(pairs):
    y, llr = pairs
    posterior = 1 / (1 + np.exp(-llr.astype(float)))
    # Both classes weigh the same, whatever their sizes.
    weight = np.where(y, 0.5 / y.sum(), 0.5 / (~y).sum())
    bits = log_loss(y, posterior, sample_weight=weight, labels=[False, True]) / np.log(2)
    assert cllr(y, llr) == pytest.approx(bits)


def test_cllr_of_extreme_ratios():
    assert cllr([1, 0], [1e30, -1e30]) == 0
    assert cllr([1, 0], [-2000 * np.log(2), -1e30]) == pytest.approx(1000)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("genuine_share", [0.5, 0.01])
def test_cllr_of_many_ratios_is_the_mean_of_softplus(genuine_share, dtype):
    # More than are looked at together, some of them too large for an exponential.
    rng = np.random.default_rng(0)
    y = rng.random(50_001) < genuine_share
    llr = rng.normal(np.where(y, 3.0, -3.0), 2.0).astype(dtype)
    llr[[7, 30_000]] = -1e4, 1e4
    costs = np.logaddexp(0, np.where(y, -llr, llr).astype(float)) / np.log(2)
    expected = (costs[y].mean() + costs[~y].mean()) / 2
    assert cllr(y, llr) == pytest.approx(expected, rel=1e-12)


def test_cllr_of_a_nearly_perfect_system_is_not_rounded_to_zero():
    assert cllr([1, 0], [60.0, -60.0]) == pytest.approx(np.exp(-60) / np.log(2), rel=1e-12, abs=0)


def pooled_llrs(y_true, y_score):
    """Best rising map to log-likelihood ratios: pool adjacent violators, one block at a time."""
    blocks = []
    for level in sorted(set(y_score.tolist())):
        here = y_true[y_score == level]
        blocks.append([int(here.sum()), int((~here).sum()), here.size])
        while len(blocks) > 1 and (
            blocks[-2][0] * sum(blocks[-1][:2]) >= blocks[-1][0] * sum(blocks[-2][:2])
        ):
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    prior_odds = y_true.sum() / (~y_true).sum()
    with np.errstate(divide="ignore"):
        llrs = [np.log(np.float64(g) / np.float64(i) / prior_odds) for g, i, _ in blocks]
    return np.repeat(llrs, [n for *_, n in blocks]), np.argsort(y_score, kind="stable")


@properties
@given(comparisons())
def test_min_cllr_is_the_cllr_of_pooled_ratios(pairs):
    y, s = pairs
    llr, order = pooled_llrs(y, s)
    y_sorted = y[order]
    with np.errstate(over="ignore"):
        genuine = np.log2(1 + np.exp(-llr[y_sorted])).mean()
        impostor = np.log2(1 + np.exp(llr[~y_sorted])).mean()
    assert min_cllr(y, s) == pytest.approx((genuine + impostor) / 2, abs=1e-12)


@properties
@given(comparisons(), st.floats(0.05, 5), st.floats(-3, 3))
def test_no_rising_map_costs_less_than_min_cllr(pairs, slope, offset):
    y, s = pairs
    lowest = min_cllr(y, s)
    assert 0 <= lowest <= 1 + 1e-12
    assert lowest <= cllr(y, slope * s + offset) + 1e-12
    assert lowest <= cllr(y, np.arctan(slope * s) + offset) + 1e-12


def test_min_cllr_of_known_cases():
    assert min_cllr([1, 1, 0], [3, 2, 1]) == 0
    assert min_cllr([1, 0, 0], [1, 1, 1]) == pytest.approx(1)
    assert min_cllr([1, 0, 0], [1, 2, 3]) == pytest.approx(1)


def test_operating_points_are_those_of_the_field():
    y = np.repeat([True, False], [400, 5000])
    rng = np.random.default_rng(0)
    s = np.concatenate((rng.normal(3, 1, 400), rng.normal(0, 1, 5000)))
    points = operating_points(y, s)
    strictest = np.sort(s[~y])[::-1]
    for point, allowed in zip(points, (50, 5, 0), strict=True):
        # So many impostors are accepted, and the next one is not.
        assert point.fnmr == np.mean(s[y] <= strictest[allowed])
        assert np.sum(s[~y] >= point.threshold) <= allowed
    assert points.fmr100.fnmr < points.fmr1000.fnmr < points.zero_fmr.fnmr
    by_distance = operating_points(y, -s, distances=True)
    assert [(p.fnmr, -p.threshold) for p in by_distance] == [tuple(p) for p in points]


@properties
@given(comparisons())
def test_d_prime_is_its_definition(pairs):
    y, s = pairs
    genuine, impostor = s[y].tolist(), s[~y].tolist()
    spread = ((pvariance(genuine) + pvariance(impostor)) / 2) ** 0.5
    difference = mean(genuine) - mean(impostor)
    if spread > 0:
        assert d_prime(y, s) == pytest.approx(difference / spread, abs=1e-12)
        assert d_prime(y, 5 - 3 * s) == pytest.approx(-d_prime(y, s), rel=1e-5, abs=1e-5)
    else:
        assert d_prime(y, s) == (difference and np.copysign(np.inf, difference))
    assert d_prime(y, -s, distances=True) == d_prime(y, s)


def test_d_prime_recovers_the_distance_of_normals():
    assert d_prime(*normal_scores(200_000)) == pytest.approx(2, abs=0.02)


def eer(y_true, y_score, *, method, **options):
    return equal_error_rate(y_true, y_score, method=method, **options)[0]


def first_of(metric, **parameters):
    return lambda y, s, **options: metric(y, s, **parameters, **options)[0]


def fnmrs(y_true, y_score, **options):
    return [point.fnmr for point in operating_points(y_true, y_score, **options)]


RANK_BASED = {
    "interp": partial(eer, method="interp"),
    "midpoint": partial(eer, method="midpoint"),
    "rocch": partial(eer, method="rocch"),
    "fnmr": first_of(fnmr_at_fmr, target_fmr=0.1),
    "points": fnmrs,
    "f1": first_of(best_f1_threshold),
    "dcf": first_of(min_dcf, p_target=0.2, c_miss=3.0, c_fa=0.5),
    "cllr": min_cllr,
}


@pytest.mark.parametrize("name", RANK_BASED)
@properties
@given(comparisons())
def test_rank_based_measures_ignore_what_should_not_matter(name, pairs):
    (y, s), measure = pairs, RANK_BASED[name]
    expected = pytest.approx(measure(y, s), abs=1e-12)
    assert measure(y, s**3 + s) == expected
    assert measure(y, np.exp(s.astype(np.float64))) == expected
    assert measure(y, -s, distances=True) == expected
    assert measure(np.tile(y, 3), np.tile(s, 3)) == expected
    assert measure(y[::-1].astype(int), s[::-1].tolist()) == expected


# The swap of roles: impostor pairs are accepted at low scores, and the costs change sides.
SWAPPED = {
    **{name: RANK_BASED[name] for name in ("interp", "midpoint", "rocch", "cllr")},
    "dcf": first_of(min_dcf, p_target=0.8, c_miss=0.5, c_fa=3.0),
}


@pytest.mark.parametrize("name", SWAPPED)
@properties
@given(comparisons())
def test_swapped_roles(name, pairs):
    y, s = pairs
    assert SWAPPED[name](~y, -s) == pytest.approx(RANK_BASED[name](y, s), abs=1e-12)


@properties
@given(comparisons())
def test_measures_of_discrimination_agree_on_their_order(pairs):
    # min_dcf at equal costs, unnormalised, is at most the EER of the hull for every prior, and
    # the EER is the highest of these minima (BOSARIS, section on ROCCH).
    y, s = pairs
    highest = eer(y, s, method="rocch")
    priors = np.linspace(0.02, 0.98, 25)
    minima = [min_dcf(y, s, p_target=p, normalize=False)[0] for p in priors]
    assert max(minima) <= highest + 1e-12
    assert max(minima) >= highest - 0.04


@pytest.mark.parametrize("measure", [min_dcf, act_dcf, cllr, min_cllr, d_prime, operating_points])
def test_bad_comparisons_are_refused(measure):
    with pytest.raises(ValueError, match="both classes, got 2 genuine"):
        measure([1, 1], [0.5, 0.6])
    # Infinite ratios are decided upon like any.
    for bad in (np.nan, *([] if measure is act_dcf else [np.inf])):
        with pytest.raises(ValueError, match="y_score must be finite"):
            measure([1, 0], [0.5, bad])


@pytest.mark.parametrize(
    ("name", "value"),
    [*(("p_target", p) for p in (0, 1, -0.1, np.nan)), ("c_miss", 0), ("c_fa", np.inf)],
)
def test_bad_applications_are_refused(name, value):
    for call in (
        partial(min_dcf, [1, 0], [1, 0]),
        partial(act_dcf, [1, 0], [1, 0]),
        bayes_threshold,
    ):
        with pytest.raises(ValueError, match=f"{name} must be"):
            call(**{name: value})


@properties
@given(comparisons(), st.lists(priors, min_size=1, max_size=4), costs, costs, st.booleans())
def test_average_dcf_is_the_mean_over_priors(pairs, p_targets, c_miss, c_fa, actual):
    costs_of_both = {"c_miss": c_miss, "c_fa": c_fa}
    found = average_dcf(*pairs, p_targets=p_targets, actual=actual, **costs_of_both)
    expected = [
        act_dcf(*pairs, p_target=p, **costs_of_both)
        if actual
        else min_dcf(*pairs, p_target=p, **costs_of_both)[0]
        for p in p_targets
    ]
    assert found == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("p_targets", [(), [0.5, 1.0], [[0.5]]])
def test_average_dcf_needs_priors(p_targets):
    with pytest.raises(ValueError, match="p_target"):
        average_dcf([True, False], [1.0, 0.0], p_targets=p_targets)


def test_infinite_ratios_are_decided_by_their_sign():
    y, finite = [True, True, False, False], np.array([50.0, 3.0, -50.0, -9.0])
    infinite = np.where(abs(finite) == 50, np.inf * finite, finite)
    for ratios in (infinite, infinite.astype(np.float32), -infinite):
        sign = np.sign(ratios[0])
        expected = act_dcf(y, sign * finite, p_target=0.01)
        assert act_dcf(y, ratios, p_target=0.01) == expected
        assert average_dcf(y, ratios, p_targets=0.01, actual=True) == expected
    with pytest.raises(ValueError, match="NaN"):
        act_dcf(y, [np.nan, 1.0, 0.0, 0.0])
