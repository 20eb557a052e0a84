"""Protection baselines: the formulas by hand, their keys, scikit-learn's contract, the errors."""

import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist
from scipy.stats import kstest, norm
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.utils.estimator_checks import parametrize_with_checks
from support import contract

from skdistort.keys import keyed_normals, keyed_orthonormal
from skdistort.metrics import equal_error_rate, unlinkability
from skdistort.template_baselines import (
    BioHashing,
    GaussianBlur,
    IoMHashing,
    MLPHash,
    Pixelation,
    PolyProtect,
    _hashing,
    biohash,
    hamming_similarity,
    iom_hash,
    mlp_hash,
    polyprotect,
)
from skdistort.template_baselines._image_filters import blur, pixelate

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=40)
keys = st.one_of(st.integers(0, 2**70), st.binary(max_size=12))
ESTIMATORS = [
    BioHashing(),
    MLPHash(),
    IoMHashing(n_hashes=20),
    PolyProtect(),
    PolyProtect(overlap=0, n_terms=3),
    GaussianBlur(),
    Pixelation(block_size=2),
]
SCHEMES = {
    "biohash": biohash,
    "mlp_hash": mlp_hash,
    "iom_hash": iom_hash,
}
# Hashes that were stored must still match: these numbers are not to change.
PINNED = [
    [0.969825009271, -1.55165801553],
    [-0.594702993175, 1.26780122247],
    [1.27293534004, -0.0428556652817],
    [-1.50263885354, -0.0222187352565],
    [0.895284994629, -0.835596691265],
]


def embeddings(n_samples, n_features, seed=0):
    return np.random.default_rng(seed).standard_normal((n_samples, n_features))


@parametrize_with_checks(ESTIMATORS)
def test_check(estimator, check):
    contract.run_check(check, estimator)


@contract.parametrize_with_extra_checks(ESTIMATORS)
def test_extra_check(estimator, check):
    contract.run_extra_check(check, estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=contract.name)
def test_number_of_checks(estimator):
    assert contract.count_checks(estimator) >= 45


# ---- Keys


@properties
@given(key=st.binary(max_size=20), purpose=st.text(max_size=8))
def test_normals_are_quantiles_of_the_stretched_key(key, purpose):
    parts = [purpose.encode(), key]
    framed = [len(part).to_bytes(8, "little") + part for part in parts]
    stream = hashlib.shake_256(framed[0] + b"b" + framed[1]).digest(24)
    words = [int.from_bytes(stream[i : i + 4], "little") for i in range(0, 24, 4)]
    expected = norm.ppf([(word + 0.5) / 2**32 for word in words]).reshape(2, 3)
    np.testing.assert_allclose(keyed_normals(key, purpose, (2, 3)), expected, rtol=1e-12)


def test_normals_never_change():
    np.testing.assert_allclose(
        [keyed_normals(key, "test", (2,)) for key in (0, 1, 2**100, b"", b"key")],
        PINNED,
        rtol=1e-9,
    )


def test_keys_and_purposes_do_not_collide():
    ints = [0, 1, 255, 256, 2**64]
    octets = [b"", b"\x00", b"\x01", b"\xff", b"i", b"b"]
    drawn = {
        (key, purpose): tuple(keyed_normals(key, purpose, (2,)))
        for key in ints + octets
        for purpose in ("a", "ab", "")
    }
    assert len(set(drawn.values())) == len(drawn) == 33
    assert tuple(keyed_normals(np.int32(255), "a", (2,))) == drawn[255, "a"]


def test_normals_are_normal_and_keys_independent():
    one, other = (keyed_normals(key, "test", (200, 100)) for key in (1, 2))
    assert kstest(one.ravel(), "norm").pvalue > 0.01
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.03
    assert abs(np.corrcoef(one[:-1].ravel(), one[1:].ravel())[0, 1]) < 0.03


@properties
@given(key=keys, n_rows=st.integers(1, 8), n_columns=st.integers(1, 8))
def test_orthonormal_matrices_are_those_of_gram_schmidt(key, n_rows, n_columns):
    Q = keyed_orthonormal(key, "test", n_rows, n_columns)
    assert Q.shape == (n_rows, n_columns)
    tall = Q if n_rows >= n_columns else Q.T
    vectors = []
    for v in keyed_normals(key, "test", tall.shape).T:
        for u in vectors:
            v = v - (u @ v) * u
        vectors.append(v / np.sqrt(v @ v))
    np.testing.assert_allclose(tall.T, vectors, atol=1e-6)


# ---- Hashes


def test_biohash_by_hand():
    X = embeddings(5, 7)
    Q = keyed_orthonormal(b"k", "BioHashing", 7, 4)
    expected = [[int(sum(x * q) > 0) for q in Q.T] for x in X]
    np.testing.assert_array_equal(biohash(X, b"k", 4), expected)


def test_mlp_hash_by_hand():
    X = embeddings(5, 6)
    sizes = [6, 9, 9, 4]
    expected = []
    for x in X:
        for layer in range(3):
            W = keyed_orthonormal(3, f"MLPHash {layer}", sizes[layer], sizes[layer + 1])
            x = [sum(x * w) for w in W.T]
            if layer < 2:
                x = np.array([max(v, 0) for v in x])
        expected.append([int(v > sum(x) / 4) for v in x])
    hashed = mlp_hash(X, 3, 4, n_hidden_layers=2, hidden_units=9)
    np.testing.assert_array_equal(hashed, expected)
    # With the defaults of the paper.
    weights = MLPHash(key=3).fit(X).weights_
    assert [w.shape for w in weights] == [(6, 12), (12, 12), (12, 12), (12, 6)]


def test_iom_hash_by_hand(monkeypatch):
    X = embeddings(5, 6)
    W = keyed_normals(3, "IoMHashing", (6, 12))
    expected = [
        [int(np.argmax([x @ W[:, 4 * i + j] for j in range(4)])) for i in range(3)] for x in X
    ]
    np.testing.assert_array_equal(iom_hash(X, 3, 3, n_projections=4), expected)
    # Blocks of two rows; in another order, because the memory of the first result may be reused.
    monkeypatch.setattr(_hashing, "_BLOCK", 24)
    np.testing.assert_array_equal(iom_hash(X[::-1], 3, 3, n_projections=4), expected[::-1])
    assert iom_hash(X, 3, 3, n_projections=257).dtype == np.uint16


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_hashes_depend_on_the_direction_alone(scheme):
    X = embeddings(20, 32)
    hashed = scheme(X, 1)
    assert hashed.dtype == np.uint8
    np.testing.assert_array_equal(scheme(4 * X, 1), hashed)
    np.testing.assert_array_equal(scheme(X.astype(np.float32).tolist(), 1), hashed)


@pytest.mark.parametrize("n_features", [1, 2, 7, 64, 200])
def test_a_few_rows_have_the_bits_of_many(n_features):
    X = embeddings(2 * n_features, n_features)
    for n_bits in {1, n_features // 2 or 1, n_features}:
        many = biohash(X, b"k", n_bits)
        np.testing.assert_array_equal(many, BioHashing(n_bits, key=b"k").fit(X[:1]).transform(X))
        one_by_one = np.concatenate([biohash(x[None], b"k", n_bits) for x in X])
        np.testing.assert_array_equal(one_by_one, many)
        assert one_by_one.dtype == many.dtype == np.uint8
        few = X[: n_features - 1]
        if len(few):
            np.testing.assert_array_equal(biohash(few, b"k", n_bits), many[: len(few)])


def test_few_rows_are_projected_without_the_orthonormal_matrix(monkeypatch):
    def refused(*args):
        raise AssertionError("made the matrix")

    monkeypatch.setattr(_hashing, "keyed_orthonormal", refused)
    assert biohash(embeddings(1, 16), 1).shape == (1, 16)


@pytest.mark.parametrize("angle", [0.3, 1.0, 2.0])
def test_biohash_agrees_by_the_angle(angle):
    # The share of random hyperplanes that do not part two vectors: Goemans and Williamson (1995).
    left, right = np.linalg.qr(embeddings(256, 2))[0].T
    right = np.cos(angle) * left + np.sin(angle) * right
    shares = [np.mean(biohash([left], key, 128) == biohash([right], key, 128)) for key in range(40)]
    assert np.mean(shares) == pytest.approx(1 - angle / np.pi, abs=0.02)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_other_keys_make_hashes_unlinkable_and_one_key_does_not(scheme):
    n_subjects = 60
    X = embeddings(n_subjects, 64)
    noisy = X + 0.3 * embeddings(n_subjects, 64, seed=1)
    enrolled = np.concatenate([scheme(x[None], key) for key, x in enumerate(X)])
    renewed = np.concatenate([scheme(x[None], 1000 + key) for key, x in enumerate(noisy)])
    stolen = [scheme(Z, b"stolen") for Z in (X, noisy)]
    mated = np.eye(n_subjects, dtype=bool).ravel()
    scores = hamming_similarity(enrolled, renewed).ravel()
    chance = 1 / 16 if scheme is iom_hash else 1 / 2
    assert scores.mean() == pytest.approx(chance, abs=0.02)
    assert unlinkability(mated, scores, random_state=0).p_value > 0.01
    linkable = unlinkability(mated, hamming_similarity(*stolen).ravel(), random_state=0)
    assert linkable.corrected > 0.9


def test_a_stolen_key_inverts_a_biohash():
    X = embeddings(10, 32)
    hashing = BioHashing(key=b"stolen").fit(X)
    bits = hashing.transform(X)
    forged = (2.0 * bits - 1) @ hashing.projection_.T
    np.testing.assert_array_equal(hashing.transform(forged), bits)


@pytest.mark.parametrize(
    ("transformer", "scheme"),
    [
        (BioHashing(8, key=b"k"), lambda X: biohash(X, b"k", 8)),
        (MLPHash(8, key=b"k"), lambda X: mlp_hash(X, b"k", 8)),
        (IoMHashing(8, key=b"k"), lambda X: iom_hash(X, b"k", 8)),
        (PolyProtect(2, key=b"k", n_terms=3), lambda X: polyprotect(X, b"k", 2, n_terms=3)),
    ],
    ids=["BioHashing", "MLPHash", "IoMHashing", "PolyProtect"],
)
def test_transformers_are_the_functions_of_one_key(transformer, scheme):
    X = embeddings(12, 10)
    transformer.fit(X[:1])
    restored = pickle.loads(pickle.dumps(transformer))
    np.testing.assert_array_equal(transformer.transform(X), scheme(X))
    np.testing.assert_array_equal(restored.transform(X), scheme(X))
    assert transformer.get_feature_names_out().shape == (8,)


# ---- Polynomials


@properties
@given(
    n_features=st.integers(1, 12),
    n_terms=st.integers(1, 5),
    overlap=st.integers(0, 4),
    key=keys,
)
def test_polyprotect_by_hand(n_features, n_terms, overlap, key):
    overlap = min(overlap, n_terms - 1)
    X = embeddings(3, n_features)
    scheme = PolyProtect(overlap, key=key, n_terms=n_terms).fit(X)
    C, E = scheme.coefficients_, scheme.exponents_
    assert sorted(E) == list(range(1, n_terms + 1))
    assert len(set(C)) == n_terms
    assert all(0 < abs(c) <= 50 for c in C)
    expected = []
    for x in X:
        values, start = [], 0
        while True:
            group = [*x[start : start + n_terms], *[0.0] * n_terms][:n_terms]
            values.append(sum(c * v**e for c, v, e in zip(C, group, E, strict=True)))
            # The last group is the first that reaches the end.
            if start + n_terms >= n_features:
                break
            start += n_terms - overlap
        expected.append(values)
    np.testing.assert_allclose(scheme.transform(X), expected, rtol=1e-9, atol=1e-9)


def test_polyprotect_verifies_under_one_key_and_not_across():
    def unit(Z):
        return Z / np.linalg.norm(Z, axis=1, keepdims=True)

    X = unit(embeddings(60, 64))
    noisy = unit(X + 0.05 * embeddings(60, 64, seed=1))
    own, stolen = (
        [
            np.concatenate([polyprotect(z[None], key) for z, key in zip(Z, own_keys, strict=True)])
            for Z in (X, noisy)
        ]
        for own_keys in (range(60), [b"stolen"] * 60)
    )
    renewed = np.concatenate([polyprotect(z[None], 1000 + i) for i, z in enumerate(noisy)])
    mated = np.eye(60, dtype=bool).ravel()
    same, one_key, across = (
        cosine_similarity(left, right).ravel() for left, right in (own, stolen, (own[0], renewed))
    )
    assert equal_error_rate(mated, same)[0] < 0.05
    assert equal_error_rate(mated, one_key)[0] < 0.05
    # With values below 1 the term of exponent 1 outweighs the others, so that some of the embedding
    # shows under every key: less than under one.
    assert equal_error_rate(mated, across)[0] > equal_error_rate(mated, same)[0] + 0.1


@properties
@given(
    left=hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.just(5)), elements=st.integers(0, 3)),
    right=hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 6), st.just(5)), elements=st.integers(0, 3)
    ),
)
def test_hamming_similarity_is_that_of_scipy(left, right):
    similarity = hamming_similarity(left, right)
    np.testing.assert_allclose(similarity, 1 - cdist(left, right, "hamming"), atol=1e-6)
    np.testing.assert_array_equal(hamming_similarity(left[-1:], right), similarity[-1:])
    np.testing.assert_array_equal(hamming_similarity(right, left).T, similarity)
    assert similarity.dtype == np.float32


# ---- Images


@properties
@given(
    shape=st.tuples(*[st.integers(1, n) for n in (3, 9, 9, 3)]),
    block_size=st.integers(1, 10),
    seed=st.integers(0, 99),
)
def test_pixels_are_means_of_their_blocks(shape, block_size, seed):
    X = np.random.default_rng(seed).uniform(size=shape)
    expected = np.empty_like(X)
    for i in range(0, shape[1], block_size):
        for j in range(0, shape[2], block_size):
            block = np.s_[:, i : i + block_size, j : j + block_size]
            expected[block] = X[block].mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(pixelate(X, block_size), expected, atol=1e-12)


def test_blur_filters_each_channel_of_each_image():
    X = np.random.default_rng(0).uniform(size=(3, 9, 7, 2)).astype(np.float32)
    blurred = blur(X, 1.3)
    assert blurred.dtype == np.float32
    for i in range(3):
        for channel in range(2):
            expected = gaussian_filter(X[i, ..., channel].astype(float), 1.3)
            np.testing.assert_allclose(blurred[i, ..., channel], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("transformer", "function"),
    [
        (GaussianBlur(1.5), lambda X: blur(X, 1.5)),
        (Pixelation(3), lambda X: pixelate(X, 3)),
    ],
    ids=["GaussianBlur", "Pixelation"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_images_come_back_in_the_layout_they_came_in(transformer, function, dtype):
    X = np.random.default_rng(0).uniform(size=(4, 8, 6, 3)).astype(dtype)
    expected = function(X)
    transformer.set_params(image_shape=None).fit(X)
    assert transformer.image_shape_ == (8, 6, 3)
    for images in (X, X.reshape(4, -1)):
        hidden = transformer.transform(images)
        assert hidden.dtype == dtype
        np.testing.assert_array_equal(hidden, expected.reshape(images.shape))
    flat = transformer.set_params(image_shape=(8, 6, 3)).fit_transform(X.reshape(4, -1))
    np.testing.assert_array_equal(flat, expected.reshape(4, -1))
    grey = transformer.set_params(image_shape=None).fit_transform(X[..., 0])
    np.testing.assert_array_equal(grey, function(X[..., :1])[..., 0])
    with pytest.raises(ValueError, match=r"images of shape \(6, 8\), but .* of shape \(8, 6, 1\)"):
        transformer.transform(X[..., 0].transpose(0, 2, 1))


# ---- Errors


X = embeddings(4, 5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: biohash(X, 0, 6), ValueError, "n_bits=6 exceeds n_features=5"),
        (lambda: biohash(X, 0, 0), ValueError, "n_bits must be an integer of at least 1, got 0"),
        (lambda: biohash(X, 0, 2.0), ValueError, "n_bits must be an integer"),
        (lambda: BioHashing(6).fit(X), ValueError, "n_bits=6 exceeds n_features=5"),
        (lambda: biohash(X * np.nan, 0), ValueError, "NaN"),
        (lambda: biohash(X, -1), ValueError, "key"),
        (lambda: biohash(X, "secret"), TypeError, "key"),
        (lambda: biohash(X[0], 0), ValueError, "2D array"),
        (lambda: mlp_hash(X[:, :1], 0), ValueError, "n_features=1"),
        (lambda: mlp_hash(X, 0, 1), ValueError, "n_bits"),
        (lambda: mlp_hash(X * np.nan, 0), ValueError, "NaN"),
        (lambda: iom_hash(X, 0, n_projections=1), ValueError, "n_projections"),
        (lambda: polyprotect(X, 0, 5), ValueError, "overlap=5 must be below n_terms=5"),
        (lambda: polyprotect(X, 0, 0, n_terms=3, max_coefficient=1), ValueError, "leaves 2 that"),
        (lambda: polyprotect(X * np.nan, 0), ValueError, "NaN"),
        (lambda: polyprotect(X, "secret"), TypeError, "key"),
        (lambda: keyed_normals("k", "", (1,)), TypeError, "int or bytes, got str; encode"),
        (lambda: keyed_normals(1.0, "", (1,)), TypeError, "int or bytes, got float"),
        (lambda: keyed_normals(-1, "", (1,)), ValueError, "at least 0, got a negative int"),
        (lambda: hamming_similarity(X, X[:, :3]), ValueError, "same length, got 5 and 3"),
        (lambda: hamming_similarity(X[0], X), ValueError, r"left must have shape .* got \(5,\)"),
        (lambda: hamming_similarity(X, X[:, :0]), ValueError, "right must have shape"),
        (lambda: GaussianBlur(0.0).fit(X), ValueError, "sigma"),
        (lambda: Pixelation(0).fit(X), ValueError, "block_size"),
        (lambda: Pixelation(image_shape=(2, 3)).fit(X), ValueError, "image_shape"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_needs_no_keras():
    code = "import sys, skdistort.template_baselines; assert 'keras' not in sys.modules"
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True)
    assert result.returncode == 0, result.stderr
