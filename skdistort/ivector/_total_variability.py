"""Formulas of the total variability model: posteriors of i-vectors, and the EM steps of T.

Everything is in whitened units: first-order statistics and the rows of T are divided by the
standard deviations of the universal background model, so that no covariance stands in a formula.

Symmetric R x R matrices are kept in LAPACK's rectangular full packed format: R (R + 1) / 2
numbers, factorised and inverted there as fast as full ones (Gustavson et al., "Rectangular full
packed format for Cholesky's algorithm", ACM Transactions on Mathematical Software 37, 2010).

The equations are those of Kenny, Boulianne, Dumouchel, "Eigenvoice modeling with sparse training
data", IEEE Transactions on Speech and Audio Processing 13 (2005), with the notation of Dehak et
al., "Front-end factor analysis for speaker verification" (2011).
"""

from functools import cached_property

import numpy as np
from scipy.linalg import blas, lapack


class TotalVariability:
    """A whitened total variability matrix, with what its posteriors need worked out once.

    Parameters
    ----------
    loadings : ndarray of shape (C, d, R), dtype float32
        T: one ``(d, R)`` block for each component.
    """

    def __init__(self, loadings):
        self.loadings = loadings

    @cached_property
    def grams(self):
        """Multiply the loadings of each component with themselves: ``T_c' T_c``.

        Returns
        -------
        ndarray of shape (C, R (R + 1) / 2), dtype float32
            One packed matrix a component.
        """
        n_components, d, rank = self.loadings.shape
        grams = np.zeros((n_components, packed_size(rank)), dtype=np.float32)
        for block, gram in zip(self.loadings, grams, strict=True):
            lapack.ssfrk(rank, d, 1.0, block.T, 1.0, gram, overwrite_c=1)
        return grams


def packed_size(rank):
    """Count the numbers of a packed symmetric matrix.

    Parameters
    ----------
    rank : int
        Rows of the matrix.

    Returns
    -------
    int
        ``rank (rank + 1) / 2``.
    """
    return rank * (rank + 1) // 2


def packed_diagonal(rank):
    """Find where the diagonal stands in a packed symmetric matrix, in ascending order.

    Parameters
    ----------
    rank : int
        Rows of the matrix.

    Returns
    -------
    ndarray of int, shape (rank,)
        Indices.
    """
    return np.flatnonzero(lapack.dtrttf(np.eye(rank, order="F"))[0])


def posteriors(zeroth, first, model, *, second_moments=False):
    """Posterior distributions of the i-vectors w of utterances.

    The precision is ``L = I + sum_c N_c T_c' T_c`` and the mean ``L^-1 T' F``. What the marginal
    log-likelihood of an utterance owes to T is ``F' T L^-1 T' F / 2 - log |L| / 2``.

    Parameters
    ----------
    zeroth : ndarray of shape (n, C), dtype float32
        N.
    first : ndarray of shape (n, C, d), dtype float32
        F, centred and whitened.
    model : TotalVariability
        T.
    second_moments : bool, default=False
        Whether to compute the second moments too.

    Returns
    -------
    means : ndarray of shape (n, R), dtype float32
        E[w].
    log_likelihoods : ndarray of shape (n,), dtype float64
        The part that depends on T.
    moments : ndarray of shape (n, R (R + 1) / 2), dtype float32, or None
        ``E[w w'] = L^-1 + E[w] E[w]'``, packed.

    Raises
    ------
    numpy.linalg.LinAlgError
        If a precision is so large that its rounded value is not positive definite.

    References
    ----------
    Kenny, Boulianne, Dumouchel (2005), Propositions 1 and 2. Dehak et al. (2011), equation 5.
    """
    rank = model.loadings.shape[-1]
    # What L is before its identity; then, row by row, the second moments take its place.
    packed = _project(zeroth, model.grams)
    linear = _project(first.reshape(len(first), -1), model.loadings.reshape(-1, rank))
    diagonal = packed_diagonal(rank)
    means = np.empty((len(zeroth), rank), dtype=np.float32)
    log_likelihoods = np.empty(len(zeroth))
    for i in range(len(zeroth)):
        packed[i, diagonal] += 1.0
        factor, failed = lapack.spftrf(rank, packed[i], overwrite_a=1)
        if failed:
            raise np.linalg.LinAlgError(
                "The posterior precision of an i-vector is not positive definite in float32: an "
                f"utterance of {zeroth[i].sum():.3g} frames is too long, split it."
            )
        mean = lapack.spftrs(rank, factor, linear[i, :, None])[0]
        means[i] = mean[:, 0]
        log_determinant = 2.0 * np.log(np.float64(factor[diagonal])).sum()
        log_likelihoods[i] = 0.5 * (np.float64(linear[i]) @ means[i] - log_determinant)
        if second_moments:
            inverse, _ = lapack.spftri(rank, factor, overwrite_a=1)
            packed[i] = lapack.ssfrk(rank, 1, 1.0, mean, 1.0, inverse, overwrite_c=1)
    return means, log_likelihoods, packed if second_moments else None


def _project(rows, columns):
    """Multiply matrices so that a row's result does not depend on where it stands."""
    if columns.shape[1] > 1:
        return rows @ columns
    # BLAS takes a single column by another routine, which rounds the last rows differently.
    return np.sum(rows * columns[:, 0], axis=1, keepdims=True)


def add_product(total, left, right):
    """Add ``left.T @ right`` to `total` in place, without a temporary of its size.

    Parameters
    ----------
    total : ndarray of shape (m, p), dtype float32, C order
        What is added to.
    left : ndarray of shape (n, m), dtype float32
        One factor.
    right : ndarray of shape (n, p), dtype float32
        The other factor.
    """
    blas.sgemm(1.0, right.T, left.T, beta=1.0, c=total.T, trans_b=True, overwrite_c=True)


class Accumulators:
    """Sums over utterances that the M step takes.

    Parameters
    ----------
    shape : tuple of 3 int
        ``(C, d, R)``.
    """

    def __init__(self, shape):
        n_components, d, rank = shape
        self.n_utterances = 0
        self.log_likelihood = 0.0
        self.occupancy = np.zeros(n_components)
        self.cross = np.zeros((n_components * d, rank), dtype=np.float32)
        self.weighted_moments = np.zeros((n_components, packed_size(rank)), dtype=np.float32)
        self.moments = np.zeros(packed_size(rank))

    def add(self, zeroth, first, model):
        """Do the E step of some utterances.

        Parameters
        ----------
        zeroth : ndarray of shape (n, C), dtype float32
            N.
        first : ndarray of shape (n, C, d), dtype float32
            F, centred and whitened.
        model : TotalVariability
            T.
        """
        means, log_likelihoods, moments = posteriors(zeroth, first, model, second_moments=True)
        add_product(self.weighted_moments, zeroth, moments)
        add_product(self.cross, first.reshape(len(first), -1), means)
        self.moments += moments.sum(axis=0, dtype=np.float64)
        self.occupancy += zeroth.sum(axis=0, dtype=np.float64)
        self.log_likelihood += log_likelihoods.sum()
        self.n_utterances += len(zeroth)


def maximise(sums, loadings):
    """Find the loadings of the highest expected likelihood: ``T_c A_c = C_c`` for each c.

    ``A_c = sum_u N_c E[w w']`` and ``C_c = sum_u F_c E[w]'``. A component that nothing falls to,
    or so little that float32 cannot tell, keeps its loadings.

    Parameters
    ----------
    sums : Accumulators
        Of all utterances.
    loadings : ndarray of shape (C, d, R)
        The loadings that `sums` are of.

    Returns
    -------
    ndarray of shape (C, d, R), dtype float32
        The new loadings.

    References
    ----------
    Kenny, Boulianne, Dumouchel (2005), Proposition 3.
    """
    rank = loadings.shape[-1]
    cross = sums.cross.reshape(loadings.shape)
    new = loadings.copy()
    for c in np.flatnonzero(sums.occupancy > 1e-6):
        normal = np.float64(sums.weighted_moments[c]) / sums.occupancy[c]
        factor, failed = lapack.dpftrf(rank, normal, overwrite_a=1)
        if not failed:
            right = np.float64(cross[c].T) / sums.occupancy[c]
            new[c] = lapack.dpftrs(rank, factor, right)[0].T
    return new


def minimum_divergence(loadings, sums):
    """Scale loadings so that the standard normal prior fits the utterances they came from.

    With ``P = J J'`` the mean of E[w w'] over the utterances, w of prior covariance P and T are
    the same model as w of the identity and T J, whose mean of E[w w'] is the identity.

    Parameters
    ----------
    loadings : ndarray of shape (C, d, R)
        T.
    sums : Accumulators
        Whose moments give P.

    Returns
    -------
    ndarray of shape (C, d, R), dtype float32
        T J.

    References
    ----------
    Bruemmer, "The EM algorithm and minimum divergence", Agnitio Labs technical report (2009).
    Kenny, "Joint factor analysis of speaker and session variability: theory and algorithms",
    CRIM technical report 06/08-13 (2005).
    """
    rank = loadings.shape[-1]
    factor, _ = lapack.dpftrf(rank, sums.moments / sums.n_utterances)
    upper = np.triu(lapack.dtfttr(rank, factor)[0])
    return loadings @ upper.T.astype(np.float32)


def train(zeroth, first, loadings, *, n_iter, re_estimate_prior, batch_size, report):
    """Train T by EM.

    Parameters
    ----------
    zeroth : ndarray of shape (n, C), dtype float32
        N.
    first : ndarray of shape (n, C, d), dtype float32
        F, centred and whitened.
    loadings : ndarray of shape (C, d, R), dtype float32
        Where to start.
    n_iter : int
        Iterations.
    re_estimate_prior : bool
        Whether :func:`minimum_divergence` follows each M step.
    batch_size : int
        Utterances at a time.
    report : callable
        Called with the iteration's number and log-likelihood.

    Returns
    -------
    model : TotalVariability
        The trained T.
    log_likelihoods : ndarray of shape (n_iter,), dtype float64
        At the start of each iteration, the mean over utterances of the part of the marginal
        log-likelihood that depends on T.
    """
    log_likelihoods = np.empty(n_iter)
    for iteration in range(n_iter):
        model = TotalVariability(loadings)
        sums = Accumulators(loadings.shape)
        for start in range(0, len(zeroth), batch_size):
            rows = slice(start, start + batch_size)
            sums.add(zeroth[rows], first[rows], model)
        loadings = maximise(sums, loadings)
        if re_estimate_prior:
            loadings = minimum_divergence(loadings, sums)
        log_likelihoods[iteration] = sums.log_likelihood / len(zeroth)
        report(iteration, log_likelihoods[iteration])
    return TotalVariability(loadings), log_likelihoods
