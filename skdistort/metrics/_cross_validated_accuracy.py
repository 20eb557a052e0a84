"""Verification accuracy by the protocol of Labeled Faces in the Wild.

What lives here decides each fold's pairs by a threshold that the other folds chose. It needs the
folds; the lists of pairs that name them are read in :mod:`skdistort.datasets`. Rates that need no
decision on other pairs, such as the EER, are in :mod:`skdistort.metrics._verification`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .._labels import as_labels
from ._scores import check_scores, in_input_units
from ._vertices import vertices


class CrossValidatedAccuracy(NamedTuple):
    """Accuracy over folds, each decided by a threshold from the others.

    Attributes
    ----------
    mean : float
        Mean of the folds' accuracies, in [0, 1].
    standard_error : float
        Standard error of that mean.
    accuracies : ndarray of shape (n_folds,), float64
        Share of each fold's pairs that were decided rightly, the folds in sorted order.
    thresholds : ndarray of shape (n_folds,), float64
        The threshold each fold was decided by, in the units of the scores.
    """

    mean: float
    standard_error: float
    accuracies: np.ndarray
    thresholds: np.ndarray


def cross_validated_accuracy(
    y_true: ArrayLike, y_score: ArrayLike, folds: ArrayLike, *, distances: bool = False
) -> CrossValidatedAccuracy:
    """Accuracy of verification, with the threshold of each fold chosen on the other folds.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), bool or 0/1
        True for a genuine pair, False for an impostor pair.
    y_score : array-like of shape (n_pairs,)
        Comparison scores, finite, higher for more alike (lower if `distances`).
    folds : array-like of shape (n_pairs,)
        The fold of each pair, such as 0 to 9; no identity should be in two of them.
    distances : bool, default=False
        Whether `y_score` holds distances: lower for more alike.

    Returns
    -------
    CrossValidatedAccuracy
        ``mean``, ``standard_error``, ``accuracies`` and ``thresholds``.

    Raises
    ------
    ValueError
        If `folds` has another length or fewer than two values, or leaves one class only to
        choose a threshold from; else as :func:`equal_error_rate`.

    See Also
    --------
    best_f1_threshold : A threshold that is best for the very pairs it is reported for.

    Notes
    -----
    With the accuracies p_1 to p_n and their mean m, the standard error is
    ``sqrt(sum((p_i - m)^2) / (n - 1)) / sqrt(n)``, as in the reference. Of several thresholds with
    the highest accuracy on the other folds the strictest is taken.

    References
    ----------
    Huang, Ramesh, Berg, Learned-Miller, "Labeled Faces in the Wild: a database for studying face
    recognition in unconstrained environments", University of Massachusetts, Amherst, technical
    report 07-49 (2007), view 2.

    Examples
    --------
    >>> from skdistort.metrics import cross_validated_accuracy
    >>> y_true = [True, True, False, False] * 2
    >>> y_score = [0.9, 0.8, 0.3, 0.2, 0.7, 0.4, 0.5, 0.1]
    >>> result = cross_validated_accuracy(y_true, y_score, [0, 0, 0, 0, 1, 1, 1, 1])
    >>> result.mean, result.standard_error
    (0.75, 0.25)
    >>> result.accuracies, result.thresholds
    (array([1. , 0.5]), array([0.7, 0.8]))
    """
    genuine, scores = check_scores(y_true, y_score, distances)
    folds = as_labels(folds, "folds")
    if folds.shape != scores.shape:
        raise ValueError(
            f"folds must have shape {scores.shape}, one for each pair, got {folds.shape}."
        )
    names, codes = np.unique(folds, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"folds must name at least two folds, got {len(names)}.")
    accuracies, thresholds = np.empty(len(names)), np.empty(len(names))
    for i, name in enumerate(names):
        held_out = codes == i
        thresholds[i] = _most_accurate_threshold(genuine[~held_out], scores[~held_out], name)
        accepted = scores[held_out] >= thresholds[i]
        accuracies[i] = np.mean(accepted == genuine[held_out])
    standard_error = float(accuracies.std(ddof=1) / np.sqrt(len(names)))
    return CrossValidatedAccuracy(
        float(accuracies.mean()), standard_error, accuracies, in_input_units(thresholds, distances)
    )


def _most_accurate_threshold(genuine, scores, held_out):
    """Find the strictest of the thresholds with the fewest errors."""
    if genuine.all() or not genuine.any():
        raise ValueError(
            f"The folds other than {held_out} hold one class only: no threshold can be chosen."
        )
    thresholds, rejected, accepted = vertices(genuine, scores)
    errors = rejected + accepted
    return thresholds[np.flatnonzero(errors == errors.min())[-1]]
