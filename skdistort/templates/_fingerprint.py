"""Which encoder the embeddings of a store are of: told apart by all that they depend on."""

import hashlib
import json
from operator import is_

from sklearn.frozen import FrozenEstimator

from ..persistence._document import Encoder

# What may change without an embedding changing.
_PARAMS = {"batch_size", "callbacks", "memory", "n_jobs", "random_state", "verbose", "warm_start"}
_FITTED = {"calibration_", "history_", "log_likelihoods_", "n_anchors_", "threshold_"}


class EncoderFingerprint:
    """Name an encoder, and take little time where it is the one of the last call.

    Parameters
    ----------
    encoder : estimator
        A fitted transformer.
    """

    def __init__(self, encoder):
        self._encoder = encoder
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
            If something in the encoder is of a kind that cannot be told from another one.
        """
        writer = Encoder()
        encoder = self._encoder
        while isinstance(encoder, FrozenEstimator):
            encoder = encoder.estimator
        try:
            document = writer.encode(encoder, "encoder")
        except (TypeError, ValueError) as error:
            raise TypeError(f"The encoder cannot be told from another one: {error}") from error
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
    """Leave out what changes no embedding; add to `starts` where the bytes of arrays begin."""
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
