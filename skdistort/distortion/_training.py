"""How a generator G is built, put before the embedder F, and held to its loss.

What it is given to learn from is in `_batches`.
"""

from dataclasses import dataclass

from .._backend import keras
from ..distances import IMAGE_DISTANCES, get_image_distance, squared_euclidean
from ..losses import batch_triplet_loss, distortion_loss
from ..networks import UnitLength, build_decoder, build_unet, scale_pixels

ops = keras.ops

# Margin of the triplet loss of an embedder that learns along, paper A's mu.
_MARGIN = 0.2


@dataclass(frozen=True)
class TrainingCase:
    """What G sees in training, and where F(X) comes from; batches and network share the names.

    Attributes
    ----------
    sees : {"image", "embedding", "plain", "mixed", "rotated"}
        The image; an embedding made beforehand, of a mixture or under a key drawn at random; F(X)
        as F is at the moment; a mixture of that with another of the batch; or that in a direction
        drawn at random.
    embeds : bool
        Whether the network computes F(X) itself, because F learns or X is never the same.
    """

    sees: str
    embeds: bool

    @classmethod
    def of(cls, architecture, *, keyed, streamed, learns):
        """Tell the case.

        Parameters
        ----------
        architecture : {"unet", "bottleneck"}
            Whether G sees the image or an embedding.
        keyed : bool
            Whether templates are under keys.
        streamed : bool
            Whether X comes in batches that may never be the same.
        learns : bool
            Whether F learns along.

        Returns
        -------
        TrainingCase
            The case.
        """
        embeds = streamed or learns
        if architecture == "unet":
            sees = "image"
        elif learns and not keyed:
            sees = "plain"
        elif streamed:
            sees = "rotated" if keyed else "mixed"
        else:
            # What stays as it is has been mixed or rotated before it comes in.
            sees = "embedding"
        return cls(sees, embeds)

    @property
    def inputs(self):
        """Name the inputs of the network.

        Returns
        -------
        tuple of str
            Some of "image", "embedding", "direction" and "share".
        """
        given = {
            "image": self.embeds or self.sees == "image",
            "embedding": self.sees == "embedding",
            "direction": self.sees == "rotated",
            "share": self.sees == "mixed",
        }
        return tuple(name for name, is_given in given.items() if is_given)

    @property
    def target(self):
        """Name what F(G(X)) should be near.

        Returns
        -------
        {"embedding", "plain", "mixed", "rotated"}
            One made beforehand, which batches hold, or what the network makes of F(X).
        """
        if self.sees in ("mixed", "rotated"):
            return self.sees
        return "plain" if self.embeds and self.sees != "embedding" else "embedding"


@keras.saving.register_keras_serializable(package="skdistort")
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

    def get_config(self):
        """Tell of the network, so that another one is trained by another step."""
        network = keras.saving.serialize_keras_object(self.network)
        return {"trainable": self.trainable, "network": network}

    @classmethod
    def from_config(cls, config):
        """Make one of a network that is rebuilt."""
        made = cls(keras.saving.deserialize_keras_object(config["network"]))
        made.trainable = config["trainable"]
        return made

    def call(self, x):
        """Apply the network."""
        return self.network(x, training=False)


@keras.saving.register_keras_serializable(package="skdistort")
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

    def get_config(self):
        """Tell the weight."""
        return {"weight": self.weight}

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


def build_adversary(image_shape, *, filters, rng, dtype="float32"):
    """Build what learns along to reconstruct images from templates: a U-Net.

    Parameters
    ----------
    image_shape : tuple of 3 int
        Height, width and channels.
    filters : sequence of int
        Convolution maps of each level, the finest first.
    rng : numpy.random.RandomState
        Source of the initialisers' seeds.
    dtype : str, default="float32"
        See :func:`build_generator`.

    Returns
    -------
    keras.Model
        Templates to images, both with pixels in ``[0, 1]``.
    """
    # A generator from a file may have any name that Keras counts up.
    return build_unet(image_shape, filters=filters, rng=rng, dtype=dtype, name="adversary")


def build_training_network(
    generator, embedder, pixel_range, case, *, adversary=None, adversary_weight=0.0
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
    case : TrainingCase
        What G sees, and where F(X) comes from.
    adversary : keras.Model or None, default=None
        What reconstructs images from templates, both with pixels in ``[0, 1]``.
    adversary_weight : float, default=0.0
        How much of the adversary's gradient G gets, reversed.

    Returns
    -------
    keras.Model
        Takes a dict of ``case.inputs``: ``"image"``, pixels in ``[0, 1]``; ``"embedding"``, what G
        sees; ``"direction"``, vectors of length 1; ``"share"``, numbers in [0, 1]. Gives a dict:
        ``"distorted"``, G(X), and ``"embedding"``, F(G(X)); ``"plain"``, F(X), if it embeds;
        ``"rotated"``, that in the direction; ``"mixed"``, that with a share of another one of the
        batch, see `_batches.mix_at_random`; ``"rebuilt"`` with an adversary.
    """
    low, high = pixel_range
    embed = InferenceOnly(embedder)
    shape = generator.output_shape[1:]
    shapes = {"image": shape, "embedding": generator.input_shape[1:]}
    shapes["direction"], shapes["share"] = shapes["embedding"], (1,)
    inputs = {name: keras.layers.Input(shapes[name], name=name) for name in case.inputs}
    outputs = {}
    if case.embeds:
        outputs["plain"] = embed(scale_pixels(inputs["image"], high - low, low, name="to_image"))
    if case.target in ("mixed", "rotated"):
        if case.sees == "mixed":
            units, share = UnitLength(dtype="float32")(outputs["plain"]), inputs["share"]
            mixed = (1 - share) * units + share * ops.flip(units, axis=0)
            direction = UnitLength(dtype="float32")(mixed)
        else:
            direction = inputs["direction"]
        squares = ops.sum(ops.square(outputs["plain"]), axis=1, keepdims=True)
        outputs[case.sees] = ops.sqrt(squares) * direction
    outputs["distorted"] = generator((inputs if case.sees in inputs else outputs)[case.sees])
    outputs["embedding"] = embed(
        scale_pixels(outputs["distorted"], high - low, low, name="to_template")
    )
    if adversary is not None:
        outputs["rebuilt"] = adversary(ReverseGradient(adversary_weight)(outputs["distorted"]))
    return keras.Model(inputs, outputs)


def generator_loss(targets, outputs, *, alpha, pi_emb, target, distance, adversary_weight):
    """Evaluate the distortion loss of a batch, and what it is made of.

    Parameters
    ----------
    targets : dict of str to tensor
        ``"image"``, X with pixels in ``[0, 1]``; ``"embedding"``, where F(G(X)) should lie, if it
        was made beforehand; ``"label"``, classes, if F learns.
    outputs : dict of str to tensor
        What :func:`build_training_network` gives.
    alpha, pi_emb : float
        See :func:`skdistort.losses.distortion_loss`.
    target : {"embedding", "plain", "mixed", "rotated"}
        Where F(G(X)) should lie, see :class:`TrainingCase`.
    distance : str or callable
        Image distance.
    adversary_weight : float
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
    wanted = (targets if target == "embedding" else outputs)[target]
    d_image = get_image_distance(distance)(targets["image"], outputs["distorted"])
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
