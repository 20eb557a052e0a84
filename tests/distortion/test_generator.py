"""DistortionGenerator: what it learns, the embedders it takes, scores, diagnosis and refusals."""

import warnings

import keras
import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.distances import IMAGE_DISTANCES
from skdistort.distortion._comparison import DistortionComparison, diagnose_distortion
from skdistort.metrics import abs_pearson, inversion_resistance, mse
from skdistort.networks import UnitLength
from skdistort.scoring import (
    dissimilarity_scorer,
    distortion_score,
    identifiability_scorer,
    inversion_resistance_scorer,
)

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X.astype(np.float32), y, test_size=300, random_state=0
)
SMALL = {"epochs": 1, "filters": (4, 8), "random_state": 0}


@pytest.fixture(scope="module")
def frozen():
    return FrozenEstimator(TripletEmbedder(epochs=6, random_state=0).fit(X_train, y_train))


@pytest.fixture(scope="module")
def tiny():
    """An embedder for tests of what does not hang on how good it is."""
    return FrozenEstimator(TripletEmbedder(4, **SMALL).fit(X_train[:200], y_train[:200]))


@pytest.fixture(scope="module", params=["unet", "bottleneck"])
def generator(request, frozen):
    return DistortionGenerator(
        frozen, architecture=request.param, epochs=8, pi_emb=0.6, random_state=0
    ).fit(X_train)


def quiet_fit(generator, *data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return generator.fit(*data)


def test_distorts_and_keeps_identity(generator):
    compared = generator.compare(X_test)
    assert mse(compared.images, compared.templates).mean() > 0.1
    assert abs_pearson(compared.images, compared.templates).mean() < 0.6
    near = np.sum((compared.embeddings - compared.template_embeddings) ** 2, axis=1)
    assert near.mean() < 0.4
    assert identifiability_scorer(generator, X_test, y_test) > 0.7
    assert generator.diagnose(X_test).failures == ()


def test_templates_keep_layout_range_and_dtype(generator):
    flat = generator.transform(X_test)
    assert flat.shape == X_test.shape
    assert flat.dtype == np.float32
    assert flat.min() >= 0
    assert flat.max() <= 16
    assert flat.max() > 8
    for shape in ((-1, 8, 8), (-1, 8, 8, 1)):
        images = X_test.reshape(shape)
        distorted = generator.transform(images)
        assert distorted.shape == images.shape
        np.testing.assert_array_equal(distorted.reshape(flat.shape), flat)


def test_history_has_the_parts_of_the_loss(generator):
    history = generator.history_
    assert set(history) == {"loss", "image_distance", "embedding_distance"}
    # pi relu(d - alpha) - (1 - pi) d_img, and the hinge of a mean is below the mean of hinges.
    lower = 0.6 * np.maximum(np.array(history["embedding_distance"]) - 0.2, 0)
    lower -= 0.4 * np.array(history["image_distance"])
    assert np.all(np.array(history["loss"]) >= lower - 1e-5)
    assert history["image_distance"][-1] > history["image_distance"][1]


def test_the_embedder_stays_frozen(frozen, generator):
    before = frozen.estimator.network_.weights
    for old, new in zip(before, generator.embedder_.weights, strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(generator.embed(X_test), frozen.transform(X_test))


def test_embedder_trained_on_the_fly_with_and_without_labels(monkeypatch):
    monkeypatch.setattr("skdistort.embedding._FEWEST_BATCHES", 1)
    labelled = quiet_fit(DistortionGenerator(**SMALL), X_train[:200], y_train[:200])
    label_free = quiet_fit(DistortionGenerator(**SMALL), X_train[:200])
    assert not np.array_equal(labelled.embed(X_test), label_free.embed(X_test))


def test_unfitted_embedder_is_cloned():
    embedder = TripletEmbedder(n_components=3, **SMALL)
    generator = quiet_fit(DistortionGenerator(embedder, **SMALL), X_train[:200], y_train[:200])
    assert generator.embed(X_test).shape == (300, 3)
    assert not hasattr(embedder, "network_")


@pytest.mark.backend
def test_keras_model_and_layer_as_embedder():
    inputs = keras.layers.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    images = X_train[:100].reshape(-1, 8, 8)
    for embedder, expected in (
        (model, model.predict(images[..., None], verbose=0)),
        (keras.layers.Flatten(), X_train[:100]),
    ):
        generator = quiet_fit(DistortionGenerator(embedder, **SMALL), images)
        np.testing.assert_allclose(generator.embed(images), expected, rtol=1e-5, atol=1e-5)


def test_embedder_runs_in_inference_mode():
    dropout = keras.Sequential([keras.layers.Flatten(), keras.layers.Dropout(0.9)])
    plain = keras.layers.Flatten()
    # Dropout of nine in ten pixels, scaled up tenfold, would make the distances far larger.
    with_dropout, without = (
        quiet_fit(DistortionGenerator(embedder, **SMALL), X_train[:200]).history_
        for embedder in (dropout, plain)
    )
    np.testing.assert_allclose(with_dropout["loss"], without["loss"], rtol=1e-3)


@pytest.mark.parametrize("distance", sorted(IMAGE_DISTANCES))
def test_named_distances(distance, tiny):
    # All images in one batch, and a rate that leaves the weights: the loss of the first network.
    params = {**SMALL, "architecture": "unet", "batch_size": 200, "learning_rate": 1e-12}
    generator = quiet_fit(DistortionGenerator(tiny, distance=distance, **params), X_train[:200])
    images = X_train[:200].reshape(-1, 8, 8, 1) / 16
    distorted = generator.network_.rebuild()(images, training=True)
    found = generator.history_["image_distance"][0]
    expected = {
        name: float(keras.ops.mean(measure(keras.ops.convert_to_tensor(images), distorted)))
        for name, measure in IMAGE_DISTANCES.items()
    }
    assert found == pytest.approx(expected.pop(distance), rel=1e-4)
    # None of the others would give that.
    assert min(abs(value - found) for value in expected.values()) > 1e-3 * found


def test_callable_distance(tiny):
    def largest(x, y):
        return keras.ops.max(keras.ops.abs(x - y), axis=(1, 2, 3))

    by_name = quiet_fit(DistortionGenerator(tiny, **SMALL), X_train[:200])
    by_call = quiet_fit(DistortionGenerator(tiny, distance=largest, **SMALL), X_train[:200])
    assert by_call.history_["image_distance"][0] > by_name.history_["image_distance"][0]


def test_score_is_the_harmonic_mean_and_ignores_the_weights(generator):
    parts = (
        identifiability_scorer(generator, X_test, y_test),
        dissimilarity_scorer(generator, X_test),
        inversion_resistance_scorer(generator, X_test),
    )
    score = generator.score(X_test, y_test)
    assert score == pytest.approx(3 / sum(1 / part for part in parts))
    # As little as there is to be learned from the embeddings that a bottleneck sees.
    limit = inversion_resistance(X_test, generator.embed(X_test))
    assert (parts[2] > limit - 0.1) == (generator.architecture == "bottleneck")
    alpha, pi_emb = generator.alpha, generator.pi_emb
    generator.set_params(alpha=3.0, pi_emb=0.01)
    assert generator.score(X_test, y_test) == score
    generator.set_params(alpha=alpha, pi_emb=pi_emb)
    assert 0 < generator.score(X_test) <= 1
    with pytest.raises(ValueError, match="fewer than 20 images, got 19"):
        generator.score(X_test[:19])


def test_score_ranks_what_a_straight_line_inverts_below(frozen):
    safe = DistortionGenerator(frozen, filters=(8, 16), epochs=4, random_state=0)
    assert safe.architecture == "bottleneck"
    papers = clone(safe).set_params(architecture="unet")
    scores = [quiet_fit(g, X_train).score(X_test, y_test) for g in (safe, papers)]
    assert scores[0] > scores[1] + 0.05


class Fixed:
    """A generator whose templates are given."""

    def __init__(self, templates, embeddings, template_embeddings):
        self.given = templates, embeddings, template_embeddings

    def compare(self, X):
        templates, embeddings, template_embeddings = self.given
        return DistortionComparison(X, templates, embeddings, template_embeddings)


def test_scores_of_trivial_templates():
    rng = np.random.default_rng(0)
    images = rng.random((80, 6, 6, 1), dtype=np.float32)
    labels = np.arange(80) % 4
    Z = np.eye(4, dtype=np.float32)[labels]
    # A perfect embedder, but a template that shows the image: no good to anyone.
    assert distortion_score(Fixed(images, Z, Z), images, labels) == pytest.approx(0, abs=1e-6)
    negative = Fixed(1 - images, Z, Z)
    assert distortion_score(negative, images, labels) == pytest.approx(0, abs=1e-6)
    # A template that shows nothing and keeps nothing.
    constant = Fixed(np.full_like(images, 0.5), Z, np.ones_like(Z))
    assert dissimilarity_scorer(constant, images) == 1
    assert distortion_score(constant, images, labels) == 0
    perfect = Fixed(np.full_like(images, 0.5), Z, Z)
    assert distortion_score(perfect, images, labels) == pytest.approx(1)
    assert inversion_resistance_scorer(constant, images) == pytest.approx(1)
    # Turned over, templates look nothing like the images, and a linear attack has them all.
    turned = Fixed(images[:, ::-1, ::-1], Z, Z)
    assert dissimilarity_scorer(turned, images) > 0.8
    assert inversion_resistance_scorer(turned, images) < 0.01
    assert distortion_score(turned, images, labels) < 0.03


@pytest.mark.fast
def test_diagnosis_names_each_failure():
    rng = np.random.default_rng(0)
    images = np.zeros((20, 16, 16, 1), dtype=np.float32)
    for image in images:
        top, left = rng.integers(1, 8, 2)
        image[top : top + 7, left : left + 7] = rng.uniform(0.3, 1, (7, 7, 1))
    noise = rng.random(images.shape, dtype=np.float32)

    def failures(templates, distance=0.0, refined=True):
        Z = np.zeros((20, 3))
        seen = Z + np.sqrt(distance / 3)
        comparison = DistortionComparison(images, templates.astype(np.float32), Z, seen)
        return diagnose_distortion(comparison, refined=refined).failures

    assert failures(noise) == ()
    assert failures(0 * images + 0.7) == ("blank output",)
    assert failures(images**2) == ("gamma or negation only",)
    assert failures(1 - images) == ("gamma or negation only",)
    shaded = np.clip(images * 0.5 + 0.5 * np.linspace(0, 1, 16)[:, None], 0, 1)
    assert failures(shaded) == ("contours kept",)
    assert failures(noise, distance=0.5) == ("embedding not reached",)
    assert failures(shaded, distance=0.5) == ("contours kept", "embedding not reached")
    assert failures(noise, distance=0.3) == failures(noise, 0.5, refined=False) == ()


def test_failure_is_a_warning(frozen):
    # All weight on the image: nothing holds the generator back from the negative.
    generator = DistortionGenerator(
        frozen, architecture="unet", pi_emb=0.0, epochs=6, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="gamma or negation|blank|contours"):
        generator.fit(X_train)
    assert generator.diagnose(X_test).failures


def test_grid_search_in_processes(tiny):
    search = GridSearchCV(
        make_pipeline(
            FunctionTransformer(),
            make_pipeline("passthrough", DistortionGenerator(tiny, **SMALL)),
        ),
        {"pipeline__distortiongenerator__alpha": [0.1, 1.0]},
        scoring={"score": distortion_score, "hidden": dissimilarity_scorer},
        refit="score",
        cv=2,
        n_jobs=2,
    )
    quiet_fit(search, X_train[:200], y_train[:200])
    assert np.isfinite(search.cv_results_["mean_test_hidden"]).all()
    assert search.score(X_test, y_test) == pytest.approx(
        search.best_estimator_.score(X_test, y_test)
    )


def test_grid_search_over_the_embedders_margin():
    search = GridSearchCV(
        DistortionGenerator(TripletEmbedder(**SMALL), **SMALL),
        {"embedder__margin": [0.2, 1.0]},
        cv=2,
        error_score="raise",
    )
    quiet_fit(search, X_train[:100], y_train[:100])
    assert len(set(search.cv_results_["mean_test_score"])) == 2


def test_explicit_pixel_range(tiny):
    generator = DistortionGenerator(tiny, pixel_range=(0, 16), **SMALL)
    quiet_fit(generator, X_train[:100])
    assert generator.pixel_range_ == (0.0, 16.0)
    with pytest.raises(ValueError, match=r"from 0 to 17, outside pixel_range=\(0, 16\)"):
        generator.transform(np.where(X_test == 16, 17, X_test))
    with pytest.raises(ValueError, match="outside pixel_range"):
        generator.set_params(pixel_range=(0, 1)).fit(X_train)


def test_explicit_range_takes_its_own_templates_back():
    # Neither 0.1 nor -0.7 is a float32, and 1 * 0.8 - 0.7 is not 0.1 in it.
    generator = DistortionGenerator(keras.layers.Flatten(), pixel_range=(-0.7, 0.1), **SMALL)
    images = np.where(X_train[:100] == 16, np.float32(0.1), np.float32(-0.7))
    templates = quiet_fit(generator, images).transform(images)
    assert generator.embed(templates).shape == (100, 64)


def test_auto_range_maps_there_and_back():
    shifted = DistortionGenerator(keras.layers.Flatten(), **SMALL)
    quiet_fit(shifted, X_train[:100] * 10 - 300)
    assert shifted.pixel_range_ == (-300.0, -140.0)
    templates = shifted.transform(X_test * 10 - 300)
    assert templates.min() >= -300
    assert templates.max() <= -140


@pytest.mark.backend
def test_warm_start_and_validation(tiny):
    params = {**SMALL, "epochs": 3}
    generator = DistortionGenerator(tiny, warm_start=True, validation_fraction=0.2, **params)
    first = quiet_fit(generator, X_train[:400]).history_
    second = quiet_fit(generator, X_train[:400]).history_
    assert second["val_loss"][0] < first["val_loss"][0]


def test_warm_start_keeps_embedder_and_range():
    generator = DistortionGenerator(TripletEmbedder(filters=(2,), epochs=1), **SMALL)
    generator.set_params(warm_start=True)
    embedder = quiet_fit(generator, X_train[:100], y_train[:100]).embedder_
    quiet_fit(generator, X_train[:100] * 1.3, y_train[:100])
    assert generator.embedder_ is embedder
    assert generator.pixel_range_ == (0.0, 16.0)
    with pytest.raises(ValueError, match="warm_start"):
        generator.set_params(filters=(3, 8)).fit(X_train[:100], y_train[:100])


@pytest.mark.backend
def test_same_seed_same_templates(tiny):
    first, second = (
        quiet_fit(DistortionGenerator(tiny, **SMALL), X_train[:200]).transform(X_test[:40])
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.backend
def test_layers_of_one_name_in_both_networks_learn_apart():
    def fit(name):
        layers = [keras.layers.Flatten(), keras.layers.Dense(8, name=name), UnitLength()]
        embedder = keras.Sequential([keras.layers.Input((8, 8, 1)), *layers])
        embedder.layers[1].set_weights([projection, np.zeros(8)])
        generator = DistortionGenerator(embedder, **{**SMALL, "batch_size": 40})
        return quiet_fit(generator, X_train[:200]).network_.weights

    projection = np.random.default_rng(0).normal(size=(64, 8)) / 16
    # A bottleneck has a layer of that name too.
    for found, expected in zip(fit("hidden"), fit("other"), strict=True):
        np.testing.assert_array_equal(found, expected)


def wrong_model():
    inputs = keras.layers.Input((4, 4, 1))
    return keras.Model(inputs, keras.layers.Flatten()(keras.layers.Conv2D(2, 3)(inputs)))


def two_outputs():
    inputs = keras.layers.Input((8, 8, 1))
    flat = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, [flat, flat])


class Unregistered(keras.layers.Layer):
    """A layer that Keras cannot find again by its name."""

    def call(self, x):
        """Flatten."""
        return keras.ops.reshape(x, (-1, 64))


@pytest.mark.fast
@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        ({"alpha": -1}, ValueError, "'alpha' parameter"),
        ({"pi_emb": 1.5}, ValueError, "'pi_emb' parameter"),
        ({"distance": "manhattan"}, ValueError, "'distance' parameter"),
        ({"architecture": "vae"}, ValueError, "'architecture' parameter"),
        ({"pixel_range": (1, 0)}, ValueError, "pixel_range must be"),
        ({"pixel_range": (0, 1, 2)}, ValueError, "pixel_range must be"),
        ({"filters": ()}, ValueError, "filters must be"),
        ({"embedder": "facenet"}, ValueError, "the path 'facenet'"),
        ({"embedder": FrozenEstimator(FunctionTransformer())}, TypeError, "TripletEmbedder"),
        ({"embedder": FrozenEstimator(TripletEmbedder())}, NotFittedError, "not fitted"),
        ({"embedder": wrong_model()}, ValueError, r"\(4, 4, 1\), X has \(8, 8, 1\).*Resizing"),
        ({"embedder": keras.layers.AveragePooling2D(2)}, ValueError, "one vector an image"),
        ({"embedder": two_outputs()}, ValueError, "one vector an image"),
        ({"embedder": Unregistered()}, ValueError, "register_keras_serializable"),
        ({"distance": lambda x, y: x - y}, ValueError, r"one value an image.*\(2, 8, 8, 1\)"),
        ({"pixel_range": (0, np.inf)}, ValueError, "pixel_range must be"),
    ],
)
def test_refuses_parameters_before_training(params, error, match, monkeypatch):
    monkeypatch.setattr("skdistort.training._base.train", None)
    with pytest.raises(error, match=match):
        DistortionGenerator(**params).fit(X_train, y_train)


def test_refuses_embedder_of_other_images(frozen):
    with pytest.raises(ValueError, match=r"\(8, 8, 1\), X has \(4, 4, 1\)"):
        DistortionGenerator(frozen).fit(X_train[:, :16])


def test_refuses_data():
    with pytest.raises(ValueError, match="NaN"):
        DistortionGenerator().fit(np.full((4, 4), np.nan))
    with pytest.raises(ValueError, match="1 sample"):
        DistortionGenerator().fit(X_train[:1])
    with pytest.raises(NotFittedError):
        DistortionGenerator().transform(X_test)


@pytest.mark.parametrize("shape", [(64,), (8, 8), (8, 8, 1)], ids=str)
def test_data_frames_asked_for_everywhere_do_not_come_inside(shape, tiny):
    images, classes = X_train[:80].reshape(-1, *shape), y_train[:80]
    generator = DistortionGenerator(tiny, pixel_range=(0, 16), refinement_steps=2, **SMALL)
    scoring = {"identity": identifiability_scorer, "hidden": dissimilarity_scorer}

    def results():
        quiet_fit(generator, images)
        search = GridSearchCV(
            generator, {"alpha": [0.1, 0.5]}, scoring=scoring, refit="identity", cv=2
        )
        found = quiet_fit(search, images, classes).cv_results_
        scores = [generator.score(images), generator.score(images, classes)]
        scores += [inversion_resistance_scorer(generator, images)]
        scores += [tiny.score(images, classes), *found["mean_test_identity"]]
        return [*scores, *found["mean_test_hidden"]]

    expected = results()
    with config_context(transform_output="pandas"):
        assert results() == expected
