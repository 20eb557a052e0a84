"""Time the total variability model at the size of paper B: E step, M step and extraction.

Statistics are random, since only their sizes matter to the time; each utterance falls to about a
tenth of the Gaussians, as frames of speech do. Frames are random too for the statistics.

    python benchmarks/ivector.py --utterances 512

Other work on the machine shows in wall time; processor time is over all threads.
"""

import argparse
import os
import time
from statistics import median

import numpy as np

from skdistort.ivector import UniversalBackgroundModel
from skdistort.ivector._statistics import collect_statistics
from skdistort.ivector._total_variability import (
    Accumulators,
    TotalVariability,
    maximise,
    minimum_divergence,
    posteriors,
)


def random_statistics(rng, n, n_components, d, n_frames):
    """Draw statistics of utterances of `n_frames` frames, first-order ones centred and whitened."""
    zeroth = rng.gamma(0.1, size=(n, n_components)).astype(np.float32)
    zeroth *= n_frames / zeroth.sum(axis=1, keepdims=True)
    first = rng.standard_normal((n, n_components, d), dtype=np.float32)
    first *= np.sqrt(zeroth)[:, :, None]
    return zeroth, first


def random_ubm(rng, n_components, d):
    """Make a fitted background model of random Gaussians."""
    ubm = UniversalBackgroundModel(n_components)
    ubm.weights_ = np.full(n_components, 1 / n_components)
    ubm.means_ = rng.standard_normal((n_components, d))
    ubm.variances_ = rng.uniform(0.2, 1.0, (n_components, d))
    return ubm


def report(name, function, repeats, n, unit):
    """Print the median wall and processor time of a call, in ms for each of its `n` units."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        function()
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    wall, processor = (1e3 * median(column) / n for column in zip(*times, strict=True))
    fastest = 1e3 * min(times)[0] / n
    print(
        f"{name:34s} {wall:9.3f} ms a {unit} (fastest {fastest:.3f}), processor {processor:.3f}",
        flush=True,
    )


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
    n, batch_size = options.utterances, options.batch_size
    shape = options.components, options.features, options.rank
    rng = np.random.default_rng(0)
    zeroth, first = random_statistics(rng, n, *shape[:2], options.frames)
    model = TotalVariability(0.1 * rng.standard_normal(shape, dtype=np.float32))
    sums = Accumulators(shape)
    batches = [slice(start, start + batch_size) for start in range(0, n, batch_size)]
    ubm = random_ubm(rng, *shape[:2])
    frames = rng.standard_normal((n * options.frames, options.features), dtype=np.float32)
    offsets = np.arange(n + 1) * options.frames

    def expectation():
        for rows in batches:
            sums.add(zeroth[rows], first[rows], model)

    def extraction():
        for rows in batches:
            posteriors(zeroth[rows], first[rows], model)

    def statistics():
        for rows in batches:
            collect_statistics(frames, offsets[rows.start : rows.stop + 1], ubm)

    print(
        f"C={shape[0]}, d={shape[1]}, R={shape[2]}: {n} utterances, {batch_size} at a time, median "
        f"of {options.repeats}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start"
    )
    report("cached T_c' T_c", lambda: TotalVariability(model.loadings).grams, 3, 1, "model")
    expectation()
    repeats = options.repeats
    report("E step with accumulation", expectation, repeats, n, "utterance")
    report("posterior means only (transform)", extraction, repeats, n, "utterance")
    report(f"statistics of {options.frames} frames", statistics, repeats, n, "utterance")
    report("M step", lambda: maximise(sums, model.loadings), 3, 1, "iteration")
    report(
        "minimum divergence", lambda: minimum_divergence(model.loadings, sums), 3, 1, "iteration"
    )
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
