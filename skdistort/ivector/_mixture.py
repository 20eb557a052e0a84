"""Formulas of mixtures of Gaussians, on blocks of frames in float32.

What trains one lives in :mod:`skdistort.ivector._ubm`.
"""

import numpy as np
from scipy.linalg import solve_triangular


class DiagonalMixture:
    """A mixture of diagonal Gaussians, ready to be evaluated by one matrix product.

    Frames are brought to zero mean and unit variance under the mixture first, so that float32
    is enough wherever the features lie, and expanded to ``[1, z, z^2]``.

    Parameters
    ----------
    weights : ndarray of shape (C,)
        Weights of the components, positive.
    means, variances : ndarray of shape (C, d)
        Their parameters.
    """

    def __init__(self, weights, means, variances):
        self.centre = weights @ means
        self.scale = np.sqrt(weights @ (variances + (means - self.centre) ** 2))
        self.means = (means - self.centre) / self.scale
        self.variances = variances / self.scale**2
        self._coefficients = _expansion_coefficients(weights, self.means, self.variances)

    def expand(self, frames):
        """Standardise frames and append their squares.

        Parameters
        ----------
        frames : ndarray of shape (n, d), dtype float32
            Frames.

        Returns
        -------
        ndarray of shape (n, 1 + 2 d), dtype float32
            Rows ``[1, z, z^2]``.
        """
        n, d = frames.shape
        expanded = np.ones((n, 1 + 2 * d), dtype=np.float32)
        z = expanded[:, 1 : 1 + d]
        with np.errstate(over="ignore"):
            np.subtract(frames, self.centre.astype(np.float32), out=z)
            z /= self.scale.astype(np.float32)
        # Farther away float32 would lose the squares, and with them every posterior.
        np.clip(z, -1e9, 1e9, out=z)
        np.square(z, out=expanded[:, 1 + d :])
        return expanded

    def posteriors(self, expanded):
        """Posterior probabilities of the components and log-likelihoods of frames.

        Parameters
        ----------
        expanded : ndarray of shape (n, 1 + 2 d), dtype float32
            Frames, from :meth:`expand`.

        Returns
        -------
        posteriors : ndarray of shape (n, C), dtype float32
            They sum to one in each row.
        log_likelihoods : ndarray of shape (n,), dtype float64
            Natural logarithms of the density, in the units of the frames.
        """
        return _normalise(expanded @ self._coefficients, self.scale)


class FullMixture:
    """A mixture of Gaussians with full covariances, used as a :class:`DiagonalMixture` is.

    Parameters
    ----------
    weights : ndarray of shape (C,)
        Weights of the components, positive.
    means : ndarray of shape (C, d)
        Their means.
    covariances : ndarray of shape (C, d, d)
        Their covariances.
    """

    def __init__(self, weights, means, covariances):
        variances = np.diagonal(covariances, axis1=1, axis2=2)
        self.centre = weights @ means
        self.scale = np.sqrt(weights @ (variances + (means - self.centre) ** 2))
        self.means = (means - self.centre) / self.scale
        scaled = covariances / (self.scale[:, None] * self.scale)
        self._whitening = inverse_factors(scaled)
        # log |S| / 2 is minus the sum of the logarithms of the inverse factor's diagonal.
        log_volumes = np.log(np.diagonal(self._whitening, axis1=1, axis2=2)).sum(axis=1)
        self._constants = np.log(weights) + log_volumes - 0.5 * means.shape[1] * np.log(2 * np.pi)

    def expand(self, frames):
        """Standardise frames.

        Parameters
        ----------
        frames : ndarray of shape (n, d), dtype float32
            Frames.

        Returns
        -------
        ndarray of shape (n, 1 + d), dtype float32
            Rows ``[1, z]``.
        """
        expanded = np.ones((len(frames), 1 + frames.shape[1]), dtype=np.float32)
        with np.errstate(over="ignore"):
            z = (frames - self.centre.astype(np.float32)) / self.scale.astype(np.float32)
        np.clip(z, -1e9, 1e9, out=expanded[:, 1:])
        return expanded

    def posteriors(self, expanded):
        """Posterior probabilities of the components and log-likelihoods of frames.

        Parameters
        ----------
        expanded : ndarray of shape (n, 1 + d), dtype float32
            Frames, from :meth:`expand`.

        Returns
        -------
        posteriors : ndarray of shape (n, C), dtype float32
            They sum to one in each row.
        log_likelihoods : ndarray of shape (n,), dtype float64
            Natural logarithms of the density, in the units of the frames.
        """
        z = expanded[:, 1:]
        joint = np.empty((len(z), len(self.means)), dtype=np.float32)
        for c, (mean, whitening) in enumerate(zip(self.means, self._whitening, strict=True)):
            # Centred before it is squared, where float32 rounds least.
            y = (z - mean.astype(np.float32)) @ whitening.T.astype(np.float32)
            joint[:, c] = self._constants[c] - 0.5 * np.einsum("fi,fi->f", y, y)
        return _normalise(joint, self.scale)


def inverse_factors(covariances):
    """Invert the lower Cholesky factors of covariances.

    Parameters
    ----------
    covariances : ndarray of shape (C, d, d)
        Positive definite.

    Returns
    -------
    ndarray of shape (C, d, d), dtype float64
        ``inv(L)`` for each ``L @ L.T``.
    """
    identity = np.eye(covariances.shape[1])
    factors = np.linalg.cholesky(covariances)
    return np.array([solve_triangular(factor, identity, lower=True) for factor in factors])


def mixture_of(ubm):
    """Make the mixture of a fitted background model, ready to be evaluated.

    Parameters
    ----------
    ubm : UniversalBackgroundModel or FrozenEstimator of one
        The model.

    Returns
    -------
    DiagonalMixture or FullMixture
        The mixture.
    """
    covariances = getattr(ubm, "covariances_", None)
    if covariances is None:
        return DiagonalMixture(ubm.weights_, ubm.means_, ubm.variances_)
    return FullMixture(ubm.weights_, ubm.means_, covariances)


def _normalise(joint, scale):
    """Turn log joint densities into posteriors, in place, and log-likelihoods."""
    highest = joint.max(axis=1, keepdims=True)
    joint -= highest
    np.exp(joint, out=joint)
    total = joint.sum(axis=1, keepdims=True)
    joint /= total
    log_likelihoods = np.float64(highest[:, 0]) + np.log(np.float64(total[:, 0]))
    return joint, log_likelihoods - np.log(scale).sum()


def _expansion_coefficients(weights, means, variances):
    """Work out what a row ``[1, z, z^2]`` is multiplied by for ``log(weight) + log N(z)``.

    Parameters
    ----------
    weights : ndarray of shape (C,)
        Weights of the components.
    means, variances : ndarray of shape (C, d)
        Their parameters.

    Returns
    -------
    ndarray of shape (1 + 2 d, C), dtype float32
        The coefficients.
    """
    constant = np.log(weights) - 0.5 * np.sum(
        np.log(2 * np.pi * variances) + means**2 / variances, axis=1
    )
    columns = np.concatenate([constant[:, None], means / variances, -0.5 / variances], axis=1)
    return np.ascontiguousarray(columns.T, dtype=np.float32)


def maximise(moments, mixture, floor):
    """Find the most likely parameters given the moments of an E step; variances from `floor` up.

    With means given, the best variance of at least `floor` is the larger of `floor` and the
    best one, so that flooring does not break EM's promise. A component that no frame falls to
    keeps its mean and variance.

    Parameters
    ----------
    moments : ndarray of shape (C, 1 + 2 d), dtype float64
        Sums over frames of ``posterior * [1, z, z^2]``, in the mixture's own standard units.
    mixture : DiagonalMixture
        The mixture that the posteriors are of.
    floor : ndarray of shape (d,)
        The smallest variances, in the units of the frames.

    Returns
    -------
    weights : ndarray of shape (C,)
        The new weights.
    means, variances : ndarray of shape (C, d)
        The new parameters, in the units of the frames.

    References
    ----------
    Reynolds, Quatieri, Dunn, "Speaker verification using adapted Gaussian mixture models",
    Digital Signal Processing 10 (2000).
    """
    d = len(floor)
    counts = moments[:, 0]
    empty = counts <= 1e-6
    safe = np.where(empty, 1.0, counts)[:, None]
    means = moments[:, 1 : 1 + d] / safe
    variances = moments[:, 1 + d :] / safe - means**2
    means[empty], variances[empty] = mixture.means[empty], mixture.variances[empty]
    weights = np.maximum(counts, np.finfo(np.float64).tiny)
    return (
        weights / weights.sum(),
        mixture.centre + mixture.scale * means,
        np.maximum(mixture.scale**2 * variances, floor),
    )
