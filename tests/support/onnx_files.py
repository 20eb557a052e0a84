"""Small ONNX files made by hand, and what onnxruntime computes of them."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

IMAGE = (6, 9, 11)


def node(operator, inputs, outputs="y", **attributes):
    """Write a node; names are separated by spaces, and ``_`` is an input that is left out."""
    inputs = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(operator, inputs, outputs.split(), **attributes)


def make_model(*nodes, shape=IMAGE, opset=18, output="y", batch="n", **arrays):
    """Write a file of images "x", channels first, and arrays given or, by their shapes, drawn."""
    rng = np.random.default_rng(0)
    tensors = []
    for name, array in arrays.items():
        if isinstance(array, tuple):
            array = np.float32(rng.normal(size=array))
        tensors.append(numpy_helper.from_array(np.asarray(array), name))
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *shape])
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    graph = helper.make_graph(list(nodes), "test", [images], [result], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def draw_images(shape, n=3):
    return np.float32(np.random.default_rng(1).normal(size=(n, *shape)))


def run(model, images):
    """Compute a file as onnxruntime does, batches of the size it wants."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    size = session.get_inputs()[0].shape[0]
    size = size if isinstance(size, int) else len(images)
    batches = [images[i : i + size] for i in range(0, len(images), size)]
    return np.concatenate([session.run(None, {"x": batch})[0] for batch in batches])


def channels_last(array):
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def convolutional_model(**options):
    nodes = (
        node("Conv", "x k", "c", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("PRelu", "c a", "r"),
        node("MaxPool", "r", "m", kernel_shape=[2, 2]),
        node("Flatten", "m", "f"),
        node("Gemm", "f w"),
    )
    arrays = {"k": (4, 3, 3, 3), "a": (4, 1, 1), "w": (48, 5)}
    return make_model(*nodes, shape=(3, 8, 10), **{**arrays, **options})
