"""Draw the picture that opens README and the site: ``python docs/draw_overview.py``.

Row by row: images; the templates of paper A's U-Net, and what an attacker makes of them; templates
of the default generator, each under a key of its own, and what the attacker makes of those. He has
the generator and images of his own, from which he makes templates, under keys of his own; by kernel
regression he learns the way back. ``--data mnist`` draws MNIST instead, ``--output`` says where.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.attacks import KernelInversion
from skdistort.datasets import load_images
from skdistort.images import to_unit_range
from skdistort.metrics import det_points, dssim, pair_scores, verification_report
from skdistort.plotting import plot_rows

# Enough of MNIST, and all of what scikit-learn embeds.
N_TRAIN, N_ATTACK, N_TEST = 12_000, 4_000, 1_500


def main():
    """Train, attack and draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="digits")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--output", default=Path(__file__).parent / "images" / "overview.png")
    options = parser.parse_args()
    X, y, X_test, y_test = load_images(options.data)
    X_test, y_test = X_test[:N_TEST], y_test[:N_TEST]
    n = min(N_TRAIN, 2 * len(X) // 3)
    X, y, X_attack = X[:n], y[:n], X[n : n + N_ATTACK]

    settings = {"epochs": options.epochs, "random_state": 0, "verbose": 1}
    embedder = FrozenEstimator(TripletEmbedder(**settings).fit(X, y))
    shared = {"pixel_range": (0, float(X.max())), **settings}
    unet = DistortionGenerator(embedder, architecture="unet", **shared).fit(X)
    keyed = DistortionGenerator(embedder, key=0, **shared).fit(X)
    # A key for each image, the attacker's and the others'.
    keys_attack = list(range(1, len(X_attack) + 1))
    keys_test = list(range(10**6, 10**6 + len(X_test)))

    plain = keyed.embed(X_test)
    curves = {"images": (plain, plain)}
    rows = {"image": X_test}
    for name, generator, own, theirs in (
        ("U-Net of paper A", unet, None, None),
        ("default, keyed", keyed, keys_attack, keys_test),
    ):
        templates = generator.transform(X_test, keys=theirs)
        known = generator.transform(X_attack, keys=own)
        attack = KernelInversion().fit(*(unit_images(Z, shared) for Z in (known, X_attack)))
        found = attack.reconstruct(unit_images(templates, shared))
        true = unit_images(X_test, shared)
        print(f"{name}: SSIM {1 - 2 * dssim(true, found).mean():.3f}")
        rows[f"its template: {name}"] = templates
        # In the units of the images, as the others are.
        rows[f"what an attacker makes of it: {name}"] = found[..., 0] * shared["pixel_range"][1]
        # Under one key for all, so that every pair can be compared.
        one_key = None if generator is unet else 0
        enrolled = generator.embed(generator.transform(X_test, keys=one_key))
        curves[f"templates, {name}"] = generator.embed_probe(X_test, keys=one_key), enrolled
        if generator is keyed:
            wrong = generator.embed_probe(X_test, keys=1)
            curves["templates, wrong key"] = wrong, enrolled
    scores = {
        name: pair_scores(probes, y_test, enrolled, y_test, exclude_same_index=True)
        for name, (probes, enrolled) in curves.items()
    }
    print(verification_report(scores))
    chosen = [int(np.flatnonzero(y_test == digit)[0]) for digit in range(10)]
    figure = plot_rows(
        {name: images[chosen] for name, images in rows.items()},
        {name: det_points(*pairs)[:2] for name, pairs in scores.items()},
    )
    figure.savefig(options.output, dpi=110)
    print(os.fspath(options.output))


def unit_images(X, shared):
    """Bring images to what attacks take: four axes, from 0 to 1."""
    return np.clip(to_unit_range(X, shared["pixel_range"]), 0, 1)[..., None]


if __name__ == "__main__":
    main()
