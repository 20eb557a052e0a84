"""What ONNX files may be and what they must not: shapes left open, outputs, damage, saving."""

import os
import sys

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from support.backends import evaluate
from support.onnx_files import (
    channels_last,
    convolutional_model,
    draw_images,
    make_model,
    node,
    run,
)

from skdistort import DistortionGenerator
from skdistort._backend import keras
from skdistort.networks import UnitLength
from skdistort.networks._stored import StoredNetwork
from skdistort.onnx import load_onnx
from skdistort.persistence import load
from skdistort.persistence._networks import check_config

SHAPE = (3, 8, 10)


def assert_refused(model, *messages, **options):
    with pytest.raises(ValueError, match="cannot be loaded: ") as error:
        load_onnx(model, **options)
    for message in messages:
        assert message in str(error.value)


def assert_close(network, model, shape=SHAPE):
    images = draw_images(shape)
    found = evaluate(network, channels_last(images))
    np.testing.assert_allclose(found, run(model, images), rtol=1e-4, atol=1e-4)


def sizes_left_open(model, *sizes):
    for dimension, size in zip(model.graph.input[0].type.tensor_type.shape.dim, sizes, strict=True):
        dimension.Clear()
        if isinstance(size, str):
            dimension.dim_param = size
        elif size is not None:
            dimension.dim_value = size
    return model


@pytest.mark.parametrize("batch", [1, 3, "n", None])
def test_batches_of_any_size(batch):
    model = convolutional_model(batch=batch)
    network = load_onnx(model)
    assert network.input_shape == (None, 8, 10, 3)
    assert_close(network, model)
    images = channels_last(draw_images(SHAPE, 7))
    np.testing.assert_allclose(
        evaluate(network, images)[:2], evaluate(network, images[:2]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("sizes", [(1, 3, "h", "w"), ("n", None, None, None)])
def test_open_sizes_are_given(sizes):
    model = sizes_left_open(convolutional_model(), *sizes)
    shape = (8, 10) if sizes[1] else (8, 10, 3)
    network = load_onnx(model, image_shape=shape)
    assert_close(network, model)
    assert_refused(model, "leaves the shape of its images open", "image_shape=(...)")


def test_a_size_that_the_file_says_cannot_be_changed():
    message = "its images have shape (8, 10, 3), image_shape is (16, 10, 3)"
    assert_refused(convolutional_model(), message, image_shape=(16, 10))


@pytest.mark.parametrize("image_shape", [(8,), (8, 10, 3, 1), (8, 0), (8.5, 10)])
def test_image_shape_has_to_be_one(image_shape):
    with pytest.raises(ValueError, match="image_shape must be"):
        load_onnx(convolutional_model(), image_shape=image_shape)


@pytest.mark.parametrize(
    "options", [{"std": 0}, {"std": (1, 2)}, {"mean": np.nan}, {"mean": "imagenet"}]
)
def test_mean_and_std_have_to_fit(options):
    with pytest.raises(ValueError, match="mean and std must be"):
        load_onnx(convolutional_model(), **options)


def test_output_is_chosen_by_name():
    model = convolutional_model()
    model.graph.output.append(helper.make_tensor_value_info("f", TensorProto.FLOAT, None))
    assert_refused(model, "it has 2 outputs, output=... takes one of ['y', 'f']")
    assert load_onnx(model, output="y").output_shape == (None, 5)
    assert load_onnx(model, output="f").output_shape == (None, 48)
    # What is no output of the file, with its channels last.
    assert load_onnx(model, output="r").output_shape == (None, 4, 5, 4)
    assert_refused(model, "it has no tensor 'z'", output="z")


@pytest.mark.fast
def test_several_inputs_are_refused():
    model = make_model(node("Add", "x z"))
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 6, 9, 11]))
    assert_refused(model, "has to depend on one input, the images, and depends on: x, z")


def test_inputs_that_are_weights_or_lead_elsewhere_do_not_count():
    model = convolutional_model()
    # Old files name their weights among the inputs.
    for name, shape in [("k", [4, 3, 3, 3]), ("unused", ["n", 2])]:
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    assert load_onnx(model).output_shape == (None, 5)


def test_output_has_to_depend_on_the_image():
    nodes = node("Relu", "x", "r"), node("Shape", "r", "s"), node("Cast", "s", to=1)
    assert_refused(make_model(*nodes), "'y' does not depend on the images")


@pytest.mark.parametrize("precision", [np.float16, np.float64])
def test_other_precisions_become_float32(precision):
    model = convolutional_model()
    expected = evaluate(load_onnx(model), channels_last(draw_images(SHAPE)))
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor).astype(precision)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(precision))
    first = helper.make_node("Cast", ["x"], ["half"], to=kind)
    last = helper.make_node("Cast", ["y"], ["single"], to=TensorProto.FLOAT)
    model.graph.node.insert(0, first)
    model.graph.node[1].input[0] = "half"
    model.graph.node.append(last)
    model.graph.output[0].name = "single"
    network = load_onnx(model)
    assert {w.dtype for w in network.get_weights()} == {np.dtype(np.float32)}
    found = evaluate(network, channels_last(draw_images(SHAPE)))
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-2 * np.abs(expected).max())


@pytest.mark.fast
def test_all_unknown_operators_are_named_in_one_message():
    nodes = (
        node("Hardmax", "x", "a"),
        helper.make_node("FusedConv", ["a"], ["b"], name="fused", domain="com.microsoft"),
        node("Relu", "b", "c"),
        # Known of arrays, and not of images.
        node("Tile", "c c", "y"),
        node("Hardmax", "x", "elsewhere"),
    )
    model = make_model(*nodes)
    # Before anything is built, which would fail, too.
    sizes_left_open(model, "n", 6, "h", "w")
    named = "Hardmax 'a'; com.microsoft.FusedConv 'fused'; Tile 'y'"
    assert_refused(model, f"it has operators that are not known here: {named}.")


@pytest.mark.parametrize(
    ("nodes", "arrays", "message"),
    [
        ([node("Conv", "x k")], {"k": (4, 5, 3, 3)}, "Conv 'y': its kernel has shape (4, 5, 3, 3)"),
        ([node("Conv", "x x")], {}, "Conv 'y': its input 1 depends on the image"),
        ([node("Conv", "x k")], {"k": np.full((4, 6, 1, 1), np.nan, np.float32)}, "NaN"),
        ([node("Conv", "x k")], {"k": (4, 6, 20, 20)}, "reach over 20 pixels, its images have 9"),
        ([node("Conv", "x k", auto_pad="MIDDLE")], {"k": (4, 6, 1, 1)}, "auto_pad is 'MIDDLE'"),
        ([node("Reshape", "x s")], {"s": np.array([-1, 11])}, "across the images of a batch"),
        ([node("Reshape", "x s")], {"s": np.array([0, 7, -1])}, "another number"),
        ([node("Transpose", "x")], {}, "it moves the axis of the batch"),
        ([node("ReduceMean", "x")], {}, "works along the axis of the batch"),
        ([node("Softmax", "x", axis=0)], {}, "works along the axis of the batch"),
        ([node("Concat", "x c", axis=1)], {"c": (1, 2, 9, 11)}, "input 1 does not depend"),
        ([node("Add", "x c")], {"c": (3, 6, 9, 11)}, "an array of shape (3, 6, 9, 11)"),
        ([node("Add", "x c")], {"c": (5,)}, "(5,)"),
        ([node("Add", "x c")], {"c": (1, 1, 6, 9, 11)}, "an array of shape (1, 1, 6, 9, 11)"),
        (
            [node("GlobalAveragePool", "x", "p"), node("PRelu", "p a")],
            {"a": (6, 3, 3)},
            "slopes of shape (6, 3, 3) do not fit (1, 6, 1, 1)",
        ),
        ([node("PRelu", "x a")], {"a": (6,)}, "an array of shape (6,)"),
        ([node("Pad", "x p", mode="edge")], {"p": np.array([0, 0, 1, 1] * 2)}, "'edge'"),
        ([node("Cast", "x", to=TensorProto.INT64)], {}, "it makes integers"),
        ([node("Squeeze", "x a")], {"a": np.array([1])}, "it drops axes [1]"),
        ([node("Flatten", "x", axis=2)], {}, "across the images of a batch"),
        (
            [node("BatchNormalization", "x a b c d", training_mode=1)],
            dict.fromkeys("abcd", (6,)),
            "the file was exported for training",
        ),
        (
            [node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2])],
            {},
            "pooling with dilations is not known",
        ),
        (
            [node("Resize", "x _ c", mode="cubic")],
            {"c": np.float32([1, 1, 2, 2])},
            "it resizes (9, 11) to (18, 22), mode 'cubic'",
        ),
        ([node("Gemm", "x k")], {"k": (4, 5)}, "a matrix of shape (4, 5) does not fit"),
        ([node("Relu", "nowhere")], {}, "depends on: none"),
        ([node("Add", "x nowhere")], {}, "nothing in it makes 'nowhere'"),
    ],
)
def test_what_cannot_be_built_is_named(nodes, arrays, message):
    assert_refused(make_model(*nodes, **arrays), message)


def test_vectors_and_videos_are_no_images():
    for shape in [(6,), (6, 9), (3, 4, 9, 11)]:
        assert_refused(make_model(node("Relu", "x"), shape=shape), "axes, and images have 4")


@pytest.mark.fast
def test_old_operators_are_refused():
    assert_refused(make_model(node("Relu", "x"), opset=6), "of version 6, and 7 is the oldest")


@pytest.mark.fast
def test_no_file():
    with pytest.raises(FileNotFoundError):
        load_onnx("nowhere.onnx")


@pytest.mark.parametrize("model", [None, 3, b"bytes", onnx.GraphProto()])
def test_other_types_are_refused(model):
    with pytest.raises(TypeError, match="model must be a path or an onnx.ModelProto, got"):
        load_onnx(model)


@pytest.mark.parametrize("content", [b"", b"\x08", b"<html></html>", bytes(range(256)), b"text\n"])
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    assert_refused(path, os.fspath(path))


@settings(deadline=None, max_examples=30)
@given(share=st.floats(0, 0.99))
def test_cut_off_files_are_refused(share, tmp_path_factory):
    content = convolutional_model().SerializeToString()
    path = tmp_path_factory.mktemp("files") / "cut.onnx"
    path.write_bytes(content[: int(share * len(content))])
    assert_refused(path, os.fspath(path))


@pytest.mark.fast
def test_arrays_of_too_few_bytes_are_refused():
    model = convolutional_model()
    tensor = model.graph.initializer[0]
    tensor.raw_data = tensor.raw_data[:-4]
    assert_refused(model, "its array 'k' cannot be read")


def test_weights_beside_the_file_are_read(tmp_path):
    # As torch.onnx.export(dynamo=True) writes files.
    path = tmp_path / "network.onnx"
    model = convolutional_model()
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    assert_close(load_onnx(path), convolutional_model())
    (tmp_path / "weights").unlink()
    assert_refused(path, "weights that it keeps in another file cannot be read")


def test_weights_outside_of_the_folder_are_refused(tmp_path):
    (tmp_path / "inside").mkdir()
    path = tmp_path / "inside" / "network.onnx"
    model = convolutional_model()
    tensor = model.graph.initializer[0]
    (tmp_path / "weights").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../weights")
    path.write_bytes(model.SerializeToString())
    assert_refused(path, "weights that it keeps in another file cannot be read")


def test_functions_within_the_file_are_inlined():
    body = [node("Relu", "a", "b"), node("Neg", "b", "c")]
    function = helper.make_function(
        "own", "NegatedRelu", ["a"], ["c"], body, [helper.make_opsetid("", 18)]
    )
    call = helper.make_node("NegatedRelu", ["x"], ["y"], domain="own")
    model = make_model(call)
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.functions.append(function)
    images = draw_images((6, 9, 11))
    found = evaluate(load_onnx(model), channels_last(images))
    np.testing.assert_array_equal(found, -np.maximum(channels_last(images), 0))


def test_missing_onnx_is_one_clear_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"needs onnx .* `pip install 'skdistort\[faces\]'`"):
        load_onnx("network.onnx")


def network_of_all_layers():
    nodes = (
        node("Slice", "x s e a t", "p0"),
        node("Pad", "p0 pads v", "p1"),
        node("Exp", "p1", "p2"),
        node("Gather", "p2 i", "p3", axis=1),
        node("ReduceL2", "p3 a", "p4", keepdims=1),
        node("Shape", "p3", "shape"),
        node("Expand", "p4 shape", "p5"),
        node("Div", "p3 p5", "p6"),
        node("Mul", "p6 c"),
    )
    given = {"s": [0], "e": [5], "a": [1], "t": [2], "pads": [0, 0, 1, 1] * 2, "i": [2, 0]}
    arrays = {name: np.array(value) for name, value in given.items()}
    return load_onnx(make_model(*nodes, v=np.float32(0.5), c=(1, 11, 1), **arrays))


def test_safe_files_take_all_layers():
    network = network_of_all_layers()
    # With nothing that is trusted beside.
    check_config(StoredNetwork(network).config, trusted=())
    used = {type(layer).__name__ for layer in network.layers}
    assert used >= {"Broadcast", "Elementwise", "Padding", "Reduction", "Slice", "Take"}


@pytest.mark.backend
def test_a_generator_learns_with_it_and_is_saved(tmp_path):
    network = load_onnx(convolutional_model(), mean=127.5, std=127.5)
    embedder = keras.Model(network.input, UnitLength()(network.output))
    weights = [w.copy() for w in embedder.get_weights()]
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 10, 3)).astype(np.float32)
    generator = DistortionGenerator(
        embedder,
        architecture="unet",
        filters=(4,),
        epochs=20,
        batch_size=16,
        pi_emb=0.9,
        random_state=0,
    ).fit(images)
    losses = generator.history_["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    for before, after in zip(weights, generator.embedder_.weights, strict=True):
        np.testing.assert_array_equal(before, after)
    generator.save(tmp_path / "generator")
    loaded = load(tmp_path / "generator")
    np.testing.assert_array_equal(
        loaded.embedder_.predict(images, 16), generator.embedder_.predict(images, 16)
    )


@pytest.mark.parametrize("function", ["__import__", "nothing"])
def test_layers_compute_only_what_is_in_their_tables(function):
    config = network_of_all_layers().get_config()
    for layer in config["layers"]:
        if layer["class_name"] == "Elementwise":
            layer["config"]["function"] = function
    with pytest.raises(Exception, match="function must be one of"):
        keras.Model.from_config(config)
