"""What is speech: Kaldi's decision by energy, and recordings that hold none."""

import io
import sys
import warnings

import kaldi_native_fbank
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, lfilter, sosfilt
from sklearn.base import clone

from skdistort.audio import (
    EnergyVAD,
    LogMelSpectrogram,
    WebRtcVAD,
    energy_vad,
    frame_log_energies,
    log_mel,
    normalise_bands,
    temporal_modulation,
    without_variation,
)

RATE = 16000
LENGTHS = {"sampling_rate": RATE, "frame": 400, "hop": 160}
properties = settings(deadline=None, max_examples=25)


def speak(n_samples, seed=0, level=0.3):
    """Synthesise syllables: a buzz of changing pitch through changing resonances, with pauses."""
    rng = np.random.default_rng(seed)
    syllables, n = [], 0
    while n < n_samples:
        time = np.arange(int(rng.uniform(0.1, 0.2) * RATE)) / RATE
        phase = np.cumsum(rng.uniform(90, 220) * (1 - 0.5 * time)) / RATE
        sound = np.diff(np.floor(phase), prepend=0) + 0.02 * rng.standard_normal(len(time))
        for frequency in rng.uniform([250, 800, 2200], [800, 2200, 3200]):
            radius = np.exp(-np.pi * 90 / RATE)
            angle = 2 * np.pi * frequency / RATE
            sound = lfilter([1], [1, -2 * radius * np.cos(angle), radius**2], sound)
        sound *= np.hanning(len(time)) / np.abs(sound).max()
        pause = 1e-3 * rng.standard_normal(int(rng.uniform(0.02, 0.1) * RATE))
        syllables += [sound, pause]
        n += len(sound) + len(pause)
    return np.float32(level * np.concatenate(syllables)[:n_samples])


def colour(n_samples, slope, rng):
    """Gaussian noise whose power goes with a power of the frequency, periodic in twice its time."""
    spectrum = np.fft.rfft(rng.standard_normal(2 * n_samples))
    frequencies = np.arange(len(spectrum), dtype=float)
    frequencies[0] = 1
    return np.fft.irfft(spectrum * frequencies ** (slope / 2))[:n_samples]


def band(n_samples, low, high, rng):
    sos = butter(4, [low, high], "band", fs=RATE, output="sos")
    return sosfilt(sos, rng.standard_normal(n_samples + RATE))[RATE:]


def resonance(n_samples, frequency, width, rng):
    radius = np.exp(-np.pi * width / RATE)
    poles = [1, -2 * radius * np.cos(2 * np.pi * frequency / RATE), radius**2]
    return lfilter([1], poles, rng.standard_normal(n_samples + RATE))[RATE:]


NOISES = {
    **{f"power {slope}": lambda n, rng, s=slope: colour(n, s, rng) for slope in range(-6, 4)},
    "steps": lambda n, rng: np.cumsum(rng.standard_normal(n)),
    "telephone": lambda n, rng: band(n, 300, 3400, rng),
    "low band": lambda n, rng: band(n, 100, 200, rng),
    "narrow band": lambda n, rng: band(n, 1000, 1100, rng),
    "high band": lambda n, rng: band(n, 4000, 7000, rng),
    "resonance": lambda n, rng: resonance(n, 500, 20, rng),
    "two resonances": lambda n, rng: resonance(n, 300, 50, rng) + resonance(n, 2500, 80, rng),
    "any filter": lambda n, rng: np.convolve(rng.standard_normal(n), rng.standard_normal(64)),
    "uniform": lambda n, rng: rng.uniform(-1, 1, n),
    "heavy tails": lambda n, rng: rng.laplace(size=n),
    "hum": lambda n, rng: np.sin(2 * np.pi * 100 * np.arange(n) / RATE) + rng.normal(0, 0.1, n),
}


def make_noise(name, n_samples, seed, level=0.1):
    noise = NOISES[name](n_samples, np.random.default_rng(seed))[:n_samples]
    return np.float32(level * noise / noise.std())


def kaldi_log_energies(waveform):
    options = kaldi_native_fbank.MfccOptions()
    options.frame_opts.dither = 0
    options.use_energy, options.raw_energy, options.energy_floor = True, True, 0
    computer = kaldi_native_fbank.OnlineMfcc(options)
    computer.accept_waveform(RATE, (waveform * 32768).tolist())
    computer.input_finished()
    return np.array([computer.get_frame(i)[0] for i in range(computer.num_frames_ready)])


@pytest.mark.parametrize("offset", [0, 0.125])
def test_log_energies_are_kaldis(offset):
    waveform = speak(40000)
    waveform[8000:20000] = 0
    found = frame_log_energies(waveform + np.float32(offset), 400, 160)
    expected = kaldi_log_energies(waveform + np.float32(offset))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 if not offset else 0.01)
    assert found[60] == pytest.approx(np.log(np.finfo(np.float32).eps))


@pytest.mark.parametrize("lengths", [(400, 160), (401, 161), (551, 220), (512, 512), (320, 640)])
def test_log_energies_of_any_frames(lengths):
    frame, hop = lengths
    waveform = speak(70000)
    frames = np.lib.stride_tricks.sliding_window_view(np.float64(waveform) * 2**15, frame)[::hop]
    expected = np.log(np.square(frames - frames.mean(axis=1, keepdims=True)).sum(axis=1))
    np.testing.assert_allclose(frame_log_energies(waveform, frame, hop), expected, rtol=1e-5)


def kaldi_vad(log_energies, threshold, mean_scale, context, proportion):
    """Do it the slow way, frame by frame."""
    threshold += mean_scale * log_energies.mean()
    voiced = []
    for t in range(len(log_energies)):
        window = log_energies[max(t - context, 0) : t + context + 1]
        voiced.append((window > threshold).sum() >= len(window) * np.float32(proportion))
    return voiced


@properties
@given(
    n_frames=st.integers(1, 60),
    threshold=st.sampled_from([-1.0, 5.0, 5.5]),
    mean_scale=st.sampled_from([0, 0.3, 0.5]),
    context=st.integers(0, 6),
    proportion=st.sampled_from([0.12, 0.2, 0.5, 0.6, 0.99]),
    seed=st.integers(0, 1000),
)
def test_decisions_are_kaldis(n_frames, threshold, mean_scale, context, proportion, seed):
    energies = np.random.default_rng(seed).uniform(-16, 20, n_frames)
    options = {"threshold": threshold, "mean_scale": mean_scale}
    options |= {"context": context, "proportion": proportion}
    found = energy_vad(energies, **options)
    assert found.dtype == bool
    assert found.tolist() == kaldi_vad(energies, **options)


def test_kaldis_defaults_by_hand():
    # Threshold 5.5 + 0.5 * 6 = 8.5; one frame of five is enough.
    energies = np.array([4, 4, 4, 4, 20, 4, 4, 4, 4, 8])
    assert energy_vad(energies).nonzero()[0].tolist() == [2, 3, 4, 5, 6]
    assert energy_vad(energies, context=0, proportion=0.6).nonzero()[0].tolist() == [4]
    assert energy_vad([]).shape == (0,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"proportion": 0}, "'proportion' parameter of energy_vad"),
        ({"proportion": 1.0}, "'proportion'"),
        ({"mean_scale": -1}, "'mean_scale'"),
        ({"context": 1.5}, "'context'"),
        ({"threshold": "a"}, "'threshold'"),
    ],
)
def test_vad_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        energy_vad([1.0, 2.0], **options)
    with pytest.raises(ValueError, match=message.replace("energy_vad", "EnergyVAD")):
        EnergyVAD(**options).detect(np.zeros(400, np.float32), np.zeros((1, 2)), **LENGTHS)
    with pytest.raises(ValueError, match=r"1-D, got shape \(1, 2\)"):
        energy_vad([[1, 2]])


def test_modulation_knows_neither_level_nor_colour():
    features = log_mel(speak(RATE))
    shifted = features + np.random.default_rng(0).uniform(-30, 200, 80)
    assert temporal_modulation(features) > 1.5
    assert temporal_modulation(shifted) == pytest.approx(temporal_modulation(features), rel=1e-4)
    assert temporal_modulation(np.ones((7, 3))) == 0
    # log((1 + e^2) / 2) - 1 of one band, nothing of the other.
    by_hand = (np.log((1 + np.exp(2)) / 2) - 1) / 2
    assert temporal_modulation([[0, 1], [2, 1]]) == pytest.approx(by_hand)
    with pytest.raises(ValueError, match=r"shape \(n_frames, n_bands\), got \(0, 3\)"):
        temporal_modulation(np.empty((0, 3)))


def test_bound_is_that_of_exponential_energies():
    energies = np.random.default_rng(0).exponential(size=(200000, 3))
    assert temporal_modulation(np.log(energies)) == pytest.approx(np.euler_gamma, abs=0.01)
    assert EnergyVAD().min_modulation == pytest.approx(np.euler_gamma, abs=1e-4)


def test_speech_is_found_where_it_is():
    waveform = np.concatenate([np.zeros(RATE), speak(RATE), np.zeros(RATE)]).astype(np.float32)
    waveform += np.float32(1e-4) * np.random.default_rng(0).standard_normal(3 * RATE).astype("f4")
    speech = EnergyVAD().detect(waveform, log_mel(waveform), **LENGTHS)
    assert speech.shape == (298,)
    assert not speech[:95].any()
    assert not speech[205:].any()
    assert speech[98:198].mean() > 0.9


@pytest.mark.parametrize("seconds", [0.3, 1, 3.5])
@pytest.mark.parametrize("name", NOISES)
def test_stationary_noise_is_no_speech(name, seconds):
    n_samples = int(seconds * RATE)
    for seed, level in ((0, 0.1), (1, 0.001), (2, 0.3)):
        noise = make_noise(name, n_samples, seed, level)
        with pytest.raises(ValueError, match=r"X\[0\] holds 0.00 s of speech"):
            LogMelSpectrogram(n_frames=350).transform([noise])
        # And after silence, which makes a mean over all frames small.
        late = np.concatenate([np.zeros(RATE, np.float32), noise])
        with pytest.raises(ValueError, match=r"X\[0\] holds 0.00 s of speech"):
            LogMelSpectrogram(n_frames=None).transform([late])


def tone(n):
    return np.sin(2 * np.pi * 440 * np.arange(n) / RATE)


NO_SPEECH = {
    "digital silence": np.zeros(20000),
    "silence of int16": np.zeros(20000, dtype=np.int16),
    "an offset": np.full(20000, 0.1),
    "the last bit": np.random.default_rng(0).integers(-1, 2, 20000).astype(np.int16),
    "31 ms": speak(int(0.031 * RATE)),
    "under the least duration": speak(int(0.18 * RATE)),
    "a tone": tone(20000),
    "a tone after silence": np.concatenate([np.zeros(20000), tone(20000)]),
    "a click": np.eye(1, 20000, 10000).ravel(),
}


@pytest.mark.parametrize("name", NO_SPEECH)
def test_what_is_no_speech_is_refused_by_index(name):
    X = [speak(20000), NO_SPEECH[name]]
    for options in ({}, {"cmvn": False}, {"n_frames": None}):
        with pytest.raises(ValueError, match=r"^X\[1\] holds .* of speech, at least 0.2 s are"):
            LogMelSpectrogram(**options).fit_transform(X)
    with pytest.warns(UserWarning, match=r"1 of 3 .*\n  X\[1\] holds .* of speech"):
        images, usable = LogMelSpectrogram().transform_usable([*X, speak(30000)])
    assert usable.tolist() == [True, False, True]
    assert len(images) == 2
    taken = LogMelSpectrogram(detector=None).transform(X)
    assert taken.shape == (2, 80, 350, 1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("snr", [10, 20, None])
def test_speech_is_taken(seed, snr):
    waveform = speak(RATE, seed)
    if snr:
        level = np.sqrt(np.square(waveform).mean() / 10 ** (snr / 10))
        waveform += np.float32(level) * np.random.default_rng(seed).standard_normal(RATE).astype(
            "f4"
        )
    for scale in (0.1, 1):
        scaled = np.float32(scale) * waveform
        found = LogMelSpectrogram(n_frames=98).transform([scaled])
        expected = LogMelSpectrogram(n_frames=98, detector=None).transform([scaled])
        np.testing.assert_array_equal(found, expected)


def test_channels_that_cancel_out(tmp_path):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([speak(RATE), -speak(RATE)], axis=1), RATE)
    with pytest.raises(ValueError, match="in the mean of its 2 channels: channel takes one"):
        LogMelSpectrogram().transform([path])
    assert LogMelSpectrogram(channel=1).transform([path]).any()


def silence(seconds):
    return np.zeros(int(seconds * RATE), dtype=np.float32)


@pytest.mark.parametrize(("before", "after"), [(0, 10), (10, 0), (1, 9), (7, 3), (20, 3)])
@pytest.mark.parametrize("kind", ["array", "file"])
def test_the_crop_goes_where_speech_is(before, after, kind):
    speech = speak(RATE)
    waveform = np.concatenate([silence(before), speech, silence(after)])
    utterance = waveform
    if kind == "file":
        utterance = io.BytesIO()
        soundfile.write(utterance, waveform, RATE, format="WAV", subtype="FLOAT")
    transformer = LogMelSpectrogram(n_frames=200, cmvn=False)
    crop = transformer.transform([utterance])[0, :, :, 0].T
    features = log_mel(waveform)
    first = np.flatnonzero(
        [np.allclose(crop, features[i : i + 200], atol=1e-3) for i in range(len(features) - 199)]
    )
    # Silence looks alike, so there may be more than one place.
    assert len(first)
    held = np.array([min(i + 200, 100 * before + 100) - max(i, 100 * before) for i in first])
    assert held.max() >= 20


def test_the_central_crop_is_kept_where_it_holds_speech():
    waveform = speak(20 * RATE)
    found = LogMelSpectrogram(n_frames=100).transform([waveform])
    expected = LogMelSpectrogram(n_frames=100, detector=None).transform([waveform])
    np.testing.assert_array_equal(found, expected)
    both = LogMelSpectrogram(n_frames=100, n_jobs=2).transform([waveform] * 4)
    np.testing.assert_array_equal(both, np.repeat(expected, 4, axis=0))


def test_the_least_duration_is_a_parameter():
    waveform = np.concatenate([speak(RATE // 2), silence(2)])
    LogMelSpectrogram(min_speech=0.4).transform([waveform])
    with pytest.raises(ValueError, match=r"holds 0.\d\d s of speech, at least 0.7 s are needed"):
        LogMelSpectrogram(min_speech=0.7).transform([waveform])
    with pytest.raises(ValueError, match=r"min_speech=1.0 s is more than the 0.5 s of n_frames=50"):
        LogMelSpectrogram(n_frames=50, min_speech=1.0).fit([waveform])


def test_silence_is_dropped_and_statistics_are_of_speech():
    waveform = np.concatenate([speak(RATE), silence(1), speak(RATE, 1)])
    features = log_mel(waveform)
    speech = EnergyVAD().detect(waveform, features, **LENGTHS)
    assert 150 < speech.sum() < 230
    whole = LogMelSpectrogram(n_frames=None, drop_silence=True, cmvn=False)
    found = whole.transform([waveform])[0]
    np.testing.assert_allclose(found[:, :, 0].T, features[speech], atol=1e-3)
    dropped = clone(whole).set_params(cmvn=True).transform([waveform])[0][:, :, 0]
    np.testing.assert_allclose(dropped.mean(axis=1), 0, atol=1e-4)
    kept = LogMelSpectrogram(n_frames=None, cmvn="speech").transform([waveform])[0]
    np.testing.assert_allclose(kept[:, :, 0].T, normalise_bands(features, speech), atol=1e-2)
    np.testing.assert_allclose(kept[:, speech, 0], dropped, atol=1e-3)
    image = LogMelSpectrogram(n_frames=300, drop_silence=True).transform([waveform])[0]
    np.testing.assert_allclose(image[:, : speech.sum(), 0], dropped, atol=1e-3)
    np.testing.assert_array_equal(image[:, speech.sum() :], image[:, : 300 - speech.sum()])
    for options in ({"drop_silence": True}, {"cmvn": "speech"}):
        with pytest.raises(ValueError, match="need a detector, got detector=None"):
            LogMelSpectrogram(detector=None, **options).fit([waveform])


class Loud:
    """A detector of one's own."""

    def __init__(self, least):
        self.least = least

    def detect(self, samples, features, *, sampling_rate, frame, hop):
        assert sampling_rate == RATE
        frames = np.lib.stride_tricks.sliding_window_view(samples, frame)[::hop]
        assert len(frames) == len(features)
        return np.abs(frames).max(axis=1) > self.least


def test_another_detector():
    noise = make_noise("power 0", 2 * RATE, 0)
    noise[:RATE] *= 0.01
    found = LogMelSpectrogram(n_frames=None, detector=Loud(0.1), drop_silence=True).transform(
        [noise]
    )
    assert 95 < found[0].shape[1] < 105
    with pytest.raises(ValueError, match="holds 0.00 s of speech"):
        LogMelSpectrogram(detector=Loud(2)).transform([noise])
    everything = LogMelSpectrogram(detector=EnergyVAD(min_modulation=0)).transform([noise])
    assert everything.shape == (1, 80, 350, 1)
    nested = LogMelSpectrogram(detector=EnergyVAD()).set_params(detector__threshold=30)
    with pytest.raises(ValueError, match="holds 0.00 s of speech"):
        nested.transform([speak(RATE)])


def test_spectrograms_in_which_nothing_varies():
    spectrograms = np.random.default_rng(0).normal(size=(5, 8, 9)).astype(np.float32)
    spectrograms[1] = 0
    spectrograms[3] = np.arange(8)[:, None] - 15.942385
    spectrograms[4, 1:] = 0
    for X in (spectrograms, spectrograms[..., None], np.float64(spectrograms)):
        assert without_variation(X).tolist() == [1, 3]
    taken = LogMelSpectrogram(detector=None).transform(
        [silence(1), speak(RATE), np.full(9000, 0.5)]
    )
    assert without_variation(taken).tolist() == [0, 2]
    assert without_variation(taken[:0]).tolist() == []
    with pytest.raises(ValueError, match=r"\(n_samples, n_mels, n_frames\[, 1\]\), got \(8, 9\)"):
        without_variation(spectrograms[0])


def test_what_cannot_be_told_is_not_called_out():
    """Nothing here warns; all that is refused is."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LogMelSpectrogram().transform([speak(20000), speak(70000, 1)])


@pytest.fixture
def webrtc():
    pytest.importorskip("webrtcvad")
    return WebRtcVAD()


@pytest.mark.parametrize("name", NOISES)
def test_webrtc_takes_no_noise_for_speech(name, webrtc):
    with pytest.raises(ValueError, match="X\\[0\\] holds 0.00 s of speech"):
        LogMelSpectrogram(detector=webrtc).transform([make_noise(name, 2 * RATE, 1)])


def test_webrtc_finds_where_speech_is(webrtc):
    waveform = np.concatenate([silence(1), speak(RATE), silence(1)])
    speech = webrtc.detect(waveform, log_mel(waveform), **LENGTHS)
    assert speech.shape == (298,)
    assert speech.dtype == bool
    assert not speech[:97].any()
    assert not speech[220:].any()
    assert speech[100:198].mean() > 0.8
    as_integers = np.int16(np.rint(32767 * waveform))
    found = webrtc.detect(as_integers, log_mel(waveform), **LENGTHS)
    assert np.mean(found == speech) > 0.99
    image = LogMelSpectrogram(n_frames=None, detector=webrtc, drop_silence=True)
    assert image.fit_transform([waveform])[0].shape[1] == speech.sum()


def test_webrtc_is_held_to_the_modulation_unless_told_not_to(webrtc):
    noise = make_noise("power 0", 2 * RATE, 0, level=0.3)
    arguments = noise, log_mel(noise)
    strict = clone(webrtc).set_params(aggressiveness=3)
    lax = clone(webrtc).set_params(aggressiveness=0, min_modulation=0)
    assert not strict.detect(*arguments, **LENGTHS).any()
    assert lax.detect(*arguments, **LENGTHS).any()


def test_what_webrtc_cannot_do_is_refused(webrtc, monkeypatch):
    waveform = speak(RATE)
    with pytest.raises(ValueError, match="sampling rates of 8000, .*, got 22050.*resample=True"):
        LogMelSpectrogram(detector=webrtc, sampling_rate=22050).transform([waveform])
    with pytest.raises(ValueError, match="'aggressiveness' parameter of WebRtcVAD"):
        LogMelSpectrogram(detector=clone(webrtc).set_params(aggressiveness=4)).transform([waveform])
    monkeypatch.setitem(sys.modules, "webrtcvad", None)
    with pytest.raises(ImportError, match=r"pip install 'skdistort\[vad\]'"):
        LogMelSpectrogram(detector=webrtc).transform([waveform])
