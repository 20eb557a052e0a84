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

    def zero_grad(self, set_to_none=True):
        """Forget the gradients of all that learns, before a step of PyTorch's.

        Keras lists PyTorch's parameters by path. Where two networks have a layer of one name, as F
        and G may, one of the two is not listed, and its gradients would add up from step to step.

        Parameters
        ----------
        set_to_none : bool, default=True
            As PyTorch's; gradients are always set to None.
        """
        for variable in self.trainable_variables:
            variable.value.grad = None

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
