"""ImageAugmentation: each change alone, its extent, what stays, and what is refused."""

import numpy as np
import pytest
from sklearn.base import clone

from skdistort.images import ImageAugmentation
from skdistort.images._augmentation import PRESETS, as_augmentation

pytestmark = pytest.mark.fast

RANGE = (10.0, 250.0)


def rng():
    return np.random.RandomState(0)


def noise(n=40, shape=(12, 10, 2)):
    return rng().uniform(*RANGE, (n, *shape)).astype(np.float32)


def changed(images, **params):
    before = images.copy()
    result = ImageAugmentation(**params).apply(images, rng(), RANGE)
    np.testing.assert_array_equal(images, before)
    assert result.shape == images.shape
    assert result.dtype == np.float32
    assert result.min() >= RANGE[0]
    assert result.max() <= RANGE[1]
    return result


def blob(n=60, size=21):
    """A bright spot right of the centre, on dark ground."""
    grid = np.arange(size) - size // 2
    squares = grid[:, None] ** 2 + (grid[None] - 5) ** 2
    image = 10 + 240 * np.exp(-squares / 4)
    return np.tile(image[None, :, :, None], (n, 1, 1, 1)).astype(np.float32)


def centres(images):
    """Rows and columns of the spots, counted from the centre."""
    weights = images[..., 0] - 10
    grid = np.arange(images.shape[1]) - images.shape[1] // 2
    total = weights.sum(axis=(1, 2))
    return (
        np.stack(
            [(weights.sum(axis=2) * grid).sum(axis=1), (weights.sum(axis=1) * grid).sum(axis=1)],
            axis=1,
        )
        / total[:, None]
    )


def test_by_default_nothing_changes():
    np.testing.assert_array_equal(changed(noise()), noise())


def test_flip_mirrors_about_half_of_the_images():
    images = noise()
    result = changed(images, flip=True)
    same = (result == images).all(axis=(1, 2, 3))
    np.testing.assert_allclose(result[~same], images[~same, :, ::-1], rtol=1e-6)
    assert 10 < same.sum() < 30


def test_shift_moves_by_so_much_at_most_each_way():
    moved = centres(changed(blob(), shift=0.1)) - centres(blob(1))
    assert np.abs(moved).max() < 2.1 + 0.1
    assert (moved.min(axis=0) < -1.5).all()
    assert (moved.max(axis=0) > 1.5).all()


def test_rotation_turns_about_the_centre_either_way():
    where = centres(changed(blob(), rotation=30.0))
    angles = np.degrees(np.arctan2(where[:, 0], where[:, 1]))
    np.testing.assert_allclose(np.hypot(*where.T), 5, atol=0.1)
    assert np.abs(angles).max() < 31
    assert angles.min() < -20
    assert angles.max() > 20


def test_scale_grows_and_shrinks_about_the_centre():
    where = centres(changed(blob(), scale=0.3))
    np.testing.assert_allclose(where[:, 0], 0, atol=0.05)
    assert 3.4 < where[:, 1].min() < 4
    assert 6 < where[:, 1].max() < 6.6


def test_contrast_keeps_means_and_scales_differences():
    images = noise() * 0.2 + 100
    result = changed(images, contrast=0.3)
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(result.mean(axis=(1, 2, 3)), mean[:, 0, 0, 0], rtol=1e-4)
    factors = (result - mean).std(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))
    assert 0.7 - 1e-3 <= factors.min() < 0.8
    assert 1.2 < factors.max() <= 1.3 + 1e-3


def test_brightness_is_a_share_of_the_range():
    images = noise() * 0.2 + 100
    rises = (changed(images, brightness=0.1) - images).reshape(40, -1)
    assert np.ptp(rises, axis=1).max() < 1e-3
    assert -24 <= rises.min() < -15
    assert 15 < rises.max() <= 24


def test_erasing_paints_a_rectangle_in_a_share_of_the_images():
    images = noise(200)
    result = changed(images, erasing=0.5)
    touched = (result != images).any(axis=3)
    erased = touched.any(axis=(1, 2))
    assert 70 < erased.sum() < 130
    for image, mask in zip(result[erased], touched[erased], strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert mask.sum() == len(rows) * len(columns)
        assert 0.02 < mask.mean() < 0.45
        assert len(np.unique(image[mask])) == 1


def test_channels_move_together_and_images_apart():
    images = np.repeat(noise(shape=(9, 9, 1)), 3, axis=3)
    result = changed(images, **PRESETS["photos"])
    np.testing.assert_array_equal(result, np.repeat(result[..., :1], 3, axis=3))
    alike = changed(np.repeat(images[:1], 20, axis=0), shift=0.3)
    assert len(np.unique(alike.reshape(20, -1), axis=0)) == 20


def test_chance_comes_from_the_generator():
    augmentation = ImageAugmentation(**PRESETS["photos"])
    draws = [augmentation.apply(noise(), np.random.RandomState(i), RANGE) for i in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()


@pytest.mark.parametrize("shape", [(1, 9, 1), (1, 1, 1), (5, 1, 3)])
def test_images_of_any_shape(shape):
    changed(noise(shape=shape), **PRESETS["photos"])


def test_the_preset_of_digits_neither_mirrors_nor_erases():
    digits = as_augmentation("digits")
    assert not digits.flip
    assert digits.erasing == 0
    assert digits.rotation <= 15
    assert as_augmentation("photos").flip
    assert as_augmentation(None) is None


@pytest.mark.parametrize(
    "params",
    [{"shift": 1.5}, {"scale": 1}, {"rotation": -1}, {"flip": 2}, {"erasing": float("nan")}],
)
def test_refuses_what_is_out_of_bounds(params):
    augmentation = clone(ImageAugmentation(**params))
    message = f"The '{next(iter(params))}' parameter of augmentation"
    for check in (augmentation.check, lambda: as_augmentation(augmentation)):
        with pytest.raises(ValueError, match=message):
            check()
