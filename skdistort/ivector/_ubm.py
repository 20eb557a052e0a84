"""UniversalBackgroundModel: the mixture that models the frames of all utterances together.

The formulas of a mixture live in :mod:`skdistort.ivector._mixture`.
"""

from numbers import Integral, Real

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, DensityMixin, _fit_context
from sklearn.cluster import MiniBatchKMeans
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from ..persistence import PersistenceMixin
from ._mixture import DiagonalMixture, maximise, mixture_of
from ._utterances import check_frame_units, validate_utterances


class UniversalBackgroundModel(DensityMixin, PersistenceMixin, BaseEstimator):
    """Mixture of Gaussians with diagonal covariances over the frames of all utterances.

    k-means on a random part of the frames starts it, EM trains it. EM goes through the frames
    block by block, so that memory beyond the data's own does not grow with the data.

    Parameters
    ----------
    n_components : int, default=64
        Gaussians. (Paper B: 1024.)
    max_iter : int, default=20
        The most EM iterations.
    tol : float, default=1e-3
        EM stops when the mean log-likelihood of a frame rises by less. Not to get there within
        `max_iter` is common and harmless here, and so gives no warning.
    variance_floor : float, default=1e-2
        The smallest variance of a component, as a share of the variance of all frames in the
        same feature.
    n_init_frames : int, default=100000
        The most frames that k-means is given; never fewer than `n_components`.
    batch_size : int, default=4096
        Frames at a time; ``batch_size * n_components`` numbers are held.
    verbose : bool or int, default=0
        Whether to print a line an iteration.
    random_state : int, RandomState instance or None, default=None
        Seeds the choice of frames and k-means.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,), dtype float64
        Weights of the components; they sum to one.
    means_ : ndarray of shape (n_components, n_features_in_), dtype float64
        Their means.
    variances_ : ndarray of shape (n_components, n_features_in_), dtype float64
        Their variances.
    covariances_ : ndarray of shape (n_components, n_features_in_, n_features_in_), dtype float64
        Their covariances, where :meth:`from_parameters` was given full ones.
    log_likelihoods_ : ndarray of shape (n_iter_,), dtype float64
        Mean log-likelihood of a frame at the start of each iteration; never falls but by the
        rounding of float32.
    n_iter_ : int
        EM iterations done.
    n_features_in_ : int
        Features of a frame.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if ``fit`` saw a data frame with string names.

    See Also
    --------
    IVectorExtractor : One vector an utterance, from statistics under this model.
    sklearn.mixture.GaussianMixture : Holds all frames times all components.

    References
    ----------
    Reynolds, Quatieri, Dunn, "Speaker verification using adapted Gaussian mixture models",
    Digital Signal Processing 10 (2000). Paper B, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.ivector import UniversalBackgroundModel
    >>> rng = np.random.default_rng(0)
    >>> utterances = [rng.choice([-2.0, 3.0], (50, 1)) + rng.normal(size=(50, 1)) for _ in "abcd"]
    >>> ubm = UniversalBackgroundModel(n_components=2, random_state=0).fit(utterances)
    >>> np.sort(ubm.means_.ravel()).round().tolist()
    [-2.0, 3.0]
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "variance_floor": [Interval(Real, 0, None, closed="neither")],
        "n_init_frames": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components=64,
        *,
        max_iter=20,
        tol=1e-3,
        variance_floor=1e-2,
        n_init_frames=100_000,
        batch_size=4096,
        verbose=0,
        random_state=None,
    ):
        self.n_components = n_components
        self.max_iter = max_iter
        self.tol = tol
        self.variance_floor = variance_floor
        self.n_init_frames = n_init_frames
        self.batch_size = batch_size
        self.verbose = verbose
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Train the mixture.

        Parameters
        ----------
        X : array-like of shape (n, frames, d) or (n, d), or list of n arrays of (frames_i, d)
            Utterances, finite; a row of a 2-D array is an utterance of one frame.
        y : None
            Ignored.

        Returns
        -------
        UniversalBackgroundModel
            The fitted estimator.

        Raises
        ------
        ValueError
            If there are fewer frames than `n_components`, or an utterance has no frames, another
            number of features than the first, or a value that is not finite.
        """
        frames, _ = validate_utterances(self, X, reset=True)
        self.__dict__.pop("covariances_", None)
        if len(frames) < self.n_components:
            raise ValueError(
                f"n_components={self.n_components} needs at least as many frames, got "
                f"n_samples={len(frames)} frames."
            )
        rng = check_random_state(self.random_state)
        whole = _single_gaussian(frames, self.batch_size)
        floor = self.variance_floor * whole.scale**2
        parameters = self._cluster(frames, whole, floor, rng)
        log_likelihoods = []
        for iteration in range(self.max_iter):
            mixture = DiagonalMixture(*parameters)
            moments, log_likelihood = _expectation(frames, mixture, self.batch_size)
            parameters = maximise(moments, mixture, floor)
            log_likelihoods.append(log_likelihood)
            if self.verbose:
                print(
                    f"[UniversalBackgroundModel] iteration {iteration + 1} of {self.max_iter}: "
                    f"mean log-likelihood of a frame {log_likelihood:.4f}"
                )
            if iteration and log_likelihoods[-1] - log_likelihoods[-2] < self.tol:
                break
        self.weights_, self.means_, self.variances_ = parameters
        self.log_likelihoods_ = np.array(log_likelihoods)
        self.n_iter_ = len(log_likelihoods)
        return self

    def score(self, X, y=None):
        """Mean log-likelihood of a frame.

        Parameters
        ----------
        X : array-like of shape (n, frames, d) or (n, d), or list of n arrays of (frames_i, d)
            Utterances.
        y : None
            Ignored.

        Returns
        -------
        float
            Natural logarithm of the density; higher is better.

        Raises
        ------
        ValueError
            As ``fit``, or if an utterance cannot be in the units of the frames of ``fit``.
        """
        check_is_fitted(self)
        frames, offsets = validate_utterances(self, X, reset=False)
        check_frame_units(frames, offsets, self.weights_, self.means_, self.variances_)
        return _expectation(frames, mixture_of(self), self.batch_size)[1]

    @classmethod
    def from_parameters(cls, weights, means, covariances, *, batch_size=4096):
        """Make a fitted model of parameters that were trained elsewhere, such as Kaldi's.

        Parameters
        ----------
        weights : array-like of shape (C,)
            Weights of the components, positive and of sum 1.
        means : array-like of shape (C, d)
            Their means.
        covariances : array-like of shape (C, d) or (C, d, d)
            Their variances, or full covariances.
        batch_size : int, default=4096
            Frames at a time.

        Returns
        -------
        UniversalBackgroundModel
            The fitted model. One of full covariances has these as `covariances_`, and their
            diagonals as `variances_`; fitted again, it has diagonal ones.

        Raises
        ------
        ValueError
            If shapes do not fit, a value is not finite, a weight not positive or their sum not 1,
            or a covariance not positive definite.

        Examples
        --------
        >>> from skdistort.ivector import UniversalBackgroundModel
        >>> ubm = UniversalBackgroundModel.from_parameters([0.5, 0.5], [[-1], [1]], [[1], [1]])
        >>> round(ubm.score([[0.0]]), 3)
        -1.419
        """
        weights = check_array(weights, dtype=np.float64, ensure_2d=False, input_name="weights")
        means = check_array(means, dtype=np.float64, input_name="means")
        covariances = check_array(
            covariances, dtype=np.float64, allow_nd=True, input_name="covariances"
        )
        shapes = means.shape, (*means.shape, means.shape[1])
        if weights.shape != means.shape[:1] or covariances.shape not in shapes:
            raise ValueError(
                "weights of shape (C,), means of shape (C, d) and covariances of shape (C, d) or "
                f"(C, d, d) are expected, got {weights.shape}, {means.shape} and "
                f"{covariances.shape}."
            )
        if weights.min() <= 0 or abs(weights.sum() - 1) > 1e-3:
            raise ValueError(
                f"weights must be positive and of sum 1; the least is {weights.min():.4g} and the "
                f"sum {weights.sum():.6g}. Are they logarithms?"
            )
        full = covariances.ndim == 3
        variances = np.diagonal(covariances, axis1=1, axis2=2) if full else covariances
        definite = (variances > 0).all(axis=1)
        if full and definite.all():
            symmetric = np.isclose(covariances, covariances.transpose(0, 2, 1), rtol=1e-4)
            definite = symmetric.all(axis=(1, 2)) & (np.linalg.eigvalsh(covariances)[:, 0] > 0)
        if not definite.all():
            raise ValueError(
                f"The covariance of component {definite.argmin()} is not positive definite. Are "
                "they inverses, or packed?"
            )
        self = cls(len(weights), batch_size=batch_size)
        self.weights_, self.means_ = weights / weights.sum(), means
        self.variances_ = np.array(variances)
        if full:
            self.covariances_ = covariances
        self.n_features_in_ = means.shape[1]
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _cluster(self, frames, whole, floor, rng):
        """Parameters of the clusters that k-means finds in some of the frames."""
        n_drawn = max(self.n_init_frames, self.n_components)
        if n_drawn < len(frames):
            frames = frames[np.sort(rng.choice(len(frames), n_drawn, replace=False))]
        expanded = whole.expand(frames)
        z = np.ascontiguousarray(expanded[:, 1 : 1 + len(floor)])
        seed = rng.randint(2**31 - 1)
        kmeans = MiniBatchKMeans(self.n_components, n_init=1, random_state=seed).fit(z)
        n = len(z)
        ones = np.ones(n)
        chosen = csr_matrix((ones, kmeans.labels_, np.arange(n + 1)), (n, self.n_components))
        start = DiagonalMixture(
            np.full(self.n_components, 1 / self.n_components),
            whole.centre + whole.scale * kmeans.cluster_centers_,
            np.broadcast_to(whole.scale**2, kmeans.cluster_centers_.shape),
        )
        return maximise(chosen.T @ start.expand(frames).astype(np.float64), start, floor)


def _single_gaussian(frames, batch_size):
    """Fit one Gaussian to all frames; a constant feature is given the variance of one."""
    blocks = [frames[i : i + batch_size] for i in range(0, len(frames), batch_size)]
    centre = sum(block.sum(axis=0, dtype=np.float64) for block in blocks) / len(frames)
    variance = sum(np.square(block - centre).sum(axis=0) for block in blocks) / len(frames)
    # Of a constant feature rounding leaves a little more than nothing.
    variance[variance <= (np.finfo(np.float32).eps * centre) ** 2] = 1.0
    return DiagonalMixture(np.ones(1), centre[None], variance[None])


def _expectation(frames, mixture, batch_size):
    """E step: the moments that :func:`maximise` takes, and the mean log-likelihood of a frame."""
    moments, log_likelihood = 0.0, 0.0
    for start in range(0, len(frames), batch_size):
        expanded = mixture.expand(frames[start : start + batch_size])
        posteriors, log_likelihoods = mixture.posteriors(expanded)
        moments = moments + np.float64(posteriors.T @ expanded)
        log_likelihood += log_likelihoods.sum()
    return moments, float(log_likelihood / len(frames))
