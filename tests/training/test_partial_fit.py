"""Training one pass at a time, on images in memory, on disk and in batches."""

import gc
import warnings
import weakref

import keras
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from support.stored import EMBEDDER, KINDS, TINY, Batches, X, assert_same, y

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.training import _loop

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def frozen():
    return FrozenEstimator(TripletEmbedder(**EMBEDDER).fit(X, y))


@pytest.mark.parametrize("source", ["memory", "disk", "batches"])
def test_partial_fit_of_the_embedder(mapped, source):
    def images():
        sources = {"memory": (X, y), "disk": (mapped(X), y), "batches": (Batches(X, y), None)}
        return sources[source]

    embedder = TripletEmbedder(**{**EMBEDDER, "epochs": 9, "validation_fraction": 0.5})
    assert embedder.partial_fit(*images()) is embedder
    # One pass at the constant rate, as fit makes of one epoch.
    one_epoch = TripletEmbedder(**EMBEDDER, schedule="constant").fit(*images())
    assert_same(embedder, one_epoch)
    kernel = next(i for i, w in enumerate(embedder.network_.weights) if w.ndim == 4)
    before = embedder.network_.weights[kernel].copy()
    # A step too small to see goes on from there, and not from the start.
    embedder.set_params(learning_rate=1e-12).partial_fit(*images())
    assert len(embedder.history_["loss"]) == 2
    np.testing.assert_allclose(embedder.network_.weights[kernel], before, atol=1e-6)
    assert len(embedder.set_params(epochs=3).fit(*images()).history_["loss"]) == 3


def test_partial_fit_of_the_generator(frozen):
    generator = DistortionGenerator(frozen, **{**TINY, "epochs": 9})
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        generator.partial_fit(X[:150])
        embedder, pixel_range = generator.embedder_, generator.pixel_range_
        for images in (X[150:] / 2, Batches(X), X, X):
            generator.partial_fit(images)
    assert generator.embedder_ is embedder
    assert generator.pixel_range_ == pixel_range == (0.0, 16.0)
    distances = generator.history_["embedding_distance"]
    assert len(distances) == 5
    assert distances[-1] < distances[0]
    with pytest.raises(ValueError, match="X has images of shape"):
        generator.partial_fit(X.reshape(-1, 4, 16))
    with pytest.raises(ValueError, match="partial_fit needs images and architecture"):
        generator.set_params(filters=(3,)).partial_fit(X)
    with pytest.raises(ValueError, match="goes on as the previous fit began"):
        generator.set_params(key=1).partial_fit(X)


def test_another_generator_does_not_change_the_embedder_of_one(frozen):
    _loop._TRAINERS.clear()
    other = FrozenEstimator(TripletEmbedder(**{**EMBEDDER, "random_state": 1}).fit(X, y))
    first = DistortionGenerator(frozen, **TINY).fit(X)
    DistortionGenerator(other, **TINY).fit(X)
    for kept, used in zip(
        first.embedder_.weights, first.embedder_.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(kept, used)


def test_a_fit_that_fails_changes_nothing(frozen):
    class Stop(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raise KeyboardInterrupt

    generator = DistortionGenerator(frozen, **TINY).fit(X)
    embedder = TripletEmbedder(**EMBEDDER).fit(X, y)
    expected = generator.transform(X[:5]), embedder.transform(X[:5])
    for estimator, images in ((generator, 1.2 * X), (embedder, X.reshape(-1, 4, 16))):
        with pytest.raises(KeyboardInterrupt):
            estimator.set_params(callbacks=[Stop()]).fit(images, y)
    np.testing.assert_array_equal(generator.transform(X[:5]), expected[0])
    np.testing.assert_array_equal(embedder.transform(X[:5]), expected[1])
    with pytest.raises(KeyboardInterrupt):
        DistortionGenerator(frozen, callbacks=[Stop()], **TINY).fit(X)


@pytest.mark.backend
@pytest.mark.parametrize("source", ["memory", "batches"])
def test_nothing_of_the_data_is_kept(source):
    images = X[:100] + 1
    data = Batches(images, y[:100]) if source == "batches" else images
    alive = weakref.ref(images)
    embedder = TripletEmbedder(**EMBEDDER, validation_fraction=0.5)
    embedder.fit(data, None if source == "batches" else y[:100])
    del images, data
    gc.collect()
    assert alive() is None


def test_passes_draw_anew(frozen):
    settings = {**TINY, "learning_rate": 1e-12, **KINDS["keyed"]}
    generator = DistortionGenerator(frozen, **settings)
    for _ in range(3):
        generator.partial_fit(X)
    # Weights that hardly move see other keys in each pass.
    assert len(set(np.round(generator.history_["embedding_distance"], 6))) == 3
