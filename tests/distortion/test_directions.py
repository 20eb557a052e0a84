"""Keys of an embedder whose embeddings lie in few of all directions."""

import pickle
import warnings

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from support.backends import properties

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.attacks import key_search_scores
from skdistort.distortion._batches import _prepare_images, indexed_batches
from skdistort.distortion._directions import filled_directions, rotate_at_random
from skdistort.distortion._training import TrainingCase
from skdistort.keys import key_rotation, rotate_embeddings
from skdistort.metrics import equal_error_rate, pair_scores
from skdistort.templates import TemplateStore, renewal_error_rates
from skdistort.templates._eight_bit import generator_fingerprint

X, y = load_digits(return_X_y=True)
X = X.astype(np.float32)
X_train, X_test, y_train, y_test = X[300:], X[:300], y[300:], y[:300]


@pytest.fixture(scope="module")
def frozen():
    embedder = TripletEmbedder(64, epochs=20, random_state=0)
    return FrozenEstimator(embedder.fit(X_train, y_train))


@pytest.fixture(scope="module")
def keyed(frozen):
    generator = DistortionGenerator(frozen, key=1, pi_emb=0.9, random_state=0)
    with warnings.catch_warnings():
        # Every template reaches what it is asked for, which without this is what fit warns of.
        warnings.simplefilter("error", ConvergenceWarning)
        return generator.fit(X_train)


def eer(probes, templates):
    return equal_error_rate(
        *pair_scores(probes, y_test, templates, y_test, exclude_same_index=True)
    )[0]


def orthonormal(rng, m):
    return np.linalg.qr(rng.standard_normal((m, m)))[0]


def test_a_key_turns_what_digits_fill_among_themselves(keyed):
    V, n_filled = keyed.directions_
    assert V.shape == (64, 64)
    assert n_filled <= 12
    plain, probes = keyed.embed(X_test), keyed.embed_probe(X_test)
    np.testing.assert_allclose(plain, keyed.embedder_.predict(X_test.reshape(-1, 8, 8, 1), 64))
    np.testing.assert_allclose(probes, plain @ key_rotation(1, 64, keyed.directions_).T, atol=1e-5)
    held = [np.sum((Z @ V[:, :n_filled]) ** 2, axis=1) for Z in (plain, probes)]
    np.testing.assert_allclose(*held, atol=1e-5)
    assert eer(probes, probes) == pytest.approx(eer(plain, plain), abs=1e-6)


def test_templates_reach_their_targets_and_renewals_too(keyed):
    rates = renewal_error_rates(keyed, X_test, y_test, n_renewals=5)
    plain = eer(keyed.embed(X_test), keyed.embed(X_test))
    assert rates.error_rates[0] < plain + 0.02
    # Turned in all directions they are 1.0 off, and five renewals leave an EER of 0.43.
    assert rates.error_rates[-1] < plain + 0.1
    assert rates.distances[0] < 0.6


def test_templates_under_two_keys_are_not_alike(keyed):
    first, second = (keyed.embed(keyed.transform(X_test, keys=key)) for key in (1, 2))
    assert eer(first, second) > 0.3
    assert eer(keyed.embed_probe(X_test, keys=2), first) > 0.3


def test_a_store_renews(keyed, tmp_path):
    ids = [f"subject {i}" for i in range(40)]
    with TemplateStore(keyed, tmp_path / "a.db", key_cost=1, allow_weak_keys=True) as store:
        store.calibrate_threshold(X_test, y_test)
        store.enrol(ids, X_test[:40], keys=5)
        before = store.verify(ids, X_test[:40], keys=5)
        assert store.rotate(None, 6, key=5) == 40
        assert store.verify(ids, X_test[:40], keys=6).mean() >= before.mean() - 0.1
        assert before.mean() > 0.9
        # A threshold of probes and templates that a key does not bring together lets all pass.
        others = y_test[:40] != y_test[40:80]
        assert store.verify(ids, X_test[40:80], keys=6)[others].mean() < 0.1


def test_what_keys_turn_belongs_to_the_generator(keyed, tmp_path):
    keyed.save(tmp_path / "generator")
    for again in (
        pickle.loads(pickle.dumps(keyed)),
        DistortionGenerator.load(tmp_path / "generator"),
    ):
        np.testing.assert_array_equal(again.directions_[0], keyed.directions_[0])
        assert again.directions_[1] == keyed.directions_[1]
        probes = again.embed_probe(X_test[:5], keys=3)
        np.testing.assert_allclose(probes, keyed.embed_probe(X_test[:5], keys=3), atol=1e-6)
        assert generator_fingerprint(again) == generator_fingerprint(keyed)
        for directions in (None, (keyed.directions_[0], 20), (-keyed.directions_[0][:, ::-1], 10)):
            again.directions_ = directions
            assert generator_fingerprint(again) != generator_fingerprint(keyed)


def test_one_who_goes_on_keeps_them(keyed):
    again = pickle.loads(pickle.dumps(keyed)).partial_fit(X_train[:64])
    np.testing.assert_array_equal(again.directions_[0], keyed.directions_[0])


def test_few_images_are_no_few_directions():
    """Of twenty images any F fills twenty directions at most; other images fill the others."""
    inputs = keras.layers.Input((8, 8, 1))
    linear = keras.layers.Dense(64, use_bias=False)
    F = keras.Model(
        inputs, keras.layers.UnitNormalization()(linear(keras.layers.Flatten()(inputs)))
    )
    F.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in F.get_weights()])
    images = np.random.default_rng(1).permuted(X_train[:20], axis=1)
    generator = DistortionGenerator(F, key=1, epochs=1, filters=(4,), random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        generator.fit(images)
    assert filled_directions(generator.embed(images)) is not None
    assert generator.directions_ is None


@pytest.mark.parametrize("params", [{}, {"key": 1, "train_embedder": True}])
def test_without_a_key_or_where_f_learns_all_are_free(frozen, params):
    generator = DistortionGenerator(frozen, epochs=1, filters=(4,), random_state=0, **params)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        generator.fit(X_train[:128], y_train[:128])
    assert generator.directions_ is None


def test_batches_that_are_never_the_same_tell_directions_too(frozen):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 10

        def __getitem__(self, index):
            return X_train[100 * index : 100 * (index + 1)].reshape(-1, 8, 8, 1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        generator = DistortionGenerator(frozen, key=1, epochs=1, random_state=0).fit(Batches())
    V, n_filled = generator.directions_
    expected, n_expected = filled_directions(generator.embed(X_train[:1000]))
    assert n_filled == n_expected
    overlap = V[:, :n_filled].T @ expected[:, :n_filled]
    np.testing.assert_allclose(overlap @ overlap.T, np.eye(n_filled), atol=0.01)
    assert np.median(generator.compare(X_test).embedding_distances) < 0.6


@pytest.mark.fast
def test_directions_are_those_that_hold_nearly_all():
    rng = np.random.default_rng(0)
    V = orthonormal(rng, 24)
    Z = rng.standard_normal((500, 24)) * np.r_[np.ones(9), np.full(15, 0.02)] @ V.T
    found, n_filled = filled_directions(np.float32(100 * Z))
    assert n_filled == 9
    np.testing.assert_allclose(found @ found.T, np.eye(24), atol=1e-10)
    # The same nine, in whatever basis.
    overlap = found[:, :9].T @ V[:, :9]
    np.testing.assert_allclose(overlap @ overlap.T, np.eye(9), atol=1e-3)
    # Twelve of twenty-four are few, thirteen are not, and seven are too few for a key.
    for n, few in ((7, False), (8, True), (12, True), (13, False)):
        Z = rng.standard_normal((500, n)) @ V[:n]
        assert (filled_directions(Z) is not None) == few


@pytest.mark.fast
@properties
@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_rotations_within_are_orthogonal_and_stay_within(key, n_first, seed):
    V = orthonormal(np.random.default_rng(seed), 9)
    R = key_rotation(key, 9, (V, n_first))
    np.testing.assert_allclose(R @ R.T, np.eye(9), atol=1e-12)
    np.testing.assert_allclose(V[:, n_first:].T @ R @ V[:, :n_first], 0, atol=1e-12)
    Z = np.random.default_rng(seed).normal(size=(4, 9)).astype(np.float32)
    rotated = rotate_embeddings(Z, key, directions=(V, n_first))
    np.testing.assert_allclose(rotated, Z @ R.T, atol=1e-5)
    again = rotate_embeddings(rotated, key, inverse=True, directions=(V, n_first))
    np.testing.assert_allclose(again, Z, atol=1e-5)


@pytest.mark.fast
def test_the_two_maps_of_a_key_have_nothing_in_common():
    blocks = np.array([key_rotation(key, 6, (np.eye(6), 3)) for key in range(2000)])
    first, other = blocks[:, :3, :3].reshape(-1, 9), blocks[:, 3:, 3:].reshape(-1, 9)
    plain = np.array([key_rotation(key, 3) for key in range(2000)]).reshape(-1, 9)
    for a, b in ((first, other), (first, plain), (other, plain)):
        assert np.abs((a * b).mean(axis=0)).max() < 0.05


@pytest.mark.fast
def test_a_rotation_within_stays_the_same_for_ever():
    # Templates outlive releases: R of this key as first released, rounded.
    expected = [[0.539, -0.8423, 0.0], [0.8423, 0.539, 0.0], [0.0, 0.0, 1.0]]
    np.testing.assert_allclose(key_rotation(b"secret", 3, (np.eye(3), 2)), expected, atol=5e-4)


@pytest.mark.fast
def test_directions_drawn_at_random_are_those_of_random_keys():
    directions = np.eye(4)[:, ::-1], 2
    rng = np.random.RandomState(0)
    Z = np.float32([[0, 3, 4, 0]])
    drawn = np.array([rotate_at_random(Z, rng, directions)[0] for _ in range(3000)])
    turned = np.array([rotate_embeddings(Z, key, directions=directions)[0] for key in range(3000)])
    for found in (drawn, turned):
        np.testing.assert_allclose(np.linalg.norm(found[:, :2], axis=1), 3, rtol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(found[:, 2:], axis=1), 4, rtol=1e-5)
        assert np.abs(found.mean(axis=0)).max() < 0.25
        expected = np.diag([4.5, 4.5, 8, 8])
        np.testing.assert_allclose(np.cov(found.T), expected, atol=0.5)


@pytest.mark.fast
@pytest.mark.parametrize("redraw", [True, False])
def test_what_g_learns_from_keeps_to_the_directions(redraw):
    V, n_filled = directions = orthonormal(np.random.default_rng(0), 6)[:, ::-1], 3
    images = np.zeros((8, 4, 4, 1), np.float32)
    Z = np.float32([3, 0, 0, 4, 0, 0] @ V.T + np.zeros((8, 1)))
    case = TrainingCase.of("bottleneck", keyed=True, streamed=False, learns=False)
    (x, _) = indexed_batches(
        images,
        np.arange(8),
        case=case,
        embeddings=Z,
        labels=None,
        keyed=True,
        pixel_range=(0.0, 1.0),
        batch_size=8,
        rng=np.random.RandomState(0),
        redraw=redraw,
        directions=directions,
    )[0]
    parts = np.split(x["embedding"] @ V, [n_filled], axis=1)
    assert np.ptp(x["embedding"], axis=0).min() > 0.1
    for part, length in zip(parts, (3, 4), strict=True):
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), length, rtol=1e-5)
    # Of images that come in batches nothing is known but the directions.
    x, _ = _prepare_images(
        images,
        None,
        np.random.RandomState(0),
        case=TrainingCase.of("bottleneck", keyed=True, streamed=True, learns=False),
        n_components=6,
        pixel_range=(0.0, 1.0),
        learns=False,
        largest_share=1.0,
        directions=directions,
    )
    drawn = x["direction"] @ V
    np.testing.assert_allclose(np.linalg.norm(drawn[:, :n_filled], axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(drawn[:, n_filled:], 0, atol=1e-6)


@pytest.mark.fast
def test_keys_are_searched_as_they_are_used():
    directions = np.eye(4)[:, ::-1], 2
    own = np.array([0, 0.6, 0, 0.8])
    R = key_rotation(7, 4, directions)
    scores = key_search_scores(own, (R @ own)[None], [6, 7, 8], directions)
    assert scores.argmax() == 1
    assert scores.max() == pytest.approx(0, abs=1e-12)
