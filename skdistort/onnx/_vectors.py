"""Operators that weigh, normalise or reduce along axes: Gemm, batch normalisation, means, norms."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..networks import UnitLength
from ._elementwise import combine
from ._layers import Reduction
from ._node import Activations, layers


def _dense(node, x, kernel, bias=None):
    if kernel.ndim != 2 or x.shape[-1] != len(kernel):
        raise ValueError(f"a matrix of shape {kernel.shape} does not fit a tensor of {x.shape}")
    weights = [kernel]
    if bias is not None:
        weights.append(np.broadcast_to(bias.reshape(-1), kernel.shape[1:]))
    options = {"use_bias": bias is not None, "kernel_initializer": "zeros", "weights": weights}
    return x.become(node.apply(x.tensor, layers.Dense, kernel.shape[1], **options))


def _last(node, x, axis=-1):
    """Bring an axis to the end."""
    axis = x.axis(axis)
    return node.arrange(x, [*(a for a in x.axes if a != axis), axis])


def _gemm(node):
    """Multiply by a matrix, and add a vector."""
    x, kernel, bias = node.activations(), node.weights(1), node.weights(2)
    if node.attribute("transA", 0):
        raise ValueError("it turns the tensor that depends on the image, across images")
    kernel = node.attribute("alpha", 1.0) * (kernel.T if node.attribute("transB", 0) else kernel)
    if bias is not None:
        bias = node.attribute("beta", 1.0) * bias
    return _dense(node, _last(node, x), kernel, bias)


def _matmul(node):
    """Multiply by a matrix, of the file or of the image."""
    x, other = node.activations(), node.inputs[1]
    if not isinstance(other, Activations):
        return _dense(node, _last(node, x), node.weights(1))
    if len(x.axes) < 3:
        raise ValueError("it multiplies vectors of the image, across images")
    in_order = [node.arrange(t, range(len(t.axes))) for t in (x, other)]
    return combine(node, "matmul", *in_order)


def _batch_normalisation(node):
    """Normalise each map by the file's statistics."""
    x = node.activations()
    if node.attribute("training_mode", 0):
        raise ValueError("the file was exported for training; export it for inference")
    weights = [node.weights(i) for i in range(1, 5)]
    options = {"axis": x.place(1), "epsilon": node.attribute("epsilon", 1e-5)}
    return x.become(node.apply(x.tensor, layers.BatchNormalization, weights=weights, **options))


def _layer_normalisation(node):
    """Normalise each place over the last axis."""
    x, scale, offset = node.activations(), node.weights(1), node.weights(2)
    if x.axis(node.attribute("axis", -1)) != len(x.axes) - 1 or node.n_outputs > 1:
        raise ValueError("only the last axis is known, and no outputs beside the values")
    x = _last(node, x)
    shape = x.tensor.shape[-1:]
    weights = [np.broadcast_to(scale, shape)]
    if offset is not None:
        weights.append(np.broadcast_to(offset, shape))
    options = {"epsilon": node.attribute("epsilon", 1e-5), "center": offset is not None}
    return x.become(node.apply(x.tensor, layers.LayerNormalization, weights=weights, **options))


def _unit_length(node):
    """Scale to unit length along an axis."""
    if node.attribute("p", 2) != 2:
        raise ValueError("only the norm of p = 2 is known")
    x = _last(node, node.activations(), node.attribute("axis", -1))
    return x.become(node.apply(x.tensor, UnitLength))


def _reduction(function, node):
    """Reduce axes."""
    x = node.activations()
    rank = len(x.axes)
    axes = node.option(1, "axes")
    if axes is None or not np.size(axes):
        if node.attribute("noop_with_empty_axes", 0):
            return x
        axes = range(rank)
    axes = {x.axis(int(axis)) for axis in np.reshape(axes, -1)}
    keepdims = bool(node.attribute("keepdims", 1))
    # Keras has a layer for the commonest.
    if function == "mean" and rank == 4 and {x.place(a) for a in axes} == {1, 2}:
        options = {"data_format": "channels_last", "keepdims": keepdims}
        tensor = node.apply(x.tensor, layers.GlobalAveragePooling2D, **options)
    else:
        places = sorted(x.place(axis) for axis in axes)
        tensor = node.apply(x.tensor, Reduction, function, places, keepdims)
    if keepdims:
        return x.become(tensor)
    left = sorted(set(range(rank)) - axes)
    return x.become(tensor, [left.index(axis) for axis in x.axes if axis in left])


OPERATORS = {
    "BatchNormalization": _batch_normalisation,
    "Gemm": _gemm,
    "LayerNormalization": _layer_normalisation,
    "LpNormalization": _unit_length,
    "MatMul": _matmul,
    **{
        f"Reduce{op}": partial(_reduction, function)
        for op, function in {
            "L1": "l1",
            "L2": "l2",
            "LogSumExp": "log_sum_exp",
            "Max": "max",
            "Mean": "mean",
            "Min": "min",
            "Prod": "prod",
            "Sum": "sum",
            "SumSquare": "sum_square",
        }.items()
    },
}
