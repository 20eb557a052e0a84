"""Keys: what they determine, that no two are taken for one, rotations, refusals."""

import copy
import hashlib
import pickle
import secrets

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils._param_validation import InvalidParameterError
from support.backends import properties

from skdistort.keys import (
    HiddenParameter,
    check_keys,
    key_check,
    key_rotation,
    refuse_guessable,
    revealed,
    rotate_embeddings,
    stretch_key,
)

pytestmark = pytest.mark.fast

KEYS = st.one_of(st.binary(max_size=20), st.integers(0, 2**70))


@properties
@given(KEYS, st.integers(1, 12))
def test_rotations_are_orthogonal_and_of_their_key_alone(key, n):
    R = key_rotation(key, n)
    np.testing.assert_allclose(R @ R.T, np.eye(n), atol=1e-12)
    np.testing.assert_array_equal(R, key_rotation(key, n))


def test_rotations_are_uniform_over_keys():
    first = np.array([key_rotation(key, 3)[:, 0] for key in range(3000)])
    assert np.abs(first.mean(axis=0)).max() < 0.05
    np.testing.assert_allclose(np.cov(first.T), np.eye(3) / 3, atol=0.03)
    determinants = [np.linalg.det(key_rotation(key, 3)) for key in range(400)]
    assert 0.4 < np.mean(np.array(determinants) > 0) < 0.6


def test_a_rotation_stays_the_same_for_ever():
    # Templates outlive releases: R of this key as first released, rounded.
    expected = [[0.9959, -0.0902], [-0.0902, -0.9959]]
    np.testing.assert_allclose(key_rotation(b"secret", 2), expected, atol=5e-4)


@properties
@given(st.lists(KEYS, min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_each_embedding_is_rotated_by_its_own_key(keys, seed):
    Z = np.random.default_rng(seed).normal(size=(len(keys), 5)).astype(np.float32)
    rotated = rotate_embeddings(Z, keys)
    assert rotated.dtype == np.float32
    expected = [key_rotation(key, 5) @ z for key, z in zip(keys, Z, strict=True)]
    np.testing.assert_allclose(rotated, expected, atol=1e-5)
    np.testing.assert_allclose(rotate_embeddings(rotated, keys, inverse=True), Z, atol=1e-5)
    one = rotate_embeddings(Z, keys[0])
    np.testing.assert_array_equal(one, rotate_embeddings(Z, [keys[0]] * len(keys)))


@properties
@given(KEYS, KEYS)
def test_no_two_keys_have_one_check(a, b):
    assert (key_check(a, b"salt") == key_check(b, b"salt")) == (a == b and type(a) is type(b))
    assert len(key_check(a, b"salt")) == 16
    assert key_check(a, b"salt") != key_check(a, b"other")


def test_salt_and_key_are_not_mistaken_for_one_another():
    assert key_check(b"c", b"ab") != key_check(b"bc", b"a")
    # The bytes that a hash without lengths would take.
    assert key_check(b"k", b"s") != hashlib.shake_256(b"key checksk").digest(16)


def test_numpy_integers_are_keys():
    np.testing.assert_array_equal(key_rotation(np.int64(7), 4), key_rotation(7, 4))
    assert check_keys(np.arange(3), 3) == [0, 1, 2]
    assert check_keys((b"a", 1), 2) == [b"a", 1]


@pytest.mark.parametrize(
    ("keys", "error", "match"),
    [
        ("text", TypeError, "int or bytes, got str"),
        (None, TypeError, "int or bytes, got NoneType"),
        (1.0, TypeError, "int or bytes, got float"),
        ([1, 1.0], TypeError, "int or bytes, got float"),
        (-1, ValueError, "at least 0"),
        ([1, -1], ValueError, "at least 0"),
        ([1, 2, 3], ValueError, "3 keys for 2 samples"),
    ],
)
def test_refuses_what_is_no_key(keys, error, match):
    with pytest.raises(error, match=match):
        check_keys(keys, 2)
    with pytest.raises(error, match=match):
        rotate_embeddings(np.eye(2), keys)


def test_keys_are_stretched_for_one_place_at_the_cost_that_is_asked_for(monkeypatch):
    asked = []
    scrypt = hashlib.scrypt
    monkeypatch.setattr(hashlib, "scrypt", lambda *a, **o: asked.append(o) or scrypt(*a, **o))
    stretched = stretch_key(b"secret", b"salt", cost=5)
    assert [(o["n"], o["r"], o["p"], o["salt"]) for o in asked] == [(32, 8, 1, b"salt")]
    assert len(stretched) == 32
    assert stretched == stretch_key(b"secret", b"salt", cost=5)
    others = [(b"secret", b"other", 5), (b"secre", b"tsalt", 5), (b"secret", b"salt", 6)]
    others += [(0x736563726574, b"salt", 5)]
    assert stretched not in [stretch_key(key, salt, cost=cost) for key, salt, cost in others]
    assert len(stretch_key(1, b"", cost=16)) == 32
    for cost in (0, 21, 1.0, None):
        with pytest.raises(ValueError, match="cost of a key must be an int from 1 to 20"):
            stretch_key(1, b"", cost=cost)


def test_a_stretched_key_stays_the_same_for_ever():
    expected = "6a39544ac73fef27"
    assert stretch_key(b"secret", b"salt", cost=4).hex()[:16] == expected


def test_random_keys_are_not_taken_for_easily_guessed():
    for _ in range(300):
        refuse_guessable(secrets.token_bytes(16))
        refuse_guessable(secrets.randbits(128))
    for weak in (b"", b"fifteen letters", b"ab" * 20, 0, 2**95 + 12345, 2**300, b"\0" * 16):
        with pytest.raises(ValueError, match="easily guessed"):
            refuse_guessable(weak)
    with pytest.raises(TypeError, match="int or bytes, got str"):
        refuse_guessable("a text of more than sixteen letters")


class Lock(TransformerMixin, BaseEstimator):
    key = HiddenParameter()
    _parameter_constraints = {"key": [bytes, int, None]}

    def __init__(self, key=None, door=1):
        self.key = key
        self.door = door

    def fit(self, X, y=None):
        self._validate_params()
        return self


@pytest.mark.parametrize("key", [b"my secret", 987654321, np.int64(987654321), "my secret"])
def test_a_hidden_key_is_shown_nowhere(key):
    lock = Lock(key, door=7)
    pipeline = make_pipeline(lock)
    for holder in (lock, pipeline, GridSearchCV(pipeline, {"lock__door": [1]})):
        texts = [repr(holder), str(holder), holder._repr_html_(), repr(holder.get_params())]
        for text in texts:
            assert "my secret" not in text
            assert "987654321" not in text
        assert "hidden" in texts[0]
        assert "door=7" in texts[0]
    assert f"{lock.key} {lock.key!s} {lock.key!r}" == " ".join(["<hidden>"] * 3)
    if isinstance(key, str):
        with pytest.raises(InvalidParameterError, match="Got <hidden> instead"):
            lock.fit([[0]])


@pytest.mark.parametrize("key", [b"my secret", 987654321, 0, None])
def test_a_hidden_key_is_what_it_hides(key):
    lock = Lock(key)
    for copied in (lock, clone(lock), copy.deepcopy(lock), pickle.loads(pickle.dumps(lock))):
        assert copied.key == key
        assert hash(copied.key) == hash(key)
        assert revealed(copied.key) == key
        assert type(revealed(copied.key)) is type(key)
        assert clone(copied).set_params(key=copied.key).key is copied.key
    if key is not None:
        assert key_check(lock.key) == key_check(key)
        np.testing.assert_array_equal(key_rotation(lock.key, 3), key_rotation(key, 3))
