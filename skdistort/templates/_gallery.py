"""The embeddings of all templates in memory: comparison with claimed ids and search among all.

Numpy only. Where templates come from is in :mod:`skdistort.templates`.

A block of scores is one float32 matrix product, which tells which templates may belong to the best,
see :mod:`skdistort.selection._candidates`; those few are compared again in float64.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from ..selection._candidates import kth_largest, product_error, slices

# Probes, and scores, in one product: it runs at full speed, and its scores stay in the processor's
# caches for the pass that follows.
_PROBES, _SCORES = 512, 2**19
# Claims compared at a time.
_CLAIMS = 4096
# Scores from which on threads are worth starting.
_THREADED = 2**25


class Identification(NamedTuple):
    """What the search for probes among all ids gives.

    Attributes
    ----------
    ids : ndarray of shape (n_probes, k), object
        Ids as str, the best first; None where fewer can be compared.
    scores : ndarray of shape (n_probes, k), float64
        The store's scores, falling in each row; -inf for None.
    """

    ids: np.ndarray
    scores: np.ndarray


def squared_distances(A, B):
    """Squared Euclidean distances of the rows of two sets, row by row (paper A, eq. 1).

    Parameters
    ----------
    A, B : ndarray of shape (n, d)
        Embeddings.

    Returns
    -------
    ndarray of shape (n,), float64
        The distances.
    """
    difference = np.subtract(A, B, dtype=np.float64)
    return np.einsum("ij,ij->i", difference, difference)


class Gallery:
    """The embeddings of templates, several of which may belong to one id.

    Parameters
    ----------
    subjects : list of str
        Id of each template.
    embeddings : ndarray of shape (n_templates, d), float32
        Their embeddings.

    Attributes
    ----------
    names : list of str
        The ids, each once, in the order of their first templates.
    codes : ndarray of int, shape (n_templates,)
        Which of them each template is of.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.templates import Gallery
    >>> gallery = Gallery(["a", "b", "a"], np.float32([[0, 0], [4, 0], [1, 0]]))
    >>> gallery.scores(["a", "b"], np.float32([[2, 0], [2, 0]])).tolist()
    [-1.0, -4.0]
    >>> subjects, scores = gallery.search(np.float32([[3, 0]]), 2)
    >>> [gallery.names[i] for i in subjects[0]], scores.tolist()
    (['b', 'a'], [[-1.0, -4.0]])
    """

    def __init__(self, subjects, embeddings):
        self._code_of = {}
        for subject in subjects:
            self._code_of.setdefault(subject, len(self._code_of))
        self.names = list(self._code_of)
        self.codes = np.fromiter(map(self._code_of.__getitem__, subjects), np.intp, len(subjects))
        self._by_code = np.argsort(self.codes, kind="stable")
        self._counts = np.bincount(self.codes, minlength=len(self.names))
        self._starts = np.cumsum(self._counts) - self._counts
        # One more component makes a product a score: a.b - |b|^2 / 2 falls as |a - b|^2 rises.
        self._extended = np.empty((len(subjects), embeddings.shape[1] + 1), dtype=np.float32)
        self._extended[:, :-1] = embeddings
        squares = np.einsum("ij,ij->i", embeddings, embeddings)
        self._extended[:, -1] = -squares / 2
        self._longest = float(np.sqrt(squares.max(initial=0)))

    @property
    def embeddings(self):
        """Give the embeddings back.

        Returns
        -------
        ndarray of shape (n_templates, d), float32
            As they came.
        """
        return self._extended[:, :-1]

    def scores(self, subjects, probes):
        """Compare each probe with the templates of the id that it claims.

        Parameters
        ----------
        subjects : list of str
            The claimed ids.
        probes : ndarray of shape (n_probes, d), float32
            Embeddings.

        Returns
        -------
        ndarray of shape (n_probes,), float64
            The negative squared distance to the nearest template of the id.

        Raises
        ------
        KeyError
            If an id has no template.
        """
        unknown = sorted({subject for subject in subjects if subject not in self._code_of})
        if unknown:
            raise KeyError(f"{len(unknown)} of the ids are not enrolled, such as {unknown[0]!r}.")
        codes = np.fromiter(map(self._code_of.__getitem__, subjects), np.intp, len(subjects))
        best = np.empty(len(codes))
        for rows in slices(len(codes), _CLAIMS):
            counts = self._counts[codes[rows]]
            starts = np.cumsum(counts) - counts
            within = np.arange(counts.sum()) - np.repeat(starts, counts)
            templates = self._by_code[np.repeat(self._starts[codes[rows]], counts) + within]
            distances = squared_distances(
                np.repeat(probes[rows], counts, axis=0), self.embeddings[templates]
            )
            best[rows] = -np.minimum.reduceat(distances, starts)
        return best

    def search(self, probes, k):
        """Find the k ids whose nearest templates are nearest to each probe.

        Parameters
        ----------
        probes : ndarray of shape (n_probes, d), float32
            Embeddings.
        k : int
            How many ids, at most as many as there are.

        Returns
        -------
        subjects : ndarray of int, shape (n_probes, k)
            Indices into `names`, the best first; equal ones in the order of `names`.
        scores : ndarray of shape (n_probes, k), float64
            Their scores.
        """
        # So many of the best templates belong to k ids at least, however they are spread.
        n_best = (k - 1) * int(self._counts.max()) + 1
        subjects = np.empty((len(probes), k), dtype=np.intp)
        scores = np.empty((len(probes), k))
        for rows in slices(len(probes), _PROBES):
            block = probes[rows]
            i, j = self._candidates(block, min(n_best, len(self.codes)))
            exact = -squared_distances(block[i], self.embeddings[j])
            subjects[rows], scores[rows] = _best_subjects(i, self.codes[j], exact, k)
        return subjects, scores

    def _candidates(self, probes, n_best):
        """Find the pairs of a probe and a template that may be among its `n_best`."""
        everything = slice(0, len(self._extended))
        if len(probes) * len(self._extended) < _THREADED:
            return self._candidates_among(probes, n_best, everything)
        # BLAS multiplies on all cores, but the pass over its products would run on one.
        blas = _blas()
        n_threads = max((library["num_threads"] for library in blas.info()), default=1)
        parts = slices(everything.stop, -(-everything.stop // n_threads))
        with blas.limit(limits=1), ThreadPoolExecutor(n_threads) as pool:
            found = list(pool.map(partial(self._candidates_among, probes, n_best), parts))
        return tuple(map(np.concatenate, zip(*found, strict=True)))

    def _candidates_among(self, probes, n_best, part):
        """Find such pairs among a part of the templates."""
        templates = self._extended[part]
        n, d = probes.shape
        extended = np.ones((n, d + 1), dtype=np.float32)
        extended[:, :-1] = probes
        # The k-th best and what is compared with it may err in opposite directions.
        lengths = np.linalg.norm(probes, axis=1)
        magnitude = self._longest * (lengths + self._longest / 2)
        margin = 2 * product_error(d) * magnitude
        floor = np.full(n, -np.inf, dtype=np.float32)
        best = np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp), np.empty(0, np.float32)
        waiting, n_waiting = [], 0
        size = min(-(-_SCORES // n), len(templates))
        buffer = np.empty(n * size, dtype=np.float32)
        for columns in slices(len(templates), size):
            width = columns.stop - columns.start
            products = buffer[: n * width].reshape(n, width)
            np.matmul(extended, templates[columns].T, out=products)
            if columns.start == 0 and width >= n_best:
                floor = (kth_largest(products, n_best) - margin).astype(np.float32)
            # Most probes have no candidate in a block, which the maximum tells fastest.
            rows = np.flatnonzero(products.max(axis=1) >= floor)
            hits = np.flatnonzero(products[rows] >= floor[rows, None])
            i, j = rows[hits // width], hits % width
            waiting.append((i, part.start + columns.start + j, products[i, j]))
            n_waiting += len(i)
            # A floor that lags lets more pairs through, which is cheaper than many small sorts.
            if n_waiting >= n * n_best:
                best, floor = _keep_best([best, *waiting], n, n_best, margin)
                waiting, n_waiting = [], 0
        best, _ = _keep_best([best, *waiting], n, n_best, margin)
        return best[:2]


@cache
def _blas():
    """Find the BLAS libraries, which takes as long as a tenth of a search that needs them."""
    return ThreadpoolController().select(user_api="blas")


def _keep_best(parts, n, n_best, margin):
    """Merge pairs, keep those that may be among the `n_best` of their probe, and tell the floor."""
    i, j, product = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.lexsort((-product, i))
    i, j, product = i[order], j[order], product[order]
    counts = np.bincount(i, minlength=n)
    full = np.flatnonzero(counts >= n_best)
    floor = np.full(n, -np.inf, dtype=np.float32)
    floor[full] = product[(np.cumsum(counts) - counts)[full] + n_best - 1] - margin[full]
    kept = product >= floor[i]
    return (i[kept], j[kept], product[kept]), floor


def _best_subjects(i, codes, scores, k):
    """Reduce scored pairs to the k best ids of each probe; every probe has pairs of k ids."""
    order = np.lexsort((-scores, codes, i))
    i, codes, scores = i[order], codes[order], scores[order]
    first = np.ones(len(i), dtype=bool)
    first[1:] = (i[1:] != i[:-1]) | (codes[1:] != codes[:-1])
    i, codes, scores = i[first], codes[first], scores[first]
    order = np.lexsort((codes, -scores, i))
    counts = np.bincount(i)
    taken = order[(np.cumsum(counts) - counts)[:, None] + np.arange(k)]
    return codes[taken], scores[taken]
