"""Templates of faces that were never seen: all pairs of photos, renewals, keys that are wrong.

MobileFaceNet is F. A keyed generator learns from photos of the people of five folds of LFW's
``pairs.txt`` and is judged on those of the other five, with up to ``--photos`` photos each, aligned
ones and deep-funneled ones by themselves. Plain probes are compared with templates of 8 bits and
with plain photos, over the same pairs; intervals of the differences resample people. Thresholds are
those of plain photos of the same people.

    python benchmarks/face_templates.py --data FOLDER

FOLDER is that of ``faces.py``. With one core it takes about an hour and a half.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np
from faces import FUNNELED, people_of, some_trials, train

from skdistort.datasets import read_lfw_pairs, read_photos
from skdistort.keys import rotate_embeddings
from skdistort.metrics import (
    abs_pearson,
    bootstrap_interval,
    equal_error_rate,
    fnmr_at_fmr,
    pair_scores,
    unlinkability,
)
from skdistort.mobilefacenet import load_mobilefacenet

MEASURES = {
    "EER": equal_error_rate,
    "FNMR at FMR 0.1 %": partial(fnmr_at_fmr, target_fmr=0.001),
}


class Judge:
    """Compares what is enrolled with plain probes of the same people.

    Parameters
    ----------
    plain : ndarray of shape (n, m)
        Embeddings of plain photos.
    people : ndarray of shape (n,)
        Who is on them.
    resamples : int
        Resamples of people.
    """

    def __init__(self, plain, people, resamples):
        self.plain, self.people, self.resamples = plain, people, resamples
        self.left, self.right = np.nonzero(~np.eye(len(people), dtype=bool))
        # What nothing is compared with yet.
        self.by_plain = {}
        self.by_plain = self.measure(plain, plain, "plain")
        self.threshold = fnmr_at_fmr(*self._scores(plain, plain), 0.001)[1]

    def _scores(self, probes, enrolled):
        people = self.people
        return pair_scores(probes, people, enrolled, people, exclude_same_index=True)

    def measure(self, probes, enrolled, name):
        """Print error rates, and how far they are from those of plain photos."""
        y, scores = self._scores(probes, enrolled)
        told, found = [], {}
        for measure, function in MEASURES.items():
            found[measure] = bootstrap_interval(
                function,
                y,
                scores,
                self.people[self.left],
                self.people[self.right],
                n_resamples=self.resamples,
                random_state=0,
            )
            told.append(f"{measure} {100 * found[measure].estimate:.2f} %")
            if measure in self.by_plain:
                base = self.by_plain[measure]
                # The same people were drawn for both.
                low, high = np.quantile(found[measure].replicates - base.replicates, (0.025, 0.975))
                difference = found[measure].estimate - base.estimate
                told[-1] += f" ({100 * difference:+.2f}, {100 * low:+.2f} to {100 * high:+.2f})"
        print(f"  {name}: {', '.join(told)}", flush=True)
        return found

    def accepted(self, probes, enrolled):
        """Tell how many genuine pairs pass the threshold of plain photos, and of how many."""
        y, scores = self._scores(probes, enrolled)
        return int(np.sum(scores[y] >= self.threshold)), int(y.sum())


def judge(generator, X, people, options):
    """Print all that is measured on the photos of one kind."""
    X = X.astype(np.float32)
    plain = generator.embed(X)
    n_people = len(np.unique(people))
    print(f"\n{len(X)} photos of {n_people} people")
    judged = Judge(plain, people, options.resamples)
    key, other = options.key, options.key + 1
    rotate = partial(rotate_embeddings, directions=generator.directions_)
    for steps in options.steps:
        generator.set_params(refinement_steps=steps)
        start = time.perf_counter()
        templates = np.rint(generator.transform(X, keys=key))
        seconds = time.perf_counter() - start
        enrolled = generator.embed(templates)
        probes = rotate(plain, key)
        judged.measure(probes, enrolled, f"{steps} steps")
        similar = abs_pearson(X / 255, templates / 255).mean()
        distance = np.sum((probes - enrolled) ** 2, axis=1).mean()
        print(
            f"    squared distance {distance:.4f}, |corr| {similar:.3f}, "
            f"{seconds / len(X):.2f} s a photo",
            flush=True,
        )
        passed, n = judged.accepted(rotate(plain, other), enrolled)
        print(f"    under a wrong key {passed} of {n} genuine pairs pass")
    elsewhere = generator.embed(np.rint(generator.transform(X, keys=other)))
    linked = unlinkability(
        *pair_scores(enrolled, people, elsewhere, people), random_state=options.seed
    )
    print(f"    {steps} steps, across two keys: D_sys {linked.d_sys:.3f}, {linked.corrected:.3f}")
    some = np.isin(people, np.unique(people)[: options.renewed])
    judged = Judge(plain[some], people[some], options.resamples)
    generator.set_params(refinement_steps=options.steps[0])
    templates = np.rint(generator.transform(X[some], keys=key))
    enrolled = generator.embed(templates)
    for renewal in range(options.renewals + 1):
        if renewal:
            templates = np.rint(generator.reissue(templates, key, key + 1))
            enrolled, key = generator.embed(templates), key + 1
        if renewal in (0, 1, options.renewals):
            probes = rotate(plain[some], key)
            judged.measure(probes, enrolled, f"{options.steps[0]} steps, {renewal} renewals")


def choose(people, options):
    """Choose photos of people who have two at least."""
    rng = np.random.RandomState(options.seed)
    chosen = []
    names = [who for who in np.unique(people) if np.sum(people == who) > 1]
    for who in rng.permutation(names)[: options.people]:
        chosen += rng.permutation(np.flatnonzero(people == who))[: options.photos].tolist()
    return np.sort(chosen)


def main():
    """Train, and judge both kinds of photos."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--key", type=int, default=1)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--photos", type=int, default=4)
    parser.add_argument("--steps", type=int, nargs="+", default=[20])
    parser.add_argument("--renewals", type=int, default=5)
    parser.add_argument("--renewed", type=int, default=60, help="people whose templates are")
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--images", type=int, default=1500, help="photos to train on at most")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--saved", type=Path, help="file of the generator, for further runs")
    parser.add_argument("--seed", type=int, default=0)
    # What `train` asks for, too; keyed templates need most of the weight on the embedding.
    parser.set_defaults(architecture="bottleneck", filters=[16, 32, 64], batch_size=32)
    parser.set_defaults(alpha=0.2, pi_emb=0.95, distance="mse")
    options = parser.parse_args()
    embedder = load_mobilefacenet(options.data / "weights" / "mobilefacenet" / "MobileFaceNet.onnx")
    trials, folds = read_lfw_pairs(options.data / "lfw_protocol" / "pairs.txt")
    names = trials.utterances
    people = people_of(names)
    own = np.isin(people, people_of(some_trials(trials, folds >= 5).utterances))
    X = read_photos(options.data / "lfw_pairs_aligned112", names)
    generator = train(embedder, X[~own], options)
    rows = np.flatnonzero(own)
    rows = rows[choose(people[rows], options)]
    print("aligned photos", end="")
    judge(generator, X[rows], people[rows], options)
    folder = options.data / "lfw_deepfunneled"
    names = np.array(sorted(p.relative_to(folder).as_posix() for p in folder.glob("*/*.jpg")))
    names = names[np.isin(people_of(names), people[own])]
    names = names[choose(people_of(names), options)]
    print("deep-funneled photos", end="")
    judge(generator, read_photos(folder, names, **FUNNELED), people_of(names), options)


if __name__ == "__main__":
    main()
