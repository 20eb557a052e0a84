"""Log-likelihood ratios of one class against two, where the two-covariance model is diagonal.

What fits the model is in :mod:`skdistort.plda._two_covariance`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pair_llr(
    left: NDArray[np.floating], right: NDArray[np.floating], variances: NDArray[Any]
) -> NDArray[Any]:
    """Log-likelihood ratio of one class against two, of row i of `left` and row i of `right`.

    Parameters
    ----------
    left, right : ndarray of shape (n_pairs, n_dimensions), float32 or float64
        Vectors where the mean is 0, the within-class covariance I and the between-class one
        ``diag(variances)``: those of :meth:`PLDA.transform`.
    variances : ndarray of shape (n_dimensions,)
        Between-class variances, not negative: ``PLDA.between_variances_``.

    Returns
    -------
    ndarray of shape (n_pairs,)
        ``log(p(left, right | one class) / (p(left) p(right)))``, in nats.

    References
    ----------
    Brummer and de Villiers, "The speaker partitioning problem", Odyssey 2010, in the basis of
    Ioffe, "Probabilistic linear discriminant analysis", ECCV 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.plda import pair_llr
    >>> pair_llr(np.array([[2.0], [2.0]]), np.array([[2.0], [-2.0]]), np.array([4.0])).round(3)
    array([ 0.866, -2.689])
    """
    cross, square, constant = _llr_terms(variances, left.dtype)
    scores = np.einsum("ij,ij->i", left * cross, right)
    scores += left**2 @ square
    scores += right**2 @ square
    scores += constant
    return scores


def llr_matrix(
    left: NDArray[np.floating], right: NDArray[np.floating], variances: NDArray[Any]
) -> NDArray[Any]:
    """Log-likelihood ratio of one class against two, of every row with every row.

    Parameters
    ----------
    left : ndarray of shape (n_left, n_dimensions), float32 or float64
        Vectors as for :func:`pair_llr`.
    right : ndarray of shape (n_right, n_dimensions), float32 or float64
        Vectors as for :func:`pair_llr`.
    variances : ndarray of shape (n_dimensions,)
        Between-class variances, not negative: ``PLDA.between_variances_``.

    Returns
    -------
    ndarray of shape (n_left, n_right)
        Log-likelihood ratios in nats; float32 where both arrays are.

    References
    ----------
    As for :func:`pair_llr`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.plda import llr_matrix
    >>> llr_matrix(np.array([[2.0]]), np.array([[2.0], [-2.0]]), np.array([4.0])).round(3)
    array([[ 0.866, -2.689]])
    """
    cross, square, constant = _llr_terms(variances, left.dtype)
    scores = (left * cross) @ right.T
    scores += (left**2 @ square + constant)[:, None]
    scores += right**2 @ square
    return scores


def model_llr_matrix(
    means: NDArray[np.floating],
    counts: NDArray[np.integer],
    probes: NDArray[np.floating],
    variances: NDArray[Any],
) -> NDArray[Any]:
    """Log-likelihood ratio of every model of several vectors with every probe, by the book.

    A model is what several vectors of one class tell of its centre. It is not their mean taken for
    one vector, which knows the centre no better than one does.

    Parameters
    ----------
    means : ndarray of shape (n_models, n_dimensions), float32 or float64
        Means of the vectors of each model, themselves as for :func:`pair_llr`.
    counts : ndarray of int, shape (n_models,)
        How many vectors each has.
    probes : ndarray of shape (n_probes, n_dimensions), float32 or float64
        Vectors as for :func:`pair_llr`.
    variances : ndarray of shape (n_dimensions,)
        Between-class variances, not negative: ``PLDA.between_variances_``.

    Returns
    -------
    ndarray of shape (n_models, n_probes)
        ``log(p(vectors, probe | one class) / (p(vectors) p(probe)))``, in nats; float32 where both
        arrays are.

    References
    ----------
    Brummer and de Villiers, "The speaker partitioning problem", Odyssey 2010. Rajan, Afanasyev,
    Hautamaki and Kinnunen, "From single to multiple enrollment i-vectors: practical PLDA scoring
    variants for speaker verification", Digital Signal Processing 31 (2014).

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.plda import model_llr_matrix
    >>> means, probes = np.array([[2.0], [2.0]]), np.array([[2.0], [-2.0]])
    >>> model_llr_matrix(means, np.array([1, 5]), probes, np.array([4.0])).round(3)
    array([[ 0.866, -2.689],
           [ 1.114, -5.286]])
    """
    counts = np.asarray(counts)[:, None]
    # The centre, given the vectors, has this mean and variance; a probe has 1 more.
    posterior = variances / (1 + counts * variances)
    centres = counts * posterior * means
    spread, alone = 1 + posterior, 1 + variances
    dtype = np.result_type(means, probes)
    precision = (1 / spread).astype(dtype)
    scores = (precision * centres).astype(dtype) @ probes.T
    scores -= 0.5 * precision @ (probes**2).T
    constant = 0.5 * np.sum(np.log(alone) - np.log(spread) - centres**2 / spread, axis=1)
    scores += constant.astype(dtype)[:, None]
    scores += 0.5 * (probes**2 @ (1 / alone).astype(dtype))
    return scores


def _llr_terms(variances, dtype):
    """Factors of l * r and of l^2 and r^2 in the log-likelihood ratio, and its constant.

    With v between the classes, (l + r) / sqrt(2) has variance 1 + 2v in one class and
    (l - r) / sqrt(2) has 1; in two classes both have 1 + v.
    """
    one, two = 1 + 2 * variances, 1 + variances
    cross = (variances / one).astype(dtype)
    square = (-0.5 * variances**2 / (one * two)).astype(dtype)
    return cross, square, float(np.sum(np.log(two) - 0.5 * np.log(one)))
