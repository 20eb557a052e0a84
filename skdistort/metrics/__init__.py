"""Measures of verification and of distortion, in numpy only: this package never imports Keras.

What lives here turns scores, embeddings and images into numbers. What trains or runs a network
does not; the differentiable twins of the image distances are in :mod:`skdistort.distances`.
"""

from ._bootstrap import BootstrapInterval, bootstrap_interval
from ._calibration_cost import cllr, min_cllr
from ._cross_validated_accuracy import CrossValidatedAccuracy, cross_validated_accuracy
from ._detection_cost import act_dcf, average_dcf, bayes_threshold, min_dcf
from ._distortion import (
    DistanceTable,
    DistortionReport,
    distance_table,
    distortion_report,
    ridge_inversion,
    trivial_templates,
)
from ._image_distances import abs_pearson, dssim, edge_correlation, l1, mse, pointwise_r2, rmse
from ._pairs import iter_pair_scores, pair_scores
from ._ridge import inversion_resistance
from ._streaming import pairwise_equal_error_rate, streaming_equal_error_rate
from ._unlinkability import Unlinkability, unlinkability
from ._verification import (
    OperatingPoint,
    OperatingPoints,
    best_f1_threshold,
    d_prime,
    det_points,
    equal_error_rate,
    fnmr_at_fmr,
    operating_points,
)
from ._verification_report import VerificationReport, verification_report

__all__ = [
    "BootstrapInterval",
    "CrossValidatedAccuracy",
    "DistanceTable",
    "DistortionReport",
    "OperatingPoint",
    "OperatingPoints",
    "Unlinkability",
    "VerificationReport",
    "abs_pearson",
    "act_dcf",
    "average_dcf",
    "bayes_threshold",
    "best_f1_threshold",
    "bootstrap_interval",
    "cllr",
    "cross_validated_accuracy",
    "d_prime",
    "det_points",
    "distance_table",
    "distortion_report",
    "dssim",
    "edge_correlation",
    "equal_error_rate",
    "fnmr_at_fmr",
    "inversion_resistance",
    "iter_pair_scores",
    "l1",
    "min_cllr",
    "min_dcf",
    "mse",
    "operating_points",
    "pair_scores",
    "pairwise_equal_error_rate",
    "pointwise_r2",
    "ridge_inversion",
    "rmse",
    "streaming_equal_error_rate",
    "trivial_templates",
    "unlinkability",
    "verification_report",
]
