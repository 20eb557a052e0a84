"""Measures of verification and of distortion, in numpy only: this package never imports Keras.

What lives here turns scores, embeddings and images into numbers. What trains or runs a network
does not; the differentiable twins of the image distances are in :mod:`skdistort.distances`.
"""

from ._distortion import (
    DistanceTable,
    DistortionReport,
    baseline_templates,
    distance_table,
    distortion_report,
    ridge_inversion,
)
from ._image_distances import (
    abs_pearson,
    dssim,
    edge_correlation,
    l1,
    mse,
    pointwise_r2,
    rmse,
)
from ._pairs import pair_scores
from ._report import VerificationReport, verification_report
from ._verification import best_f1_threshold, det_points, equal_error_rate, fnmr_at_fmr

__all__ = [
    "DistanceTable",
    "DistortionReport",
    "VerificationReport",
    "abs_pearson",
    "baseline_templates",
    "best_f1_threshold",
    "det_points",
    "distance_table",
    "distortion_report",
    "dssim",
    "edge_correlation",
    "equal_error_rate",
    "fnmr_at_fmr",
    "l1",
    "mse",
    "pair_scores",
    "pointwise_r2",
    "ridge_inversion",
    "rmse",
    "verification_report",
]
