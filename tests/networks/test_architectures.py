"""Networks: images of any size, seeds, and networks kept as plain data."""

import pickle
from io import BytesIO

import keras
import numpy as np
import pytest
from support.backends import evaluate, gradients, to_tensor

from skdistort.networks import (
    PixelScaling,
    SelfAttentivePooling,
    UnitLength,
    _stored,
    build_decoder,
    build_encoder,
    build_pair_head,
    build_unet,
    build_vgg_encoder,
    scale_pixels,
)
from skdistort.networks._pool import architecture
from skdistort.networks._stored import StoredNetwork, jit_mode

pytestmark = pytest.mark.backend

SHAPES = [(28, 28, 1), (7, 5, 1), (1, 10, 1), (13, 40, 3), (1, 1, 1)]
FILTERS = (4, 5, 6)
N_COMPONENTS = 4


def encoder(shape=(7, 5, 1), seed=0, pixel_range=(0.0, 1.0)):
    rng = np.random.RandomState(seed)
    return build_encoder(
        shape, N_COMPONENTS, filters=FILTERS, hidden_units=8, pixel_range=pixel_range, rng=rng
    )


def unet(shape=(7, 5, 1), seed=0, filters=FILTERS):
    return build_unet(shape, filters=filters, rng=np.random.RandomState(seed))


def decoder(shape=(7, 5, 1), seed=0, filters=FILTERS):
    return build_decoder(N_COMPONENTS, shape, filters=filters, rng=np.random.RandomState(seed))


def vgg(shape=(7, 5, 1), seed=0):
    rng = np.random.RandomState(seed)
    return build_vgg_encoder(
        shape, N_COMPONENTS, filters=FILTERS, hidden_units=8, unit_length=True, rng=rng
    )


BUILDERS = {"encoder": encoder, "unet": unet, "decoder": decoder, "vgg": vgg}
builders = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)


def make_images(shape, n=3, seed=0):
    return np.random.default_rng(seed).random((n, *shape), dtype=np.float32)


def make_inputs(model, n=3, seed=0):
    return make_images(model.input_shape[1:], n, seed)


def infer(model, X):
    return evaluate(lambda x: model(x, training=False), X)


@pytest.mark.parametrize("shape", SHAPES)
def test_encoder_gives_vectors_of_unit_length(shape):
    model = encoder(shape)
    assert model.output_shape == (None, N_COMPONENTS)
    embeddings = infer(model, make_images(shape))
    assert embeddings.shape == (3, N_COMPONENTS)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("filters", [(2,), FILTERS])
def test_unet_gives_images_of_the_same_size(shape, filters):
    model = unet(shape, filters=filters)
    assert model.output_shape == model.input_shape == (None, *shape)
    images = infer(model, make_images(shape))
    assert images.shape == (3, *shape)
    assert (images > 0).all()
    assert (images < 1).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("filters", [(2,), FILTERS])
def test_decoder_gives_images_of_the_asked_size(shape, filters):
    model = decoder(shape, filters=filters)
    assert model.output_shape == (None, *shape)
    images = infer(model, make_images((N_COMPONENTS,)))
    assert images.shape == (3, *shape)
    assert (images > 0).all()
    assert (images < 1).all()


@pytest.mark.parametrize("build", [encoder, unet])
def test_every_pixel_matters(build):
    # Also those of the last row and column, which pooling of odd sides might drop.
    shape = (7, 5, 1)
    model = build(shape)
    rng = np.random.default_rng(1)
    weights = [rng.standard_normal(w.shape) / 4 for w in model.get_weights()]
    model.set_weights([np.abs(w) if w.ndim == 1 else w for w in weights])
    # Weighted, as on the unit sphere the plain squared sum has no gradient.
    scale = to_tensor(rng.standard_normal(model.output_shape[1:]))
    (gradient,) = gradients(lambda x: model(x, training=False) * scale, make_images(shape))
    assert (np.abs(gradient).max(axis=0) > 0).all()


def test_unet_has_skip_connections():
    model = unet((8, 8, 1))
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2DTranspose):
            layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    # Nothing comes up from below any more.
    first, second = infer(model, make_images((8, 8, 1), n=2))
    assert np.abs(first - second).max() > 1e-3


@builders
def test_weights_come_from_the_rng_alone(build):
    keras.utils.set_random_seed(1)
    weights = build(seed=0).get_weights()
    keras.utils.set_random_seed(2)
    for one, other in zip(weights, build(seed=0).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(weights, build(seed=1).get_weights(), strict=True):
        # Kernels are drawn, biases and normalisations start as constants.
        assert (one != other).any() == (one.ndim > 1)


@builders
def test_no_two_kernels_share_a_seed(build):
    seeds = [
        layer.kernel_initializer.seed
        for layer in build().layers
        if hasattr(layer, "kernel_initializer")
    ]
    assert len(set(seeds)) == len(seeds) > 3


def test_building_moves_the_rng_on():
    rng = np.random.RandomState(0)
    first, second = (build_unet((4, 4, 1), filters=(2, 3), rng=rng) for _ in range(2))
    assert (first.get_weights()[0] != second.get_weights()[0]).any()


def test_encoder_maps_the_pixel_range_to_0_and_1():
    X = make_images((7, 5, 1))
    expected = infer(encoder(), X)
    np.testing.assert_allclose(
        infer(encoder(pixel_range=(-100.0, 155.0)), 255 * X - 100), expected, atol=1e-5
    )
    # Pixels that were all equal in training are taken as they are, relative to that value.
    np.testing.assert_allclose(infer(encoder(pixel_range=(3.0, 3.0)), X + 3), expected, atol=1e-5)


def test_encoder_gradients_on_blank_images_are_finite():
    for value in (0.0, 1.0):
        X = np.full((2, 7, 5, 1), value)
        (gradient,) = gradients(encoder(), X)
        assert np.isfinite(gradient).all()


def test_unit_length():
    vectors = np.array([[3.0, 4.0], [-1e-3, 0.0], [0.0, 0.0], [3e8, -4e8]])
    expected = [[0.6, 0.8], [-1, 0], [0, 0], [0.6, -0.8]]
    np.testing.assert_allclose(evaluate(UnitLength(), vectors), expected, rtol=1e-5)
    # Only the last axis is scaled.
    stacked = evaluate(UnitLength(), np.ones((2, 3, 4)))
    np.testing.assert_allclose(stacked, 0.5, rtol=1e-6)


def test_unit_length_gradient():
    weights, vector = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])

    def weighted(x):
        return UnitLength()(x) * to_tensor(weights)

    (gradient,) = gradients(weighted, vector)
    # (w - (w.u) u) / ||x||
    unit = vector / 5
    expected = (weights - (weights * unit).sum() * unit) / 5
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
    (at_zero,) = gradients(weighted, np.zeros((1, 2)))
    assert np.isfinite(at_zero).all()
    np.testing.assert_allclose(at_zero, 1e6 * weights, rtol=1e-3)


def test_unit_length_is_rebuilt_from_its_configuration():
    layer = UnitLength(epsilon=9.0, name="scaled")
    rebuilt = UnitLength.from_config(layer.get_config())
    assert (rebuilt.epsilon, rebuilt.name) == (9.0, "scaled")
    np.testing.assert_allclose(evaluate(rebuilt, np.array([[4.0, 0.0]])), [[0.8, 0]], rtol=1e-6)
    assert layer.compute_output_shape((None, 7)) == (None, 7)


class RecordingUnpickler(pickle.Unpickler):
    """Notes the modules whose objects a pickle holds."""

    modules = frozenset()

    def find_class(self, module, name):
        self.modules = self.modules | {module.partition(".")[0]}
        return super().find_class(module, name)


@builders
def test_a_stored_network_survives_pickling(build):
    model = build()
    # Weights and running statistics as after training, not as at the start.
    rng = np.random.default_rng(0)
    model.set_weights([w + 0.1 * rng.random(w.shape) for w in model.get_weights()])
    X = make_inputs(model, n=5)
    stored = StoredNetwork(model)
    predicted = stored.predict(X, batch_size=2)
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, infer(model, X), rtol=1e-4, atol=1e-5)

    unpickler = RecordingUnpickler(BytesIO(pickle.dumps(stored)))
    loaded = unpickler.load()
    assert unpickler.modules <= {"skdistort", "numpy", "builtins", "copyreg", "_codecs"}
    assert "skdistort" in unpickler.modules
    assert loaded._model is None
    np.testing.assert_array_equal(loaded.predict(X, batch_size=2), predicted)
    # Pickling did not take the network from the original.
    np.testing.assert_array_equal(stored.predict(X, batch_size=2), predicted)


@builders
@pytest.mark.parametrize("n", [1, 33])
def test_predictions_do_not_depend_on_the_batch(build, n):
    stored = StoredNetwork(build())
    X = make_inputs(stored.model, n=n)
    whole = stored.predict(X, batch_size=1000)
    assert len(whole) == n
    np.testing.assert_allclose(stored.predict(X, batch_size=7), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        stored.predict(X[-1:], batch_size=7), whole[-1:], rtol=1e-5, atol=1e-6
    )


def test_predictions_make_no_dataset(monkeypatch):
    stored = StoredNetwork(encoder())
    X = make_inputs(stored.model)
    expected = stored.predict(X, batch_size=8)
    monkeypatch.setattr(keras.Model, "predict", None)
    np.testing.assert_array_equal(stored.predict(X, batch_size=8), expected)


def test_a_stored_network_is_a_copy():
    model = encoder()
    stored = StoredNetwork(model)
    X = make_inputs(model)
    before = infer(model, X)
    model.set_weights([w + 1 for w in model.get_weights()])
    np.testing.assert_allclose(stored.predict(X, batch_size=8), before, rtol=1e-4, atol=1e-5)
    assert stored.model is stored.model is not model
    assert not stored.model.trainable_weights


def test_jit_is_off_for_tensorflow_without_a_gpu(monkeypatch):
    on_tensorflow = keras.backend.backend() == "tensorflow"
    distribution = _stored.keras.distribution
    monkeypatch.setattr(distribution, "list_devices", lambda kind: [])
    assert jit_mode() == (False if on_tensorflow else "auto")
    monkeypatch.setattr(distribution, "list_devices", lambda kind: ["gpu:0"])
    assert jit_mode() == "auto"


def test_a_stored_network_resolves_jit_as_keras_would():
    # Keras compiles neither for torch nor, by our choice, for TensorFlow without a GPU.
    allowed = keras.backend.backend() != "torch" and jit_mode() == "auto"
    assert StoredNetwork(encoder()).model.jit_compile is allowed


@pytest.mark.parametrize("shape", SHAPES)
def test_vgg_encoder_takes_any_size(shape):
    codes = evaluate(vgg(shape), np.random.default_rng(0).random((2, *shape)))
    assert codes.shape == (2, N_COMPONENTS)
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, atol=1e-4)


def test_pixel_scaling():
    inputs = keras.layers.Input((2, 2, 1))
    model = keras.Model(inputs, scale_pixels(inputs, 0.5, -3.0))
    X = np.arange(8.0, dtype=np.float32).reshape(2, 2, 2, 1)
    np.testing.assert_allclose(evaluate(model, X), 0.5 * X - 3)
    # The range is in the weights alone, none of which learns.
    other = keras.Model(inputs, scale_pixels(inputs, 2.0, 1.0))
    assert architecture(other.to_json()) == architecture(model.to_json())
    assert not model.trainable_weights
    other.set_weights(model.get_weights())
    np.testing.assert_allclose(evaluate(other, X), 0.5 * X - 3)
    np.testing.assert_allclose(evaluate(PixelScaling(), X), X)
    assert PixelScaling().compute_output_shape((None, 2, 2, 1)) == (None, 2, 2, 1)


def test_vgg_encoder_of_paper_b():
    # Table 1: 80 mels by 350 frames, 128, 256, 512 maps, 1024 and 400 units.
    model = build_vgg_encoder(
        (80, 350, 1),
        400,
        filters=(128, 256, 512),
        hidden_units=1024,
        unit_length=True,
        rng=np.random.RandomState(0),
    )
    shapes = [tuple(weights.shape) for weights in model.weights if len(weights.shape) in (2, 4)]
    pairs = [(1, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    # Ten mels are left of 80, and so many vectors of 512 maps side by side are one step.
    dense = [(10 * 512, 1024), (1024, 400)]
    assert shapes == [*((3, 3, *pair) for pair in pairs), *dense]
    assert model.output_shape == (None, 400)


def test_attention_weighs_steps_by_softmax():
    layer = SelfAttentivePooling()
    x = np.float32(np.random.default_rng(0).normal(size=(2, 5, 3)))
    np.testing.assert_allclose(evaluate(layer, x), x.mean(axis=1), rtol=1e-5)
    query = np.float32([0.5, -1.0, 2.0])
    layer.set_weights([query])
    weights = np.exp(x @ query)[..., None]
    weights /= weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(evaluate(layer, x), np.sum(weights * x, axis=1), rtol=1e-4)


def test_pair_head_tells_left_from_right():
    head = build_pair_head(3, units=(8, 4), rng=np.random.RandomState(0))
    pairs = np.float32(np.random.default_rng(0).normal(size=(4, 6)))
    logits = evaluate(head, pairs)
    assert logits.shape == (4, 1)
    assert not np.allclose(logits, evaluate(head, np.roll(pairs, 3, axis=1)))
