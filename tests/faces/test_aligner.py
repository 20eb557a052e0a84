"""FaceAligner: which face it takes, what it refuses, and scikit-learn's contract."""

import pickle
import warnings

import numpy as np
import pytest
from PIL import Image
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks, get_tags
from support.faces import POINTS, FixedFaces, make_ramp, write_detector

from skdistort.datasets import ImageFolder
from skdistort.faces import CenterFace, FaceAligner, Faces
from skdistort.persistence import load

pytestmark = pytest.mark.fast

TEMPLATE = POINTS * 20
ONE = FixedFaces((30, 40, 60, 0.9))


def make_aligner(*faces, **parameters):
    parameters = {"detector": FixedFaces(*faces) if faces else ONE, **parameters}
    return FaceAligner(TEMPLATE, image_size=(24, 22), **parameters)


def middle(image):
    """Tell from an image of a ramp where in the photo the middle of the face was."""
    return image[10, 10, :2].tolist()


def test_points_of_the_face_come_to_the_template():
    image = make_aligner().transform([make_ramp(150, 130)])[0]
    assert image.shape == (24, 22, 3)
    assert image.dtype == np.uint8
    for (x, y), point in zip(TEMPLATE.astype(int), (30, 40) + 60 * POINTS, strict=True):
        assert np.abs(image[y, x, :2] - point).max() <= 2
    # By another template the same face is another image.
    wide = FaceAligner(4 * POINTS + (9, 10), image_size=(24, 22), detector=ONE)
    image = wide.transform([make_ramp(150, 130)])[0]
    assert np.abs(image[12, 11, :2] - (60.0, 70.0)).max() <= 8


@pytest.mark.parametrize(
    ("face", "expected"), [("largest", (80, 70)), ("central", (50, 50)), ("only", None)]
)
def test_which_face_of_several(face, expected):
    faces = (60, 50, 40, 0.6), (40, 40, 20, 0.8), (0, 0, 25, 0.9)
    aligner = make_aligner(*faces, face=face)
    photo = make_ramp(100, 101)
    if expected is None:
        with pytest.raises(ValueError, match=r"X\[0\] shows 3 faces, face='only' takes photos of"):
            aligner.transform([photo])
        # What is too small or not sure is no face.
        expected = 50, 50
        aligner = make_aligner((60, 50, 40, 0.4), (40, 40, 20, 0.8), (0, 0, 19, 0.9), face=face)
    assert np.abs(np.subtract(middle(aligner.transform([photo])[0]), expected)).max() <= 2


@pytest.mark.parametrize(
    ("faces", "told"),
    [
        ([], "the detector finds nothing like one"),
        ([(0, 0, 50, 0.3), (0, 0, 50, 0.41)], r"surest one has a confidence of 0\.41, min_conf"),
        ([(0, 0, 15, 0.9), (0, 0, 50, 0.3)], "the highest is 15 pixels high, min_size is 20"),
    ],
)
def test_a_photo_without_a_face_is_refused(faces, told):
    aligner = make_aligner(detector=FixedFaces(*faces))
    with pytest.raises(ValueError, match=rf"^X\[0\] shows no face: .*{told}"):
        aligner.transform([make_ramp(60, 60)])


def make_folder(folder):
    """Two good photos among bad ones of several kinds, and what is said of these."""
    names = "good", "tiny", "text", "good", "empty"
    X = [folder / f"{name}.png" for name in names]
    Image.fromarray(make_ramp(150, 130)).save(X[0])
    Image.fromarray(make_ramp(10, 10)).save(X[1])
    X[2].write_text("no photo")
    Image.fromarray(make_ramp(150, 130) * 0).save(X[4])
    said = {1: "has 10 by 10 pixels: no face of min_size=20", 2: ".*decoded", 4: "shows no face"}
    return X, [rf"X\[{i}\] \({X[i]}\):? {text}" for i, text in said.items()]


class NoneInTheDark(FixedFaces):
    def detect(self, photo):
        return super().detect(photo) if photo.any() else FixedFaces().detect(photo)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_all_bad_photos_are_in_one_message(tmp_path, n_jobs):
    X, said = make_folder(tmp_path)
    aligner = make_aligner(detector=NoneInTheDark(*ONE.faces), n_jobs=n_jobs)
    pattern = "3 of 5 photos cannot be used:\n  " + ".*\n  ".join(said)
    with pytest.raises(ValueError, match=pattern):
        aligner.transform(X)
    with pytest.warns(UserWarning, match=pattern):
        images, usable = aligner.transform_usable(X)
    assert usable.tolist() == [True, False, False, True, False]
    np.testing.assert_array_equal(images, aligner.transform([X[0], X[3]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images, usable = aligner.transform_usable(X[:1])
    assert usable.tolist() == [True]
    with pytest.raises(ValueError, match="2 of 2 photos"):
        aligner.transform_usable(X[1:3])


def test_missing_files_are_in_one_message_before_any_is_decoded(tmp_path):
    X, _ = make_folder(tmp_path)
    missing = [tmp_path / "a.png", X[2], tmp_path / "b.png"]
    pattern = r"2 of 3 .*\n  X\[0\]: there is no file .*a.png'.\n  X\[2\]: there is no"
    for method in (make_aligner().fit, make_aligner().transform):
        with pytest.raises(FileNotFoundError, match=pattern):
            method(missing)


def test_photos_of_all_kinds_and_sizes_are_one(tmp_path):
    photo = make_ramp(150, 130)
    (tmp_path / "Ann").mkdir()
    Image.fromarray(photo).save(tmp_path / "Ann" / "1.png")
    Image.fromarray(np.pad(photo, [(0, 9), (0, 5), (0, 0)])).save(tmp_path / "Ann" / "2.png")
    folder = ImageFolder(tmp_path)
    aligner = make_aligner()
    images = aligner.transform(folder)
    for X in (folder.files, np.array(folder.files), [photo, folder.files[1]], photo[None]):
        np.testing.assert_array_equal(aligner.transform(X), images[: len(X)])
    np.testing.assert_array_equal(images[0], images[1])
    grey = aligner.transform([photo[:, :, 0]])
    np.testing.assert_array_equal(grey[0], np.repeat(images[0, :, :, :1], 3, axis=2))


@pytest.mark.parametrize(
    ("X", "error", "told"),
    [
        ([np.zeros((50, 50, 3))], ValueError, r"X\[0\] must hold uint8 pixels .* np.uint8"),
        ([make_ramp(50, 50), np.zeros((50, 50, 4), np.uint8)], ValueError, r"X\[1\] .*:, :3\]"),
        (make_ramp(50, 50), ValueError, r"one photo.* X\[None\]"),
        ([np.zeros(3, np.uint8)], ValueError, r"X\[0\] must be a path or pixels"),
        ([], ValueError, "holds no photo"),
        ("photo.jpg", ValueError, "a list of photos, got one path, 'photo.jpg'"),
        (".", ValueError, "datasets.ImageFolder"),
        ({"a": 1}, TypeError, "a list of paths or arrays, got dict"),
        (3, TypeError, "got int"),
        ([None], ValueError, r"X\[0\] must be a path or pixels"),
    ],
)
def test_what_is_no_list_of_photos_is_refused(X, error, told):
    for method in (make_aligner().fit, make_aligner().transform):
        with pytest.raises(error, match=told):
            method(X)


class Gives:
    def __init__(self, *found):
        self.found = found

    def detect(self, photo):
        return self.found if len(self.found) != 1 else self.found[0]


@pytest.mark.parametrize(
    ("found", "error", "told"),
    [
        (None, TypeError, "must give boxes, confidences and points"),
        (([[0, 0, 50, 50]], [0.9]), TypeError, "must give boxes, confidences and points"),
        (([[0, 0, 50, 50]], [0.9, 0.8], np.ones((1, 5, 2))), TypeError, r"points \(1, n_points, 2"),
        (([[0, 0, 50, 50]], [0.9], np.ones((1, 2, 2))), ValueError, "5 points, the detector .* 2"),
        (([[0, 0, 50, np.nan]], [0.9], np.ones((1, 5, 2))), ValueError, "NaN"),
    ],
)
def test_a_detectors_own_faults_are_not_the_photos(found, error, told):
    aligner = make_aligner(detector=Gives(found))
    with pytest.raises(error, match=told):
        aligner.transform_usable([make_ramp(60, 60)])


def test_a_tuple_of_lists_is_enough():
    points = (30 + 60 * POINTS).tolist()
    aligner = make_aligner(detector=Gives([[30, 30, 90, 90]], [1], [points]))
    assert aligner.transform([make_ramp(99, 99)]).any()
    assert not Faces(*Gives([], [], []).detect(None)).boxes


def test_points_in_one_place_are_told_of_with_the_photo():
    aligner = make_aligner(detector=Gives([[30, 30, 90, 90]], [1], np.ones((1, 5, 2))))
    with pytest.raises(ValueError, match=r"X\[0\] shows a face that cannot be turned.*one place"):
        aligner.transform([make_ramp(99, 99)])


def test_the_bar_shows_how_many_are_done(capsys):
    X = [make_ramp(100, 100)] * 3 + [make_ramp(5, 5)]
    with pytest.warns(UserWarning, match="1 of 4"):
        make_aligner(verbose=1).transform_usable(X)
    assert capsys.readouterr().out.rstrip().split("\r")[-1].startswith("4/4 photos [=====")
    make_aligner().transform(X[:3])
    assert not capsys.readouterr().out


def test_it_is_an_estimator(tmp_path):
    detector = CenterFace(str(write_detector(tmp_path / "detector.onnx")))
    photo = np.zeros((64, 64, 3), dtype=np.uint8)
    photo[20:24, 20:24] = 255
    aligner = FaceAligner(detector=detector, image_size=16, min_size=5, n_jobs=2)
    images = aligner.transform([photo])
    # It names a file of the user's own.
    with pytest.warns(UserWarning, match="CenterFace"):
        aligner.save(tmp_path / "aligner")
    for copy in (
        clone(aligner),
        pickle.loads(pickle.dumps(aligner)),
        load(tmp_path / "aligner", trusted=[CenterFace]),
    ):
        assert str(copy.get_params()) == str(aligner.get_params())
        np.testing.assert_array_equal(copy.transform([photo]), images)
    FaceAligner().save(tmp_path / "aligner")
    assert FaceAligner.load(tmp_path / "aligner").get_params() == FaceAligner().get_params()
    tags = get_tags(aligner)
    assert not tags.requires_fit
    assert not tags.input_tags.two_d_array
    assert tags.input_tags.string
    assert aligner.set_output(transform="pandas") is aligner
    with config_context(transform_output="pandas"):
        np.testing.assert_array_equal(aligner.fit_transform([photo]), images)


# scikit-learn feeds its other checks arrays of numbers, which are no photos.
CHECKS = [
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_param_validation",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
]


@pytest.mark.parametrize("name", CHECKS)
def test_check(name):
    getattr(estimator_checks, name)("FaceAligner", FaceAligner())


@pytest.mark.parametrize("name", FaceAligner().get_params())
def test_each_parameter_is_validated_without_fit(name):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of FaceAligner"):
        FaceAligner(**{name: "nonsense"}).transform([make_ramp(50, 50)])


def test_contradictory_parameters_are_refused_in_fit():
    with pytest.raises(ValueError, match="square images"):
        FaceAligner(image_size=(3, 4)).fit([make_ramp(50, 50)])


def test_search_over_a_pipeline_of_photos(tmp_path):
    X, y = [], np.repeat(["dark", "light"], 6)
    for i, name in enumerate(y):
        X.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(make_ramp(99, 99) // (4 if name == "dark" else 1)).save(X[-1])
    pipeline = make_pipeline(
        make_aligner((20, 20, 40, 0.9), (40, 40, 30, 0.9)),
        FunctionTransformer(lambda images: images.reshape(len(images), -1) / 255),
        LogisticRegression(),
    )
    search = GridSearchCV(
        pipeline, {"facealigner__face": ["largest", "central"]}, cv=2, error_score="raise"
    )
    assert search.fit(X, y).score(X, y) == 1
