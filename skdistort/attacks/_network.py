"""The inversion attack that trains a network on pairs of templates and images.

The networks are those of the generators themselves, :mod:`skdistort.networks`. Attacks that need
none are in :mod:`skdistort.attacks._closed_form`.
"""

from functools import partial

from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions

from .._backend import keras
from ..distances import IMAGE_DISTANCES, check_image_distance, get_image_distance
from ..networks import build_decoder, build_unet, check_filters
from ..networks._stored import StoredNetwork
from ..training import _batches
from ..training._base import TRAINING_CONSTRAINTS
from ..training._batches import spawn_rng
from ..training._loop import train
from ._inversion import InversionAttack

_TRAINING_PARAMETERS = (
    "epochs",
    "batch_size",
    "learning_rate",
    "schedule",
    "verbose",
    "random_state",
)


class NetworkInversion(InversionAttack):
    """Map templates to images by a network: template images by a U-Net, embeddings by a decoder.

    The U-Net undoes what a generator with skip connections did. The decoder gives, of plain
    embeddings F(X), the embedding-only limit: a template whose embedding verifies must give away
    what the embedding does, so that this is the end of the leak scale that a good template reaches
    and none can do without. Of the embeddings of templates, F(T), it is an attack like others.

    Parameters
    ----------
    filters : tuple of int, default=(16, 32, 64)
        Convolution maps of each level, the finest first.
    distance : str or callable, default="mse"
        "combined", "dssim", "l1", "l2", "mse", "rmse" or "sobel": the image distance to
        minimise, or a callable as for :class:`skdistort.DistortionGenerator`.
    epochs : int, default=10
        Passes over the data.
    batch_size : int, default=64
        Images in a batch.
    learning_rate : float, default=2e-3
        Adam's learning rate at the start.
    schedule : {"constant", "cosine"}, default="cosine"
        Whether the learning rate stays or falls to zero.
    verbose : int, default=0
        0 silent, 1 a progress bar, 2 a line an epoch.
    random_state : int, RandomState instance or None, default=None
        Seeds the weights and the batches.

    Attributes
    ----------
    network_ : StoredNetwork
        The trained network.
    history_ : dict of str to list of float
        ``"loss"``, the mean distance, an entry an epoch.
    template_shape_, image_shape_ : tuple of int
        Shape of one template or embedding, and of one image.

    References
    ----------
    Ronneberger, Fischer, Brox, "U-Net: convolutional networks for biomedical image
    segmentation", MICCAI 2015.

    Mai, Cao, Yuen, Jain, "On the reconstruction of face images from deep face templates", IEEE
    Transactions on Pattern Analysis and Machine Intelligence 41 (2019), for the decoder.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistort.attacks import NetworkInversion
    >>> images = load_digits().images[:256, ..., None] / 16
    >>> attack = NetworkInversion(filters=(4,), epochs=1, random_state=0)
    >>> attack.fit(1 - images, images).reconstruct(1 - images[:5]).shape
    (5, 8, 8, 1)
    >>> embeddings = images.mean(axis=1).reshape(256, 8)
    >>> attack.fit(embeddings, images).reconstruct(embeddings[:5]).shape
    (5, 8, 8, 1)
    """

    _parameter_constraints: dict = {
        **{name: TRAINING_CONSTRAINTS[name] for name in _TRAINING_PARAMETERS},
        "filters": ["array-like"],
        "distance": [StrOptions(set(IMAGE_DISTANCES)), callable],
    }

    def __init__(
        self,
        *,
        filters=(16, 32, 64),
        distance="mse",
        epochs=10,
        batch_size=64,
        learning_rate=2e-3,
        schedule="cosine",
        verbose=0,
        random_state=None,
    ):
        self.filters = filters
        self.distance = distance
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.verbose = verbose
        self.random_state = random_state

    def _check_shapes(self, template_shape, image_shape):
        if len(template_shape) != 1 and template_shape != image_shape:
            raise ValueError(
                "NetworkInversion needs embeddings of shape (n_samples, m), or templates of the "
                f"shape of the images, {image_shape}, got {template_shape}."
            )
        check_filters(self.filters)
        check_image_distance(self.distance, image_shape)

    def _fit(self, templates, images):
        rng = check_random_state(self.random_state)
        network_rng, batch_rng = spawn_rng(rng), spawn_rng(rng)
        options = {"filters": self.filters, "rng": network_rng}
        if templates.ndim == 2:
            network = build_decoder(templates.shape[1], self.image_shape_, **options)
        else:
            network = build_unet(self.image_shape_, **options)
        draw = partial(_batches.draw_shuffled, n_samples=len(images), batch_size=self.batch_size)
        self.history_ = train(
            network,
            _reconstruction_loss,
            [],
            _batches.IndexedBatches(draw, lambda rows: (templates[rows], images[rows]), batch_rng),
            options={"distance": self.distance},
            settings={},
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            schedule=self.schedule,
            weight_decay=0.0,
            monitor="loss",
            patience=None,
            callbacks=None,
            verbose=int(self.verbose),
        )
        self.network_ = StoredNetwork(network)

    def _reconstruct(self, templates):
        return self.network_.predict(templates, self.batch_size)


def _reconstruction_loss(images, found, *, distance):
    """Mean distance of a batch of images and their reconstructions; no parts."""
    return keras.ops.mean(get_image_distance(distance)(images, found)), {}
