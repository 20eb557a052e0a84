"""Feed everything that takes files, arrays or keys with nonsense, and with what looks right.

    python benchmarks/fuzz.py --inputs 100000 --plausible 100000

spreads the inputs over the targets and prints, for each, how many were accepted and how many were
refused by ValueError, TypeError or OSError, or by KeyError where ids are looked up. Anything else,
warnings excepted, ends the run with the input that did it. Files are good ones cut, spliced, and
with bytes changed.

The plausible ones are images, labels and sounds in other units, layouts, types, byte orders and
ranges, blank, constant, repeated, or one odd among many (plausible.py, beside this file). What the
guide's page "What is checked" promises is held to; the rest is counted by kind.
"""

import argparse
import hashlib
import json
import random
import tempfile
import warnings
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from plausible import try_all
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator

from skdistort import PLDA, DistortionGenerator, LogMelSpectrogram, TemplateStore, TripletEmbedder
from skdistort.datasets import read_lfw_pairs, read_photos
from skdistort.exceptions import RenewalError
from skdistort.keys import check_keys, rotate_embeddings
from skdistort.metrics import (
    bootstrap_interval,
    cllr,
    equal_error_rate,
    min_cllr,
    min_dcf,
    operating_points,
    pair_scores,
    streaming_equal_error_rate,
    unlinkability,
)
from skdistort.persistence import load
from skdistort.templates import TemplateDatabase
from skdistort.trials import read_trials

DOCUMENTED = ValueError, TypeError, OSError
STORES = "images and stores"
# Array elements that are worth more than one try.
ODD = [0, 1, -1, 0.5, np.nan, np.inf, -np.inf, 1e308, -1e-320, 2**53, "a", None, b"x", True]


def mutated(data, rng):
    """Change good bytes in one to four places."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            del data[place:]
        elif kind == 1:
            del data[place : place + rng.randint(1, 8)]
        elif kind == 2:
            data[place:place] = rng.randbytes(rng.randint(1, 8))
        elif kind == 3 and place < len(data):
            data[place] = rng.randrange(256)
        else:
            other = rng.randrange(len(data) + 1)
            data[place:place] = data[other : other + rng.randint(1, 40)]
        if not data:
            break
    return bytes(data)


def odd_array(rng, max_dims=5):
    """Draw an array of any kind, mostly of few elements."""
    shape = tuple(rng.choice([0, 1, 2, 3, 8, 64]) for _ in range(rng.randint(0, max_dims)))
    size = int(np.prod(shape))
    if size > 5000:
        return np.zeros(shape[:2])
    kind = rng.randrange(4)
    if kind == 0:
        values = np.array([rng.choice(ODD) for _ in range(size)], dtype=object)
    elif kind == 1:
        values = np.array([rng.uniform(-20, 20) for _ in range(size)])
    elif kind == 2:
        values = np.array([rng.choice(ODD[:10]) for _ in range(size)], dtype=np.float64)
    else:
        values = np.array([rng.randrange(4) for _ in range(size)], dtype=rng.choice("bBhiqfd?"))
    return values.reshape(shape) if rng.random() < 0.9 else values.reshape(shape).tolist()


def text_target(reader, good, path, rng):
    """Read a changed text file."""
    path.write_bytes(mutated(good, rng))
    return partial(reader, path)


def model_target(good, path, rng):
    """Load a saved model, changed as a whole, or inside with the checksum made right."""
    path.write_bytes(mutated(good, rng) if rng.random() < 0.3 else forged(good, rng))
    return partial(load, path)


def forged(good, rng):
    """Change the document of a saved model, and make its length and its checksum right.

    A file is one line, the length of the document in eight bytes, the document, the bytes of the
    arrays, and the SHA-256 of all that.
    """
    line, newline, rest = good[:-32].partition(b"\n")
    length = int.from_bytes(rest[:8], "little")
    document = json.loads(rest[8 : 8 + length])
    forge(document, rng)
    text = json.dumps(document).encode()
    content = line + newline + len(text).to_bytes(8, "little") + text + rest[8 + length :]
    return content + hashlib.sha256(content).digest()


def forge(part, rng):
    """Change one value somewhere in a JSON document."""
    while True:
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(part[key], (dict, list)) and part[key] and rng.random() < 0.85:
            part = part[key]
            continue
        if rng.random() < 0.3:
            del part[key]
        else:
            part[key] = rng.choice([None, -1, 0, 1, 2**40, 0.5, "", "a", [], {}, [[]], True])
        return


def database_target(good, path, rng):
    """Open a changed template store and use it."""
    for old in path.parent.glob(path.name + "*"):
        old.unlink()
    path.write_bytes(mutated(good, rng))

    def use():
        database = TemplateDatabase(path)
        try:
            database.read_after(0, 10)
            database.add([("new", b"image")])
            database.remove("ada")
            return database.subjects()
        finally:
            database.close()

    return use


def metric_target(rng):
    """Call a metric with arrays that may not fit."""
    a, b = odd_array(rng, 2), odd_array(rng, 2)
    if rng.random() < 0.4:
        n = rng.randint(0, 30)
        a = np.array([rng.random() < 0.5 for _ in range(n)])
        b = np.array([rng.choice(ODD[:10]) for _ in range(n)], dtype=float)
    return rng.choice(
        [
            partial(equal_error_rate, a, b),
            partial(min_dcf, a, b),
            partial(cllr, a, b),
            partial(min_cllr, a, b),
            partial(operating_points, a, b),
            partial(unlinkability, a, b, n_permutations=3, random_state=0),
            partial(pair_scores, b, a),
            partial(streaming_equal_error_rate, lambda: [(a, b)]),
            partial(bootstrap_interval, equal_error_rate, a, b, a, a),
        ]
    )


def key_target(rng):
    """Use things that are hardly keys."""
    things = [*ODD, 2**200, -(2**70), np.int64(3), [], {}, (1, b"a"), np.arange(3), object()]
    keys = rng.choice([rng.choice(things), [rng.choice(things) for _ in range(rng.randint(0, 4))]])
    n = rng.randint(0, 4)
    return rng.choice(
        [partial(check_keys, keys, n), partial(rotate_embeddings, np.ones((n, 3)), keys)]
    )


def image_target(generator, store, rng):
    """Give odd arrays, ids and keys to a fitted generator and its store."""
    X = odd_array(rng)
    if rng.random() < 0.4:
        X = np.random.default_rng(rng.randrange(99)).uniform(0, 16, (rng.randint(0, 3), 64))
    keys = rng.choice([None, 1, b"k", -1, "text", [1, 2], [1]])
    ids = rng.choice(["ada", ["ada"], ["ada", "bob"], [1], [], None, ["\ud800"], ["a" * 9000]])
    return rng.choice(
        [
            partial(generator.transform, X, keys),
            partial(generator.embed_probe, X, keys),
            partial(store.enrol, ids, X, keys, add_to_existing=rng.random() < 0.5),
            partial(store.verify, ids, X, keys),
            partial(store.identify, X, rng.choice([1, 0, -1, 2.0, "a"]), keys=keys),
            partial(store.rotate, rng.choice([None, "ada", 5]), keys, key=rng.choice([None, 1])),
        ]
    )


def sound_target(good, path, rng):
    """Read a changed sound file, or odd arrays as waveforms."""
    if rng.random() < 0.5:
        path.write_bytes(mutated(good, rng))
        return partial(LogMelSpectrogram(n_frames=4, detector=None).fit_transform, [path])
    return partial(LogMelSpectrogram(n_frames=4, detector=None).fit_transform, [odd_array(rng, 2)])


def photo_target(good, file, rng):
    """Read a photo from bytes, as they are or at another size."""
    data, size = mutated(good, rng), rng.choice([None, (8, 8), (0, 3), (5,), "ab"])

    def use():
        file.write_bytes(data)
        read_photos(file.parent, [file.name], size=size)

    return use


def make_targets(folder):
    """Prepare what is to be fuzzed: ``target(rng) -> callable``, and its share of the inputs."""
    import soundfile
    from PIL import Image

    X, y = load_digits(return_X_y=True)
    small = {"epochs": 1, "filters": (2,), "random_state": 0}
    embedder = TripletEmbedder(3, hidden_units=8, **small).fit(X[:100], y[:100])
    generator = DistortionGenerator(
        FrozenEstimator(embedder), architecture="bottleneck", key=1, **small
    ).fit(X[:100])
    store = TemplateStore(generator, folder / "store.db", key_cost=1, allow_weak_keys=True)
    store.calibrate_threshold(X[:50], y[:50])
    store.enrol(["ada"], X[:1])
    PLDA(n_iter=1).fit(X[:40, 2:6], y[:40]).save(folder / "model")
    database = TemplateDatabase(folder / "good.db")
    database.add([("ada", b"image"), ("bob", bytes(3000))])
    database.close()
    soundfile.write(folder / "good.wav", np.sin(np.arange(2000)), 16000, format="WAV")
    trials = b"1 ann/a.wav ann/b.wav\n0 ann/a.wav bob/c.wav\n"
    pairs = b"2\t1\nAnn_A\t1\t2\nAnn_A\t1\tBob_B\t3\nCy_C\t1\t4\nAnn_A\t2\tBob_B\t1\n"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.uint8(X[0].reshape(8, 8) * 15)).save(folder / "good.jpg", exif=exif)
    photo = (folder / "good.jpg").read_bytes()
    model, wave = (folder / "model").read_bytes(), (folder / "good.wav").read_bytes()
    file = folder / "fuzzed"
    return {
        "trial lists": (0.2, partial(text_target, read_trials, trials, file)),
        "LFW pairs": (0.15, partial(text_target, read_lfw_pairs, pairs, file)),
        "keys": (0.2, key_target),
        "metrics": (0.22, metric_target),
        "saved models": (0.12, partial(model_target, model, file)),
        "sounds": (0.06, partial(sound_target, wave, file)),
        "photos": (0.03, partial(photo_target, photo, file)),
        STORES: (0.01, partial(image_target, generator, store)),
        "template files": (
            0.01,
            partial(database_target, (folder / "good.db").read_bytes(), folder / "bad.db"),
        ),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--plausible", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        total = 0
        for name, (share, target) in make_targets(Path(folder)).items():
            seen = Counter()
            documented = (*DOCUMENTED, KeyError, RenewalError) if name == STORES else DOCUMENTED
            for i in range(int(np.ceil(share * options.inputs))):
                rng = random.Random(f"{options.seed} {name} {i}")
                use = target(rng)
                try:
                    use()
                    seen["accepted"] += 1
                except UnicodeError as error:
                    raise SystemExit(f"{name}, input {i}: {error!r}\n{use}") from error
                except documented as error:
                    seen[type(error).__name__] += 1
                except Exception as error:
                    raise SystemExit(
                        f"{name}, input {i}: {type(error).__name__}: {error}\n{use}"
                    ) from error
            total += seen.total()
            print(f"{name}: {dict(seen)}", flush=True)
        print(f"{total} inputs, no exception but documented ones", flush=True)
        if options.plausible:
            n_plausible = try_all(Path(folder), options.plausible, options.seed)
            print(f"{n_plausible} plausible inputs, no promise broken")


if __name__ == "__main__":
    main()
