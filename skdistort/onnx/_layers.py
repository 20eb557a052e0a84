"""Layers that ONNX has and Keras lacks; registered, so that Keras can rebuild networks with them.

All of them act on what is in the network, in its own layout, whose first axis is the batch. They
look functions up by name in the tables here, never elsewhere.
"""

from .._backend import keras

ops = keras.ops


def _l2(x, axis, keepdims):
    # The gradient of the root is infinite at zero.
    return ops.sqrt(ops.sum(ops.square(x), axis, keepdims) + 1e-12)


_ELEMENTWISE = {
    "abs": ops.abs,
    "add": ops.add,
    "ceil": ops.ceil,
    "cos": ops.cos,
    "divide": ops.divide,
    "erf": ops.erf,
    "exp": ops.exp,
    "floor": ops.floor,
    "log": ops.log,
    "matmul": ops.matmul,
    "maximum": ops.maximum,
    "minimum": ops.minimum,
    "multiply": ops.multiply,
    "negative": ops.negative,
    "power": ops.power,
    "reciprocal": ops.reciprocal,
    "round": ops.round,
    "sign": ops.sign,
    "sin": ops.sin,
    "sqrt": ops.sqrt,
    "square": ops.square,
    "subtract": ops.subtract,
}
_REDUCTIONS = {
    "l1": lambda x, axis, keepdims: ops.sum(ops.abs(x), axis, keepdims),
    "l2": _l2,
    "log_sum_exp": ops.logsumexp,
    "max": ops.max,
    "mean": ops.mean,
    "min": ops.min,
    "prod": ops.prod,
    "sum": ops.sum,
    "sum_square": lambda x, axis, keepdims: ops.sum(ops.square(x), axis, keepdims),
}


def _look_up(table, name):
    if name not in table:
        raise ValueError(f"function must be one of {', '.join(table)}, got {name!r}.")
    return table[name]


@keras.saving.register_keras_serializable(package="skdistort")
class Elementwise(keras.layers.Layer):
    """Apply a function of ``keras.ops`` to a tensor, or to several that broadcast.

    Parameters
    ----------
    function : str
        Its name.
    **kwargs : dict
        What every Keras layer takes (name, dtype, ...).
    """

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function
        self._compute = _look_up(_ELEMENTWISE, function)

    def call(self, inputs):
        """Apply it to a tensor or a list of them."""
        return (
            self._compute(*inputs) if isinstance(inputs, (list, tuple)) else self._compute(inputs)
        )

    def get_config(self):
        """Return the configuration from which Keras rebuilds the layer."""
        return {**super().get_config(), "function": self.function}


@keras.saving.register_keras_serializable(package="skdistort")
class WithConstant(keras.layers.Layer):
    """Apply a function of ``keras.ops`` to a tensor and an array that broadcast.

    The array is a weight, though none that learns, so that configurations stay small.

    Parameters
    ----------
    function : str
        Its name.
    shape : tuple of int
        Shape of the array, without the batch.
    constant_first : bool, default=False
        Whether the array is the function's first argument.
    **kwargs : dict
        What every Keras layer takes (name, dtype, ...).
    """

    def __init__(self, function, shape, constant_first=False, **kwargs):
        super().__init__(**kwargs)
        self.function, self.shape, self.constant_first = function, tuple(shape), constant_first
        self._compute = _look_up(_ELEMENTWISE, function)

    def build(self, input_shape):
        """Make the array."""
        self.constant = self.add_weight(
            shape=self.shape, initializer="zeros", trainable=False, name="constant"
        )

    def call(self, x):
        """Apply the function."""
        if self.constant_first:
            return self._compute(self.constant, x)
        return self._compute(x, self.constant)

    def get_config(self):
        """Return the configuration from which Keras rebuilds the layer."""
        return {
            **super().get_config(),
            "function": self.function,
            "shape": self.shape,
            "constant_first": self.constant_first,
        }


@keras.saving.register_keras_serializable(package="skdistort")
class Reduction(keras.layers.Layer):
    """Reduce axes: their mean, sum, largest value, norm, ....

    Parameters
    ----------
    function : str
        "l1", "l2", "log_sum_exp", "max", "mean", "min", "prod", "sum" or "sum_square".
    axes : tuple of int
        The axes.
    keepdims : bool
        Whether they stay, of length 1.
    **kwargs : dict
        What every Keras layer takes (name, dtype, ...).
    """

    def __init__(self, function, axes, keepdims, **kwargs):
        super().__init__(**kwargs)
        self.function, self.axes, self.keepdims = function, tuple(axes), keepdims
        self._compute = _look_up(_REDUCTIONS, function)

    def call(self, x):
        """Reduce."""
        return self._compute(x, axis=self.axes, keepdims=self.keepdims)

    def get_config(self):
        """Return the configuration from which Keras rebuilds the layer."""
        return {
            **super().get_config(),
            "function": self.function,
            "axes": self.axes,
            "keepdims": self.keepdims,
        }


@keras.saving.register_keras_serializable(package="skdistort")
class Slice(keras.layers.Layer):
    """Keep every so many-th place of an axis, from one to another.

    Parameters
    ----------
    axis, start, stop, step : int
        As a slice of Python, none of them negative.
    **kwargs : dict
        What every Keras layer takes (name, dtype, ...).
    """

    def __init__(self, axis, start, stop, step=1, **kwargs):
        super().__init__(**kwargs)
        self.axis, self.start, self.stop, self.step = axis, start, stop, step

    def call(self, x):
        """Keep them."""
        return x[(slice(None),) * self.axis + (slice(self.start, self.stop, self.step),)]

    def get_config(self):
        """Return the configuration from which Keras rebuilds the layer."""
        names = ("axis", "start", "stop", "step")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="skdistort")
class Take(keras.layers.Layer):
    """Take places of an axis, in any order.

    Parameters
    ----------
    axis : int
        The axis.
    indices : list of int
        The places, none of them negative.
    **kwargs : dict
        What every Keras layer takes (name, dtype, ...).
    """

    def __init__(self, axis, indices, **kwargs):
        super().__init__(**kwargs)
        self.axis, self.indices = axis, list(indices)

    def call(self, x):
        """Take them."""
        return ops.take(x, ops.convert_to_tensor(self.indices, "int32"), axis=self.axis)

    def get_config(self):
        """Return the configuration from which Keras rebuilds the layer."""
        return {**super().get_config(), "axis": self.axis, "indices": self.indices}


@keras.saving.register_keras_serializable(package="skdistort")
class Padding(keras.layers.Layer):
    """Pad any axes, with a number or by reflection.

    Parameters
    ----------
    widths : sequence of pairs of int
        Places before and after, for every axis but the batch's.
    value : float or None
        What to pad with; None reflects.
    **kwargs : dict
        What every Keras layer takes (name, dtype, ...).
    """

    def __init__(self, widths, value=0.0, **kwargs):
        super().__init__(**kwargs)
        self.widths, self.value = [list(pair) for pair in widths], value

    def call(self, x):
        """Pad."""
        widths = [[0, 0], *self.widths]
        if self.value is None:
            return ops.pad(x, widths, mode="reflect")
        return ops.pad(x, widths, mode="constant", constant_values=self.value)

    def get_config(self):
        """Return the configuration from which Keras rebuilds the layer."""
        return {**super().get_config(), "widths": self.widths, "value": self.value}


@keras.saving.register_keras_serializable(package="skdistort")
class Broadcast(keras.layers.Layer):
    """Repeat along axes of length 1.

    Parameters
    ----------
    shape : tuple of int
        The shape to come to, without the batch.
    **kwargs : dict
        What every Keras layer takes (name, dtype, ...).
    """

    def __init__(self, shape, **kwargs):
        super().__init__(**kwargs)
        self.shape = tuple(shape)

    def call(self, x):
        """Repeat."""
        return ops.broadcast_to(x, (ops.shape(x)[0], *self.shape))

    def get_config(self):
        """Return the configuration from which Keras rebuilds the layer."""
        return {**super().get_config(), "shape": self.shape}


LAYERS = (Broadcast, Elementwise, Padding, Reduction, Slice, Take, WithConstant)
