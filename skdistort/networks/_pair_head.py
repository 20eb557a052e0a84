"""The head of paper B's double branch, which compares two embeddings.

Paper B is Khan and Hernando, "Unsupervised Training of Siamese Networks for Speaker Verification"
(Interspeech 2020).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._backend import keras
from .._typing import Model
from ._blocks import hidden_layer, linear_layer

layers = keras.layers


def build_pair_head(
    n_components: int,
    *,
    units: Sequence[int],
    rng: np.random.RandomState,
    dtype: str = "float32",
) -> Model:
    """Build the double branch's head: two embeddings, one after the other, to a log-odds.

    Parameters
    ----------
    n_components : int
        Length of one embedding.
    units : sequence of int
        Widths of the dense layers before the last, which has one unit. (Paper B: five layers in
        all, the last a sigmoid, whose log-odds this is.)
    rng : numpy.random.RandomState
        Source of the initialisers' seeds.
    dtype : str, default="float32"
        Keras's dtype policy of the inner layers, such as ``"mixed_bfloat16"``; the last ones
        compute in float32.

    Returns
    -------
    keras.Model
        ``(n, 2 * n_components)`` to ``(n, 1)``: the log-odds that both are of one identity.
        Left and right are not interchangeable.

    References
    ----------
    Paper B, section 2.2.
    """
    x = inputs = layers.Input((2 * n_components,))
    for i, width in enumerate(units, 1):
        x = hidden_layer(x, width, rng, dtype, f"hidden{i}")
    return keras.Model(inputs, linear_layer(x, 1, rng, "log_odds"))
