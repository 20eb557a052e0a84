"""Accuracy with thresholds from the other folds, against trying every threshold."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skdistort.metrics import cross_validated_accuracy

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=100)


@st.composite
def trials(draw):
    """Pairs in two to four folds, with ties, and both classes outside of every fold."""
    n = draw(st.integers(4, 24))
    lists = [st.booleans(), st.integers(-4, 4), st.integers(0, 3)]
    y_true, y_score, folds = (np.array(draw(st.lists(x, min_size=n, max_size=n))) for x in lists)
    assume(len(set(folds.tolist())) > 1)
    assume(all(len(set(y_true[folds != f].tolist())) == 2 for f in np.unique(folds)))
    return y_true, y_score.astype(np.float64), folds


def by_trying_everything(y_true, y_score, folds):
    """Accuracies and thresholds from the definitions, in fractions."""
    accuracies, thresholds = [], []
    for fold in sorted(set(folds.tolist())):
        others = [(t, s) for t, s, f in zip(y_true, y_score, folds, strict=True) if f != fold]
        levels = sorted({s for _, s in others})
        levels.append(np.nextafter(levels[-1], np.inf))
        right = [sum((s >= level) == t for t, s in others) for level in levels]
        best = max(level for level, count in zip(levels, right, strict=True) if count == max(right))
        held_out = [(t, s) for t, s, f in zip(y_true, y_score, folds, strict=True) if f == fold]
        accuracies.append(Fraction(sum((s >= best) == t for t, s in held_out), len(held_out)))
        thresholds.append(best)
    return accuracies, thresholds


@properties
@given(trials())
def test_against_trying_every_threshold(data):
    accuracies, thresholds = by_trying_everything(*data)
    result = cross_validated_accuracy(*data)
    np.testing.assert_array_equal(result.thresholds, thresholds)
    np.testing.assert_array_equal(result.accuracies, [float(a) for a in accuracies])
    n = len(accuracies)
    mean = sum(accuracies) / n
    assert result.mean == pytest.approx(float(mean))
    variance = sum((a - mean) ** 2 for a in accuracies) / (n - 1)
    assert result.standard_error == pytest.approx(float(variance / n) ** 0.5)


@properties
@given(trials())
def test_distances_are_negated_scores(data):
    y_true, y_score, folds = data
    by_score = cross_validated_accuracy(y_true, y_score, folds)
    by_distance = cross_validated_accuracy(y_true, -y_score, folds, distances=True)
    np.testing.assert_array_equal(by_distance.thresholds, -by_score.thresholds)
    np.testing.assert_array_equal(by_distance.accuracies, by_score.accuracies)


@properties
@given(trials(), st.permutations(range(4)), st.integers(1, 3))
def test_rising_maps_names_of_folds_and_repeats_change_nothing(data, names, n_repeats):
    y_true, y_score, folds = data
    expected = cross_validated_accuracy(y_true, y_score, folds)
    renamed = np.array(list("abcd"))[np.array(names)[folds]]
    repeated = (np.tile(a, n_repeats) for a in (y_true, np.exp(y_score), renamed))
    result = cross_validated_accuracy(*repeated)
    assert result.mean == pytest.approx(expected.mean)
    assert result.standard_error == pytest.approx(expected.standard_error)


def test_float32_scores():
    y_score = np.array([0.1, 0.3, 0.2, 0.1, 0.3, 0.2], dtype=np.float32)
    y_true, folds = [0, 1, 1, 0, 1, 1], [0, 0, 0, 1, 1, 1]
    result = cross_validated_accuracy(y_true, y_score, folds)
    assert (result.mean, result.standard_error) == (1.0, 0.0)
    assert result.thresholds.tolist() == [np.float32(0.2)] * 2


@pytest.mark.parametrize(
    ("y_true", "folds", "message"),
    [
        ([1, 0, 1, 0], [0, 0, 1], r"folds must have shape \(4,\), .* got \(3,\)"),
        ([1, 0, 1, 0], [[0, 0, 1, 1]], r"folds must have shape \(4,\), .* got \(1, 4\)"),
        ([1, 0, 1, 0], [7, 7, 7, 7], "at least two folds, got 1"),
        ([1, 1, 1, 0], [0, 0, 1, 1], "The folds other than 1 hold one class only"),
        ([0, 0, 1, 0], [0, 0, 1, 1], "The folds other than 1 hold one class only"),
        ([1, 2, 1, 0], [0, 0, 1, 1], "y_true must hold True/False or 1/0 only"),
    ],
)
def test_bad_input(y_true, folds, message):
    with pytest.raises(ValueError, match=message):
        cross_validated_accuracy(y_true, [0.4, 0.3, 0.2, 0.1], folds)
