"""The parts of PLDA: LDA, the two-covariance model's likelihood, EM and diagonal basis.

What lives here are functions of arrays. The estimator and its scores are in
:mod:`skdistort.plda`.
"""

import numpy as np
from scipy import linalg, sparse

# As in scikit-learn's LDA: standard deviations below this, relative to those within a class
# before rotation and to the largest between classes, are rounding.
_TOLERANCE = 1e-4


def class_statistics(X, codes):
    """Compute sizes and means of the classes, and what is left of the samples around the means.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    codes : ndarray of shape (n_samples,), int
        Classes, numbered from 0 without a gap.

    Returns
    -------
    counts : ndarray of shape (n_classes,), float64
        Samples of each class.
    means : ndarray of shape (n_classes, n_features), float64
        Their means.
    residuals : ndarray of shape (n_samples, n_features), float64
        Samples less the mean of their class.
    """
    counts = np.bincount(codes).astype(np.float64)
    membership = sparse.csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))))
    means = (membership @ X) / counts[:, None]
    residuals = means[codes]
    np.subtract(X, residuals, out=residuals)
    return counts, means, residuals


def lda_projection(X, codes, n_components=None, *, shrinkage=None):
    """Find the directions of the largest ratio of the variance between classes to that within.

    Directions without variance within the classes are left out, unless shrinkage gives them
    some, so that there may be more features than samples.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples; not changed.
    codes : ndarray of shape (n_samples,), int
        Classes, numbered from 0 without a gap.
    n_components : int or None, default=None
        Directions to keep; None keeps all that there are.
    shrinkage : "auto", float or None, default=None
        Share, in [0, 1], of a multiple of the identity in the covariance within the classes, of
        features scaled to unit variance there; "auto" is the formula of Ledoit and Wolf.

    Returns
    -------
    ndarray of shape (n_features, n_components), float64
        The directions, the best first, scaled so that the covariance within the classes, after
        shrinkage, is I. For samples less their mean.

    Raises
    ------
    ValueError
        If the samples of each class are equal, all classes have the same mean, or there are
        fewer directions than `n_components`.

    References
    ----------
    Fukunaga, "Introduction to statistical pattern recognition" (1990), chapter 10. Ledoit and
    Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
    Multivariate Analysis 88 (2004).
    """
    counts, means, residuals = class_statistics(X, codes)
    mean = counts @ means / len(X)
    scale = residuals.std(axis=0)
    # A feature that is constant within the classes varies by rounding alone.
    largest = np.maximum(X.max(axis=0), -X.min(axis=0))
    scale[scale <= 100 * np.finfo(np.float64).eps * largest] = 1.0
    residuals /= scale
    means = (means - mean) / scale
    axes = None
    if X.shape[1] > len(X):
        # No direction outside the span of the samples matters, and the span is smaller.
        axes = linalg.qr(((X - mean) / scale).T, mode="economic")[0]
        means, residuals = means @ axes, residuals @ axes
    within = residuals.T @ residuals / len(X)
    if shrinkage == "auto":
        shrinkage = _ledoit_wolf(residuals, within, X.shape[1])
    if shrinkage:
        target = np.trace(within) / X.shape[1]
        within *= 1 - shrinkage
        within[np.diag_indices_from(within)] += shrinkage * target
    variances, vectors = linalg.eigh(within)
    kept = variances > _TOLERANCE**2
    if not kept.any():
        raise ValueError("The samples of each class in y are equal: X varies within no class.")
    whitening = vectors[:, kept] / np.sqrt(variances[kept])
    between = (np.sqrt(counts / len(X))[:, None] * means) @ whitening
    deviations, directions = linalg.svd(between, full_matrices=False)[1:]
    if deviations[0] <= _TOLERANCE**2:
        raise ValueError("All classes in y have the same mean: X does not tell them apart.")
    n_found = int(np.sum(deviations > _TOLERANCE * deviations[0]))
    most = min(n_found, len(counts) - 1, len(X) - len(counts))
    if n_components is not None and n_components > most:
        raise ValueError(
            f"n_components={n_components} is more than the {most} that {len(X)} samples of "
            f"{X.shape[1]} features in {len(counts)} classes allow."
        )
    projection = whitening @ directions[: n_components or most].T
    return (projection if axes is None else axes @ projection) / scale[:, None]


def _ledoit_wolf(residuals, within, n_features):
    """Ledoit and Wolf's shrinkage of a covariance, from coordinates in the span of the samples."""
    power = np.sum(within**2)
    squares = np.einsum("ij,ij->i", residuals, residuals)
    noise = (np.mean(squares**2) - power) / len(residuals)
    spread = power - np.trace(within) ** 2 / n_features
    return 1.0 if noise >= spread else noise / spread


def diagonalise(between, within):
    """Find the basis where the within-class covariance is I and the between-class one diagonal.

    Parameters
    ----------
    between : ndarray of shape (n_dimensions, n_dimensions)
        Covariance of the classes' centres, positive semidefinite.
    within : ndarray of shape (n_dimensions, n_dimensions)
        Covariance around them, positive definite.

    Returns
    -------
    basis : ndarray of shape (n_dimensions, n_dimensions)
        V with ``V.T @ within @ V = I``: a vector x becomes ``x @ V``.
    variances : ndarray of shape (n_dimensions,)
        The diagonal of ``V.T @ between @ V``, falling.

    References
    ----------
    Ioffe, "Probabilistic linear discriminant analysis", ECCV 2006.
    """
    variances, basis = linalg.eigh(between, within)
    # Rounding can leave a variance of zero a hair below it.
    return basis[:, ::-1], np.maximum(variances[::-1], 0)


def log_likelihood(counts, means, scatter, mean, between, within):
    """Log-likelihood of samples in classes under the two-covariance model.

    In the diagonal basis a class of n samples is, along each axis, their scatter of variance 1
    and their mean of variance v + 1/n.

    Parameters
    ----------
    counts : ndarray of shape (n_classes,)
        Samples of each class.
    means : ndarray of shape (n_classes, n_dimensions)
        Their means.
    scatter : ndarray of shape (n_dimensions, n_dimensions)
        Sum of the samples' squares around the means of their classes.
    mean : ndarray of shape (n_dimensions,)
        Mean of the model.
    between, within : ndarray of shape (n_dimensions, n_dimensions)
        Covariance of the classes' centres, and of the samples around them.

    Returns
    -------
    float
        In nats.

    References
    ----------
    Brummer and de Villiers, "The speaker partitioning problem", Odyssey 2010.
    """
    basis, variances = diagonalise(between, within)
    n_samples, sizes = counts.sum(), counts[:, None]
    inflation = 1 + sizes * variances
    deviations = (means - mean) @ basis
    return -0.5 * float(
        n_samples * (len(mean) * np.log(2 * np.pi) + np.linalg.slogdet(within)[1])
        + np.sum(basis * (scatter @ basis))
        + np.sum(np.log(inflation))
        + np.sum(sizes * deviations**2 / inflation)
    )


def em_step(counts, means, scatter, mean, between, within):
    """Improve the two-covariance model by one iteration of expectation maximisation.

    Parameters
    ----------
    counts, means, scatter : ndarray
        The classes, see :func:`log_likelihood`.
    mean, between, within : ndarray
        The model, see :func:`log_likelihood`.

    Returns
    -------
    mean : ndarray of shape (n_dimensions,)
        Mean of a model of no lower likelihood.
    between, within : ndarray of shape (n_dimensions, n_dimensions)
        Its covariances.

    References
    ----------
    Sizov, Lee and Kinnunen, "Unifying probabilistic linear discriminant analysis variants in
    biometric authentication", S+SSPR 2014, two-covariance model.
    """
    basis, variances = diagonalise(between, within)
    inverse = within @ basis  # of basis.T
    sizes = counts[:, None]
    # The posterior of each class's centre, less the mean: independent along the axes.
    posterior_variances = variances / (1 + sizes * variances)
    deviations = (means - mean) @ basis
    centres = sizes * posterior_variances * deviations

    shift = centres.mean(axis=0)
    spread, error = centres - shift, deviations - centres
    new_between = spread.T @ spread / len(counts) + np.diag(posterior_variances.mean(axis=0))
    new_within = (sizes * error).T @ error + np.diag(counts @ posterior_variances)
    return (
        mean + inverse @ shift,
        inverse @ new_between @ inverse.T,
        (scatter + inverse @ new_within @ inverse.T) / counts.sum(),
    )
