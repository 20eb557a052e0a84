"""Image and embedding distances: their properties, and agreement with scipy and scikit-image."""

from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import distance as scipy_distance
from skimage.metrics import structural_similarity
from support.backends import evaluate, gradients, properties

from skdistort.distances import (
    IMAGE_DISTANCES,
    combined_distance,
    dssim,
    get_image_distance,
    l1_distance,
    l2_distance,
    pairwise_squared_euclidean,
    sobel_distance,
    sobel_mask,
    squared_euclidean,
)

pytestmark = [pytest.mark.backend, pytest.mark.fast]

# Height, width, channels: one row, smaller than the SSIM window, square, odd with colours.
SHAPES = [(1, 7, 1), (5, 5, 1), (28, 28, 1), (13, 40, 3)]
# The largest value of each distance on [0, 1]; no image's Sobel mask exceeds 20.
UPPER = {
    "combined": lambda shape: 10.5,
    "dssim": lambda shape: 1.0,
    "l1": lambda shape: 1.0,
    "l2": lambda shape: np.prod(shape) ** -0.5,
    "mse": lambda shape: 1.0,
    "rmse": lambda shape: 1.0,
    "sobel": lambda shape: 20.0,
}
NAMES = sorted(UPPER)
SYMMETRIC = sorted({*NAMES} - {"combined", "sobel"})
# DSSIM divides by variances + 0.0009, and on nearly constant bright images float32 leaves an
# error of about 1e-7 in a variance.
ROUNDING = {"dssim": 3e-4}

MAKERS = {
    "black": lambda rng, shape: np.zeros(shape),
    "white": lambda rng, shape: np.ones(shape),
    "grey": lambda rng, shape: np.full(shape, rng.random()),
    "noise": lambda rng, shape: rng.random(shape),
    "faint": lambda rng, shape: rng.random() + 1e-4 * rng.random(shape) - 1e-4,
    "saturated": lambda rng, shape: rng.integers(0, 2, shape),
    "ramp": lambda rng, shape: np.broadcast_to(np.linspace(0, 1, shape[1])[:, None], shape),
}
N_IMAGES = 3
kinds = st.lists(st.sampled_from(sorted(MAKERS)), min_size=N_IMAGES, max_size=N_IMAGES)
seeds = st.integers(0, 2**32 - 1)
shapes = st.sampled_from(SHAPES)


def make_images(shape, seed, kinds=("noise",) * N_IMAGES):
    rng = np.random.default_rng(seed)
    images = np.stack([MAKERS[kind](rng, shape) for kind in kinds])
    return np.clip(images, 0, 1).astype(np.float32)


def measure(name, x, y):
    return evaluate(get_image_distance(name), x, y)


def true_mask(x):
    """Sobel mask of a batch in float64, by scipy."""
    # Image by image: on the whole batch it would smooth over images and channels as well.
    edges = np.empty((2, *x.shape))
    for i, c in np.ndindex(x.shape[0], x.shape[3]):
        for axis in (0, 1):
            edges[axis, i, :, :, c] = ndimage.sobel(np.float64(x[i, :, :, c]), axis, mode="nearest")
    return (edges**2).sum(axis=0)


def true_ssim(x, y, window, sigma):
    """SSIM of two single-channel images in float64, one window position at a time."""
    sizes = [min(window, size if size % 2 else size - 1) for size in x.shape]
    axes = [np.exp(-((np.arange(s) - (s - 1) / 2) ** 2) / (2 * sigma**2)) for s in sizes]
    weights = np.outer(*axes)
    weights /= weights.sum()
    values = []
    for i, j in product(*(range(n - s + 1) for n, s in zip(x.shape, sizes, strict=True))):
        a, b = (np.float64(v[i : i + sizes[0], j : j + sizes[1]]) for v in (x, y))
        mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
        var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
        covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
        luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
        values.append(luminance * (2 * covariance + 9e-4) / (var_a + var_b + 9e-4))
    return np.mean(values)


def true_dssim(x, y, window=11, sigma=1.5):
    n, channels = x.shape[0], x.shape[3]
    ssim = [
        [true_ssim(x[i, :, :, c], y[i, :, :, c], window, sigma) for c in range(channels)]
        for i in range(n)
    ]
    return (1 - np.mean(ssim, axis=1)) / 2


def row_by_row(metric, x, y):
    rows = (np.float64(images).reshape(len(images), -1) for images in (x, y))
    return np.array([metric(a, b) for a, b in zip(*rows, strict=True)])


def true_l1(x, y):
    return row_by_row(scipy_distance.cityblock, x, y) / x[0].size


def true_sobel(x, y):
    mask = true_mask(x)
    return true_l1(mask * x, mask * y)


ORACLES = {
    "combined": lambda x, y: (true_l1(x, y) + true_sobel(x, y)) / 2,
    "dssim": true_dssim,
    "l1": true_l1,
    "l2": lambda x, y: row_by_row(scipy_distance.euclidean, x, y) / x[0].size,
    "mse": lambda x, y: row_by_row(scipy_distance.sqeuclidean, x, y) / x[0].size,
    "rmse": lambda x, y: np.sqrt(row_by_row(scipy_distance.sqeuclidean, x, y) / x[0].size),
    "sobel": true_sobel,
}


def test_every_distance_is_tested():
    assert sorted(IMAGE_DISTANCES) == NAMES == sorted(ORACLES)


@pytest.mark.parametrize("shape", [*SHAPES, (1, 1, 1), (6, 3, 2), (11, 12, 1)])
@pytest.mark.parametrize("name", NAMES)
def test_equals_the_oracle_on_random_images(name, shape):
    x, y = make_images(shape, 0), make_images(shape, 1)
    x[1] = y[1] + 0.1 * (x[1] - y[1])
    np.testing.assert_allclose(measure(name, x, y), ORACLES[name](x, y), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@properties
@given(kinds_x=kinds, kinds_y=kinds, seed=seeds)
def test_equals_the_oracle_on_blank_and_saturated_images(name, kinds_x, kinds_y, seed):
    x, y = make_images((5, 4, 2), seed, kinds_x), make_images((5, 4, 2), seed + 1, kinds_y)
    expected = ORACLES[name](x, y)
    atol = ROUNDING.get(name, 1e-6)
    np.testing.assert_allclose(measure(name, x, y), expected, rtol=1e-4, atol=atol)


@pytest.mark.parametrize("shape", [(11, 11, 1), (28, 28, 1), (13, 40, 3)])
def test_dssim_equals_scikit_image(shape):
    x, y = make_images(shape, 0), make_images(shape, 1)
    x[1], x[2] = 0.9 * y[1] + 0.1 * x[1], 1 - y[2]
    ssim = [
        structural_similarity(
            *pair,
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=-1,
        )
        for pair in zip(x, y, strict=True)
    ]
    np.testing.assert_allclose(evaluate(dssim, x, y), (1 - np.array(ssim)) / 2, atol=1e-5)


@pytest.mark.parametrize(("window", "sigma"), [(3, 1.5), (7, 0.8), (41, 5.0)])
def test_dssim_window_and_sigma(window, sigma):
    x, y = make_images((9, 8, 1), 0), make_images((9, 8, 1), 1)
    measured = evaluate(dssim, x, y, window=window, sigma=sigma)
    np.testing.assert_allclose(measured, true_dssim(x, y, window, sigma), atol=1e-5)


@pytest.mark.parametrize("shape", [*SHAPES, (1, 1, 1), (2, 2, 1)])
def test_sobel_mask_equals_scipy(shape):
    x = make_images(shape, 0, ("noise", "saturated", "ramp"))
    np.testing.assert_allclose(evaluate(sobel_mask, x), true_mask(x), rtol=1e-5, atol=1e-5)


def test_sobel_mask_cannot_exceed_20():
    # Convex in the pixels, so that its maximum lies on images of zeros and ones: try them all.
    x = np.array(list(product([0, 1], repeat=9)), dtype=np.float32).reshape(-1, 3, 3, 1)
    assert evaluate(sobel_mask, x).max() == 20


@pytest.mark.parametrize("name", NAMES)
@properties
@given(shape=shapes, kinds_x=kinds, kinds_y=kinds, seed=seeds)
@example(shape=(5, 5, 1), kinds_x=["black"] * 3, kinds_y=["white"] * 3, seed=0)
def test_one_value_an_image_within_its_range(name, shape, kinds_x, kinds_y, seed):
    x, y = make_images(shape, seed, kinds_x), make_images(shape, seed + 1, kinds_y)
    values = measure(name, x, y)
    assert values.shape == (N_IMAGES,)
    assert values.dtype == np.float32
    rounding = ROUNDING.get(name, 0)
    assert (values >= -rounding).all()
    assert (values <= UPPER[name](shape) * (1 + 1e-6) + rounding).all()


@pytest.mark.parametrize("name", NAMES)
@properties
@given(shape=shapes, kinds=kinds, seed=seeds)
def test_zero_on_identity_alone(name, shape, kinds, seed):
    x = make_images(shape, seed, kinds)
    assert (measure(name, x, x) == 0).all()
    # On a flat image the Sobel distance sees nothing, so tell images with edges apart.
    x, y = make_images(shape, seed), make_images(shape, seed + 1)
    assert (measure(name, x, y) > 0).all()


@pytest.mark.parametrize("name", SYMMETRIC)
@properties
@given(shape=shapes, kinds_x=kinds, kinds_y=kinds, seed=seeds)
def test_symmetric(name, shape, kinds_x, kinds_y, seed):
    x, y = make_images(shape, seed, kinds_x), make_images(shape, seed + 1, kinds_y)
    np.testing.assert_allclose(measure(name, x, y), measure(name, y, x), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "flat_first", "step_first"), [("sobel", 0, 4), ("combined", 0.25, 2.25)]
)
def test_not_symmetric(name, flat_first, step_first):
    # A step has edges and a black image has none; the mask comes from the first of the two.
    black = np.zeros((1, 3, 4, 1), dtype=np.float32)
    step = black.copy()
    step[:, :, 2:] = 1
    assert measure(name, black, step) == flat_first
    assert measure(name, step, black) == step_first


@pytest.mark.parametrize("name", ["l1", "l2", "rmse"])
@properties
@given(shape=shapes, kinds_x=kinds, kinds_y=kinds, kinds_z=kinds, seed=seeds)
def test_triangle_inequality(name, shape, kinds_x, kinds_y, kinds_z, seed):
    x, y, z = (
        make_images(shape, seed + i, kinds) for i, kinds in enumerate((kinds_x, kinds_y, kinds_z))
    )
    through_y = measure(name, x, y) + measure(name, y, z)
    assert (measure(name, x, z) <= through_y * (1 + 1e-5)).all()


@pytest.mark.parametrize("name", sorted({*NAMES} - {"dssim"}))
@properties
@given(shape=shapes, seed=seeds, step=st.floats(0, 1, width=32))
def test_grows_along_the_way_to_another_image(name, shape, seed, step):
    x, y = make_images(shape, seed), make_images(shape, seed + 1)
    degree = 2 if name == "mse" else 1
    expected = step**degree * measure(name, x, y)
    np.testing.assert_allclose(measure(name, x, x + step * (y - x)), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@properties
@given(
    shape=shapes, kinds_x=kinds, kinds_y=kinds, seed=seeds, order=st.permutations(range(N_IMAGES))
)
def test_images_of_a_batch_do_not_mix(name, shape, kinds_x, kinds_y, seed, order):
    x, y = make_images(shape, seed, kinds_x), make_images(shape, seed + 1, kinds_y)
    expected = measure(name, x, y)
    atol = ROUNDING.get(name, 1e-7)
    permuted = measure(name, x[order], y[order])
    np.testing.assert_allclose(permuted, expected[order], rtol=2e-5, atol=atol)
    np.testing.assert_allclose(measure(name, x[:1], y[:1]), expected[:1], rtol=2e-5, atol=atol)


@properties
@given(shape=shapes, kinds_x=kinds, kinds_y=kinds, seed=seeds, beta=st.floats(0, 1))
def test_combined_lies_between_its_ends(shape, kinds_x, kinds_y, seed, beta):
    x, y = make_images(shape, seed, kinds_x), make_images(shape, seed + 1, kinds_y)
    edges, pixels = evaluate(sobel_distance, x, y), evaluate(l1_distance, x, y)
    np.testing.assert_array_equal(evaluate(combined_distance, x, y, beta=0), edges)
    np.testing.assert_array_equal(evaluate(combined_distance, x, y, beta=1), pixels)
    between = evaluate(combined_distance, x, y, beta=beta)
    np.testing.assert_allclose(between, beta * pixels + (1 - beta) * edges, rtol=1e-5, atol=1e-7)


@properties
@given(shape=shapes, kinds_x=kinds, kinds_y=kinds, seed=seeds)
def test_l2_normalisations_equal_numpy(shape, kinds_x, kinds_y, seed):
    x, y = make_images(shape, seed, kinds_x), make_images(shape, seed + 1, kinds_y)
    norm = np.linalg.norm((np.float64(x) - y).reshape(N_IMAGES, -1), axis=1)
    n = np.prod(shape)
    # Of a float32 sum of n terms, one after the other; never less than was asked of short ones.
    rounding = max(1e-5, n * np.finfo(np.float32).eps / 2)
    expected = {"paper": norm / n, "rmse": norm / n**0.5, "mse": norm**2 / n}
    for normalize, values in expected.items():
        measured = evaluate(l2_distance, x, y, normalize=normalize)
        np.testing.assert_allclose(measured, values, rtol=rounding, atol=1e-9)
    np.testing.assert_array_equal(evaluate(l2_distance, x, y), measure("l2", x, y))
    np.testing.assert_allclose(
        evaluate(l2_distance, x, y), expected["paper"], rtol=rounding, atol=1e-9
    )


@pytest.mark.parametrize("name", NAMES)
@properties
@given(shape=shapes, kinds_x=kinds, kinds_y=kinds, seed=seeds, identical=st.booleans())
@example(shape=(5, 5, 1), kinds_x=["black"] * 3, kinds_y=["black"] * 3, seed=0, identical=True)
@example(shape=(5, 5, 1), kinds_x=["noise"] * 3, kinds_y=["noise"] * 3, seed=0, identical=True)
def test_gradients_are_finite(name, shape, kinds_x, kinds_y, seed, identical):
    x = make_images(shape, seed, kinds_x)
    y = x if identical else make_images(shape, seed + 1, kinds_y)
    for gradient in gradients(get_image_distance(name), x, y):
        assert gradient.shape == x.shape
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_the_oracle_s_differences(name):
    x, y = np.float64(make_images((4, 3, 2), 0)), np.float64(make_images((4, 3, 2), 1))
    computed = gradients(get_image_distance(name), x, y)
    step = 1e-6
    for i, index in product((0, 1), [(0, 0, 0, 0), (1, 2, 1, 1), (2, 3, 2, 0)]):
        around = []
        for sign in (1, -1):
            pair = [x.copy(), y.copy()]
            pair[i][index] += sign * step
            around.append(ORACLES[name](*pair).sum())
        difference = (around[0] - around[1]) / (2 * step)
        np.testing.assert_allclose(computed[i][index], difference, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("name", ["l2", "rmse"])
def test_gradient_of_a_root_is_zero_on_identical_images(name):
    x = make_images((5, 5, 1), 0)
    for gradient in gradients(get_image_distance(name), x, x):
        assert (gradient == 0).all()


def test_unknown_names_are_refused():
    x = np.zeros((1, 2, 2, 1), dtype=np.float32)
    with pytest.raises(ValueError, match="normalize must be 'paper', 'rmse' or 'mse', got 'l2'"):
        l2_distance(x, x, normalize="l2")
    with pytest.raises(ValueError, match=r"one of \['combined', .*'sobel'\], got 'ssim'"):
        get_image_distance("ssim")


def test_a_callable_distance_is_let_through():
    assert get_image_distance(max) is max
    assert get_image_distance("dssim") is dssim


def make_vectors(n, seed, scale=1.0, unit=False):
    vectors = np.random.default_rng(seed).standard_normal((n, 4))
    if unit:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.float32(scale * vectors)


@properties
@given(seed=seeds, scale=st.sampled_from([1e-3, 1.0, 30.0]))
def test_squared_euclidean(seed, scale):
    x, y = make_vectors(5, seed, scale), make_vectors(5, seed + 1, scale)
    values = evaluate(squared_euclidean, x, y)
    expected = row_by_row(scipy_distance.sqeuclidean, x, y)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    np.testing.assert_allclose(evaluate(squared_euclidean, y, x), values, rtol=1e-6)
    assert (evaluate(squared_euclidean, x, x) == 0).all()
    for gradient, sign in zip(gradients(squared_euclidean, x, y), (2, -2), strict=True):
        np.testing.assert_allclose(gradient, sign * (x - y), rtol=1e-5)


@properties
@given(seed=seeds)
def test_squared_euclidean_on_the_sphere_is_at_most_4(seed):
    x, y = make_vectors(5, seed, unit=True), make_vectors(5, seed + 1, unit=True)
    assert (evaluate(squared_euclidean, x, y) <= 4 + 1e-6).all()
    np.testing.assert_allclose(evaluate(squared_euclidean, x, -x), 4, rtol=1e-6)


@properties
@given(seed=seeds, scale=st.sampled_from([1e-3, 1.0, 30.0]), order=st.permutations(range(6)))
def test_pairwise_squared_euclidean(seed, scale, order):
    x = make_vectors(6, seed, scale)
    x[1] = x[0]
    values = evaluate(pairwise_squared_euclidean, x)
    assert (values >= 0).all()
    atol = 1e-5 * scale**2
    expected = scipy_distance.cdist(np.float64(x), np.float64(x), "sqeuclidean")
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=atol)
    np.testing.assert_allclose(values, values.T, rtol=1e-4, atol=atol)
    permuted = evaluate(pairwise_squared_euclidean, x[order])
    np.testing.assert_allclose(permuted, values[order][:, order], rtol=1e-4, atol=atol)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_gradients_of_pairwise_distances_of_equal_vectors_are_finite(value):
    (gradient,) = gradients(pairwise_squared_euclidean, np.full((3, 2), value))
    assert np.isfinite(gradient).all()
