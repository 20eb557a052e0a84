"""Operators that treat each value by itself: activations, arithmetic."""

from __future__ import annotations

import math
from functools import partial, reduce

import numpy as np

from ._layers import Elementwise, WithConstant
from ._node import Activations, layers

# Of Keras; the others come from `Elementwise`.
_MERGES = {
    "add": layers.Add,
    "maximum": layers.Maximum,
    "minimum": layers.Minimum,
    "multiply": layers.Multiply,
    "subtract": layers.Subtract,
}
_ACTIVATIONS = {
    "HardSwish": "hard_silu",
    "Mish": "mish",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Swish": "silu",
    "Tanh": "tanh",
}
_FUNCTIONS = {
    "Abs": "abs",
    "Ceil": "ceil",
    "Cos": "cos",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "Log": "log",
    "Neg": "negative",
    "Reciprocal": "reciprocal",
    "Round": "round",
    "Sign": "sign",
    "Sin": "sin",
    "Sqrt": "sqrt",
}


def align(node, tensors):
    """Bring tensors to one layout.

    Parameters
    ----------
    node : Node
        Whose inputs they are.
    tensors : list of Activations
        The tensors, of as many axes each.

    Returns
    -------
    list of Activations
        The same values, laid as the largest of them.
    """
    if len({len(x.axes) for x in tensors}) > 1:
        shapes = ", ".join(str(x.shape) for x in tensors)
        raise ValueError(f"it puts together tensors of shapes {shapes}, across images")
    largest = max(tensors, key=lambda x: math.prod(x.shape))
    return [node.arrange(x, largest.axes) for x in tensors]


def _lay(array, x):
    """Lay an array as a tensor that it is to be broadcast with, without the batch's axis."""
    rank = len(x.axes)
    pairs = zip(array.shape[::-1], x.shape[::-1], strict=False)
    fits = array.ndim <= rank and all(n == m or 1 in (n, m) for n, m in pairs)
    if not fits or (array.ndim == rank and len(array) != 1):
        raise ValueError(f"an array of shape {array.shape} does not fit a tensor of {x.shape}")
    if array.size == 1:
        return array.reshape(())
    return array.reshape((1,) * (rank - array.ndim) + array.shape).transpose(x.axes)[0]


def _with_constant(node, function, x, array, constant_first=False):
    array = _lay(np.float32(array), x)
    options = {"constant_first": constant_first, "weights": [array]}
    return x.become(node.apply(x.tensor, WithConstant, function, array.shape, **options))


def combine(node, function, first, second):
    """Apply a function to two inputs that broadcast.

    Parameters
    ----------
    node : Node
        Whose inputs they are.
    function : str
        Its name in ``keras.ops``.
    first, second : Activations or int
        What depends on the image, or the number of an input that does not.

    Returns
    -------
    Activations
        The result.
    """
    if not isinstance(second, Activations):
        return _with_constant(node, function, first, node.weights(second))
    if not isinstance(first, Activations):
        return _with_constant(node, function, second, node.weights(first), constant_first=True)
    first, second = align(node, [first, second])
    tensors = [first.tensor, second.tensor]
    if function in _MERGES:
        return first.become(node.apply(tensors, _MERGES[function]))
    return first.become(node.apply(tensors, Elementwise, function))


def _arithmetic(function, node):
    """Put two or more inputs together, one after another."""
    operands = [x if isinstance(x, Activations) else i for i, x in enumerate(node.inputs)]
    # What depends on the image first, where the order is free.
    if len(operands) > 2:
        operands.sort(key=lambda x: not isinstance(x, Activations))
    if len(operands) == 1:
        return operands[0]
    return reduce(partial(combine, node, function), operands)


def _power(node):
    """Raise to a power; squares and roots by their own functions, which are exact."""
    exponent = node.inputs[1]
    if not isinstance(exponent, Activations) and np.size(exponent) == 1:
        function = {2.0: "square", 0.5: "sqrt"}.get(float(exponent.reshape(())))
        if function is not None:
            return _elementwise(function, node)
    return _arithmetic("power", node)


def _elementwise(function, node):
    x = node.activations()
    return x.become(node.apply(x.tensor, Elementwise, function))


def _activation(function, node):
    x = node.activations()
    return x.become(node.apply(x.tensor, layers.Activation, function))


def _layer(cls, attribute, default, argument, node):
    """Apply a layer that has one parameter."""
    x = node.activations()
    value = node.attribute(attribute, default)
    return x.become(node.apply(x.tensor, cls, **{argument: value}))


def _with_defaults(function, defaults, node):
    """Apply an activation for which Keras has no parameters."""
    for name, value in defaults.items():
        found = node.attribute(name, value)
        if found != value and not (isinstance(value, float) and np.isclose(found, value)):
            raise ValueError(f"{name} is {found}, and only {value} is known")
    return _activation(function, node)


def _clip(node):
    """Clip from below, from above, or both."""
    x = node.activations()
    low, high = (node.option(i, name) for i, name in ((1, "min"), (2, "max")))
    low, high = (None if v is None else float(np.reshape(v, ())) for v in (low, high))
    # How old files write "not at all".
    low = None if low is not None and low <= np.finfo(np.float32).min else low
    high = None if high is not None and high >= np.finfo(np.float32).max else high
    if low == 0 and (high is None or high > 0):
        return x.become(node.apply(x.tensor, layers.ReLU, high))
    for function, bound in (("maximum", low), ("minimum", high)):
        if bound is not None:
            x = _with_constant(node, function, x, bound)
    return x


def _hard_sigmoid(node):
    alpha, beta = node.attribute("alpha", 0.2), node.attribute("beta", 0.5)
    if np.isclose(alpha, 1 / 6) and beta == 0.5:
        return _activation("hard_sigmoid", node)
    x = _with_constant(node, "multiply", node.activations(), alpha)
    x = _with_constant(node, "add", x, beta)
    return x.become(node.apply(x.tensor, layers.ReLU, 1.0))


def _prelu(node):
    """Have a slope of one's own below zero: for every map, or for all."""
    x, slope = node.activations(), node.weights(1)
    slope = _lay(slope, x)
    rank = len(x.axes)
    slope = slope.reshape((1,) * (rank - 1 - slope.ndim) + slope.shape)
    shape = x.tensor.shape[1:]
    if any(n not in (1, m) for n, m in zip(slope.shape, shape, strict=True)):
        raise ValueError(f"slopes of shape {node.weights(1).shape} do not fit {x.shape}")
    shared = [i for i, n in enumerate(slope.shape, start=1) if n == 1]
    options = {"shared_axes": shared, "weights": [slope]}
    return x.become(node.apply(x.tensor, layers.PReLU, **options))


def _softmax(node):
    x = node.activations()
    default = -1 if node.opset >= 13 else 1
    first = x.axis(node.attribute("axis", default))
    # Older versions see all axes from there on as one.
    axes = [first] if node.opset >= 13 else range(first, len(x.axes))
    places = tuple(x.place(axis) for axis in axes)
    return x.become(node.apply(x.tensor, layers.Softmax, places if len(places) > 1 else places[0]))


def _cast(node):
    """Change the precision, which all is float32 here."""
    import onnx

    x, kind = node.activations(), onnx.TensorProto
    floats = (kind.FLOAT, kind.FLOAT16, kind.BFLOAT16, kind.DOUBLE)
    if node.attribute("to", kind.FLOAT) not in floats:
        raise ValueError("it makes integers of what depends on the image")
    return x


def _same(node):
    return node.activations()


OPERATORS = {
    "Add": partial(_arithmetic, "add"),
    "Cast": _cast,
    "CastLike": _same,
    "Celu": partial(_with_defaults, "celu", {"alpha": 1.0}),
    "Clip": _clip,
    "Div": partial(_arithmetic, "divide"),
    "Dropout": _same,
    "Elu": partial(_layer, layers.ELU, "alpha", 1.0, "alpha"),
    "Gelu": partial(_with_defaults, "gelu", {"approximate": "none"}),
    "HardSigmoid": _hard_sigmoid,
    "Identity": _same,
    "LeakyRelu": partial(_layer, layers.LeakyReLU, "alpha", 0.01, "negative_slope"),
    "Max": partial(_arithmetic, "maximum"),
    "Min": partial(_arithmetic, "minimum"),
    "Mul": partial(_arithmetic, "multiply"),
    "PRelu": _prelu,
    "Pow": _power,
    "Selu": partial(_with_defaults, "selu", {"alpha": 1.6732632, "gamma": 1.0507010}),
    "Softmax": _softmax,
    "Sub": partial(_arithmetic, "subtract"),
    "Sum": partial(_arithmetic, "add"),
    **{op: partial(_activation, function) for op, function in _ACTIVATIONS.items()},
    **{op: partial(_elementwise, function) for op, function in _FUNCTIONS.items()},
}
