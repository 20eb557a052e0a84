"""Network architectures: plain functional Keras models for images of any size.

What they are trained for is decided elsewhere: losses in :mod:`skdistort.losses`, loops in the
estimators.
"""

from ._blocks import check_filters
from ._encoder import build_encoder
from ._generators import build_decoder, build_unet
from ._layers import PixelScaling, SelfAttentivePooling, UnitLength, scale_pixels
from ._vgg import build_pair_head, build_vgg_encoder

__all__ = [
    "PixelScaling",
    "SelfAttentivePooling",
    "UnitLength",
    "build_decoder",
    "build_encoder",
    "build_pair_head",
    "build_unet",
    "build_vgg_encoder",
    "check_filters",
    "scale_pixels",
]
