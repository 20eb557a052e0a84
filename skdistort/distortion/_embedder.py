"""What may serve as the frozen embedder F: checked, tried, and brought to a :class:`StoredNetwork`.

F takes images of shape ``(n, height, width, channels)`` in the units of the data. How networks of
other makes become one of Keras is in `_network`, how an embedder learns in
:mod:`skdistort.embedding`.
"""

import warnings

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from .._backend import keras
from ..embedding import TripletEmbedder
from ..exceptions import InputMismatchError, InputMismatchWarning
from ..images._units import hold_to_units
from ..networks._stored import StoredNetwork
from ..verification import SiameseVerifier, SoftmaxEmbedder
from ._network import adapting, as_model, as_text

# What learns F. To compare its embeddings by their distance has to mean something.
_LEARNERS = TripletEmbedder, SoftmaxEmbedder, SiameseVerifier
# How far apart embeddings may be that rounding alone makes differ, in their largest component.
_SAME = 1e-2
# Components that vary less over images, in the largest, do not vary.
_CONSTANT = 1e-6
# How far from 1 a length may be.
_UNIT = 0.01


def check_embedder(embedder, image_shape):
    """Check an embedder before anything is trained.

    Parameters
    ----------
    embedder : object
        The parameter `embedder` of an estimator.
    image_shape : tuple of 3 int
        Height, width and channels of the images it will be given.

    Raises
    ------
    TypeError
        If it is of no such kind.
    ValueError
        If it takes images of another shape, or does not give one vector an image.
    sklearn.exceptions.NotFittedError
        If it is a FrozenEstimator of an embedder that is not fitted.
    """
    if embedder is None:
        return
    if isinstance(embedder, _LEARNERS):
        _refuse_learned_comparison(embedder)
        return
    if isinstance(embedder, FrozenEstimator):
        inner = embedder.estimator
        if not isinstance(inner, _LEARNERS):
            names = ", ".join(kind.__name__ for kind in _LEARNERS)
            raise TypeError(
                f"embedder must freeze one of {names}, got a FrozenEstimator of "
                f"{type(inner).__name__}."
            )
        check_is_fitted(inner)
        _refuse_learned_comparison(inner)
        if inner.image_shape_ != image_shape:
            raise ValueError(
                f"embedder takes images of shape {inner.image_shape_}, X has {image_shape}"
                f"{adapting(as_text(embedder), inner.image_shape_, image_shape)}."
            )
        return
    model = as_model(embedder, image_shape)
    try:
        _ = StoredNetwork(model).model
    except Exception as error:
        raise ValueError(
            "embedder cannot be rebuilt from its configuration; a layer or model of your own needs "
            "get_config and keras.saving.register_keras_serializable, a Lambda layer has to become "
            "one, and a JaxLayer needs functions that are registered, init_fn among them. Keras "
            f"says: {error}"
        ) from error


def try_embedder(embedder, images):
    """Try an embedder that is given on training images, before anything is trained.

    Parameters
    ----------
    embedder : object
        The parameter `embedder` of an estimator, valid; what is trained first is not tried.
    images : ndarray of shape (n_samples, height, width, channels)
        A few of the images.

    Raises
    ------
    ValueError
        If F gives NaN or infinite values, or the same for all images, is another once rebuilt
        from its configuration, depends on the other images of a batch or on chance, or has no
        gradient: G could learn nothing from it.
    InputMismatchError
        If the images are not in the units that the frozen embedder was fitted on.

    Warns
    -----
    InputMismatchWarning
        If embeddings are not of unit length, which `alpha` takes them to have.
    """
    if embedder is None or isinstance(embedder, _LEARNERS):
        return
    if isinstance(embedder, FrozenEstimator):
        units = getattr(embedder.estimator, "units_", None)
        if units is not None:
            try:
                hold_to_units(units, images)
            except InputMismatchError as error:
                raise InputMismatchError(
                    f"embedder was fitted on other images than X. Of some of them: {error}",
                    seen=error.seen,
                    expected=error.expected,
                ) from error
        model, stored = None, embedder.estimator.network_
        embeddings = stored.predict(images, len(images))
    else:
        model = as_model(embedder, images.shape[1:])
        given, alone = (_apply(model, some) for some in (images, images[:1]))
        _compare_embeddings(
            given[:1],
            alone,
            "embedder gives an image another embedding where other images are beside it, or by "
            "chance",
        )
        stored = StoredNetwork(model)
        embeddings = stored.predict(images, len(images))
        _compare_embeddings(
            given,
            embeddings,
            "embedder is another one once it is rebuilt from its configuration: a layer's "
            "get_config leaves out a parameter, or what it learned is in no weight",
        )
    _refuse_constant(embeddings, images)
    # A copy: what is tried so is frozen.
    if not _has_gradient(stored.rebuild(), images):
        raise ValueError(
            "embedder has no gradient: its embeddings do not change with small changes of the "
            "images, so that no generator can learn from it. Does a layer round or compare, or a "
            "module run under torch.no_grad?"
        )
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    if np.abs(lengths - 1).max() > _UNIT:
        warnings.warn(
            f"embedder gives vectors of length {lengths.min():.3g} to {lengths.max():.3g}. alpha "
            "is a squared distance of vectors of length 1: keras.Sequential(["
            f"keras.layers.Input({images.shape[1:]}), {as_text(embedder, model)}, "
            "skdistort.networks.UnitLength()]) brings them to it, or choose alpha for these "
            "lengths.",
            InputMismatchWarning,
            stacklevel=2,
        )


def fit_embedder(embedder, images, y, *, defaults):
    """Get the trained network F, training an embedder first where that is asked for.

    Parameters
    ----------
    embedder : object
        None trains a ``TripletEmbedder`` with the `defaults`; an estimator is cloned and trained;
        anything else is used as it is.
    images : ndarray of shape (n_samples, height, width, channels)
        Images to train on.
    y : array-like of shape (n_samples,) or None
        Classes, if there are any.
    defaults : dict
        Parameters of the embedder that None stands for.

    Returns
    -------
    StoredNetwork
        The network F.
    """
    if embedder is None:
        return TripletEmbedder(**defaults).fit(images, y).network_
    if isinstance(embedder, _LEARNERS):
        return clone(embedder).fit(images, y).network_
    if isinstance(embedder, FrozenEstimator):
        return embedder.estimator.network_
    return StoredNetwork(as_model(embedder, images.shape[1:]))


def _apply(model, images):
    """Apply a network of the user's; to predict, Keras on JAX would take its arrays away."""
    found = model(keras.ops.convert_to_tensor(images), training=False)
    return np.asarray(keras.ops.convert_to_numpy(found), dtype=np.float32)


def _compare_embeddings(given, again, what):
    """Raise if embeddings that should be equal are not, but for rounding."""
    if not np.isfinite(given).all():
        i = int(np.isfinite(given).all(axis=1).argmin())
        raise ValueError(f"embedder gives NaN or infinite values, such as for image {i} of X.")
    scale = max(float(np.abs(given).max()), float(np.abs(again).max()))
    difference = float(np.abs(given - again).max())
    if difference > _SAME * scale:
        raise ValueError(
            f"{what}. Of the components of F(X), at most {scale:.3g}, some differ by "
            f"{difference:.3g}."
        )


def _refuse_constant(embeddings, images):
    """Raise if different images have the same embedding."""
    if not np.isfinite(embeddings).all():
        raise ValueError("embedder gives NaN or infinite values for images of X.")
    spread = float(np.ptp(embeddings, axis=0).max())
    scale = float(np.abs(embeddings).max())
    if np.ptp(images, axis=0).max() > 0 and spread <= _CONSTANT * scale:
        raise ValueError(
            f"embedder is constant: the components of F(X) differ by {spread:.2g} at most over "
            f"{len(images)} images, at a size of {scale:.2g}. Nobody could be told from another."
        )


def _has_gradient(model, images):
    """Whether a small step on the images follows a gradient of F, on any backend."""
    shift = _Shift(name="shift")
    inputs = keras.layers.Input(images.shape[1:])
    model.trainable = False
    probe = keras.Model(inputs, model(shift(inputs), training=False))
    # Somewhere else for each image: what is symmetric, such as to swap them, may cancel out.
    targets = np.asarray(model.predict_on_batch(images))
    targets = targets + np.random.RandomState(0).standard_normal(targets.shape)
    probe.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=True)
    try:
        with warnings.catch_warnings():
            # TensorFlow's, where there is no gradient.
            warnings.simplefilter("ignore")
            probe.train_on_batch(images, targets)
    except (ValueError, RuntimeError):
        # Backends raise where nothing that is trained has a gradient.
        return False
    return bool(np.any(shift.get_weights()[0]))


class _Shift(keras.layers.Layer):
    """Adds a learned image."""

    def build(self, input_shape):
        """Make it; it is zero at first."""
        self.shift = self.add_weight(shape=input_shape[1:], initializer="zeros", name="shift")

    def call(self, x):
        """Add it."""
        return x + self.shift


def _refuse_learned_comparison(embedder):
    """Raise if embeddings are not compared by their distance, which F needs them to be."""
    if isinstance(embedder, SiameseVerifier) and embedder.mode == "double":
        raise ValueError(
            'embedder is a SiameseVerifier of mode="double", which compares embeddings by a '
            "network that it learned. The distance of its embeddings means nothing, and F is held "
            'to distances: take mode="triple".'
        )
