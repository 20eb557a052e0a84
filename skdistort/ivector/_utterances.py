"""Utterances as one array of frames: the layouts that are accepted, and what is wrong with them.

Of a model only the mean and the deviation of the frames that it learned from are known here.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import validate_data

from ..exceptions import InputMismatchError, InputMismatchWarning

# How far the frames of an utterance may be from the mean of those learned from, in deviations of
# these, and how far apart they must be. Words of a second, of other people, over a telephone or
# whispered, are 0.4 to 2.2 away and 0.3 to 2.2 apart; without the normalisation that a model
# learned with they are 3 to 6 away, in units 16 times as large or small 8 or 0.1.
_FAR, _TOO_FAR = 3.0, 6.0
_NARROW, _TOO_NARROW = 0.2, 0.08
# Fewer frames than these may be alike by chance.
_FEW_FRAMES = 16
# Frames looked at together, at least one utterance: what stays in the processor's cache.
_BLOCK = 1 << 12


def validate_utterances(
    estimator: Any, X: ArrayLike | Sequence[ArrayLike], *, reset: bool, min_utterances: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Check utterances and stack their frames.

    Parameters
    ----------
    estimator : estimator
        Learns (`reset`) or holds the features of a frame.
    X : array-like of shape (n, frames, d) or (n, d), or list of n arrays of shape (frames_i, d)
        Utterances; a row of a 2-D array is an utterance of one frame.
    reset : bool
        Whether this is ``fit``.
    min_utterances : int, default=1
        The fewest utterances allowed.

    Returns
    -------
    frames : ndarray of shape (n_frames, d), dtype float32
        All frames, utterance after utterance; without a copy where nothing had to change.
    offsets : ndarray of int, shape (n + 1,)
        Utterance i has frames ``offsets[i]`` to ``offsets[i + 1]``.

    Raises
    ------
    ValueError
        If an utterance has no frames, another number of features, or a value that is not finite
        (each named by its index), or there are too few.
    """
    frames, lengths = _stack(X)
    frames = validate_data(
        estimator,
        frames,
        dtype="float32",
        reset=reset,
        order="C",
        # Where rows are utterances scikit-learn's own messages tell what is wrong with them.
        ensure_all_finite=lengths is None,
        ensure_min_samples=min_utterances if lengths is None else 1,
    )
    if lengths is None:
        return frames, np.arange(len(frames) + 1)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    # A sum is finite unless a value is not, or rarely by overflow: only then look at each frame.
    with np.errstate(over="ignore", invalid="ignore"):
        suspect = not np.isfinite(frames.sum())
    if suspect and not (finite := np.isfinite(frames).all(axis=1)).all():
        first = np.searchsorted(offsets, np.argmin(finite), side="right") - 1
        raise ValueError(f"X contains NaN or infinite values: the first in utterance {first}.")
    if len(lengths) < min_utterances:
        raise ValueError(
            f"{type(estimator).__name__} needs at least {min_utterances} utterances, got "
            f"n_samples={len(lengths)}."
        )
    return frames, offsets


def check_frame_units(
    frames: NDArray[np.float32],
    offsets: NDArray[np.intp],
    weights: NDArray[np.float64],
    means: NDArray[np.float64],
    variances: NDArray[np.float64],
) -> None:
    """Hold utterances to the units of the frames that a mixture of Gaussians learned from.

    Parameters
    ----------
    frames : ndarray of shape (n_frames, d), dtype float32
        All frames, utterance after utterance.
    offsets : ndarray of int, shape (n + 1,)
        Utterance i has frames ``offsets[i]`` to ``offsets[i + 1]``.
    weights, means, variances : ndarray of shape (C,), (C, d) and (C, d)
        The mixture.

    Raises
    ------
    InputMismatchError
        If the root mean square of the standardised frames of an utterance is above 6, or, of 16
        frames or more, their deviation below 0.08.

    Warns
    -----
    InputMismatchWarning
        If it is above 3, or below 0.2.
    """
    mean = weights @ means
    deviation = np.sqrt(weights @ (variances + np.square(means - mean)))
    distances, spreads = _standardised(frames, offsets, mean, deviation)
    spreads[np.diff(offsets) < _FEW_FRAMES] = 1.0
    for limit, least, refuse in ((_TOO_FAR, _TOO_NARROW, True), (_FAR, _NARROW, False)):
        odd = np.flatnonzero(~(distances <= limit) | ~(spreads >= least))
        if not len(odd):
            continue
        i = odd[0]
        if not distances[i] <= limit:
            seen = f"frames that lie {distances[i]:.3g} standard deviations from"
            expected = f"at most {limit:g}"
        else:
            seen = f"frames that spread {spreads[i]:.2g} times as far as"
            expected = f"at least {least:g}"
        others = f", as have {len(odd) - 1} others" if len(odd) > 1 else ""
        message = (
            f"Utterance {i} of X has {seen} those that the background model learned from "
            f"({expected} expected){others}: other units, another normalisation, or features of "
            "another kind? Make them as those of fit were made."
        )
        if refuse:
            raise InputMismatchError(message, int(i), seen, expected)
        warnings.warn(message, InputMismatchWarning, stacklevel=3)


def _standardised(frames, offsets, mean, deviation):
    """Root mean square, and deviation, of the standardised frames of each utterance."""
    n = len(offsets) - 1
    distances, spreads = np.empty(n), np.empty(n)
    mean, scale = mean.astype(np.float32), (1 / deviation).astype(np.float32)
    start = 0
    while start < n:
        last = np.searchsorted(offsets, offsets[start] + _BLOCK, side="right") - 1
        stop = max(start + 1, last)
        first = offsets[start:stop] - offsets[start]
        lengths = np.diff(offsets[start : stop + 1])[:, None]
        # What overflows is far off.
        with np.errstate(over="ignore", invalid="ignore"):
            z = (frames[offsets[start] : offsets[stop]] - mean) * scale
            means = np.add.reduceat(z, first) / lengths
            energies = np.einsum("fd,fd->f", z, z)
            squares = np.add.reduceat(energies, first) / (lengths[:, 0] * z.shape[1])
            variances = squares - np.square(means).mean(axis=1)
            distances[start:stop] = np.sqrt(squares)
            spreads[start:stop] = np.sqrt(np.maximum(variances, 0))
        start = stop
    return distances, spreads


def _stack(X):
    """Stack frames; their numbers are None where X goes to scikit-learn's validation as it is."""
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1:
        X = list(X)
    if isinstance(X, (list, tuple)) and any(np.ndim(utterance) > 1 for utterance in X):
        return _stack_ragged([np.asarray(utterance) for utterance in X])
    if getattr(X, "ndim", 2) <= 2:
        return X, None
    X = np.asarray(X)
    if X.ndim != 3:
        raise ValueError(
            "X must be utterances of shape (n, frames, d), a list of n arrays of shape "
            f"(frames_i, d), or (n, d) for utterances of one frame; got shape {X.shape}."
        )
    n, n_frames, d = X.shape
    if n and not n_frames:
        raise ValueError(f"Utterance 0 of X has no frames: X has shape {X.shape}.")
    return X.reshape(n * n_frames, d), np.full(n, n_frames)


def _stack_ragged(utterances):
    for i, utterance in enumerate(utterances):
        if utterance.ndim != 2:
            raise ValueError(
                f"Utterance {i} of X must have shape (frames, d), got {utterance.shape}."
            )
        if len(utterance) == 0:
            raise ValueError(f"Utterance {i} of X has no frames: its shape is {utterance.shape}.")
        if utterance.shape[1] != utterances[0].shape[1]:
            raise ValueError(
                f"Utterance {i} of X has {utterance.shape[1]} features, but utterance 0 has "
                f"{utterances[0].shape[1]}."
            )
    real = all(utterance.dtype.kind in "biuf" for utterance in utterances)
    # What overflows is found with the other values that are not finite.
    with np.errstate(over="ignore"):
        stacked = np.concatenate(
            utterances, dtype=np.float32 if real else None, casting="same_kind"
        )
    return stacked, np.array([len(utterance) for utterance in utterances])
