"""Two devices, which a backend simulates on the host: a process of its own runs each test."""

import os
import subprocess
import sys

import keras
import pytest

SCRIPT = """
import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
import warnings

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.networks import _stored
from skdistort.training import _loop

warnings.simplefilter("ignore", ConvergenceWarning)
X, y = load_digits(return_X_y=True)
X, y = X[:200].astype(np.float32), y[:200]
SMALL = {"epochs": 2, "filters": (4,), "random_state": 0}
assert len(keras.distribution.list_devices()) == 2


# Steps of refinement make much of the last bit of a pixel: templates are as G gives them.
GENERATOR = {**SMALL, "refinement_steps": 0}


def fit():
    embedder = TripletEmbedder(**SMALL).fit(X, y)
    return embedder, DistortionGenerator(FrozenEstimator(embedder), **GENERATOR).fit(X)


def devices(model):
    return {len(v.value.sharding.device_set) for v in model.variables}


alone = fit()
# No multiple of the number of devices.
expected = [estimator.transform(X[:7]) for estimator in alone]

refined = alone[1].set_params(refinement_steps=20).transform(X[:7])
seen = alone[1].set_params(refinement_steps=0).embed(refined)

distribution = keras.distribution.DataParallel()
keras.distribution.set_distribution(distribution)
for estimator, images in zip(alone, expected):
    np.testing.assert_allclose(estimator.transform(X[:7]), images, atol=1e-4)
shared = fit()
for estimator, images in zip(shared, expected):
    np.testing.assert_allclose(estimator.transform(X[:7]), images, atol=1e-4)
    assert devices(estimator.network_.model) == {2}
for pool in (_loop._TRAINERS, _stored._PREDICTORS):
    found = [getattr(m, "model", m) for key, m in pool._models.items() if key[1] is distribution]
    assert found and all(devices(model) == {2} for model in found)
assert keras.distribution.distribution() is distribution

# And refined, F sees the same in them.
for generator in (alone[1], shared[1]):
    refined = generator.set_params(refinement_steps=20).transform(X[:7])
    generator.set_params(refinement_steps=0)
    np.testing.assert_allclose(generator.embed(refined), seen, atol=0.02)

# An embedder whose network was built for one device is built anew for two, and back.
for current in (distribution, None):
    keras.distribution.set_distribution(current)
    for embedder in (alone[0], shared[0]):
        generator = DistortionGenerator(FrozenEstimator(embedder), **GENERATOR).fit(X)
        np.testing.assert_allclose(generator.transform(X[:7]), expected[1], atol=1e-4)
        assert devices(embedder.network_.model) == {2 if current else 1}
"""


REPLICAS = """
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from skdistort import TripletEmbedder
from skdistort.networks import _stored

X = np.random.default_rng(0).random((40, 64), dtype=np.float32)
small = {"epochs": 1, "filters": (4,), "batch_size": 32, "random_state": 0}
embedder = TripletEmbedder(**small).fit(X, np.arange(40) % 4)
expected = embedder.transform(X)
_stored._PREDICTORS.clear()
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    np.testing.assert_allclose(embedder.transform(X), expected, atol=1e-5)
# What was made under the strategy keeps it.
np.testing.assert_allclose(embedder.transform(X), expected, atol=1e-5)
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's own strategy")
def test_replicas_of_tensorflow_do_not_repeat_rows():
    subprocess.run([sys.executable, "-c", REPLICAS], check=True)


@pytest.mark.backend
@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX simulates devices")
def test_two_devices_find_what_one_does():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, env=environment)
