"""A trained network as plain data: its configuration and its numpy weights.

This is what a fitted estimator keeps instead of a Keras model, so that it pickles small and
carries no optimiser, graph or device. What networks there are is in :mod:`skdistort.networks`, how
they are written to files in :mod:`skdistort.persistence`.
"""

import json
from types import SimpleNamespace

import numpy as np

from .._backend import keras
from ..exceptions import InputMismatchError
from ..images._layout import row_multiple
from ._pool import ModelPool, architecture
from ._torch_module import held_modules, modules_at_hand

_PREDICTORS = ModelPool(8)
# Models whose configuration lists their layers.
_MODELS = {"Functional", "Sequential"}


class StoredNetwork:
    """Configuration and weights of a Keras model, rebuilt into one on first use.

    Parameters
    ----------
    model : keras.Model
        A built model whose layers Keras can serialise.

    Attributes
    ----------
    config : str
        The model's architecture, in Keras's JSON.
    weights : list of ndarray
        Its weights, in the order in which a model of that configuration takes them.
    held : sequence of HeldModule
        Torch modules that it runs, whose code the configuration does not have.
    """

    held = ()
    # What is made when it is first asked for, and left out of pickles.
    _model = _architecture = _distribution = None

    def __init__(self, model):
        self.config, self.weights = describe(model)
        held = held_modules(model)
        if held:
            self.held = held

    @property
    def model(self):
        """Rebuild the network when first asked for, and where Keras distributes variables anew.

        Returns
        -------
        keras.Model
            The network, uncompiled.
        """
        distribution = keras.distribution.distribution()
        if self._model is None or self._distribution is not distribution:
            self._model, self._distribution = self.rebuild(), distribution
            self._model.trainable = False
        return self._model

    def rebuild(self):
        """Build the network anew, to be trained on.

        Returns
        -------
        keras.Model
            A model of its own, with the stored weights.
        """
        with modules_at_hand(self.held):
            model = keras.models.model_from_json(self.config)
        model.set_weights(self.weights)
        return model

    def predict(self, X, batch_size):
        """Apply the network in inference mode, batch by batch.

        Parameters
        ----------
        X : ndarray of shape (n_samples, ...)
            Inputs.
        batch_size : int
            Rows at a time, rounded up to a :func:`row_multiple`.

        Returns
        -------
        ndarray of shape (n_samples, ...), dtype float32
            Outputs.
        """
        multiple = row_multiple(X.shape[1:])
        padding = np.zeros((-len(X) % multiple, *X.shape[1:]), dtype=X.dtype)
        padded = np.concatenate([X, padding]) if len(padding) else X
        batch_size += -batch_size % multiple
        with _PREDICTORS.borrow(self.architecture, self._build_predictor) as predictor:
            if predictor.weights is not self.weights:
                predictor.model.set_weights(self.weights)
                predictor.weights = self.weights
            found = _apply(predictor.model, padded, batch_size)[: len(X)]
        # A network of the caller's own may end in a lower precision.
        found = found.astype(np.float32, copy=False)
        # A sum tells, and is faster than a look at each value; one too large is no NaN.
        with np.errstate(over="ignore", invalid="ignore"):
            suspect = not np.isfinite(found.sum())
        if suspect:
            self._refuse_not_finite(found)
        return found

    def _refuse_not_finite(self, found):
        """Raise if a result is NaN or infinite, and say whether the weights are to blame."""
        finite = np.isfinite(found.reshape(len(found), -1)).all(axis=1)
        if finite.all():
            return
        i = int(finite.argmin())
        refuse_bad_weights(self.weights)
        raise InputMismatchError(
            f"The network gives NaN or infinite values for sample {i} of those it is given.",
            i,
            "a result that is NaN or infinite",
            "finite numbers",
        )

    @property
    def architecture(self):
        """Describe all but the weights; equal for networks that one compiled step can serve.

        Returns
        -------
        str
            See :func:`skdistort.networks._pool.architecture`.
        """
        if self._architecture is None:
            self._architecture = architecture(self.config)
        return self._architecture

    def _build_predictor(self):
        model = fastest_form(self.rebuild())
        model.trainable = False
        # The property, unlike compile(), would take "auto" for True.
        if jit_mode() is False:
            model.jit_compile = False
        return SimpleNamespace(model=model, weights=self.weights)

    def __getstate__(self):
        state = {"config": self.config, "weights": self.weights}
        return {**state, "held": self.held} if self.held else state


def refuse_bad_weights(weights):
    """Raise if weights are NaN or infinite, which no training leaves.

    Parameters
    ----------
    weights : list of ndarray
        Weights of a network.

    Raises
    ------
    ValueError
        If one is.
    """
    for i, weight in enumerate(weights):
        if weight.dtype.kind not in "iub" and not np.isfinite(weight).all():
            raise ValueError(
                f"The network has weights that are NaN or infinite (array {i}, of shape "
                f"{weight.shape}): it cannot be used. Train it again, or load another file."
            )


def _apply(model, X, batch_size):
    """Apply a model to rows, so many at a time."""
    # Keras spreads over several devices what it batches itself; for that it makes a dataset, which
    # on TensorFlow takes as long as a thousand small images.
    replicas = getattr(getattr(model, "distribute_strategy", None), "num_replicas_in_sync", 1)
    if keras.distribution.distribution() is not None or replicas > 1:
        return model.predict(X, batch_size=batch_size, verbose=0)
    starts = range(0, len(X), batch_size)
    batches = (keras.ops.convert_to_tensor(X[i : i + batch_size]) for i in starts)
    return np.concatenate([model.predict_on_batch(batch) for batch in batches])


def describe(layer):
    """Describe a layer or model by what a copy is made of: a configuration and weights.

    Parameters
    ----------
    layer : keras.layers.Layer
        A layer, built or not, or a model.

    Returns
    -------
    config : str
        Keras's JSON. What a Normalization has learned from data is in it, which it would not take
        from weights.
    weights : list of ndarray
        All other weights; what numpy has no numbers for, such as bfloat16, in float32.
    """
    node = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    settled = {id(weight) for weight in _settle(node, layer)}
    weights = [
        array if array.dtype.isbuiltin == 1 else array.astype(np.float32)
        for weight, array in zip(layer.weights, layer.get_weights(), strict=True)
        if id(weight) not in settled
    ]
    return without_compilation(json.dumps(node)), weights


def _settle(node, layer):
    """Write what each Normalization learned into a configuration; give the weights that held it."""
    if isinstance(layer, keras.layers.Normalization) and layer.weights:
        mean, variance, _ = layer.get_weights()
        node["config"].update(mean=mean.tolist(), variance=variance.tolist())
        return layer.weights
    found = []
    parts = node["config"]["layers"] if node["class_name"] in _MODELS else []
    inner = {part.name: part for part in getattr(layer, "layers", [])}
    for part in parts:
        # Inputs are no layers of a Sequential model.
        name = part["config"].get("name")
        if name in inner:
            found += _settle(part, inner[name])
    return found


def without_compilation(config):
    """Leave out with which optimiser and loss a model was compiled, which may be functions.

    Parameters
    ----------
    config : str
        Keras's JSON.

    Returns
    -------
    str
        The same text where no model in it was compiled.
    """
    found = False

    def strip(node):
        nonlocal found
        if node.get("compile_config"):
            node["compile_config"], found = {}, True
        return node

    description = json.loads(config, object_hook=strip)
    return json.dumps(description) if found else config


def fastest_form(model):
    """Give a network in the form that runs fastest here, for whoever runs but does not store it.

    Parameters
    ----------
    model : keras.Model
        A network whose layers Keras can serialise.

    Returns
    -------
    keras.Model
        On PyTorch a copy of operations of its own; `model` elsewhere.
    """
    if keras.backend.backend() != "torch":
        return model
    from ._torch_layers import with_own_layers

    return with_own_layers(model)


def jit_mode():
    """Find the ``jit_compile`` setting that is fastest here.

    Returns
    -------
    bool or "auto"
        False for TensorFlow without a GPU, where XLA's convolutions take about four times as
        long as the plain ones; Keras's own choice otherwise.
    """
    # Keras cannot list torch's devices, and jax raises where there is none of the kind.
    if keras.backend.backend() != "tensorflow":
        return "auto"
    return "auto" if keras.distribution.list_devices("gpu") else False
