"""What the estimators share: image validation, seeds, tags, the training set-up and scores.

Nothing here knows a loss or an architecture.
"""

from functools import wraps
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from ._backend import keras
from ._image_sources import StoredImages, is_stored, joined, pieces
from ._image_streams import ImageStream
from ._images import infer_image_shape, split_layout, with_channels
from ._labels import as_labels
from ._training import train
from .persistence import PersistenceMixin

_POSITIVE_INT = Interval(Integral, 1, None, closed="left")

TRAINING_CONSTRAINTS = {
    "image_shape": ["array-like", None],
    "epochs": [_POSITIVE_INT],
    "batch_size": [_POSITIVE_INT],
    "learning_rate": [Interval(Real, 0, None, closed="neither")],
    "dtype_policy": [StrOptions({"float32", "mixed_bfloat16", "mixed_float16"})],
    "schedule": [StrOptions({"constant", "cosine"})],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "patience": [_POSITIVE_INT, None],
    "callbacks": [list, None],
    "warm_start": ["boolean"],
    "verbose": ["verbose"],
    "random_state": ["random_state"],
}


class KerasTransformer(TransformerMixin, PersistenceMixin, BaseEstimator):
    """Base of the estimators that train one Keras network on images.

    Subclasses take the parameters named in ``TRAINING_CONSTRAINTS`` and set `network_`,
    a :class:`~skdistort._stored_network.StoredNetwork`, and `history_` in ``fit``.
    """

    def _validate_images(self, X, *, reset):
        """Check images and bring them to ``(n, height, width, channels)``; remember the layout.

        Parameters
        ----------
        X : array-like or ImageFolder of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Images.
        reset : bool
            Whether to learn the shape of an image (``fit``) or to hold X to it.

        Returns
        -------
        images : ndarray or StoredImages of shape (n_samples, height, width, channels)
            The images, float32. Those that are memory-mapped or in a folder stay there.
        layout : tuple of int or None
            How to give results back, see :func:`skdistort._images.restore_layout`.
        """
        if isinstance(X, keras.utils.PyDataset):
            raise ValueError(
                f"X is a keras.utils.PyDataset, which this method of {type(self).__name__} does "
                "not take: give an array, which may be memory-mapped, or an ImageFolder."
            )
        if is_stored(X):
            return self._survey(X, reset), X.shape[1:] if len(X.shape) > 2 else None
        return self._validate_array(X, reset=reset, least=2 if reset else 1)

    def _validate_training_images(self, X, y, *, reset):
        """Check images to train on, which may also come as batches that hold their classes."""
        if not isinstance(X, keras.utils.PyDataset):
            return self._validate_images(X, reset=reset)[0]
        if y is not None:
            raise ValueError(
                "y must be None where X is a keras.utils.PyDataset, whose batches hold the classes."
            )
        return self._survey(X, reset)

    def _survey(self, X, reset):
        """Check images that are not in memory, piece by piece."""
        sizes, lows, highs, with_triplets = [], [], [], []
        for piece, classes in pieces(X):
            images, _ = self._validate_array(piece, reset=reset and not sizes)
            sizes.append(len(images))
            lows.append(float(images.min()))
            highs.append(float(images.max()))
            if classes is not None:
                counts = np.bincount(encode_classes(images, classes, name="the y of a batch of X"))
                with_triplets.append(len(counts) > 1 and max(counts) > 1)
        least = 2 if reset else 1
        if sum(sizes) < least:
            raise ValueError(f"X has {sum(sizes)} sample(s), a minimum of {least} is required.")
        limits = min(lows), max(highs)
        if not isinstance(X, keras.utils.PyDataset):
            return StoredImages(X, self.image_shape_, limits)
        labelled = len(with_triplets) == len(sizes)
        return ImageStream(X, self.image_shape_, limits, sizes, with_triplets if labelled else None)

    def _validate_array(self, X, *, reset, least=1):
        """Check images in memory, of which there must be some number at the least."""
        if reset:
            _check_callbacks(self.callbacks)
        # Some sparse arrays, of which scikit-learn tells, have no items either.
        if hasattr(X, "__iter__") and not (hasattr(X, "__getitem__") or hasattr(X, "shape")):
            raise TypeError(
                f"X is a {type(X).__name__}, which can only be walked through: give an array, an "
                "ImageFolder or a keras.utils.PyDataset."
            )
        rows, layout = split_layout(X)
        if not reset and layout is not None and with_channels(layout) != self.image_shape_:
            raise ValueError(
                f"X has images of shape {layout}, but {type(self).__name__} was fitted on images "
                f"of shape {self.image_shape_}."
            )
        rows = validate_data(self, rows, dtype="float32", reset=reset, ensure_min_samples=least)
        if reset:
            self.image_shape_ = infer_image_shape(rows.shape[1], layout, self.image_shape)
        return rows.reshape(len(rows), *self.image_shape_), layout

    def _start_network(self, build, attribute="network_", *, one_pass=False):
        """Return the network to train: a new one, or that of the last fit if it is to go on."""
        previous = getattr(self, attribute, None) if one_pass or self.warm_start else None
        network = build()
        if previous is not None:
            if _architecture(network) != _architecture(previous.model):
                raise ValueError(
                    f"{'partial_fit' if one_pass else 'warm_start=True'} needs images and "
                    "architecture of the previous fit: the layers, their precision, or the shapes "
                    "of input or weights, differ."
                )
            # Rebuilt from its own configuration, whose pixel scaling the weights were learned with.
            network = previous.rebuild()
        return network

    def _training_rng(self, one_pass):
        """Make the source of randomness of a training."""
        rng = check_random_state(self.random_state)
        if one_pass and hasattr(self, "network_"):
            # Else a seed would draw the same in each pass.
            seed = rng.randint(2**31 - 1), len(self.history_["loss"])
            return np.random.RandomState(seed)
        return rng

    def _split_rows(self, n_samples, rng, groups=None, *, one_pass=False):
        """Split row numbers into those to train on and those to validate on; groups stay whole."""
        rows = np.arange(n_samples)
        if one_pass or self.validation_fraction == 0:
            return rows, None
        training, validation = split_rows(rows, self.validation_fraction, groups, rng)
        if min(len(training), len(validation)) < 2:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} of {n_samples} samples leaves "
                f"{len(validation)} to validate on and {len(training)} to train on; "
                "both need at least 2."
            )
        return training, validation

    def _train(
        self,
        network,
        loss,
        part_names,
        batches,
        validation,
        monitor,
        signature,
        one_pass=False,
        **settings,
    ):
        """Train a network in place and note its history, to which one pass adds an entry."""
        history = train(
            network,
            loss,
            part_names,
            batches,
            settings=settings,
            signature=signature,
            validation=validation,
            epochs=1 if one_pass else self.epochs,
            learning_rate=self.learning_rate,
            schedule="constant" if one_pass else self.schedule,
            monitor=monitor,
            patience=None if one_pass else self.patience,
            callbacks=self.callbacks,
            verbose=int(self.verbose),
        )
        if one_pass and hasattr(self, "history_"):
            before = self.history_
            history = before | {name: before.get(name, []) + history[name] for name in history}
        self.history_ = history

    def __sklearn_is_fitted__(self):
        return hasattr(self, "network_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _check_images(self, X):
        """Validate images given to a fitted estimator, and bring them into memory."""
        check_is_fitted(self)
        images, layout = self._validate_images(X, reset=False)
        return images[:], layout

    def _encode(self, X):
        """Apply the network to images, as many at a time as memory should hold."""
        check_is_fitted(self)
        return joined(
            self.network_.predict(self._check_images(piece)[0], self.batch_size)
            for piece, _ in pieces(X)
        )


def _architecture(network):
    """Tell what two networks share where the weights of one make sense in the other."""
    weights = [w.shape for w in network.get_weights()]
    layers = [(type(layer), layer.dtype_policy.name) for layer in network.layers]
    return network.input_shape, weights, layers


def _check_callbacks(callbacks):
    for callback in callbacks or ():
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(f"callbacks must hold Keras callbacks, got {callback!r}.")


def all_or_nothing(fit):
    """Decorate a method so that an estimator it fails on is left as it was.

    Parameters
    ----------
    fit : callable
        A method that trains.

    Returns
    -------
    callable
        The same method; a network of one fit never stands beside a shape or a range of another.
    """

    @wraps(fit)
    def guarded(self, *args, **kwargs):
        before = vars(self).copy()
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return guarded


def encode_classes(images, y, name="y"):
    """Give classes numbers from 0.

    Parameters
    ----------
    images : ndarray of shape (n_samples, ...)
        What they are the classes of.
    y : array-like of shape (n_samples,)
        Classes.
    name : str, default="y"
        What to call them in messages.

    Returns
    -------
    ndarray of shape (n_samples,), dtype int32
        Numbers, in the order of the sorted classes.

    Raises
    ------
    ValueError
        If there is not one for each sample, or some are missing.
    """
    y = column_or_1d(as_labels(y, name), warn=True)
    check_consistent_length(images, y)
    return np.unique(y, return_inverse=True)[1].astype(np.int32)


def split_rows(rows, fraction, groups, rng):
    """Split row numbers at random in two, each in order.

    Parameters
    ----------
    rows : ndarray of int
        Row numbers.
    fraction : float
        Share of the second part: of the rows, or of the groups where there are any.
    groups : ndarray of shape (n_samples,) or None
        Group of each sample, the whole of which comes into one part.
    rng : numpy.random.RandomState
        Source of randomness.

    Returns
    -------
    first : ndarray of int
        The first part.
    second : ndarray of int
        The second part.
    """
    units = rows if groups is None else groups[rows]
    names = np.unique(units)
    drawn = rng.permutation(names)[: int(round(fraction * len(names)))]
    second = np.isin(units, drawn)
    return rows[~second], rows[second]


def spawn_rng(rng):
    """Derive an independent generator, so that one consumer's draws do not shift another's.

    Parameters
    ----------
    rng : numpy.random.RandomState
        The parent; advanced by one draw.

    Returns
    -------
    numpy.random.RandomState
        The child.
    """
    return np.random.RandomState(rng.randint(2**31 - 1))
