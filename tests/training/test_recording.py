"""Training steps recorded on a GPU do what they do unrecorded."""

import keras
import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, SoftmaxEmbedder, TripletEmbedder
from skdistort.distortion import _refinement
from skdistort.training import _loop, _recording

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch" or "cuda" not in str(keras.ops.zeros(()).device),
    reason="needs PyTorch and a GPU",
)
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


def test_what_asks_for_a_value_runs_unrecorded(monkeypatch):
    def fit():
        return TripletEmbedder(dtype_policy="mixed_float16", **TINY).fit(X, y)

    found, seen = history_and_records(monkeypatch, fit)
    assert np.isfinite(found["loss"]).all()
    assert seen == [(False, False)]


def test_refinement_recorded_as_unrecorded(monkeypatch):
    generator = generators(architecture="bottleneck")()
    found = generator.embed(generator.transform(X))
    monkeypatch.setattr(_recording, "_make_record", lambda: None)
    monkeypatch.setattr(_refinement, "_REFINERS", _refinement.ModelPool(2))
    expected = generator.embed(generator.transform(X))
    np.testing.assert_allclose(found, expected, atol=1e-3)
