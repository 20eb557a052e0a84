"""The parts of PLDA: LDA, the two-covariance model's likelihood, EM and diagonal basis.

What lives here are functions of arrays. The estimator and its scores are in
:mod:`skdistort.plda`.
"""

import numpy as np
from scipy import linalg, sparse

# As in scikit-learn's LDA: standard deviations below this, relative to those within a class
# before rotation and to the largest between classes, are rounding.
_TOLERANCE = 1e-4
# Share of the mean variance added within the classes in each direction, so that none has zero.
_VARIANCE_FLOOR = 1e-6
# Features up to which those that vary are all kept, though the samples are fewer: beyond, the
# time of fit would go with their cube.
_MOST_FEATURES = 512


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


def lda_projection(X, codes, n_components=None, *, shrinkage=None, as_many_as_there_are=False):
    """Find the directions of the largest ratio of the variance between classes to that within.

    Directions without variance within the classes are left out, unless shrinkage gives them
    some, so that there may be more features than samples. With shrinkage those in which the means
    of the classes do not differ follow: samples of other classes may.

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
    as_many_as_there_are : bool, default=False
        Whether `n_components` is a wish, where there are fewer directions.

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
    if shrinkage or X.shape[1] > len(X):
        axes = _axes((X - mean) / scale, bool(shrinkage))
        means, residuals = means @ axes, residuals @ axes
    within = residuals.T @ residuals / len(X)
    if shrinkage == "auto":
        shrinkage = ledoit_wolf(residuals, within, X.shape[1])
    if shrinkage:
        within = shrink(within, shrinkage, np.trace(within) / X.shape[1])
    variances, vectors = linalg.eigh(within)
    kept = variances > _TOLERANCE**2
    if not kept.any():
        raise ValueError("The samples of each class in y are equal: X varies within no class.")
    whitening = vectors[:, kept] / np.sqrt(variances[kept])
    between = (np.sqrt(counts / len(X))[:, None] * means) @ whitening
    triangle = linalg.qr(between, mode="r")[0][: between.shape[1]]
    deviations, directions = linalg.svd(triangle, full_matrices=bool(shrinkage))[1:]
    if deviations[0] <= _TOLERANCE**2:
        raise ValueError("All classes in y have the same mean: X does not tell them apart.")
    if shrinkage:
        most = len(directions)
    else:
        n_found = int(np.sum(deviations > _TOLERANCE * deviations[0]))
        most = min(n_found, len(counts) - 1, len(X) - len(counts))
    if n_components is not None and n_components > most and not as_many_as_there_are:
        raise ValueError(
            f"n_components={n_components} is more than the {most} that {len(X)} samples of "
            f"{X.shape[1]} features in {len(counts)} classes allow."
        )
    projection = whitening @ directions[: min(n_components or most, most)].T
    return (projection if axes is None else axes @ projection) / scale[:, None]


def _axes(X, shrunk):
    """Find an orthonormal basis of where samples may vary, few of which may not show it."""
    n_samples, n_features = X.shape
    if shrunk and n_samples <= n_features <= _MOST_FEATURES:
        return np.eye(n_features)[:, np.ptp(X, axis=0) > _TOLERANCE * abs(X).max(axis=0)]
    # No direction outside the span of the samples is known, and the span may be smaller.
    wide = n_features > n_samples
    squares, vectors = linalg.eigh(X @ X.T if wide else X.T @ X)
    kept = squares > _TOLERANCE**2 * squares[-1]
    squares, vectors = squares[kept], vectors[:, kept]
    return X.T @ (vectors / np.sqrt(squares)) if wide else vectors


def shrink(covariance, share, variance):
    """Pull a covariance to a multiple of the identity.

    Parameters
    ----------
    covariance : ndarray of shape (n_dimensions, n_dimensions)
        A covariance.
    share : float
        How far, in [0, 1].
    variance : float
        The multiple.

    Returns
    -------
    ndarray of shape (n_dimensions, n_dimensions)
        ``(1 - share) covariance + share variance I``.
    """
    shrunk = (1 - share) * covariance
    shrunk[np.diag_indices_from(shrunk)] += share * variance
    return shrunk


def ledoit_wolf(deviations, covariance, n_features):
    """Evaluate Ledoit and Wolf's share of the identity in a covariance.

    Parameters
    ----------
    deviations : ndarray of shape (n_samples, n_dimensions)
        Samples less their mean, by coordinates in their span.
    covariance : ndarray of shape (n_dimensions, n_dimensions)
        The mean of their squares.
    n_features : int
        Dimensions there are with those outside the span.

    Returns
    -------
    float
        The share, in [0, 1].

    References
    ----------
    Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
    Journal of Multivariate Analysis 88 (2004).
    """
    if n_features == 1:
        return 0.0
    power = np.sum(covariance**2)
    squares = np.einsum("ij,ij->i", deviations, deviations)
    noise = max(np.mean(squares**2) - power, 0.0) / len(deviations)
    spread = power - np.trace(covariance) ** 2 / n_features
    return 1.0 if noise >= spread or spread <= _TOLERANCE**2 * power else noise / spread


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
    # Copied, since a view from behind is multiplied in another order than what a file gives back.
    return np.ascontiguousarray(basis[:, ::-1]), np.maximum(variances[::-1], 0)


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


def fit_covariances(counts, means, residuals, *, n_iter, shrinkage):
    """Estimate the two-covariance model by EM, its covariances shrunk in each iteration.

    Shrinkage of the share a is the maximum a posteriori step under an inverse Wishart prior whose
    mode is a multiple of the identity, worth a / (1 - a) as many classes, or samples, as there are.

    Parameters
    ----------
    counts, means, residuals : ndarray
        The classes, as :func:`class_statistics` gives them.
    n_iter : int
        Iterations.
    shrinkage : "auto", float or None
        Share of the identity in both covariances; "auto" is the formula of Ledoit and Wolf.

    Returns
    -------
    model : tuple of 3 ndarray
        Mean, covariance between and covariance within the classes.
    log_likelihoods : ndarray of shape (n_iter + 1,)
        Log-likelihood of the samples at the start and after each iteration, in nats.
    """
    mean = means.mean(axis=0)
    spread = means - mean
    between = spread.T @ spread / len(means)
    scatter = residuals.T @ residuals
    # Length normalisation can leave directions without variance within the classes.
    total = np.trace(scatter) + counts.sum() * np.trace(between)
    scatter[np.diag_indices_from(scatter)] += _VARIANCE_FLOOR * total / len(scatter)
    freedom, d = counts.sum() - len(counts), len(mean)
    within = scatter / freedom
    variance = np.trace(within) / d
    # The noise of the means is no variance between the classes.
    noise = variance * np.mean(1 / counts)
    target = max(np.trace(between) / max(len(means) - 1, 1) * len(means) / d - noise, 0.01 * noise)
    shares = [shrinkage or 0.0] * 2
    if shrinkage == "auto":
        shares = [
            ledoit_wolf(spread, between, d),
            ledoit_wolf(residuals, scatter / counts.sum(), d),
        ]
    model = mean, shrink(between, shares[0], target), shrink(within, shares[1], variance)
    log_likelihoods = [log_likelihood(counts, means, scatter, *model)]
    for _ in range(n_iter):
        mean, between, within = em_step(counts, means, scatter, *model)
        model = mean, shrink(between, shares[0], target), shrink(within, shares[1], variance)
        log_likelihoods.append(log_likelihood(counts, means, scatter, *model))
    return model, np.array(log_likelihoods)


def adapt_covariances(within, between, seen, within_scale, between_scale):
    """Share out to both covariances what vectors vary more than these expect.

    Parameters
    ----------
    within, between : ndarray of shape (n_dimensions, n_dimensions)
        The model's covariances.
    seen : ndarray of shape (n_dimensions, n_dimensions)
        Covariance of vectors of many classes.
    within_scale, between_scale : float
        Shares of the excess.

    Returns
    -------
    tuple of 2 ndarray of shape (n_dimensions, n_dimensions)
        The covariances within and between, with the excess.

    References
    ----------
    Kaldi's PldaUnsupervisedAdaptor, see :meth:`skdistort.plda.PLDA.adapt`.
    """
    # Where what the model expects of a vector, within + between, is I.
    variances, basis = linalg.eigh(seen, within + between)
    inverse = (within + between) @ basis
    excess = (inverse * np.maximum(variances - 1, 0)) @ inverse.T
    return within + within_scale * excess, between + between_scale * excess
