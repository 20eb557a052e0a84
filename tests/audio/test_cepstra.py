"""Cepstral coefficients and deltas, against Kaldi's, librosa's and a slow loop."""

import kaldi_native_fbank
import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from support import contract

from skdistort.audio import CepstralCoefficients, dct_basis, delta_coefficients, log_mel

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=50)
ESTIMATORS = [CepstralCoefficients(1), CepstralCoefficients(1, deltas=False)]


def make_spectrograms(n=3, n_mels=24, n_frames=9, seed=0):
    return np.random.default_rng(seed).normal(size=(n, n_mels, n_frames)).astype(np.float32)


@parametrize_with_checks(ESTIMATORS)
def test_check(estimator, check):
    contract.run_check(check, estimator)


@contract.parametrize_with_extra_checks(ESTIMATORS)
def test_extra_check(estimator, check):
    contract.run_extra_check(check, estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=["deltas", "static"])
def test_number_of_checks(estimator):
    assert contract.count_checks(estimator) >= 45


def test_coefficients_of_a_waveform_are_kaldis():
    rng = np.random.default_rng(0)
    waveform = rng.normal(scale=0.1, size=16000).astype(np.float32)
    options = kaldi_native_fbank.MfccOptions()
    options.frame_opts.dither = 0
    options.mel_opts.num_bins = 40
    options.num_ceps, options.cepstral_lifter, options.use_energy = 20, 0, False
    computer = kaldi_native_fbank.OnlineMfcc(options)
    computer.accept_waveform(16000, waveform.tolist())
    computer.input_finished()
    expected = [computer.get_frame(i) for i in range(computer.num_frames_ready)]
    spectrogram = log_mel(waveform, n_mels=40).T
    found = CepstralCoefficients(deltas=False).fit_transform(spectrogram[None])
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("n_coefficients", [1, 13, 24])
def test_coefficients_and_deltas_are_librosas(n_coefficients):
    X = make_spectrograms()
    found = CepstralCoefficients(n_coefficients).fit_transform(X)
    assert found.shape == (3, 9, 2 * n_coefficients)
    assert found.dtype == np.float32
    for spectrogram, features in zip(X, found, strict=True):
        static = librosa.feature.mfcc(S=spectrogram, n_mfcc=n_coefficients)
        slopes = librosa.feature.delta(static, width=5, mode="nearest")
        np.testing.assert_allclose(features, np.vstack([static, slopes]).T, rtol=0, atol=1e-5)


@properties
@given(
    features=arrays(
        np.float64,
        st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 3)),
        elements=st.floats(-1e3, 1e3),
    ),
    window=st.integers(1, 4),
)
def test_deltas_are_regression_slopes(features, window):
    last = features.shape[1] - 1
    expected = np.zeros_like(features)
    for i, t, j in np.ndindex(features.shape):
        values = [features[i, min(max(t + k, 0), last), j] for k in range(-window, window + 1)]
        expected[i, t, j] = np.polyfit(range(-window, window + 1), values, 1)[0]
    np.testing.assert_allclose(delta_coefficients(features, window), expected, atol=1e-9)
    np.testing.assert_allclose(delta_coefficients(features[0], window), expected[0], atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_deltas_keep_the_type_of_floats(dtype):
    ramp = np.arange(12, dtype=dtype)[:, None]
    slopes = delta_coefficients(ramp)
    assert slopes.dtype == (dtype if dtype == np.float32 else np.float64)
    np.testing.assert_allclose(slopes[2:-2], 1)


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("uint8", 0, 255), ("int16", -32768, 32767), ("bool", False, True)]
)
def test_deltas_of_integers_do_not_overflow(dtype, low, high):
    frames = np.tile([[high], [low]], (3, 1)).astype(dtype)
    slopes = delta_coefficients(frames)
    np.testing.assert_allclose(slopes, delta_coefficients(frames.astype(float)))
    assert slopes[0] < 0


@properties
@given(n_bands=st.integers(1, 30), data=st.data())
def test_basis_is_orthonormal_cosines(n_bands, data):
    n_coefficients = data.draw(st.integers(1, n_bands))
    basis = dct_basis(n_coefficients, n_bands)
    expected = [
        [np.cos(np.pi * k * (band + 0.5) / n_bands) for band in range(n_bands)]
        for k in range(n_coefficients)
    ]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(basis, expected, atol=1e-12)
    np.testing.assert_allclose(basis @ basis.T, np.eye(n_coefficients), atol=1e-12)


@pytest.mark.parametrize("deltas", [True, False])
def test_layouts(deltas):
    X = make_spectrograms()
    before = X.copy()
    estimator = CepstralCoefficients(5, deltas=deltas)
    frames = estimator.fit_transform(X)
    assert estimator.image_shape_ == (24, 9, 1)
    np.testing.assert_array_equal(estimator.fit_transform(X[..., None]), frames)
    doubles = estimator.transform(np.float64(X))
    assert doubles.dtype == np.float32
    np.testing.assert_array_equal(doubles, frames)
    rows = estimator.transform(X.reshape(3, -1))
    np.testing.assert_array_equal(rows.reshape(frames.shape), frames)
    assert estimator.get_feature_names_out().shape == rows.shape[1:]
    flat = CepstralCoefficients(5, deltas=deltas, image_shape=(24, 9))
    np.testing.assert_array_equal(flat.fit_transform(X.reshape(3, -1)), rows)
    np.testing.assert_array_equal(X, before)


def test_tags():
    tags = get_tags(CepstralCoefficients())
    assert tags.input_tags.three_d_array
    assert tags.transformer_tags.preserves_dtype == ["float32"]


@pytest.mark.parametrize(
    ("estimator", "X", "message"),
    [
        (CepstralCoefficients(), np.zeros((2, 19, 30)), r"n_coefficients=20 exceeds the 19 mel"),
        (CepstralCoefficients(), np.zeros((2, 28000)), r"exceeds the 1 mel .* Set image_shape"),
        (CepstralCoefficients(2), np.zeros((2, 4, 5, 3)), r"one channel, got .* \(4, 5, 3\)"),
        (CepstralCoefficients(2, image_shape=(4, 4)), np.zeros((2, 20)), "holds 16 values"),
        (CepstralCoefficients(2, image_shape=(5, 4)), np.zeros((2, 4, 5)), "contradicts"),
        (CepstralCoefficients(2), np.full((2, 4, 5), np.nan), "contains NaN"),
        (CepstralCoefficients(2), np.zeros(20), "Expected 2D array, got 1D"),
    ],
)
def test_fit_refuses(estimator, X, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(X)


def test_transform_refuses_another_shape():
    estimator = CepstralCoefficients(2).fit(np.zeros((2, 4, 6)))
    with pytest.raises(ValueError, match=r"\(4, 6, 1\) contradicts X's images of \(6, 4\)"):
        estimator.transform(np.zeros((2, 6, 4)))
    with pytest.raises(ValueError, match="X has 20 features"):
        estimator.transform(np.zeros((2, 4, 5)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dct_basis(5, 4), "n_coefficients=5 .* the 4 mel"),
        (lambda: dct_basis(0, 4), "n_coefficients=0"),
        (lambda: delta_coefficients(np.zeros(4)), r"got \(4,\)"),
        (lambda: delta_coefficients(np.zeros((0, 4))), r"a frame at least, got \(0, 4\)"),
        (lambda: delta_coefficients(np.zeros((4, 1)), window=0), "window must be at least 1"),
    ],
)
def test_functions_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("channel", [(), (1,)])
def test_lists_of_different_lengths(channel):
    X = [make_spectrograms(1, n_frames=n, seed=n)[0].reshape(24, n, *channel) for n in (1, 9, 30)]
    transformer = CepstralCoefficients(5)
    features = transformer.fit_transform(X)
    assert [part.shape for part in features] == [(1, 10), (9, 10), (30, 10)]
    assert transformer.image_shape_ == (24, None, 1)
    assert transformer.n_features_in_ == 24
    for part, spectrogram in zip(features, X, strict=True):
        assert part.dtype == np.float32
        one = CepstralCoefficients(5).fit_transform(spectrogram[None])[0]
        np.testing.assert_allclose(part, one, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(transformer.transform(X[1:2])[0], features[1])
    by_shape = CepstralCoefficients(5).fit(make_spectrograms())
    for Z in (X, tuple(X), np.array([*X, None], dtype=object)[:3], X[2:], X[:1]):
        for part, spectrogram in zip(by_shape.transform(Z), Z, strict=True):
            assert part.shape == (spectrogram.shape[1], 10)
    assert isinstance(by_shape.transform(X[1:2]), np.ndarray)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([np.zeros((24, 3)), np.zeros((24, 0))], r"X\[1\] must be of shape .* got \(24, 0\)"),
        ([np.zeros((24, 3)), np.zeros((24, 3, 2))], r"X\[1\] must be .* got \(24, 3, 2\)"),
        ([np.zeros((24, 3)), np.zeros((23, 5))], r"X\[1\] has 23 mel bands, expected 24"),
        ([np.zeros((24, 3)), np.full((24, 5), np.inf)], r"Input X\[1\] contains infinity"),
        ([np.zeros((24, 3)), np.full((24, 5), 1e300)], r"Input X\[1\] contains infinity"),
    ],
)
def test_lists_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        CepstralCoefficients(5).fit(X)
    with pytest.raises(ValueError, match=message):
        CepstralCoefficients(5).fit([X[0], X[0][:, :2]]).transform(X)
    with pytest.raises(ValueError, match="n_coefficients=25 exceeds the 24"):
        CepstralCoefficients(25).fit([X[0], X[0][:, :2]])
    with pytest.raises(ValueError, match=r"X\[0\] has 24 mel bands, expected 20"):
        CepstralCoefficients(5, image_shape=(20, 3)).fit([X[0], X[0][:, :2]])
    with pytest.raises(ValueError, match="at least one is required"):
        CepstralCoefficients(5).fit([X[0], X[0][:, :2]]).transform([])
