"""Estimators, in the style of scikit-learn, for unrecognisable yet identifiable images.

Estimators are imported on first use, so that :mod:`skdistort.metrics` works without Keras.
"""

from importlib import import_module

__version__ = "0.1.0"

_LAZY = {
    "DistortionGenerator": "skdistort.distortion",
    "TripletEmbedder": "skdistort.embedding",
    "metrics": "skdistort.metrics",
}

__all__ = ["DistortionGenerator", "TripletEmbedder", "__version__", "metrics"]


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_LAZY[name])
    return module if name == "metrics" else getattr(module, name)


def __dir__():
    return sorted({*globals(), *__all__})
