"""DistortionGenerator: images that people cannot recognise and an embedder still can.

How G is put before F and held to its loss is in `_training`, what it learns from in `_batches`,
what may be F in `_embedder`, and what became of an image in `_comparison`.
"""

import warnings
from functools import partial
from math import prod
from numbers import Integral, Real

import numpy as np
from sklearn.base import OneToOneFeatureMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._backend import keras
from .._labels import encode_classes
from ..decision._pairs import refuse_without_length
from ..distances import IMAGE_DISTANCES, check_image_distance
from ..images._arrays import validate_array
from ..images._layout import (
    check_pixel_range,
    for_output,
    from_unit_range,
    restore_layout,
    to_unit_range,
)
from ..images._sources import fill, is_stored, joined, pieces, some_images
from ..images._streams import ImageStream
from ..images._units import units_unchecked
from ..images._validation import load_images, validate_training_images
from ..keys import HiddenParameter, check_keys, rotate_embeddings
from ..networks._stored import StoredNetwork
from ..training._base import (
    TRAINING_CONSTRAINTS,
    KerasTransformer,
    all_or_nothing,
    check_training,
)
from ..training._batches import spawn_rng
from ..training._collapse import warn_of_collapse
from ._batches import indexed_batches, streamed_batches
from ._comparison import DistortionComparison, diagnose_distortion, overall_score
from ._directions import filled_directions, fills_no_others
from ._embedder import check_embedder, fit_embedder, try_embedder
from ._refinement import refine_templates
from ._training import (
    TrainingCase,
    build_adversary,
    build_generator,
    build_training_network,
    generator_loss,
)

# Enough to measure shares to a few per cent, few enough to cost nothing beside the training; of
# large images as many as 16 MB hold, but some.
_N_DIAGNOSED, _DIAGNOSED_VALUES, _FEWEST_DIAGNOSED = 256, 2**22, 8
# Images that an embedder is tried on before the training.
_N_TRIED = 16
# Images of a stream, of which nobody knows how many there are, whose embeddings tell directions,
# and images that tell whether there are others.
_N_SPANNING, _N_SPREAD = 1024, 128
# A renewal's error stays in all later ones, and nobody waits for it at a counter.
_RENEWING = 3


class DistortionGenerator(OneToOneFeatureMixin, KerasTransformer):
    """Distort images beyond recognition while an embedder still identifies them.

    A generator G is trained so that ``G(X)`` lies far from ``X`` as an image and, under a frozen
    embedder F, ``F(G(X))`` lies near ``F(X)``. ``transform`` gives the distorted images, which
    can be stored as templates: a later probe is compared by embedding, without decryption.

    Parameters
    ----------
    embedder : estimator, keras model or layer, torch module, path or None, default=None
        The embedder F. None trains a :class:`TripletEmbedder` on the data given to ``fit``, with
        the labels if there are any; a ``TripletEmbedder``, :class:`SoftmaxEmbedder` or
        :class:`SiameseVerifier` is cloned and trained so; wrap a fitted one in
        :class:`sklearn.frozen.FrozenEstimator` to use it as it is. A Keras model or layer, or the
        path of a ``.keras`` or ``.onnx`` file, takes images ``(n, height, width, channels)`` in the
        units of `X` and is used as it is, in inference mode; so is, with the PyTorch backend, a
        ``torch.nn.Module``, which takes ``(n, channels, height, width)``. `alpha` takes embeddings
        to have unit length. The user guide's page on embedders has more.
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
    architecture : {"bottleneck", "unet"}, default="bottleneck"
        ``"bottleneck"`` sees F(X) only, so that a template tells no more than the embedding does.
        ``"unet"`` is paper A's: it sees the image, and its skip connections leak it, so that a
        ridge regression undoes its templates; see :func:`skdistort.metrics.distortion_report`.
    key : int, bytes or None, default=None
        With a key the template of an image is made so that F(G(X)) lies near R F(X), where R is
        the orthogonal map that the key determines, and probes are compared by R F(X), which
        ``embed_probe`` gives. The training does not depend on which key it is: a new one, set by
        ``set_params`` or given to ``transform``, makes new templates with no new training. A U-Net
        takes none. An int is at least 0; one that can be guessed is no secret.
    adversary_weight : float, default=0.0
        Weight against the other terms of a U-Net that learns along to reconstruct images from
        templates, by mean squared error; G learns to make that error large. 0 does without.
    train_embedder : bool, default=False
        Whether the embedder, once trained or given, goes on learning together with G, by the
        triplet loss, from the classes. What was given as `embedder` does not change.
    refinement_steps : int, default=20
        Steps of gradient descent by which each template, once G has made it, is moved until F
        sees in it what it has to see. It is used wherever templates are made, so that another
        number needs no new ``fit``; 0 leaves what G gives, as in paper A. More steps leave less
        of an error, which adds up where templates are renewed: a renewal takes three times as
        many. A step costs a forward and a backward pass through F.
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
    weight_decay : float, default=0.0
        Share by which weights shrink in each step, times the learning rate, apart from the gradient
        (AdamW): regularisation for little data. Biases and normalisations are left out.
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
        ``"embedding_distance"`` (mean squared distance of what F sees in templates and what it
        should, to fall to `alpha`: F(X), which a bottleneck learns from in mixtures, or directions
        drawn at random if there is a key),
        ``"adversary_distance"`` (the adversary's mean squared error) and ``"triplet_loss"`` (of
        the embedder) where these learn, and with `validation_fraction` the ``"val_"`` ones.
    keyed_ : bool
        Whether the generator was fitted with a key.
    directions_ : tuple of (ndarray of shape (m, m), int) or None
        Where F puts all images in few directions, at most half of all, as that of ten classes
        does in nine: orthonormal columns, and how many of the first ones hold 99 % of the squared
        length. A key turns these among themselves, and so the others, as images reach no others.
        None where it turns all, where F learns along, and without a key.
    pixel_range_ : tuple of 2 float
        The range in use.
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
    TripletEmbedder : The embedder.
    skdistort.metrics.distortion_report : What templates hide, beside trivial ones.

    Notes
    -----
    Without a key, as in paper A, an image always gives the same template, a template cannot be
    revoked, and since F(G(X)) is near F(X) a stolen template passes as a probe, the more surely the
    more steps of refinement it had. The parameter `key` is not shown, and ``save`` leaves it out
    unless it is asked for; a pickle holds it.

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

    key = HiddenParameter()

    _parameter_constraints: dict = {
        **TRAINING_CONSTRAINTS,
        "embedder": "no_validation",
        "alpha": [Interval(Real, 0, None, closed="left")],
        "pi_emb": [Interval(Real, 0, 1, closed="both")],
        "distance": [StrOptions(set(IMAGE_DISTANCES)), callable],
        "architecture": [StrOptions({"bottleneck", "unet"})],
        "key": [Interval(Integral, 0, None, closed="left"), bytes, None],
        "adversary_weight": [Interval(Real, 0, None, closed="left")],
        "train_embedder": ["boolean"],
        "refinement_steps": [Interval(Integral, 0, None, closed="left")],
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
        architecture="bottleneck",
        key=None,
        adversary_weight=0.0,
        train_embedder=False,
        refinement_steps=20,
        filters=(16, 32, 64),
        image_shape=None,
        pixel_range="auto",
        epochs=10,
        batch_size=64,
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
        self.embedder = embedder
        self.alpha = alpha
        self.pi_emb = pi_emb
        self.distance = distance
        self.architecture = architecture
        self.key = key
        self.adversary_weight = adversary_weight
        self.train_embedder = train_embedder
        self.refinement_steps = refinement_steps
        self.filters = filters
        self.image_shape = image_shape
        self.pixel_range = pixel_range
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
            If the templates of training images show a failure that ``diagnose`` names: that they
            still look like the images, or that no template reaches the embeddings asked for; or if
            an embedder that learned along gives all of them next to the same embedding.

        Notes
        -----
        Without a `key` nothing warns of what holds always: a stolen template passes as a probe,
        and refinement makes it the better one.
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

    def transform(self, X, keys=None, out=None):
        """Distort images.

        Parameters
        ----------
        X : array-like, ImageFolder or keras.utils.PyDataset
            Images ``(n_samples, n_features)`` or ``(n_samples, h, w[, c])``, in the units of
            ``fit``.
        keys : int, bytes or sequence of these, default=None
            For a keyed generator, one key for all images or one for each; None takes the
            parameter `key`.
        out : ndarray of the shape of X, dtype float32, default=None
            Where the distorted images go, such as what ``numpy.lib.format.open_memmap`` gives for
            more than memory holds. None makes a new array.

        Returns
        -------
        ndarray of the shape of X, dtype float32
            Distorted images G(X), within `pixel_range_`: `out`, if it is given, unless
            ``set_output`` asks for a data frame.

        Raises
        ------
        ValueError
            If the images have another shape than in ``fit``, or leave an explicit `pixel_range`;
            if there are keys and the generator was fitted without, or none and it needs them, or
            there is not one for each image; if `out` has not the shape of `X`.
        TypeError
            If a key is neither an int nor bytes, or `out` is no writable array of float32.
        """
        parts = (
            self._in_layout(self._distort(images, keys_of_images), layout)
            for images, layout, keys_of_images in self._each_piece(X, keys)
        )
        return for_output(self, joined(parts) if out is None else fill(out, parts, X))

    def embed(self, X):
        """Embed images, plain or distorted, by the embedder F. No key takes part.

        Parameters
        ----------
        X : array-like, ImageFolder or keras.utils.PyDataset
            Images, in the units of ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, m), dtype float32
            Embeddings F(X).
        """
        # Templates, and what they are compared with, may look like no image that fit saw.
        pieces = self._each_piece(X, units="refusals")
        return joined(self._embed(images) for images, *_ in pieces)

    def embed_probe(self, X, keys=None):
        """Embed undistorted images as what templates are compared with.

        Parameters
        ----------
        X : array-like, ImageFolder or keras.utils.PyDataset
            Images, in the units of ``fit``.
        keys : int, bytes or sequence of these, default=None
            As for ``transform``: the keys of the templates that the probes claim to match.

        Returns
        -------
        ndarray of shape (n_samples, m), dtype float32
            R_key F(X), near F(G(X)) under the same key; F(X) if the generator has no key.
        """
        probes = joined(
            self._under_keys(self._embed(images), keys_of_images)
            for images, _, keys_of_images in self._each_piece(X, keys)
        )
        refuse_without_length(probes)
        return probes

    def compare(self, X):
        """Distort images and put all that measures look at side by side.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Images, in the units of ``fit``.

        Returns
        -------
        DistortionComparison
            Images and templates with pixels in ``[0, 1]``, and the embeddings of both, those of
            the images as ``embed_probe`` gives them.
        """
        return self._compare(self._load(X)[0])

    def score(self, X, y=None):
        """Score by what the templates keep and what they hide, whatever the loss's weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Images, 20 at least.
        y : array-like of shape (n_samples,), default=None
            Classes. Without them an image is matched to its own template and to the others'.

        Returns
        -------
        float
            Harmonic mean, in ``[0, 1]``, of identifiability (1 - 2 EER of plain probes against
            distorted templates), dissimilarity (1 - mean absolute Pearson correlation of images
            and templates) and the resistance to a fast inversion (the share of the images'
            variance that a ridge regression does not get from templates), the scorers of
            :mod:`skdistort.scoring`.

        Raises
        ------
        ValueError
            If there are fewer than 20 images, of which no regression learns enough.
        """
        return overall_score(self.compare(X), y)

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
        return self._diagnose(self._load(X)[0])

    def reissue(self, templates, old_keys, new_keys):
        """Make templates under new keys from templates, without the images.

        Parameters
        ----------
        templates : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            What ``transform`` gave under `old_keys`.
        old_keys, new_keys : int, bytes or sequence of these
            One key for all templates or one for each.

        Returns
        -------
        ndarray of the shape of `templates`, dtype float32
            Near to what ``transform`` would give under `new_keys`; the error of F(G(X)) adds up
            from one reissue to the next.

        Raises
        ------
        ValueError
            If the generator was fitted without a key, or as in ``transform``.
        TypeError
            If a key is neither an int nor bytes.
        """
        with units_unchecked():
            images, layout = self._load(templates)
        for keys in (old_keys, new_keys):
            self._check_keyed(check_keys(keys, len(images)))
        return self._in_layout(self._renew(self._embed(images), old_keys, new_keys), layout)

    @all_or_nothing
    def _fit(self, X, y, one_pass=False):
        """Train G, and F before it where that is asked for; return the images."""
        fitted = hasattr(self, "network_")
        goes_on = fitted and (one_pass or self.warm_start)
        check_training(self)
        images = validate_training_images(
            self, X, y, reset=not (one_pass and fitted), pixel_range=self.pixel_range
        )
        streamed = isinstance(images, ImageStream)
        check_image_distance(self.distance, self.image_shape_)
        self._check_key_and_embedder(images.with_triplets if streamed else y, goes_on)
        if not goes_on:
            try_embedder(self.embedder, some_images(images, _N_TRIED))
        labels = encode_classes(images, y) if self.train_embedder and not streamed else None
        rng = self._training_rng(one_pass)
        groups = images.batch_numbers if streamed else None
        training, validation = self._split_rows(images.shape[0], rng, groups, one_pass=one_pass)
        network_rng, batch_rng, validation_rng = (spawn_rng(rng) for _ in range(3))
        # A generator that goes on has learned with this embedder, in this range.
        if not goes_on:
            self._settle(images, y, rng)
        # Of its own: another generator may borrow the compiled step, and put its F in there.
        embedder = self.embedder_.rebuild()
        embedder.trainable = self.train_embedder
        case = TrainingCase.of(
            self.architecture, keyed=self.keyed_, streamed=streamed, learns=self.train_embedder
        )
        embeddings = None
        if case.target == "embedding":
            embeddings = self._embed(images)
        if not goes_on:
            self._settle_directions(images, embeddings)
        shared = {
            "case": case,
            "directions": self._directions,
            "pixel_range": self.pixel_range_,
        }
        if streamed:
            make_batches = partial(
                streamed_batches,
                images,
                n_components=embedder.output_shape[-1],
                learns=self.train_embedder,
                **shared,
            )
        else:
            make_batches = partial(
                indexed_batches,
                images,
                embeddings=embeddings,
                labels=labels,
                keyed=self.keyed_,
                batch_size=self.batch_size,
                **shared,
            )
        batches = make_batches(rows=training, rng=batch_rng, redraw=True)
        watched = None
        if validation is not None:
            watched = make_batches(rows=validation, rng=validation_rng, redraw=False)
        generator = self._start_network(
            lambda: build_generator(
                self.architecture,
                self.image_shape_,
                n_components=embedder.output_shape[-1],
                filters=self.filters,
                rng=network_rng,
                dtype=self.dtype_policy,
            ),
            one_pass=one_pass,
        )
        self._train_networks(generator, embedder, case, batches, watched, network_rng, one_pass)
        self.network_ = StoredNetwork(generator)
        return images

    def _settle(self, images, y, rng):
        """Settle what a training that goes on keeps: whether there is a key, the range, and F."""
        self.keyed_ = self.key is not None
        if isinstance(self.pixel_range, str):
            self.pixel_range_ = tuple(self.units_["range"])
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

    def _settle_directions(self, images, embeddings):
        """Settle what keys turn among themselves: F is in place, and does not change any more."""
        self.directions_ = None
        # What learns along fills the directions that it is asked to fill.
        if not self.keyed_ or self.train_embedder:
            return
        if embeddings is None:
            embeddings = self._embed(some_images(images, _N_SPANNING))
        directions = filled_directions(embeddings)
        if directions is None:
            return
        if fills_no_others(self._embed, some_images(images, _N_SPREAD), directions):
            self.directions_ = directions

    def _check_key_and_embedder(self, y, goes_on):
        """Refuse combinations of parameters that have no sense, before anything is trained."""
        if self.key is not None and self.architecture == "unet":
            raise ValueError(
                'key needs architecture="bottleneck": the skip connections of "unet" would '
                "carry the image into its templates under every key."
            )
        if goes_on and self.keyed_ != (self.key is not None):
            raise ValueError(
                "Training goes on as the previous fit began, which was "
                f"{'with' if self.keyed_ else 'without'} a key."
            )
        if self.train_embedder and y is None:
            raise ValueError("train_embedder=True needs y: the embedder learns from classes.")
        check_embedder(self.embedder, self.image_shape_)

    def _train_networks(self, generator, embedder, case, batches, watched, rng, one_pass):
        """Train G in place; `embedder_` becomes what F has learned, if it does."""
        parts = ["image_distance", "embedding_distance"]
        adversary = None
        if self.adversary_weight:
            parts.append("adversary_distance")
            adversary = build_adversary(
                self.image_shape_, filters=self.filters, rng=rng, dtype=self.dtype_policy
            )
        if self.train_embedder:
            parts.append("triplet_loss")
        self._train(
            build_training_network(
                generator,
                embedder,
                self.pixel_range_,
                case,
                adversary=adversary,
                adversary_weight=self.adversary_weight,
            ),
            generator_loss,
            parts,
            batches,
            watched,
            monitor="loss",
            options={
                "target": case.target,
                "distance": self.distance,
                "adversary_weight": self.adversary_weight,
            },
            settings={"alpha": self.alpha, "pi_emb": self.pi_emb},
            one_pass=one_pass,
        )
        if self.train_embedder:
            self.embedder_ = StoredNetwork(embedder)

    def _warn_of_failures(self, images):
        if self.train_embedder:
            warn_of_collapse(self.embedder_, images, self.batch_size, stacklevel=4)
        n = min(_N_DIAGNOSED, _DIAGNOSED_VALUES // prod(images.shape[1:]))
        diagnosis = self._diagnose(some_images(images, max(_FEWEST_DIAGNOSED, n)))
        if diagnosis.failures:
            warnings.warn(
                f"The distortion failed: {', '.join(diagnosis.failures)} ({diagnosis}). More "
                "epochs, another distance, alpha or pi_emb may help; more refinement_steps, or an "
                "embedder of fewer components, where embeddings are not reached.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _each_piece(self, X, keys=None, units="all"):
        """Go through valid images, with their layout and keys, as many as memory should hold."""
        check_is_fitted(self)
        stored = is_stored(X)
        in_memory = not stored and not isinstance(X, keras.utils.PyDataset)
        shared = in_memory or isinstance(keys, (bytes, str)) or not hasattr(keys, "__len__")
        if stored and not shared:
            check_keys(keys, len(X))
        start = 0
        for piece, _ in pieces(X):
            images, layout = validate_array(
                self,
                piece,
                reset=False,
                pixel_range=self.pixel_range,
                units=units,
                first=start,
            )
            stop = start + len(images)
            yield images, layout, keys if shared else keys[start:stop]
            start = stop
        if not shared:
            check_keys(keys, start)

    def _load(self, X):
        """Check images given to the fitted generator, and bring them into memory."""
        return load_images(self, X, pixel_range=self.pixel_range)

    def _embed(self, images):
        """Apply F to valid images."""
        return joined(self.embedder_.predict(part, self.batch_size) for part, _ in pieces(images))

    def _check_keyed(self, keys):
        """Take the parameter `key` where no keys are given; None for a generator without."""
        keys = self.key if keys is None else keys
        if keys is None and self.keyed_:
            raise ValueError("The generator was fitted with a key: set its key, or give keys.")
        if keys is not None and not self.keyed_:
            raise ValueError("The generator was fitted without a key and takes none.")
        return keys

    def _under_keys(self, embeddings, keys):
        keys = self._check_keyed(keys)
        return embeddings if keys is None else self._rotate(embeddings, keys)

    def _rotate(self, embeddings, keys, inverse=False):
        """Apply R_key, or undo it; the one place that knows what it is here."""
        return rotate_embeddings(embeddings, keys, inverse=inverse, directions=self._directions)

    @property
    def _directions(self):
        """Give `directions_`; a generator of an earlier build has none."""
        return getattr(self, "directions_", None)

    def _in_layout(self, distorted, layout):
        """Bring what G gives to the units and the layout of the data."""
        distorted = from_unit_range(distorted, self.pixel_range_)
        return restore_layout(distorted.reshape(len(distorted), -1), layout)

    def _unit_images(self, images):
        # An image may be brighter than any that the range was learned from; measures take [0, 1].
        return np.clip(to_unit_range(images, self.pixel_range_), 0.0, 1.0)

    def _distort(self, images, keys=None):
        """Distort valid images; pixels of the result are in ``[0, 1]``."""
        if self.architecture == "unet" and not self.refinement_steps:
            self._check_keyed(keys)
            return self._generate(images, None)
        return self._generate(images, self._under_keys(self._embed(images), keys))

    def _generate(self, images, targets, *, n_steps=None):
        """Apply G to what it sees, valid images or what embeddings are to be, and refine."""
        n_steps = self.refinement_steps if n_steps is None else n_steps
        unet = self.architecture == "unet"
        seen = to_unit_range(images, self.pixel_range_) if unet else targets
        templates = self.network_.predict(seen, self.batch_size)
        if not n_steps:
            return templates
        return refine_templates(
            self.embedder_,
            templates,
            targets,
            self.pixel_range_,
            n_steps=n_steps,
            verbose=int(self.verbose),
        )

    def _renew(self, embeddings, old_keys, new_keys):
        """Make templates of embeddings of others; under a key G sees nothing else."""
        targets = self._renewed(embeddings, old_keys, new_keys)
        return self._generate(None, targets, n_steps=_RENEWING * self.refinement_steps)

    def _renewed(self, embeddings, old_keys, new_keys):
        """Tell what embeddings of templates are to become under other keys."""
        return self._rotate(self._rotate(embeddings, old_keys, inverse=True), new_keys)

    def _compare(self, images):
        """Put valid images and their templates side by side."""
        embeddings = self._under_keys(self._embed(images), None)
        templates = self._generate(images, embeddings)
        in_units = from_unit_range(templates, self.pixel_range_)
        return DistortionComparison(
            self._unit_images(images), templates, embeddings, self._embed(in_units)
        )

    def _diagnose(self, images):
        return diagnose_distortion(self._compare(images), refined=self.refinement_steps > 0)
