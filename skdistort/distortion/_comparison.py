"""What a distortion did to images: both sides of it, its scores, and paper A's three failures.

The measures themselves are in :mod:`skdistort.metrics`; who warns is the estimator.
"""

from dataclasses import dataclass
from statistics import harmonic_mean
from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import column_or_1d

from .._labels import as_labels
from ..metrics import (
    abs_pearson,
    edge_correlation,
    equal_error_rate,
    inversion_resistance,
    pair_scores,
    pointwise_r2,
)

# A template with less contrast than this, in standard deviations of its pixels on [0, 1], is
# blank: two of 255 grey levels.
MIN_CONTRAST = 2 / 255
# Correlation of edge maps, at the best of several resolutions, above which contours are called
# kept. Noise gives about 0, the aligned face of another person 0.1, the negative of an image 1.
MAX_EDGE_CORRELATION = 0.6
# Share of a template's variance explained by the grey values of the image alone, above which the
# template is called a mere change of grey values.
MAX_POINTWISE_R2 = 0.9
# Squared distance of F(T) to what it should be, after refinement, above which embeddings are
# called not reached: unrelated ones are 2 apart, and of one person some 0.5.
MAX_EMBEDDING_DISTANCE = 0.4


class DistortionComparison(NamedTuple):
    """Images and their templates, as pixels and as embeddings.

    Attributes
    ----------
    images, templates : ndarray of shape (n_samples, height, width, channels), dtype float32
        X and G(X), pixels in ``[0, 1]``.
    embeddings, template_embeddings : ndarray of shape (n_samples, m), dtype float32
        F(X) and F(G(X)).
    """

    images: np.ndarray
    templates: np.ndarray
    embeddings: np.ndarray
    template_embeddings: np.ndarray

    @property
    def embedding_distances(self):
        """Tell how near each template comes to what F should see in it.

        Returns
        -------
        ndarray of shape (n_samples,), dtype float32
            Squared distances of F(G(X)) and F(X), or R_key F(X); 0 to 4 for unit length.
        """
        return np.sum((self.embeddings - self.template_embeddings) ** 2, axis=1)


def identifiability(comparison, y=None):
    """Measure how well plain probes are verified against templates: ``max(0, 1 - 2 EER)``.

    Parameters
    ----------
    comparison : DistortionComparison
        Images and their templates.
    y : array-like of shape (n_samples,), default=None
        Classes; a probe is never compared with its own template. Without them it is genuine with
        its own template, and an impostor with the others.

    Returns
    -------
    float
        1 when every pair is told apart, 0 at chance.
    """
    probes, enrolled = comparison.embeddings, comparison.template_embeddings
    identities = np.arange(len(probes)) if y is None else column_or_1d(as_labels(y, "y"))
    scores = pair_scores(probes, identities, enrolled, identities, exclude_same_index=y is not None)
    return max(0.0, 1.0 - 2.0 * equal_error_rate(*scores)[0])


def dissimilarity(comparison):
    """Measure how little templates look like images: 1 - mean absolute Pearson correlation.

    Parameters
    ----------
    comparison : DistortionComparison
        Images and their templates.

    Returns
    -------
    float
        In ``[0, 1]``; a negative is as similar as the image itself.
    """
    correlations = abs_pearson(comparison.images, comparison.templates)
    return max(0.0, 1.0 - float(np.mean(correlations)))


def overall_score(comparison, y=None):
    """Combine what templates keep and hide by a harmonic mean.

    Its parts are :func:`identifiability`, :func:`dissimilarity`, and the
    :func:`~skdistort.metrics.inversion_resistance`, without which templates would do best that a
    straight line inverts.

    Parameters
    ----------
    comparison : DistortionComparison
        Images and their templates, 20 at least.
    y : array-like of shape (n_samples,), default=None
        Classes, see :func:`identifiability`.

    Returns
    -------
    float
        In ``[0, 1]``; 0 if a part is 0.
    """
    parts = [
        identifiability(comparison, y),
        dissimilarity(comparison),
        inversion_resistance(comparison.images, comparison.templates),
    ]
    # Where a part is 0 it gives an int.
    return float(harmonic_mean(parts))


@dataclass(frozen=True)
class DistortionDiagnosis:
    """What was measured on images and their templates, pixels in ``[0, 1]``.

    Attributes
    ----------
    contrast : float
        Median over templates of the standard deviation of the pixels.
    edge_correlation : float
        Median absolute correlation of the edge maps of image and template, at the best of several
        resolutions.
    pointwise_r2 : float
        Median share of a template's variance that the image's grey values explain.
    embedding_distance : float
        Median squared distance of the templates' embeddings to what they should be.
    failures : tuple of str
        Those of "blank output", "contours kept", "gamma or negation only" and "embedding not
        reached" that hold.
    """

    contrast: float
    edge_correlation: float
    pointwise_r2: float
    embedding_distance: float
    failures: tuple

    def __str__(self):
        return (
            f"contrast {self.contrast:.3f}, edge correlation {self.edge_correlation:.2f}, "
            f"pointwise R2 {self.pointwise_r2:.2f}, embedding distance "
            f"{self.embedding_distance:.3f}"
        )


def diagnose_distortion(comparison, *, refined):
    """Measure templates against their images and name the failures that hold.

    Parameters
    ----------
    comparison : DistortionComparison
        Images and their templates.
    refined : bool
        Whether templates were refined, so that an embedding that is not reached is a failure.

    Returns
    -------
    DistortionDiagnosis
        Quantities and failures. A blank output has no edges and no grey values, so it is never
        also one of the other two of paper A; a mere change of grey values keeps the contours, and
        is named as such alone.

    References
    ----------
    Zakharov, Kuznetsov and Frontoni, "Unrecognizable Yet Identifiable: Image Distortion with
    Preserved Embeddings", Table 5.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.distortion._comparison import DistortionComparison, diagnose_distortion
    >>> X, Z = np.random.default_rng(0).random((4, 8, 8, 1), dtype=np.float32), np.eye(4)
    >>> diagnose_distortion(DistortionComparison(X, 1 - X, Z, Z), refined=True).failures
    ('gamma or negation only',)
    """
    images, templates = comparison.images, comparison.templates
    contrast = float(np.median(templates.std(axis=(1, 2, 3))))
    edges = float(np.median(edge_correlation(images, templates)))
    explained = float(np.median(pointwise_r2(images, templates)))
    distance = float(np.median(comparison.embedding_distances))
    failures = []
    if contrast < MIN_CONTRAST:
        failures.append("blank output")
    elif explained > MAX_POINTWISE_R2:
        failures.append("gamma or negation only")
    elif edges > MAX_EDGE_CORRELATION:
        failures.append("contours kept")
    if refined and distance > MAX_EMBEDDING_DISTANCE:
        failures.append("embedding not reached")
    return DistortionDiagnosis(contrast, edges, explained, distance, tuple(failures))
