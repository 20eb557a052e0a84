"""The decoder: an embedding to an image.

How one is put before F as a generator does not live here: see :mod:`skdistort.distortion`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np

from .._backend import keras
from .._typing import Model
from ._blocks import CHANNELS_LAST, conv_block, hidden_layer, to_pixels, upsample

layers = keras.layers


def build_decoder(
    n_inputs: int,
    image_shape: tuple[int, int, int],
    *,
    filters: Sequence[int],
    rng: np.random.RandomState,
    dtype: str = "float32",
) -> Model:
    """Build the bottleneck generator's decoder: an embedding to an image.

    Parameters
    ----------
    n_inputs : int
        Length of the embedding.
    image_shape : tuple of 3 int
        ``(height, width, channels)``, any size.
    filters : sequence of int
        Convolution maps of each level, the finest first, as in :func:`build_unet`.
    rng : numpy.random.RandomState
        Source of the initialisers' seeds.
    dtype : str, default="float32"
        Keras's dtype policy of the inner layers, such as ``"mixed_bfloat16"``; the last ones
        compute in float32.

    Returns
    -------
    keras.Model
        ``(n, n_inputs)`` to ``(n, height, width, channels)``, values in ``(0, 1)``.
    """
    height, width, channels = image_shape
    factor = 2 ** (len(filters) - 1)
    rows, columns = ceil(height / factor), ceil(width / factor)
    x = inputs = layers.Input((n_inputs,))
    x = hidden_layer(x, rows * columns * filters[-1], rng, dtype, "hidden")
    x = layers.Reshape((rows, columns, filters[-1]), dtype=dtype)(x)
    for i in range(len(filters) - 1, 0, -1):
        x = upsample(x, filters[i - 1], rng, dtype, i)
        x = conv_block(x, filters[i - 1], rng, dtype, f"up{i}")
    padding = [(0, rows * factor - height), (0, columns * factor - width)]
    x = layers.Cropping2D(padding, dtype="float32", **CHANNELS_LAST)(to_pixels(x, channels, rng))
    return keras.Model(inputs, x)
