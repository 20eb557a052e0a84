"""Time the i-vector system at the size of paper B: statistics, EM and extraction.

Frames and background model are random, since only their sizes matter to the time; each frame falls
to few of the Gaussians, as frames of speech do. An iteration of EM is timed at two numbers of
utterances: what it takes more for more of them is its E step with the accumulation, the rest its M
step and the minimum divergence.

    python benchmarks/ivector.py --utterances 512

Other work on the machine shows in wall time; processor time is over all threads.
"""

import argparse
import io
import os
import time
from contextlib import redirect_stdout
from statistics import median

import numpy as np
from sklearn.frozen import FrozenEstimator

from skdistort.ivector import IVectorExtractor, UniversalBackgroundModel, baum_welch_statistics


class LineClock(io.TextIOBase):
    """A stream that keeps wall and processor time of each line instead of the line."""

    def __init__(self):
        self.times = []

    def write(self, text):
        self.times += [clocks()] * text.count("\n")
        return len(text)


def clocks():
    """Wall and processor time."""
    return time.perf_counter(), time.process_time()


def random_ubm(rng, n_components, d):
    """Make a fitted background model of random Gaussians."""
    ubm = UniversalBackgroundModel(n_components)
    ubm.weights_ = np.full(n_components, 1 / n_components)
    ubm.means_ = rng.standard_normal((n_components, d))
    ubm.variances_ = rng.uniform(0.2, 1.0, (n_components, d))
    ubm.n_features_in_ = d
    return ubm


def between(times):
    """Median wall and processor time from one to the next, in ms."""
    return 1e3 * np.median(np.diff(times, axis=0), axis=0)


def report(name, times, n, unit):
    """Print wall and processor time, in ms for each of `n` units."""
    wall, processor = np.asarray(times) / n
    print(f"{name:40s} {wall:9.3f} ms for each {unit}, processor {processor:.3f}", flush=True)


def time_calls(function, repeats):
    """Median wall and processor time of a call, in ms."""
    times = []
    for _ in range(repeats):
        start = clocks()
        function()
        times.append(np.subtract(clocks(), start))
    return [1e3 * median(column) for column in zip(*times, strict=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--utterances", type=int, default=256)
    parser.add_argument("--components", type=int, default=1024, help="Gaussians, C")
    parser.add_argument("--features", type=int, default=40, help="features of a frame, d")
    parser.add_argument("--rank", type=int, default=400, help="length of an i-vector, R")
    parser.add_argument("--frames", type=int, default=350, help="frames of an utterance")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    n, repeats = options.utterances, options.repeats
    rng = np.random.default_rng(0)
    ubm = random_ubm(rng, options.components, options.features)
    X = rng.standard_normal((n, options.frames, options.features), dtype=np.float32)
    extractor = IVectorExtractor(
        options.rank,
        ubm=FrozenEstimator(ubm),
        n_iter=repeats + 1,
        batch_size=options.batch_size,
        verbose=1,
        random_state=0,
    )
    print(
        f"C={options.components}, d={options.features}, R={options.rank}: {n} utterances, "
        f"{options.batch_size} at a time, median of {repeats}; {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f} at the start"
    )
    iterations = []
    for some in (X[: n // 2], X):
        clock = LineClock()
        with redirect_stdout(clock):
            extractor.fit(some)
        iterations.append(between(clock.times))
    half, whole = iterations
    expectation = (whole - half) / (n - n // 2)
    report("EM: E step with accumulation", expectation, 1, "utterance")
    report("EM: M step and minimum divergence", whole - n * expectation, 1, "iteration")
    statistics = time_calls(lambda: baum_welch_statistics(X, ubm), repeats)
    report(f"statistics of {options.frames} frames", statistics, n, "utterance")
    report("transform", time_calls(lambda: extractor.transform(X), repeats), n, "utterance")
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
