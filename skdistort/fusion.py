"""Fusion of the scores of several verification systems, and calibration of those of one.

What lives here reads scores of trials, one column a system. What makes scores does not, nor what
judges them: see :mod:`skdistort.metrics`.
"""

from numbers import Real

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, _fit_context
from sklearn.isotonic import IsotonicRegression
from sklearn.utils import ClassifierTags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from .metrics import equal_error_rate
from .persistence import PersistenceMixin


def _is_logistic(fusion):
    """Whether a fusion has probabilities."""
    return fusion.method == "logistic"


class ScoreFusion(PersistenceMixin, BaseEstimator):
    """Fuse the scores of several verification systems into one, linearly.

    Each system's scores are standardised by the mean and standard deviation seen in ``fit``, so
    that their units do not matter. "standardised" averages them and needs no labels. "logistic"
    weighs them by logistic regression and gives calibrated log-likelihood ratios; with one system
    it calibrates that system's scores.

    Parameters
    ----------
    method : {"standardised", "logistic"}, default="standardised"
        How the weights come about. "logistic" needs labels, of trials that no system was
        trained on.
    prior : float, default=0.5
        Probability of a genuine trial, in (0, 1), that "logistic" is fitted for and that
        ``predict_proba`` takes; the share of genuine trials in ``fit`` does not matter.
    C : float, default=1000.0
        Inverse of the strength of the L2 penalty on the weights of the standardised scores, in
        "logistic", as of :class:`sklearn.linear_model.LogisticRegression`. The default shrinks
        no weight worth noting where trials of both kinds overlap, and is there for those that do
        not, see the notes.

    Attributes
    ----------
    coef_ : ndarray of shape (n_systems,)
        Weights of the scores, in their own units.
    intercept_ : float
        What is added to the weighted sum.
    classes_ : ndarray of shape (2,)
        The labels of impostor and genuine trials, of "logistic" alone.
    n_features_in_ : int
        Number of systems.
    feature_names_in_ : ndarray of shape (n_systems,)
        Names of the systems, if ``fit`` saw a data frame with string names.

    See Also
    --------
    IsotonicCalibration : Log-likelihood ratios from one system's scores, whatever their shape.
    PLDA : A system whose scores are log-likelihood ratios, calibrated or not.
    skdistort.normalisation.ScoreNormaliser : What the field calls z-norm: scores by a cohort.

    Notes
    -----
    The default `C` takes 0.5 % off the slope of 200 trials whose true slope is 4 in units of the
    standard deviation of one class, and less where trials are more or overlap more. Weights that
    separate all trials of ``fit`` would grow for ever without a penalty. With it the trials nearest
    to the boundary have ratios of at most about ``log(C * n_trials)`` nats, 12 for 200 trials:
    finite, but more than separated trials can tell, so that a smaller `C` is more cautious.

    ``score`` sees no calibration. To search for `C`, let
    :class:`~sklearn.model_selection.GridSearchCV` compare :func:`skdistort.metrics.cllr`, by
    ``scoring=lambda fusion, scores, y: -cllr(y, fusion.decision_function(scores))``.

    Being no classifier, in cross-validation it is given consecutive folds. Where genuine trials
    come first, as from :func:`skdistort.trials.make_trials`, these are of one class: give
    ``cv=StratifiedKFold(shuffle=True)``.

    References
    ----------
    Khan and Hernando, "Unsupervised Training of Siamese Networks for Speaker Verification",
    Interspeech 2020, section 3, fuses two systems and does not say how. Brummer et al., "Fusion
    of heterogeneous speaker recognition systems in the STBU submission for the NIST speaker
    recognition evaluation 2006", IEEE TASLP 15 (2007), for "logistic" with a prior.

    Examples
    --------
    >>> from skdistort.fusion import ScoreFusion
    >>> scores = [[0.9, 12.0], [0.7, 15.0], [0.2, 3.0], [0.4, 2.0]]
    >>> ScoreFusion().fit(scores).decision_function(scores).round(2)
    array([ 1.01,  0.9 , -1.1 , -0.81])
    >>> scores, genuine = [[0.9], [0.7], [0.3], [0.6], [0.4], [0.2]], [1, 1, 1, 0, 0, 0]
    >>> calibration = ScoreFusion("logistic").fit(scores, genuine)
    >>> calibration.predict_proba([[0.8], [0.3]])[:, 1].round(2)
    array([0.8 , 0.27])
    """

    _parameter_constraints: dict = {
        "method": [StrOptions({"standardised", "logistic"})],
        "prior": [Interval(Real, 0, 1, closed="neither")],
        "C": [Interval(Real, 0, None, closed="right")],
    }

    def __init__(self, method="standardised", *, prior=0.5, C=1000.0):
        self.method = method
        self.prior = prior
        self.C = C

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, scores, y=None):
        """Learn how to standardise and weigh the systems' scores.

        Parameters
        ----------
        scores : array-like of shape (n_trials, n_systems)
            Scores, finite, higher for more alike: negate distances.
        y : array-like of shape (n_trials,), default=None
            For "logistic": 1 or True for a genuine trial, 0, -1 or False for an impostor; of
            any two numbers the higher is genuine. Ignored by "standardised".

        Returns
        -------
        ScoreFusion
            The fitted estimator.

        Raises
        ------
        ValueError
            If a system gives all trials the same score or, for "logistic", `y` is missing or
            does not hold two numbers.
        """
        if self.method == "standardised":
            scores = validate_data(self, scores, dtype=np.float64, ensure_min_samples=2)
            scale = _standard_deviations(scores)
            weights, bias = np.full(len(scale), 1 / len(scale)), 0.0
            self.__dict__.pop("classes_", None)
        else:
            scores, y = validate_data(self, scores, y, dtype=np.float64, ensure_min_samples=2)
            self.classes_, genuine = _check_labels(y)
            scale = _standard_deviations(scores)
            weights, bias = _calibrating_weights(
                (scores - scores.mean(axis=0)) / scale, genuine, self.prior, self.C
            )
        self.coef_ = weights / scale
        self.intercept_ = float(bias - scores.mean(axis=0) @ self.coef_)
        return self

    def decision_function(self, scores):
        """Fuse scores with the weights of ``fit``.

        Parameters
        ----------
        scores : array-like of shape (n_trials, n_systems)
            Scores of the same systems.

        Returns
        -------
        ndarray of shape (n_trials,), float64
            Fused scores, higher for more alike: mean standard scores for "standardised",
            log-likelihood ratios in nats for "logistic", which are the log-odds of a genuine
            trial where `prior` is 0.5.
        """
        check_is_fitted(self)
        scores = validate_data(self, scores, dtype=np.float64, reset=False)
        return scores @ self.coef_ + self.intercept_

    @available_if(_is_logistic)
    def predict_proba(self, scores):
        """Give the probability of an impostor and of a genuine trial; for "logistic" alone.

        Parameters
        ----------
        scores : array-like of shape (n_trials, n_systems)
            Scores of the same systems.

        Returns
        -------
        ndarray of shape (n_trials, 2), float64
            Probabilities of the two `classes_`, given `prior`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the last ``fit`` was that of another method.
        """
        check_is_fitted(
            self, "classes_", msg="This %(name)s has not been fitted as 'logistic': call fit."
        )
        log_odds = self.decision_function(scores) + logit(self.prior)
        return np.column_stack((expit(-log_odds), expit(log_odds)))

    def score(self, scores, y):
        """Score by verification: 1 - equal error rate of the fused scores.

        Parameters
        ----------
        scores : array-like of shape (n_trials, n_systems)
            Scores of the same systems.
        y : array-like of shape (n_trials,)
            Genuine and impostor trials, labelled as for ``fit``.

        Returns
        -------
        float
            Between 0 and 1, higher is better; 0.5 is chance.

        Raises
        ------
        ValueError
            If `y` does not hold two numbers.
        """
        genuine = _check_labels(column_or_1d(y))[1]
        return 1.0 - equal_error_rate(genuine, self.decision_function(scores))[0]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # Not a classifier: "standardised" predicts no class. Where labels are read, there are two.
        tags.classifier_tags = ClassifierTags(multi_class=False)
        tags.target_tags.required = _is_logistic(self)
        return tags


class IsotonicCalibration(PersistenceMixin, BaseEstimator):
    """Turn one system's scores into log-likelihood ratios that only keep their order.

    The share of genuine trials among those of about one score, by isotonic regression (pool
    adjacent violators, PAV), gives the ratio. Where "logistic" of :class:`ScoreFusion` fits a
    line, this follows any rising curve, and needs more trials: some hundreds of each kind.

    Parameters
    ----------
    bounded : bool, default=True
        Whether an extra trial of each kind at either end keeps ratios finite. False gives minus and
        plus infinity where the scores of ``fit`` are of one kind alone.

    Attributes
    ----------
    thresholds_ : ndarray of shape (n_points,)
        Scores, rising, between which the ratio is interpolated.
    ratios_ : ndarray of shape (n_points,)
        Log-likelihood ratios there, in nats, never falling.
    n_features_in_ : int
        1.
    feature_names_in_ : ndarray of shape (1,)
        Name of the system, if ``fit`` saw a data frame with string names.

    See Also
    --------
    ScoreFusion : Calibration by a line.

    References
    ----------
    Brummer and du Preez, "Application-independent evaluation of speaker detection", Computer
    Speech and Language 20 (2006). Zadrozny and Elkan, "Transforming classifier scores into
    accurate multiclass probability estimates", KDD 2002.

    Examples
    --------
    >>> from skdistort.fusion import IsotonicCalibration
    >>> scores, genuine = [[0.9], [0.7], [0.3], [0.6], [0.4], [0.2]], [1, 1, 1, 0, 0, 0]
    >>> calibration = IsotonicCalibration(bounded=False).fit(scores, genuine)
    >>> calibration.decision_function([[0.8], [0.5], [0.1]]).round(2)
    array([  inf, -0.69,  -inf])
    """

    _parameter_constraints: dict = {"bounded": ["boolean"]}

    def __init__(self, bounded=True):
        self.bounded = bounded

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, scores, y):
        """Learn the ratio of each score.

        Parameters
        ----------
        scores : array-like of shape (n_trials, 1)
            Scores, finite, higher for more alike.
        y : array-like of shape (n_trials,)
            Genuine and impostor trials, labelled as for :class:`ScoreFusion`.

        Returns
        -------
        IsotonicCalibration
            The fitted estimator.

        Raises
        ------
        ValueError
            If there is more than one system, or `y` does not hold two numbers.
        """
        scores, y = validate_data(self, scores, y, dtype=np.float64, ensure_min_samples=2)
        _check_one_system(scores)
        _, genuine = _check_labels(y)
        values = scores[:, 0]
        if self.bounded:
            low, high = values.min(), values.max()
            values = np.concatenate([values, [low, low, high, high]])
            genuine = np.concatenate([genuine, [True, False, True, False]])
        regression = IsotonicRegression(y_min=0, y_max=1).fit(values, genuine)
        self.thresholds_ = regression.X_thresholds_
        with np.errstate(divide="ignore"):
            self.ratios_ = logit(regression.y_thresholds_) - logit(genuine.mean())
        return self

    def decision_function(self, scores):
        """Give log-likelihood ratios.

        Parameters
        ----------
        scores : array-like of shape (n_trials, 1)
            Scores of the same system.

        Returns
        -------
        ndarray of shape (n_trials,), float64
            Log-likelihood ratios in nats, infinite ones if `bounded` is False. Scores beyond those
            of ``fit`` have the ratio of the nearest.
        """
        check_is_fitted(self)
        scores = validate_data(self, scores, dtype=np.float64, reset=False)[:, 0]
        finite = np.isfinite(self.ratios_)
        if not finite.any():
            # Separated: what lies between the two kinds is nobody's.
            low = self.thresholds_[self.ratios_ < 0].max()
            high = self.thresholds_[self.ratios_ > 0].min()
            return np.where(scores <= low, -np.inf, np.where(scores >= high, np.inf, 0.0))
        ratios = np.interp(scores, self.thresholds_[finite], self.ratios_[finite])
        for sign in (-1, 1):
            certain = self.thresholds_[self.ratios_ == sign * np.inf]
            if certain.size:
                nearest = certain.max() if sign < 0 else certain.min()
                ratios[sign * (scores - nearest) >= 0] = sign * np.inf
        return ratios

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags = ClassifierTags(multi_class=False)
        tags.target_tags.required = True
        return tags


def _check_one_system(scores):
    """Refuse scores of several systems, which are no curve."""
    if scores.shape[1] != 1:
        raise ValueError(
            f"scores has {scores.shape[1]} columns; isotonic calibration is of one system. Fuse "
            "them first, by ScoreFusion."
        )


def _standard_deviations(scores):
    """Compute the standard deviation of each column, which must not be of one value."""
    constant = np.flatnonzero(np.ptp(scores, axis=0) == 0)
    if constant.size:
        raise ValueError(
            f"scores has the same value in every trial in column(s) {constant.tolist()}: "
            "such a system tells nothing and cannot be standardised. Leave it out."
        )
    return scores.std(axis=0)


def _check_labels(y):
    """Give the two labels, the lower first, and which trials are genuine."""
    if y.dtype.kind not in "biuf":
        raise ValueError(
            f"Unknown label type: y must hold numbers or booleans, got dtype {y.dtype}."
        )
    labels = np.unique(y)
    if len(labels) != 2:
        raise ValueError(
            f"y must hold genuine and impostor trials, two values, got {len(labels)} class(es): "
            f"{labels[:5].tolist()}."
        )
    return labels, y == labels[1]


def _calibrating_weights(standardised, genuine, prior, C):
    """Fit what turns standardised scores into log-likelihood ratios.

    This is the prior-weighted logistic regression of Brummer et al. (2007).
    """
    n_trials, n_systems = standardised.shape
    columns = np.column_stack((standardised, np.ones(n_trials)))
    signs = np.where(genuine, -1.0, 1.0)
    n_genuine = np.count_nonzero(genuine)
    shares = np.where(genuine, prior / n_genuine, (1 - prior) / (n_trials - n_genuine))
    penalty = np.append(np.full(n_systems, 1 / (C * n_trials)), 0.0)

    def cost(weights):
        return shares @ np.logaddexp(0, signs * (columns @ weights)) + penalty @ weights**2 / 2

    def gradient(weights):
        wrong = shares * signs * expit(signs * (columns @ weights))
        return wrong @ columns + penalty * weights

    def hessian(weights):
        log_odds = columns @ weights
        # Not p (1 - p), which is 0 or less where p rounds to 1.
        curvature = shares * expit(log_odds) * expit(-log_odds)
        return (columns.T * curvature) @ columns + np.diag(penalty)

    tolerance = 1e-9 * min(prior, 1 - prior)
    found = minimize(
        cost,
        np.append(np.zeros(n_systems), logit(prior)),
        jac=gradient,
        hess=hessian,
        method="trust-exact",
        options={"gtol": tolerance},
    )
    # The regression gives log-odds at the prior.
    return found.x[:-1], found.x[-1] - logit(prior)
