"""Labels as callers pass them: identities, classes, groups.

What lives here tells labels from values that stand for none. What labels mean is known where they
are used; scores and their true labels are in :mod:`skdistort.metrics._scores`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_consistent_length, column_or_1d


def refuse_missing(labels: NDArray[Any], name: str) -> None:
    """Raise if a label is missing, which would else be an identity of its own, or several.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,)
        Labels.
    name : str
        What to call them in messages.

    Raises
    ------
    ValueError
        If a label is NaN, infinite, None or another that cannot be sorted among the others.
    """
    if labels.dtype == object:
        try:
            np.sort(labels)
        except TypeError as error:
            raise ValueError(
                f"{name} must hold values of one kind, none of them missing ({error})."
            ) from error
    assert_all_finite(labels, input_name=name)


def encode_classes(images, y, name="y"):
    """Give classes numbers from 0.

    Parameters
    ----------
    images : ndarray of shape (n_samples, ...)
        What they are the classes of.
    y : array-like of shape (n_samples,)
        Classes.
    name : str, default="y"
        What to call them in messages.

    Returns
    -------
    ndarray of shape (n_samples,), dtype int32
        Numbers, in the order of the sorted classes.

    Raises
    ------
    ValueError
        If there is not one for each sample, or some are missing.
    """
    y = column_or_1d(y, warn=True)
    refuse_missing(y, name)
    check_consistent_length(images, y)
    return np.unique(y, return_inverse=True)[1].astype(np.int32)
