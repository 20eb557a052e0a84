"""Images that stay on disk or come as batches: results, errors, and one pass at a time."""

import warnings

import keras
import numpy as np
import pytest
from _support import to_numpy
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, SiameseVerifier, TripletEmbedder, _image_sources
from skdistort._generator_batches import streamed_generator_batches
from skdistort._generators import build_training_network, generator_loss
from skdistort.baselines import SoftmaxEmbedder
from skdistort.datasets import ImageFolder
from skdistort.networks import build_decoder

digits = load_digits()
X, y = digits.data[:300].astype(np.float32), digits.target[:300]
TINY = {"epochs": 1, "filters": (2,), "random_state": 0}
EMBEDDER = {"n_components": 3, "hidden_units": 4, **TINY}
KINDS = {
    "unet": {},
    "bottleneck": {"architecture": "bottleneck"},
    "keyed": {"architecture": "bottleneck", "key": 7},
    "learning": {"train_embedder": True},
    "learning keyed": {"architecture": "bottleneck", "key": 7, "train_embedder": True},
}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Batches(keras.utils.PyDataset):
    """Batches of images, with classes or without, that count the ends of epochs."""

    def __init__(self, X, y=None, size=50, **loading):
        super().__init__(**loading)
        self.X, self.y, self.size = X, y, size
        self.epochs_ended = 0
        self.read = []

    def __len__(self):
        return -(-len(self.X) // self.size)

    def __getitem__(self, index):
        self.read.append(index)
        rows = slice(index * self.size, (index + 1) * self.size)
        return self.X[rows] if self.y is None else (self.X[rows], self.y[rows])

    def on_epoch_end(self):
        self.epochs_ended += 1


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    # 64 digits at a time.
    monkeypatch.setattr(_image_sources, "_PIECE_VALUES", 64 * 64)


@pytest.fixture(scope="module")
def frozen():
    return FrozenEstimator(TripletEmbedder(**EMBEDDER).fit(X, y))


@pytest.fixture
def mapped(tmp_path):
    def write(array):
        path = tmp_path / f"{array.dtype}{array.ndim}.npy"
        np.save(path, array)
        return np.load(path, mmap_mode="r")

    return write


def write_folder(path, images, classes):
    for number, (image, name) in enumerate(zip(images, classes, strict=True)):
        (path / str(name)).mkdir(exist_ok=True)
        Image.fromarray(image).save(path / str(name) / f"{number:04d}.png")


def weights_of(estimator):
    networks = [getattr(estimator, name, None) for name in ("network_", "embedder_")]
    return [w for network in networks if network is not None for w in network.weights]


def assert_same(first, second):
    for a, b in zip(weights_of(first), weights_of(second), strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.history_ == second.history_


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
    monkeypatch.setattr("skdistort._mined_triplets._SPACE_VALUES", 100 * 64)
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
    (tmp_path / "1" / "small.PNG").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"small.PNG could not be decoded"):
        ImageFolder(tmp_path)[:]


@pytest.mark.backend
def test_embedder_learns_from_batches():
    batches = Batches(X, y, workers=2)
    settings = {**EMBEDDER, "filters": (8,), "epochs": 12, "validation_fraction": 0.2}
    embedder = TripletEmbedder(**settings).fit(batches)
    # Chance is 0.5.
    assert embedder.score(X, y) > 0.65
    assert batches.epochs_ended >= 12
    assert len(embedder.history_["val_loss"]) == 12
    np.testing.assert_allclose(embedder.transform(batches), embedder.transform(X), atol=1e-6)


def test_batches_are_shuffled_and_repeatable():
    first, second = Batches(X, y), Batches(X, y)
    settings = {**EMBEDDER, "epochs": 3}
    a, b = TripletEmbedder(**settings).fit(first), TripletEmbedder(**settings).fit(second)
    assert_same(a, b)
    # The pass before training is in order, then each epoch in another one.
    assert first.read[:6] == list(range(6))
    epochs = [tuple(first.read[-6:]), tuple(first.read[-12:-6])]
    assert [sorted(epoch) for epoch in epochs] == [list(range(6))] * 2
    assert len({tuple(range(6)), *epochs}) == 3


def test_held_out_batches_are_not_learned_from():
    marked = [np.where(np.arange(300) // 50 == k, np.roll(y, 1), y) for k in range(6)]
    settings = {**EMBEDDER, "validation_fraction": 0.2}
    plain = TripletEmbedder(**settings).fit(Batches(X, y))
    # Other classes in one batch change the weights, unless it is the one that is held out.
    same = [
        np.array_equal(
            TripletEmbedder(**settings).fit(Batches(X, other)).network_.weights[0],
            plain.network_.weights[0],
        )
        for other in marked
    ]
    assert sum(same) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_generator_learns_from_batches(frozen, kind):
    settings = {**TINY, "epochs": 3, "validation_fraction": 0.2, **KINDS[kind]}
    generator = DistortionGenerator(frozen, **settings).fit(Batches(X, y))
    distances = generator.history_["embedding_distance"]
    assert distances[-1] < distances[0]
    assert len(generator.history_["val_loss"]) == 3
    assert ("triplet_loss" in generator.history_) == generator.train_embedder
    np.testing.assert_array_equal(generator.transform(Batches(X)), generator.transform(X))
    np.testing.assert_array_equal(generator.embed(Batches(X)), generator.embed(X))


@pytest.mark.backend
def test_keyed_generator_learns_from_batches(frozen):
    settings = {**TINY, "filters": (4, 8), "epochs": 12, **KINDS["keyed"]}
    generator = DistortionGenerator(frozen, **settings).fit(Batches(X))
    # Directions that have nothing to do with each other are 2 apart.
    distances = generator.history_["embedding_distance"]
    assert distances[-1] < 0.9 * distances[0]


class Augmented(Batches):
    """Another image each time, as tensors of the backend."""

    def __getitem__(self, index):
        noise = np.random.RandomState(len(self.read)).random_sample((50, 64))
        return keras.ops.convert_to_tensor(super().__getitem__(index) + noise.astype("f4"))


def test_images_are_those_of_the_moment(frozen):
    generator = DistortionGenerator(frozen, **TINY)
    stream = generator._validate_training_images(Augmented(X), None, reset=True)
    assert stream.max() > 16
    batches = streamed_generator_batches(
        stream,
        np.arange(100),
        pixel_range=(0.0, 17.0),
        sees_image=False,
        keyed=True,
        n_components=3,
        learns=False,
        rng=np.random.RandomState(0),
        redraw=True,
    )
    assert len(batches) == 2
    (x, targets), (again, _) = batches[0], batches[0]
    assert not np.array_equal(x["image"], again["image"])
    np.testing.assert_array_equal(x["image"], targets["image"])
    # What a batch draws depends on nothing but the epoch and its number.
    np.testing.assert_array_equal(x["direction"], again["direction"])
    np.testing.assert_allclose(np.linalg.norm(x["direction"], axis=1), 1, rtol=1e-6)
    batches.on_epoch_end()
    drawn = [batches[number][0]["direction"][0] for number in range(2)]
    assert len({tuple(direction) for direction in [*drawn, x["direction"][0]]}) == 3


@pytest.mark.backend
def test_network_embeds_and_rotates():
    generator = build_decoder(3, (8, 8, 1), filters=(2,), rng=np.random.RandomState(0))
    embedder = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten()])
    embedder.add(keras.layers.Dense(3))
    embedder.trainable = False
    network = build_training_network(generator, embedder, (0.0, 16.0), embeds=True, seen="rotated")
    direction = np.eye(3, dtype=np.float32)
    images = X[:3].reshape(-1, 8, 8, 1)
    outputs = network({"image": images / 16, "direction": direction})
    plain, rotated = to_numpy(outputs["plain"]), to_numpy(outputs["rotated"])
    np.testing.assert_allclose(plain, to_numpy(embedder(images)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(rotated, np.diag(np.linalg.norm(plain, axis=1)), rtol=1e-5)
    np.testing.assert_allclose(
        to_numpy(outputs["distorted"]), to_numpy(generator(rotated)), rtol=1e-4, atol=1e-5
    )
    # G is held to what it sees, here at no distance at all.
    found = {**outputs, "embedding": outputs["rotated"]}
    _, parts = generator_loss(
        {"image": images}, found, alpha=0.0, pi_emb=1.0, distance=lambda a, b: 0.0 * a[:, 0, 0, 0]
    )
    assert float(parts["embedding_distance"]) == 0


def test_default_embedder_learns_from_the_batches():
    embedder = TripletEmbedder(**EMBEDDER)
    generator = DistortionGenerator(embedder, **TINY).fit(Batches(X, y))
    expected = TripletEmbedder(**EMBEDDER).fit(Batches(X, y))
    for a, b in zip(generator.embedder_.weights, expected.network_.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_errors_of_batches(frozen):
    embedder, generator = TripletEmbedder(**EMBEDDER), DistortionGenerator(frozen, **TINY)
    for estimator in (embedder, generator):
        with pytest.raises(ValueError, match="y must be None where X is a keras.utils.PyDataset"):
            estimator.fit(Batches(X, y), y)
    with pytest.raises(ValueError, match="PyDataset without a y in each of its batches"):
        embedder.fit(Batches(X))
    with pytest.raises(ValueError, match="train_embedder=True needs y"):
        generator.set_params(train_embedder=True).fit(Batches(X))
    one_class = Batches(X, np.repeat(np.arange(6), 50))
    with pytest.raises(ValueError, match="None of the 6 batches of a split of X has two classes"):
        embedder.fit(one_class)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        embedder.fit(Batches(np.where(np.arange(300)[:, None] < 280, X, np.nan), y))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        embedder.fit(Batches(X, y[:-1]))
    with pytest.raises(ValueError, match=r"has 0 sample\(s\), a minimum of 2"):
        embedder.fit(Batches(X[:0], y[:0]))

    class Weighted(Batches):
        def __getitem__(self, index):
            return *super().__getitem__(index), np.ones(50)

    with pytest.raises(ValueError, match="sample weights"):
        embedder.fit(Weighted(X, y))
    with pytest.raises(ValueError, match="this method of DistortionGenerator does not take"):
        generator.set_params(train_embedder=False).fit(X).compare(Batches(X))


@pytest.mark.parametrize("source", ["memory", "disk", "batches"])
def test_partial_fit_of_the_embedder(mapped, source):
    def images():
        sources = {"memory": (X, y), "disk": (mapped(X), y), "batches": (Batches(X, y), None)}
        return sources[source]

    embedder = TripletEmbedder(**{**EMBEDDER, "epochs": 9, "validation_fraction": 0.5})
    assert embedder.partial_fit(*images()) is embedder
    # One pass at the constant rate, as fit makes of one epoch.
    one_epoch = TripletEmbedder(**EMBEDDER, schedule="constant").fit(*images())
    assert_same(embedder, one_epoch)
    before = embedder.network_.weights[0].copy()
    # A step too small to see goes on from there, and not from the start.
    embedder.set_params(learning_rate=1e-12).partial_fit(*images())
    assert len(embedder.history_["loss"]) == 2
    np.testing.assert_allclose(embedder.network_.weights[0], before, atol=1e-6)
    assert len(embedder.set_params(epochs=3).fit(*images()).history_["loss"]) == 3


def test_partial_fit_of_the_generator(frozen):
    generator = DistortionGenerator(frozen, **{**TINY, "epochs": 9})
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        generator.partial_fit(X[:150])
        embedder, pixel_range = generator.embedder_, generator.pixel_range_
        for images in (X[150:] / 2, Batches(X), X, X):
            generator.partial_fit(images)
    assert generator.embedder_ is embedder
    assert generator.pixel_range_ == pixel_range == (0.0, 16.0)
    distances = generator.history_["embedding_distance"]
    assert len(distances) == 5
    assert distances[-1] < distances[0]
    with pytest.raises(ValueError, match="X has images of shape"):
        generator.partial_fit(X.reshape(-1, 4, 16))
    with pytest.raises(ValueError, match="partial_fit needs images and architecture"):
        generator.set_params(filters=(3,)).partial_fit(X)
    with pytest.raises(ValueError, match="goes on as the previous fit began"):
        generator.set_params(architecture="bottleneck", key=1).partial_fit(X)


def test_passes_draw_anew(frozen):
    settings = {**TINY, "learning_rate": 1e-12, **KINDS["keyed"]}
    generator = DistortionGenerator(frozen, **settings)
    for _ in range(3):
        generator.partial_fit(X)
    # Weights that hardly move see other keys in each pass.
    assert len(set(np.round(generator.history_["embedding_distance"], 6))) == 3
