"""MobileFaceNet in Keras: against onnxruntime. What no file may be is in ``test_onnx_files.py``.

The files are written here, with random weights, from a table of the convolutions as PyTorch names
them. The real file is used where SKDISTORT_MOBILEFACENET names it.
"""

import os

import numpy as np
import onnx
import onnxruntime
import pytest
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


def another_network(proto):
    for name, array in {"kernel50": np.zeros((9, 512, 1, 1)), "bias50": np.zeros(9)}.items():
        tensor = next(t for t in proto.graph.initializer if t.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.float32(array), name))


def another_size(proto):
    proto.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 127


@pytest.mark.parametrize(
    ("change", "shapes"),
    [
        (another_network, "(None, 112, 112, 3) to (None, 9)"),
        (another_size, "(None, 112, 127, 3) to (None, 256)"),
    ],
)
def test_other_networks_are_refused(change, shapes, proto, tmp_path):
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    change(changed)
    path = tmp_path / "changed.onnx"
    onnx.save(changed, path)
    with pytest.raises(ValueError, match=r"changed\.onnx is no ONNX file of Mob") as error:
        load_mobilefacenet(path)
    assert f"it brings {shapes}, expected" in str(error.value)
