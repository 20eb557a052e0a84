"""What the estimators cost over plain Keras: ``fit`` against ``model.fit`` of the same model.

Both train the same network with the same loss, optimiser and compilation setting on the same
images for the same number of steps, in turn, in one process; the ratio of the times is taken pair
by pair. For the generator, both sides compute F(X) once. Run ``python benchmarks/wrapper_tax.py``.
"""

import argparse
import time
import warnings

import keras
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.datasets import load_images
from skdistort.losses import batch_triplet_loss
from skdistort.networks import build_encoder, build_unet


def plain_embedder(X, y, epochs):
    estimator = TripletEmbedder()
    network = build_encoder(
        (28, 28, 1),
        estimator.n_components,
        filters=estimator.filters,
        hidden_units=estimator.hidden_units,
        pixel_range=(0.0, 255.0),
        rng=np.random.RandomState(0),
    )
    network.compile(
        keras.optimizers.Adam(estimator.learning_rate),
        loss=lambda labels, Z: batch_triplet_loss(
            keras.ops.reshape(labels, (-1,)), Z, estimator.margin, estimator.miner
        )[0],
        jit_compile=False,
    )
    network.fit(X[..., None], y, batch_size=estimator.batch_size, epochs=epochs, verbose=0)


def plain_generator(X, embedder, epochs):
    estimator = DistortionGenerator(architecture="unet")
    frozen = keras.models.model_from_json(embedder.network_.config)
    frozen.set_weights(embedder.network_.weights)
    frozen.trainable = False
    frozen.jit_compile = False
    generator = build_unet((28, 28, 1), filters=estimator.filters, rng=np.random.RandomState(0))
    in_units = keras.layers.Rescaling(255.0)(generator.output)
    model = keras.Model(generator.input, (generator.output, frozen(in_units, training=False)))
    images, alpha, pi_emb = X[..., None] / 255, estimator.alpha, estimator.pi_emb
    ops = keras.ops
    model.compile(
        keras.optimizers.Adam(estimator.learning_rate),
        loss=[
            lambda x, g: -ops.mean(ops.square(x - g), axis=(1, 2, 3)),
            lambda f, fg: ops.relu(ops.sum(ops.square(f - fg), axis=1) - alpha),
        ],
        loss_weights=[1 - pi_emb, pi_emb],
        jit_compile=False,
    )
    targets = images, frozen.predict(X[..., None], batch_size=estimator.batch_size, verbose=0)
    model.fit(images, targets, batch_size=estimator.batch_size, epochs=epochs, verbose=0)


def seconds(run):
    """Wall and processor time; the latter is steadier where the machine has other work."""
    start = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mnist", help="mnist or FILE.npz, images of 28x28")
    parser.add_argument("--images", type=int, default=12000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=("TripletEmbedder", "DistortionGenerator"))
    options = parser.parse_args()
    X, y, _, _ = load_images(options.data)
    X, y = X[: options.images].astype(np.float32), y[: options.images].astype(np.int32)
    epochs = options.epochs
    embedder = TripletEmbedder(epochs=1, schedule="constant", random_state=0).fit(X, y)
    warnings.simplefilter("ignore", ConvergenceWarning)
    contests = {
        "TripletEmbedder": (
            lambda: TripletEmbedder(epochs=epochs, schedule="constant").fit(X, y),
            lambda: plain_embedder(X, y, epochs),
        ),
        "DistortionGenerator": (
            lambda: DistortionGenerator(
                FrozenEstimator(embedder),
                architecture="unet",
                epochs=epochs,
                schedule="constant",
            ).fit(X),
            lambda: plain_generator(X, embedder, epochs),
        ),
    }
    for name, (ours, plain) in contests.items():
        if options.only not in (None, name):
            continue
        pairs = np.array([(seconds(ours), seconds(plain)) for _ in range(options.repeats)])
        for i, clock in enumerate(("wall", "processor")):
            mine, theirs = pairs[:, 0, i], pairs[:, 1, i]
            ratios = mine / theirs
            print(
                f"{name}, {clock} time: fit {np.median(mine):.2f} s, plain Keras "
                f"{np.median(theirs):.2f} s, ratio {np.median(ratios):.3f} (median of "
                f"{len(ratios)} pairs, {ratios.min():.3f} to {ratios.max():.3f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
