"""From mined clients and impostors to batches of triplets, for estimators that train on them.

By which rule samples are chosen is decided in :mod:`skdistort.selection`; in what space they are
compared, which of them a rule is given, and how a batch is put together, here.
"""

from math import prod

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils import check_array, get_tags

from ..images._sources import is_stored, joined, pieces

# 128 MB of float32.
_SPACE_VALUES = 2**25


def fit_selection_space(space, images, rng):
    """Fit the space in which unlabelled samples are compared, and bring them into it.

    Parameters
    ----------
    space : transformer or None
        Cloned and fitted. It is given images ``(n, height, width, channels)`` if its tags say
        that it takes more than two dimensions, else flat rows. None means PCA to 32 components.
    images : ndarray or StoredImages of shape (n_samples, height, width, channels)
        The samples. Of stored ones as many as memory should hold, drawn at random, fit the space.
    rng : numpy.random.RandomState
        Draws them, and seeds the PCA.

    Returns
    -------
    ndarray of shape (n_samples, d), dtype float32
        The samples in the space.
    """
    sample = images
    if is_stored(images):
        most = max(1, _SPACE_VALUES // prod(images.shape[1:]))
        if most < len(images):
            sample = images[np.sort(rng.choice(len(images), most, replace=False))]
        else:
            sample = images[:]
    if space is None:
        n_components = min(32, len(sample), prod(images.shape[1:]))
        space = PCA(n_components=n_components, random_state=rng)
    else:
        space = clone(space)

    def as_taken(X):
        return X if _takes_images(space) else X.reshape(len(X), -1)

    # A data frame, which a global setting may ask for, could not hold what a first step gives.
    with config_context(transform_output="default"):
        space.fit(as_taken(sample), None)
        found = joined(space.transform(as_taken(piece)) for piece, _ in pieces(images))
    return np.asarray(found, dtype=np.float32)


def check_selection_vectors(vectors, impostor_vectors, n_samples, n_impostors):
    """Validate vectors that stand in for a selection space.

    Parameters
    ----------
    vectors, impostor_vectors : array-like or None
        What ``fit`` was given.
    n_samples : int
        How many vectors there must be.
    n_impostors : int or None
        How many of impostors; None where there is no second database.

    Returns
    -------
    ndarray of shape (n_samples + n_impostors, d) or None
        The samples' vectors, then the impostors'; None where none were given.
    """
    given = {"selection_vectors": (vectors, n_samples)}
    if n_impostors is not None:
        given["impostor_vectors"] = (impostor_vectors, n_impostors)
    elif impostor_vectors is not None:
        raise ValueError("impostor_vectors were given without an impostor_database.")
    missing = [name for name, (values, _) in given.items() if values is None]
    if missing and len(missing) < len(given):
        raise ValueError(
            "With an impostor_database, selection_vectors and impostor_vectors must be given "
            f"together, or neither; {missing[0]} is missing."
        )
    if missing:
        return None
    found = []
    for name, (values, n) in given.items():
        values = check_array(values, dtype=[np.float64, np.float32], input_name=name)
        if len(values) != n:
            raise ValueError(f"{name} has {len(values)} vectors for {n} samples.")
        if found and values.shape[1] != found[0].shape[1]:
            raise ValueError(
                f"{name} has vectors of {values.shape[1]} components, selection_vectors of "
                f"{found[0].shape[1]}."
            )
        found.append(values)
    return np.concatenate(found)


def _takes_images(transformer):
    # The tags of what holds others do not tell, those of the one that is given the samples do.
    if isinstance(transformer, FrozenEstimator):
        return _takes_images(transformer.estimator)
    if isinstance(transformer, (Pipeline, FeatureUnion)):
        is_pipeline = isinstance(transformer, Pipeline)
        named = transformer.steps if is_pipeline else transformer.transformer_list
        held = [part for _, part in named if part not in (None, "passthrough", "drop")]
        return any(map(_takes_images, held[:1] if is_pipeline else held))
    return get_tags(transformer).input_tags.three_d_array
