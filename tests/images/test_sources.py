"""Images in memory-mapped arrays and folders: the results of those in memory, and errors."""

import numpy as np
import pytest
from PIL import Image
from sklearn.frozen import FrozenEstimator
from support.stored import EMBEDDER, KINDS, TINY, Batches, X, assert_same, weights_of, y

from skdistort import DistortionGenerator, SiameseVerifier, TripletEmbedder
from skdistort.datasets import ImageFolder
from skdistort.images import _sources
from skdistort.verification import SoftmaxEmbedder

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    # 64 digits at a time.
    monkeypatch.setattr(_sources, "_PIECE_VALUES", 64 * 64)


@pytest.fixture(scope="module")
def frozen():
    return FrozenEstimator(TripletEmbedder(**EMBEDDER).fit(X, y))


def write_folder(path, images, classes):
    for number, (image, name) in enumerate(zip(images, classes, strict=True)):
        (path / str(name)).mkdir(exist_ok=True)
        Image.fromarray(image).save(path / str(name) / f"{number:04d}.png")


LAYOUTS = {
    "grey": X.reshape(-1, 8, 8).astype(np.uint8),
    "float64 with channels": X.reshape(-1, 8, 8, 1).astype(np.float64),
}


@pytest.mark.backend
@pytest.mark.parametrize("labelled", [True, False])
def test_mapped_embedder(mapped, labelled):
    classes = y if labelled else None
    M = mapped(X.astype(np.uint8))
    settings = {**EMBEDDER, "validation_fraction": 0.2, "batch_size": 50}
    in_memory = TripletEmbedder(**settings).fit(X, classes)
    on_disk = TripletEmbedder(**settings).fit(M, classes)
    for a, b in zip(weights_of(in_memory), weights_of(on_disk), strict=True):
        np.testing.assert_allclose(a, b, atol=0.0 if labelled else 1e-4)
    np.testing.assert_allclose(on_disk.transform(M), on_disk.transform(X), atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_mapped_layouts(mapped, frozen, layout):
    images = LAYOUTS[layout]
    M = mapped(images)
    generator = DistortionGenerator(frozen, **TINY).fit(images)
    on_disk = DistortionGenerator(frozen, **TINY).fit(M)
    assert_same(generator, on_disk)
    distorted = on_disk.transform(M)
    assert distorted.shape == images.shape
    np.testing.assert_array_equal(distorted, generator.transform(images))
    assert on_disk.pixel_range_ == (0.0, 16.0)


@pytest.mark.parametrize("kind", ["unet", "keyed"])
def test_mapped_generator(mapped, frozen, kind):
    M = mapped(X)
    settings = {**TINY, **KINDS[kind]}
    generator = DistortionGenerator(frozen, **settings).fit(X, y)
    on_disk = DistortionGenerator(frozen, **settings).fit(M, y)
    assert_same(generator, on_disk)
    np.testing.assert_array_equal(on_disk.transform(M), generator.transform(X))
    np.testing.assert_array_equal(on_disk.embed(M), generator.embed(X))
    np.testing.assert_array_equal(on_disk.embed_probe(M), generator.embed_probe(X))


def test_the_embedder_that_is_trained_along_reads_from_disk_too(mapped):
    settings = {"embedder": TripletEmbedder(**EMBEDDER), **TINY}
    generator = DistortionGenerator(**settings).fit(X, y)
    assert_same(generator, DistortionGenerator(**settings).fit(mapped(X), y))


def test_selection_space_fits_a_draw_where_not_all_fit_into_memory(mapped, monkeypatch):
    monkeypatch.setattr("skdistort.selection._space._SPACE_VALUES", 100 * 64)
    on_disk = TripletEmbedder(**EMBEDDER).fit(mapped(X))
    assert on_disk.history_ != TripletEmbedder(**EMBEDDER).fit(X).history_


@pytest.mark.parametrize("Estimator", [SiameseVerifier, SoftmaxEmbedder])
def test_verifiers_read_from_disk(mapped, Estimator):
    M = mapped(X)
    in_memory = Estimator(**EMBEDDER).fit(X, y)
    on_disk = Estimator(**EMBEDDER).fit(M, y)
    np.testing.assert_allclose(on_disk.transform(M), in_memory.transform(X), atol=1e-3)
    with pytest.raises(ValueError, match=rf"PyDataset, which this method of {Estimator.__name__}"):
        Estimator(**EMBEDDER).fit(Batches(X, y), y)


def test_second_database_on_disk(mapped):
    verifier = SiameseVerifier(**EMBEDDER).fit(mapped(X[:200]), impostor_database=X[200:])
    assert verifier.transform(X).shape == (300, 3)


def test_keys_of_each_image(mapped, frozen):
    M = mapped(X)
    generator = DistortionGenerator(frozen, **TINY, **KINDS["keyed"]).fit(M)
    keys = [number % 5 for number in range(300)]
    expected = generator.transform(X, keys)
    np.testing.assert_array_equal(generator.transform(M, keys), expected)
    np.testing.assert_array_equal(generator.transform(Batches(X), keys), expected)
    assert not np.allclose(expected, generator.transform(M, b"other"), atol=1e-3)
    for images in (M, Batches(X)):
        with pytest.raises(ValueError, match="keys has 301 keys for 300 samples"):
            generator.transform(images, [*keys, 1])
        with pytest.raises(TypeError, match="key must be an int or bytes, got str"):
            generator.transform(images, "secret")


def test_results_go_into_an_array_of_yours(mapped, frozen, tmp_path):
    generator = DistortionGenerator(frozen, **TINY).fit(X)
    expected = generator.transform(X)
    for images in (X, mapped(X), Batches(X)):
        out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float32, X.shape)
        assert generator.transform(images, out=out) is out
        np.testing.assert_array_equal(out, expected)
        wrong = [
            (np.empty((300, 65), np.float32), ValueError, r"out has shape \(300, 65\), but the re"),
            (np.empty((299, 64), np.float32), ValueError, "out has shape"),
            (np.empty((301, 64), np.float32), ValueError, "out has"),
            (np.empty((300, 64)), TypeError, "writable float32 array, got a float64 array"),
            ([], TypeError, "writable float32 array, got a list"),
            (mapped(X), TypeError, "writable float32"),
        ]
        for out, error, message in wrong:
            with pytest.raises(error, match=message):
                generator.transform(images, out=out)
    generator.set_output(transform="pandas")
    assert generator.transform(mapped(X)).shape == X.shape


def test_a_bad_value_anywhere_on_disk_is_found(mapped, frozen):
    bad = X.copy()
    bad[250, 3] = np.nan
    M, good = mapped(bad), mapped(X.astype(np.uint8))
    for estimator in (TripletEmbedder(**EMBEDDER), DistortionGenerator(frozen, **TINY)):
        with pytest.raises(ValueError, match="Input X contains NaN"):
            estimator.fit(M, y)
    with pytest.raises(ValueError, match="outside pixel_range"):
        DistortionGenerator(frozen, pixel_range=(0, 15), **TINY).fit(good)
    embedder = frozen.estimator
    with pytest.raises(ValueError, match="Input X contains NaN"):
        embedder.transform(M)
    with pytest.raises(ValueError, match="X has 32 features, but TripletEmbedder is expecting 64"):
        embedder.transform(good[:, :32])
    with pytest.raises(ValueError, match=r"1 sample\(s\), a minimum of 2"):
        TripletEmbedder(**EMBEDDER).fit(good[:1], y[:1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        TripletEmbedder(**EMBEDDER).fit(good, y[:9])


def test_folder(tmp_path):
    names = np.array(["b", "a", "c"])[np.arange(60) % 3]
    images = X[:60].reshape(-1, 8, 8).astype(np.uint8)
    write_folder(tmp_path, images, names)
    (tmp_path / "readme.txt").write_text("no image")
    (tmp_path / "a" / ".0.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    write_folder(tmp_path, images[:1], [".hidden"])
    folder = ImageFolder(tmp_path, image_shape=(8, 8))
    order = np.argsort(names, kind="stable")
    assert folder.shape == (60, 8, 8)
    assert len(folder) == 60
    assert folder.classes == ["a", "b", "c"]
    assert folder.y.tolist() == sorted(names)
    np.testing.assert_array_equal(np.asarray(folder), images[order])
    np.testing.assert_array_equal(folder[[5, 0]], images[order[[5, 0]]])
    np.testing.assert_array_equal(folder[folder.y == "b"], images[names == "b"])
    np.testing.assert_array_equal(folder[-1], images[order[-1]])
    in_colour = ImageFolder(tmp_path)
    assert in_colour.shape == (60, 8, 8, 3)
    np.testing.assert_array_equal(in_colour[:2][..., 1], images[order[:2]])
    embedder = TripletEmbedder(**EMBEDDER).fit(folder, folder.y)
    assert_same(embedder, TripletEmbedder(**EMBEDDER).fit(images[order], np.sort(names)))
    np.testing.assert_array_equal(embedder.transform(folder), embedder.transform(images[order]))
    generator = DistortionGenerator(FrozenEstimator(embedder), **TINY).fit(folder)
    assert generator.compare(folder).images.shape == (60, 8, 8, 1)
    assert generator.transform(folder).shape == (60, 8, 8)


def test_folder_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        ImageFolder(tmp_path / "none")
    with pytest.raises(ValueError, match="has no subfolder that holds images"):
        ImageFolder(tmp_path)
    images = np.zeros((4, 8, 8), dtype=np.uint8)
    write_folder(tmp_path, images, [0, 0, 1, 1])
    for shape in ((8,), (8, 8, 2), (8, 8, 3, 1)):
        with pytest.raises(ValueError, match="image_shape must be"):
            ImageFolder(tmp_path, image_shape=shape)
    Image.fromarray(images[0, :7]).save(tmp_path / "1" / "small.PNG")
    with pytest.raises(ValueError, match=r"small.PNG has \(7, 8\) pixels, .* must have \(8, 8\)"):
        TripletEmbedder(**EMBEDDER).fit(folder := ImageFolder(tmp_path), folder.y)
    Image.fromarray(np.zeros((8, 8), dtype=np.uint16)).save(tmp_path / "1" / "small.PNG")
    with pytest.raises(ValueError, match=r"small.PNG .* more than 8 bits"):
        ImageFolder(tmp_path)[:]
    (tmp_path / "1" / "small.PNG").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"small.PNG could not be decoded"):
        ImageFolder(tmp_path)[:]
