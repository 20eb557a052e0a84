"""Equal error rate in two passes over chunks, against the one of all scores in memory."""

import tracemalloc
from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.comparisons import comparisons

import skdistort.metrics._streaming as streaming
from skdistort.metrics import (
    equal_error_rate,
    iter_pair_scores,
    pair_scores,
    pairwise_equal_error_rate,
    streaming_equal_error_rate,
)
from skdistort.metrics._vertices import sign_change

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=60)
FLOATS = st.floats(-(2.0**127), 2.0**127, width=32)
# Subnormal floats of either sign, both zeros, and neighbours that share the upper half of bits.
CLOSE = st.sampled_from(np.float32([0.0, -0.0, 1e-45, -1e-45, 1e-38, -1e-38]).tolist()) | (
    st.integers(0, 3).map(lambda i: float(np.float32(1) + np.float32(i * 2**-23)))
)


def in_chunks(y_true, y_score, *ends):
    """Make a callable that returns the chunks between some positions."""
    parts = [slice(a, b) for a, b in zip((0, *ends), (*ends, len(y_true)), strict=True)]
    return lambda: ((y_true[p], y_score[p]) for p in parts)


@st.composite
def pairs_of(draw, scores):
    """Draw pairs of both classes with the scores of a strategy."""
    y_true = [True, False, *draw(st.lists(st.booleans(), max_size=40))]
    values = draw(st.lists(scores, min_size=len(y_true), max_size=len(y_true)))
    return np.array(y_true), np.array(values, dtype=np.float32)


@properties
@given(
    comparisons() | pairs_of(FLOATS) | pairs_of(CLOSE) | pairs_of(FLOATS | CLOSE),
    st.booleans(),
    st.data(),
)
def test_equals_the_rate_of_all_scores_bit_for_bit(pairs, distances, data):
    end = st.integers(0, len(pairs[0]))
    chunks = in_chunks(*pairs, *sorted([data.draw(end), data.draw(end)]))
    with mock.patch.object(streaming, "_BLOCK", data.draw(st.sampled_from([3, 2**18]))):
        found = streaming_equal_error_rate(chunks, distances=distances)
    assert found == equal_error_rate(*pairs, distances=distances)


def test_crossings_everywhere_in_and_between_the_bins():
    # 8 values in each of 3 neighbouring bins of the first pass; the crossing moves through them.
    spacing = np.float32(2**-23)
    values = np.concatenate([np.float32(1 + b / 128) + spacing * np.arange(8) for b in range(3)])
    values = np.concatenate((-values[::-1], values)).astype(np.float32)
    assert len(np.unique(values.view(np.uint32) >> 16)) == 6
    for first in range(1, values.size):
        y_true = np.arange(values.size) >= first
        y_true[[0, -1]] = True, False
        found = streaming_equal_error_rate(in_chunks(y_true, values, 5, 30))
        assert found == equal_error_rate(y_true, values)


@pytest.mark.parametrize("decimals", [None, 2, 0])
def test_many_scores(decimals):
    rng = np.random.default_rng(0)
    y_true = rng.random(600_000) < 0.2
    y_score = rng.standard_normal(y_true.size, dtype=np.float32) + y_true
    y_score = y_score if decimals is None else np.round(y_score, decimals)
    chunks = in_chunks(y_true.astype(int), y_score, 1, 1, 300_000)
    assert streaming_equal_error_rate(chunks) == equal_error_rate(y_true, y_score)


def test_memory_does_not_grow_with_the_scores():
    def chunks():
        rng = np.random.default_rng(0)
        for _ in range(40):
            y_true = rng.random(100_000) < 0.5
            yield y_true, rng.standard_normal(y_true.size, dtype=np.float32) + y_true

    tracemalloc.start()
    streaming_equal_error_rate(chunks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The scores and labels alone take 20 MB.
    assert peak < 12e6


def test_both_zeros_are_one_score():
    zeros = np.array([-0.0, 0.0, 0.0, -0.0], dtype=np.float32)
    for y_true in ([1, 0, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1]):
        chunks = in_chunks(np.array(y_true), zeros, 1)
        for distances in (False, True):
            found = streaming_equal_error_rate(chunks, distances=distances)
            assert found == equal_error_rate(y_true, zeros, distances=distances)
            assert found[0] == 0.5


def test_counts_beyond_64_bits_when_multiplied():
    # As of all pairs among some millions of embeddings.
    n_genuine, n_impostor = 5 * 10**9, 10**13
    rng = np.random.default_rng(0)
    for _ in range(20):
        rejected = np.sort(rng.integers(0, n_genuine, 20))
        accepted = np.sort(rng.integers(0, n_impostor, 20))[::-1]
        rejected[[0, -1]], accepted[[0, -1]] = (0, n_genuine), (n_impostor, 0)
        lenient, strict = sign_change(np.arange(20.0), rejected, accepted, n_genuine, n_impostor)
        falls = [
            Fraction(a, n_impostor) < Fraction(r, n_genuine)
            for a, r in zip(accepted.tolist(), rejected.tolist(), strict=True)
        ]
        after = falls.index(True)
        assert strict == (after, rejected[after], accepted[after])
        assert lenient.threshold == strict.threshold - 1


def embeddings(n=60, d=5, n_classes=8):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n_classes, n)
    return rng.standard_normal((n, d)) + 2 * rng.standard_normal((n_classes, d))[labels], labels


@pytest.mark.parametrize("metric", ["neg_sqeuclidean", "cosine"])
@pytest.mark.parametrize("kind", ["self", "cross", "exclude"])
@pytest.mark.parametrize("block_size", [1, 7, 59, 60, 1000])
def test_blocks_of_pairs_are_the_pairs(metric, kind, block_size):
    E, labels = embeddings()
    other = () if kind == "self" else (E[::-1], labels[::-1])
    options = {"metric": metric, "exclude_same_index": kind == "exclude", "block_size": block_size}
    blocks = list(iter_pair_scores(E, labels, *other, **options))
    whole = pair_scores(E, labels, *other, **options)
    assert all(map(np.array_equal, map(np.concatenate, zip(*blocks, strict=True)), whole))
    assert all(y_score.size for _, y_score in blocks)
    assert len(blocks) == -(-(len(E) - (kind == "self")) // block_size)
    rate = pairwise_equal_error_rate(E, labels, *other, **options)
    assert rate == equal_error_rate(*whole)


def test_bad_pairs_are_refused_at_the_call():
    with pytest.raises(ValueError, match="labels must have shape"):
        iter_pair_scores(np.eye(3), [0, 1])
    with pytest.raises(ValueError, match="both classes, got 3 impostor pairs only"):
        pairwise_equal_error_rate(np.eye(3), [0, 1, 2])


TWO = np.array([True, False]), np.array([1, 0], dtype=np.float32)


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        (lambda: [(TWO[0], TWO[1].astype(np.float64))], "dtype float32 .* got float64"),
        (lambda: [TWO, ([True], [0.5])], "dtype float32 .* got float64"),
        (lambda: [TWO, (TWO[0], TWO[1] * np.float32(np.nan))], "must be finite .* got 2 NaN"),
        (lambda: [TWO, (TWO[0], TWO[1][:1])], "same length, got 2 and 1"),
        (lambda: [([2, 0], TWO[1])], "y_true must hold True/False or 1/0"),
        (lambda: [(TWO[0][:1], TWO[1][:1])], "both classes, got 1 genuine"),
        (lambda: [], "both classes, got 0 impostor"),
    ],
)
def test_bad_chunks_are_refused(chunks, message):
    with pytest.raises(ValueError, match=message):
        streaming_equal_error_rate(chunks)


def test_scores_must_come_twice_and_the_same():
    with pytest.raises(TypeError, match="chunks must be callable.*got list"):
        streaming_equal_error_rate([TWO])
    once = iter([TWO])
    with pytest.raises(ValueError, match="the same scores at both calls"):
        streaming_equal_error_rate(lambda: once)
