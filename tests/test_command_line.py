"""``python -m skdistort`` and the data sets it reads."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from skdistort.__main__ import main
from skdistort.datasets import load_images

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_trains_prints_tables_and_draws(tmp_path, capsys):
    picture = tmp_path / "out.png"
    main(["--epochs", "2", "--output", str(picture)])
    printed = capsys.readouterr().out
    for row in ("real-gen", "real-(1-x)", "real-constant", "real-noise", "inversion_ssim"):
        assert row in printed
    for row in ("plain vs plain", "plain vs distorted", "plain vs 1-x"):
        assert row in printed
    assert "2/2" in printed
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


def test_npz_of_own_data(tmp_path, capsys):
    digits = load_digits()
    np.savez(tmp_path / "own.npz", X=digits.images[:300], y=digits.target[:300])
    picture = tmp_path / "out.pdf"
    main(
        ["--data", str(tmp_path / "own.npz"), "--quiet", "--epochs", "1", "--architecture"]
        + ["bottleneck", "--output", str(picture)]
    )
    assert "200 images to train on, 100 to test on" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("arguments", [["--data", "cifar"], ["--data", "missing.npz"]])
def test_unknown_data_is_one_line(arguments):
    with pytest.raises(SystemExit, match="^skdistort: "):
        main(arguments)


def test_unusable_images_are_one_line(tmp_path):
    X, y = load_digits(return_X_y=True)
    path, X, y = str(tmp_path / "own.npz"), X[:60], y[:60]
    np.savez(path, X=np.where(X > 15, np.nan, X), y=y)
    with pytest.raises(SystemExit, match="^skdistort: .*NaN"):
        main(["--data", path, "--quiet"])
    np.savez(path, X=X, y=y)
    with pytest.raises(SystemExit, match="^skdistort: .*image_shape"):
        main(["--data", path, "--quiet", "--image-shape", "3", "3"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--alpha", "-1"],
        ["--pi-emb", "2"],
        ["--epochs", "0"],
        ["--output", "picture.foo"],
        ["--output", "/nowhere/picture.png"],
    ],
)
def test_wrong_options_are_told_before_training(arguments, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert arguments[0] in capsys.readouterr().err.splitlines()[-1]


def test_images_brighter_than_any_of_training(tmp_path, capsys):
    digits = load_digits()
    X = digits.data[:200]
    path, picture = tmp_path / "own.npz", tmp_path / "out.svg"
    np.savez(
        path,
        x_train=X[:100],
        y_train=digits.target[:100],
        x_test=X[100:] * 2 - 1,
        y_test=digits.target[100:200],
    )
    main(
        ["--data", str(path), "--image-shape", "4", "16", "--quiet", "--epochs", "1"]
        + ["--output", str(picture)]
    )
    assert "plain vs distorted" in capsys.readouterr().out
    assert b"<svg" in picture.read_bytes()


def test_without_matplotlib_tables_are_still_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    digits = load_digits()
    np.savez(tmp_path / "own.npz", X=digits.images[:200], y=digits.target[:200])
    main(
        ["--data", str(tmp_path / "own.npz"), "--quiet", "--epochs", "1"]
        + ["--output", str(tmp_path / "out.png")]
    )
    printed = capsys.readouterr().out
    assert "plain vs distorted" in printed
    assert "No picture" in printed


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
    with pytest.raises(ValueError, match=r"classes \(n,\)"):
        load_images(str(tmp_path / "b.npz"))
    for content in (b"PK but no archive", b"", b"no archive at all"):
        (tmp_path / "c.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"c\.npz is no \.npz file"):
            load_images(str(tmp_path / "c.npz"))
    np.savez(tmp_path / "e.npz", X=np.float32(3), y=np.zeros(3))
    with pytest.raises(ValueError, match=r"got \(\) and \(3,\)"):
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
