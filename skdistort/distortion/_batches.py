"""What a generator G is given to learn from: images, or embeddings and what lies between them.

The networks and their loss are in `_training`.
"""

from functools import partial

import numpy as np

from .._labels import encode_classes
from ..images._layout import to_unit_range
from ..training._batches import IndexedBatches, StreamedBatches, balanced_draw, draw_shuffled
from ._directions import rotate_at_random

# Samples of a class in a batch, where F learns too.
_SAMPLES_PER_CLASS = 8


def indexed_batches(
    images,
    rows,
    *,
    case,
    embeddings,
    labels,
    keyed,
    pixel_range,
    batch_size,
    rng,
    redraw,
    directions=None,
):
    """Make batches of images that are read by row numbers, for the training network and its loss.

    Parameters
    ----------
    images : ndarray or StoredImages of shape (n_samples, height, width, channels)
        Images, in the units of the data.
    rows : ndarray of int
        The samples to use.
    case : TrainingCase
        What G sees, and where F(X) comes from.
    embeddings : ndarray of shape (n_samples, m) or None
        F(X), if they are the target or seen.
    labels : ndarray of int, shape (n_samples,), or None
        Classes, if F learns.
    keyed : bool
        Whether embeddings that G sees come under keys drawn at random; if not, they are mixed.
    pixel_range : tuple of 2 float
        The pixels that become 0 and 1.
    batch_size : int
        Images in a batch.
    rng : numpy.random.RandomState
        Source of the draws.
    redraw : bool
        Whether to draw again after each epoch.
    directions : tuple or None, default=None
        What keys turn among themselves, see :func:`rotate_at_random`.

    Returns
    -------
    keras.utils.PyDataset
        The batches: a dict of inputs and one of targets.
    """
    if labels is not None:
        draw = balanced_draw(labels[rows], batch_size, _SAMPLES_PER_CLASS)
    else:
        draw = partial(draw_shuffled, n_samples=len(rows), batch_size=batch_size)
    rotate = partial(rotate_at_random, directions=directions)
    if keyed and not redraw:
        # Rotated once, to stay as they are.
        embeddings = rotate(embeddings, rng)
    vary = None
    if redraw and case.sees == "embedding":
        vary = rotate if keyed else mix_at_random

    def gather(batch):
        picked = rows[batch]
        given = {"image": to_unit_range(images[picked], pixel_range)}
        if embeddings is not None:
            seen = embeddings[picked]
            given["embedding"] = seen if vary is None else vary(seen, rng)
        return _inputs_and_targets(case, given, None if labels is None else labels[picked])

    return IndexedBatches(draw, gather, rng, redraw)


def streamed_batches(
    stream, rows, *, case, n_components, learns, pixel_range, rng, redraw, directions=None
):
    """Make batches of images that come in batches and may never be the same.

    The network computes F(X) of them itself.

    Parameters
    ----------
    stream : ImageStream
        Images, in the units of the data.
    rows : ndarray of int
        Images to use; with one, the whole of its batch.
    case : TrainingCase
        What G sees.
    n_components : int
        Length of an embedding.
    learns : bool
        Whether F learns, from the classes in the batches.
    pixel_range : tuple of 2 float
        The pixels that become 0 and 1.
    rng : numpy.random.RandomState
        Source of the draws.
    redraw : bool
        Whether to draw again after each epoch.
    directions : tuple or None, default=None
        What keys turn among themselves, see :func:`rotate_at_random`.

    Returns
    -------
    keras.utils.PyDataset
        The batches: a dict of inputs and one of targets.
    """
    prepare = partial(
        _prepare_images,
        case=case,
        n_components=n_components,
        directions=directions,
        pixel_range=pixel_range,
        learns=learns,
        # What is watched is F(X), of which templates will be made.
        largest_share=float(redraw),
    )
    return StreamedBatches(stream, prepare, rows, rng=rng, redraw=redraw, learns=learns)


def _prepare_images(
    images, classes, rng, *, case, n_components, pixel_range, learns, largest_share, directions=None
):
    """Make inputs and targets of a batch of images; other processes can find it by its name."""
    given = {"image": to_unit_range(images, pixel_range)}
    if "direction" in case.inputs:
        first = np.eye(n_components)[0] if directions is None else directions[0][:, 0]
        given["direction"] = rotate_at_random(np.tile(first, (len(images), 1)), rng, directions)
    if "share" in case.inputs:
        given["share"] = rng.uniform(0, largest_share, (len(images), 1)).astype(np.float32)
    return _inputs_and_targets(case, given, encode_classes(images, classes) if learns else None)


def _inputs_and_targets(case, given, labels):
    """Sort what a batch gives into what the network takes and what its loss takes."""
    targets = {"image": given["image"]}
    if case.target == "embedding":
        targets["embedding"] = given["embedding"]
    if labels is not None:
        targets["label"] = labels
    return {name: given[name] for name in case.inputs}, targets


def mix_at_random(embeddings, rng):
    """Mix each embedding z of a batch with another one z' of it, by a share drawn at random.

    Of few images there are few embeddings, and G meets others later. Between two on the sphere
    there is always another: ``(1 - w) z / ||z|| + w z' / ||z'||``, scaled to the length of z, with
    w uniform in ``[0, 1)``. The other is that of the same place from the end.

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
    >>> from skdistort.distortion._batches import mix_at_random
    >>> Z = mix_at_random(np.eye(3), np.random.RandomState(0))
    >>> np.linalg.norm(Z, axis=1).round(6).tolist()
    [1.0, 1.0, 1.0]
    """
    shares = rng.random_sample((len(embeddings), 1))
    # An embedding of length 0 stays what it is.
    tiny = np.finfo(np.float32).tiny
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    units = embeddings / np.maximum(lengths, tiny)
    mixed = (1 - shares) * units + shares * units[::-1]
    found = np.linalg.norm(mixed, axis=1, keepdims=True)
    return (mixed * (lengths / np.maximum(found, tiny))).astype(np.float32)
