"""Unlinkability: closed forms, a slow oracle, what chance gives, and the errors."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from skdistort.metrics import unlinkability
from skdistort.metrics._unlinkability import local_linkability

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=60)


def two_gaussians(n_mated, n_non_mated, shift, seed):
    mated = np.arange(n_mated + n_non_mated) < n_mated
    return mated, np.random.default_rng(seed).normal(shift * mated)


def true_d_sys(shift, omega):
    """Integrate the paper's D(s), as it puts it, over the mated density."""

    def integrand(s):
        ratio = omega * norm.pdf(s, shift) / norm.pdf(s)
        return norm.pdf(s, shift) * (2 * ratio / (1 + ratio) - 1 if ratio > 1 else 0)

    edge = shift / 2 - np.log(omega) / shift
    return quad(integrand, edge, edge + 12)[0]


def slow_d_sys(mated, scores, omega, n_bins):
    """Bin every score by counting those below it, exactly; None if one is on an edge."""
    sizes = {True: sum(mated), False: len(mated) - sum(mated)}
    counts = {}
    for score, is_mated in zip(scores, mated, strict=True):
        below = Fraction(0)
        for other, other_is_mated in zip(scores, mated, strict=True):
            weight = 2 if other < score else 1 if other == score else 0
            below += Fraction(weight, 4 * sizes[other_is_mated])
        if (below * n_bins).denominator == 1:
            return None
        counts.setdefault(int(below * n_bins), {True: 0, False: 0})[is_mated] += 1
    d_sys = 0.0
    for count in counts.values():
        share, other_share = count[True] / sizes[True], count[False] / sizes[False]
        ratio = omega * share / other_share if other_share else np.inf
        local = 1 if ratio == np.inf else max(0, 2 * ratio / (1 + ratio) - 1)
        d_sys += share * local if share else 0
    return d_sys


@pytest.mark.parametrize("omega", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("shift", [0.5, 1.0, 2.5])
def test_of_two_gaussians_it_is_the_integral(shift, omega):
    scores = two_gaussians(100_000, 60_000, shift, seed=0)
    result = unlinkability(*scores, omega=omega, n_permutations=3, random_state=0)
    assert result.d_sys == pytest.approx(true_d_sys(shift, omega), abs=0.007)


@properties
@given(
    data=st.lists(st.tuples(st.booleans(), st.integers(-6, 6)), min_size=2, max_size=30),
    omega=st.sampled_from([0.4, 1.0, 2.0]),
)
def test_it_is_what_a_slow_count_gives(data, omega):
    mated, scores = (list(column) for column in zip(*data, strict=True))
    n_mated = sum(mated)
    n_non_mated = len(mated) - n_mated
    assume(n_mated and n_non_mated)
    n_bins = 2 * max(1, round((2 / (1 / n_mated + 1 / n_non_mated)) ** (1 / 3)))
    expected = slow_d_sys(mated, scores, omega, n_bins)
    assume(expected is not None)
    result = unlinkability(mated, scores, omega=omega, n_permutations=1, random_state=0)
    assert result.d_sys == pytest.approx(expected, abs=1e-9)
    assert result.d_sys <= 1
    assert 0 <= result.corrected <= 1


def test_by_hand():
    # Shares of scores 0 and 1: 0.2 and 0.8 mated, 0.6 and 0.4 non-mated.
    mated = np.repeat([True, False], 100)
    scores = np.r_[np.arange(100) >= 20, np.arange(100) >= 60].astype(int)
    result = unlinkability(mated, scores, random_state=0)
    assert result.d_sys == pytest.approx(0.8 * (0.8 - 0.4) / (0.8 + 0.4))
    np.testing.assert_allclose(result.local, [0, 1 / 3])
    np.testing.assert_array_equal(result.score_range, [[0, 0], [1, 1]])
    assert result.p_value == 1 / 201


def test_chance_is_corrected():
    results = [
        unlinkability(*two_gaussians(500, 2000, 0, seed), n_permutations=100, random_state=seed)
        for seed in range(60)
    ]
    d_sys, corrected, p_values = (np.array([r[i] for r in results]) for i in range(3))
    assert d_sys.mean() > 0.03
    assert corrected.mean() < 0.006
    assert corrected.min() == 0
    # Uniform, as p-values are where the hypothesis holds.
    assert p_values.mean() == pytest.approx(0.5, abs=0.12)
    assert 0.15 < np.mean(p_values < 0.3) < 0.5


@pytest.mark.parametrize("n_mated", [2, 3, 11, 50, 100, 300, 2000])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 1, 2.7, 30])
@pytest.mark.parametrize("sign", [1, -1])
def test_separated_scores_are_fully_linkable(n_mated, ratio, sign):
    n_non_mated = max(2, round(ratio * n_mated))
    mated, scores = two_gaussians(n_mated, n_non_mated, sign * 40, seed=0)
    for values in (scores, np.round(scores / 2), scores.astype(np.float32), mated.astype(int)):
        for omega in (0.3, 1.0, 2.0):
            result = unlinkability(mated, values, omega=omega, n_permutations=5, random_state=0)
            assert result.d_sys == result.corrected == 1
            assert result.null.max() <= 1
            assert set(result.local) == {0, 1}


@pytest.mark.parametrize("n", [50, 100, 300])
def test_separation_is_no_chance(n):
    result = unlinkability(*two_gaussians(n, n, 40, seed=0), n_permutations=50, random_state=0)
    assert result.p_value == 1 / 51
    assert result.null_mean < 0.25


@pytest.mark.parametrize("decimals", [None, 1])
def test_the_null_is_that_of_shuffled_labels(decimals):
    mated, scores = two_gaussians(150, 400, 1, seed=0)
    scores = scores if decimals is None else np.round(scores, decimals)
    result = unlinkability(mated, scores, n_permutations=1500, random_state=0)
    rng = np.random.default_rng(0)
    shuffled = np.array(
        [unlinkability(rng.permutation(mated), scores, n_permutations=1).d_sys for _ in range(600)]
    )
    assert result.null_mean == pytest.approx(shuffled.mean(), abs=0.004)
    np.testing.assert_allclose(
        result.null_quantiles, np.quantile(shuffled, [0.05, 0.5, 0.95]), atol=0.01
    )
    assert result.null_mean == result.null.mean()


@properties
@given(
    scores=st.lists(st.integers(-50, 50), min_size=2, max_size=60),
    labels=st.integers(0, 2**60 - 1),
)
def test_a_strictly_rising_map_changes_nothing(scores, labels):
    mated = np.array([labels >> i & 1 for i in range(len(scores))], dtype=bool)
    mated[:2] = [True, False]
    scores = np.array(scores)
    plain, mapped = (
        unlinkability(mated, s, n_permutations=5, random_state=1)
        for s in (scores, np.exp(scores / 20.0) - 7)
    )
    assert plain[:4] == mapped[:4]
    for i in (4, 5, 6):
        np.testing.assert_array_equal(plain[i], mapped[i])
    np.testing.assert_allclose(np.exp(plain.score_range / 20) - 7, mapped.score_range)


def test_distances_and_direction():
    mated, scores = two_gaussians(300, 700, 1, seed=0)
    plain, negated = (
        unlinkability(mated, s, distances=d, random_state=0)
        for s, d in ((scores, False), (-scores, True))
    )
    assert plain[:4] == negated[:4]
    np.testing.assert_array_equal(negated.local, plain.local[::-1])
    np.testing.assert_array_equal(negated.score_range, -plain.score_range[::-1, ::-1])
    for result in (plain, negated):
        assert (np.diff(result.score_range.ravel()) >= 0).all()
    other_way = unlinkability(mated, -scores, random_state=0)
    assert other_way.d_sys == pytest.approx(plain.d_sys, abs=0.01)


def test_exchanged_roles_share_the_bins_and_split_what_they_link():
    mated, scores = two_gaussians(300, 700, 1, seed=0)
    one, other = (unlinkability(m, scores, random_state=0) for m in (mated, ~mated))
    np.testing.assert_array_equal(one.score_range, other.score_range)
    assert (one.local * other.local == 0).all()
    # The scores of the two Gaussians are mirror images.
    assert other.d_sys == pytest.approx(one.d_sys, abs=0.05)


@properties
@given(mated=st.floats(0, 5), non_mated=st.floats(1e-3, 5), omega=st.floats(0.1, 10))
def test_local_measure_is_that_of_the_likelihood_ratio(mated, non_mated, omega):
    ratio = omega * mated / non_mated
    expected = 2 * ratio / (1 + ratio) - 1 if ratio > 1 else 0
    got = local_linkability(np.array([mated]), np.array([non_mated]), omega)
    assert got == pytest.approx([expected], abs=1e-9)
    assert local_linkability(np.zeros(1), np.zeros(1), omega) == 0


def test_unequal_priors_link_without_scores():
    scores = two_gaussians(2000, 2000, 0, seed=0)
    result = unlinkability(*scores, omega=3.0, random_state=0)
    assert result.null_mean == pytest.approx(0.5, abs=0.02)
    assert 0.5 <= result.corrected < 0.52
    constant = unlinkability([1, 1, 0, 0], [0.5] * 4, omega=3.0, random_state=0)
    assert (constant.d_sys, constant.corrected, constant.p_value) == (0.5, 0.5, 1)


def test_one_pair_of_each_tells_nothing():
    result = unlinkability([1, 0], [0.9, 0.1], random_state=0)
    assert (result.d_sys, result.null_mean, result.corrected, result.p_value) == (1, 1, 0, 1)


def test_seeded():
    scores = two_gaussians(100, 100, 1, seed=0)
    first, second, other = (
        unlinkability(*scores, random_state=seed).null for seed in (0, np.random.RandomState(0), 1)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    assert first.shape == (200,)


@pytest.mark.parametrize(
    ("y_true", "y_score", "options", "message"),
    [
        ([1, 0], [0.9, 0.1], {"omega": 0}, "omega must be finite and above 0, got 0"),
        ([1, 0], [0.9, 0.1], {"omega": np.nan}, "omega"),
        ([1, 0], [0.9, 0.1], {"omega": np.inf}, "omega"),
        ([1, 0], [0.9, 0.1], {"n_permutations": 0}, "n_permutations must be an integer .* got 0"),
        ([1, 0], [0.9, 0.1], {"n_permutations": 2.5}, "n_permutations"),
        ([1, 1], [0.9, 0.1], {}, "both classes, got 2 genuine"),
        ([1, 0], [0.9, np.nan], {}, "finite"),
        ([1, 0], [0.9], {}, "same length, got 2 and 1"),
    ],
)
def test_bad_input_is_refused(y_true, y_score, options, message):
    with pytest.raises(ValueError, match=message):
        unlinkability(y_true, y_score, **options)
