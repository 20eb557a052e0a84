"""Models whose training steps are recorded where starting them takes longer than doing them."""

from .._backend import keras


class RecordingModel(keras.Model):
    """A model that trains as any of Keras does, on PyTorch with a GPU by a record of its step.

    Parameters
    ----------
    name : str
        What the model is called.
    """

    def __init__(self, name):
        super().__init__(name=name, dtype="float32")
        self._recorded = _make_record()

    def train_step(self, *arguments):  # numpydoc ignore=PR01,RT01
        """Do a step, by its record if there is one."""
        if self._recorded is None:
            return super().train_step(*arguments)
        return self._recorded(super().train_step, *arguments)

    def release(self):
        """Let go of the record and of the memory that it holds on the GPU."""
        if self._recorded is not None:
            self._recorded.release()


def _make_record():
    """Make what records steps where that is of use; None elsewhere."""
    if keras.backend.backend() != "torch" or keras.ops.zeros(()).device.type != "cuda":
        return None
    from ..networks._torch_steps import RecordedStep

    return RecordedStep()
