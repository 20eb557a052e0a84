"""Images are held to the units of fit: refused, warned of, or passed."""

import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skdistort.exceptions import InputMismatchError, InputMismatchWarning
from skdistort.images._arrays import settle_units
from skdistort.images._units import hold_to_units, learn_units, measure, units_unchecked
from skdistort.template_baselines import GaussianBlur

pytestmark = pytest.mark.fast

X = load_digits().data.astype(np.float32)
SEEN, NEW = X[300:900], X[:300]

# Digits in the units that people have them in.
RANGES = {"0..16": (0, 16), "0..1": (0, 1), "0..255": (0, 255), "-1..1": (-1, 1)}


def in_range(images, bounds):
    low, high = bounds
    return (images / 16 * (high - low) + low).astype(np.float32)


def learned(images):
    return learn_units(measure(images))[0]


def judge(units, images):
    """Tell what becomes of images."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputMismatchWarning)
        try:
            hold_to_units(units, images)
        except InputMismatchError:
            return "refused"
        except InputMismatchWarning:
            return "warned"
    return "passed"


@pytest.mark.parametrize("n", [1, 50])
@pytest.mark.parametrize("seen", RANGES)
@pytest.mark.parametrize("given", RANGES)
def test_other_units_never_pass(seen, given, n):
    units = learned(in_range(SEEN, RANGES[seen]))
    found = judge(units, in_range(NEW[:n], RANGES[given]))
    if seen == given:
        assert found == "passed"
    elif (
        {seen, given} == {"0..1", "-1..1"}
        and given == "0..1"
        or (seen, given)
        == (
            "0..16",
            "-1..1",
        )
    ):
        # A pale or a dark image would look the same.
        assert found == "warned"
    else:
        assert found == "refused"


@pytest.mark.parametrize("factor", [257, 65535 / 16, 1 / 16, 1 / 257, 1e30])
def test_other_scales_are_refused(factor):
    units = learned(SEEN)
    assert judge(units, np.float32(NEW[:1] * factor)) == "refused"


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x * 0.3,
        lambda x: x * 0.5,
        lambda x: x * 1.3,
        lambda x: np.clip(x * 1.5, 0, 16),
        lambda x: x + 3,
        lambda x: x - 3,
        lambda x: np.clip(x + 4, 0, 16),
        lambda x: (x / 16) ** 2 * 16,
        lambda x: (x / 16) ** 0.5 * 16,
    ],
)
def test_light_and_dark_images_pass(change):
    units = learned(SEEN)
    assert judge(units, change(NEW)) == "passed"
    assert {judge(units, change(NEW[i : i + 1])) for i in range(100)} == {"passed"}


def test_images_whose_extremes_differ_may_differ_more():
    rng = np.random.default_rng(0)
    tailed = rng.pareto(3, (1000, 64)).astype(np.float32)
    units = learned(tailed[:500])
    found = [judge(units, tailed[i : i + 1]) for i in range(500, 1000)]
    assert found.count("refused") == 0
    assert found.count("warned") <= 5


def strokes(rng, n):
    """Images of one thin stroke, of seven of a hundred pixels, on a dark ground."""
    images = np.zeros((n, 100), np.float32)
    for image in images:
        image[rng.permutation(100)[:7]] = rng.integers(8, 17, 7)
    return images


@pytest.mark.parametrize("factor", [4, 16, 99])
def test_a_thin_stroke_is_as_much_out_of_range_as_a_broad_one(factor):
    rng = np.random.default_rng(0)
    units = learned(strokes(rng, 300))
    later = strokes(rng, 50)
    assert {judge(units, later[i : i + 1]) for i in range(50)} == {"passed"}
    assert {judge(units, factor * later[i : i + 1]) for i in range(50)} == {"refused"}
    # One pixel of it is none of many.
    later[:, 0] = 40
    assert {judge(units, later[i : i + 1]) for i in range(50)} == {"passed"}


def test_pixels_darker_than_black_are_warned_of():
    rng = np.random.default_rng(0)
    seen = (255 * rng.random((50, 64)) ** 2).astype(np.float32)
    units = learned(seen)
    assert judge(units, seen - 50) == "passed"
    assert judge(units, seen - 80) == "warned"
    assert judge(units, seen + 80) == "passed"


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("shape", [(64,), (8, 8)])
def test_pixels_that_are_not_finite_are_refused_by_number(value, shape):
    filter = GaussianBlur().fit(SEEN.reshape(-1, *shape))
    probes = NEW.copy()
    probes[3, 7] = value
    with pytest.raises(
        InputMismatchError, match=r"X\[3\] has a pixel that is NaN or infi"
    ) as found:
        filter.transform(probes.reshape(-1, *shape))
    assert found.value.sample == 3


@pytest.mark.parametrize("image", [np.full(64, 7), X[0]])
def test_equal_images_in_fit_are_told_of(image):
    with pytest.warns(InputMismatchWarning, match="All 20 images of X are the same"):
        GaussianBlur().fit(np.tile(np.float32(image), (20, 1)))
    # The same extremes and mean do not make images the same.
    GaussianBlur().fit(np.eye(36, dtype=np.float32))


def test_one_absurd_pixel_is_refused_by_number():
    probes = NEW.copy()
    probes[7, 20] = 1e30
    with pytest.raises(
        InputMismatchError, match=r"X\[107\] spans 0 to 1e\+30, .* 0 to 16"
    ) as found:
        hold_to_units(learned(SEEN), probes, first=100)
    assert found.value.sample == 107
    assert found.value.seen == "spans 0 to 1e+30"
    assert found.value.expected == "0 to 16"
    again = pickle.loads(pickle.dumps(found.value))
    assert (str(again), again.sample) == (str(found.value), 107)


@pytest.mark.parametrize("value", [0, 8, 16])
def test_a_blank_image_is_refused(value):
    with pytest.raises(InputMismatchError, match=rf"X\[1\] is blank, all pixels {value}"):
        hold_to_units(learned(SEEN), np.float32([NEW[0], np.full(64, value)]))


def test_blank_images_pass_where_fit_saw_some():
    seen = SEEN.copy()
    seen[::20] = 0
    assert judge(learned(seen), np.zeros((1, 64), np.float32)) == "passed"


def test_negatives_are_warned_of_where_they_show():
    assert judge(learned(SEEN), 16 - NEW) == "warned"


def test_a_single_outlier_does_not_set_the_range():
    spoilt = SEEN.copy()
    spoilt[3, 5] = 65535
    units, outliers = learn_units(measure(spoilt))
    assert units["range"] == [0, 16]
    assert outliers.tolist() == [3]
    assert judge(units, NEW) == "passed"
    # It was seen by fit, which is told of it.
    assert judge(units, NEW * 255) == "warned"
    assert judge(units, spoilt) == "warned"
    assert judge(units, NEW * 65535) == "refused"


@pytest.mark.parametrize("n", [20, 600])
def test_what_fit_saw_itself_is_never_refused(n):
    seen = SEEN[:n].copy()
    seen[5] = 0
    seen[6] *= 1e6
    assert judge(learned(seen), seen) == "warned"
    assert judge(learned(SEEN[:n]), SEEN[:n]) == "passed"
    rng = np.random.default_rng(0)
    few = rng.standard_normal((400, 3)).astype(np.float32)
    assert judge(learned(few[:n]), few) == "passed"


def test_constant_images_say_nothing():
    assert judge(learned(np.ones((20, 4), np.float32)), NEW[:, :4]) == "passed"


def test_templates_are_not_held_to_units():
    with units_unchecked():
        assert judge(learned(SEEN), NEW * 255) == "passed"
    assert judge(learned(SEEN), NEW * 255) == "refused"


def test_every_estimator_of_images_holds_them_to_its_fit():
    filter = GaussianBlur().fit(SEEN)
    assert filter.units_["range"] == [0, 16]
    filter.transform(NEW)
    with pytest.raises(InputMismatchError, match=r"X\[0\] spans 0 to 0.058"):
        filter.transform(NEW / 255)


def test_an_outlier_in_fit_is_named():
    spoilt = SEEN.copy()
    spoilt[3, 5] = 65535
    with pytest.warns(InputMismatchWarning, match=r"X\[3\] has pixels far outside .* 0 to 16"):
        GaussianBlur().fit(spoilt)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 16, 16), (4, 8, 12)])
def test_channels_that_come_first_are_told_of(shape):
    images = np.random.default_rng(0).random((5, *shape))
    with pytest.warns(InputMismatchWarning, match=r"np.moveaxis\(X, 1, -1\)"):
        GaussianBlur().fit(images)
    GaussianBlur(image_shape=shape).fit(images)
    GaussianBlur().fit(np.moveaxis(images, 1, -1))


@pytest.mark.parametrize("n_features", [48, 12 * 12 * 3])
def test_guessed_rows_of_pixels_are_told_of(n_features):
    rows = np.random.default_rng(0).random((5, n_features))
    with pytest.warns(InputMismatchWarning, match=rf"image_shape=\(1, {n_features}\)"):
        GaussianBlur().fit(rows)
    GaussianBlur(image_shape=(1, n_features)).fit(rows)


def test_one_colour_image_is_told_of():
    image = np.random.default_rng(0).random((32, 32, 3))
    with pytest.warns(InputMismatchWarning, match=r"X\[None\]"):
        GaussianBlur().fit(image)


def test_tables_hold_flat_rows():
    filter = GaussianBlur().fit(SEEN.reshape(-1, 8, 8)).set_output(transform="pandas")
    table = filter.transform(NEW.reshape(-1, 8, 8))
    assert table.shape == (300, 64)
    plain = filter.set_output(transform="default").transform(NEW.reshape(-1, 8, 8))
    np.testing.assert_array_equal(table.to_numpy(), plain.reshape(300, 64))


@pytest.mark.parametrize(
    "scaler", [MinMaxScaler(), StandardScaler(), PCA(49, whiten=True)], ids=str
)
def test_columns_scaled_by_themselves_pass(scaler):
    # Those that few images of fit use lie far outside in others.
    X = load_digits().data.astype(np.float32)
    rows = np.random.RandomState(0).permutation(len(X))
    seen = scaler.fit_transform(X[rows[:400]])
    later = scaler.transform(X[rows[400:]])
    assert later.max() > 1.5 * seen.max() or np.abs(later).max() > 5
    side = int(np.sqrt(seen.shape[1]))
    embedder = SimpleNamespace()
    settle_units(embedder, measure(seen.reshape(-1, side, side, 1)))
    hold_to_units(embedder.units_, later.reshape(-1, side, side, 1))
