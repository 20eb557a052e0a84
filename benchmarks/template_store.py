"""Measure a template store: search, durability under SIGKILL, and what rounding templates costs.

``search`` times the 1:N search against the bare matrix product of the same probes and templates,
in one process, in turn, with the same threads. ``kill`` kills a writing process again and again
and looks for what it lost or left half done. ``rounding`` gives the EER of plain probes against
templates as float, as 8-bit values, and as JPEG images, which needs Pillow.

    OMP_NUM_THREADS=1 python benchmarks/template_store.py search --n 1000000
    python benchmarks/template_store.py kill --kills 200
    python benchmarks/template_store.py rounding
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from skdistort.templates import Gallery, TemplateDatabase, storage_error_rates

# Templates of one enrolment of the writer, and bytes of each: several pages, to be cut in two.
BATCH, SIZE = 5, 5000


def unit_vectors(n, d, seed):
    """Draw directions at random."""
    X = np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    return X


def timed(function, *args, **options):
    """Call a function and return what it returns, and how many seconds it took."""
    start = time.perf_counter()
    result = function(*args, **options)
    return result, time.perf_counter() - start


def search(args):
    """Print the time of the search and of the matrix product, and check what was found."""
    templates = unit_vectors(args.n, args.d, 0)
    probes = unit_vectors(args.probes, args.d, 1)
    subjects = [str(i // args.per_id) for i in range(args.n)]
    gallery, seconds = timed(Gallery, subjects, templates)
    print(
        f"{args.n} templates of {args.d}-d, {args.per_id} an id: gallery built in {seconds:.1f} s"
    )
    # Written once, so that neither contender pays for fresh pages.
    product = np.ones((args.probes, args.n), dtype=np.float32)
    bare, ours, ratios = [], [], []
    for _ in range(args.repeats):
        _, slow = timed(np.matmul, probes, templates.T, out=product)
        (found, scores), fast = timed(gallery.search, probes, args.k)
        bare.append(slow)
        ours.append(fast)
        ratios.append(fast / slow)
    print(
        f"{args.probes} probes, k = {args.k}, median of {args.repeats} paired repeats: "
        f"product {median(bare):.3f} s   search {median(ours):.3f} s   "
        f"ratio {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    for i in range(min(10, args.probes)):
        by_id = np.maximum.reduceat(2 * product[i] - 2, np.arange(0, args.n, args.per_id))
        expected = np.sort(by_id)[::-1][: args.k]
        if not np.allclose(scores[i], expected, atol=1e-5):
            raise SystemExit(f"probe {i}: found {scores[i]}, expected {expected}")


def image(batch, i):
    """Make the bytes of one template of the writer."""
    return random.Random(f"{batch}-{i}").randbytes(SIZE)


def write(args):
    """Enrol batches, revoke every third, and say what is done, until killed."""
    database = TemplateDatabase(args.path)
    batch = args.first
    while True:
        images = [(f"batch {batch}", image(batch, i)) for i in range(BATCH)]
        print("adding", batch, flush=True)
        database.add(images)
        print("added", batch, flush=True)
        if batch % 3 == 0:
            print("removing", batch, flush=True)
            database.remove(f"batch {batch}")
            print("removed", batch, flush=True)
        batch += 1


def kill(args):
    """Kill a writer at random moments, and compare the file with what was acknowledged."""
    rng = random.Random(0)
    said = {word: set() for word in ("adding", "added", "removing", "removed")}
    lost = half = unerased = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "templates.db"
        for _ in range(args.kills):
            command = [sys.executable, __file__, "write", "--path", str(path), "--first"]
            first = 1 + max(said["adding"], default=-1)
            process = subprocess.Popen([*command, str(first)], stdout=subprocess.PIPE)
            heard = process.stdout.readline()
            time.sleep(rng.uniform(0, 0.08))
            os.kill(process.pid, signal.SIGKILL)
            heard += process.stdout.read()
            process.stdout.close()
            process.wait()
            now = set()
            for line in heard.decode().split("\n")[:-1]:
                word, batch = line.split()
                said[word].add(int(batch))
                now.add(int(batch))
            database = TemplateDatabase(path)
            found = {}
            for _, subject, content in database.read_after(0, 10**7):
                digest = hashlib.sha256(content).digest()
                found.setdefault(int(subject.split()[1]), []).append(digest)
            database.close()
            lost += len(said["added"] - said["removing"] - set(found))
            unerased += len(set(found) & said["removed"])
            for batch, digests in found.items():
                if batch in now or len(digests) != BATCH:
                    expected = [hashlib.sha256(image(batch, i)).digest() for i in range(BATCH)]
                    half += digests != expected
            data = b"".join(file.read_bytes() for file in path.parent.glob("templates.db*"))
            for batch in now - set(found):
                unerased += any(image(batch, i)[:32] in data for i in range(BATCH))
    print(
        f"{args.kills} kills, {len(said['added'])} enrolments of {BATCH} templates and "
        f"{len(said['removed'])} revocations acknowledged, "
        f"{len(said['adding']) - len(said['added'])} enrolments and "
        f"{len(said['removing']) - len(said['removed'])} revocations cut off: {lost} acknowledged "
        f"enrolments lost, {half} half present, {unerased} acknowledged revocations or enrolments "
        "undone with bytes left"
    )
    if lost or half or unerased:
        raise SystemExit(1)


def rounding(args):
    """Print the EER of digits as float, as bytes and as JPEG, for both generators."""
    from sklearn.datasets import load_digits
    from sklearn.frozen import FrozenEstimator

    from skdistort import DistortionGenerator, TripletEmbedder

    X, y = load_digits(return_X_y=True)
    train, held_out = slice(0, 1200), slice(1200, None)
    embedder = TripletEmbedder(epochs=args.epochs, random_state=0).fit(X[train], y[train])
    for architecture in ("unet", "bottleneck"):
        generator = DistortionGenerator(
            FrozenEstimator(embedder), architecture=architecture, epochs=args.epochs, random_state=0
        ).fit(X[train])
        as_float, as_bytes, jpeg = storage_error_rates(
            generator, X[held_out], y[held_out], jpeg_quality=args.quality
        )
        print(
            f"{architecture:10s} EER of templates as float {as_float:.4%}, as 8-bit values "
            f"{as_bytes:.4%}, as JPEG of quality {args.quality} {jpeg:.4%}"
        )


def main():
    """Read what to measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("search")
    part.add_argument("--n", type=int, default=1_000_000, help="templates")
    part.add_argument("--d", type=int, default=128, help="components of an embedding")
    part.add_argument("--probes", type=int, default=256, help="probes of a batch")
    part.add_argument("--per-id", type=int, default=1, help="templates of an id")
    part.add_argument("--k", type=int, default=10, help="ids to find for a probe")
    part.add_argument("--repeats", type=int, default=5, help="timed pairs of calls")
    part.set_defaults(run=search)
    part = parts.add_parser("kill")
    part.add_argument("--kills", type=int, default=200, help="writers to kill")
    part.set_defaults(run=kill)
    part = parts.add_parser("write")
    part.add_argument("--path", required=True, help="file of the store")
    part.add_argument("--first", type=int, required=True, help="number of the first batch")
    part.set_defaults(run=write)
    part = parts.add_parser("rounding")
    part.add_argument("--epochs", type=int, default=10, help="of the embedder and the generator")
    part.add_argument("--quality", type=int, default=90, help="of the JPEG images")
    part.set_defaults(run=rounding)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
