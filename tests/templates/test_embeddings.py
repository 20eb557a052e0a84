"""EmbeddingStore: what is on the disk, several utterances, keys, encoders, refusals."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

from skdistort import SiameseVerifier
from skdistort.fusion import ScoreFusion
from skdistort.keys import rotate_embeddings
from skdistort.metrics import equal_error_rate, pair_scores
from skdistort.persistence._fingerprint import Fingerprint
from skdistort.template_baselines import (
    BioHashing,
    IoMHashing,
    MLPHash,
    PolyProtect,
    hamming_similarity,
)
from skdistort.templates import EmbeddingStore, TemplateDatabase

pytestmark = pytest.mark.usefixtures("settled_salts")

ADA, BOB, NEW = (bytes(range(first, first + 16)) for first in (10, 40, 80))
FAST = {"key_cost": 1, "key": ADA}
HASHES = [BioHashing(16), MLPHash(24), IoMHashing(40, n_projections=4), PolyProtect(2)]
IDS = [scheme.__class__.__name__ for scheme in HASHES]


def people(n_people, n_each, seed=0, spread=0.8, d=32):
    """Draw embeddings of people who were never seen before, around a place for each."""
    rng = np.random.default_rng([seed, n_people])
    y = np.repeat(np.arange(n_people), n_each)
    Z = rng.standard_normal((n_people, d))[y] + spread * rng.standard_normal((len(y), d))
    return Z.astype(np.float32), y


def unit(Z):
    return Z / np.linalg.norm(Z, axis=-1, keepdims=True)


Z, y = people(12, 8)
HELD, Y_HELD = people(40, 6, seed=1)
NAMES = [f"person {i}" for i in y]
FIRST = [i for i in range(len(y)) if i % 8 < 3]
LAST = [i for i in range(len(y)) if i % 8 >= 3]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "voices.db"


@pytest.fixture
def store(path):
    with EmbeddingStore(None, path, **FAST) as store:
        yield store


def enrol_first(store, **options):
    store.enrol([NAMES[i] for i in FIRST], Z[FIRST], **options)


def means():
    return unit(np.array([unit(Z[np.array(FIRST)[y[FIRST] == i]]).mean(axis=0) for i in range(12)]))


def bytes_on_disk(path):
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(path.name + "*")))


def kept(path):
    database = TemplateDatabase(path, read_only=True)
    rows = database.read_embeddings_after(0, 999)
    database.close()
    return rows


def test_rotation_changes_no_score(store, path):
    enrol_first(store)
    expected = unit(Z[LAST]) @ means().T
    claimed = store.score_claims([NAMES[i] for i in LAST], Z[LAST])
    np.testing.assert_allclose(claimed, expected[np.arange(len(LAST)), y[LAST]], atol=1e-6)
    ids, scores = store.identify(Z[LAST], 3)
    np.testing.assert_allclose(scores, -np.sort(-expected, axis=1)[:, :3], atol=1e-6)
    order = np.argsort(-expected, axis=1)[:, :3]
    assert ids.tolist() == [[f"person {i}" for i in row] for row in order]
    assert (ids[:, 0] == [NAMES[i] for i in LAST]).mean() > 0.9


def test_a_rotated_embedding_is_not_in_the_file(store, path):
    enrol_first(store)
    store.calibrate_threshold(HELD, Y_HELD)
    data = bytes_on_disk(path)
    blobs = [row[3] for row in kept(path)]
    assert all(blob in data for blob in blobs)
    for rows in (Z, unit(Z), HELD, unit(HELD), rotate_embeddings(unit(Z), ADA)):
        assert not any(row.astype(t).tobytes()[:16] in data for row in rows for t in "fd")
    cosines = np.einsum(
        "ij,ij->i", unit(Z[FIRST]), np.array([np.frombuffer(b, "<f4") for b in blobs])
    )
    assert np.abs(cosines).mean() < 0.3


def test_embeddings_in_clear_are_said_to_be_so(path):
    with pytest.warns(UserWarning, match="voices.db keeps embeddings in clear: whoever reads it"):
        store = EmbeddingStore(None, path, protection=None, key_cost=1)
    with store:
        enrol_first(store)
        np.testing.assert_allclose(np.frombuffer(kept(path)[0][3], "<f4"), unit(Z[0]), atol=1e-6)
        claimed = store.score_claims([NAMES[i] for i in LAST], Z[LAST])
        expected = (unit(Z[LAST]) @ means().T)[np.arange(len(LAST)), y[LAST]]
        np.testing.assert_allclose(claimed, expected, atol=1e-6)
        with pytest.raises(ValueError, match="under no key"):
            store.score_claims(["person 0"], Z[:1], keys=ADA)
        with pytest.raises(ValueError, match="keeps none: enrol its people anew"):
            store.rotate(None, NEW)
    with pytest.raises(ValueError, match="are under no key; got one"):
        EmbeddingStore(None, path, protection=None, key=ADA)


@pytest.mark.parametrize("scheme", HASHES, ids=IDS)
def test_hashes_are_compared_as_their_papers_do(path, scheme):
    with EmbeddingStore(None, path, protection=scheme, **FAST) as store:
        store.enrol(["ada"], Z[:1])
        score = store.score_claims(["ada"], Z[1:2])[0]
        np.testing.assert_allclose(store.identify(Z[1:2]).scores, [[score]], atol=1e-6)
        enrolled = np.frombuffer(kept(path)[0][3], "<f4")
        store.enrol(["probe"], Z[1:2])
        probe = np.frombuffer(kept(path)[1][3], "<f4")
        assert not any(row.tobytes()[:16] in bytes_on_disk(path) for row in (Z[0], unit(Z[0])))
        if isinstance(scheme, PolyProtect):
            assert score == pytest.approx(unit(enrolled) @ unit(probe), abs=1e-6)
        else:
            agree = hamming_similarity(enrolled[None], probe[None])[0, 0]
            expected = agree if isinstance(scheme, IoMHashing) else 2 * agree - 1
            assert score == pytest.approx(expected, abs=1e-6)
            np.testing.assert_array_equal(enrolled, enrolled.astype(int))
        with pytest.raises(ValueError, match=f"keeps {type(scheme).__name__}.*enrol its people an"):
            store.rotate(None, NEW)
    with pytest.raises(ValueError, match=rf"protection {type(scheme).__name__}\(.*, not rotation"):
        EmbeddingStore(None, path, **FAST)


@pytest.mark.parametrize("protection", ["rotation", IoMHashing(100)], ids=["rotation", "hash"])
def test_several_utterances_are_decided_by_their_own_threshold(path, protection):
    with EmbeddingStore(None, path, protection=protection, **FAST) as store:
        store.calibrate_threshold(HELD, Y_HELD, strategy="fmr", target_fmr=0.02)
        assert list(store.thresholds_)[:6] == [1, 2, 3, 4, 5, 10]
    X_new, y_new = people(40, 8, seed=2)
    with EmbeddingStore(None, path, protection=protection, **FAST) as store:
        missed = {}
        for n in (1, 3):
            rows = [i for i in range(len(y_new)) if i % 8 < n]
            store.enrol([f"{n}, {y_new[i]}" for i in rows], X_new[rows])
            probes = [i for i in range(len(y_new)) if i % 8 >= 4]
            claims = [
                (p, i) for p in range(40) for i in probes if i % 11 == p % 11 or y_new[i] == p
            ]
            claimed, rows = np.array(claims).T
            accepted = store.verify([f"{n}, {p}" for p in claimed], X_new[rows])
            own = claimed == y_new[rows]
            assert 0.002 < accepted[~own].mean() < 0.06
            missed[n] = 1 - accepted[own].mean()
        assert missed[3] < missed[1]


def test_the_threshold_for_one_is_that_of_all_pairs(store):
    with pytest.raises(NotFittedError, match="EmbeddingStore has no threshold"):
        store.verify(["a"], Z[:1])
    assert not hasattr(store, "threshold_")
    assert store.calibrate_threshold(HELD, Y_HELD) is store
    pairs = pair_scores(unit(HELD), Y_HELD, unit(HELD), Y_HELD, exclude_same_index=True)
    # Negative squared distances of vectors of unit length.
    assert store.threshold_ == pytest.approx(1 + equal_error_rate(*pairs)[1] / 2, abs=1e-5)
    store.enrol(["ada", "eve"], HELD[[0, 12]])
    accepted = store.verify(["ada", "eve", "eve"], HELD[[1, 13, 0]])
    scores = store.score_claims(["ada", "eve", "eve"], HELD[[1, 13, 0]])
    np.testing.assert_array_equal(accepted, scores >= store.threshold_)


def test_probabilities_are_kept_and_are_those_of_logistic_regression(store, path):
    enrol_first(store)
    with pytest.raises(NotFittedError, match="not calibrated: call calibrate_probability"):
        store.verify_proba(["person 0"], Z[:1])
    assert store.calibrate_probability(HELD, Y_HELD, prior=0.1) is store
    one = unit(HELD) @ unit(HELD).T
    pairs = ~np.eye(len(HELD), dtype=bool)
    genuine = (Y_HELD[:, None] == Y_HELD)[pairs]
    line = ScoreFusion("logistic", prior=0.1).fit(one[pairs][:, None], genuine)
    store.enrol(["alone"], Z[:1])
    with EmbeddingStore(None, path, read_only=True, **FAST) as other:
        scores = other.score_claims(["alone"] * 3, Z[:3])
        found = other.verify_proba(["alone"] * 3, Z[:3])
        np.testing.assert_allclose(found, line.predict_proba(scores[:, None])[:, 1], rtol=1e-3)
        # Of three utterances the same cosine says less.
        own = other.verify_proba([NAMES[i] for i in LAST], Z[LAST])
        strangers = other.verify_proba([NAMES[i - 8] for i in LAST], Z[LAST])
    assert own.mean() > 0.8
    assert strangers.mean() < 0.1
    assert store.verify_proba(["alone"], Z[:1], keys=BOB).tolist() == [0.0]


def test_each_number_of_embeddings_has_its_own_threshold_and_line(store):
    store.enrol(["one", "two", "two", *["five"] * 5], Z[[0, 0, 1, 0, 1, 2, 3, 4]])
    ids, probes = ["one", "two", "five"], Z[[0, 0, 0]]
    store._database.put("thresholds", '{"1": -1.0, "2": 0.999, "4": 0.9999}')
    assert store.verify(ids, probes).tolist() == [True, False, False]
    store._database.put("thresholds", '{"1": -1.0, "2": -1.0, "8": -1.0}')
    assert store.verify(ids, probes).all()
    store._database.put("probabilities", '{"prior": 0.5, "lines": [[0, 0], [0, 3]]}')
    # The last line serves for more.
    np.testing.assert_allclose(store.verify_proba(ids, probes), [0.5, 0.9526, 0.9526], atol=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "{}",
        '{"prior": 2, "lines": [[1, 0]]}',
        '{"prior": 0.5, "lines": []}',
        '{"prior": 0.5, "lines": [[1, NaN]]}',
        '{"prior": 0.5, "lines": [[1]]}',
    ],
)
def test_probabilities_that_are_none_tell_of_damage(store, path, text):
    enrol_first(store)
    store._database.put("probabilities", text)
    with pytest.raises(ValueError, match="is damaged: its probabilities are none"):
        store.verify_proba(["person 0"], Z[:1])


def test_only_what_is_under_the_claimed_key_is_compared(store):
    store.calibrate_threshold(HELD, Y_HELD)
    store.enrol(["ada", "ada", "bob"], Z[[0, 1, 8]], keys=[ADA, BOB, BOB])
    scores = store.score_claims(["ada", "ada", "bob", "bob"], Z[[0, 1, 8, 8]], [ADA, BOB, BOB, ADA])
    np.testing.assert_allclose(scores, [1, 1, 1, -np.inf], atol=1e-6)
    assert store.verify(["bob", "ada"], Z[[8, 0]], keys=NEW).tolist() == [False, False]
    found = store.identify(Z[[8, 0, 0]], 3, keys=[BOB, ADA, NEW])
    assert found.ids.tolist() == [["bob", "ada"], ["ada", None], [None, None]]
    assert found.scores[2].tolist() == [-np.inf] * 2
    # What is under one key cannot be told from chance under another.
    (_, _, _, first), (_, _, _, second), _ = store._database.read_embeddings_after(0, 9)
    assert abs(np.frombuffer(first, "<f4") @ np.frombuffer(second, "<f4")) < 0.6


def test_rotation_to_a_new_key_loses_nothing(store, path):
    enrol_first(store)
    claims = [NAMES[i] for i in LAST], Z[LAST]
    before, blobs = store.score_claims(*claims), [row[3] for row in kept(path)]
    assert store.rotate("person 3", NEW) == 3
    assert store.rotate(None, NEW) == 33
    assert store.rotate(None, BOB) == 0
    np.testing.assert_allclose(store.score_claims(*claims, keys=NEW), before, atol=1e-5)
    assert set(store.score_claims(*claims)) == {-np.inf}
    data = bytes_on_disk(path)
    assert not any(blob in data for blob in blobs)
    with pytest.raises(KeyError, match="'person 3' has no embedding under this key"):
        store.rotate("person 3", BOB)
    with pytest.raises(ValueError, match="new_key is the key"):
        store.rotate(None, ADA)


def test_revoked_embeddings_are_gone(store, path):
    enrol_first(store)
    blobs = [row[3] for row in kept(path)]
    store.revoke("person 0")
    data = bytes_on_disk(path)
    assert [blob in data for blob in blobs] == [False] * 3 + [True] * 33
    assert (len(store), len(store.ids)) == (11, 11)
    assert "person 0" not in store.identify(Z[:9], 11).ids
    for use in (
        lambda: store.revoke("person 0"),
        lambda: store.score_claims(["person 0"], Z[:1]),
    ):
        with pytest.raises(KeyError, match="not enrolled"):
            use()


def test_means_follow_what_is_enrolled(store, path):
    store.enrol(["ada"], Z[:1])
    first = store.identify(Z[:1]).scores[0, 0]
    with pytest.raises(ValueError, match="'ada' is enrolled already"):
        store.enrol(["ada"], Z[1:2])
    with EmbeddingStore(None, path, **FAST) as other:
        other.enrol(["ada"], Z[1:2], add_to_existing=True)
    second = store.identify(Z[:1]).scores[0, 0]
    assert second == pytest.approx(store.score_claims(["ada"], Z[:1])[0], abs=1e-6)
    assert second < first - 0.01
    n_changes = store.n_changes
    store.revoke("ada")
    assert store.n_changes == n_changes + 1
    with pytest.raises(ValueError, match="No id is enrolled"):
        store.identify(Z[:1])


X_DIGITS, Y_DIGITS = load_digits(return_X_y=True)


def make_encoder():
    steps = StandardScaler(with_std=False), PCA(16, random_state=0), Normalizer()
    return make_pipeline(*steps).fit(X_DIGITS[:500])


def test_a_store_belongs_to_its_encoder(path):
    encoder = make_encoder()
    with EmbeddingStore(encoder, path, **FAST) as store:
        store.calibrate_threshold(X_DIGITS[500:700], Y_DIGITS[500:700])
        store.enrol([f"digit {i}" for i in range(10)], X_DIGITS[700:710])
        ids = store.identify(X_DIGITS[700:710]).ids[:, 0]
        assert ids.tolist() == [f"digit {i}" for i in range(10)]
        expected = encoder.transform(X_DIGITS[700:720])
        scores = store.score_claims(["digit 0"] * 20, X_DIGITS[700:720])
        np.testing.assert_allclose(scores, unit(expected) @ unit(expected[0]), atol=1e-6)
    restored = pickle.loads(pickle.dumps(encoder))
    restored.set_params(pca__random_state=1, verbose=False)
    with EmbeddingStore(restored, path, **FAST) as store:
        assert store.verify(["digit 0"], X_DIGITS[700:701]).all()
        restored[1].fit(X_DIGITS[:400])
        for use in (
            lambda: store.verify(["digit 0"], X_DIGITS[700:701]),
            lambda: store.enrol(["new"], X_DIGITS[:1]),
            lambda: store.identify(X_DIGITS[:1]),
            lambda: store.rotate(None, NEW),
            lambda: store.calibrate_threshold(X_DIGITS[500:700], Y_DIGITS[500:700]),
        ):
            with pytest.raises(ValueError, match="belongs to another encoder.*fitted again"):
                use()
    for other in (restored, None, make_encoder().set_params(pca__whiten=True)):
        with pytest.raises(ValueError, match="belongs to another encoder"):
            EmbeddingStore(other, path, **FAST)


def test_the_fingerprint_of_an_encoder_is_of_what_embeddings_depend_on():
    encoder = make_encoder()
    name = Fingerprint(encoder, "encoder")()
    same = pickle.loads(pickle.dumps(encoder))
    same.threshold_ = 7.0
    same[1].random_state = np.random.RandomState(3)
    assert Fingerprint(same, "encoder")() == name
    for change in (
        lambda other: other[1].components_.__setitem__((0, 0), 1.0),
        lambda other: setattr(other[0], "mean_", other[0].mean_.astype(np.float32)),
        lambda other: other.set_params(normalizer__norm="l1"),
        lambda other: other.steps.pop(),
    ):
        other = pickle.loads(pickle.dumps(encoder))
        change(other)
        assert Fingerprint(other, "encoder")() != name


def test_a_network_encodes(path):
    small = {"epochs": 1, "filters": (4,), "hidden_units": 8, "n_components": 8, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = SiameseVerifier(**small).fit(X_DIGITS[:200])
    with EmbeddingStore(network, path, **FAST) as store:
        network.set_params(batch_size=7)
        network.calibrate_threshold(X_DIGITS[200:260], Y_DIGITS[200:260])
        store.enrol(["a", "a", "b"], X_DIGITS[[700, 710, 701]])
        expected = network.score_models(X_DIGITS[[700, 710]], [0, 0], X_DIGITS[720:725])[0]
        np.testing.assert_allclose(
            store.score_claims(["a"] * 5, X_DIGITS[720:725]), expected, atol=1e-5
        )
        with pytest.raises(ValueError, match="other units"):
            store.score_claims(["a"], X_DIGITS[720:721] * 255)
    network.head_ = network.network_
    with pytest.raises(ValueError, match="'double' are compared by its head"):
        EmbeddingStore(network, path, **FAST)


def test_refuses_encoders_that_are_none(path):
    with pytest.raises(TypeError, match="encoder must have transform, got str"):
        EmbeddingStore("encoder", path, **FAST)
    with pytest.raises(NotFittedError):
        EmbeddingStore(PCA(), path, **FAST)
    with pytest.raises(TypeError, match="cannot be told from another one: encoder.func"):
        EmbeddingStore(FunctionTransformer(np.sqrt).fit(Z), path, **FAST)
    for protection in ("hash", PCA(), 7):
        with pytest.raises(TypeError, match="protection must be 'rotation', None or one of"):
            EmbeddingStore(None, path, protection=protection, **FAST)
    assert not path.exists()


def test_refuses_a_file_of_templates(path):
    TemplateDatabase(path).put("generator", 64 * "a")
    with pytest.raises(ValueError, match="is the file of a TemplateStore"):
        EmbeddingStore(None, path, **FAST)


def test_refuses_samples_ids_and_keys_that_cannot_be_meant(store, path):
    store.calibrate_threshold(HELD, Y_HELD)
    for method in (store.enrol, store.verify, store.score_claims):
        with pytest.raises(TypeError, match="got a single str"):
            method("ada", Z[:3])
        with pytest.raises(ValueError, match="ids has 1 entries for 2 samples"):
            method(["a"], Z[:2])
        with pytest.raises(ValueError, match="Sample 1 has an embedding of length 0"):
            method(["a", "b"], np.stack([Z[0], 0 * Z[0]]))
        with pytest.raises(ValueError, match="contains NaN"):
            method(["a"], np.nan * Z[:1])
        with pytest.raises(ValueError, match="31 components .* keeps 32: are they of another enc"):
            method(["a"], Z[:1, :31])
        with pytest.raises(ValueError, match="A key is easily guessed"):
            method(["a"], Z[:1], keys=7)
    assert store.ids == []
    with pytest.raises(ValueError, match="k must be a positive integer"):
        store.identify(Z, 0)
    with pytest.raises(ValueError, match="strategy must be"):
        store.calibrate_threshold(HELD, Y_HELD, strategy="best")
    with EmbeddingStore(None, path, key_cost=1) as keyless:
        with pytest.raises(ValueError, match="give keys with the call, or the store a key"):
            keyless.enrol(["a"], Z[:1])
        keyless.enrol(["a"], Z[:1], keys=ADA)
    assert store.verify(["a"], Z[:1]).all()


def test_hooks_seals_and_reading_only_are_those_of_all_stores(path):
    seen, mac_key = [], bytes(range(16))
    sealed = {**FAST, "mac_key": mac_key}
    with EmbeddingStore(None, path, on_attempt=seen.append, **sealed) as store:
        store.calibrate_threshold(HELD, Y_HELD)
        store.calibrate_probability(HELD, Y_HELD)
        store.enrol(["ada"], Z[:1])
        for method in (store.verify, store.verify_proba, store.score_claims):
            method(["ada"], Z[:1])
        store.identify(Z[:1])
    assert seen == [["ada"]] * 3 + [None]
    with pytest.raises(ValueError, match="sealed with another mac_key"):
        EmbeddingStore(None, path, **FAST)
    with pytest.raises(TypeError, match="on_attempt must be callable"):
        EmbeddingStore(None, path, on_attempt=7, **sealed)
    with EmbeddingStore(None, path, read_only=True, **sealed) as store:
        assert store.verify(["ada"], Z[:1]).all()
        for change in (
            lambda: store.enrol(["eve"], Z[:1]),
            lambda: store.revoke("ada"),
            lambda: store.rotate(None, NEW),
            lambda: store.calibrate_threshold(HELD, Y_HELD),
            lambda: store.calibrate_probability(HELD, Y_HELD),
        ):
            with pytest.raises(OSError, match="open for reading only"):
                change()
    store.close()
    with pytest.raises(ValueError, match="closed"):
        store.verify(["ada"], Z[:1])


def test_a_row_that_was_changed_is_not_compared(store):
    store.enrol(["ada", "bob"], Z[[0, 8]])
    store._database.add([("eve", b"", store._database.read_embeddings_of("ada")[0][0], b"short")])
    with pytest.raises(ValueError, match="must have 128 bytes, one has 5"):
        store.score_claims(["eve"], Z[:1])
    with pytest.raises(ValueError, match="must have 128 bytes, one has 5"):
        store.identify(Z[:1])
