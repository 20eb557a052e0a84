"""Fitted estimators survive a copy, pickle and joblib, also into a fresh process."""

import pickle
import subprocess
import sys

import joblib
import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, TripletEmbedder

X, y = load_digits(return_X_y=True)
X, y = X[:240].astype(np.float32), y[:240]
SMALL = {"epochs": 1, "filters": (4, 8), "random_state": 0}
SCRIPT = """
import sys, joblib, numpy, pickle
folder = sys.argv[1]
X = numpy.load(folder + "/in.npy")
for name in ("embedder", "generator"):
    with open(f"{folder}/{name}.pickle", "rb") as file:
        estimators = {"pickle": pickle.load(file), "joblib": joblib.load(f"{folder}/{name}.joblib")}
    for module, estimator in estimators.items():
        numpy.save(f"{folder}/{name}.{module}.npy", estimator.transform(X))
"""

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module", params=["embedder", "generator"])
def fitted(request):
    embedder = TripletEmbedder(**SMALL).fit(X[:200], y[:200])
    if request.param == "embedder":
        return embedder
    return DistortionGenerator(FrozenEstimator(embedder), **SMALL).fit(X[:200])


def test_fresh_process_gives_identical_outputs(tmp_path):
    embedder = TripletEmbedder(**SMALL).fit(X[:200], y[:200])
    generator = DistortionGenerator(FrozenEstimator(embedder), **SMALL).fit(X[:200])
    np.save(tmp_path / "in.npy", X[200:])
    fitted = {"embedder": embedder, "generator": generator}
    for name, estimator in fitted.items():
        (tmp_path / f"{name}.pickle").write_bytes(pickle.dumps(estimator))
        joblib.dump(estimator, tmp_path / f"{name}.joblib")
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], check=True)
    for name, estimator in fitted.items():
        for module in ("pickle", "joblib"):
            found = np.load(tmp_path / f"{name}.{module}.npy")
            np.testing.assert_array_equal(found, estimator.transform(X[200:]))


def test_pickle_holds_no_keras_objects(fitted):
    fitted.transform(X[:2])
    text = pickle.dumps(fitted)
    for name in (b"keras.src", b"tensorflow", b"Adam", b"History"):
        assert name not in text.replace(fitted.network_.config.encode(), b"").replace(
            getattr(fitted, "embedder_", fitted.network_).config.encode(), b""
        )


def test_callbacks_do_not_hold_the_model():
    callback = keras.callbacks.EarlyStopping("loss")
    embedder = TripletEmbedder(callbacks=[callback], **SMALL).fit(X[:100], y[:100])
    assert callback.model is None
    restored = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(restored.transform(X[:9]), embedder.transform(X[:9]))
    assert not hasattr(clone(embedder), "network_")


def test_clone_is_unfitted_and_refits_equal(fitted):
    copy = clone(fitted)
    assert not hasattr(copy, "network_")
    copy.fit(X[:200], y[:200])
    np.testing.assert_array_equal(copy.transform(X[200:]), fitted.transform(X[200:]))
