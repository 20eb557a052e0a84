"""Keras networks in the file of a saved estimator: which ones may be built from it.

Keras looks up classes and functions by the names that a configuration gives, some of which run
code of the file or read other files. Here a configuration is held to a list of what only
computes, before Keras sees it. The file itself is the matter of :mod:`skdistort.persistence._file`.
"""

import json
import warnings

import numpy as np

from .._backend import keras

# Registers the layers in `_OUR_LAYERS`, without which Keras would look for them by module.
from ..networks import PixelScaling, SelfAttentivePooling, TorchModule, UnitLength
from ..networks._stored import StoredNetwork, describe, refuse_bad_weights
from ..networks._torch_module import (
    HeldModule,
    copy_module,
    is_torch_module,
    modules_at_hand,
    set_state,
    state_of,
)
from ..onnx._layers import LAYERS as _ONNX_LAYERS

_OUR_LAYERS = (PixelScaling, SelfAttentivePooling, TorchModule, UnitLength, *_ONNX_LAYERS)

# How far apart results may be that rounding alone makes differ, to the largest of them.
_SAME = 1e-3

# A list of what is harmless, not of what is known to do harm (Lambda, TorchModuleWrapper, JaxLayer,
# FlaxLayer, TFSMLayer, lookups that read a vocabulary): later releases of Keras add layers.
_COMPUTING = {
    "keras": "DTypePolicy Functional QuantizedDTypePolicy Sequential",
    "keras.src.models.functional": "Functional",
    # Operations of keras.ops, by the names that Keras gives them in files; none that calls a
    # function, such as Map and Scan.
    "keras.src.ops.core": "Cast SaturateCast StopGradient Unstack",
    "keras.src.ops.image": "CropImages PadImages RGBToGrayscale Resize",
    "keras.src.ops.linalg": "Norm",
    "keras.src.ops.math": "Erf Logsumexp Rsqrt",
    "keras.src.ops.nn": """
        AveragePool BatchNorm Celu Conv ConvTranspose DepthwiseConv Elu Gelu Glu HardSigmoid
        HardSilu HardTanh LayerNorm LeakyRelu LogSigmoid LogSoftmax MaxPool Moments Normalize
        RMSNorm Relu Relu6 Selu SeparableConv Sigmoid Silu Softmax Softplus Softsign
        """,
    "keras.src.ops.numpy": """
        Abs Absolute Add Amax Amin Average BroadcastTo Clip Concatenate Cos Divide DivideNoNan Dot
        Einsum Exp ExpandDims Expm1 Flip GetItem Log Log10 Log1p Log2 Matmul Max Maximum Mean Min
        Minimum Moveaxis Multiply NanToNum Negative OnesLike Pad Power Prod Ravel Reciprocal
        Repeat Reshape Roll Sign Sin Split Sqrt Square Squeeze Stack Std Subtract Sum Swapaxes Take
        Tanh Tensordot Tile Transpose TrueDivide Var Where ZerosLike
        """,
    "keras.layers": """
        Activation ELU LeakyReLU PReLU ReLU Softmax
        Dense EinsumDense Embedding Identity InputLayer Masking
        Conv1D Conv2D Conv3D Conv1DTranspose Conv2DTranspose Conv3DTranspose
        DepthwiseConv1D DepthwiseConv2D SeparableConv1D SeparableConv2D
        AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveMaxPooling1D AdaptiveMaxPooling2D
        AveragePooling1D AveragePooling2D AveragePooling3D
        MaxPooling1D MaxPooling2D MaxPooling3D
        GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
        GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
        BatchNormalization GroupNormalization LayerNormalization RMSNormalization
        SpectralNormalization UnitNormalization
        ActivityRegularization AlphaDropout Dropout GaussianDropout GaussianNoise
        SpatialDropout1D SpatialDropout2D SpatialDropout3D
        Cropping1D Cropping2D Cropping3D Flatten Permute RepeatVector Reshape
        UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
        Add Average Concatenate Dot Maximum Minimum Multiply Subtract
        AdditiveAttention Attention GroupQueryAttention MultiHeadAttention
        Bidirectional ConvLSTM1D ConvLSTM2D ConvLSTM3D GRU GRUCell LSTM LSTMCell RNN
        SimpleRNN SimpleRNNCell StackedRNNCells TimeDistributed
        CenterCrop Normalization Rescaling Resizing
        RandomBrightness RandomContrast RandomCrop RandomErasing RandomFlip RandomGaussianBlur
        RandomGrayscale RandomHue RandomInvert RandomPerspective RandomRotation RandomSaturation
        RandomSharpness RandomShear RandomTranslation RandomZoom
        """,
    "keras.initializers": """
        Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal LecunUniform
        Ones Orthogonal RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
        """,
    "keras.regularizers": "L1 L1L2 L2 OrthogonalRegularizer",
    "keras.quantizers": "AbsMaxQuantizer Int8QuantizationConfig",
    "keras.constraints": "MaxNorm MinMaxNorm NonNeg UnitNorm",
}
_ALLOWED = {f"{module}.{name}" for module, names in _COMPUTING.items() for name in names.split()}
# What Keras writes for values, and reads without looking anything up.
_VALUES = {"__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__", "__tensor__"}


def is_keras_object(value):
    """Tell whether a parameter's value is a Keras layer, of which a model is one.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    bool
        Whether it is.
    """
    return isinstance(value, keras.layers.Layer)


def describe_keras_object(layer):
    """Describe a layer or model as plain data.

    Parameters
    ----------
    layer : keras.layers.Layer
        A layer, built or not, or a model.

    Returns
    -------
    config : str
        Keras's JSON.
    weights : list of ndarray
        Its weights, see :func:`skdistort.networks._stored.describe`.

    Raises
    ------
    ValueError
        If Keras cannot describe it.
    """
    try:
        with warnings.catch_warnings():
            # Of lambdas: those of a loss are left out, those of a layer refused.
            warnings.simplefilter("ignore")
            return describe(layer)
    except Exception as error:
        raise ValueError(f"Keras has no configuration of it: {error}") from error


def build_keras_object(config, weights, held=()):
    """Build a layer or model from a description that :func:`check_config` has passed.

    Parameters
    ----------
    config : str
        Keras's JSON.
    weights : list of ndarray
        Its weights.
    held : sequence of HeldModule, default=()
        The torch modules that it names.

    Returns
    -------
    keras.layers.Layer
        The layer or model.

    Raises
    ------
    ValueError
        If a weight is NaN or infinite.
    """
    with modules_at_hand(held):
        layer = keras.saving.deserialize_keras_object(json.loads(config))
    refuse_bad_weights(weights)
    layer.set_weights(weights)
    return layer


def make_stored_network(config, weights, held=()):
    """Put a network together from a description that :func:`check_config` has passed.

    Parameters
    ----------
    config : str
        Keras's JSON.
    weights : list of ndarray
        Its weights.
    held : sequence of HeldModule, default=()
        The torch modules that it names.

    Returns
    -------
    StoredNetwork
        The network, not built yet.

    Raises
    ------
    ValueError
        If a weight is NaN or infinite.
    """
    refuse_bad_weights(weights)
    network = StoredNetwork.__new__(StoredNetwork)
    network.config, network.weights = config, weights
    if held:
        network.held = held
    return network


def describe_module(module):
    """Describe a torch module by its numbers; its code is no part of it.

    Parameters
    ----------
    module : torch.nn.Module
        The module.

    Returns
    -------
    name : str
        What to call it in messages.
    state : dict of str to ndarray
        Parameters and buffers.
    """
    return type(module).__qualname__, state_of(module)


def make_module(module, state):
    """Make a torch module of one that has the code, and the numbers of a description.

    Parameters
    ----------
    module : torch.nn.Module
        A module, which stays as it is.
    state : dict of str to ndarray
        Parameters and buffers.

    Returns
    -------
    torch.nn.Module
        The module, in inference mode.

    Raises
    ------
    ValueError
        If it has other parameters or buffers, or one in the file is NaN or infinite.
    """
    refuse_bad_weights(list(state.values()))
    made = copy_module(module)
    set_state(made, state)
    return made


def named_modules(config):
    """List by which names a configuration knows torch modules.

    Parameters
    ----------
    config : str
        Keras's JSON.

    Returns
    -------
    list of str
        The names, each once.
    """
    own = _registered_name(TorchModule)
    nodes = [node for node in _walk(json.loads(config)) if isinstance(node, dict)]
    found = [node["config"]["held"] for node in nodes if node.get("registered_name") == own]
    return sorted({str(name) for name in found})


def hold(module, name):
    """Give a torch module the name that a configuration knows it by.

    Parameters
    ----------
    module : object
        What the user gave.
    name : str or None
        The name; None gives it one.

    Returns
    -------
    HeldModule
        A copy of the module, in inference mode.

    Raises
    ------
    ValueError
        If it is no torch module, none was given, or it cannot be copied.
    """
    if not is_torch_module(module):
        seen = "" if module is None else f", not a {type(module).__name__}"
        raise ValueError(
            "it has the weights of an embedder and not its code, which is a torch module: "
            f"load(path, embedder=module) takes that{seen}"
        )
    return HeldModule(copy_module(module), name)


def probe(network):
    """Apply a network to a few images that are always the same.

    Parameters
    ----------
    network : StoredNetwork
        A network of images.

    Returns
    -------
    ndarray of shape (4, m), float32
        Results for noise, of pixels from 0 to 1 and from 0 to 255.
    """
    # Of its own: what predicts is shared by all networks of that name, whoever gave their code.
    model = network.rebuild()
    model.trainable = False
    images = np.random.RandomState(0).uniform(size=(2, *model.input_shape[1:]))
    images = np.float32(np.concatenate([images, 255 * images]))
    return np.asarray(model.predict_on_batch(images), dtype=np.float32)


def check_probe(network, expected):
    """Check that the code that was given is that of the network which was saved.

    Parameters
    ----------
    network : StoredNetwork
        The network, with the module that was given.
    expected : ndarray of shape (4, m)
        What :func:`probe` gave when it was saved.

    Raises
    ------
    ValueError
        If it gives something else.
    """
    try:
        found = probe(network)
    # What a module of other code does with these weights nobody lists.
    except Exception as error:
        raise ValueError(f"embedder is another module than the one saved: {error}") from error
    scale = float(np.abs(expected).max())
    same = found.shape == expected.shape
    difference = float(np.abs(found - expected).max()) if same else np.inf
    if difference > _SAME * scale:
        raise ValueError(
            "embedder is another function than the one saved, with the same weights: of F(X), at "
            f"most {scale:.3g}, some components differ by {difference:.3g}"
        )


def check_config(config, trusted=None):
    """Check that a configuration names nothing but what only computes.

    Parameters
    ----------
    config : str
        Keras's JSON.
    trusted : iterable of type or callable, or None, default=None
        Layers and functions that are allowed beside those of the list here. None stands for all
        that `trusted` can have when the file is loaded: what is of Keras or registered with it.

    Raises
    ------
    ValueError
        If it names anything else, or is not Keras's JSON.
    """
    description = json.loads(config) if isinstance(config, str) else None
    if not isinstance(description, dict):
        raise ValueError("a network's configuration is not an object in JSON")
    given = trusted or ()
    registered = set(map(_registered_name, (*_OUR_LAYERS, *given)))
    for node in _walk(description):
        for name in _registrations(node):
            # What is not registered, Keras would look for in the module that the file names.
            known = keras.saving.get_registered_object(name) is not None
            if not known or not (trusted is None or name in registered):
                raise _refusal(name)
        for name in _imports(node):
            ours = trusted is None and name.startswith("keras.")
            if not (name in _ALLOWED or ours or _is_one_of(name, given)):
                raise _refusal(name.removeprefix("None."))


def _walk(value):
    """Go through a value of JSON and all that is in it."""
    values = [value]
    while values:
        value = values.pop()
        yield value
        if isinstance(value, dict):
            values += value.values()
        elif isinstance(value, list):
            values += value


def _registrations(node):
    """Names that Keras looks up among what was registered: in a string, a class, a function."""
    if isinstance(node, str) and ">" in node:
        yield node
    elif isinstance(node, dict) and "class_name" in node:
        if node["class_name"] == "function":
            yield str(node.get("config"))
        elif node.get("registered_name") not in (None, node["class_name"]):
            yield str(node["registered_name"])


def _imports(node):
    """Names that Keras looks up in modules."""
    if not isinstance(node, dict) or "class_name" not in node:
        return
    name = node["class_name"]
    if not isinstance(name, str):
        yield repr(name)
    elif name not in (*_VALUES, "function") and node.get("registered_name") in (None, name):
        yield f"{node.get('module')}.{name}"


def _registered_name(item):
    return keras.saving.get_registered_name(item)


def _is_one_of(name, items):
    """Tell whether a name in Keras means one of these classes, without importing anything."""
    first, *rest = name.split(".")
    found = keras if first == "keras" else None
    for part in rest:
        found = getattr(found, part, None)
    return any(found is item or name == f"{item.__module__}.{item.__name__}" for item in items)


def _refusal(name):
    return ValueError(
        f"a network names {name!r}, which is not among the layers that are known to run no code of "
        "the file and is not in trusted; trusted=[...] takes the registered class, if you trust it"
    )
