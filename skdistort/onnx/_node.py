"""A node of the file as its operator sees it: inputs, attributes, and how it adds layers.

ONNX puts the channels first, Keras last. No tensor is turned for that: each carries along which of
the file's axes its own axes are, and is turned only where an operator needs another order. The
first axis is the batch in both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._backend import keras
from .._typing import Tensor

layers = keras.layers

# The file's axes in the order of Keras's images.
CHANNELS_LAST = (0, 2, 3, 1)


@dataclass(frozen=True)
class Activations:
    """A tensor of the network, and how it lies.

    Attributes
    ----------
    tensor : KerasTensor
        The tensor.
    axes : tuple of int
        Which axis of the file's tensor each of its axes is; the first is 0.
    n_images : int
        How many images the file takes a batch to be.
    """

    tensor: Tensor
    axes: tuple[int, ...]
    n_images: int

    @property
    def shape(self):
        """Tell the shape of the file's tensor.

        Returns
        -------
        tuple of int
            The shape, the batch first.
        """
        sizes = dict(zip(self.axes, (self.n_images, *self.tensor.shape[1:]), strict=True))
        return tuple(sizes[axis] for axis in range(len(sizes)))

    def axis(self, axis):
        """Bring an axis of the file, maybe counted from the end, to one that is none of the batch.

        Parameters
        ----------
        axis : int
            The axis.

        Returns
        -------
        int
            The same, at least 1.
        """
        rank = len(self.axes)
        if not -rank <= axis < rank:
            raise ValueError(f"axis {axis} of a tensor that has {rank}")
        if axis % rank == 0:
            raise ValueError("works along the axis of the batch, across images")
        return int(axis % rank)

    def place(self, axis):
        """Tell where an axis of the file is in the tensor.

        Parameters
        ----------
        axis : int
            The axis.

        Returns
        -------
        int
            Its place.
        """
        return self.axes.index(self.axis(axis))

    def become(self, tensor, axes=None):
        """Make the same of another tensor.

        Parameters
        ----------
        tensor : KerasTensor
            The tensor.
        axes : tuple of int or None, default=None
            How it lies; None if it lies as this one.

        Returns
        -------
        Activations
            What it has become.
        """
        return Activations(tensor, self.axes if axes is None else tuple(axes), self.n_images)


class Node:
    """A node of the file, while it is built.

    Parameters
    ----------
    op : str
        Its operator.
    index : int
        Its place in the file.
    attributes : dict of str to object
        Its attributes.
    inputs : list of Activations, ndarray or None
        Its inputs: what depends on the image, and what does not.
    opset : int
        Version of its operator.
    n_outputs : int
        How many outputs it has.
    """

    def __init__(self, op, index, attributes, inputs, opset, n_outputs):
        self.op, self.inputs, self.opset, self.n_outputs = op, inputs, opset, n_outputs
        self._attributes = attributes
        self._name, self._n_layers = f"{op.lower()}_{index}", 0

    def attribute(self, name, default=None):
        """Give an attribute, or the default.

        Parameters
        ----------
        name : str
            The attribute.
        default : object, default=None
            What it is where the file does not say.

        Returns
        -------
        object
            Its value.
        """
        return self._attributes.get(name, default)

    def constant(self, i, default=None):
        """Give an input that does not depend on the image.

        Parameters
        ----------
        i : int
            Which.
        default : object, default=None
            What it is where there is none.

        Returns
        -------
        ndarray or object
            The array, or the default.
        """
        value = self.inputs[i] if i < len(self.inputs) else None
        if isinstance(value, Activations):
            raise ValueError(f"its input {i} depends on the image, which is known for none")
        return default if value is None else value

    def weights(self, i):
        """Give an input that is an array of finite floats.

        Parameters
        ----------
        i : int
            Which.

        Returns
        -------
        ndarray, dtype float32, or None
            The array, if there is one.
        """
        value = self.constant(i)
        if value is None:
            return None
        value = np.asarray(value, np.float32)
        if not np.isfinite(value).all():
            raise ValueError(f"its input {i} has values that are NaN or infinite")
        return value

    def option(self, i, name, default=None):
        """Give what newer versions of an operator have as an input, and older as an attribute.

        Parameters
        ----------
        i : int
            Which input.
        name : str
            Which attribute.
        default : object, default=None
            What it is where there is neither.

        Returns
        -------
        object
            The array, the attribute or the default.
        """
        return self.constant(i, self.attribute(name, default))

    def activations(self, i=0):
        """Give an input that depends on the image.

        Parameters
        ----------
        i : int, default=0
            Which.

        Returns
        -------
        Activations
            The input.
        """
        value = self.inputs[i]
        if not isinstance(value, Activations):
            raise ValueError(f"its input {i} does not depend on the image")
        return value

    def images(self):
        """Give the first input in the layout of Keras's images.

        Returns
        -------
        Activations
            Four axes, channels last.
        """
        x = self.activations()
        if len(x.axes) != 4:
            raise ValueError(f"it works on a tensor of shape {x.shape}, and only images are known")
        return self.arrange(x, CHANNELS_LAST)

    def apply(self, tensor, cls, *args, weights=(), **options):
        """Put a new layer behind a tensor, or behind a list of them.

        Parameters
        ----------
        tensor : KerasTensor or list of KerasTensor
            What it is given.
        cls : type
            The layer's class.
        *args : tuple
            Its parameters.
        weights : sequence of ndarray, default=()
            Its weights, if it has any.
        **options : dict
            More parameters.

        Returns
        -------
        KerasTensor
            What it gives.
        """
        self._n_layers += 1
        name = self._name if self._n_layers == 1 else f"{self._name}_{self._n_layers}"
        layer = cls(*args, name=name, dtype="float32", **options)
        result = layer(tensor)
        if len(weights):
            layer.set_weights(list(weights))
        return result

    def arrange(self, x, axes):
        """Bring a tensor to another layout.

        Parameters
        ----------
        x : Activations
            The tensor.
        axes : tuple of int
            The layout.

        Returns
        -------
        Activations
            The same values.
        """
        axes = tuple(axes)
        if axes == x.axes:
            return x
        shape = x.shape
        if [a for a in axes if shape[a] != 1] == [a for a in x.axes if shape[a] != 1]:
            # Nothing moves in memory.
            return x.become(self.reshape(x.tensor, [shape[a] for a in axes[1:]]), axes)
        places = [x.axes.index(a) for a in axes[1:]]
        return x.become(self.apply(x.tensor, layers.Permute, places), axes)

    def reshape(self, tensor, shape):
        """Give a tensor another shape.

        Parameters
        ----------
        tensor : KerasTensor
            The tensor.
        shape : sequence of int
            The shape, without the batch.

        Returns
        -------
        KerasTensor
            The same values.
        """
        shape = tuple(map(int, shape))
        if tuple(tensor.shape[1:]) == shape:
            return tensor
        return self.apply(tensor, layers.Reshape, shape)
