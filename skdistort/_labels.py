"""Labels as callers pass them: identities, classes, groups.

What lives here keeps different labels different, whatever types they come in, and tells them from
values that stand for none. What labels mean is known where they are used; scores and their true
labels are in :mod:`skdistort.metrics._scores`.
"""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_consistent_length, column_or_1d


def as_labels(labels: ArrayLike, name: str) -> NDArray[Any]:
    """Bring labels to an array in which different ones stay different, and none is missing.

    numpy makes text of a list of numbers and text, so that 1 and "1" become one label, and
    floats of whole numbers of several types, so that those beyond 2**53 do.

    Parameters
    ----------
    labels : array-like
        Labels.
    name : str
        What to call them in messages.

    Returns
    -------
    ndarray of the shape of labels
        The labels, of a dtype other than object where one holds them exactly.

    Raises
    ------
    ValueError
        If they are of several kinds, or one is NaN, infinite, None or another that cannot be
        sorted among the others.
    """
    # Lists and tuples are read value by value: what has a type of its own was made into it before.
    array = np.asarray(labels, dtype=object if isinstance(labels, (list, tuple)) else None)
    if array.dtype == object:
        array = _exactly(array, name)
    refuse_missing(array, name)
    return array


def joint_codes(
    left: NDArray[Any], right: NDArray[Any], left_name: str, right_name: str
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Give two sets of labels common codes, equal for equal labels alone.

    Numbers are equal by value, in whatever types they come. numpy compares signed and unsigned
    ones, or whole ones and others, as floats.

    Parameters
    ----------
    left, right : ndarray of shape (n_left,) and (n_right,)
        Labels, as :func:`as_labels` gives them.
    left_name, right_name : str
        What to call them in messages.

    Returns
    -------
    tuple of 2 ndarray of shape (n_left,) and (n_right,), int
        Codes from 0, in the order of the labels.

    Raises
    ------
    ValueError
        If the two are not of one kind: text, bytes, numbers or another.
    """
    kinds = [_kind_of(array) for array in (left, right)]
    if left.size and right.size and kinds[0] != kinds[1]:
        raise ValueError(
            f"{left_name} holds {kinds[0]} ({left.flat[0]!r}), but {right_name} holds {kinds[1]} "
            f"({right.flat[0]!r}): labels that are compared must be of one kind."
        )
    if kinds[0] == kinds[1] == "numbers":
        left, right = _comparable(left, right)
    elif not left.size:
        left = right[:0]
    elif not right.size:
        right = left[:0]
    codes = np.unique(np.concatenate((left, right)), return_inverse=True)[1]
    return codes[: left.size], codes[left.size :]


def refuse_missing(labels: NDArray[Any], name: str) -> None:
    """Raise if a label is missing, which would else be an identity of its own, or several.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,)
        Labels, as :func:`as_labels` gives them.
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
    y = column_or_1d(as_labels(y, name), warn=True)
    check_consistent_length(images, y)
    return np.unique(y, return_inverse=True)[1].astype(np.int32)


def _exactly(labels, name):
    """Give labels of dtype object the dtype that holds them as they are, where there is one."""
    values = labels.ravel().tolist()
    first_of_kind = {_kind_of_type(type(value)): value for value in reversed(values)}
    if len(first_of_kind) > 1 or None in first_of_kind.values():
        seen = " and ".join(f"{kind} ({value!r})" for kind, value in first_of_kind.items())
        raise ValueError(f"{name} must hold values of one kind, none of them missing, got {seen}.")
    if "text" in first_of_kind:
        text = labels.astype(str)
        # A fixed width drops null characters at the end.
        return text if np.array_equal(text, labels) else labels
    if "numbers" in first_of_kind:
        plain = [value.item() if isinstance(value, np.generic) else value for value in values]
        labels = np.array([*plain, None], dtype=object)[:-1].reshape(labels.shape)
        types = set(map(type, plain))
        whole = [bool] if types == {bool} else [np.int64, np.uint64]
        for dtype in whole if types <= {bool, int} else [np.float64]:
            try:
                numbers = labels.astype(dtype)
            except OverflowError:
                continue
            # Python compares numbers of any two types by value.
            if all(a == b or a != a for a, b in zip(plain, numbers.ravel().tolist(), strict=True)):
                return numbers
    return labels


def _comparable(left, right):
    """Give numbers of two arrays types between which no comparison rounds."""
    dtypes = left.dtype, right.dtype
    if object not in dtypes:
        if np.result_type(*dtypes).kind in "biu" or {d.kind for d in dtypes} == {"f"}:
            return left, right
        if all(map(_fits_int64, (left, right))):
            return left.astype(np.int64), right.astype(np.int64)
    return left.astype(object), right.astype(object)


def _fits_int64(numbers):
    """Whether all numbers are whole and within the range of 64 bits with a sign."""
    if not numbers.size or numbers.dtype.kind in "bi":
        return True
    limit = 2**63
    if numbers.dtype.kind == "u":
        return int(numbers.max()) < limit
    return bool(np.all((numbers == np.floor(numbers)) & (abs(numbers) < float(limit))))


def _kind_of_type(value_type):
    """Name the kind of labels that values of a type are."""
    if issubclass(value_type, str):
        return "text"
    return "numbers" if issubclass(value_type, (Real, np.bool_)) else value_type.__name__


def _kind_of(labels):
    """Name the kind of the labels of an array."""
    if labels.dtype == object:
        return _kind_of_type(type(labels.flat[0])) if labels.size else "numbers"
    named = {"b": "numbers", "i": "numbers", "u": "numbers", "f": "numbers", "U": "text"}
    return named.get(labels.dtype.kind, labels.dtype.type.__name__)
