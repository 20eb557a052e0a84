"""Layers that Keras lacks; registered, so that Keras can rebuild networks that hold them.

How they are put together does not live here.
"""

import numpy as np

from .._backend import keras
from .._typing import Tensor

layers = keras.layers


@keras.saving.register_keras_serializable(package="skdistort")
class UnitLength(layers.Layer):
    """Scale vectors to unit length: ``x / sqrt(||x||^2 + eps)`` (paper A, section 2.3).

    Unlike ``keras.layers.UnitNormalization``, the gradient at the zero vector is finite, and no
    square of a large vector leaves the range of floats.

    Parameters
    ----------
    epsilon : float, default=1e-12
        Added to the squared norm.
    **kwargs : dict
        What every Keras layer takes (name, dtype, ...).
    """

    def __init__(self, epsilon=1e-12, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def call(self, x):
        """Normalise along the last axis."""
        # The result is that of the formula for any scale, which so needs no gradient of its own.
        largest = keras.ops.max(keras.ops.abs(x), axis=-1, keepdims=True)
        # In two steps, since the reciprocal of the largest floats counts as zero on some backends.
        root = keras.ops.sqrt(keras.ops.stop_gradient(keras.ops.maximum(largest, 1.0)))
        x = x / root / root
        square = keras.ops.sum(keras.ops.square(x), axis=-1, keepdims=True)
        # Not rsqrt, whose vectorised form rounds differently from the one for a row left over.
        return x / keras.ops.sqrt(square + self.epsilon / root / root / root / root)

    def compute_output_shape(self, input_shape):
        """Shape of the output: that of the input."""
        return input_shape

    def get_config(self):
        """Return the configuration from which Keras rebuilds the layer."""
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="skdistort")
class SelfAttentivePooling(layers.Layer):
    """Average a sequence, weighted by ``softmax(x . u)`` over its steps (paper B, section 2.2).

    Paper B does not state the score; the scalar product with a learned vector u is our choice.
    u starts at zero, which is the plain average.
    """

    def build(self, input_shape):
        """Make the vector u, as long as a step."""
        self.query = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="query")

    def call(self, x):
        """Pool ``(n, steps, d)`` to ``(n, d)``."""
        scores = keras.ops.sum(x * self.query, axis=-1, keepdims=True)
        # Not keras.ops.softmax, which warns where there is one step only.
        weights = keras.ops.exp(scores - keras.ops.logsumexp(scores, axis=1, keepdims=True))
        return keras.ops.sum(weights * x, axis=1)

    def compute_output_shape(self, input_shape):
        """Shape of the output: without the steps."""
        return input_shape[0], input_shape[-1]


@keras.saving.register_keras_serializable(package="skdistort")
class PixelScaling(layers.Layer):
    """Bring pixels to other units: ``x * scale + offset``.

    Unlike in ``keras.layers.Rescaling`` both numbers are weights, though none that learn, so that
    what was compiled for one range of pixels serves for every other.
    """

    def build(self, input_shape):
        """Make both numbers; until they are set, pixels stay as they are."""
        self.scale = self.add_weight(shape=(), initializer="ones", trainable=False, name="scale")
        self.offset = self.add_weight(shape=(), initializer="zeros", trainable=False, name="offset")

    def call(self, x):
        """Scale and shift."""
        return x * self.scale + self.offset

    def compute_output_shape(self, input_shape):
        """Shape of the output: that of the input."""
        return input_shape


def scale_pixels(x: Tensor, scale: float, offset: float, name: str = "scaling") -> Tensor:
    """Bring a tensor of pixels to other units, by a :class:`PixelScaling`.

    Parameters
    ----------
    x : KerasTensor
        Pixels.
    scale, offset : float
        What to multiply by, and to add then.
    name : str, default="scaling"
        What the layer is called; no two layers of a model have the same name.

    Returns
    -------
    KerasTensor of the shape of `x`, dtype float32
        The pixels in other units.
    """
    scaling = PixelScaling(dtype="float32", name=name)
    scaled = scaling(x)
    scaling.set_weights([np.float32(scale), np.float32(offset)])
    return scaled
