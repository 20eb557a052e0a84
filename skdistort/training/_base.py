"""What the estimators that train a network share: parameters, seeds, splits, tags, set-up.

Nothing here knows a loss or an architecture. Images are checked in :mod:`skdistort.images`.
"""

from functools import wraps
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    check_is_fitted,
)

from .._backend import keras
from ..images._arrays import validate_array
from ..images._sources import joined, pieces
from ..networks import check_filters
from ..persistence import PersistenceMixin
from ._batches import split_rows
from ._loop import train

_POSITIVE_INT = Interval(Integral, 1, None, closed="left")

TRAINING_CONSTRAINTS = {
    "image_shape": ["array-like", None],
    "epochs": [_POSITIVE_INT],
    "batch_size": [_POSITIVE_INT],
    "learning_rate": [Interval(Real, 0, None, closed="neither")],
    "dtype_policy": [StrOptions({"float32", "mixed_bfloat16", "mixed_float16"})],
    "schedule": [StrOptions({"constant", "cosine"})],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
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
    a :class:`~skdistort.networks._stored.StoredNetwork`, and `history_` in ``fit``.
    """

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
        *,
        monitor,
        options=None,
        settings=None,
        epochs=None,
        one_pass=False,
    ):
        """Train a network in place and note its history, to which one pass adds an entry."""
        history = train(
            network,
            loss,
            part_names,
            batches,
            options=options or {},
            settings=settings or {},
            validation=validation,
            epochs=1 if one_pass else epochs or self.epochs,
            learning_rate=self.learning_rate,
            schedule="constant" if one_pass else self.schedule,
            weight_decay=float(self.weight_decay),
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

    def _embed(self, images, first):
        """Apply the network to images in memory, the first of that number."""
        return self.network_.predict(images, self.batch_size)

    def _encode(self, X):
        """Apply the network to images, as many at a time as memory should hold."""
        check_is_fitted(self)
        codes, first = [], 0
        for piece, _ in pieces(X):
            images, _ = validate_array(self, piece, reset=False, first=first)
            codes.append(self._embed(images, first))
            first += len(images)
        return joined(codes)


def _architecture(network):
    """Tell what two networks share where the weights of one make sense in the other."""
    weights = [w.shape for w in network.get_weights()]
    layers = [(type(layer), layer.dtype_policy.name) for layer in network.layers]
    return network.input_shape, weights, layers


def check_training(estimator):
    """Check what the constraints of parameters cannot say, before anything is trained.

    Parameters
    ----------
    estimator : KerasTransformer
        The estimator.

    Raises
    ------
    TypeError
        If its `callbacks` are none of Keras's.
    ValueError
        If its `filters` are no positive integers, or a callback would save the model that is
        trained as a whole, which Keras cannot.
    """
    for callback in estimator.callbacks or ():
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(f"callbacks must hold Keras callbacks, got {callback!r}.")
        _refuse_whole_checkpoints(callback)
    check_filters(estimator.filters)


def _refuse_whole_checkpoints(callback):
    """Raise if a callback saves more than weights: what is trained holds the loss, too."""
    whole = isinstance(callback, keras.callbacks.ModelCheckpoint) and not callback.save_weights_only
    # Newer releases of Keras have it.
    orbax = getattr(keras.callbacks, "OrbaxCheckpoint", None)
    if orbax is not None and isinstance(callback, orbax):
        whole = not callback.save_weights_only
    if whole:
        raise ValueError(
            f"callbacks holds a {type(callback).__name__} that saves whole models, but what is "
            "trained is a network with its loss, which Keras cannot save. Give it "
            "save_weights_only=True (and a path that ends in .weights.h5), or BackupAndRestore to "
            "go on after an interruption; save() of the fitted estimator writes it whole."
        )


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
