"""DistortionGenerator: images that people cannot recognise and an embedder still can."""

import warnings
from functools import partial
from numbers import Integral, Real

from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from ._compiled import architecture
from ._distorting import DistortingTransformer
from ._embedders import check_embedder, fit_embedder
from ._generator_batches import generator_batches
from ._generators import build_generator, build_training_network, generator_loss
from ._images import check_pixel_range, to_unit_range
from ._stored_network import StoredNetwork
from .base import TRAINING_CONSTRAINTS, encode_classes, spawn_rng
from .distances import IMAGE_DISTANCES, check_image_distance, get_image_distance
from .networks import build_unet, check_filters

# Enough to measure shares to a few per cent, few enough to cost nothing beside the training.
_N_DIAGNOSED = 256


class DistortionGenerator(DistortingTransformer):
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
    key : int, bytes or None, default=None
        With a key the template of an image is made so that F(G(X)) lies near R F(X), where R is
        the orthogonal map that the key determines, and probes are compared by R F(X), which
        ``embed_probe`` gives. The training does not depend on which key it is: a new one, set by
        ``set_params`` or given to ``transform``, makes new templates with no new training. Needs
        ``architecture="bottleneck"``. An int is at least 0; one that can be guessed is no secret.
    adversary_weight : float, default=0.0
        Weight against the other terms of a U-Net that learns along to reconstruct images from
        templates, by mean squared error; G learns to make that error large. 0 does without.
    train_embedder : bool, default=False
        Whether the embedder, once trained or given, goes on learning together with G, by the
        triplet loss, from the classes. What was given as `embedder` does not change.
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
    dtype_policy : {"float32", "mixed_bfloat16", "mixed_float16"}, default="float32"
        Precision of the inner layers, as Keras names it. Weights, the last layers, losses and
        results are float32 in any case. An `embedder` that is given keeps its own.
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
        The embedder F.
    history_ : dict of str to list of float
        An entry an epoch: ``"loss"``, ``"image_distance"`` (mean d_img, to be large) and
        ``"embedding_distance"`` (mean squared distance of F(G(X)) and F(X), to fall to `alpha`),
        ``"adversary_distance"`` (the adversary's mean squared error) and ``"triplet_loss"`` (of
        the embedder) where these learn, and with `validation_fraction` the ``"val_"`` ones.
    keyed_ : bool
        Whether the generator was fitted with a key.
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
    Without a key, as in paper A, an image always gives the same template, a template cannot be
    revoked, and since F(G(X)) is near F(X) a stolen template passes as a probe. The parameter
    `key` shows in the estimator's representation and is kept where it is pickled.

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
        "key": [Interval(Integral, 0, None, closed="left"), bytes, None],
        "adversary_weight": [Interval(Real, 0, None, closed="left")],
        "train_embedder": ["boolean"],
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
        key=None,
        adversary_weight=0.0,
        train_embedder=False,
        filters=(16, 32, 64),
        image_shape=None,
        pixel_range="auto",
        epochs=10,
        batch_size=64,
        learning_rate=2e-3,
        schedule="cosine",
        dtype_policy="float32",
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
        self.key = key
        self.adversary_weight = adversary_weight
        self.train_embedder = train_embedder
        self.filters = filters
        self.image_shape = image_shape
        self.pixel_range = pixel_range
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.dtype_policy = dtype_policy
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
        self._check_key_and_embedder(y)
        labels = encode_classes(images, y) if self.train_embedder else None
        rng = check_random_state(self.random_state)
        training, validation = self._split_rows(len(images), rng)
        network_rng, batch_rng, validation_rng = (spawn_rng(rng) for _ in range(3))
        # A generator that goes on has learned with this embedder, in this range.
        if not (self.warm_start and hasattr(self, "network_")):
            self.keyed_ = self.key is not None
            if isinstance(self.pixel_range, str):
                self.pixel_range_ = float(images.min()), float(images.max())
            else:
                self.pixel_range_ = check_pixel_range(self.pixel_range)
            self.embedder_ = fit_embedder(
                self.embedder,
                images,
                y,
                defaults={
                    "dtype_policy": self.dtype_policy,
                    "verbose": self.verbose,
                    "random_state": rng.randint(2**31 - 1),
                },
            )
        embeddings = self._embed(images)
        make_batches = partial(
            generator_batches,
            to_unit_range(images, self.pixel_range_),
            embeddings,
            sees_image=self.architecture == "unet",
            keyed=self.keyed_,
            labels=labels,
            batch_size=self.batch_size,
        )
        batches = make_batches(rows=training, rng=batch_rng, redraw=True)
        watched = None
        if validation is not None:
            watched = make_batches(rows=validation, rng=validation_rng, redraw=False)
        generator = self._start_network(
            lambda: build_generator(
                self.architecture,
                self.image_shape_,
                n_components=embeddings.shape[1],
                filters=self.filters,
                rng=network_rng,
                dtype=self.dtype_policy,
            )
        )
        self._train_generator(generator, batches, watched, network_rng)
        self.network_ = StoredNetwork(generator)
        self._warn_of_failures(images)
        return self

    def _check_key_and_embedder(self, y):
        """Refuse combinations of parameters that have no sense, before anything is trained."""
        if self.key is not None and self.architecture == "unet":
            raise ValueError(
                'key needs architecture="bottleneck": the skip connections of "unet" would '
                "carry the image into its templates under every key."
            )
        if self.warm_start and hasattr(self, "network_") and self.keyed_ != (self.key is not None):
            raise ValueError(
                "warm_start=True goes on as the previous fit began, which was "
                f"{'with' if self.keyed_ else 'without'} a key."
            )
        if self.train_embedder and y is None:
            raise ValueError("train_embedder=True needs y: the embedder learns from classes.")
        check_embedder(self.embedder, self.image_shape_)

    def _train_generator(self, generator, batches, watched, rng):
        """Train G in place; `embedder_` becomes what F has learned, if it does."""
        embedder = self.embedder_.rebuild() if self.train_embedder else self.embedder_.model
        parts = ["image_distance", "embedding_distance"]
        adversary = None
        if self.adversary_weight:
            parts.append("adversary_distance")
            adversary = build_unet(
                self.image_shape_, filters=self.filters, rng=rng, dtype=self.dtype_policy
            )
        if self.train_embedder:
            parts.append("triplet_loss")
        sees_plain = self.train_embedder and self.architecture != "unet" and not self.keyed_
        network = build_training_network(
            generator,
            embedder,
            self.pixel_range_,
            sees_plain=sees_plain,
            adversary=adversary,
            adversary_weight=self.adversary_weight,
        )
        signature = None
        # A callable may not do the same next time.
        if isinstance(self.distance, str):
            models = [generator, embedder, *([] if adversary is None else [adversary])]
            architectures = [architecture(model.to_json()) for model in models]
            switches = sees_plain, self.train_embedder, self.adversary_weight
            signature = *architectures, *switches, self.pixel_range_, self.distance
        self.history_ = self._train(
            network,
            partial(
                generator_loss,
                distance=get_image_distance(self.distance),
                adversary_weight=self.adversary_weight,
            ),
            parts,
            batches,
            watched,
            monitor="loss",
            signature=signature,
            alpha=self.alpha,
            pi_emb=self.pi_emb,
        )
        if self.train_embedder:
            self.embedder_ = StoredNetwork(embedder)

    def _warn_of_failures(self, images):
        diagnosis = self._diagnose(images[:: max(1, len(images) // _N_DIAGNOSED)][:_N_DIAGNOSED])
        if diagnosis.failures:
            warnings.warn(
                f"The distortion failed: {', '.join(diagnosis.failures)} ({diagnosis}). More "
                "epochs, another distance, alpha or pi_emb may help.",
                ConvergenceWarning,
                stacklevel=4,
            )
