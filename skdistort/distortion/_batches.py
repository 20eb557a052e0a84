"""What a generator G is given to learn from: images, or embeddings, plain or rotated at random.

The networks and their loss are not here but in :mod:`skdistort.distortion._training`.
"""

from functools import partial

import numpy as np

from .._labels import encode_classes
from ..images._layout import to_unit_range
from ..training._batches import IndexedBatches, StreamedBatches, balanced_draw, draw_shuffled

# Samples of a class in a batch, where F learns too.
_SAMPLES_PER_CLASS = 8


def generator_batches(
    images, embeddings, rows, *, pixel_range, sees_image, keyed, labels, batch_size, rng, redraw
):
    """Make the batches of `build_training_network` and its loss.

    Parameters
    ----------
    images : ndarray or StoredImages of shape (n_samples, height, width, channels)
        Images, in the units of the data.
    embeddings : ndarray of shape (n_samples, m)
        F(X), as F is at the start.
    rows : ndarray of int
        The samples to use.
    pixel_range : tuple of 2 float
        The pixels that become 0 and 1.
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
        image, embedding = to_unit_range(images[picked], pixel_range), embeddings[picked]
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


def streamed_generator_batches(
    stream, rows, *, pixel_range, sees_image, keyed, n_components, learns, rng, redraw
):
    """Make batches like those of :func:`generator_batches` of images that are never the same.

    The network computes F(X) of them itself.

    Parameters
    ----------
    stream : ImageStream
        Images, in the units of the data.
    rows : ndarray of int
        Images to use; with one, the whole of its batch.
    pixel_range : tuple of 2 float
        The pixels that become 0 and 1.
    sees_image : bool
        Whether G sees the image, or an embedding.
    keyed : bool
        Whether that embedding is F(X) in a direction drawn at random.
    n_components : int
        Length of an embedding.
    learns : bool
        Whether F learns, from the classes in the batches.
    rng : numpy.random.RandomState
        Source of the draws.
    redraw : bool
        Whether to draw again after each epoch.

    Returns
    -------
    keras.utils.PyDataset
        The batches: a dict of inputs and one of targets.
    """
    prepare = partial(
        _prepare_images,
        pixel_range=pixel_range,
        # Directions, where G sees them, have as many components as an embedding.
        n_directions=n_components if keyed and not sees_image else 0,
        sees_image=sees_image,
        learns=learns,
    )
    return StreamedBatches(stream, prepare, rows, rng=rng, redraw=redraw, learns=learns)


def _prepare_images(images, classes, rng, *, pixel_range, n_directions, sees_image, learns):
    """Make inputs and targets of a batch of images; other processes can find it by its name."""
    image = to_unit_range(images, pixel_range)
    x, y = {"image": image}, {"image": image}
    if sees_image:
        x["seen"] = image
    if n_directions:
        unit_vectors = np.tile(np.eye(1, n_directions), (len(image), 1))
        x["direction"] = rotate_at_random(unit_vectors, rng)
    if learns:
        y["label"] = encode_classes(images, classes)
    return x, y


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
    >>> from skdistort.distortion._batches import rotate_at_random
    >>> Z = rotate_at_random(np.eye(3), np.random.RandomState(0))
    >>> np.linalg.norm(Z, axis=1).round(6).tolist()
    [1.0, 1.0, 1.0]
    """
    drawn = rng.standard_normal(embeddings.shape)
    lengths = np.linalg.norm(embeddings, axis=1) / np.linalg.norm(drawn, axis=1)
    return (drawn * lengths[:, None]).astype(np.float32)
