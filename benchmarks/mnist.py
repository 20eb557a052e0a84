"""MNIST, full: the embedder's EER, then templates of both architectures beside trivial ones.

Run ``python benchmarks/mnist.py`` (Keras fetches MNIST), or with ``--data FILE.npz`` in the layout
of ``keras.datasets.mnist``. About 20 minutes on two cores.
"""

import argparse
import time

import keras
import numpy as np
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.datasets import load_images
from skdistort.images import from_unit_range
from skdistort.metrics import (
    VerificationReport,
    distance_table,
    distortion_report,
    equal_error_rate,
    pair_scores,
    trivial_templates,
    verification_report,
)


class EpochClock(keras.callbacks.Callback):
    """Times the epochs, and evaluates the embedder on the test set after the first."""

    def __init__(self, X=None, y=None):
        super().__init__()
        self.X, self.y = X, y
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._start)
        if epoch == 0 and self.X is not None:
            Z = self.model.predict(self.X.astype(np.float32)[..., None], verbose=0)
            eer = equal_error_rate(*pair_scores(Z, self.y))[0]
            print(f"test EER after the first epoch: {eer:.3%}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mnist", help="mnist or FILE.npz")
    parser.add_argument("--embedder-epochs", type=int, default=10)
    parser.add_argument("--generator-epochs", type=int, default=5)
    parser.add_argument("--pi-emb", type=float, default=0.7)
    parser.add_argument("--alpha", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    X_train, y_train, X_test, y_test = load_images(options.data)
    print(f"keras {keras.__version__} on {keras.backend.backend()}, {len(X_train)} training images")

    clock = EpochClock(X_test, y_test)
    embedder = TripletEmbedder(
        epochs=options.embedder_epochs, callbacks=[clock], random_state=options.seed
    ).fit(X_train, y_train)
    print(f"embedder: {np.median(clock.seconds):.1f} s an epoch (median of {len(clock.seconds)})")
    print(f"embedder: test EER {1 - embedder.score(X_test, y_test):.3%}", flush=True)

    for architecture in ("bottleneck", "unet"):
        clock = EpochClock()
        generator = DistortionGenerator(
            FrozenEstimator(embedder),
            architecture=architecture,
            alpha=options.alpha,
            pi_emb=options.pi_emb,
            epochs=options.generator_epochs,
            pixel_range=(0, 255),
            callbacks=[clock],
            random_state=options.seed,
        ).fit(X_train)
        print(f"\n{architecture}: {np.median(clock.seconds):.1f} s an epoch, {generator}")
        report(generator, X_test, y_test, options.seed)


def report(generator, X, y, seed):
    """Print distances, what templates hide and verification, each beside trivial templates."""
    compared = generator.compare(X)
    print(distance_table(compared.images, compared.templates, y, random_state=seed))
    print(distortion_report(compared.images, compared.templates, random_state=seed))
    enrolled = {"plain": compared.embeddings, "distorted": compared.template_embeddings}
    for name, images in trivial_templates(compared.images, seed).items():
        enrolled[name] = generator.embed(from_unit_range(images, generator.pixel_range_))
    rows = []
    for name, Z in enrolled.items():
        scores = pair_scores(compared.embeddings, y, Z, y, exclude_same_index=True)
        rows += verification_report({f"plain vs {name}": scores}).rows
    print(VerificationReport(rows))
    print(f"score {generator.score(X, y):.4f}, {generator.diagnose(X)}", flush=True)


if __name__ == "__main__":
    main()
