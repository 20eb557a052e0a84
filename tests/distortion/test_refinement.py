"""Refinement: templates that F sees as it should, each for itself, on every backend."""

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.distortion import _generator, _refinement
from skdistort.distortion._refinement import refine_templates
from skdistort.keys import rotate_embeddings
from skdistort.networks._stored import StoredNetwork
from skdistort.scoring import identifiability_scorer
from skdistort.templates import TemplateStore

pytestmark = [
    pytest.mark.usefixtures("settled_salts"),
    pytest.mark.backend,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
X, y = load_digits(return_X_y=True)
X, y = X[:300].astype(np.float32), y[:300]
SMALL = {"epochs": 2, "filters": (8,), "random_state": 0, "pixel_range": (0, 16)}
UNET, KEYED = {"architecture": "unet"}, {"key": 5}


@pytest.fixture(scope="module")
def frozen():
    embedder = TripletEmbedder(6, epochs=4, filters=(8,), learning_rate=5e-3, random_state=0)
    return FrozenEstimator(embedder.fit(X, y))


@pytest.fixture(scope="module", params=[UNET, {}, KEYED], ids=str)
def generator(request, frozen):
    return DistortionGenerator(frozen, **SMALL, **request.param).fit(X[:150])


def linear_embedder(weights, shape):
    inputs = keras.layers.Input(shape)
    dense = keras.layers.Dense(weights.shape[1], use_bias=False)
    model = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)))
    model.set_weights([weights])
    return StoredNetwork(model)


def refine_by_hand(weights, templates, targets, pixel_range, n_steps):
    """Adam of Kingma and Ba on the logits, for an F that is a matrix."""
    low, high = pixel_range
    logits = np.log(templates / (1 - templates)).reshape(len(templates), -1)
    m, v = np.zeros_like(logits), np.zeros_like(logits)
    for t in range(1, n_steps + 1):
        p = 1 / (1 + np.exp(-logits))
        error = (low + (high - low) * p) @ weights - targets
        gradient = 2 * error @ weights.T * (high - low) * p * (1 - p)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        logits -= 0.2 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
    return (1 / (1 + np.exp(-logits))).reshape(templates.shape)


def test_steps_are_those_of_adam_on_the_logits():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(12, 3)).astype(np.float32) / 4
    templates = rng.uniform(0.1, 0.9, (5, 3, 4, 1)).astype(np.float32)
    targets = rng.normal(size=(5, 3)).astype(np.float32)
    embedder = linear_embedder(weights, (3, 4, 1))
    for pixel_range, n_steps in (((-1.0, 2.0), 7), ((0.0, 1.0), 20)):
        found = refine_templates(embedder, templates, targets, pixel_range, n_steps=n_steps)
        expected = refine_by_hand(weights, templates, targets, pixel_range, n_steps)
        np.testing.assert_allclose(found, expected, atol=2e-4)
        assert np.abs(found - templates).max() > 0.05


def test_embeddings_come_nearer_with_every_ten_steps(generator):
    distances = []
    for n in (0, 10, 20, 40):
        distances.append(generator.set_params(refinement_steps=n).compare(X[150:]))
    means = [compared.embedding_distances.mean() for compared in distances]
    generator.set_params(refinement_steps=20)
    assert all(b < 0.7 * a for a, b in zip(means, means[1:], strict=False))
    assert generator.score(X[150:], y[150:]) > 0


def test_a_template_does_not_depend_on_the_others(generator):
    together = generator.transform(X[150:220])
    np.testing.assert_array_equal(generator.transform(X[150:157]), together[:7])
    # Elsewhere in its batch the last bit of an embedding may be another, on some backends, which
    # now and then tips a pixel over a kink of F.
    other_order = generator.transform(X[219:149:-1])[::-1]
    moved = np.abs(other_order - together).max(axis=1) > 16 * 1e-4
    assert moved.mean() < 0.05
    np.testing.assert_allclose(generator.embed(other_order), generator.embed(together), atol=5e-3)
    alone = generator.embed(generator.transform(X[190:191]))
    np.testing.assert_allclose(alone, generator.embed(together[40:41]), atol=5e-3)


def test_all_that_judges_sees_what_transform_gives(generator, mapped):
    templates = generator.transform(X[:40])
    compared = generator.compare(X[:40])
    np.testing.assert_allclose(compared.templates.reshape(40, -1) * 16, templates, atol=1e-4)
    np.testing.assert_allclose(compared.template_embeddings, generator.embed(templates), atol=1e-4)
    np.testing.assert_array_equal(generator.transform(mapped(X[:40])), templates)
    assert templates.min() >= 0
    assert templates.max() <= 16
    unrefined = generator.set_params(refinement_steps=0).transform(X[:40])
    generator.set_params(refinement_steps=20)
    assert np.abs(unrefined - templates).max() > 0.5
    by_network = generator.network_.predict(
        X[:40].reshape(-1, 8, 8, 1) / 16
        if generator.architecture == "unet"
        else generator.embed_probe(X[:40]),
        64,
    )
    np.testing.assert_allclose(unrefined, by_network.reshape(40, -1) * 16, atol=1e-4)


def test_renewed_templates_are_refined_to_the_new_key(frozen, tmp_path):
    generator = DistortionGenerator(frozen, refinement_steps=60, **SMALL, **KEYED).fit(X[:150])

    def error(templates, key):
        return np.sum((generator.embed(templates) - generator.embed_probe(X[150:], key)) ** 2, 1)

    templates = generator.transform(X[150:])
    for old, new in ((5, 6), (6, 7), (7, 8)):
        templates = generator.reissue(templates, old, new)
    assert np.median(error(templates, 8)) < 0.1
    plain = clone(generator).set_params(refinement_steps=0).fit(X[:150])
    assert np.median(error(plain.reissue(plain.transform(X[150:]), 5, 6), 6)) > 0.3
    path = tmp_path / "store.db"
    with TemplateStore(generator, path, key_cost=1, allow_weak_keys=True) as store:
        store.calibrate_threshold(X[150:], y[150:])
        store.enrol(["a"], X[:1])
        before = store.score_claims(["a"], X[:1])
        store.rotate("a", 9)
        after = store.score_claims(["a"], X[:1], keys=9)
    rotated = rotate_embeddings(generator.embed(X[:1]), 9)
    np.testing.assert_allclose(generator.embed_probe(X[:1], 9), rotated)
    assert -0.1 < after < 0
    assert -0.1 < before < 0


def test_a_renewal_takes_more_steps(frozen, monkeypatch):
    generator = DistortionGenerator(frozen, refinement_steps=2, **SMALL, **KEYED).fit(X[:100])
    taken = []
    refine = _generator.refine_templates

    def counted(*arguments, n_steps, **options):
        taken.append(n_steps)
        return refine(*arguments, n_steps=n_steps, **options)

    monkeypatch.setattr(_generator, "refine_templates", counted)
    generator.reissue(generator.transform(X[:5]), 5, 6)
    assert taken == [2, 6]
    taken.clear()
    generator.set_params(refinement_steps=0)
    generator.reissue(generator.transform(X[:5]), 5, 6)
    assert not taken


def test_searches_set_the_number_of_steps(frozen):
    generator = DistortionGenerator(frozen, **SMALL, **KEYED)
    grid = {"refinement_steps": [0, 30]}
    search = GridSearchCV(generator, grid, scoring=identifiability_scorer, cv=2).fit(X, y)
    assert search.best_params_ == {"refinement_steps": 30}


def test_one_model_serves_all_generators_of_an_embedder_like_it(frozen, monkeypatch):
    built = []
    compile_refiner = _refinement._compile
    monkeypatch.setattr(
        _refinement, "_compile", lambda *args: built.append(args) or compile_refiner(*args)
    )
    _refinement._REFINERS.clear()
    other = FrozenEstimator(clone(frozen.estimator).fit(X, y))
    alone = []
    for embedder, pixel_range in ((frozen, (0, 16)), (other, (0, 20))):
        params = {**SMALL, "pixel_range": pixel_range}
        fitted = DistortionGenerator(embedder, **params).fit(X[:100])
        alone.append((fitted, fitted.transform(X[:10])))
    assert len(built) == 1
    for fitted, expected in alone:
        np.testing.assert_array_equal(fitted.transform(X[:10]), expected)


def test_many_templates_show_a_bar(frozen, monkeypatch, capsys):
    generator = DistortionGenerator(frozen, refinement_steps=1, **SMALL).fit(X[:100])
    monkeypatch.setattr(_refinement, "_LONG", 50)
    generator.transform(X[:60])
    assert capsys.readouterr().out == ""
    generator.set_params(verbose=1).transform(X[:60])
    assert "60/60" in capsys.readouterr().out
    generator.transform(X[:40])
    assert capsys.readouterr().out == ""


def test_directions_that_no_image_has_are_told_of(frozen):
    # F sees two directions only: most others cannot be reached.
    rng = np.random.default_rng(0)
    inputs = keras.layers.Input((8, 8, 1))
    two = keras.layers.Dense(2, "tanh", kernel_initializer="glorot_uniform")
    wide = keras.layers.Dense(12, use_bias=False)
    hidden = two(keras.layers.Flatten()(keras.layers.Rescaling(1 / 16)(inputs)))
    F = keras.Model(inputs, keras.layers.UnitNormalization()(wide(hidden)))
    F.set_weights([rng.normal(size=w.shape) for w in F.get_weights()])
    with pytest.warns(Warning, match="embedding not reached"):
        DistortionGenerator(F, **SMALL, **KEYED).fit(X[:100])
