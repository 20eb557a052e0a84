"""The U-Net: an image to an image of the same size.

How one is put before F as a generator does not live here: see :mod:`skdistort.distortion`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._backend import keras
from .._typing import Model
from ._blocks import CHANNELS_LAST, conv_block, to_pixels, upsample

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
    x = layers.ZeroPadding2D(padding, dtype=dtype, **CHANNELS_LAST)(x)
    skips = []
    for i, maps in enumerate(filters[:-1], 1):
        x = conv_block(x, maps, rng, dtype, f"down{i}")
        skips.append(x)
        x = layers.MaxPooling2D(2, dtype=dtype, **CHANNELS_LAST)(x)
    x = conv_block(x, filters[-1], rng, dtype, "bottom")
    for i in range(len(skips), 0, -1):
        x = upsample(x, filters[i - 1], rng, dtype, i)
        x = layers.Concatenate(dtype=dtype)([x, skips[i - 1]])
        x = conv_block(x, filters[i - 1], rng, dtype, f"up{i}")
    x = layers.Cropping2D(padding, dtype="float32", **CHANNELS_LAST)(to_pixels(x, channels, rng))
    return keras.Model(inputs, x, name=name)
