"""Layouts, shapes and ranges of images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdistort.images._layout import (
    as_images,
    from_unit_range,
    infer_image_shape,
    restore_layout,
    split_layout,
    to_unit_range,
    with_channels,
)

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=50)
sides = st.integers(1, 6)


def make_stack(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@properties
@given(n=st.integers(0, 4), layout=st.lists(sides, min_size=2, max_size=3).map(tuple))
def test_layouts_round_trip(n, layout):
    X = make_stack(n, *layout)
    rows, found = split_layout(X)
    assert rows.shape == (n, np.prod(layout))
    assert found == layout
    np.testing.assert_array_equal(rows, [image.ravel() for image in X] or rows)
    np.testing.assert_array_equal(restore_layout(rows, found), X)
    assert restore_layout(rows, found).shape == X.shape


@pytest.mark.parametrize("shape", [(6,), (2, 6), (1, 2, 3, 1, 1), ()])
def test_other_dimensions_are_handed_through(shape):
    X = make_stack(*shape)
    rows, layout = split_layout(X)
    assert rows is X
    assert layout is None
    assert restore_layout(rows, layout) is X


@pytest.mark.parametrize("X", [None, "images", [1.0, 2.0], [[1.0], [2.0]], []])
def test_what_is_no_stack_is_left_to_scikit_learn(X):
    rows, layout = split_layout(X)
    assert rows is X
    assert layout is None


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 2)])
@pytest.mark.parametrize("kind", [list, tuple, "lists"])
def test_lists_of_images_are_stacks(shape, kind):
    X = make_stack(*shape)
    rows, layout = split_layout(X.tolist() if kind == "lists" else kind(X))
    assert layout == shape[1:]
    np.testing.assert_array_equal(rows, X.reshape(2, -1))


@properties
@given(shape=st.tuples(sides, sides, sides))
def test_the_parameter_decides_the_shape(shape):
    n = int(np.prod(shape))
    assert infer_image_shape(n, image_shape=shape) == shape
    assert infer_image_shape(n, image_shape=list(shape)) == shape
    assert infer_image_shape(n, layout=shape, image_shape=np.array(shape)) == shape
    assert infer_image_shape(n, layout=shape) == shape
    height, width, _ = shape
    for asked in ({"image_shape": (height, width)}, {"layout": (height, width)}):
        assert infer_image_shape(height * width, **asked) == (height, width, 1)


def test_two_and_three_numbers_agree():
    assert infer_image_shape(12, layout=(3, 4), image_shape=(3, 4, 1)) == (3, 4, 1)
    assert infer_image_shape(12, layout=(3, 4, 1), image_shape=(3, 4)) == (3, 4, 1)
    assert with_channels((3, 4)) == with_channels([3, 4, 1]) == (3, 4, 1)


def test_numpy_numbers_become_python_s():
    shape = infer_image_shape(12, image_shape=(np.int64(3), np.int32(4)))
    assert all(type(side) is int for side in shape)


@properties
@given(n=st.integers(1, 2000))
def test_without_a_hint_a_square_or_one_row(n):
    squares = {side * side: side for side in range(1, 50)}
    side = squares.get(n)
    assert infer_image_shape(n) == ((side, side, 1) if side else (1, n, 1))


@properties
@given(side=st.integers(1, 2000))
def test_perfect_squares_are_square(side):
    assert infer_image_shape(side * side) == (side, side, 1)


@pytest.mark.parametrize(
    "image_shape", [(12,), (), (1, 3, 4, 1), (3, -4), (0, 12), (3.0, 4.0), ("3", "4"), (3, None)]
)
def test_what_is_no_shape_is_refused(image_shape):
    with pytest.raises(ValueError, match="image_shape must be .* positive integers, got") as error:
        infer_image_shape(12, image_shape=image_shape)
    assert repr(image_shape) in str(error.value)


@pytest.mark.parametrize("image_shape", [(3, 5), (3, 4, 3), (2, 3)])
def test_a_shape_of_another_size_is_refused(image_shape):
    message = rf"holds {np.prod(image_shape)} values, but X has 12 features"
    with pytest.raises(ValueError, match=message):
        infer_image_shape(12, image_shape=image_shape)


@pytest.mark.parametrize("layout", [(4, 3), (4, 3, 1), (12, 1), (3, 2, 2)])
def test_a_shape_that_contradicts_the_data_is_refused(layout):
    with pytest.raises(ValueError, match=r"image_shape=\(3, 4\) contradicts X's images of"):
        infer_image_shape(12, layout, (3, 4))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2, 12), (2, 3, 4), (2, 3, 4, 1)])
def test_images_of_every_layout_are_the_same(shape, dtype):
    X = make_stack(*shape).astype(dtype)
    images = as_images(X, (3, 4))
    assert images.shape == (2, 3, 4, 1)
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, make_stack(2, 3, 4, 1))


def test_images_without_a_hint():
    assert as_images(make_stack(2, 9)).shape == (2, 3, 3, 1)
    assert as_images(make_stack(2, 10)).shape == (2, 1, 10, 1)
    assert as_images(make_stack(2, 4, 5, 3)).shape == (2, 4, 5, 3)
    assert as_images(make_stack(2, 4, 5).tolist()).shape == (2, 4, 5, 1)


@pytest.mark.parametrize("shape", [(4,), (), (1, 2, 2, 1, 1)])
def test_images_of_other_dimensions_are_refused(shape):
    with pytest.raises(ValueError, match="Expected images in 2, 3 or 4 dimensions, got shape"):
        as_images(make_stack(*shape))


def test_images_that_do_not_fit_their_shape_are_refused():
    with pytest.raises(ValueError, match="holds 6 values, but X has 4 features"):
        as_images(make_stack(2, 4), (2, 3))
    with pytest.raises(ValueError, match="contradicts"):
        as_images(make_stack(2, 2, 3), (3, 2))


@properties
@given(
    seed=st.integers(0, 2**32 - 1),
    low=st.integers(-500, 500),
    span=st.sampled_from([0.5, 1, 255, 1000]),
)
def test_unit_range_and_back(seed, low, span):
    unit = np.random.default_rng(seed).random((3, 4)).astype(np.float32)
    X = np.float64(low) + span * unit
    scaled = to_unit_range(X, (low, low + span))
    assert scaled.dtype == np.float32
    # float32 pixels carry an error of their magnitude's last bit.
    atol = 1e-6 * (1 + abs(low) / span)
    np.testing.assert_allclose(scaled, unit, atol=atol)
    back = from_unit_range(scaled, (low, low + span))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, X, rtol=1e-6, atol=span * atol)


def test_the_ends_of_the_range_are_zero_and_one():
    X = np.array([[10.0, 20.0, 15.0, 5.0]])
    assert to_unit_range(X, (10, 20)).tolist() == [[0, 1, 0.5, -0.5]]
    assert from_unit_range(np.array([[0, 1, 0.5]]), (10, 20)).tolist() == [[10, 20, 15]]


def test_rounding_stays_within_the_range():
    low, high = np.float32(-0.7), np.float32(0.1)
    assert np.float32(1) * (high - low) + low > high
    assert from_unit_range(np.ones((1, 1)), (-0.7, 0.1))[0, 0] == high


def test_integer_pixels_do_not_overflow():
    X = np.array([[0, 100, 255]], dtype=np.uint8)
    scaled = to_unit_range(X, (np.uint8(0), np.uint8(255)))
    np.testing.assert_allclose(scaled, [[0, 100 / 255, 1]], rtol=1e-6)
    assert from_unit_range(scaled, (0, 255)).tolist() == X.tolist()


@pytest.mark.parametrize("value", [-3.0, 0.0, 7.5])
def test_constant_images_become_zero_and_come_back(value):
    X = np.full((2, 5), value)
    scaled = to_unit_range(X, (value, value))
    assert (scaled == 0).all()
    assert (from_unit_range(scaled, (value, value)) == value).all()
