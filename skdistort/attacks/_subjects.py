"""Draws of images by their subjects: others of the same one, and one of another.

What is done with them does not live here.
"""

import numpy as np


def draw_companions(labels, k, rng):
    """Draw for each image k - 1 others of its subject, different ones as far as there are so many.

    Parameters
    ----------
    labels : array-like of shape (n_images,)
        Subjects.
    k : int
        Images in a row of the result.
    rng : numpy.random.RandomState
        Source of randomness.

    Returns
    -------
    ndarray of shape (n_images, k), int
        Rows, the image itself first; those of subjects with fewer than k images repeat.
    """
    order, first, last = _ranges(labels, rng)
    rank = np.argsort(order)
    steps = (rank - first)[:, None] + np.arange(k)
    return order[first[:, None] + steps % (last - first)[:, None]]


def draw_strangers(labels, rows, rng):
    """Draw for each of some images one of another subject.

    Parameters
    ----------
    labels : array-like of shape (n_images,)
        Subjects, at least two.
    rows : ndarray of shape (n_rows,), int
        Which images.
    rng : numpy.random.RandomState
        Source of randomness.

    Returns
    -------
    ndarray of shape (n_rows,), int
        Rows of the others, which may repeat.
    """
    order, first, last = _ranges(labels, rng)
    first, size = first[rows], (last - first)[rows]
    drawn = (rng.random_sample(len(rows)) * (len(order) - size)).astype(int)
    return order[drawn + (drawn >= first) * size]


def _ranges(labels, rng):
    """Order images by subject, at random within one; and where each image's subject lies."""
    codes = np.unique(np.asarray(labels), return_inverse=True)[1]
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    in_order = codes[order]
    return order, np.searchsorted(in_order, codes), np.searchsorted(in_order, codes, "right")
