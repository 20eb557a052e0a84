"""Peak memory of ``fit`` and ``transform`` as the data grows tenfold, by where the images are.

A generator and its embedder are trained for an epoch, then all images are distorted into a
memory-mapped file: from an array in memory, from a memory-mapped one, from a folder and from a
``keras.utils.PyDataset``. Each run is a process of its own, whose anonymous memory is sampled
(``RssAnon`` of Linux), so that pages of files, which the system can drop, do not count. Run
``python benchmarks/larger_than_memory.py``; on macOS only ``ru_maxrss`` is there to read.
"""

import argparse
import multiprocessing
import os
import tempfile
import threading
import time
import warnings
from concurrent.futures import ProcessPoolExecutor

import numpy as np

KINDS = ("memory", "memmap", "folder", "PyDataset")


def make_images(folder, n, side):
    """Write n images of ten classes, a thousand at a time: an array, and a folder of PGM files."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 128, (10, side, side))
    path = os.path.join(folder, "images.npy")
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (n, side, side))
    for c in range(10):
        os.makedirs(os.path.join(folder, "classes", str(c)))
    for start in range(0, n, 1000):
        classes = np.arange(start, min(start + 1000, n)) % 10
        noise = rng.integers(0, 128, (len(classes), side, side))
        images[start : start + 1000] = patterns[classes] + noise
        for number, c in enumerate(classes, start):
            name = os.path.join(folder, "classes", str(c), f"{number:08d}.pgm")
            with open(name, "wb") as file:
                file.write(b"P5 %d %d 255 " % (side, side) + images[number].tobytes())
    images.flush()


def open_images(kind, folder, batch_size):
    """Return X and y as fit takes them."""
    import keras

    from skdistort.datasets import ImageFolder

    path = os.path.join(folder, "images.npy")
    images = np.load(path, mmap_mode=None if kind == "memory" else "r")
    classes = np.arange(len(images)) % 10
    if kind == "folder":
        found = ImageFolder(os.path.join(folder, "classes"), image_shape=images.shape[1:])
        return found, found.y
    if kind != "PyDataset":
        return images, classes

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return -(-len(images) // batch_size)

        def __getitem__(self, index):
            rows = slice(index * batch_size, (index + 1) * batch_size)
            return np.asarray(images[rows]), classes[rows]

    return Batches(), None


def anonymous_megabytes():
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["RssAnon"].split()[0]) / 1024


def measure(kind, folder, n, side, batch_size):
    """Train and distort; give the peaks in megabytes and the seconds."""
    import resource

    from skdistort import DistortionGenerator, TripletEmbedder

    peak, done = [0.0], threading.Event()

    def watch():
        while not done.wait(0.02):
            peak[0] = max(peak[0], anonymous_megabytes())

    X, y = open_images(kind, folder, batch_size)
    settings = {"epochs": 1, "filters": (2,), "batch_size": batch_size, "random_state": 0}
    embedder = TripletEmbedder(miner="hard", hidden_units=8, **settings)
    generator = DistortionGenerator(embedder, **settings)
    out = np.lib.format.open_memmap(
        os.path.join(folder, "out.npy"), "w+", np.float32, (n, side, side)
    )
    watcher = threading.Thread(target=watch) if os.path.exists("/proc/self/status") else None
    if watcher:
        watcher.start()
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        generator.fit(X, y).transform(X, out=out)
    seconds = time.perf_counter() - start
    done.set()
    if watcher:
        watcher.join()
    maximum = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return peak[0], maximum, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10000, help="n; 10 n are measured too")
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    print("images      X           float32 MB   anonymous MB   ru_maxrss MB   seconds")
    for n in (args.images, 10 * args.images):
        with tempfile.TemporaryDirectory() as folder:
            make_images(folder, n, args.side)
            for kind in args.kinds:
                settings = kind, folder, n, args.side, args.batch_size
                with ProcessPoolExecutor(1, mp_context=context) as process:
                    peak, maximum, seconds = process.submit(measure, *settings).result()
                size = n * args.side**2 * 4 / 1e6
                print(
                    f"{n:8d}    {kind:10}  {size:10.0f}   {peak:12.0f}   {maximum:12.0f}   "
                    f"{seconds:7.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
