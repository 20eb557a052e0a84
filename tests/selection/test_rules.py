"""Selection of clients and impostors, against one pair of vectors at a time in exact fractions."""

import tracemalloc
from fractions import Fraction
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdistort.selection import (
    _nearest,
    nearest_by_cosine,
    select_by_class,
    select_clients_and_impostors,
    select_from_two_databases,
)

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=60)
seeds = st.integers(0, 2**32 - 1)
# Parallel vectors are one sample under two names.
ITSELF = "0.999999"
# Cosines that pairs of small integer vectors have, as decimals that floats cannot hold.
bounds = st.sampled_from(["-1", "-0.8", "-0.6", "0", "0.1", "0.6", "0.8", "1"])


def integer_vectors(n, seed, d=2):
    """Draw vectors with many equal, parallel, opposite and zero ones among them."""
    return np.random.default_rng(seed).integers(-4, 5, (n, d)).astype(float)


def random_vectors(n, seed=0, d=20, dtype=np.float64):
    return (7 * np.random.default_rng(seed).standard_normal((n, d))).astype(dtype)


def signed_square(number):
    return number * abs(number)


def squared_cosine(a, b):
    """The square of the cosine with the cosine's sign, a fraction; None for a zero vector."""
    a, b = [int(v) for v in a], [int(v) for v in b]
    lengths = sum(v * v for v in a) * sum(v * v for v in b)
    if lengths == 0:
        return None
    return Fraction(signed_square(sum(v * w for v, w in zip(a, b, strict=True))), lengths)


def true_neighbours(queries, database, k, lowest="-1", highest="1", allowed=lambda i, j: True):
    """Bounds first, then the k best, the lower row of equals."""
    lowest, highest = (signed_square(Fraction(bound)) for bound in (lowest, highest))
    found = np.full((len(queries), k), -1)
    for i, query in enumerate(queries):
        passed = []
        for j, vector in enumerate(database):
            cosine = squared_cosine(query, vector)
            if cosine is not None and lowest <= cosine <= highest and allowed(i, j):
                passed.append((-cosine, j))
        best = [j for _, j in sorted(passed)[:k]]
        found[i, : len(best)] = best
    return found


def draw_groups(n, n_groups, seed):
    return np.random.default_rng(seed + 2).integers(0, n_groups, n)


search = {
    "k": st.integers(1, 12),
    "between": st.tuples(bounds, bounds).map(lambda pair: sorted(pair, key=float)),
    "n_groups": st.one_of(st.none(), st.integers(1, 5)),
    "block_size": st.integers(1, 45),
    "dtype": st.sampled_from([np.float32, np.float64, np.int64]),
    "seed": seeds,
}


@properties
@given(n_queries=st.integers(1, 20), n_database=st.integers(1, 40), **search)
def test_nearest_in_another_database(
    n_queries, n_database, k, between, n_groups, block_size, dtype, seed
):
    queries, database = integer_vectors(n_queries, seed), integer_vectors(n_database, seed + 1)
    groups = draw_groups(n_queries, n_groups or 1, seed)
    database_groups = draw_groups(n_database, n_groups or 1, seed + 1)
    found = nearest_by_cosine(
        queries.astype(dtype),
        database.astype(dtype),
        k,
        lowest=float(between[0]),
        highest=float(between[1]),
        groups=groups if n_groups else None,
        database_groups=database_groups if n_groups else None,
        block_size=block_size,
    )
    expected = true_neighbours(
        queries, database, k, *between, lambda i, j: not n_groups or groups[i] != database_groups[j]
    )
    np.testing.assert_array_equal(found, expected)


@properties
@given(n=st.integers(1, 40), **search)
def test_nearest_others_in_one_database(n, k, between, n_groups, block_size, dtype, seed):
    X = integer_vectors(n, seed)
    groups = np.arange(n) if n_groups is None else draw_groups(n, n_groups, seed)
    found = nearest_by_cosine(
        X.astype(dtype),
        None,
        k,
        lowest=float(between[0]),
        highest=float(between[1]),
        groups=None if n_groups is None else groups,
        block_size=block_size,
    )
    expected = true_neighbours(X, X, k, *between, lambda i, j: groups[i] != groups[j])
    np.testing.assert_array_equal(found, expected)
    assert found.shape == (n, k)
    assert np.issubdtype(found.dtype, np.integer)


@properties
@given(n=st.integers(1, 40), block_size=st.integers(1, 45), seed=seeds)
def test_parallel_vectors_are_equal(n, block_size, seed):
    X = integer_vectors(n, seed)
    scales = np.random.default_rng(seed).choice([0.1, 1 / 3, 1.0, 7.0, 1e100, 1e-100], (n, 1))
    found = nearest_by_cosine(X * scales, X, 5, block_size=block_size)
    np.testing.assert_array_equal(found, true_neighbours(X, X, 5))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("block_size", [97, 400, 2048])
@pytest.mark.parametrize("k", [1, 10, 150])
@pytest.mark.parametrize(("lowest", "highest"), [(-1.0, 1.0), (0.1, 1.0), (-1.0, 0.05)])
def test_nearest_of_many(dtype, block_size, k, lowest, highest):
    X = random_vectors(700, dtype=dtype)
    unit = X / np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, np.nan)
    cosines[(cosines < lowest) | (cosines > highest)] = np.nan
    expected = np.argsort(-cosines, axis=1)[:, :k]  # NaN stands last
    expected[np.isnan(np.take_along_axis(cosines, expected, axis=1))] = -1
    both = {"lowest": lowest, "highest": highest, "block_size": block_size}
    np.testing.assert_array_equal(nearest_by_cosine(X, None, k, **both), expected)
    same = {"groups": range(700), "database_groups": range(700)}
    np.testing.assert_array_equal(nearest_by_cosine(X, X, k, **both, **same), expected)


@pytest.mark.parametrize("block_size", [7, 8, 33, 64, 150, 299, 300, 301])
def test_blocks_do_not_show_in_equal_vectors(block_size):
    # Each vector is there five times, and float32 products of equal vectors differ in their
    # last bits with the place in a block.
    rows = np.random.default_rng(1).permutation(np.repeat(np.arange(60), 5))
    X = random_vectors(60, d=301, dtype=np.float32)[rows]
    found = nearest_by_cosine(X, None, 7, block_size=block_size)
    for i in range(len(X)):
        twins = np.flatnonzero(rows == rows[i])
        assert found[i, :4].tolist() == twins[twins != i].tolist()
        nearest = np.flatnonzero(rows == rows[found[i, 4]])
        assert found[i, 4:].tolist() == nearest[:3].tolist()


def test_cosines_that_float32_cannot_tell_apart():
    cosines = np.random.default_rng(0).permutation(0.5 + 1e-8 * np.arange(200))
    database = np.zeros((200, 300))
    database[:, 5], database[:, 250] = cosines, np.sqrt(1 - cosines**2)
    query = np.eye(300)[[5]]
    best = np.argsort(-cosines)
    assert nearest_by_cosine(query, database, 200).tolist() == [best.tolist()]
    found = nearest_by_cosine(query, database, 9, highest=0.5 + 105.5e-8, block_size=32)
    assert found.tolist() == [best[94:103].tolist()]
    found = nearest_by_cosine(query, database, 9, lowest=0.5 + 195.5e-8, block_size=32)
    assert found.tolist() == [[*best[:4], *[-1] * 5]]


@pytest.mark.parametrize("block_size", [32, 2048])
def test_more_than_are_kept_that_float32_cannot_tell_apart(block_size):
    # The nearest thirty are about one number to float32.
    cosines = np.random.default_rng(0).permutation(0.5 + 2e-9 * np.arange(400))
    database = np.zeros((400, 300))
    database[:, 5], database[:, 250] = cosines, np.sqrt(1 - cosines**2)
    found = nearest_by_cosine(np.eye(300)[[5]], database, 9, block_size=block_size)
    assert found.tolist() == [np.argsort(-cosines)[:9].tolist()]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_excludes_neither_equal_nor_opposite_vectors(dtype):
    X = random_vectors(300, d=7, dtype=dtype)
    others = np.concatenate([3 * X, -3 * X])
    found = nearest_by_cosine(X, others, len(others))
    assert found[:, 0].tolist() == list(range(300))
    assert found[:, -1].tolist() == list(range(300, 600))
    assert nearest_by_cosine(X, others, 2, lowest=1)[:, 0].tolist() == list(range(300))
    assert nearest_by_cosine(X, others, 2, highest=-1)[:, 0].tolist() == list(range(300, 600))


def test_the_first_query_that_nothing_may_serve_yet():
    # The nearest in the first blocks are all of the query's own group.
    X = np.concatenate([random_vectors(100, seed=0), random_vectors(20, seed=1)])
    groups = ["a"] * 100 + ["b"] * 20
    found = nearest_by_cosine(X, None, 20, groups=groups, block_size=16)
    assert np.sort(found[:100], axis=1).tolist() == [list(range(100, 120))] * 100
    assert found[100:].max() < 100
    assert found.min() >= 0


def test_the_input_is_left_alone():
    X = random_vectors(12)
    before = X.copy()
    nearest_by_cosine(X, X[:5], 4, highest=0.0)
    select_by_class(X, np.arange(12) % 3)
    np.testing.assert_array_equal(X, before)


def test_zero_vectors_have_no_neighbours():
    X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]])
    assert nearest_by_cosine(X, None, 2).tolist() == [[-1, -1], [3, -1], [-1, -1], [1, -1]]
    assert nearest_by_cosine(X, X, 1)[:, 0].tolist() == [-1, 1, -1, 3]
    assert nearest_by_cosine(np.zeros((2, 3)), None, 2).tolist() == [[-1, -1]] * 2
    assert nearest_by_cosine(X, np.zeros((1, 2)), 2).tolist() == [[-1, -1]] * 4


def peak_memory(n, database):
    X = np.random.default_rng(0).standard_normal((n, 8), dtype=np.float32)
    tracemalloc.start()
    nearest_by_cosine(X, X if database else None, 5, block_size=256)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("database", [False, True])
def test_memory_does_not_grow_with_the_square(database):
    small, large = peak_memory(1500, database), peak_memory(6000, database)
    # Vectors, neighbours and row numbers of 4500 more: some 200 bytes each.
    assert large - small < 4500 * 400
    # A whole matrix of cosines would be 144 MB.
    assert large < 6e6


@pytest.mark.parametrize(("copies", "most"), [(1, 1), (12, 40)])
def test_few_pairs_are_compared_again(copies, most, monkeypatch):
    X = np.repeat(random_vectors(1200 // copies, dtype=np.float32), copies, axis=0)
    count = Mock(side_effect=_nearest._dot_products)
    monkeypatch.setattr(_nearest, "_dot_products", count)
    nearest_by_cosine(X, None, 5, block_size=400)
    # What float32 tells apart is not compared; of copies, all that tie with the last: not 1200.
    assert sum(len(call.args[1]) for call in count.call_args_list) < most * len(X)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"queries": [[np.nan, 1.0]]}, "queries contains NaN"),
        ({"database": [[np.inf, 1.0]]}, "database contains infinity"),
        ({"queries": [[1e151, 1.0]]}, "queries holds values beyond 1e\\+150"),
        ({"queries": [[-1e151, 1.0]]}, "queries holds values beyond"),
        ({"queries": [1.0, 2.0]}, "Expected 2D array"),
        ({"database": [[1.0, 2.0, 3.0]]}, "database has vectors of 3 components.* of 2"),
        ({"k": 0}, "'k' parameter"),
        ({"k": 2.5}, "'k' parameter"),
        ({"block_size": 0}, "'block_size' parameter"),
        ({"lowest": -1.5}, "'lowest' parameter"),
        ({"lowest": 0.5, "highest": 0.4}, "lowest=0.5 is above highest=0.4"),
        ({"groups": [1, 2]}, "groups and database_groups must be given together"),
        ({"groups": [1], "database_groups": [1, 2]}, "groups has 1 entries for 2 vectors"),
        ({"groups": [1, 2], "database_groups": [1]}, "database_groups has 1 entries for 2"),
        ({"database": None, "database_groups": [1, 2]}, "database_groups needs a database"),
        ({"database": None, "groups": [1.0, np.nan]}, "groups contains NaN"),
    ],
)
def test_nearest_refuses(arguments, message):
    X = [[1.0, 2.0], [3.0, 4.0]]
    with pytest.raises(ValueError, match=message):
        nearest_by_cosine(**{"queries": X, "database": X, "k": 1, **arguments})


def check_selection(select, all_clients, all_impostors):
    expected = np.flatnonzero((all_clients.max(axis=1) >= 0) & (all_impostors.max(axis=1) >= 0))
    if not len(expected):
        with pytest.raises(ValueError, match="No sample has both"):
            select()
        return
    anchors, clients, impostors = select()
    np.testing.assert_array_equal(anchors, expected)
    np.testing.assert_array_equal(clients, all_clients[expected])
    np.testing.assert_array_equal(impostors, all_impostors[expected])


selection = {
    "n": st.integers(1, 20),
    "k": st.integers(1, 12),
    "n_groups": st.one_of(st.none(), st.integers(1, 5)),
    "seed": seeds,
}


def draw_selection(n, n_groups, seed):
    """Vectors, the groups to pass on, and whether two rows may be neighbours."""
    Z, groups = integer_vectors(n, seed), None if n_groups is None else draw_groups(n, n_groups, 7)
    own = np.arange(n) if groups is None else groups
    return Z, groups, lambda i, j: own[i] != own[j]


@properties
@given(client_threshold=bounds, impostor_threshold=bounds, **selection)
def test_one_database(n, k, client_threshold, impostor_threshold, n_groups, seed):
    Z, groups, allowed = draw_selection(n, n_groups, seed)
    check_selection(
        lambda: select_clients_and_impostors(
            Z,
            k,
            client_threshold=float(client_threshold),
            impostor_threshold=float(impostor_threshold),
            groups=groups,
        ),
        true_neighbours(Z, Z, k, client_threshold, ITSELF, allowed=allowed),
        true_neighbours(Z, Z, k, highest=impostor_threshold, allowed=allowed),
    )


@properties
@given(
    n_impostors=st.integers(1, 20), client_threshold=bounds, impostor_threshold=bounds, **selection
)
def test_two_databases(n, n_impostors, k, client_threshold, impostor_threshold, n_groups, seed):
    Z, groups, allowed = draw_selection(n, n_groups, seed)
    others = integer_vectors(n_impostors, seed + 1)
    check_selection(
        lambda: select_from_two_databases(
            Z,
            others,
            k,
            client_threshold=float(client_threshold),
            impostor_threshold=float(impostor_threshold),
            groups=groups,
        ),
        true_neighbours(Z, Z, k, client_threshold, ITSELF, allowed=allowed),
        true_neighbours(Z, others, k, lowest=impostor_threshold),
    )


@properties
@given(n_classes=st.integers(1, 6), **selection)
def test_by_class(n, n_classes, k, n_groups, seed):
    Z, groups, allowed = draw_selection(n, n_groups, seed)
    y = np.array(list("fbeadc"))[draw_groups(n, n_classes, seed)]
    check_selection(
        lambda: select_by_class(Z, y, k, groups=groups),
        true_neighbours(Z, Z, k, "-1", ITSELF, allowed=lambda i, j: y[i] == y[j] and allowed(i, j)),
        true_neighbours(Z, Z, k, allowed=lambda i, j: y[i] != y[j]),
    )


def test_default_thresholds():
    # Cosines with the first: 0.25 (a client), 0.15 (neither), -0.05 (an impostor).
    cosines = np.array([1.0, 0.25, 0.15, -0.05])
    Z = np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)
    anchors, clients, impostors = select_clients_and_impostors(Z)
    assert clients.shape == impostors.shape == (len(anchors), 10)
    assert anchors[0] == 0
    assert clients[0].tolist() == [1] + [-1] * 9
    assert impostors[0].tolist() == [3] + [-1] * 9
    # The other database's impostors are those above the threshold.
    anchors, clients, impostors = select_from_two_databases(Z, Z[1:])
    assert clients.shape == impostors.shape == (len(anchors), 10)
    assert clients[0].tolist() == [1] + [-1] * 9
    assert impostors[0].tolist() == [0, 1] + [-1] * 8


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
        select_clients_and_impostors(Z)
    assert "a client (cosine >= 0.2) and an impostor (cosine <= 0.0)" in str(error.value)


def test_errors_of_the_other_selections_tell_what_is_missing():
    Z = [[1.0, 0.0], [1.0, 0.1], [1.0, 0.2]]
    with pytest.raises(ValueError, match="3 of 3 samples have a client, 0 an impostor") as error:
        select_from_two_databases(Z, [[-1.0, 0.0]])
    assert "cosine >= 0.0, in the impostor database" in str(error.value)
    with pytest.raises(ValueError, match="3 of 3 samples have a client, 0 an impostor"):
        select_by_class(Z, [1, 1, 1])
    with pytest.raises(ValueError, match="0 of 3 samples have a client, 3 an impostor"):
        select_by_class(Z, [1, 2, 3])


@pytest.mark.parametrize(
    ("select", "message"),
    [
        (lambda Z: select_clients_and_impostors(Z, groups=[1]), "groups has 1 entries for 2"),
        (lambda Z: select_clients_and_impostors(Z, 0), "'k' parameter"),
        (lambda Z: select_clients_and_impostors(Z, impostor_threshold=2), "'impostor_threshold'"),
        (lambda Z: select_clients_and_impostors([[np.nan]]), "Z contains NaN"),
        (lambda Z: select_from_two_databases(Z, [[1.0]]), "impostor_database has vectors of 1"),
        (lambda Z: select_by_class(Z, [1]), "y has 1 entries for 2 vectors"),
        (lambda Z: select_by_class(Z, [1.0, np.nan]), "y contains NaN"),
    ],
)
def test_selections_refuse(select, message):
    with pytest.raises(ValueError, match=message):
        select(np.eye(2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_sample_is_its_own_client(dtype):
    # Every third one is there twice, at another level and rounded otherwise.
    X = random_vectors(30, d=12, dtype=dtype)
    twins = np.arange(0, 30, 3)
    Z = np.concatenate([X, (X[twins] * np.float32(0.3)).astype(np.float32).astype(dtype)])
    y = np.arange(30) % 3
    y = np.concatenate([y, y[twins]])
    for anchors, clients, _ in (
        select_clients_and_impostors(Z, 5, client_threshold=-1.0),
        select_from_two_databases(Z, -X, 5, client_threshold=-1.0),
        select_by_class(Z, y, 5),
    ):
        assert len(anchors) == 40
        recordings = np.concatenate([np.arange(30), twins])
        assert (recordings[clients] != recordings[anchors][:, None]).all()


def test_in_one_dimension_all_that_agree_in_sign_are_clients():
    anchors, clients, _ = select_clients_and_impostors([[1.0], [2.0], [-3.0], [-4.0]], 1)
    assert clients[:, 0].tolist() == [1, 0, 3, 2]
    assert anchors.tolist() == [0, 1, 2, 3]
