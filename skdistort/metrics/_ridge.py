"""Ridge regression of images on templates: the attack that takes no training, and what resists it.

What is made of the reconstructions lives in :mod:`skdistort.metrics._distortion` and
:mod:`skdistort.attacks`.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.compose import TransformedTargetRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

# Of fewer images even negatives are hardly learned: of ten digits 59 % of the variance stays
# unexplained, of twenty 28 %, of fifty 1 %.
_FEWEST_KNOWN = 20
# More images make the attack little better and much slower; of large ones as many as 64 MB hold.
_MOST_KNOWN, _KNOWN_VALUES = 2000, 2**24
# Penalties to choose from, for templates whose squared distance to their mean is 1 on average.
_PENALTIES = tuple(10.0**power for power in range(-3, 3))


def fit_ridge(templates: ArrayLike, images: ArrayLike, alpha: float) -> Any:
    """Learn images from templates by least squares with a penalty on squared weights.

    Parameters
    ----------
    templates : array-like of shape (n_samples, ...)
        What is known of each image.
    images : array-like of shape (n_samples, ...)
        The images.
    alpha : float
        Penalty, at least 0.

    Returns
    -------
    sklearn regressor
        Fitted, in float64, of flat images on flat templates. Where a template has more values than
        there are samples it is the dual form, which holds no matrix of weights: that of photos of
        112 by 112 pixels in colour takes 11 GB.
    """
    # In float32 the normal equations of large images swallow the penalty.
    arrays = (np.asarray(values, dtype=np.float64) for values in (templates, images))
    known, targets = (values.reshape(len(values), -1) for values in arrays)
    if known.shape[1] <= len(known):
        return Ridge(alpha=alpha).fit(known, targets)
    dual = TransformedTargetRegressor(
        make_pipeline(StandardScaler(with_std=False), KernelRidge(alpha=alpha)),
        transformer=StandardScaler(with_std=False),
        check_inverse=False,
    )
    return dual.fit(known, targets)


def inversion_resistance(X01: ArrayLike, templates: ArrayLike) -> float:
    """Measure how badly a ridge regression reconstructs images from their templates.

    Each image is reconstructed by a regression that learned from all the others. The squared error
    is told as a share of that of a blind guess, the mean of the others: it is the share of the
    images' variance that this attack leaves unexplained. Neither the order of the images nor the
    contrast of the templates plays a part.

    Parameters
    ----------
    X01 : array-like of shape (n_images, ...)
        Images, pixels in [0, 1]; 20 at least. Of more than 2,000, or 2**24 values, some are taken,
        by a hash of their pixels.
    templates : array-like of shape (n_images, ...)
        Their templates, or embeddings, in the same order.

    Returns
    -------
    float
        In [0, 1]: 0 for a perfect inversion, such as that of negatives; 1 where the attack does no
        better than a blind guess. What an embedding tells, be it the class only, keeps a template
        that is made of it below 1. An attack that learns longer, or from more images, may get more.

    Raises
    ------
    ValueError
        If there are fewer than 20 images, of which too little can be learned, or `X01` and
        `templates` differ in length; from scikit-learn if anything is not finite.

    Notes
    -----
    The penalty is, of 0.001 to 100, the one by which the attack errs least.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.metrics import inversion_resistance
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(size=(100, 4, 4, 1))
    >>> print(f"{inversion_resistance(X, 1 - X):.2f}, {inversion_resistance(X, X[::-1]):.2f}")
    0.00, 1.00
    """
    X01, templates = np.asarray(X01), np.asarray(templates)
    if len(X01) != len(templates):
        raise ValueError(
            f"X01 and templates must have the same length, got {len(X01)} and {len(templates)}."
        )
    if len(X01) < _FEWEST_KNOWN:
        raise ValueError(
            f"How well templates resist an inversion cannot be told of fewer than {_FEWEST_KNOWN} "
            f"images, got {len(X01)}: a regression learns too little from the others."
        )
    rows = _images_to_attack(X01)
    images, known = (values[rows].reshape(len(rows), -1) for values in (X01, templates))
    known = known - known.mean(axis=0, dtype=np.float64)
    spread = np.sqrt(np.mean(np.sum(known**2, axis=1)))
    known = known / (spread or 1.0)
    # Of the mean of the others, an image is so much farther than of the mean of all.
    blind = images.var(axis=0, dtype=np.float64).mean() * (len(rows) / (len(rows) - 1)) ** 2
    if blind == 0:
        return 0.0
    # Its score is the squared error over images left out one by one.
    attack = RidgeCV(_PENALTIES).fit(known, images.astype(np.float64))
    return float(min(1.0, -attack.best_score_ / blind))


def _images_to_attack(X01: NDArray[Any]) -> NDArray[np.intp]:
    """Choose images by what is in them, so that their order plays no part."""
    n = min(_MOST_KNOWN, max(_FEWEST_KNOWN, _KNOWN_VALUES // max(1, X01[0].size)))
    if len(X01) <= n:
        return np.arange(len(X01))
    digests = [hashlib.sha256(image.tobytes()).digest() for image in X01]
    return np.array(sorted(range(len(X01)), key=digests.__getitem__)[:n])
