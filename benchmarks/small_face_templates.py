"""Templates of people never seen: 40 people of LFW to learn from, 40 others to judge by.

For each seed people and photos are drawn as in ``small_faces.py``, an embedder is trained, and a
generator with its default parameters on the same photos. Plain photos of the other people are
compared with templates of 8 bits, over all pairs of different photos, and with plain photos, over
the same pairs; the interval of the difference resamples people.

    python benchmarks/small_face_templates.py --data FOLDER --seeds 0 1 2

FOLDER holds ``lfw_deepfunneled``.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.frozen import FrozenEstimator
from small_faces import draw

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.metrics import abs_pearson, bootstrap_interval, equal_error_rate, pair_scores


def main():
    """Print a line for each seed and number of steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--people", type=int, default=40, help="to learn from, and as many others")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--embedder-epochs", default="auto")
    parser.add_argument("--components", type=int, default=64)
    parser.add_argument("--key", type=int, default=None)
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 20])
    parser.add_argument("--resamples", type=int, default=200)
    args = parser.parse_args()
    epochs = args.embedder_epochs
    embedder = TripletEmbedder(
        args.components,
        augmentation="photos",
        epochs=epochs if epochs == "auto" else int(epochs),
    )
    print(embedder)
    for seed in args.seeds:
        X, y = draw(args.data / "lfw_deepfunneled", 2 * args.people, seed)
        known = y < args.people
        embedder.set_params(random_state=seed).fit(X[known], y[known])
        generator = DistortionGenerator(
            FrozenEstimator(embedder), key=args.key, pixel_range=(0, 255), random_state=seed
        ).fit(X[known])
        X, y = X[~known], y[~known]
        left, right = np.nonzero(~np.eye(len(y), dtype=bool))
        measure = partial(
            bootstrap_interval,
            equal_error_rate,
            subjects_left=y[left],
            subjects_right=y[right],
            n_resamples=args.resamples,
            random_state=seed,
        )
        probes = generator.embed_probe(X)
        plain = measure(*pair_scores(probes, y, probes, y, exclude_same_index=True))
        print(f"seed {seed}: EER of plain photos {100 * plain.estimate:.2f} %")
        for steps in args.steps:
            templates = np.rint(generator.set_params(refinement_steps=steps).transform(X))
            enrolled = generator.embed(templates)
            found = measure(*pair_scores(probes, y, enrolled, y, exclude_same_index=True))
            # The same people were drawn for both.
            differences = 100 * (found.replicates - plain.replicates)
            low, high = np.quantile(differences, (0.025, 0.975))
            distances = np.sum((probes - enrolled) ** 2, axis=1)
            correlation = abs_pearson(X[..., None] / 255, templates[..., None] / 255).mean()
            print(
                f"  {steps} steps: EER {100 * found.estimate:.2f} %, "
                f"{100 * (found.estimate - plain.estimate):+.2f} points ({low:+.2f} to "
                f"{high:+.2f}), squared distance {distances.mean():.3f}, |corr| {correlation:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
