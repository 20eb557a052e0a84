"""Scores of pairs of embeddings, against one pair at a time."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdistort.metrics import equal_error_rate, pair_scores

pytestmark = pytest.mark.fast


def unit_vectors(n, d=5, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def one_by_one(pairs, A, a_labels, B, b_labels, metric):
    """Score pairs of indices in float64, one after the other."""
    A, B = A.astype(np.float64), B.astype(np.float64)

    def score(a, b):
        if metric == "cosine":
            return a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        return -np.sum((a - b) ** 2)

    return [a_labels[i] == b_labels[j] for i, j in pairs], [score(A[i], B[j]) for i, j in pairs]


@settings(deadline=None)
@given(
    n=st.integers(2, 9),
    n_other=st.integers(1, 9),
    kind=st.sampled_from(["self", "cross", "exclude"]),
    metric=st.sampled_from(["neg_sqeuclidean", "cosine"]),
    block_size=st.integers(1, 10),
)
def test_scores_equal_one_pair_at_a_time(n, n_other, kind, metric, block_size):
    A, a_labels = unit_vectors(n) * 3, np.array(list("abcabcabc"))[:n]
    if kind == "self":
        B, b_labels, pairs, other = A, a_labels, list(combinations(range(n), 2)), ()
    else:
        n_other = n if kind == "exclude" else n_other
        B, b_labels = unit_vectors(n_other, seed=1), np.array(list("bbcdabbcd"))[:n_other]
        pairs = list(product(range(n), range(n_other)))
        pairs = [(i, j) for i, j in pairs if kind == "cross" or i != j]
        other = B, b_labels
    y_true, y_score = pair_scores(
        A,
        a_labels,
        *other,
        metric=metric,
        exclude_same_index=kind == "exclude",
        block_size=block_size,
    )
    expected_true, expected_score = one_by_one(pairs, A, a_labels, B, b_labels, metric)
    assert (y_true.dtype, y_score.dtype) == (bool, np.float32)
    assert y_true.tolist() == expected_true
    np.testing.assert_allclose(y_score, expected_score, atol=1e-5)


def test_templates_share_the_labels_of_the_probes():
    A, B = unit_vectors(4), unit_vectors(4, seed=1)
    labels = [0, 0, 1, 1]
    assert all(map(np.array_equal, pair_scores(A, labels, B), pair_scores(A, labels, B, labels)))


def test_scores_stay_in_range():
    E = np.repeat(unit_vectors(60, 128), 3, axis=0)
    labels = np.repeat(np.arange(60), 3)
    opposite = np.concatenate((E, -E)), np.concatenate((labels, labels))
    y_true, distances = pair_scores(*opposite)
    assert distances.max() <= 0
    assert distances.min() == pytest.approx(-4, abs=1e-5)
    cosines = pair_scores(*opposite, metric="cosine")[1]
    assert np.abs(cosines).max() <= 1
    np.testing.assert_allclose(distances, 2 * cosines - 2, atol=2e-6)
    y_true, y_score = pair_scores(E, labels)
    assert np.abs(y_score[y_true]).max() < 2e-6
    assert equal_error_rate(y_true, y_score)[0] == 0


def test_one_probe_against_others():
    y_true, y_score = pair_scores([[1, 0]], ["ann"], [[0, 1], [1, 0]], ["bob", "ann"])
    assert y_true.tolist() == [False, True]
    assert y_score.tolist() == [-2, 0]


E3 = np.eye(3)


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((E3, [0, 1, 2]), {"metric": "euclid"}, "metric must be .* got 'euclid'"),
        ((E3, [0, 1, 2]), {"block_size": 0}, "block_size must be at least 1, got 0"),
        ((E3[0], [0]), {}, r"embeddings must be 2-D, got shape \(3,\)"),
        ((E3, [0, 1]), {}, r"labels must have shape \(3,\).*got \(2,\)"),
        ((E3, [[0], [1], [2]]), {}, r"labels must have shape \(3,\)"),
        ((E3 * np.nan, [0, 1, 2]), {}, "embeddings must be finite"),
        ((E3, [0, np.nan, np.nan]), {}, "labels contains NaN"),
        ((E3, [0, 1, 2], E3, ["a", "b", None]), {}, "other_labels must hold values of one kind"),
        ((E3, [0, 1, 2], E3 + np.inf), {}, "other must be finite"),
        ((E3, [0, 1, 2], E3[:, :2]), {}, "other has 2 dimensions, embeddings have 3"),
        ((E3, [0, 1, 2], E3[:2]), {}, r"other_labels must have shape \(2,\)"),
        ((E3, [0, 1, 2], None, [0, 1, 2]), {}, "other_labels was given without other"),
        (
            (E3, [0, 1, 2], E3[:2], [0, 1]),
            {"exclude_same_index": True},
            "exclude_same_index needs as many .* got 2 and 3",
        ),
        ((E3[:1], [0]), {}, "No pair to compare among 1"),
        ((np.zeros((2, 3)), [0, 1]), {"metric": "cosine"}, r"embeddings\[0\] is all zero"),
        ((E3, [0, 1, 2], E3 * 0), {"metric": "cosine"}, r"other\[0\] is all zero"),
    ],
)
def test_bad_input_is_refused(args, options, message):
    with pytest.raises(ValueError, match=message):
        pair_scores(*args, **options)
