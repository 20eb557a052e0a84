"""DistortionGenerator: images that people cannot recognise and an embedder still can."""

import warnings
from functools import partial
from numbers import Real

import numpy as np
from sklearn.base import OneToOneFeatureMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from . import _batches
from ._diagnosis import DistortionComparison, diagnose_distortion
from ._embedders import check_embedder, fit_embedder
from ._generators import build_generator, generator_loss, put_embedder_behind
from ._images import check_pixel_range, from_unit_range, restore_layout, to_unit_range
from ._stored_network import StoredNetwork
from .base import TRAINING_CONSTRAINTS, KerasTransformer, spawn_rng
from .distances import IMAGE_DISTANCES, check_image_distance, get_image_distance
from .networks import check_filters
from .scoring import distortion_score

# Enough to measure shares to a few per cent, few enough to cost nothing beside the training.
_N_DIAGNOSED = 256


class DistortionGenerator(OneToOneFeatureMixin, KerasTransformer):
    """Distort images beyond recognition while an embedder still identifies them.

    A generator G is trained so that ``G(X)`` lies far from ``X`` as an image and, under a frozen
    embedder F, ``F(G(X))`` lies near ``F(X)``. ``transform`` gives the distorted images, which
    can be stored as templates: a later probe is compared by embedding, without decryption.

    Parameters
    ----------
    embedder : TripletEmbedder, FrozenEstimator, keras model or layer, or None, default=None
        The embedder F. None trains a :class:`TripletEmbedder` on the data given to ``fit``, with
        the labels if there are any, and a ``TripletEmbedder`` is cloned and trained so; wrap a
        fitted one in :class:`sklearn.frozen.FrozenEstimator` to use it as it is. A Keras model
        or layer takes images ``(n, height, width, channels)`` in the units of `X` and is used as
        it is, in inference mode; Keras has to be able to rebuild it from its configuration, and
        `alpha` takes its embeddings to have unit length.
    alpha : float, default=0.2
        Margin of the embedding term: squared embedding distance that costs nothing.
    pi_emb : float, default=0.5
        Weight of the embedding term against the image term, in ``[0, 1]``. (Paper A: 0.9 on
        MNIST, 0.1 on faces.)
    distance : str or callable, default="mse"
        "combined", "dssim", "l1", "l2", "mse", "rmse" or "sobel": the image distance to
        maximise, on pixels in ``[0, 1]``; see :mod:`skdistort.distances`. A callable takes
        batches ``(n, height, width, channels)`` of true and distorted images and returns ``(n,)``
        in ``keras.ops``.
    architecture : {"unet", "bottleneck"}, default="unet"
        ``"unet"`` sees the image, as in paper A, and its skip connections leak it: see
        :func:`skdistort.metrics.distortion_report`. ``"bottleneck"`` sees F(X) only, so that a
        template tells no more than the embedding does.
    filters : tuple of int, default=(16, 32, 64)
        Convolution maps of each level of the generator, the finest first.
    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(height, width, channels)`` of flat rows. None takes a square if
        the number of features is one, else one row of pixels.
    pixel_range : "auto" or tuple of 2 float, default="auto"
        The darkest and brightest value a pixel can have. "auto" learns them in ``fit``; an
        explicit range rejects data outside of it.
    epochs : int, default=10
        Passes over the data.
    batch_size : int, default=64
        Images in a batch.
    learning_rate : float, default=2e-3
        Adam's learning rate at the start. (Paper A: 1e-4, constant.)
    schedule : {"constant", "cosine"}, default="cosine"
        Whether the learning rate stays or falls to zero.
    validation_fraction : float, default=0.0
        Share of the samples held out to watch the loss on.
    patience : int or None, default=None
        Stop after so many epochs without a better loss, on the held-out samples if there are
        any, and keep the best weights.
    callbacks : list of keras.callbacks.Callback or None, default=None
        Called while G is trained. Those that change the learning rate need
        ``schedule="constant"``.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the generator of the last ``fit``, and keeps its embedder
        and its pixel range.
    verbose : int, default=0
        0 silent, 1 a progress bar, 2 a line an epoch.
    random_state : int, RandomState instance or None, default=None
        Seeds the weights, the batches and the embedder that None stands for.

    Attributes
    ----------
    network_ : StoredNetwork
        The trained generator: its configuration and numpy weights.
    embedder_ : StoredNetwork
        The frozen embedder F.
    history_ : dict of str to list of float
        An entry an epoch: ``"loss"``, ``"image_distance"`` (mean d_img, to be large) and
        ``"embedding_distance"`` (mean squared distance of F(G(X)) and F(X), to fall to `alpha`),
        and with `validation_fraction` the ``"val_"`` ones.
    pixel_range_ : tuple of 2 float
        The range in use.
    image_shape_ : tuple of 3 int
        Height, width and channels of the images.
    n_features_in_ : int
        Values in an image.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if ``fit`` saw a data frame with string names.

    See Also
    --------
    TripletEmbedder : The embedder.
    skdistort.metrics.distortion_report : What templates hide, beside trivial ones.

    Notes
    -----
    G has no key and is deterministic: an image always gives the same template, a template cannot
    be revoked, and since F(G(X)) is near F(X) a stolen template passes as a probe.

    References
    ----------
    Zakharov, Kuznetsov and Frontoni, "Unrecognizable Yet Identifiable: Image Distortion with
    Preserved Embeddings", sections 3 to 4.3, eq. 7-9.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.frozen import FrozenEstimator
    >>> from skdistort import DistortionGenerator, TripletEmbedder
    >>> X, y = load_digits(return_X_y=True)
    >>> embedder = FrozenEstimator(TripletEmbedder(epochs=3, random_state=0).fit(X, y))
    >>> generator = DistortionGenerator(embedder, epochs=3, random_state=0).fit(X)
    >>> generator.transform(X).shape
    (1797, 64)
    """

    _parameter_constraints: dict = {
        **TRAINING_CONSTRAINTS,
        "embedder": "no_validation",
        "alpha": [Interval(Real, 0, None, closed="left")],
        "pi_emb": [Interval(Real, 0, 1, closed="both")],
        "distance": [StrOptions(set(IMAGE_DISTANCES)), callable],
        "architecture": [StrOptions({"unet", "bottleneck"})],
        "filters": ["array-like"],
        "pixel_range": [StrOptions({"auto"}), "array-like"],
    }

    def __init__(
        self,
        embedder=None,
        *,
        alpha=0.2,
        pi_emb=0.5,
        distance="mse",
        architecture="unet",
        filters=(16, 32, 64),
        image_shape=None,
        pixel_range="auto",
        epochs=10,
        batch_size=64,
        learning_rate=2e-3,
        schedule="cosine",
        validation_fraction=0.0,
        patience=None,
        callbacks=None,
        warm_start=False,
        verbose=0,
        random_state=None,
    ):
        self.embedder = embedder
        self.alpha = alpha
        self.pi_emb = pi_emb
        self.distance = distance
        self.architecture = architecture
        self.filters = filters
        self.image_shape = image_shape
        self.pixel_range = pixel_range
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Train the generator, and the embedder first where `embedder` asks for it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Images, finite.
        y : array-like of shape (n_samples,), default=None
            Classes, for training the embedder; the generator itself needs none.

        Returns
        -------
        DistortionGenerator
            The fitted estimator.

        Raises
        ------
        ValueError
            If the images lie outside `pixel_range`, or `embedder` does not take them.
        TypeError
            If `embedder` is nothing that can be one.
        FloatingPointError
            If the loss became NaN or infinite.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the templates of training images show a failure that ``diagnose`` names.
        """
        images, _ = self._validate_images(X, reset=True)
        check_filters(self.filters)
        check_image_distance(self.distance, self.image_shape_)
        check_embedder(self.embedder, self.image_shape_)
        rng = check_random_state(self.random_state)
        training, validation = self._split_rows(len(images), rng)
        network_rng, batch_rng, validation_rng = (spawn_rng(rng) for _ in range(3))
        # A generator that goes on has learned with this embedder, in this range.
        if not (self.warm_start and hasattr(self, "network_")):
            if isinstance(self.pixel_range, str):
                self.pixel_range_ = float(images.min()), float(images.max())
            else:
                self.pixel_range_ = check_pixel_range(self.pixel_range)
            self.embedder_ = fit_embedder(
                self.embedder,
                images,
                y,
                defaults={"verbose": self.verbose, "random_state": rng.randint(2**31 - 1)},
            )
        targets = to_unit_range(images, self.pixel_range_), self._embed(images)
        inputs = targets[0] if self.architecture == "unet" else targets[1]

        def make_batches(rows, rng, redraw):
            def gather(batch):
                picked = rows[batch]
                return inputs[picked], tuple(target[picked] for target in targets)

            draw = partial(_batches.draw_shuffled, n_samples=len(rows), batch_size=self.batch_size)
            return _batches.IndexedBatches(draw, gather, rng, redraw)

        batches = make_batches(training, batch_rng, redraw=True)
        watched = None
        if validation is not None:
            watched = make_batches(validation, validation_rng, redraw=False)
        generator = self._start_network(
            lambda: build_generator(
                self.architecture,
                self.image_shape_,
                n_components=targets[1].shape[1],
                filters=self.filters,
                rng=network_rng,
            )
        )
        distance = get_image_distance(self.distance)
        self.history_ = self._train(
            put_embedder_behind(generator, self.embedder_.model, self.pixel_range_),
            partial(generator_loss, alpha=self.alpha, pi_emb=self.pi_emb, distance=distance),
            ["image_distance", "embedding_distance"],
            batches,
            watched,
            monitor="loss",
        )
        self.network_ = StoredNetwork(generator)
        self._warn_of_failures(images)
        return self

    def transform(self, X):
        """Distort images.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Images, in the units of ``fit``.

        Returns
        -------
        ndarray of the shape of X, dtype float32
            Distorted images G(X), within `pixel_range_`.

        Raises
        ------
        ValueError
            If the images have another shape than in ``fit``, or leave an explicit `pixel_range`.
        """
        images, layout = self._check_images(X)
        distorted = from_unit_range(self._distort(images), self.pixel_range_)
        return restore_layout(distorted.reshape(len(distorted), -1), layout)

    def embed(self, X):
        """Embed images, plain or distorted, by the frozen embedder F.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Images, in the units of ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, m), dtype float32
            Embeddings F(X).
        """
        return self._embed(self._check_images(X)[0])

    def compare(self, X):
        """Distort images and put all that measures look at side by side.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Images, in the units of ``fit``.

        Returns
        -------
        DistortionComparison
            Images and templates with pixels in ``[0, 1]``, and the embeddings of both.
        """
        images, _ = self._check_images(X)
        templates = self._distort(images)
        in_units = from_unit_range(templates, self.pixel_range_)
        return DistortionComparison(
            self._unit_images(images), templates, self._embed(images), self._embed(in_units)
        )

    def score(self, X, y=None):
        """Score by what the templates keep and what they hide, whatever the loss's weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Images.
        y : array-like of shape (n_samples,), default=None
            Classes. Without them an image is matched to its own template and to the others'.

        Returns
        -------
        float
            Harmonic mean, in ``[0, 1]``, of identifiability (1 - 2 EER of plain probes against
            distorted templates) and dissimilarity (1 - mean absolute Pearson correlation of
            images and templates), the scorers of :mod:`skdistort.scoring`.
        """
        return distortion_score(self, X, y)

    def diagnose(self, X):
        """Look for the failures of paper A's Table 5 in the templates of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Images.

        Returns
        -------
        DistortionDiagnosis
            What was measured, and ``failures``, those that hold.
        """
        return self._diagnose(self._check_images(X)[0])

    def _validate_images(self, X, *, reset):
        images, layout = super()._validate_images(X, reset=reset)
        if not isinstance(self.pixel_range, str):
            low, high = np.float32(check_pixel_range(self.pixel_range))
            if images.min() < low or images.max() > high:
                raise ValueError(
                    f"X has pixels from {images.min():g} to {images.max():g}, outside "
                    f"pixel_range=({low:g}, {high:g})."
                )
        return images, layout

    def _embed(self, images):
        return self.embedder_.predict(images, self.batch_size)

    def _unit_images(self, images):
        # An image may be brighter than any that the range was learned from; measures take [0, 1].
        return np.clip(to_unit_range(images, self.pixel_range_), 0.0, 1.0)

    def _distort(self, images):
        """Distort valid images; pixels of the result are in ``[0, 1]``."""
        unet = self.architecture == "unet"
        inputs = to_unit_range(images, self.pixel_range_) if unet else self._embed(images)
        return self.network_.predict(inputs, self.batch_size)

    def _diagnose(self, images):
        return diagnose_distortion(self._unit_images(images), self._distort(images))

    def _warn_of_failures(self, images):
        diagnosis = self._diagnose(images[:: max(1, len(images) // _N_DIAGNOSED)][:_N_DIAGNOSED])
        if diagnosis.failures:
            warnings.warn(
                f"The distortion failed: {', '.join(diagnosis.failures)} ({diagnosis}). More "
                "epochs, another distance, alpha or pi_emb may help.",
                ConvergenceWarning,
                stacklevel=4,
            )
