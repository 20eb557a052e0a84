"""Faces: verification by MobileFaceNet on Labeled Faces in the Wild, of photos and of templates.

Almost everybody of whom there are several photos is in the 10 folds of ``pairs.txt``, so a
generator is trained on the people of five folds and judged on those of the other five: nobody is in
both. With ``--halves 2`` a second one is trained the other way round, and all 10 folds are judged.
It sees the aligned photos, and more photos of the same people from ``lfw_deepfunneled``.

    python benchmarks/faces.py --data FOLDER --architecture bottleneck

FOLDER holds ``lfw_protocol/pairs.txt``, ``lfw_pairs_aligned112``, ``lfw_deepfunneled`` and
``weights/mobilefacenet/MobileFaceNet.onnx``.
"""

import argparse
import time
from collections import Counter
from pathlib import Path

import keras
import numpy as np
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer

from skdistort import DistortionGenerator
from skdistort.attacks import protection_report
from skdistort.datasets import read_lfw_pairs, read_photos
from skdistort.keys import rotate_embeddings
from skdistort.metrics import (
    cross_validated_accuracy,
    det_points,
    distance_table,
    trivial_templates,
    verification_report,
)
from skdistort.mobilefacenet import load_mobilefacenet
from skdistort.persistence import load
from skdistort.plotting import plot_overview
from skdistort.trials import TrialList

# Part of a deep-funneled photo of 250x250 that shows the face about as the aligned ones do.
FUNNELED = {"box": (59, 51, 191, 183), "size": (112, 112)}
# Photos held as floats at a time.
CHUNK = 512


class EpochClock(keras.callbacks.Callback):
    """Prints what an epoch took and gave."""

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        values = ", ".join(f"{name} {float(value):.4f}" for name, value in (logs or {}).items())
        print(
            f"  epoch {epoch + 1}: {time.perf_counter() - self._start:.0f} s, {values}", flush=True
        )


def in_chunks(function, X):
    """Apply a function of images to some at a time."""
    return np.concatenate([function(X[i : i + CHUNK]) for i in range(0, len(X), CHUNK)])


def embed(embedder, X):
    """Embed photos of 8 bits."""
    return in_chunks(lambda x: embedder.predict(x.astype(np.float32), verbose=0), X)


def distort(generator, X):
    """Make templates as a store keeps them, of 8 bits."""
    return in_chunks(lambda x: np.rint(generator.transform(x)).astype(np.uint8), X)


def people_of(names):
    """Name the person on each photo."""
    return np.array([str(name).split("/")[0] for name in names])


def train(embedder, X, options):
    """Train a generator on photos, at most ``--images`` of them, or load the one of ``--saved``."""
    if options.saved is not None and options.saved.exists():
        print(f"  loaded from {options.saved}")
        return load(options.saved)
    rng = np.random.RandomState(options.seed)
    X = X[np.sort(rng.permutation(len(X))[: options.images])]
    generator = DistortionGenerator(
        embedder,
        architecture=options.architecture,
        key=options.key,
        filters=options.filters,
        alpha=options.alpha,
        pi_emb=options.pi_emb,
        distance=options.distance,
        epochs=options.epochs,
        batch_size=options.batch_size,
        pixel_range=(0, 255),
        callbacks=[EpochClock()],
        random_state=options.seed,
    )
    start = time.perf_counter()
    generator.fit(X)
    seconds = time.perf_counter() - start
    diagnosis = generator.diagnose(X[:CHUNK].astype(np.float32))
    print(f"  {diagnosis}; {', '.join(diagnosis.failures) or 'no failure'}")
    print(f"  {len(X)} photos, {seconds:.0f} s: {options.epochs * len(X) / seconds:.1f} photos/s")
    if options.saved is not None:
        # A file holds no callbacks.
        generator.set_params(callbacks=None).save(options.saved)
    return generator


def judge(enrolled, probes, trials, folds, names):
    """Print 10-fold accuracy and error rates of plain probes against what is enrolled."""
    left, right = trials.indices(names)
    scores = {}
    for name, Z in enrolled.items():
        y_score = -np.sum(np.square(probes[name][left] - Z[right]), axis=1)
        scores[f"plain vs {name}"] = trials.labels, y_score
        result = cross_validated_accuracy(trials.labels, y_score, folds)
        print(
            f"plain vs {name}: accuracy {result.mean:.2%}, standard error "
            f"{result.standard_error:.2%} (standard deviation {result.accuracies.std(ddof=1):.2%}) "
            f"over {len(result.accuracies)} folds"
        )
    print(verification_report(scores), flush=True)
    return scores


def attack(generator, X, who, X_attack, options):
    """Print and draw what attacks achieve, on so many photos of each side as ``--attack`` says."""
    rng = np.random.RandomState(options.seed)
    # Photos of people who have two at least, for a reconstruction is compared with the others.
    several = np.flatnonzero(np.isin(who, [name for name, n in Counter(who).items() if n > 1]))
    victims = several[np.sort(rng.permutation(len(several))[: options.attack])]
    known = np.sort(rng.permutation(len(X_attack))[: 3 * options.attack])
    held_out = make_pipeline(FunctionTransformer(as_grey_thumbnails), PCA(100), Normalizer())
    held_out.fit(X_attack[known].astype(np.float32))
    report = protection_report(
        generator,
        held_out,
        X[victims].astype(np.float32),
        who[victims],
        X_attack[known].astype(np.float32),
        epochs=options.attack_epochs,
        multiplicities=(1,),
        random_state=options.seed,
    )
    print(report)
    report.plot().figure.savefig(f"{options.picture.rsplit('.', 1)[0]}-attacks.png")


def as_grey_thumbnails(X):
    """Reduce photos to 28x28 grey values, of which F' keeps the eigenfaces."""
    grey = X.mean(axis=3)
    return grey.reshape(len(X), 28, 4, 28, 4).mean(axis=(2, 4)).reshape(len(X), -1)


def some_trials(trials, chosen):
    """Choose among trials."""
    return TrialList(trials.labels[chosen], trials.left[chosen], trials.right[chosen])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--architecture", choices=("unet", "bottleneck"), default="bottleneck")
    parser.add_argument("--key", type=int, help="for keyed templates, of the bottleneck only")
    parser.add_argument("--halves", type=int, choices=(1, 2), default=1, help="generators")
    parser.add_argument("--filters", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--images", type=int, help="photos to train on at most")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--alpha", type=float, default=0.2)
    parser.add_argument("--pi-emb", type=float, default=0.5)
    parser.add_argument("--distance", default="mse")
    parser.add_argument(
        "--attack", type=int, help="photos to attack; three times as many are known"
    )
    parser.add_argument("--attack-epochs", type=int, default=6)
    parser.add_argument("--saved", type=Path, help="file of the generator, for further runs")
    parser.add_argument("--picture", default="faces.png", help="where to draw some templates")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.saved is not None and options.halves == 2:
        parser.error("--saved keeps one generator: --halves must be 1.")

    embedder = load_mobilefacenet(options.data / "weights" / "mobilefacenet" / "MobileFaceNet.onnx")
    trials, folds = read_lfw_pairs(options.data / "lfw_protocol" / "pairs.txt")
    names = trials.utterances
    people = people_of(names)
    X = read_photos(options.data / "lfw_pairs_aligned112", names)
    start = time.perf_counter()
    plain = embed(embedder, X)
    print(f"{len(X)} photos embedded, {len(X) / (time.perf_counter() - start):.0f} photos/s")
    judge({"plain": plain}, {"plain": plain}, trials, folds, names)

    folder = options.data / "lfw_deepfunneled"
    funneled = np.array(sorted(p.relative_to(folder).as_posix() for p in folder.glob("*/*.jpg")))
    funneled_people, funneled_X = people_of(funneled), read_photos(folder, funneled, **FUNNELED)
    unnamed = ~np.isin(funneled_people, people)
    print(
        f"Only {len(set(funneled_people[unnamed]))} people, with {unnamed.sum()} funneled photos, "
        "are in no pair: too few to train on alone, hence the halves."
    )

    halves = [folds >= 5, folds < 5][: options.halves]
    judged = np.any(halves, axis=0)
    judged_people = people_of(some_trials(trials, judged).utterances)
    most = Counter(funneled_people[np.isin(funneled_people, judged_people)].tolist())
    shown = np.isin(funneled_people, [who for who, _ in most.most_common(10)])
    shown_templates = np.zeros_like(funneled_X)
    # Rows of people who are not judged are never looked at.
    enrolled = {name: np.zeros_like(plain) for name in ("template", "1-x", "constant", "noise")}
    for half in halves:
        own = people_of(some_trials(trials, half).utterances)
        rows, funneled_rows = np.isin(people, own), np.isin(funneled_people, own)
        print(
            f"\n{options.architecture}, trained on {(~rows).sum()} aligned and "
            f"{(~funneled_rows).sum()} funneled photos of others than the {len(set(own))} people "
            "it is judged on"
        )
        generator = train(embedder, np.concatenate((X[~rows], funneled_X[~funneled_rows])), options)
        enrolled["template"][rows] = embed(embedder, distort(generator, X[rows]))
        shown_templates[shown & funneled_rows] = distort(
            generator, funneled_X[shown & funneled_rows]
        )
    judged_rows = np.flatnonzero(np.isin(people, judged_people))
    rng = np.random.RandomState(options.seed)
    for i in range(0, len(judged_rows), CHUNK):
        some = judged_rows[i : i + CHUNK]
        for name, images in trivial_templates(X[some] / 255, rng).items():
            enrolled[name][some] = embed(embedder, np.rint(255 * images))
    probes = dict.fromkeys(enrolled, plain)
    if options.key is not None:
        probes["template"] = rotate_embeddings(plain, options.key, directions=generator.directions_)
    scores = judge(
        {"plain": plain, **enrolled},
        {"plain": plain, **probes},
        some_trials(trials, judged),
        folds[judged],
        names,
    )

    print("\nThe ten most photographed people, funneled photos:")
    originals, templates = funneled_X[shown], shown_templates[shown]
    who = funneled_people[shown]
    print(
        distance_table(originals, templates, who, pixel_range=(0, 255), random_state=options.seed)
    )
    first = np.unique(who, return_index=True)[1]
    curves = {
        name: det_points(*scores[name])[:2] for name in ("plain vs plain", "plain vs template")
    }
    figure = plot_overview(originals[first] / 255, templates[first] / 255, curves)
    figure.savefig(options.picture, dpi=150)
    print(f"{options.picture} drawn")
    if options.attack:
        # The last generator, on the people that it was judged on.
        attack(generator, X[rows], people[rows], X[~rows], options)


if __name__ == "__main__":
    main()
