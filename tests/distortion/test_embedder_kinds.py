"""Each kind of F, from fit to a file and a store; what may be in it: test_networks_given.py."""

import contextlib
import pickle
import warnings
from functools import cache, partial

import joblib
import keras
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV

from skdistort import DistortionGenerator, SiameseVerifier, TripletEmbedder
from skdistort.attacks import RidgeInversion, _evidence, _sections, protection_report
from skdistort.attacks._system import AttackedSystem
from skdistort.exceptions import RenewalError
from skdistort.networks import TorchModule, UnitLength
from skdistort.persistence import load, save
from skdistort.templates import TemplateStore
from skdistort.verification import SoftmaxEmbedder

pytestmark = [
    pytest.mark.backend,
    # An epoch on few images does not distort well, and says so; lengths are test_embedders_tried's.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:embedder gives vectors"),
]

BACKEND = keras.backend.backend()
digits = load_digits()
X, y = np.float32(digits.images[:40, :, :, None]), digits.target[:40]
TINY = {"epochs": 1, "filters": (2,), "random_state": 0}
LEARNER = {"n_components": 3, "hidden_units": 4, **TINY}
KEY = b"a key that nobody guesses"
layers = keras.layers


def make_generator(embedder, **parameters):
    return DistortionGenerator(embedder, **{**TINY, "refinement_steps": 1, **parameters})


def make_model():
    """Everything that has another mode in training is in it."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Rescaling(1 / 16),
            layers.Conv2D(3, 3, strides=2),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(4),
            UnitLength(),
        ]
    )
    rng = np.random.default_rng(0)
    model.set_weights([np.abs(w + rng.normal(0, 0.1, w.shape)) for w in model.get_weights()])
    return model


def apply_model(model):
    return keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(X), training=False))


def make_onnx():
    rng = np.random.default_rng(0)
    arrays = {"k": rng.normal(size=(4, 1, 3, 3)), "w": rng.normal(size=(4, 5))}
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(np.float32(array), name) for name, array in arrays.items()],
    )
    opset = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def run_onnx(model):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"x": X.transpose(0, 3, 1, 2)})[0]


def make_module(activation="PReLU"):
    import torch
    from torch import nn

    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        getattr(nn, activation)(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(4 * 36, 5),
    )
    # In training mode, whose running statistics must stay as they are.
    with torch.no_grad():
        module(torch.as_tensor(X).permute(0, 3, 1, 2))
    return module


def apply_module(module):
    import copy

    import torch

    with torch.no_grad():
        found = copy.deepcopy(module).eval()(torch.as_tensor(X).permute(0, 3, 1, 2))
    return found.numpy()


def state_of(module):
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


def jax_init(rng, inputs):
    import jax

    return {"w": jax.random.normal(rng, (64, 4))}


def jax_call(params, inputs):
    return inputs.reshape(inputs.shape[0], -1) @ params["w"]


def make_jax_layer():
    for function in (jax_init, jax_call):
        keras.saving.register_keras_serializable(package="skdistort_tests")(function)
    return layers.JaxLayer(jax_call, jax_init, params={"w": np.float32(np.eye(64, 4))})


@cache
def flax_module():
    """Make a class of Flax, whose import takes seconds."""
    nn = pytest.importorskip("flax.linen", reason="flax is not installed")

    @keras.saving.register_keras_serializable(package="skdistort_tests")
    class Linear(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(4, use_bias=False)(x.reshape((x.shape[0], -1)))

        def get_config(self):
            return {}

        @classmethod
        def from_config(cls, config):
            return cls()

    return Linear


def make_flax_layer():
    variables = {"params": {"Dense_0": {"kernel": np.float32(np.eye(64, 4))}}}
    return layers.FlaxLayer(flax_module()(), variables=variables)


def make_kind(kind, folder):
    """Make F of a kind, what it gives for X, and a function that gives its numbers."""
    if kind in LEARNERS:
        embedder = LEARNERS[kind](**LEARNER).fit(X, y)
        return FrozenEstimator(embedder), embedder.transform(X), lambda: embedder.network_.weights
    if kind == "model":
        model = make_model()
        return model, apply_model(model), model.get_weights
    if kind == "keras file":
        model = make_model()
        model.save(folder / "model.keras")
        return str(folder / "model.keras"), apply_model(model), lambda: []
    if kind in ("jax", "flax"):
        layer = make_jax_layer() if kind == "jax" else make_flax_layer()
        layer = keras.Sequential([layers.Input((8, 8, 1)), layer])
        return layer, X.reshape(len(X), -1)[:, :4], layer.get_weights
    if kind == "torch":
        module = make_module()
        return module, apply_module(module), lambda: list(state_of(module).values())
    model = make_onnx()
    if kind == "onnx file":
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        return folder / "model.onnx", run_onnx(model), lambda: []
    return model, run_onnx(model), lambda: [model.SerializeToString()]


LEARNERS = {"triplet": TripletEmbedder, "softmax": SoftmaxEmbedder, "siamese": SiameseVerifier}
NETWORKS = ["model", "keras file", "onnx file", "onnx model"]
NETWORKS += {"torch": ["torch"], "jax": ["jax", "flax"]}.get(BACKEND, [])


@pytest.mark.parametrize("kind", [*LEARNERS, *NETWORKS])
def test_from_fit_to_a_file_and_a_store_and_back(kind, tmp_path):
    embedder, expected, numbers = make_kind(kind, tmp_path)
    before = [np.copy(n) for n in numbers()]
    generator = make_generator(embedder, key=KEY).fit(X)
    templates = generator.transform(X)
    embeddings = generator.embed(X)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(embeddings / scale, expected / scale, atol=1e-5)
    assert 0 <= generator.score(X, y) <= 1
    for now, then in zip(numbers(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    copy = pickle.loads(pickle.dumps(generator))
    np.testing.assert_array_equal(copy.embed(X), embeddings)
    # The path and the model itself are of no use to who has the file only.
    if kind in ("onnx file", "onnx model"):
        generator.set_params(embedder=None)
    needed = {
        "torch": {"embedder": make_module()} if kind == "torch" else {},
        "jax": {"trusted": [layers.JaxLayer, jax_init, jax_call]},
        "flax": {"trusted": [layers.FlaxLayer, flax_module()] if kind == "flax" else []},
    }.get(kind, {})
    with warnings.catch_warnings():
        # What needs nothing to be loaded is saved without a word.
        warnings.simplefilter("ignore" if needed else "error", UserWarning)
        save(generator, tmp_path / "generator")
    again = load(tmp_path / "generator", **needed).set_params(key=KEY)
    np.testing.assert_array_equal(again.embed(X), embeddings)
    np.testing.assert_array_equal(again.transform(X), templates)
    check_store(generator, again, tmp_path / "store")
    check_what_a_report_asks(again, embedder)


def check_store(generator, again, path):
    """Enrol by one generator, and let go on another that came from its file."""
    with TemplateStore(generator, path, key_cost=1) as store:
        store.calibrate_threshold(X, y)
        store.enrol(["ada", "bob"], X[:2])
        scores = store.score_claims(["ada", "bob", "ada"], X[[0, 1, 1]])
        decided = store.verify(["ada", "bob", "ada"], X[[0, 1, 1]])
    with TemplateStore(again, path, key_cost=1) as store:
        np.testing.assert_allclose(
            store.score_claims(["ada", "bob", "ada"], X[[0, 1, 1]]), scores, rtol=1e-5
        )
        np.testing.assert_array_equal(store.verify(["ada", "bob", "ada"], X[[0, 1, 1]]), decided)
        assert store.identify(X[:2]).ids.shape == (2, 1)
        # One step of refinement reaches nothing that a renewal would be accepted at.
        with contextlib.suppress(RenewalError):
            store.rotate("ada", b"quite another key")
        store.revoke("bob")
        assert store.ids == ["ada"]


def check_what_a_report_asks(generator, held_out):
    """Go through F, G and F' as the sections of `protection_report` do, which test_report is of."""
    system = AttackedSystem(generator, held_out, X, np.random.RandomState(0))
    images = system.images(X[:4])
    targets = system.embed_probe(images)
    templates = system.templates(images)
    np.testing.assert_allclose(system.embed(images), generator.embed(X[:4]), atol=1e-5)
    moved = system.descend(templates, targets, 3)
    assert np.linalg.norm(system.embed(moved) - targets) < np.linalg.norm(
        system.embed(templates) - targets
    )
    assert system.renew(templates, KEY, b"another key of the holder").shape == images.shape
    # The same as F: nothing else is known of what it should give.
    np.testing.assert_allclose(system.embed_held_out(images), system.embed(images), atol=1e-5)


@pytest.mark.skipif(BACKEND == "jax", reason="what a report asks is asked of each kind above")
def test_a_report_takes_one_kind_for_f_and_another_held_out(tmp_path, monkeypatch):
    """That what is asked of each kind is all that a report asks; its tables are test_report's."""
    monkeypatch.setattr(_sections, "NetworkInversion", lambda **_: RidgeInversion())
    monkeypatch.setattr(_sections, "KernelInversion", RidgeInversion)
    quick = partial(_evidence.subject_interval, n_resamples=10)
    monkeypatch.setattr(_evidence, "subject_interval", quick)
    kind = BACKEND if BACKEND in NETWORKS else "onnx file"
    generator = make_generator(make_kind(kind, tmp_path)[0], key=KEY).fit(X)
    victims, others = slice(40, 60), slice(60, 80)
    small = {"n_tries": 3, "n_renewals": 1, "gradient_steps": 1, "multiplicities": (1,)}
    report = protection_report(
        generator,
        make_kind("keras file", tmp_path)[0],
        np.float32(digits.images[victims, :, :, None]),
        digits.target[victims],
        np.float32(digits.images[others, :, :, None]),
        100 + digits.target[others],
        n_key_pairs=2,
        max_pairs=20,
        random_state=0,
        **small,
    )
    assert report.blind_ssim < report.limit_ssim
    assert np.isfinite([row["distance"] for row in report.renewal]).all()


def sum_of_embeddings(generator, X, y):
    return float(np.float64(generator.embed(X)).sum())


def test_kinds_are_searched_over_in_two_processes(tmp_path):
    # Paths travel by themselves, and what Keras has to look up is known in one process only.
    kinds = ["softmax", "model", "onnx model", *(["torch"] if BACKEND == "torch" else [])]
    given = [make_kind(kind, tmp_path) for kind in kinds]
    before = [[np.copy(n) for n in numbers()] for _, _, numbers in given]
    found = sums_found_by_search(embedder for embedder, _, _ in given)
    for (_, expected, numbers), then, total in zip(given, before, found, strict=True):
        expected = np.float64(expected[20:])
        assert abs(total - expected.sum()) <= 1e-5 * np.abs(expected).sum()
        for a, b in zip(numbers(), then, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(BACKEND != "jax", reason="functions of JAX run on JAX")
def test_functions_of_jax_are_searched_over_in_threads(tmp_path):
    embedder, expected, _ = make_kind("jax", tmp_path)
    with joblib.parallel_config(backend="threading"):
        found = sums_found_by_search([embedder, embedder])
    np.testing.assert_allclose(found, 2 * [np.float64(expected[20:]).sum()], rtol=1e-5)


def sums_found_by_search(embedders):
    """Search over embedders, two at a time; the sum that each gives of what is held out."""
    search = GridSearchCV(
        make_generator(None, refinement_steps=0),
        {"embedder": list(embedders)},
        scoring=sum_of_embeddings,
        cv=[(np.arange(20), np.arange(20, 40))],
        refit=False,
        n_jobs=2,
        error_score="raise",
    ).fit(X, y)
    return search.cv_results_["split0_test_score"]


@pytest.mark.parametrize("kind", [SoftmaxEmbedder, SiameseVerifier])
def test_what_is_not_frozen_is_trained(kind):
    learner = kind(**LEARNER)
    generator = make_generator(learner).fit(X, y)
    expected = clone(learner).fit(X, y).transform(X)
    np.testing.assert_allclose(generator.embed(X), expected, atol=1e-5)
    assert not hasattr(learner, "network_")


@pytest.mark.parametrize(
    ("make", "error", "told"),
    [
        (lambda: SiameseVerifier(mode="double"), ValueError, 'mode="double".*mode="triple"'),
        (lambda: np.eye(3), TypeError, "torch.nn.Module, or the path .* ndarray"),
        (lambda: FrozenEstimator(UnitLength), TypeError, "freeze one of TripletEmbedder, Softmax"),
        (lambda: "model.pth", ValueError, r"path of a \.keras or \.onnx file; got the path"),
        (lambda: "none.keras", FileNotFoundError, "no file 'none.keras'"),
    ],
)
def test_what_cannot_be_f_is_refused_before_training(make, error, told):
    with pytest.raises(error, match=told):
        make_generator(make()).fit(X, y)


def test_a_frozen_double_verifier_is_refused():
    verifier = SiameseVerifier(mode="double", head_units=(4,), **LEARNER).fit(X)
    with pytest.raises(ValueError, match='mode="double"'):
        make_generator(FrozenEstimator(verifier)).fit(X)


def test_a_model_that_is_given_stays_as_trainable_as_it_was():
    model = make_model()
    make_generator(model).fit(X)
    assert all(layer.trainable for layer in model.layers)


needs_torch = pytest.mark.skipif(BACKEND != "torch", reason="torch modules run on torch")


@pytest.mark.skipif(BACKEND == "torch", reason="where it can be used")
def test_a_torch_module_on_another_backend_is_refused_before_training():
    pytest.importorskip("torch")
    told = f"runs on {BACKEND}: set KERAS_BACKEND=torch .* torch.onnx.export"
    with pytest.raises(ValueError, match=told):
        make_generator(make_module()).fit(X)


@needs_torch
def test_a_torch_module_keeps_its_mode_and_its_gradients():
    module = make_module()
    make_generator(module).fit(X)
    assert module.training
    assert all(p.requires_grad and p.grad is None for p in module.parameters())


@needs_torch
def test_a_torch_module_with_slashes_in_the_names_of_its_parts():
    """As converters of ONNX files name them."""
    from torch import nn

    module = nn.Sequential()
    module.add_module("conv1/conv/0", nn.Conv2d(1, 2, 3))
    module.add_module("end", nn.Flatten())
    layer = TorchModule(module)
    assert layer(np.zeros((1, 8, 8, 1), np.float32)).shape == (1, 72)
    assert len(layer.weights) == 2


@needs_torch
@pytest.mark.parametrize("kind", ["keyed", "learning", "composed"])
def test_a_torch_module_in_each_use(kind, tmp_path):
    module = make_module()
    embedder, options = module, {}
    if kind == "composed":
        embedder = keras.Sequential([layers.Input((8, 8, 1)), TorchModule(module), UnitLength()])
    if kind == "learning":
        options = {"train_embedder": True}
    if kind == "keyed":
        options = {"architecture": "bottleneck", "key": 3}
    generator = clone(make_generator(embedder, **options)).fit(X, y)
    embeddings = generator.embed(X)
    if kind == "learning":
        assert np.abs(embeddings - apply_module(module)).max() > 1e-3
        # Statistics stay, and so do the numbers of what was given.
        for name, array in state_of(module).items():
            np.testing.assert_array_equal(array, state_of(make_module())[name])
    with pytest.warns(UserWarning, match="torch module, and not its code"):
        save(generator, tmp_path / "generator")
    again = load(tmp_path / "generator", embedder=make_module())
    np.testing.assert_array_equal(again.embed(X), embeddings)
    again.fit(X, y)


@needs_torch
def test_half_precision_and_buffers_of_integers():
    from torch import nn

    generator = make_generator(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).half()).fit(X)
    assert generator.embed(X).dtype == np.float32
    assert {w.dtype.name for w in generator.embedder_.weights} == {"float16"}
    assert make_generator(make_module()).fit(X).embedder_.weights[-1].dtype.kind == "i"


@needs_torch
def test_only_the_code_that_was_saved_is_taken(tmp_path):
    from torch import nn

    class Another(nn.Sequential):
        def forward(self, x):
            return 1.5 * super().forward(x)

    path = tmp_path / "generator"
    module = make_module()
    with pytest.warns(UserWarning, match=r"load\(path, embedder=module\)"):
        make_generator(module).fit(X).save(path)
    assert b"PReLU" not in path.read_bytes()
    for given, told in (
        (None, r"not its code.* load\(path, embedder=module\)"),
        (3, "not a int"),
        (make_module("ReLU"), "another module than the one saved"),
        (Another(*make_module()), "another function than the one saved, with the same weights"),
    ):
        with pytest.raises(ValueError, match=told):
            DistortionGenerator.load(path, embedder=given)
    # Weights come from the file.
    fresh = make_module()
    for parameter in fresh.parameters():
        nn.init.ones_(parameter)
    before = state_of(fresh)
    again = DistortionGenerator.load(path, embedder=fresh)
    expected = apply_module(module)
    assert np.abs(again.embed(X) - expected).max() <= 1e-5 * np.abs(expected).max()
    np.testing.assert_array_equal(apply_module(again.embedder), expected)
    for name, array in state_of(fresh).items():
        np.testing.assert_array_equal(array, before[name])
    TripletEmbedder(**LEARNER).fit(X, y).save(path)
    with pytest.raises(ValueError, match="embedder is given, and nothing in it needs one"):
        TripletEmbedder.load(path, embedder=fresh)


@needs_torch
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("lazy", "lazy, its weights are not made yet"),
        ("size", r"does not take images of shape .*torch.nn.Upsample\(\(HEIGHT, WIDTH\)"),
        ("tuple", r"gives a tuple.*return self.module\(x\)\[0\]"),
        ("wrapper", r"a pickle: skdistort.networks.TorchModule\(module\) takes its place"),
    ],
)
def test_torch_modules_that_cannot_be_f_are_refused(kind, told):
    from torch import nn

    class Pair(nn.Flatten):
        def forward(self, x):
            return super().forward(x), x

    embedder = {
        "lazy": lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3)),
        "size": lambda: nn.Sequential(nn.Flatten(), nn.Linear(112, 3)),
        "tuple": Pair,
        "wrapper": lambda: layers.TorchModuleWrapper(nn.Flatten()),
    }[kind]()
    with pytest.raises(ValueError, match=told):
        make_generator(embedder).fit(X)
