"""People of whom there is one photo, beside others of whom there are many: do they help?

For each seed two of the ten digits are unseen. Of each of the other eight 20 images are learned
from, and beside them 102 images of the unseen ones, each as a person of its own. The rest of the
unseen digits judges: the equal error rate over all pairs, with the 102 in training and with them
dropped, for two miners. With ``--wrong`` the 102 are of the eight digits, each said to be a person
of its own although it is none.

    python benchmarks/single_photos.py --seeds 0 1 2 3 4 5

With ``--data FOLDER``, which holds ``lfw_deepfunneled``, the same for grey photos of faces: 20
people with 20 photos, 300 others with one, and 40 further ones of ten photos to judge by.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from small_faces import error_rate, read_people

from skdistort import TripletEmbedder


def draw_digits(seed, wrong):
    """Draw images of digits: those to learn from with people's numbers, and those to judge by."""
    X, y = load_digits(return_X_y=True)
    rng = np.random.RandomState(seed)
    digits = rng.permutation(10)
    known = np.concatenate([rng.permutation(np.flatnonzero(y == d))[:20] for d in digits[:8]])
    unseen = rng.permutation(np.flatnonzero(np.isin(y, digits[8:])))
    single, judged = unseen[:102], unseen[102:]
    if wrong:
        left = np.setdiff1d(np.flatnonzero(np.isin(y, digits[:8])), known)
        single = rng.permutation(left)[:102]
    people = np.concatenate([y[known], 10 + np.arange(len(single))])
    return (X[np.concatenate([known, single])], people), (X[judged], y[judged])


def draw_faces(folder, seed):
    """Draw photos of people: those to learn from, and those to judge by."""
    rng = np.random.RandomState(seed)
    X, y = read_people(folder, rng, {20: 20, 10: 40, 1: 300})
    judged = (y >= 20) & (y < 60)
    return (X[~judged], y[~judged]), (X[judged], y[judged])


def main():
    """Print a line for each seed and miner, and the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="faces in place of digits")
    parser.add_argument("--wrong", action="store_true", help="single digits are of known ones")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(6))
    parser.add_argument("--miners", nargs="+", default=["all", "semi-hard"])
    parser.add_argument("--epochs", default="auto")
    args = parser.parse_args()
    embedder = TripletEmbedder(
        10 if args.data is None else 64,
        augmentation=None if args.data is None else "photos",
        epochs=args.epochs if args.epochs == "auto" else int(args.epochs),
    )
    print(embedder)
    rates = {miner: [] for miner in args.miners}
    for seed in args.seeds:
        if args.data is None:
            (X, y), judged = draw_digits(seed, args.wrong)
        else:
            (X, y), judged = draw_faces(args.data / "lfw_deepfunneled", seed)
        paired = np.unique(y, return_counts=True)[1][np.unique(y, return_inverse=True)[1]] > 1
        for miner in args.miners:
            embedder.set_params(miner=miner, random_state=seed)
            found = [
                error_rate(embedder.fit(X[rows], y[rows]).transform(judged[0]), judged[1])
                for rows in (paired, np.ones_like(paired))
            ]
            rates[miner].append(found)
            print(
                f"seed {seed}, {miner}: {found[0]:.2f} %, with singles {found[1]:.2f} %", flush=True
            )
    for miner, found in rates.items():
        dropped, kept = np.mean(found, axis=0)
        print(f"mean, {miner}: EER {dropped:.2f} % without singles, {kept:.2f} % with them")


if __name__ == "__main__":
    main()
