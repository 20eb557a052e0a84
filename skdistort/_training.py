"""The training loop that every estimator shares: one Keras model, one optimiser, one history."""

import numpy as np

from ._backend import keras
from ._stored_network import jit_mode


class TrainingModel(keras.Model):
    """A network with its loss, the loss's parts tracked by name.

    Parameters
    ----------
    network : keras.Model
        What is trained.
    loss : callable
        ``loss(y, outputs) -> (loss, parts)``, parts a dict of scalar tensors.
    part_names : sequence of str
        The keys of parts.
    """

    def __init__(self, network, loss, part_names):
        super().__init__()
        self.network = network
        self._loss_and_parts = loss
        self._trackers = [keras.metrics.Mean(name=name) for name in part_names]

    def call(self, x, training=None):
        """Apply the network."""
        return self.network(x, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Evaluate the loss and note its parts."""
        loss, parts = self._loss_and_parts(y, y_pred)
        for tracker in self._trackers:
            tracker.update_state(parts[tracker.name])
        return loss


class StopAtNonFiniteLoss(keras.callbacks.Callback):
    """Stops after the epoch in which the loss became NaN or infinite.

    Unlike ``keras.callbacks.TerminateOnNaN`` it does not fetch the loss of every batch, for which
    the next batch would have to wait.
    """

    def on_epoch_end(self, epoch, logs=None):
        """Look at the epoch's mean loss."""
        if not np.isfinite((logs or {}).get("loss", 0.0)):
            self.model.stop_training = True


class ProgressBar(keras.callbacks.Callback):
    """One bar for the whole training, an epoch a step."""

    def on_train_begin(self, logs=None):
        """Draw the empty bar."""
        self._bar = keras.utils.Progbar(self.params["epochs"], unit_name="epoch")
        self._bar.update(0)

    def on_epoch_end(self, epoch, logs=None):
        """Move the bar on and show the epoch's figures."""
        logs = logs or {}
        n_epochs = self.params["epochs"]
        # Without it the bar would show means over the epochs.
        self._bar.stateful_metrics = set(logs)
        values = [(name, float(value)) for name, value in logs.items()]
        self._bar.update(epoch + 1, values, finalize=epoch + 1 == n_epochs)

    def on_train_end(self, logs=None):
        """End the line where training stopped early."""
        if self.model.stop_training:
            print()


def train(
    network,
    loss,
    part_names,
    batches,
    *,
    validation=None,
    epochs,
    learning_rate,
    schedule,
    monitor,
    patience,
    callbacks,
    verbose,
):
    """Train a network in place by Adam.

    Parameters
    ----------
    network : keras.Model
        What to train; its weights change.
    loss : callable
        See :class:`TrainingModel`.
    part_names : sequence of str
        See :class:`TrainingModel`.
    batches, validation : keras.utils.PyDataset
        Batches to learn from, and to watch; None for no validation.
    epochs : int
        Passes over the batches.
    learning_rate : float
        Adam's learning rate, at the start.
    schedule : {"constant", "cosine"}
        Whether the rate stays, or falls to zero over the epochs along a cosine.
    monitor : str
        What `patience` watches: ``"loss"`` or one of the parts; the validation's if there is one.
    patience : int or None
        Stop after so many epochs without a lower `monitor` and go back to the best.
    callbacks : list of keras.callbacks.Callback or None
        Called during training.
    verbose : int
        0 silent, 1 one bar, 2 a line an epoch.

    Returns
    -------
    dict of str to list of float
        Loss, its parts and their validation counterparts, a value an epoch.

    Raises
    ------
    FloatingPointError
        If the loss became NaN or infinite.
    """
    model = TrainingModel(network, loss, part_names)
    if schedule == "cosine":
        learning_rate = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * len(batches))
    model.compile(optimizer=keras.optimizers.Adam(learning_rate), jit_compile=jit_mode())
    own_callbacks = [StopAtNonFiniteLoss()]
    if patience is not None:
        own_callbacks.append(
            keras.callbacks.EarlyStopping(
                monitor if validation is None else f"val_{monitor}",
                mode="min",
                patience=patience,
                restore_best_weights=True,
            )
        )
    if verbose == 1:
        own_callbacks.append(ProgressBar())
    callbacks = callbacks or []
    try:
        history = model.fit(
            batches,
            validation_data=validation,
            epochs=epochs,
            callbacks=[*own_callbacks, *callbacks],
            verbose=2 if verbose > 1 else 0,
            shuffle=False,
        ).history
    finally:
        # The callbacks are a parameter of the estimator, which must not come to hold a model.
        for callback in callbacks:
            callback.set_model(None)
    history = {name: [float(v) for v in values] for name, values in history.items()}
    if not np.all(np.isfinite(history["loss"])):
        raise FloatingPointError(
            "The training loss is not finite; a smaller learning_rate may help. "
            f"Losses by epoch: {history['loss']}."
        )
    return history
