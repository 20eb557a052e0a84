"""IVectorExtractor: utterances to i-vectors, posterior means in a total variability space.

The formulas live in :mod:`skdistort.ivector._total_variability`.
"""

from functools import cached_property
from numbers import Integral

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
    clone,
)
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from ..persistence import PersistenceMixin
from ._mixture import inverse_factors
from ._statistics import collect_statistics
from ._total_variability import TotalVariability, posteriors, train
from ._ubm import UniversalBackgroundModel
from ._utterances import check_frame_units, validate_utterances


class IVectorExtractor(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, PersistenceMixin, BaseEstimator
):
    """Map utterances of any length to vectors of one length.

    The means of a universal background model, stacked to one supervector, are taken to vary
    from utterance to utterance as ``m + T w`` with w standard normal. An i-vector is the
    posterior mean of w given the utterance's frames; T is trained by EM, without labels.

    Parameters
    ----------
    n_components : int, default=100
        Length of an i-vector: the rank of T. (Paper B: 400.)
    ubm : UniversalBackgroundModel, FrozenEstimator of one, or None, default=None
        The universal background model, cloned and fitted to the same utterances, or used as it
        is if frozen. None means ``UniversalBackgroundModel()``. (Paper B: 1024 components.)
    n_iter : int, default=10
        EM iterations for T.
    minimum_divergence : bool, default=True
        Whether each iteration also scales T so that i-vectors fit their standard normal prior;
        it takes fewer iterations then.
    batch_size : int, default=128
        Utterances at a time; ``batch_size * n_components ** 2 / 2`` numbers are held.
    verbose : bool or int, default=0
        Whether to print a line an iteration.
    random_state : int, RandomState instance or None, default=None
        Seeds T, and the UBM where that has no `random_state` of its own.

    Attributes
    ----------
    ubm_ : UniversalBackgroundModel or FrozenEstimator
        The fitted universal background model.
    total_variability_ : ndarray of shape (C, n_features_in_, n_components), dtype float32
        T, a block for each of the UBM's C components, in the units of the frames.
    log_likelihoods_ : ndarray of shape (n_iter,), dtype float64
        At the start of each iteration, the mean over utterances of the part of the marginal
        log-likelihood that depends on T; zero for T = 0. Never falls but by the rounding of
        float32.
    n_features_in_ : int
        Features of a frame.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if ``fit`` saw a data frame with string names.

    See Also
    --------
    UniversalBackgroundModel : The mixture underneath.
    baum_welch_statistics : What T is trained on.

    Notes
    -----
    i-vectors are given as they are. For cosine scores, or PLDA, centre them and bring them to
    unit length, as :class:`sklearn.preprocessing.Normalizer` does.

    ``fit`` holds ``C * (n_features_in_ + 1)`` numbers for each utterance, ``fit`` and
    ``transform`` hold ``C * n_components ** 2 / 2`` (twice that in ``fit``), in float32: 328 MB
    at the sizes of paper B. Of these only T is pickled, or saved.

    References
    ----------
    Dehak, Kenny, Dehak, Dumouchel, Ouellet, "Front-end factor analysis for speaker
    verification", IEEE Transactions on Audio, Speech, and Language Processing 19 (2011). Khan
    and Hernando, "Unsupervised Training of Siamese Networks for Speaker Verification",
    Interspeech 2020, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.ivector import IVectorExtractor, UniversalBackgroundModel
    >>> rng = np.random.default_rng(0)
    >>> utterances = [rng.normal(size=(n, 5)) + rng.normal(size=5) for n in (80, 50, 90, 60)]
    >>> ubm = UniversalBackgroundModel(n_components=4)
    >>> extractor = IVectorExtractor(n_components=3, ubm=ubm, random_state=0)
    >>> extractor.fit_transform(utterances).shape
    (4, 3)
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "ubm": [UniversalBackgroundModel, FrozenEstimator, None],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "minimum_divergence": ["boolean"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components=100,
        *,
        ubm=None,
        n_iter=10,
        minimum_divergence=True,
        batch_size=128,
        verbose=0,
        random_state=None,
    ):
        self.n_components = n_components
        self.ubm = ubm
        self.n_iter = n_iter
        self.minimum_divergence = minimum_divergence
        self.batch_size = batch_size
        self.verbose = verbose
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Train the universal background model, unless it is frozen, and T.

        Parameters
        ----------
        X : array-like of shape (n, frames, d) or (n, d), or list of n arrays of (frames_i, d)
            Utterances, finite; a row of a 2-D array is an utterance of one frame.
        y : None
            Ignored.

        Returns
        -------
        IVectorExtractor
            The fitted estimator.

        Raises
        ------
        ValueError
            If there are fewer than two utterances or fewer frames than Gaussians, if an
            utterance has no frames, another number of features than the first or a frozen
            `ubm`, or a value that is not finite, or if `n_components` exceeds the length of the
            supervector, or an utterance cannot be in the units of a frozen `ubm`.
        TypeError
            If `ubm` is frozen but no universal background model.
        """
        frames, offsets = validate_utterances(self, X, reset=True, min_utterances=2)
        rng = check_random_state(self.random_state)
        ubm = self._check_ubm(rng)
        if isinstance(ubm, FrozenEstimator):
            check_frame_units(frames, offsets, ubm.weights_, ubm.means_, ubm.variances_)
        # To the mixture a frame is a frame, whichever utterance it is of.
        self.ubm_ = ubm.fit(frames, None)
        shape = (*self.ubm_.means_.shape, self.n_components)
        zeroth, first = self._whitened_statistics(frames, offsets)
        # Small, so that the first posteriors are near the prior, and T grows where data ask.
        loadings = 0.1 * rng.standard_normal(shape).astype(np.float32)
        self._model, self.log_likelihoods_ = train(
            zeroth,
            first,
            loadings,
            n_iter=self.n_iter,
            re_estimate_prior=self.minimum_divergence,
            batch_size=self.batch_size,
            report=self._report,
        )
        self._loadings = self._model.loadings
        self._n_features_out = self.n_components
        return self

    def transform(self, X):
        """Extract i-vectors.

        Parameters
        ----------
        X : array-like of shape (n, frames, d) or (n, d), or list of n arrays of (frames_i, d)
            Utterances.

        Returns
        -------
        ndarray of shape (n, n_components), dtype float32
            Posterior means of w, not normalised.

        Raises
        ------
        ValueError
            As ``fit``, or if an utterance cannot be in the units of the background model's frames.
        """
        check_is_fitted(self)
        frames, offsets = validate_utterances(self, X, reset=False)
        ubm = self.ubm_
        check_frame_units(frames, offsets, ubm.weights_, ubm.means_, ubm.variances_)
        n = len(offsets) - 1
        vectors = np.empty((n, self._n_features_out), dtype=np.float32)
        for start in range(0, n, self.batch_size):
            stop = min(start + self.batch_size, n)
            statistics = self._whitened_statistics(frames, offsets[start : stop + 1])
            vectors[start:stop] = posteriors(*statistics, self._model)[0]
        return vectors

    @classmethod
    def from_parameters(cls, ubm, total_variability, *, batch_size=128):
        """Make a fitted extractor of a T that was trained elsewhere, such as Kaldi's.

        Parameters
        ----------
        ubm : UniversalBackgroundModel
            The background model, such as :meth:`UniversalBackgroundModel.from_parameters` makes.
        total_variability : array-like of shape (C, d, R) or (C * d, R)
            T, in the units of the frames: the means of an utterance are ``means_ + T w``.
        batch_size : int, default=128
            Utterances at a time.

        Returns
        -------
        IVectorExtractor
            The fitted extractor, of R components.

        Raises
        ------
        TypeError
            If `ubm` is none.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        ValueError
            If the shape of `total_variability` does not fit it, or a value is not finite.

        Notes
        -----
        Kaldi's extractor has an offset o in its prior, and means of its own, ``o * M[:, :, 0]``:
        M is T, and these are the means to give to the background model. It keeps few of the
        posteriors of a frame, where all count here, so that vectors differ a little.

        Examples
        --------
        >>> import numpy as np
        >>> from skdistort.ivector import IVectorExtractor, UniversalBackgroundModel
        >>> ubm = UniversalBackgroundModel.from_parameters([1.0], [[0.0, 0.0]], [[1.0, 1.0]])
        >>> extractor = IVectorExtractor.from_parameters(ubm, [[[1.0], [0.0]]])
        >>> extractor.transform([np.ones((3, 2))])
        array([[0.75]], dtype=float32)
        """
        if not isinstance(ubm, UniversalBackgroundModel):
            raise TypeError(f"ubm must be a UniversalBackgroundModel, got {type(ubm).__name__}.")
        check_is_fitted(ubm)
        T = check_array(
            total_variability, dtype=np.float64, allow_nd=True, input_name="total_variability"
        )
        n, d = ubm.means_.shape
        rank = T.shape[-1]
        if T.shape not in ((n, d, rank), (n * d, rank)):
            raise ValueError(
                f"total_variability must be of shape ({n}, {d}, R) or ({n * d}, R) for the ubm's "
                f"{n} components of {d} features, got {T.shape}."
            )
        self = cls(rank, ubm=FrozenEstimator(ubm), batch_size=batch_size)
        self.ubm_ = self.ubm
        self.n_features_in_ = d
        self._loadings = _whiten(ubm, T.reshape(n, d, rank)).astype(np.float32)
        self._n_features_out = rank
        return self

    @property
    def total_variability_(self):
        """T, in the units of the frames.

        Returns
        -------
        ndarray of shape (C, n_features_in_, n_components), dtype float32
            A block for each of the UBM's C components.
        """
        return _unwhiten(self.ubm_, self._loadings)

    @cached_property
    def _model(self):
        """T as what posteriors are computed from; its products are large and made anew."""
        return TotalVariability(self._loadings)

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name != "_model"}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _check_ubm(self, rng):
        """Return the universal background model to fit, after what can be told before."""
        ubm = UniversalBackgroundModel() if self.ubm is None else clone(self.ubm)
        inner = ubm
        if isinstance(ubm, FrozenEstimator):
            inner = ubm.estimator
            if not isinstance(inner, UniversalBackgroundModel):
                raise TypeError(
                    "ubm must be a UniversalBackgroundModel or a FrozenEstimator of one, got a "
                    f"FrozenEstimator of {type(inner).__name__}."
                )
            check_is_fitted(inner)
            if inner.n_features_in_ != self.n_features_in_:
                raise ValueError(
                    f"X has {self.n_features_in_} features, but the frozen ubm was fitted on "
                    f"frames of {inner.n_features_in_}."
                )
        elif ubm.random_state is None:
            ubm.set_params(random_state=rng.randint(2**31 - 1))
        longest = inner.n_components * self.n_features_in_
        if self.n_components > longest:
            raise ValueError(
                f"n_components={self.n_components} must not exceed the {longest} values of the "
                f"supervector: {inner.n_components} Gaussians of {self.n_features_in_} features."
            )
        return ubm

    def _whitened_statistics(self, frames, offsets):
        zeroth, first = collect_statistics(frames, offsets, self.ubm_)
        if getattr(self.ubm_, "covariances_", None) is None:
            first /= np.sqrt(self.ubm_.variances_).astype(np.float32)
        else:
            first = _whiten(self.ubm_, first.transpose(1, 2, 0)).transpose(2, 0, 1)
        return zeroth, np.ascontiguousarray(first)

    def _report(self, iteration, log_likelihood):
        if self.verbose:
            print(
                f"[IVectorExtractor] iteration {iteration + 1} of {self.n_iter}: mean "
                f"log-likelihood of an utterance {log_likelihood:.4f}"
            )


def _whiten(ubm, values):
    """Bring values of shape (C, d, R) to where every component has the covariance I."""
    if getattr(ubm, "covariances_", None) is None:
        return values / np.sqrt(ubm.variances_).astype(values.dtype)[..., None]
    return inverse_factors(ubm.covariances_).astype(values.dtype) @ values


def _unwhiten(ubm, values):
    """Undo :func:`_whiten`."""
    if getattr(ubm, "covariances_", None) is None:
        return values * np.sqrt(ubm.variances_).astype(values.dtype)[..., None]
    return np.linalg.cholesky(ubm.covariances_).astype(values.dtype) @ values
