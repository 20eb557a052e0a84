"""Estimators told apart by all that what they give depends on.

So that a store of embeddings, or features on a disk, belong to what they are of.
"""

import hashlib
import json
from operator import is_

from sklearn.frozen import FrozenEstimator

from ._document import Encoder

# What may change without a result changing.
_PARAMS = {"batch_size", "callbacks", "memory", "n_jobs", "random_state", "verbose", "warm_start"}
_FITTED = {"calibration_", "history_", "log_likelihoods_", "n_anchors_", "threshold_"}


class Fingerprint:
    """Name an estimator, and take little time where it is the one of the last call.

    Parameters
    ----------
    estimator : estimator
        A transformer, fitted if it learns.
    role : str
        What to call it in messages.
    """

    def __init__(self, estimator, role):
        self._estimator, self._role = estimator, role
        self._text, self._arrays, self._name = None, [], None

    def __call__(self):
        """Give the name.

        Returns
        -------
        str
            SHA-256, in hexadecimal, of the classes, parameters, networks and fitted attributes.

        Raises
        ------
        TypeError
            If something in it is of a kind that cannot be told from another one.
        """
        writer = Encoder()
        estimator = self._estimator
        while isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        try:
            document = writer.encode(estimator, self._role)
        except (TypeError, ValueError) as error:
            raise TypeError(f"The {self._role} cannot be told from another one: {error}") from error
        starts = []
        parts = [_relevant(part, starts) for part in (document, writer.networks)]
        text = json.dumps(parts, sort_keys=True)
        arrays = _arrays_at(starts, writer.arrays)
        same = len(arrays) == len(self._arrays) and all(map(is_, arrays, self._arrays))
        if not (same and text == self._text):
            digest = hashlib.sha256(text.encode())
            for array in arrays:
                digest.update(array.tobytes())
            self._text, self._arrays, self._name = text, arrays, digest.hexdigest()
        return self._name


def _relevant(node, starts):
    """Leave out what changes no result; add to `starts` where the bytes of arrays begin."""
    if isinstance(node, list):
        return [_relevant(item, starts) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") == "array":
        starts.append(node["start"])
        return {key: value for key, value in node.items() if key != "start"}
    if node.get("type") == "estimator":
        kept = {"params": _PARAMS, "fitted": _FITTED}
        node = {**node, **{part: _without(node[part], names) for part, names in kept.items()}}
    return {key: _relevant(value, starts) for key, value in node.items()}


def _arrays_at(starts, arrays):
    """Find the arrays whose bytes begin there; those without bytes say all in the document."""
    at, total = {}, 0
    for array in arrays:
        if array.nbytes:
            at[total] = array
        total += array.nbytes
    return [at[start] for start in dict.fromkeys(starts) if start in at]


def _without(named, names):
    return {name: value for name, value in named.items() if name not in names}
