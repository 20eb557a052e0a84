"""Baum-Welch statistics of utterances: how much of an utterance falls to each Gaussian, and where.

What is made of them lives in :mod:`skdistort.ivector._total_variability`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from ._mixture import mixture_of
from ._utterances import validate_utterances

if TYPE_CHECKING:
    from ._ubm import UniversalBackgroundModel


def baum_welch_statistics(
    X: ArrayLike | Sequence[ArrayLike], ubm: UniversalBackgroundModel
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Zeroth-order and centred first-order statistics of utterances.

    With gamma_t(c) the posterior probability of component c for frame x_t, and m_c its mean,
    ``N_c = sum_t gamma_t(c)`` and ``F_c = sum_t gamma_t(c) (x_t - m_c)``.

    Parameters
    ----------
    X : array-like of shape (n, frames, d) or (n, d), or list of n arrays of shape (frames_i, d)
        Utterances; a row of a 2-D array is an utterance of one frame.
    ubm : UniversalBackgroundModel
        The fitted mixture.

    Returns
    -------
    zeroth : ndarray of shape (n, n_components), dtype float32
        N, in frames; each row sums to the frames of its utterance.
    first : ndarray of shape (n, n_components, d), dtype float32
        F, in frames times the units of X.

    Raises
    ------
    ValueError
        If an utterance has no frames, another number of features than the UBM, or a value that
        is not finite.

    References
    ----------
    Dehak, Kenny, Dehak, Dumouchel, Ouellet, "Front-end factor analysis for speaker
    verification", IEEE Transactions on Audio, Speech, and Language Processing 19 (2011),
    equations 2 to 4.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.ivector import UniversalBackgroundModel, baum_welch_statistics
    >>> rng = np.random.default_rng(0)
    >>> utterances = [rng.standard_normal((n_frames, 3)) for n_frames in (40, 70)]
    >>> ubm = UniversalBackgroundModel(n_components=2, random_state=0).fit(utterances)
    >>> zeroth, first = baum_welch_statistics(utterances, ubm)
    >>> first.shape, zeroth.sum(axis=1).round().tolist()
    ((2, 2, 3), [40.0, 70.0])
    """
    check_is_fitted(ubm)
    return collect_statistics(*validate_utterances(ubm, X, reset=False), ubm)


def collect_statistics(
    frames: NDArray[np.float32], offsets: NDArray[np.intp], ubm: UniversalBackgroundModel
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Collect the statistics of validated utterances, see :func:`baum_welch_statistics`.

    Parameters
    ----------
    frames : ndarray of shape (n_frames, d), dtype float32
        Stacked frames.
    offsets : ndarray of int, shape (n + 1,)
        Where utterances begin and end in them.
    ubm : UniversalBackgroundModel
        The fitted mixture; ``ubm.batch_size`` frames are evaluated at a time.

    Returns
    -------
    zeroth : ndarray of shape (n, n_components), dtype float32
        N.
    first : ndarray of shape (n, n_components, d), dtype float32
        F.
    """
    mixture = mixture_of(ubm)
    d = frames.shape[1]
    means, scale = mixture.means.astype(np.float32), mixture.scale.astype(np.float32)
    n = len(offsets) - 1
    zeroth = np.zeros((n, len(means)), dtype=np.float32)
    first = np.zeros((n, *means.shape), dtype=np.float32)
    for start in range(offsets[0], offsets[-1], ubm.batch_size):
        stop = min(start + ubm.batch_size, offsets[-1])
        expanded = mixture.expand(frames[start:stop])
        posteriors, _ = mixture.posteriors(expanded)
        here = np.searchsorted(offsets, [start, stop - 1], side="right") - 1
        for i in range(here[0], here[1] + 1):
            part = slice(max(offsets[i], start) - start, min(offsets[i + 1], stop) - start)
            sums = posteriors[part].T @ expanded[part, : 1 + d]
            zeroth[i] += sums[:, 0]
            first[i] += (sums[:, 1:] - sums[:, :1] * means) * scale
    return zeroth, first
