"""Scorers of distortion generators, for ``GridSearchCV(scoring={...}, refit=...)``.

Each has scikit-learn's scorer signature ``(estimator, X, y=None)``, higher is better, and none
depends on the weights of the training loss, so that a search over those compares like with like.
The estimator is a fitted :class:`skdistort.DistortionGenerator`, or a pipeline that ends in one.
What is measured lives in :mod:`skdistort.metrics`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import column_or_1d

from ._labels import as_labels
from .metrics import abs_pearson, dssim, equal_error_rate, pair_scores, ridge_inversion

if TYPE_CHECKING:
    from .distortion import DistortionGenerator


def identifiability_scorer(
    estimator: DistortionGenerator, X: ArrayLike, y: ArrayLike | None = None
) -> float:
    """Score how well plain probes are verified against distorted templates.

    Parameters
    ----------
    estimator : DistortionGenerator
        A fitted generator.
    X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
        Images, each both probe and, distorted, template.
    y : array-like of shape (n_samples,), default=None
        Classes; a probe is never compared with its own template. Without them sample identity
        stands in: a probe's own template is genuine, the others' are impostors.

    Returns
    -------
    float
        ``max(0, 1 - 2 EER)``: 1 when every pair is told apart, 0 at chance.
    """
    return _identifiability(_compare(estimator, X), y)


def dissimilarity_scorer(
    estimator: DistortionGenerator, X: ArrayLike, y: ArrayLike | None = None
) -> float:
    """Score how little templates look like the images.

    Parameters
    ----------
    estimator : DistortionGenerator
        A fitted generator.
    X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
        Images.
    y : None
        Ignored.

    Returns
    -------
    float
        1 - mean absolute Pearson correlation of image and template, so that a negative is as
        similar as the image itself; in ``[0, 1]``.
    """
    return _dissimilarity(_compare(estimator, X))


def inversion_resistance_scorer(
    estimator: DistortionGenerator, X: ArrayLike, y: ArrayLike | None = None
) -> float:
    """Score how badly a fast linear attack reconstructs images from templates.

    A ridge regression learns images from the templates of every other sample and attacks those
    of the rest. A linear attack is a lower bound on what leaks: a U-Net's templates give more to
    a trained decoder.

    Parameters
    ----------
    estimator : DistortionGenerator
        A fitted generator.
    X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
        Images, at least four.
    y : None
        Ignored.

    Returns
    -------
    float
        Mean DSSIM, ``(1 - SSIM) / 2``, of the reconstructions; 0 for a perfect inversion.
    """
    images, templates = _compare(estimator, X)[:2]
    rebuilt = ridge_inversion(templates[::2], images[::2], templates[1::2])
    return float(np.mean(dssim(images[1::2], rebuilt)))


def distortion_score(
    estimator: DistortionGenerator, X: ArrayLike, y: ArrayLike | None = None
) -> float:
    """Score identifiability and dissimilarity together, by their harmonic mean.

    Parameters
    ----------
    estimator : DistortionGenerator
        A fitted generator.
    X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
        Images.
    y : array-like of shape (n_samples,), default=None
        Classes, see :func:`identifiability_scorer`.

    Returns
    -------
    float
        In ``[0, 1]``; 0 if either part is 0.
    """
    comparison = _compare(estimator, X)
    parts = _identifiability(comparison, y), _dissimilarity(comparison)
    return 2.0 * parts[0] * parts[1] / sum(parts) if sum(parts) > 0 else 0.0


def _compare(estimator, X):
    while isinstance(estimator, Pipeline):
        for _, step in estimator.steps[:-1]:
            X = X if step in (None, "passthrough") else step.transform(X)
        estimator = estimator.steps[-1][1]
    return estimator.compare(X)


def _identifiability(comparison, y):
    probes, enrolled = comparison.embeddings, comparison.template_embeddings
    identities = np.arange(len(probes)) if y is None else column_or_1d(as_labels(y, "y"))
    scores = pair_scores(probes, identities, enrolled, identities, exclude_same_index=y is not None)
    return max(0.0, 1.0 - 2.0 * equal_error_rate(*scores)[0])


def _dissimilarity(comparison):
    return 1.0 - float(np.mean(abs_pearson(comparison.images, comparison.templates)))
