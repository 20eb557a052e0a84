"""``python -m skdistort`` from a folder of photos and an ONNX file, and the page it writes."""

import os
import re
from functools import partial

import numpy as np
import pytest
from support.faces import FixedFaces

from skdistort import faces
from skdistort.__main__ import main
from skdistort._command import _people
from skdistort._command._page import MEANINGS, Section, make_page
from skdistort.datasets import ImageSplit
from skdistort.metrics import VerificationReport

onnx = pytest.importorskip("onnx")
Image = pytest.importorskip("PIL.Image")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SIZE = 16


def write_photos(folder, n_people=5, n_photos=4, size=24):
    """Write photos of people who are told apart by their colours."""
    rng = np.random.default_rng(0)
    for i in range(n_people):
        os.makedirs(folder / f"person {i}")
        colour = rng.uniform(40, 215, (size // 4, size // 4, 3)).repeat(4, axis=0).repeat(4, axis=1)
        for j in range(n_photos):
            photo = np.clip(colour + rng.normal(0, 8, colour.shape), 0, 255).astype(np.uint8)
            Image.fromarray(photo).save(folder / f"person {i}" / f"{j}.png")
    return folder


def write_network(path, *, shape=(3, SIZE, SIZE), operator=None):
    """Write a network that sees nothing but white in pixels that are not scaled about 0."""
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(1)
    kernel = 0.05 * np.abs(rng.normal(size=(6, 3, 4, 4)))
    weights = rng.normal(size=(6 * (SIZE // 4) ** 2, 8))
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["maps"], strides=[4, 4]),
        helper.make_node("Tanh", ["maps"], ["bounded"]),
        helper.make_node("Flatten", ["bounded"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    if operator:
        nodes[1] = helper.make_node(operator, ["maps"], ["bounded"])
    tensors = [
        numpy_helper.from_array(np.float32(array), name)
        for name, array in (("k", kernel), ("w", weights))
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        tensors,
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.fixture
def people(tmp_path, monkeypatch):
    """Photos, and an aligner that finds the same face in all of them, in the folder of the run."""
    aligner = partial(
        faces.FaceAligner, image_size=SIZE, min_size=4, detector=FixedFaces((0, 0, 24, 1.0))
    )
    monkeypatch.setattr(faces, "FaceAligner", aligner)
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos")
    write_network(tmp_path / "net.onnx")
    return tmp_path


def run(*arguments):
    main(["--data", "photos", "--align", "--embedder", "net.onnx", "--quiet", *arguments])


@pytest.fixture
def refused(people, capsys):
    """Run what is to be refused before the training, in one line, leaving nothing behind."""

    def refuse(*arguments):
        before = sorted(os.listdir(people))
        with pytest.raises(SystemExit) as left:
            run(*arguments)
        printed = capsys.readouterr()
        assert left.value.code == 2
        assert printed.err.count("\n") == 1
        assert "Training" not in printed.out
        assert sorted(os.listdir(people)) == before
        return printed.err

    return refuse


def test_from_a_folder_of_photos_to_keyed_templates(people, capsys):
    run("--epochs", "1")
    printed = capsys.readouterr().out
    assert "12 images to train on, 8 to test on, (16, 16, 3) each" in printed
    assert "Training the embedder" not in printed
    assert "plain vs distorted, another key" in printed
    # All are tried, and the best one is said.
    chosen = re.search(r"scaled as by '(\w+)'; EER .*: (.*)", printed)
    errors = dict(re.findall(r"(\w+) ([\d.]+) %", chosen[2]))
    assert list(errors) == ["arcface", "imagenet", "unit", "none"]
    assert float(errors[chosen[1]]) == min(map(float, errors.values())) < float(errors["none"])
    assert (people / "skdistort.png").read_bytes().startswith(b"\x89PNG")
    page = (people / "skdistort.html").read_text("utf-8")
    assert "photos: 12 images to train on" in page
    assert "with a key" in page
    assert "template under another key" in page


def test_files_of_keras_and_photos_as_they_are(people, capsys):
    import keras

    from skdistort.networks import UnitLength

    embedder = keras.Sequential(
        [
            keras.layers.Input((24, 24, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.AveragePooling2D(8),
            keras.layers.Flatten(),
            UnitLength(),
        ]
    )
    embedder.save("net.keras")
    arguments = ["--data", "photos", "--embedder", "net.keras", "--no-keyed", "--no-picture"]
    main([*arguments, "--epochs", "1", "--quiet"])
    printed = capsys.readouterr().out
    assert "(24, 24, 3) each" in printed
    assert "another key" not in printed
    assert not (people / "skdistort.html").exists()


def test_photos_without_a_face_are_all_named_or_left_out(refused, people, monkeypatch, capsys):
    Image.new("RGB", (3, 3)).save(people / "photos" / "person 0" / "small.png")
    (people / "photos" / "person 1" / "text.jpg").write_text("no photo")
    message = refused()
    assert "small.png) has 3 by 3 pixels" in message
    assert "text.jpg" in message
    with pytest.warns(UserWarning, match=r"(?s)small\.png.*text\.jpg"):
        run("--leave-out", "--epochs", "1", "--no-picture")
    assert "12 images to train on, 8 to test on" in capsys.readouterr().out


def test_what_no_training_can_come_of_is_refused(refused, people):
    files = {"text.onnx": "no network", "text.keras": "no network"}
    for name, text in files.items():
        (people / name).write_text(text)
    write_network(people / "other.onnx", operator="Einsum")
    write_network(people / "small.onnx", shape=(3, 12, 12))
    for name in files:
        assert name in refused("--embedder", name)
    assert "Einsum" in refused("--embedder", "other.onnx")
    assert refused("--embedder", "small.onnx")
    (people / "one" / "Ann").mkdir(parents=True)
    Image.new("RGB", (24, 24)).save(people / "one" / "Ann" / "1.png")
    assert "in one subfolder, 'Ann'" in refused("--data", "one")


def test_what_aligning_needs_is_told_of(refused, monkeypatch):
    def missing(*_, **__):
        raise ImportError("weights\nmissing")

    monkeypatch.setattr(faces, "FaceAligner", missing)
    assert refused() == "skdistort: weights missing\n"


def test_of_ways_that_err_alike_the_one_with_least_overlap_is_taken(monkeypatch):
    embeddings = {"arcface": [0, 0.3, 1, 1.2], "imagenet": [0, 0.1, 1, 1.1], "unit": [0, 1, 0, 1]}
    calls = iter(embeddings)

    class Stored:
        def __init__(self, model):
            self.name = next(calls)

        def predict(self, images, batch_size):
            return np.array(embeddings[self.name], dtype=np.float32)[:, None]

    monkeypatch.setattr("skdistort.networks._stored.StoredNetwork", Stored)
    monkeypatch.setattr("skdistort.distortion._embedder.check_embedder", lambda *_: None)
    X, y = np.zeros((4, 2, 2, 3), np.uint8), np.array([0, 0, 1, 1])
    split = ImageSplit(X, y, X, y)
    found = {name: _people._confusion(None, split) for name in embeddings}
    assert found["arcface"][0] == found["imagenet"][0] == 0
    assert min(found, key=lambda name: found[name]) == "imagenet"


@pytest.mark.fast
def test_the_page_stands_alone_and_nothing_gets_out_of_its_text():
    nasty = "<script src=http://x.y>&"
    report = VerificationReport([{"comparison": nasty, "eer": 0.5}])
    section = Section(nasty, nasty, report)
    page = make_page([nasty], [nasty], [section], [(b"\x89PNG", f'{nasty}"')], nasty)
    assert "<script" not in page
    assert page.count("&lt;script") == 8
    # The policy allows pictures inside, and styles; nothing refers to elsewhere.
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    assert re.findall(r'(?:src|href|action)="([^"]{5})', page) == ["data:"]
    assert not re.search(r"url\(|@import|\bon\w+=", page)
    for name in ("comparison", "eer"):
        assert f"<dt>{name}</dt><dd>{MEANINGS[name]}" in page
