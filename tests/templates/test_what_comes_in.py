"""A store takes what its generator was fitted on: the same units, one id for one name."""

import unicodedata

import numpy as np
import pytest
from sklearn import config_context
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, SiameseVerifier, TripletEmbedder
from skdistort.exceptions import InputMismatchError, InputMismatchWarning
from skdistort.templates import TemplateStore

pytestmark = [
    pytest.mark.backend,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

X, y = load_digits(return_X_y=True)
X = (X / 16 * 255).astype(np.float32)
TINY = {"epochs": 1, "filters": (4, 4), "random_state": 0}


@pytest.fixture(scope="module")
def embedder():
    return TripletEmbedder(4, hidden_units=8, **TINY).fit(X[300:600], y[300:600])


@pytest.fixture(scope="module", params=["unet", "bottleneck"])
def generator(request, embedder):
    return DistortionGenerator(
        FrozenEstimator(embedder), architecture=request.param, pixel_range=(0, 255), **TINY
    ).fit(X[300:600])


@pytest.fixture
def store(generator, tmp_path):
    with TemplateStore(generator, tmp_path / "templates.db") as store:
        store.calibrate_threshold(X[:100], y[:100])
        store.enrol(["ada", "bob"], X[:2])
        yield store


@pytest.mark.parametrize("divisor", [255, 16])
def test_other_units_are_refused_by_all_that_decides(store, divisor):
    probes = X[:2] / divisor
    generator = store.generator
    for call in (
        lambda: store.enrol(["eve", "mal"], probes),
        lambda: store.verify(["ada", "bob"], probes),
        lambda: store.score_claims(["ada", "bob"], probes),
        lambda: store.identify(probes),
        lambda: store.calibrate_threshold(probes, [0, 0]),
        lambda: generator.transform(probes),
        lambda: generator.embed(probes),
        lambda: generator.embed_probe(probes),
        lambda: generator.compare(probes),
    ):
        with pytest.raises(InputMismatchError, match=r"X\[0\] spans 0 to .* fit saw 0 to 255"):
            call()
    assert store.ids == ["ada", "bob"]


def test_one_absurd_pixel_is_refused(embedder):
    probe = X[:1].copy()
    probe[0, 20] = 1e30
    with pytest.raises(InputMismatchError, match=r"X\[0\]"):
        embedder.transform(probe)


def test_unicode_forms_of_a_name_are_one_id(store):
    composed, decomposed = (unicodedata.normalize(form, "Zoé") for form in ("NFC", "NFD"))
    assert composed != decomposed
    store.enrol([decomposed], X[2:3])
    assert store.ids == sorted(["ada", "bob", composed])
    assert len(store.score_claims([composed], X[2:3])) == 1
    store.revoke(decomposed)
    assert store.ids == ["ada", "bob"]


def test_a_table_is_asked_for(generator, store):
    images = X[:3].reshape(-1, 8, 8)
    with config_context(transform_output="pandas"):
        store.enrol(["x", "y", "z"], images)
        table = generator.transform(images)
    assert table.shape == (3, 64)
    np.testing.assert_array_equal(table.to_numpy(), generator.transform(images).reshape(3, 64))


@pytest.mark.parametrize("part", ["network_", "embedder_"])
def test_dead_weights_are_refused(generator, part, tmp_path):
    spoilt = DistortionGenerator.load(_saved(generator, tmp_path / "good.skd"))
    network = getattr(spoilt, part)
    network.weights = [np.full_like(weight, np.nan) for weight in network.weights]
    with TemplateStore(spoilt, tmp_path / "templates.db") as store:
        with pytest.raises(ValueError, match="weights that are NaN"):
            store.enrol(["ada"], X[:1])
        assert store.ids == []
    with pytest.raises(ValueError, match="weights that are NaN"):
        DistortionGenerator.load(_saved(spoilt, tmp_path / "bad.skd"))


def test_units_are_saved(generator, tmp_path):
    again = DistortionGenerator.load(_saved(generator, tmp_path / "saved.skd"))
    assert again.units_ == generator.units_
    with pytest.raises(InputMismatchError):
        again.transform(X[:1] / 255)


def test_an_embedding_of_no_length_passes_nowhere(generator):
    silent = DistortionGenerator(**generator.get_params(deep=False))
    silent.__dict__.update(vars(generator))
    silent.embedder_ = type(generator.embedder_)(generator.embedder_.rebuild())
    silent.embedder_.weights = [np.zeros_like(w) for w in silent.embedder_.weights]
    with pytest.raises(InputMismatchError, match="Sample 0 has an embedding of length 0"):
        silent.embed_probe(X[:2])


def test_a_range_that_is_not_used_is_told_of(embedder):
    generator = DistortionGenerator(
        TripletEmbedder(4, hidden_units=8, **TINY), pixel_range=(0, 255), **TINY
    )
    with pytest.warns(InputMismatchWarning, match=r"0.39 % of pixel_range, the range 0 to 255"):
        generator.fit(X[300:500] / 255, y[300:500])


def test_going_on_keeps_to_the_units(embedder):
    started = TripletEmbedder(4, hidden_units=8, warm_start=True, **TINY).fit(X[:100], y[:100])
    for learn in (started.fit, started.partial_fit):
        with pytest.raises(InputMismatchError, match="fit saw 0 to 255"):
            learn(X[:100] / 255, y[:100])


def test_a_verifier_refuses_other_units():
    verifier = SiameseVerifier(4, hidden_units=8, **TINY).fit(X[300:500], y[300:500])
    verifier.calibrate_threshold(X[:50], y[:50])
    for decide in (verifier.verify, verifier.pair_score):
        decide(X[:3], X[3:6])
        with pytest.raises(InputMismatchError, match=r"X\[0\] spans 0 to 0.9375"):
            decide(X[:3], X[3:6] / 255)


def _saved(estimator, path):
    estimator.save(path)
    return path
