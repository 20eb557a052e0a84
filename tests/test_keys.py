"""Keys: what they determine, that no two are taken for one, rotations, refusals."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backends import properties

from skdistort.keys import check_keys, key_check, key_rotation, rotate_embeddings

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
