"""Mixed precision: inner layers compute in 16 bits, all else stays float32."""

import pickle
from functools import cache

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, SiameseVerifier, SoftmaxEmbedder, TripletEmbedder
from skdistort.training import _loop

X, y = load_digits(return_X_y=True)
X, y = X[:200].astype(np.float32), y[:200]
SMALL = {"epochs": 2, "filters": (4, 8), "random_state": 0}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@cache
def fitted_embedder(policy="float32"):
    return TripletEmbedder(dtype_policy=policy, **SMALL).fit(X, y)


def make(name, policy):
    params = {"dtype_policy": policy, **SMALL}
    if name == "generator":
        return DistortionGenerator(FrozenEstimator(fitted_embedder()), **params)
    return {
        "embedder": TripletEmbedder(**params),
        "triple": SiameseVerifier(**params),
        "double": SiameseVerifier(mode="double", **params),
        "softmax": SoftmaxEmbedder(loss="softmax", **params),
        "am_softmax": SoftmaxEmbedder(**params),
    }[name]


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        pytest.param("embedder", "mixed_bfloat16", marks=pytest.mark.backend),
        ("embedder", "mixed_float16"),
        pytest.param("generator", "mixed_float16", marks=pytest.mark.backend),
        ("triple", "mixed_bfloat16"),
        ("double", "mixed_float16"),
        ("softmax", "mixed_bfloat16"),
        ("am_softmax", "mixed_float16"),
    ],
)
def test_learns_and_gives_float32(name, policy, tmp_path):
    estimator = make(name, policy).fit(X, y)
    assert estimator.history_["loss"][-1] < estimator.history_["loss"][0]
    found = estimator.transform(X[:40])
    assert found.dtype == np.float32
    if name not in ("generator", "double"):
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)
    if name == "embedder":
        plain = fitted_embedder()
        assert np.abs(plain.transform(X[:40]) - found).max() > 0
        assert abs(estimator.score(X, y) - plain.score(X, y)) < 0.1
    estimator.save(tmp_path / "saved")
    for again in (type(estimator).load(tmp_path / "saved"), pickle.loads(pickle.dumps(estimator))):
        assert again.dtype_policy == policy
        np.testing.assert_array_equal(again.transform(X[:40]), found)


def test_what_computes_in_which_precision():
    generator = make("generator", "mixed_bfloat16").fit(X)
    network, embedder = generator.network_.model, generator.embedder_.model
    for layer in network.layers:
        last = layer.name.startswith("cropping") or layer is network.layers[-2]
        outside = last or isinstance(layer, keras.layers.InputLayer)
        assert layer.compute_dtype == ("float32" if outside else "bfloat16"), layer.name
    assert {layer.compute_dtype for layer in embedder.layers} == {"float32"}
    assert {str(w.dtype) for w in generator.network_.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_the_embedder_that_none_stands_for_has_the_same_precision(monkeypatch):
    monkeypatch.setattr("skdistort.embedding._FEWEST_BATCHES", 1)
    params = {"dtype_policy": "mixed_bfloat16", "epochs": 1, "filters": (4,)}
    generator = DistortionGenerator(**params).fit(X[:60], y[:60])
    policies = {layer.compute_dtype for layer in generator.embedder_.model.layers}
    assert policies == {"float32", "bfloat16"}


def test_float16_starts_anew_with_its_loss_scale():
    _loop._TRAINERS.clear()
    estimator = make("embedder", "mixed_float16")
    expected = estimator.fit(X, y).transform(X[:40])
    (model,) = _loop._TRAINERS._models.values()
    model.optimizer.dynamic_scale.assign(2.0**40)
    np.testing.assert_array_equal(estimator.fit(X, y).transform(X[:40]), expected)


def test_a_frozen_embedder_in_float16_has_the_loss_scaled():
    embedder = fitted_embedder("mixed_float16")
    _loop._TRAINERS.clear()
    generator = DistortionGenerator(FrozenEstimator(embedder), **SMALL).fit(X)
    (model,) = _loop._TRAINERS._models.values()
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert generator.history_["loss"][-1] < generator.history_["loss"][0]


def test_does_not_depend_on_keras_global_policy():
    expected = fitted_embedder().transform(X[:40])
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = make("embedder", "float32").fit(X, y).transform(X[:40])
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(found, expected)


def test_warm_start_keeps_its_precision():
    embedder = make("embedder", "float32").set_params(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="precision"):
        embedder.set_params(dtype_policy="mixed_float16").fit(X, y)


def test_own_network_in_16_bits_gives_float32():
    inner = [keras.layers.Flatten(), keras.layers.UnitNormalization(dtype="mixed_bfloat16")]
    generator = DistortionGenerator(keras.Sequential(inner), **SMALL).fit(X)
    assert generator.embed(X[:5]).dtype == np.float32
