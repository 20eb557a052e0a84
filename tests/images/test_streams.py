"""Images that come as batches of a dataset: what is learned of them, and errors."""

import pickle

import keras
import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator
from support.backends import to_numpy
from support.stored import EMBEDDER, KINDS, TINY, Batches, X, assert_same, y

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.distortion._batches import mix_at_random, streamed_batches
from skdistort.distortion._training import TrainingCase, build_training_network, generator_loss
from skdistort.images._validation import validate_training_images
from skdistort.networks import build_decoder

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def frozen():
    return FrozenEstimator(TripletEmbedder(**EMBEDDER).fit(X, y))


@pytest.mark.backend
def test_embedder_learns_from_batches():
    batches = Batches(X, y, workers=2)
    settings = {**EMBEDDER, "filters": (8,), "epochs": 12, "learning_rate": 5e-3}
    embedder = TripletEmbedder(**settings, validation_fraction=0.2).fit(batches)
    # Chance is 0.5.
    assert embedder.score(X, y) > 0.65
    # Keras itself calls each once more on some backends.
    assert batches.epochs_begun >= 12
    assert batches.epochs_ended >= 12
    assert len(embedder.history_["val_loss"]) == 12
    np.testing.assert_allclose(embedder.transform(batches), embedder.transform(X), atol=1e-6)


def test_batches_are_shuffled_and_repeatable():
    first, second = Batches(X, y), Batches(X, y)
    settings = {**EMBEDDER, "epochs": 3}
    a, b = TripletEmbedder(**settings).fit(first), TripletEmbedder(**settings).fit(second)
    assert_same(a, b)
    # The pass before training is in order, then each epoch in another one; some are embedded last.
    assert first.read[:6] == list(range(6))
    epochs = [tuple(first.read[-12:-6]), tuple(first.read[-18:-12])]
    assert [sorted(epoch) for epoch in epochs] == [list(range(6))] * 2
    assert len({tuple(range(6)), *epochs}) == 3


def test_held_out_batches_are_not_learned_from():
    marked = [np.where(np.arange(300) // 50 == k, np.roll(y, 1), y) for k in range(6)]
    settings = {**EMBEDDER, "validation_fraction": 0.2}
    plain = TripletEmbedder(**settings).fit(Batches(X, y)).transform(X[:20])
    # Other classes in one batch change the weights, unless it is the one that is held out.
    same = [
        np.array_equal(TripletEmbedder(**settings).fit(Batches(X, other)).transform(X[:20]), plain)
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
    stream = validate_training_images(generator, Augmented(X), None, reset=True)
    assert stream.max() > 16

    def make_batches(*, keyed, redraw=True):
        return streamed_batches(
            stream,
            np.arange(100),
            case=TrainingCase.of("bottleneck", keyed=keyed, streamed=True, learns=False),
            pixel_range=(0.0, 17.0),
            n_components=3,
            learns=False,
            rng=np.random.RandomState(0),
            redraw=redraw,
        )

    batches = make_batches(keyed=True)
    assert len(batches) == 2
    (x, targets), (again, _) = batches[0], batches[0]
    assert not np.array_equal(x["image"], again["image"])
    np.testing.assert_array_equal(x["image"], targets["image"])
    # What a batch draws depends on nothing but the epoch and its number.
    np.testing.assert_array_equal(x["direction"], again["direction"])
    np.testing.assert_allclose(np.linalg.norm(x["direction"], axis=1), 1, rtol=1e-6)
    # Processes that read batches get a copy.
    copy = pickle.loads(pickle.dumps(batches))
    np.testing.assert_array_equal(copy[0][0]["direction"], x["direction"])
    batches.on_epoch_end()
    drawn = [batches[number][0]["direction"][0] for number in range(2)]
    assert len({tuple(direction) for direction in [*drawn, x["direction"][0]]}) == 3
    # Without a key embeddings are mixed by any share, and not at all where they are watched.
    shares = make_batches(keyed=False)[0][0]["share"]
    assert shares.shape == (50, 1)
    assert 0 <= shares.min() < 0.2
    assert 0.8 < shares.max() <= 1
    watched = make_batches(keyed=False, redraw=False)[0][0]["share"]
    np.testing.assert_array_equal(watched, np.zeros((50, 1)))


@pytest.fixture
def networks():
    generator = build_decoder(3, (8, 8, 1), filters=(2,), rng=np.random.RandomState(0))
    embedder = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten()])
    embedder.add(keras.layers.Dense(3))
    embedder.trainable = False
    return generator, embedder


@pytest.mark.backend
def test_network_embeds_and_mixes(networks):
    generator, embedder = networks
    case = TrainingCase.of("bottleneck", keyed=False, streamed=True, learns=False)
    assert case.target == "mixed"
    network = build_training_network(generator, embedder, (0.0, 16.0), case)
    images = X[:4].reshape(-1, 8, 8, 1)
    plain = to_numpy(embedder(images))

    class Given:
        def random_sample(self, shape):
            return shares

    for shares in (np.zeros((4, 1)), np.array([[0.1], [0.25], [0.5], [0.9]])):
        outputs = network({"image": images / 16, "share": shares.astype(np.float32)})
        mixed = to_numpy(outputs["mixed"])
        # In the network as beforehand.
        np.testing.assert_allclose(mixed, mix_at_random(plain, Given()), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(
            to_numpy(outputs["distorted"]), to_numpy(generator(mixed)), rtol=1e-4, atol=1e-5
        )


@pytest.mark.backend
def test_network_embeds_and_rotates(networks):
    generator, embedder = networks
    case = TrainingCase.of("bottleneck", keyed=True, streamed=True, learns=False)
    network = build_training_network(generator, embedder, (0.0, 16.0), case)
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
    options = {"target": case.target, "distance": lambda a, b: 0.0 * a[:, 0, 0, 0]}
    options["adversary_weight"] = 0.0
    _, parts = generator_loss({"image": images}, found, alpha=0.0, pi_emb=1.0, **options)
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
    fitted = TripletEmbedder(**EMBEDDER).fit(X[:60], y[:60])
    for use in (embedder.fit, fitted.transform):
        with pytest.raises(ValueError, match="PyDataset of 0 batches"):
            use(Batches(X[:0], y[:0]))

    class Odd(Batches):
        batch = None

        def __getitem__(self, index):
            return self.batch

    for batch, message in (
        ({"image": X[:50]}, "its batch 0 is a dict of 1"),
        (({"image": X[:50]}, y[:50]), "its batch 0 is a tuple of 2"),
        (X[:50].tolist(), "its batch 0 is a list of 50"),
    ):
        odd = Odd(X, y)
        odd.batch = batch
        with pytest.raises(ValueError, match=message):
            embedder.fit(odd)
    for walked in (iter(X), set(y), (row for row in X)):
        with pytest.raises(TypeError, match="can only be walked through"):
            embedder.fit(walked, y)
        with pytest.raises(TypeError, match="can only be walked through"):
            fitted.transform(walked)

    class Endless(Batches):
        num_batches = None

    with pytest.raises(ValueError, match="PyDataset of None batches"):
        embedder.fit(Endless(X, y))

    class Weighted(Batches):
        def __getitem__(self, index):
            return *super().__getitem__(index), np.ones(50)

    with pytest.raises(ValueError, match="sample weights"):
        embedder.fit(Weighted(X, y))
    with pytest.raises(ValueError, match="this method of DistortionGenerator does not take"):
        generator.set_params(train_embedder=False).fit(X).compare(Batches(X))
