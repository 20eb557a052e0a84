"""Distortion of images that an embedder still identifies: the generator and what it did."""

from ._comparison import DistortionComparison, DistortionDiagnosis
from ._generator import DistortionGenerator

__all__ = ["DistortionComparison", "DistortionDiagnosis", "DistortionGenerator"]
