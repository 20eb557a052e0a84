"""Nothing global of Keras's changes a network; unit length is safe at any size."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits
from support.backends import evaluate, gradients

from skdistort import DistortionGenerator, SiameseVerifier, TripletEmbedder
from skdistort.metrics import pair_scores
from skdistort.networks import UnitLength

pytestmark = pytest.mark.backend

X, y = load_digits(return_X_y=True)
X, y = X[:60].reshape(-1, 8, 8).astype(np.float32), y[:60]
TINY = {"epochs": 1, "filters": (2, 3), "random_state": 0, "batch_size": 30}


@pytest.fixture
def channels_first():
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


def fits():
    embedder = TripletEmbedder(3, hidden_units=4, **TINY)
    yield embedder.fit(X, y).transform(X)
    for architecture in ("unet", "bottleneck"):
        generator = DistortionGenerator(embedder, architecture=architecture, **TINY)
        yield generator.fit(X, y).transform(X)
    yield SiameseVerifier(3, hidden_units=4, **TINY).fit(X, y).transform(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_are_the_same_under_channels_first(channels_first):
    found = list(fits())
    keras.config.set_image_data_format("channels_last")
    for a, b in zip(found, fits(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("size", [1e-2, 1.0, 1e19, 1e38])
def test_unit_length_at_any_size(size):
    x = np.float32([[3, 4], [-1, 0]]) * np.float32(size / 4)
    found = evaluate(UnitLength(dtype="float32"), x)
    np.testing.assert_allclose(found, [[0.6, 0.8], [-1, 0]], rtol=1e-5)


def test_gradient_of_unit_length():
    x = np.float32([[3, 4], [0, 0]])
    found = gradients(lambda v: keras.ops.sum(UnitLength(dtype="float32")(v)[:, 0]), x)
    found = np.asarray(found[0] if isinstance(found, (list, tuple)) else found)
    np.testing.assert_allclose(found[0], [0.128, -0.096], rtol=1e-4)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_cosines_at_any_size(size):
    embeddings = np.float32([[1, 0], [1, 1]]) * np.float32(size)
    _, scores = pair_scores(embeddings, [0, 0], metric="cosine")
    np.testing.assert_allclose(scores, [np.sqrt(0.5)], rtol=1e-5)
