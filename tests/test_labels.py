"""Labels of any types are compared exactly, or refused."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdistort._labels import as_labels, encode_classes, joint_codes
from skdistort.attacks import draw_linkage_pairs, match_rate
from skdistort.metrics import (
    bootstrap_interval,
    cross_validated_accuracy,
    distance_table,
    equal_error_rate,
    pair_scores,
)
from skdistort.plda import PLDA
from skdistort.selection import nearest_by_cosine
from skdistort.trials import make_trials

BIG = 2**60


def codes(left, right):
    arrays = as_labels(left, "left"), as_labels(right, "right")
    return [found.tolist() for found in joint_codes(*arrays, "left", "right")]


def test_large_ids_of_two_integer_types_are_not_merged():
    ids = np.array([BIG, BIG + 1])
    genuine, _ = pair_scores(np.eye(2), ids, np.eye(2), ids.astype("uint64"))
    assert genuine.tolist() == [True, False, False, True]


INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", object]


@pytest.mark.parametrize(("one", "other"), product(INTEGERS, INTEGERS))
@settings(deadline=None, max_examples=20)
@given(
    left=st.lists(st.integers(-(2**63), 2**64 - 1), min_size=1, max_size=5),
    right=st.lists(st.integers(-(2**63), 2**64 - 1), min_size=1, max_size=5),
)
def test_integers_of_any_two_types_compare_as_python_compares_them(one, other, left, right):
    sides = []
    for dtype, values in ((one, left), (other, right)):
        if dtype is not object:
            limits = np.iinfo(dtype)
            values = [min(max(v, limits.min), limits.max) for v in values]
        sides.append(np.array(values, dtype=dtype))
    found = codes(*sides)
    for (i, a), (j, b) in product(enumerate(sides[0].tolist()), enumerate(sides[1].tolist())):
        assert (found[0][i] == found[1][j]) == (a == b)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([BIG, BIG + 1], [float(BIG)], [[0, 1], [0]]),
        (np.array([2**64 - 1, 2**64 - 2], "uint64"), [-1, 2**64 - 1], [[2, 1], [0, 2]]),
        (np.array([1.5, 2.0]), np.array([2, 1], "int8"), [[1, 2], [2, 0]]),
        (np.array([0.1], "float32"), [0.1], [[1], [0]]),
        ([True, False], [0, 1, 2], [[1, 0], [0, 1, 2]]),
        ([2**70, 2**70 + 1], np.array([5]), [[1, 2], [0]]),
        (["ann", "bob"], np.array(["bob", "christopher"]), [[0, 1], [1, 2]]),
        (["a", "a\0"], np.array(["a"]), [[0, 1], [0]]),
        (pd.Series(["ann", "bob"]), ("bob",), [[0, 1], [1]]),
        (pd.Series([1, 2], dtype="Int64"), np.array([2], "uint64"), [[0, 1], [1]]),
        (pd.Series(["b", "a"], dtype="category"), ["a"], [[1, 0], [0]]),
    ],
)
def test_labels_are_equal_by_value(left, right, expected):
    assert codes(left, right) == expected


@pytest.mark.parametrize(
    "labels",
    [
        [1, "1"],
        ["1", 2, 3],
        [b"a", "a"],
        ["ann", None],
        [None],
        ["ann", float("nan")],
        [1.0, float("nan")],
        np.array([1, "1"], dtype=object),
        pd.Series([1, pd.NA], dtype="Int64"),
    ],
)
def test_mixed_and_missing_labels_are_refused(labels):
    with pytest.raises(ValueError, match=r"y must hold values of one kind|y contains NaN"):
        as_labels(labels, "y")


@pytest.mark.parametrize(
    ("left", "right"), [([1], ["1"]), (np.array(["a"]), np.array([b"a"])), ([0.5], ["0.5"])]
)
def test_labels_of_two_kinds_are_refused(left, right):
    with pytest.raises(ValueError, match="left holds .*, but right holds .*must be of one kind"):
        codes(left, right)
    with pytest.raises(ValueError, match="other_labels holds"):
        pair_scores(np.eye(1), left, np.eye(1), right)


def test_a_list_of_large_numbers_does_not_become_floats():
    labels = as_labels([2**63 + 1, 2**63, -1], "labels")
    assert len(np.unique(labels)) == 3
    assert as_labels([2**63, 1], "labels").dtype == np.uint64
    assert as_labels([True, False], "labels").dtype == bool
    assert as_labels([1, 2.5], "labels").dtype == np.float64


def test_measures_read_labels_exactly():
    subjects = [BIG, BIG + 1, BIG, BIG + 1]
    others = np.array([BIG, BIG, BIG + 1, BIG + 1], dtype="uint64")
    found = bootstrap_interval(
        equal_error_rate,
        [1, 0, 0, 1],
        [0.9, 0.1, 0.2, 0.8],
        subjects,
        others,
        n_resamples=3,
        random_state=0,
    )
    assert found.estimate == 0
    with pytest.raises(ValueError, match="folds must hold values of one kind"):
        cross_validated_accuracy([1, 0, 1, 0], [0.9, 0.1, 0.8, 0.2], [1, 1, "1", "1"])
    X = np.random.default_rng(0).uniform(size=(2, 4, 4))
    table = distance_table(X, X, [2**63 + 1, 2**63], pixel_range=(0, 1), random_state=0)
    assert {row["class"] for row in table.rows} == {2**63, 2**63 + 1, "all"}


def test_what_else_compares_labels_does_so_exactly():
    ids = np.array([BIG, BIG + 1])
    other = ids.astype("uint64")
    X = np.eye(2)
    found = nearest_by_cosine(X, X, 2, groups=ids, database_groups=other)
    assert found.tolist() == [[1, -1], [0, -1]]
    assert match_rate(X, ids, X, other, -0.5) == 1.0
    with pytest.raises(ValueError, match="labels holds numbers .* other_labels holds text"):
        match_rate(X, [1, 2], X, ["1", "2"], -0.5)


@pytest.mark.parametrize(
    "read",
    [
        lambda labels: encode_classes(np.eye(4), labels),
        lambda labels: make_trials(labels),
        lambda labels: draw_linkage_pairs(labels),
        lambda labels: PLDA().fit(np.eye(4), [0, 0, 1, 1]).score(np.eye(4), labels),
    ],
)
def test_a_number_and_its_text_are_never_one_label(read):
    with pytest.raises(ValueError, match="must hold values of one kind"):
        read([1, "1", 2, 2])
