"""Photos of people, and an embedder from a file, for the command line.

What can be wrong with them is told before anything is trained.
"""

import os
import warnings

import numpy as np

from ..datasets import ImageFolder, _split_by_identity
from ..images._layout import as_images

# How makers of networks have pixels, of which black is 0 and white 1: what is taken from them, and
# what they are then divided by. None takes them as they come.
SCALINGS = {
    "arcface": (0.5, 0.5),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "unit": (0.0, 1.0),
    "none": None,
}
_KINDS = (".keras", ".onnx")
# Images that ways of scaling are compared on: enough to tell them apart.
_N_COMPARED = 400


def load_people(folder, *, align, leave_out, verbose, random_state):
    """Read photos of people, no person both in training and in test.

    Parameters
    ----------
    folder : str
        A folder with a subfolder for each person.
    align : bool
        Whether to find the faces and to align them; else photos are taken as they are, of one
        size.
    leave_out : bool
        Whether to leave out photos without a face that can be used, with a warning, instead of
        refusing them.
    verbose : bool
        Whether a bar shows the progress.
    random_state : int
        Draws who is to train on.

    Returns
    -------
    ImageSplit
        Photos, uint8, and names.

    Raises
    ------
    ValueError
        If there are fewer than two people, or photos that cannot be used.
    ImportError
        If Pillow, or what aligns faces, is not installed.
    """
    photos = ImageFolder(folder)
    if len(photos.classes) < 2:
        raise ValueError(
            f"{folder} has photos in one subfolder, {photos.classes[0]!r}; there must be one for "
            "each of two people at least."
        )
    y = photos.y
    if not align:
        return _split_by_identity(photos[:], y, random_state)
    from ..faces import FaceAligner

    aligner = FaceAligner(n_jobs=-1, verbose=int(verbose))
    if not leave_out:
        return _split_by_identity(aligner.transform(photos), y, random_state)
    images, usable = aligner.transform_usable(photos)
    return _split_by_identity(images, y[usable], random_state)


def check_file(path):
    """Refuse what is no file of an embedder.

    Parameters
    ----------
    path : str
        The file.

    Raises
    ------
    ValueError
        If its name ends in nothing known.
    FileNotFoundError
        If there is none.
    """
    if not path.lower().endswith(_KINDS):
        raise ValueError(f"argument --embedder: must end in one of {', '.join(_KINDS)}, got {path}")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"argument --embedder: there is no file {path}")


def load_embedder(path, scaling, pixel_range, data):
    """Load the embedder of a file, and try it on images.

    Parameters
    ----------
    path : str
        The file, valid by `check_file`.
    scaling : {"arcface", "imagenet", "unit", "none", "auto"}
        How an ONNX network has its pixels, which no file tells. "auto" takes the way by which it
        confuses the people to train on least.
    pixel_range : tuple of 2 float
        Black and white in the images.
    data : ImageSplit
        The images.

    Returns
    -------
    embedder : keras.Model or str
        What a generator takes as its embedder.
    note : str
        What was chosen.

    Raises
    ------
    ValueError
        If the file is damaged, or its network cannot be used with these images.
    """
    from ..distortion._embedder import check_embedder, try_embedder

    if path.lower().endswith(".onnx"):
        ways = SCALINGS if scaling == "auto" else {scaling: SCALINGS[scaling]}
        models = {
            name: _read_onnx(path, way, pixel_range, data.X_train.shape[1:])
            for name, way in ways.items()
        }
        found = {name: _confusion(model, data) for name, model in models.items()}
        chosen = min(found, key=lambda name: found[name])
        told = ", ".join(f"{name} {100 * error:.2f} %" for name, (error, _) in found.items())
        embedder = models[chosen]
        note = f"pixels scaled as by {chosen!r}; EER on people to train on: {told}"
    else:
        embedder, note = path, "used as it is"
    images = _as_given(data.X_train)
    check_embedder(embedder, images.shape[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try_embedder(embedder, images[:16])
    return embedder, note


def _read_onnx(path, way, pixel_range, image_shape):
    """Build the model of a file, with pixels scaled its way, and its output to unit length."""
    from .._backend import keras
    from ..networks import UnitLength
    from ..onnx import load_onnx

    scaling = {}
    if way is not None:
        low, high = pixel_range
        mean, std = (np.asarray(part) for part in way)
        scaling = {"mean": low + (high - low) * mean, "std": (high - low) * std}
    try:
        network = load_onnx(path, **scaling)
    except ValueError as error:
        if "image_shape" not in str(error):
            raise
        network = load_onnx(path, image_shape=image_shape, **scaling)
    return keras.Model(network.input, UnitLength()(network.output))


def _confusion(model, data):
    """Measure how people to train on are confused: by the EER, and, of equals, by the overlap."""
    from ..distortion._embedder import check_embedder
    from ..metrics import d_prime, equal_error_rate, pair_scores
    from ..networks._stored import StoredNetwork

    n = _N_COMPARED
    counts = np.unique(data.y_train[:n], return_counts=True)[1]
    if len(counts) < 2 or max(counts) < 2:
        n = len(data.y_train)
    images, y = _as_given(data.X_train[:n]), data.y_train[:n]
    check_embedder(model, images.shape[1:])
    embeddings = StoredNetwork(model).predict(images, 32)
    # Pixels that are far from what a network learned from may overflow in it, or all look the same.
    if not np.isfinite(embeddings).all() or not np.ptp(embeddings, axis=0).any():
        return 1.0, 0.0
    pairs = pair_scores(embeddings, y, embeddings, y, exclude_same_index=True)
    return equal_error_rate(*pairs)[0], -d_prime(*pairs)


def _as_given(X):
    """Bring images to what an embedder is given."""
    return np.asarray(as_images(X), dtype=np.float32)
