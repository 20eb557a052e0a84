"""Log-mel spectrograms, against Kaldi's and librosa's own. Their cepstra: test_cepstra.py."""

import pickle
import sys
from pathlib import Path

import joblib
import kaldi_native_fbank
import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks, get_tags

from skdistort.audio import (
    CepstralCoefficients,
    LogMelSpectrogram,
    analysis_window,
    frame_log_energies,
    log_mel,
    mel_filterbank,
    normalise_bands,
)
from skdistort.exceptions import InputMismatchError, InputMismatchWarning

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**32 - 1)
FLOOR = np.log(np.float32(2**-23))
# What is no speech is the matter of test_speech.py.
SMALL = {"n_mels": 8, "n_frames": 6, "detector": None}


def make_waveform(n_samples, seed=0, level=0.1):
    """Noise with an offset, louder in the middle."""
    noise = np.random.default_rng(seed).standard_normal(n_samples)
    return (level * (0.3 + noise * (0.1 + np.hanning(n_samples)))).astype(np.float32)


def kaldi_features(waveform, sampling_rate=16000, frame=(), mel=()):
    options = kaldi_native_fbank.FbankOptions()
    frame = {"dither": 0.0, "samp_freq": sampling_rate, **dict(frame)}
    mel = {"num_bins": 80, **dict(mel)}
    for part, values in ((options.frame_opts, frame), (options.mel_opts, mel)):
        for name, value in values.items():
            setattr(part, name, value)
    computer = kaldi_native_fbank.OnlineFbank(options)
    computer.accept_waveform(sampling_rate, waveform.tolist())
    computer.input_finished()
    return np.array([computer.get_frame(i) for i in range(computer.num_frames_ready)])


def assert_same_energies(found, expected):
    """Within 1e-3 in logarithms, and float32's rounding of what the loudest band leaks."""
    found, expected = np.exp(found / 2), np.exp(expected / 2)
    np.testing.assert_allclose(found, expected, rtol=5e-4, atol=1e-5 * expected.max())


@properties
@given(
    n_samples=st.integers(1200, 50000),
    sampling_rate=st.sampled_from([8000, 11025, 16000, 44100]),
    lengths=st.sampled_from([(0.025, 0.010), (0.020, 0.020), (0.0201, 0.0033)]),
    n_mels=st.sampled_from([5, 40]),
    band=st.sampled_from([(20.0, None), (0.0, 3000.0), (133.3, 3999.0)]),
    window=st.sampled_from(["povey", "hamming", "hann"]),
    preemphasis=st.sampled_from([0.0, 0.5, 0.97, 1.0]),
    remove_dc_offset=st.booleans(),
    seed=seeds,
)
def test_log_mel_is_kaldis(
    n_samples, sampling_rate, lengths, n_mels, band, window, preemphasis, remove_dc_offset, seed
):
    waveform = make_waveform(n_samples, seed)
    expected = kaldi_features(
        waveform,
        sampling_rate=sampling_rate,
        frame={
            "frame_length_ms": 1000 * lengths[0],
            "frame_shift_ms": 1000 * lengths[1],
            "window_type": window,
            "preemph_coeff": preemphasis,
            "remove_dc_offset": remove_dc_offset,
        },
        mel={"num_bins": n_mels, "low_freq": band[0], "high_freq": band[1] or 0.0},
    )
    found = log_mel(
        waveform,
        sampling_rate=sampling_rate,
        frame_length=lengths[0],
        hop_length=lengths[1],
        n_mels=n_mels,
        f_min=band[0],
        f_max=band[1],
        window=window,
        preemphasis=preemphasis,
        remove_dc_offset=remove_dc_offset,
    )
    assert found.dtype == np.float32
    assert_same_energies(found, expected)


@pytest.mark.parametrize("level", [1e-6, 0.1, 0.5])
def test_defaults_are_kaldis(level):
    waveform = make_waveform(48000, level=level)
    found = log_mel(waveform)
    assert found.shape == (298, 80)
    np.testing.assert_allclose(found, kaldi_features(waveform), rtol=0, atol=1e-3)
    if level > 0.01:
        # Kaldi's own samples, of 16-bit range.
        theirs = kaldi_features(np.float32(2**15) * waveform) - 2 * np.log(2.0**15)
        np.testing.assert_allclose(found, theirs, rtol=0, atol=1e-3)


def test_an_offset_costs_no_precision():
    # Few enough bits that adding the offset rounds nothing.
    waveform = np.float32(np.round(make_waveform(16000, level=0.01) * 2**20) / 2**20)
    found = log_mel(waveform + np.float32(0.875))
    np.testing.assert_allclose(found, log_mel(waveform), rtol=0, atol=3e-4)


@properties
@given(n_samples=st.integers(512, 40000), n_mels=st.sampled_from([10, 80]), seed=seeds)
def test_log_mel_is_librosas(n_samples, n_mels, seed):
    waveform = make_waveform(n_samples, seed)
    energies = librosa.feature.melspectrogram(
        y=waveform, sr=16000, n_fft=512, hop_length=160, n_mels=n_mels, fmin=20, center=False
    )
    found = log_mel(
        waveform,
        n_mels=n_mels,
        frame_length=0.032,
        window="hann",
        preemphasis=0,
        remove_dc_offset=False,
        filterbank="slaney",
    )
    assert_same_energies(found, np.log(np.maximum(energies.T, 2**-23)))


@pytest.mark.parametrize(("f_min", "f_max"), [(0, None), (300, 900), (1200, 7000)])
def test_slaney_filterbank_is_librosas(f_min, f_max):
    found = mel_filterbank(20, 1024, 16000, f_min=f_min, f_max=f_max, filterbank="slaney")
    expected = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=20, fmin=f_min, fmax=f_max)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


def test_kaldi_filterbank_partitions_the_band():
    weights = mel_filterbank(30, 512, 16000)
    total = weights.sum(axis=0)
    peaks = np.flatnonzero(weights[0])[-1], np.flatnonzero(weights[-1])[0]
    np.testing.assert_allclose(total[peaks[0] : peaks[1] + 1], 1)
    assert (weights >= 0).all()
    assert (total <= 1 + 1e-12).all()


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<i4", ">i4", "f2", ">f4", "f8", ">f8", "g", list])
def test_kinds_of_samples(dtype):
    integers = (32767 * make_waveform(2000)).astype(np.int16)
    floats = integers / 32768
    if dtype is list:
        waveform = floats.tolist()
    elif np.dtype(dtype).kind == "i":
        waveform = integers.astype(dtype) * (1 << 8 * np.dtype(dtype).itemsize - 16)
        waveform = waveform.astype(dtype)
    else:
        waveform = floats.astype(dtype)
    atol = 0.1 if dtype == "f2" else 1e-5
    np.testing.assert_allclose(log_mel(waveform), log_mel(np.float32(floats)), rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: analysis_window("kaiser", 8), "name must be one of"),
        (lambda: analysis_window("hann", 1), "at least 2"),
        (lambda: mel_filterbank(4, 512, 16000, filterbank="htk"), "filterbank must be one of"),
        (lambda: mel_filterbank(4, 512, 16000, f_min=8000), "f_min=8000"),
        (lambda: mel_filterbank(4, 512, 16000, f_max=8001), "f_max=8001"),
        (lambda: mel_filterbank(200, 512, 16000), r"n_mels=200 leaves \d+ mel filters"),
        (lambda: log_mel(np.zeros(399)), "waveform has 399 samples, fewer than the 400"),
        (lambda: log_mel(np.zeros((2, 400))), r"1-D waveform, got shape \(2, 400\)"),
        (lambda: log_mel(np.zeros(400), frame_length=1e-4), "frame_length=0.0001 s"),
        (lambda: log_mel(np.zeros(400), hop_length=1e-5), "hop_length=1e-05 s"),
        (lambda: log_mel(np.zeros(400), window="x"), "'window' parameter of log_mel"),
    ],
)
def test_functions_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@properties
# Not two to four frames: they may be equal by chance, up to what counts as not varying.
@given(
    n_samples=st.integers(400, 559) | st.integers(1040, 6000),
    n_frames=st.just(1) | st.integers(5, 40),
    cmvn=st.booleans(),
)
def test_crop_repeat_and_normalisation(n_samples, n_frames, cmvn):
    waveform = make_waveform(n_samples)
    features = np.float64(log_mel(waveform, n_mels=8))
    start = max(len(features) - n_frames, 0) // 2
    features = features[start : start + n_frames]
    if cmvn:
        deviation = features.std(axis=0)
        features = (features - features.mean(axis=0)) / np.where(deviation, deviation, 1)
    expected = [features[i % len(features)] for i in range(n_frames)]
    found = LogMelSpectrogram(n_mels=8, n_frames=n_frames, cmvn=cmvn, detector=None).transform(
        [waveform]
    )
    assert found.shape == (1, 8, n_frames, 1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0, :, :, 0].T, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("constant", [np.int16(0), np.int16(7), 0.0, 0.5, -3e-5])
def test_what_does_not_vary_is_zero(constant):
    waveform = np.full(3000, constant)
    assert not LogMelSpectrogram(**SMALL).transform([waveform]).any()
    plain = LogMelSpectrogram(**SMALL, cmvn=False, remove_dc_offset=True).transform([waveform])
    np.testing.assert_allclose(plain, FLOOR, rtol=1e-6)


def test_rounding_of_a_constant_band_is_not_blown_up():
    bands = np.full((1000, 2), np.float32(-15.942385))
    bands[::2, 1] += 1
    normalised = normalise_bands(bands)
    assert not normalised[:, 0].any()
    assert normalised[:, 1].std() == pytest.approx(1)


def test_bands_have_one_layout():
    features = log_mel(make_waveform(16000), n_mels=8)
    normalised = normalise_bands(features)
    assert normalised.shape == features.shape == (98, 8)
    np.testing.assert_allclose(normalised.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(normalised.std(axis=0), 1, rtol=1e-5)
    image = LogMelSpectrogram(n_mels=8, n_frames=98, detector=None).transform(
        [make_waveform(16000)]
    )
    np.testing.assert_allclose(image[0, :, :, 0].T, normalised, atol=1e-4)


def test_bands_are_normalised_by_their_speech():
    features = np.float32([[0, 1], [100, 50], [2, 3], [-7, 9]])
    speech = np.array([True, False, True, False])
    expected = [[-1, -1], [99, 48], [1, 1], [-8, 7]]
    np.testing.assert_allclose(normalise_bands(features, speech), expected)
    with pytest.raises(ValueError, match="no frame to take the mean of"):
        normalise_bands(features, np.zeros(4, dtype=bool))
    with pytest.raises(ValueError, match=r"shape \(n_frames, n_bands\), got \(4,\)"):
        normalise_bands(features[:, 0])


WAVEFORM = make_waveform(3000)
WITH_NAN, WITH_INFINITY = WAVEFORM.copy(), WAVEFORM.copy()
WITH_NAN[1234], WITH_INFINITY[0] = np.nan, -np.inf


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([], ValueError, "holds no utterance"),
        (np.empty((0, 16000)), ValueError, "holds no utterance"),
        ("speech.wav", ValueError, "must be a list .* got one path: 'speech.wav'"),
        (Path("speech.wav"), ValueError, "must be a list .* got one path"),
        (7, TypeError, "must be a list .* got int"),
        (iter([WAVEFORM]), TypeError, "must be a list"),
        ({"a": WAVEFORM}, TypeError, "must be a list .* got dict"),
        ({"a.wav"}, TypeError, "must be a list .* got set"),
        (pd.DataFrame({"file": ["a.wav"]}), TypeError, "must be a list .* got DataFrame"),
        (b"a.wav", ValueError, "must be a list .* got one content: 5 bytes"),
        ([np.array(b"a.wav")], ValueError, r"X\[0\] must be .* got shape \(\)"),
        (np.array(1.0), TypeError, "must be a list"),
        (WAVEFORM, ValueError, r"X\[0\] must be .* a single waveform goes into a list"),
        ([WAVEFORM, WAVEFORM[None]], ValueError, r"X\[1\] must be .* got shape \(1, 3000\)"),
        ([WAVEFORM, WAVEFORM[:0]], ValueError, r"X\[1\] has no samples"),
        ([WAVEFORM, WAVEFORM[:399]], ValueError, r"X\[1\] has 399 samples, .* 400 of one frame"),
        ([WAVEFORM, WITH_NAN], ValueError, r"X\[1\] holds NaN, infinite"),
        ([WAVEFORM, WITH_INFINITY], ValueError, r"X\[1\] holds NaN, infinite"),
        ([np.full(3000, 1e300)], ValueError, r"X\[0\] holds .* enormous"),
        ([WAVEFORM, 2**15 * WAVEFORM], InputMismatchError, r"X\[1\] .* 16 bits .* by 32768"),
        (np.stack([WAVEFORM] * 2, axis=1), ValueError, r"recording of 2 channel.*X\[:, 0\]"),
        ([np.stack([WAVEFORM] * 2)], ValueError, r"X\[0\] .* \(2, 3000\): take one of the chann"),
        ([np.full(3000, -1e300)], ValueError, r"X\[0\] holds .* enormous"),
        ([WAVEFORM, np.arange(3000)], ValueError, r"X\[1\] must hold floats .* int64"),
        ([np.zeros(3000, np.uint8)], ValueError, r"X\[0\] must hold floats .* uint8"),
        ([WAVEFORM, None], ValueError, r"X\[1\] must be a 1-D waveform, got shape \(\)"),
        ([WAVEFORM, "nowhere.wav"], FileNotFoundError, r"X\[1\]: there is no file 'nowhere.wav'"),
        ([Path("nowhere.wav")], FileNotFoundError, r"X\[0\]: there is no file 'nowhere.wav'"),
    ],
)
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_transform_refuses(X, error, message, n_jobs):
    with pytest.raises(error, match=message):
        LogMelSpectrogram(**SMALL, n_jobs=n_jobs).transform(X)
    if not any(word in message for word in ("samples", "enormous", "infinite", "bits")):
        with pytest.raises(error, match=message):
            LogMelSpectrogram(**SMALL).fit(X)


LOUD = 0.9 * WAVEFORM / np.abs(WAVEFORM).max()


@pytest.mark.parametrize(
    ("waveform", "bits", "way_out"),
    [
        (LOUD * 2**15, 16, "Divide by 32768, or pass them as int16"),
        (np.rint(LOUD * 2**15), 16, "Divide by 32768"),
        # Quiet ones are told by being whole.
        (np.rint(LOUD * 40), 8, "around 0"),
        (np.rint(LOUD * 40).astype(np.float32), 8, "around 0"),
        (np.rint(LOUD * 127 + 128), 8, "around 0"),
        (LOUD * 2**23, 24, "Divide by 8388608[.]"),
        (LOUD * 2**31, 32, "Divide by 2147483648, or pass them as int32"),
        (np.rint(LOUD * 2**15).tolist(), 16, "Divide by 32768"),
        (np.rint(LOUD * 2**15).astype(np.int32), 16, "Pass them as int16"),
        (np.rint(LOUD * 2**9).astype(">i4"), 16, "Pass them as int16"),
    ],
)
def test_samples_in_other_units_are_refused(waveform, bits, way_out):
    message = f"samples of {bits} bits.*{way_out}"
    with pytest.raises(InputMismatchError, match=f"^waveform holds .*{message}"):
        log_mel(waveform)
    with pytest.raises(InputMismatchError, match=rf"^X\[1\] holds .*{message}") as refusal:
        LogMelSpectrogram(**SMALL).transform([LOUD, waveform])
    assert refusal.value.sample == 1
    assert refusal.value.seen in str(refusal.value)


def test_energies_are_of_samples_in_their_units():
    integers = np.rint(LOUD * 2**15).astype(np.int16)
    energies = frame_log_energies(integers, 400, 160)
    np.testing.assert_allclose(frame_log_energies(LOUD, 400, 160), energies, atol=1e-3)
    with pytest.raises(InputMismatchError, match="^samples holds .* 16 bits"):
        frame_log_energies(LOUD * 2**15, 400, 160)


def test_a_file_of_floats_in_other_units_is_refused(tmp_path):
    path = tmp_path / "floats.wav"
    soundfile.write(path, LOUD * 2**15, 16000, subtype="FLOAT")
    with pytest.raises(InputMismatchError, match=r"X\[0\] \(.*floats.wav\) holds .* 16 bits"):
        LogMelSpectrogram(**SMALL).transform([path])


@pytest.mark.parametrize(
    "waveform",
    [
        LOUD / 0.9,
        1.4 * LOUD,
        np.sign(LOUD),
        np.int32(2**16) * np.rint(LOUD * 4).astype(np.int32),
        np.rint(LOUD * 200).astype(np.int32),
        np.rint(LOUD * 2**31).astype(np.int32),
        np.rint(LOUD * 3).astype(np.int16),
    ],
)
def test_samples_that_may_be_so_are_taken(waveform):
    assert LogMelSpectrogram(**SMALL, cmvn=False).transform([waveform]).any()


def test_loud_samples_are_warned_of_once():
    with pytest.warns(InputMismatchWarning, match=r"X\[1\] .* up to 9, .*\(2 of 4 such") as caught:
        LogMelSpectrogram(**SMALL, n_jobs=2).transform([LOUD, 10 * LOUD, LOUD, 30 * LOUD])
    assert len(caught) == 1
    with pytest.warns(InputMismatchWarning, match="^waveform holds samples of up to 9, expected"):
        log_mel(10 * LOUD)


def test_channels_in_rows_are_warned_of():
    rng = np.random.default_rng(0)
    stereo = np.stack([LOUD, 0.5 * LOUD + 0.01 * rng.standard_normal(3000)])
    with pytest.warns(InputMismatchWarning, match=r"The 2 rows of X are as alike as the channels"):
        LogMelSpectrogram(**SMALL).transform(stereo)
    LogMelSpectrogram(**SMALL).transform(list(stereo))
    LogMelSpectrogram(**SMALL).transform(rng.uniform(-0.5, 0.5, (2, 3000)))
    LogMelSpectrogram(**SMALL).transform(np.zeros((2, 3000)))


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_files_are_waveforms(tmp_path, suffix):
    mono = (20000 * make_waveform(5000)).astype(np.int16)
    stereo = np.stack([mono, -(mono // 3)], axis=1)
    paths = [tmp_path / f"{name}.{suffix}" for name in ("mono", "stereo")]
    for path, samples in zip(paths, (mono, stereo), strict=True):
        soundfile.write(path, samples, 16000, subtype="PCM_16")
    transformer = LogMelSpectrogram(**SMALL)
    expected = transformer.transform([mono, (stereo / 32768).mean(axis=1)])
    mixed = np.array([str(paths[0]), paths[1], mono], dtype=object)
    np.testing.assert_allclose(transformer.transform(mixed)[:2], expected, atol=1e-4)
    np.testing.assert_array_equal(transformer.transform(mixed)[2], expected[0])
    np.testing.assert_allclose(
        transformer.transform(np.array(list(map(str, paths)))), expected, atol=1e-4
    )


def test_files_are_refused(tmp_path, monkeypatch):
    names = "good.wav", "slow.wav", "none.wav", "text.wav", "raw.raw", "empty.wav"
    good, slow, none, text, raw, empty = (tmp_path / name for name in names)
    soundfile.write(good, WAVEFORM, 16000)
    soundfile.write(slow, WAVEFORM, 8000)
    soundfile.write(none, WAVEFORM[:0], 16000)
    text.write_text("no audio")
    raw.write_bytes(bytes(4000))
    empty.write_bytes(b"")
    transformer = LogMelSpectrogram(**SMALL)
    for path, message in (
        (slow, "has a sampling rate of 8000 Hz, expected 16000 Hz"),
        (none, "has no samples"),
        (text, "could not be decoded"),
        (raw, "could not be decoded"),
        (empty, "could not be decoded"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            transformer.transform([good, path])
        assert str(error.value).startswith(f"X[1] ({path})")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        transformer.transform([tmp_path])
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ImportError, match=r"pip install 'skdistort\[audio\]'"):
        transformer.transform([good])


def test_results_depend_neither_on_neighbours_nor_on_jobs_nor_on_fit():
    X = [make_waveform(n, n) for n in (400, 3000, 12345, 560, 80000, 401, 900, 30000)]
    before = [waveform.copy() for waveform in X]
    for waveform in X:
        waveform.flags.writeable = False
    transformer = LogMelSpectrogram(n_frames=200, detector=None)
    images = transformer.transform(X)
    np.testing.assert_array_equal(images[2:3], transformer.transform(X[2:3]))
    for n_jobs in (2, -1):
        parallel = clone(transformer).set_params(n_jobs=n_jobs)
        np.testing.assert_array_equal(parallel.transform(tuple(X)), images)
    with joblib.parallel_config("loky", n_jobs=2):
        np.testing.assert_array_equal(transformer.transform(X), images)
    assert transformer.fit(X) is transformer
    assert vars(transformer) == transformer.get_params()
    np.testing.assert_array_equal(transformer.fit(X[:1]).transform(X), images)
    np.testing.assert_array_equal(transformer.fit_transform(X), images)
    np.testing.assert_array_equal(transformer.transform([w[::-1][::-1] for w in X]), images)
    alike = [w[:400] for w in X[:2]]
    np.testing.assert_array_equal(
        transformer.transform(np.stack(alike)), transformer.transform(alike)
    )
    for now, then in zip(X, before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_spectrogram_is_an_estimator(tmp_path):
    transformer = LogMelSpectrogram(**SMALL, preemphasis=0.5)
    images = transformer.transform([WAVEFORM])
    joblib.dump(transformer, tmp_path / "transformer")
    for copy in (
        clone(transformer),
        pickle.loads(pickle.dumps(transformer)),
        joblib.load(tmp_path / "transformer"),
        LogMelSpectrogram().set_params(**transformer.get_params()),
    ):
        assert copy.get_params() == transformer.get_params()
        np.testing.assert_array_equal(copy.transform([WAVEFORM]), images)
    tags = get_tags(transformer)
    assert not tags.requires_fit
    assert not tags.input_tags.two_d_array
    assert tags.input_tags.string
    assert tags.transformer_tags.preserves_dtype == ["float32"]
    assert transformer.set_output(transform="pandas") is transformer
    with config_context(transform_output="pandas"):
        np.testing.assert_array_equal(transformer.transform([WAVEFORM]), images)


# scikit-learn feeds its other checks arrays of numbers, which are no utterances.
SPECTROGRAM_CHECKS = [
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_param_validation",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
]


@pytest.mark.parametrize("name", SPECTROGRAM_CHECKS)
def test_spectrogram_check(name):
    getattr(estimator_checks, name)("LogMelSpectrogram", LogMelSpectrogram())


@pytest.mark.parametrize("name", LogMelSpectrogram().get_params())
def test_each_parameter_is_validated_without_fit(name):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of LogMelSpectrogram"):
        LogMelSpectrogram(**{name: "nonsense"}).transform([WAVEFORM])


def test_contradictory_parameters_are_refused_in_fit():
    with pytest.raises(ValueError, match="f_min=5000"):
        LogMelSpectrogram(8000, f_min=5000).fit([WAVEFORM])


def test_grid_search_over_pipeline():
    time = np.arange(2000) / 8000
    pitches = np.repeat([300.0, 900.0], 8) + np.arange(16)
    X = [np.sin(2 * np.pi * pitch * time[: 1500 + 20 * i]) for i, pitch in enumerate(pitches)]
    pipeline = make_pipeline(
        LogMelSpectrogram(8000, 16, n_frames=20, cmvn=False, detector=None),
        CepstralCoefficients(5),
        FunctionTransformer(lambda features: features.mean(axis=1)),
        LogisticRegression(),
    )
    grid = {"logmelspectrogram__n_mels": [10, 16], "cepstralcoefficients__deltas": [True, False]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise")
    assert search.fit(X, pitches > 600).score(X, pitches > 600) == 1
    assert search.best_estimator_[0] is not pipeline[0]
