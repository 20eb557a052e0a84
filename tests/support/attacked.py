"""Generators that are exact by construction, and people to attack, for tests of the report."""

from functools import cached_property

import keras
import numpy as np
from sklearn.base import BaseEstimator

from skdistort import DistortionGenerator
from skdistort.networks._stored import StoredNetwork


def unit(Z):
    # A blank image has no direction, and stays without length.
    return (Z / np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), 1e-9)).astype(np.float32)


class Stub(DistortionGenerator):
    """What the generators below share, whose F and G are formulas; pixels lie in [0, 2]."""

    image_shape_ = (4, 4, 1)
    n_features_in_ = 16
    pixel_range_ = (0.0, 2.0)

    def __sklearn_is_fitted__(self):
        return True


class NegatingGenerator(Stub):
    """A keyless generator that gives the negative, under an F that does not see the difference."""

    keyed_ = False
    weights = np.random.default_rng(5).normal(size=(16, 6))

    def __init__(self):
        super().__init__(architecture="unet")

    @cached_property
    def embedder_(self):
        return network(lambda h: keras.layers.multiply([h, h]), self.weights)

    def _embed(self, images):
        return unit((images.reshape(len(images), -1) - 1) ** 2 @ self.weights)

    def _generate(self, images, embeddings, *, n_steps=None):
        return 1 - images / 2


class ExactGenerator(Stub):
    """A keyed generator whose F is a map of the pixels that D undoes exactly."""

    keyed_ = True

    def __init__(self, key=5):
        super().__init__(architecture="bottleneck", key=key)

    @cached_property
    def embedder_(self):
        return network(lambda h: h, np.eye(16))

    def _embed(self, images):
        return unit(images.reshape(len(images), -1).astype(np.float64) - 1)

    def _generate(self, images, embeddings, *, n_steps=None):
        return ((1 + embeddings) / 2).reshape(len(embeddings), *self.image_shape_)


def network(formula, weights):
    """F of a stub as a network, for attacks that take gradients: unit length of a linear map."""
    inputs = keras.Input((4, 4, 1))
    hidden = formula(keras.layers.Rescaling(1.0, -1.0)(keras.layers.Flatten()(inputs)))
    last = keras.layers.Dense(weights.shape[1], use_bias=False)
    model = keras.Model(inputs, keras.layers.UnitNormalization()(last(hidden)))
    last.set_weights([weights])
    return StoredNetwork(model)


class Pixels(BaseEstimator):
    """A held-out embedder: other weights of the same pixels."""

    def fit(self, X):
        self.weights_ = np.linspace(0.5, 1.5, 16)
        return self

    def transform(self, X):
        return unit(self.weights_ * (np.asarray(X).reshape(len(X), -1) - 1))


def people(n_subjects, n_images, seed):
    rng = np.random.default_rng(seed)
    means = np.repeat(rng.normal(size=(n_subjects, 16)), n_images, axis=0)
    images = means + rng.normal(scale=0.3, size=means.shape)
    images /= 1.001 * np.abs(images).max(axis=1, keepdims=True)
    return (1 + images).astype(np.float32), np.repeat(np.arange(n_subjects), n_images)


VICTIMS, OWN = people(60, 4, 0), people(150, 4, 1)
# Other people, and labels that say so.
OWN = OWN[0], 1000 + OWN[1]
HELD_OUT = Pixels().fit(VICTIMS[0])
