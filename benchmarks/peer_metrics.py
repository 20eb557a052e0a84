"""Time the measures against those of other libraries, side by side in one process.

Equal error rate (interpolated and of the convex hull), Cllr and minimum Cllr at several numbers of
scores, DSSIM at several image sizes, BioHashing of one embedding at several lengths. The functions
are called in random order, each in its own input format: those that take an array of scores for
each class are spared taking them apart. All must give the same value.

    python benchmarks/peer_metrics.py

pyeer and scikit-image come with the extra "test". bob.measure is on PyPI, PYLLR on GitHub
(bsxfan/PYLLR). They may be kept elsewhere, such as in an environment of their own: ``--path`` adds
a folder to import from, after all others. A peer that cannot be imported is named and left out.
"""

import argparse
import importlib
import sys
import time
from statistics import median

import numpy as np

from skdistort.metrics import cllr, dssim, equal_error_rate, min_cllr
from skdistort.template_baselines import biohash

# Seconds after which a function is not timed again.
PATIENCE = 3.0


def peer_module(name, missing):
    """Import a peer, or note that it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing[name] = error
        return None


def draw_scores(n, dtype, seed=0):
    """Draw calibrated scores: half genuine, of normal distributions."""
    rng = np.random.default_rng(seed)
    genuine = rng.random(n) < 0.5
    return genuine, rng.normal(np.where(genuine, 2.0, -2.0), 2.0).astype(dtype)


def score_tasks(peers, genuine, scores):
    """Name each measure's function of ours, those of peers, and how far the values may differ."""
    positives, negatives, labels = scores[genuine], scores[~genuine], genuine.astype(int)
    pyeer, bob, calibration, quick, pyllr = (
        peers[name]
        for name in (
            "pyeer.eer_stats",
            "bob.measure",
            "bob.measure.calibration",
            "pyllr.quick_eval",
            "pyllr.cllr",
        )
    )
    # What takes a step of the curve, rather than a point between two, may be one step off.
    step = 2 / min(len(positives), len(negatives))

    def pyeer_eer():
        _, fmr, fnmr = pyeer.calculate_roc(positives, negatives)
        return pyeer.get_eer_values(fmr, fnmr)[3]

    def bob_eer():
        return bob.eer(negatives, positives)

    def pyllr_eer():
        return quick.scoreslabels_2_eer(scores, labels)

    def pyllr_min_cllr():
        # Where only one class is, its ratio is infinite.
        with np.errstate(divide="ignore"):
            return pyllr.min_cllr(quick.PAV(scores, labels))

    return [
        (
            "EER",
            lambda: equal_error_rate(genuine, scores)[0],
            {"pyeer": pyeer and pyeer_eer, "bob.measure": bob and bob_eer},
            step,
        ),
        (
            "EER, rocch",
            lambda: equal_error_rate(genuine, scores, method="rocch")[0],
            {"PYLLR": quick and pyllr_eer},
            1e-6,
        ),
        (
            "Cllr",
            lambda: cllr(genuine, scores),
            {
                "PYLLR": pyllr and (lambda: pyllr.cllr(positives, negatives)),
                "bob.measure": calibration and (lambda: calibration.cllr(negatives, positives)),
            },
            1e-6,
        ),
        ("min. Cllr", lambda: min_cllr(genuine, scores), {"PYLLR": quick and pyllr_min_cllr}, 1e-9),
    ]


def image_task(peers, size):
    """Compare one pair of images."""
    rng = np.random.default_rng(0)
    X, Y = rng.uniform(size=(2, 1, size, size, 1))
    skimage = peers["skimage.metrics"]

    def skimage_dssim():
        similarity = skimage.structural_similarity(
            X[0, :, :, 0],
            Y[0, :, :, 0],
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        return (1 - similarity) / 2

    return "DSSIM", lambda: dssim(X, Y)[0], {"scikit-image": skimage and skimage_dssim}, 1e-9


def hash_task(length):
    """Hash one embedding, as Idiap's papers on BioHashing do it in numpy."""
    embedding = np.random.default_rng(0).normal(size=(1, length))

    def numpy_recipe():
        np.random.seed(1)
        directions = np.linalg.qr(np.random.rand(length, length), mode="reduced")[0]
        return len((embedding @ directions > 0)[0])

    return "BioHashing", lambda: biohash(embedding, 1).shape[1], {"numpy recipe": numpy_recipe}, 0


def measure(name, size, ours, theirs, tolerance, repeats):
    """Time functions in turn, after one call each, and print medians and ratios."""
    functions = {"skdistort": ours, **{k: f for k, f in theirs.items() if f is not None}}
    values = {who: function() for who, function in functions.items()}
    for who, value in values.items():
        if not abs(value - values["skdistort"]) <= tolerance:
            raise SystemExit(f"{name} of {size}: {who} gives {value}, ours {values['skdistort']}")
    seconds = {who: [] for who in functions}
    shuffle = np.random.default_rng(0).permutation
    for _ in range(repeats):
        # What runs just before leaves the caches in its state.
        for who in shuffle(list(functions)):
            if sum(seconds[who]) > PATIENCE:
                continue
            start = time.perf_counter()
            functions[who]()
            seconds[who].append(time.perf_counter() - start)
    own = median(seconds.pop("skdistort"))
    line = f"{name:12s}{size:>10,d}   skdistort {1e3 * own:10.3f} ms"
    for who, taken in seconds.items():
        line += f"   {who} {1e3 * median(taken):10.3f} ms, ours/theirs {own / median(taken):5.2f}"
    print(line, flush=True)
    return [own / median(taken) for taken in seconds.values()]


def main():
    """Print one line for each measure and size, and the worst ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scores", type=int, nargs="*", default=[2_000, 200_000, 5_000_000])
    parser.add_argument("--pixels", type=int, nargs="*", default=[28, 112])
    parser.add_argument("--lengths", type=int, nargs="*", default=[128, 512], help="of embeddings")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64")
    parser.add_argument("--repeats", type=int, default=51)
    parser.add_argument("--path", nargs="*", default=[], help="folders of peers to import from")
    args = parser.parse_args()
    sys.path.extend(args.path)
    missing = {}
    peers = {
        name: peer_module(name, missing)
        for name in (
            "pyeer.eer_stats",
            "bob.measure",
            "bob.measure.calibration",
            "pyllr.quick_eval",
            "pyllr.cllr",
            "skimage.metrics",
        )
    }
    for name, error in missing.items():
        print(f"left out: {name} ({error})")
    print(f"{args.dtype} scores, medians of up to {args.repeats} calls each, in turn")
    tasks = [
        (size, task)
        for size in args.scores
        for task in score_tasks(peers, *draw_scores(size, args.dtype))
    ]
    tasks += [(size, image_task(peers, size)) for size in args.pixels]
    tasks += [(length, hash_task(length)) for length in args.lengths]
    ratios = [
        ratio for size, (name, *task) in tasks for ratio in measure(name, size, *task, args.repeats)
    ]
    print(f"slowest against a peer: {max(ratios, default=float('nan')):.2f} of its time")


if __name__ == "__main__":
    main()
