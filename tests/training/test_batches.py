"""Row numbers of batches: what every batch holds, and what an epoch covers."""

from itertools import combinations
from time import process_time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.stored import Batches

from skdistort.images import ImageAugmentation
from skdistort.images._streams import ImageStream
from skdistort.training._batches import (
    AugmentedBatches,
    IndexedBatches,
    draw_balanced,
    draw_shuffled,
    draw_triplets,
)
from skdistort.training._collapse import _drawn_images, embedding_spread

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=50)
seeds = st.integers(0, 2**32 - 1)


def rng_of(seed):
    return np.random.RandomState(seed)


@properties
@given(seed=seeds, n=st.integers(1, 30), batch_size=st.integers(1, 40))
def test_shuffled_batches_hold_every_row_once(seed, n, batch_size):
    rows = draw_shuffled(rng_of(seed), n, batch_size)
    size = min(batch_size, n)
    assert rows.shape == (int(np.ceil(n / size)), size)
    once, rest = np.split(rows.ravel(), [n])
    assert sorted(once) == list(range(n))
    # Filled up from the first rows; still no row twice in one batch.
    assert rest.tolist() == once[: len(rest)].tolist()
    assert all(len(set(batch)) == size for batch in rows)


def test_shuffled_order_comes_from_the_rng():
    first, second = draw_shuffled(rng_of(0), 20, 20)[0], draw_shuffled(rng_of(1), 20, 20)[0]
    assert first.tolist() == draw_shuffled(rng_of(0), 20, 20)[0].tolist()
    assert first.tolist() != second.tolist()
    assert first.tolist() != list(range(20))


@st.composite
def labellings(draw):
    """Classes of 1 to 12 rows, two at least, one of them with two rows."""
    largest = draw(st.sampled_from([1, 2, 12]))
    sizes = [draw(st.integers(2, 12))]
    sizes += draw(st.lists(st.integers(1, largest), min_size=1, max_size=8))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return rng_of(draw(seeds)).permutation(labels)


batch_sizes = st.tuples(st.integers(1, 40), st.integers(2, 8))


def in_paired_classes(labels, rows):
    """Rows of classes with two rows at least, batch by batch."""
    return [batch[np.bincount(labels)[labels[batch]] > 1] for batch in rows]


@properties
@given(seed=seeds, labels=labellings(), sizes=batch_sizes)
def test_no_row_is_twice_in_a_balanced_batch_and_each_batch_has_triplets(seed, labels, sizes):
    rows = draw_balanced(rng_of(seed), labels, *sizes)
    size = min(max(4, sizes[0]), len(labels))
    assert rows.shape == (int(np.ceil(len(labels) / size)), size)
    for batch in rows:
        assert len(set(batch)) == size
        counts = np.bincount(labels[batch])
        assert (counts > 0).sum() > 1
        assert counts.max() > 1


@properties
@given(seed=seeds, labels=labellings(), sizes=batch_sizes)
def test_rows_of_a_class_are_dealt_out_before_any_comes_again(seed, labels, sizes):
    rows = draw_balanced(rng_of(seed), labels, *sizes).ravel()
    for c in set(labels):
        drawn = rows[labels[rows] == c]
        n = (labels == c).sum()
        for start in range(0, len(drawn), n):
            turn = drawn[start : start + n]
            assert len(set(turn)) == len(turn)
    single = rows[np.bincount(labels)[labels[rows]] == 1]
    counts = np.unique(single, return_counts=True)[1]
    assert len(counts) == 0 or np.ptp(counts) <= 1


@properties
@given(seed=seeds, n_classes=st.integers(2, 8), sizes=batch_sizes)
def test_classes_of_many_rows_share_a_batch(seed, n_classes, sizes):
    batch_size, samples_per_class = max(4, sizes[0]), sizes[1]
    labels = np.repeat(np.arange(n_classes), 50)
    rows = draw_balanced(rng_of(seed), labels, batch_size, samples_per_class)
    most = min(samples_per_class, batch_size // 2)
    for batch in rows:
        counts = np.bincount(labels[batch], minlength=n_classes)
        if n_classes * most < batch_size:
            fewest_that_fill = -(-batch_size // n_classes)
            # The last class may be cut, and others be left out where the batch is full.
            assert np.count_nonzero(counts == fewest_that_fill) == batch_size // fewest_that_fill
            assert np.count_nonzero(counts) == -(-batch_size // fewest_that_fill)
        else:
            # The first and the last class may be cut.
            assert counts.max() <= most
            assert (counts > 0).sum() <= batch_size // most + 2


def test_a_large_class_leaves_room_for_small_ones():
    labels = np.repeat(np.arange(11), [10_000] + [10] * 10)
    rows = draw_balanced(rng_of(0), labels, 120, 8)
    for batch in rows:
        counts = np.bincount(labels[batch], minlength=11)
        assert counts[1:].tolist() == [10] * 10
        assert counts[0] == 20


def test_more_classes_than_fit_into_a_batch():
    labels = np.repeat(np.arange(10), 6)
    rows = draw_balanced(rng_of(0), labels, 12, 4)
    assert rows.shape == (5, 12)
    assert [len(set(labels[batch])) for batch in rows] == [3] * 5
    # Nine of the ten classes have their turn before any has its second.
    assert len(set(labels[rows[:3]].ravel())) == 9


def test_with_few_classes_all_are_in_every_batch():
    labels = np.repeat([0, 1], 20)
    rows = draw_balanced(rng_of(0), labels, 16, 4)
    assert rows.shape == (3, 16)
    assert all(np.bincount(labels[batch]).tolist() == [8, 8] for batch in rows)


def test_people_with_one_photo_are_negatives_by_their_share():
    # 20 people with 20 photos and 400 with one.
    labels = np.concatenate([np.repeat(np.arange(20), 20), np.arange(20, 420)])
    rows = draw_balanced(rng_of(0), labels, 120, 8)
    assert rows.shape == (7, 120)
    for batch, paired in zip(rows, in_paired_classes(labels, rows), strict=True):
        assert len(set(batch)) == 120
        assert len(paired) == 105
        counts = np.bincount(labels[paired])
        assert np.sort(counts)[::-1][:12].tolist() == [8] * 12


def test_people_with_one_photo_take_an_eighth_of_a_batch_at_most():
    labels = np.concatenate([np.repeat(np.arange(20), 4), np.arange(20, 2020)])
    rows = draw_balanced(rng_of(0), labels, 60, 4)
    assert [len(paired) for paired in in_paired_classes(labels, rows)] == [53] * len(rows)
    # More where there are not enough others.
    labels = np.concatenate([np.repeat(np.arange(3), 2), np.arange(3, 503)])
    rows = draw_balanced(rng_of(0), labels, 60, 4)
    assert [len(paired) for paired in in_paired_classes(labels, rows)] == [6] * len(rows)


def test_the_one_class_with_a_pair_has_a_negative():
    labels = np.array([0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    rows = draw_balanced(rng_of(0), labels, 6, 3)
    assert ((labels[rows] == 0).sum(axis=1) == 1).all()


def test_an_epoch_is_drawn_in_time_that_grows_with_the_rows():
    labels = rng_of(0).permutation(np.repeat(np.arange(20_000), 10))
    start = process_time()
    rows = draw_balanced(rng_of(0), labels, 120, 8)
    # A look at all rows for each class would take 2 s.
    assert process_time() - start < 0.8
    assert len(np.unique(rows)) > 0.8 * len(labels)


def test_balanced_batches_reach_every_row_and_every_pair_of_classes():
    labels = np.repeat(np.arange(5), [1, 2, 9, 4, 7])
    rng = rng_of(0)
    epochs = [draw_balanced(rng, labels, 8, 4) for _ in range(40)]
    assert set(np.concatenate(epochs).ravel()) == set(range(len(labels)))
    pairs = {
        pair for epoch in epochs for batch in epoch for pair in combinations(set(labels[batch]), 2)
    }
    assert len(pairs) == 10
    assert len({epoch.tobytes() for epoch in epochs}) > 35


@pytest.mark.parametrize("seed", [0, 1])
def test_balanced_batches_come_from_the_rng(seed):
    labels = np.repeat(np.arange(5), 8)
    rows = draw_balanced(rng_of(seed), labels, 8, 4)
    np.testing.assert_array_equal(rows, draw_balanced(rng_of(seed), labels, 8, 4))
    assert (rows != draw_balanced(rng_of(seed + 1), labels, 8, 4)).any()


@st.composite
def candidates(draw):
    """Anchors, and one to four distinct candidates for each with -1 after them."""
    n = draw(st.integers(1, 12))
    rng = rng_of(draw(seeds))
    anchors = rng.permutation(100)[:n]
    tables = []
    for first in (100, 200):
        table = np.array([first + rng.permutation(100)[:4] for _ in range(n)])
        table[np.arange(4) >= rng.randint(1, 5, n)[:, None]] = -1
        tables.append(table)
    return anchors, *tables


@properties
@given(seed=seeds, found=candidates(), batch_size=st.integers(1, 40))
def test_triplets_stack_anchors_clients_and_impostors(seed, found, batch_size):
    anchors, clients, impostors = found
    rows = draw_triplets(rng_of(seed), anchors, clients, impostors, batch_size)
    third = min(max(1, batch_size // 3), len(anchors))
    assert rows.shape == (-(-len(anchors) // third), 3 * third)
    a, c, i = (part.ravel() for part in np.split(rows, 3, axis=1))
    assert sorted(a[: len(anchors)]) == sorted(anchors)
    for anchor, client, impostor in zip(a, c, i, strict=True):
        (at,) = np.flatnonzero(anchors == anchor)
        assert client in clients[at]
        assert impostor in impostors[at]
    assert (rows >= 0).all()


def test_triplets_draw_every_candidate_equally_often_and_apart():
    anchors = np.array([7, 8])
    clients = np.array([[1, 2, 3, -1], [4, -1, -1, -1]])
    impostors = np.array([[11, 12, -1, -1], [13, 14, 15, 16]])
    rng = rng_of(0)
    batches = np.concatenate(
        [draw_triplets(rng, anchors, clients, impostors, 3) for _ in range(600)]
    )
    combinations, counts = np.unique(batches[batches[:, 0] == 7], axis=0, return_counts=True)
    assert combinations.tolist() == [[7, c, i] for c in (1, 2, 3) for i in (11, 12)]
    # Binomial with mean 100 and standard deviation 9.
    assert counts.min() > 60
    assert counts.max() < 140
    combinations, counts = np.unique(batches[batches[:, 0] == 8], axis=0, return_counts=True)
    assert combinations.tolist() == [[8, 4, i] for i in (13, 14, 15, 16)]
    assert counts.min() > 100


def make_batches(seed, redraw=True):
    data = np.arange(10) * 10
    return IndexedBatches(
        lambda rng: draw_shuffled(rng, 10, 4),
        lambda rows: (data[rows], -data[rows]),
        rng_of(seed),
        redraw,
    )


def read(batches):
    return [batches[i][0].tolist() for i in range(len(batches))]


def test_indexed_batches_gather_what_was_drawn():
    batches = make_batches(0)
    rows = draw_shuffled(rng_of(0), 10, 4)
    assert len(batches) == 3
    for batch, expected in zip((batches[0], batches[1], batches[2]), rows, strict=True):
        np.testing.assert_array_equal(batch[0], 10 * expected)
        np.testing.assert_array_equal(batch[1], -10 * expected)


def test_indexed_batches_are_drawn_anew_for_every_epoch():
    epochs = []
    batches = make_batches(0)
    for _ in range(3):
        assert read(batches) == read(batches)
        epochs.append(read(batches))
        batches.on_epoch_end()
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    again = make_batches(0)
    again.on_epoch_end()
    assert read(again) == epochs[1]


def test_validation_batches_stay():
    batches = make_batches(0, redraw=False)
    before = read(batches)
    batches.on_epoch_end()
    assert read(batches) == before


def read_images(batches):
    return [batches[i][0] for i in range(len(batches))]


def augmented(seed, redraw=True):
    images = rng_of(1).random_sample((10, 6, 6, 1)).astype(np.float32)
    inner = IndexedBatches(
        lambda rng: draw_shuffled(rng, 10, 4),
        lambda rows: (images[rows], rows),
        rng_of(seed),
        redraw,
    )
    augmentation = ImageAugmentation(shift=0.2, flip=True)
    return inner, AugmentedBatches(inner, augmentation, (0.0, 1.0), rng_of(seed))


def test_augmented_batches_change_images_anew_in_every_epoch_and_nothing_else():
    inner, batches = augmented(0)
    first, rows = read_images(batches), [inner[i][1] for i in range(3)]
    assert all((batches[i][1] == rows[i]).all() for i in range(3))
    assert all((a != b).any() for a, b in zip(first, read_images(inner), strict=True))
    # In any order, and as often as they are read.
    assert (batches[2][0] == first[2]).all()
    batches.on_epoch_end()
    assert (inner[0][1] != rows[0]).any()
    again, other = augmented(0)[1], augmented(1)[1]
    assert all((a == b).all() for a, b in zip(first, read_images(again), strict=True))
    assert (read_images(other)[0] != first[0]).any()
    again.on_epoch_end()
    assert (read_images(again)[1] == read_images(batches)[1]).all()


def test_the_same_rows_are_changed_otherwise_in_the_next_epoch():
    _, batches = augmented(0, redraw=False)
    first = read_images(batches)
    batches.on_epoch_end()
    assert (read_images(batches)[0] != first[0]).any()
    batches.release()
    assert len(batches) == 0


@pytest.mark.parametrize(
    ("vectors", "spread"),
    [
        (np.eye(5), 0.8),
        (7 * np.eye(5), 0.8),
        (np.ones((5, 3)), 0),
        (np.zeros((5, 3)), 0),
        ([[1, 0], [-1, 0]], 1),
    ],
)
def test_spread_of_embeddings(vectors, spread):
    assert embedding_spread(np.array(vectors)) == pytest.approx(spread)


def test_images_of_all_classes_are_looked_at_in_any_order():
    for classes in (np.arange(2560) % 10, np.repeat(np.arange(10), 256)):
        assert len(set(_drawn_images(classes, 200))) == 10


def test_a_stream_of_sorted_images_is_looked_at_all_over():
    dataset = Batches(np.repeat(np.arange(20.0), 10)[:, None, None, None], size=10)
    stream = ImageStream(dataset, (1, 1, 1), (0.0, 19.0), [10] * 20, None)
    assert len(set(_drawn_images(stream, 32).ravel())) == 16
