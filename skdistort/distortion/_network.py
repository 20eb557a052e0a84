"""Networks of any make as one Keras model, from images of the data to one vector each.

Where one does not fit, the error has the line that makes it fit.
"""

import math
import os
from reprlib import repr as short_repr

from sklearn.frozen import FrozenEstimator

from .._backend import keras
from ..networks import TorchModule
from ..networks._torch_module import held_modules, is_torch_module
from ..onnx import load_onnx

layers = keras.layers

_KINDS = (
    "None, a TripletEmbedder, SoftmaxEmbedder or SiameseVerifier, a FrozenEstimator of one, a "
    "Keras model or layer, a torch.nn.Module, or the path of a .keras or .onnx file"
)
# What makes three channels of one, and one of three: layers, so that templates stay as X is.
_COLOURED = 'keras.layers.Conv2D(3, 1, use_bias=False, kernel_initializer="ones")'
_GREY = (
    "keras.layers.Conv2D(1, 1, use_bias=False, "
    "kernel_initializer=keras.initializers.Constant([[0.299], [0.587], [0.114]]))"
)


def as_model(embedder, image_shape):
    """Make a functional model, on images of that shape, of a network that computes embeddings.

    Parameters
    ----------
    embedder : keras model or layer, torch module, path or onnx.ModelProto
        The network. It stays as it is.
    image_shape : tuple of 3 int
        Height, width and channels of the images it will be given.

    Returns
    -------
    keras.Model
        Images ``(n, height, width, channels)`` to embeddings ``(n, m)`` in float32.

    Raises
    ------
    TypeError
        If it is of no such kind.
    ValueError
        If it takes images of another shape, does not give one vector an image, has weights that
        are not made yet, or is in a file that cannot be loaded.
    FileNotFoundError
        If there is no such file.
    """
    layer = _as_layer(embedder, image_shape)
    name = as_text(embedder, layer)
    if len(held_modules(layer)) > 1:
        raise ValueError("embedder runs several torch modules: put them into one.")
    inputs = layers.Input(image_shape)
    given = _in_its_structure(layer, name, inputs)
    _refuse_unmade_weights(layer, name, image_shape)
    try:
        outputs = _call(layer, given)
    # What does not fit, a torch module and each of Keras's backends tell in their own way.
    except Exception as error:
        raise ValueError(
            f"embedder does not take images of shape {image_shape}, which X has"
            f"{_attempt(layer, name, image_shape)}. It says: {error}"
        ) from error
    if not isinstance(outputs, keras.KerasTensor):
        raise ValueError(
            f"embedder must give one vector an image{_choosing(layer, name, outputs)}."
        )
    if len(outputs.shape) != 2:
        ending = "GlobalAveragePooling2D()" if len(outputs.shape) == 4 else "Flatten()"
        if len(outputs.shape) == 4 and isinstance(layer, TorchModule):
            ending = 'GlobalAveragePooling2D(data_format="channels_first")'
        raise ValueError(
            f"embedder must give one vector an image, (n, m); for images of shape {image_shape} it "
            f"gives {tuple(outputs.shape)}: keras.Sequential([{name}, "
            f"keras.layers.{ending}]) makes one of that."
        )
    if outputs.dtype != "float32":
        outputs = layers.Activation("linear", dtype="float32")(outputs)
    return keras.Model(inputs, outputs)


def as_text(embedder, network=None):
    """Write what a layer in a model of the user's would be made of an embedder by.

    Parameters
    ----------
    embedder : object
        An embedder of any kind.
    network : keras.Model or None, default=None
        What it was made into, if it is a network or the path of one.

    Returns
    -------
    str
        An expression.
    """
    if isinstance(embedder, FrozenEstimator):
        return "embedder.estimator.network_.model"
    if is_torch_module(embedder):
        return "skdistort.networks.TorchModule(embedder)"
    if isinstance(embedder, layers.Layer):
        return "embedder"
    if not _is_of_onnx(embedder) and os.fspath(embedder).lower().endswith(".keras"):
        return "keras.models.load_model(embedder)"
    return f"skdistort.onnx.load_onnx(embedder, image_shape={network.input_shape[1:]})"


def is_network(value):
    """Tell a network, or the path of one, from estimators and all else.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    bool
        Whether it is of a kind that :func:`as_model` takes.
    """
    kinds = layers.Layer, str, os.PathLike
    return isinstance(value, kinds) or is_torch_module(value) or _is_of_onnx(value)


def _is_of_onnx(value):
    """Tell what the package onnx made, and import nothing for it."""
    return type(value).__module__.startswith("onnx.")


def _as_layer(embedder, image_shape):
    """Make a Keras layer of what computes embeddings."""
    if isinstance(embedder, layers.Layer):
        if any(isinstance(part, layers.TorchModuleWrapper) for part in _layers_in(embedder)):
            raise ValueError(
                "embedder holds a keras.layers.TorchModuleWrapper, whose configuration is a "
                "pickle: skdistort.networks.TorchModule(module) takes its place, and gives the "
                "module images with channels first."
            )
        return embedder
    if is_torch_module(embedder):
        return TorchModule(embedder)
    if isinstance(embedder, (str, os.PathLike)):
        path = os.fspath(embedder)
        if path.lower().endswith(".keras"):
            if not os.path.isfile(path):
                raise FileNotFoundError(f"embedder: there is no file {path!r}.")
            return _load_keras(path)
        if path.lower().endswith(".onnx"):
            return _load_onnx(path, image_shape)
        raise ValueError(f"embedder must be {_KINDS}; got the path {path!r}.")
    if _is_of_onnx(embedder):
        return _load_onnx(embedder, image_shape)
    raise TypeError(
        f"embedder must be {_KINDS}; got {short_repr(embedder)} of type {type(embedder).__name__}."
    )


def _load_keras(path):
    """Load a .keras file."""
    try:
        return keras.models.load_model(path, compile=False)
    # Of a file that is none, Keras says that there is none.
    except Exception as error:
        raise ValueError(
            f"embedder: {path!r} is no .keras file, is damaged, or names what is not known here: a "
            "layer of your own has to be registered before, and a Lambda layer to become one. "
            f"Keras says: {error}"
        ) from error


def _load_onnx(model, image_shape):
    """Load a file in its own size and channels; what it leaves open is as it is in the images."""
    for shape in (None, image_shape[:2]):
        try:
            return load_onnx(model, image_shape=shape)
        except ValueError as error:
            if "image_shape" not in str(error):
                raise
    return load_onnx(model, image_shape=image_shape)


def _in_its_structure(layer, name, inputs):
    """Give images as a model wants them, which may be in a list or a dict; refuse what is none."""
    image_shape = inputs.shape[1:]
    # A model of its own class, or one that was never built, does not say.
    wanted = getattr(layer, "inputs", None) if isinstance(layer, keras.Model) else None
    if wanted is None:
        return inputs
    if len(wanted) != 1:
        raise ValueError(
            f"embedder takes {len(wanted)} inputs, of shapes "
            f"{', '.join(str(tuple(w.shape)) for w in wanted)}, and F takes images alone: x = "
            f"keras.layers.Input({image_shape}); keras.Model(x, {name}([x, ...])) gives it the "
            "rest."
        )
    shape = tuple(wanted[0].shape[1:])
    # Others Keras may take, too, such as images without an axis of channels.
    if len(shape) == 3 and any(n not in (None, m) for n, m in zip(shape, image_shape, strict=True)):
        raise ValueError(
            f"embedder takes images of shape {shape}, X has {image_shape}"
            f"{adapting(name, shape, image_shape)}."
        )
    if len(shape) == 1:
        raise ValueError(
            f"embedder takes vectors of {shape[0]} values, X has images of shape {image_shape}"
            f"{adapting(name, shape, image_shape)}."
        )
    if "float" not in wanted[0].dtype:
        raise ValueError(
            f"embedder takes images of {wanted[0].dtype}, and nothing can be learned through whole "
            "numbers. The same network takes floats: again = keras.models.clone_model("
            f"{name}, input_tensors=keras.layers.Input({image_shape})); "
            f"again.set_weights({name}.get_weights())."
        )
    return keras.tree.pack_sequence_as(getattr(layer, "input", wanted[0]), [inputs])


def _refuse_unmade_weights(layer, name, image_shape):
    """Raise if a network has weights that would only be made now, at random."""
    if layer.built:
        return
    try:
        # A copy: to call what was given would make its weights.
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        _call(again, layers.Input(image_shape))
    except Exception:  # noqa: S110 - whoever rebuilds it or calls it next says why.
        return
    # Those of a torch module are made elsewhere.
    modules = [part for part in _layers_in(again) if isinstance(part, TorchModule)]
    if len(again.weights) > len(layer.weights) + sum(len(part.weights) for part in modules):
        raise ValueError(
            "embedder has weights that are not made yet, and would be drawn at random, others in "
            "each fit: train it, or load its weights. If chance is what is meant, "
            f"{name}.build({(None, *image_shape)}) draws them once."
        )


def _layers_in(layer):
    """List a layer and all that are in it."""
    found = [layer]
    for inner in found:
        found += getattr(inner, "layers", [])
    return found


def _call(layer, inputs):
    """Call a layer in inference mode; some have only one."""
    try:
        return layer(inputs, training=False)
    except TypeError:
        return layer(inputs)


def adapting(name, wanted, image_shape):
    """Say which layers in front of a network make what it takes of the images.

    Parameters
    ----------
    name : str
        How the network is written.
    wanted : tuple of int or None
        The shape of what it takes; None is any number.
    image_shape : tuple of 3 int
        Height, width and channels of the images.

    Returns
    -------
    str
        What an error goes on with; nothing where no layers do.
    """
    steps = []
    if len(wanted) == 1:
        if wanted[0] not in (None, math.prod(image_shape)):
            return ""
        steps.append("keras.layers.Flatten()")
    elif wanted == (image_shape[2], *image_shape[:2]):
        steps.append("keras.layers.Permute((3, 1, 2))")
    else:
        if any(n not in (None, m) for n, m in zip(wanted[:2], image_shape[:2], strict=True)):
            height, width = (wanted[i] or image_shape[i] for i in range(2))
            steps.append(f"keras.layers.Resizing({height}, {width})")
        if wanted[2] not in (None, image_shape[2]):
            channels = {(3, 1): _COLOURED, (1, 3): _GREY}.get((wanted[2], image_shape[2]))
            if channels is None:
                return ""
            steps.append(channels)
    return f": {_in_front(name, image_shape, steps)} takes them"


def _attempt(layer, name, image_shape):
    """Say what may go in front of a network that does not say what it takes."""
    other = {1: 3, 3: 1}.get(image_shape[2])
    if other is not None and _takes(layer, (*image_shape[:2], other)):
        return adapting(name, (None, None, other), image_shape)
    if isinstance(layer, TorchModule):
        return (
            ". Of another size, torch.nn.Sequential(torch.nn.Upsample((HEIGHT, WIDTH), "
            "mode='bilinear'), embedder) takes them"
        )
    resizing = _in_front(name, image_shape, ["keras.layers.Resizing(HEIGHT, WIDTH)"])
    return f". Of another size, {resizing} takes them"


def _in_front(name, image_shape, steps):
    return f"keras.Sequential([keras.layers.Input({image_shape}), {', '.join(steps)}, {name}])"


def _takes(layer, image_shape):
    """Whether a layer takes images of a shape."""
    try:
        _call(layer, layers.Input(image_shape))
    except Exception:
        return False
    return True


def _choosing(layer, name, outputs):
    """Say how one of several outputs is taken."""
    if isinstance(layer, TorchModule):
        return (
            f", the torch module gives a {type(outputs).__name__}: a module of your own takes what "
            "is meant, def forward(self, x): return self.module(x)[0]"
        )
    if isinstance(outputs, dict):
        first = sorted(outputs)[0]
        return (
            f", it gives {sorted(outputs)}: keras.Model({name}.input, {name}.output[{first!r}]) "
            "takes one"
        )
    return (
        f", it gives {len(outputs) if isinstance(outputs, (list, tuple)) else outputs}: "
        f"keras.Model({name}.input, {name}.output[0]) takes one"
    )
