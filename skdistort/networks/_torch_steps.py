"""A training step on one of PyTorch's GPUs, recorded once as a CUDA graph and then played again.

A step of a small network is hundreds of short operations, and starting them one by one from Python
takes longer than doing them. Recorded, they start as one.
"""

import torch
from torch.overrides import TorchFunctionMode

from .._backend import keras

# Libraries make what they need within the first steps, which cannot be recorded.
_WARM_UP = 3


class RecordedStep:
    """Runs a step of training, and from the fourth batch of one shape on plays its record.

    A step that cannot be recorded, since it asks the GPU for a value, runs as it is; so do batches
    of another shape.
    """

    def __init__(self):
        self.release()

    def release(self):
        """Let go of the record and of the memory that it holds on the GPU."""
        self._graph = self._inputs = self._logs = self._shapes = None
        self._n_seen = 0
        self._records = True

    def __call__(self, step, data):
        """Do the step.

        Parameters
        ----------
        step : callable
            ``step(data) -> logs``, all whose state is in tensors that stay where they are.
        data : structure of torch.Tensor and None
            The batch.

        Returns
        -------
        dict of str to torch.Tensor
            What `step` gives.
        """
        parts = _tensors(data)
        shapes = [(part.shape, part.dtype) for part in parts]
        if self._shapes is None:
            self._shapes = shapes
        if not self._records or shapes != self._shapes:
            return step(data)
        if self._graph is None:
            if self._n_seen < _WARM_UP:
                self._n_seen += 1
                return _on_another_stream(step, data)
            if not self._record(step, data):
                return step(data)
        for kept, given in zip(self._inputs, parts, strict=True):
            kept.copy_(given)
        self._graph.replay()
        return self._logs

    def _record(self, step, data):
        """Record the step, which does not run it; tell whether that could be done."""
        graph = torch.cuda.CUDAGraph()
        kept = keras.tree.map_structure(
            lambda part: None if part is None else torch.clone(part), data
        )
        try:
            with _NumbersMadeThere(), torch.cuda.graph(graph):
                self._logs = step(kept)
        except RuntimeError:
            torch.cuda.synchronize()
            self._records = False
            return False
        self._graph, self._inputs = graph, _tensors(kept)
        return True


def _tensors(data):
    """List the tensors of a batch, which may lack targets or weights."""
    return [part for part in keras.tree.flatten(data) if part is not None]


def _on_another_stream(step, data):
    """Run a step as PyTorch wants it before a record is made."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        logs = step(data)
    torch.cuda.current_stream().wait_stream(stream)
    return logs


class _NumbersMadeThere(TorchFunctionMode):
    """Has Python's numbers become tensors on the GPU, instead of being copied to it."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.as_tensor and isinstance(args[0], bool | int | float):
            return torch.full((), args[0], **kwargs)
        return func(*args, **kwargs)
