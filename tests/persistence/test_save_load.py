"""Saving and loading without pickle: every estimator, every kind of value, every backend."""

import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    QuantileTransformer,
)
from sklearn.preprocessing import StandardScaler as Scaler
from support.ivectors import make_utterances

import skdistort
from skdistort import template_baselines
from skdistort.persistence import load, save

X, y = load_digits(return_X_y=True)
X, y = X[:60].astype(np.float32), y[:60]
NAMES = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
UTTERANCES = make_utterances(np.random.default_rng(0), [20, 30, 25, 40], 3)
WAVES = [0.1 * np.random.default_rng(0).standard_normal(4000)]
SMALL = {"epochs": 1, "filters": (2,), "random_state": 0}
TINY = {"n_components": 3, "hidden_units": 4, **SMALL}

# What is trained here for an epoch does not distort well, and says so.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def by_transform(estimator, data):
    return estimator, lambda fitted: fitted.transform(data)


def embedder():
    return by_transform(skdistort.TripletEmbedder(**TINY).fit(X, y), X)


def verifier():
    space = make_pipeline(Scaler(), PCA(5, random_state=np.random.RandomState(1)))
    estimator = skdistort.SiameseVerifier(mode="double", selection_space=space, **TINY).fit(X)
    estimator.calibrate_threshold(X[:30], y[:30])
    estimator.calibrate_probability(X[:30], y[:30])
    return estimator, lambda fitted: fitted.verify_proba(X[:9], X[9:18])


def fusion(method):
    rng = np.random.default_rng(0)
    scores, genuine = rng.standard_normal((50, 2)), rng.random(50) < 0.5
    estimator = skdistort.ScoreFusion(method).fit(scores, genuine)
    return estimator, lambda fitted: fitted.decision_function(scores)


def plda():
    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
    return by_transform(skdistort.PLDA().fit(frame, NAMES[y]), frame)


def ubm(n_components=2):
    return skdistort.UniversalBackgroundModel(n_components, random_state=0).fit(UTTERANCES)


def generator():
    frozen = FrozenEstimator(made("TripletEmbedder")[0])
    keyed = skdistort.DistortionGenerator(frozen, architecture="bottleneck", key=b"\0k", **SMALL)
    return by_transform(keyed.fit(X), X)


CASES = {
    "BioHashing": lambda: by_transform(template_baselines.BioHashing(8, key=b"\0key").fit(X), X),
    "CepstralCoefficients": lambda: by_transform(skdistort.CepstralCoefficients(4).fit(X), X),
    "DistortionGenerator": generator,
    "GaussianBlur": lambda: by_transform(template_baselines.GaussianBlur().fit(X), X),
    "IVectorExtractor": lambda: by_transform(
        skdistort.IVectorExtractor(2, ubm=FrozenEstimator(ubm()), random_state=0).fit(UTTERANCES),
        UTTERANCES,
    ),
    "IoMHashing": lambda: by_transform(template_baselines.IoMHashing(8, key=2**70).fit(X), X),
    "PolyProtect": lambda: by_transform(template_baselines.PolyProtect(2, key=b"k").fit(X), X),
    "LogMelSpectrogram": lambda: by_transform(
        skdistort.LogMelSpectrogram(n_mels=8, f_max=np.float64(7000), detector=None), WAVES
    ),
    "MLPHash": lambda: by_transform(template_baselines.MLPHash(8).fit(X), X),
    "PLDA": plda,
    "Pixelation": lambda: by_transform(template_baselines.Pixelation().fit(X), X),
    "ScoreFusion": lambda: fusion("logistic"),
    "SiameseVerifier": verifier,
    "SoftmaxEmbedder": lambda: by_transform(
        skdistort.SoftmaxEmbedder(**TINY).set_output(transform="pandas").fit(X, NAMES[y]), X
    ),
    "TripletEmbedder": embedder,
    "UniversalBackgroundModel": lambda: (ubm(), lambda fitted: fitted.score(UTTERANCES)),
    # Of scikit-learn, with what they hold.
    "ColumnTransformer": lambda: by_transform(
        ColumnTransformer(
            [
                ("hot", OneHotEncoder(sparse_output=False), [0]),
                ("plda", "passthrough", slice(3, 5)),
            ],
            remainder=SimpleImputer(),
        ).fit(X),
        X,
    ),
    "FeatureUnion": lambda: by_transform(
        FeatureUnion([("q", QuantileTransformer(n_quantiles=9)), ("f", FunctionTransformer())]).fit(
            X
        ),
        X,
    ),
    "Pipeline": lambda: by_transform(
        make_pipeline(Scaler(), PCA(9), skdistort.PLDA()).fit(X, y), X
    ),
}
# All that is exported but the stores, which have files of their own.
ESTIMATORS = {
    name
    for module in (skdistort, template_baselines)
    for name in module.__all__
    if isinstance(getattr(module, name), type)
} - {"EmbeddingStore", "TemplateStore"}
made = cache(lambda name: CASES[name]())


def assert_same(one, other):
    """Compare two objects and all that they hold."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray) and one.dtype != object:
        assert one.dtype == other.dtype
        assert one.flags.f_contiguous == other.flags.f_contiguous
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, (list, tuple, np.ndarray)):
        assert np.shape(one) == np.shape(other) if isinstance(one, np.ndarray) else True
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        assert_same(list(one.values()), list(other.values()))
    elif isinstance(one, np.random.RandomState):
        assert_same(one.get_state(), other.get_state())
    elif hasattr(one, "__dict__") and not isinstance(one, type):
        assert_same(state(one), state(other))
    else:
        assert one == other or (one != one and other != other)


def state(value):
    return value.__getstate__() if hasattr(value, "__getstate__") else vars(value)


def saved(estimator, folder, name="model"):
    save(estimator, folder / name, with_keys=True)
    return folder / name


def test_no_estimator_is_forgotten():
    assert set(CASES) >= ESTIMATORS >= {"DistortionGenerator", "PLDA", "BioHashing"}


@pytest.mark.parametrize("name", CASES)
def test_estimators_come_back_equal(name, tmp_path):
    estimator, use = made(name)
    again = load(saved(estimator, tmp_path))
    assert_same(again, estimator)
    expected, result = use(estimator), use(again)
    assert type(result) is type(expected)
    np.testing.assert_array_equal(result, expected)
    unfitted = clone(estimator)
    assert_same(load(saved(unfitted, tmp_path)), unfitted)


def test_methods_of_every_estimator(tmp_path):
    for name in ESTIMATORS:
        cls = getattr(skdistort, name, None) or getattr(template_baselines, name)
        cls().save(tmp_path / name, with_keys=True)
        assert_same(cls.load(tmp_path / name), cls())
    with pytest.raises(ValueError, match=r"holds a BioHashing, not a PLDA"):
        skdistort.PLDA.load(tmp_path / "BioHashing")


@pytest.mark.parametrize(
    "value",
    [
        *(np.nan, -np.inf, 0.1 + 0.2, -(2**80), np.float32(0.1), np.str_("ä"), "\ud800", b"\xff"),
        *(True, np.bool_(True), slice(None, 3), np.dtype("<f4"), np.float64, (1, [2, (None,)])),
        {1: "a", ("b",): np.array([[1, "x"], [None, 2.5]], dtype=object)},
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        np.array([[True, False]]),
        np.zeros((0, 3), ">i2"),
    ],
)
def test_values_come_back_equal(value, tmp_path):
    estimator = skdistort.PLDA()
    estimator.seen_ = value
    assert_same(load(saved(estimator, tmp_path)).seen_, value)


def test_arrays_come_back_writable_and_apart(tmp_path):
    estimator = skdistort.PLDA()
    estimator.one_ = estimator.other_ = np.zeros(3)
    again = load(saved(estimator, tmp_path))
    again.one_[0] = 1
    assert again.other_[0] == 0


def test_a_key_is_in_the_file_only_when_it_is_asked_for(tmp_path):
    key = b"a key of the bank"
    hashing = template_baselines.BioHashing(8, key=key).fit(X)
    pipeline = make_pipeline(PCA(9), clone(hashing)).fit(X)
    for holder, name in ((hashing, "key"), (pipeline, "biohashing__key")):
        holder_path = saved(holder, tmp_path)
        assert key.hex().encode() in holder_path.read_bytes()
        assert load(holder_path).get_params()[name] == key
        save(holder, tmp_path / "without")
        assert key.hex().encode() not in (tmp_path / "without").read_bytes()
        again = load(tmp_path / "without")
        assert again.get_params()[name] is None
        np.testing.assert_array_equal(again.transform(X), holder.transform(X))
        assert again.set_params(**{name: key}).get_params()[name] == key
    hashing.save(tmp_path / "method", with_keys=True)
    assert load(tmp_path / "method").key == key
    with pytest.raises(ValueError, match="'key' parameter of BioHashing"):
        load(tmp_path / "without").fit(X)


def test_a_network_held_twice_is_saved_once(tmp_path):
    again = load(saved(made("DistortionGenerator")[0], tmp_path))
    assert again.embedder_ is again.embedder.estimator.network_


def test_a_store_of_templates_takes_the_loaded_generator(tmp_path):
    trained = made("DistortionGenerator")[0]
    again = load(saved(trained, tmp_path))
    short = {"key_cost": 1, "allow_weak_keys": True}
    with skdistort.TemplateStore(trained, tmp_path / "store", **short) as store:
        store.enrol(["ada"], X[:1])
    with skdistort.TemplateStore(again, tmp_path / "store", **short) as store:
        assert store.ids == ["ada"]


@keras.saving.register_keras_serializable(package="tests")
class Halve(keras.layers.Layer):
    def call(self, x):
        return keras.ops.reshape(x, (-1, 64)) / 2.0

    def compute_output_shape(self, input_shape):
        return input_shape[0], 64


class Mirror(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X[:, ::-1]


def test_keras_models_as_embedder(tmp_path):
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3, activation="tanh")])
    model.build((None, 8, 8, 1))
    # A loss that no file can hold, and that no embedder needs.
    model.compile("adam", loss=lambda a, b: a - b)
    again = load(saved(skdistort.DistortionGenerator(model), tmp_path)).embedder
    images = X[:4].reshape(-1, 8, 8, 1)
    np.testing.assert_array_equal(
        again.predict(images, verbose=0), model.predict(images, verbose=0)
    )
    layer = keras.layers.Flatten()
    unbuilt = load(saved(skdistort.DistortionGenerator(layer), tmp_path)).embedder
    assert unbuilt.get_config() == layer.get_config()


def test_what_the_user_trusts_is_loaded(tmp_path):
    with pytest.warns(UserWarning, match="trusted=.* only: .* 'tests>Halve', which is not"):
        ours = saved(skdistort.DistortionGenerator(Halve()), tmp_path)
    with pytest.raises(ValueError, match="'tests>Halve', which is not among"):
        load(ours)
    assert isinstance(load(ours, trusted=[Halve]).embedder, Halve)
    with pytest.warns(UserWarning, match="trusted=.* only: it names the class .*Mirror, which"):
        pipeline = saved(make_pipeline(Mirror(), skdistort.PLDA()), tmp_path)
    with pytest.raises(ValueError, match=r"Mirror, which is not among"):
        load(pipeline)
    assert isinstance(load(pipeline, trusted=[Mirror])[0], Mirror)
    hashing = skdistort.DistortionGenerator(keras.layers.Hashing(3))
    with pytest.warns(UserWarning, match="Hashing"):
        kept = saved(hashing, tmp_path)
    with pytest.raises(ValueError, match=r"keras\.layers\.Hashing"):
        load(kept)
    load(kept, trusted=[keras.layers.Hashing])
    with pytest.raises(TypeError, match="trusted must hold classes"):
        load(kept, trusted=["keras.layers.Hashing"])


def test_paths_that_cannot_be_written(tmp_path):
    for path, error in (
        (tmp_path / "nowhere" / "model", FileNotFoundError),
        (tmp_path, IsADirectoryError),
        ("", IsADirectoryError),
    ):
        with pytest.raises(error) as raised:
            save(skdistort.PLDA(), path)
        assert ".tmp" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_requests_of_metadata_are_kept(tmp_path):
    with config_context(enable_metadata_routing=True):
        verifier = skdistort.SiameseVerifier().set_fit_request(
            groups=True, impostor_database=False, selection_vectors="ivectors"
        )
        again = load(saved(verifier, tmp_path))
        kept, expected = (v.get_metadata_routing().fit.requests for v in (again, verifier))
    assert kept == expected
    assert kept["selection_vectors"] == "ivectors"


REFUSED = {
    "distance": lambda: skdistort.DistortionGenerator(distance=lambda a, b: a - b),
    r"callbacks\[0\]": lambda: skdistort.TripletEmbedder(
        callbacks=[keras.callbacks.EarlyStopping("loss")]
    ),
    "embedder": lambda: skdistort.DistortionGenerator(
        keras.Sequential([keras.layers.Input((2,)), keras.layers.Lambda(len)])
    ),
    r"steps\[0\]\[1\]\.func": lambda: make_pipeline(FunctionTransformer(np.log1p)),
    "memory": lambda: Pipeline([("plda", skdistort.PLDA())], memory="cache"),
    "estimators_": lambda: RandomForestClassifier(1, max_depth=1).fit(X, y),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_pickle_is_refused_by_name(name, tmp_path):
    path = saved(skdistort.PLDA(n_iter=3), tmp_path)
    with pytest.raises((TypeError, ValueError), match=name):
        save(REFUSED[name](), path)
    assert load(path).n_iter == 3
    assert os.listdir(tmp_path) == ["model"]


def test_only_estimators_are_saved(tmp_path):
    with pytest.raises(TypeError, match="must be an estimator, got dict"):
        save({}, tmp_path / "model")


SCRIPT = """
import sys
import numpy as np
from skdistort.persistence import load, save
def refuse(event, _):
    if event == "pickle.find_class":
        raise SystemExit("a pickle was read")
sys.addaudithook(refuse)
folder, X = sys.argv[1] + "/", np.load(sys.argv[1] + "/X.npy")
pipeline = load(folder + "here")
np.save(folder + "there.npy", pipeline.transform(X))
save(pipeline, folder + "there", with_keys=True)
"""


@pytest.mark.backend
@pytest.mark.parametrize("backend", ["tensorflow", "torch", "jax"])
@pytest.mark.parametrize("refinement_steps", [0, 20])
def test_one_file_serves_every_backend(refinement_steps, backend, tmp_path):
    if backend == keras.backend.backend():
        pytest.skip("this backend")
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    scale = MinMaxScaler((X.min(), X.max())).fit(X)
    generator = made("DistortionGenerator")[0].set_params(refinement_steps=refinement_steps)
    pipeline = make_pipeline(scale, generator)
    save(pipeline, tmp_path / "here", with_keys=True)
    np.save(tmp_path / "X.npy", X)
    environment = {**os.environ, "KERAS_BACKEND": backend}
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path)]
    subprocess.run(command, check=True, env=environment)
    expected = pipeline.transform(X)
    assert np.ptp(expected) > 1
    there = np.load(tmp_path / "there.npy")
    again = load(tmp_path / "there").transform(X)
    np.testing.assert_allclose(again, expected, rtol=0, atol=1e-4)
    if refinement_steps:
        # Steps lead to other pixels where a last bit differs, but not to another embedding.
        there, expected = generator.embed(there), generator.embed(expected)
    tolerance = 0.02 if refinement_steps else 1e-4
    np.testing.assert_allclose(there, expected, rtol=0, atol=tolerance)


AFTER_LOADING = """
import sys
import keras
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.persistence import load

X, y = load_digits(return_X_y=True)
small = {"epochs": 1, "filters": (2,), "random_state": 0}
embedder = FrozenEstimator(TripletEmbedder(**small).fit(X[:60], y[:60]))
generator = DistortionGenerator(embedder, adversary_weight=0.1, warm_start=True, **small)
generator.fit(X[:60]).save(sys.argv[1])
keras.utils.clear_session()
load(sys.argv[1]).fit(X[:60])
"""


def test_names_in_a_file_do_not_collide_with_new_ones(tmp_path):
    # Names of models are counted up from the start in each process, as after clear_session.
    command = [sys.executable, "-W", "ignore", "-c", AFTER_LOADING, str(tmp_path / "model")]
    subprocess.run(command, check=True)
