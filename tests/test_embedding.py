"""TripletEmbedder: learning, determinism, layouts, persistence and refusals."""

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, GroupKFold, train_test_split

from skdistort import SiameseVerifier, SoftmaxEmbedder, TripletEmbedder
from skdistort.embedding import _passes
from skdistort.exceptions import InputMismatchWarning
from skdistort.images import ImageAugmentation
from skdistort.metrics import equal_error_rate, pair_scores
from skdistort.training._batches import AugmentedBatches, IndexedBatches

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X.astype(np.float32), y, test_size=400, random_state=0
)
TINY = {"filters": (4, 8), "hidden_units": 16}
SMALL = {**TINY, "random_state": 0}


@pytest.fixture(scope="module")
def embedder():
    return TripletEmbedder(epochs=4, random_state=0).fit(X_train, y_train)


@pytest.mark.backend
def test_learns_digits(embedder):
    Z = embedder.transform(X_test)
    assert Z.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(Z, axis=1), 1, atol=1e-5)
    in_pixels = 1 - equal_error_rate(*pair_scores(X_test, y_test))[0]
    assert in_pixels < 0.85
    assert embedder.score(X_test, y_test) > 0.95


@pytest.mark.backend
def test_history_counts_active_triplets(embedder):
    history = embedder.history_
    assert set(history) == {"loss", "n_active_triplets", "total_hinge"}
    assert len(history["loss"]) == 4
    active = history["n_active_triplets"]
    # 10 classes of 12: at most 120 * 11 * 108 triplets in a batch.
    assert 0 < active[-1] < active[0] < 120 * 11 * 108


def test_label_free_beats_its_selection_space():
    embedder = TripletEmbedder(epochs=10, random_state=0).fit(X_train)
    Z = PCA(32, random_state=0).fit(X_train).transform(X_test)
    in_space = 1 - equal_error_rate(*pair_scores(Z, y_test, metric="cosine"))[0]
    assert embedder.score(X_test, y_test) > in_space


def test_selection_space_is_used_and_left_alone():
    space = PCA(n_components=2)
    embedder = TripletEmbedder(selection_space=space, epochs=1, **SMALL).fit(X_train[:200])
    assert not hasattr(space, "components_")
    other = TripletEmbedder(epochs=1, **SMALL).fit(X_train[:200])
    assert not np.array_equal(embedder.transform(X_test), other.transform(X_test))


@pytest.mark.backend
def test_same_seed_same_result_whatever_the_global_seed():
    embedder = TripletEmbedder(epochs=2, miner="random", **SMALL)
    first = clone(embedder).fit(X_train[:200], y_train[:200]).transform(X_test)
    np.random.seed(123)
    second = clone(embedder).fit(X_train[:200], y_train[:200]).transform(X_test)
    np.testing.assert_array_equal(first, second)
    embedder.set_params(random_state=1)
    assert not np.array_equal(first, embedder.fit(X_train[:200], y_train[:200]).transform(X_test))


def test_fit_leaves_the_global_random_state_alone():
    before = np.random.get_state()[1].copy()
    TripletEmbedder(epochs=1, filters=(2,), random_state=0).fit(X_train[:50], y_train[:50])
    np.testing.assert_array_equal(before, np.random.get_state()[1])


def test_layouts_agree(embedder):
    flat = embedder.transform(X_test)
    np.testing.assert_array_equal(flat, embedder.transform(X_test.reshape(-1, 8, 8)))
    np.testing.assert_array_equal(flat, embedder.transform(X_test.reshape(-1, 8, 8, 1)))


@pytest.mark.filterwarnings("ignore:The embeddings collapsed")
@pytest.mark.parametrize("shape", [(28, 28), (7, 5), (1, 9), (13, 6, 3)])
def test_any_size(shape):
    rng = np.random.default_rng(0)
    images = rng.random((24, *shape))
    embedder = TripletEmbedder(epochs=1, filters=(2, 2, 2), random_state=0)
    Z = embedder.fit(images, np.arange(24) % 3).transform(images)
    assert Z.shape == (24, 10)
    assert embedder.image_shape_ == (*shape, 1)[:3]


@pytest.mark.parametrize("miner", ["all", "hard", "random", "semi-hard"])
def test_miners_train(miner):
    embedder = TripletEmbedder(miner=miner, margin=0.2, epochs=2, **SMALL)
    history = embedder.fit(X_train[:200], y_train[:200]).history_
    assert np.isfinite(history["loss"]).all()
    assert history["n_active_triplets"][0] > 0


@pytest.mark.backend
@pytest.mark.parametrize("augmentation", ["digits", ImageAugmentation(erasing=0.5, contrast=0.2)])
def test_augmentation_is_for_learning_only(augmentation):
    embedder = TripletEmbedder(epochs=2, validation_fraction=0.3, patience=2, **SMALL)
    plain = clone(embedder).fit(X_train[:200], y_train[:200])
    embedder.set_params(augmentation=augmentation).fit(X_train[:200], y_train[:200])
    Z = embedder.transform(X_test)
    assert not np.array_equal(Z, plain.transform(X_test))
    np.testing.assert_array_equal(
        clone(embedder).fit(X_train[:200], y_train[:200]).transform(X_test), Z
    )
    # Without labels as well.
    assert not np.array_equal(embedder.fit(X_train[:200]).transform(X_test), Z)


def test_images_that_are_watched_are_not_augmented(monkeypatch):
    seen = set()

    def apply(self, images, rng, pixel_range):
        seen.update(images[:, 0, 0, 0].tolist())
        assert pixel_range == (0, 199)
        return images

    monkeypatch.setattr(ImageAugmentation, "apply", apply)
    images = X_train[:200].copy()
    images[:, 0] = np.arange(200)
    embedder = TripletEmbedder(epochs=2, validation_fraction=0.5, augmentation="photos", **SMALL)
    embedder.fit(images, y_train[:200])
    assert len(seen) == 100


def test_augmentation_is_searched():
    grid = {
        "augmentation": [None, "digits", ImageAugmentation(shift=0.1)],
        "epochs": [1],
    }
    search = GridSearchCV(TripletEmbedder(**SMALL), grid, cv=GroupKFold(2), error_score="raise")
    search.fit(X_train[:100], y_train[:100], groups=y_train[:100])
    assert len(set(search.cv_results_["mean_test_score"])) == 3
    nested = TripletEmbedder(augmentation=ImageAugmentation(), epochs=1, **SMALL)
    nested.set_params(augmentation__rotation=5.0)
    assert clone(nested).augmentation.rotation == 5.0


def test_refuses_an_augmentation_before_training(monkeypatch):
    monkeypatch.setattr("skdistort.training._base.train", None)
    for augmentation in ("faces", 3, ImageAugmentation(rotation=999)):
        with pytest.raises(ValueError, match="augmentation"):
            TripletEmbedder(augmentation=augmentation).fit(X_train, y_train)


@pytest.mark.parametrize(
    ("n_batches", "n_epochs", "augmented"),
    [(1, 500, 700), (3, 167, 234), (50, 10, 14), (90, 10, 10)],
)
def test_few_images_get_more_passes(n_batches, n_epochs, augmented):
    batches = IndexedBatches(lambda rng: np.zeros((n_batches, 2)), None, None)
    assert _passes(batches) == n_epochs
    assert _passes(AugmentedBatches(batches, None, None, np.random.RandomState(0))) == augmented


def test_epochs_are_as_many_as_come_to_500_batches():
    embedder = TripletEmbedder(batch_size=4, filters=(2,), hidden_units=2, random_state=0)
    assert len(embedder.fit(X_train[:100], y_train[:100]).history_["loss"]) == 20


def test_a_collapse_is_told_with_the_spread():
    embedder = TripletEmbedder(
        epochs=3, learning_rate=0.2, miner="hard", filters=(8, 16), random_state=0
    )
    with pytest.warns(ConvergenceWarning, match=r"collapsed.* is \d\.\de-0[3-9] of") as found:
        embedder.fit(X_train[:600], y_train[:600])
    assert found[0].filename == __file__
    # The same, learned with care.
    embedder.set_params(learning_rate=2e-3).fit(X_train[:600], y_train[:600])


@pytest.mark.parametrize("make", [TripletEmbedder, SiameseVerifier, SoftmaxEmbedder])
def test_each_embedder_tells_a_collapse(make, monkeypatch):
    estimator = make(epochs=1, **SMALL)
    estimator.fit(X_train[:100], y_train[:100])
    monkeypatch.setattr("skdistort.training._collapse.MIN_SHARE", 99)
    with pytest.warns(ConvergenceWarning, match="collapsed") as found:
        estimator.fit(X_train[:100], y_train[:100])
    assert found[0].filename == __file__


def test_equal_images_are_no_collapse():
    # They are told of by themselves; a warning of a collapse would be an error here.
    with pytest.warns(InputMismatchWarning, match="images of X are the same"):
        TripletEmbedder(epochs=1, **SMALL).fit(np.ones((8, 64)), np.arange(8) % 2)


@pytest.mark.backend
def test_people_with_one_photo_are_learned_from_as_negatives():
    rng = np.random.default_rng(0)
    images = np.concatenate([X_train[:60], rng.permutation(X_train[60:160])])
    classes = np.concatenate([y_train[:60], 100 + np.arange(100)])
    embedder = TripletEmbedder(epochs=2, validation_fraction=0.3, **SMALL).fit(images, classes)
    assert np.isfinite(embedder.history_["val_loss"]).all()
    assert embedder.history_["n_active_triplets"][0] > 0


def test_validation_and_patience():
    embedder = TripletEmbedder(
        epochs=30, validation_fraction=0.25, patience=1, learning_rate=0.05, **SMALL
    ).fit(X_train[:300], y_train[:300])
    losses = embedder.history_["val_total_hinge"]
    assert len(losses) < 30
    assert losses[-1] >= min(losses[:-1])


def test_patience_watches_what_falls_while_the_embedder_improves():
    # The mean over active triplets rises as the easy ones drop out of it.
    ends = {"val_total_hinge": [], "val_loss": []}
    for seed in range(3):
        embedder = TripletEmbedder(
            epochs=30, validation_fraction=0.3, patience=1, random_state=seed, **TINY
        )
        history = embedder.fit(X_train[:400], y_train[:400]).history_
        for name, stops in ends.items():
            rises = np.diff(np.minimum.accumulate(history[name])) == 0
            stops.append(rises[:-1].sum() == 0 and (rises[-1] or len(rises) == 29))
    assert all(ends["val_total_hinge"])
    assert not all(ends["val_loss"])


def test_warm_start_goes_on():
    embedder = TripletEmbedder(epochs=3, warm_start=True, **SMALL)
    first = embedder.fit(X_train[:300], y_train[:300]).history_["loss"]
    second = embedder.fit(X_train[:300], y_train[:300]).history_["loss"]
    assert second[0] < first[0]
    embedder.set_params(n_components=3)
    with pytest.raises(ValueError, match="warm_start"):
        embedder.fit(X_train[:300], y_train[:300])


def test_callbacks_and_verbose(capsys):
    import keras

    seen = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    TripletEmbedder(epochs=2, callbacks=[callback], verbose=1, **SMALL).fit(
        X_train[:100], y_train[:100]
    )
    assert seen == [0, 1]
    assert "2/2" in capsys.readouterr().out
    TripletEmbedder(epochs=1, **SMALL).fit(X_train[:100], y_train[:100])
    assert capsys.readouterr().out == ""


def test_string_labels():
    names = np.array(["zero", "one", "two"])[y_train[:100] % 3]
    by_name = TripletEmbedder(epochs=1, **SMALL).fit(X_train[:100], names)
    assert by_name.score(X_train[:100], names) > 0


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"margin": -1}, "'margin' parameter"),
        ({"miner": "softest"}, "'miner' parameter"),
        ({"epochs": 0}, "'epochs' parameter"),
        ({"filters": ()}, "filters must be"),
        ({"filters": (4, 0)}, "filters must be"),
        ({"image_shape": (3, 3)}, "image_shape"),
        ({"validation_fraction": 0.001}, "validation_fraction"),
    ],
)
def test_refuses_parameters(params, match):
    with pytest.raises(ValueError, match=match):
        TripletEmbedder(**params).fit(X_train, y_train)


@pytest.mark.parametrize(
    ("images", "labels", "match"),
    [
        (np.full((4, 4), np.nan), [0, 0, 1, 1], "NaN"),
        (np.eye(4), [0, 0, 0, 0], "at least two classes"),
        (np.eye(4), [0, 1, 2, 3], "with two samples"),
        (np.eye(4)[:1], [0], "1 sample"),
        (np.eye(4), [0, 1], "inconsistent"),
        (np.eye(4), [0, 0, 1, np.nan], "y contains NaN"),
        (np.zeros((4, 2, 2, 1, 1)), [0, 0, 1, 1], "dim 5"),
        (np.zeros((0, 2, 2)), [], "0 sample"),
        (np.eye(2), None, "No sample has both a client"),
    ],
)
def test_refuses_data_before_training(images, labels, match, monkeypatch):
    monkeypatch.setattr("skdistort.training._base.train", None)
    with pytest.raises(ValueError, match=match):
        TripletEmbedder().fit(images, labels)


def test_refuses_other_shapes_later(embedder):
    with pytest.raises(ValueError, match="features"):
        embedder.transform(X_test[:, :16])
    by_image = TripletEmbedder(epochs=1, filters=(2,), random_state=0)
    by_image.fit(X_train[:50].reshape(-1, 4, 16), y_train[:50])
    with pytest.raises(ValueError, match=r"\(8, 8\).*\(4, 16, 1\)"):
        by_image.transform(X_test.reshape(-1, 8, 8))


def test_frozen_selection_space():
    space = FrozenEstimator(PCA(n_components=4, random_state=0).fit(X_train))
    embedder = TripletEmbedder(selection_space=space, epochs=1, **SMALL).fit(X_train[:100])
    assert embedder.transform(X_test).shape == (400, 10)


def test_warm_start_keeps_the_pixel_scaling():
    embedder = TripletEmbedder(epochs=1, learning_rate=1e-12, warm_start=True, **SMALL)
    first = embedder.fit(X_train[:100], y_train[:100]).network_.weights
    hot = X_train[:100].copy()
    hot[0, 0] = 20
    second = embedder.fit(hot, y_train[:100]).network_.weights
    scale, offset = first[:2]
    assert (scale, offset) == (1 / 16, 0)
    assert second[0] == scale


def test_refuses_callbacks_that_are_none():
    with pytest.raises(TypeError, match="callbacks must hold"):
        TripletEmbedder(callbacks=["early"]).fit(X_train, y_train)


def test_score_needs_labels(embedder):
    with pytest.raises(ValueError, match="needs y"):
        embedder.score(X_test)


def test_diverging_training_is_an_error():
    with pytest.raises(FloatingPointError, match="learning_rate"):
        TripletEmbedder(epochs=3, learning_rate=1e38, **SMALL).fit(X_train[:100], y_train[:100])


def test_weights_that_the_last_step_spoils_are_an_error():
    class LastLeap(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.optimizer.learning_rate = np.inf

    embedder = TripletEmbedder(
        epochs=1, batch_size=100, schedule="constant", callbacks=[LastLeap()], **SMALL
    )
    with pytest.raises(FloatingPointError, match="weights"):
        embedder.fit(X_train[:100], y_train[:100])
    assert not hasattr(embedder, "network_")
