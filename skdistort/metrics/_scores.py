"""Comparison scores as callers pass them: their validation, and the way back to their units.

What lives here knows labels and scores, and turns distances into similarities. Error rates do
not live here: see :mod:`skdistort.metrics._verification`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Threshold = TypeVar("_Threshold", float, NDArray[Any])


def check_scores(
    y_true: ArrayLike, y_score: ArrayLike, distances: bool
) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
    """Validate one set of comparisons.

    Parameters
    ----------
    y_true, y_score : array-like of shape (n_pairs,)
        What the caller passed.
    distances : bool
        Whether to turn distances into similarities.

    Returns
    -------
    genuine : ndarray of shape (n_pairs,), bool
        True for a genuine pair; both classes occur.
    scores : ndarray of shape (n_pairs,), float32 or float64
        Similarities, all finite. The caller's own array where nothing had to change.
    """
    genuine, scores = check_chunk(y_true, y_score, distances)
    if scores.size == 0:
        raise ValueError("y_true and y_score are empty: expected at least two pairs.")
    check_both_classes(np.count_nonzero(genuine), genuine.size)
    return genuine, scores


def check_chunk(
    y_true: ArrayLike, y_score: ArrayLike, distances: bool
) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
    """Validate comparisons that may be empty or of one class, being a part of a whole.

    Parameters
    ----------
    y_true, y_score : array-like of shape (n_pairs,)
        What the caller passed.
    distances : bool
        Whether to turn distances into similarities.

    Returns
    -------
    tuple of 2 ndarray of shape (n_pairs,)
        As :func:`check_scores` gives them.
    """
    y_true, scores = np.asarray(y_true), np.asarray(y_score)
    for name, array in (("y_true", y_true), ("y_score", scores)):
        if array.ndim != 1:
            raise ValueError(f"{name} must be 1-D, got shape {array.shape}.")
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{name} must hold real numbers, got dtype {array.dtype}.")
    if y_true.size != scores.size:
        raise ValueError(
            f"y_true and y_score must have the same length, got {y_true.size} and {scores.size}."
        )
    genuine = y_true if y_true.dtype == bool else y_true == 1
    if y_true.dtype != bool and not np.all(genuine | (y_true == 0)):
        raise ValueError("y_true must hold True/False or 1/0 only, got other values.")
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float64)
    # The extremes tell about every score, NaN included, without a mask as long as the scores.
    # Infinite ones are refused because no threshold could be interpolated next to them, and so
    # are the largest floats, because rejecting every pair takes a number beyond the best score.
    limit = np.finfo(scores.dtype).max
    if scores.size and not (-limit < scores.min() and scores.max() < limit):
        n_bad = np.count_nonzero(~(np.abs(scores) < limit))
        raise ValueError(
            f"y_score must be finite and below {limit:.3g} in magnitude, got {n_bad} NaN, "
            "infinite or larger scores."
        )
    return genuine, -scores if distances else scores


def check_both_classes(n_genuine: int | np.integer, n_pairs: int) -> None:
    """Refuse comparisons that are all genuine or all impostor.

    Parameters
    ----------
    n_genuine, n_pairs : int
        Genuine pairs, and all pairs.
    """
    if n_genuine in (0, n_pairs):
        kind = "genuine" if n_genuine else "impostor"
        raise ValueError(f"y_true must hold both classes, got {n_pairs} {kind} pairs only.")


def in_input_units(threshold: _Threshold, distances: bool) -> _Threshold:
    """Turn a threshold on similarities back into one on the caller's scores.

    Parameters
    ----------
    threshold : float or ndarray
        On similarities.
    distances : bool
        Whether the caller's scores are distances.

    Returns
    -------
    float or ndarray
        On the caller's scores.
    """
    # Not a plain minus, which would make -0.0 of a distance of 0.
    return 0.0 - threshold if distances else threshold
