"""Photos to aligned faces: where a face is, and how it is turned to where networks look for it.

Keras-free. What takes the aligned faces lives elsewhere: embedders of others in
:mod:`skdistort.onnx`, the one to train is
:class:`skdistort.TripletEmbedder`.
"""

from ._aligner import FaceAligner
from ._centerface import CenterFace, Faces
from ._geometry import similarity_transform

__all__ = ["CenterFace", "FaceAligner", "Faces", "similarity_transform"]
