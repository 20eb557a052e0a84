"""What may serve as the frozen embedder F, brought to one form: a :class:`StoredNetwork`.

F takes images of shape ``(n, height, width, channels)`` in the units of the data.

How an embedder learns does not live here: see :mod:`skdistort.embedding`.
"""

import os
import warnings
from reprlib import repr as short_repr

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from .._backend import keras
from ..embedding import TripletEmbedder
from ..exceptions import InputMismatchError, InputMismatchWarning
from ..images._units import hold_to_units
from ..networks import TorchModule
from ..networks._stored import StoredNetwork
from ..networks._torch_module import is_torch_module
from ..onnx import load_onnx
from ..verification import SiameseVerifier, SoftmaxEmbedder

# What learns F. To compare its embeddings by their distance has to mean something.
_LEARNERS = TripletEmbedder, SoftmaxEmbedder, SiameseVerifier
_KINDS = (
    "None, a TripletEmbedder, SoftmaxEmbedder or SiameseVerifier, a FrozenEstimator of one, a "
    "Keras model or layer, a torch.nn.Module, or the path of a .keras or .onnx file"
)
_RESIZING_TORCH = (
    ". Of another size, torch.nn.Sequential(torch.nn.Upsample((HEIGHT, WIDTH), mode='bilinear'), "
    "module) takes them"
)
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
                f"embedder takes images of shape {inner.image_shape_}, X has {image_shape}."
            )
        return
    model = _as_model(embedder, image_shape)
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
        stored = embedder.estimator.network_
        embeddings = stored.predict(images, len(images))
    else:
        model = _as_model(embedder, images.shape[1:])
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
            "get_config leaves out a parameter",
        )
    _refuse_constant(embeddings, images)
    # A copy: what is tried so is frozen.
    if not _has_gradient(stored.rebuild(), images):
        raise ValueError(
            "embedder has no gradient: its embeddings do not change with small changes of the "
            "images, so that no generator can learn from it. Does a layer round or compare?"
        )
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    if np.abs(lengths - 1).max() > _UNIT:
        warnings.warn(
            f"embedder gives vectors of length {lengths.min():.3g} to {lengths.max():.3g}. alpha "
            "is a squared distance of vectors of length 1: end it in "
            "skdistort.networks.UnitLength(), or choose alpha for these lengths.",
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
    return StoredNetwork(_as_model(embedder, images.shape[1:]))


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


def _as_model(embedder, image_shape):
    """Make a functional model, on images of that shape, of what computes embeddings."""
    layer = _as_layer(embedder, image_shape)
    inputs = keras.layers.Input(image_shape)
    wanted = _input_shape(layer)
    # A Sequential model takes others, too, as long as it has no weights that do not fit.
    if wanted is not None and any(
        n not in (None, m) for n, m in zip(wanted, image_shape, strict=True)
    ):
        raise ValueError(
            f"embedder takes images of shape {wanted}, X has {image_shape}"
            f"{_resizing(wanted, image_shape)}."
        )
    try:
        try:
            outputs = layer(inputs, training=False)
        except TypeError:
            outputs = layer(inputs)
    # What does not fit, a torch module and each of Keras's backends tell in their own way.
    except Exception as error:
        hint = _RESIZING_TORCH if isinstance(layer, TorchModule) else ""
        raise ValueError(
            f"embedder does not take images of shape {image_shape}, which X has{hint}: {error}"
        ) from error
    if not isinstance(outputs, keras.KerasTensor):
        raise ValueError(f"embedder must give one vector an image{_choosing(layer, outputs)}.")
    if len(outputs.shape) != 2:
        ending = "GlobalAveragePooling2D" if len(outputs.shape) == 4 else "Flatten"
        raise ValueError(
            f"embedder must give one vector an image, (n, m); for images of shape {image_shape} it "
            f"gives {tuple(outputs.shape)}: keras.Sequential([embedder, "
            f"keras.layers.{ending}()]) makes one of that."
        )
    return keras.Model(inputs, outputs)


def _as_layer(embedder, image_shape):
    """Make a Keras layer of what computes embeddings: a module, or what is in a file."""
    if isinstance(embedder, keras.layers.Layer):
        if _wraps_torch(embedder):
            raise ValueError(
                "embedder holds a keras.layers.TorchModuleWrapper, whose configuration is a "
                "pickle: skdistort.networks.TorchModule(module) takes its place, and gives the "
                "module images with channels first."
            )
        return embedder
    if is_torch_module(embedder):
        return TorchModule(embedder)
    if isinstance(embedder, (str, os.PathLike)):
        path = os.fspath(embedder)
        if path.lower().endswith(".keras"):
            if not os.path.isfile(path):
                raise FileNotFoundError(f"embedder: there is no file {path!r}.")
            return keras.models.load_model(path, compile=False)
        if path.lower().endswith(".onnx"):
            return _load_onnx(path, image_shape)
        raise ValueError(f"embedder must be {_KINDS}; got the path {path!r}.")
    if type(embedder).__module__.startswith("onnx."):
        return _load_onnx(embedder, image_shape)
    raise TypeError(
        f"embedder must be {_KINDS}; got {short_repr(embedder)} of type {type(embedder).__name__}."
    )


def _load_onnx(model, image_shape):
    """Load a file in its own size; where it leaves that open, in that of the images."""
    try:
        return load_onnx(model)
    except ValueError as error:
        if "image_shape" not in str(error):
            raise
    return load_onnx(model, image_shape=image_shape)


def _input_shape(layer):
    """Give the shape of the images that a model of one input wants; None where that is open."""
    shape = getattr(layer, "input_shape", None) if isinstance(layer, keras.Model) else None
    return shape[1:] if isinstance(shape, tuple) and len(shape) == 4 else None


def _resizing(wanted, image_shape):
    """Say how a network of another size takes these images."""
    if wanted[2] != image_shape[2]:
        if (wanted[2], image_shape[2]) == (3, 1):
            return ": np.repeat(X.reshape(len(X), height, width, 1), 3, axis=3) makes grey coloured"
        return ""
    return (
        f": keras.Sequential([keras.layers.Input({image_shape}), "
        f"keras.layers.Resizing{wanted[:2]}, embedder]) takes them in that size"
    )


def _choosing(layer, outputs):
    """Say how one of several outputs is taken."""
    if isinstance(layer, TorchModule):
        return (
            f", the torch module gives a {type(outputs).__name__}: a module of your own takes what "
            "is meant, def forward(self, x): return self.module(x)[0]"
        )
    if isinstance(outputs, dict):
        return (
            f", it gives {sorted(outputs)}: keras.Model(embedder.input, "
            f"embedder.output[{sorted(outputs)[0]!r}]) takes one"
        )
    return (
        f", it gives {len(outputs) if isinstance(outputs, (list, tuple)) else outputs}: "
        "keras.Model(embedder.input, embedder.output[0]) takes one"
    )


def _wraps_torch(model):
    """Whether Keras's own wrapper of torch modules is in a network."""
    layers = getattr(model, "layers", [])
    return isinstance(model, keras.layers.TorchModuleWrapper) or any(map(_wraps_torch, layers))
