"""What a step of refinement costs, in forward passes of F on the same images.

In each repeat templates are made with the steps and without, and F is applied as often as there are
steps, in an order that alternates, in one process after one call of each that compiles. Neither
network has learned much, which changes no time. Run ``KERAS_BACKEND=jax python
benchmarks/refinement.py``, for each backend.
"""

import argparse
import time
import warnings

import keras
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, TripletEmbedder


def seconds(run):
    """Wall and processor time."""
    start = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--size", type=int, default=28, help="height and width of an image")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(f"keras {keras.__version__} on {keras.backend.backend()}, {vars(options)}", flush=True)
    rng = np.random.RandomState(0)
    X = rng.random_sample((options.images, options.size, options.size)).astype(np.float32)
    training = {"epochs": 1, "pixel_range": (0, 1), "random_state": 0}
    embedder = TripletEmbedder(epochs=1, random_state=0).fit(X[:64], np.arange(64) % 8)
    generator = DistortionGenerator(FrozenEstimator(embedder), **training).fit(X[:64])

    def distort(steps):
        generator.set_params(refinement_steps=steps).transform(X)

    def forward():
        for _ in range(options.steps):
            generator.embed(X)

    runs = [lambda: distort(options.steps), lambda: distort(0), forward]
    for run in runs:
        run()
    times = np.empty((options.repeats, len(runs), 2))
    for i in range(options.repeats):
        for k in np.roll(range(len(runs)), i):
            times[i, k] = seconds(runs[k])
    for name, clock in zip(("wall", "processor"), np.moveaxis(times, -1, 0), strict=True):
        refined, unrefined, embedded = clock.T
        ratios = (refined - unrefined) / embedded
        cost = 1000 * np.median(refined - unrefined) / (options.images * options.steps)
        print(
            f"{name} time: a step takes {np.median(ratios):.2f} forward passes of F (median of "
            f"{len(ratios)}, {ratios.min():.2f} to {ratios.max():.2f}), {cost:.3f} ms a template",
            flush=True,
        )


if __name__ == "__main__":
    main()
