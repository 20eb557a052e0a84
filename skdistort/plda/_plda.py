"""Two-covariance PLDA: verification of embeddings by log-likelihood ratios, in numpy.

What lives here fits the model and compares vectors under it. Where the vectors come from
(i-vectors, embeddings of a network) does not, and neither do the fusion and the calibration of
scores: see :mod:`skdistort.fusion`.
"""

import warnings
from numbers import Integral, Real
from operator import itemgetter

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
    clone,
)
from sklearn.preprocessing import normalize
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    check_is_fitted,
    validate_data,
)

from ..decision._pairs import PairScoringMixin, score_in_blocks
from ..persistence import PersistenceMixin
from ._held_out import can_be_read, hold_out_classes, learn_scales, scaled_cllr
from ._ratios import llr_matrix, model_llr_matrix, pair_llr
from ._two_covariance import (
    adapt_covariances,
    class_statistics,
    diagonalise,
    fit_covariances,
    lda_projection,
)

# What is tried for "auto". Ledoit and Wolf's formula is near 1 for i-vectors of some hundred
# speakers, so that nothing whitens them; of draws from a model of two covariances less is too
# little. Of the shares from 0.05 to 0.7 that were tried on i-vectors, 0.3 was the best.
_SHRINKAGES = "auto", 0.3, 0.7


class PLDA(
    PairScoringMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    PersistenceMixin,
    BaseEstimator,
):
    """Probabilistic linear discriminant analysis in its two-covariance form.

    Vectors are centred, whitened within the classes, turned by linear discriminant analysis (LDA)
    and scaled to unit length. There a vector of class s is modelled as ``x = y_s + e`` with
    ``y_s ~ N(mean_, between_covariance_)`` and ``e ~ N(0, within_covariance_)``, and two vectors
    are compared by the log-likelihood ratio of one class against two. Classes that are held out
    in turn tell how far the model's variances and ratios are to be scaled for classes that ``fit``
    does not see.

    Parameters
    ----------
    n_components : int or None, default=None
        Dimensions to keep, the best by LDA. None keeps all in which the data vary: with few classes
        LDA knows few of those that tell others apart. Without shrinkage there are no more than one
        less than there are classes, and the number of samples less that of classes.
    shrinkage : "auto", float or None, default="auto"
        How far the covariances are pulled to a multiple of the identity, in [0, 1]: the one within
        the classes before LDA, of features scaled to unit variance there, and both of the model;
        "auto" takes, of the formula of Ledoit and Wolf for each and of 0.3 and 0.7 for all, what
        classes held out in turn are told apart by best: the lowest Cllr; where none can be, the
        formula. None does not, which needs many more samples, and classes, than features.
    length_norm : bool, default=True
        Whether to scale to unit length after LDA. A single dimension never is: only its sign
        would be left.
    n_iter : int, default=10
        Iterations of expectation maximisation (EM).
    n_folds : int or None, default=10
        Parts of the classes that are held out in turn, fewer where they would have less than two
        classes each. The time of ``fit`` goes with it, and three times so with
        ``shrinkage="auto"``. None holds out none, and scales nothing.

    Attributes
    ----------
    input_mean_ : ndarray of shape (n_features_in_,)
        Mean of the training vectors.
    projection_ : ndarray of shape (n_features_in_, n_components)
        LDA's directions, for centred vectors.
    mean_ : ndarray of shape (n_components,)
        Mean of the model, after LDA and length normalisation, like both covariances.
    between_covariance_, within_covariance_ : ndarray of shape (n_components, n_components)
        Covariance of the classes' centres, and of the vectors around them, as classes held out
        have them.
    llr_scale_ : float
        What the model's log-likelihood ratios are multiplied by: below 1 where classes held out
        vary along fewer axes than the model takes for independent.
    shrinkage_ : "auto", float or None
        The shrinkage in use; "auto" is the formula.
    basis_ : ndarray of shape (n_components, n_components)
        V with ``V.T @ within_covariance_ @ V = I`` and
        ``V.T @ between_covariance_ @ V = diag(between_variances_)``.
    between_variances_ : ndarray of shape (n_components,)
        Between-class variances in that basis, falling.
    threshold_ : float
        Where :meth:`verify` decides, after :meth:`calibrate_threshold`, in nats.
    calibration_ : ScoreFusion
        How :meth:`verify_proba` reads scores, after :meth:`calibrate_probability`.
    log_likelihoods_ : ndarray of shape (n_iter + 1,)
        Log-likelihood of the training vectors after LDA and length normalisation, in nats: at
        the start and after each iteration. Without shrinkage it never falls.
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

    Fitted on few classes, the model takes them for farther apart than unseen ones are, by far where
    there are more features than classes. Of models fitted on the other classes, ``fit`` learns from
    each class held out what its variances within and between classes are, and what scale of the
    ratios has the lowest :func:`~skdistort.metrics.cllr`. It warns where that is not enough, which
    it sees by scaling each fold as the other folds say: where the ratios then miss a calibration of
    the same trials by more than a tenth of a bit, or too few classes can be held out.

    The ratios are those of vectors like the training ones. For another channel or language adapt
    the model to unlabelled vectors of there (:meth:`adapt`), or calibrate by :class:`ScoreFusion`
    on trials held out.

    References
    ----------
    Brummer and de Villiers, "The speaker partitioning problem", Odyssey 2010: the model. Sizov,
    Lee and Kinnunen, "Unifying probabilistic linear discriminant analysis variants in biometric
    authentication", S+SSPR 2014: EM. Garcia-Romero and Espy-Wilson, "Analysis of i-vector length
    normalization in speaker recognition systems", Interspeech 2011. Khan and Hernando,
    "Unsupervised Training of Siamese Networks for Speaker Verification", Interspeech 2020,
    section 3: i-vectors and PLDA, which it is compared with.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistort.plda import PLDA
    >>> X, y = load_digits(return_X_y=True)
    >>> plda = PLDA().fit(X[:900], y[:900])
    >>> plda.transform(X[900:]).shape
    (897, 61)
    >>> plda.score_matrix(X[900:902], X[902:905]).shape
    (2, 3)
    >>> bool(plda.score(X[900:], y[900:]) > 0.8)  # 1 - equal error rate
    True
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "shrinkage": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="both"), None],
        "length_norm": ["boolean"],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "n_folds": [Interval(Integral, 2, None, closed="left"), None],
    }

    def __init__(
        self, n_components=None, *, shrinkage="auto", length_norm=True, n_iter=10, n_folds=10
    ):
        self.n_components = n_components
        self.shrinkage = shrinkage
        self.length_norm = length_norm
        self.n_iter = n_iter
        self.n_folds = n_folds

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

        Warns
        -----
        UserWarning
            If the log-likelihood ratios cannot be read as such: see Notes.
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
        self._forget_calibration()
        self.llr_scale_, self.shrinkage_ = 1.0, self.shrinkage
        if self.n_folds is None:
            self._fit_model(X, codes, self.n_components)
        else:
            self._fit_by_held_out_classes(X, codes)
        self.basis_, self.between_variances_ = diagonalise(
            self.between_covariance_, self.within_covariance_
        )
        return self

    def adapt(self, X, *, within_scale=0.75, between_scale=0.25):
        """Adapt the model to another channel, language or crowd, by vectors without labels.

        The mean becomes that of `X`. Along each direction in which `X` varies more than the model
        expects of vectors of many classes, what is more is shared out to the two covariances. This
        is Kaldi's unsupervised adaptation; no direction is given less variance.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Vectors from where the model is to be used, of many classes.
        within_scale, between_scale : float, default=0.75 and 0.25
            Shares of the excess that the covariance within, and between, the classes is given, 0 or
            more; the defaults are those of Kaldi's recipe for NIST SRE 2016.

        Returns
        -------
        self
            The model, changed. A threshold, and a calibration, that it had are forgotten.

        Raises
        ------
        ValueError
            If there are fewer than two vectors, or a share is negative.

        References
        ----------
        Povey et al., "The Kaldi speech recognition toolkit", ASRU 2011, and its code
        (PldaUnsupervisedAdaptor).

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_digits
        >>> from skdistort.plda import PLDA
        >>> X, y = load_digits(return_X_y=True)
        >>> plda = PLDA().fit(X[:900], y[:900])
        >>> elsewhere = X[900:] + np.arange(64) / 2
        >>> before = plda.score(elsewhere, y[900:])
        >>> bool(plda.adapt(elsewhere).score(elsewhere, y[900:]) > before + 0.1)
        True
        """
        check_is_fitted(self)
        for name, share in (("within_scale", within_scale), ("between_scale", between_scale)):
            if not isinstance(share, Real) or not 0 <= share < np.inf:
                raise ValueError(f"{name} must be a number of 0 or more, got {share!r}.")
        X = validate_data(
            self, X, dtype=[np.float64, np.float32], reset=False, ensure_min_samples=2
        )
        Z = self._project(X).astype(np.float64)
        mean = Z.mean(axis=0)
        moved = mean - self.mean_
        # The mean's own move counts as variance, as in Kaldi.
        seen = np.cov(Z.T, bias=True).reshape(len(mean), len(mean)) + np.outer(moved, moved)
        within, between = adapt_covariances(
            self.within_covariance_, self.between_covariance_, seen, within_scale, between_scale
        )
        self.mean_, self.within_covariance_, self.between_covariance_ = mean, within, between
        self.basis_, self.between_variances_ = diagonalise(between, within)
        self._forget_calibration()
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
        scores = llr_matrix(self._encode(left), self._encode(right), self.between_variances_)
        scores *= self.llr_scale_
        return scores

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

    def _score_codes(self, codes, left, right):
        return score_in_blocks(
            lambda a, b: self.llr_scale_ * pair_llr(codes[a], codes[b], self.between_variances_),
            left,
            right,
            codes.dtype,
        )

    def _score_models(self, codes, models, probes):
        counts, means, _ = class_statistics(codes, models)
        scores = model_llr_matrix(
            means.astype(codes.dtype), counts, probes, self.between_variances_
        )
        scores *= self.llr_scale_
        return scores

    def _score_all_pairs(self, X, y):
        codes, genuine = self._encode_labelled(X, y)
        above_diagonal = ~np.tri(len(codes), dtype=bool)
        # One matrix product is faster than the pairs one by one.
        scores = llr_matrix(codes, codes, self.between_variances_)
        return genuine, self.llr_scale_ * scores[above_diagonal]

    def _project(self, X):
        """Centre, project and scale to unit length, in the precision of X."""
        Z = (X - self.input_mean_.astype(X.dtype)) @ self.projection_.astype(X.dtype)
        return normalize(Z) if self.length_norm and Z.shape[1] > 1 else Z

    def _fit_model(self, X, codes, n_components, as_many_as_there_are=False):
        """Fit the projection and the model's mean and covariances."""
        self.input_mean_ = X.mean(axis=0, dtype=np.float64)
        self.projection_ = lda_projection(
            X,
            codes,
            n_components,
            shrinkage=self.shrinkage_,
            as_many_as_there_are=as_many_as_there_are,
        )
        self._n_features_out = self.projection_.shape[1]
        model, self.log_likelihoods_ = fit_covariances(
            *class_statistics(self._project(X), codes),
            n_iter=self.n_iter,
            shrinkage=self.shrinkage_,
        )
        self.mean_, self.between_covariance_, self.within_covariance_ = model

    def _fit_by_held_out_classes(self, X, codes):
        """Fit as classes held out are told apart best, scale the model as they say, or warn."""

        def fit(X, codes):
            part = clone(self)
            part.shrinkage_ = self.shrinkage_
            part._fit_model(X, codes, self._n_features_out, as_many_as_there_are=True)
            basis, variances = diagonalise(part.between_covariance_, part.within_covariance_)
            return lambda X: (part._project(X) - part.mean_) @ basis, variances

        tried = []
        for share in _SHRINKAGES if self.shrinkage == "auto" else [self.shrinkage]:
            self.shrinkage_ = share
            self._fit_model(X, codes, self.n_components)
            folds = hold_out_classes(fit, X, codes, self.n_folds)
            scales = learn_scales(folds) if folds else (1.0, 1.0, 1.0)
            loss = scaled_cllr(folds, *scales) if folds else 0.0
            tried.append((loss, share, folds, scales))
            if not folds:
                break
        # The first of equals.
        _, best, folds, (within, between, self.llr_scale_) = min(tried, key=itemgetter(0))
        if best != self.shrinkage_:
            self.shrinkage_ = best
            self._fit_model(X, codes, self.n_components)
        self.within_covariance_ *= within
        self.between_covariance_ *= between
        if not can_be_read(folds):
            warnings.warn(
                "The log-likelihood ratios of this PLDA cannot be read as such, though they rank: "
                f"its {codes.max() + 1} classes are too few to tell how far apart others are. Fit "
                "on more classes, or calibrate the ratios on trials held out, by ScoreFusion.",
                stacklevel=4,
            )
