"""What a store decides for whom: keys that are claimed, ids that exist, renewals, attempts."""

import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from support.stores import attack, in_both

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.distortion import _refinement
from skdistort.exceptions import RenewalError
from skdistort.keys import key_rotation
from skdistort.metrics import equal_error_rate, pair_scores
from skdistort.templates import TemplateDatabase, TemplateStore, renewal_error_rates
from skdistort.templates._eight_bit import embed_templates, make_templates

pytestmark = [
    pytest.mark.usefixtures("settled_salts"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

X, y = load_digits(return_X_y=True)
X = X.astype(np.float32)
X_held, y_held = X[400:520], y[400:520]
ADA, BOB, NEW = (bytes(range(first, first + 16)) for first in (10, 40, 80))
FAST = {"key_cost": 1}


@pytest.fixture(scope="module")
def keyed():
    small = {"epochs": 2, "filters": (8,), "learning_rate": 5e-3, "random_state": 0}
    embedder = TripletEmbedder(6, **small).fit(X[:400], y[:400])
    return DistortionGenerator(
        FrozenEstimator(embedder),
        architecture="bottleneck",
        key=ADA,
        refinement_steps=40,
        **small,
    ).fit(X[:400])


@pytest.fixture
def store(keyed, path):
    with TemplateStore(keyed, path, **FAST) as store:
        yield store


def test_only_templates_under_the_claimed_key_are_compared(store):
    store.calibrate_threshold(X_held, y_held)
    store.enrol(["ada", "ada", "bob"], X_held[[0, 1, 2]], keys=[ADA, BOB, BOB])
    assert store.verify(["ada", "ada", "bob"], X_held[:3], keys=[ADA, BOB, BOB]).all()
    scores = store.score_claims(["ada", "ada", "bob"], X_held[:3], keys=[BOB, ADA, BOB])
    both = store.score_claims(["ada", "ada"], X_held[:2])
    assert scores[1] == both[1]
    assert np.isfinite(scores).all()
    # Of somebody who has the very image, and another key.
    assert store.score_claims(["bob", "ada"], X_held[[2, 0]], keys=[ADA, NEW]).tolist() == [
        -np.inf,
        -np.inf,
    ]
    assert not store.verify(["bob", "ada"], X_held[[2, 0]], keys=[ADA, NEW]).any()


def test_a_key_that_was_searched_for_opens_nothing(keyed, path):
    """Case B1: with the file and one's own face, look for the key that makes them meet."""
    with TemplateStore(keyed, path, allow_weak_keys=True, **FAST) as store:
        store.calibrate_threshold(X_held, y_held, strategy="fmr", target_fmr=0.01)
        victims = [f"victim {i}" for i in range(10)]
        secrets = list(range(5000, 5010))
        store.enrol(victims, X_held[:10], keys=secrets)
        stored = [row[-1] for row in store._database.read_embeddings_after(0, 99)]
        stored = np.array([np.frombuffer(blob, "<f4") for blob in stored])
        own = X_held[50:51]
        e = keyed.embed(own)[0]
        tried = np.array([key_rotation(j, len(e)) @ e for j in range(1000)])
        nearest = np.square(stored[:, None] - tried[None]).sum(-1).argmin(axis=1)
        probes = own.repeat(10, axis=0)
        assert not store.verify(victims, probes, keys=nearest.tolist()).any()
        assert store.verify(victims, X_held[:10], keys=secrets).mean() > 0.8


@in_both
def test_searches_look_under_the_claimed_key_only(store):
    ids = [f"{i}" for i in range(6)]
    store.enrol(ids, X_held[:6], keys=[ADA, ADA, BOB, ADA, BOB, ADA])
    found, scores = store.identify(X_held[:4], 3, keys=[ADA, BOB, NEW, ADA])
    assert set(found[0]) | set(found[3]) <= {"0", "1", "3", "5"}
    assert set(found[1]) == {"2", "4", None}
    assert found[2].tolist() == [None] * 3
    assert scores[2].tolist() == [-np.inf] * 3
    assert found[0, 0] == "0"
    assert found[3, 0] == "3"
    alone = store.identify(X_held[3:4], 3)
    np.testing.assert_array_equal(alone.ids, found[3:])
    np.testing.assert_allclose(alone.scores, scores[3:], atol=1e-5)
    claimed = store.score_claims(list(found[0]), X_held[[0, 0, 0]])
    np.testing.assert_allclose(claimed, scores[0], atol=1e-5)
    store.rotate("0", NEW)
    assert store.identify(X_held[:1], 9, keys=NEW).ids.tolist() == [["0"]]


def test_one_key_in_two_stores_makes_templates_that_do_not_link(keyed, store, tmp_path):
    with TemplateStore(keyed, tmp_path / "other.db", **FAST) as other:
        for bank in (store, other):
            bank.enrol([str(i) for i in range(20)], X_held[:20])
        ours, theirs = (
            np.array([np.frombuffer(row[-1], "<f4") for row in rows])
            for rows in (bank._database.read_embeddings_after(0, 99) for bank in (store, other))
        )
        checks = [
            {row[2] for row in bank._database.read_embeddings_after(0, 99)}
            for bank in (store, other)
        ]
    # 2 between random directions, whatever salts the files drew; 0 under one rotation.
    assert np.square(ours - theirs).sum(axis=1).mean() > 0.4
    assert checks[0].isdisjoint(checks[1])
    # Nor are they under the key as it was given.
    plain = keyed.embed_probe(X_held[:20])
    assert np.square(ours - plain).sum(axis=1).mean() > 1


@pytest.mark.parametrize("weak", [7, b"secret", b"0" * 16, 2**95, b"abcabcabcabcabcabc", 2**200])
def test_keys_that_are_easily_guessed_are_refused_unless_asked_for(keyed, store, tmp_path, weak):
    for use in (
        lambda: store.enrol(["a"], X_held[:1], keys=weak),
        lambda: store.enrol(["a", "b"], X_held[:2], keys=[ADA, weak]),
        lambda: store.verify(["a"], X_held[:1], keys=weak),
        lambda: store.rotate(None, weak),
    ):
        store.calibrate_threshold(X_held, y_held) if not hasattr(store, "threshold_") else None
        with pytest.raises(ValueError, match="A key is easily guessed") as refusal:
            use()
        assert repr(weak) not in str(refusal.value)
    assert store.ids == []
    with TemplateStore(keyed, tmp_path / "weak.db", allow_weak_keys=True, **FAST) as lenient:
        lenient.enrol(["a"], X_held[:1], keys=weak)
        assert lenient.score_claims(["a"], X_held[:1], keys=weak) > -np.inf


def test_a_weak_key_of_the_generator_is_refused_too(keyed, path):
    weak = pickle.loads(pickle.dumps(keyed)).set_params(key=3)
    with TemplateStore(weak, path, **FAST) as store:
        with pytest.raises(ValueError, match="A key is easily guessed"):
            store.enrol(["a"], X_held[:1])
        store.enrol(["a"], X_held[:1], keys=ADA)


def test_a_file_keeps_what_a_guess_costs(keyed, path, monkeypatch):
    costs = []

    def stretch(key, salt, *, cost):
        costs.append(cost)
        return stretch_key(key, salt, cost=cost)

    from skdistort.templates._keys import stretch_key

    monkeypatch.setattr("skdistort.templates._keys.stretch_key", stretch)
    with TemplateStore(keyed, path, key_cost=2) as store:
        store.enrol(["a", "b"], X_held[:2])
    with TemplateStore(keyed, path) as store:
        for _ in range(2):
            assert (store.score_claims(["a", "b"], X_held[:2]) > -np.inf).all()
        store.enrol(["c", "d", "e"], X_held[:3], keys=[BOB, NEW, BOB])
    # Once for each key in a call; that of the generator once for an open store.
    assert costs == [2] * 4
    for cost in (0, 21, 1.5, "14"):
        with pytest.raises(ValueError, match="cost of a key must be an int from 1 to 20"):
            TemplateStore(keyed, path, key_cost=cost)


@in_both
def test_an_id_that_exists_is_enrolled_only_when_asked_for(store):
    store.enrol(["ada", "ada"], X_held[:2])
    with pytest.raises(ValueError, match="'ada' is enrolled already"):
        store.enrol(["eve", "ada"], X_held[2:4])
    assert store.ids == ["ada"]
    store.enrol(["eve", "ada"], X_held[2:4], add_to_existing=True)
    assert store.ids == ["ada", "eve"]


def test_a_generator_that_was_fitted_again_is_noticed_at_each_call(keyed, path):
    generator = pickle.loads(pickle.dumps(keyed))
    with TemplateStore(generator, path, **FAST) as store:
        store.calibrate_threshold(X_held, y_held)
        store.enrol(["ada"], X_held[:1])
        # Of the same weights, it is the same.
        generator.__dict__.update(pickle.loads(pickle.dumps(vars(generator))))
        assert store.verify(["ada"], X_held[:1]).all()
        generator.set_params(random_state=1, epochs=1).fit(X[:100])
        for use in (
            lambda: store.enrol(["eve"], X_held[:1]),
            lambda: store.verify(["ada"], X_held[:1]),
            lambda: store.score_claims(["ada"], X_held[:1]),
            lambda: store.identify(X_held[:1]),
            lambda: store.rotate(None, NEW),
            lambda: store.calibrate_threshold(X_held, y_held),
        ):
            with pytest.raises(ValueError, match="another generator.* since it was fitted again"):
                use()
        assert store.ids == ["ada"]


def test_attempts_may_be_refused_before_anything_is_compared(keyed, path, monkeypatch):
    seen = []

    def allow(ids):
        seen.append(ids)
        if ids == ["eve"] or (ids is None and len(seen) > 4):
            raise PermissionError("too many attempts")

    with TemplateStore(keyed, path, on_attempt=allow, **FAST) as store:
        store.calibrate_threshold(X_held, y_held)
        store.enrol(["ada", "eve"], X_held[:2])
        assert seen == []
        store.verify(["ada"], X_held[:1])
        store.score_claims(["ada", "eve"], X_held[:2])
        store.identify(X_held[:1])
        monkeypatch.setattr(keyed, "embed_probe", None, raising=False)
        for use in (
            lambda: store.verify(["eve"], X_held[:1]),
            lambda: store.score_claims(["eve"], X_held[:1]),
            lambda: store.identify(X_held[:1]),
        ):
            with pytest.raises(PermissionError, match="too many"):
                use()
    assert seen == [["ada"], ["ada", "eve"], None, ["eve"], ["eve"], None]


def test_a_hook_that_returns_something_is_refused(keyed, path):
    with TemplateStore(keyed, path, on_attempt=lambda ids: False, **FAST) as store:
        store.enrol(["ada"], X_held[:1])
        with pytest.raises(TypeError, match="refuses by raising, and returns None; got False"):
            store.score_claims(["ada"], X_held[:1])
    with pytest.raises(TypeError, match="on_attempt must be callable, got int"):
        TemplateStore(keyed, path, on_attempt=3)


def test_a_store_for_reading_verifies_and_changes_nothing(keyed, store, path):
    with pytest.raises(OSError, match="unable to open"):
        TemplateStore(keyed, path.with_name("none.db"), read_only=True)
    store.calibrate_threshold(X_held, y_held)
    store.enrol(["ada", "bob"], X_held[:2])
    with TemplateStore(keyed, path, read_only=True) as reader:
        assert reader.verify(["ada", "bob"], X_held[:2]).all()
        assert reader.identify(X_held[:1]).ids.tolist() == [["ada"]]
        for use in (
            lambda: reader.enrol(["eve"], X_held[:1]),
            lambda: reader.revoke("ada"),
            lambda: reader.rotate("ada", NEW),
            lambda: reader.calibrate_threshold(X_held, y_held),
        ):
            with pytest.raises(OSError, match="open for reading only"):
                use()
        store.revoke("bob")
        assert reader.ids == ["ada"]


@in_both
def test_a_sealed_store_needs_its_key_and_counts_changes(keyed, path):
    sealed = {"mac_key": bytes(range(32)), **FAST}
    with TemplateStore(keyed, path, **sealed) as store:
        store.calibrate_threshold(X_held, y_held)
        n_changes = store.n_changes
        store.enrol(["ada"], X_held[:1])
        assert store.n_changes == n_changes + 1
    for wrong in (None, bytes(16)):
        with pytest.raises(ValueError, match="sealed with another mac_key"):
            TemplateStore(keyed, path, **{**sealed, "mac_key": wrong})
    # An attacker without the key can but take and leave what is there.
    attack(path, ("DELETE FROM templates", ()))
    with pytest.raises(ValueError, match="not those that it counted"):
        TemplateStore(keyed, path, **sealed)


def test_a_threshold_that_is_none_is_refused(store, path):
    store.enrol(["ada"], X_held[:1])
    database = TemplateDatabase(path)
    for text in ('{"1": -Infinity}', '{"1": NaN}', "-0.5", "nonsense"):
        database.put("thresholds", text)
        with pytest.raises(ValueError, match="damaged"):
            store.verify(["ada"], X_held[1:2])
    database.close()


def test_a_renewed_template_that_would_not_pass_does_not_take_the_place(store, monkeypatch):
    store.enrol(["ada", "bob", "cy"], X_held[:3])
    before = store._database.read_after(0, 9)
    refine = _refinement.refine_templates

    def fails_for_the_second(embedder, templates, *args, **options):
        refined = refine(embedder, templates, *args, **options)
        refined[1] = 0.5
        return refined

    monkeypatch.setattr("skdistort.distortion._generator.refine_templates", fails_for_the_second)
    with pytest.raises(RenewalError, match="1 of 3 templates stay .* one of 'bob'") as refusal:
        store.rotate(None, NEW)
    assert refusal.value.failed == ["bob"]
    assert refusal.value.n_renewed == 2
    after = store._database.read_after(0, 9)
    assert after[0] == before[1]
    assert [subject for _, subject, _ in after] == ["bob", "ada", "cy"]
    scores = store.score_claims(["ada", "bob", "cy"], X_held[:3], keys=[NEW, ADA, NEW])
    assert scores.min() > -0.5
    # What lies beyond the threshold fails too, once there is one.
    store.calibrate_threshold(X_held, y_held)
    monkeypatch.undo()
    monkeypatch.setattr(type(store), "threshold_", -1e-9)
    with pytest.raises(RenewalError, match="lie further than 1e-09"):
        store.rotate("ada", BOB, key=NEW)
    monkeypatch.undo()
    assert store.rotate("bob", NEW) == 1


def test_error_rates_of_renewals_are_those_of_templates_renewed_one_by_one(keyed):
    rates = renewal_error_rates(keyed, X_held, y_held, n_renewals=2)
    assert rates.error_rates.shape == rates.distances.shape == (3,)
    enrolled = embed_templates(keyed, make_templates(keyed, X_held, 0))
    probes = keyed.embed_probe(X_held, 0)
    pairs = pair_scores(probes, y_held, enrolled, y_held, exclude_same_index=True)
    assert rates.error_rates[0] == pytest.approx(equal_error_rate(*pairs)[0], abs=1e-6)
    first = np.square(probes - enrolled).sum(axis=1).mean()
    assert rates.distances[0] == pytest.approx(first, rel=1e-4)
    assert rates.distances[0] < rates.distances[1] < rates.distances[2] < 1
    for n in (-1, 1.5):
        with pytest.raises(ValueError, match="n_renewals must be an int of at least 0"):
            renewal_error_rates(keyed, X_held, y_held, n_renewals=n)
