"""Scorers of distortion generators, for ``GridSearchCV(scoring={...}, refit=...)``.

Each has scikit-learn's scorer signature ``(estimator, X, y=None)``, higher is better, and none
depends on the weights of the training loss, so that a search over those compares like with like.
The estimator is a fitted :class:`skdistort.DistortionGenerator`, or a pipeline that ends in one.
What is measured lives in `distortion._comparison`, which the generator's own ``score`` calls too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline

from .distortion._comparison import dissimilarity, identifiability, overall_score
from .metrics import inversion_resistance

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
    return identifiability(_compare(estimator, X), y)


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
    return dissimilarity(_compare(estimator, X))


def inversion_resistance_scorer(
    estimator: DistortionGenerator, X: ArrayLike, y: ArrayLike | None = None
) -> float:
    """Score how badly a fast linear attack reconstructs images from templates.

    A ridge regression learns each image from all the others and their templates, see
    :func:`skdistort.metrics.inversion_resistance`. A linear attack is a lower bound on what leaks:
    a U-Net's templates give more to a trained decoder.

    Parameters
    ----------
    estimator : DistortionGenerator
        A fitted generator.
    X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
        Images, 20 at least.
    y : None
        Ignored.

    Returns
    -------
    float
        The share of the images' variance that stays unexplained, in ``[0, 1]``: 0 for a perfect
        inversion, 1 for a blind guess.
    """
    comparison = _compare(estimator, X)
    return inversion_resistance(comparison.images, comparison.templates)


def distortion_score(
    estimator: DistortionGenerator, X: ArrayLike, y: ArrayLike | None = None
) -> float:
    """Score identifiability, dissimilarity and resistance together, by their harmonic mean.

    Parameters
    ----------
    estimator : DistortionGenerator
        A fitted generator.
    X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
        Images, 20 at least.
    y : array-like of shape (n_samples,), default=None
        Classes, see :func:`identifiability_scorer`.

    Returns
    -------
    float
        In ``[0, 1]``; 0 if a part is 0.
    """
    return overall_score(_compare(estimator, X), y)


def _compare(estimator, X):
    while isinstance(estimator, Pipeline):
        for _, step in estimator.steps[:-1]:
            X = X if step in (None, "passthrough") else step.transform(X)
        estimator = estimator.steps[-1][1]
    return estimator.compare(X)
