"""Which pairs may be among the k best: what one float32 matrix product of a block can tell.

Its rounding error is bounded. What lies below the k-th best by more than the bound cannot belong
to the k best; the few pairs that remain the caller compares again in float64, so that what is
found depends neither on rounding nor on the blocks. How a block is looked through does not live
here: whole rows are fastest in :mod:`skdistort.templates._gallery`, groups of columns in
:mod:`skdistort.selection._nearest`.
"""

import numpy as np


def slices(n, size):
    """Cut 0 to n into slices of at most `size`.

    Parameters
    ----------
    n : int
        Where the last one ends.
    size : int
        The longest slice.

    Returns
    -------
    list of slice
        The slices, in order.
    """
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def product_error(d):
    """Bound the error of a product of two float32 vectors, by the product of their lengths.

    At most half of eps for each of d sums, the rounding of the vectors and that of what the
    product is compared with; doubled, which covers the products of such errors.

    Parameters
    ----------
    d : int
        Components of the vectors.

    Returns
    -------
    float
        The bound where both lengths are 1.
    """
    return (d + 16) * float(np.finfo(np.float32).eps)


def kth_largest(values, k):
    """Find the k-th largest value of every row.

    Parameters
    ----------
    values : ndarray of shape (n, m)
        Values.
    k : int
        From 1 to m.

    Returns
    -------
    ndarray of shape (n,)
        The values.
    """
    rank = values.shape[1] - k
    return np.partition(values, rank, axis=1)[:, rank]
