"""Real images: from what the dependencies embed or fetch, and from local folders.

Folders and photos are decoded in :mod:`skdistort.images`; speech does not live here. Nothing
is fetched but by `load_images`, and there by scikit-learn or Keras.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from zipfile import is_zipfile

import numpy as np
from sklearn.datasets import fetch_lfw_people, get_data_home, load_digits
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from ._files import numbered_lines
from ._typing import FilePath, Seed
from .images._folder import ImageFolder
from .images._photos import read_photos
from .trials import TrialList

# What an .npz file may hold, split or not.
_SPLIT, _WHOLE = ("x_train", "y_train", "x_test", "y_test"), ("X", "y")
_CHANNELS = (1, 3, 4)

__all__ = [
    "ImageFolder",
    "ImageSplit",
    "LfwPairs",
    "load_images",
    "read_lfw_pairs",
    "read_photos",
]


class ImageSplit(NamedTuple):
    """Images and classes to train on and to test on.

    Attributes
    ----------
    X_train, X_test : ndarray of shape (n, h, w) or (n, h, w, c)
        Images.
    y_train, y_test : ndarray of shape (n,)
        Classes.
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def load_images(name: str = "digits", random_state: Seed = 0) -> ImageSplit:
    """Load a set of images, split to train and test on.

    Parameters
    ----------
    name : str, default="digits"
        ``"digits"``: the 1,797 digits of 8x8 pixels that scikit-learn embeds, a third of them to
        test on. ``"mnist"``: its own split, from ``datasets/mnist.npz`` in the folder that
        ``KERAS_HOME`` names (``~/.keras``), else fetched by Keras. ``"lfw"``: faces from
        ``lfw_home`` in the folder that ``SCIKIT_LEARN_DATA`` names (``~/scikit_learn_data``), else
        fetched by scikit-learn; no person both in training and in test. Or the path of an
        ``.npz`` file with ``x_train``, ``y_train``, ``x_test`` and ``y_test``, or with ``X`` and
        ``y``, of which a third is to test on. Images there are numbers, finite, channels last;
        classes are numbers or text.
    random_state : int, RandomState instance or None, default=0
        Draws the split where the data has none.

    Returns
    -------
    ImageSplit
        The images.

    Raises
    ------
    ValueError
        If the name is unknown, or the file lacks an array or has one of the wrong shape or kind.
    OSError
        If a file cannot be read, or images cannot be fetched; says where to put a copy of them.
    ImportError
        If ``"lfw"`` finds no Pillow.

    Examples
    --------
    >>> from skdistort.datasets import load_images
    >>> data = load_images("digits")
    >>> data.X_train.shape, data.X_test.shape
    ((1198, 8, 8), (599, 8, 8))
    """
    if name == "digits":
        digits = load_digits()
        return _random_split(digits.images.astype(np.float32), digits.target, random_state)
    if name == "mnist":
        return _load_mnist()
    if name == "lfw":
        return _load_lfw(random_state)
    if not name.lower().endswith(".npz"):
        raise ValueError(f"data must be 'digits', 'mnist', 'lfw' or an .npz file, got {name!r}.")
    return _load_npz(name, random_state)


def _load_mnist():
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    copy = os.path.join(home, "datasets", "mnist.npz")
    # Keras deletes a copy that is not the very file that it fetches.
    if os.path.exists(copy):
        return _load_npz(copy)
    from ._backend import keras

    with _fetching("MNIST", f"mnist.npz as {copy}, or set KERAS_HOME"):
        (X_train, y_train), (X_test, y_test) = keras.datasets.mnist.load_data()
    return ImageSplit(X_train, y_train, X_test, y_test)


def _load_lfw(random_state):
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "LFW's photos need Pillow: install it with `pip install 'skdistort[faces]'`."
        ) from error
    home = Path(get_data_home(), "lfw_home")
    folder, archive = home / "lfw_funneled", home / "lfw-funneled.tgz"
    existed = folder.exists()
    files = "pairs.txt, pairsDevTrain.txt, pairsDevTest.txt and lfw-funneled.tgz (or lfw_funneled)"
    with _fetching("LFW", f"{files} into {home}, or set SCIKIT_LEARN_DATA"):
        try:
            people = fetch_lfw_people(min_faces_per_person=10, resize=0.4)
        except BaseException:
            # Until all of it is unpacked the archive stays; half of it would pass for the whole.
            if archive.exists() and not existed:
                shutil.rmtree(folder, ignore_errors=True)
            raise
    return _split_by_identity(people.images, people.target, random_state)


@contextmanager
def _fetching(what: str, copy: str) -> Iterator[None]:
    """Turn whatever goes wrong into an error that says where a local copy goes."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Retry downloading")
            yield
    # Neither scikit-learn nor Keras says what they raise.
    except Exception as error:
        raise OSError(f"{what} could not be fetched or read ({error}): put {copy}.") from error


def _load_npz(path, random_state=None):
    arrays = _read_npz(path)
    names = list(arrays)
    for image_name, class_name in zip(names[::2], names[1::2], strict=True):
        _check_images(arrays[image_name], f"{path}: {image_name}")
        _check_classes(arrays[class_name], f"{path}: {class_name}", len(arrays[image_name]))
    if len(names) == 2:
        return _random_split(*arrays.values(), random_state)
    split = ImageSplit(*arrays.values())
    if split.X_train.shape[1:] != split.X_test.shape[1:]:
        raise ValueError(
            f"{path} must hold images of one shape to train and to test on, got "
            f"{split.X_train.shape[1:]} and {split.X_test.shape[1:]}."
        )
    return split


def _read_npz(path):
    """Read the arrays that are wanted, by name."""
    with open(path, "rb") as stream:
        # What is no archive numpy would take for a pickle.
        if not is_zipfile(stream):
            raise ValueError(f"{path} is no .npz file.")
        stream.seek(0)
        try:
            with np.load(stream, allow_pickle=False) as file:
                found = sorted(file)
                names = next((names for names in (_SPLIT, _WHOLE) if {*names} <= {*found}), ())
                # A member that is no array comes as bytes.
                arrays = {name: np.asarray(file[name]) for name in names}
        # What a damaged archive raises nobody lists.
        except Exception as error:
            raise ValueError(f"{path} is damaged, or holds objects: {error}") from error
    if not arrays:
        raise ValueError(f"{path} must hold X and y, or {', '.join(_SPLIT)}; got {found}.")
    return arrays


def _check_images(images, name):
    if images.ndim not in (2, 3, 4):
        raise ValueError(
            f"{name} must hold images (n, features), (n, h, w) or (n, h, w, c), got {images.shape}."
        )
    if len(images) < 2 or not images.size:
        raise ValueError(f"{name} must hold two images at least, got shape {images.shape}.")
    if images.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers, got dtype {images.dtype}.")
    if images.ndim == 4 and images.shape[1] in _CHANNELS and images.shape[3] not in _CHANNELS:
        raise ValueError(
            f"{name} has the shape {images.shape}, which looks like channels first; images are "
            f"(n, h, w, c): save np.moveaxis({name.split()[-1]}, 1, 3)."
        )
    if images.dtype.kind == "f":
        with np.errstate(over="ignore"):
            finite = np.isfinite(images.astype(np.float32, copy=False))
        finite = finite.reshape(len(images), -1).all(axis=1)
        if not finite.all():
            raise ValueError(f"{name}[{finite.argmin()}] has NaN, or a value beyond float32.")


def _check_classes(classes, name, n_images):
    if classes.shape != (n_images,):
        raise ValueError(f"{name} must hold classes ({n_images},), got {classes.shape}.")
    missing = classes.dtype.kind == "f" and not np.isfinite(classes).all()
    if classes.dtype.kind not in "biufUS" or missing:
        seen = "NaN or infinite values" if missing else f"dtype {classes.dtype}"
        raise ValueError(f"{name} must hold numbers or text, none of them missing, got {seen}.")


def _random_split(X, y, random_state):
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=1 / 3, random_state=random_state
    )
    return ImageSplit(X_train, y_train, X_test, y_test)


def _split_by_identity(X, y, random_state):
    splitter = GroupShuffleSplit(n_splits=1, test_size=1 / 3, random_state=random_state)
    train, test = next(splitter.split(X, groups=y))
    return ImageSplit(X[train], y[train], X[test], y[test])


class LfwPairs(NamedTuple):
    """Pairs of photos and the fold that each is in.

    Attributes
    ----------
    trials : TrialList
        The pairs; a photo is called ``"NAME/NAME_0001.jpg"``, its path within the folder.
    folds : ndarray of shape (n_pairs,), intp
        The fold of each pair, from 0.
    """

    trials: TrialList
    folds: np.ndarray


def read_lfw_pairs(path: FilePath) -> LfwPairs:
    r"""Read a list of pairs of Labeled Faces in the Wild.

    The first line has the number of folds, left out where there is one only, and of the pairs of
    one person in a fold; as many pairs of two people follow them. ``name 1 4`` is a pair of the
    person's photos 1 and 4, and ``name 1 other 3`` one of two people. Blank lines are passed over.

    Parameters
    ----------
    path : str or path-like
        A text file in UTF-8: ``pairs.txt`` (view 2), ``pairsDevTrain.txt`` or
        ``pairsDevTest.txt`` (view 1).

    Returns
    -------
    LfwPairs
        ``trials`` and ``folds``, in the order of the file.

    Raises
    ------
    ValueError
        If a line is not what is due there (the message has the file, the line's number and its
        text), or there are not as many pairs as the first line announces.

    References
    ----------
    Huang, Ramesh, Berg, Learned-Miller, "Labeled Faces in the Wild: a database for studying face
    recognition in unconstrained environments", University of Massachusetts, Amherst, technical
    report 07-49 (2007).

    Examples
    --------
    >>> import os, tempfile
    >>> from skdistort.datasets import read_lfw_pairs
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "pairs.txt")
    ...     with open(path, "w") as file:
    ...         _ = file.write("1 1\nAnn_Lee 1 4\nAnn_Lee 2 Bo_Ek 1\n")
    ...     pairs = read_lfw_pairs(path)
    >>> pairs.trials.labels.tolist(), pairs.folds.tolist()
    ([True, False], [0, 0])
    >>> pairs.trials.right.tolist()
    ['Ann_Lee/Ann_Lee_0004.jpg', 'Bo_Ek/Bo_Ek_0001.jpg']
    """
    stripped = [(number, line.strip()) for number, line in numbered_lines(path)]
    lines = [(number, line) for number, line in stripped if line]
    if not lines:
        raise ValueError(f"{os.fspath(path)} holds no pairs.")
    header = _parse_header(lines[0][1].split())
    if header is None:
        raise _unexpected(path, lines[0], "'folds pairs' or 'pairs', at least 1 of each")
    n_folds, n_each = header
    labels, pairs = [], []
    for i, line in enumerate(lines[1:]):
        same = i % (2 * n_each) < n_each
        pair = _parse_pair(line[1].split(), same)
        if pair is None:
            due = "'name number number'" if same else "'name number name number'"
            raise _unexpected(path, line, due)
        labels.append(same)
        pairs.append(pair)
    if len(pairs) != 2 * n_folds * n_each:
        raise ValueError(
            f"{os.fspath(path)} holds {len(pairs)} pairs, its first line announces "
            f"{2 * n_folds * n_each}."
        )
    left, right = zip(*pairs, strict=True)
    return LfwPairs(TrialList(labels, left, right), np.arange(len(pairs)) // (2 * n_each))


def _parse_header(words):
    """Read the number of folds and of pairs of one person in each; None if it is no such line."""
    numbers = [_parse_number(word) for word in words]
    if len(numbers) not in (1, 2) or None in numbers:
        return None
    return 1 if len(numbers) == 1 else numbers[0], numbers[-1]


def _parse_pair(words, same):
    """Read the names of both photos; None if the line is no pair of one person, or of two."""
    if len(words) != (3 if same else 4):
        return None
    numbers = _parse_number(words[1]), _parse_number(words[-1])
    if None in numbers:
        return None
    people = words[0], words[0 if same else 2]
    return [f"{who}/{who}_{number:04d}.jpg" for who, number in zip(people, numbers, strict=True)]


def _parse_number(word):
    """Read a whole number from 1, of few enough digits to be one; None if it is none."""
    return int(word) or None if word.isascii() and word.isdecimal() and len(word) < 10 else None


def _unexpected(path, line, due):
    """Make the error that says which line holds what instead of what is due."""
    number, text = line
    return ValueError(f"{os.fspath(path)}, line {number}, must hold {due}, got {text!r}.")
