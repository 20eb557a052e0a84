"""Generators that are exact by construction, and people to attack, for tests of the report."""

import numpy as np
from sklearn.base import BaseEstimator

from skdistort.keys import rotate_embeddings


def unit(Z):
    return (Z / np.linalg.norm(Z, axis=1, keepdims=True)).astype(np.float32)


class Stub(BaseEstimator):
    """What the generators below share; pixels lie in [0, 2]."""

    image_shape_ = (4, 4, 1)
    pixel_range_ = (0.0, 2.0)
    batch_size = 32

    def fit(self, X):
        return self

    def __sklearn_is_fitted__(self):
        return True


class NegatingGenerator(Stub):
    """A keyless generator that gives the negative, under an F that does not see the difference."""

    keyed_ = False
    weights = np.random.default_rng(5).normal(size=(16, 6))

    def embed(self, X):
        return unit((np.asarray(X).reshape(len(X), -1) - 1) ** 2 @ self.weights)

    def embed_probe(self, X, keys=None):
        assert keys is None
        return self.embed(X)

    def transform(self, X, keys=None):
        assert keys is None
        return 2 - X


class ExactGenerator(Stub):
    """A keyed generator whose F is a map of the pixels that D undoes exactly."""

    keyed_ = True

    def __init__(self, key=5):
        self.key = key

    def embed(self, X):
        return unit(np.asarray(X, dtype=np.float64).reshape(len(X), -1) - 1)

    def embed_probe(self, X, keys=None):
        return rotate_embeddings(self.embed(X), self.key if keys is None else keys)

    def transform(self, X, keys=None):
        return (1 + self.embed_probe(X, keys)).reshape(X.shape)


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
HELD_OUT = Pixels().fit(VICTIMS[0])
