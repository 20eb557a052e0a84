"""A PyTorch module as a layer of a Keras network, on the PyTorch backend.

Keras's own wrapper writes a pickle of the module into the network's configuration and leaves
running statistics out of the weights. Here a configuration names the module, whoever keeps it keeps
the module beside it, and all numbers of it are weights: files hold no code.
"""

from __future__ import annotations

import copy
import secrets
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from weakref import WeakValueDictionary

from .._backend import keras
from .._typing import Tensor

# All modules that are in use, for Keras to copy a network that holds one.
_IN_USE: WeakValueDictionary[str, HeldModule] = WeakValueDictionary()
# Those of the network that is being built, before all others.
_AT_HAND: ContextVar[tuple[HeldModule, ...]] = ContextVar("modules at hand", default=())


class HeldModule:
    """The code of a module, and the name that configurations know it by.

    Parameters
    ----------
    module : torch.nn.Module
        The module, of its own: nobody else changes it.
    name : str or None, default=None
        The name, if it has one already.
    """

    def __init__(self, module, name=None):
        self.module = module
        self.name = secrets.token_hex(16) if name is None else name
        _IN_USE.setdefault(self.name, self)

    def __reduce__(self):
        return HeldModule, (self.module, self.name)


@contextmanager
def modules_at_hand(held):
    """Have networks built from configurations that name these modules.

    Parameters
    ----------
    held : sequence of HeldModule
        The modules.

    Yields
    ------
    None
    """
    token = _AT_HAND.set(tuple(held))
    try:
        yield
    finally:
        _AT_HAND.reset(token)


def is_torch_module(value):
    """Tell a PyTorch module from others, Keras's layers included, and import nothing for it.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    bool
        Whether it is one.
    """
    # On this backend Keras's layers are modules, too.
    torch = sys.modules.get("torch")
    return (
        torch is not None
        and isinstance(value, torch.nn.Module)
        and not isinstance(value, keras.layers.Layer)
    )


def copy_module(module):
    """Copy a module, to be run in inference mode; the one that is given stays as it is.

    Parameters
    ----------
    module : torch.nn.Module
        The module.

    Returns
    -------
    torch.nn.Module
        The copy.

    Raises
    ------
    ValueError
        If it cannot be copied, or run with weights that are given to it, or its weights are not
        made yet.
    """
    torch = sys.modules["torch"]
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError(
            "The torch module is a compiled one of torch.jit: give the module that it was made of, "
            "or write it to a file with torch.onnx.export and give the path of that."
        )
    if isinstance(module, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
        raise ValueError(
            f"The torch module is a {type(module).__name__}, which spreads another one over "
            "devices: give that, embedder.module."
        )
    if any(torch.nn.parameter.is_lazy(tensor) for tensor in _tensors(module).values()):
        raise ValueError(
            "The torch module is lazy, its weights are not made yet: apply it to a batch of images."
        )
    try:
        copied = copy.deepcopy(module)
    except Exception as error:
        raise ValueError(f"The torch module cannot be copied: {error}") from error
    return copied.eval().requires_grad_(False)


def state_of(module):
    """List all numbers of a module: parameters and buffers, running statistics included.

    Parameters
    ----------
    module : torch.nn.Module
        The module.

    Returns
    -------
    dict of str to ndarray
        Copies, in order; what numpy has no numbers for, such as bfloat16, in float32.
    """
    return {name: _as_array(tensor) for name, tensor in _tensors(module).items()}


def set_state(module, state):
    """Put numbers into a module that has the same names and shapes.

    Parameters
    ----------
    module : torch.nn.Module
        The module.
    state : dict of str to ndarray
        What :func:`state_of` gave.

    Raises
    ------
    ValueError
        If names, shapes or types are others.
    """
    torch, tensors = sys.modules["torch"], _tensors(module)

    def kinds(arrays):
        return {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}

    seen, expected = kinds(state_of(module)), kinds(state)
    if seen != expected:
        name = min(name for name in {*seen, *expected} if seen.get(name) != expected.get(name))
        raise ValueError(
            f"the module has other weights: {name!r} is {seen.get(name, 'missing')} and should be "
            f"{expected.get(name, 'missing')}"
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(torch.as_tensor(state[name]))


@keras.saving.register_keras_serializable(package="skdistort")
class TorchModule(keras.layers.Layer):
    """Run a PyTorch module on images of Keras's layout, on the PyTorch backend.

    Parameters
    ----------
    module : torch.nn.Module
        Takes images ``(n, channels, height, width)``. It is copied, and runs in inference mode even
        where a network learns: dropout does nothing, batch normalisation has its running
        statistics, which stay as they are.
    **kwargs : dict
        What every Keras layer takes (name, ...).

    Raises
    ------
    ValueError
        If Keras runs on another backend, or the module cannot be copied.
    TypeError
        If it is no torch module.

    See Also
    --------
    skdistort.onnx.load_onnx : For the other backends.

    Notes
    -----
    Parameters and buffers are weights of the layer, so that saved files hold them. They do not hold
    the code: ``load(path, embedder=module)`` wants it.

    Examples
    --------
    A module that wants another size, other pixels, and whose output has any length:

    >>> import keras
    >>> from skdistort.networks import TorchModule, UnitLength
    >>> embedder = keras.Sequential(
    ...     [
    ...         keras.layers.Input((250, 250, 3)),
    ...         keras.layers.Resizing(112, 112),
    ...         keras.layers.Rescaling(1 / 127.5, -1),
    ...         TorchModule(module),
    ...         UnitLength(),
    ...     ]
    ... )  # doctest: +SKIP
    """

    def __init__(self, module, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        if keras.backend.backend() != "torch":
            raise ValueError(
                f"A torch module runs where Keras does on torch, here it runs on "
                f"{keras.backend.backend()}: set KERAS_BACKEND=torch before Keras is imported, or "
                "write the module to a file with torch.onnx.export and give "
                "skdistort.onnx.load_onnx(file)."
            )
        if not isinstance(module, HeldModule):
            if not is_torch_module(module):
                raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}.")
            module = HeldModule(copy_module(module))
        self.held = module
        self._weights_of = {}

    def build(self, input_shape):
        """Make a weight of each parameter and each buffer."""
        torch = sys.modules["torch"]
        for name, tensor in _tensors(self.held.module).items():
            weight = self.add_weight(
                shape=tuple(tensor.shape),
                dtype=str(tensor.dtype).removeprefix("torch."),
                initializer="zeros",
                trainable=isinstance(tensor, torch.nn.Parameter),
                autocast=False,
                # Dots and slashes part the names of Keras.
                name=name.replace(".", "_").replace("/", "_"),
            )
            weight.assign(tensor)
            self._weights_of[name] = weight

    def call(self, x: Tensor) -> Tensor:
        """Apply the module, whatever Keras's mode is."""
        torch = sys.modules["torch"]
        tensors = {name: weight.value for name, weight in self._weights_of.items()}
        floats = [t.dtype for t in tensors.values() if t.dtype.is_floating_point]
        x = x.permute(0, 3, 1, 2)
        # A module of half precision takes images of it.
        found = torch.func.functional_call(
            self.held.module, tensors, (x.to(floats[0]) if floats else x,)
        )
        return found.to(torch.float32) if isinstance(found, torch.Tensor) else found

    def get_config(self):
        """Name the module, which is no part of the configuration."""
        config = super().get_config()
        return {"name": config["name"], "trainable": config["trainable"], "held": self.held.name}

    @classmethod
    def from_config(cls, config):
        """Find the module by its name."""
        config = dict(config)
        name = config.pop("held")
        held = {module.name: module for module in _AT_HAND.get()}
        module = held.get(name) or _IN_USE.get(name)
        if module is None:
            raise ValueError(
                "A torch module of the network is not in this process, and no configuration has "
                "its code. Give the module itself as embedder; load(path, embedder=module) takes "
                "it for a saved one."
            )
        return cls(module, **config)


def held_modules(model):
    """List the torch modules that a network runs.

    Parameters
    ----------
    model : keras.Model
        A network.

    Returns
    -------
    list of HeldModule
        The modules, each once.
    """
    found = {}
    layers = [model]
    while layers:
        layer = layers.pop()
        if isinstance(layer, TorchModule):
            found[layer.held.name] = layer.held
        layers += getattr(layer, "layers", [])
    return list(found.values())


def _as_array(tensor):
    """Copy a tensor to numpy."""
    tensor = tensor.detach().cpu()
    try:
        return tensor.numpy().copy()
    except TypeError:
        return tensor.float().numpy()


def _tensors(module):
    """Give parameters and buffers by name, in order."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
