"""ONNX files as Keras models, operator by operator: what onnxruntime computes, Keras computes too.

The files are small and made here. What a file must not be is in ``test_files.py``.
"""

import keras
import numpy as np
import pytest
from support.backends import evaluate, gradients, skip_where_keras_cannot_resize
from support.onnx_files import (
    IMAGE,
    channels_last,
    convolutional_model,
    draw_images,
    make_model,
    node,
    run,
)

from skdistort.networks._stored import StoredNetwork
from skdistort.onnx import load_onnx

pytestmark = pytest.mark.backend


def assert_like_onnxruntime(model, shape=IMAGE, scale=1.0):
    images = scale * draw_images(shape)
    expected = channels_last(run(model, images))
    network = load_onnx(model)
    images = channels_last(images)
    found = evaluate(network, images)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    # Else agreement would say little.
    assert np.abs(np.diff(expected, axis=0)).max() > 0.01
    np.testing.assert_array_equal(evaluate(StoredNetwork(network).model, images), found)
    (gradient,) = gradients(network, images[:1])
    assert np.isfinite(gradient).all()
    return network


def layer_names(network):
    return [type(layer).__name__ for layer in network.layers]


@pytest.mark.parametrize(
    ("kernel", "attributes"),
    [
        ((4, 6, 3, 3), {}),
        ((4, 6, 1, 1), {"strides": [2, 2]}),
        ((4, 6, 3, 3), {"pads": [1, 1, 1, 1]}),
        ((4, 6, 3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ((4, 6, 3, 3), {"pads": [0, 0, 1, 1], "strides": [2, 2]}),
        ((4, 6, 5, 2), {"pads": [3, 0, 1, 2], "strides": [1, 3]}),
        ((4, 6, 3, 3), {"pads": [2, 3, 2, 3], "dilations": [2, 3]}),
        ((4, 6, 3, 3), {"pads": [2, 2, 2, 2], "dilations": [2, 2], "strides": [2, 3]}),
        ((4, 6, 3, 4), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ((4, 6, 3, 4), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
        ((4, 6, 3, 4), {"auto_pad": "VALID"}),
        ((4, 3, 3, 3), {"group": 2}),
        ((4, 3, 3, 3), {"group": 2, "pads": [0, 1, 2, 0], "strides": [2, 1]}),
        ((6, 1, 3, 3), {"group": 6, "pads": [1, 1, 1, 1]}),
        ((12, 1, 3, 3), {"group": 6, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ((12, 1, 3, 3), {"group": 6, "strides": [2, 1]}),
        ((6, 1, 3, 3), {"group": 6, "dilations": [2, 2], "strides": [2, 2]}),
    ],
)
def test_convolution(kernel, attributes):
    # Every second one has a bias.
    arrays = {"k": kernel, **({"b": kernel[:1]} if len(attributes) % 2 else {})}
    assert_like_onnxruntime(
        make_model(node("Conv", " ".join(["x", *arrays]), **attributes), **arrays)
    )


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1},
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [0, 1, 2, 0], "ceil_mode": 1},
        {"kernel_shape": [3, 3], "strides": [4, 4], "pads": [1, 0, 1, 2], "ceil_mode": 1},
        {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"kernel_shape": [2, 3], "auto_pad": "SAME_LOWER"},
    ],
)
@pytest.mark.parametrize("operator", ["max", "average", "average with padding"])
def test_pooling(operator, attributes):
    if operator == "average with padding":
        attributes = {**attributes, "count_include_pad": 1}
    name = "MaxPool" if operator == "max" else "AveragePool"
    assert_like_onnxruntime(make_model(node(name, "x", **attributes), opset=19))


@pytest.mark.parametrize("operator", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pooling(operator):
    assert_like_onnxruntime(make_model(node(operator, "x")))


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("Relu", {}),
        ("LeakyRelu", {}),
        ("LeakyRelu", {"alpha": 0.3}),
        ("Elu", {"alpha": 0.7}),
        ("Selu", {}),
        ("Celu", {}),
        ("Sigmoid", {}),
        ("HardSigmoid", {}),
        ("HardSigmoid", {"alpha": 1 / 6}),
        ("HardSwish", {}),
        ("Mish", {}),
        ("Tanh", {}),
        ("Softplus", {}),
        ("Softsign", {}),
        ("Erf", {}),
        ("Exp", {}),
        ("Neg", {}),
        ("Abs", {}),
        ("Softmax", {"axis": 1}),
        ("Softmax", {}),
        ("Identity", {}),
        ("Dropout", {}),
        ("LpNormalization", {"axis": 1}),
    ],
)
def test_activation(operator, attributes):
    assert_like_onnxruntime(make_model(node(operator, "x", **attributes)), scale=3)


def test_gelu():
    assert_like_onnxruntime(make_model(node("Gelu", "x"), opset=20))


@pytest.mark.parametrize("axis", [1, 2])
def test_softmax_before_version_13_sees_the_axes_behind_as_one(axis):
    assert_like_onnxruntime(make_model(node("Softmax", "x", axis=axis), opset=11))


@pytest.mark.parametrize("slope", [(6, 1, 1), (1,), (1, 1, 11), (9, 1), (1, 6, 1, 1)])
def test_prelu(slope):
    assert_like_onnxruntime(make_model(node("PRelu", "x a"), a=slope))


def test_prelu_of_vectors():
    nodes = node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "f"), node("PRelu", "f a")
    assert_like_onnxruntime(make_model(*nodes, a=(6,)), scale=10)


@pytest.mark.parametrize(
    ("low", "high", "layer"),
    [(0, 6, "ReLU"), (0, None, "ReLU"), (-0.5, 0.7, "WithConstant"), (None, 0.2, "WithConstant")],
)
@pytest.mark.parametrize("opset", [6 + 1, 18])
def test_clip(low, high, layer, opset):
    bounds = {"low": low, "high": high}
    given = {k: v for k, v in bounds.items() if v is not None}
    if opset < 11:
        names = {"low": "min", "high": "max"}
        attributes = {names[name]: float(value) for name, value in given.items()}
        model = make_model(node("Clip", "x", **attributes), opset=opset)
    else:
        inputs = " ".join(["x", *(name if name in given else "_" for name in bounds)])
        model = make_model(node("Clip", inputs), **{k: np.float32(v) for k, v in given.items()})
    assert layer in layer_names(assert_like_onnxruntime(model, scale=5))


@pytest.mark.parametrize(
    ("operator", "inputs", "shape"),
    [
        ("Add", "x c", (6, 1, 1)),
        ("Add", "c x", (1, 6, 9, 11)),
        ("Sub", "x c", ()),
        ("Sub", "c x", (1, 9, 1)),
        ("Mul", "x c", (11,)),
        ("Div", "x c", (6, 1, 1)),
        ("Div", "c x", (1,)),
        ("Max", "c x", (6, 1, 1)),
        ("Min", "x c", (9, 11)),
    ],
)
def test_arithmetic_with_arrays(operator, inputs, shape):
    c = 0.4 + 0.2 * np.random.default_rng(0).random(shape, np.float32)
    # Away from zero.
    nodes = node("Sigmoid", "x", "s"), node(operator, inputs.replace("x", "s"))
    assert_like_onnxruntime(make_model(*nodes, c=c))


@pytest.mark.parametrize(
    ("operator", "inputs"),
    [
        ("Add", "s p"),
        ("Sub", "p s"),
        ("Mul", "p s"),
        ("Div", "s p"),
        ("Div", "p s"),
        ("Max", "s p"),
        ("Min", "s p"),
    ],
)
def test_arithmetic_broadcasts(operator, inputs):
    nodes = (
        node("Sigmoid", "x", "s"),
        node("GlobalAveragePool", "s", "p"),
        node(operator, inputs),
    )
    assert_like_onnxruntime(make_model(*nodes))


@pytest.mark.parametrize("exponent", [2, 0.5, 1.7])
def test_power(exponent):
    nodes = node("Exp", "x", "e"), node("Pow", "e p")
    assert_like_onnxruntime(make_model(*nodes, p=np.float32(exponent)))


def test_square_of_what_is_negative():
    assert_like_onnxruntime(make_model(node("Pow", "x p"), p=np.float32([2])))


def test_sum_of_several():
    nodes = node("Relu", "x", "r"), node("Sum", "c x r d")
    assert_like_onnxruntime(make_model(*nodes, c=(6, 1, 1), d=(1,)))


def statistics(n):
    rng = np.random.default_rng(2)
    drawn = (rng.random(n) + 0.5, rng.normal(size=n), rng.normal(size=n), rng.random(n) + 0.5)
    return {f"b{i}": np.float32(array) for i, array in enumerate(drawn)}


def test_batch_normalisation():
    normalise = node("BatchNormalization", "x b0 b1 b2 b3", epsilon=0.1)
    assert_like_onnxruntime(make_model(normalise, **statistics(6)))


def test_batch_normalisation_of_vectors():
    nodes = node("Flatten", "x", "f"), node("BatchNormalization", "f b0 b1 b2 b3")
    assert_like_onnxruntime(make_model(*nodes, **statistics(np.prod(IMAGE))))


def test_layer_normalisation_of_channels():
    # As in ConvNeXt: turned, normalised, turned back, which is nothing where channels are last.
    nodes = (
        node("Transpose", "x", "t", perm=[0, 2, 3, 1]),
        node("LayerNormalization", "t s o", "n", axis=-1),
        node("Transpose", "n", perm=[0, 3, 1, 2]),
    )
    network = assert_like_onnxruntime(make_model(*nodes, s=(6,), o=(6,)))
    assert "Permute" not in layer_names(network)


@pytest.mark.parametrize("turned", [0, 1])
def test_flatten_and_gemm(turned):
    # Columns of the matrix count channels first.
    n = np.prod(IMAGE)
    nodes = node("Flatten", "x", "f"), node("Gemm", "f k b", alpha=0.5, beta=2.0, transB=turned)
    assert_like_onnxruntime(make_model(*nodes, k=(5, n) if turned else (n, 5), b=(5,)))


@pytest.mark.parametrize("shape", [[0, -1], [1, -1], [-1, 594]])
def test_reshape_and_matmul(shape):
    nodes = node("Reshape", "x s", "f"), node("MatMul", "f k", "m"), node("Add", "m b")
    arrays = {"s": np.array(shape), "k": (594, 5), "b": (5,)}
    assert_like_onnxruntime(make_model(*nodes, batch=1, **arrays))


def test_matmul_of_two_parts_of_an_image():
    # Bilinear pooling.
    nodes = (
        node("Reshape", "x s", "f"),
        node("Transpose", "f", "t", perm=[0, 2, 1]),
        node("MatMul", "f t"),
    )
    assert_like_onnxruntime(make_model(*nodes, s=np.array([0, 6, -1])))


def test_reshape_by_the_shape_of_the_batch():
    # What PyTorch writes for x.view(x.size(0), -1).
    nodes = (
        node("Shape", "x", "shape"),
        node("Gather", "shape zero", "n", axis=0),
        node("Unsqueeze", "n axes", "n1"),
        node("Concat", "n1 rest", "s", axis=0),
        node("Reshape", "x s"),
    )
    arrays = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    assert_like_onnxruntime(make_model(*nodes, **arrays))


def shuffle(groups):
    sizes = {"s1": [-1, groups, 6 // groups, 9, 11], "s2": [-1, 6, 9, 11]}
    nodes = (
        node("Reshape", "x s1", "five"),
        node("Transpose", "five", "turned", perm=[0, 2, 1, 3, 4]),
        node("Reshape", "turned s2"),
    )
    return make_model(*nodes, **{name: np.array(size) for name, size in sizes.items()})


@pytest.mark.parametrize("groups", [2, 3])
def test_channel_shuffle_turns_once(groups):
    network = assert_like_onnxruntime(shuffle(groups))
    assert layer_names(network).count("Permute") == 1


@pytest.mark.parametrize(
    "shape",
    [[0, 54, 11], [0, 2, 3, 99], [0, 594, 1, 1], [0, 3, 2, 9, 11], [0, 99, 6], [0, 1, 6, 99]],
)
def test_reshape(shape):
    assert_like_onnxruntime(make_model(node("Reshape", "x s"), s=np.array(shape)))


@pytest.mark.parametrize("perm", [[0, 1, 3, 2], [0, 3, 1, 2], [0, 2, 3, 1]])
def test_transpose(perm):
    assert_like_onnxruntime(make_model(node("Transpose", "x", perm=perm)))


@pytest.mark.parametrize("opset", [11, 18])
def test_squeeze_and_unsqueeze(opset):
    pooled = node("GlobalAveragePool", "x", "p")
    if opset < 13:
        nodes = (
            node("Squeeze", "p", "v", axes=[2, 3]),
            node("Unsqueeze", "v", "u", axes=[2, 3]),
            node("Mul", "x u"),
        )
        model = make_model(pooled, *nodes, opset=opset)
    else:
        nodes = node("Squeeze", "p a", "v"), node("Unsqueeze", "v a", "u"), node("Mul", "x u")
        model = make_model(pooled, *nodes, opset=opset, a=np.array([2, -1]))
    assert_like_onnxruntime(model)


def test_expand():
    nodes = node("GlobalMaxPool", "x", "p"), node("Shape", "x", "s"), node("Expand", "p s")
    assert_like_onnxruntime(make_model(*nodes))


@pytest.mark.parametrize("axis", [1, -1])
def test_concatenation(axis):
    nodes = node("Relu", "x", "r"), node("Concat", "x r x", axis=axis)
    assert_like_onnxruntime(make_model(*nodes))


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([1], [4], [1], [1]),
        ([-4, 0], [2**40, -2], [1, 2], [1, 3]),
        ([-1], [-(2**40)], [1], [-1]),
        ([0, 1], [9, 11], [2, 3], [2, 2]),
    ],
)
def test_slice(starts, ends, axes, steps):
    given = {"s": starts, "e": ends, "a": axes, "t": steps}
    arrays = {name: np.array(value) for name, value in given.items()}
    assert_like_onnxruntime(make_model(node("Slice", "x s e a t"), **arrays))


@pytest.mark.parametrize("opset", [11, 18])
@pytest.mark.parametrize("sizes", [[2, 4], [3, 3]])
def test_split(opset, sizes):
    if opset < 13:
        cut = node("Split", "x", "p q", axis=1, split=sizes)
        arrays = {}
    else:
        cut, arrays = node("Split", "x sizes", "p q", axis=1), {"sizes": np.array(sizes)}
    nodes = cut, node("Sigmoid", "q", "g"), node("Concat", "g p", axis=1)
    assert_like_onnxruntime(make_model(*nodes, opset=opset, **arrays))


def test_split_into_equal_parts():
    nodes = node("Split", "x", "p q", axis=1, num_outputs=2), node("Mul", "p q")
    assert_like_onnxruntime(make_model(*nodes))


@pytest.mark.parametrize("indices", [[5, 0, -3], 2, -1])
def test_gather(indices):
    assert_like_onnxruntime(make_model(node("Gather", "x i", axis=1), i=np.array(indices)))


@pytest.mark.parametrize(
    ("pads", "mode"),
    [
        ([0, 0, 1, 2, 0, 0, 3, 0], "constant"),
        ([0, 2, 0, 0, 0, 1, 0, 0], "constant"),
        ([0, 0, 1, 2, 0, 0, 3, 0], "reflect"),
        ([0, 0, -1, 2, 0, -2, 0, -3], "constant"),
    ],
)
@pytest.mark.parametrize("value", [0, 1.5])
def test_pad(pads, mode, value):
    arrays = {"p": np.array(pads), "v": np.float32(value)}
    assert_like_onnxruntime(make_model(node("Pad", "x p v", mode=mode), **arrays))


@pytest.mark.parametrize(
    ("operator", "axes", "keepdims"),
    [
        ("ReduceMean", [2, 3], 1),
        ("ReduceMean", [2, 3], 0),
        ("ReduceMean", [-1, 1], 0),
        ("ReduceSum", [1], 1),
        ("ReduceSum", [1], 0),
        ("ReduceSum", [1, 2, 3], 1),
        ("ReduceL1", [3], 0),
        ("ReduceL2", [1, 2, 3], 1),
        ("ReduceL2", [1], 1),
        ("ReduceMax", [2, 3], 1),
        ("ReduceMin", [2], 0),
        ("ReduceSumSquare", [-1], 0),
        ("ReduceLogSumExp", [1], 1),
        ("ReduceProd", [2], 1),
    ],
)
def test_reduction(operator, axes, keepdims):
    reduce = node(operator, "x a", keepdims=keepdims)
    assert_like_onnxruntime(make_model(reduce, a=np.array(axes)))


def test_norm_has_a_gradient_at_zero():
    network = load_onnx(make_model(node("ReduceL2", "x a"), a=np.array([1])))
    (gradient,) = gradients(network, np.zeros((1, 9, 11, 6)))
    np.testing.assert_array_equal(gradient, 0)


def test_reduction_by_attribute():
    assert_like_onnxruntime(make_model(node("ReduceMean", "x", axes=[2, 3]), opset=11))


@pytest.mark.parametrize("gate", ["HardSigmoid", "Sigmoid"])
def test_squeeze_and_excitation(gate):
    nodes = (
        node("ReduceMean", "x a", "p", keepdims=1),
        node("Conv", "p k1 b1", "c1"),
        node("Relu", "c1", "r"),
        node("Conv", "r k2 b2", "c2"),
        node(gate, "c2", "g"),
        node("Mul", "g x"),
    )
    arrays = {"k1": (3, 6, 1, 1), "b1": (3,), "k2": (6, 3, 1, 1), "b2": (6,)}
    assert_like_onnxruntime(make_model(*nodes, a=np.array([2, 3]), **arrays))


def test_unit_length_as_pytorch_writes_it():
    nodes = (
        node("Flatten", "x", "f"),
        node("ReduceL2", "f a", "l", keepdims=1),
        node("Clip", "l tiny", "c"),
        node("Shape", "f", "s"),
        node("Expand", "c s", "e"),
        node("Div", "f e"),
    )
    assert_like_onnxruntime(make_model(*nodes, a=np.array([1]), tiny=np.float32(1e-12)))


@pytest.mark.parametrize(
    "attributes",
    [
        {"mode": "nearest"},
        {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        },
        {"mode": "linear"},
    ],
)
@pytest.mark.parametrize("by", ["scales", "sizes"])
def test_resize(attributes, by):
    if attributes["mode"] == "linear":
        skip_where_keras_cannot_resize()
    if by == "scales":
        inputs, arrays = "x _ c", {"c": np.float32([1, 1, 2, 3])}
    else:
        inputs, arrays = "x _ _ c", {"c": np.array([3, 6, 18, 33])}
    model = make_model(node("Resize", inputs, **attributes), batch=3, **arrays)
    assert_like_onnxruntime(model)


def test_resize_to_less():
    skip_where_keras_cannot_resize()
    c = np.array([3, 6, 5, 7])
    assert_like_onnxruntime(make_model(node("Resize", "x _ _ c", mode="linear"), batch=3, c=c))


def test_upsample_of_version_9():
    model = make_model(node("Upsample", "x c"), opset=9, c=np.float32([1, 1, 2, 2]))
    assert_like_onnxruntime(model)


def test_channels_last_files_are_not_turned():
    # As tf2onnx writes them.
    nodes = (
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Conv", "t k", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r"),
        node("Transpose", "r", "b", perm=[0, 2, 3, 1]),
        node("Flatten", "b"),
    )
    model = make_model(*nodes, shape=(9, 11, 3), k=(4, 3, 3, 3))
    images = draw_images((9, 11, 3))
    network = load_onnx(model)
    assert network.input_shape == (None, 9, 11, 3)
    np.testing.assert_allclose(evaluate(network, images), run(model, images), rtol=1e-4, atol=1e-4)
    assert "Permute" not in layer_names(network)


def test_setting_of_keras_does_not_matter():
    images = channels_last(draw_images((3, 8, 10)))
    model = convolutional_model()
    expected = evaluate(load_onnx(model, mean=(0.1, 0.2, 0.3), std=(2, 3, 4)), images)
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        network = load_onnx(model, mean=(0.1, 0.2, 0.3), std=(2, 3, 4))
        found = evaluate(network, images)
        rebuilt = evaluate(StoredNetwork(network).model, images)
    finally:
        keras.config.set_image_data_format(before)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(rebuilt, expected)


def test_precision_of_keras_does_not_matter():
    before = keras.config.dtype_policy()
    images = channels_last(draw_images((3, 8, 10)))
    expected = evaluate(load_onnx(convolutional_model(), std=2), images)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = evaluate(load_onnx(convolutional_model(), std=2), images)
    finally:
        keras.config.set_dtype_policy(before)
    np.testing.assert_array_equal(found, expected)


def test_mean_and_deviation():
    model = convolutional_model()
    images = draw_images((3, 8, 10))
    mean, std = np.float32([0.5, -1, 2]), np.float32([0.5, 2, 3])
    expected = run(model, (images - mean[:, None, None]) / std[:, None, None])
    network = load_onnx(model, mean=mean, std=std)
    found = evaluate(network, channels_last(images))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    (gradient,) = gradients(network, channels_last(images))
    assert np.isfinite(gradient).all()
    assert np.mean(gradient != 0) > 0.5
