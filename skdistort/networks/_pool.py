"""Compiled Keras models, kept for the next fit or prediction of the same architecture.

Tracing and compiling a training step takes seconds, and TensorFlow frees none of its graphs; a
search over margins would pay for each candidate. What tells architectures apart lives here too;
weights do not: whoever borrows a model puts in his own.
"""

import json
from collections import OrderedDict
from contextlib import contextmanager

from .._backend import keras

# Where a configuration names layers.
_REFERENCES = ("name", "keras_history", "input_layers", "output_layers")


class ModelPool:
    """Models by what they were compiled for, the latest few of them.

    A model that is borrowed is not in the pool, so that no two threads have the same.

    Parameters
    ----------
    size : int
        How many models to keep.
    """

    def __init__(self, size):
        self._size = size
        self._models = OrderedDict()

    @contextmanager
    def borrow(self, key, build):
        """Lend a model for a while.

        Parameters
        ----------
        key : hashable
            What the model was compiled for.
        build : callable
            Makes it if there is none.

        Yields
        ------
        object
            What `build` gave, now or another time. It comes back into the pool unless the
            borrower raises.
        """
        # A model lives where Keras distributed its variables when it was made.
        key = key, keras.distribution.distribution(), keras.config.dtype_policy().name
        model = self._models.pop(key, None)
        if model is None:
            model = build()
        yield model
        self._models[key] = model
        while len(self._models) > self._size:
            self._models.popitem(last=False)

    def clear(self):
        """Let go of all models."""
        self._models.clear()


def architecture(config):
    """Write a model's configuration without what does not matter once it is built.

    Parameters
    ----------
    config : str
        The model's architecture, in Keras's JSON.

    Returns
    -------
    str
        The same for all models whose layers, shapes and connections are the same: names of layers
        and seeds of initialisers are left out.
    """
    found = json.loads(config)
    names = {}
    for name in _layer_names(found):
        names.setdefault(name, f"#{len(names)}")
    return json.dumps(_renamed(found, names))


def _layer_names(part):
    """Go through the names of a model and its layers, in the order of the configuration."""
    if isinstance(part, list):
        for value in part:
            yield from _layer_names(value)
    elif isinstance(part, dict):
        # Other objects have names too, but no dtype nor place in a graph: those of dtype policies
        # mean something.
        if "name" in part and not part.keys().isdisjoint(("dtype", "layers", "inbound_nodes")):
            yield part["name"]
        for value in part.values():
            yield from _layer_names(value)


def _renamed(part, names, key=None):
    """Put other names of layers where Keras refers to them, and take seeds out."""
    if isinstance(part, dict):
        # Outputs that have names of their own are a dict of references.
        inner = key if key in _REFERENCES else None
        return {k: None if k == "seed" else _renamed(v, names, inner or k) for k, v in part.items()}
    if isinstance(part, list):
        return [_renamed(value, names, key) for value in part]
    if isinstance(part, str) and key in _REFERENCES:
        return names.get(part, part)
    return part
