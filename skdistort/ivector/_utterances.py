"""Utterances as one array of frames: the layouts that are accepted, and what is wrong with them.

Nothing here knows a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import validate_data


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
