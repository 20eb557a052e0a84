"""The transform of points by least squares, and what it makes of a photo."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backends import properties
from support.faces import make_ramp

from skdistort.faces import similarity_transform
from skdistort.faces._geometry import check_template, cut_out

pytestmark = pytest.mark.fast

SIDES = [[1, 1], [5, 5]]


def make_matrix(scale, angle, shift):
    a = scale * np.exp(1j * angle)
    return np.array([[a.real, -a.imag, shift[0]], [a.imag, a.real, shift[1]]])


def move(matrix, points):
    return points @ matrix[:, :2].T + matrix[:, 2]


@properties
@given(st.floats(0.01, 100), st.floats(-np.pi, np.pi), st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_turn_scale_and_shift_are_found(scale, angle, n_points, seed):
    rng = np.random.default_rng(seed)
    points, shift = rng.normal(size=(n_points, 2)), rng.normal(size=2)
    expected = make_matrix(scale, angle, shift)
    found = similarity_transform(points, move(expected, points))
    np.testing.assert_allclose(found, expected, atol=1e-6 * scale, rtol=1e-6)


@properties
@given(st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_of_what_keeps_shapes_it_is_the_nearest(n_points, seed):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(2, n_points, 2))
    # x' = a x - b y + c and y' = b x + a y + d, as a linear system for a, b, c and d.
    x, y = source.T
    one, none = np.ones(n_points), np.zeros(n_points)
    rows = np.vstack([np.column_stack([x, -y, one, none]), np.column_stack([y, x, none, one])])
    a, b, c, d = np.linalg.lstsq(rows, target.T.ravel(), rcond=None)[0]
    found = similarity_transform(source, target)
    np.testing.assert_allclose(found, [[a, -b, c], [b, a, d]], atol=1e-6 * max(1, abs(a), abs(b)))


@pytest.mark.parametrize(
    ("source", "target", "told"),
    [
        ([[1, 1], [1, 1]], SIDES, "one place"),
        (SIDES, [[1, 1], [1, 1]], "one place"),
        ([[1, 1]], [[1, 1]], "two at least"),
        (SIDES, [[1, 1], [5, 5], [6, 6]], "as many"),
        ([1, 2], [1, 2], "as many"),
        (np.eye(3), np.eye(3), "as many"),
        ([[1, np.nan], [2, 2]], SIDES, "finite"),
    ],
)
def test_points_that_tell_no_transform_are_refused(source, target, told):
    with pytest.raises(ValueError, match=told):
        similarity_transform(source, target)


@properties
@given(st.floats(0.15, 3), st.floats(-np.pi, np.pi), st.floats(60, 190), st.floats(60, 190))
def test_each_pixel_comes_from_where_the_transform_says(scale, angle, x, y):
    size = 30, 20
    matrix = make_matrix(scale, angle, (0, 0))
    matrix[:, 2] = (9.5, 14.5) - matrix[:, :2] @ (x, y)
    image = cut_out(make_ramp(256, 256), matrix, size)
    places = np.stack(np.meshgrid(np.arange(20), np.arange(30)), axis=-1)
    expected = (places - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    # The middle pixels of blocks that are averaged stay within the photo.
    margin = 1 + int(1 / scale)
    inside = np.all((expected > margin) & (expected < 255 - margin), axis=-1)
    assert inside.any()
    # Half a level from the mean of a block, and less than one from Pillow, which rounds down.
    assert np.abs(image[inside][:, :2] - expected[inside]).max() <= 1.51
    assert not image[np.any((expected < -margin) | (expected > 255 + margin), axis=-1)].any()


def test_whole_pixels_are_copied():
    photo = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        cut_out(photo, make_matrix(1, 0, (-7, -5)), (20, 30)), photo[5:25, 7:37]
    )
    assert not cut_out(photo, make_matrix(1, 0, (900, 0)), (20, 30)).any()


def test_a_photo_larger_than_the_image_is_averaged():
    # Of a fine pattern single pixels would show stripes.
    photo = np.zeros((300, 300, 3), dtype=np.uint8)
    photo[::2] = 200
    image = cut_out(photo, make_matrix(0.1, 0, (0, 0)), (20, 20))
    assert np.abs(image[1:-1, 1:-1] - 100.0).max() <= 1


def test_the_places_of_arcface_grow_with_the_image():
    points, size = check_template("arcface", 112)
    assert size == (112, 112)
    np.testing.assert_allclose(points[0], [38.2946, 51.6963])
    twice, size = check_template("arcface", (224, 224))
    assert size == (224, 224)
    # The corner of the first pixel stays where it is.
    np.testing.assert_allclose(twice + 0.5, 2 * (points + 0.5))


@pytest.mark.parametrize(
    ("template", "image_size", "told"),
    [
        ("arcface", (112, 96), "square images"),
        ([[0.3, 0.5], [0.7, 0.5]], 112, "must hold pixels"),
        ([[30, 40], [120, 40]], 112, "must lie in an image of 112 by 112"),
        ([[30, 40]], 112, "two finite points"),
        ([[30, np.nan], [1, 2]], 112, "two finite points"),
        (SIDES, 0, "image_size must be a positive int"),
        (SIDES, (1, 2, 3), "image_size must be a positive int"),
        (SIDES, (1.5, 2), "image_size must be a positive int"),
    ],
)
def test_places_that_no_image_has_are_refused(template, image_size, told):
    with pytest.raises(ValueError, match=told):
        check_template(template, image_size)
