"""Whether a trained network still tells images apart at all."""

import warnings
from math import prod

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ..images._streams import ImageStream

# The spread of embeddings, as a share of that of the images, below which they are one embedding and
# noise. Networks that were never trained have 0.1 or more, collapsed ones 0.005 or less.
MIN_SHARE = 0.01

# Images enough to tell; of large ones as many as 16 MB hold, but some.
_N_IMAGES, _VALUES, _FEWEST = 256, 2**22, 8
_N_STREAMED_BATCHES = 16


def embedding_spread(embeddings):
    """Measure how far embeddings lie from their mean, whatever their length.

    Parameters
    ----------
    embeddings : ndarray of shape (n_samples, m)
        Embeddings.

    Returns
    -------
    float
        Mean squared distance from the mean, over the mean squared length: 0 if all are the same, 1
        if they point everywhere.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.training._collapse import embedding_spread
    >>> embedding_spread(np.eye(4)), embedding_spread(np.ones((4, 4)))
    (0.75, 0.0)
    """
    Z = np.asarray(embeddings, dtype=np.float64)
    squares = np.mean(np.sum(np.square(Z), axis=1))
    distances = np.mean(np.sum(np.square(Z - Z.mean(axis=0)), axis=1))
    return float(distances / squares) if squares > 0 else 0.0


def warn_of_collapse(network, images, batch_size, *, stacklevel):
    """Warn if a trained network gives all training images next to the same embedding.

    Parameters
    ----------
    network : StoredNetwork
        The network.
    images : ndarray, StoredImages or ImageStream of shape (n_samples, height, width, channels)
        Images that it was trained on.
    batch_size : int
        Images at a time.
    stacklevel : int
        As ``warnings.warn`` takes it, counted from the caller.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        If they spread far less than the images do.
    """
    n = max(_FEWEST, min(_N_IMAGES, _VALUES // prod(images.shape[1:])))
    seen = _drawn_images(images, n)
    # Counted from the darkest pixel, so that no unit of pixels matters.
    of_images = embedding_spread((seen - seen.min()).reshape(len(seen), -1))
    spread = embedding_spread(network.predict(seen, batch_size))
    if spread < MIN_SHARE * of_images:
        warnings.warn(
            f"The embeddings collapsed: the spread of those of {len(seen)} training images is "
            f"{spread:.1e} of their squared length, of the images' pixels {of_images:.1e}, so "
            "that no image can be told from another. A smaller learning_rate, more samples of "
            "each class or another way of choosing triplets may help.",
            ConvergenceWarning,
            stacklevel=stacklevel + 1,
        )


def _drawn_images(images, n):
    """Draw some images, of as many classes as may be: neighbours are often of one."""
    rng = np.random.RandomState(0)
    if isinstance(images, ImageStream):
        drawn = rng.permutation(len(images))[:_N_STREAMED_BATCHES]
        of_each = -(-n // len(drawn))
        return np.concatenate([images[i][0][:of_each] for i in drawn])[:n]
    return images[np.sort(rng.permutation(len(images))[:n])]
