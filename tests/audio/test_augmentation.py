"""Changes of spectrograms: what each of them may do, and what it must not."""

import numpy as np
import pytest
from sklearn.base import clone

from skdistort.audio import SpeechAugmentation, log_mel

pytestmark = pytest.mark.fast


@pytest.fixture
def spectrograms():
    return np.random.default_rng(0).standard_normal((40, 12, 30, 1)).astype(np.float32)


def apply(images, seed=0, **settings):
    return SpeechAugmentation(**settings).apply(images, np.random.RandomState(seed))


def test_nothing_changes_by_default(spectrograms):
    found = apply(spectrograms)
    np.testing.assert_array_equal(found, spectrograms)
    assert not np.shares_memory(found, spectrograms)


@pytest.mark.parametrize(
    "settings", [{"crop": 0.5}, {"tempo": 0.2}, {"noise": 0.5}, {"time_mask": 0.5}]
)
def test_changes_are_drawn_anew_and_leave_the_input_alone(settings, spectrograms):
    before = spectrograms.copy()
    first, again, other = (apply(spectrograms, seed, **settings) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(spectrograms, before)
    assert first.dtype == np.float32
    assert first.shape == before.shape


def test_a_crop_is_a_stretch_that_repeats():
    frames = np.tile(np.arange(30, dtype=np.float32), (50, 3, 1))[..., None]
    found = apply(frames, crop=0.4)
    np.testing.assert_array_equal(found[:, 0], found[:, 2])
    lengths = set()
    for row in found[:, 0, :, 0].astype(int):
        length = row.max() - row.min() + 1
        assert 12 <= length <= 30
        assert row.tolist() == [row[0] + t % length for t in range(30)]
        lengths.add(length)
    assert len(lengths) > 5


def test_tempo_passes_over_frames_faster_or_slower():
    frames = np.tile(np.arange(200, dtype=np.float32), (60, 1, 1))[..., None]
    steps = np.diff(apply(frames, tempo=0.25)[:, 0, :100, 0], axis=1)
    np.testing.assert_allclose(steps, np.tile(steps[:, :1], 99), atol=1e-4)
    assert 0.75 <= steps.min() < 0.85
    assert 1.15 < steps.max() <= 1.25


def test_noise_goes_with_the_spectrogram(spectrograms):
    scale = np.linspace(1, 9, 40).astype(np.float32)[:, None, None, None]
    added = [apply(images, noise=0.5) - images for images in (spectrograms, scale * spectrograms)]
    np.testing.assert_allclose(added[1], scale * added[0], atol=1e-4)
    shares = added[0].std(axis=(1, 2, 3)) / spectrograms.std(axis=(1, 2, 3))
    assert 0.3 < shares.max() < 0.6
    assert shares.min() < 0.1


@pytest.mark.parametrize(("setting", "axis", "most"), [("time_mask", 2, 6), ("band_mask", 1, 3)])
def test_masks_cover_stretches_with_the_mean(setting, axis, most, spectrograms):
    found = apply(spectrograms, n_masks=1, **{setting: most / spectrograms.shape[axis]})
    changed = found != spectrograms
    other = 3 - axis
    # Whole bands, or whole frames.
    np.testing.assert_array_equal(changed.any(axis=other), changed.all(axis=other))
    covered = changed.any(axis=other)[..., 0]
    widths = covered.sum(axis=1)
    assert set(widths) == set(range(most + 1))
    assert (np.abs(np.diff(covered.astype(int), axis=1)).sum(axis=1) <= 2).all()
    means = np.broadcast_to(spectrograms.mean(axis=(1, 2), keepdims=True), found.shape)
    np.testing.assert_array_equal(found[changed], means[changed])


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"crop": 0}, "crop"),
        ({"tempo": 1}, "tempo"),
        ({"noise": -1}, "noise"),
        ({"time_mask": 1.0}, "time_mask"),
        ({"band_mask": -0.1}, "band_mask"),
        ({"n_masks": 0}, "n_masks"),
    ],
)
def test_parameters_out_of_bounds(settings, name, spectrograms):
    with pytest.raises(ValueError, match=f"'{name}' parameter of augmentation"):
        apply(spectrograms, **settings)


def room(seconds, rng, ratio=1.0, rate=16000):
    """Draw an impulse response: the direct sound, and noise that falls by 60 dB in so long."""
    time = np.arange(int(1.2 * seconds * rate)) / rate
    echoes = rng.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    echoes *= np.sqrt(ratio / np.square(echoes).sum())
    echoes[0] = 1
    return echoes


def test_reverberation_is_that_of_a_room():
    """As in the spectrogram of the waveform that was convolved with the impulse response."""
    rng = np.random.default_rng(0)
    bursts = (np.arange(32000) // 1600 % 8 == 1) + 1e-4
    waveform = 0.1 * bursts * rng.standard_normal(32000)
    response = room(0.4, rng)
    clean = log_mel(waveform, n_mels=10)
    expected = log_mel(np.convolve(waveform, response)[:32000] / np.sqrt(2), n_mels=10)
    found = apply(np.repeat(clean.T[None, :, :, None], 8, axis=0), impulse_responses=[response])
    dry = np.abs(found - clean.T[None, :, :, None]).max(axis=(1, 2, 3)) < 1e-3
    assert 0 < dry.sum() < 8
    errors = (found[~dry][0, :, :, 0].T - expected)[5:]
    assert np.abs(expected - clean)[5:].mean() > 3
    assert np.abs(errors).mean() < 0.6
    assert abs(errors.mean()) < 0.3


def test_drawn_rooms_fall_by_their_time_and_keep_the_level():
    image = np.full((300, 2, 120, 1), np.log(1e-9), dtype=np.float32)
    image[:, :, 10] = 0
    found = apply(image, reverberation=0.8)[:, 0, :, 0]
    np.testing.assert_allclose(np.exp(found[:, :10]), 0, atol=1e-6)
    # Where echoes are above what is there without them.
    heard = found[:, 13] > np.log(1e-7)
    slopes = (found[:, 11] - found[:, 13]) / 2
    times = 6 * np.log(10) * 0.01 / slopes[heard]
    assert 0.7 < times.max() < 0.81
    assert 0.3 < np.median(times) < 0.5
    # What was one frame is one frame and its echoes.
    assert np.exp(found).sum(axis=1).max() < 1.001
    direct = np.exp(found[:, 10])
    assert 0.5 <= direct.min() < 0.7
    assert direct.max() > 0.9
    # In other units it is the same.
    other = apply(image / 4, reverberation=0.8, log_unit=4.0)
    np.testing.assert_allclose(4 * other[:, 0, :, 0], found, atol=1e-3)
    slower = apply(image, reverberation=0.8, hop_length=0.02)[:, 0, :, 0]
    heard = slower[:, 12] > np.log(1e-7)
    fallen = (slower[:, 11] - slower[:, 12])[heard]
    np.testing.assert_allclose(fallen, 2 * slopes[heard], rtol=0.05)


def test_rooms_are_drawn_anew_and_nothing_is_without_them(spectrograms):
    rooms = [room(0.3, np.random.default_rng(i)) for i in range(3)]
    for settings in ({"reverberation": 0.5}, {"impulse_responses": rooms}):
        first, again, other = (apply(spectrograms, seed, **settings) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)
        assert first.dtype == np.float32
        assert np.isfinite(first).all()
    found = apply(spectrograms, impulse_responses=[[0, 0, 1.0, 0], np.array([-2])])
    np.testing.assert_allclose(found, spectrograms, atol=1e-4)
    assert np.isfinite(apply(np.zeros((2, 3, 4, 1), "f4"), reverberation=1.0)).all()
    late = np.zeros(800)
    late[[100, 100 + 480]] = 1, 0.999
    shifted = apply(spectrograms, impulse_responses=[late])
    moved = np.abs(shifted - spectrograms).max(axis=(1, 2, 3)) > 1e-3
    assert 0.2 < moved.mean() < 0.8
    energies = np.exp(spectrograms[moved])
    expected = energies.copy()
    expected[:, :, 3:] += 0.999**2 * energies[:, :, :-3]
    np.testing.assert_allclose(np.exp(shifted[moved]), expected / (1 + 0.999**2), rtol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reverberation": -0.1}, "'reverberation'"),
        ({"log_unit": 0.0}, "'log_unit'"),
        ({"impulse_responses": []}, "holds none"),
        ({"impulse_responses": [[1.0], [0.0, 0.0]]}, r"impulse_responses\[1\] must be 1-D, finite"),
        ({"impulse_responses": [[np.nan]]}, r"impulse_responses\[0\]"),
        ({"impulse_responses": np.ones((2, 3, 1))}, r"impulse_responses\[0\] .* shape \(3, 1\)"),
    ],
)
def test_rooms_that_are_none_are_refused(settings, message, spectrograms):
    with pytest.raises(ValueError, match=message):
        apply(spectrograms, **settings)


def test_rooms_can_be_searched_and_copied():
    augmentation = SpeechAugmentation(reverberation=0.3, impulse_responses=[[1.0, 0.5], [1.0]])
    assert clone(augmentation).get_params() == augmentation.get_params()
    assert augmentation.set_params(reverberation=0.6).reverberation == 0.6
