"""Compiled models that are used again: what counts as alike, and that results stay the same."""

import warnings
from functools import partial

import keras
import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut

from skdistort import DistortionGenerator, SiameseVerifier, SoftmaxEmbedder, TripletEmbedder
from skdistort.networks import _stored, build_unet
from skdistort.networks._pool import ModelPool, architecture
from skdistort.scoring import dissimilarity_scorer
from skdistort.training import _batches, _loop

X, y = load_digits(return_X_y=True)
X, y = X[:200].astype(np.float32), y[:200]
BACKEND = pytest.mark.backend
SMALL = {"epochs": 2, "filters": (4,), "random_state": 0}


@pytest.fixture(autouse=True)
def empty_pools():
    _loop._TRAINERS.clear()
    _stored._PREDICTORS.clear()


@pytest.fixture
def built(monkeypatch):
    """Count the training models that are built."""
    models = []

    class Counted(_loop.TrainingModel):
        def __init__(self, *args):
            super().__init__(*args)
            models.append(self)

    monkeypatch.setattr(_loop, "TrainingModel", Counted)
    return models


def unet(seed=0, **changes):
    params = {"image_shape": (8, 8, 1), "filters": (4, 8), **changes}
    return build_unet(rng=np.random.RandomState(seed), **params).to_json()


def dense(units=3, name=None, **options):
    layers = [keras.layers.Input((2,)), keras.layers.Dense(units, name=name, **options)]
    return keras.Sequential(layers).to_json()


def test_names_and_seeds_do_not_count():
    assert unet() != unet(1)
    assert architecture(unet()) == architecture(unet(1))
    assert architecture(dense(name="one")) == architecture(dense(name="two"))
    nested = [keras.Sequential([keras.models.model_from_json(unet(s))]).to_json() for s in (0, 1)]
    assert architecture(nested[0]) == architecture(nested[1])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (unet(), unet(filters=(4, 9))),
        (unet(), unet(image_shape=(8, 9, 1))),
        (dense(), dense(activation="relu")),
        (dense(), dense(dtype="float16")),
        # A layer's name is left out where it is one, and only there.
        (dense(name="relu", activation="relu"), dense(name="tanh", activation="tanh")),
    ],
)
def test_all_else_counts(one, other):
    assert architecture(one) != architecture(other)


def test_connections_count():
    def model(swap):
        inputs = keras.layers.Input((2,))
        parts = [keras.layers.Dense(2)(inputs), keras.layers.Dense(2)(inputs)]
        joined = keras.layers.Subtract()(parts[::-1] if swap else parts)
        return keras.Model(inputs, [joined, *parts]).to_json()

    assert architecture(model(False)) == architecture(model(False))
    assert architecture(model(False)) != architecture(model(True))


def test_pool_lends_keeps_and_forgets():
    pool = ModelPool(2)
    with pool.borrow("a", object) as a, pool.borrow("a", object) as busy:
        assert a is not busy
    with pool.borrow("a", object) as again:
        assert again in (a, busy)
    with pytest.raises(RuntimeError), pool.borrow("a", object) as broken:
        raise RuntimeError
    for key in ("a", "b", "c"):
        with pool.borrow(key, object) as model:
            assert model is not broken
    with pool.borrow("c", object) as kept:
        assert kept is model
    first = []
    with pool.borrow("a", lambda: first.append(1)):
        assert first == [1]


@pytest.mark.parametrize(
    ("estimator", "name", "values"),
    [
        pytest.param(TripletEmbedder(**SMALL), "margin", (0.2, 1.5), marks=BACKEND),
        (SiameseVerifier(mode="triple", **SMALL), "margin", (0.2, 1.5)),
        (SoftmaxEmbedder(loss="am_softmax", **SMALL), "margin", (0, 0.4)),
        pytest.param(TripletEmbedder(**SMALL), "learning_rate", (1e-3, 9e-3), marks=BACKEND),
        pytest.param(TripletEmbedder(**SMALL), "epochs", (1, 3), marks=BACKEND),
        (SoftmaxEmbedder(schedule="constant", **SMALL), "learning_rate", (1e-3, 9e-3)),
        (SoftmaxEmbedder(dtype_policy="mixed_float16", **SMALL), "epochs", (1, 3)),
    ],
)
def test_settings_change_and_results_do_not_depend_on_what_came_before(
    estimator, name, values, built
):
    def fit(value):
        return estimator.set_params(**{name: value}).fit(X, y).transform(X)

    first, second, again = fit(values[0]), fit(values[1]), fit(values[0])
    assert len(built) == 1
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(first, again)
    _loop._TRAINERS.clear()
    _stored._PREDICTORS.clear()
    np.testing.assert_array_equal(fit(values[1]), second)
    assert len(built) == 2


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="torch traces nothing")
def test_step_is_traced_once_for_all_pixel_ranges(monkeypatch):
    traced = []
    compute_loss = _loop.TrainingModel.compute_loss

    def counted(self, *args, **kwargs):
        traced.append(self)
        return compute_loss(self, *args, **kwargs)

    monkeypatch.setattr(_loop.TrainingModel, "compute_loss", counted)
    for images in (X, X / 3 - 1):
        TripletEmbedder(**SMALL).fit(images, y)
    assert len(traced) == 1


@pytest.mark.parametrize(
    "estimator",
    [
        TripletEmbedder(**SMALL),
        DistortionGenerator(TripletEmbedder(**SMALL), **SMALL),
        DistortionGenerator(
            TripletEmbedder(**SMALL),
            architecture="bottleneck",
            key=1,
            train_embedder=True,
            adversary_weight=0.1,
            **SMALL,
        ),
        SiameseVerifier(mode="double", **SMALL),
        SiameseVerifier(mode="triple", **SMALL),
        SoftmaxEmbedder(loss="softmax", **SMALL),
        SoftmaxEmbedder(loss="am_softmax", dtype_policy="mixed_float16", **SMALL),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_later_fits_invent_no_names_of_variables(estimator, monkeypatch):
    # TensorFlow keeps something of every new name for ever.
    names = []
    initialise = keras.Variable.__init__

    def noted(self, *args, **kwargs):
        initialise(self, *args, **kwargs)
        names.append(self.path)

    monkeypatch.setattr(keras.Variable, "__init__", noted)
    estimator.fit(X, y)
    first = set(names)
    names.clear()
    # What is trained with other filters, say, is compiled anew.
    _loop._TRAINERS.clear()
    estimator.fit(X, y)
    assert names
    assert set(names) <= first


@pytest.mark.backend
def test_a_falling_rate_is_that_of_keras():
    optimizer = keras.optimizers.Adam(falling := _loop.CosineToZero())
    falling.attach(optimizer)
    for start, n_steps in ((0.1, 7), (3e-4, 50)):
        expected = keras.optimizers.schedules.CosineDecay(start, n_steps)
        falling.start.assign(start)
        falling.n_steps.assign(n_steps)
        for step in (0, 1, n_steps // 2, n_steps - 1, n_steps, 2 * n_steps):
            optimizer.iterations.assign(step)
            rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
            assert rate == pytest.approx(float(expected(step)), rel=1e-6, abs=1e-12)


def test_folds_of_any_length_share_a_step(built):
    folds = LeaveOneGroupOut().split(X, y, np.repeat([0, 1, 2], [30, 60, 110]))
    search = GridSearchCV(TripletEmbedder(batch_size=20, **SMALL), {"margin": [0.1, 1]}, cv=folds)
    search.fit(X, y)
    assert len(built) == 1


def test_search_over_margins_compiles_once(built):
    embedder = FrozenEstimator(TripletEmbedder(**SMALL).fit(X, y))
    del built[:]
    generator = DistortionGenerator(embedder, pixel_range=(0, 16), **SMALL)
    grid = {"alpha": [0.1, 0.5], "pi_emb": [0.3, 0.8]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search = GridSearchCV(generator, grid, scoring=dissimilarity_scorer, cv=2).fit(X, y)
    assert len(built) == 1
    scores = search.cv_results_["mean_test_score"]
    assert len(set(scores)) == 4
    _loop._TRAINERS.clear()
    only = {name: [value] for name, value in search.best_params_.items()}
    best = GridSearchCV(generator, only, scoring=dissimilarity_scorer, cv=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert best.fit(X, y).best_score_ == pytest.approx(search.best_score_, abs=1e-6)


def test_what_may_change_unseen_is_compiled_anew(built):
    embedder = FrozenEstimator(TripletEmbedder(**SMALL).fit(X, y))
    del built[:]
    generator = DistortionGenerator(
        embedder, distance=lambda a, b: keras.ops.mean(abs(a - b), axis=(1, 2, 3)), **SMALL
    )
    random = TripletEmbedder(miner="random", **SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for estimator in (generator, generator, random, random):
            estimator.fit(X, y)
    assert len(built) == 4


def test_callbacks_have_a_model_of_their_own(built):
    class Change(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.5

    params = {"schedule": "constant", **SMALL}
    expected = TripletEmbedder(**params).fit(X, y).transform(X)
    changed = TripletEmbedder(callbacks=[Change()], **params).fit(X, y).transform(X)
    assert len(built) == 2
    assert np.abs(changed - expected).max() > 1e-3
    np.testing.assert_array_equal(TripletEmbedder(**params).fit(X, y).transform(X), expected)
    assert len(built) == 2


@pytest.mark.backend
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_optimiser_starts_anew(schedule, built):
    params = {"schedule": schedule, **SMALL}
    expected = TripletEmbedder(**params).fit(X, y).transform(X)
    # Its moments are infinite in the end.
    with pytest.raises(FloatingPointError):
        TripletEmbedder(margin=1e38, **params).fit(X, y)
    np.testing.assert_array_equal(TripletEmbedder(**params).fit(X, y).transform(X), expected)
    assert len(built) == 1


def no_slope(y, outputs):
    """A loss that nothing changes."""
    return 0.0 * keras.ops.sum(outputs), {}


@pytest.mark.backend
def test_weight_decay_shrinks_what_multiplies_and_nothing_else():
    network = keras.Sequential(
        [keras.layers.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization()]
    )
    before = [np.full(w.shape, 2.0, dtype=np.float32) for w in network.get_weights()]
    network.set_weights(before)
    draw = partial(_batches.draw_shuffled, n_samples=6, batch_size=2)
    rows = np.zeros((6, 3), dtype=np.float32)
    _loop.train(
        network,
        no_slope,
        [],
        _batches.IndexedBatches(draw, lambda i: (rows[i], rows[i]), np.random.RandomState(0)),
        options={},
        settings={},
        epochs=2,
        learning_rate=0.1,
        schedule="constant",
        weight_decay=0.5,
        monitor="loss",
        patience=None,
        callbacks=None,
        verbose=0,
    )
    kernel, bias, gamma, beta, *_ = network.get_weights()
    np.testing.assert_allclose(kernel, before[0] * (1 - 0.1 * 0.5) ** 6, rtol=1e-5)
    for found, expected in zip((bias, gamma, beta), before[1:4], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_threads_do_not_share_a_model():
    def fit(margin):
        return TripletEmbedder(margin=margin, **SMALL).fit(X, y).transform(X)

    expected = [fit(margin) for margin in (0.2, 1.0)]
    found = Parallel(2, require="sharedmem")(delayed(fit)(m) for m in (0.2, 1.0, 0.2, 1.0))
    for Z, other in zip(found, expected * 2, strict=True):
        np.testing.assert_allclose(Z, other, atol=1e-5)
