"""Command line: train on real images, print what the templates keep and hide, draw a picture.

What it computes is computed by the public classes and functions.
"""

import argparse
import os
import sys
from contextlib import suppress
from io import BytesIO
from math import isqrt, prod
from typing import Any, NamedTuple

from ._version import __version__

_PICTURES = (".pdf", ".png", ".svg")
_NAMED = ("digits", "mnist", "lfw")
# What a generator learns from in front of an embedder that is given, in batches of 64 images.
_STEPS, _BATCH_SIZE = 200, 64
# Steps of refinement there: in so few batches G learns little, and 20 leave templates far off.
_REFINEMENT_STEPS = 60
# Images that a picture shows.
_COLUMNS = 10
# Classes that have rows of their own in the table of distances that is printed.
_MOST_CLASSES = 20
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
        task = _prepare(options)
        status = 1
        _report(_train(task, options), task, options)
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
    add(
        "--data",
        default="digits",
        help="digits, mnist, lfw, FILE.npz, or a FOLDER of photos with a subfolder for each person",
    )
    add("--align", action="store_true", help="find and align the faces of the folder's photos")
    add("--leave-out", action="store_true", help="leave out photos that cannot be aligned")
    add("--embedder", help="FILE.onnx or FILE.keras, instead of training an embedder")
    add(
        "--scaling",
        choices=("auto", "arcface", "imagenet", "unit", "none"),
        help="pixels of an ONNX embedder: -1 to 1, ImageNet's mean and deviation, 0 to 1, or as "
        "they come; auto, which None means, tries all on people to train on",
    )
    add(
        "--keyed",
        action=argparse.BooleanOptionalAction,
        help="templates under a key; of a folder they are, unless the architecture is unet",
    )
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
    add(
        "--epochs",
        type=_number(int, 1, 10**6),
        help="of each network that is trained; 20, or with --embedder as many as make "
        f"{_STEPS} batches",
    )
    add("--seed", type=_number(int, 0, 2**32 - 1), default=0)
    add("--output", default="skdistort.png", help="where the picture goes, and beside it the page")
    add(
        "--no-picture",
        action="store_true",
        help="draw none and write no page, which needs no matplotlib",
    )
    add("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(argv)
    if options.image_shape and len(options.image_shape) not in (2, 3):
        parser.error(f"argument --image-shape: takes 2 or 3 numbers, got {options.image_shape}")
    options.is_folder = options.data not in _NAMED and os.path.isdir(options.data)
    if options.keyed and options.architecture == "unet":
        parser.error("argument --keyed: a unet takes no key, whose skip connections leak the image")
    if options.keyed is None:
        options.keyed = options.is_folder and options.architecture != "unet"
    for given, name, needed, needs in (
        (options.align, "--align", options.is_folder, "--data FOLDER"),
        (options.leave_out, "--leave-out", options.align, "--align"),
        (options.scaling, "--scaling", options.embedder, "--embedder FILE.onnx"),
    ):
        if given and not needed:
            parser.error(f"argument {name}: needs {needs}")
    return options


class _Task(NamedTuple):
    """What was loaded: images, their black and white, and an embedder, None to train one."""

    data: Any
    pixel_range: tuple
    embedder: Any


def _prepare(options):
    """Load what is asked for, and find out all that can be known before the training."""
    if not options.no_picture:
        _check_picture(options.output)
    if options.embedder:
        from ._command._people import check_file

        check_file(options.embedder)
    data = _load_images(options)
    _check_images(data, options)
    for y, use in ((data.y_train, "train"), (data.y_test, "test")):
        _check_pairs(y, use)
    _say(
        f"{options.data}: {len(data.X_train)} images to train on, {len(data.X_test)} to test "
        f"on, {data.X_train.shape[1:]} each"
    )
    # Says whether there is a backend.
    from . import _backend  # noqa: F401

    pixel_range = (0, 255) if options.is_folder else _pixel_range(data)
    embedder = None
    if options.embedder:
        from ._command._people import load_embedder

        scaling = options.scaling or "auto"
        embedder, note = load_embedder(options.embedder, scaling, pixel_range, data)
        _say(f"{options.embedder}: {note}")
    return _Task(data, pixel_range, embedder)


def _load_images(options):
    """Load images by name, from a file or from a folder."""
    if options.is_folder:
        from ._command._people import load_people

        return load_people(
            options.data,
            align=options.align,
            leave_out=options.leave_out,
            verbose=not options.quiet,
            random_state=options.seed,
        )
    from .datasets import load_images

    if options.data not in _NAMED and not options.data.lower().endswith(".npz"):
        raise ValueError(
            f"argument --data: must be {', '.join(_NAMED)}, FILE.npz or a folder with a subfolder "
            f"for each person; there is no folder {options.data}"
        )
    return load_images(options.data, random_state=options.seed)


class _NotYet(Exception):
    """Nothing is written yet."""


def _check_picture(path):
    """See whether the picture could be drawn, and begin to write it."""
    from ._files import replacing
    from .displays import import_matplotlib

    if os.path.splitext(path)[1].lower() not in _PICTURES:
        raise ValueError(f"argument --output: must end in one of {', '.join(_PICTURES)}")
    for written in (path, _page_path(path)):
        if os.path.exists(written) and not os.path.isfile(written):
            raise ValueError(f"argument --output: {written} is there, and no file")
        try:
            with suppress(_NotYet), replacing(written):
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


def _train(task, options):
    from sklearn.frozen import FrozenEstimator

    from . import DistortionGenerator, TripletEmbedder

    n_batches = -(-len(task.data.X_train) // _BATCH_SIZE)
    training = {
        "epochs": options.epochs or (20 if task.embedder is None else -(-_STEPS // n_batches)),
        "image_shape": options.image_shape,
        "verbose": 0 if options.quiet else 1,
        "random_state": options.seed,
    }
    generator = DistortionGenerator(
        task.embedder,
        alpha=options.alpha,
        pi_emb=options.pi_emb,
        architecture=options.architecture,
        # That of a demonstration: nothing is kept that it protects.
        key=options.seed if options.keyed else None,
        pixel_range=task.pixel_range,
        batch_size=_BATCH_SIZE,
        **training,
    )
    if task.embedder is None:
        _say("\nTraining the embedder F")
        embedder = TripletEmbedder(**training).fit(task.data.X_train, task.data.y_train)
        generator.set_params(embedder=FrozenEstimator(embedder))
    else:
        generator.set_params(refinement_steps=_REFINEMENT_STEPS)
    _say("\nTraining the generator G")
    return generator.fit(task.data.X_train)


def _report(generator, task, options):
    from ._command._page import Section
    from .metrics import DistanceTable, VerificationReport, distance_table, distortion_report

    X, y = task.data.X_test, task.data.y_test
    compared = generator.compare(X)
    images, templates = compared.images, compared.templates
    measured = {"pixel_range": (0, 1), "random_state": options.seed}
    sections = []

    def show(title, text, report, on_page=None):
        sections.append(Section(title, text, on_page or report))
        _say(f"\n{title}\n{report}")

    table = distance_table(images, templates, y, **measured)
    of_all = DistanceTable([row for row in table.rows if row["class"] == "all"])
    show(
        "Distances of test images (real) and templates (gen), pixels in [0, 1]",
        "How far a template lies from its image. Compare real-gen with two images of one class, "
        "and with templates that need no generator.",
        table if len(set(y.tolist())) <= _MOST_CLASSES else of_all,
        on_page=of_all,
    )
    show(
        "What templates hide: measures of image and template, and a ridge regression's inversion",
        "A large distance alone hides nothing. The inversion is that of held-out images by an "
        "attacker who knows half of the images and their templates; a trained attack may get more.",
        distortion_report(images, templates, **measured),
    )
    rows, curves = _verify(generator, compared, X, y, options)
    show(
        "Verification: plain probes against what is enrolled",
        "What the templates cost: compare plain vs distorted with plain vs plain."
        + options.keyed * " Under another key than the template's, errors have to be near 0.5.",
        VerificationReport(rows),
    )
    failures = [
        f"the templates show the failure {failure!r}." for failure in generator.diagnose(X).failures
    ]
    for failure in failures:
        _say(f"\nWarning: {failure}")
    if not options.no_picture:
        summary = [
            f"{options.data}: {len(task.data.X_train)} images to train on, {len(X)} to test on, of "
            f"{len(set(y.tolist()))} classes; all that is told here is of those to test on.",
            "The architecture is "
            f"{options.architecture}, {'with a key' if options.keyed else 'without a key'}; alpha "
            f"{options.alpha:g}, pi_emb {options.pi_emb:g}, {generator.epochs} epochs, seed "
            f"{options.seed}.",
        ]
        rows = _choose_rows(generator, X, images, templates, options)
        _draw(rows, curves, summary, failures, sections, options.output)


def _choose_rows(generator, X, images, templates, options):
    """Take what is drawn of some images, from the first to the last."""
    from .images import to_unit_range

    n = len(images)
    shown = (
        [i * (n - 1) // max(1, _COLUMNS - 1) for i in range(_COLUMNS)]
        if n > _COLUMNS
        else slice(None)
    )
    rows = {"image": images[shown], "template": templates[shown]}
    if options.keyed:
        other = generator.transform(X[shown], keys=options.seed + 1)
        rows["template under another key"] = to_unit_range(
            other.reshape(rows["image"].shape), generator.pixel_range_
        )
    return rows


def _draw(rows, curves, summary, failures, sections, path):
    """Write the picture, and the page with the same picture in it."""
    from ._command._page import make_page
    from ._files import replacing
    from .plotting import plot_rows

    figure = plot_rows(rows, curves)
    with replacing(path) as file:
        figure.savefig(file, format=os.path.splitext(path)[1][1:].lower(), dpi=150)
    captions = (
        f"From top to bottom: {', '.join(rows)}. What is in a column is of one image.",
        "Share of genuine pairs rejected (FNMR) over that of impostors accepted (FMR), at all "
        "thresholds: the nearer to the lower left corner, the fewer errors. The axes begin at "
        "half an error among all pairs.",
    )
    # It is laid out by now, which takes longer than to draw it.
    figure.set_layout_engine("none")
    pictures = [
        (_cut_out(figure, part), caption)
        for part, caption in zip(figure.subfigs, captions, strict=True)
    ]
    page = make_page(
        summary,
        [f"Warning: {failure}" for failure in failures],
        sections,
        pictures,
        f"Written by skdistort {__version__}.",
    )
    with replacing(_page_path(path)) as file:
        file.write(page.encode())
    _say(f"\nPicture: {path}\nPage: {_page_path(path)}")


def _cut_out(figure, part):
    """Give a part of a figure as a PNG file."""
    file = BytesIO()
    box = part.bbox.transformed(figure.dpi_scale_trans.inverted())
    figure.savefig(file, format="png", dpi=110, bbox_inches=box)
    return file.getvalue()


def _page_path(picture):
    return f"{os.path.splitext(picture)[0]}.html"


def _verify(generator, compared, X, y, options):
    """Compare plain probes with each kind of template: rows of a table, and DET curves."""
    from .images import from_unit_range
    from .metrics import det_points, pair_scores, trivial_templates, verification_report

    probes, plain = compared.embeddings, compared.embeddings
    enrolled = {"plain": (probes, plain), "distorted": (probes, compared.template_embeddings)}
    if options.keyed:
        other_key = generator.embed_probe(X, keys=options.seed + 1)
        enrolled["distorted, another key"] = (other_key, compared.template_embeddings)
        # No key takes part in these.
        plain = generator.embed(X)
    for name, template in trivial_templates(compared.images, options.seed).items():
        template = from_unit_range(template, generator.pixel_range_)
        enrolled[name] = (plain, generator.embed(template))
    rows, curves = [], {}
    for name, (presented, kept) in enrolled.items():
        comparison = f"plain vs {name}"
        scores = pair_scores(presented, y, kept, y, exclude_same_index=True)
        rows += verification_report({comparison: scores}).rows
        curves[comparison] = det_points(*scores)[:2]
    return rows, curves


if __name__ == "__main__":
    main()
