"""Training steps recorded on a GPU do what they do unrecorded."""

import contextlib

import keras
import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, SoftmaxEmbedder, TripletEmbedder
from skdistort.distortion import _refinement
from skdistort.training import _loop, _recording

needs_gpu = pytest.mark.skipif(
    keras.backend.backend() != "torch" or "cuda" not in str(keras.ops.zeros(()).device),
    reason="needs PyTorch and a GPU",
)
needs_torch = pytest.mark.skipif(keras.backend.backend() != "torch", reason="needs PyTorch")
X = np.random.RandomState(0).random_sample((160, 12, 12)).astype(np.float32)
y = np.arange(160) % 8
TINY = {"filters": (4, 8), "epochs": 3, "batch_size": 32, "random_state": 0}


def history_and_records(monkeypatch, fit, recorded=True):
    """Train, and tell what became of each step's record."""
    seen = []

    class Watched(_loop.TrainingModel):
        def release(self):
            if self._recorded is not None:
                seen.append((self._recorded._records, self._recorded._graph is not None))
            super().release()

    with monkeypatch.context() as patch:
        if not recorded:
            patch.setattr(_recording, "_make_record", lambda: None)
        patch.setattr(_loop, "TrainingModel", Watched)
        patch.setattr(_loop, "_TRAINERS", _loop.ModelPool(2))
        return fit().history_, seen


def generators(**options):
    embedder = FrozenEstimator(TripletEmbedder(**TINY).fit(X, y))
    return lambda: DistortionGenerator(embedder, **{**TINY, **options}).fit(X)


@needs_gpu
@pytest.mark.parametrize(
    "case", ["triplet", "semi-hard", "softmax", "unet", "bottleneck", "adversary", "bfloat16"]
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_recorded_as_unrecorded(case, monkeypatch):
    fit = {
        "triplet": lambda: TripletEmbedder(**TINY).fit(X, y),
        "semi-hard": lambda: TripletEmbedder(miner="semi-hard", **TINY).fit(X, y),
        "softmax": lambda: SoftmaxEmbedder(**TINY).fit(X, y),
        "unet": generators(architecture="unet"),
        "bottleneck": generators(architecture="bottleneck", schedule="constant"),
        "adversary": generators(architecture="unet", adversary_weight=1.0),
        "bfloat16": generators(architecture="unet", dtype_policy="mixed_bfloat16"),
    }[case]
    found, seen = history_and_records(monkeypatch, fit)
    assert seen[-1] == (True, True)
    expected, _ = history_and_records(monkeypatch, fit, recorded=False)
    tolerance = 0.03 if case == "bfloat16" else 1e-3
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=tolerance, atol=1e-3, err_msg=name)


@needs_gpu
def test_what_asks_for_a_value_runs_unrecorded(monkeypatch):
    def fit():
        return TripletEmbedder(dtype_policy="mixed_float16", **TINY).fit(X, y)

    found, seen = history_and_records(monkeypatch, fit)
    assert np.isfinite(found["loss"]).all()
    assert seen == [(False, False)]


@needs_gpu
def test_refinement_recorded_as_unrecorded(monkeypatch):
    generator = generators(architecture="bottleneck")()
    found = generator.embed(generator.transform(X))
    monkeypatch.setattr(_recording, "_make_record", lambda: None)
    monkeypatch.setattr(_refinement, "_REFINERS", _refinement.ModelPool(2))
    expected = generator.embed(generator.transform(X))
    np.testing.assert_allclose(found, expected, atol=1e-3)


class Graph:
    """Stands in for a CUDA graph: plays a record by doing the step again."""

    def __init__(self):
        self.n_played = 0

    def replay(self):
        self.n_played += 1
        self.play()


@pytest.fixture
def steps(monkeypatch):
    """RecordedStep, with graphs and streams of no GPU."""
    import torch

    from skdistort.networks import _torch_steps

    class Stream:
        def wait_stream(self, other):
            pass

    made = []

    def graph():
        made.append(Graph())
        return made[-1]

    monkeypatch.setattr(torch.cuda, "CUDAGraph", graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    return _torch_steps.RecordedStep(), made


@pytest.mark.backend
@needs_torch
def test_batches_reach_the_record(steps):
    import torch

    recorded, made = steps
    seen, total = [], torch.zeros(())

    def step(data):
        (inputs, targets, none) = data
        assert none is None

        def play():
            seen.append(inputs["image"].clone())
            total.copy_(inputs["image"].sum() + targets)

        play()
        if made:
            made[-1].play = play
        return {"total": total}

    def batch(value, rows=2):
        return {"image": torch.full((rows, 3), float(value))}, torch.tensor(100.0 + value), None

    for i in range(7):
        logs = recorded(step, batch(i))
        assert float(logs["total"]) == 6 * i + 100 + i
    # Three as they are; the fourth is recorded, and every one from then on played.
    assert made[0].n_played == 4
    # A batch of another shape is done as it is.
    assert float(recorded(step, batch(1, rows=1))["total"]) == 3 + 101
    assert made[0].n_played == 4
    recorded.release()
    assert float(recorded(step, batch(2))["total"]) == 12 + 102
    assert len(made) == 1


@pytest.mark.backend
@needs_torch
def test_what_cannot_be_recorded_is_done_as_it_is(steps, monkeypatch):
    import torch

    recorded, made = steps
    n_done = 0

    def refuse(graph):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "graph", refuse)

    def step(data):
        nonlocal n_done
        n_done += 1
        return {"loss": data[0].sum()}

    for i in range(6):
        assert float(recorded(step, (torch.full((2,), float(i)),))["loss"]) == 2 * i
    assert n_done == 6
    assert len(made) == 1


@pytest.mark.backend
@needs_torch
def test_numbers_become_tensors_without_a_copy():
    import torch

    from skdistort.networks._torch_steps import _NumbersMadeThere

    for value, dtype in ((2.5, torch.float32), (3, torch.int32), (True, torch.bool)):
        expected = torch.as_tensor(value, dtype=dtype)
        with _NumbersMadeThere():
            found = torch.as_tensor(value, dtype=dtype)
            assert torch.equal(torch.as_tensor(expected), expected)
        assert found.dtype == dtype
        assert found == expected
        assert found.shape == ()
