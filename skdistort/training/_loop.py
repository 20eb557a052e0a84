"""The training loop that every estimator shares: one Keras model, one optimiser, one history.

What is trained, on which batches and with which loss, is not decided here.
"""

from contextlib import nullcontext
from functools import partial

import numpy as np

from .._backend import keras
from ..networks._pool import ModelPool, architecture
from ..networks._stored import fastest_form, jit_mode
from ._recording import RecordingModel

_TRAINERS = ModelPool(2)

# Values that are what they are: equal ones compile to equal steps.
_PLAIN = (str, int, float, bool, type(None))


class CosineToZero(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that falls to zero along half a cosine.

    Where it begins and in how many steps it ends are variables, unlike those of Keras's own, so
    that other values need no other compilation.
    """

    def attach(self, optimizer):
        """Make the variables; a step of an optimiser reads no others than its own.

        Parameters
        ----------
        optimizer : keras.optimizers.Optimizer
            Whose learning rate this is.
        """
        self.start = optimizer.add_variable((), name="start")
        self.n_steps = optimizer.add_variable((), name="n_steps")

    def __call__(self, step):
        """Evaluate the rate of a step."""
        done = keras.ops.minimum(keras.ops.cast(step, "float32") / self.n_steps, 1.0)
        return self.start * (0.5 * (1.0 + keras.ops.cos(np.pi * done)))


class TrainingModel(RecordingModel):
    """A network with its loss, the loss's parts tracked by name.

    Parameters
    ----------
    network : keras.Model
        What is trained.
    loss : callable
        ``loss(y, outputs, **options, **settings) -> (loss, parts)``, parts a dict of scalar
        tensors.
    options : dict of str to object
        What the loss takes that is compiled into its step, such as the name of a distance.
    part_names : sequence of str
        The keys of parts.
    setting_names : sequence of str
        The numbers that the loss takes as well, such as margins. They are variables, so that
        other values need no other compilation.
    schedule : CosineToZero or None
        How the learning rate of its optimiser falls, if it does.
    """

    def __init__(self, network, loss, options, part_names, setting_names, schedule):
        super().__init__(name="training")
        self.network = network
        self._loss_and_parts = partial(loss, **options)
        self._settings = {
            name: self.add_weight(shape=(), initializer="zeros", trainable=False, name=name)
            for name in setting_names
        }
        self._schedule = schedule
        self._trackers = [keras.metrics.Mean(name=name) for name in part_names]
        # All its variables are there, which callbacks that restore weights ask for.
        self.built = True

    def call(self, x, training=None):
        """Apply the network."""
        return self.network(x, training=training)

    def restart(self, network, settings, learning_rate, n_steps):
        """Take over the weights of a network of the same architecture, and new settings."""
        if network is not self.network:
            self.network.set_weights(network.get_weights())
        for name, value in settings.items():
            self._settings[name].assign(value)
        for variable in self.optimizer.variables:
            variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            self.optimizer.dynamic_scale.assign(self.optimizer.initial_scale)
        if self._schedule is None:
            self.optimizer.learning_rate = learning_rate
        else:
            self._schedule.start.assign(learning_rate)
            self._schedule.n_steps.assign(n_steps)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Evaluate the loss and note its parts."""
        loss, parts = self._loss_and_parts(y, y_pred, **self._settings)
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
    options,
    settings,
    epochs,
    learning_rate,
    schedule,
    weight_decay,
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
        See :class:`TrainingModel`; a function of a module.
    part_names : sequence of str
        See :class:`TrainingModel`.
    batches, validation : IndexedBatches or StreamedBatches
        Batches to learn from, and to watch; None for none to watch. Released in the end.
    options : dict of str to object
        What the loss takes that is compiled into its step. The step of an earlier call is used
        again where the loss, its options and the network's configuration are the same, and only
        where all options are plain values: a function may not do the same next time.
    settings : dict of str to float
        Numbers that the loss takes as well, which may change with no new compilation.
    epochs : int
        Passes over the batches.
    learning_rate : float
        Adam's learning rate, at the start.
    schedule : {"constant", "cosine"}
        Whether the rate stays, or falls to zero over the epochs along a cosine.
    weight_decay : float
        Share by which weights shrink in each step, times the learning rate; biases, and scales and
        shifts of normalisations, do not.
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
        If the loss or a weight became NaN or infinite.

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2.
    """

    def build():
        falling = CosineToZero() if schedule == "cosine" else None
        model = TrainingModel(fastest_form(network), loss, options, part_names, settings, falling)
        optimizer = keras.optimizers.Adam(
            falling or 0.0, weight_decay=weight_decay or None, name="adam"
        )
        if weight_decay:
            vectors = [v for v in model.trainable_variables if len(v.shape) < 2]
            optimizer.exclude_from_weight_decay(var_list=vectors)
        if falling is not None:
            falling.attach(optimizer)
        if _computes_in_float16(network):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
        model.compile(optimizer=optimizer, jit_compile=jit_mode())
        # Variables that come to be within the first step would have it traced twice.
        model.optimizer.build(model.trainable_variables)
        return model

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
    # A callback may change the model in ways that the next fit must not inherit.
    if callbacks or not all(isinstance(value, _PLAIN) for value in options.values()):
        compiled = nullcontext(build())
    else:
        signature = step_signature(
            network, loss, options, part_names, settings, (schedule, weight_decay)
        )
        compiled = _TRAINERS.borrow(signature, build)
    try:
        with compiled as model:
            model.restart(network, settings, float(learning_rate), epochs * len(batches))
            history = model.fit(
                batches,
                validation_data=validation,
                epochs=epochs,
                callbacks=[*own_callbacks, *callbacks],
                verbose=2 if verbose > 1 else 0,
                shuffle=False,
            ).history
            model.release()
            if model.network is not network:
                network.set_weights(model.network.get_weights())
    finally:
        # The callbacks are a parameter of the estimator, which must not come to hold a model.
        for callback in callbacks:
            callback.set_model(None)
        # TensorFlow never forgets a dataset that it has read.
        for data in (batches, validation):
            if data is not None:
                data.release()
    history = {name: [float(v) for v in values] for name, values in history.items()}
    # The last step can spoil the weights without a loss that would show it.
    for name, arrays in (("loss", [history["loss"]]), ("weights", network.get_weights())):
        if not all(np.isfinite(values).all() for values in arrays):
            raise FloatingPointError(
                f"The {name} of the training became NaN or infinite; a smaller learning_rate may "
                f"help. Losses by epoch: {history['loss']}."
            )
    return history


def step_signature(network, loss, options, part_names, setting_names, descent):
    """Sum up all that a compiled training step depends on, so that nothing is kept by hand.

    Parameters
    ----------
    network : keras.Model
        What is trained. Its configuration counts, with those of the networks in it; weights and
        names of layers do not.
    loss : callable
        A function of a module.
    options : dict of str to object
        Plain values that the loss takes.
    part_names, setting_names : iterable of str
        What is tracked, and the numbers that are variables.
    descent : hashable
        How the learning rate falls, and what else the optimiser is made with.

    Returns
    -------
    hashable
        Equal for two trainings that one step can serve.
    """
    described = tuple(sorted(options.items())), tuple(part_names), tuple(setting_names)
    return loss, architecture(network.to_json()), *described, descent


def _computes_in_float16(layer):
    """Tell whether a network, or any layer in it, does, whose small gradients become zero."""
    parts = getattr(layer, "layers", ())
    return layer.compute_dtype == "float16" or any(map(_computes_in_float16, parts))
