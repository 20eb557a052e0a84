"""On PyTorch, networks of its own operations are the networks that Keras describes."""

import keras
import numpy as np
import pytest

from skdistort.networks import build_decoder, build_encoder, build_unet
from skdistort.networks._stored import fastest_form

pytestmark = [
    pytest.mark.backend,
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's own layers"),
]
layers = keras.layers
rng = np.random.RandomState(0)
LAYERS = {
    "conv": (lambda: layers.Conv2D(6, 3, padding="same"), True),
    "conv valid": (lambda: layers.Conv2D(6, (3, 2), activation="relu"), True),
    "conv groups": (lambda: layers.Conv2D(6, 3, groups=3, use_bias=False), True),
    "conv dilated": (lambda: layers.Conv2D(4, 3, dilation_rate=2, padding="same"), True),
    "conv strides": (lambda: layers.Conv2D(4, 3, strides=2), True),
    "conv strides same": (lambda: layers.Conv2D(4, 3, strides=2, padding="same"), True),
    "conv first": (lambda: layers.Conv2D(4, 3, data_format="channels_first"), True),
    "up": (lambda: layers.Conv2DTranspose(4, 2, strides=2), True),
    "up same": (lambda: layers.Conv2DTranspose(4, 2, strides=2, padding="same"), True),
    "up overlapping": (lambda: layers.Conv2DTranspose(4, 3, strides=2, padding="same"), True),
    "pool": (lambda: layers.MaxPooling2D(2), True),
    "pool same": (lambda: layers.MaxPooling2D(2, padding="same"), True),
    "pool same 3": (lambda: layers.MaxPooling2D(3, padding="same"), True),
    "pool overlapping": (lambda: layers.MaxPooling2D(3, strides=2, padding="same"), True),
    "norm": (lambda: layers.BatchNormalization(momentum=0.7), True),
    "norm bare": (lambda: layers.BatchNormalization(scale=False, center=False), True),
    "norm axis": (lambda: layers.BatchNormalization(axis=1), True),
    "dense norm": (lambda: layers.BatchNormalization(momentum=0.7), False),
    "dense": (lambda: layers.Dense(3, activation="tanh"), False),
}


def compare(stock, own, x, training):
    """Outputs, gradients and running statistics of two networks that ought to be one."""
    given = [x.clone().requires_grad_() for _ in range(2)]
    found, expected = own(given[0], training=training), stock(given[1], training=training)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(found), keras.ops.convert_to_numpy(expected), atol=5e-5
    )
    for out in (found, expected):
        (out * out * out).sum().backward()
    np.testing.assert_allclose(*(z.grad.cpu().numpy() for z in given), atol=1e-4, rtol=1e-3)
    for a, b in zip(own.trainable_variables, stock.trainable_variables, strict=True):
        scale = float(abs(b.value.grad).max()) + 1e-3
        np.testing.assert_allclose(
            a.value.grad.cpu().numpy(), b.value.grad.cpu().numpy(), atol=2e-3 * scale
        )
    for a, b in zip(own.get_weights(), stock.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*inconsistencies across backends:UserWarning")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_layer_is_kerass(name, training):
    make, spatial = LAYERS[name]
    shape = (9, 7, 3) if spatial else (5,)
    inputs = layers.Input(shape)
    stock = keras.Model(inputs, make()(inputs))
    # Such as none has from the start.
    stock.set_weights([rng.uniform(0.5, 1.5, w.shape).astype("f") for w in stock.get_weights()])
    own = fastest_form(stock)
    assert type(own.layers[1]) is not type(stock.layers[1])
    x = keras.ops.convert_to_tensor(rng.standard_normal((6, *shape)).astype(np.float32))
    compare(stock, own, x, training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_networks(dtype, training):
    options = {"rng": np.random.RandomState(0), "dtype": dtype, "filters": (4, 8)}
    x = keras.ops.convert_to_tensor(rng.random_sample((8, 9, 10, 1)).astype(np.float32))
    z = keras.ops.convert_to_tensor(rng.standard_normal((8, 5)).astype(np.float32))
    encoder = build_encoder((9, 10, 1), 5, hidden_units=8, pixel_range=(0.0, 2.0), **options)
    for stock, given in (
        (encoder, x),
        (build_unet((9, 10, 1), **options), x),
        (build_decoder(5, (9, 10, 1), **options), z),
    ):
        own = fastest_form(stock)
        found, expected = (
            keras.ops.convert_to_numpy(network(given, training=training))
            for network in (own, stock)
        )
        tolerance = 1e-4 if dtype == "float32" else 0.05
        np.testing.assert_allclose(found, expected, atol=tolerance)


def test_what_is_stored_stays_kerass():
    from skdistort.networks._stored import StoredNetwork

    network = build_unet((8, 8, 1), filters=(2, 4), rng=np.random.RandomState(0))
    stored = StoredNetwork(network)
    stored.predict(rng.random_sample((3, 8, 8, 1)).astype(np.float32), batch_size=2)
    assert "_torch_layers" not in stored.config
    assert {type(layer).__module__.partition(".")[0] for layer in stored.model.layers} <= {
        "keras",
        "skdistort",
    }
    assert type(stored.model.layers[2]) is layers.Conv2D


def test_layers_of_other_kinds_of_numbers_and_masks_are_kerass_too():
    inputs, image = layers.Input((6, 5)), layers.Input((6, 5, 1))
    stock = [
        keras.Model(image, layers.Conv2D(3, 2, dtype="float64")(image)),
        keras.Model(inputs, layers.BatchNormalization()(layers.Masking(0.0)(inputs))),
    ]
    x = rng.standard_normal((4, 6, 5)).astype(np.float32)
    x[:, 4:] = 0
    for network in stock:
        own = fastest_form(network)
        found, expected = (
            keras.ops.convert_to_numpy(
                one(keras.ops.convert_to_tensor(x.reshape(4, *one.input_shape[1:])), training=True)
            )
            for one in (own, network)
        )
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, atol=1e-4)
        for a, b in zip(own.get_weights(), network.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_row_of_a_dense_layer_does_not_show_its_place():
    inputs = layers.Input((128,))
    own = fastest_form(keras.Model(inputs, layers.Dense(10)(inputs)))
    own.trainable = False
    x = rng.standard_normal((128, 128)).astype(np.float32)
    order = rng.permutation(128)
    found, other = (
        keras.ops.convert_to_numpy(own(keras.ops.convert_to_tensor(rows))) for rows in (x, x[order])
    )
    np.testing.assert_array_equal(found[order], other)
