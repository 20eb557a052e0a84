"""What an attack achieves: how often a verifier accepts, and how near images are reconstructed.

Where embeddings and reconstructions come from does not live here, nor do the error rates of honest
comparisons, which are in :mod:`skdistort.metrics`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import euclidean_distances
from sklearn.utils import check_random_state

from .._labels import as_labels, joint_codes
from .._typing import Seed
from ..metrics import abs_pearson, dssim, equal_error_rate, fnmr_at_fmr, mse

TARGET_FMRS = (0.01, 0.001)
_CONFIDENCE = 0.95


def paired_scores(left: ArrayLike, right: ArrayLike) -> NDArray[np.float64]:
    """Score each embedding against the one in the same row: ``-||a - b||^2``.

    Parameters
    ----------
    left, right : array-like of shape (n_pairs, m)
        Embeddings.

    Returns
    -------
    ndarray of shape (n_pairs,), float64
        Scores, higher for more alike; within [-4, 0] on the unit sphere.

    Raises
    ------
    ValueError
        If the shapes differ or are not 2-D.

    See Also
    --------
    skdistort.metrics.pair_scores : The scores of all pairs.

    References
    ----------
    Zakharov, Kuznetsov, Frontoni, "Unrecognizable Yet Identifiable: Image Distortion with
    Preserved Embeddings", eq. 1.

    Examples
    --------
    >>> from skdistort.attacks import paired_scores
    >>> paired_scores([[1, 0], [1, 0]], [[0, 1], [1, 0]])
    array([-2., -0.])
    """
    left, right = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if left.ndim != 2 or left.shape != right.shape:
        raise ValueError(
            "left and right must be embeddings of one shape (n_pairs, m), got "
            f"{left.shape} and {right.shape}."
        )
    return -np.sum((left - right) ** 2, axis=1)


def decision_thresholds(y_true: ArrayLike, y_score: ArrayLike) -> dict[str, float]:
    """Decide at the equal error rate and at the false match rates that attacks are judged at.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), bool
        True for a genuine pair.
    y_score : array-like of shape (n_pairs,)
        Scores, higher for more alike.

    Returns
    -------
    dict of str to float
        The lowest score to accept, under ``"eer"``, ``"fmr_1%"`` and ``"fmr_0.1%"``; NaN where
        there are fewer impostor pairs than the false match rate needs to be seen, 100 and 1000.

    Raises
    ------
    ValueError
        As :func:`~skdistort.metrics.equal_error_rate`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.attacks import decision_thresholds
    >>> genuine, scores = np.arange(120) < 20, np.arange(120, 0, -1) / 120
    >>> thresholds = decision_thresholds(genuine, scores)
    >>> bool(thresholds["fmr_1%"] == scores[20]), thresholds["fmr_0.1%"]
    (True, nan)
    """
    found = {"eer": equal_error_rate(y_true, y_score)[1]}
    n_impostors = np.size(y_true) - np.count_nonzero(y_true)
    for rate in TARGET_FMRS:
        seen = n_impostors * rate >= 1
        found[f"fmr_{100 * rate:g}%"] = fnmr_at_fmr(y_true, y_score, rate)[1] if seen else np.nan
    return found


def match_rate(
    attempts: ArrayLike,
    labels: ArrayLike,
    embeddings: ArrayLike,
    other_labels: ArrayLike,
    threshold: ArrayLike,
    *,
    exclude: ArrayLike | None = None,
) -> float | NDArray[np.float64]:
    """Share of attempts that are accepted as their subject, against other images of it.

    A *type-2 match* in the terms of Mai et al. (2019): what was made from the template of one
    image is compared with other images of the subject, as an impostor would present it to a
    system where the subject enrolled another time. (Type-1 compares it with the very image.) An
    attempt counts with the share of its comparisons that are accepted, so that every attempt has
    the same weight, however many images there are of its subject.

    Parameters
    ----------
    attempts : array-like of shape (n_attempts, m)
        Embeddings of what the attacker presents, such as reconstructions.
    labels : array-like of shape (n_attempts,)
        The subjects under attack.
    embeddings : array-like of shape (n_images, m)
        Embeddings of the subjects' images.
    other_labels : array-like of shape (n_images,)
        Their subjects.
    threshold : float or array-like of shape (n_thresholds,)
        Lowest score ``-||a - b||^2`` to accept.
    exclude : array-like of shape (n_attempts, k) or None, default=None
        Rows of `embeddings` that an attempt is not compared with, as those of the images that it
        was made from.

    Returns
    -------
    float or ndarray of shape (n_thresholds,)
        The share, in [0, 1], of the attempts that there is another image to compare with; NaN for
        a threshold of NaN.

    Raises
    ------
    ValueError
        If shapes do not match, or no attempt has an image to be compared with.

    References
    ----------
    Mai, Cao, Yuen, Jain, "On the reconstruction of face images from deep face templates", IEEE
    Transactions on Pattern Analysis and Machine Intelligence 41 (2019).

    Examples
    --------
    >>> from skdistort.attacks import match_rate
    >>> images = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]
    >>> subjects = ["ann", "ann", "ann"]
    >>> match_rate([[1.0, 0.0]], ["ann"], images, subjects, -0.5, exclude=[[0]])
    0.5
    """
    shares = match_shares(attempts, labels, embeddings, other_labels, threshold, exclude=exclude)
    rates = np.array([mean(of_each) for of_each in shares])
    return float(rates[0]) if np.ndim(threshold) == 0 else rates


def match_shares(attempts, labels, embeddings, other_labels, threshold, *, exclude=None):
    """Find for each attempt the share of its comparisons that are accepted.

    Parameters
    ----------
    attempts, labels, embeddings, other_labels : array-like
        As for :func:`match_rate`.
    threshold : float or array-like of shape (n_thresholds,)
        As for :func:`match_rate`.
    exclude : array-like of shape (n_attempts, k) or None, default=None
        As for :func:`match_rate`.

    Returns
    -------
    ndarray of shape (n_thresholds, n_attempts), float64
        Shares, in [0, 1]; NaN where there is nothing to compare an attempt with, and for a
        threshold of NaN.
    """
    attempts, embeddings = (np.asarray(a, dtype=np.float64) for a in (attempts, embeddings))
    labels = as_labels(labels, "labels")
    other_labels = as_labels(other_labels, "other_labels")
    if attempts.ndim != 2 or embeddings.ndim != 2 or attempts.shape[1] != embeddings.shape[1]:
        raise ValueError(
            "attempts and embeddings must be 2-D and of one length, got "
            f"{attempts.shape} and {embeddings.shape}."
        )
    for name, own, of in (
        ("labels", labels, attempts),
        ("other_labels", other_labels, embeddings),
    ):
        if own.shape != (len(of),):
            raise ValueError(f"{name} must have shape ({len(of)},), got {own.shape}.")
    labels, other_labels = joint_codes(labels, other_labels, "labels", "other_labels")
    exclude = np.empty((len(attempts), 0), dtype=int) if exclude is None else np.asarray(exclude)
    if exclude.ndim != 2 or len(exclude) != len(attempts):
        raise ValueError(f"exclude must have shape ({len(attempts)}, k), got {exclude.shape}.")
    thresholds = np.atleast_1d(threshold)
    accepted, compared = np.zeros((len(thresholds), len(attempts))), np.zeros(len(attempts))
    position = np.empty(len(embeddings), dtype=int)
    for subject in np.intersect1d(labels, other_labels):
        rows, columns = np.flatnonzero(labels == subject), np.flatnonzero(other_labels == subject)
        scores = euclidean_distances(attempts[rows], embeddings[columns], squared=True)
        np.negative(scores, out=scores)
        position.fill(-1)
        position[columns] = np.arange(len(columns))
        at = position[exclude[rows]]
        own, k = np.nonzero(at >= 0)
        allowed = np.ones(scores.shape, dtype=bool)
        allowed[own, at[own, k]] = False
        compared[rows] = allowed.sum(axis=1)
        for i, value in enumerate(thresholds):
            accepted[i, rows] = np.sum((scores >= value) & allowed, axis=1)
    if not compared.any():
        raise ValueError("No attempt has another image of its subject to be compared with.")
    shares = np.full(accepted.shape, np.nan)
    np.divide(accepted, compared, out=shares, where=compared > 0)
    shares[np.isnan(thresholds)] = np.nan
    return shares


def subject_interval(
    values: ArrayLike,
    subjects: ArrayLike,
    other_subjects: ArrayLike | None = None,
    *,
    n_resamples: int = 1000,
    random_state: Seed = 0,
) -> tuple[float, float]:
    """Find the 95 % interval of a mean over attempts, by resampling subjects.

    Attempts on one subject depend on one another, so that subjects are drawn with replacement, and
    an attempt counts as often as its subject was, or as the product where it involves two. Where
    every attempt failed, or succeeded, resampling shows no spread: the open end is then where all
    subjects would agree with a probability of 5 %, ``1 - 0.05 ** (1 / n_subjects)`` for 0, the
    "rule of three".

    Parameters
    ----------
    values : array-like of shape (n_attempts,)
        What each attempt achieved; NaN does not count.
    subjects : array-like of shape (n_attempts,)
        The subject of each.
    other_subjects : array-like of shape (n_attempts,) or None, default=None
        The other subject, such as the impostor, if there is one.
    n_resamples : int, default=1000
        Resamples.
    random_state : int, RandomState instance or None, default=0
        Draws them.

    Returns
    -------
    tuple of 2 float
        The ends of the interval; NaN if no attempt counts.

    References
    ----------
    Bolle, Ratha, Pankanti, "Error analysis of pattern recognition systems: the subsets bootstrap",
    Computer Vision and Image Understanding 93 (2004).

    Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1 (2007), for the products.

    Examples
    --------
    >>> from skdistort.attacks import subject_interval
    >>> low, high = subject_interval([0.0, 0.0, 0.0, 0.0], ["ann", "ann", "bob", "eve"])
    >>> low, round(high, 2)
    (0.0, 0.63)
    """
    values = np.asarray(values, dtype=np.float64)
    counted = np.isfinite(values)
    if not counted.any():
        return np.nan, np.nan
    values = values[counted]
    sides = [as_labels(subjects, "subjects")[counted]]
    if other_subjects is not None:
        sides.append(as_labels(other_subjects, "other_subjects")[counted])
    codes = np.unique(np.concatenate(sides), return_inverse=True)[1].reshape(len(sides), -1)
    n_subjects = int(codes.max()) + 1
    if values.min() == values.max() and values[0] in (0, 1):
        open_end = (1 - _CONFIDENCE) ** (1 / n_subjects)
        return (0.0, 1 - open_end) if values[0] == 0 else (open_end, 1.0)
    # Attempts that involve the same subjects count alike.
    involved, group = np.unique(codes, axis=1, return_inverse=True)
    sums, sizes = np.bincount(group.ravel(), weights=values), np.bincount(group.ravel())
    rng = check_random_state(random_state)
    means = []
    for _ in range(n_resamples):
        drawn = np.bincount(rng.randint(n_subjects, size=n_subjects), minlength=n_subjects)
        weights = drawn[involved].prod(axis=0)
        # A draw of none of the pairs' subjects together says nothing.
        if weights.any():
            means.append(weights @ sums / (weights @ sizes))
    low, high = np.quantile(means, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return float(low), float(high)


def verdict(interval: tuple[float, float], guess: float) -> str:
    """Say whether an attack does better than guessing does.

    Parameters
    ----------
    interval : tuple of 2 float
        The interval of what the attack achieves, of which more is better.
    guess : float
        What needs no template.

    Returns
    -------
    str
        "better", "like guessing" where the interval holds the guess, "worse than guessing", or "-"
        where there is no interval.

    Examples
    --------
    >>> from skdistort.attacks import verdict
    >>> [verdict(interval, 0.01) for interval in ((0.5, 0.7), (0.0, 0.02), (0.0, 0.004))]
    ['better', 'like guessing', 'worse than guessing']
    """
    low, high = interval
    if np.isnan(low) or np.isnan(guess):
        return "-"
    if low > guess:
        return "better"
    return "worse than guessing" if high < guess else "like guessing"


def mean(values):
    """Average what is known of values.

    Parameters
    ----------
    values : array-like
        Values; NaN is not known.

    Returns
    -------
    float
        The mean; NaN if nothing is known.
    """
    known = np.asarray(values)[np.isfinite(values)]
    return float(known.mean()) if known.size else np.nan


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
    each = quality_of_each(images, reconstructions)
    return {name: float(values.mean()) for name, values in each.items()}


def quality_of_each(images, reconstructions):
    """Measure every reconstruction, as :func:`reconstruction_quality` does their mean.

    Parameters
    ----------
    images, reconstructions : array-like of shape (n_images, height, width, channels)
        Pixels in ``[0, 1]``.

    Returns
    -------
    dict of str to ndarray of shape (n_images,)
        ``"ssim"``, ``"mse"`` and ``"abs_pearson"``.
    """
    return {
        "ssim": 1 - 2 * dssim(images, reconstructions),
        "mse": mse(images, reconstructions),
        "abs_pearson": abs_pearson(images, reconstructions),
    }
