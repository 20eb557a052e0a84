"""Keyed templates renewed in a row, each from the template before it alone, with and without steps.

Plain probes are compared with templates of 8 bits; the first column is the first template, before
any renewal. Run ``python benchmarks/renewal.py`` (Keras fetches MNIST), or with ``--data FILE.npz``
in the layout of ``keras.datasets.mnist``. About six minutes on two cores.
"""

import argparse
import time

import keras
import numpy as np
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.datasets import load_images
from skdistort.metrics import equal_error_rate, pair_scores
from skdistort.templates import renewal_error_rates


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mnist", help="mnist or FILE.npz")
    parser.add_argument("--components", type=int, default=10)
    parser.add_argument("--embedder-images", type=int, default=12000)
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--embedder-epochs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--test-images", type=int, default=1000)
    parser.add_argument("--renewals", type=int, default=5)
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 20, 60])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    X_train, y_train, X_test, y_test = load_images(options.data)
    X_train, X_test = np.float32(X_train), np.float32(X_test[: options.test_images])
    y_test = y_test[: options.test_images]
    print(f"keras {keras.__version__} on {keras.backend.backend()}, {vars(options)}", flush=True)
    training = {"random_state": options.seed, "verbose": 0}
    n = options.embedder_images
    embedder = TripletEmbedder(options.components, epochs=options.embedder_epochs, **training)
    embedder.fit(X_train[:n], y_train[:n])
    generator = DistortionGenerator(
        FrozenEstimator(embedder),
        architecture="bottleneck",
        key=0,
        pixel_range=(0, 255),
        epochs=options.epochs,
        **training,
    ).fit(X_train[: options.images])
    plain = embedder.transform(X_test)
    pairs = pair_scores(plain, y_test, plain, y_test, exclude_same_index=True)
    print(f"plain EER {100 * equal_error_rate(*pairs)[0]:.2f} %")
    for steps in options.steps:
        generator.set_params(refinement_steps=steps)
        generator.transform(X_test[:1])
        start = time.perf_counter()
        generator.transform(X_test)
        cost = 1000 * (time.perf_counter() - start) / len(X_test)
        rates = renewal_error_rates(generator, X_test, y_test, n_renewals=options.renewals)
        print(f"{steps} steps, {cost:.1f} ms a template")
        print("  mean squared distance ", " ".join(f"{d:.4f}" for d in rates.distances))
        percent = " ".join(f"{100 * rate:.2f}" for rate in rates.error_rates)
        print("  EER, %                ", percent, flush=True)


if __name__ == "__main__":
    main()
