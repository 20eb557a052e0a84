"""Callbacks that write what is trained: they work, or are refused before training."""

import keras
import pytest
from sklearn.datasets import load_digits

from skdistort import TripletEmbedder

pytestmark = pytest.mark.backend

X, y = load_digits(return_X_y=True)
X, y = X[:100], y[:100]


def embedder(epochs, *callbacks):
    return TripletEmbedder(
        4, filters=(2,), hidden_units=4, epochs=epochs, callbacks=list(callbacks), random_state=0
    )


class Interruption(keras.callbacks.Callback):
    """Somebody presses Ctrl-C in the second epoch."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def test_checkpoints_of_weights_work(tmp_path):
    path = tmp_path / "best.weights.h5"
    embedder(1, keras.callbacks.ModelCheckpoint(path, save_weights_only=True)).fit(X, y)
    assert path.stat().st_size > 0


def test_checkpoints_of_whole_models_are_refused_before_training(tmp_path):
    callback = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras")
    unfitted = embedder(1, callback)
    with pytest.raises(ValueError, match="save_weights_only=True .*BackupAndRestore"):
        unfitted.fit(X, y)
    assert not hasattr(unfitted, "network_")
    assert list(tmp_path.iterdir()) == []


def test_a_backup_goes_on_where_it_was_interrupted(tmp_path):
    folder = tmp_path / "backup"
    with pytest.raises(KeyboardInterrupt):
        embedder(4, keras.callbacks.BackupAndRestore(folder), Interruption()).fit(X, y)
    resumed = embedder(4, keras.callbacks.BackupAndRestore(folder)).fit(X, y)
    assert len(resumed.history_["loss"]) == 2
