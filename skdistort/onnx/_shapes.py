"""Operators that move values and compute none: reshaping, turning, cutting, putting together."""

from __future__ import annotations

import math

import numpy as np

from ._elementwise import align
from ._layers import Broadcast, Padding, Slice, Take
from ._node import Activations, layers


def reshape(node, x, shape):
    """Give a tensor another shape of the file, moving as little as can be.

    An axis that stays, one that is split and those that are merged keep their places in the
    network's own layout; axes that are merged are brought side by side first.

    Parameters
    ----------
    node : Node
        The node.
    x : Activations
        The tensor.
    shape : sequence of int
        The shape.

    Returns
    -------
    Activations
        The tensor in that shape.
    """
    shape = tuple(map(int, shape))
    if not shape or shape[0] != x.n_images:
        raise ValueError(f"it brings {x.shape} to {shape}, across the images of a batch")
    groups = _groups(x.shape, shape)
    groups.sort(key=lambda group: min(map(x.axes.index, group[0])))
    order = [axis for merged, _ in groups for axis in merged]
    units = [axis for axis in range(1, len(x.axes)) if x.shape[axis] == 1]
    if order != [axis for axis in x.axes[1:] if x.shape[axis] != 1]:
        x = node.arrange(x, [0, *units, *order])
    new_units = [axis for axis in range(1, len(shape)) if shape[axis] == 1]
    axes = [0, *new_units, *(axis for _, split in groups for axis in split)]
    return x.become(node.reshape(x.tensor, [shape[axis] for axis in axes[1:]]), axes)


def _groups(source, target):
    """Match the axes of two shapes, longer than 1, that hold the same values.

    Returns
    -------
    list of (list of int, list of int)
        The smallest runs of axes of as many values, of the one and of the other.
    """
    rest = [[axis for axis in range(1, len(s)) if s[axis] != 1] for s in (source, target)]
    groups = []
    while all(rest):
        group = [[rest[0].pop(0)], [rest[1].pop(0)]]
        sizes = [source[group[0][0]], target[group[1][0]]]
        while sizes[0] != sizes[1]:
            smaller = int(sizes[1] < sizes[0])
            if not rest[smaller]:
                break
            axis = rest[smaller].pop(0)
            group[smaller].append(axis)
            sizes[smaller] *= (source, target)[smaller][axis]
        groups.append(group)
    if any(rest) or math.prod(source) != math.prod(target):
        raise ValueError(f"it brings a tensor of {source} to {target}, which holds another number")
    return groups


def _reshape(node):
    x = node.activations()
    shape = [int(n) for n in node.option(1, "shape")]
    if not node.attribute("allowzero", 0):
        shape = [x.shape[i] if n == 0 else n for i, n in enumerate(shape)]
    if -1 in shape:
        known = math.prod(n for n in shape if n != -1)
        shape[shape.index(-1)] = math.prod(x.shape) // max(known, 1)
    return reshape(node, x, shape)


def _flatten(node):
    x = node.activations()
    axis = node.attribute("axis", 1) % len(x.axes)
    return reshape(node, x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def _squeeze(node):
    x = node.activations()
    axes = node.option(1, "axes")
    if axes is None:
        axes = [axis for axis in range(1, len(x.axes)) if x.shape[axis] == 1]
    dropped = {x.axis(int(axis)) for axis in axes}
    if any(x.shape[axis] != 1 for axis in dropped):
        raise ValueError(f"it drops axes {sorted(dropped)} of a tensor of {x.shape}")
    return reshape(node, x, [n for axis, n in enumerate(x.shape) if axis not in dropped])


def _unsqueeze(node):
    x = node.activations()
    axes = [int(axis) for axis in node.option(1, "axes")]
    rank = len(x.axes) + len(axes)
    new = {axis % rank for axis in axes}
    sizes = iter(x.shape)
    return reshape(node, x, [1 if axis in new else next(sizes) for axis in range(rank)])


def _transpose(node):
    x = node.activations()
    order = list(node.attribute("perm", range(len(x.axes))[::-1]))
    if order[0] != 0:
        raise ValueError("it moves the axis of the batch")
    # Nothing is moved before an operator asks for it.
    return x.become(x.tensor, [order.index(axis) for axis in x.axes])


def _expand(node):
    x = node.activations()
    shape = tuple(int(n) for n in node.constant(1))
    shape = np.broadcast_shapes(x.shape, shape)
    if len(shape) != len(x.axes) or shape[0] != x.n_images:
        raise ValueError(f"it repeats a tensor of {x.shape} to {shape}, across images")
    if shape == x.shape:
        return x
    return x.become(node.apply(x.tensor, Broadcast, [shape[axis] for axis in x.axes[1:]]))


def _concatenate(node):
    for i, x in enumerate(node.inputs):
        if not isinstance(x, Activations):
            raise ValueError(f"its input {i} does not depend on the image")
    tensors = align(node, node.inputs)
    if len(tensors) == 1:
        return tensors[0]
    axis = tensors[0].place(node.attribute("axis"))
    tensor = node.apply([x.tensor for x in tensors], layers.Concatenate, axis)
    return tensors[0].become(tensor)


def _cut(node, x, axis, places):
    """Take a range of places of an axis."""
    if places == range(x.shape[axis]):
        return x
    if not len(places):
        raise ValueError(f"it takes nothing of a tensor of {x.shape}")
    if places.step > 0:
        options = x.place(axis), places.start, places.stop, places.step
        return x.become(node.apply(x.tensor, Slice, *options))
    return x.become(node.apply(x.tensor, Take, x.place(axis), list(places)))


def _slice(node):
    x = node.activations()
    starts, ends = node.option(1, "starts"), node.option(2, "ends")
    axes = node.option(3, "axes", range(len(starts)))
    steps = node.constant(4, [1] * len(starts))
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = int(axis) % len(x.axes)
        places = range(*slice(int(start), int(end), int(step)).indices(x.shape[axis]))
        if places != range(x.shape[axis]):
            x = _cut(node, x, x.axis(axis), places)
    return x


def _split(node):
    x = node.activations()
    axis = x.axis(node.attribute("axis", 0))
    sizes = node.option(1, "split")
    if sizes is None:
        # The last one is smaller where they cannot be equal.
        size = -(-x.shape[axis] // node.n_outputs)
        ends = [min((i + 1) * size, x.shape[axis]) for i in range(node.n_outputs)]
    else:
        ends = np.cumsum(sizes).tolist()
    starts = [0, *ends[:-1]]
    return [_cut(node, x, axis, range(*pair)) for pair in zip(starts, ends, strict=True)]


def _gather(node):
    x, indices = node.activations(), node.constant(1)
    axis = x.axis(node.attribute("axis", 0))
    length = x.shape[axis]
    if indices.ndim > 1 or np.any(indices < -length) or np.any(indices >= length):
        raise ValueError(f"it takes places {indices.tolist()} of {length}")
    indices = indices % length
    if indices.ndim == 0:
        x = _cut(node, x, axis, range(int(indices), int(indices) + 1))
        return reshape(node, x, [n for a, n in enumerate(x.shape) if a != axis])
    return x.become(node.apply(x.tensor, Take, x.place(axis), indices.tolist()))


def _pad(node):
    x = node.activations()
    rank = len(x.axes)
    pads = [int(n) for n in node.option(1, "pads")]
    axes = node.constant(3)
    if axes is not None:
        given, pads = pads, [0] * (2 * rank)
        for i, axis in enumerate(axes):
            axis = int(axis) % rank
            pads[axis], pads[axis + rank] = given[i], given[i + len(axes)]
    mode, value = node.attribute("mode", "constant"), node.option(2, "value", 0.0)
    if mode not in ("constant", "reflect"):
        raise ValueError(f"mode is {mode!r}, and known are 'constant' and 'reflect'")
    if pads[0] or pads[rank]:
        raise ValueError("it pads the axis of the batch")
    for axis in range(1, rank):
        before, after = pads[axis], pads[axis + rank]
        kept = range(max(-before, 0), x.shape[axis] - max(-after, 0))
        x = _cut(node, x, axis, kept)
    widths = [(max(pads[axis], 0), max(pads[axis + rank], 0)) for axis in x.axes[1:]]
    if not np.any(widths):
        return x
    value = float(np.reshape(value, ())) if mode == "constant" else None
    if value == 0 and rank == 4 and widths[2] == (0, 0):
        options = {"data_format": "channels_last"}
        return x.become(node.apply(x.tensor, layers.ZeroPadding2D, tuple(widths[:2]), **options))
    return x.become(node.apply(x.tensor, Padding, widths, value))


def _shape(node):
    shape = np.array(node.activations().shape, np.int64)
    return shape[node.attribute("start", 0) : node.attribute("end", len(shape))]


def _size(node):
    return np.array(math.prod(node.activations().shape), np.int64)


OPERATORS = {
    "Concat": _concatenate,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
