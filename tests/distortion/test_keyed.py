"""DistortionGenerator with a key, an adversary, an embedder that learns along; keyed stores."""

import warnings

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from support.backends import evaluate, gradients

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.distortion._batches import indexed_batches, mix_at_random, rotate_at_random
from skdistort.distortion._training import ReverseGradient, TrainingCase, generator_loss
from skdistort.exceptions import RenewalError
from skdistort.keys import key_rotation, rotate_embeddings
from skdistort.metrics import equal_error_rate, pair_scores
from skdistort.templates import TemplateStore, storage_error_rates

pytestmark = pytest.mark.usefixtures("settled_salts")
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X.astype(np.float32), y, test_size=300, random_state=0
)
SMALL = {"epochs": 1, "filters": (4,), "random_state": 0}
UNET = {"architecture": "unet", "filters": (8,), "learning_rate": 5e-3, "random_state": 0}


@pytest.fixture(scope="module")
def frozen():
    return FrozenEstimator(TripletEmbedder(epochs=6, random_state=0).fit(X_train, y_train))


@pytest.fixture(scope="module")
def keyed(frozen):
    return DistortionGenerator(frozen, key=b"first", pi_emb=0.9, epochs=12, random_state=0).fit(
        X_train
    )


@pytest.fixture
def store(keyed, tmp_path):
    path = tmp_path / "templates.db"
    with TemplateStore(keyed, path, key_cost=1, allow_weak_keys=True) as store:
        yield store


def quiet_fit(generator, *data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return generator.fit(*data)


def eer(probes, templates):
    pairs = pair_scores(probes, y_test, templates, y_test, exclude_same_index=True)
    return equal_error_rate(*pairs)


def mean_distance(A, B):
    return np.sum((A - B) ** 2, axis=1).mean()


def test_templates_lie_where_the_key_puts_them(keyed):
    embeddings = keyed.embed(X_test)
    templates = keyed.embed(keyed.transform(X_test))
    R = key_rotation(b"first", embeddings.shape[1])
    np.testing.assert_allclose(keyed.embed_probe(X_test), embeddings @ R.T, atol=1e-5)
    assert mean_distance(templates, embeddings @ R.T) < 0.6
    # Two directions drawn at random are at squared distance 2.
    assert mean_distance(templates, embeddings) > 1
    assert eer(keyed.embed_probe(X_test), templates)[0] < 0.15


def test_another_key_makes_other_templates_with_no_training(keyed):
    other = clone(keyed)
    assert other.key == b"first"
    changed = keyed.transform(X_test, keys=5)
    assert mean_distance(changed, keyed.transform(X_test)) > 10
    assert eer(keyed.embed_probe(X_test, keys=5), keyed.embed(changed))[0] < 0.2
    _, threshold = eer(keyed.embed_probe(X_test), keyed.embed(keyed.transform(X_test)))
    genuine, scores = pair_scores(
        keyed.embed_probe(X_test), y_test, keyed.embed(changed), y_test, exclude_same_index=True
    )
    # Far fewer than half of the genuine pairs: digits have few dimensions.
    assert np.mean(scores[genuine] >= threshold) < 0.2


def test_set_params_changes_the_key(keyed):
    expected = keyed.transform(X_test[:3], keys=5)
    try:
        keyed.set_params(key=5)
        np.testing.assert_array_equal(keyed.transform(X_test[:3]), expected)
        compared = keyed.compare(X_test[:3])
        np.testing.assert_array_equal(compared.embeddings, keyed.embed_probe(X_test[:3], keys=5))
        keyed.set_params(key=None)
        with pytest.raises(ValueError, match="fitted with a key"):
            keyed.transform(X_test[:3])
        np.testing.assert_array_equal(keyed.transform(X_test[:3], keys=5), expected)
    finally:
        keyed.set_params(key=b"first")


def test_one_key_for_each_image(keyed):
    keys = [5, b"first", 5, b"x"]
    each = keyed.transform(X_test[:4], keys=keys)
    for row, key in enumerate(keys):
        np.testing.assert_allclose(each[row], keyed.transform(X_test[:4], keys=key)[row], atol=1e-3)
    np.testing.assert_array_equal(
        keyed.embed_probe(X_test[:4], keys=keys), rotate_embeddings(keyed.embed(X_test[:4]), keys)
    )


def test_reissued_templates_match_under_the_new_key_only(keyed):
    templates = keyed.transform(X_test)
    reissued = keyed.reissue(templates, b"first", b"second")
    assert reissued.shape == templates.shape
    embeddings = keyed.embed(reissued)
    assert eer(keyed.embed_probe(X_test, b"second"), embeddings)[0] < 0.25
    assert eer(keyed.embed_probe(X_test, b"first"), embeddings)[0] > 0.25


def test_training_does_not_depend_on_which_key(frozen):
    weights = [
        quiet_fit(DistortionGenerator(frozen, key=key, **SMALL), X_train).network_.weights
        for key in (1, b"other")
    ]
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.fast
def test_directions_drawn_at_random_are_those_of_random_keys():
    rng = np.random.RandomState(0)
    Z = np.outer(np.arange(1, 4), [0.6, 0.8, 0]).astype(np.float32)
    drawn = np.array([rotate_at_random(Z, rng) for _ in range(2000)])
    lengths = np.linalg.norm(drawn, axis=2)
    np.testing.assert_allclose(lengths, np.tile([1, 2, 3], (2000, 1)), rtol=1e-5)
    assert np.abs(drawn[:, 0].mean(axis=0)).max() < 0.05
    np.testing.assert_allclose(np.cov(drawn[:, 0].T), np.eye(3) / 3, atol=0.04)


@pytest.mark.fast
def test_batches_of_a_keyed_generator():
    images = np.random.RandomState(0).random_sample((10, 4, 4, 1)).astype(np.float32)
    Z = np.eye(10, 3, dtype=np.float32) + 1
    case = TrainingCase.of("bottleneck", keyed=True, streamed=False, learns=False)
    options = {"case": case, "embeddings": Z, "keyed": True, "labels": None, "batch_size": 4}
    options["pixel_range"] = (0.0, 1.0)
    rows = np.arange(2, 10)
    batches = indexed_batches(images, rows, rng=np.random.RandomState(0), redraw=True, **options)
    (x, targets), (again, _) = batches[0], batches[0]
    np.testing.assert_array_equal(x["embedding"], targets["embedding"])
    assert not np.allclose(x["embedding"], again["embedding"])
    watched = indexed_batches(images, rows, rng=np.random.RandomState(0), redraw=False, **options)
    np.testing.assert_array_equal(watched[0][0]["embedding"], watched[0][0]["embedding"])
    assert set(x) == {"embedding"}
    assert set(targets) == {"image", "embedding"}


@pytest.mark.fast
def test_embeddings_are_mixed_by_any_share_at_random():
    Z = np.repeat([[0.5, 0, 0], [0, 3, 0]], 1000, axis=0).astype(np.float32)
    mixed = mix_at_random(Z, np.random.RandomState(0))
    assert mixed.dtype == np.float32
    lengths = np.repeat([0.5, 3], 1000)
    np.testing.assert_allclose(np.linalg.norm(mixed, axis=1), lengths, rtol=1e-5)
    assert np.all(mixed[:, 2] == 0)
    # Of w and 1 - w, whatever the lengths of the two.
    others = np.r_[mixed[:1000, 1], mixed[1000:, 0]]
    own = np.r_[mixed[:1000, 0], mixed[1000:, 1]]
    shares = others / (own + others)
    for quantile in (0.1, 0.5, 0.9):
        assert np.quantile(shares, quantile) == pytest.approx(quantile, abs=0.05)
    np.testing.assert_array_equal(mix_at_random(0 * Z, np.random.RandomState(0)), 0 * Z)


@pytest.mark.fast
@pytest.mark.parametrize("architecture", ["bottleneck", "unet"])
def test_batches_of_a_generator_without_a_key(architecture):
    images = np.random.RandomState(0).random_sample((10, 4, 4, 1)).astype(np.float32)
    Z = np.eye(10, 3, dtype=np.float32) + 1
    case = TrainingCase.of(architecture, keyed=False, streamed=False, learns=False)
    options = {"case": case, "embeddings": Z, "keyed": False, "labels": None, "batch_size": 10}
    options["pixel_range"] = (0.0, 1.0)

    def batch(redraw):
        rng = np.random.RandomState(0)
        return indexed_batches(images, np.arange(10), rng=rng, redraw=redraw, **options)

    batches, (_, kept) = batch(redraw=True), batch(redraw=False)[0]
    (x, targets), (_, again) = batches[0], batches[0]
    assert set(x) == set(case.inputs)
    own = Z[[np.argmax((images == image).all(axis=(1, 2, 3))) for image in kept["image"]]]
    # What is watched is what templates are made of.
    np.testing.assert_array_equal(kept["embedding"], own)
    if architecture == "unet":
        np.testing.assert_array_equal(targets["embedding"], own)
        return
    np.testing.assert_array_equal(x["embedding"], targets["embedding"])
    assert np.abs(targets["embedding"] - own).max() > 0.1
    assert np.abs(targets["embedding"] - again["embedding"]).max() > 0.1
    lengths = np.linalg.norm(own, axis=1)
    np.testing.assert_allclose(np.linalg.norm(targets["embedding"], axis=1), lengths, rtol=1e-5)


@pytest.mark.fast
def test_reversed_gradient():
    layer = ReverseGradient(0.5)
    x = np.array([[1.0, -2.0]], dtype=np.float32)
    np.testing.assert_allclose(evaluate(layer, x), x, rtol=1e-6)
    np.testing.assert_allclose(gradients(layer, x)[0], [[-0.5, -0.5]])


def test_adversary_works_against_the_generator(frozen):
    generator = DistortionGenerator(frozen, epochs=3, pi_emb=0.5, **UNET)
    alone = quiet_fit(generator, X_train[:400])
    opposed = quiet_fit(clone(generator).set_params(adversary_weight=3.0), X_train[:400])
    assert "adversary_distance" not in alone.history_
    errors = opposed.history_["adversary_distance"]
    parts = {name: np.array(values) for name, values in opposed.history_.items()}
    # The loss of G as it is documented, whose hinge is between none and all of the distance.
    rest = parts["loss"] + 0.5 * parts["image_distance"] + 3 * parts["adversary_distance"]
    assert np.all(rest > -1e-5)
    assert np.all(rest < 0.5 * parts["embedding_distance"] + 1e-5)
    assert len(errors) == 3
    assert len(opposed.network_.weights) == len(alone.network_.weights)


def test_adversary_learns_to_invert_and_the_generator_to_resist(frozen):
    def errors(weight):
        generator = DistortionGenerator(frozen, adversary_weight=weight, epochs=6, **UNET)
        return quiet_fit(generator, X_train).history_["adversary_distance"]

    # So weak a push that G stays open to be inverted.
    left_alone = errors(1e-6)
    assert left_alone[-1] < 0.4 * left_alone[0]
    assert errors(100.0)[-1] > 1.5 * left_alone[-1]


def test_loss_values_of_an_embedder_that_learns():
    plain = keras.ops.array([[0.0], [0.0], [0.5]])
    targets = {"image": keras.ops.zeros((3, 2, 2, 1)), "label": keras.ops.array([0, 0, 1])}
    outputs = {
        "distorted": keras.ops.zeros((3, 2, 2, 1)),
        "embedding": plain + 2.0,
        "plain": plain,
    }
    options = {"target": "plain", "distance": lambda a, b: 0.0 * a[:, 0, 0, 0]}
    options["adversary_weight"] = 0.0
    loss, parts = generator_loss(targets, outputs, alpha=1.0, pi_emb=0.5, **options)
    # Without a target of its own, F(G(X)) is held to F(X) of the moment, 4 away; of the margin
    # of 0.2 none is kept by distances of 0 and 0.25.
    assert float(parts["triplet_loss"]) == 0
    assert float(loss) == pytest.approx(0.5 * 3)
    outputs["plain"] = 0.2 * plain
    loss, parts = generator_loss(targets, outputs, alpha=1.0, pi_emb=0.0, **options)
    assert float(loss) == float(parts["triplet_loss"])
    assert float(loss) == pytest.approx(0.2 - 0.1**2)


def test_loss_values_of_an_adversary():
    ones = keras.ops.ones((2, 4, 4, 1))
    targets = {"image": 0 * ones, "embedding": keras.ops.zeros((2, 3))}
    outputs = {
        "distorted": 0.5 * ones,
        "embedding": keras.ops.ones((2, 3)),
        "rebuilt": 2 * ones,
    }
    loss, parts = generator_loss(
        targets,
        outputs,
        alpha=1.0,
        pi_emb=0.25,
        target="embedding",
        distance=lambda a, b: keras.ops.mean(keras.ops.abs(a - b), axis=(1, 2, 3)),
        adversary_weight=0.125,
    )
    assert float(loss) == pytest.approx(0.25 * (3 - 1) - 0.75 * 0.5 - 0.125 * 4)
    assert float(parts["adversary_distance"]) == 4


@pytest.mark.parametrize(
    "params",
    [
        {"architecture": "unet"},
        {},
        pytest.param({"key": 3}, marks=pytest.mark.backend),
    ],
)
def test_embedder_learns_along(frozen, params):
    generator = DistortionGenerator(frozen, train_embedder=True, **{**SMALL, **params})
    before = [w.copy() for w in frozen.estimator.network_.weights]
    quiet_fit(generator, X_train, y_train)
    after = generator.embedder_.weights
    assert any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    for old, new in zip(before, frozen.estimator.network_.weights, strict=True):
        np.testing.assert_array_equal(old, new)
    assert set(generator.history_) == {
        "loss",
        "image_distance",
        "embedding_distance",
        "triplet_loss",
    }
    assert generator.embedder_.config == frozen.estimator.network_.config
    labels = y_test
    plain = pair_scores(generator.embed(X_test), labels)
    assert equal_error_rate(*plain)[0] < 0.1


def test_batch_statistics_of_an_embedder_that_learns_stay(frozen):
    generator = DistortionGenerator(frozen, train_embedder=True, **SMALL)
    quiet_fit(generator, X_train, y_train)
    model = generator.embedder_.model
    norms = [la for la in model.layers if isinstance(la, keras.layers.BatchNormalization)]
    first = [la for la in frozen.estimator.network_.model.layers if la.name == norms[0].name][0]
    np.testing.assert_array_equal(norms[0].moving_mean, first.moving_mean)


def test_replay_of_a_template_is_refused(keyed, store):
    store.calibrate_threshold(X_test, y_test)
    ids = [f"subject {i}" for i in range(60)]
    store.enrol(ids, X_test[:60])
    low, high = keyed.pixel_range_
    images = [image for _, _, image in store._database.read_after(0, 99)]
    stolen = low + np.float32([list(image) for image in images]) / 255 * (high - low)
    genuine = store.verify(ids, X_test[:60]).mean()
    replayed = store.verify(ids, stolen).mean()
    # In ten dimensions not every direction can be reached: what would not pass stays.
    try:
        n_renewed, failed = store.rotate(None, b"second"), []
    except RenewalError as error:
        n_renewed, failed = error.n_renewed, error.failed
    assert n_renewed == 60 - len(failed)
    # The salt of the store decides the directions.
    assert len(failed) < 6
    ids = [id for id in ids if id not in failed]
    kept = [int(id.split()[1]) for id in ids]
    stolen, probes = stolen[kept], X_test[kept]
    after = store.verify(ids, probes, keys=b"second").mean()
    # Of ten directions in ten dimensions, some come near by chance: a class is 10 %.
    assert genuine > 0.9
    assert after > 0.9
    assert replayed < 0.4
    assert store.verify(ids, stolen, keys=b"second").mean() < 0.4
    assert not store.verify(ids, probes).any()


def test_rotation_erases_the_old_templates(keyed, store):
    store.enrol(["a", "b", "a"], X_test[:3])
    store.enrol(["a"], X_test[3:4], keys=[8], add_to_existing=True)
    path = store._database.path
    old = [image for _, _, image in store._database.read_after(0, 9)]
    assert store.rotate("a", 9) == 2
    rows = store._database.read_after(0, 9)
    assert [subject for _, subject, _ in rows] == ["b", "a", "a", "a"]
    with open(path, "rb") as file:
        data = file.read()
    assert [image in data for image in old] == [False, True, False, True]
    scores = store.score_claims(["a", "a", "b"], X_test[[0, 3, 1]], keys=[9, 8, b"first"])
    assert np.median(scores) > -0.5
    # Neither under the old key any more nor under one that it never was.
    for key in (b"first", 7):
        assert store.score_claims(["a"], X_test[:1], keys=key) == -np.inf
    with pytest.raises(KeyError, match="'a' has no template under this key"):
        store.rotate("a", b"third")
    assert store.rotate("a", b"third", key=8) == 1


def test_file_holds_no_key(keyed, store, tmp_path):
    secret = b"a key that is easily found in a file"
    store.enrol(["a", "b"], X_test[:2], keys=[secret, 123456789])
    store.close()
    data = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert secret not in data
    assert b"123456789" not in data
    assert (123456789).to_bytes(4, "little") not in data
    assert (123456789).to_bytes(4, "big") not in data


def test_threshold_does_not_depend_on_how_keys_are_given(keyed, store):
    one = store.calibrate_threshold(X_test, y_test).threshold_
    assert one == store.calibrate_threshold(X_test, y_test, keys=b"first").threshold_
    # Under the key that the store makes of the generator's, and of 8 bits.
    key = store._stretched(None, len(X_test))
    templates = np.rint(keyed.transform(X_test, key) * (255 / 16)) * (16 / 255)
    probes = keyed.embed_probe(X_test, key)
    assert one == pytest.approx(eer(probes, keyed.embed(templates))[1], abs=1e-4)
    each = store.calibrate_threshold(X_test, y_test, keys=list(range(len(X_test))))
    assert each.threshold_ == pytest.approx(one, abs=0.3)


def test_rounding_of_keyed_templates_costs_little(keyed):
    rates = storage_error_rates(keyed, X_test, y_test)
    assert abs(rates.as_float - rates.as_bytes) < 0.01
    assert rates.as_float < 0.2


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        ({"key": 1, "architecture": "unet"}, ValueError, 'needs architecture="bottleneck"'),
        ({"key": "text"}, ValueError, "'key' parameter"),
        ({"key": -1}, ValueError, "'key' parameter"),
        ({"adversary_weight": -1.0}, ValueError, "'adversary_weight' parameter"),
        ({"train_embedder": True}, ValueError, "needs y"),
    ],
)
def test_refuses_parameters_before_training(frozen, params, error, match):
    with pytest.raises(error, match=match):
        DistortionGenerator(frozen, **{**SMALL, **params}).fit(X_train)


def test_refuses_keys_that_do_not_fit(frozen, keyed, store):
    for use in (keyed.transform, keyed.embed_probe):
        with pytest.raises(ValueError, match="2 keys for 3 samples"):
            use(X_test[:3], keys=[1, 2])
        with pytest.raises(TypeError, match="int or bytes, got str"):
            use(X_test[:3], keys="text")
    keyless = quiet_fit(DistortionGenerator(frozen, **SMALL), X_train)
    for use in (keyless.transform, keyless.embed_probe):
        with pytest.raises(ValueError, match="without a key"):
            use(X_test[:3], keys=1)
    with pytest.raises(ValueError, match="without a key"):
        keyless.reissue(X_test[:3], 1, 2)
    unet = quiet_fit(DistortionGenerator(frozen, architecture="unet", **SMALL), X_train)
    with pytest.raises(ValueError, match="without a key"):
        unet.transform(X_test[:3], keys=1)
    with pytest.raises(ValueError, match="goes on as the previous fit began"):
        keyless.set_params(key=1, warm_start=True).fit(X_train)
    with pytest.raises(ValueError, match="new_key is the key"):
        store.rotate(None, b"first")
    with pytest.raises(TypeError, match="an id must be a str, got 5"):
        store.rotate(5, 1)
    with pytest.raises(KeyError, match="no template under this key"):
        store.rotate("nobody", 1)
    with pytest.raises(ValueError, match="2 keys for 1 samples"):
        store.enrol(["a"], X_test[:1], keys=[1, 2])
    assert store.ids == []


def test_keyless_store_takes_no_keys(frozen, tmp_path):
    keyless = quiet_fit(DistortionGenerator(frozen, **SMALL), X_train)
    with TemplateStore(keyless, tmp_path / "t.db") as store:
        with pytest.raises(ValueError, match="without a key"):
            store.enrol(["a"], X_test[:1], keys=1)
        with pytest.raises(ValueError, match="Only templates under a key"):
            store.rotate(None, 1)
        assert len(store) == 0
