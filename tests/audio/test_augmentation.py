"""Changes of spectrograms: what each of them may do, and what it must not."""

import numpy as np
import pytest

from skdistort.audio import SpeechAugmentation

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
