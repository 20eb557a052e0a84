"""Selection of clients and impostors, against one pair of vectors at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdistort.selection import nearest_by_cosine, select_clients_and_impostors

properties = settings(deadline=None, max_examples=50)
seeds = st.integers(0, 2**32 - 1)


def make_vectors(n, seed, d=3, dtype=np.float64):
    return (7 * np.random.default_rng(seed).standard_normal((n, d))).astype(dtype)


def true_neighbours(queries, database, k, lowest=-1.0, highest=1.0, exclude_same_index=False):
    found = np.full((len(queries), k), -1)
    for i, query in enumerate(queries):
        cosines = {
            j: query @ vector / np.linalg.norm(query) / np.linalg.norm(vector)
            for j, vector in enumerate(np.float64(database))
            if not (exclude_same_index and i == j)
        }
        # Thresholds first: the k best are those of the ones that pass.
        passed = [j for j, cosine in cosines.items() if lowest <= cosine <= highest]
        best = sorted(passed, key=cosines.get, reverse=True)[:k]
        found[i, : len(best)] = best
    return found


@properties
@given(
    n_queries=st.integers(1, 9),
    n_database=st.integers(1, 9),
    k=st.integers(1, 12),
    thresholds=st.tuples(st.floats(-1, 1), st.floats(-1, 1)).map(sorted),
    block_size=st.integers(1, 10),
    seed=seeds,
)
def test_nearest_in_another_database(n_queries, n_database, k, thresholds, block_size, seed):
    queries, database = make_vectors(n_queries, seed), make_vectors(n_database, seed + 1)
    lowest, highest = thresholds
    found = nearest_by_cosine(
        queries, database, k, lowest=lowest, highest=highest, block_size=block_size
    )
    expected = true_neighbours(queries, database, k, lowest, highest)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@properties
@given(
    n=st.integers(1, 9),
    k=st.integers(1, 12),
    lowest=st.sampled_from([-1.0, -0.3, 0.4]),
    block_size=st.integers(1, 10),
    seed=seeds,
)
def test_nearest_others_in_one_database(dtype, n, k, lowest, block_size, seed):
    X = make_vectors(n, seed, dtype=dtype)
    found = nearest_by_cosine(
        X, X, k, lowest=lowest, exclude_same_index=True, block_size=block_size
    )
    np.testing.assert_array_equal(found, true_neighbours(X, X, k, lowest, exclude_same_index=True))
    assert found.shape == (n, k)
    assert np.issubdtype(found.dtype, np.integer)
    assert not (found == np.arange(n)[:, None]).any()


@pytest.mark.parametrize("block_size", [1, 4, 5, 7, 8, 9, 20, 21, 1024])
def test_blocks_do_not_show(block_size):
    X = make_vectors(20, 0)
    found = nearest_by_cosine(X, X, 5, exclude_same_index=True, block_size=block_size)
    np.testing.assert_array_equal(found, true_neighbours(X, X, 5, exclude_same_index=True))


def test_a_vector_is_its_own_nearest_unless_excluded():
    X = make_vectors(20, 0)
    assert nearest_by_cosine(X, X, 1)[:, 0].tolist() == list(range(20))
    # Excluded is the row, not its value: an equal vector elsewhere is the nearest.
    twice = np.concatenate([X, X])
    found = nearest_by_cosine(twice, twice, 1, exclude_same_index=True)[:, 0]
    assert found.tolist() == [*range(20, 40), *range(20)]


def test_thresholds_are_inclusive():
    queries = np.array([[1.0, 0.0]])
    database = np.array([[2.0, 0.0], [0.0, 3.0], [-4.0, 0.0]])

    def found(lowest, highest):
        return nearest_by_cosine(queries, database, 3, lowest=lowest, highest=highest).tolist()

    assert found(-1.0, 1.0) == [[0, 1, 2]]
    assert found(0.0, 1.0) == [[0, 1, -1]]
    assert found(0.1, 1.0) == [[0, -1, -1]]
    assert found(-1.0, 0.0) == [[1, 2, -1]]
    assert found(-1.0, -0.1) == [[2, -1, -1]]
    assert found(0.1, 0.9) == [[-1, -1, -1]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_excludes_neither_equal_nor_opposite_vectors(dtype):
    X = make_vectors(500, 0, d=7, dtype=dtype)
    others = np.concatenate([3 * X, -3 * X])
    found = nearest_by_cosine(X, others, len(others))
    assert found[:, 0].tolist() == list(range(500))
    assert found[:, -1].tolist() == list(range(500, 1000))


def test_scale_and_the_input_are_left_alone():
    X = make_vectors(12, 0)
    before = X.copy()
    scales = np.linspace(0.1, 50, 12)[:, None]
    np.testing.assert_array_equal(nearest_by_cosine(X, X, 4), nearest_by_cosine(scales * X, X, 4))
    np.testing.assert_array_equal(X, before)


@properties
@given(
    n=st.integers(2, 10),
    k=st.integers(1, 12),
    client_threshold=st.sampled_from([-0.5, 0.2, 0.8]),
    impostor_threshold=st.sampled_from([-0.5, 0.0, 0.3]),
    seed=seeds,
)
def test_clients_and_impostors(n, k, client_threshold, impostor_threshold, seed):
    Z = make_vectors(n, seed)
    all_clients = true_neighbours(Z, Z, k, lowest=client_threshold, exclude_same_index=True)
    all_impostors = true_neighbours(Z, Z, k, highest=impostor_threshold, exclude_same_index=True)
    expected = [i for i in range(n) if all_clients[i].max() >= 0 and all_impostors[i].max() >= 0]

    def select():
        return select_clients_and_impostors(
            Z, k, client_threshold=client_threshold, impostor_threshold=impostor_threshold
        )

    if not expected:
        with pytest.raises(ValueError, match="No sample has both"):
            select()
        return
    anchors, clients, impostors = select()
    assert anchors.tolist() == expected
    np.testing.assert_array_equal(clients, all_clients[expected])
    np.testing.assert_array_equal(impostors, all_impostors[expected])


def test_default_thresholds():
    # Cosines with the first: 0.25 (a client), 0.15 (neither), -0.05 (an impostor).
    cosines = np.array([1.0, 0.25, 0.15, -0.05])
    Z = np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)
    anchors, clients, impostors = select_clients_and_impostors(Z)
    assert clients.shape == impostors.shape == (len(anchors), 10)
    assert anchors[0] == 0
    assert clients[0].tolist() == [1] + [-1] * 9
    assert impostors[0].tolist() == [3] + [-1] * 9


@pytest.mark.parametrize(
    ("Z", "counts"),
    [
        ([[1, 0], [1, 0.1], [1, 0.2]], "3 of 3 samples have a client, 0 an impostor"),
        ([[1, 0], [-1, 0], [0, 1]], "0 of 3 samples have a client, 3 an impostor"),
        ([[1, 0]], "0 of 1 samples have a client, 0 an impostor"),
    ],
    ids=["no impostor", "no client", "one sample"],
)
def test_an_error_tells_what_is_missing(Z, counts):
    with pytest.raises(ValueError, match=counts) as error:
        select_clients_and_impostors(np.array(Z, dtype=float))
    assert "client_threshold=0.2" in str(error.value)
    assert "impostor_threshold=0.0" in str(error.value)
