"""What tests of images that are not in memory share: digits, tiny estimators, a dataset."""

import keras
import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
X, y = digits.data[:300].astype(np.float32), digits.target[:300]
TINY = {"epochs": 1, "filters": (2,), "random_state": 0}
EMBEDDER = {"n_components": 3, "hidden_units": 4, **TINY}
KINDS = {
    "unet": {"architecture": "unet"},
    "bottleneck": {},
    "keyed": {"key": 7},
    "learning unet": {"architecture": "unet", "train_embedder": True},
    "learning bottleneck": {"train_embedder": True},
    "learning keyed": {"key": 7, "train_embedder": True},
}


class Batches(keras.utils.PyDataset):
    """Batches of images, with classes or without, that count beginnings and ends of epochs."""

    def __init__(self, X, y=None, size=50, **loading):
        super().__init__(**loading)
        self.X, self.y, self.size = X, y, size
        self.epochs_begun = self.epochs_ended = 0
        self.read = []

    def __len__(self):
        return -(-len(self.X) // self.size)

    def __getitem__(self, index):
        self.read.append(index)
        rows = slice(index * self.size, (index + 1) * self.size)
        return self.X[rows] if self.y is None else (self.X[rows], self.y[rows])

    def on_epoch_begin(self):
        self.epochs_begun += 1

    def on_epoch_end(self):
        self.epochs_ended += 1


def weights_of(estimator):
    networks = [getattr(estimator, name, None) for name in ("network_", "embedder_")]
    return [w for network in networks if network is not None for w in network.weights]


def assert_same(first, second):
    for a, b in zip(weights_of(first), weights_of(second), strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.history_ == second.history_
