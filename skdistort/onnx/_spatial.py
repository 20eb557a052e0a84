"""Operators on images: _convolution, pooling, resizing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._layers import Padding, Slice, WithConstant
from ._node import layers

# Stays finite where it is multiplied by zero.
_LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Windows:
    """Where the windows of a convolution or pooling lie along one axis.

    Attributes
    ----------
    length, size, stride, dilation : int
        Length of the axis and size of a window, from window to window, from place to place.
    before, after : int
        Padding that the file declares.
    count : int
        How many windows there are.
    """

    length: int
    size: int
    stride: int
    dilation: int
    before: int
    after: int
    count: int

    @property
    def padding(self):
        """Tell the padding that windows reach, which may be less or more than the file's.

        Returns
        -------
        tuple of 2 int
            Before and after. Windows that are cut off by the end are filled up.
        """
        reached = (self.count - 1) * self.stride + self.dilation * (self.size - 1) + 1
        return self.before, max(reached - self.length - self.before, 0)

    @property
    def same(self):
        """Tell whether Keras's "same" lays them so.

        Returns
        -------
        bool
            Whether it does.
        """
        reach = self.dilation * (self.size - 1) + 1
        count = -(-self.length // self.stride)
        total = max((count - 1) * self.stride + reach - self.length, 0)
        return self.count == count and self.padding == (total // 2, total - total // 2)

    def n_counted(self, padding_counts):
        """Count the places of each window over which it averages.

        Parameters
        ----------
        padding_counts : bool
            Whether the declared padding is among them.

        Returns
        -------
        ndarray of int, shape (count,)
            Their numbers.
        """
        starts = np.arange(self.count) * self.stride - self.before
        places = starts[:, None] + np.arange(self.size) * self.dilation
        low, high = (-self.before, self.length + self.after) if padding_counts else (0, self.length)
        return np.sum((places >= low) & (places < high), axis=1)


def lay_windows(node, lengths, sizes):
    """Work out the windows of a node along both axes of its images.

    Parameters
    ----------
    node : Node
        A convolution or pooling.
    lengths, sizes : sequence of 2 int
        Height and width of the images, and of a window.

    Returns
    -------
    list of 2 Windows
        The windows.
    """
    pads = node.attribute("pads", [0, 0, 0, 0])
    auto_pad = node.attribute("auto_pad", "NOTSET")
    if auto_pad not in ("NOTSET", "SAME_LOWER", "SAME_UPPER", "VALID"):
        raise ValueError(f"auto_pad is {auto_pad!r}, which is not known")
    strides, dilations = (node.attribute(n, [1, 1]) for n in ("strides", "dilations"))
    if min(pads) < 0 or len(pads) != 4:
        raise ValueError(f"pads are {pads}, and have to be four, none of them negative")
    windows = []
    for axis in range(2):
        length, size, stride, dilation = (x[axis] for x in (lengths, sizes, strides, dilations))
        before, after = pads[axis], pads[axis + 2]
        reach = dilation * (size - 1) + 1
        if auto_pad.startswith("SAME"):
            total = max((-(-length // stride) - 1) * stride + reach - length, 0)
            before, after = total // 2, total - total // 2
            if auto_pad == "SAME_LOWER":
                before, after = after, before
        elif auto_pad == "VALID":
            before = after = 0
        room = length + before + after - reach
        if room < 0:
            raise ValueError(f"its windows reach over {reach} pixels, its images have {length}")
        count = room // stride + 1
        # One more that is cut off, unless it lies in the padding behind as a whole.
        if node.attribute("ceil_mode", 0) and room % stride and count * stride < length + before:
            count += 1
        windows.append(Windows(length, size, stride, dilation, before, after, count))
    return windows


def _pad(node, tensor, windows, value=0.0):
    """Pad height and width as far as windows reach."""
    padding = tuple(w.padding for w in windows)
    if not np.any(padding):
        return tensor
    if value == 0:
        return node.apply(tensor, layers.ZeroPadding2D, padding, data_format="channels_last")
    return node.apply(tensor, Padding, [*padding, (0, 0)], value)


def _convolution(node):
    """Convolve, in one group, in several, or each map by itself."""
    x = node.images()
    kernel, bias = node.weights(1), node.weights(2)
    groups, maps_in = node.attribute("group", 1), x.shape[1]
    if kernel.ndim != 4 or kernel.shape[1] * groups != maps_in or len(kernel) % groups:
        raise ValueError(
            f"its kernel has shape {kernel.shape}, its images {maps_in} maps in {groups} groups"
        )
    windows = lay_windows(node, x.shape[2:], kernel.shape[2:])
    strides = tuple(w.stride for w in windows)
    dilations = tuple(w.dilation for w in windows)
    by_itself = groups == maps_in and groups > 1
    # Keras knows no strides with dilations, TensorFlow none for maps by themselves that differ.
    thinned = max(strides) > 1 and (max(dilations) > 1 or (by_itself and len(set(strides)) > 1))
    padded = any(sum(w.padding) for w in windows)
    same = padded and not thinned and all(w.same for w in windows)
    options = {
        "kernel_size": kernel.shape[2:],
        "strides": (1, 1) if thinned else strides,
        "padding": "same" if same else "valid",
        "dilation_rate": dilations,
        "use_bias": bias is not None,
        "data_format": "channels_last",
    }
    if by_itself:
        cls = layers.DepthwiseConv2D
        options |= {"depth_multiplier": len(kernel) // groups, "depthwise_initializer": "zeros"}
        kernel = kernel.reshape(groups, -1, *kernel.shape[2:]).transpose(2, 3, 0, 1)
    else:
        cls = layers.Conv2D
        options |= {"filters": len(kernel), "groups": groups, "kernel_initializer": "zeros"}
        kernel = kernel.transpose(2, 3, 1, 0)
    tensor = x.tensor if same else _pad(node, x.tensor, windows)
    weights = [kernel] if bias is None else [kernel, bias]
    tensor = node.apply(tensor, cls, weights=weights, **options)
    if thinned:
        for axis, w in enumerate(windows, start=1):
            tensor = node.apply(tensor, Slice, axis, 0, (w.count - 1) * w.stride + 1, w.stride)
    return x.become(tensor)


def _pooling(node):
    """Work out a pooling's images, windows and what Keras's layer is told."""
    x = node.images()
    size = node.attribute("kernel_shape")
    windows = lay_windows(node, x.shape[2:], size)
    if any(w.dilation > 1 for w in windows):
        raise ValueError("pooling with dilations is not known")
    options = {
        "pool_size": tuple(size),
        "strides": tuple(w.stride for w in windows),
        "padding": "valid",
        "data_format": "channels_last",
    }
    return x, windows, options


def _max_pooling(node):
    """Take the largest value of each window, of which padding is none."""
    if node.n_outputs > 1:
        raise ValueError("only the values of the largest pixels are known, not their places")
    x, windows, options = _pooling(node)
    tensor = _pad(node, x.tensor, windows, _LOWEST)
    return x.become(node.apply(tensor, layers.MaxPooling2D, **options))


def _average_pooling(node):
    """Average each window, over the padding or not."""
    x, windows, options = _pooling(node)
    tensor = _pad(node, x.tensor, windows)
    tensor = node.apply(tensor, layers.AveragePooling2D, **options)
    padding_counts = bool(node.attribute("count_include_pad", 0))
    counts = np.multiply.outer(*(w.n_counted(padding_counts) for w in windows))
    n_places = windows[0].size * windows[1].size
    if np.any(counts != n_places):
        share = np.float32(n_places / counts)[..., None]
        tensor = node.apply(tensor, WithConstant, "multiply", share.shape, weights=[share])
    return x.become(tensor)


def _global_pooling(cls):
    """Make the operator that pools whole images."""

    def pool(node):
        x = node.images()
        return x.become(node.apply(x.tensor, cls, data_format="channels_last", keepdims=True))

    return pool


def _resize(node):
    """Resize images: by whole factors to the nearest pixel, or linearly."""
    x = node.images()
    shape = x.shape
    if node.op == "Upsample":
        scales, sizes = node.option(1, "scales"), None
    else:
        scales, sizes = node.constant(1 if node.opset < 11 else 2), node.constant(3)
    if node.attribute("axes") is not None:
        raise ValueError("resizing by axes is not known")
    if sizes is None or not len(sizes):
        sizes = np.floor(np.float64(shape) * scales + 1e-6).astype(int)
    else:
        scales = np.divide(sizes, shape)
    sizes = [int(size) for size in sizes]
    if sizes[:2] != list(shape[:2]):
        raise ValueError("it resizes the axes of maps or of the batch")
    mode = node.attribute("mode", "nearest")
    # Before version 11 there was one way.
    asymmetric = node.op == "Upsample" or node.opset < 11
    coordinates = node.attribute(
        "coordinate_transformation_mode", "asymmetric" if asymmetric else "half_pixel"
    )
    rounding = node.attribute("nearest_mode", "floor" if asymmetric else "round_prefer_floor")
    factors = [size // length for size, length in zip(sizes[2:], shape[2:], strict=True)]
    whole = [f * n for f, n in zip(factors, shape[2:], strict=True)] == sizes[2:]
    centred = coordinates in ("half_pixel", "pytorch_half_pixel")
    if mode == "nearest":
        rounds_down = coordinates == "asymmetric" and rounding == "floor"
        if whole and (rounds_down or (centred and rounding.startswith("round"))):
            size = tuple(factors)
            tensor = node.apply(x.tensor, layers.UpSampling2D, size, data_format="channels_last")
            return x.become(tensor)
    elif mode == "linear" and centred and not node.attribute("antialias", 0):
        exact = np.allclose(np.multiply(scales, shape), sizes)
        if exact and min(sizes[2:]) > 1:
            options = {"interpolation": "bilinear", "data_format": "channels_last"}
            return x.become(node.apply(x.tensor, layers.Resizing, *sizes[2:], **options))
    raise ValueError(
        f"it resizes {shape[2:]} to {tuple(sizes[2:])}, mode {mode!r}, coordinates "
        f"{coordinates!r}, rounding {rounding!r}: known are whole factors to the nearest pixel, "
        "and linear with half pixels"
    )


OPERATORS = {
    "AveragePool": _average_pooling,
    "Conv": _convolution,
    "GlobalAveragePool": _global_pooling(layers.GlobalAveragePooling2D),
    "GlobalMaxPool": _global_pooling(layers.GlobalMaxPooling2D),
    "MaxPool": _max_pooling,
    "Resize": _resize,
    "Upsample": _resize,
}
