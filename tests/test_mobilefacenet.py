"""MobileFaceNet in Keras: against onnxruntime, and what its file must not be.

The files are written here, with random weights, from a table of the convolutions as PyTorch names
them. The real file is used where SKDISTORT_MOBILEFACENET names it.
"""

import os
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from support.backends import evaluate, gradients

from skdistort._backend import keras
from skdistort.distortion._embedder import check_embedder
from skdistort.mobilefacenet import load_mobilefacenet
from skdistort.networks._stored import StoredNetwork

MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)
# Maps in, maps between and maps out of each bottleneck, and its stride.
BOTTLENECKS = [
    (64, 128, 64, 2),
    *[(64, 128, 64, 1)] * 4,
    (64, 256, 128, 2),
    *[(128, 256, 128, 1)] * 6,
    (128, 512, 128, 2),
    *[(128, 256, 128, 1)] * 2,
]


def convolutions():
    """Name, kernel shape, stride, padding and activation of each convolution."""
    yield "/conv1/conv1.0/Conv", (64, 3, 3, 3), 2, 1, "Clip"
    yield "/dw_conv/depthwise/Conv", (64, 1, 3, 3), 1, 1, "Relu"
    yield "/dw_conv/pointwise/Conv", (64, 64, 1, 1), 1, 0, "Relu"
    for i, (first, between, last, stride) in enumerate(BOTTLENECKS):
        block = f"/features/features.{i}/conv"
        yield f"{block}/conv.0/conv.0.0/Conv", (between, first, 1, 1), 1, 0, "Clip"
        yield f"{block}/conv.1/conv.1.0/Conv", (between, 1, 3, 3), stride, 1, "Clip"
        yield f"{block}/conv.2/Conv", (last, between, 1, 1), 1, 0, "Add" if stride == 1 else None
    yield "/conv2/conv2.0/Conv", (512, 128, 1, 1), 1, 0, "Clip"
    yield "/gdconv/depthwise/Conv", (512, 1, 7, 7), 1, 0, None
    yield "/conv3/Conv", (128, 512, 1, 1), 1, 0, None


def random_file():
    """Make a file with random weights, and activations on both sides of 6."""
    rng = np.random.default_rng(0)
    limits = {"zero": np.float32(0), "six": np.float32(6), "shape": np.array([1, -1])}
    initializers = [numpy_helper.from_array(v, name) for name, v in limits.items()]
    nodes, tensor, shortcut = [], "input0", None
    for i, (name, shape, stride, padding, then) in enumerate(convolutions()):
        kernel = rng.normal(scale=np.sqrt(2 / np.prod(shape[1:])), size=shape)
        bias = rng.normal(scale=0.5, size=shape[0])
        arrays = {f"kernel{i}": kernel, f"bias{i}": bias}
        initializers += [numpy_helper.from_array(np.float32(v), k) for k, v in arrays.items()]
        if name.endswith("conv.0.0/Conv"):
            shortcut = tensor
        convolved = f"{name}_output"
        attributes = {
            "group": shape[0] if shape[1] == 1 else 1,
            "strides": [stride] * 2,
            "pads": [padding] * 4,
        }
        inputs = [tensor, *arrays]
        nodes.append(helper.make_node("Conv", inputs, [convolved], name=name, **attributes))
        tensor = convolved
        if then is not None:
            others = {"Clip": ["zero", "six"], "Relu": [], "Add": [shortcut]}[then]
            tensor = f"activated{i}"
            nodes.append(helper.make_node(then, [convolved, *others], [tensor]))
    nodes.append(helper.make_node("Reshape", [tensor, "shape"], ["output0"]))
    images = helper.make_tensor_value_info("input0", TensorProto.FLOAT, [1, 3, 112, 112])
    vectors = helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 128])
    graph = helper.make_graph(nodes, "main_graph", [images], [vectors], initializers)
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


@pytest.fixture(scope="module")
def proto():
    return random_file()


@pytest.fixture(scope="module")
def path(proto, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "MobileFaceNet.onnx"
    onnx.save(proto, path)
    return path


def some_images():
    # Smooth, as photos are, and touching both ends of the range.
    rng = np.random.default_rng(1)
    images = np.kron(rng.integers(0, 256, (3, 14, 14, 3)), np.ones((1, 8, 8, 1)))
    images[0, 50:60], images[1, :, 30:40] = 0, 255
    return images.astype(np.float32)


def by_onnxruntime(path, images):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = ((images / np.float32(255) - MEAN) / DEVIATION).transpose(0, 3, 1, 2)
    return np.concatenate([session.run(None, {"input0": image[None]})[0] for image in inputs])


def assert_like_onnxruntime(path):
    images = some_images()
    model = load_mobilefacenet(path)
    expected = by_onnxruntime(path, images)
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    both = keras.Model(model.input, (model.layers[-2].output, model.output))
    unscaled, embeddings = evaluate(both, images)
    assert embeddings.shape == (len(images), 128)
    np.testing.assert_allclose(unscaled / lengths, expected / lengths, atol=1e-4)
    np.testing.assert_allclose(embeddings, expected / lengths, atol=1e-4)
    # Else agreement would say little.
    assert np.abs(np.diff(expected / lengths, axis=0)).max() > 0.02


@pytest.mark.backend
def test_gives_what_onnxruntime_gives(path):
    assert_like_onnxruntime(path)


@pytest.mark.backend
@pytest.mark.skipif(
    "SKDISTORT_MOBILEFACENET" not in os.environ, reason="SKDISTORT_MOBILEFACENET names no file"
)
def test_gives_what_onnxruntime_gives_for_the_real_file():
    assert_like_onnxruntime(os.environ["SKDISTORT_MOBILEFACENET"])


def test_takes_pixels_of_any_range(path):
    images = some_images()
    expected = evaluate(load_mobilefacenet(path), images)
    found = evaluate(load_mobilefacenet(path, pixel_range=(-1, 1)), images / 127.5 - 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.backend
def test_serves_as_the_embedder_of_a_generator(path):
    model = load_mobilefacenet(path)
    check_embedder(model, (112, 112, 3))
    images = some_images()
    rebuilt = StoredNetwork(model).model
    np.testing.assert_array_equal(evaluate(rebuilt, images), evaluate(model, images))


def test_passes_gradients_to_the_images(path):
    (gradient,) = gradients(load_mobilefacenet(path), some_images()[:1])
    assert np.isfinite(gradient).all()
    assert np.mean(gradient != 0) > 0.9


@pytest.mark.parametrize("pixel_range", [(1, 0), (0, np.nan), "auto"])
def test_pixel_range_has_to_rise(pixel_range):
    # Before the file is looked at.
    with pytest.raises(ValueError, match="pixel_range must be"):
        load_mobilefacenet("nowhere.onnx", pixel_range=pixel_range)


def test_no_file():
    with pytest.raises(FileNotFoundError):
        load_mobilefacenet("nowhere.onnx")


@pytest.mark.parametrize("content", [b"", b"\x08", b"<html></html>", bytes(range(256))])
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other\.onnx is no ONNX file of MobileFaceNet: it "):
        load_mobilefacenet(path)


@settings(deadline=None, max_examples=30)
@given(share=st.floats(0, 0.99))
def test_cut_off_files_are_refused(share, path, tmp_path_factory):
    content = path.read_bytes()
    path = tmp_path_factory.mktemp("weights") / "cut.onnx"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"cut\.onnx is no ONNX file of MobileFaceNet: it "):
        load_mobilefacenet(path)


def node(proto, name):
    return next(n for n in proto.graph.node if n.name == name)


def replace_weights(proto, name, array):
    tensor = next(t for t in proto.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(array, name))


def rename_operation(proto):
    next(n for n in proto.graph.node if n.op_type == "Relu").op_type = "PRelu"


def drop_convolution(proto):
    proto.graph.node.remove(node(proto, "/conv3/Conv"))


def add_convolution(proto):
    proto.graph.node.append(helper.make_node("Conv", [], [], name="/conv4/Conv"))


def drop_bias(proto):
    del node(proto, "/conv3/Conv").input[2]


def drop_tensor(proto):
    proto.graph.initializer.remove(next(t for t in proto.graph.initializer if t.name == "bias0"))


def swap_axes(proto):
    replace_weights(proto, "kernel0", np.zeros((64, 3, 3, 1), np.float32))


def double_precision(proto):
    replace_weights(proto, "bias0", np.zeros(64))


def not_finite(proto):
    replace_weights(proto, "kernel0", np.full((64, 3, 3, 3), np.nan, np.float32))


def too_few_bytes(proto):
    tensor = next(t for t in proto.graph.initializer if t.name == "bias0")
    tensor.raw_data = tensor.raw_data[:-4]


def elsewhere(proto):
    tensor = next(t for t in proto.graph.initializer if t.name == "bias0")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="bias0.bin")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rename_operation, "it holds operations PRelu"),
        (drop_convolution, "it lacks the convolution '/conv3/Conv'"),
        (add_convolution, "it adds the convolution '/conv4/Conv'"),
        (drop_bias, "/conv3/Conv has float32 weights of shapes [(128, 512, 1, 1)], expected"),
        (drop_tensor, "shapes [(64, 3, 3, 3), None], expected [(64, 3, 3, 3), (64,)]"),
        (swap_axes, "shapes [(64, 3, 3, 1), (64,)], expected [(64, 3, 3, 3), (64,)]"),
        (double_precision, "shapes [(64, 3, 3, 3), None]"),
        (not_finite, "/conv1/conv1.0/Conv has weights that are NaN or infinite"),
        (too_few_bytes, "bias0 cannot be read"),
        (elsewhere, "shapes [(64, 3, 3, 3), None]"),
    ],
)
def test_other_networks_are_refused(change, message, proto, tmp_path):
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    change(changed)
    path = tmp_path / "changed.onnx"
    path.write_bytes(changed.SerializeToString())
    # The tensor that lies elsewhere could be had, and must not be.
    (tmp_path / "bias0.bin").write_bytes(bytes(64 * 4))
    with pytest.raises(ValueError, match=r"changed\.onnx is no ONNX file of Mob") as error:
        load_mobilefacenet(path)
    assert message in str(error.value)


def test_missing_onnx_is_one_clear_sentence(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"needs onnx .* `pip install 'skdistort\[faces\]'`"):
        load_mobilefacenet(path)
