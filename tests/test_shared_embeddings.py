"""Embeddings that generators share: of the same images by the same network, within a limit."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort._shared_embeddings import SharedEmbeddings
from skdistort.distortion import _distorting

N_BYTES = 4 * 8


class Network:
    """Embeds an image as its first two pixels, times a weight."""

    def __init__(self, weight=1.0, config="first two"):
        self.config, self.weights, self.calls = config, [np.float32([weight])], 0

    def predict(self, images, batch_size):
        self.calls += 1
        return np.float32(images.reshape(len(images), -1)[:, :2] * self.weights[0])


@pytest.fixture
def images():
    return np.arange(36, dtype=np.float32).reshape(4, 3, 3, 1)


def test_second_call_computes_nothing(images):
    shared, network = SharedEmbeddings(N_BYTES), Network()
    first = shared.predict(network, images, 32)
    expected = first.copy()
    # What the caller does with it is his own business.
    first[:] = -1
    second = shared.predict(network, images.copy(), 32)
    second[:] = -2
    np.testing.assert_array_equal(shared.predict(network, images, 32), expected)
    assert network.calls == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda network, images: (Network(2.0), images, 32),
        lambda network, images: (Network(config="last two"), images, 32),
        lambda network, images: (network, images + 1, 32),
        lambda network, images: (network, images[::-1], 32),
        lambda network, images: (network, images.reshape(4, 1, 9, 1), 32),
        lambda network, images: (network, images.astype(np.float64), 32),
        lambda network, images: (network, images, 64),
    ],
    ids=["weights", "network", "pixels", "order", "shape", "dtype", "batch"],
)
def test_whatever_else_differs_is_computed(change, images):
    shared, network = SharedEmbeddings(10 * N_BYTES), Network()
    shared.predict(network, images, 32)
    other, others, batch_size = change(network, images)
    expected = other.predict(others, batch_size)
    calls = other.calls
    np.testing.assert_array_equal(shared.predict(other, others, batch_size), expected)
    assert other.calls == calls + 1


def test_those_asked_for_last_stay(images):
    shared, network = SharedEmbeddings(2 * N_BYTES), Network()
    for shift in (0, 1, 0, 2):
        shared.predict(network, images + shift, 32)
    assert network.calls == 3
    shared.predict(network, images, 32)
    assert network.calls == 3
    shared.predict(network, images + 1, 32)
    assert network.calls == 4
    shared.clear()
    shared.predict(network, images + 1, 32)
    assert network.calls == 5


def test_what_is_over_the_limit_is_not_kept(images):
    shared, network = SharedEmbeddings(N_BYTES - 1), Network()
    for _ in range(2):
        shared.predict(network, images, 32)
    assert network.calls == 2


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_search_embeds_the_images_of_a_fold_once(monkeypatch):
    X, y = load_digits(return_X_y=True)
    X, y = X[:120].astype(np.float32), y[:120]
    embedder = TripletEmbedder(epochs=1, filters=(4,), random_state=0).fit(X, y)
    _distorting._EMBEDDINGS.clear()
    sizes = []
    predict = SharedEmbeddings.predict

    def counted(self, network, images, batch_size):
        class Counted:
            config, weights = network.config, network.weights

            @staticmethod
            def predict(images, batch_size):
                sizes.append(len(images))
                return network.predict(images, batch_size)

        return predict(self, Counted, images, batch_size)

    monkeypatch.setattr(SharedEmbeddings, "predict", counted)
    generator = DistortionGenerator(
        FrozenEstimator(embedder), pixel_range=(0, 16), epochs=1, filters=(4,), random_state=0
    )
    search = GridSearchCV(generator, {"alpha": [0.1, 0.2, 0.5]}, cv=[(range(80), range(80, 120))])
    search.fit(X, y)
    # The fold's images to learn from and to score, then all images for the last fit.
    assert sizes == [80, 40, 120]
