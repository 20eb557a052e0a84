"""Command line: train on real images, print what the templates keep and hide, draw a picture.

What it computes is computed by the public classes and functions.
"""

import argparse
import os
import sys
from contextlib import suppress
from math import isqrt, prod

from ._version import __version__

_PICTURES = (".pdf", ".png", ".svg")
# As shells report the end by a signal: 128 and its number.
_INTERRUPTED, _PIPE_CLOSED = 128 + 2, 128 + 13


def main(argv=None):
    """Run ``python -m skdistort``.

    Parameters
    ----------
    argv : list of str or None, default=None
        Arguments; None takes the process's.

    Raises
    ------
    SystemExit
        If it does not come to the end, after one line on the standard error: with status 2 where
        nothing was trained yet, 1 later, 130 for an interrupt, and with no line 141 where nobody
        reads what is printed any more.
    """
    # Read when TensorFlow starts; its notes on the processor would stand between the tables.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # A standard output that is closed.
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    status = 2
    try:
        options = _parse(argv)
        data = _load(options)
        status = 1
        _report(_train(data, options), data.X_test, data.y_test, options)
        sys.stdout.flush()
    except SystemExit as left:
        _leave(left.code)
    except KeyboardInterrupt:
        _leave(_INTERRUPTED, "interrupted")
    except BrokenPipeError:
        _leave(_PIPE_CLOSED)
    except (FloatingPointError, ImportError, MemoryError, OSError, ValueError) as error:
        _leave(status, str(error) or type(error).__name__)


def _leave(status, message=None):
    """End the process, with at most one line of what went wrong."""
    if message is not None:
        print(f"skdistort: {' '.join(message.split())}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        # Python would try again at its end, and tell of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = status or _PIPE_CLOSED
    sys.exit(status)


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong and no more."""

    def error(self, message):
        raise ValueError(message)


def _number(kind, low, high):
    """Make a type of arguments: numbers from `low` to `high`."""

    def number(text):
        value = kind(text)
        # NaN is in no range.
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be from {low} to {high}, got {text}")
        return value

    return number


def _parse(argv):
    parser = _Parser(
        prog="skdistort",
        description="Train an embedder and a distortion generator on real images, print the "
        "distances and the verification errors beside trivial templates, and draw a picture.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--version", action="version", version=f"skdistort {__version__}")
    add("--data", default="digits", help="digits, mnist, lfw or FILE.npz")
    add(
        "--image-shape",
        type=_number(int, 1, 2**31 - 1),
        nargs="+",
        help="height, width (and channels) of flat rows",
    )
    add("--architecture", default="bottleneck", choices=("bottleneck", "unet"))
    # Embeddings have unit length, so that squared distances end at 4.
    add("--alpha", type=_number(float, 0, 4), default=0.2, help="margin of the embedding term")
    add("--pi-emb", type=_number(float, 0, 1), default=0.5, help="weight of the embedding term")
    add("--epochs", type=_number(int, 1, 10**6), default=20, help="of each of the two networks")
    add("--seed", type=_number(int, 0, 2**32 - 1), default=0)
    add("--output", default="skdistort.png", help="where the picture goes")
    add("--no-picture", action="store_true", help="draw none, which needs no matplotlib")
    add("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(argv)
    if options.image_shape and len(options.image_shape) not in (2, 3):
        parser.error(f"argument --image-shape: takes 2 or 3 numbers, got {options.image_shape}")
    return options


def _load(options):
    """Load images, and find out all that can be known before the training."""
    if not options.no_picture:
        _check_picture(options.output)
    from .datasets import load_images

    data = load_images(options.data, random_state=options.seed)
    _check_images(data, options)
    for y, use in ((data.y_train, "train"), (data.y_test, "test")):
        _check_pairs(y, use)
    _say(
        f"{options.data}: {len(data.X_train)} images to train on, {len(data.X_test)} to test "
        f"on, {data.X_train.shape[1:]} each"
    )
    # Says whether there is a backend.
    from . import _backend  # noqa: F401

    return data


class _NotYet(Exception):
    """Nothing is written yet."""


def _check_picture(path):
    """See whether the picture could be drawn, and begin to write it."""
    from ._files import replacing
    from .displays import import_matplotlib

    if os.path.splitext(path)[1].lower() not in _PICTURES:
        raise ValueError(f"argument --output: must end in one of {', '.join(_PICTURES)}")
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"argument --output: {path} is there, and no file")
    try:
        with suppress(_NotYet), replacing(path):
            raise _NotYet
    except OSError as error:
        raise OSError(f"argument --output: {error}") from error
    try:
        import_matplotlib("figure")
    except ImportError as error:
        raise ImportError(f"{error} Or give --no-picture.") from error


def _check_images(data, options):
    """Refuse images that the networks, the tables or the picture could not take."""
    import numpy as np

    from .images._layout import infer_image_shape

    shape = data.X_train.shape[1:]
    n_values, flat = prod(shape), len(shape) == 1
    if flat and options.image_shape is None and isqrt(n_values) ** 2 != n_values:
        raise ValueError(
            f"The images are rows of {n_values} values, which make no square: give --image-shape "
            "HEIGHT WIDTH, or HEIGHT WIDTH CHANNELS."
        )
    infer_image_shape(n_values, None if flat else shape, options.image_shape)
    low, high = np.float32(_pixel_range(data))
    with np.errstate(over="ignore"):
        span = high - low
    # Networks take smaller numbers for 0.
    if not np.finfo(np.float32).tiny <= span < np.inf:
        raise ValueError(
            f"The pixels span {low:g} to {high:g}, from which no image can be told in float32."
        )


def _check_pairs(y, use):
    """Refuse classes in which two images are never of one, or never of two."""
    import numpy as np

    counts = np.unique(y, return_counts=True)[1]
    if len(counts) < 2 or max(counts) < 2:
        raise ValueError(
            f"The {len(y)} images to {use} on are of {len(counts)} class(es), of at most "
            f"{max(counts)} image(s); there must be 2 classes, and 2 images of one of them."
        )


def _pixel_range(data):
    """Find the darkest and the brightest pixel there is."""
    extremes = [(X.min(), X.max()) for X in (data.X_train, data.X_test)]
    return min(low for low, _ in extremes), max(high for _, high in extremes)


def _say(text):
    """Print a text at once, with an escape for what the terminal has no sign for."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def _train(data, options):
    from sklearn.frozen import FrozenEstimator

    from . import DistortionGenerator, TripletEmbedder

    training = {
        "epochs": options.epochs,
        "image_shape": options.image_shape,
        "verbose": 0 if options.quiet else 1,
        "random_state": options.seed,
    }
    generator = DistortionGenerator(
        alpha=options.alpha,
        pi_emb=options.pi_emb,
        architecture=options.architecture,
        pixel_range=_pixel_range(data),
        **training,
    )
    _say("\nTraining the embedder F")
    embedder = TripletEmbedder(**training).fit(data.X_train, data.y_train)
    _say("\nTraining the generator G")
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
    _say("\nDistances of test images (real) and templates (gen), pixels in [0, 1]")
    table = distance_table(images, templates, y, pixel_range=(0, 1), random_state=options.seed)
    _say(str(table))
    _say("\nWhat templates hide: DSSIM and correlations of image and template, and the SSIM that")
    _say("a ridge regression reaches when it reconstructs held-out images from templates")
    report = distortion_report(images, templates, pixel_range=(0, 1), random_state=options.seed)
    _say(str(report))

    enrolled = {"plain": compared.embeddings, "distorted": compared.template_embeddings}
    for name, template in trivial_templates(images, options.seed).items():
        enrolled[name] = generator.embed(from_unit_range(template, generator.pixel_range_))
    rows, curves = [], {}
    for name, Z in enrolled.items():
        comparison = f"plain vs {name}"
        scores = pair_scores(compared.embeddings, y, Z, y, exclude_same_index=True)
        rows += verification_report({comparison: scores}).rows
        curves[comparison] = det_points(*scores)[:2]
    _say("\nVerification: plain probes against what is enrolled")
    _say(str(VerificationReport(rows)))
    for failure in generator.diagnose(X).failures:
        _say(f"\nWarning: the templates show the failure {failure!r}.")
    if not options.no_picture:
        _draw(images, templates, curves, options.output)


def _draw(images, templates, curves, path):
    from ._files import replacing
    from .plotting import plot_overview

    figure = plot_overview(images, templates, curves)
    with replacing(path) as file:
        figure.savefig(file, format=os.path.splitext(path)[1][1:].lower(), dpi=150)
    _say(f"\nPicture: {path}")


if __name__ == "__main__":
    main()
