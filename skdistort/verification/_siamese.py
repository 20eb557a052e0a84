"""SiameseVerifier: verification of spectrograms or images, trained without labels.

Paper B is Khan and Hernando, "Unsupervised Training of Siamese Networks for Speaker Verification"
(Interspeech 2020). How clients and impostors are chosen is in :mod:`skdistort.selection`, the
networks in :mod:`skdistort.networks`. What learns from labels, for comparison, is
:class:`skdistort.SoftmaxEmbedder`.
"""

from numbers import Integral, Real

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from .._labels import encode_classes
from ..decision._pairs import PairScoringMixin
from ..images._validation import validate_images
from ..networks import build_pair_head, build_vgg_encoder, check_filters
from ..networks._stored import StoredNetwork
from ..selection._rules import select_rows
from ..selection._space import check_selection_vectors, fit_selection_space
from ..training._base import TRAINING_CONSTRAINTS, KerasTransformer, all_or_nothing, check_training
from ..training._batches import AugmentedBatches, spawn_rng, split_rows, triplet_batches
from ..training._collapse import warn_of_collapse
from ._branches import (
    BranchComparison,
    margin_loss,
    pair_loss,
    score_by_cosine,
    score_by_head,
    score_models_by_cosine,
    score_models_by_head,
)
from ._spectrograms import (
    AUGMENTATION_CONSTRAINTS,
    as_any_augmentation,
    embed_crops,
    refuse_without_variation,
)


class SiameseVerifier(PairScoringMixin, ClassNamePrefixFeaturesOutMixin, KerasTransformer):
    """Tell whether two spectrograms, or images, are of one identity, without labels to learn from.

    For every sample, clients and impostors are chosen by nearest neighbours in a selection space,
    such as that of i-vectors. A network is trained on them: with three branches by the triplet
    loss, pairs being scored by cosine, or with two branches by binary cross-entropy, pairs being
    scored by a head on top. With labels, clients and impostors are chosen by class.

    Parameters
    ----------
    n_components : int, default=64
        Length of the embedding. (Paper B: 400.)
    mode : {"triple", "double"}, default="triple"
        Branches of the network in training.
    margin : float, default=0.8
        The triplet loss's margin, in squared distance; for "triple".
    filters : tuple of int, default=(16, 32, 64)
        Convolution maps of each level. (Paper B: 128, 256, 512.)
    hidden_units : int, default=128
        Width of the dense layer before the embedding. (Paper B: 1024.)
    head_units : tuple of int, default=(128, 64, 32, 16)
        Widths of the layers that compare two embeddings, before the last; for "double". (Paper
        B: five layers in all, widths not stated.)
    selection_space : transformer or None, default=None
        Where samples are compared by cosine to choose clients and impostors; cloned, and fitted
        on all samples. It is given images ``(n, height, width, channels)`` if its tags say that
        it takes them (``three_d_array``), else flat rows. For speech:
        ``make_pipeline(CepstralCoefficients(), IVectorExtractor())``. None means
        ``PCA(n_components=min(32, n_samples, n_features))``.
    n_neighbors : int, default=10
        The most clients and the most impostors of one sample, k.
    client_threshold : float, default=0.2
        The lowest cosine of a client. Samples that are left without a client or without an impostor
        are not learned from; if none is left, ``fit`` raises.
    impostor_threshold : float, default=0.0
        The lowest cosine of an impostor from a second database. Within one database, where the
        nearest samples are clients, the highest cosine instead: see Notes.
    impostor_fraction : float or None, default=None
        Share of the samples, or of the groups where ``fit`` is given some, drawn as the second
        database. None keeps one database. Without effect beside an `impostor_database`.
    use_labels : bool, default=True
        Whether ``fit`` learns from `y` where it is given, which then stands in for both thresholds
        and `impostor_fraction`. False leaves `y` to ``score``: for a search over settings of the
        training without labels, judged by labels.
    augmentation : None, SpeechAugmentation, ImageAugmentation or str, default=None
        How training samples are changed at random, anew in each epoch: "speech" stands for
        crops of two thirds of the frames or more, mild noise and masks, "digits" and "photos" for
        what :class:`~skdistort.TripletEmbedder` means by them.
    n_crops : int, default=1
        What is embedded after training: the whole sample, or, if more than 1, so many stretches of
        half its width, evenly spaced, each repeated to the whole width; their mean is the
        embedding.
    image_shape : tuple of int or None, default=None
        ``(height, width)`` or ``(height, width, channels)`` of flat rows; the width is time.
    epochs : int, default=20
        Passes over the samples. (Paper B: up to 500.)
    batch_size : int, default=120
        Samples in a batch, a third of them anchors. (Paper B: 35.)
    learning_rate : float, default=1e-3
        Adam's learning rate at the start. (Paper B: 1e-4, constant.)
    schedule : {"constant", "cosine"}, default="cosine"
        Whether the learning rate stays or falls to zero over the epochs.
    weight_decay : float, default=0.0
        Share by which weights shrink in each step, times the learning rate, apart from the gradient
        (AdamW): regularisation for little data. Biases and normalisations are left out.
    dtype_policy : {"float32", "mixed_bfloat16", "mixed_float16"}, default="float32"
        Precision of the inner layers, as Keras names it. Weights, the last layers, losses and
        results are float32 in any case.
    validation_fraction : float, default=0.0
        Share of the samples, and of a second database, held out to watch the loss on.
    patience : int or None, default=None
        Stop after so many epochs without a lower loss, on the held-out samples if there are any,
        and go back to the best weights. (Paper B: 5.)
    callbacks : list of keras.callbacks.Callback or None, default=None
        Called during training. Those that change the learning rate need ``schedule="constant"``.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the weights of the last ``fit``.
    verbose : int, default=0
        0 silent, 1 a progress bar, 2 a line an epoch.
    random_state : int, RandomState instance or None, default=None
        Seeds the weights, the batches, the selection and the second database.

    Attributes
    ----------
    network_ : StoredNetwork
        The trained encoder: its configuration and numpy weights.
    head_ : StoredNetwork
        The trained head of "double".
    history_ : dict of str to list of float
        An entry an epoch: ``"loss"``, ``"n_active_triplets"`` (triple) or ``"accuracy"`` of the
        chosen pairs (double), and with `validation_fraction` the ``"val_"`` ones.
    n_anchors_ : int
        How many samples have both a client and an impostor: what ``fit`` learns from.
    threshold_ : float
        Where :meth:`verify` decides, after :meth:`calibrate_threshold`.
    calibration_ : ScoreFusion
        How :meth:`verify_proba` reads scores, after :meth:`calibrate_probability`.
    image_shape_ : tuple of 3 int
        Height, width and channels of the samples.
    units_ : dict of str to list of float
        What ``fit`` saw of pixels, to which later images are held: ``"range"``, and, at
        ``"shares"`` of the images, their ``"lowest"``, ``"highest"``, ``"mean"`` and ``"span"``.
    n_features_in_ : int
        Values in a sample.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if ``fit`` saw a data frame with string names.

    See Also
    --------
    skdistort.fusion.ScoreFusion : Fuse the scores of several verifiers.

    Notes
    -----
    Paper B takes impostors from a second database that shares no speaker with the first, where
    the nearest samples are the hardest impostors: give it as `impostor_database` to ``fit``. All
    impostors being from there, a network can learn to tell the databases apart rather than to
    compare, and "double" easily does. A second database drawn from the samples themselves
    (`impostor_fraction`) is moreover only as good as its groups: where an identity is on both
    sides, the nearest impostors are clients.

    The concatenation of two embeddings is not symmetric; "double" learns, and scores, both
    orders and averages their log-odds.

    References
    ----------
    Paper B, Algorithm 1, section 2.2 and eq. 1.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistort import SiameseVerifier
    >>> X, y = load_digits(return_X_y=True)
    >>> verifier = SiameseVerifier(epochs=2, filters=(8, 16), random_state=0).fit(X[:900])
    >>> verifier.pair_score(X[900:905], X[905:910]).shape
    (5,)
    >>> bool(verifier.score(X[900:], y[900:]) > 0.7)  # 1 - equal error rate
    True
    """

    _parameter_constraints: dict = {
        **TRAINING_CONSTRAINTS,
        **AUGMENTATION_CONSTRAINTS,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "mode": [StrOptions({"double", "triple"})],
        "margin": [Interval(Real, 0, None, closed="left")],
        "filters": ["array-like"],
        "hidden_units": [Interval(Integral, 1, None, closed="left")],
        "head_units": ["array-like"],
        "selection_space": [HasMethods(["fit", "transform"]), None],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "client_threshold": [Interval(Real, -1, 1, closed="both")],
        "impostor_threshold": [Interval(Real, -1, 1, closed="both")],
        "impostor_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "use_labels": ["boolean"],
    }

    def __init__(
        self,
        n_components=64,
        *,
        mode="triple",
        margin=0.8,
        filters=(16, 32, 64),
        hidden_units=128,
        head_units=(128, 64, 32, 16),
        selection_space=None,
        n_neighbors=10,
        client_threshold=0.2,
        impostor_threshold=0.0,
        impostor_fraction=None,
        use_labels=True,
        augmentation=None,
        n_crops=1,
        image_shape=None,
        epochs=20,
        batch_size=120,
        learning_rate=1e-3,
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
        self.mode = mode
        self.margin = margin
        self.filters = filters
        self.hidden_units = hidden_units
        self.head_units = head_units
        self.selection_space = selection_space
        self.n_neighbors = n_neighbors
        self.client_threshold = client_threshold
        self.impostor_threshold = impostor_threshold
        self.impostor_fraction = impostor_fraction
        self.use_labels = use_labels
        self.augmentation = augmentation
        self.n_crops = n_crops
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
    @all_or_nothing
    def fit(
        self,
        X,
        y=None,
        groups=None,
        impostor_database=None,
        selection_vectors=None,
        impostor_vectors=None,
    ):
        """Choose clients and impostors, and train on them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Spectrograms or images, finite.
        y : array-like of shape (n_samples,), default=None
            Identities. None trains without labels, as does ``use_labels=False``.
        groups : array-like of shape (n_samples,), default=None
            Recordings or sessions, never two identities in one. Neither a client nor an impostor
            is of the sample's own group, and groups stay whole where samples are split.
        impostor_database : array-like of the shape of an X, default=None
            Samples of identities of which none is in `X`: impostors, in training without labels.
        selection_vectors : array-like of shape (n_samples, d), default=None
            `X` where clients and impostors are chosen, centred, in place of `selection_space`:
            i-vectors made elsewhere, or from what `X` no longer holds.
        impostor_vectors : array-like of shape (n_impostors, d), default=None
            Likewise `impostor_database`; with `selection_vectors` only.

        Returns
        -------
        SiameseVerifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If no sample has both a client and an impostor; if a spectrogram has no band that
            varies over time, as that of silence; if labels come with an
            `impostor_database`; if that has samples of another shape; if vectors are not one
            for each sample, or not of one length.
        FloatingPointError
            If the loss or a weight became NaN or infinite.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If all samples have next to the same embedding.
        """
        images, _ = validate_images(self, X, reset=True)
        refuse_without_variation(images)
        check_training(self)
        augmentation = as_any_augmentation(self.augmentation)
        check_filters(self.head_units, name="head_units")
        groups = None if groups is None else encode_classes(images, groups, name="groups")
        labels = None if y is None or not self.use_labels else encode_classes(images, y)
        others = None
        if impostor_database is not None:
            if labels is not None:
                raise ValueError("impostor_database is for training without labels; y was given.")
            others, _ = validate_images(self, impostor_database, reset=False)
            refuse_without_variation(others, name="impostor_database")
        n_others = None if others is None else len(others)
        Z = check_selection_vectors(selection_vectors, impostor_vectors, len(images), n_others)
        rng = check_random_state(self.random_state)
        rows, held_out = self._split_rows(len(images), rng, groups)
        network_rng, batch_rng, validation_rng, space_rng = (spawn_rng(rng) for _ in range(4))
        learned, watched = self._split_databases(rows, held_out, n_others, labels, groups, rng)
        if others is not None:
            images = np.concatenate([images[:], others[:]])
        if Z is None:
            Z = fit_selection_space(self.selection_space, images, space_rng)

        def make_batches(databases, rng, redraw):
            rows, impostor_rows = databases
            selection = select_rows(
                Z,
                rows,
                impostor_rows,
                labels=labels,
                groups=groups,
                k=self.n_neighbors,
                client_threshold=self.client_threshold,
                impostor_threshold=self.impostor_threshold,
            )
            if impostor_rows is not None:
                rows = np.concatenate([rows, impostor_rows])
            batches = triplet_batches(
                images, selection, rows, batch_size=self.batch_size, rng=rng, redraw=redraw
            )
            return batches, len(selection[0])

        batches, self.n_anchors_ = make_batches(learned, batch_rng, redraw=True)
        if augmentation is not None:
            pixel_range = tuple(self.units_["range"])
            batches = AugmentedBatches(batches, augmentation, pixel_range, batch_rng)
        validation = None
        if watched is not None:
            try:
                validation, _ = make_batches(watched, validation_rng, redraw=False)
            except ValueError as error:
                raise ValueError(
                    f"The {len(watched[0])} samples that validation_fraction="
                    f"{self.validation_fraction} holds out cannot be watched: {error}"
                ) from error
        self._forget_calibration()
        encoder = self._start_network(
            lambda: build_vgg_encoder(
                self.image_shape_,
                self.n_components,
                filters=self.filters,
                hidden_units=self.hidden_units,
                unit_length=self.mode == "triple",
                rng=network_rng,
                dtype=self.dtype_policy,
            )
        )
        if self.mode == "triple":
            head, network, loss = None, encoder, margin_loss
            part, settings = "n_active_triplets", {"margin": self.margin}
        else:
            head = self._start_network(
                lambda: build_pair_head(
                    self.n_components,
                    units=self.head_units,
                    rng=network_rng,
                    dtype=self.dtype_policy,
                ),
                "head_",
            )
            network, loss = BranchComparison(encoder, head), pair_loss
            part, settings = "accuracy", {}
        self._train(network, loss, [part], batches, validation, monitor="loss", settings=settings)
        self.network_ = StoredNetwork(encoder)
        self.head_ = None if head is None else StoredNetwork(head)
        self._n_features_out = self.n_components
        warn_of_collapse(self.network_, images, self.batch_size, stacklevel=4)
        return self

    def transform(self, X):
        """Embed samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Samples, in the units of ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_components), dtype float32
            Embeddings: of unit length if trained as "triple".
        """
        return self._encode(X)

    def _embed(self, images, first):
        refuse_without_variation(images, first)
        return embed_crops(
            self.network_, images, self.batch_size, self.n_crops, unit_length=self.mode == "triple"
        )

    def _score_codes(self, codes, left, right):
        if self.head_ is None:
            return score_by_cosine(codes, left, right)
        return score_by_head(self.head_, codes, left, right)

    def _score_models(self, codes, models, probes):
        if self.head_ is None:
            return score_models_by_cosine(codes, models, probes)
        return score_models_by_head(self.head_, codes, models, probes)

    def _split_databases(self, rows, held_out, n_others, labels, groups, rng):
        """Tell the rows of the two databases of Algorithm 1, to learn from and to watch.

        Parameters
        ----------
        rows : ndarray of int
            Samples to learn from.
        held_out : ndarray of int or None
            Samples to watch.
        n_others : int or None
            How many samples of a second database follow all of those; None where there is none.
        labels, groups : ndarray of shape (n_samples,) or None
            Class and group of each sample.
        rng : numpy.random.RandomState
            Source of randomness.

        Returns
        -------
        learned : tuple of ndarray and ndarray or None
            Rows of the first database, and those of the second, if there are two.
        watched : tuple of ndarray and ndarray or None, or None
            Likewise what is held out.
        """
        impostor_rows = held_out_impostors = None
        if n_others is not None:
            n_samples = len(rows) + (0 if held_out is None else len(held_out))
            impostor_rows = np.arange(n_samples, n_samples + n_others)
        elif labels is None and self.impostor_fraction is not None:
            rows, impostor_rows = self._split_off("impostor_fraction", rows, groups, rng)
        if impostor_rows is not None and held_out is not None:
            of_impostors = groups if n_others is None else None
            impostor_rows, held_out_impostors = self._split_off(
                "validation_fraction", impostor_rows, of_impostors, rng
            )
        watched = None if held_out is None else (held_out, held_out_impostors)
        return (rows, impostor_rows), watched

    def _split_off(self, parameter, rows, groups, rng):
        """Split rows by the fraction that a parameter holds; both parts have some."""
        fraction = getattr(self, parameter)
        parts = split_rows(rows, fraction, groups, rng)
        if min(map(len, parts)) == 0:
            raise ValueError(
                f"{parameter}={fraction} splits {len(rows)} samples into {len(parts[0])} and "
                f"{len(parts[1])}; both need some."
            )
        return parts
