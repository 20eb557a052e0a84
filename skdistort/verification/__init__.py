"""Verifiers of pairs by a network: trained without labels, or on identities for comparison."""

from ._siamese import SiameseVerifier
from ._softmax import SoftmaxEmbedder

__all__ = ["SiameseVerifier", "SoftmaxEmbedder"]
