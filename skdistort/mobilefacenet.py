"""MobileFaceNet, a pretrained face embedder, as a Keras model.

What lives here is its architecture and the way its weights come out of an ONNX file that the user
gives; no weights come with skdistort. It is no interpreter of ONNX: another network's file is
refused. Photos to embed are read in :mod:`skdistort.datasets`.
"""

from __future__ import annotations

import os

import numpy as np

from ._backend import keras
from ._typing import FilePath
from .images._layout import check_pixel_range
from .networks import UnitLength
from .networks._blocks import CHANNELS_LAST

layers = keras.layers

_IMAGE_SHAPE = (112, 112, 3)
_N_COMPONENTS = 128

# Mean and standard deviation of ImageNet's red, green and blue, pixels in [0, 1].
_MEAN = np.array([0.485, 0.456, 0.406])
_DEVIATION = np.array([0.229, 0.224, 0.225])

# Expansion, maps, repeats and first stride of each run of bottlenecks: Table 1 of the paper.
_BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))

# Batch normalisation is part of the convolutions of such a file.
_OPERATIONS = {"Add", "Clip", "Constant", "Conv", "Relu", "Reshape"}


def load_mobilefacenet(
    path: FilePath, *, pixel_range: tuple[float, float] = (0, 255)
) -> keras.Model:
    """Build MobileFaceNet with the weights of an ONNX file.

    The file is the one of foamliu's MobileFaceNet (Apache-2.0): 128 components, ReLU6 where the
    paper has PReLU, exported by PyTorch with batch normalisation folded into the convolutions.

    Parameters
    ----------
    path : str or path-like
        The file, such as ``MobileFaceNet.onnx``.
    pixel_range : tuple of 2 float, default=(0, 255)
        Values of black and white in the images that the model will be given.

    Returns
    -------
    keras.Model
        Aligned RGB faces ``(n, 112, 112, 3)`` to embeddings ``(n, 128)`` of unit length, float32.
        A plain functional model, to be given as `embedder` to
        :class:`~skdistort.DistortionGenerator`.

    Raises
    ------
    ImportError
        If the package onnx is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, holds another network, or `pixel_range` is not rising.

    References
    ----------
    Chen, Liu, Gao, Han, "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification
    on Mobile Devices", Chinese Conference on Biometric Recognition (2018), Table 1.
    https://github.com/foamliu/MobileFaceNet

    Examples
    --------
    >>> from skdistort.mobilefacenet import load_mobilefacenet
    >>> embedder = load_mobilefacenet("MobileFaceNet.onnx")  # doctest: +SKIP
    >>> embedder.output_shape  # doctest: +SKIP
    (None, 128)
    """
    low, high = check_pixel_range(pixel_range)
    nodes, arrays = _read_graph(path)
    model, convolutions = _build_mobilefacenet(low, high)
    if nodes.keys() != convolutions.keys():
        name = min(nodes.keys() ^ convolutions.keys())
        verb = "lacks" if name in convolutions else "adds"
        raise _unfit(path, f"it {verb} the convolution {name!r}")
    for name, layer in convolutions.items():
        layer.set_weights(_weights_of(layer, name, nodes[name], arrays, path))
    return model


def _build_mobilefacenet(low, high):
    """Build the network; return it with its convolutions by the names they have in the file."""
    convolutions = {}

    def convolve(x, name, maps=None, size=1, stride=1):
        """Convolve; each map by itself where their number is not given."""
        if stride == 2:
            # PyTorch pads both sides; a stride of 2 leaves the far side's zeros unused, while
            # Keras's "same" would have them only.
            x = layers.ZeroPadding2D(((1, 0), (1, 0)), **CHANNELS_LAST)(x)
        options = {"strides": stride, "padding": "same" if (size, stride) == (3, 1) else "valid"}
        options |= CHANNELS_LAST
        if maps is None:
            layer = layers.DepthwiseConv2D(size, **options)
        else:
            layer = layers.Conv2D(maps, size, **options)
        convolutions[name] = layer
        return layer(x)

    def relu6(x):
        return layers.ReLU(6.0)(x)

    mean = low + (high - low) * _MEAN
    variance = np.square((high - low) * _DEVIATION)
    x = inputs = layers.Input(_IMAGE_SHAPE)
    # Not Rescaling, which takes its axis of channels from Keras's global setting.
    x = layers.Normalization(axis=-1, mean=mean.tolist(), variance=variance.tolist())(x)
    x = relu6(convolve(x, "/conv1/conv1.0/Conv", 64, size=3, stride=2))
    x = layers.ReLU()(convolve(x, "/dw_conv/depthwise/Conv", size=3))
    x = layers.ReLU()(convolve(x, "/dw_conv/pointwise/Conv", 64))
    blocks = [
        (expansion, maps, first_stride if repeat == 0 else 1)
        for expansion, maps, repeats, first_stride in _BOTTLENECKS
        for repeat in range(repeats)
    ]
    for i, (expansion, maps, stride) in enumerate(blocks):
        node = f"/features/features.{i}/conv/conv"
        y = relu6(convolve(x, f"{node}.0/conv.0.0/Conv", expansion * x.shape[-1]))
        y = relu6(convolve(y, f"{node}.1/conv.1.0/Conv", size=3, stride=stride))
        y = convolve(y, f"{node}.2/Conv", maps)
        x = layers.Add()([x, y]) if stride == 1 else y
    x = relu6(convolve(x, "/conv2/conv2.0/Conv", 512))
    x = convolve(x, "/gdconv/depthwise/Conv", size=7)
    x = layers.Flatten(**CHANNELS_LAST)(convolve(x, "/conv3/Conv", _N_COMPONENTS))
    return keras.Model(inputs, UnitLength()(x), name="mobilefacenet"), convolutions


def _read_graph(path):
    """Read a file: the inputs of its convolutions, and its float32 tensors, both by name."""
    onnx, DecodeError = _import_onnx()
    try:
        # Tensors outside of the file could be any file that the path within names.
        graph = onnx.load(path, format="protobuf", load_external_data=False).graph
    except DecodeError as error:
        raise _unfit(path, f"it cannot be decoded ({error})") from error
    others = {node.op_type for node in graph.node} - _OPERATIONS
    if others:
        raise _unfit(path, f"it holds operations {', '.join(sorted(others))}")
    convolutions = {n.name: list(n.input) for n in graph.node if n.op_type == "Conv"}
    arrays = {}
    for tensor in graph.initializer:
        # The other types are not of this network; what lies elsewhere is not read, see above.
        inside = tensor.data_location == onnx.TensorProto.DEFAULT
        if inside and tensor.data_type == onnx.TensorProto.FLOAT:
            try:
                arrays[tensor.name] = onnx.numpy_helper.to_array(tensor)
            except ValueError as error:
                raise _unfit(path, f"{tensor.name} cannot be read ({error})") from error
    return convolutions, arrays


def _weights_of(layer, name, inputs, arrays, path):
    """Bring one convolution's kernel and bias to the layout of its Keras layer."""
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    # Keras has height, width, inputs, maps, and for each map by itself height, width, maps, 1.
    to_keras = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
    kernel_shape, bias_shape = (w.shape for w in layer.get_weights())
    expected = [tuple(kernel_shape[to_keras.index(axis)] for axis in range(4)), bias_shape]
    weights = [arrays.get(i) for i in inputs[1:]]
    shapes = [None if w is None else w.shape for w in weights]
    if shapes != expected:
        raise _unfit(path, f"{name} has float32 weights of shapes {shapes}, expected {expected}")
    kernel, bias = weights
    if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
        raise _unfit(path, f"{name} has weights that are NaN or infinite")
    return kernel.transpose(to_keras), bias


def _unfit(path, reason):
    """Make the error that says why a file is not the one expected."""
    return ValueError(f"{os.fspath(path)} is no ONNX file of MobileFaceNet: {reason}.")


def _import_onnx():
    """Import what reads ONNX files, or say how to get it."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ImportError(
            f"Reading MobileFaceNet's file needs onnx and could not import it ({error}): install "
            "it with `pip install 'skdistort[faces]'`."
        ) from error
    return onnx, DecodeError
