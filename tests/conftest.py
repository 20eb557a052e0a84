"""Settings that must stand before Keras and others are imported, and shared fixtures."""

import gc
import itertools
import os
from types import SimpleNamespace

import pytest

# Without it scikit-learn skips its array API check.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Every core has a test of its own: threads that wait for one another take ten times as long.
for name in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
):
    os.environ.setdefault(name, "1")

# Compiling takes JAX most of its time, and what it compiles here runs for an instant.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
)

# Graphs are made of so many objects that looking for those to collect takes a tenth of the time.
gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True, scope="session")
def compiled_models_are_kept():
    """Let no test wait for what another one had compiled; TensorFlow frees none in any case."""
    from skdistort.distortion import _refinement
    from skdistort.networks import _stored
    from skdistort.training import _loop

    with pytest.MonkeyPatch.context() as patch:
        for pool in (_loop._TRAINERS, _stored._PREDICTORS, _refinement._REFINERS):
            patch.setattr(pool, "_size", 100)
        yield


@pytest.fixture
def mapped(tmp_path):
    """Write arrays to disk and map them."""
    # Not before the settings above.
    import numpy as np

    def write(array):
        path = tmp_path / f"{array.dtype}{array.ndim}.npy"
        np.save(path, array)
        return np.load(path, mmap_mode="r")

    return write


@pytest.fixture
def settled_salts(monkeypatch):
    """Give stores the same salts each time: what is learned in few dimensions hangs on them."""
    from skdistort.templates import _keys

    numbers = itertools.count(1)
    draw = SimpleNamespace(token_hex=lambda n: f"{next(numbers):0{2 * n}x}")
    monkeypatch.setattr(_keys, "secrets", draw)
