"""Time `skdistort.selection.nearest_by_cosine` against `faiss.knn`, and measure its memory.

Both run in the same process with the same number of threads and in turn, so that the ratio holds
on a busy machine too, and must find the same neighbours but for rounding. Needs faiss-cpu.

    OMP_NUM_THREADS=2 python benchmarks/selection.py --n 50000
"""

import argparse
import time
import tracemalloc
from statistics import median

import faiss
import numpy as np

from skdistort.selection import nearest_by_cosine


def unit_vectors(n, d, seed):
    """Draw directions at random."""
    X = np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def search_with_faiss(queries, database, k):
    """Find the nearest by inner product; those of one set without themselves."""
    if database is not None:
        return faiss.knn(queries, database, k, metric=faiss.METRIC_INNER_PRODUCT)[1]
    return faiss.knn(queries, queries, k + 1, metric=faiss.METRIC_INNER_PRODUCT)[1][:, 1:]


def timed(function, *args):
    """Call a function and return what it returns, and how many seconds it took."""
    start = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - start


def peak_memory(*args):
    """Measure the most memory that a search holds at a time, in bytes."""
    tracemalloc.start()
    nearest_by_cosine(*args)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main():
    """Print a line for the search in another database and one for that in the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=50_000, help="queries, and vectors to find")
    parser.add_argument("--d", type=int, default=400, help="components of a vector")
    parser.add_argument("--k", type=int, default=10, help="neighbours of a query")
    parser.add_argument("--repeats", type=int, default=3, help="timed pairs of calls")
    args = parser.parse_args()
    queries, others = (unit_vectors(args.n, args.d, seed) for seed in (0, 1))
    print(
        f"{args.n} x {args.n} float32 vectors of {args.d}, k = {args.k}, "
        f"{faiss.omp_get_max_threads()} threads, median of {args.repeats} paired repeats"
    )
    for name, database in {"another database": others, "the same database": None}.items():
        theirs, ours, ratios = [], [], []
        for _ in range(args.repeats):
            expected, slow = timed(search_with_faiss, queries, database, args.k)
            found, fast = timed(nearest_by_cosine, queries, database, args.k)
            theirs.append(slow)
            ours.append(fast)
            ratios.append(fast / slow)
        agreement = np.mean(found == expected)
        if agreement < 0.999:
            raise SystemExit(f"{name}: only {agreement:.2%} of the neighbours agree")
        megabytes = peak_memory(queries, database, args.k) / 1e6
        print(
            f"{name:18s} faiss {median(theirs):6.2f} s   nearest_by_cosine {median(ours):6.2f} s   "
            f"ratio {median(ratios):.2f}   agreement {agreement:.5f}   peak {megabytes:.0f} MB"
        )


if __name__ == "__main__":
    main()
