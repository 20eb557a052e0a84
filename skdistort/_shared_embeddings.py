"""Embeddings of the images that generators learn from, kept for the next one to use.

The candidates of a search over alpha or pi_emb have the same frozen F and the same images.

Compiled networks are kept elsewhere, in `_compiled`.
"""

from collections import OrderedDict
from hashlib import sha256
from threading import Lock

import numpy as np


class SharedEmbeddings:
    """Embeddings by what they were computed from: the network and the pixels, not who asked.

    Parameters
    ----------
    limit : int
        How many bytes to keep at most; the ones asked for last stay.
    """

    def __init__(self, limit):
        self._limit = limit
        self._found = OrderedDict()
        self._lock = Lock()

    def predict(self, network, images, batch_size):
        """Embed images, unless the same ones have been embedded by the same network lately.

        Parameters
        ----------
        network : StoredNetwork
            The embedder F.
        images : ndarray of shape (n_samples, height, width, channels)
            Images, in memory.
        batch_size : int
            Rows at a time.

        Returns
        -------
        ndarray of shape (n_samples, n_components), dtype float32
            Embeddings, the caller's own.
        """
        key = _digest(network, images, batch_size)
        with self._lock:
            found = self._found.pop(key, None)
        if found is None:
            found = network.predict(images, batch_size)
        with self._lock:
            self._found[key] = found
            while sum(kept.nbytes for kept in self._found.values()) > self._limit:
                self._found.popitem(last=False)
        return found.copy()

    def clear(self):
        """Let go of all embeddings."""
        with self._lock:
            self._found.clear()


def _digest(network, images, batch_size):
    """Sum up all that embeddings depend on."""
    # The size of a batch may show in the last bit, which must not depend on who came before.
    described = network.config, batch_size, images.shape, images.dtype.str
    found = sha256(repr(described).encode())
    for values in (*network.weights, images):
        found.update(np.ascontiguousarray(values))
    return found.digest()
