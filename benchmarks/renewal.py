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


def error_rate(probes, y, enrolled):
    return 100 * equal_error_rate(*pair_scores(probes, y, enrolled, y, exclude_same_index=True))[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mnist", help="mnist or FILE.npz")
    parser.add_argument("--components", type=int, default=32)
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
    print(f"plain EER {error_rate(plain, y_test, plain):.2f} %")
    for steps in options.steps:
        generator.set_params(refinement_steps=steps)
        generator.transform(X_test[:1])
        start = time.perf_counter()
        templates = np.rint(generator.transform(X_test))
        cost = 1000 * (time.perf_counter() - start) / len(X_test)
        distances, rates = [], []
        for key in range(options.renewals + 1):
            if key:
                templates = np.rint(generator.reissue(templates, key - 1, key))
            probes, enrolled = generator.embed_probe(X_test, key), generator.embed(templates)
            distances.append(np.mean(np.sum((probes - enrolled) ** 2, axis=1)))
            rates.append(error_rate(probes, y_test, enrolled))
        print(f"{steps} steps, {cost:.1f} ms a template")
        print("  mean squared distance ", " ".join(f"{d:.4f}" for d in distances))
        print("  EER, %                ", " ".join(f"{rate:.2f}" for rate in rates), flush=True)


if __name__ == "__main__":
    main()
