"""Files of saved estimators that are damaged, half written or forged: refused, and never run."""

import json
import marshal
import os
import pickle
import subprocess
import sys

import joblib
import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support.backends import properties

import skdistort
from skdistort.networks._stored import StoredNetwork
from skdistort.persistence import load, save
from skdistort.persistence._file import read_model, write_model

pytestmark = pytest.mark.fast


def saved(estimator, folder):
    save(estimator, folder / "model")
    return folder / "model"


@keras.saving.register_keras_serializable(package="tests")
class Unasked(keras.layers.Layer):
    """Registered by the user, and not trusted."""


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    rng = np.random.default_rng(0)
    frames = rng.standard_normal((12, 2)) + np.repeat(np.eye(2), 6, axis=0)
    pipeline = make_pipeline(StandardScaler(), skdistort.PLDA(n_iter=1)).fit(
        frames, np.repeat([0, 1], 6)
    )
    return saved(pipeline, tmp_path_factory.mktemp("small"))


def assert_refused(content, path, match=None):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=match) as refusal:
        load(path)
    assert str(path) in str(refusal.value)


@properties
@given(data=st.data())
def test_no_byte_can_be_changed(small_file, data):
    content = bytearray(small_file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    assert_refused(content, small_file.with_name("changed"))


@properties
@given(data=st.data())
def test_no_byte_can_be_missing_or_added(small_file, data):
    content = small_file.read_bytes()
    length = data.draw(st.integers(0, len(content) - 1))
    assert_refused(content[:length], small_file.with_name("cut"))
    assert_refused(content + content[: length + 1], small_file.with_name("longer"), "damaged")


def test_messages_say_what_is_wrong(small_file, tmp_path):
    content = small_file.read_bytes()
    path = tmp_path / "model"
    assert_refused(b"", path, "not a file that skdistort saved")
    assert_refused(content[:-1], path, "damaged")
    assert_refused(content.replace(b"model 2\n", b"model 23\n", 1), path, "version 23 .* newer")
    earlier = content.replace(b"model 2\n", b"model 1\n", 1)
    assert_refused(earlier, path, "version 1 .* reads version 2: skdistort 0.1.0 wrote it")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file(moment, tmp_path, monkeypatch):
    path = saved(skdistort.PLDA(n_iter=3), tmp_path)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, moment, fail)
    with pytest.raises(OSError, match="disk full"):
        save(skdistort.PLDA(n_iter=4), path)
    assert load(path).n_iter == 3
    assert os.listdir(tmp_path) == ["model"]


def test_a_killed_process_leaves_the_old_file(tmp_path):
    path = saved(skdistort.PLDA(n_iter=3), tmp_path)
    script = (
        "import os, sys; from skdistort.plda import PLDA; os.fsync = lambda _: os._exit(9);"
        "PLDA(n_iter=4).save(sys.argv[1])"
    )
    assert subprocess.run([sys.executable, "-c", script, path]).returncode == 9
    assert load(path).n_iter == 3


# Files that somebody forged, whose checksum is right.


def forge(path, change, payload=None):
    """Change the document of a file."""
    document, data = read_model(path)
    change(document)
    data = bytes(data) if payload is None else payload
    write_model(path.with_name("forged"), document, [np.frombuffer(data, np.uint8)])
    return path.with_name("forged")


@pytest.fixture
def alarm(monkeypatch, tmp_path):
    """Anything that could run code of a file raises; gives a command that would leave a trace."""

    def ring(*args, **kwargs):
        raise AssertionError(f"called with {args}")

    for module, name in [
        *((os, "system"), (os, "popen"), (marshal, "loads"), (subprocess, "Popen")),
        *((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (joblib, "load")),
        *((keras.saving, "deserialize_keras_object"), (keras.models, "model_from_json")),
    ]:
        monkeypatch.setattr(module, name, ring)
    yield f"touch {tmp_path / 'trace'}"
    assert not (tmp_path / "trace").exists()


run_command = os.system


class Bomb:
    """Whose pickle runs a command."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return run_command, (self.command,)


def test_pickles_are_not_read(small_file, tmp_path, alarm):
    path = tmp_path / "model"
    assert_refused(pickle.dumps(Bomb(alarm)), path, match="not a file that skdistort saved")

    def disguise(document):
        document["estimator"]["fitted"]["bomb_"] = {
            **{"type": "array", "dtype": "|O", "shape": [1], "order": "C", "start": 0}
        }

    forged = forge(small_file, disguise, payload=pickle.dumps(Bomb(alarm)) + bytes(999))
    with pytest.raises(ValueError, match="type object"):
        load(forged)


@pytest.mark.parametrize(
    "name",
    [
        *("os.system", "builtins.eval", "subprocess.Popen", "pickle.Unpickler", "", "."),
        *("sklearn.base.BaseEstimator", "sklearn.ensemble.RandomForestClassifier"),
        *(
            "skdistort.templates.TemplateStore",
            "skdistort.persistence.load",
            "sklearn.preprocessing",
        ),
    ],
)
def test_other_classes_are_not_looked_up(name, small_file, alarm):
    forged = forge(small_file, lambda document: document["estimator"].update({"class": name}))
    with pytest.raises(ValueError, match="not among those that are known to be safe"):
        load(forged)


def layer(module, name, config, **others):
    return {"module": module, "class_name": name, "config": config, **others}


def function(module, name):
    return layer(module, "function", name, registered_name=name)


CODE = marshal.dumps(compile("import os; os.system('true')", "", "exec")).hex()
HARMFUL = {
    "Lambda": layer(
        "keras.layers", "Lambda", {"function": layer(None, "__lambda__", {"value": CODE})}
    ),
    "TorchModuleWrapper": layer("keras.layers", "TorchModuleWrapper", {"module": CODE}),
    "TFSMLayer": layer("keras.layers", "TFSMLayer", {"filepath": "/"}),
    "StringLookup": layer("keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"}),
    "system": layer("keras.layers", "Activation", {"activation": function("os", "system")}),
    "eval": layer("keras.layers", "Activation", {"activation": function("builtins", "eval")}),
    "Popen": layer("subprocess", "Popen", {"args": "true"}),
    "get_file": layer("keras.utils", "get_file", {"fname": "x", "origin": "file:///etc/passwd"}),
    "enable_unsafe_deserialization": layer("keras.config", "enable_unsafe_deserialization", {}),
    "__typespec__": layer("os", "__typespec__", {}, spec_name="system", registered_name=None),
    "no module": {"class_name": "Lambda", "config": {"function": [CODE, None, None]}},
    "tests>Unasked": layer("tests", "Unasked", {}, registered_name="tests>Unasked"),
    "by its name": layer("keras.layers", "Activation", {"activation": "tests>Unasked"}),
    "not registered": layer("os", "system", {}, registered_name="skdistort>system"),
    "in the class": layer(None, "tests>Unasked", {}),
    "a list": layer("keras.layers", ["Dense"], {}),
}


@pytest.fixture(scope="module")
def generator_file(tmp_path_factory):
    """An estimator with a network of its own and one as a parameter."""
    network = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten()])
    generator = skdistort.DistortionGenerator(network)
    generator.network_ = StoredNetwork(network)
    path = saved(generator, tmp_path_factory.mktemp("generator"))
    load(path)
    return path


@pytest.mark.parametrize("name", HARMFUL)
@pytest.mark.parametrize("where", ["network", "parameter"])
def test_networks_that_could_run_code_are_not_built(name, where, generator_file, alarm):
    def plant(document):
        parameter = document["estimator"]["params"]["embedder"]
        holder = parameter if where == "parameter" else document["networks"][0]
        config = json.loads(holder["config"])
        config["config"]["layers"].append(HARMFUL[name])
        holder["config"] = json.dumps(config)

    with pytest.raises(ValueError, match="a network names .*, which is not among"):
        load(forge(generator_file, plant))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e["fitted"].update(transform=1), "would replace transform of Pipeline"),
        (lambda e: e["fitted"].update(__class__=1), "would replace __class__ of Pipeline"),
        (lambda e: e["params"].update(memory="/tmp"), "cache of pickles"),
        (lambda e: e["params"].update(colour="red"), "sets colour of Pipeline"),
        (lambda e: e["fitted"].update(a_={"type": "code"}), "unknown kind 'code'"),
        (lambda e: e["fitted"].update(a_={"type": "dtype", "dtype": "O"}), "type object"),
        (
            lambda e: e["fitted"].update(
                a_={"type": "array", "dtype": "<f8", "shape": [9**9], "order": "C", "start": 0}
            ),
            "no bytes",
        ),
        (
            lambda e: e["fitted"].update(
                a_={"type": "RandomState", "state": ["MT19937", [0] * 624, 9999, 0, 0.0]}
            ),
            "random state",
        ),
    ],
)
def test_forged_values_are_refused(change, message, small_file):
    with pytest.raises(ValueError, match=message):
        load(forge(small_file, lambda document: change(document["estimator"])))


def test_a_document_without_estimator_is_refused(small_file):
    for estimator in (3, [], {"type": "tuple", "items": []}):
        with pytest.raises(ValueError, match="holds no estimator"):
            load(forge(small_file, lambda document, e=estimator: document.update(estimator=e)))
    with pytest.raises(ValueError, match="cannot be loaded"):
        load(forge(small_file, dict.clear))


def nodes(value):
    """List all places in a document: containers and keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, item in items:
        found.append((value, key))
        if isinstance(item, (dict, list)):
            found += nodes(item)
    return found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@properties
@given(data=st.data())
def test_forged_files_give_an_estimator_or_a_value_error(small_file, data):
    def change(document):
        for _ in range(data.draw(st.integers(1, 3))):
            holder, key = data.draw(st.sampled_from(nodes(document)))
            holder[key] = data.draw(JSON)

    try:
        estimator = load(forge(small_file, change))
    except (ValueError, InconsistentVersionWarning):
        return
    assert isinstance(estimator, BaseEstimator)
