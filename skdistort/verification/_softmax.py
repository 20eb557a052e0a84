"""SoftmaxEmbedder: paper B's supervised comparisons, which learn by classifying identities.

Paper B is Khan and Hernando, "Unsupervised Training of Siamese Networks for Speaker Verification"
(Interspeech 2020). The verifier they are compared with is :class:`skdistort.SiameseVerifier`; the
i-vector systems are in :mod:`skdistort.ivector` and :mod:`skdistort.plda`.
"""

from functools import partial
from numbers import Integral, Real

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import column_or_1d

from .._backend import keras
from .._labels import encode_classes
from ..decision._pairs import PairScoringMixin
from ..images._validation import validate_images
from ..losses import aam_softmax_loss, am_softmax_loss, cross_entropy
from ..networks import build_vgg_encoder
from ..networks._stored import StoredNetwork
from ..training import _batches
from ..training._base import TRAINING_CONSTRAINTS, KerasTransformer, all_or_nothing, check_training
from ..training._batches import spawn_rng
from ..training._collapse import warn_of_collapse
from ._branches import score_by_cosine, score_models_by_cosine
from ._spectrograms import (
    AUGMENTATION_CONSTRAINTS,
    as_any_augmentation,
    embed_crops,
    refuse_without_variation,
)

_LOSSES = {
    "aam_softmax": aam_softmax_loss,
    "am_softmax": am_softmax_loss,
    "softmax": cross_entropy,
}


class SoftmaxEmbedder(PairScoringMixin, ClassNamePrefixFeaturesOutMixin, KerasTransformer):
    """Embed spectrograms, or images, by a network that learned to classify identities.

    The encoder is that of :class:`skdistort.SiameseVerifier`; pairs are scored by the cosine of
    their embeddings.

    Parameters
    ----------
    n_components : int, default=64
        Length of the embedding. (Paper B: 400.)
    loss : {"aam_softmax", "am_softmax", "softmax"}, default="am_softmax"
        Softmax with an additive margin on angles, on cosines, or the plain one.
    scale : float, default=30.0
        Factor of the cosines, but in "softmax".
    margin : float, default=0.2
        Margin of "am_softmax", in cosine, or of "aam_softmax", in radians.
    filters : tuple of int, default=(16, 32, 64)
        Convolution maps of each level. (Paper B: 128, 256, 512.)
    hidden_units : int, default=128
        Width of the dense layer before the embedding. (Paper B: 1024.)
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
        Passes over the samples.
    batch_size : int, default=64
        Samples in a batch.
    learning_rate : float, default=1e-3
        Adam's learning rate at the start.
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
        Stop after so many epochs without a lower loss, on the held-out samples if there are any,
        and go back to the best weights.
    callbacks : list of keras.callbacks.Callback or None, default=None
        Called during training. Those that change the learning rate need ``schedule="constant"``.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the encoder of the last ``fit``.
    verbose : int, default=0
        0 silent, 1 a progress bar, 2 a line an epoch.
    random_state : int, RandomState instance or None, default=None
        Seeds the weights and the batches.

    Attributes
    ----------
    network_ : StoredNetwork
        The trained encoder: its configuration and numpy weights.
    history_ : dict of str to list of float
        An entry an epoch: ``"loss"`` and ``"accuracy"``, and with `validation_fraction` the
        ``"val_"`` ones.
    classes_ : ndarray of shape (n_classes,)
        The identities learned from.
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
    SiameseVerifier : The same encoder, trained without labels.

    References
    ----------
    Paper B, section 3. Wang, Cheng, Liu and Liu, "Additive margin softmax for face verification",
    IEEE Signal Processing Letters 25 (2018). Deng, Guo, Xue and Zafeiriou, "ArcFace: additive
    angular margin loss for deep face recognition", CVPR 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistort.verification import SoftmaxEmbedder
    >>> X, y = load_digits(return_X_y=True)
    >>> embedder = SoftmaxEmbedder(epochs=2, filters=(8, 16), random_state=0).fit(X[:900], y[:900])
    >>> bool(embedder.score(X[900:], y[900:]) > 0.7)  # 1 - equal error rate
    True
    """

    _parameter_constraints: dict = {
        **TRAINING_CONSTRAINTS,
        **AUGMENTATION_CONSTRAINTS,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "loss": [StrOptions(set(_LOSSES))],
        "scale": [Interval(Real, 0, None, closed="neither")],
        "margin": [Interval(Real, 0, None, closed="left")],
        "filters": ["array-like"],
        "hidden_units": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_components=64,
        *,
        loss="am_softmax",
        scale=30.0,
        margin=0.2,
        filters=(16, 32, 64),
        hidden_units=128,
        augmentation=None,
        n_crops=1,
        image_shape=None,
        epochs=20,
        batch_size=64,
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
        self.loss = loss
        self.scale = scale
        self.margin = margin
        self.filters = filters
        self.hidden_units = hidden_units
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
    def fit(self, X, y):
        """Train the encoder to classify the identities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Spectrograms or images, finite.
        y : array-like of shape (n_samples,)
            Identities, at least two.

        Returns
        -------
        SoftmaxEmbedder
            The fitted estimator.

        Raises
        ------
        ValueError
            If there is no `y`, it holds one identity only, or a spectrogram has no band that varies
            over time, as that of silence.
        FloatingPointError
            If the loss or a weight became NaN or infinite.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If all samples have next to the same embedding.
        """
        if y is None:
            raise ValueError("SoftmaxEmbedder requires y to be passed, but the target y is None.")
        images, _ = validate_images(self, X, reset=True)
        refuse_without_variation(images)
        check_training(self)
        augmentation = as_any_augmentation(self.augmentation)
        y = column_or_1d(y, warn=True)
        labels = encode_classes(images, y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError("SoftmaxEmbedder needs at least two classes, y holds 1 class.")
        rng = check_random_state(self.random_state)
        rows, validation = self._split_rows(len(images), rng)
        network_rng, batch_rng, validation_rng = (spawn_rng(rng) for _ in range(3))

        def make_batches(rows, rng, redraw):
            return _batches.IndexedBatches(
                partial(_batches.draw_shuffled, n_samples=len(rows), batch_size=self.batch_size),
                lambda batch: (images[rows[batch]], labels[rows[batch]]),
                rng,
                redraw,
            )

        batches = make_batches(rows, batch_rng, redraw=True)
        if augmentation is not None:
            pixel_range = tuple(self.units_["range"])
            batches = _batches.AugmentedBatches(batches, augmentation, pixel_range, batch_rng)
        watched = None
        if validation is not None:
            watched = make_batches(validation, validation_rng, redraw=False)
        self._forget_calibration()
        encoder = self._start_network(
            lambda: build_vgg_encoder(
                self.image_shape_,
                self.n_components,
                filters=self.filters,
                hidden_units=self.hidden_units,
                unit_length=True,
                rng=network_rng,
                dtype=self.dtype_policy,
            )
        )
        seed = network_rng.randint(2**31 - 1)
        if self.loss != "softmax":
            logits = CosineLogits(len(self.classes_), seed)(encoder.output)
            settings = {"scale": self.scale, "margin": self.margin}
        else:
            # The layer before unit length is what a plain softmax classifies.
            codes = encoder.layers[-2].output
            initializer = keras.initializers.GlorotUniform(seed)
            logits = keras.layers.Dense(
                len(self.classes_), kernel_initializer=initializer, dtype="float32", name="logits"
            )(codes)
            settings = {}
        self._train(
            keras.Model(encoder.input, logits),
            _classification_loss,
            ["accuracy"],
            batches,
            watched,
            monitor="loss",
            options={"loss": self.loss},
            settings=settings,
        )
        self.network_ = StoredNetwork(encoder)
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
            Embeddings of unit length.
        """
        return self._encode(X)

    def _embed(self, images, first):
        refuse_without_variation(images, first)
        return embed_crops(self.network_, images, self.batch_size, self.n_crops, unit_length=True)

    def _score_codes(self, codes, left, right):
        return score_by_cosine(codes, left, right)

    def _score_models(self, codes, models, probes):
        return score_models_by_cosine(codes, models, probes)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


@keras.saving.register_keras_serializable(package="skdistort")
class CosineLogits(keras.layers.Layer):
    """Cosines of unit vectors and learned class centres.

    Parameters
    ----------
    n_classes : int
        How many centres there are.
    seed : int
        Seeds the centres.
    """

    def __init__(self, n_classes, seed):
        super().__init__(dtype="float32", name="logits")
        self.n_classes = n_classes
        self.seed = seed

    def build(self, input_shape):
        """Make the centres."""
        self.centres = self.add_weight(
            shape=(input_shape[-1], self.n_classes),
            initializer=keras.initializers.GlorotUniform(self.seed),
            name="centres",
        )

    def get_config(self):
        """Tell what the layer was made with."""
        return {"n_classes": self.n_classes, "seed": self.seed}

    def call(self, x):
        """Multiply by the centres, scaled to unit length."""
        return keras.ops.matmul(x, keras.ops.normalize(self.centres, axis=0))


def _classification_loss(labels, logits, *, loss, **settings):
    labels = keras.ops.reshape(labels, (-1,))
    right = keras.ops.equal(keras.ops.cast(keras.ops.argmax(logits, axis=1), labels.dtype), labels)
    values = _LOSSES[loss](labels, logits, **settings)
    return keras.ops.mean(values), {"accuracy": keras.ops.mean(keras.ops.cast(right, values.dtype))}
