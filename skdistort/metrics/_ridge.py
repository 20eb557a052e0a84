"""Ridge regression of images on templates, in the form that the sizes of both allow.

What is made of the reconstructions lives in :mod:`skdistort.metrics._distortion` and
:mod:`skdistort.attacks`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.compose import TransformedTargetRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


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
