"""A few photos to learn from: 40 people of LFW with 10 grey photos each, 40 others to judge by.

For each seed people and photos are drawn anew. TripletEmbedder is trained and compared with PCA,
and with PCA and LDA, on the same photos of 56x46 pixels; all pairs of photos of the other people
are scored by the cosine of their vectors.

    python benchmarks/small_faces.py --data FOLDER --seeds 0 1 2

FOLDER holds ``lfw_deepfunneled``. With ``--search`` augmentation and weight decay are chosen by a
grid search that folds the people to learn from, and is never told of the others.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline

from skdistort import TripletEmbedder
from skdistort.images import read_photos
from skdistort.metrics import equal_error_rate, pair_scores

# The face in a deep-funneled photo of 250x250.
FACE = {"box": (77, 62, 173, 179), "size": (56, 46)}
PHOTOS = 10


def read_people(folder, rng, wanted):
    """Read grey photos of people drawn at random, and who is on them.

    Parameters
    ----------
    folder : Path
        A folder for each person.
    rng : numpy.random.RandomState
        Source of the draw.
    wanted : dict of int to int
        Photos of a person, and how many people have so many, the most photos first.
    """
    photos = {p.name: sorted(p.glob("*.jpg")) for p in sorted(folder.iterdir()) if p.is_dir()}
    names, people = [], []
    for n_photos, n_people in wanted.items():
        found = [name for name, files in photos.items() if len(files) >= n_photos]
        for person in rng.permutation(found)[:n_people]:
            files = photos.pop(person)
            chosen = rng.permutation(len(files))[:n_photos]
            names += [str(files[i].relative_to(folder)) for i in chosen]
            people.append(n_photos)
    X = read_photos(folder, names, **FACE).mean(axis=3).astype(np.float32)
    return X, np.repeat(np.arange(len(people)), people)


def draw(folder, n_people, seed):
    """Read ten photos of each of so many people."""
    return read_people(folder, np.random.RandomState(seed), {PHOTOS: n_people})


def error_rate(Z, y):
    """Measure the equal error rate over all pairs, in per cent."""
    return 100 * equal_error_rate(*pair_scores(Z, y, metric="cosine"))[0]


def main():
    """Print a line for each seed, and the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--people", type=int, default=40, help="to learn from, and as many others")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--augmentation", default="photos", help="a preset, or none")
    parser.add_argument("--epochs", default="auto")
    parser.add_argument("--components", type=int, default=64)
    parser.add_argument("--miner", default="all")
    parser.add_argument("--search", action="store_true", help="choose augmentation and decay")
    args = parser.parse_args()
    embedder = TripletEmbedder(
        args.components,
        miner=args.miner,
        augmentation=None if args.augmentation == "none" else args.augmentation,
        epochs=args.epochs if args.epochs == "auto" else int(args.epochs),
    )
    print(embedder)
    names = "TripletEmbedder", "PCA", "PCA and LDA"
    rates = []
    for seed in args.seeds:
        X, y = draw(args.data / "lfw_deepfunneled", 2 * args.people, seed)
        known = y < args.people
        if args.search:
            search = GridSearchCV(
                embedder.set_params(random_state=seed),
                {"augmentation": [None, "photos"], "weight_decay": [0.0, 0.3]},
                cv=GroupKFold(2),
                refit=False,
            )
            search.fit(X[known], y[known], groups=y[known])
            means = search.cv_results_["mean_test_score"]
            for parameters, score in zip(search.cv_results_["params"], means, strict=True):
                error = 100 - 100 * score
                print(f"seed {seed}, folds by person: {parameters}: EER {error:.1f} %", flush=True)
            embedder.set_params(**search.best_params_)
        start = time.perf_counter(), time.process_time()
        embedder.set_params(random_state=seed).fit(X[known], y[known])
        wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
        flat = X.reshape(len(X), -1)
        pca = PCA(args.components, random_state=0).fit(flat[known])
        lda = make_pipeline(PCA(100, random_state=0), LinearDiscriminantAnalysis())
        lda.fit(flat[known], y[known])
        found = embedder.transform(X), pca.transform(flat), lda.transform(flat)
        rates.append([error_rate(Z[~known], y[~known]) for Z in found])
        line = ", ".join(f"{name} {rate:.1f}" for name, rate in zip(names, rates[-1], strict=True))
        print(
            f"seed {seed}: EER {line} %; trained {wall:.0f} s, {cpu:.0f} s of CPU, "
            f"{len(embedder.history_['loss'])} epochs",
            flush=True,
        )
    means = zip(names, np.mean(rates, axis=0), strict=True)
    print("mean: " + ", ".join(f"{name} {rate:.1f} %" for name, rate in means))


if __name__ == "__main__":
    main()
