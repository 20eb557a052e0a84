"""What the networks are built of: initialisers, activation, a block of two convolutions.

Every initialiser draws its seed from the `rng` it is given, and every layer is told its dtype
policy, so nothing depends on global state. Layers with weights are given names: for every new one
that Keras counts up, TensorFlow keeps about 35 KB for ever. Whole networks are in the other
modules, layers with a class of their own in ``_layers``.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

from .._backend import keras

layers = keras.layers

# Told to each layer that asks, so that Keras's global setting changes no network.
CHANNELS_LAST = {"data_format": "channels_last"}

# Slope of LeakyReLU, paper A section 4.2.
_SLOPE = 0.01
# Keras's default of 0.99 needs hundreds of steps before inference matches training.
_BATCH_NORM_MOMENTUM = 0.9


def check_filters(filters: Sequence[int], name: str = "filters") -> None:
    """Check the number of convolution maps of each level.

    Parameters
    ----------
    filters : sequence of int
        The parameter of an estimator.
    name : str, default="filters"
        What the parameter is called.

    Raises
    ------
    ValueError
        If it is empty or holds anything but positive integers.
    """
    if len(filters) == 0 or not all(isinstance(maps, Integral) and maps > 0 for maps in filters):
        raise ValueError(f"{name} must be positive integers, one for each level, got {filters!r}.")


def conv_block(x, maps, rng, dtype, name):
    for i in (1, 2):
        x = layers.Conv2D(
            maps,
            3,
            padding="same",
            use_bias=False,
            kernel_initializer=he_normal(rng),
            dtype=dtype,
            name=f"{name}_conv{i}",
            **CHANNELS_LAST,
        )(x)
        x = normalise_and_activate(x, dtype, f"{name}_norm{i}")
    return x


def hidden_layer(x, units, rng, dtype, name):
    x = layers.Dense(
        units, use_bias=False, kernel_initializer=he_normal(rng), dtype=dtype, name=name
    )(x)
    return normalise_and_activate(x, dtype, f"{name}_norm")


def linear_layer(x, units, rng, name):
    return layers.Dense(units, kernel_initializer=he_normal(rng), dtype="float32", name=name)(x)


def normalise_and_activate(x, dtype, name):
    x = layers.BatchNormalization(momentum=_BATCH_NORM_MOMENTUM, dtype=dtype, name=name)(x)
    return layers.LeakyReLU(_SLOPE, dtype=dtype)(x)


def he_normal(rng):
    return keras.initializers.HeNormal(draw_seed(rng))


def draw_seed(rng):
    return int(rng.randint(2**31 - 1))


def upsample(x, maps, rng, dtype, level):
    """Double height and width by a transposed convolution.

    Parameters
    ----------
    x : KerasTensor of shape (n, height, width, c)
        Input.
    maps : int
        Convolution maps.
    rng : numpy.random.RandomState
        Source of the initialiser's seed.
    dtype : str
        Keras's dtype policy.
    level : int
        Number in the layer's name.

    Returns
    -------
    KerasTensor of shape (n, 2 * height, 2 * width, maps)
        Output.
    """
    return layers.Conv2DTranspose(
        maps,
        2,
        strides=2,
        kernel_initializer=he_normal(rng),
        dtype=dtype,
        name=f"upsampling{level}",
        **CHANNELS_LAST,
    )(x)


def to_pixels(x, channels, rng):
    """Turn maps into pixels in ``(0, 1)``, in float32.

    Parameters
    ----------
    x : KerasTensor of shape (n, height, width, c)
        Input.
    channels : int
        Channels of the image.
    rng : numpy.random.RandomState
        Source of the initialiser's seed.

    Returns
    -------
    KerasTensor of shape (n, height, width, channels)
        Output.
    """
    return layers.Conv2D(
        channels,
        1,
        activation="sigmoid",
        kernel_initializer=keras.initializers.GlorotUniform(draw_seed(rng)),
        dtype="float32",
        name="pixels",
        **CHANNELS_LAST,
    )(x)
