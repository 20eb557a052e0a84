"""Which architecture `score` prefers, both with their defaults, by images they never saw.

    python benchmarks/score_ranking.py --data FILE.npz --images 6000 --test-images 1000

FILE is in the layout of ``keras.datasets.mnist``; without ``--data`` it is scikit-learn's digits,
two thirds of them to learn from.
"""

import argparse
import time
import warnings

import keras
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.datasets import load_images
from skdistort.scoring import (
    dissimilarity_scorer,
    identifiability_scorer,
    inversion_resistance_scorer,
)

SCORERS = {
    "identifiability": identifiability_scorer,
    "dissimilarity": dissimilarity_scorer,
    "inversion resistance": inversion_resistance_scorer,
}


def main():
    """Print a line for each seed and architecture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits", help="digits, mnist or FILE.npz")
    parser.add_argument("--images", type=int, help="to learn from; all by default")
    parser.add_argument("--test-images", type=int, help="to judge by; all by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    X_train, y_train, X_test, y_test = load_images(options.data)
    X_train, y_train = X_train[: options.images], y_train[: options.images]
    X_test, y_test = X_test[: options.test_images], y_test[: options.test_images]
    print(f"keras {keras.__version__} on {keras.backend.backend()}, {vars(options)}")
    print("seed  architecture  " + "".join(f"{name:>22}" for name in [*SCORERS, "score", "fit s"]))
    for seed in options.seeds:
        embedder = TripletEmbedder(random_state=seed).fit(X_train, y_train)
        for architecture in ("bottleneck", "unet"):
            start = time.perf_counter()
            generator = DistortionGenerator(
                FrozenEstimator(embedder), architecture=architecture, random_state=seed
            ).fit(X_train)
            seconds = time.perf_counter() - start
            found = [scorer(generator, X_test, y_test) for scorer in SCORERS.values()]
            found.append(generator.score(X_test, y_test))
            values = "".join(f"{value:22.3f}" for value in found)
            print(f"{seed:4}  {architecture:12}  {values}{seconds:22.0f}", flush=True)


if __name__ == "__main__":
    main()
