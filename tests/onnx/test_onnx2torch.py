"""The way of the user guide for ONNX files that are not read here: onnx2torch, and PyTorch."""

import re
import sys
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest
from support.onnx_files import draw_images, make_model, node, run

from skdistort import DistortionGenerator
from skdistort.onnx import load_onnx

pytestmark = [
    pytest.mark.backend,
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch modules run on torch"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "embedders.md"
SHAPE = (1, 8, 8)


@pytest.fixture
def recipe(monkeypatch):
    """Run the lines of the guide that make a module of a file."""
    try:
        import torchvision  # noqa: F401
    # Not installed, or of another build than PyTorch; only operators of detectors need it.
    except (ImportError, RuntimeError):
        for name in ("torchvision", "torchvision.ops"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        sys.modules["torchvision.ops"].roi_align = None
    pytest.importorskip("onnx2torch", reason="onnx2torch is not installed")
    (lines,) = re.findall(
        r"```python\n(import onnx2torch\n.*?)\n*generator = ", GUIDE.read_text(), re.S
    )
    names = {}
    exec(lines, names)
    return names["Embedder"]


def attention():
    """Write what is not known here: rows of an image that look at one another."""
    nodes = (
        node("InstanceNormalization", "x s o", "normal"),
        node("Squeeze", "normal one", "rows"),
        node("Transpose", "rows", "columns", perm=[0, 2, 1]),
        node("MatMul", "rows columns", "alike"),
        node("Softmax", "alike", "shares", axis=2),
        node("MatMul", "shares rows", "mixed"),
        node("Flatten", "mixed", "flat"),
        node("Gemm", "flat w"),
    )
    arrays = {"s": (1,), "o": (1,), "one": np.array([1]), "w": (64, 5)}
    return make_model(*nodes, shape=SHAPE, **arrays)


def test_a_file_that_is_not_read_here_comes_in_by_the_guide(recipe, tmp_path):
    model = attention()
    with pytest.raises(ValueError, match="not known here: InstanceNormalization 'normal'"):
        load_onnx(model)
    path = tmp_path / "attention.onnx"
    path.write_bytes(model.SerializeToString())
    images = np.float32(127.5 + 60 * draw_images(SHAPE, 40))
    X = images.transpose(0, 2, 3, 1)
    generator = DistortionGenerator(
        recipe(path), epochs=2, filters=(2,), key=3, refinement_steps=3, random_state=0
    ).fit(X)
    found = generator.embed(X)
    expected = run(model, images / 127.5 - 1)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.isfinite(generator.history_["loss"]).all()
    # Templates follow F's gradients: each step brings it nearer to what it has to see.
    probes = generator.embed_probe(X)
    left = [
        np.linalg.norm(
            generator.embed(generator.set_params(refinement_steps=n).transform(X)) - probes
        )
        for n in (0, 10)
    ]
    assert left[1] < 0.8 * left[0]
    with pytest.warns(UserWarning, match="torch module, and not its code"):
        generator.save(tmp_path / "generator")
    again = DistortionGenerator.load(tmp_path / "generator", embedder=recipe(path))
    np.testing.assert_array_equal(again.embed(X), found)
