"""MobileFaceNet, a pretrained face embedder, as a Keras model.

What lives here is how the pixels of one file are scaled; the file itself is read by
:func:`skdistort.onnx.load_onnx`, which reads those of other networks, too. No weights come with
skdistort. Photos to embed are read in :mod:`skdistort.datasets`.
"""

from __future__ import annotations

import os

import numpy as np

from ._backend import keras
from ._typing import FilePath, Model
from .images._layout import check_pixel_range
from .networks import UnitLength
from .onnx import load_onnx

# Mean and standard deviation of ImageNet's red, green and blue, pixels in [0, 1].
_MEAN = np.array([0.485, 0.456, 0.406])
_DEVIATION = np.array([0.229, 0.224, 0.225])

_SHAPES = (None, 112, 112, 3), (None, 128)


def load_mobilefacenet(path: FilePath, *, pixel_range: tuple[float, float] = (0, 255)) -> Model:
    """Build MobileFaceNet with the weights of an ONNX file.

    The file is the one of foamliu's MobileFaceNet (Apache-2.0): 128 components, ReLU6 where the
    paper has PReLU, exported by PyTorch with batch normalisation folded into the convolutions.

    Parameters
    ----------
    path : str or path-like
        The file, such as ``MobileFaceNet.onnx``.
    pixel_range : tuple of 2 float, default=(0, 255)
        Values of black and white in the images that the model will be given.

    Returns
    -------
    keras.Model
        Aligned RGB faces ``(n, 112, 112, 3)`` to embeddings ``(n, 128)`` of unit length, float32.
        A plain functional model, to be given as `embedder` to
        :class:`~skdistort.DistortionGenerator`.

    Raises
    ------
    ImportError
        If the package onnx is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, its network takes or gives other shapes, or `pixel_range` is not
        rising.

    See Also
    --------
    skdistort.onnx.load_onnx : Loads other networks.

    References
    ----------
    Chen, Liu, Gao, Han, "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification
    on Mobile Devices", Chinese Conference on Biometric Recognition (2018), Table 1.
    https://github.com/foamliu/MobileFaceNet

    Examples
    --------
    >>> from skdistort.mobilefacenet import load_mobilefacenet
    >>> embedder = load_mobilefacenet("MobileFaceNet.onnx")  # doctest: +SKIP
    >>> embedder.output_shape  # doctest: +SKIP
    (None, 128)
    """
    low, high = check_pixel_range(pixel_range)
    span = high - low
    network = load_onnx(path, mean=low + span * _MEAN, std=span * _DEVIATION)
    found = network.input_shape, network.output_shape
    if found != _SHAPES:
        raise ValueError(
            f"{os.fspath(path)} is no ONNX file of MobileFaceNet: it brings {found[0]} to "
            f"{found[1]}, expected {_SHAPES[0]} to {_SHAPES[1]}; skdistort.onnx.load_onnx loads "
            "other networks."
        )
    return keras.Model(network.input, UnitLength()(network.output), name="mobilefacenet")
