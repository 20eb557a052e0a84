"""Images that are loaded by name or from a file; Labeled Faces in the Wild from a folder."""

import io
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from skdistort.datasets import load_images, read_lfw_pairs, read_photos

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=100)
PERSON = st.sampled_from(["Ann_Lee", "Bo_Ek", "Zoë_d'Or", "7", "Al_O-Neill_Jr."])
NUMBER = st.integers(1, 12345)


def write(folder, text):
    path = folder / "pairs.txt"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["EPS", "TGA", "ICO"])
def test_a_photo_of_another_format_than_names_promise_is_none(tmp_path, kind):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png", kind)
    with pytest.raises(ValueError, match=r"a.png could not be decoded: cannot identify"):
        read_photos(tmp_path, ["a.png"])
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png", "BMP")
    assert read_photos(tmp_path, ["a.png"]).shape == (1, 16, 16, 3)


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


def test_npz_with_its_own_split(tmp_path):
    images, labels = np.zeros((6, 4, 4)), np.arange(6)
    np.savez(
        tmp_path / "a.npz",
        x_train=images[:4],
        y_train=labels[:4],
        x_test=images[4:],
        y_test=labels[4:],
    )
    split = load_images(str(tmp_path / "a.npz"))
    assert (len(split.X_train), len(split.X_test)) == (4, 2)
    np.testing.assert_array_equal(split.y_test, [4, 5])


def test_npz_refuses_what_it_cannot_read(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((3, 4)))
    with pytest.raises(ValueError, match="must hold X and y"):
        load_images(str(tmp_path / "a.npz"))
    np.savez(tmp_path / "b.npz", X=np.zeros((3, 4)), y=np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"classes \(3,\)"):
        load_images(str(tmp_path / "b.npz"))
    for content in (b"PK but no archive", b"", b"no archive at all"):
        (tmp_path / "c.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"c\.npz is no \.npz file"):
            load_images(str(tmp_path / "c.npz"))
    np.savez(tmp_path / "e.npz", X=np.float32(3), y=np.zeros(3))
    with pytest.raises(ValueError, match=r"e\.npz: X must hold images .*, got \(\)"):
        load_images(str(tmp_path / "e.npz"))
    np.savez(tmp_path / "f.npz", X=np.zeros((2, 4)), y=np.array(["a", None]))
    with pytest.raises(ValueError, match=r"f\.npz is damaged, or holds objects"):
        load_images(str(tmp_path / "f.npz"))
    X, y = np.zeros((2, 3, 3)), np.arange(2)
    np.savez(tmp_path / "d.npz", x_train=X, y_train=y, x_test=X[:, 1:], y_test=y)
    with pytest.raises(ValueError, match=r"one shape .*\(3, 3\) and \(2, 3\)"):
        load_images(str(tmp_path / "d.npz"))


def test_digits_split_is_seeded():
    first, again, other = load_images(), load_images(), load_images(random_state=1)
    np.testing.assert_array_equal(first.X_test, again.X_test)
    assert not np.array_equal(first.X_test, other.X_test)


def test_npz_members_that_are_no_arrays_or_not_asked_for(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, X=np.ones((6, 4)), y=np.arange(6), notes=np.array([None, {}]))
    assert load_images(str(path)).X_train.shape == (4, 4)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("X", b"no array")
        file.writestr("y", b"no array")
    with pytest.raises(ValueError, match=r"a\.npz: X must hold images .*, got \(\)"):
        load_images(str(path))


def npz():
    stream = io.BytesIO()
    np.savez_compressed(stream, X=np.arange(24.0).reshape(6, 4), y=np.arange(6))
    return stream.getvalue()


@properties
@given(data=st.data())
def test_a_damaged_npz_is_read_or_refused(data, tmp_path_factory):
    content = bytearray(npz())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] or content)
    try:
        split = load_images(str(path))
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert len(split.X_train) == 4


@pytest.fixture
def no_network(monkeypatch):
    """Let whatever is fetched be refused at once."""
    for name in ("http_proxy", "https_proxy"):
        # Nothing listens on this port.
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda _: None)


@pytest.fixture
def lfw_home(tmp_path, monkeypatch):
    """Make scikit-learn's folder with the lists that it wants, of no pairs."""
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    home = tmp_path / "lfw_home"
    home.mkdir()
    for name in ("pairs.txt", "pairsDevTrain.txt", "pairsDevTest.txt"):
        (home / name).touch()
    return home


def write_people(folder):
    for person in ("Ann", "Bo", "Cy"):
        (folder / person).mkdir(parents=True)
        for number in range(10):
            photo = Image.fromarray(np.full((250, 250, 3), 20 * number, dtype=np.uint8))
            photo.save(folder / person / f"{person}_{number:04}.jpg")


def test_lfw_from_a_local_copy(lfw_home, no_network):
    write_people(lfw_home / "lfw_funneled")
    split = load_images("lfw")
    assert (split.X_train.shape, split.X_test.shape) == ((20, 50, 37), (10, 50, 37))
    assert not {*split.y_train} & {*split.y_test}


def test_lfw_without_a_network_says_where_a_copy_goes(lfw_home, no_network):
    with pytest.raises(
        OSError, match=r"LFW .*refused.*lfw-funneled\.tgz.* into .*lfw_home, or set"
    ):
        load_images("lfw")


def test_half_of_an_archive_is_not_taken_for_the_whole(lfw_home, no_network, tmp_path):
    write_people(tmp_path / "lfw_funneled")
    archive = lfw_home / "lfw-funneled.tgz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "lfw_funneled", "lfw_funneled")
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    for _ in range(2):
        with pytest.raises(OSError, match="LFW could not be fetched or read"):
            load_images("lfw")
        assert not (lfw_home / "lfw_funneled").exists()
    archive.write_bytes(whole)
    assert len(load_images("lfw").X_train) == 20


def test_lfw_without_pillow_is_told_before_it_is_fetched(lfw_home, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"LFW's photos need Pillow: .*skdistort\[faces\]"):
        load_images("lfw")


def test_mnist_from_a_local_copy_that_stays(tmp_path, monkeypatch, no_network):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    copy = tmp_path / "datasets" / "mnist.npz"
    with pytest.raises(OSError, match=r"MNIST could not be fetched .*: put mnist\.npz as .*mnist"):
        load_images("mnist")
    copy.parent.mkdir(exist_ok=True)
    X, y = np.ones((6, 28, 28), dtype=np.uint8), np.arange(6)
    np.savez(copy, x_train=X[:4], y_train=y[:4], x_test=X[4:], y_test=y[4:])
    split = load_images("mnist")
    assert (split.X_train.shape, split.X_test.shape) == ((4, 28, 28), (2, 28, 28))
    copy.write_bytes(copy.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"mnist\.npz is no \.npz file"):
        load_images("mnist")
    assert copy.exists()
