"""Batches for training: shuffled, balanced over classes, or made of mined triplets.

Each is a way of drawing row numbers; :class:`IndexedBatches` turns the numbers into arrays. All
batches of an epoch have one size, so that a backend compiles the training step once. Batches that
come ready-made are :class:`StreamedBatches`; which samples are clients and impostors is decided in
:mod:`skdistort.selection`.
"""

from functools import partial

import numpy as np

from .._backend import keras
from ..images._streams import loading_options


class IndexedBatches(keras.utils.PyDataset):
    """Batches given by row numbers that are drawn anew for every epoch.

    Parameters
    ----------
    draw : callable
        ``draw(rng) -> ndarray of int, (n_batches, batch_size)``.
    gather : callable
        ``gather(rows) -> (x, y)``, the arrays of one batch.
    rng : numpy.random.RandomState
        Source of the draws.
    redraw : bool, default=True
        Whether to draw again after each epoch; validation batches stay as they are.
    """

    def __init__(self, draw, gather, rng, redraw=True):
        super().__init__()
        self._draw = draw
        self._gather = gather
        self._rng = rng
        self._redraw = redraw
        self._rows = draw(rng)

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, index):
        return self._gather(self._rows[index])

    def on_epoch_end(self):
        """Draw the next epoch's rows."""
        if self._redraw:
            self._rows = self._draw(self._rng)

    def release(self):
        """Let go of the data. There are no batches any more."""
        self._draw = self._gather = None
        self._rows = ()


def draw_shuffled(rng, n_samples, batch_size):
    """Draw every row once, in random order; the last batch is filled up from the first rows.

    Parameters
    ----------
    rng : numpy.random.RandomState
        Source of randomness.
    n_samples, batch_size : int
        Rows there are, and rows in a batch (fewer if there are not so many).

    Returns
    -------
    ndarray of int, shape (n_batches, min(batch_size, n_samples))
        Row numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.training._batches import draw_shuffled
    >>> draw_shuffled(np.random.RandomState(0), 5, 2).shape
    (3, 2)
    """
    batch_size = min(batch_size, n_samples)
    n_batches = -(-n_samples // batch_size)
    return np.resize(rng.permutation(n_samples), (n_batches, batch_size))


def draw_balanced(rng, labels, batch_size, samples_per_class):
    """Draw batches that hold positives and negatives, no row twice in one.

    Classes come in turn, each with K of its rows, or with all if it has fewer; its rows are dealt
    out in random order before any comes again. Rows that are alone in their class fill up the
    batch as negatives: by their share of all rows, but an eighth of it at most where others are
    left, since more of them would leave too few positives.

    Parameters
    ----------
    rng : numpy.random.RandomState
        Source of randomness.
    labels : ndarray of int, shape (n_samples,)
        Class of each row, 0 to ``n_classes - 1``, each present; two classes at least, one of them
        with two rows.
    batch_size : int
        Rows in a batch; 4 if it is less, or as many as there are.
    samples_per_class : int
        Rows of a class in a batch, K: fewer where two classes of K are more than a batch, more
        where all classes of K are less.

    Returns
    -------
    ndarray of int, shape (n_batches, batch_size)
        Row numbers; as few batches as hold as many rows as there are samples.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.training._batches import draw_balanced
    >>> rows = draw_balanced(np.random.RandomState(0), np.repeat([0, 1, 2], 8), 8, 4)
    >>> rows.shape, [len(np.unique(r // 8)) for r in rows]
    ((3, 8), [2, 2, 2])
    """
    sizes = np.bincount(labels)
    batch_size = min(max(4, batch_size), len(labels))
    n_batches = -(-len(labels) // batch_size)
    paired = sizes > 1
    single = np.flatnonzero(~paired[labels])
    n_paired = len(labels) - len(single)
    # The rest has to have two classes, or a single row to be their negative.
    fewest = 0 if np.count_nonzero(paired) > 1 else 1
    wanted = -(-batch_size * len(single) // len(labels))
    n_single = max(fewest, min(wanted, batch_size // 8), batch_size - n_paired)
    n_of_pairs = batch_size - n_single
    turns, places = _class_turns(rng, sizes[paired], n_of_pairs, n_batches, samples_per_class)
    rows = _rows_of_turns(rng, labels, sizes, np.flatnonzero(paired)[turns], places)
    rows = rows[: n_batches * n_of_pairs]
    fillers = np.resize(rng.permutation(single), (n_batches, n_single))
    return np.concatenate([rows.reshape(n_batches, n_of_pairs), fillers], axis=1)


def _class_turns(rng, sizes, length, n_batches, samples_per_class):
    """Tell which classes come in turn into batches of so many rows, K rows of each at most.

    Parameters
    ----------
    rng : numpy.random.RandomState
        Source of randomness.
    sizes : ndarray of int, shape (n_classes,)
        Rows of each class.
    length, n_batches : int
        Places in a batch, no more than there are rows; and batches.
    samples_per_class : int
        K.

    Returns
    -------
    turns : ndarray of int, shape (n_turns,)
        Classes.
    places : ndarray of int, shape (n_turns,)
        Rows of each turn, together as many as fill the batches or more.
    """
    most = min(samples_per_class, max(2, length // 2))
    if np.minimum(sizes, most).sum() < length:
        most = _fewest_that_fill(sizes, length)
    shares = np.minimum(sizes, most)
    # Whole batches out of each round, so that no class has two turns in one batch.
    batches_per_round = shares.sum() // length
    n_rounds = -(-n_batches // batches_per_round)
    order = np.argsort(rng.random_sample((n_rounds, len(sizes))), axis=1)
    ends = np.minimum(np.cumsum(shares[order], axis=1), batches_per_round * length)
    places = np.diff(ends, axis=1, prepend=0)
    return order.ravel(), places.ravel()


def _fewest_that_fill(sizes, length):
    """Find the least K for which classes, of K rows at most each, have so many rows together."""
    ascending = np.sort(sizes)
    # Rows there are if K is each of the sizes.
    before = np.cumsum(ascending) - ascending
    held = before + ascending * np.arange(len(sizes), 0, -1)
    first = np.searchsorted(held, length)
    return int(-(-(length - before[first]) // (len(sizes) - first)))


def _rows_of_turns(rng, labels, sizes, turns, places):
    """Deal out each class's rows in random order to its turns, again from the first at the end."""
    by_class = np.argsort(labels, kind="stable")
    # Random within each class.
    by_class = by_class[np.argsort(labels[by_class] + rng.random_sample(len(labels)))]
    first = np.cumsum(sizes) - sizes
    # How many rows of its class the turns before each one have taken.
    order = np.argsort(turns, kind="stable")
    taken = np.cumsum(places[order]) - places[order]
    n_turns = np.bincount(turns, minlength=len(sizes))
    taken -= np.repeat(taken[(np.cumsum(n_turns) - n_turns)[n_turns > 0]], n_turns[n_turns > 0])
    before = np.empty_like(taken)
    before[order] = taken
    within = np.arange(places.sum()) - np.repeat(np.cumsum(places) - places - before, places)
    classes = np.repeat(turns, places)
    return by_class[first[classes] + within % sizes[classes]]


def balanced_draw(labels, batch_size, samples_per_class):
    """Make a way of drawing balanced batches, after a look at whether they can hold triplets.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,)
        Class of each row.
    batch_size, samples_per_class : int
        See :func:`draw_balanced`.

    Returns
    -------
    callable
        ``draw(rng)``, as :class:`IndexedBatches` takes it.

    Raises
    ------
    ValueError
        If there are fewer than two classes, or none with two samples.
    """
    classes, inverse = np.unique(labels, return_inverse=True)
    if len(classes) < 2 or np.bincount(inverse).max() < 2:
        raise ValueError(
            f"y has {len(classes)} class(es) among the {len(labels)} samples of a split; the "
            "triplet loss needs at least two classes and one of them with two samples."
        )
    return partial(
        draw_balanced, labels=inverse, batch_size=batch_size, samples_per_class=samples_per_class
    )


def draw_triplets(rng, anchors, clients, impostors, batch_size):
    """Draw batches of (anchor, client, impostor), one client and impostor for each anchor.

    Parameters
    ----------
    rng : numpy.random.RandomState
        Source of randomness.
    anchors : ndarray of int, shape (n_anchors,)
        Row numbers of the anchors.
    clients, impostors : ndarray of int, shape (n_anchors, k)
        Row numbers to choose from, -1 where there are fewer than k; at least one in each row.
    batch_size : int
        The most rows in a batch, all three roles together.

    Returns
    -------
    ndarray of int, shape (n_batches, 3 * b)
        Row numbers: b anchors, then their clients, then their impostors.
    """
    order = draw_shuffled(rng, len(anchors), max(1, batch_size // 3))
    columns = [_choose_one(rng, candidates[order]) for candidates in (clients, impostors)]
    return np.concatenate([anchors[order], *columns], axis=1)


def _choose_one(rng, candidates):
    """Choose one of the non-negative numbers along the last axis; they stand first."""
    counts = np.sum(candidates >= 0, axis=-1)
    chosen = (rng.random_sample(counts.shape) * counts).astype(np.intp)
    return np.take_along_axis(candidates, chosen[..., None], axis=-1)[..., 0]


def split_rows(rows, fraction, groups, rng):
    """Split row numbers at random in two, each in order.

    Parameters
    ----------
    rows : ndarray of int
        Row numbers.
    fraction : float
        Share of the second part: of the rows, or of the groups where there are any.
    groups : ndarray of shape (n_samples,) or None
        Group of each sample, the whole of which comes into one part.
    rng : numpy.random.RandomState
        Source of randomness.

    Returns
    -------
    first : ndarray of int
        The first part.
    second : ndarray of int
        The second part.
    """
    units = rows if groups is None else groups[rows]
    names = np.unique(units)
    drawn = rng.permutation(names)[: int(round(fraction * len(names)))]
    second = np.isin(units, drawn)
    return rows[~second], rows[second]


def spawn_rng(rng):
    """Derive an independent generator, so that one consumer's draws do not shift another's.

    Parameters
    ----------
    rng : numpy.random.RandomState
        The parent; advanced by one draw.

    Returns
    -------
    numpy.random.RandomState
        The child.
    """
    return np.random.RandomState(rng.randint(2**31 - 1))


def triplet_batches(images, selection, rows, *, batch_size, rng, redraw):
    """Make batches that stack anchors, clients and impostors in thirds.

    Parameters
    ----------
    images : ndarray or StoredImages of shape (n_samples, height, width, channels)
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


class StreamedBatches(keras.utils.PyDataset):
    """Some batches of a stream, made ready for a network, in an order drawn for every epoch.

    Parameters
    ----------
    stream : ImageStream
        The batches.
    prepare : callable
        ``prepare(images, classes, rng) -> (x, y)``.
    rows : ndarray of int
        Images to use; with one, the whole of its batch.
    rng : numpy.random.RandomState
        Source of the order, and of the seed of what each batch draws.
    redraw : bool
        Whether to go on after each epoch; validation batches stay as they are.
    learns : bool, default=False
        Whether a triplet loss learns from the classes.

    Raises
    ------
    ValueError
        If it does and no batch has a triplet.
    """

    def __init__(self, stream, prepare, rows, *, rng, redraw, learns=False):
        super().__init__(**loading_options(stream))
        self._stream = stream
        self._numbers = np.unique(stream.batch_numbers[rows])
        self._prepare = prepare
        self._rng = rng
        self._redraw = redraw
        self._seed = rng.randint(2**31 - 1)
        self._epoch = 0
        if learns and not np.any(np.array(stream.with_triplets)[self._numbers]):
            raise ValueError(
                f"None of the {len(self._numbers)} batches of a split of X has two classes and "
                "two images of one of them, as the triplet loss needs."
            )
        if redraw:
            rng.shuffle(self._numbers)

    def __len__(self):
        return len(self._numbers)

    def __getitem__(self, index):
        number = self._numbers[index]
        # Of its own, so that batches read by several threads draw the same in any order.
        rng = np.random.RandomState([self._seed, self._epoch, number])
        return self._prepare(*self._stream[number], rng)

    def on_epoch_begin(self):
        """Let the dataset do what it does."""
        if self._redraw:
            self._stream.on_epoch_begin()

    def on_epoch_end(self):
        """Draw the next epoch's order, and let the dataset do what it does."""
        if self._redraw:
            self._epoch += 1
            self._rng.shuffle(self._numbers)
            self._stream.on_epoch_end()

    def release(self):
        """Let go of the data. There are no batches any more."""
        self._stream = self._prepare = None
        self._numbers = ()


class AugmentedBatches(keras.utils.PyDataset):
    """Batches whose images are changed at random, anew in every epoch.

    Parameters
    ----------
    batches : IndexedBatches or StreamedBatches
        Batches ``(images, ...)``.
    augmentation : ImageAugmentation
        The changes.
    pixel_range : tuple of 2 float
        The darkest and brightest value that a pixel can have.
    rng : numpy.random.RandomState
        Source of the seed of what each batch draws.
    """

    def __init__(self, batches, augmentation, pixel_range, rng):
        super().__init__(**loading_options(batches))
        self._batches = batches
        self._augmentation = augmentation
        self._pixel_range = pixel_range
        self._seed = rng.randint(2**31 - 1)
        self._epoch = 0

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        images, *rest = self._batches[index]
        # Of its own, so that batches read by several threads draw the same in any order.
        rng = np.random.RandomState([self._seed, self._epoch, index])
        return self._augmentation.apply(images, rng, self._pixel_range), *rest

    def on_epoch_begin(self):
        """Let the batches do what they do."""
        self._batches.on_epoch_begin()

    def on_epoch_end(self):
        """Let the batches do what they do, and change images in other ways."""
        self._epoch += 1
        self._batches.on_epoch_end()

    def release(self):
        """Let go of the data. There are no batches any more."""
        self._batches.release()
