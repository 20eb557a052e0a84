"""Image distances against other implementations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import sobel
from scipy.stats import pearsonr
from skimage.metrics import structural_similarity
from support.backends import image_pairs

import skdistort.metrics._image_distances as distances
from skdistort.metrics import abs_pearson, dssim, edge_correlation, l1, mse, pointwise_r2, rmse

pytestmark = pytest.mark.fast

MEASURES = [mse, rmse, l1, dssim, abs_pearson, edge_correlation, pointwise_r2]


def ssim_by_loops(x, y):
    """Mean SSIM of one channel, window by window, from Wang et al.'s formula."""

    def weights(size):
        length = min(11, size - 1 + size % 2)
        w = np.exp(-((np.arange(length) - length // 2) ** 2) / (2 * 1.5**2))
        return w / w.sum()

    window = np.outer(weights(x.shape[0]), weights(x.shape[1]))
    h, w = window.shape
    values = []
    for i in range(x.shape[0] - h + 1):
        for j in range(x.shape[1] - w + 1):
            a, b = x[i : i + h, j : j + w], y[i : i + h, j : j + w]
            ma, mb = np.sum(window * a), np.sum(window * b)
            va, vb = np.sum(window * (a - ma) ** 2), np.sum(window * (b - mb) ** 2)
            cov = np.sum(window * (a - ma) * (b - mb))
            values.append(
                (2 * ma * mb + 1e-4)
                * (2 * cov + 9e-4)
                / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
            )
    return np.mean(values)


@settings(deadline=None, max_examples=25)
@given(h=st.integers(1, 15), w=st.integers(1, 15), c=st.integers(1, 3))
def test_dssim_equals_the_formula_at_any_size(h, w, c):
    X, Y = image_pairs(2, h, w, c)
    expected = [
        np.mean([(1 - ssim_by_loops(x[..., k], y[..., k])) / 2 for k in range(c)])
        for x, y in zip(X, Y, strict=True)
    ]
    np.testing.assert_allclose(dssim(X, Y), expected, atol=1e-10)


@pytest.mark.parametrize(
    ("h", "w", "c"), [(11, 11, 1), (28, 28, 1), (20, 33, 3), (34, 35, 1), (58, 59, 2), (112, 83, 1)]
)
def test_dssim_equals_scikit_image(h, w, c):
    X, Y = image_pairs(3, h, w, c)
    expected = [
        structural_similarity(
            x,
            y,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
        )
        for x, y in zip(X, Y, strict=True)
    ]
    np.testing.assert_allclose(1 - 2 * dssim(X, Y), expected, atol=1e-10)


def test_pixel_distances_equal_their_formulas():
    X, Y = image_pairs(c=3)
    for i, (x, y) in enumerate(zip(X, Y, strict=True)):
        difference = (x - y).ravel()
        assert mse(X, Y)[i] == pytest.approx(np.dot(difference, difference) / x.size)
        assert rmse(X, Y)[i] == pytest.approx(np.linalg.norm(x - y) / np.sqrt(x.size))
        assert l1(X, Y)[i] == pytest.approx(np.sum(np.abs(x - y)) / x.size)


def test_abs_pearson_equals_scipy():
    X, Y = image_pairs(c=3)
    for Z in (Y, 1 - Y):
        expected = [
            abs(pearsonr(x.ravel(), z.ravel()).statistic) for x, z in zip(X, Z, strict=True)
        ]
        np.testing.assert_allclose(abs_pearson(X, Z), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("size", "n_halvings"), [((14, 13), 0), ((60, 47), 0), ((49, 61), 1), ((97, 110), 2)]
)
def test_edge_correlation_equals_scipy_at_the_best_resolution(size, n_halvings):
    X, Y = image_pairs(3, *size, c=3)
    # Only coarse structure is common, so that every halving counts.
    common = np.random.default_rng(1).random((3, 4, 4, 3)).repeat(28, axis=1).repeat(28, axis=2)
    X, Y = (0.5 * images + 0.5 * common[:, : size[0], : size[1]] for images in (X, Y))

    def edges(image):
        channels = np.moveaxis(image, -1, 0)
        magnitudes = [np.hypot(sobel(p, axis=0), sobel(p, axis=1)) for p in channels]
        return np.stack(magnitudes, axis=-1).ravel()

    def halved(image):
        for axis in (0, 1):
            even = image.shape[axis] // 2 * 2
            pairs = np.split(image.take(range(even), axis=axis), even // 2, axis=axis)
            image = np.concatenate([p.mean(axis=axis, keepdims=True) for p in pairs], axis=axis)
        return image

    for i, (x, y) in enumerate(zip(X, Y, strict=True)):
        found = []
        for _ in range(n_halvings + 1):
            found.append(abs(pearsonr(edges(x), edges(y)).statistic))
            x, y = halved(x), halved(y)
        assert edge_correlation(X, Y)[i] == pytest.approx(max(found), abs=1e-12)


def test_a_pattern_of_pixels_does_not_hide_contours():
    rows, columns = np.indices((112, 112))
    rng = np.random.default_rng(0)
    centres = rng.uniform(30, 82, (6, 2))
    disks = np.stack([np.hypot(rows - r, columns - c) < 20 for r, c in centres])[..., None]
    covered = 0.4 * (1 - disks) + 0.6 * rng.random(disks.shape)
    assert edge_correlation(disks, covered).min() > 0.6
    assert edge_correlation(disks, np.roll(covered, 1, axis=0)).max() < 0.4


def test_pointwise_r2_equals_analysis_of_variance():
    X, Y = image_pairs(4, 12, 11)
    X[0] = np.round(X[0])  # only two bins occupied
    for i, (x, y) in enumerate(zip(X.reshape(4, -1), Y.reshape(4, -1), strict=True)):
        groups = [y[np.minimum(x * 16, 15).astype(int) == b] for b in range(16)]
        groups = [g for g in groups if g.size]
        within = sum(np.sum((g - g.mean()) ** 2) for g in groups) / (y.size - len(groups))
        between = sum(g.size * (g.mean() - y.mean()) ** 2 for g in groups)
        expected = (between - (len(groups) - 1) * within) / np.sum((y - y.mean()) ** 2)
        assert pointwise_r2(X, Y)[i] == pytest.approx(max(expected, 0), abs=1e-12)


def test_pointwise_r2_finds_look_up_tables_and_nothing_else():
    X = np.random.default_rng(0).random((200, 16, 16, 1))
    assert pointwise_r2(X, 1 - X).min() > 0.98
    assert pointwise_r2(X, X**2.2).min() > 0.98
    assert pointwise_r2(X, (2 * X - 1) ** 2).min() > 0.95
    noise = np.random.default_rng(1).random(X.shape)
    # Uncorrected, chance alone would explain 15/255 = 0.059 of every image.
    assert pointwise_r2(X, noise).mean() < 0.02
    assert pointwise_r2(X, noise).min() == 0
    assert pointwise_r2(X[:, :2, :2], noise[:, :2, :2]).max() <= 1


@pytest.mark.parametrize("measure", [abs_pearson, edge_correlation, pointwise_r2])
def test_a_constant_image_correlates_with_nothing(measure):
    X = image_pairs()[0].astype(np.float32)
    rounding = np.random.default_rng(0).choice([-3e-8, 0, 6e-8], X.shape)
    for flat in (np.full_like(X, 0.3), (0.3 + rounding).astype(np.float32)):
        assert measure(X, flat).tolist() == [0, 0, 0]
        if measure is not pointwise_r2:
            assert measure(flat, X).tolist() == [0, 0, 0]


@pytest.mark.parametrize("measure", MEASURES)
def test_measures_do_not_depend_on_the_blocks(measure, monkeypatch):
    X, Y = image_pairs(7)
    whole = measure(X, Y)
    assert whole.shape == (7,)
    assert whole.dtype == np.float64
    monkeypatch.setattr(distances, "_BLOCK", 2 * X[0].size)
    np.testing.assert_array_equal(measure(X, Y), whole)
    np.testing.assert_allclose([measure(X[i : i + 1], Y[i : i + 1])[0] for i in range(7)], whole)
    best = 1 if measure in (abs_pearson, edge_correlation) else 0
    if measure is not pointwise_r2:
        np.testing.assert_allclose(measure(X, X), best, atol=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_measures_refuse_bad_images(measure):
    X, Y = image_pairs()
    with pytest.raises(ValueError, match=r"X must be non-empty of shape .* got \(3, 14, 13\)"):
        measure(X[..., 0], Y)
    with pytest.raises(ValueError, match="X must be non-empty"):
        measure(X[:0], Y[:0])
    with pytest.raises(ValueError, match="same shape"):
        measure(X, Y[:, :5])
    with pytest.raises(ValueError, match=r"Y must hold pixels in \[0, 1\]"):
        measure(X, Y * 255)
    with pytest.raises(ValueError, match=r"X must hold pixels in \[0, 1\]"):
        measure(np.where(X > 0.5, np.nan, X), Y)
