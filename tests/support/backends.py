"""What tests of several modules share: images, each backend's way in and out, its autodiff."""

import keras
import numpy as np
import pytest
from hypothesis import settings

# Compiling an operation for a new shape takes seconds on some backends: no deadlines.
properties = settings(deadline=None, max_examples=25)

TINY_VERIFIER = {
    "filters": (4, 8),
    "n_components": 8,
    "hidden_units": 16,
    "head_units": (8,),
    "learning_rate": 1e-2,
    "batch_size": 60,
}


def to_numpy(tensor):
    """Bring a tensor of any backend to numpy."""
    return keras.ops.convert_to_numpy(tensor)


def to_tensor(array):
    """Bring floats or integers to the backend, floats as float32."""
    array = np.asarray(array)
    return keras.ops.convert_to_tensor(array, "int32" if array.dtype.kind == "i" else "float32")


def evaluate(function, *arrays, **options):
    """Call a function of tensors with arrays; numpy out, one array or a tuple of them."""
    values = function(*map(to_tensor, arrays), **options)
    return tuple(map(to_numpy, values)) if isinstance(values, tuple) else to_numpy(values)


def gradients(function, *arrays):
    """Differentiate the sum of a function's values by each of its arguments.

    Parameters
    ----------
    function : callable
        Tensors to one tensor, in ``keras.ops``.
    *arrays : ndarray
        Where to differentiate, as float32.

    Returns
    -------
    list of ndarray
        One gradient for each argument, of its shape.
    """
    tensors = [to_tensor(np.float32(array)) for array in arrays]

    def total(*arguments):
        return keras.ops.sum(function(*arguments))

    return [to_numpy(g) for g in _DIFFERENTIATE[keras.backend.backend()](total, tensors)]


def _by_tensorflow(total, tensors):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = total(*tensors)
    return tape.gradient(value, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _by_torch(total, tensors):
    import torch

    tensors = [t.detach().clone().requires_grad_(True) for t in tensors]
    value = total(*tensors)
    return [
        torch.zeros_like(t) if g is None else g
        for g, t in zip(
            torch.autograd.grad(value, tensors, allow_unused=True), tensors, strict=True
        )
    ]


def _by_jax(total, tensors):
    import jax

    return jax.grad(total, argnums=tuple(range(len(tensors))))(*tensors)


_DIFFERENTIATE = {"tensorflow": _by_tensorflow, "torch": _by_torch, "jax": _by_jax}


def image_pairs(n=3, h=14, w=13, c=1, seed=0):
    """Draw smooth-ish images and related ones."""
    rng = np.random.default_rng(seed)
    X = rng.random((n, h, w, c))
    return X, 0.6 * X**2 + 0.4 * rng.random(X.shape)


def skip_where_keras_cannot_resize():
    """Skip a test where a release of Keras resizes images on PyTorch by torchvision."""
    try:
        keras.ops.image.resize(np.zeros((1, 2, 2, 1), np.float32), (3, 3))
    except ImportError:
        pytest.skip("this release of Keras resizes by torchvision on PyTorch")
