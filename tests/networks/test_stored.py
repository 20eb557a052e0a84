"""Networks as plain data: in how many rows they predict. How they are kept: test_persistence.py."""

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.distortion import _generator
from skdistort.images._layout import row_multiple
from skdistort.networks import _stored, build_unet
from skdistort.networks._stored import StoredNetwork

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((8, 8, 1), 32), ((64, 64, 1), 32), ((112, 112, 3), 2), ((384, 384, 1), 1), ((10**6,), 1)],
)
def test_the_larger_the_rows_the_fewer_at_a_time(shape, expected):
    assert row_multiple(shape) == expected


@pytest.mark.backend
@pytest.mark.parametrize(("side", "padded", "tolerance"), [(16, 32, 0), (112, 8, 1e-6)])
def test_rows_do_not_depend_on_their_neighbours(side, padded, tolerance, monkeypatch):
    shape = side, side, 1
    network = StoredNetwork(build_unet(shape, filters=(2, 4), rng=np.random.RandomState(0)))
    X = np.random.default_rng(0).random((11, *shape), dtype=np.float32)
    together = network.predict(X, 32)
    seen, apply = [], _stored._apply
    monkeypatch.setattr(_stored, "_apply", lambda *args: seen.append(len(args[1])) or apply(*args))
    alone = np.concatenate([network.predict(X[i : i + 1], 32) for i in range(len(X))])
    np.testing.assert_allclose(together, alone, rtol=0, atol=tolerance)
    assert set(seen) == {padded}


def test_large_images_are_diagnosed_by_a_few(monkeypatch):
    seen = []
    monkeypatch.setattr(_generator, "_DIAGNOSED_VALUES", 64 * 20)
    diagnose = DistortionGenerator._diagnose
    monkeypatch.setattr(
        DistortionGenerator,
        "_diagnose",
        lambda self, images: seen.append(len(images)) or diagnose(self, images),
    )
    settings = {"epochs": 1, "filters": (2,), "random_state": 0}
    X = np.random.default_rng(0).random((60, 64))
    embedder = TripletEmbedder(hidden_units=4, **settings).fit(X, np.arange(60) % 3)
    generator = DistortionGenerator(FrozenEstimator(embedder), **settings)
    generator.fit(X)
    monkeypatch.setattr(_generator, "_DIAGNOSED_VALUES", 1)
    generator.fit(X)
    assert seen == [20, 8]
