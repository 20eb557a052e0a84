"""Layers as PyTorch computes them itself, and networks made of them.

On PyTorch Keras brings the input of each convolution and pooling into another order of axes and
back, by copies, and normalises batches in elementary operations. The layers here are Keras's own
with the same weights and results; only their arithmetic is PyTorch's. They come in where a network
is run, and never into what is stored. Imported where Keras runs on PyTorch, as `_torch_steps` is.
"""

import json

import torch
from torch.nn import functional

from .._backend import keras
from ._layers import PixelScaling, UnitLength

layers = keras.layers
_CHANNELS_FIRST, _CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
_KERNEL = (3, 2, 0, 1)


class _Convolution(keras.layers.Conv2D):
    def convolution_op(self, inputs, kernel):
        """Convolve a view of the input, without copies."""
        if self.data_format != "channels_last" or not _pads_alike(self):
            return super().convolution_op(inputs, kernel)
        return functional.conv2d(
            inputs.permute(_CHANNELS_FIRST),
            keras.ops.convert_to_tensor(kernel).permute(_KERNEL),
            stride=tuple(self.strides),
            padding=self.padding,
            dilation=tuple(self.dilation_rate),
            groups=self.groups,
        ).permute(_CHANNELS_LAST)


def _pads_alike(layer):
    """Tell whether PyTorch's padding of a layer is Keras's."""
    return layer.padding == "valid" or (layer.padding == "same" and max(layer.strides) == 1)


class _Upsampling(keras.layers.Conv2DTranspose):
    def call(self, inputs):
        """Convolve a view of the input, where nothing is to be cut off."""
        if self.data_format != "channels_last" or not self._covers_once():
            return super().call(inputs)
        outputs = functional.conv_transpose2d(
            inputs.permute(_CHANNELS_FIRST),
            keras.ops.convert_to_tensor(self.kernel).permute(_KERNEL),
            keras.ops.convert_to_tensor(self.bias) if self.use_bias else None,
            stride=tuple(self.strides),
        ).permute(_CHANNELS_LAST)
        return outputs if self.activation is None else self.activation(outputs)

    def _covers_once(self):
        """Tell whether each output comes of one input alone."""
        plain = self.output_padding is None and max(self.dilation_rate) == 1
        return plain and tuple(self.kernel_size) == tuple(self.strides)


class _MaxPooling(keras.layers.MaxPooling2D):
    def call(self, inputs):
        """Pool a view of the input; a window that is cut at the end is smaller."""
        if self.data_format != "channels_last" or not self._tiles():
            return super().call(inputs)
        return functional.max_pool2d(
            inputs.permute(_CHANNELS_FIRST),
            tuple(self.pool_size),
            ceil_mode=self.padding == "same",
        ).permute(_CHANNELS_LAST)

    def _tiles(self):
        """Tell whether windows lie side by side, so that at most one more row is padded."""
        tiles = tuple(self.pool_size) == tuple(self.strides)
        return tiles and (self.padding == "valid" or max(self.pool_size) <= 2)


class _BatchNormalization(keras.layers.BatchNormalization):
    def call(self, inputs, training=None, mask=None):
        """Normalise in one operation."""
        last = self.axis in (-1, inputs.ndim - 1) and inputs.ndim in (2, 4)
        # Which older releases do not have.
        renormalises = getattr(self, "renorm", False)
        if mask is not None or renormalises or not last:
            return super().call(inputs, training=training, mask=mask)
        axes_first = inputs.permute(_CHANNELS_FIRST) if inputs.ndim == 4 else inputs
        mean, variance, gamma, beta = (
            None if weight is None else keras.ops.convert_to_tensor(weight)
            for weight in (self.moving_mean, self.moving_variance, self.gamma, self.beta)
        )
        learns = bool(training and self.trainable)
        if learns:
            mean, variance = torch.zeros_like(mean), torch.zeros_like(variance)
        outputs = functional.batch_norm(
            axes_first,
            mean,
            variance,
            gamma,
            beta,
            training=learns,
            # Of what it is given as running statistics, nothing stays.
            momentum=1.0,
            eps=self.epsilon,
        )
        if learns:
            self._follow(mean, variance, inputs.numel() // inputs.shape[-1])
        outputs = outputs.permute(_CHANNELS_LAST) if inputs.ndim == 4 else outputs
        return keras.ops.cast(outputs, self.compute_dtype)

    def _follow(self, mean, variance, n_samples):
        """Move the running statistics; PyTorch's variance is the unbiased one, Keras's is not."""
        biased = variance * ((n_samples - 1) / n_samples)
        with torch.no_grad():
            for moving, found in ((self.moving_mean, mean), (self.moving_variance, biased)):
                moving.value.lerp_(found, 1.0 - self.momentum)


class _Dense(keras.layers.Dense):
    def call(self, inputs, training=None):
        """Multiply in float64 where nothing is learned, so that no row shows its place.

        On a CPU the last bit of a product of float32 depends on where in the batch a row stands.
        """
        kernel = keras.ops.convert_to_tensor(self.kernel)
        learns = torch.is_grad_enabled() and kernel.requires_grad
        if learns or inputs.dtype != torch.float32 or inputs.device.type != "cpu":
            return super().call(inputs)
        outputs = inputs.double() @ kernel.double()
        if self.use_bias:
            outputs = outputs + keras.ops.convert_to_tensor(self.bias)
        outputs = outputs.float()
        return outputs if self.activation is None else self.activation(outputs)


class _Direct:
    """Calls a layer's arithmetic at once, since what Keras looks at before takes as long.

    For layers whose weights and inputs are float32, in networks that hold no others.
    """

    def __call__(self, *args, **kwargs):
        first = args[0] if args else None
        plain = isinstance(first, torch.Tensor) and getattr(first, "_keras_mask", None) is None
        if not plain or not self.built or kwargs.keys() - {"training"}:
            return super().__call__(*args, **kwargs)
        # Only layers that behave otherwise in training have an argument for it.
        if isinstance(self, layers.BatchNormalization):
            return self.call(*args, **kwargs)
        return self.call(*args)


_OWN = {
    "Conv2D": _Convolution,
    "Conv2DTranspose": _Upsampling,
    "MaxPooling2D": _MaxPooling,
    "BatchNormalization": _BatchNormalization,
    "Dense": _Dense,
}
_PLAIN = ("Activation", "Cropping2D", "Flatten", "LeakyReLU", "Reshape", "ZeroPadding2D")
_DIRECT = {
    name: type(f"_Direct{name}", (_Direct, layer), {})
    for name, layer in {
        "PixelScaling": PixelScaling,
        "UnitLength": UnitLength,
        **{name: getattr(layers, name) for name in _PLAIN},
        **_OWN,
    }.items()
}
# What stands in a configuration where a layer's numbers are of another kind than float32.
_OTHER_KINDS = ("float16", "float64", "float8", "int8", "int4")
_PREFIX = "skdistort.networks._torch_layers>"


def with_own_layers(model):
    """Build a network anew of PyTorch's own operations.

    Parameters
    ----------
    model : keras.Model
        A network whose layers Keras can serialise.

    Returns
    -------
    keras.Model
        The same function with weights of its own, equal to those of `model`.
    """
    config = model.to_json()
    mixed = any(kind in config for kind in _OTHER_KINDS)
    mixed = mixed or keras.config.dtype_policy().name != "float32"
    own = _OWN if mixed else _DIRECT

    def exchange(node):
        name = node.get("class_name")
        known = node.get("module") == "keras.layers" or node.get("registered_name") == (
            f"skdistort>{name}"
        )
        if known and name in own:
            return {**node, "module": None, "registered_name": _PREFIX + name}
        return node

    rebuilt = keras.models.model_from_json(
        json.dumps(json.loads(config, object_hook=exchange)),
        custom_objects={_PREFIX + name: layer for name, layer in own.items()},
    )
    rebuilt.set_weights(model.get_weights())
    return rebuilt
