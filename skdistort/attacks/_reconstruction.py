"""How near reconstructions come to the images, in pixels.

Whether a verifier accepts them is in :mod:`skdistort.attacks._matching`.
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from ..metrics import abs_pearson, dssim, mse


def reconstruction_quality(images: ArrayLike, reconstructions: ArrayLike) -> dict[str, float]:
    """Measure reconstructions against the images that they are to show.

    Parameters
    ----------
    images, reconstructions : array-like of shape (n_images, height, width, channels)
        Pixels in ``[0, 1]``.

    Returns
    -------
    dict of str to float
        Means over the images: ``"ssim"``, structural similarity, in [-1, 1]; ``"mse"``; and
        ``"abs_pearson"``, the absolute correlation of the pixels, in [0, 1].

    Raises
    ------
    ValueError
        As :func:`~skdistort.metrics.mse`.

    References
    ----------
    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to
    structural similarity", IEEE Trans. Image Processing 13 (2004).

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.attacks import reconstruction_quality
    >>> X = np.random.default_rng(0).uniform(size=(4, 8, 8, 1))
    >>> quality = reconstruction_quality(X, 1 - X)
    >>> round(quality["abs_pearson"], 6), quality["ssim"] < 0
    (1.0, True)
    """
    return {
        "ssim": float(1 - 2 * dssim(images, reconstructions).mean()),
        "mse": float(mse(images, reconstructions).mean()),
        "abs_pearson": float(abs_pearson(images, reconstructions).mean()),
    }
