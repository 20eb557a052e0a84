"""How a generator G is built, put before the embedder F, and held to its loss.

What it is given to learn from is in :mod:`skdistort.distortion._batches`.
"""

from .._backend import keras
from ..distances import IMAGE_DISTANCES, squared_euclidean
from ..losses import batch_triplet_loss, distortion_loss
from ..networks import build_decoder, build_unet, scale_pixels

ops = keras.ops

# Margin of the triplet loss of an embedder that learns along, paper A's mu.
_MARGIN = 0.2


class InferenceOnly(keras.Model):
    """A network that runs in inference mode even where it is part of one in training.

    A functional model in training overrides the ``training=False`` that a part was called with,
    so that an embedder's dropout would be active. Its weights learn if `network` is trainable.

    Parameters
    ----------
    network : keras.Model
        What is run.
    """

    def __init__(self, network):
        super().__init__(trainable=network.trainable, dtype="float32")
        self.network = network

    def call(self, x):
        """Apply the network."""
        return self.network(x, training=False)


class ReverseGradient(keras.layers.Layer):
    """The identity, whose gradient is multiplied by a negative number on the way back.

    What comes after learns to lower the loss, what comes before to raise it.

    Parameters
    ----------
    weight : float
        By how much, above 0.

    References
    ----------
    Ganin and Lempitsky, "Unsupervised domain adaptation by backpropagation", ICML 2015, eq. 14-15.
    """

    def __init__(self, weight):
        super().__init__(dtype="float32")
        self.weight = weight

    def call(self, x):
        """Return x."""
        return ops.stop_gradient(x) * (1 + self.weight) - x * self.weight


def build_generator(architecture, image_shape, *, n_components, filters, rng, dtype="float32"):
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
    dtype : str, default="float32"
        Keras's dtype policy of the inner layers, such as ``"mixed_bfloat16"``; the last ones
        compute in float32.

    Returns
    -------
    keras.Model
        Images with pixels in ``[0, 1]``, or embeddings, to images with pixels in ``[0, 1]``.
    """
    if architecture == "unet":
        return build_unet(image_shape, filters=filters, rng=rng, dtype=dtype)
    return build_decoder(n_components, image_shape, filters=filters, rng=rng, dtype=dtype)


def build_training_network(
    generator, embedder, pixel_range, *, embeds, seen="input", adversary=None, adversary_weight=0.0
):
    """Make the network that is trained: G, F behind it, and what learns along with them.

    Parameters
    ----------
    generator : keras.Model
        G, giving pixels in ``[0, 1]``.
    embedder : keras.Model
        F, taking pixels in `pixel_range`. If it is trainable it learns too, its batch statistics
        staying as they are.
    pixel_range : tuple of 2 float
        The values that 0 and 1 stand for.
    embeds : bool
        Whether F(X) is computed here, because F learns or X is never the same.
    seen : {"input", "plain", "rotated"}, default="input"
        Whether G has an input of its own, or sees F(X) as it is at the moment, or that in a
        direction drawn at random.
    adversary : keras.Model or None, default=None
        What reconstructs images from templates, both with pixels in ``[0, 1]``.
    adversary_weight : float, default=0.0
        How much of the adversary's gradient G gets, reversed.

    Returns
    -------
    keras.Model
        Takes a dict: ``"seen"``, what G sees as an input; ``"image"``, pixels in ``[0, 1]``, if it
        `embeds`; ``"direction"``, vectors of length 1, if G sees F(X) so. Gives a dict:
        ``"distorted"``, G(X), and ``"embedding"``, F(G(X)); ``"plain"``, F(X), if it `embeds`;
        ``"rotated"``, what G sees in another direction; ``"rebuilt"`` with an adversary.
    """
    low, high = pixel_range
    embed = InferenceOnly(embedder)
    inputs, outputs = {}, {}
    if embeds:
        inputs["image"] = keras.layers.Input(generator.output_shape[1:], name="image")
        outputs["plain"] = embed(scale_pixels(inputs["image"], high - low, low, name="to_image"))
    if seen == "rotated":
        inputs["direction"] = keras.layers.Input(generator.input_shape[1:], name="direction")
        squares = ops.sum(ops.square(outputs["plain"]), axis=1, keepdims=True)
        outputs["rotated"] = ops.sqrt(squares) * inputs["direction"]
    elif seen == "input":
        inputs["seen"] = keras.layers.Input(generator.input_shape[1:], name="seen")
    outputs["distorted"] = generator(inputs["seen"] if seen == "input" else outputs[seen])
    outputs["embedding"] = embed(
        scale_pixels(outputs["distorted"], high - low, low, name="to_template")
    )
    if adversary is not None:
        outputs["rebuilt"] = adversary(ReverseGradient(adversary_weight)(outputs["distorted"]))
    return keras.Model(inputs, outputs)


def generator_loss(targets, outputs, *, alpha, pi_emb, distance, adversary_weight=0.0):
    """Evaluate the distortion loss of a batch, and what it is made of.

    Parameters
    ----------
    targets : dict of str to tensor
        ``"image"``, X with pixels in ``[0, 1]``; ``"embedding"``, where F(G(X)) should lie, which
        without it is what the `outputs` have of F(X), ``"rotated"`` or ``"plain"``; ``"label"``,
        classes, if F learns.
    outputs : dict of str to tensor
        What :func:`build_training_network` gives.
    alpha, pi_emb : float
        See :func:`skdistort.losses.distortion_loss`.
    distance : callable
        Image distance.
    adversary_weight : float, default=0.0
        Weight of the adversary in G's loss.

    Returns
    -------
    loss : tensor of shape ()
        Mean loss of G, and of F if it learns. Its gradient is the adversary's own at the
        adversary's weights.
    parts : dict of str to tensor of shape ()
        Mean ``"image_distance"`` and ``"embedding_distance"``; the adversary's mean squared error
        ``"adversary_distance"``; ``"triplet_loss"`` of F.
    """
    candidates = targets.get("embedding"), outputs.get("rotated"), outputs.get("plain")
    wanted = next(candidate for candidate in candidates if candidate is not None)
    d_image = distance(targets["image"], outputs["distorted"])
    d_embedding = squared_euclidean(wanted, outputs["embedding"])
    loss = ops.mean(distortion_loss(d_image, d_embedding, alpha=alpha, pi_emb=pi_emb))
    parts = {"image_distance": ops.mean(d_image), "embedding_distance": ops.mean(d_embedding)}
    if "rebuilt" in outputs:
        error = ops.mean(IMAGE_DISTANCES["mse"](targets["image"], outputs["rebuilt"]))
        parts["adversary_distance"] = error
        # The adversary lowers its error, and the gradient comes to G reversed; the constant makes
        # the value the one that G lowers.
        loss = loss + error - ops.stop_gradient(error) * (1 + adversary_weight)
    if "label" in targets:
        triplets, _ = batch_triplet_loss(targets["label"], outputs["plain"], _MARGIN)
        parts["triplet_loss"] = triplets
        loss = loss + triplets
    return loss, parts
