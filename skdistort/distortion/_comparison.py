"""What a distortion did to images: both sides of it, and paper A's three failures measured.

The measures themselves are in :mod:`skdistort.metrics`; who warns is the estimator.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..metrics import edge_correlation, pointwise_r2

# A template with less contrast than this, in standard deviations of its pixels on [0, 1], is
# blank: two of 255 grey levels.
MIN_CONTRAST = 2 / 255
# Correlation of edge maps, at the best of several resolutions, above which contours are called
# kept. Noise gives about 0, the aligned face of another person 0.1, the negative of an image 1.
MAX_EDGE_CORRELATION = 0.6
# Share of a template's variance explained by the grey values of the image alone, above which the
# template is called a mere change of grey values.
MAX_POINTWISE_R2 = 0.9


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
    failures : tuple of str
        Those of "blank output", "contours kept" and "gamma or negation only" that hold.
    """

    contrast: float
    edge_correlation: float
    pointwise_r2: float
    failures: tuple

    def __str__(self):
        return (
            f"contrast {self.contrast:.3f}, edge correlation {self.edge_correlation:.2f}, "
            f"pointwise R2 {self.pointwise_r2:.2f}"
        )


def diagnose_distortion(images, templates):
    """Measure templates against their images and name the failures that hold.

    Parameters
    ----------
    images, templates : ndarray of shape (n_images, height, width, channels)
        Pixels in ``[0, 1]``.

    Returns
    -------
    DistortionDiagnosis
        Quantities and failures. A blank output has no edges and no grey values, so it is never
        also one of the other two; a mere change of grey values keeps the contours, and is named
        as such alone.

    References
    ----------
    Zakharov, Kuznetsov and Frontoni, "Unrecognizable Yet Identifiable: Image Distortion with
    Preserved Embeddings", Table 5.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.distortion._comparison import diagnose_distortion
    >>> X = np.random.default_rng(0).random((4, 8, 8, 1), dtype=np.float32)
    >>> diagnose_distortion(X, 1 - X).failures
    ('gamma or negation only',)
    """
    contrast = float(np.median(templates.std(axis=(1, 2, 3))))
    edges = float(np.median(edge_correlation(images, templates)))
    explained = float(np.median(pointwise_r2(images, templates)))
    if contrast < MIN_CONTRAST:
        failures = ("blank output",)
    elif explained > MAX_POINTWISE_R2:
        failures = ("gamma or negation only",)
    elif edges > MAX_EDGE_CORRELATION:
        failures = ("contours kept",)
    else:
        failures = ()
    return DistortionDiagnosis(contrast, edges, explained, failures)
