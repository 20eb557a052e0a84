"""Error rates of verification, against brute force in fractions and against scikit-learn."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import det_curve, f1_score
from support.comparisons import comparisons, vertices_by_counting

import skdistort.metrics._vertices as search
from skdistort.metrics import (
    best_f1_threshold,
    det_points,
    equal_error_rate,
    fnmr_at_fmr,
    verification_report,
)

pytestmark = pytest.mark.fast

METHODS = ["interp", "midpoint", "rocch"]


def meeting_point(a, b):
    """Return where the segment between two operating points meets FMR = FNMR."""
    gap_a, gap_b = a[1] - a[2], b[1] - b[2]
    weight = gap_a / (gap_a - gap_b)
    threshold = Fraction(a[0]) + weight * (Fraction(b[0]) - Fraction(a[0]))
    return a[2] + weight * (b[2] - a[2]), threshold


def brute_force(y_true, y_score, method):
    """EER and threshold from the definitions, in fractions."""
    points = vertices_by_counting(y_true, y_score)
    if method == "midpoint":
        best = min(points, key=lambda p: (abs(p[1] - p[2]), p[1] + p[2], p[0]))
        return (best[1] + best[2]) / 2, best[0]
    lenient = [p for p in points if p[1] >= p[2]]
    strict = [p for p in points if p[1] < p[2]]
    if method == "interp":
        return meeting_point(lenient[-1], strict[0])
    # A point of the convex hull is the best that any mixture of two operating points attains.
    return min(meeting_point(a, b) for a in lenient for b in strict)


def by_sorting_everything(y_true, y_score):
    """Interpolated EER from one argsort and cumulative counts; for arrays too large to count."""
    order = np.argsort(y_score, kind="stable")
    levels, first = np.unique(y_score[order], return_index=True)
    n_genuine, n_impostor = int(y_true.sum()), int((~y_true).sum())
    rejected = np.concatenate(([0], np.cumsum(y_true[order])))[np.append(first, y_true.size)]
    below = np.concatenate(([0], np.cumsum(~y_true[order])))[np.append(first, y_true.size)]
    gap = [
        (n_impostor - int(b)) * n_genuine - int(r) * n_impostor
        for b, r in zip(below, rejected, strict=True)
    ]
    after = next(i for i, g in enumerate(gap) if g < 0)
    weight = Fraction(gap[after - 1], gap[after - 1] - gap[after])
    step = int(rejected[after]) - int(rejected[after - 1])
    return float((int(rejected[after - 1]) + weight * step) / n_genuine)


@pytest.mark.parametrize("method", ["interp", "midpoint"])
@settings(deadline=None)
@given(comparisons())
def test_eer_and_threshold_equal_brute_force(method, pairs):
    eer, threshold = brute_force(*pairs, method)
    assert equal_error_rate(*pairs, method=method) == (float(eer), float(threshold))


@settings(deadline=None)
@given(comparisons(max_size=12))
def test_rocch_eer_equals_brute_force(pairs):
    eer, _ = equal_error_rate(*pairs, method="rocch")
    assert eer == pytest.approx(float(brute_force(*pairs, "rocch")[0]), abs=1e-12)


@settings(deadline=None)
@given(comparisons())
def test_rocch_eer_is_the_lowest_and_midpoint_a_vertex(pairs):
    eers = {m: equal_error_rate(*pairs, method=m)[0] for m in METHODS}
    assert eers["rocch"] <= eers["interp"] + 1e-12
    means = [float((fmr + fnmr) / 2) for _, fmr, fnmr in vertices_by_counting(*pairs)]
    assert eers["midpoint"] in means


@pytest.mark.parametrize("method", ["interp", "midpoint"])
@settings(deadline=None)
@given(comparisons(), st.data())
def test_any_bracket_gives_the_exact_result(method, pairs, data):
    # Right or wrong: widening has to save the result, and the threshold with it.
    end = st.sampled_from([-np.inf, *pairs[1].tolist(), np.inf])
    low, high = sorted([data.draw(end), data.draw(end)])
    assume(np.any((pairs[1] >= low) & (pairs[1] <= high)))
    with (
        mock.patch.multiple(search, _FEW=0, _BLOCK=3),
        mock.patch.object(search, "_bracket", return_value=(low, high)) as bracket,
    ):
        found = equal_error_rate(*pairs, method=method)
    assert bracket.called
    eer, threshold = brute_force(*pairs, method)
    assert found == (float(eer), float(threshold))


@settings(deadline=None)
@given(comparisons(max_size=200))
def test_search_in_a_small_sample_stays_exact(pairs):
    with mock.patch.multiple(search, _FEW=0, _WHOLE=0, _BLOCK=50):
        found = equal_error_rate(*pairs)
    eer, threshold = brute_force(*pairs, "interp")
    assert found == (float(eer), float(threshold))


def large_cases():
    rng = np.random.default_rng(0)
    n = 300_000
    y = rng.random(n) < 0.5
    s = (rng.standard_normal(n) + 2 * y).astype(np.float32)
    by_score, by_class = np.argsort(s), np.argsort(y, kind="stable")
    one = np.zeros(n, dtype=bool)
    one[n // 3] = True
    rare = rng.random(n) < 0.3
    turns = np.arange(n) % 2 == 0
    noise = rng.random(n, dtype=np.float32)
    # The places that the sample visits are the only ones that look well separated.
    drawn = int(n ** (2 / 3)) * n // min(y.sum(), n - y.sum())
    visited = (np.arange(drawn) * 0.6180339887498949 % 1.0 * n).astype(int)
    trap = s.copy()
    trap[visited] = np.where(y[visited], 100, 50) + noise[visited]
    return {
        "random": (y, s),
        "float64": (y, s.astype(np.float64) / 3),
        "sorted": (y[by_score], s[by_score]),
        "sorted backwards": (y[by_score[::-1]], s[by_score[::-1]]),
        "sorted by class": (y[by_class], s[by_class]),
        "classes in turn": (turns, noise + turns / 4),
        "three levels": (y, np.round(s / 3)),
        "three decimals": (y, np.round(s, 3)),
        "all equal": (y, np.zeros(n)),
        "separated": (y, (noise + y).astype(np.float32)),
        "wrong way round": (y, (noise - 2 * y).astype(np.float32)),
        "one genuine": (one, noise),
        "one impostor": (~one, noise),
        "fewer genuine": (rare, (noise + rare / 2).astype(np.float32)),
        "huge range": (y, np.exp(s.astype(np.float64) * 80)),
        "misleading sample": (y, trap),
    }


@pytest.mark.parametrize("case", large_cases())
def test_large_arrays_agree_with_sorting_everything(case):
    y_true, y_score = large_cases()[case]
    eer, threshold = equal_error_rate(y_true, y_score)
    assert eer == by_sorting_everything(y_true, y_score)
    assert np.isfinite(threshold)
    negated = equal_error_rate(y_true, -y_score, distances=True)
    assert negated == (eer, -threshold)


@pytest.mark.parametrize("genuine_share", [0.5, 0.02, 0.001])
@pytest.mark.parametrize("n", [10_000, 30_000, 100_000, 262_144, 1_000_000])
def test_only_a_small_part_is_sorted(n, genuine_share):
    # At every size: 30,000 to 262,144 scores were once sorted as a whole.
    rng = np.random.default_rng(1)
    y = rng.random(n) < genuine_share
    s = rng.standard_normal(y.size, dtype=np.float32) + 2 * y.astype(np.float32)
    with mock.patch.object(np, "sort", wraps=np.sort) as sorts:
        found = equal_error_rate(y, s)
    assert sum(call.args[0].size for call in sorts.call_args_list) < 20 * n ** (2 / 3)
    assert found[0] == by_sorting_everything(y, s)


def test_a_misleading_sample_is_noticed():
    with mock.patch.object(search, "_crossing_among", wraps=search._crossing_among) as searches:
        equal_error_rate(*large_cases()["misleading sample"])
    assert [call.kwargs["complete"] for call in searches.call_args_list][-1]
    assert len(searches.call_args_list) == 2


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None)
@given(comparisons())
def test_eer_ignores_what_should_not_matter(method, pairs):
    y, s = pairs

    def eer(y_true, y_score, **options):
        return equal_error_rate(y_true, y_score, method=method, **options)[0]

    expected = pytest.approx(eer(y, s), abs=1e-12)
    assert eer(y, s**3 + s) == expected
    assert eer(y, np.exp(s.astype(np.float64))) == expected
    assert eer(y, -s, distances=True) == expected
    assert eer(~y, -s) == expected
    assert eer(np.tile(y, 3), np.tile(s, 3)) == expected
    assert eer(y[::-1].astype(int), s[::-1].tolist()) == expected


@pytest.mark.parametrize("method", METHODS)
def test_eer_of_known_cases(method):
    def eer(y_score):
        return equal_error_rate([1, 1, 0, 0], y_score, method=method)[0]

    assert eer([4, 3, 2, 1]) == 0
    # Deciding by a coin does as well as a score without, or against, all sense.
    assert eer([1, 1, 1, 1]) == 0.5
    assert eer([1, 2, 3, 4]) == pytest.approx(0.5 if method == "rocch" else 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_eer_at_the_ends_of_the_floats(dtype):
    largest = np.finfo(dtype).max
    large = np.nextafter(largest, dtype(0))
    y_score = np.array([large, -large, large, -large])
    eer, threshold = equal_error_rate([1, 1, 0, 0], y_score)
    assert eer == 0.5
    assert -large <= threshold <= largest
    with pytest.raises(ValueError, match="below .* in magnitude, got 2 NaN"):
        equal_error_rate([1, 1, 0, 0], np.array([largest, 1, 0, -largest], dtype=dtype))


@settings(deadline=None)
@given(comparisons())
def test_det_points_equal_counting(pairs):
    fmr, fnmr, thresholds = det_points(*pairs)
    expected = vertices_by_counting(*pairs)[:-1]
    assert thresholds.tolist() == [t for t, _, _ in expected]
    assert fmr.tolist() == [float(r) for _, r, _ in expected]
    assert fnmr.tolist() == [float(r) for _, _, r in expected]
    y, s = pairs
    by_distance = det_points(y, -s, distances=True)
    assert all(map(np.array_equal, by_distance, (fmr, fnmr, -thresholds)))


@settings(deadline=None)
@given(comparisons())
def test_det_points_agree_with_scikit_learn(pairs):
    theirs = {
        t: (fpr, fnr) for fpr, fnr, t in zip(*det_curve(*pairs), strict=True) if np.isfinite(t)
    }
    ours = {t: (fmr, fnmr) for fmr, fnmr, t in zip(*det_points(*pairs), strict=True)}
    assert theirs.items() <= ours.items()


@settings(deadline=None)
@given(comparisons(), st.one_of(st.floats(0, 1), st.fractions(0, 1, max_denominator=30).map(float)))
def test_fnmr_at_fmr_is_the_lowest_allowed(pairs, target):
    y, s = pairs
    fnmr, threshold = fnmr_at_fmr(y, s, target)
    allowed = [(float(r), t) for t, fmr, r in vertices_by_counting(y, s) if float(fmr) <= target]
    assert (fnmr, threshold) == min(allowed)
    assert np.mean(s[~y] >= threshold) <= target
    assert fnmr_at_fmr(y, -s, target, distances=True) == (fnmr, -threshold)


def test_fnmr_at_fmr_counts_what_the_target_allows():
    # 0.29 * 100 is 28.999999999999996 in floats, yet 29 of 100 impostors are allowed.
    y_true = np.repeat([True, False], [1, 100])
    y_score = np.append(71.5, np.arange(100))
    assert fnmr_at_fmr(y_true, y_score, 0.29) == (0.0, 71.0)


@settings(deadline=None)
@given(comparisons())
def test_best_f1_is_the_best_and_the_strictest(pairs):
    y, s = pairs
    f1, threshold = best_f1_threshold(y, s)
    every = [(f1_score(y, s >= t), t) for t in np.unique(s)]
    assert f1 == pytest.approx(max(every)[0])
    assert threshold == max(t for value, t in every if value > f1 - 1e-12)
    assert best_f1_threshold(y, -s, distances=True) == (f1, -threshold)


def fnmr_at_one_percent(y_true, y_score):
    return fnmr_at_fmr(y_true, y_score, 0.01)


@pytest.mark.parametrize(
    "metric", [equal_error_rate, det_points, fnmr_at_one_percent, best_f1_threshold]
)
@pytest.mark.parametrize(
    ("y_true", "y_score", "message"),
    [
        ([1, 0], [0.5, np.nan], "y_score must be finite .* got 1 NaN"),
        ([1, 0], [0.5, -np.inf], "y_score must be finite"),
        ([1, 0], [np.inf, 0.5], "y_score must be finite"),
        ([1, 1], [0.5, 0.6], "both classes, got 2 genuine"),
        ([False], [0.5], "both classes, got 1 impostor"),
        ([], [], "empty"),
        ([1, 0, 1], [0.5, 0.6], "same length, got 3 and 2"),
        ([1, 2], [0.5, 0.6], "y_true must hold True/False or 1/0"),
        ([1, np.nan], [0.5, 0.6], "y_true must hold True/False or 1/0"),
        (["a", "b"], [0.5, 0.6], "y_true must hold real numbers"),
        ([1, 0], ["a", "b"], "y_score must hold real numbers"),
        ([[1], [0]], [0.5, 0.6], r"y_true must be 1-D, got shape \(2, 1\)"),
        ([1, 0], [[0.5, 0.6]], r"y_score must be 1-D, got shape \(1, 2\)"),
    ],
)
def test_bad_comparisons_are_refused(metric, y_true, y_score, message):
    with pytest.raises(ValueError, match=message):
        metric(y_true, y_score)


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match="method must be one of .*'interp'.*, got 'best'"):
        equal_error_rate([1, 0], [1, 0], method="best")
    for target in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="target_fmr must be in"):
            fnmr_at_fmr([1, 0], [1, 0], target)


@pytest.mark.parametrize("distances", [False, True])
def test_inputs_are_left_as_they_are(distances):
    y_true, y_score = np.array([True, False, True]), np.array([0.5, 0.25, 0.75], dtype=np.float32)
    y_true.flags.writeable = y_score.flags.writeable = False
    for method in METHODS:
        equal_error_rate(y_true, y_score, method=method, distances=distances)
    det_points(y_true, y_score, distances=distances)
    fnmr_at_fmr(y_true, y_score, 0.1, distances=distances)
    best_f1_threshold(y_true, y_score, distances=distances)


@given(comparisons())
def test_report_holds_what_its_parts_give(pairs):
    y_true, y_score = pairs
    (row,) = verification_report({"these": pairs}).rows
    assert (row["comparison"], row["genuine"]) == ("these", y_true.sum())
    assert row["genuine"] + row["impostor"] == len(y_true)
    assert row["eer"] == equal_error_rate(*pairs)[0]
    for name, rate, fewest in (("1%", 0.01, 100), ("0.1%", 0.001, 1000)):
        # Fewer impostor pairs than one over the rate cannot show it.
        expected = fnmr_at_fmr(*pairs, rate)[0] if row["impostor"] >= fewest else np.nan
        np.testing.assert_equal(row[f"fnmr_at_fmr_{name}"], expected)
    assert row["best_f1"] == best_f1_threshold(*pairs)[0]
    assert verification_report({"these": (y_true, -y_score)}, distances=True).rows == [row]


@pytest.mark.parametrize(("n_impostors", "known"), [(99, 0), (100, 1), (999, 1), (1000, 2)])
def test_report_has_no_rate_from_fewer_pairs_than_it_needs(n_impostors, known):
    y_true = np.arange(n_impostors + 5) < 5
    report = verification_report({"few": (y_true, np.random.default_rng(0).normal(y_true))})
    rates = [report.rows[0][f"fnmr_at_fmr_{name}"] for name in ("1%", "0.1%")]
    assert np.isfinite(rates).sum() == known
    assert str(report).splitlines()[1].split().count("-") == 2 - known


def test_metrics_import_without_keras():
    code = "import sys; import skdistort.metrics; assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
