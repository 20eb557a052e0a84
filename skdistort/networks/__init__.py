"""Network architectures: plain functional Keras models for images of any size.

What they are trained for is decided elsewhere: losses in :mod:`skdistort.losses`, loops in the
estimators.
"""

from ._blocks import check_filters
from ._decoder import build_decoder
from ._encoder import build_encoder
from ._layers import PixelScaling, SelfAttentivePooling, UnitLength, scale_pixels
from ._pair_head import build_pair_head
from ._torch_module import TorchModule
from ._unet import build_unet
from ._vgg import build_vgg_encoder

__all__ = [
    "PixelScaling",
    "SelfAttentivePooling",
    "TorchModule",
    "UnitLength",
    "build_decoder",
    "build_encoder",
    "build_pair_head",
    "build_unet",
    "build_vgg_encoder",
    "check_filters",
    "scale_pixels",
]
