"""Network architectures: the convolutional encoder, the U-Net and the embedding decoder.

Functions here build plain functional Keras models for images of any size; what they are trained
for is decided elsewhere. Every initialiser draws its seed from the `rng` it is given, so nothing
depends on global random state.
"""

from math import ceil
from numbers import Integral

from ._backend import keras

layers = keras.layers

# Slope of LeakyReLU, paper A section 4.2.
_SLOPE = 0.01
# Keras's default of 0.99 needs hundreds of steps before inference matches training.
_BATCH_NORM_MOMENTUM = 0.9


@keras.saving.register_keras_serializable(package="skdistort")
class UnitLength(layers.Layer):
    """Scale vectors to unit length: ``x / sqrt(||x||^2 + eps)`` (paper A, section 2.3).

    Unlike ``keras.layers.UnitNormalization``, the gradient at the zero vector is finite.

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
        square = keras.ops.sum(keras.ops.square(x), axis=-1, keepdims=True)
        # Not rsqrt, whose vectorised form rounds differently from the one for a row left over.
        return x / keras.ops.sqrt(square + self.epsilon)

    def compute_output_shape(self, input_shape):
        """Shape of the output: that of the input."""
        return input_shape

    def get_config(self):
        """Return the configuration from which Keras rebuilds the layer."""
        return {**super().get_config(), "epsilon": self.epsilon}


def check_filters(filters):
    """Check the number of convolution maps of each level.

    Parameters
    ----------
    filters : sequence of int
        The parameter `filters` of an estimator.

    Raises
    ------
    ValueError
        If it is empty or holds anything but positive integers.
    """
    if len(filters) == 0 or not all(isinstance(maps, Integral) and maps > 0 for maps in filters):
        raise ValueError(f"filters must be positive integers, one for each level, got {filters!r}.")


def build_encoder(image_shape, n_components, *, filters, hidden_units, pixel_range, rng):
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

    Returns
    -------
    keras.Model
        ``(n, height, width, channels)`` to ``(n, n_components)``.
    """
    low, high = pixel_range
    scale = 1.0 / (high - low) if high > low else 1.0
    x = inputs = layers.Input(image_shape)
    x = layers.Rescaling(scale, offset=-low * scale)(x)
    for maps in filters:
        x = _conv_block(x, maps, rng)
        x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(hidden_units, use_bias=False, kernel_initializer=_he_normal(rng))(x)
    x = _normalise_and_activate(x)
    x = layers.Dense(n_components, kernel_initializer=_he_normal(rng))(x)
    return keras.Model(inputs, UnitLength()(x))


def build_unet(image_shape, *, filters, rng):
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
    x = layers.ZeroPadding2D(padding)(x)
    skips = []
    for maps in filters[:-1]:
        x = _conv_block(x, maps, rng)
        skips.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = _conv_block(x, filters[-1], rng)
    for maps, skip in zip(reversed(filters[:-1]), reversed(skips), strict=True):
        x = layers.Concatenate()([_upsample(x, maps, rng), skip])
        x = _conv_block(x, maps, rng)
    return keras.Model(inputs, layers.Cropping2D(padding)(_to_pixels(x, channels, rng)))


def build_decoder(n_inputs, image_shape, *, filters, rng):
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

    Returns
    -------
    keras.Model
        ``(n, n_inputs)`` to ``(n, height, width, channels)``, values in ``(0, 1)``.
    """
    height, width, channels = image_shape
    factor = 2 ** (len(filters) - 1)
    rows, columns = ceil(height / factor), ceil(width / factor)
    x = inputs = layers.Input((n_inputs,))
    x = layers.Dense(
        rows * columns * filters[-1], use_bias=False, kernel_initializer=_he_normal(rng)
    )(x)
    x = layers.Reshape((rows, columns, filters[-1]))(_normalise_and_activate(x))
    for maps in reversed(filters[:-1]):
        x = _conv_block(_upsample(x, maps, rng), maps, rng)
    padding = [(0, rows * factor - height), (0, columns * factor - width)]
    return keras.Model(inputs, layers.Cropping2D(padding)(_to_pixels(x, channels, rng)))


def _conv_block(x, maps, rng):
    for _ in range(2):
        x = layers.Conv2D(
            maps, 3, padding="same", use_bias=False, kernel_initializer=_he_normal(rng)
        )(x)
        x = _normalise_and_activate(x)
    return x


def _upsample(x, maps, rng):
    return layers.Conv2DTranspose(maps, 2, strides=2, kernel_initializer=_he_normal(rng))(x)


def _to_pixels(x, channels, rng):
    return layers.Conv2D(
        channels,
        1,
        activation="sigmoid",
        kernel_initializer=keras.initializers.GlorotUniform(_draw_seed(rng)),
    )(x)


def _normalise_and_activate(x):
    x = layers.BatchNormalization(momentum=_BATCH_NORM_MOMENTUM)(x)
    return layers.LeakyReLU(_SLOPE)(x)


def _he_normal(rng):
    return keras.initializers.HeNormal(_draw_seed(rng))


def _draw_seed(rng):
    return int(rng.randint(2**31 - 1))
