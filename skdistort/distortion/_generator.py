"""DistortionGenerator: images that people cannot recognise and an embedder still can.

Its parameters live here; what it does in training is in `_generator_training`, and what it does
once it is fitted in `_distorting`.
"""

from numbers import Integral, Real

from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions

from ..distances import IMAGE_DISTANCES
from ..training._base import TRAINING_CONSTRAINTS
from ._generator_training import LearningTransformer


class DistortionGenerator(LearningTransformer):
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
        X : array-like, ImageFolder or keras.utils.PyDataset
            Images ``(n_samples, n_features)`` or ``(n_samples, h, w[, c])``, finite. They stay on
            disk if they are memory-mapped or in a folder; a dataset gives batches of them.
        y : array-like of shape (n_samples,), default=None
            Classes, for training the embedder; the generator itself needs none. None with a
            dataset, whose batches may hold them.

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
            If the loss or a weight became NaN or infinite.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the templates of training images show a failure that ``diagnose`` names.
        """
        images = self._fit(X, y)
        self._warn_of_failures(images)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Train the generator for one pass over the images, going on from the weights there are.

        The first call starts as ``fit`` does, and trains the embedder in full where `embedder` asks
        for it. Later ones keep embedder and pixel range; an adversary and Adam's averages of
        gradients start anew in each. `epochs`, `schedule`, `validation_fraction` and `patience`
        play no part, and nothing warns of failures: ``diagnose`` tells.

        Parameters
        ----------
        X : array-like, ImageFolder or keras.utils.PyDataset
            Images, as for ``fit``.
        y : array-like of shape (n_samples,), default=None
            Classes, as for ``fit``.

        Returns
        -------
        DistortionGenerator
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError, FloatingPointError
            As ``fit``; also if the images have another shape than before.
        """
        self._fit(X, y, one_pass=True)
        return self
