"""Extraction of i-vectors: background model, Baum-Welch statistics, total variability.

In numpy and scipy. What lives here turns frames of features into one vector an utterance (paper
B, section 3; paper B is Khan and Hernando, "Unsupervised Training of Siamese Networks for Speaker
Verification", Interspeech 2020). Frames come from elsewhere, and so does what compares i-vectors.
"""

from ._extractor import IVectorExtractor
from ._statistics import baum_welch_statistics
from ._ubm import UniversalBackgroundModel

__all__ = ["IVectorExtractor", "UniversalBackgroundModel", "baum_welch_statistics"]
