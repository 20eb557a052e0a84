"""``python -m skdistort``: what it prints and draws, what it refuses, and how it ends."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import skdistort
from skdistort.__main__ import main
from skdistort.plotting import plot_overview

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_digits(return_X_y=True)
X, Y = X[:60], Y[:60]


@pytest.fixture
def refused(capsys, tmp_path, monkeypatch):
    """Run what is to be refused before the training, in one line, leaving nothing behind."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        before = {path.name for path in tmp_path.iterdir()}
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        printed = capsys.readouterr()
        assert left.value.code == 2
        assert printed.err.startswith("skdistort: ")
        assert printed.err.endswith("\n")
        assert printed.err.count("\n") == 1
        assert "Training" not in printed.out
        assert {path.name for path in tmp_path.iterdir()} == before
        return printed.err

    return run


@pytest.fixture
def ends(capsys):
    """Run and return the status and what was printed."""

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        out, err = capsys.readouterr()
        # TensorFlow tells of graphs that other tests made, too.
        own = [line for line in err.splitlines(True) if not line.startswith("WARNING:tensorflow")]
        return left.value.code, out, "".join(own)

    return run


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
    assert sorted(os.listdir(tmp_path)) == ["out.html", "out.png"]


def test_npz_of_own_data(tmp_path, capsys):
    digits = load_digits()
    np.savez(tmp_path / "own.npz", X=digits.images[:300], y=digits.target[:300])
    picture = tmp_path / "out.pdf"
    main(
        ["--data", str(tmp_path / "own.npz"), "--quiet", "--epochs", "1", "--architecture"]
        + ["unet", "--output", str(picture)]
    )
    assert "200 images to train on, 100 to test on" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"%PDF")


def test_images_brighter_than_any_of_training(tmp_path, capsys):
    digits = load_digits()
    X = digits.data[:200]
    path, picture = tmp_path / "own.npz", tmp_path / "out.svg"
    np.savez(
        path,
        x_train=X[:100],
        y_train=digits.target[:100],
        x_test=X[100:] * 1.2 - 1,
        y_test=digits.target[100:200],
    )
    main(
        ["--data", str(path), "--image-shape", "4", "16", "--quiet", "--epochs", "1"]
        + ["--output", str(picture)]
    )
    assert "plain vs distorted" in capsys.readouterr().out
    assert b"<svg" in picture.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--alpha", "-1"], "argument --alpha: must be from 0 to 4, got -1"),
        (["--alpha", "nan"], "argument --alpha: must be from 0 to 4, got nan"),
        (["--alpha", "inf"], "argument --alpha: must be"),
        (["--alpha", "much"], "argument --alpha: invalid"),
        (["--pi-emb", "2"], "argument --pi-emb: must be from 0 to 1, got 2"),
        (["--pi-emb", "nan"], "argument --pi-emb: must be"),
        (["--epochs", "0"], "argument --epochs: must be from 1"),
        (["--epochs", "9" * 400], "argument --epochs: must be from 1"),
        (["--epochs", "1.5"], "argument --epochs: invalid"),
        (["--seed", "-1"], "argument --seed: must be from 0"),
        (["--seed", str(2**32)], "argument --seed: must be from 0"),
        (["--image-shape", "8"], "argument --image-shape: takes 2 or 3 numbers"),
        (["--image-shape", "0", "8"], "argument --image-shape: must be from 1"),
        (["--image-shape", "4", "16"], "contradicts X's images of (8, 8)"),
        (["--architecture", "gan"], "argument --architecture: invalid choice"),
        (["--nothing"], "unrecognized arguments: --nothing"),
        (["--output", "picture.foo"], "argument --output: must end in one of .pdf, .png, .svg"),
        (["--output", "/nowhere/picture.png"], "argument --output: "),
        (["--output", "folder.png"], "argument --output: folder.png is there, and no file"),
        (["--output", f"{'x' * 240}.png"], "argument --output: "),
        (["--output", "a\0.png"], "null"),
        (["--data", "cifar"], "--data: must be digits, mnist, lfw, FILE.npz or a folder with a"),
        (["--data", "folder.png"], "folder.png has no subfolder that holds images"),
        (["--align"], "argument --align: needs --data FOLDER"),
        (["--data", "folder.png", "--leave-out"], "argument --leave-out: needs --align"),
        (["--scaling", "none"], "argument --scaling: needs --embedder FILE.onnx"),
        (["--scaling", "any"], "argument --scaling: invalid choice"),
        (["--keyed", "--architecture", "unet"], "argument --keyed: a unet takes no key"),
        (["--embedder", "missing.onnx"], "argument --embedder: there is no file missing.onnx"),
        (["--embedder", "folder.onnx"], "argument --embedder: there is no file folder.onnx"),
        (["--embedder", "net.pt"], "argument --embedder: must end in one of .keras, .onnx"),
        (["--output", "page.png"], "argument --output: page.html is there, and no file"),
        (["--data", "missing.npz"], "No such file or directory: 'missing.npz'"),
        (["--data", "folder.npz"], "folder.npz has no subfolder that holds images"),
        (["--data", "text.npz"], "text.npz is no .npz file"),
    ],
)
def test_arguments_are_checked_before_training(arguments, message, refused, tmp_path):
    for name in ("folder.png", "folder.npz", "folder.onnx", "page.html"):
        (tmp_path / name).mkdir()
    (tmp_path / "text.npz").write_text("no archive")
    assert message in refused(*arguments)


SINGLES = np.arange(60)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": X[:, :48], "y": Y}, "rows of 48 values, which make no square: give --image-shape"),
        ({"X": np.tile(X, 3), "y": Y}, "rows of 192 values, which make no square"),
        ({"X": X.reshape(60, 1, 8, 8), "y": Y}, "X has the shape (60, 1, 8, 8), which looks like"),
        ({"X": np.zeros((60, 3, 8, 8)), "y": Y}, "channels first; images are (n, h, w, c): save"),
        ({"X": np.where(X > 15, np.nan, X), "y": Y}, "has NaN, or a value beyond float32"),
        ({"X": X * 1e300, "y": Y}, "X[0] has NaN, or a value beyond float32"),
        ({"X": X * 1e37 - 8e37, "y": Y * 0}, "1 class(es)"),
        ({"X": (X - 8) * 4e37, "y": Y}, "The pixels span -3.2e+38 to 3.2e+38"),
        ({"X": X * 0 + 7, "y": Y}, "The pixels span 7 to 7"),
        ({"X": X * 1e-45, "y": Y}, "The pixels span 0 to"),
        ({"X": X + 0j, "y": Y}, "X must hold real numbers, got dtype complex128"),
        ({"X": X.astype("U4"), "y": Y}, "X must hold real numbers, got dtype <U4"),
        ({"X": X.astype("M8[s]"), "y": Y}, "X must hold real numbers"),
        ({"X": X[:0], "y": Y[:0]}, "X must hold two images at least, got shape (0, 64)"),
        ({"X": X[:1], "y": Y[:1]}, "X must hold two images at least, got shape (1, 64)"),
        ({"X": X[:, :0], "y": Y}, "X must hold two images at least, got shape (60, 0)"),
        ({"X": X[:2], "y": Y[:2]}, "The 1 images to train on are of 1 class(es)"),
        ({"X": X, "y": Y * 0}, "The 40 images to train on are of 1 class(es)"),
        ({"X": X, "y": SINGLES}, "are of 40 class(es), of at most 1 image(s)"),
        ({"X": X, "y": np.where(Y, Y, np.nan)}, "y must hold numbers or text, none of them"),
        ({"X": X, "y": Y.astype("M8[s]")}, "y must hold numbers or text"),
        ({"X": X, "y": Y[1:]}, "y must hold classes (60,), got (59,)"),
        ({"X": X, "y": Y[:, None]}, "y must hold classes (60,), got (60, 1)"),
        (
            {"X": X, "z": Y},
            "must hold X and y, or x_train, y_train, x_test, y_test; got ['X', 'z']",
        ),
        (
            {"x_train": X, "y_train": Y, "x_test": X, "y_test": SINGLES},
            "The 60 images to test on are of 60 class(es), of at most 1 image(s)",
        ),
        (
            {"x_train": X, "y_train": Y, "x_test": X.reshape(60, 8, 8), "y_test": Y},
            "images of one shape to train and to test on, got (64,) and (8, 8)",
        ),
        (
            {"x_train": X, "y_train": Y, "x_test": np.where(X > 15, np.inf, X), "y_test": Y},
            "x_test[1] has NaN, or a value beyond float32",
        ),
    ],
)
def test_data_is_checked_before_training(arrays, message, refused, tmp_path):
    np.savez(tmp_path / "own.npz", **arrays)
    assert message in refused("--data", "own.npz")


def test_image_shape_must_hold_the_rows(refused, tmp_path):
    np.savez(tmp_path / "own.npz", X=X, y=Y)
    assert "image_shape" in refused("--data", "own.npz", "--image-shape", "3", "3")


def test_missing_matplotlib_is_told_before_training(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    message = refused()
    assert "pip install 'skdistort[plot]'" in message
    assert "--no-picture" in message


def test_missing_backend_is_told_before_training(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.delitem(sys.modules, "skdistort._backend", raising=False)
    monkeypatch.delattr("skdistort._backend", raising=False)
    assert "skdistort needs a Keras backend" in refused()


@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("shape", [(1, 48), (48, 1, 1), (1, 1), (4, 6, 2), (4, 4, 3), (4, 4, 4)])
def test_images_of_any_shape_and_unit_are_drawn(shape, scale):
    images = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    curve = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.5, 0.5])
    axes = plot_overview(scale * images, scale * images[::-1], {"toy": curve}).axes
    drawn = [axis.images[0].get_array() for axis in axes[:4]]
    np.testing.assert_allclose(drawn[0], drawn[3])
    assert {picture.ndim for picture in drawn} == {3 if shape[-1] in (3, 4) else 2}
    low, high = images.min(), images.max()
    assert all(picture.min() >= 0 and picture.max() <= 1 for picture in drawn)
    if len(shape) == 2:
        np.testing.assert_allclose(drawn[0], (images[0] - low) / (high - low), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "arguments"),
    [((1, 48), ["--image-shape", "1", "48"]), ((6, 4, 2), ["--architecture", "unet"])],
)
def test_the_fewest_images_of_any_shape_are_trained_on(shape, arguments, tmp_path, capsys):
    images = np.random.default_rng(0).integers(0, 256, (6, *shape), dtype=np.uint8)
    given = images.reshape(6, -1) if arguments[:1] == ["--image-shape"] else images
    classes = np.array(["ü", "ü", "b"] * 2)
    path, picture = tmp_path / "own.npz", tmp_path / "out.PNG"
    np.savez(
        path,
        x_train=given[:3].astype(">f8"),
        y_train=classes[:3],
        x_test=given[3:],
        y_test=classes[3:],
        notes=np.array([None]),
    )
    main(["--data", str(path), "--quiet", "--epochs", "1", "--output", str(picture), *arguments])
    assert "plain vs distorted" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_no_picture_needs_no_matplotlib_and_any_terminal_will_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.chdir(tmp_path)
    printed = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", printed)
    path = tmp_path / "größe.npz"
    np.savez(path, X=X.reshape(60, 8, 8), y=np.array(["ä", "ö", "ü"])[Y % 3])
    main(["--data", str(path), "--epochs", "1", "--no-picture"])
    printed.seek(0)
    text = printed.read()
    assert r"gr\xf6\xdfe.npz: 40 images" in text
    assert r"\xe4" in text
    assert "plain vs distorted" in text
    assert os.listdir(tmp_path) == ["größe.npz"]


def _interrupt(*_, **__):
    signal.raise_signal(signal.SIGINT)


def _draw_half(_, file, **__):
    file.write(b"\x89PNG")
    _interrupt()


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("skdistort.datasets.load_images", _interrupt),
        ("skdistort.training._loop.StopAtNonFiniteLoss.on_epoch_end", _interrupt),
        ("skdistort.metrics.distance_table", _interrupt),
        ("matplotlib.figure.Figure.savefig", _draw_half),
    ],
)
def test_an_interrupt_is_one_line_and_leaves_nothing(target, what, ends, tmp_path, monkeypatch):
    monkeypatch.setattr(target, what)
    np.savez(tmp_path / "own.npz", X=X, y=Y)
    picture = tmp_path / "out.png"
    picture.write_text("the last one")
    # What a shell starts in the background ignores the signal, and so do its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status, _, err = ends(
            *["--data", str(tmp_path / "own.npz"), "--quiet", "--epochs", "1"],
            *["--output", str(picture)],
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert (status, err) == (130, "skdistort: interrupted\n")
    assert picture.read_text() == "the last one"
    assert sorted(os.listdir(tmp_path)) == ["out.png", "own.npz"]


def test_what_fails_later_is_one_line_and_another_status(ends, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("No space\nleft")

    monkeypatch.setattr("skdistort.metrics.distance_table", full)
    np.savez(tmp_path / "own.npz", X=X, y=Y)
    arguments = ["--data", str(tmp_path / "own.npz"), "--quiet", "--epochs", "1", "--no-picture"]
    status, _, err = ends(*arguments)
    assert (status, err) == (1, "skdistort: No space left\n")


def test_nobody_who_reads_is_no_error(tmp_path, monkeypatch, capsys):
    np.savez(tmp_path / "own.npz", X=X, y=Y)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as printed:
        monkeypatch.setattr(sys, "stdout", printed)
        with pytest.raises(SystemExit) as left:
            main(["--data", str(tmp_path / "own.npz"), "--no-picture"])
        monkeypatch.undo()
    assert left.value.code == 141
    assert capsys.readouterr().err == ""


def _python(*arguments, stdout):
    environment = {**os.environ, "PYTHONPATH": str(Path(skdistort.__file__).parents[1])}
    # Only what is buffered meets the closed pipe after argparse, which passes over the error.
    environment.pop("PYTHONUNBUFFERED", None)
    return subprocess.run(
        [sys.executable, "-m", "skdistort", *arguments],
        env=environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


def test_version_and_a_pipe_that_is_closed():
    found = _python("--version", stdout=subprocess.PIPE)
    assert (found.returncode, found.stdout) == (0, f"skdistort {skdistort.__version__}\n")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as printed:
        found = _python("--help", stdout=printed)
    assert (found.returncode, found.stderr) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_device_is_one_line(monkeypatch, capsys):
    with open("/dev/full", "w") as printed:
        monkeypatch.setattr(sys, "stdout", printed)
        with pytest.raises(SystemExit) as left:
            main(["--no-picture"])
        monkeypatch.undo()
    assert left.value.code == 2
    assert capsys.readouterr().err == "skdistort: [Errno 28] No space left on device\n"
