"""What a generator G is given to learn from: images, or embeddings, plain or rotated at random."""

from functools import partial

import numpy as np

from ._batches import IndexedBatches, balanced_draw, draw_shuffled

# Samples of a class in a batch, where F learns too.
_SAMPLES_PER_CLASS = 8


def generator_batches(
    images, embeddings, rows, *, sees_image, keyed, labels, batch_size, rng, redraw
):
    """Make the batches of :func:`skdistort._generators.build_training_network` and its loss.

    Parameters
    ----------
    images : ndarray of shape (n_samples, height, width, channels)
        Images, pixels in ``[0, 1]``.
    embeddings : ndarray of shape (n_samples, m)
        F(X), as F is at the start.
    rows : ndarray of int
        The samples to use.
    sees_image : bool
        Whether G sees the image, or an embedding.
    keyed : bool
        Whether that embedding is F(X) under a key drawn at random.
    labels : ndarray of int, shape (n_samples,), or None
        Classes, if F learns.
    batch_size : int
        Images in a batch.
    rng : numpy.random.RandomState
        Source of the draws.
    redraw : bool
        Whether to draw again after each epoch.

    Returns
    -------
    keras.utils.PyDataset
        The batches: a dict of inputs and one of targets.
    """
    learns = labels is not None
    if learns:
        draw = balanced_draw(labels[rows], batch_size, _SAMPLES_PER_CLASS)
    else:
        draw = partial(draw_shuffled, n_samples=len(rows), batch_size=batch_size)
    # Rotated once if they are to stay as they are.
    fixed = rotate_at_random(embeddings, rng) if keyed and not redraw else None

    def gather(batch):
        picked = rows[batch]
        image, embedding = images[picked], embeddings[picked]
        if keyed:
            embedding = rotate_at_random(embedding, rng) if redraw else fixed[picked]
        x, y = {}, {"image": image}
        if keyed or not learns:
            y["embedding"] = embedding
        if sees_image or "embedding" in y:
            x["seen"] = image if sees_image else embedding
        if learns:
            x["image"], y["label"] = image, labels[picked]
        return x, y

    return IndexedBatches(draw, gather, rng, redraw)


def rotate_at_random(embeddings, rng):
    """Draw R_key z for each embedding z, each under a key of its own.

    Over the keys R_key is uniformly distributed among the orthogonal maps, and R_key z among the
    vectors of the length of z, so that no map has to be made.

    Parameters
    ----------
    embeddings : ndarray of shape (n_samples, m)
        Embeddings.
    rng : numpy.random.RandomState
        Source of randomness.

    Returns
    -------
    ndarray of shape (n_samples, m), float32
        Vectors of the same lengths.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort._generator_batches import rotate_at_random
    >>> Z = rotate_at_random(np.eye(3), np.random.RandomState(0))
    >>> np.linalg.norm(Z, axis=1).round(6).tolist()
    [1.0, 1.0, 1.0]
    """
    drawn = rng.standard_normal(embeddings.shape)
    lengths = np.linalg.norm(embeddings, axis=1) / np.linalg.norm(drawn, axis=1)
    return (drawn * lengths[:, None]).astype(np.float32)
