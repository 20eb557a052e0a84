"""Compiled steps that are used again: never one that was compiled for something else."""

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from support.stored import Batches

from skdistort import DistortionGenerator, SiameseVerifier, SoftmaxEmbedder, TripletEmbedder
from skdistort.attacks import NetworkInversion
from skdistort.distances import IMAGE_DISTANCES
from skdistort.networks import _stored
from skdistort.training import _loop

X, y = load_digits(return_X_y=True)
X, y = X[:120].astype(np.float32), y[:120]
DIGITS = X
SMALL = {"epochs": 1, "filters": (4,), "batch_size": 60, "random_state": 0}
QUIET = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def empty_pools():
    empty()
    yield
    empty()


@pytest.fixture(scope="module")
def frozen():
    return FrozenEstimator(TripletEmbedder(n_components=6, **SMALL).fit(X, y))


def empty():
    _loop._TRAINERS.clear()
    _stored._PREDICTORS.clear()


def learned(estimator, X=X, y=y):
    """What a fit leaves: losses, and what the network gives."""
    estimator = clone(estimator).fit(X, y)
    return np.concatenate([estimator.history_["loss"], estimator.transform(DIGITS).ravel()])


def check_none_serves_another(fits):
    """Fit each alone, then all with the steps of all: the same again, and no two of them alike."""
    alone, steps = [], {}
    for fit in fits:
        empty()
        alone.append(fit())
        # Where two had one signature, the later one's step would serve both.
        steps |= _loop._TRAINERS._models
    for i, found in enumerate(alone):
        for other in alone[:i]:
            assert np.abs(found - other).max() > 1e-6
    _loop._TRAINERS._models.update(steps)
    for fit, expected in zip(fits, alone, strict=True):
        np.testing.assert_array_equal(fit(), expected)


@pytest.mark.parametrize(
    ("estimator", "name", "values"),
    [
        (TripletEmbedder(**SMALL), "miner", ("all", "hard", "semi-hard")),
        (TripletEmbedder(**SMALL), "schedule", ("cosine", "constant")),
        (TripletEmbedder(**SMALL), "weight_decay", (0.0, 0.5, 1.0)),
        (TripletEmbedder(**SMALL), "dtype_policy", ("float32", "mixed_bfloat16")),
        (SoftmaxEmbedder(**SMALL), "loss", ("softmax", "am_softmax")),
        (SiameseVerifier(**SMALL), "mode", ("double", "triple")),
    ],
)
def test_each_option_has_a_step_of_its_own(estimator, name, values):
    def fit(value):
        found = learned(estimator.set_params(**{name: value}))
        return found[: len(y)]

    check_none_serves_another([lambda value=value: fit(value) for value in values])


@QUIET
@pytest.mark.parametrize(
    ("params", "name", "values"),
    [
        ({}, "distance", tuple(sorted(IMAGE_DISTANCES))),
        ({}, "adversary_weight", (0.0, 0.5, 1.0)),
        ({}, "architecture", ("bottleneck", "unet")),
        ({}, "train_embedder", (False, True)),
        ({}, "key", (None, 3)),
        ({"train_embedder": True}, "key", (None, 3)),
    ],
)
def test_each_option_of_a_generator_has_a_step_of_its_own(params, name, values, frozen):
    generator = DistortionGenerator(frozen, **{**SMALL, **params})

    def fit(value):
        return learned(generator.set_params(**{name: value}))

    check_none_serves_another([lambda value=value: fit(value) for value in values])


@QUIET
@pytest.mark.parametrize("params", [{}, {"architecture": "unet"}, {"key": 3}], ids=str)
def test_images_that_stream_have_a_step_of_their_own(params, frozen):
    generator = DistortionGenerator(frozen, **{**SMALL, "batch_size": 40, **params})

    def fit(in_memory):
        return learned(generator, *((X, None) if in_memory else (Batches(X, size=40), None)))

    check_none_serves_another([lambda: fit(True), lambda: fit(False)])


@QUIET
def test_each_embedder_has_a_step_of_its_own():
    inputs = keras.layers.Input((8, 8, 1))
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 16)(inputs))

    def fit(activation):
        dense = keras.layers.Dense(5, activation, kernel_initializer="identity")
        F = keras.Model(inputs, keras.layers.UnitNormalization()(dense(flat)))
        return learned(DistortionGenerator(F, **SMALL))

    check_none_serves_another([lambda: fit("relu"), lambda: fit("tanh")])


def test_triplets_with_labels_and_without_have_steps_of_their_own():
    embedder = TripletEmbedder(**SMALL)
    check_none_serves_another([lambda: learned(embedder), lambda: learned(embedder, y=None)])


def test_each_number_of_classes_has_a_step_of_its_own():
    embedder = SoftmaxEmbedder(**SMALL)
    check_none_serves_another(
        [lambda k=k: learned(embedder, X, np.arange(len(X)) % k)[1:] for k in (2, 3)]
    )


def test_each_distance_of_an_attack_has_a_step_of_its_own():
    images = X.reshape(-1, 8, 8, 1) / 16

    def fit(distance):
        attack = NetworkInversion(distance=distance, **SMALL).fit(1 - images, images)
        return np.concatenate([attack.history_["loss"], attack.reconstruct(images).ravel()])

    check_none_serves_another([lambda name=name: fit(name) for name in ("mse", "l1", "sobel")])


def test_one_step_serves_all_settings(monkeypatch, frozen):
    built = []
    initialise = _loop.TrainingModel.__init__

    def counted(self, *args):
        built.append(self)
        initialise(self, *args)

    monkeypatch.setattr(_loop.TrainingModel, "__init__", counted)
    generator = DistortionGenerator(
        frozen, train_embedder=True, key=3, **{**SMALL, "batch_size": 40}
    )
    for alpha, key in ((0.1, 1), (0.5, 2)):
        generator.set_params(alpha=alpha, key=key)
        clone(generator).partial_fit(Batches(X, y, size=40))
        clone(generator).set_params(train_embedder=False).partial_fit(Batches(X, size=40))
    assert len(built) == 2


@pytest.mark.fast
def test_all_that_is_compiled_counts_and_nothing_else():
    def network(units):
        return keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(units)])

    def one(y, outputs, *, distance, alpha): ...

    def other(y, outputs, *, distance, alpha): ...

    def sign(units=3, loss=one, distance="l1", part="d", setting="alpha", schedule="cosine"):
        return _loop.step_signature(
            network(units), loss, {"distance": distance}, [part], [setting], schedule
        )

    changed = [
        sign(),
        sign(units=4),
        sign(loss=other),
        sign(distance="l2"),
        sign(part="e"),
        sign(setting="pi_emb"),
        sign(schedule="constant"),
    ]
    assert len(set(changed)) == len(changed)
    assert sign() == sign()
