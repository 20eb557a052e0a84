"""TripletEmbedder: images to embeddings of unit length, trained with the triplet loss.

Its network is in :mod:`skdistort.networks`, the loss in :mod:`skdistort.losses`, the choice of
triplets in :mod:`skdistort.mining`, the training loop in :mod:`skdistort.training`.
"""

from functools import partial
from numbers import Integral, Real

from sklearn.base import ClassNamePrefixFeaturesOutMixin, _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import column_or_1d

from ._backend import keras
from ._labels import as_labels, encode_classes
from .images._augmentation import PRESETS, ImageAugmentation, as_augmentation
from .images._streams import ImageStream
from .images._validation import validate_training_images
from .losses import batch_triplet_loss, stacked_triplet_loss
from .metrics import equal_error_rate, pair_scores
from .mining import MINERS
from .networks import build_encoder
from .networks._stored import StoredNetwork
from .selection import select_clients_and_impostors
from .selection._space import fit_selection_space
from .training import _batches
from .training._base import TRAINING_CONSTRAINTS, KerasTransformer, all_or_nothing, check_training
from .training._batches import (
    AugmentedBatches,
    StreamedBatches,
    spawn_rng,
    triplet_batches,
)
from .training._collapse import warn_of_collapse

# Passes over the data by default, and the batches that they come to at least: of images that are
# changed each time more, since they are not so soon learned by heart.
_EPOCHS, _FEWEST_BATCHES, _FEWEST_AUGMENTED = 10, 500, 700


class TripletEmbedder(ClassNamePrefixFeaturesOutMixin, KerasTransformer):
    """Embed images as unit-length vectors, near for one class and far for two.

    A convolutional network is trained with the triplet loss: on triplets mined in each batch
    when ``fit`` is given labels, else on clients and impostors selected in the whole unlabelled
    data.

    Parameters
    ----------
    n_components : int, default=10
        Length of the embedding.
    margin : float, default=1.0
        The triplet loss's margin ``mu``, in squared distance (0 to 4). Paper A writes 0.2, but
        its code averages over 10 components, which makes it 2.0.
    miner : {"all", "hard", "random", "semi-hard"}, default="all"
        Which triplets of a labelled batch count, see :func:`skdistort.mining.mine_triplets`.
    samples_per_class : int, default=8
        Samples of a class in a labelled batch, or all of the class if there are fewer; more where
        all classes together would not fill the batch. Samples that are alone in their class are
        negatives only.
    augmentation : {"digits", "photos"}, ImageAugmentation or None, default=None
        How images are changed at random while they are learned from. ``"photos"`` mirrors, moves,
        scales and turns, changes contrast and brightness, and paints over a rectangle in every
        other image: for a few photos a person, of faces that look straight. ``"digits"`` moves,
        scales and turns a little, and leaves what makes one digit another. See
        :class:`skdistort.images.ImageAugmentation`.
    filters : tuple of int, default=(16, 32, 64)
        Convolution maps of each level of the network.
    hidden_units : int, default=128
        Width of the dense layer.
    selection_space : transformer or None, default=None
        Where ``fit`` without labels compares samples by cosine; it is cloned and fitted. It is
        given images ``(n, height, width, channels)`` if its tags say that it takes them
        (``three_d_array``), else flat rows. None means
        ``PCA(n_components=min(32, n_samples, n_features))``.
    n_neighbors : int, default=10
        The most clients, and the most impostors, of one sample in ``fit`` without labels.
    client_threshold : float, default=0.2
        The lowest cosine of a client, in ``fit`` without labels.
    impostor_threshold : float, default=0.0
        The highest cosine of an impostor, in ``fit`` without labels.
    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(height, width, channels)`` of flat rows. None infers it, see
        Notes.
    epochs : int or "auto", default="auto"
        Passes over the data. "auto" makes 10, or as many as come to 500 batches, 700 with
        `augmentation`: a few hundred images need more passes than many thousand.
    batch_size : int, default=120
        Images in a batch, or all if there are fewer.
    learning_rate : float, default=2e-3
        Adam's learning rate at the start. (Paper A: 5e-5, constant.)
    schedule : {"constant", "cosine"}, default="cosine"
        Whether the learning rate stays or falls to zero over the epochs.
    weight_decay : float, default=0.0
        Share by which weights shrink in each step, times the learning rate, apart from the gradient
        (AdamW): regularisation for little data. Biases and normalisations are left out.
    dtype_policy : {"float32", "mixed_bfloat16", "mixed_float16"}, default="float32"
        Precision of the inner layers, as Keras names it. Weights, the last layers, losses and
        results are float32 in any case.
    validation_fraction : float, default=0.0
        Share of the samples held out to watch the loss on.
    patience : int or None, default=None
        Stop after so many epochs without a lower ``"total_hinge"``, on the held-out samples if
        there are any, and go back to the best weights.
    callbacks : list of keras.callbacks.Callback or None, default=None
        Called during training. Those that change the learning rate need ``schedule="constant"``.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the weights, and the pixel scaling, of the last ``fit``.
    verbose : int, default=0
        0 silent, 1 a progress bar, 2 a line an epoch.
    random_state : int, RandomState instance or None, default=None
        Seeds the weights, the batches and the selection.

    Attributes
    ----------
    network_ : StoredNetwork
        The trained network: its configuration and numpy weights. ``network_.model`` is the
        Keras model, which takes images of shape ``(n, *image_shape_)`` in the units of `X`.
    history_ : dict of str to list of float
        An entry an epoch: ``"loss"``, the mean hinge of the triplets of a batch that violate the
        margin, ``"n_active_triplets"``, their number, ``"total_hinge"``, the sum of their
        hinges, and, with `validation_fraction`, the ``"val_"`` ones.
    image_shape_ : tuple of 3 int
        Height, width and channels of the images.
    units_ : dict of str to list of float
        What ``fit`` saw of pixels, to which later images are held: ``"range"``, and, at
        ``"shares"`` of the images, their ``"lowest"``, ``"highest"``, ``"mean"`` and ``"span"``.
    n_features_in_ : int
        Values in an image.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if ``fit`` saw a data frame with string names.

    See Also
    --------
    DistortionGenerator : Distort images so that this embedding is preserved.

    Notes
    -----
    `X` may be flat, ``(n, h, w)`` or ``(n, h, w, c)``. The shape of flat images is
    `image_shape`, else a square if the number of features is one, else one row of pixels.

    Without labels there is one database where paper B's Algorithm 1 has two that share no
    identity; :func:`skdistort.selection.select_clients_and_impostors` says what that changes.

    References
    ----------
    Zakharov, Kuznetsov and Frontoni, "Unrecognizable Yet Identifiable: Image Distortion with
    Preserved Embeddings", sections 2.3, 2.4 and 4.2. Khan and Hernando, "Unsupervised Training
    of Siamese Networks for Speaker Verification", Interspeech 2020, Algorithm 1.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistort import TripletEmbedder
    >>> X, y = load_digits(return_X_y=True)
    >>> embedder = TripletEmbedder(epochs=2, random_state=0).fit(X[:900], y[:900])
    >>> embedder.transform(X[900:]).shape
    (897, 10)
    >>> bool(embedder.score(X[900:], y[900:]) > 0.8)  # 1 - equal error rate
    True
    """

    _parameter_constraints: dict = {
        **TRAINING_CONSTRAINTS,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "margin": [Interval(Real, 0, None, closed="left")],
        "miner": [StrOptions(set(MINERS))],
        "samples_per_class": [Interval(Integral, 2, None, closed="left")],
        "augmentation": [StrOptions(set(PRESETS)), ImageAugmentation, None],
        "epochs": [*TRAINING_CONSTRAINTS["epochs"], StrOptions({"auto"})],
        "filters": ["array-like"],
        "hidden_units": [Interval(Integral, 1, None, closed="left")],
        "selection_space": [HasMethods(["fit", "transform"]), None],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "client_threshold": [Interval(Real, -1, 1, closed="both")],
        "impostor_threshold": [Interval(Real, -1, 1, closed="both")],
    }

    def __init__(
        self,
        n_components=10,
        *,
        margin=1.0,
        miner="all",
        samples_per_class=8,
        augmentation=None,
        filters=(16, 32, 64),
        hidden_units=128,
        selection_space=None,
        n_neighbors=10,
        client_threshold=0.2,
        impostor_threshold=0.0,
        image_shape=None,
        epochs="auto",
        batch_size=120,
        learning_rate=2e-3,
        schedule="cosine",
        weight_decay=0.0,
        dtype_policy="float32",
        validation_fraction=0.0,
        patience=None,
        callbacks=None,
        warm_start=False,
        verbose=0,
        random_state=None,
    ):
        self.n_components = n_components
        self.margin = margin
        self.miner = miner
        self.samples_per_class = samples_per_class
        self.augmentation = augmentation
        self.filters = filters
        self.hidden_units = hidden_units
        self.selection_space = selection_space
        self.n_neighbors = n_neighbors
        self.client_threshold = client_threshold
        self.impostor_threshold = impostor_threshold
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.dtype_policy = dtype_policy
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Train the embedder.

        Parameters
        ----------
        X : array-like, ImageFolder or keras.utils.PyDataset
            Images ``(n_samples, n_features)`` or ``(n_samples, h, w[, c])``, finite, in any unit.
            They stay on disk if they are memory-mapped or in a folder; a dataset gives batches of
            them with their classes.
        y : array-like of shape (n_samples,), default=None
            Classes. None trains without labels, or on those in the batches of a dataset.

        Returns
        -------
        TripletEmbedder
            The fitted estimator.

        Raises
        ------
        ValueError
            If the images or labels do not allow a triplet: fewer than two classes, or no class
            with two samples; without labels, no sample with a client and an impostor.
        FloatingPointError
            If the loss or a weight became NaN or infinite.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If all training images have next to the same embedding.
        """
        images = self._fit(X, y)
        warn_of_collapse(self.network_, images, self.batch_size, stacklevel=3)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Train for one pass over the images, going on from the weights there are.

        The first call starts as ``fit`` does. Later ones keep the pixel scaling of the first; they
        know nothing of earlier images, and Adam's averages of gradients start anew in each.
        `epochs`, `schedule`, `validation_fraction` and `patience` play no part, and nothing warns
        of a collapse.

        Parameters
        ----------
        X : array-like, ImageFolder or keras.utils.PyDataset
            Images, as for ``fit``.
        y : array-like of shape (n_samples,), default=None
            Classes, as for ``fit``; they may be others than before.

        Returns
        -------
        TripletEmbedder
            The fitted estimator.

        Raises
        ------
        ValueError, FloatingPointError
            As ``fit``; also if the images have another shape than before.
        """
        self._fit(X, y, one_pass=True)
        return self

    @all_or_nothing
    def _fit(self, X, y, one_pass=False):
        """Train F, and return the images."""
        reset = not (one_pass and hasattr(self, "network_"))
        images = validate_training_images(self, X, y, reset=reset)
        check_training(self)
        augmentation = as_augmentation(self.augmentation)
        streamed = isinstance(images, ImageStream)
        if streamed and images.with_triplets is None:
            raise ValueError(
                "X is a keras.utils.PyDataset without a y in each of its batches. Without labels "
                "clients and impostors are selected in the whole data: give an array, which may "
                "be memory-mapped, or an ImageFolder."
            )
        labels = None if y is None else encode_classes(images, y)
        rng = self._training_rng(one_pass)
        groups = images.batch_numbers if streamed else None
        training, validation = self._split_rows(images.shape[0], rng, groups, one_pass=one_pass)
        network_rng, batch_rng, validation_rng, loss_rng = (spawn_rng(rng) for _ in range(4))
        loss, options = _labelled_loss, {"miner": self.miner, "seed": None}
        if labels is None and not streamed:
            loss, options = _stacked_loss, {}
            Z = fit_selection_space(self.selection_space, images, loss_rng)
            make_batches = partial(self._triplet_batches, images, Z)
        elif streamed:
            make_batches = partial(StreamedBatches, images, _with_labels, learns=True)
        else:
            make_batches = partial(self._labelled_batches, images, labels)
        pixel_range = tuple(self.units_["range"])
        if options.get("miner") == "random":
            seed = loss_rng.randint(2**31 - 1)
            options["seed"] = keras.random.SeedGenerator(seed, name="miner")
        batches = make_batches(training, rng=batch_rng, redraw=True)
        if augmentation is not None:
            batches = AugmentedBatches(batches, augmentation, pixel_range, batch_rng)
        watched = None
        if validation is not None:
            watched = make_batches(validation, rng=validation_rng, redraw=False)
        network = self._start_network(
            lambda: build_encoder(
                self.image_shape_,
                self.n_components,
                filters=self.filters,
                hidden_units=self.hidden_units,
                pixel_range=pixel_range,
                rng=network_rng,
                dtype=self.dtype_policy,
            ),
            one_pass=one_pass,
        )
        # The loss is a mean over the active triplets and rises as the easy ones drop out.
        self._train(
            network,
            loss,
            ["n_active_triplets", "total_hinge"],
            batches,
            watched,
            monitor="total_hinge",
            options=options,
            settings={"margin": self.margin},
            epochs=_passes(batches) if self.epochs == "auto" else self.epochs,
            one_pass=one_pass,
        )
        self.network_ = StoredNetwork(network)
        self._n_features_out = self.n_components
        return images

    def transform(self, X):
        """Embed images.

        Parameters
        ----------
        X : array-like, ImageFolder or keras.utils.PyDataset
            Images in the units of ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_components), dtype float32
            Embeddings of unit length.
        """
        return self._encode(X)

    def score(self, X, y=None):
        """Score by verification: 1 - equal error rate over all pairs of images.

        Memory grows with the square of the number of images: 4 GB at 30,000 of them.

        Parameters
        ----------
        X : array-like, ImageFolder or keras.utils.PyDataset
            Images.
        y : array-like of shape (n_samples,)
            Classes.

        Returns
        -------
        float
            Between 0 and 1, higher is better; 0.5 is chance.

        Raises
        ------
        ValueError
            If `y` is None or does not make both genuine and impostor pairs.
        """
        if y is None:
            raise ValueError("TripletEmbedder.score needs y: pairs are genuine by their class.")
        labels = column_or_1d(as_labels(y, "y"))
        return 1.0 - equal_error_rate(*pair_scores(self._encode(X), labels))[0]

    def _labelled_batches(self, images, labels, rows, rng, redraw):
        return _batches.IndexedBatches(
            _batches.balanced_draw(labels[rows], self.batch_size, self.samples_per_class),
            lambda batch: (images[rows[batch]], labels[rows[batch]]),
            rng,
            redraw,
        )

    def _triplet_batches(self, images, Z, rows, rng, redraw):
        selection = select_clients_and_impostors(
            Z[rows],
            self.n_neighbors,
            client_threshold=self.client_threshold,
            impostor_threshold=self.impostor_threshold,
        )
        return triplet_batches(
            images, selection, rows, batch_size=self.batch_size, rng=rng, redraw=redraw
        )


def _passes(batches):
    """Tell how many passes over batches "auto" makes."""
    augmented = isinstance(batches, AugmentedBatches)
    fewest = _FEWEST_AUGMENTED if augmented else _FEWEST_BATCHES
    return max(_EPOCHS, -(-fewest // len(batches)))


def _with_labels(images, classes, _):
    return images, encode_classes(images, classes)


def _labelled_loss(labels, embeddings, *, margin, miner, seed):
    loss, n_active = batch_triplet_loss(labels, embeddings, margin, miner, seed)
    return loss, {"n_active_triplets": n_active, "total_hinge": loss * n_active}


def _stacked_loss(_, embeddings, *, margin):
    loss, n_active = stacked_triplet_loss(embeddings, margin)
    n_triplets = keras.ops.cast(keras.ops.shape(embeddings)[0] // 3, loss.dtype)
    return loss, {"n_active_triplets": n_active, "total_hinge": loss * n_triplets}
