"""Normalisation by a cohort, within classes and between domains: what makes scores comparable.

What lives here changes scores, or vectors before they are scored. Fusion and calibration of scores
do not: see :mod:`skdistort.fusion`.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.covariance import ledoit_wolf
from sklearn.preprocessing import normalize
from sklearn.utils import check_array
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions, validate_params
from sklearn.utils.validation import check_is_fitted, validate_data

from .decision._pairs import PairScoringMixin, refuse_without_length, score_in_blocks
from .persistence import PersistenceMixin

_METHODS = ("adaptive_s", "s", "t", "z")


@validate_params(
    {"cohort_scores": ["array-like"], "n_top": [Interval(Integral, 2, None, closed="left"), None]},
    prefer_skip_nested_validation=True,
)
def cohort_statistics(
    cohort_scores: ArrayLike, n_top: int | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean and standard deviation of each sample's scores against a cohort.

    Parameters
    ----------
    cohort_scores : array-like of shape (n_samples, n_cohort)
        Scores of each sample with each member of the cohort, others than itself.
    n_top : int or None, default=None
        Of each sample only so many of its highest scores count, as in adaptive normalisation; all
        of them where the cohort is smaller. None means all.

    Returns
    -------
    tuple of 2 ndarray of shape (n_samples,)
        Means and deviations, in the precision of the scores, float32 or float64.

    Raises
    ------
    ValueError
        If a score is not finite, there are fewer than two in the cohort, or all that count of one
        sample are equal.

    References
    ----------
    Matejka et al., "Analysis of score normalization in multilingual speaker recognition",
    Interspeech 2017.

    Examples
    --------
    >>> from skdistort.normalisation import cohort_statistics
    >>> cohort_statistics([[0.0, 2.0, 4.0], [1.0, 3.0, -9.0]], n_top=2)
    (array([3., 2.]), array([1., 1.]))
    """
    scores = check_array(
        cohort_scores,
        dtype=[np.float64, np.float32],
        ensure_min_features=2,
        input_name="cohort_scores",
    )
    if n_top is not None and n_top < scores.shape[1]:
        scores = np.partition(scores, -n_top, axis=1)[:, -n_top:]
    means, deviations = scores.mean(axis=1), scores.std(axis=1)
    # A spread of rounding would blow up whatever is divided by it.
    largest = abs(scores).max(axis=1)
    flat = np.flatnonzero(deviations <= 4 * np.finfo(scores.dtype).eps * largest)
    if flat.size:
        raise ValueError(
            f"Sample {flat[0]} has the same score with all {scores.shape[1]} members of the cohort "
            "that count: such a cohort tells nothing about it."
        )
    return means, deviations


@validate_params(
    {
        "scores": ["array-like"],
        "left": [tuple],
        "right": [tuple],
        "method": [StrOptions({"s", "t", "z"})],
    },
    prefer_skip_nested_validation=True,
)
def normalise_scores(
    scores: ArrayLike,
    left: tuple[ArrayLike, ArrayLike],
    right: tuple[ArrayLike, ArrayLike],
    method: str = "s",
) -> NDArray[Any]:
    """Normalise the scores of trials by the scores of their sides with a cohort.

    Parameters
    ----------
    scores : array-like of shape (n_trials,)
        Scores.
    left, right : tuple of 2 array-like of shape (n_trials,)
        What :func:`cohort_statistics` gives for the enrolment, and the test, of each trial.
    method : {"s", "t", "z"}, default="s"
        "z" uses the statistics of the enrolment, "t" those of the test, "s" the mean of both
        results; "s" of statistics over the highest scores is adaptive s-norm.

    Returns
    -------
    ndarray of shape (n_trials,)
        ``(score - mean) / deviation``.

    Raises
    ------
    ValueError
        If `method` is unknown.

    References
    ----------
    Auckenthaler, Carey and Lloyd-Thomas, "Score normalization for text-independent speaker
    verification systems", Digital Signal Processing 10 (2000): z and t. Kenny, "Bayesian speaker
    verification with heavy-tailed priors", Odyssey 2010: s.

    Examples
    --------
    >>> from skdistort.normalisation import normalise_scores
    >>> normalise_scores([5.0], ([3.0], [1.0]), ([1.0], [2.0]))
    array([2.])
    """
    scores = np.asarray(scores)
    sides = {"z": [left], "t": [right], "s": [left, right]}[method]
    return sum((scores - mean) / np.asarray(deviation) for mean, deviation in sides) / len(sides)


class ScoreNormaliser(PairScoringMixin, PersistenceMixin, BaseEstimator):
    """Score pairs so that one threshold fits all of them, by their scores with a cohort.

    Some recordings are like everybody's: noisy, short, of a common voice or microphone. How a
    sample scores with a cohort of strangers says how much of a score is that, and is taken off.

    Parameters
    ----------
    verifier : estimator or None, default=None
        What scores pairs, fitted: a :class:`~skdistort.PLDA`, a
        :class:`~skdistort.SiameseVerifier`, a :class:`~skdistort.SoftmaxEmbedder`, in a
        :class:`~sklearn.frozen.FrozenEstimator` where this is to be cloned. None means that samples
        are embeddings, scored by cosine.
    method : {"adaptive_s", "s", "t", "z"}, default="adaptive_s"
        Whose scores with the cohort count: of the left side "z", of the right side "t", of both
        "s". "adaptive_s" takes of each side the `n_top` highest.
    n_top : int, default=200
        How many scores "adaptive_s" takes; all of a smaller cohort.

    Attributes
    ----------
    cohort_codes_ : ndarray of shape (n_cohort, d)
        The cohort, encoded by the verifier.
    threshold_ : float
        Where :meth:`verify` decides, after :meth:`calibrate_threshold`.
    calibration_ : ScoreFusion
        How :meth:`verify_proba` reads scores, after :meth:`calibrate_probability`.

    See Also
    --------
    skdistort.ScoreFusion : Calibrates the normalised scores, which are no log-likelihood ratios.
    normalise_scores : The same for scores that are there already.

    Notes
    -----
    The cohort is of people who are in no trial, and of recordings like those of the trials.

    References
    ----------
    As for :func:`normalise_scores`; Matejka et al., "Analysis of score normalization in
    multilingual speaker recognition", Interspeech 2017, for "adaptive_s" (AS-norm1).

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.normalisation import ScoreNormaliser
    >>> X = np.random.default_rng(0).standard_normal((120, 8))
    >>> normaliser = ScoreNormaliser(n_top=20).fit(X[:100])
    >>> normaliser.pair_score(X[100:110], X[110:]).shape
    (10,)
    """

    _parameter_constraints: dict = {
        "verifier": [HasMethods(["pair_score"]), None],
        "method": [StrOptions(set(_METHODS))],
        "n_top": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(self, verifier=None, *, method="adaptive_s", n_top=200):
        self.verifier = verifier
        self.method = method
        self.n_top = n_top

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None):
        """Encode the cohort.

        Parameters
        ----------
        X : array-like of shape (n_cohort, n_features) or (n_cohort, h, w[, c])
            The cohort, two at least: what the verifier scores, or embeddings, of which those of
            length 0 are left out.
        y : None
            Ignored.

        Returns
        -------
        ScoreNormaliser
            The fitted estimator.

        Raises
        ------
        ValueError
            If there are fewer than two.
        sklearn.exceptions.NotFittedError
            If the verifier is not fitted.
        """
        self._forget_calibration()
        if self.verifier is None:
            X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
            codes = X[np.any(X, axis=1)]
            codes = normalize(codes) if len(codes) else codes
        else:
            check_is_fitted(self.verifier)
            codes = self.verifier._encode(X)
            refuse_without_length(codes)
        if len(codes) < 2:
            raise ValueError(f"A cohort needs 2 samples or more, got {len(codes)}.")
        self.cohort_codes_ = codes
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "cohort_codes_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if self.verifier is not None:
            tags.input_tags = self.verifier.__sklearn_tags__().input_tags
        return tags

    def _encode(self, X):
        """Encode samples; their mean and deviation with the cohort follow in two columns."""
        check_is_fitted(self)
        if self.verifier is None:
            X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
            codes = normalize(X)
        else:
            codes = self.verifier._encode(X)
        cohort = np.arange(len(self.cohort_codes_))
        scores = self._plain_models(self.cohort_codes_, cohort, codes).T
        return np.column_stack([codes, *self._statistics(scores)])

    def _statistics(self, cohort_scores):
        return cohort_statistics(cohort_scores, self.n_top if self.method == "adaptive_s" else None)

    def _normalise(self, scores, left, right):
        return normalise_scores(scores, left, right, self.method[-1])

    def _score_codes(self, codes, left, right):
        scores = self._plain_pairs(codes[:, :-2], left, right)
        sides = [tuple(codes[rows, -2:].T) for rows in (left, right)]
        return self._normalise(scores, *sides)

    def _score_models(self, codes, models, probes):
        scores = self._plain_models(codes[:, :-2], models, probes[:, :-2])
        with_cohort = self._plain_models(codes[:, :-2], models, self.cohort_codes_)
        left = tuple(column[:, None] for column in self._statistics(with_cohort))
        return self._normalise(scores, left, tuple(probes[:, -2:].T))

    def _plain_pairs(self, codes, left, right):
        if self.verifier is not None:
            return self.verifier._score_codes(codes, left, right)
        refuse_without_length(codes)
        return score_in_blocks(
            lambda a, b: np.einsum("ij,ij->i", codes[a], codes[b]), left, right, codes.dtype
        )

    def _plain_models(self, codes, models, probes):
        if self.verifier is not None:
            return self.verifier._score_models(codes, models, probes)
        refuse_without_length(probes)
        sums = np.zeros((models.max() + 1, codes.shape[1]), dtype=codes.dtype)
        np.add.at(sums, models, codes)
        refuse_without_length(sums)
        return normalize(sums) @ probes.T


class WithinClassNormaliser(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, PersistenceMixin, BaseEstimator
):
    """Whiten vectors within classes (WCCN), before cosines are taken.

    Directions in which recordings of one person differ count less.

    Parameters
    ----------
    shrinkage : "auto", float or None, default="auto"
        How far the covariance within the classes is pulled to a multiple of the identity, in
        [0, 1]; "auto" is the formula of Ledoit and Wolf. None does not, which needs many more
        samples than features. Of i-vectors of some hundred speakers the formula gives 1, by which
        nothing is whitened, and None does better: try both on people held out.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features_in_,)
        Mean of the training vectors.
    projection_ : ndarray of shape (n_features_in_, n_features_in_)
        The Cholesky factor B of the inverse covariance, ``B @ B.T``: a vector x becomes
        ``(x - mean_) @ B``.
    n_features_in_ : int
        Length of the vectors.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if ``fit`` saw a data frame with string names.

    See Also
    --------
    skdistort.PLDA : Models the classes' centres as well.

    References
    ----------
    Hatch, Kajarekar and Stolcke, "Within-class covariance normalization for SVM-based speaker
    recognition", Interspeech 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.normalisation import WithinClassNormaliser
    >>> X, y = np.random.default_rng(0).standard_normal((60, 3)) * [1, 1, 9], np.arange(60) // 6
    >>> WithinClassNormaliser(shrinkage=None).fit_transform(X, y).std(axis=0).round(1)
    array([1., 1., 1.])
    """

    _parameter_constraints: dict = {
        "shrinkage": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="both"), None]
    }

    def __init__(self, shrinkage="auto"):
        self.shrinkage = shrinkage

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Learn the covariance within the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Vectors, finite.
        y : array-like of shape (n_samples,)
            Their classes.

        Returns
        -------
        WithinClassNormaliser
            The fitted estimator.

        Raises
        ------
        ValueError
            If no class has two samples, or the covariance has no inverse.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], ensure_min_samples=2)
        codes = np.unique(y, return_inverse=True)[1]
        counts = np.bincount(codes)
        if counts.max() < 2:
            raise ValueError("y has no class of two samples or more: X varies within no class.")
        sums = np.zeros((len(counts), X.shape[1]))
        np.add.at(sums, codes, X)
        residuals = X - (sums / counts[:, None])[codes]
        # Of one sample a class, nothing is left.
        residuals *= np.sqrt(len(X) / (len(X) - len(counts)))
        if self.shrinkage == "auto":
            covariance = ledoit_wolf(residuals, assume_centered=True)[0]
        else:
            share = self.shrinkage or 0.0
            covariance = (1 - share) * (residuals.T @ residuals) / len(X)
            variance = np.trace(covariance) / (1 - share) / X.shape[1] if share < 1 else None
            if variance is None:
                variance = np.sum(residuals**2) / residuals.size
            covariance[np.diag_indices_from(covariance)] += share * variance
        variances = linalg.eigvalsh(covariance)
        if variances[0] <= 1e-10 * variances[-1]:
            raise ValueError(
                f"The covariance within the {len(counts)} classes of {len(X)} samples of "
                f"{X.shape[1]} features has no inverse: raise shrinkage, or reduce the features."
            )
        self.mean_ = X.mean(axis=0, dtype=np.float64)
        self.projection_ = linalg.cholesky(linalg.inv(covariance), lower=True)
        self._n_features_out = X.shape[1]
        return self

    def transform(self, X):
        """Centre and whiten vectors.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Vectors.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Vectors whose covariance within the classes is I: float32 if `X` is, else float64.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return (X - self.mean_.astype(X.dtype)) @ self.projection_.astype(X.dtype)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


@validate_params(
    {
        "source": ["array-like"],
        "target": ["array-like"],
        "regularisation": [Interval(Real, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def recolour(
    source: ArrayLike, target: ArrayLike, *, regularisation: float = 1e-3
) -> NDArray[np.floating]:
    """Give labelled vectors the mean and covariance of unlabelled ones of another domain (CORAL).

    What is then fitted on them with their labels, such as :class:`skdistort.PLDA`, fits the domain.

    Parameters
    ----------
    source : array-like of shape (n_source, n_features)
        Vectors to change.
    target : array-like of shape (n_target, n_features)
        Vectors from where the system is to be used, of many people.
    regularisation : float, default=1e-3
        What is added to the variances, as a share of their mean. The paper adds 1 to features of
        unit variance.

    Returns
    -------
    ndarray of shape (n_source, n_features)
        The source's vectors, whitened by their own covariance and coloured by the target's.

    Raises
    ------
    ValueError
        If the features are not as many, there are fewer than two vectors in either, or a
        covariance has no inverse and `regularisation` is 0.

    References
    ----------
    Sun, Feng and Saenko, "Return of frustratingly easy domain adaptation", AAAI 2016, Algorithm 1.
    Alam, Bhattacharya and Kenny, "Speaker verification in mismatched conditions with frustratingly
    easy domain adaptation", Odyssey 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.normalisation import recolour
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.standard_normal((500, 2)), rng.normal(7, [3, 1], (500, 2))
    >>> recolour(source, target).mean(axis=0).round(), recolour(source, target).std(axis=0).round()
    (array([7., 7.]), array([3., 1.]))
    """
    source, target = (
        check_array(X, dtype=[np.float64, np.float32], ensure_min_samples=2, input_name=name)
        for name, X in (("source", source), ("target", target))
    )
    if source.shape[1] != target.shape[1]:
        raise ValueError(
            f"source has {source.shape[1]} features and target {target.shape[1]}: they must be "
            "vectors of one kind."
        )
    white = _power_of_covariance(source, -0.5, regularisation, "source")
    colour = _power_of_covariance(target, 0.5, regularisation, "target")
    return (source - source.mean(axis=0)) @ (white @ colour).astype(source.dtype) + target.mean(
        axis=0
    ).astype(source.dtype)


def _power_of_covariance(X, power, regularisation, name):
    covariance = np.cov(X.T, bias=True, dtype=np.float64).reshape(X.shape[1], X.shape[1])
    variances, axes = linalg.eigh(covariance)
    variances = variances + regularisation * variances.mean()
    if variances[0] <= 1e-12 * variances[-1]:
        raise ValueError(f"The covariance of {name} has no inverse: raise regularisation above 0.")
    return (axes * variances**power) @ axes.T
