"""Confidence intervals by resampling subjects: the resamples, the coverage, and the errors."""

from functools import partial
from itertools import combinations

import numpy as np
import pytest

from skdistort.metrics import bootstrap_interval, equal_error_rate, fnmr_at_fmr, min_cllr

pytestmark = pytest.mark.fast


def all_pairs(n_subjects, n_samples, rng, spread=1.0, n_dimensions=2):
    """Score all pairs of noisy samples of random subjects; more noise in some than in others."""
    subjects = np.repeat(np.arange(n_subjects), n_samples)
    centres = rng.standard_normal((n_subjects, n_dimensions))
    noise = spread * rng.gamma(2, 0.25, n_subjects)[subjects, None]
    X = centres[subjects] + noise * rng.standard_normal((subjects.size, n_dimensions))
    left, right = np.triu_indices(subjects.size, 1)
    scores = -np.linalg.norm(X[left] - X[right], axis=1)
    return subjects[left] == subjects[right], scores, subjects[left], subjects[right]


def eer(y_true, y_score):
    return equal_error_rate(y_true, y_score)[0]


def test_pairs_count_as_often_as_their_subjects_were_drawn():
    subjects = list("abcd")
    pairs = [(s, s) for s in subjects for _ in range(2)] + list(combinations(subjects, 2))
    left, right = np.array(pairs).T
    # Each pair's score tells which pair it is.
    scores = np.arange(len(pairs), dtype=np.float32)
    seen = []

    def metric(y_true, y_score):
        assert y_true.dtype == bool
        assert np.array_equal(y_true, y_score < 8)
        seen.append(np.bincount(y_score.astype(int), minlength=len(pairs)))
        return 0.0

    bootstrap_interval(metric, left == right, scores, left, right, n_resamples=300, random_state=0)
    seen, whole = np.array(seen[:-1]), seen[-1]
    assert (whole == 1).all()
    drawn = seen[:, :8:2]
    assert (drawn.sum(axis=1) == 4).all()
    assert np.array_equal(drawn, seen[:, 1:8:2])
    products = [drawn[:, i] * drawn[:, j] for i, j in combinations(range(4), 2)]
    assert np.array_equal(seen[:, 8:], np.stack(products, axis=1))
    # On average once, as multinomial draws are: not the same subjects over and over.
    assert drawn.mean(axis=0) == pytest.approx(1, abs=0.2)
    assert drawn.var(axis=0) == pytest.approx(0.75, abs=0.25)


def test_the_interval_covers_what_it_should_and_that_of_pairs_does_not():
    truth = eer(*all_pairs(700, 3, np.random.default_rng(0))[:2])
    covered, covered_by_pairs = [], []
    for seed in range(60):
        y_true, y_score, left, right = all_pairs(15, 3, np.random.default_rng(seed + 1))
        interval = bootstrap_interval(
            eer, y_true, y_score, left, right, n_resamples=60, confidence=0.9, random_state=seed
        )
        assert interval.low <= interval.high
        covered.append(interval.low <= truth <= interval.high)
        rng = np.random.default_rng(seed)
        draws = rng.integers(0, y_true.size, (60, y_true.size))
        low, high = np.quantile([eer(y_true[d], y_score[d]) for d in draws], [0.05, 0.95])
        covered_by_pairs.append(low <= truth <= high)
    assert 0.8 <= np.mean(covered) <= 1
    assert np.mean(covered_by_pairs) < np.mean(covered) - 0.1


def test_more_subjects_or_less_confidence_narrow_the_interval():
    def width(n_subjects, confidence=0.95):
        pairs = all_pairs(n_subjects, 3, np.random.default_rng(0))
        interval = bootstrap_interval(
            eer, *pairs, confidence=confidence, n_resamples=100, random_state=0
        )
        return interval.high - interval.low

    assert width(60) < 0.8 * width(15)
    assert width(15, confidence=0.5) < 0.6 * width(15)


def test_what_is_returned():
    pairs = all_pairs(12, 3, np.random.default_rng(0))
    intervals = [
        bootstrap_interval(metric, *pairs, n_resamples=50, random_state=3)
        for metric in (eer, equal_error_rate, equal_error_rate)
    ]
    for interval in intervals:
        assert interval.estimate == eer(*pairs[:2])
        assert np.array_equal(interval.replicates, intervals[0].replicates)
        ends = np.quantile(interval.replicates, [0.025, 0.975])
        assert (interval.low, interval.high) == pytest.approx(tuple(ends))
        assert type(interval.low) is type(interval.estimate) is float
    other = bootstrap_interval(eer, *pairs, n_resamples=50, random_state=4)
    assert not np.array_equal(other.replicates, intervals[0].replicates)


@pytest.mark.parametrize("metric", [min_cllr, partial(fnmr_at_fmr, target_fmr=0.1)])
def test_any_measure_and_distances(metric):
    y_true, y_score, *subjects = all_pairs(12, 3, np.random.default_rng(0))
    by_score = bootstrap_interval(metric, y_true, y_score, *subjects, random_state=0)
    assert by_score.low < by_score.estimate < by_score.high
    by_distance = bootstrap_interval(
        partial(metric, distances=True), y_true, -y_score, *subjects, random_state=0
    )
    assert np.array_equal(by_distance.replicates, by_score.replicates)


def test_resamples_of_one_class_are_drawn_anew():
    # Only draws with both subjects have an impostor pair, and those with "b" alone have nothing.
    interval = bootstrap_interval(
        eer, [1, 0], [0.9, 0.1], ["a", "a"], ["a", "b"], n_resamples=50, random_state=0
    )
    assert interval.replicates.tolist() == [0.0] * 50


PAIRS = [1, 0], [0.9, 0.1], ["a", "a"], ["a", "b"]


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        (PAIRS, {"n_resamples": 0}, "n_resamples must be at least 1, got 0"),
        (PAIRS, {"confidence": 1}, r"confidence must be in \(0, 1\), got 1"),
        (PAIRS, {"confidence": np.nan}, r"confidence must be in \(0, 1\)"),
        (([1, 1], *PAIRS[1:]), {}, "both classes, got 2 genuine"),
        ((*PAIRS[:2], ["a"], ["a"]), {}, r"subjects_left must have shape \(2,\).*got \(1,\)"),
        ((*PAIRS[:3], ["a"]), {}, r"subjects_right must have shape \(2,\)"),
        (([0, 1], *PAIRS[1:]), {}, "Pair 0 is impostor by y_true, but .* a and a; 2 such pairs"),
        ((*PAIRS[:2], ["a", "b"], ["b", "a"]), {}, "Pair 0 is genuine .* a and b; 1 such pairs"),
    ],
)
def test_bad_input_is_refused(args, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(eer, *args, **options)
