"""ONNX files of image networks, rebuilt as Keras models.

The models are plain functional ones, channels last, that run, learn and are saved on every backend.
Only inference is rebuilt: dropout does nothing, batch normalisation has the file's statistics.

Faces and other photos to embed are read in :mod:`skdistort.datasets`; what may be an embedder is
decided where one is used.
"""

from ._network import load_onnx

__all__ = ["load_onnx"]
