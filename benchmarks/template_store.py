"""Measure a template store: search, durability under SIGKILL, and what rounding templates costs.

``search`` times the 1:N search against the bare matrix product of the same probes and templates,
in one process, in turn, with the same threads. ``opening`` times opening a file, reading one id,
and reading all embeddings, with few and with many templates, in turn. ``kill`` kills a process that
enrols, renews and revokes, again and again, and looks for what it lost or left half done.
``revoke`` lets three processes revoke in turn. ``rounding`` gives the EER of plain probes against
templates as float, as 8-bit values, and as JPEG images, which needs Pillow.

    OMP_NUM_THREADS=1 python benchmarks/template_store.py search --n 1000000
    python benchmarks/template_store.py opening --few 10000 --many 1000000
    python benchmarks/template_store.py kill --kills 200
    python benchmarks/template_store.py revoke --n 1000
    python benchmarks/template_store.py rounding
"""

import argparse
import os
import random
import signal
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


def opening(args):
    """Print how long opening and reading take for two files of random templates, in turn."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"few": args.few, "many": args.many}
        paths = {name: Path(folder) / f"{name}.db" for name in sizes}
        for name, n in sizes.items():
            database = TemplateDatabase(paths[name])
            for start in range(0, n, 20_000):
                count = min(20_000, n - start)
                images = rng.bytes(args.size * count)
                embeddings = rng.bytes(4 * args.d * count)
                database.add(
                    (
                        f"subject {start + i}",
                        images[i * args.size : (i + 1) * args.size],
                        b"sixteen bytes or",
                        embeddings[i * 4 * args.d : (i + 1) * 4 * args.d],
                    )
                    for i in range(count)
                )
            database.close()
        opened, read = {name: [] for name in sizes}, {name: [] for name in sizes}
        for repeat in range(args.repeats):
            for name, n in sizes.items():
                database, seconds = timed(TemplateDatabase, paths[name])
                opened[name].append(seconds)
                subject = f"subject {(repeat * 7919) % n}"
                _, seconds = timed(database.read_embeddings_of, subject)
                read[name].append(seconds)
                database.close()
        for name, n in sizes.items():
            database = TemplateDatabase(paths[name])
            _, everything = timed(lambda database=database: read_all(database))
            database.close()
            print(
                f"{n} templates of {args.size} bytes, {paths[name].stat().st_size / 1e6:.0f} MB: "
                f"opening {1e3 * median(opened[name]):.2f} ms, one id "
                f"{1e3 * median(read[name]):.3f} ms (median of {args.repeats}); all "
                f"embeddings {everything:.2f} s"
            )


def read_all(database):
    """Read all embeddings, as the first search does."""
    last = 0
    while rows := database.read_embeddings_after(last, 4096):
        last = rows[-1][0]
    return database.numbers()


def contents(batch, i, renewed=False):
    """Make the bytes of one template of the writer, and of its embedding."""
    rng = random.Random(f"{batch}-{i}-{renewed}")
    return rng.randbytes(SIZE), rng.randbytes(256)


def write(path, first, say):
    """Enrol batches, renew every second, revoke every third, and say what is done, until killed."""
    database = TemplateDatabase(path)
    batch = first
    while True:
        subject = f"batch {batch}"
        say("adding", batch)
        rows = [contents(batch, i) for i in range(BATCH)]
        database.add([(subject, image, b"old", embedding) for image, embedding in rows])
        say("added", batch)
        if batch % 2 == 0:
            say("renewing", batch)
            numbers = [number for number, *_ in database.read_after(0, BATCH, subject=subject)]
            new = (contents(batch, i, renewed=True) for i in range(BATCH))
            database.replace(dict(zip(numbers, new, strict=True)), b"new")
            say("renewed", batch)
        if batch % 3 == 0:
            say("removing", batch)
            database.remove(subject)
            say("removed", batch)
        batch += 1


def run_and_kill(path, first, seconds):
    """Let a child write for a while, kill it, and tell what it said."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        write(path, first, lambda *words: os.write(writing, f"{words[0]} {words[1]}\n".encode()))
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        heard = pipe.readline()
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        heard += pipe.read()
    said = [line.split() for line in heard.decode().splitlines()]
    return [(word, int(batch)) for word, batch in said]


def kill(args):
    """Kill a writer at random moments, and compare the file with what was acknowledged."""
    rng = random.Random(0)
    words = ("adding", "added", "renewing", "renewed", "removing", "removed")
    said = {word: set() for word in words}
    lost = half = unerased = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "templates.db"
        for _ in range(args.kills):
            first = 1 + max(said["adding"], default=-1)
            now = set()
            for word, batch in run_and_kill(path, first, rng.uniform(0, args.seconds)):
                said[word].add(batch)
                now.add(batch)
            database = TemplateDatabase(path)
            found = {}
            for number, subject, image in database.read_after(0, 10**7):
                found.setdefault(int(subject.split()[1]), []).append((number, image))
            rows = database.read_embeddings_after(0, 10**7)
            embeddings = {number: (check, embedding) for number, _, check, embedding in rows}
            database.numbers()
            database.close()
            lost += len(said["added"] - said["removing"] - set(found))
            unerased += len(set(found) & said["removed"])
            data = b"".join(file.read_bytes() for file in path.parent.glob("templates.db*"))
            for batch, templates in found.items():
                if batch not in now:
                    continue
                checks = {embeddings[number][0] for number, _ in templates}
                renewed = checks == {b"new"}
                kept = [(image, embeddings[number][1]) for number, image in templates]
                half += kept != [contents(batch, i, renewed) for i in range(BATCH)]
                lost += batch in said["renewed"] and not renewed
                if renewed:
                    unerased += any_left(data, batch, renewed=False)
            for batch in now - set(found):
                unerased += any_left(data, batch, renewed=False) + any_left(data, batch, True)
    n = {word: len(batches) for word, batches in said.items()}
    print(
        f"{args.kills} kills; of templates, {BATCH} at a time, {n['added']} enrolments, "
        f"{n['renewed']} renewals and {n['removed']} revocations acknowledged, "
        f"{n['adding'] - n['added']}, {n['renewing'] - n['renewed']} and "
        f"{n['removing'] - n['removed']} cut off: {lost} acknowledged lost, {half} half present, "
        f"{unerased} revoked, renewed or undone with bytes left"
    )
    if lost or half or unerased:
        raise SystemExit(1)


def any_left(data, batch, renewed):
    """Tell whether bytes of a batch are in the file or its log."""
    return any(
        part[:32] in data or part[-32:] in data
        for i in range(BATCH)
        for part in contents(batch, i, renewed)
    )


def revoke(args):
    """Let processes revoke in turn, and count those that gave up waiting."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "templates.db"
        database = TemplateDatabase(path)
        database.add((str(i), random.randbytes(SIZE)) for i in range(args.processes * args.n))
        database.close()
        start = time.perf_counter()
        children = []
        for first in range(args.processes):
            child = os.fork()
            if child == 0:
                failed = 0
                database = TemplateDatabase(path)
                for i in range(first, args.processes * args.n, args.processes):
                    try:
                        database.remove(str(i))
                    except (TimeoutError, OSError) as error:
                        print(error)
                        failed = 1
                database.close()
                os._exit(failed)
            children.append(child)
        failures = sum(os.waitpid(child, 0)[1] != 0 for child in children)
        seconds = time.perf_counter() - start
        database = TemplateDatabase(path)
        left = len(database.numbers())
        database.close()
        print(
            f"{args.processes} processes, {args.n} revocations each, {seconds:.1f} s: {failures} "
            f"gave up, {left} templates left, file of {path.stat().st_size / 1e6:.1f} MB"
        )
    if failures or left:
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
    part = parts.add_parser("opening")
    part.add_argument("--few", type=int, default=10_000, help="templates of the one file")
    part.add_argument("--many", type=int, default=1_000_000, help="templates of the other")
    part.add_argument("--size", type=int, default=28 * 28, help="bytes of a template")
    part.add_argument("--d", type=int, default=32, help="components of an embedding")
    part.add_argument("--repeats", type=int, default=21, help="timed pairs of calls")
    part.set_defaults(run=opening)
    part = parts.add_parser("kill")
    part.add_argument("--kills", type=int, default=200, help="writers to kill")
    part.add_argument("--seconds", type=float, default=0.15, help="the longest life of one")
    part.set_defaults(run=kill)
    part = parts.add_parser("revoke")
    part.add_argument("--processes", type=int, default=3, help="that revoke")
    part.add_argument("--n", type=int, default=1000, help="revocations of each")
    part.set_defaults(run=revoke)
    part = parts.add_parser("rounding")
    part.add_argument("--epochs", type=int, default=10, help="of the embedder and the generator")
    part.add_argument("--quality", type=int, default=90, help="of the JPEG images")
    part.set_defaults(run=rounding)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
