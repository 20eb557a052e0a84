"""How a generator G is built, put before the frozen embedder F, and held to its loss."""

from ._backend import keras
from .distances import squared_euclidean
from .losses import distortion_loss
from .networks import build_decoder, build_unet


class InferenceOnly(keras.layers.Layer):
    """A network that runs in inference mode even where it is part of one in training.

    A functional model in training overrides the ``training=False`` that a part was called with,
    so that an embedder's dropout would be active.

    Parameters
    ----------
    network : keras.Model
        What is run; it does not learn.
    """

    def __init__(self, network):
        super().__init__(trainable=False)
        self.network = network

    def call(self, x):
        """Apply the network."""
        return self.network(x, training=False)


def build_generator(architecture, image_shape, *, n_components, filters, rng):
    """Build the generator of an architecture.

    Parameters
    ----------
    architecture : {"unet", "bottleneck"}
        Whether it sees the image or the embedding.
    image_shape : tuple of 3 int
        Height, width and channels.
    n_components : int
        Length of the embedding.
    filters : sequence of int
        Convolution maps of each level, the finest first.
    rng : numpy.random.RandomState
        Source of the initialisers' seeds.

    Returns
    -------
    keras.Model
        Images with pixels in ``[0, 1]``, or embeddings, to images with pixels in ``[0, 1]``.
    """
    if architecture == "unet":
        return build_unet(image_shape, filters=filters, rng=rng)
    return build_decoder(n_components, image_shape, filters=filters, rng=rng)


def put_embedder_behind(generator, embedder, pixel_range):
    """Make the model that is trained: G, and F behind it, which does not learn.

    Parameters
    ----------
    generator : keras.Model
        G, giving pixels in ``[0, 1]``.
    embedder : keras.Model
        F, not trainable, taking pixels in `pixel_range`.
    pixel_range : tuple of 2 float
        The values that 0 and 1 stand for.

    Returns
    -------
    keras.Model
        G's input to ``(G(x), F(G(x)))``.
    """
    low, high = pixel_range
    in_units = keras.layers.Rescaling(high - low, offset=low)(generator.output)
    return keras.Model(generator.input, (generator.output, InferenceOnly(embedder)(in_units)))


def generator_loss(targets, outputs, alpha, pi_emb, distance):
    """Evaluate the distortion loss of a batch, and the two distances that it weighs.

    Parameters
    ----------
    targets : tuple of 2 tensor
        X with pixels in ``[0, 1]``, and F(X).
    outputs : tuple of 2 tensor
        G(X) and F(G(X)).
    alpha, pi_emb : float
        See :func:`skdistort.losses.distortion_loss`.
    distance : callable
        Image distance.

    Returns
    -------
    loss : tensor of shape ()
        Mean loss.
    parts : dict of str to tensor of shape ()
        Mean ``"image_distance"`` and ``"embedding_distance"``.
    """
    (images, embeddings), (distorted, distorted_embeddings) = targets, outputs
    d_image = distance(images, distorted)
    d_embedding = squared_euclidean(embeddings, distorted_embeddings)
    loss = distortion_loss(d_image, d_embedding, alpha=alpha, pi_emb=pi_emb)
    mean = keras.ops.mean
    return mean(loss), {"image_distance": mean(d_image), "embedding_distance": mean(d_embedding)}
