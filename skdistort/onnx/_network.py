"""From the graph of an ONNX file to a Keras model; the operators are in modules of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._backend import keras
from .._typing import FilePath, Model
from . import _elementwise, _shapes, _spatial, _vectors
from ._graph import attributes_of, compute, describe, read_graph
from ._node import CHANNELS_LAST, Activations, Node

layers = keras.layers

_OPERATORS = {
    **_elementwise.OPERATORS,
    **_shapes.OPERATORS,
    **_spatial.OPERATORS,
    **_vectors.OPERATORS,
}
# Numbers of channels that tell which axis is theirs.
_CHANNELS = (1, 3, 4)


def load_onnx(
    model: FilePath | Any,
    *,
    image_shape: Sequence[int] | None = None,
    output: str | None = None,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
) -> Model:
    """Build the Keras model of an ONNX file whose input is images.

    The model takes images with the channels last, whichever way round the file has them, and is
    made of Keras's layers and some of this library's: it runs, learns and is saved on every
    backend, onnx is not needed for that. It gives what the file gives in inference, in float32 also
    where the file's weights are of another precision, and takes batches of any size.

    Parameters
    ----------
    model : str, path-like or onnx.ModelProto
        The file, or what ``onnx.load`` made of one. Weights that it keeps in another file are read
        from its folder.
    image_shape : tuple of 2 or 3 int or None, default=None
        Height, width and, where the file leaves it open, channels of the images. None takes what
        the file says.
    output : str or None, default=None
        Name of the tensor that the model gives: an output of the file, or anything that is computed
        on the way, such as the embedding in front of a classifier. None takes the file's only
        output.
    mean, std : float or sequence of float, default=0.0, 1.0
        The network is given ``(images - mean) / std``: one number, or one for each channel, in the
        units of the images.

    Returns
    -------
    keras.Model
        A functional model: images ``(n, height, width, channels)`` to the output; an output of four
        axes has its channels last, too.

    Raises
    ------
    ImportError
        If the package onnx is not installed.
    FileNotFoundError
        If there is no such file.
    TypeError
        If `model` is of another type.
    ValueError
        If the file is damaged, has operators that are not known here (all of them are named),
        combines the images of a batch with one another, has several inputs or outputs to choose
        from, or leaves a size open that `image_shape` does not give.

    See Also
    --------
    skdistort.DistortionGenerator : Takes the model as its `embedder`.
    skdistort.networks.UnitLength : The layer to put behind a model whose output is of any length.

    Notes
    -----
    Known are the operators of convolutional networks: convolution, pooling, normalisation,
    activations, arithmetic, matrix products, reductions, and what moves, cuts and joins tensors.
    Among them are those of ResNet, MobileNet, EfficientNet, DenseNet, ShuffleNet and SqueezeNet.

    Examples
    --------
    >>> import numpy as np
    >>> from onnx import TensorProto, helper, numpy_helper
    >>> from skdistort.onnx import load_onnx
    >>> kernel = np.ones((5, 3, 8, 8), np.float32)
    >>> nodes = [
    ...     helper.make_node("Conv", ["images", "kernel"], ["maps"]),
    ...     helper.make_node("Flatten", ["maps"], ["vectors"]),
    ... ]
    >>> images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 8, 8])
    >>> vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", 5])
    >>> graph = helper.make_graph(
    ...     nodes, "example", [images], [vectors], [numpy_helper.from_array(kernel, "kernel")]
    ... )
    >>> network = load_onnx(helper.make_model(graph), mean=127.5, std=127.5)
    >>> network.input_shape, network.output_shape
    ((None, 8, 8, 3), (None, 5))
    """
    graph = read_graph(model, output, _OPERATORS)
    n_images, shape, axes = _image_axes(graph, image_shape)
    images = layers.Input(shape, dtype="float32", name="images")
    first = _normalise(images, mean, std)
    values: dict[str, Any] = dict(graph.constants)
    values[graph.input.name] = Activations(first, axes, n_images)
    for index, proto in enumerate(graph.nodes):
        try:
            results = _build(proto, index, values, graph.opset)
        except Exception as error:
            raise graph.refusal(f"{describe(proto)}: {error}") from error
        values.update(zip(proto.output, results, strict=False))
    found = values.get(graph.output)
    if not isinstance(found, Activations):
        raise graph.refusal(f"{graph.output!r} does not depend on the images")
    # A layer of its own, whose name is free.
    last = Node("output", len(graph.nodes), {}, [found], graph.opset, 1)
    rank = len(found.axes)
    found = last.arrange(found, CHANNELS_LAST if rank == 4 else range(rank))
    return keras.Model(images, found.tensor, name="onnx")


def _build(proto, index, values, opset):
    """Compute a node if it does not depend on the image, and build it if it does."""
    inputs = [values[name] if name else None for name in proto.input]
    if not any(isinstance(x, Activations) for x in inputs):
        return compute(proto, inputs, opset)
    n_outputs = len([name for name in proto.output if name])
    node = Node(proto.op_type, index, attributes_of(proto), inputs, opset, n_outputs)
    result = _OPERATORS[proto.op_type](node)
    return result if isinstance(result, list) else [result]


def _image_axes(graph, image_shape):
    """Find out the file's batch size, the shape of an image, and how the file lays it."""
    kind = graph.input.type.tensor_type
    sizes = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
    name = graph.input.name
    if len(sizes) != 4:
        raise graph.refusal(f"its input {name!r} has {len(sizes)} axes, and images have 4")
    n_images, *rest = (size if size and size > 0 else None for size in sizes)
    last = rest[2] in _CHANNELS and rest[0] not in _CHANNELS
    axes = (0, 1, 2, 3) if last else CHANNELS_LAST
    declared = tuple(rest[axis - 1] for axis in axes[1:])
    given = _check_image_shape(image_shape)
    shape = tuple(a if b is None else b for a, b in zip(declared, given, strict=True))
    if None in shape:
        raise graph.refusal(
            f"it leaves the shape of its images open, {_show(declared)} (height, width, channels); "
            f"image_shape=(...) has to give it"
        )
    if any(a is not None and a != b for a, b in zip(declared, shape, strict=True)):
        raise graph.refusal(f"its images have shape {_show(declared)}, image_shape is {shape}")
    return n_images or 1, shape, axes


def _show(shape):
    return f"({', '.join('?' if n is None else str(n) for n in shape)})"


def _check_image_shape(image_shape):
    if image_shape is None:
        return None, None, None
    shape = tuple(image_shape)
    whole = all(isinstance(n, (int, np.integer)) and n > 0 for n in shape)
    if len(shape) not in (2, 3) or not whole:
        raise ValueError(
            "image_shape must be (height, width) or (height, width, channels), positive ints, got "
            f"{image_shape!r}."
        )
    return (*map(int, shape), None)[:3]


def _normalise(images, mean, std):
    """Shift and scale the channels of images."""
    n_channels = images.shape[-1]
    try:
        mean, std = (np.broadcast_to(np.float64(x), (n_channels,)) for x in (mean, std))
    except (TypeError, ValueError):
        mean = std = np.array([np.nan])
    if not (np.isfinite([mean, std]).all() and np.all(std > 0)):
        raise ValueError(
            f"mean and std must be one finite number or one for each of {n_channels} channels, "
            "std above 0."
        )
    if not mean.any() and np.all(std == 1):
        return images
    options = {"mean": mean.tolist(), "variance": np.square(std).tolist()}
    return layers.Normalization(-1, **options, name="normalise", dtype="float32")(images)
