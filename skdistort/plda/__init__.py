"""Probabilistic linear discriminant analysis: likelihood ratios of pairs of vectors."""

from ._plda import PLDA
from ._ratios import llr_matrix, model_llr_matrix, pair_llr

__all__ = ["PLDA", "llr_matrix", "model_llr_matrix", "pair_llr"]
