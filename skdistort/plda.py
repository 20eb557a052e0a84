"""Two-covariance PLDA: verification of embeddings by log-likelihood ratios, in numpy.

What lives here fits the model and compares vectors under it. Where the vectors come from
(i-vectors, embeddings of a network) does not, and neither do the fusion and the calibration of
scores: see :mod:`skdistort.fusion`.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.preprocessing import normalize
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from ._labels import as_labels
from ._two_covariance import (
    class_statistics,
    diagonalise,
    em_step,
    lda_projection,
    log_likelihood,
)
from .metrics import equal_error_rate
from .persistence import PersistenceMixin

# Share of the mean variance added within the classes in each direction, so that none has zero.
_VARIANCE_FLOOR = 1e-6


class PLDA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, PersistenceMixin, BaseEstimator):
    """Probabilistic linear discriminant analysis in its two-covariance form.

    Vectors are centred, projected by linear discriminant analysis (LDA) and scaled to unit
    length. There a vector of class s is modelled as ``x = y_s + e`` with
    ``y_s ~ N(mean_, between_covariance_)`` and ``e ~ N(0, within_covariance_)``, and two vectors
    are compared by the log-likelihood ratio of one class against two.

    Parameters
    ----------
    n_components : int or None, default=None
        Dimensions that LDA keeps, at most one less than there are classes, the number of samples
        less that of classes, and the rank of the data. None keeps as many.
    shrinkage : "auto", float or None, default="auto"
        How far LDA's within-class covariance, of features scaled to unit variance within the
        classes, is pulled to a multiple of the identity, in [0, 1]; "auto" is the formula of
        Ledoit and Wolf. None does not, which needs many more samples than features.
    length_norm : bool, default=True
        Whether to scale to unit length after LDA. A single dimension never is: only its sign
        would be left.
    n_iter : int, default=10
        Iterations of expectation maximisation (EM).

    Attributes
    ----------
    input_mean_ : ndarray of shape (n_features_in_,)
        Mean of the training vectors.
    projection_ : ndarray of shape (n_features_in_, n_components)
        LDA's directions, for centred vectors.
    mean_ : ndarray of shape (n_components,)
        Mean of the model, after LDA and length normalisation, like both covariances.
    between_covariance_, within_covariance_ : ndarray of shape (n_components, n_components)
        Covariance of the classes' centres, and of the vectors around them.
    basis_ : ndarray of shape (n_components, n_components)
        V with ``V.T @ within_covariance_ @ V = I`` and
        ``V.T @ between_covariance_ @ V = diag(between_variances_)``.
    between_variances_ : ndarray of shape (n_components,)
        Between-class variances in that basis, falling.
    log_likelihoods_ : ndarray of shape (n_iter + 1,)
        Log-likelihood of the training vectors after LDA and length normalisation, in nats: at
        the start and after each iteration. Never falls.
    n_features_in_ : int
        Length of the input vectors.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if ``fit`` saw a data frame with string names.

    See Also
    --------
    ScoreFusion : Fuse the scores of several systems, or calibrate those of one.
    sklearn.discriminant_analysis.LinearDiscriminantAnalysis : Classification among the classes
        seen in ``fit``; PLDA compares vectors of classes it never saw.

    Notes
    -----
    EM works on the classes' means, sizes and pooled scatter alone, so that an iteration costs
    the same however many samples there are. More iterations raise the likelihood, and rarely
    the accuracy.

    Fitted on few samples a class, the model takes its classes for farther apart than unseen ones
    are: the ratios rank well and are too large. :class:`ScoreFusion` calibrates them on trials
    held out.

    References
    ----------
    Brummer and de Villiers, "The speaker partitioning problem", Odyssey 2010: the model. Sizov,
    Lee and Kinnunen, "Unifying probabilistic linear discriminant analysis variants in biometric
    authentication", S+SSPR 2014: EM. Garcia-Romero and Espy-Wilson, "Analysis of i-vector length
    normalization in speaker recognition systems", Interspeech 2011. Khan and Hernando,
    "Unsupervised Training of Siamese Networks for Speaker Verification", Interspeech 2020,
    section 3: the baseline of i-vectors and PLDA.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistort.plda import PLDA
    >>> X, y = load_digits(return_X_y=True)
    >>> plda = PLDA().fit(X[:900], y[:900])
    >>> plda.transform(X[900:]).shape
    (897, 9)
    >>> plda.score_matrix(X[900:902], X[902:905]).shape
    (2, 3)
    >>> bool(plda.score(X[900:], y[900:]) > 0.85)  # 1 - equal error rate
    True
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "shrinkage": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="both"), None],
        "length_norm": ["boolean"],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, n_components=None, *, shrinkage="auto", length_norm=True, n_iter=10):
        self.n_components = n_components
        self.shrinkage = shrinkage
        self.length_norm = length_norm
        self.n_iter = n_iter

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Fit the projection and the two covariances.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Vectors, finite.
        y : array-like of shape (n_samples,)
            Their classes, of any sizes.

        Returns
        -------
        PLDA
            The fitted estimator.

        Raises
        ------
        ValueError
            If there is one class only, no class has two samples, the samples of every class are
            equal, or `n_components` is more than the data allow.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], ensure_min_samples=2)
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"PLDA needs at least two classes, y has one class: {classes[0]}.")
        if len(classes) == len(y):
            raise ValueError(
                f"PLDA needs a class of two samples or more: y has {len(y)} samples in as many "
                "classes, which tell nothing about the covariance within a class."
            )
        self.input_mean_ = X.mean(axis=0, dtype=np.float64)
        self.projection_ = lda_projection(X, codes, self.n_components, shrinkage=self.shrinkage)
        self._n_features_out = self.projection_.shape[1]
        self._fit_covariances(*class_statistics(self._project(X), codes))
        self.basis_, self.between_variances_ = diagonalise(
            self.between_covariance_, self.within_covariance_
        )
        return self

    def transform(self, X):
        """Bring vectors to where they are scored, so that each is encoded once.

        Centring, LDA and length normalisation are followed by a change of basis in which the
        model has mean 0, within-class covariance I and between-class covariance
        ``diag(between_variances_)``. :func:`pair_llr` and :func:`llr_matrix` score there.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Vectors.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            Encoded vectors: float32 if `X` is, else float64.
        """
        return self._encode(X)

    def pair_score(self, left, right):
        """Compare row i of one array with row i of the other.

        Parameters
        ----------
        left, right : array-like of shape (n_pairs, n_features)
            Vectors as in ``fit``.

        Returns
        -------
        ndarray of shape (n_pairs,)
            Log-likelihood ratios in nats: above 0 where one class is likelier than two.

        Raises
        ------
        ValueError
            If the arrays differ in length.
        """
        check_consistent_length(left, right)
        return pair_llr(self._encode(left), self._encode(right), self.between_variances_)

    def score_matrix(self, left, right):
        """Compare every row of one array with every row of the other.

        Parameters
        ----------
        left : array-like of shape (n_left, n_features)
            Vectors as in ``fit``.
        right : array-like of shape (n_right, n_features)
            Vectors as in ``fit``.

        Returns
        -------
        ndarray of shape (n_left, n_right)
            Log-likelihood ratios in nats: above 0 where one class is likelier than two.
        """
        return llr_matrix(self._encode(left), self._encode(right), self.between_variances_)

    def score(self, X, y):
        """Score by verification: 1 - equal error rate over all pairs of vectors.

        Memory grows with the square of the number of vectors.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Vectors.
        y : array-like of shape (n_samples,)
            Their classes, which need not be those of ``fit``.

        Returns
        -------
        float
            Between 0 and 1, higher is better; 0.5 is chance.

        Raises
        ------
        ValueError
            If `y` does not make both genuine and impostor pairs, or lacks one.
        """
        Z, y = self._encode(X), column_or_1d(as_labels(y, "y"))
        check_consistent_length(Z, y)
        above_diagonal = ~np.tri(len(y), dtype=bool)
        genuine = (y[:, None] == y)[above_diagonal]
        scores = llr_matrix(Z, Z, self.between_variances_)[above_diagonal]
        return 1.0 - equal_error_rate(genuine, scores)[0]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _encode(self, X):
        """Transform, without the data frame that set_output may ask of ``transform``."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return (self._project(X) - self.mean_.astype(X.dtype)) @ self.basis_.astype(X.dtype)

    def _project(self, X):
        """Centre, project and scale to unit length, in the precision of X."""
        Z = (X - self.input_mean_.astype(X.dtype)) @ self.projection_.astype(X.dtype)
        return normalize(Z) if self.length_norm and Z.shape[1] > 1 else Z

    def _fit_covariances(self, counts, means, residuals):
        """Run EM from the covariance of the classes' means and the pooled one around them."""
        mean = means.mean(axis=0)
        between = (means - mean).T @ (means - mean) / len(means)
        scatter = residuals.T @ residuals
        # Length normalisation can leave directions without variance within the classes.
        total = np.trace(scatter) + counts.sum() * np.trace(between)
        scatter[np.diag_indices_from(scatter)] += _VARIANCE_FLOOR * total / len(scatter)
        model = mean, between, scatter / (counts.sum() - len(counts))
        log_likelihoods = [log_likelihood(counts, means, scatter, *model)]
        for _ in range(self.n_iter):
            model = em_step(counts, means, scatter, *model)
            log_likelihoods.append(log_likelihood(counts, means, scatter, *model))
        self.mean_, self.between_covariance_, self.within_covariance_ = model
        self.log_likelihoods_ = np.array(log_likelihoods)


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


def _llr_terms(variances, dtype):
    """Factors of l * r and of l^2 and r^2 in the log-likelihood ratio, and its constant.

    With v between the classes, (l + r) / sqrt(2) has variance 1 + 2v in one class and
    (l - r) / sqrt(2) has 1; in two classes both have 1 + v.
    """
    one, two = 1 + 2 * variances, 1 + variances
    cross = (variances / one).astype(dtype)
    square = (-0.5 * variances**2 / (one * two)).astype(dtype)
    return cross, square, float(np.sum(np.log(two) - 0.5 * np.log(one)))
