"""The convolutional encoder of images: what an embedder F is.

The encoder of spectrograms is not here but in `_siamese`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._backend import keras
from .._typing import Model
from ._blocks import CHANNELS_LAST, conv_block, hidden_layer, linear_layer
from ._layers import UnitLength, scale_pixels

layers = keras.layers


def build_encoder(
    image_shape: tuple[int, int, int],
    n_components: int,
    *,
    filters: Sequence[int],
    hidden_units: int,
    pixel_range: tuple[float, float],
    rng: np.random.RandomState,
    dtype: str = "float32",
) -> Model:
    """Build the embedder F: images to vectors of unit length.

    Each level has two 3x3 convolutions and a 2x2 max pooling; a dense layer and a linear
    projection follow.

    Parameters
    ----------
    image_shape : tuple of 3 int
        ``(height, width, channels)``, any size.
    n_components : int
        Length of the embedding, ``m`` in paper A.
    filters : sequence of int
        Convolution maps of each level.
    hidden_units : int
        Width of the dense layer.
    pixel_range : tuple of 2 float
        Pixel values that the network maps to 0 and 1 before anything else.
    rng : numpy.random.RandomState
        Source of the initialisers' seeds.
    dtype : str, default="float32"
        Keras's dtype policy of the inner layers, such as ``"mixed_bfloat16"``. The scaling of the
        pixels and the last layers compute in float32.

    Returns
    -------
    keras.Model
        ``(n, height, width, channels)`` to ``(n, n_components)``.
    """
    low, high = pixel_range
    scale = 1.0 / (high - low) if high > low else 1.0
    x = inputs = layers.Input(image_shape)
    x = scale_pixels(x, scale, -low * scale)
    for i, maps in enumerate(filters, 1):
        x = conv_block(x, maps, rng, dtype, f"level{i}")
        x = layers.MaxPooling2D(2, padding="same", dtype=dtype, **CHANNELS_LAST)(x)
    x = layers.Flatten(dtype=dtype, **CHANNELS_LAST)(x)
    x = hidden_layer(x, hidden_units, rng, dtype, "hidden")
    x = linear_layer(x, n_components, rng, "projection")
    return keras.Model(inputs, UnitLength(dtype="float32")(x))
