"""Labeled Faces in the Wild from a folder: the list of pairs, the photos, and what is refused."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from skdistort.datasets import read_lfw_pairs, read_photos

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=100)
PERSON = st.sampled_from(["Ann_Lee", "Bo_Ek", "Zoë_d'Or", "7", "Al_O-Neill_Jr."])
NUMBER = st.integers(1, 12345)


def write(folder, text):
    path = folder / "pairs.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_photos_are_turned_upright(tmp_path):
    upright = np.zeros((4, 6, 3), dtype=np.uint8)
    upright[0] = 200
    exif = Image.Exif()
    # "Turn by 90 degrees clockwise."
    exif[0x0112] = 6
    Image.fromarray(np.rot90(upright)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_photos(tmp_path, ["a.png"])[0], upright)


@properties
@given(n_folds=st.integers(1, 3), n_each=st.integers(1, 3), data=st.data())
def test_reads_what_was_written(n_folds, n_each, data, tmp_path_factory):
    lines, expected = [f"{n_folds}\t{n_each}"], []
    for fold in range(n_folds):
        for same in [True] * n_each + [False] * n_each:
            who, number, other_number = data.draw(PERSON), data.draw(NUMBER), data.draw(NUMBER)
            other = who if same else data.draw(PERSON)
            lines.append("\t".join(map(str, [who, number, *[other] * (not same), other_number])))
            left = f"{who}/{who}_{number:04}.jpg"
            expected.append((fold, same, left, f"{other}/{other}_{other_number:04}.jpg"))
    texts = ["\n".join(lines), "\r\n \r\n".join([*lines, ""])]
    # One fold may go unnamed.
    texts += ["\n".join([str(n_each), *lines[1:]])] if n_folds == 1 else []
    for text in texts:
        trials, folds = read_lfw_pairs(write(tmp_path_factory.mktemp("lfw"), text))
        found = [folds, trials.labels, trials.left, trials.right]
        assert list(zip(*[a.tolist() for a in found], strict=True)) == expected


GOOD = "1 1\nAnn 1 4\nAnn 2 Bo 1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "pairs.txt holds no pairs"),
        (" \n\n", "pairs.txt holds no pairs"),
        ("1 1 1\n", "line 1, must hold 'folds pairs' or 'pairs', at least 1 of each, got '1 1 1'"),
        ("\n0 5\n", "line 2, must hold 'folds pairs'"),
        ("10 -5\n", "line 1, must hold 'folds pairs'"),
        ("Ann 1 4\n", "line 1, must hold 'folds pairs'"),
        ("1 ²\n", "line 1, must hold 'folds pairs'"),
        ("9" * 5000, "line 1, must hold 'folds pairs'"),
        ("1 1\n\nAnn 1\n", "line 3, must hold 'name number number', got 'Ann 1'"),
        ("1 1\nAnn 1 Bo 4\n", "line 2, must hold 'name number number', got 'Ann 1 Bo 4'"),
        ("1 1\nAnn 0 4\n", "line 2, must hold 'name number number'"),
        ("1 1\nAnn 1 4\nAnn 2 4\n", "line 3, must hold 'name number name number'"),
        ("1 1\nAnn 1 4\nAnn 2 Bo Bo\n", "line 3, must hold 'name number name number'"),
        ("1 1\nAnn 1 4\n", "holds 1 pairs, its first line announces 2"),
        (GOOD + "Ann 1 4\n", "holds 3 pairs, its first line announces 2"),
        ("999999999 999999999\nAnn 1 4\n", "holds 1 pairs, its first line announces 1999999996"),
    ],
)
def test_bad_lists(text, message, tmp_path):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        read_lfw_pairs(write(tmp_path, text))
    assert message in str(error.value)


@properties
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("lfw") / "pairs.txt"
    for prefix in (b"", b"1 1\nAnn 1 4\n"):
        path.write_bytes(prefix + content)
        try:
            read_lfw_pairs(path)
        except ValueError:
            continue


@pytest.fixture
def folder(tmp_path):
    """Make a folder of three lossless photos, two of one size and one grey."""
    rng = np.random.default_rng(0)
    for name, shape in {"a": (6, 4, 3), "b": (6, 4, 3), "grey": (5, 4)}.items():
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def test_photos_come_in_order_as_they_are(folder):
    X = read_photos(folder, np.array(["b.png", "a.png", "b.png"]))
    assert (X.shape, X.dtype) == ((3, 6, 4, 3), np.uint8)
    for photo, name in zip(X, "bab", strict=True):
        np.testing.assert_array_equal(photo, np.asarray(Image.open(folder / f"{name}.png")))


def test_grey_photos_get_three_equal_channels(folder):
    (photo,) = read_photos(folder, ["grey.png"])
    grey = np.asarray(Image.open(folder / "grey.png"))
    np.testing.assert_array_equal(photo, np.repeat(grey[:, :, None], 3, axis=2))


def test_a_box_is_cut(folder):
    whole = read_photos(folder, ["a.png"])
    X = read_photos(folder, ["a.png"], box=(1, 2, 3, 5))
    np.testing.assert_array_equal(X, whole[:, 2:5, 1:3])


def test_resampling_to_one_size(folder):
    X = read_photos(folder, ["a.png", "grey.png"], size=(3, 8))
    assert X.shape == (2, 3, 8, 3)
    # A plane stays one, away from the edge.
    rows, columns = np.mgrid[:40, :40]
    Image.fromarray((2 * rows + 2 * columns).astype(np.uint8)).save(folder / "plane.png")
    (photo,) = read_photos(folder, ["plane.png"], box=(10, 20, 30, 40), size=(10, 5))
    # The pixels' middles, in pixels of the photo.
    y, x = 20 + 2 * (np.arange(10) + 0.5) - 0.5, 10 + 4 * (np.arange(5) + 0.5) - 0.5
    expected = 2 * y[:, None] + 2 * x
    np.testing.assert_array_equal(photo[1:-1, 1:-1, 0], expected[1:-1, 1:-1])


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ([], {}, "names holds no photo"),
        (["a.png", "grey.png"], {}, r"grey.png has \(5, 4\) pixels, the photos before it \(6, 4\)"),
        (["a.png"], {"box": (0, 0, 5, 5)}, r"of 6 by 4 pixels gives no photo with box=\(0, 0, 5"),
        (["a.png"], {"box": (-1, 0, 3, 3)}, "gives no photo with box"),
        (["a.png"], {"box": (2, 2, 2, 4)}, "gives no photo with box"),
        (["a.png"], {"box": (2, 2, 2)}, "box must hold 4 numbers"),
        (["a.png"], {"size": (0, 4)}, r"gives no photo with box=.*size=\(0, 4\)"),
        (["a.png"], {"size": (4, 4, 3)}, "size must hold 2 numbers"),
        (["cut.png"], {}, r"cut\.png could not be decoded"),
        (["text.jpg"], {}, r"text\.jpg could not be decoded"),
    ],
)
def test_bad_photos(folder, names, options, message):
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:80])
    (folder / "text.jpg").write_text("no photo")
    with pytest.raises(ValueError, match=message):
        read_photos(folder, names, **options)


def test_missing_photo(folder):
    with pytest.raises(FileNotFoundError):
        read_photos(folder, ["a.png", "nobody.png"])


def test_missing_pillow_is_one_clear_sentence(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"needs Pillow .* `pip install 'skdistort\[faces\]'`"):
        read_photos(folder, ["a.png"])
