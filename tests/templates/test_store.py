"""TemplateStore: what is on the disk, decisions, what rounding costs, refusals."""

import pickle
import random
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from support.frames import WAYS, asked_globally
from support.stores import attack, bytes_on_disk, in_both

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.images._photos import recompress
from skdistort.metrics import equal_error_rate, fnmr_at_fmr, pair_scores
from skdistort.templates import EmbeddingStore, TemplateStore, storage_error_rates
from skdistort.templates._database import TemplateDatabase
from skdistort.templates._eight_bit import embed_templates, generator_fingerprint, make_templates

pytestmark = pytest.mark.usefixtures("settled_salts")
X, y = load_digits(return_X_y=True)
X = X.astype(np.float32)
X_train, y_train, X_held, y_held = X[:400], y[:400], X[400:600], y[400:600]
PROBES = X[600:640]
WEAK = {"allow_weak_keys": True, "key_cost": 1}


@pytest.fixture(scope="module")
def generator():
    embedder = TripletEmbedder(epochs=1, random_state=0).fit(X_train, y_train)
    generator = DistortionGenerator(
        FrozenEstimator(embedder), epochs=1, filters=(4,), random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return generator.fit(X_train)


@pytest.fixture
def store(generator, path):
    with TemplateStore(generator, path) as store:
        yield store


def names(n):
    return [f"subject {i}" for i in range(n)]


def as_bytes(images, low, high):
    """Round pixels to 8 bits, one value at a time."""
    return [bytes(round(255 * (float(v) - low) / (high - low)) for v in row) for row in images]


def squared_distance(a, b):
    return sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True))


@in_both
def test_file_holds_distorted_images_and_nothing_else(generator, store, path):
    images = X_held[:30]
    store.calibrate_threshold(X_held, y_held)
    store.enrol(names(30), images)
    store.verify(names(30), images)
    store.identify(images, 3)
    templates = as_bytes(generator.transform(images), *generator.pixel_range_)
    database = TemplateDatabase(path)
    assert [image for _, _, image in database.read_after(0, 99)] == templates
    database.close()
    plain = [images, images / np.float32(16), images.astype(np.float64), images.astype(np.uint8)]
    data = bytes_on_disk(path)
    # Who has a template and F has this too.
    kept = embed_templates(generator, make_templates(generator, images))
    assert all(embedding.tobytes() in data for embedding in kept)
    unlike = list(generator.embed(images))
    assert all(template in data for template in templates)
    assert not any(image in data for image in as_bytes(images, *generator.pixel_range_))
    assert not any(row.tobytes() in data for array in plain for row in array)
    assert not any(e.tobytes() in data or e.astype(np.float64).tobytes() in data for e in unlike)


def test_embeddings_are_those_of_the_rounded_templates(generator, store):
    store.enrol(names(5), X_held[:5])
    low, high = generator.pixel_range_
    rounded = np.array(
        [list(image) for image in as_bytes(generator.transform(X_held[:5]), low, high)]
    )
    enrolled = generator.embed(low + rounded / 255 * (high - low))
    probes = generator.embed(PROBES)
    found, scores = store.identify(PROBES, 5)
    for probe, ids, row in zip(probes, found, scores, strict=True):
        expected = {f"subject {i}": -squared_distance(probe, enrolled[i]) for i in range(5)}
        assert ids.tolist() == sorted(expected, key=expected.get, reverse=True)
        np.testing.assert_allclose(row, sorted(expected.values(), reverse=True), atol=1e-5)


@in_both
def test_verifies_by_the_best_template_of_the_claimed_id(generator, store):
    store.calibrate_threshold(X_held, y_held)
    claimed = [str(label) for label in y_held[:20]]
    store.enrol(claimed, X_held[:20])
    enrolled = embed_templates(generator, make_templates(generator, X_held[:20]))
    claims = [claimed[i % 20] for i in range(len(PROBES))]
    scores, accepted = store.score_claims(claims, PROBES), store.verify(claims, PROBES)
    for probe, claim, score in zip(generator.embed(PROBES), claims, scores, strict=True):
        own = [enrolled[i] for i in range(20) if claimed[i] == claim]
        assert score == pytest.approx(max(-squared_distance(probe, e) for e in own), abs=1e-6)
    assert accepted.dtype == bool
    thresholds = [store.thresholds_[claimed.count(claim)] for claim in claims]
    np.testing.assert_array_equal(accepted, scores >= thresholds)
    assert 0 < accepted.sum() < len(accepted)


@in_both
def test_threshold_is_that_of_held_out_pairs_and_stays(generator, store, path):
    probes = generator.embed(X_held)
    enrolled = embed_templates(generator, make_templates(generator, X_held))
    pairs = pair_scores(probes, y_held, enrolled, y_held, exclude_same_index=True)
    assert not hasattr(store, "threshold_")
    assert store.calibrate_threshold(X_held, y_held) is store
    assert store.threshold_ == equal_error_rate(*pairs)[1]
    other = TemplateStore(generator, path)
    assert other.threshold_ == equal_error_rate(*pairs)[1]
    store.calibrate_threshold(X_held, y_held, strategy="fmr", target_fmr=0.05)
    assert fnmr_at_fmr(*pairs, 0.05)[1] == other.threshold_ == store.threshold_
    other.close()
    assert len(store) == 0


def test_images_of_all_layouts_are_the_same_templates(generator, store):
    store.enrol(["flat"], X_held[:1])
    store.enrol(["square"], X_held[:1].reshape(1, 8, 8))
    store.enrol(["with channels"], X_held[:1].reshape(1, 8, 8, 1))
    _, scores = store.identify(PROBES, 3)
    np.testing.assert_array_equal(scores, scores[:, :1].repeat(3, axis=1))


def test_generator_of_named_columns(tmp_path, generator):
    frame = pd.DataFrame(X_train[:32], columns=[f"pixel {i}" for i in range(64)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        named = clone(generator).fit(frame)
    with TemplateStore(named, tmp_path / "named.db") as store:
        store.enrol(names(3), frame[:3])
        assert store.identify(frame[:3], 2).ids.shape == (3, 2)


def outcomes(generator, path, shape):
    """What a store makes of images of a shape."""
    images, held, probes = (a.reshape(-1, *shape) for a in (X_held[:9], X_held, PROBES))
    with TemplateStore(generator, path) as store:
        store.calibrate_threshold(held, y_held)
        store.enrol(names(9), images)
        claims = names(9) * 3
        return [
            store.threshold_,
            store.score_claims(claims, probes[:27]),
            store.verify(claims, probes[:27]),
            *store.identify(probes, 4),
            storage_error_rates(generator, held, y_held)[:2],
        ]


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize("shape", [(64,), (8, 8), (8, 8, 1)])
def test_data_frames_asked_of_transformers_are_no_concern(generator, tmp_path, shape, ask):
    expected = outcomes(generator, tmp_path / "arrays.db", shape)
    with ask(generator) as asked:
        found = outcomes(asked, tmp_path / "frames.db", shape)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_rotation_of_a_generator_of_named_columns_asked_for_data_frames(generator, tmp_path):
    frame = pd.DataFrame(X_train[:32], columns=[f"pixel {i}" for i in range(64)])
    keyed = clone(generator).set_params(architecture="bottleneck", key=1, refinement_steps=150)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        keyed.fit(frame)
    with asked_globally(keyed), TemplateStore(keyed, tmp_path / "keyed.db", **WEAK) as store:
        store.enrol(names(3), frame[:3])
        before = store.score_claims(names(3), frame[:3])
        assert store.rotate(None, 2) == 3
        after = store.score_claims(names(3), frame[:3], keys=2)
    assert np.abs(after - before).max() < 0.5


@in_both
def test_revoked_template_is_gone_everywhere(generator, store, path):
    store.calibrate_threshold(X_held, y_held)
    store.enrol(["a", "b", "a", "c"], X_held[:4])
    store.identify(PROBES, 2)
    templates = [image.tobytes() for image in make_templates(generator, X_held[:4])]
    assert all(template in bytes_on_disk(path) for template in templates)
    store.revoke("a")
    assert [t in bytes_on_disk(path) for t in templates] == [False, True, False, True]
    assert (store.ids, len(store)) == (["b", "c"], 2)
    assert set(store.identify(PROBES, 9).ids.ravel()) == {"b", "c"}
    for use in (store.verify, store.score_claims):
        with pytest.raises(KeyError, match="1 of the ids are not enrolled, such as 'a'"):
            use(["b", "a"], PROBES[:2])
    with pytest.raises(KeyError, match="'a' is not enrolled"):
        store.revoke("a")
    store.revoke("b")
    store.revoke("c")
    with pytest.raises(ValueError, match="No id is enrolled"):
        store.identify(PROBES)
    store.enrol(["a"], X_held[:1])
    assert store.identify(PROBES).ids.tolist() == [["a"]] * len(PROBES)


@in_both
def test_refresh_embeds_only_what_is_new(store, monkeypatch):
    embedded = []

    def embed(generator, images):
        embedded.append(len(images))
        return embed_templates(generator, images)

    monkeypatch.setattr("skdistort.templates._eight_bit.embed_templates", embed)
    store.enrol(names(7), X_held[:7])
    store.identify(PROBES)
    store.identify(PROBES)
    store.enrol(["another", "one"], X_held[7:9])
    store.revoke("subject 3")
    assert "subject 3" not in store.identify(PROBES, 8).ids
    # Each once, when it is enrolled.
    assert embedded == [7, 2]


@in_both
def test_reads_templates_in_blocks(generator, store, path, monkeypatch):
    store.enrol(names(9), X_held[:9])
    expected = store.identify(PROBES, 9)
    monkeypatch.setattr("skdistort.templates._cache.BLOCK", 4)
    with TemplateStore(generator, path) as other:
        found = other.identify(PROBES, 9)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_sees_what_other_processes_commit(generator, store, path):
    store.enrol(["a"], X_held[:1])
    assert store.identify(PROBES, 2).ids.shape == (len(PROBES), 1)
    template = make_templates(generator, X_held[1:2])
    embedding = embed_templates(generator, template).tobytes().hex()
    script = (
        "import sys; from skdistort.templates._database import TemplateDatabase\n"
        "template, embedding = map(bytes.fromhex, sys.argv[2:])\n"
        "database = TemplateDatabase(sys.argv[1])\n"
        "database.add([('b', template, b'', embedding)]); database.remove('a')"
    )
    command = [sys.executable, "-c", script, str(path), template.tobytes().hex(), embedding]
    subprocess.run(command, check=True)
    assert store.identify(PROBES, 2).ids.tolist() == [["b"]] * len(PROBES)
    assert store.ids == ["b"]


def test_store_belongs_to_one_generator(generator, store, path):
    restored = pickle.loads(pickle.dumps(generator))
    assert generator_fingerprint(restored) == generator_fingerprint(generator)
    TemplateStore(restored, path).close()
    for network in ("network_", "embedder_"):
        other = pickle.loads(pickle.dumps(generator))
        getattr(other, network).weights[0] = getattr(other, network).weights[0] + np.float32(1e-6)
        with pytest.raises(ValueError, match="belongs to another generator"):
            TemplateStore(other, path)
    other = pickle.loads(pickle.dumps(generator))
    other.pixel_range_ = (0.0, 17.0)
    with pytest.raises(ValueError, match="belongs to another generator"):
        TemplateStore(other, path)


def test_refuses_a_file_of_embeddings(generator, path):
    EmbeddingStore(None, path, **WEAK).close()
    with pytest.raises(ValueError, match="belongs to another generator"):
        TemplateStore(generator, path)


def test_rounding_costs_little(generator, monkeypatch):
    embedded = []

    def embed(generator, templates):
        embedded.append(templates)
        return embed_templates(generator, templates)

    monkeypatch.setattr("skdistort.templates._eight_bit.embed_templates", embed)
    as_float, rounded, none = storage_error_rates(generator, X_held, y_held)
    probes, enrolled = generator.embed(X_held), generator.embed(generator.transform(X_held))
    pairs = pair_scores(probes, y_held, enrolled, y_held, exclude_same_index=True)
    assert as_float == pytest.approx(equal_error_rate(*pairs)[0], abs=1e-9)
    assert rounded == pytest.approx(as_float, abs=0.01)
    assert [templates.dtype for templates in embedded] == [np.uint8]
    np.testing.assert_array_equal(embedded[0], make_templates(generator, X_held))
    assert none is None


def test_error_rate_of_compressed_templates(generator):
    rates = storage_error_rates(generator, X_held, y_held, jpeg_quality=20)
    assert rates[:2] == storage_error_rates(generator, X_held, y_held)[:2]
    kept = np.rint(generator.transform(X_held) * 255 / 16).astype(np.uint8)
    compressed = recompress(kept.reshape(-1, 8, 8, 1), 20).reshape(len(kept), -1)
    pairs = pair_scores(
        generator.embed(X_held),
        y_held,
        generator.embed(compressed * np.float32(16 / 255)),
        y_held,
        exclude_same_index=True,
    )
    assert rates.as_jpeg == pytest.approx(equal_error_rate(*pairs)[0], abs=1e-3)
    assert abs(rates.as_jpeg - rates.as_bytes) > 1e-3
    for quality in (0, 101):
        with pytest.raises(ValueError, match="jpeg_quality must be from 1 to 100"):
            storage_error_rates(generator, X_held, y_held, jpeg_quality=quality)


@pytest.mark.parametrize("channels", [1, 3])
def test_compression_keeps_smooth_images(channels):
    ramp = np.linspace(40, 200, 16).astype(np.uint8)
    images = np.broadcast_to(ramp[:, None, None], (2, 16, 16, channels)).copy()
    images[1] = images[1, ::-1]
    found = recompress(images, 90)
    assert found.shape == images.shape
    assert np.abs(found.astype(int) - images).max() < 8
    with pytest.raises(ValueError, match="1 or 3 channels, got 2"):
        recompress(np.zeros((1, 4, 4, 2), dtype=np.uint8), 90)


def test_refuses_bad_generators(path):
    with pytest.raises(TypeError, match="must be a DistortionGenerator, got TripletEmbedder"):
        TemplateStore(TripletEmbedder(), path)
    with pytest.raises(NotFittedError):
        TemplateStore(DistortionGenerator(), path)
    assert not path.exists()


def test_refuses_bad_ids_and_images(store):
    store.calibrate_threshold(X_held, y_held)
    for method in (store.enrol, store.verify, store.score_claims):
        with pytest.raises(TypeError, match="got a single str"):
            method("ada", X_held[:3])
        with pytest.raises(TypeError, match="an id must be a str, got 7 of type int"):
            method(["a", 7], X_held[:2])
        with pytest.raises(ValueError, match="ids has 1 entries for 2 images"):
            method(["a"], X_held[:2])
        with pytest.raises(ValueError, match="63 features"):
            method(["a"], X_held[:1, :63])
        with pytest.raises(ValueError, match="images of shape"):
            method(["a"], X_held[:1].reshape(1, 4, 16))
    with pytest.raises(TypeError, match="id must be a str, got 7"):
        store.revoke(7)
    assert store.ids == []
    for k in (0, 1.5, "1"):
        with pytest.raises(ValueError, match="k must be a positive integer"):
            store.identify(PROBES, k)
    with pytest.raises(ValueError, match="strategy must be"):
        store.calibrate_threshold(X_held, y_held, strategy="best")
    for target in (-0.1, 1.1, None):
        with pytest.raises(ValueError, match="target_fmr must be in"):
            store.calibrate_threshold(X_held, y_held, strategy="fmr", target_fmr=target)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        store.calibrate_threshold(X_held, y_held[:-1])


@in_both
def test_refuses_ids_that_no_file_can_hold(generator, store):
    for use in (store.enrol, store.verify, store.score_claims):
        with pytest.raises(ValueError, match="text that UTF-8 can hold") as refusal:
            use(["\ud800"], X_held[:1])
        assert not isinstance(refusal.value, UnicodeError)
    with pytest.raises(ValueError, match="text that UTF-8 can hold"):
        store.revoke("\udfff")
    store.enrol(["\ue000 \U0001f600"], X_held[:1])
    assert store.ids == ["\ue000 \U0001f600"]


@in_both
def test_refuses_decisions_without_a_threshold_and_after_closing(generator, path):
    store = TemplateStore(generator, path)
    store.enrol(["a"], X_held[:1])
    with pytest.raises(NotFittedError, match="no threshold: call calibrate_threshold"):
        store.verify(["a"], X_held[:1])
    with pytest.raises(NotFittedError, match="no threshold: call calibrate_threshold"):
        store.threshold_  # noqa: B018
    store.close()
    store.close()
    with pytest.raises(ValueError, match="closed"):
        store.identify(X_held[:1])
    with pytest.raises(ValueError, match="closed"):
        len(store)


def test_tells_of_templates_of_another_size_and_of_missing_ones(store, path):
    store.enrol(["a", "b"], X_held[:2])
    database = TemplateDatabase(path)
    database.add([("c", bytes(64), b"", b"short")])
    for use in (lambda: store.identify(PROBES), lambda: store.score_claims(["c"], PROBES[:1])):
        with pytest.raises(ValueError, match="must have 40 bytes, one has 5"):
            use()
    database.remove("c")
    database.add([("c", bytes(64), b"", np.full(10, np.nan, "<f4").tobytes())])
    with pytest.raises(ValueError, match="embedding of a template is not finite"):
        store.score_claims(["c"], PROBES[:1])
    database.remove("c")
    attack(path, ("DELETE FROM contents WHERE number = 2", ()))
    for use in (lambda: store.identify(PROBES), lambda: store.score_claims(["b"], PROBES[:1])):
        with pytest.raises(ValueError, match="template 2 is not what was written"):
            use()
    database.close()


@in_both
def test_random_bytes_of_a_revocation_leave_the_log(store, path):
    """Templates are like one another; of random ones no part may be left."""
    image = random.Random(0).randbytes(64)
    database = TemplateDatabase(path)
    database.add([("random", image)])
    store.revoke("random")
    data = bytes_on_disk(path)
    assert not any(image[i : i + 16] in data for i in range(48))
    database.close()
