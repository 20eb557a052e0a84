"""Images a second on a GPU, or else the CPU, and which share of its matrix peak they come to.

The U-Net of paper A's code at 28x28 and 112x112 and the encoder of paper B's Table 1 are trained
and applied through the estimators, in float32 and in mixed precision. The peak is that of a large
matrix product in the same precision, measured in the same run; the work is counted from the layers.
On a GPU, a backend may round float32 to TF32 in convolutions and not in products, or the other way
round. Run ``KERAS_BACKEND=jax python benchmarks/devices.py``; ``--quick`` is for a CPU.
"""

import argparse
import math
import time
import warnings

import keras
import numpy as np
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, SiameseVerifier, TripletEmbedder


class EpochClock(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._start)


def layer_products(layer):
    """Count the multiplications of one sample in a convolution or a dense layer; 0 in others."""
    if isinstance(layer, keras.layers.Conv2D):
        return math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return math.prod(layer.input.shape[1:3]) * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Dense):
        return math.prod(layer.kernel.shape)
    return 0


def count_products(network):
    return sum(map(layer_products, network.layers))


def check_counts():
    """Compare with counts by hand."""
    conv, dense = keras.layers.Conv2D(5, 3, padding="same"), keras.layers.Dense(7)
    up = keras.layers.Conv2DTranspose(2, 2, strides=2)
    layers = [keras.layers.Input((4, 4, 3)), conv, up, keras.layers.Flatten(), dense]
    # 16 positions of 27 x 5; 16 inputs of 5 to 2 x 2 outputs of 2; 128 x 7.
    assert count_products(keras.Sequential(layers)) == 16 * 135 + 16 * 40 + 128 * 7


def find_device():
    return str(keras.ops.zeros(1).device)


def measure_peak(dtype, size, repeats):
    """Floating-point operations a second of the fastest of several matrix products."""
    values = np.random.RandomState(0).standard_normal((size, size)).astype(np.float32)
    matrix = keras.ops.cast(values / math.sqrt(size), dtype)
    found = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        product = matrix
        for _ in range(4):
            product = keras.ops.matmul(matrix, product)
        # Waits until all are done.
        keras.ops.convert_to_numpy(keras.ops.cast(product[0, 0], "float32"))
        found.append(time.perf_counter() - start)
    return 4 * 2 * size**3 / min(found[1:])


def measure(estimator, X, y, rows, repeats):
    """Images a second of training in batches of so many rows, and of ``transform``.

    The first epoch and the first ``transform``, which compile, are left out.
    """
    clock = EpochClock()
    fitted = estimator.set_params(callbacks=[clock], epochs=repeats + 1).fit(X, y)
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        fitted.transform(X)
        times.append(time.perf_counter() - start)
    trained = clock.params["steps"] * rows
    return trained / np.median(clock.seconds[1:]), len(X) / np.median(times[1:])


def report(name, policy, estimator, data, rows, peak, repeats, frozen=0):
    """Print one line; `frozen` is the work of an embedder that G is trained through."""
    training, transform = measure(estimator, *data, rows, repeats)
    products = count_products(estimator.network_.model)
    # Backwards, a layer has two products for the one forwards; a frozen one has one.
    in_training = 2 * (3 * products + 2 * frozen)
    print(
        f"{name}, {policy}: {products / 1e9:.3f} G multiplications; training {training:.1f} "
        f"images/s, {training * in_training / peak:.1%} of the peak; transform {transform:.1f} "
        f"images/s, {transform * 2 * products / peak:.1%}",
        flush=True,
    )


def run_unet(size, policy, options, peak):
    rng = np.random.RandomState(0)
    X = rng.random_sample((options.images, size, size)).astype(np.float32)
    y = np.arange(len(X)) % 10
    embedder = TripletEmbedder(epochs=1, random_state=0).fit(X, y)
    generator = DistortionGenerator(
        FrozenEstimator(embedder),
        architecture="unet",
        filters=[maps // options.divisor for maps in (64, 128, 256)],
        dtype_policy=policy,
        batch_size=options.batch_size,
        random_state=0,
    )
    frozen = count_products(embedder.network_.model)
    rows, name = min(options.batch_size, len(X)), f"U-Net at {size}x{size}"
    report(name, policy, generator, (X, None), rows, peak, options.repeats, frozen)


def run_encoder(policy, options, peak):
    rng = np.random.RandomState(0)
    X = rng.random_sample((options.images // 2, 80, 350 // options.divisor)).astype(np.float32)
    verifier = SiameseVerifier(
        400,
        filters=[maps // options.divisor for maps in (128, 256, 512)],
        hidden_units=1024 // options.divisor,
        selection_space=PCA(8),
        dtype_policy=policy,
        batch_size=options.batch_size // 2,
        random_state=0,
    )
    data, rows = (X, np.arange(len(X)) % 10), verifier.batch_size // 3 * 3
    report("Encoder of Table 1", policy, verifier, data, rows, peak, options.repeats)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="widths and lengths by 8")
    parser.add_argument("--images", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--policies", nargs="+", default=["float32", "mixed_bfloat16"])
    options = parser.parse_args()
    options.divisor = 8 if options.quick else 1
    options.images = options.images or (128 if options.quick else 4096)
    options.batch_size = options.batch_size or (64 if options.quick else 256)
    warnings.simplefilter("ignore", ConvergenceWarning)
    check_counts()
    device = find_device()
    on_gpu = any(word in device.lower() for word in ("gpu", "cuda"))
    print(f"keras {keras.__version__} on {keras.backend.backend()}, device {device}")
    if not on_gpu:
        print("no GPU: these are the CPU's figures")
    for policy in options.policies:
        dtype = policy.removeprefix("mixed_")
        peak = measure_peak(dtype, 8192 if on_gpu else 1024, 10)
        print(f"matrix peak in {dtype}: {peak / 1e12:.3f} Tflop/s", flush=True)
        for size in (28, 112):
            run_unet(size, policy, options, peak)
        run_encoder(policy, options, peak)


if __name__ == "__main__":
    main()
