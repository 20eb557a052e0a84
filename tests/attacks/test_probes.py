"""What an impostor presents: keys that are searched, scores that are asked, wolves; and A15."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from skdistort.attacks import (
    choose_wolf,
    decision_thresholds,
    embedding_from_scores,
    key_search_scores,
    match_rate,
    membership,
    recover_rotation,
    subject_interval,
    tries_to_accept,
    verdict,
)
from skdistort.attacks._evidence import eer_interval
from skdistort.attacks._membership import spread_of_people
from skdistort.attacks._plausibility import check_attacker, check_held_out
from skdistort.attacks._probes import best_of_several
from skdistort.exceptions import InputMismatchError, InputMismatchWarning
from skdistort.keys import key_rotation, rotate_embeddings
from skdistort.metrics import bootstrap_interval, equal_error_rate, pair_scores

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=40)


def sphere(n, m, seed=0):
    Z = np.random.default_rng(seed).normal(size=(n, m))
    return Z / np.linalg.norm(Z, axis=1, keepdims=True)


# ---- Keys and scores


def test_a_searched_key_brings_any_face_near_any_template():
    stolen, own = sphere(40, 4), sphere(1, 4, seed=1)[0]
    scores = key_search_scores(own, stolen, range(600))
    by_hand = -np.sum((stolen[3] - key_rotation(17, 4) @ own) ** 2)
    assert scores[3, 17] == pytest.approx(by_hand, abs=1e-9)
    # Random directions: what one key achieves seldom, the best of 600 always does.
    assert np.mean(scores[:, 0] >= -0.2) < 0.2
    needed = tries_to_accept(scores, -0.2)
    assert np.isfinite(needed).all()
    assert 1 < np.median(needed) < 200
    for row, n in zip(scores, needed.astype(int), strict=True):
        assert row[n - 1] >= -0.2
        assert (row[: n - 1] < -0.2).all()
    assert np.isinf(tries_to_accept(scores, 1.0)).all()


@properties
@given(m=st.integers(2, 12), seed=st.integers(0, 1000), key=st.integers(0, 99))
def test_scores_of_m_and_one_probes_give_the_embedding(m, seed, key):
    probes, templates = sphere(m + 1, m, seed), sphere(3, m, seed + 1)
    asked = rotate_embeddings(probes, key).astype(np.float64)
    scores = -np.sum((templates[:, None] - asked) ** 2, axis=2)
    found = embedding_from_scores(probes, scores)
    # Probes that hardly span all directions amplify the rounding of float32.
    spread = np.linalg.svd(probes - probes.mean(axis=0), compute_uv=False)[-1]
    expected = templates @ key_rotation(key, m)
    if spread > 0.05:
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_fewer_probes_give_what_they_span():
    z, probes = sphere(1, 6)[0], sphere(4, 6, seed=1)
    found = embedding_from_scores(probes, [-np.sum((probes - z) ** 2, axis=1)])[0]
    scores = -np.sum((probes - found) ** 2, axis=1)
    differences = scores + np.sum((probes - z) ** 2, axis=1)
    np.testing.assert_allclose(differences, differences[0], atol=1e-9)
    assert np.linalg.norm(found) <= 1 + 1e-9
    with pytest.raises(ValueError, match="two probes or more"):
        embedding_from_scores(probes[:1], [[0.0]])
    with pytest.raises(ValueError, match=r"got \(4, 6\) and \(1, 3\)"):
        embedding_from_scores(probes, [[0.0] * 3])


def test_the_wolf_is_accepted_by_most_others():
    Z = np.concatenate([sphere(30, 3), np.zeros((1, 3))])
    # The centre is 1 away from all; the others from few.
    assert choose_wolf(Z, Z, threshold=-1.01) == 30
    # Its own template alone does not count.
    assert choose_wolf([[5.0], [0.0], [0.1]], [[5.0], [0.0], [0.1]], threshold=-0.5) == 1


def test_the_best_of_several_templates_counts():
    probes, templates = sphere(6, 3), sphere(6, 3, seed=1)
    scores, left, right = best_of_several(probes, templates, [[0, 2], [5, 4]])
    assert list(left) == [0] * 4 + [5] * 4
    assert list(right) == [1, 3, 4, 5, 0, 1, 2, 3]
    for score, first, probe in zip(scores, left, right, strict=True):
        rows = [0, 2] if first == 0 else [5, 4]
        expected = max(-np.sum((probes[probe] - templates[row]) ** 2) for row in rows)
        assert score == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("n_pairs", [5, 10, 20])
def test_a_population_as_prior_beats_procrustes(n_pairs):
    m = 32
    R = ortho_group.rvs(m, random_state=0)

    def people(n, seed):
        # Faces do not fill the sphere evenly, and their mean is not 0.
        Z = np.random.default_rng(seed).normal(size=(n, m)) / np.sqrt(np.arange(1, m + 1)) + 0.2
        return Z / np.linalg.norm(Z, axis=1, keepdims=True)

    own, victims = people(400, 1), people(300, 2)
    noise = np.random.default_rng(3).normal(scale=0.02, size=victims.shape)
    stolen = victims @ R.T + noise
    pairs = own[:n_pairs], own[:n_pairs] @ R.T

    def error(**prior):
        found = recover_rotation(*pairs, **prior)
        np.testing.assert_allclose(found @ found.T, np.eye(m), atol=1e-9)
        return np.mean(np.sum((stolen @ found - victims) ** 2, axis=1))

    assert error(population=own, stolen=stolen) < 0.8 * error()
    with pytest.raises(ValueError, match="together, or neither"):
        recover_rotation(*pairs, population=own)


# ---- Intervals and verdicts


def test_interval_is_that_of_the_subjects():
    rng = np.random.default_rng(0)
    subjects = np.repeat(np.arange(50), 20)
    # What one subject's attempts share is all there is: 50 values, not 1000.
    of_subject = rng.uniform(size=50)
    low, high = subject_interval(of_subject[subjects], subjects)
    half = 1.96 * of_subject.std() / np.sqrt(50)
    assert (low, high) == pytest.approx(
        (of_subject.mean() - half, of_subject.mean() + half), abs=0.25 * half
    )
    names = np.array([f"person {i}" for i in subjects])
    assert subject_interval(of_subject[subjects], names) == pytest.approx((low, high), abs=0.02)
    with_gaps = np.append(of_subject[subjects], np.nan)
    assert subject_interval(with_gaps, np.append(subjects, 999)) == (low, high)


def test_interval_of_none_and_of_all():
    subjects = np.repeat(np.arange(30), 4)
    low, high = subject_interval(np.zeros(120), subjects)
    assert (low, high) == (0, pytest.approx(3 / 30, abs=0.01))
    assert subject_interval(np.ones(120), subjects) == pytest.approx((1 - high, 1.0))
    assert np.isnan(subject_interval(np.full(3, np.nan), [0, 1, 2])).all()


def test_interval_of_pairs_is_that_of_the_bootstrap_of_metrics():
    rng = np.random.default_rng(0)
    left, right = np.triu_indices(40, 1)
    accepted = (rng.uniform(size=40)[left] + rng.uniform(size=40)[right] > 1.2).astype(float)
    # A genuine pair, which the other bootstrap wants, and which its metric leaves out.
    genuine = np.append(np.zeros(left.size, bool), True)
    other = bootstrap_interval(
        lambda y, s: s[~y].mean(),
        genuine,
        np.append(accepted, 0),
        np.append(left, 0),
        np.append(right, 0),
        n_resamples=1000,
        random_state=0,
    )
    found = subject_interval(accepted, left, right)
    assert found == pytest.approx((other.low, other.high), abs=0.03)


def test_interval_of_the_eer_knows_who_is_in_a_pair():
    Z = np.repeat(sphere(30, 3), 4, axis=0)
    Z, labels = Z + 0.25 * sphere(120, 3, seed=1), np.repeat(np.arange(30), 4)
    for once, other in ((True, None), (False, Z + 0.1 * sphere(120, 3, seed=2))):
        compared = (Z, labels) if once else (Z, labels, other, labels)
        pairs = pair_scores(*compared, exclude_same_index=not once)
        # Labels that were given to the wrong pairs would be refused.
        low, high = eer_interval(*pairs, labels, once=once)
        assert 0 < low < equal_error_rate(*pairs)[0] < high < 0.5


def test_verdicts():
    assert verdict((0.2, 0.3), 0.1) == "better"
    assert verdict((0.05, 0.3), 0.1) == "like guessing"
    assert verdict((0.0, 0.05), 0.1) == "worse than guessing"
    assert verdict((np.nan, np.nan), 0.1) == verdict((0.0, 1.0), np.nan) == "-"


@pytest.mark.parametrize(("n", "seen"), [(99, 0), (100, 1), (999, 1), (1000, 2)])
def test_no_threshold_from_fewer_pairs_than_its_rate_needs(n, seen):
    genuine = np.arange(n + 10) < 10
    scores = np.random.default_rng(0).normal(2.0 * genuine)
    thresholds = decision_thresholds(genuine, scores)
    strict = [thresholds["fmr_1%"], thresholds["fmr_0.1%"]]
    assert list(np.isfinite(strict)) == [seen > 0, seen > 1]
    Z, labels = sphere(4, 2), [0, 0, 1, 1]
    rates = match_rate(Z, labels, Z, labels, list(thresholds.values()))
    np.testing.assert_array_equal(np.isnan(rates), np.isnan(list(thresholds.values())))


# ---- Membership


def test_membership_of_what_was_learned_by_heart():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(50), 4)
    found = membership(rng.normal(3, 1, 200), rng.normal(0, 1, 200), people, people)
    assert found.auc == pytest.approx(0.983, abs=0.02)
    assert found.interval[0] < found.auc < found.interval[1]
    assert 0.6 < found.found < 0.9
    none = membership(rng.normal(size=200), rng.normal(size=200), people, people)
    assert none.interval[0] < 0.5 < none.interval[1]
    assert membership([1.0, 1.0], [1.0, 1.0]).auc == 0.5
    assert np.isnan(membership([1.0], np.zeros(99)).found)
    assert membership([1.0], np.zeros(100)).found == 1
    with pytest.raises(ValueError, match="members must be as many"):
        membership([1.0, 2.0], [1.0], members=[0])


def test_spread_is_the_distance_to_the_mean_of_the_others():
    Z, labels = sphere(6, 3), np.array([0, 1, 0, 0, 2, 1])
    found = spread_of_people(Z, labels)
    assert found[0] == pytest.approx(np.sum((Z[0] - (Z[2] + Z[3]) / 2) ** 2))
    assert found[1] == pytest.approx(np.sum((Z[1] - Z[5]) ** 2))
    assert np.isnan(found[4])


# ---- What cannot be meant


IMAGES = np.random.default_rng(0).uniform(size=(20, 2, 2, 1)).astype(np.float32)
OTHERS = np.random.default_rng(1).uniform(size=(20, 2, 2, 1)).astype(np.float32)
LABELS = np.repeat(np.arange(5), 4)


@pytest.mark.parametrize("n_shared", [10, 20])
def test_an_attacker_with_the_victims_images_is_refused(n_shared):
    own = np.concatenate([OTHERS, IMAGES[20 - n_shared :]])
    with pytest.raises(InputMismatchError, match=f"{n_shared} of the 20 images of X") as refused:
        check_attacker(IMAGES, LABELS, own, None)
    assert refused.value.sample == 20 - n_shared


def test_an_attacker_who_knows_some_of_them_is_warned_of():
    check_attacker(IMAGES, LABELS, OTHERS, LABELS + 5)
    with pytest.warns(InputMismatchWarning, match=r"holds 1 of the 20 images of X, .* X\[7\]"):
        check_attacker(IMAGES, LABELS, np.concatenate([OTHERS, IMAGES[7:8]]), None)
    with pytest.warns(InputMismatchWarning, match="share 2 of the 5 subjects of y, such as 3"):
        check_attacker(IMAGES, LABELS, OTHERS, LABELS + 3)


def test_a_held_out_embedder_that_is_the_embedder_is_refused():
    Z = sphere(50, 6)
    R = ortho_group.rvs(6, random_state=0)
    for same in (Z, 3 * Z, Z @ R, np.hstack([Z, np.zeros((50, 2))]).astype(np.float32)):
        with pytest.raises(InputMismatchError, match="embedder is the generator's own F"):
            check_held_out(Z, same)
    with pytest.warns(InputMismatchWarning, match="may be the generator's own F"):
        check_held_out(Z, Z + 0.03 * sphere(50, 6, seed=1))
    check_held_out(Z, Z + 0.5 * sphere(50, 6, seed=1))
    # Nothing can be said of embeddings that are all the same.
    check_held_out(Z, np.ones((50, 2)))
