"""Attacks on keys: which pairs of templates link, and how a key that serves many is recovered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skdistort.attacks import (
    TemplateLinker,
    draw_linkage_pairs,
    key_recovery_curve,
    paired_scores,
    recover_rotation,
    smallest_sufficient,
)
from skdistort.attacks._subjects import draw_companions, draw_strangers
from skdistort.metrics import unlinkability

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=40)


def sphere(n, m, seed=0):
    Z = np.random.default_rng(seed).normal(size=(n, m))
    return Z / np.linalg.norm(Z, axis=1, keepdims=True)


@properties
@given(
    labels=st.lists(st.integers(0, 4), min_size=2, max_size=25).filter(lambda y: len(set(y)) > 1),
    k=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_companions_and_strangers(labels, k, seed):
    labels, rng = np.array(labels), np.random.RandomState(seed)
    companions = draw_companions(labels, k, rng)
    assert companions.shape == (len(labels), k)
    np.testing.assert_array_equal(companions[:, 0], np.arange(len(labels)))
    assert (labels[companions] == labels[:, None]).all()
    for label, row in zip(labels, companions, strict=True):
        assert len(set(row)) == min(k, np.sum(labels == label))
    rows = np.arange(len(labels))[::2]
    assert (labels[draw_strangers(labels, rows, rng)] != labels[rows]).all()


def test_strangers_are_drawn_evenly():
    labels = np.array([0, 1, 1, 2])
    drawn = draw_strangers(labels, np.full(9000, 1), np.random.RandomState(0))
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 9000, [0.5, 0, 0, 0.5], atol=0.03)


@properties
@given(
    labels=st.lists(st.integers(0, 4), min_size=2, max_size=25).filter(lambda y: len(set(y)) > 1),
    n_key_pairs=st.none() | st.integers(2, 5),
    max_pairs=st.integers(1, 30),
    seed=st.integers(0, 1000),
)
def test_linkage_pairs(labels, n_key_pairs, max_pairs, seed):
    labels = np.array(labels)
    pairs = draw_linkage_pairs(
        labels, n_key_pairs=n_key_pairs, max_pairs=max_pairs, random_state=seed
    )
    n = min(len(labels), max_pairs)
    assert pairs.mated.sum() == (~pairs.mated).sum() == n
    np.testing.assert_array_equal(pairs.left[pairs.mated], pairs.right[pairs.mated])
    assert (labels[pairs.left] != labels[pairs.right])[~pairs.mated].all()
    assert not set(pairs.left_key) & set(pairs.right_key)
    # Of every image that is compared twice, the templates are under different keys.
    for row in np.unique(pairs.left):
        assert len(set(pairs.left_key[pairs.left == row])) == 2
    if n_key_pairs is None:
        assert len({*pairs.left_key, *pairs.right_key}) == 4 * n
    else:
        assert len(set(zip(pairs.left_key, pairs.right_key, strict=True))) <= n_key_pairs


def test_linkage_pairs_of_two_images():
    labels = np.array([0, 0, 0, 1, 1, 2])
    pairs = draw_linkage_pairs(labels, same_image=False, random_state=0)
    mated = pairs.mated
    assert set(pairs.left) == {0, 1, 2, 3, 4}
    assert (labels[pairs.left] == labels[pairs.right])[mated].all()
    assert (pairs.left != pairs.right).all()


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0, 0], {}, "at least two subjects"),
        ([[0, 1]], {}, "1-D"),
        ([0, 1], {"same_image": False}, "a subject with two images"),
        ([0, 1], {"n_key_pairs": 1}, "n_key_pairs must be None or at least 2, got 1"),
        ([0, 1], {"max_pairs": 0}, "max_pairs"),
    ],
)
def test_linkage_pairs_refuse(labels, options, message):
    with pytest.raises(ValueError, match=message):
        draw_linkage_pairs(labels, **options)


def rotated(plain, rows, keys, m):
    rotations = ortho_group.rvs(m, size=keys.max() + 1, random_state=7)
    return np.einsum("nij,nj->ni", rotations[keys], plain[rows])


@pytest.mark.parametrize("n_key_pairs", [None, 30])
def test_rotations_unlink_distances_and_their_absence_links(n_key_pairs):
    plain, labels = sphere(400, 6), np.arange(400)
    pairs = draw_linkage_pairs(labels, n_key_pairs=n_key_pairs, random_state=0)
    sides = plain[pairs.left], plain[pairs.right]
    assert unlinkability(pairs.mated, paired_scores(*sides), random_state=0).d_sys > 0.99
    left = rotated(plain, pairs.left, pairs.left_key, 6)
    right = rotated(plain, pairs.right, pairs.right_key, 6)
    found = unlinkability(pairs.mated, paired_scores(left, right), random_state=0)
    assert found.corrected < 0.05


def test_linker_finds_what_the_distance_does_not():
    def stolen(seed):
        pairs = draw_linkage_pairs(np.arange(500), random_state=seed)
        plain = sphere(500, 6, seed)
        left = rotated(plain, pairs.left, pairs.left_key, 6)
        right = rotated(plain, pairs.right, pairs.right_key, 6)
        # The leak: a pixel of its own for each image, that no key touches.
        marks = np.random.default_rng(seed).uniform(size=(500, 1, 1, 1))
        return pairs.mated, [left, marks[pairs.left]], [right, marks[pairs.right]]

    linker = TemplateLinker(random_state=0)
    own_mated, *own = stolen(0)
    linker.fit(*own, own_mated)
    mated, left, right = stolen(1)
    scores = linker.score_pairs(left, right)
    assert unlinkability(mated, scores, random_state=0).corrected > 0.7
    shuffled = [left[0], np.random.default_rng(2).permutation(left[1])]
    found = unlinkability(mated, linker.score_pairs(shuffled, right), random_state=0)
    assert found.corrected < 0.05
    np.testing.assert_array_equal(
        clone(linker).fit(*own, own_mated).score_pairs(left, right), scores
    )


def test_linker_refuses():
    views, mated = [sphere(6, 3)], np.arange(6) < 3
    linker = TemplateLinker()
    with pytest.raises(NotFittedError):
        linker.score_pairs(views, views)
    with pytest.raises(ValueError, match="same views"):
        linker.fit(views, [sphere(6, 2)], mated)
    with pytest.raises(ValueError, match="both classes"):
        linker.fit(views, views, np.ones(6, bool))
    with pytest.raises(ValueError, match=r"must have \[3\] values, as in fit, got \[2\]"):
        linker.fit(views, views, mated).score_pairs([sphere(4, 2)], [sphere(4, 2)])


@properties
@given(m=st.integers(2, 8), seed=st.integers(0, 1000))
def test_as_many_pairs_as_dimensions_give_the_rotation(m, seed):
    R, plain = ortho_group.rvs(m, random_state=seed), sphere(m, m, seed)
    found = recover_rotation(plain, plain @ R.T)
    np.testing.assert_allclose(found @ found.T, np.eye(m), atol=1e-9)
    np.testing.assert_allclose(plain @ found.T, plain @ R.T, atol=1e-9)


def test_more_noisy_pairs_recover_more():
    m = 16
    R, rng = ortho_group.rvs(m, random_state=0), np.random.default_rng(0)
    plain = np.repeat(sphere(150, m), 2, axis=0) + rng.normal(scale=0.02, size=(300, m))
    templates = plain @ R.T + rng.normal(scale=0.05, size=plain.shape)
    labels = np.repeat(np.arange(150), 2)
    curve = key_recovery_curve(
        plain[:100],
        templates[:100],
        templates[100:],
        labels[100:],
        plain[100:],
        -0.3,
        random_state=0,
    )
    rates = np.array([row["match_rate"] for row in curve])
    sizes = [row["n_pairs"] for row in curve]
    assert sizes == sorted(set(sizes))
    assert sizes[0] == 1
    assert sizes[-1] == 4 * m
    assert rates[0] < 0.05
    assert rates[-1] > 0.95
    assert 4 < smallest_sufficient(curve, 0.5) < smallest_sufficient(curve, 0.9) <= 40
    assert smallest_sufficient(curve, 1.1) is None


def test_key_recovery_refuses_more_pairs_than_known():
    plain = sphere(4, 2)
    with pytest.raises(ValueError, match=r"between 1 and the 4 known pairs, got \[5\]"):
        key_recovery_curve(plain, plain, plain, [0, 0, 1, 1], plain, -0.1, n_pairs=[5])
