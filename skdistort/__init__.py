"""Estimators, in the style of scikit-learn, for distorted templates and label-free verification.

Estimators are imported on first use, so that :mod:`skdistort.metrics` works without Keras.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__

_LAZY = {
    "CepstralCoefficients": "skdistort.audio",
    "DistortionGenerator": "skdistort.distortion",
    "EmbeddingStore": "skdistort.templates",
    "IVectorExtractor": "skdistort.ivector",
    "LogMelSpectrogram": "skdistort.audio",
    "PLDA": "skdistort.plda",
    "ScoreFusion": "skdistort.fusion",
    "SiameseVerifier": "skdistort.verification",
    "SoftmaxEmbedder": "skdistort.verification",
    "TemplateStore": "skdistort.templates",
    "TripletEmbedder": "skdistort.embedding",
    "UniversalBackgroundModel": "skdistort.ivector",
    "metrics": "skdistort.metrics",
    "protection_report": "skdistort.attacks",
}

__all__ = [
    "CepstralCoefficients",
    "DistortionGenerator",
    "EmbeddingStore",
    "IVectorExtractor",
    "LogMelSpectrogram",
    "PLDA",
    "ScoreFusion",
    "SiameseVerifier",
    "SoftmaxEmbedder",
    "TemplateStore",
    "TripletEmbedder",
    "UniversalBackgroundModel",
    "__version__",
    "metrics",
    "protection_report",
]


if TYPE_CHECKING:
    from . import metrics
    from .attacks import protection_report
    from .audio import CepstralCoefficients, LogMelSpectrogram
    from .distortion import DistortionGenerator
    from .embedding import TripletEmbedder
    from .fusion import ScoreFusion
    from .ivector import IVectorExtractor, UniversalBackgroundModel
    from .plda import PLDA
    from .templates import EmbeddingStore, TemplateStore
    from .verification import SiameseVerifier, SoftmaxEmbedder
else:
    # Not for type checkers, to which every name would be in the module.
    def __getattr__(name):
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(_LAZY[name])
        return module if name == "metrics" else getattr(module, name)


def __dir__():
    return sorted({*globals(), *__all__})
