"""OnnxEncoder: files made by hand against numpy, and what is wrong with others."""

import pickle
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
from onnx import TensorProto, helper, numpy_helper
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from skdistort.audio import EnergyVAD, LogMelSpectrogram, OnnxEncoder
from skdistort.exceptions import InputMismatchError
from skdistort.plda import PLDA

pytestmark = pytest.mark.fast
RATE, BANDS = 16000, 8
W = np.float32(np.random.default_rng(0).normal(size=(BANDS, 5)))


def write(path, nodes, inputs, outputs=("y",), **arrays):
    """Write a file of inputs, given by name as a type and a shape."""
    tensors = [numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()]
    ends = [helper.make_tensor_value_info(name, *end) for name, end in inputs.items()]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "encoder", ends, results, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, path)
    return path


def node(operator, inputs, output, **attributes):
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def frames_file(path, shape=("n", "t", BANDS), axis=1, kind=TensorProto.FLOAT):
    """The mean of frames, projected."""
    nodes = [node("ReduceMean", "x axis", "m", keepdims=0), node("MatMul", "m w", "y")]
    arrays = {"axis": np.array([axis]), "w": np.ones((40, 5), "f4") if 40 in shape else W}
    if kind != TensorProto.FLOAT:
        nodes = [node("Cast", "half", "x", to=TensorProto.FLOAT), *nodes]
        return write(path, nodes, {"half": (kind, shape)}, **arrays)
    return write(path, nodes, {"x": (kind, shape)}, **arrays)


def lengths_file(path):
    """The sum of frames over their number, which padding does not change."""
    nodes = [
        node("ReduceSum", "x axis", "s", keepdims=0),
        node("Cast", "n", "f", to=TensorProto.FLOAT),
        node("Unsqueeze", "f axis", "u"),
        node("Div", "s u", "m"),
        node("MatMul", "m w", "y"),
    ]
    inputs = {"x": (TensorProto.FLOAT, ("b", "t", BANDS)), "n": (TensorProto.INT64, ("b",))}
    return write(path, nodes, inputs, axis=np.array([1]), w=W)


def waveform_file(path, shape=("n", "samples")):
    """The mean magnitude and the mean square."""
    nodes = [
        node("Abs", "x", "a"),
        node("Mul", "x x", "q"),
        node("ReduceMean", "a axis", "ma"),
        node("ReduceMean", "q axis", "mq"),
        node("Concat", "ma mq", "y", axis=-1),
    ]
    return write(path, nodes, {"x": (TensorProto.FLOAT, shape)}, axis=np.array([-1]))


def spectrograms(*lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [np.float32(rng.normal(size=(BANDS, n, 1))) for n in lengths]


def expected(images):
    return np.array([image[:, :, 0].mean(axis=1) @ W for image in images])


def speak(n_samples, seed=0):
    """Noise in syllables."""
    rng = np.random.default_rng(seed)
    syllables = np.sin(2 * np.pi * 4 * np.arange(n_samples) / RATE) ** 4
    return np.float32(0.1 * syllables * rng.standard_normal(n_samples))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "encoder.onnx"


LENGTHS = (30, 50, 30, 7, 50, 30)


@pytest.mark.parametrize(
    ("shape", "axis", "options"),
    [
        (("n", "t", BANDS), 1, {}),
        (("n", BANDS, "t"), 2, {}),
        ((1, "t", BANDS), 1, {}),
        ((4, BANDS, "t"), 2, {}),
        (("n", "t", "b"), 1, {"bands_first": False}),
        (("n", "b", "t"), 2, {"bands_first": True}),
        (("n", "t", BANDS), 1, {"batch_size": 2}),
        (("n", 1, "t", BANDS), 2, {}),
    ],
)
def test_embeddings_are_those_of_each_utterance_by_itself(path, shape, axis, options):
    X = spectrograms(*LENGTHS)
    encoder = OnnxEncoder(frames_file(path, shape, axis), **options)
    found = encoder.fit_transform(X)
    assert found.dtype == np.float32
    assert (encoder.n_components_, encoder.takes_waveforms_) == (5, False)
    np.testing.assert_allclose(found, expected(X), atol=1e-6)
    same = np.stack(X[::2][:2])
    np.testing.assert_allclose(encoder.transform(np.stack([X[0], X[2]])), found[[0, 2]], atol=1e-6)
    assert same.shape == (2, BANDS, 30, 1)


def test_utterances_of_one_length_go_through_together(path, monkeypatch):
    encoder = OnnxEncoder(frames_file(path), batch_size=2).fit(spectrograms(30))
    shapes = []

    def run(self, names, feed):
        shapes.append(feed["x"].shape)
        return session.run(names, feed)

    session = encoder._session
    ends = {"get_inputs": session.get_inputs, "get_outputs": session.get_outputs}
    encoder.__dict__["_session"] = type("Session", (), {"run": run})()
    vars(encoder._session).update(ends)
    encoder.transform(spectrograms(*LENGTHS))
    assert shapes == [(1, 7, 8), (2, 30, 8), (1, 30, 8), (2, 50, 8)]


def test_lengths_let_all_go_through_together(path):
    X = spectrograms(*LENGTHS)
    encoder = OnnxEncoder(lengths_file(path), lengths_name="n", batch_size=4).fit(X)
    assert [len(rows) for rows in encoder._batches(np.array(LENGTHS))] == [4, 2]
    np.testing.assert_allclose(encoder.transform(X), expected(X), atol=1e-6)


def test_half_precision_and_means_over_frames(path):
    X = [5 + image for image in spectrograms(30, 40)]
    encoder = OnnxEncoder(frames_file(path, kind=TensorProto.FLOAT16)).fit(X)
    np.testing.assert_allclose(encoder.transform(X), expected(X), rtol=1e-2)
    centred = OnnxEncoder(frames_file(path), subtract_mean=True).fit_transform(X)
    np.testing.assert_allclose(centred, 0, atol=1e-5)


@pytest.mark.parametrize("shape", [("n", "samples"), (1, 1, "samples")])
def test_waveforms_and_files(path, tmp_path, shape):
    waveforms = [speak(n, n) for n in (8000, 9000, 8000)]
    sound = tmp_path / "sound.wav"
    soundfile.write(sound, waveforms[1], RATE, subtype="FLOAT")
    X = [waveforms[0], sound, np.int16(waveforms[2] * 2**15), (sound, 0, 0.5)]
    encoder = OnnxEncoder(waveform_file(path, shape)).fit(X)
    assert encoder.takes_waveforms_
    used = [*waveforms[:2], X[2] / 2**15, waveforms[1][:8000]]
    np.testing.assert_allclose(
        encoder.transform(X), [[np.abs(w).mean(), np.square(w).mean()] for w in used], rtol=1e-3
    )
    message = r"2 of 4 .*\n  X\[1\] holds 0.00 s of speech.*\n  X\[3\] holds floats .* 16 bits"
    with pytest.raises(ValueError, match=message):
        encoder.transform([X[0], np.zeros(8000), sound, 2**15 * waveforms[0]])
    with pytest.raises(FileNotFoundError, match=r"X\[0\]: there is no file"):
        encoder.transform([tmp_path / "nowhere.wav"])
    assert OnnxEncoder(path, detector=None).fit([np.zeros(8000)]).n_components_ == 2
    assert OnnxEncoder(path, detector=EnergyVAD()).fit(X).n_components_ == 2
    soundfile.write(sound, waveforms[1], 8000)
    with pytest.raises(ValueError, match="sampling rate of 8000 Hz, expected 16000"):
        encoder.transform([sound])


def test_it_is_a_transformer_that_pickles_without_its_file(path):
    X = spectrograms(20, 30)
    encoder = OnnxEncoder(frames_file(path)).fit(X)
    found = encoder.transform(X)
    copy = pickle.loads(pickle.dumps(encoder))
    path.unlink()
    np.testing.assert_array_equal(copy.transform(X), found)
    assert encoder.get_feature_names_out()[0] == "onnxencoder0"
    assert clone(encoder).get_params() == encoder.get_params()
    with pytest.raises(FileNotFoundError, match="encoder.onnx"):
        clone(encoder).fit(X)
    frame = encoder.set_output(transform="pandas").transform(X)
    np.testing.assert_array_equal(frame.to_numpy(), found)


def test_embeddings_go_where_embeddings_go(path):
    rng = np.random.default_rng(1)
    y = np.repeat(np.arange(12), 4)
    voices = rng.normal(size=(12, BANDS, 1, 1))
    X = [np.float32(voices[i] + rng.normal(size=(BANDS, 20 + i, 1))) for i in y]
    scores = make_pipeline(OnnxEncoder(frames_file(path)), PLDA()).fit(X, y)
    assert scores[-1].score(scores[0].transform(X), y) > 0.9


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda p: p.write_text("no network"), {}, "encoder.onnx is no ONNX file that onnxruntime"),
        (lambda p: p.write_bytes(b""), {}, "is no ONNX file that onnxruntime can run"),
        (lengths_file, {}, r"input_name is None; .* are 'x' \['b', 't', 8\], 'n' \['b'\]"),
        (lengths_file, {"input_name": "x"}, r"more inputs that have to be given, \['n'\], of all"),
        (frames_file, {"input_name": "feats"}, r"no input 'feats'; .* are 'x' \['n', 't', 8\]"),
        (frames_file, {"lengths_name": "n"}, "no input 'n'"),
        (frames_file, {"output_name": "z"}, r"no output 'z'; the outputs of the file are 'y'"),
        (lambda p: frames_file(p, ("n", "t", 40)), {}, r"8 bands.* LogMelSpectrogram\(n_mels=40\)"),
        (
            lambda p: frames_file(p, ("n", 40, "t"), 2),
            {},
            r"8 bands.* LogMelSpectrogram\(n_mels=40\)",
        ),
        (lambda p: frames_file(p, ("n", "t", "b")), {}, r"\(n, \?, \?\).*set bands_first"),
        (lambda p: frames_file(p, ("n", 3, "t", 8)), {}, r"'x' takes shape .*; waveforms are"),
        (
            lambda p: frames_file(p, ("n", 25, BANDS)),
            {},
            r"failed on X\[0\], given as shape \(1,",
        ),
        (
            lambda p: frames_file(p, kind=TensorProto.INT64),
            {},
            r"'half' takes tensor\(int64\), expected one of",
        ),
        (
            lambda p: write(
                p, [node("Relu", "x", "y")], {"x": (TensorProto.FLOAT, ("n", "t", BANDS))}
            ),
            {},
            r"'y' has shape \(1, 30, 8\) for 1 utterance\(s\), not a vector for each. Outputs: 'y'",
        ),
    ],
)
def test_what_cannot_encode_is_refused(path, make, options, message):
    make(path)
    with pytest.raises(ValueError, match=message):
        OnnxEncoder(path, **options).fit(spectrograms(30))


def test_spectrograms_that_cannot_be_embedded_are_named(path):
    encoder = OnnxEncoder(frames_file(path)).fit(spectrograms(30))
    good, flat = spectrograms(30)[0], np.zeros((BANDS, 30, 1), np.float32)
    with pytest.raises(InputMismatchError, match=r"X\[1\] has no band that varies") as refusal:
        encoder.transform([good, flat])
    assert refusal.value.sample == 1
    with pytest.raises(ValueError, match=r"X\[1\] has 7 mel bands, expected 8"):
        encoder.transform([good, good[:7]])
    with pytest.raises(ValueError, match="X has 7 bands, but input 'x'"):
        encoder.transform([good[:7]])
    nodes = [node("ReduceMean", "x axis", "m", keepdims=0), node("Sqrt", "m", "y")]
    write(path, nodes, {"x": (TensorProto.FLOAT, ("n", "t", BANDS))}, axis=np.array([1]))
    encoder = OnnxEncoder(path).fit([np.abs(good)])
    with pytest.raises(InputMismatchError, match=r"embedding of X\[1\] that is not finite"):
        encoder.transform([np.abs(good), -np.abs(good)])


def test_no_other_framework_is_loaded(path):
    frames_file(path)
    script = (
        "import sys, numpy as np; from skdistort.audio import OnnxEncoder\n"
        "assert 'onnxruntime' not in sys.modules\n"
        f"X = [np.random.default_rng(0).normal(size=({BANDS}, 30, 1))]\n"
        "print(OnnxEncoder(sys.argv[1]).fit_transform(X).shape)\n"
        "assert not {'keras', 'torch', 'tensorflow', 'jax', 'onnx'} & set(sys.modules)"
    )
    command = [sys.executable, "-W", "error", "-c", script, str(path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "(1, 5)\n"), result.stderr


def test_without_onnxruntime_one_sentence_tells(path, monkeypatch):
    assert onnxruntime.__version__
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match="pip install onnxruntime"):
        OnnxEncoder(frames_file(path)).fit(spectrograms(30))


def test_the_pipeline_from_recordings(path):
    pipeline = make_pipeline(
        LogMelSpectrogram(n_mels=BANDS, n_frames=None, cmvn=False, detector=None),
        OnnxEncoder(frames_file(path), subtract_mean=True),
    )
    assert pipeline.fit_transform([speak(8000), speak(20000, 1)]).shape == (2, 5)
