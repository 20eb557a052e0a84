"""Command line: train on real images, print what the templates keep and hide, draw a picture."""

import argparse
import os
import sys


def main(argv=None):
    """Run ``python -m skdistort``.

    Parameters
    ----------
    argv : list of str or None, default=None
        Arguments; None takes the process's.
    """
    options = _parse(argv)
    # Read when TensorFlow starts; its notes on the processor would stand between the tables.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    from sklearn.frozen import FrozenEstimator

    from . import DistortionGenerator, TripletEmbedder
    from .datasets import load_images

    try:
        data = load_images(options.data, random_state=options.seed)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"skdistort: {error}")
    training = {"verbose": 0 if options.quiet else 1, "random_state": options.seed}
    print(
        f"{options.data}: {len(data.X_train)} images to train on, {len(data.X_test)} to test on, "
        f"{data.X_train.shape[1:]} each"
    )
    print("\nTraining the embedder F")
    embedder = TripletEmbedder(epochs=options.epochs, **training).fit(data.X_train, data.y_train)
    print("\nTraining the generator G")
    generator = DistortionGenerator(
        FrozenEstimator(embedder),
        alpha=options.alpha,
        pi_emb=options.pi_emb,
        architecture=options.architecture,
        epochs=options.epochs,
        **training,
    ).fit(data.X_train)
    _report(generator, data.X_test, data.y_test, options)


def _parse(argv):
    parser = argparse.ArgumentParser(
        prog="skdistort",
        description="Train an embedder and a distortion generator on real images, print the "
        "distances and the verification errors beside trivial baselines, and draw a picture.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data", default="digits", help="digits, mnist, lfw or FILE.npz")
    parser.add_argument("--architecture", default="unet", choices=("unet", "bottleneck"))
    parser.add_argument("--alpha", type=float, default=0.2, help="margin of the embedding term")
    parser.add_argument("--pi-emb", type=float, default=0.5, help="weight of the embedding term")
    parser.add_argument("--epochs", type=int, default=20, help="of each of the two networks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="skdistort.png", help="where the picture goes")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser.parse_args(argv)


def _report(generator, X, y, options):
    from ._images import as_images, from_unit_range, to_unit_range
    from .metrics import (
        baseline_templates,
        distance_table,
        distortion_report,
        pair_scores,
        verification_report,
    )

    templates = generator.transform(X)
    common = {"pixel_range": generator.pixel_range_, "random_state": options.seed}
    print("\nDistances of test images (real) and templates (gen), pixels in [0, 1]")
    print(distance_table(X, templates, y, **common))
    print("\nWhat templates hide: DSSIM and correlations of image and template, and the SSIM that")
    print("a ridge regression reaches when it reconstructs held-out images from templates")
    print(distortion_report(X, templates, **common))

    def compare(enrolled):
        return pair_scores(
            generator.embed(X), y, generator.embed(enrolled), y, exclude_same_index=True
        )

    unit = to_unit_range(as_images(X), generator.pixel_range_)
    baselines = baseline_templates(unit, options.seed)
    comparisons = {
        "plain vs plain": compare(X),
        "plain vs distorted": compare(templates),
        **{
            f"plain vs {name}": compare(from_unit_range(image, generator.pixel_range_))
            for name, image in baselines.items()
        },
    }
    print("\nVerification: plain probes against what is enrolled")
    print(verification_report(comparisons))
    for failure in generator.diagnose(X).failures:
        print(f"\nWarning: the templates show the failure {failure!r}.")
    _draw(X, templates, comparisons, options.output)


def _draw(X, templates, comparisons, path):
    try:
        from .plotting import plot_overview
    except ImportError as error:
        print(f"\nNo picture: {error}. `pip install 'skdistort[plot]'` brings matplotlib.")
        return
    figure = plot_overview(X, templates, comparisons)
    # Written under another name first, so that nobody sees half a picture.
    unfinished = f"{path}.part"
    figure.savefig(unfinished, format=os.path.splitext(path)[1].lstrip(".") or "png", dpi=150)
    os.replace(unfinished, path)
    print(f"\nPicture: {path}")


if __name__ == "__main__":
    main()
