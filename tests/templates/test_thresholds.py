"""Thresholds for ids of several templates: chosen for the decision that is taken, and kept."""

import json

import numpy as np
import pytest

from skdistort.metrics import equal_error_rate, fnmr_at_fmr, pair_scores
from skdistort.templates._thresholds import (
    choose_thresholds,
    read_thresholds,
    thresholds_for,
    write_thresholds,
)

pytestmark = pytest.mark.fast


def people(n_people, n_images, rng, spread=0.6, d=8):
    """Draw embeddings: people somewhere, images around them; each also as its template."""
    y = np.repeat(np.arange(n_people), n_images)
    Z = rng.normal(size=(n_people, d))[y] + spread * rng.normal(size=(len(y), d))
    Z = (Z / np.linalg.norm(Z, axis=1, keepdims=True)).astype(np.float32)
    return Z, Z + rng.normal(scale=0.02, size=Z.shape).astype(np.float32), y


def rates(thresholds, n, rng):
    """False match and non-match rates for ids of n templates, of people never seen before."""
    Z, T, y = people(60, n + 4, rng)
    scores = -np.square(Z[:, None] - T[None]).sum(-1).reshape(len(Z), 60, n + 4)
    nearest = scores[:, :, :n].max(-1)
    accepted = nearest >= thresholds_for(thresholds, [n])[0]
    probes = np.tile(np.arange(n + 4) >= n, 60)
    own = y[:, None] == np.arange(60)
    return accepted[probes][~own[probes]].mean(), 1 - accepted[probes][own[probes]].mean()


def test_one_template_is_decided_on_all_pairs():
    Z, T, y = people(9, 4, np.random.default_rng(0))
    pairs = pair_scores(Z, y, T, y, exclude_same_index=True)
    assert choose_thresholds(Z, T, y, "eer", 0.01)[1] == equal_error_rate(*pairs)[1]
    assert choose_thresholds(Z, T, y, "fmr", 0.05)[1] == fnmr_at_fmr(*pairs, 0.05)[1]
    names = np.array([f"person {i}" for i in y])
    assert choose_thresholds(Z, T, names, "eer", 0.01) == choose_thresholds(Z, T, y, "eer", 0.01)


@pytest.mark.parametrize("n", [1, 5, 20])
def test_impostors_pass_at_the_rate_that_was_asked_for(n):
    rng = np.random.default_rng(1)
    thresholds = choose_thresholds(*people(60, 24, rng), "fmr", 0.01)
    false_matches, false_non_matches = rates(thresholds, n, rng)
    assert 0.004 < false_matches < 0.02
    assert false_non_matches < 0.9
    one_for_all = {1: thresholds[1], 99: thresholds[1]}
    if n > 1:
        assert rates(one_for_all, n, rng)[0] > 0.02


def test_more_templates_than_there_were_images_are_held_to_no_more():
    rng = np.random.default_rng(2)
    thresholds = choose_thresholds(*people(150, 3, rng), "fmr", 0.01)
    assert list(thresholds)[:4] == [1, 2, 4, 8]
    for n in (3, 8, 20):
        assert 0.0005 < rates(thresholds, n, rng)[0] < 0.015


def test_numbers_between_take_the_next_and_beyond_all_nothing_passes():
    thresholds = {1: -0.9, 2: -0.8, 4: -0.5}
    found = thresholds_for(thresholds, [1, 2, 3, 4, 5])
    assert found.tolist() == [-0.9, -0.8, -0.5, -0.5, np.inf]


def test_thresholds_do_not_fall_and_survive_to_the_last_bit():
    Z, T, y = people(5, 12, np.random.default_rng(3))
    for strategy in ("eer", "fmr"):
        thresholds = choose_thresholds(Z, T, y, strategy, 0.02)
        values = list(thresholds.values())
        assert values == sorted(values)
        assert read_thresholds(write_thresholds(thresholds)) == thresholds


@pytest.mark.parametrize(
    "text",
    [
        '{"1": -Infinity}',
        '{"1": NaN}',
        '{"1": Infinity}',
        '{"2": -1}',
        '{"1": -0.5, "2": -0.6}',
        '{"1": -1, "3": -1, "2": -1}',
        "[1]",
        "1",
        "{}",
        '{"1": [1]}',
        "no json",
        '{"one": 1}',
        json.dumps({"1": None}),
    ],
)
def test_what_are_no_thresholds_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011
        read_thresholds(text)
