"""Exact blockwise search for the nearest vectors by cosine, the engine of `selection`.

What is searched for, and how a caller asks for it, is in :mod:`skdistort.selection`.

A block of cosines is one float32 matrix product, which tells by `_candidates` which pairs may
belong to the k nearest. What it cannot tell is decided in float64, each pair on its own: the order
of cosines that are nearer to each other than its error, and on which side of a bound one is.
"""

import numpy as np

from ._candidates import kth_largest, product_error, slices

# A neighbour is one integer: 1 - cosine in these steps, of float32 or float64, and its row in the
# bits below. Sorted integers stand in the order of the neighbours, ties by row.
_STEPS = 10**9
_ROW_BITS = 32
_NONE = np.iinfo(np.int64).max
# Columns of a block that share one maximum.
_STRIDE = 16
# Candidates that are kept beyond the k nearest, until float64 has to tell which they are.
_SPARE = 6
# Numbers that the comparison of pairs holds at a time; more do not fit into a core's cache.
_CHUNK = 2**16


def find_nearest(queries, database, k, bounds, codes, database_codes, block_size):
    """Find the nearest vectors of every query, once for each pair of bounds.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, d)
        Finite vectors of at most 1e150. Those of zeros have no neighbours and are none.
    database : ndarray of shape (n_database, d) or None
        Vectors to choose from. None means `queries`, for half the work.
    k : int
        The most neighbours of one query.
    bounds : list of (float, float)
        The lowest and the highest cosine of a neighbour, both included.
    codes, database_codes : ndarray of int or None
        Groups of the queries and of the database; a neighbour is of another group.
    block_size : int
        Queries, and vectors of the database, compared at a time.

    Returns
    -------
    list of ndarray of int, shape (n_queries, k)
        For each of `bounds` the rows of the database, the most similar first, then -1.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.selection._nearest import find_nearest
    >>> X = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    >>> [found.tolist() for found in find_nearest(X, X, 1, [(-1, 1), (-1, 0)], None, None, 2)]
    [[[0], [1], [2]], [[2], [-1], [0]]]
    """
    left = _Directions(queries, codes)
    right = left if database is None else _Directions(database, database_codes)
    # Of two sets the blocks are long rows, so that the nearest of a query are found at once; those
    # of one set are square, each computed once for both of its sides.
    height, width = (block_size, block_size) if right is left else _oblong(block_size)
    searches = [_Search(left, right, k, lowest, highest) for lowest, highest in bounds]
    # A search removes what is above its highest cosine, and so for those after it.
    by_highest = sorted(searches, key=lambda search: search.highest, reverse=True)
    shape = _padded(min(height, len(left))), _padded(min(width, len(right)))
    buffer = np.empty(shape, dtype=np.float32)
    for rows in slices(len(left), height):
        for columns in slices(len(right), width):
            if right is left and columns.start < rows.start:
                continue
            padded, cosines = _views(buffer, rows, columns)
            np.matmul(left.unit[rows], right.unit[columns].T, out=cosines)
            if codes is not None:
                _remove_own_group(cosines, left.codes[rows], right.codes[columns])
            for search in by_highest:
                search.remove_above(padded)
                search.update(padded, rows, columns)
                if right is left and columns.start > rows.start:
                    search.update(padded.T, columns, rows)
    return [search.neighbours() for search in searches]


class _Directions:
    """Vectors that have a direction, sorted by group, and their unit vectors in float32."""

    def __init__(self, X, codes):
        self.X, self.n_rows = X, len(X)
        order = np.arange(len(X)) if codes is None else np.argsort(codes, kind="stable")
        lengths = np.empty(len(X))
        unit = np.empty(X.shape, dtype=np.float32)
        for chunk in slices(len(X), max(1, _CHUNK // X.shape[1])):
            rows = (X[chunk] if codes is None else X[order[chunk]]).astype(np.float64)
            lengths[chunk] = np.sqrt(np.einsum("ij,ij->i", rows, rows))
            # Those of zeros are left out below.
            rows *= 1 / np.where(lengths[chunk] > 0, lengths[chunk], 1)[:, None]
            unit[chunk] = rows
        self.lengths = np.empty(len(X))
        self.lengths[order] = lengths
        some = slice(None) if lengths.all() else lengths > 0
        self.order, self.unit = order[some], unit[some]
        self.codes = None if codes is None else codes[self.order]

    def __len__(self):
        return len(self.order)


class _Search:
    """The k nearest vectors within two bounds found so far, for every query.

    Parameters
    ----------
    left, right : _Directions
        Queries and database.
    k : int
        The most neighbours of one query.
    lowest, highest : float
        Cosines a neighbour may have.
    """

    def __init__(self, left, right, k, lowest, highest):
        self.left, self.right, self.k = left, right, k
        self.fewest_steps, self.most_steps = _steps(np.array([highest, lowest]))
        # Nothing is above 1 but by rounding.
        self.lowest, self.highest = lowest, highest if highest < 1 else np.inf
        self.keys = np.full((len(left), k + _SPARE), _NONE, dtype=np.int64)
        # Of cosines, and of their rounding to steps.
        self.error = product_error(left.X.shape[1]) + 1 / _STEPS
        # Steps by which cosines of float32 may stand in the wrong order.
        self.doubt = int(np.ceil(2 * self.error * _STEPS))

    def remove_above(self, cosines):
        """Set what is surely above the highest cosine to -inf."""
        if self.highest < np.inf:
            np.copyto(cosines, -np.inf, where=cosines > self.highest + self.error)

    def update(self, cosines, rows, columns):
        """Take in a block of cosines, padded with -inf, none above the highest one."""
        keys = self.keys[rows]
        # Too few maxima would bound the k-th best loosely.
        stride = _STRIDE if cosines.shape[1] >= 4 * self.k * _STRIDE else 1
        grouped = cosines.reshape(len(cosines), stride, -1)[: len(keys)]
        maxima = grouped.max(axis=1)
        floor = self._floor(keys, maxima)
        # One-dimensional, which finds few among many several times as fast.
        i, group = np.divmod(np.flatnonzero(maxima >= floor[:, None]), maxima.shape[1])
        hit, member = np.nonzero(grouped[i, :, group] >= floor[i, None])
        i, group = i[hit], group[hit]
        j = member * maxima.shape[1] + group
        new = self._pair_keys(grouped[i, member, group], rows.start + i, columns.start + j)
        self._take_in(keys, rows.start, i, new)

    def neighbours(self):
        """Rows of the database for every query, zero vectors among them, -1 where none is."""
        found = np.full((self.left.n_rows, self.k), -1, dtype=np.intp)
        for part in slices(len(self.keys), max(1, _CHUNK // self.keys.shape[1])):
            keys = self.keys[part]
            near = np.diff(keys >> _ROW_BITS, axis=1) <= self.doubt
            near &= keys[:, 1:] != _NONE
            doubtful = np.zeros(keys.shape, dtype=bool)
            doubtful[:, 1:] = near
            doubtful[:, :-1] |= near
            self._decide(keys, part.start, doubtful)
            keys.sort(axis=1)
            keys = keys[:, : self.k]
            nearest = np.where(keys == _NONE, -1, keys & (2**_ROW_BITS - 1))
            found[self.left.order[part]] = nearest
        return found

    def _floor(self, keys, maxima):
        """Float32 cosines below which no pair of a block can belong to the k nearest."""
        kth = 1 - (keys[:, self.k - 1] >> _ROW_BITS) / _STEPS
        floor = np.maximum(kth - self.error, self.lowest) - self.error
        # The first block of a query has no k-th best to beat but its own, and the maxima that
        # pass for sure are some of its pairs.
        unfilled = np.flatnonzero(keys[:, self.k - 1] == _NONE)
        if len(unfilled) and maxima.shape[1] >= self.k:
            passing = maxima if len(unfilled) == len(maxima) else maxima[unfilled]
            if self.highest < np.inf:
                passing = np.where(passing > self.highest - self.error, -np.inf, passing)
            kth = kth_largest(passing, self.k)
            floor[unfilled] = np.maximum(floor[unfilled], kth - 2 * self.error)
        return floor.astype(np.float32)

    def _pair_keys(self, cosines, i, j):
        """Keys of pairs of a query and a vector, _NONE for a cosine out of bounds."""
        keys = (_steps(cosines.astype(np.float64)) << _ROW_BITS) | self.right.order[j]
        doubtful = cosines < self.lowest + self.error
        if self.highest < np.inf:
            doubtful |= cosines > self.highest - self.error
        if doubtful.any():
            keys[doubtful] = self._exact_keys(i[doubtful], self.right.order[j[doubtful]])
        return keys

    def _exact_keys(self, i, rows):
        """Keys of pairs of a query and a row of the database, _NONE for a cosine out of bounds."""
        left, right, queries = self.left, self.right, self.left.order[i]
        products = _dot_products(left.X, queries, right.X, rows)
        steps = _steps(products / (left.lengths[queries] * right.lengths[rows]))
        passes = (self.fewest_steps <= steps) & (steps <= self.most_steps)
        return np.where(passes, (steps << _ROW_BITS) | rows, _NONE)

    def _decide(self, keys, first, doubtful):
        """Put keys of float64 in the place of those that are in doubt."""
        i, place = np.nonzero(doubtful)
        rows = keys[i, place] & (2**_ROW_BITS - 1)
        keys[i, place] = self._exact_keys(first + i, rows)

    def _take_in(self, keys, first, i, new):
        """Merge new keys of queries i, sorted by query, into the smallest of each."""
        better = (new >> _ROW_BITS) <= (keys[i, self.k - 1] >> _ROW_BITS) + self.doubt
        better &= new != _NONE
        i, new = i[better], new[better]
        changed, place, counts = np.unique(i, return_inverse=True, return_counts=True)
        rank = np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)
        width = keys.shape[1]
        merged = np.full((len(changed), width + counts.max(initial=0)), _NONE)
        merged[:, :width] = keys[changed]
        merged[place, width + rank] = new
        merged.sort(axis=1)
        self._thin_out(merged, first + changed, width)
        keys[changed] = merged[:, :width]

    def _thin_out(self, merged, queries, width):
        """Leave no more keys than there is room for, by float64 where it takes that."""
        farthest = (merged[:, self.k - 1] >> _ROW_BITS) + self.doubt
        crowded = np.flatnonzero((merged[:, width:] >> _ROW_BITS <= farthest[:, None]).any(axis=1))
        crowded = crowded[merged[crowded, self.k - 1] != _NONE]
        if len(crowded) == 0:
            return
        keys = merged[crowded]
        doubtful = (keys >> _ROW_BITS <= farthest[crowded, None]) & (keys != _NONE)
        i, place = np.nonzero(doubtful)
        rows = keys[i, place] & (2**_ROW_BITS - 1)
        exact = self._exact_keys(queries[crowded[i]], rows)
        keys[...] = _NONE
        keys[i, place] = exact
        keys.sort(axis=1)
        keys[:, self.k :] = _NONE
        merged[crowded] = keys


def _steps(cosines):
    """Count the whole steps of 1 - cosine, 0 to 2 * _STEPS."""
    return np.clip(np.rint((1 - cosines) * _STEPS), 0, 2 * _STEPS).astype(np.int64)


def _dot_products(A, i, B, j):
    """Multiply rows i of A with rows j of B in float64, each pair in the same order of sums."""
    products = np.empty(len(i))
    for chunk in slices(len(i), max(1, _CHUNK // A.shape[1])):
        left, right = A[i[chunk]].astype(np.float64), B[j[chunk]].astype(np.float64)
        np.einsum("ij,ij->i", left, right, out=products[chunk])
    return products


def _remove_own_group(cosines, row_codes, column_codes):
    """Set the cosines of one group's rows and columns, both sorted by group, to -inf."""
    groups, starts = np.unique(row_codes, return_index=True)
    stops = np.append(starts[1:], len(row_codes))
    left = np.searchsorted(column_codes, groups, "left")
    right = np.searchsorted(column_codes, groups, "right")
    for g in np.flatnonzero(left < right):
        cosines[starts[g] : stops[g], left[g] : right[g]] = -np.inf


def _oblong(block_size):
    """Make a block as large as a square one and four times as long as high."""
    height = max(1, block_size // 2)
    return height, block_size**2 // height


def _padded(n):
    """Round up to a multiple of _STRIDE."""
    return -(-n // _STRIDE) * _STRIDE


def _views(buffer, rows, columns):
    """View a block with its filling of -inf up to whole strides, and the block alone."""
    n_rows, n_columns = rows.stop - rows.start, columns.stop - columns.start
    padded = buffer[: _padded(n_rows), : _padded(n_columns)]
    padded[n_rows:] = -np.inf
    padded[:, n_columns:] = -np.inf
    return padded, padded[:n_rows, :n_columns]
