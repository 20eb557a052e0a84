"""The generators of distorted images: a U-Net, and a decoder of embeddings.

How they are put before F and trained does not live here: see :mod:`skdistort.distortion._training`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np

from .._backend import keras
from .._typing import Model
from ._blocks import conv_block, draw_seed, he_normal, hidden_layer

layers = keras.layers


def build_unet(
    image_shape: tuple[int, int, int],
    *,
    filters: Sequence[int],
    rng: np.random.RandomState,
    dtype: str = "float32",
    name: str | None = None,
) -> Model:
    """Build the U-Net generator: an image to an image of the same size.

    Images are padded with zeros to a multiple of the pooling factor and cropped back.

    Parameters
    ----------
    image_shape : tuple of 3 int
        ``(height, width, channels)``, any size.
    filters : sequence of int
        Convolution maps of each level; the last is the bottom, so ``len(filters) - 1`` poolings.
    rng : numpy.random.RandomState
        Source of the initialisers' seeds.
    dtype : str, default="float32"
        Keras's dtype policy of the inner layers, such as ``"mixed_bfloat16"``; the last ones
        compute in float32.
    name : str or None, default=None
        What the model is called; None for a name that Keras counts up.

    Returns
    -------
    keras.Model
        ``(n, height, width, channels)`` to the same, values in ``(0, 1)``.

    References
    ----------
    Paper A, section 3. Ronneberger, Fischer and Brox, "U-Net", MICCAI 2015.
    """
    height, width, channels = image_shape
    factor = 2 ** (len(filters) - 1)
    padding = [(0, -size % factor) for size in (height, width)]
    x = inputs = layers.Input(image_shape)
    x = layers.ZeroPadding2D(padding, dtype=dtype)(x)
    skips = []
    for i, maps in enumerate(filters[:-1], 1):
        x = conv_block(x, maps, rng, dtype, f"down{i}")
        skips.append(x)
        x = layers.MaxPooling2D(2, dtype=dtype)(x)
    x = conv_block(x, filters[-1], rng, dtype, "bottom")
    for i in range(len(skips), 0, -1):
        x = _upsample(x, filters[i - 1], rng, dtype, i)
        x = layers.Concatenate(dtype=dtype)([x, skips[i - 1]])
        x = conv_block(x, filters[i - 1], rng, dtype, f"up{i}")
    x = layers.Cropping2D(padding, dtype="float32")(_to_pixels(x, channels, rng))
    return keras.Model(inputs, x, name=name)


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
        x = _upsample(x, filters[i - 1], rng, dtype, i)
        x = conv_block(x, filters[i - 1], rng, dtype, f"up{i}")
    padding = [(0, rows * factor - height), (0, columns * factor - width)]
    x = layers.Cropping2D(padding, dtype="float32")(_to_pixels(x, channels, rng))
    return keras.Model(inputs, x)


def _upsample(x, maps, rng, dtype, level):
    return layers.Conv2DTranspose(
        maps,
        2,
        strides=2,
        kernel_initializer=he_normal(rng),
        dtype=dtype,
        name=f"upsampling{level}",
    )(x)


def _to_pixels(x, channels, rng):
    return layers.Conv2D(
        channels,
        1,
        activation="sigmoid",
        kernel_initializer=keras.initializers.GlorotUniform(draw_seed(rng)),
        dtype="float32",
        name="pixels",
    )(x)
