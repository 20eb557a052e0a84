"""What an attack achieves: how often a verifier accepts, and how near images are reconstructed.

Where embeddings and reconstructions come from does not live here, nor do the error rates of honest
comparisons, which are in :mod:`skdistort.metrics`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import euclidean_distances

from .._labels import as_labels, joint_codes
from ..metrics import abs_pearson, dssim, equal_error_rate, fnmr_at_fmr, mse

TARGET_FMRS = (0.01, 0.001)


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
        The lowest score to accept, under ``"eer"``, ``"fmr_1%"`` and ``"fmr_0.1%"``.

    Raises
    ------
    ValueError
        As :func:`~skdistort.metrics.equal_error_rate`.

    Examples
    --------
    >>> from skdistort.attacks import decision_thresholds
    >>> thresholds = decision_thresholds([True, True, False, False], [0.9, 0.8, 0.3, 0.1])
    >>> thresholds["fmr_1%"]
    0.8
    """
    found = {"eer": equal_error_rate(y_true, y_score)[1]}
    for rate in TARGET_FMRS:
        found[f"fmr_{100 * rate:g}%"] = fnmr_at_fmr(y_true, y_score, rate)[1]
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
        The share, in [0, 1], of the attempts that there is another image to compare with.

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
    some = compared > 0
    rates = np.mean(accepted[:, some] / compared[some], axis=1)
    return float(rates[0]) if np.ndim(threshold) == 0 else rates


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
