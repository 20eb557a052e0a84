"""From mined clients and impostors to batches of triplets, for estimators that train on them.

Which samples are chosen is decided in :mod:`skdistort.selection`; in what space they are compared,
and how a batch is put together, here.
"""

from functools import partial

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from ._batches import IndexedBatches, draw_triplets


def fit_selection_space(space, images, rng):
    """Fit the space in which unlabelled samples are compared, and bring them into it.

    Parameters
    ----------
    space : transformer or None
        Cloned and fitted. It is given images ``(n, height, width, channels)`` if its tags say
        that it takes more than two dimensions, else flat rows. None means PCA to 32 components.
    images : ndarray of shape (n_samples, height, width, channels)
        The samples.
    rng : numpy.random.RandomState
        Seeds the PCA.

    Returns
    -------
    ndarray of shape (n_samples, d), dtype float32
        The samples in the space.
    """
    rows = images.reshape(len(images), -1)
    if space is None:
        space = PCA(n_components=min(32, *rows.shape), random_state=rng)
    else:
        space = clone(space)
    X = images if _takes_images(space) else rows
    return np.asarray(space.fit(X, None).transform(X), dtype=np.float32)


def triplet_batches(images, selection, rows, *, batch_size, rng, redraw):
    """Make batches that stack anchors, clients and impostors in thirds.

    Parameters
    ----------
    images : ndarray of shape (n_samples, height, width, channels)
        The samples.
    selection : tuple of 3 ndarray
        Anchors, clients and impostors, as the functions of :mod:`skdistort.selection` give
        them: positions in `rows`.
    rows : ndarray of int
        Row numbers of `images`.
    batch_size : int
        The most images in a batch.
    rng : numpy.random.RandomState
        Source of the draws.
    redraw : bool
        Whether to draw anew for each epoch.

    Returns
    -------
    IndexedBatches
        Batches ``(images,)``.
    """
    anchors, clients, impostors = selection
    return IndexedBatches(
        partial(
            draw_triplets,
            anchors=anchors,
            clients=clients,
            impostors=impostors,
            batch_size=batch_size,
        ),
        lambda batch: (images[rows[batch]],),
        rng,
        redraw,
    )


def _takes_images(transformer):
    # A pipeline's tags do not tell, its first step's do.
    while isinstance(transformer, Pipeline):
        transformer = transformer.steps[0][1]
    return get_tags(transformer).input_tags.three_d_array
