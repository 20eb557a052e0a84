"""What a search over alpha or margin costs over single trainings, and whether its memory grows.

Candidates that differ only in such a number share the compiled training step and F(X). For each of
ten values a search over that value alone and one training run in turn, in one process, after one
training that compiles; the times of all ten are added up, which counts what a search costs at its
start ten times. Then one search over fifty values, with the resident memory after every ten. Run
``KERAS_BACKEND=torch python benchmarks/grid_search.py``, for each backend.
"""

import argparse
import os
import time
import warnings

import keras
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, ShuffleSplit

from skdistort import DistortionGenerator, TripletEmbedder

ONE_SPLIT = ShuffleSplit(1, test_size=0.2, random_state=0)


def seconds(run):
    """Wall and processor time; the latter is steadier where the machine has other work."""
    start = time.perf_counter(), time.process_time()
    run()
    return np.array([time.perf_counter() - start[0], time.process_time() - start[1]])


def resident_megabytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def make_search(estimator, name, values, scoring=None):
    return GridSearchCV(estimator, {name: values}, scoring=scoring, cv=ONE_SPLIT, refit=False)


def compare_times(estimator, name, X, y, repeats):
    values = np.linspace(0.1, 1.0, 10)
    rows, _ = next(ONE_SPLIT.split(X))
    X_train, y_train = X[rows], y[rows]
    scoring_times = []

    def score(fitted, X, y):
        found = []
        scoring_times.append(seconds(lambda: found.append(fitted.score(X, y))))
        return found[0]

    def train_one(value):
        return clone(estimator).set_params(**{name: value}).fit(X_train, y_train)

    title = f"{type(estimator).__name__}, {name}"
    first = seconds(lambda: train_one(values[0]))[0]
    # Scoring has networks of its own to compile.
    make_search(estimator, name, values[:1]).fit(X, y)
    # Searches, trainings, and the scoring in the searches.
    times = np.zeros((repeats, len(values), 3, 2))
    for i in range(repeats):
        for j, value in enumerate(values):
            scoring_times.clear()
            search = make_search(estimator, name, [value], scoring=score)
            runs = [lambda search=search: search.fit(X, y), lambda value=value: train_one(value)]
            # The order alternates, so that a drift of the machine favours neither.
            for k in (0, 1) if (i + j) % 2 == 0 else (1, 0):
                times[i, j, k] = seconds(runs[k])
            times[i, j, 2] = np.sum(scoring_times, axis=0)
    print(f"{title}: first fit, with compilation, {first:.2f} s", flush=True)
    for clock, one_by_one in zip(("wall", "processor"), np.moveaxis(times, -1, 0), strict=True):
        searches, trainings, scoring = np.moveaxis(one_by_one.sum(axis=1), -1, 0)
        # What else the machine does comes in bursts, which no median of a few sums leaves out.
        ratios = one_by_one[..., 0] / one_by_one[..., 1]
        low, median, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        print(
            f"{title}, {clock} time: ten candidates {np.median(searches):.2f} s, of which scoring "
            f"{np.median(scoring):.2f} s; ten trainings {np.median(trainings):.2f} s; ratio "
            f"{in_words(searches / trainings)}, to ten trainings each scored "
            f"{in_words(searches / (trainings + scoring))}, {repeats} times; candidate by "
            f"candidate {median:.3f}, half of {ratios.size} from {low:.3f} to {high:.3f}",
            flush=True,
        )


def in_words(ratios):
    return f"{np.median(ratios):.3f} ({ratios.min():.3f} to {ratios.max():.3f})"


def measure_embedding(generator, X, repeats):
    """Print what computing F(X) takes of a fit, which only the first candidate does."""
    rows, _ = next(ONE_SPLIT.split(X))
    fitted = clone(generator).fit(X[rows])
    runs = [lambda: fitted.embed(X[rows]), lambda: clone(generator).fit(X[rows])]
    times = np.array([[seconds(run)[1] for run in runs] for _ in range(repeats)])
    embedding, fitting = np.median(times, axis=0)
    print(
        f"F(X): {embedding:.3f} s of processor time; a fit that finds it computed {fitting:.2f} s",
        flush=True,
    )


def watch_memory(estimator, name, X, y, n_candidates):
    noted = []

    def score(fitted, X, y):
        noted.append(resident_megabytes())
        return fitted.score(X, y)

    values = np.linspace(0.1, 1.0, n_candidates)
    make_search(estimator, name, values, scoring=score).fit(X, y)
    every = noted[9::10]
    print(
        f"{type(estimator).__name__}, {name}: resident MB after each 10 of {n_candidates} "
        f"candidates {', '.join(f'{value:.0f}' for value in every)}; growth from the 10th on "
        f"{every[-1] - every[0]:.0f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1797)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=("time", "memory"))
    parser.add_argument("--candidates", type=int, default=50)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(f"keras {keras.__version__} on {keras.backend.backend()}", flush=True)
    X, y = load_digits(return_X_y=True)
    X, y = X[: options.images].astype(np.float32), y[: options.images]
    embedder = TripletEmbedder(epochs=options.epochs, random_state=0)
    frozen = FrozenEstimator(clone(embedder).fit(X, y))
    generator = DistortionGenerator(
        frozen, architecture="unet", pixel_range=(0, 16), epochs=options.epochs, random_state=0
    )
    searches = ((embedder, "margin"), (generator, "alpha"))
    if options.only != "memory":
        for estimator, name in searches:
            compare_times(estimator, name, X, y, options.repeats)
        measure_embedding(generator, X, options.repeats)
    if options.only != "time":
        for estimator, name in searches:
            watch_memory(estimator, name, X, y, options.candidates)


if __name__ == "__main__":
    main()
