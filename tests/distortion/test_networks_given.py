"""What a network that is given as F may hold, and the lines of errors where it does not fit."""

import re
from functools import partial

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits
from support.backends import skip_where_keras_cannot_resize, to_numpy
from support.onnx_files import convolutional_model, make_model, node

import skdistort.networks
import skdistort.onnx
from skdistort import DistortionGenerator
from skdistort.distortion._embedder import check_embedder, try_embedder
from skdistort.distortion._network import as_model
from skdistort.networks._stored import StoredNetwork
from skdistort.persistence import load, save

pytestmark = pytest.mark.backend

X = load_digits().data.astype(np.float32).reshape(-1, 8, 8, 1)[:16]
GREY = X.shape[1:]
BACKEND = keras.backend.backend()
layers, ops = keras.layers, keras.ops
needs_torch = pytest.mark.skipif(BACKEND != "torch", reason="torch modules run on torch")


def in_a_row(*parts, shape=GREY, **options):
    return keras.Sequential([layers.Input(shape, **options), *parts])


def functional(function, **options):
    images = layers.Input(GREY, **options)
    return keras.Model(images, function(images))


def ending(policy=None):
    return layers.Flatten(), layers.Dense(4, dtype=policy)


def adapted(images):
    """Build a network whose inner part has learned mean and variance from images."""
    normalise = layers.Normalization()
    normalise.adapt(images)
    return in_a_row(layers.Rescaling(1.0), in_a_row(normalise, layers.Flatten()), layers.Dense(4))


def of_operations(images):
    rows = ops.mean(ops.relu(images * 2.0 - 1.0)[:, 1:, :, 0], axis=2)
    return rows / ops.sqrt(ops.sum(ops.square(rows), axis=-1, keepdims=True))


def in_a_dict():
    images = layers.Input(GREY, name="images")
    return keras.Model({"images": images}, layers.Dense(4)(layers.Flatten()(images)))


@keras.saving.register_keras_serializable(package="skdistort_tests")
class OfItsOwnClass(keras.Model):
    def __init__(self, n, **kwargs):
        super().__init__(**kwargs)
        self.n, self.flatten, self.dense = n, layers.Flatten(), layers.Dense(n)

    def call(self, x):
        return self.dense(self.flatten(x))

    def get_config(self):
        return {**super().get_config(), "n": self.n}


def of_its_own_class():
    model = OfItsOwnClass(4)
    model(X[:1])
    return model


def never_told_a_shape():
    model = keras.Sequential([layers.Conv2D(2, 3), *ending()])
    model.build((None, *GREY))
    return model


HOLDING = {
    "normalisation": lambda: adapted(X),
    "augmentation": lambda: in_a_row(
        layers.RandomFlip(), layers.RandomZoom(0.3), layers.Dropout(0.5), *ending()
    ),
    "operations": lambda: functional(of_operations),
    "batches of four": lambda: in_a_row(*ending(), shape=None, batch_shape=(4, *GREY)),
    "a dict": in_a_dict,
    "no input": never_told_a_shape,
    "a class": of_its_own_class,
    **{
        policy: lambda policy=policy: in_a_row(layers.BatchNormalization(), *ending(policy))
        for policy in ("float64", "float16", "bfloat16", "mixed_bfloat16")
    },
}


check_on_grey = partial(check_embedder, image_shape=GREY)


def apply(network, images=X):
    tensors = keras.tree.map_structure(ops.convert_to_tensor, images)
    return np.float32(to_numpy(network(tensors, training=False)))


@pytest.mark.filterwarnings("ignore:embedder gives vectors")
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")
@pytest.mark.parametrize("kind", HOLDING)
def test_what_a_network_may_hold(kind, tmp_path):
    embedder = HOLDING[kind]()
    check_on_grey(embedder)
    if kind == "float64":
        # Gradients and losses are of one precision.
        try_embedder(embedder, X)
    images = {"images": X} if kind == "a dict" else X
    expected = apply(embedder, images)
    stored = StoredNetwork(as_model(embedder, GREY))
    close = {"rtol": 1e-2 if "16" in kind else 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(apply(stored.model), expected, **close)
    assert stored.model.output.dtype == "float32"
    # Code of one's own apart, the network comes back as a parameter, too.
    own = [OfItsOwnClass] if kind == "a class" else []
    generator = DistortionGenerator(embedder)
    if own:
        with pytest.warns(UserWarning, match="trusted"):
            save(generator, tmp_path / "generator")
    else:
        save(generator, tmp_path / "generator")
    again = load(tmp_path / "generator", trusted=own).embedder
    np.testing.assert_allclose(apply(again, images), expected, **close)


def test_what_was_learned_of_images_tells_networks_apart():
    """A compiled step is shared by networks of one architecture, who put their weights in."""
    one, other = (StoredNetwork(as_model(adapted(images), GREY)) for images in (X, X / 16))
    assert one.architecture != other.architecture
    assert len(one.weights) == 2


OTHERS = {
    "size": lambda: in_a_row(*ending(), shape=(12, 10, 1)),
    "colour": lambda: in_a_row(*ending(), shape=(8, 8, 3)),
    "size and colour": lambda: in_a_row(*ending(), shape=(12, 10, 3)),
    "open size, colour": lambda: in_a_row(
        layers.Conv2D(2, 3), layers.GlobalMaxPooling2D(), shape=(None, None, 3)
    ),
    "rows": lambda: in_a_row(layers.Dense(4), shape=(64,)),
    "channels first": lambda: in_a_row(*ending(), shape=(1, 8, 8)),
    "maps": lambda: in_a_row(layers.Conv2D(2, 3)),
    "sequences": lambda: in_a_row(layers.Reshape((8, 8))),
    "a dict": lambda: functional(lambda x: {"a": layers.Flatten()(x), "b": x}),
    "a list": lambda: functional(lambda x: [layers.Flatten()(x), x]),
    "onnx": convolutional_model,
    "onnx of open size": lambda: make_model(
        node("Conv", "x k", "c"),
        node("GlobalAveragePool", "c", "p"),
        node("Flatten", "p"),
        shape=(3, "h", "w"),
        k=(4, 3, 3, 3),
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_the_line_that_an_error_gives_works(kind):
    if kind in ("size", "size and colour", "onnx"):
        skip_where_keras_cannot_resize()
    embedder = OTHERS[kind]()
    with pytest.raises(ValueError, match="^embedder") as refused:
        check_on_grey(embedder)
    line = re.search(r": (keras\..*) (?:takes|makes) ", str(refused.value))[1]
    names = {"embedder": embedder, "keras": keras, "skdistort": skdistort}
    check_on_grey(eval(line, names))


def test_a_network_of_grey_images_sees_the_light_of_coloured_ones():
    embedder = in_a_row(layers.Flatten())
    with pytest.raises(ValueError, match=r"shape \(8, 8, 1\), X has \(8, 8, 3\)") as refused:
        check_embedder(embedder, (8, 8, 3))
    line = re.search(r": (keras\..*) takes", str(refused.value))[1]
    images = np.random.default_rng(0).random((2, 8, 8, 3))
    found = apply(eval(line, {"embedder": embedder, "keras": keras}), np.float32(images))
    expected = images @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(found, expected.reshape(2, -1), atol=1e-5)


def test_images_in_whole_numbers_are_no_input_to_learn_through():
    embedder = functional(lambda x: layers.Dense(3)(layers.Flatten()(x)), dtype="uint8")
    with pytest.raises(ValueError, match=r"images of uint8.* again.set_weights\(") as refused:
        check_on_grey(embedder)
    names = {"embedder": embedder, "keras": keras}
    exec(re.search(r"again = .*\)(?=\.$)", str(refused.value))[0], names)
    check_on_grey(names["again"])
    np.testing.assert_allclose(apply(names["again"]), apply(embedder, np.uint8(X)), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("text.onnx", "no ONNX file, or is damaged"),
        ("text.keras", "no .keras file, is damaged"),
        ("unknown.onnx", "operators that are not known here: Hardmax 'y'"),
        ("lambda.keras", "Lambda layer to become one"),
    ],
)
def test_files_that_hold_no_network_are_refused(name, told, tmp_path):
    path = tmp_path / name
    path.write_text("no network")
    if name == "unknown.onnx":
        path.write_bytes(make_model(node("Hardmax", "x")).SerializeToString())
    if name == "lambda.keras":
        in_a_row(layers.Lambda(lambda x: x), layers.Flatten()).save(path)
    with pytest.raises(ValueError, match=told) as refused:
        DistortionGenerator(str(path)).fit(X)
    assert str(path) in str(refused.value)


def test_several_inputs_are_told_of():
    inputs = [layers.Input(GREY), layers.Input((2,))]
    flat = layers.Concatenate()([layers.Flatten()(inputs[0]), inputs[1]])
    told = r"2 inputs, of shapes \(None, 8, 8, 1\), \(None, 2\).*keras.Model\(x, embedder"
    with pytest.raises(ValueError, match=told):
        check_on_grey(keras.Model(inputs, flat))


@pytest.mark.parametrize(
    "embedder",
    [layers.Dense(3), keras.Sequential([*ending()]), OfItsOwnClass(3)],
    ids=lambda embedder: type(embedder).__name__,
)
def test_weights_that_are_not_made_yet_are_refused(embedder):
    # Each time, and not the first only.
    for _ in range(2):
        with pytest.raises(ValueError, match=r"not made yet.*embedder.build\(\(None, 8, 8, 1\)\)"):
            check_on_grey(embedder)
    # Their numbers made elsewhere, or with none, networks need no shape.
    check_on_grey(keras.Sequential([layers.Rescaling(2.0), layers.Flatten()]))


@needs_torch
@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("kind", ["script", "spread", "two", "colour", "maps", "no_grad"])
def test_torch_modules_that_cannot_be_f_are_refused_with_what_can(kind):
    import torch
    from torch import nn

    class Unlearning(nn.Flatten):
        def forward(self, x):
            with torch.no_grad():
                return super().forward(x)

    flat = nn.Flatten()
    wrapped = skdistort.networks.TorchModule
    embedder, told = {
        "script": lambda: (torch.jit.script(flat), "compiled one of torch.jit"),
        "spread": lambda: (nn.DataParallel(flat), "a DataParallel.* embedder.module"),
        "two": lambda: (in_a_row(wrapped(nn.Identity()), wrapped(flat)), "several torch modules"),
        "colour": lambda: (nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten()), "has: (keras.*) takes"),
        "maps": lambda: (nn.Conv2d(1, 2, 3), 'gives.*: (keras.*"channels_first".*) makes'),
        "no_grad": lambda: (Unlearning(), "no gradient.* torch.no_grad"),
    }[kind]()
    check = partial(try_embedder, images=X) if kind == "no_grad" else check_on_grey
    with pytest.raises(ValueError, match=told) as refused:
        check(embedder)
    if kind in ("colour", "maps"):
        line = re.search(told, str(refused.value))[1]
        names = {"embedder": embedder, "keras": keras, "skdistort": skdistort}
        check_on_grey(eval(line, names))


@needs_torch
@pytest.mark.parametrize("precision", ["bfloat16", "float16", "float64"])
def test_torch_modules_of_other_precisions_come_back_from_files(precision, tmp_path):
    import torch
    from torch import nn

    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).to(getattr(torch, precision))
    stored = StoredNetwork(as_model(module, GREY))
    with torch.no_grad():
        images = torch.as_tensor(X).permute(0, 3, 1, 2).to(getattr(torch, precision))
        expected = module(images).float().numpy()
    np.testing.assert_allclose(apply(stored.model), expected, rtol=1e-5)
    with pytest.warns(UserWarning, match="not its code"):
        save(DistortionGenerator(module), tmp_path / "generator")
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).to(getattr(torch, precision))
    again = load(tmp_path / "generator", embedder=other).embedder
    for name, tensor in module.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
