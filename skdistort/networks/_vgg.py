"""The encoder of spectrograms of paper B, in the manner of VGG.

Paper B is Khan and Hernando, "Unsupervised Training of Siamese Networks for Speaker Verification"
(Interspeech 2020).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._backend import keras
from .._typing import Model
from ._blocks import CHANNELS_LAST, conv_block, hidden_layer, linear_layer
from ._layers import SelfAttentivePooling, UnitLength

layers = keras.layers


def build_vgg_encoder(
    image_shape: tuple[int, int, int],
    n_components: int,
    *,
    filters: Sequence[int],
    hidden_units: int,
    unit_length: bool,
    rng: np.random.RandomState,
    dtype: str = "float32",
) -> Model:
    """Build the encoder of spectrograms: convolutions, attentive pooling over time, two layers.

    Each level has two 3x3 convolutions and a 2x2 max pooling. Columns of the last level's maps
    are the steps that self-attentive pooling averages; a dense layer and a linear projection
    follow. Unlike in paper B, batch normalisation comes before each activation, which a small
    network needs to train in few epochs.

    Parameters
    ----------
    image_shape : tuple of 3 int
        ``(height, width, channels)``, any size; the width is time.
    n_components : int
        Length of the embedding. (Paper B: 400.)
    filters : sequence of int
        Convolution maps of each level. (Paper B: 128, 256, 512.)
    hidden_units : int
        Width of the dense layer. (Paper B: 1024.)
    unit_length : bool
        Whether embeddings are scaled to unit length.
    rng : numpy.random.RandomState
        Source of the initialisers' seeds.
    dtype : str, default="float32"
        Keras's dtype policy of the inner layers, such as ``"mixed_bfloat16"``; the last ones
        compute in float32.

    Returns
    -------
    keras.Model
        ``(n, height, width, channels)`` to ``(n, n_components)``.

    References
    ----------
    Paper B, Table 1.
    """
    x = inputs = layers.Input(image_shape)
    for i, maps in enumerate(filters, 1):
        x = conv_block(x, maps, rng, dtype, f"level{i}")
        x = layers.MaxPooling2D(2, padding="same", dtype=dtype, **CHANNELS_LAST)(x)
    height, width, maps = x.shape[1:]
    x = layers.Permute((2, 1, 3), dtype=dtype)(x)
    x = layers.Reshape((width, height * maps), dtype=dtype)(x)
    # Its softmax and its long sums lose too much in a lower precision.
    x = SelfAttentivePooling(dtype="float32", name="pooling")(x)
    x = hidden_layer(x, hidden_units, rng, dtype, "hidden")
    x = linear_layer(x, n_components, rng, "projection")
    return keras.Model(inputs, UnitLength(dtype="float32")(x) if unit_length else x)
