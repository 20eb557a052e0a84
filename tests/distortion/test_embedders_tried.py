"""An embedder that is given is tried on training images before anything is trained."""

import re

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator

import skdistort.networks
from skdistort import TripletEmbedder
from skdistort.distortion._embedder import check_embedder, try_embedder
from skdistort.exceptions import InputMismatchError, InputMismatchWarning
from skdistort.networks import UnitLength

pytestmark = pytest.mark.backend

X = load_digits().data.astype(np.float32).reshape(-1, 8, 8, 1)[:16]
layers = keras.layers


@keras.saving.register_keras_serializable(package="skdistort_tests")
class Forgetful(layers.Layer):
    """A scale that its configuration leaves out."""

    def __init__(self, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, x):
        return x * self.scale

    def get_config(self):
        return {"name": self.name}


@keras.saving.register_keras_serializable(package="skdistort_tests")
class Rule(layers.Layer):
    """One of several functions."""

    def __init__(self, rule, **kwargs):
        super().__init__(**kwargs)
        self.rule = rule

    def call(self, x):
        if self.rule == "threshold":
            return keras.ops.cast(x > 8, "float32") + 0.1
        if self.rule == "constant":
            return x * 0 + 1
        if self.rule == "neighbours":
            return x - keras.ops.mean(x, axis=0, keepdims=True)
        return x / 0.0 if self.rule == "infinite" else x

    def get_config(self):
        return {**super().get_config(), "rule": self.rule}


def ending_in_unit_length(*parts):
    return keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), *parts, UnitLength()])


def test_what_is_right_passes_without_a_word():
    try_embedder(ending_in_unit_length(layers.Dense(4)), X)
    try_embedder(None, X)
    # All of its gradients by a swap of images would cancel out.
    with pytest.warns(InputMismatchWarning, match="length"):
        try_embedder(layers.Flatten(), X)


@pytest.mark.parametrize(
    ("embedder", "told"),
    [
        (keras.Sequential([layers.Flatten(), Forgetful(1 / 255)]), "rebuilt .* get_config"),
        (ending_in_unit_length(Rule("threshold")), "no gradient"),
        (ending_in_unit_length(Rule("constant")), "constant"),
        (ending_in_unit_length(Rule("neighbours")), "other images"),
        (keras.Sequential([layers.Flatten(), Rule("infinite")]), "NaN or infinite"),
    ],
)
def test_what_cannot_serve_is_refused(embedder, told):
    with pytest.raises(ValueError, match=f"embedder .*{told}"):
        try_embedder(embedder, X)


@pytest.mark.parametrize("factor", [0.05, 20])
def test_other_lengths_than_one_are_told_of(factor):
    scaled = keras.Sequential([ending_in_unit_length(), layers.Rescaling(factor)])
    with pytest.warns(InputMismatchWarning, match=f"length {factor} .*UnitLength") as told:
        try_embedder(scaled, X)
    assert_passes(next(w.message for w in told if w.category is InputMismatchWarning), scaled)


def assert_passes(message, embedder):
    """Make the embedder that a message gives a line for, and try it."""
    line = re.search(r": (keras\..*\)) (?:takes|brings)", str(message))[1]
    better = eval(line, {"embedder": embedder, "keras": keras, "skdistort": skdistort})
    check_embedder(better, better.input_shape[1:])
    try_embedder(better, np.resize(X, (4, *better.input_shape[1:])))


def test_a_frozen_embedder_of_other_images_is_refused():
    y = np.arange(16) % 4
    embedder = TripletEmbedder(3, filters=(2,), hidden_units=4, epochs=1, random_state=0)
    frozen = FrozenEstimator(embedder.fit(X, y))
    try_embedder(frozen, X)
    with pytest.raises(InputMismatchError, match="embedder was fitted on other images"):
        try_embedder(frozen, X / 255)
    with pytest.raises(ValueError, match=r"shape \(8, 8, 1\), X has \(8, 8, 3\)") as refused:
        check_embedder(frozen, (8, 8, 3))
    assert_passes(refused.value, frozen)
