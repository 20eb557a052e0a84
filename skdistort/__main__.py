"""Command line: train on real images, print what the templates keep and hide, draw a picture.

What it computes is computed by the public classes and functions.
"""

import argparse
import os
import sys

_PICTURES = (".pdf", ".png", ".svg")


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
    from .datasets import load_images

    try:
        data = load_images(options.data, random_state=options.seed)
        print(
            f"{options.data}: {len(data.X_train)} images to train on, {len(data.X_test)} to test "
            f"on, {data.X_train.shape[1:]} each"
        )
        generator = _train(data, options)
    except (FloatingPointError, ImportError, OSError, ValueError) as error:
        sys.exit(f"skdistort: {error}")
    _report(generator, data.X_test, data.y_test, options)


def _parse(argv):
    parser = argparse.ArgumentParser(
        prog="skdistort",
        description="Train an embedder and a distortion generator on real images, print the "
        "distances and the verification errors beside trivial templates, and draw a picture.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data", default="digits", help="digits, mnist, lfw or FILE.npz")
    parser.add_argument(
        "--image-shape", type=int, nargs="+", help="height, width (and channels) of flat rows"
    )
    parser.add_argument("--architecture", default="unet", choices=("unet", "bottleneck"))
    parser.add_argument("--alpha", type=float, default=0.2, help="margin of the embedding term")
    parser.add_argument("--pi-emb", type=float, default=0.5, help="weight of the embedding term")
    parser.add_argument("--epochs", type=int, default=20, help="of each of the two networks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="skdistort.png", help="where the picture goes")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(argv)
    if options.alpha < 0 or not 0 <= options.pi_emb <= 1 or options.epochs < 1:
        parser.error("--alpha must not be negative, --pi-emb in [0, 1], --epochs at least 1")
    # Asked now, not when both networks are trained.
    if os.path.splitext(options.output)[1] not in _PICTURES:
        parser.error(f"--output must end in one of {', '.join(_PICTURES)}")
    if not os.access(os.path.dirname(options.output) or ".", os.W_OK):
        parser.error(f"--output {options.output} cannot be written")
    return options


def _train(data, options):
    from sklearn.frozen import FrozenEstimator

    from . import DistortionGenerator, TripletEmbedder

    training = {
        "epochs": options.epochs,
        "image_shape": options.image_shape,
        "verbose": 0 if options.quiet else 1,
        "random_state": options.seed,
    }
    extremes = [(X.min(), X.max()) for X in (data.X_train, data.X_test)]
    generator = DistortionGenerator(
        alpha=options.alpha,
        pi_emb=options.pi_emb,
        architecture=options.architecture,
        pixel_range=(min(low for low, _ in extremes), max(high for _, high in extremes)),
        **training,
    )
    print("\nTraining the embedder F")
    embedder = TripletEmbedder(**training).fit(data.X_train, data.y_train)
    print("\nTraining the generator G")
    return generator.set_params(embedder=FrozenEstimator(embedder)).fit(data.X_train)


def _report(generator, X, y, options):
    from .images import from_unit_range
    from .metrics import (
        VerificationReport,
        det_points,
        distance_table,
        distortion_report,
        pair_scores,
        trivial_templates,
        verification_report,
    )

    compared = generator.compare(X)
    images, templates = compared.images, compared.templates
    print("\nDistances of test images (real) and templates (gen), pixels in [0, 1]")
    print(distance_table(images, templates, y, pixel_range=(0, 1), random_state=options.seed))
    print("\nWhat templates hide: DSSIM and correlations of image and template, and the SSIM that")
    print("a ridge regression reaches when it reconstructs held-out images from templates")
    print(distortion_report(images, templates, pixel_range=(0, 1), random_state=options.seed))

    enrolled = {"plain": compared.embeddings, "distorted": compared.template_embeddings}
    for name, template in trivial_templates(images, options.seed).items():
        enrolled[name] = generator.embed(from_unit_range(template, generator.pixel_range_))
    rows, curves = [], {}
    for name, Z in enrolled.items():
        comparison = f"plain vs {name}"
        scores = pair_scores(compared.embeddings, y, Z, y, exclude_same_index=True)
        rows += verification_report({comparison: scores}).rows
        curves[comparison] = det_points(*scores)[:2]
    print("\nVerification: plain probes against what is enrolled")
    print(VerificationReport(rows))
    for failure in generator.diagnose(X).failures:
        print(f"\nWarning: the templates show the failure {failure!r}.")
    _draw(images, templates, curves, options.output)


def _draw(images, templates, curves, path):
    from ._files import replacing
    from .plotting import plot_overview

    try:
        figure = plot_overview(images, templates, curves)
    except ImportError as error:
        print(f"\nNo picture: {error}")
        return
    with replacing(path) as file:
        figure.savefig(file, format=os.path.splitext(path)[1][1:], dpi=150)
    print(f"\nPicture: {path}")


if __name__ == "__main__":
    main()
