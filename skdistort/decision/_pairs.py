"""What estimators that verify pairs share: trial scores, thresholds, calibration, decisions.

Nothing here knows a network: an estimator encodes samples once by ``_encode``, and scores pairs of
codes by ``_score_codes``. Measures of scores live in :mod:`skdistort.metrics`.
"""

import numpy as np
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from .._labels import encode_classes
from ..exceptions import InputMismatchError
from ..fusion import ScoreFusion
from ..metrics import equal_error_rate
from ._thresholds import check_strategy, choose_threshold

# Pairs scored at a time.
_N_PAIRS = 2**15


class PairScoringMixin:
    """Pairs in, scores out; for estimators with ``_encode`` and ``_score_codes``.

    ``_encode(X)`` gives a row for each sample, ``_score_codes(codes, left, right)`` a score for
    each pair of rows, and ``_score_models(codes, models, probes)`` one for each model, numbered
    from 0 without a gap, with each row of probes.
    """

    def pair_score(self, left, right):
        """Score pairs of samples, higher for more alike.

        Parameters
        ----------
        left, right : array-like of shape (n_pairs, n_features) or (n_pairs, h, w[, c])
            The two sides of each pair, in the layout of ``fit``.

        Returns
        -------
        ndarray of shape (n_pairs,)
            Scores: the cosine of embeddings, the log-odds of a pair head, or a log-likelihood
            ratio in nats, whatever the estimator compares by.

        Raises
        ------
        ValueError
            If there are not as many samples on the left as on the right.
        """
        check_is_fitted(self)
        check_consistent_length(left, right)
        codes = np.concatenate([self._encode(left), self._encode(right)])
        rows = np.arange(len(codes) // 2)
        return self._score_codes(codes, rows, rows + len(rows))

    def score_trials(self, X, left, right):
        """Score the trials of a list, encoding each sample once however often it comes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            The samples that the trials name.
        left, right : array-like of int, shape (n_trials,)
            Rows of `X`, as :meth:`skdistort.trials.TrialList.indices` gives them.

        Returns
        -------
        ndarray of shape (n_trials,)
            Scores, see :meth:`pair_score`.

        Raises
        ------
        ValueError
            If a number is no row of `X`, or no whole number, or the sides differ in length.
        """
        check_is_fitted(self)
        check_consistent_length(left, right)
        codes = self._encode(X)
        sides = []
        for name, side in (("left", left), ("right", right)):
            side = column_or_1d(side)
            if len(side) == 0:
                side = side.astype(np.intp)
            if side.dtype.kind not in "iu":
                raise ValueError(f"{name} must hold row numbers of X, got dtype {side.dtype}.")
            if len(side) and not (side.min() >= 0 and side.max() < len(codes)):
                raise ValueError(
                    f"{name} must hold row numbers of X, 0 to {len(codes) - 1}; it holds "
                    f"{side.min()} to {side.max()}."
                )
            sides.append(side)
        return self._score_codes(codes, *sides)

    def score_models(self, X, models, probes):
        """Score models of several samples each, as of a person who enrols several times.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            The samples that models are made of.
        models : array-like of shape (n_samples,)
            Whose model each is of.
        probes : array-like of shape (n_probes, n_features) or (n_probes, h, w[, c])
            Samples to compare with each model.

        Returns
        -------
        ndarray of shape (n_models, n_probes)
            Scores, a row for each of ``np.unique(models)``: a log-likelihood ratio by the book, the
            cosine with the mean of embeddings, or the mean log-odds of a pair head, whatever the
            estimator compares by. Higher for more alike, and of another distribution than those of
            single samples: a threshold for them is to be chosen on the like of them.

        Raises
        ------
        ValueError
            If there is not a name for each sample.
        """
        check_is_fitted(self)
        codes = self._encode(X)
        names = encode_classes(codes, models, name="models")
        return self._score_models(codes, names, self._encode(probes))

    def score(self, X, y=None):
        """Score by verification: 1 - equal error rate over all pairs of samples.

        Memory grows with the square of the number of samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Samples; each is encoded once.
        y : array-like of shape (n_samples,)
            Identities.

        Returns
        -------
        float
            Between 0 and 1, higher is better; 0.5 is chance.

        Raises
        ------
        ValueError
            If `y` is None or does not make both genuine and impostor pairs.
        """
        return 1.0 - equal_error_rate(*self._score_all_pairs(X, y))[0]

    def calibrate_threshold(self, X, y, *, strategy="eer", target_fmr=0.01):
        """Choose where ``verify`` decides, on labelled samples that ``fit`` has not seen.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Held-out samples; all pairs of them are scored.
        y : array-like of shape (n_samples,)
            Their identities.
        strategy : {"eer", "fmr"}, default="eer"
            Where both error rates are equal, or the most lenient threshold whose false match
            rate is at most `target_fmr`.
        target_fmr : float, default=0.01
            The highest false match rate allowed by "fmr", in ``[0, 1]``.

        Returns
        -------
        self
            With `threshold_` set.

        Raises
        ------
        ValueError
            If `strategy` is unknown, `target_fmr` is outside ``[0, 1]`` or `y` does not make
            both genuine and impostor pairs.
        """
        check_strategy(strategy, target_fmr)
        self.threshold_ = choose_threshold(*self._score_all_pairs(X, y), strategy, target_fmr)
        return self

    def calibrate_probability(self, X, y, *, prior=0.5):
        """Learn what a score says about the odds, on labelled samples that ``fit`` has not seen.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Held-out samples; all pairs of them are scored.
        y : array-like of shape (n_samples,)
            Their identities.
        prior : float, default=0.5
            Probability of a genuine pair where the probabilities will be used.

        Returns
        -------
        self
            With `calibration_`, a fitted :class:`skdistort.fusion.ScoreFusion`, set.
        """
        genuine, scores = self._score_all_pairs(X, y)
        fusion = ScoreFusion(method="logistic", prior=prior)
        self.calibration_ = fusion.fit(scores[:, None], genuine)
        return self

    def verify(self, left, right):
        """Decide which pairs are of one identity.

        Parameters
        ----------
        left, right : array-like of shape (n_pairs, n_features) or (n_pairs, h, w[, c])
            The two sides of each pair.

        Returns
        -------
        ndarray of shape (n_pairs,), bool
            True where the score reaches `threshold_`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`calibrate_threshold`.
        """
        check_is_fitted(
            self, "threshold_", msg="This %(name)s has no threshold: call calibrate_threshold."
        )
        return self.pair_score(left, right) >= self.threshold_

    def verify_proba(self, left, right):
        """Give the probability that a pair is of one identity.

        Parameters
        ----------
        left, right : array-like of shape (n_pairs, n_features) or (n_pairs, h, w[, c])
            The two sides of each pair.

        Returns
        -------
        ndarray of shape (n_pairs,)
            Probabilities, at the prior that the calibration was given.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`calibrate_probability`.
        """
        check_is_fitted(
            self,
            "calibration_",
            msg="This %(name)s is not calibrated: call calibrate_probability.",
        )
        scores = self.pair_score(left, right)
        return self.calibration_.predict_proba(scores[:, None])[:, 1]

    def _forget_calibration(self):
        """Drop what was learned from the scores of an earlier fit."""
        for name in ("threshold_", "calibration_"):
            self.__dict__.pop(name, None)

    def _score_all_pairs(self, X, y):
        """Score every sample with every other one; which pairs are genuine, and the scores."""
        codes, genuine = self._encode_labelled(X, y)
        return genuine, self._score_codes(codes, *np.triu_indices(len(codes), 1))

    def _encode_labelled(self, X, y):
        """Encode samples, and tell which pairs, in the order of ``triu_indices``, are genuine."""
        check_is_fitted(self)
        if y is None:
            raise ValueError("y is needed: pairs are genuine by their identity.")
        codes = self._encode(X)
        y = encode_classes(codes, y)
        left, right = np.triu_indices(len(codes), 1)
        return codes, y[left] == y[right]


def refuse_without_length(embeddings):
    """Raise if an embedding is zero or not finite, which must not pass as anybody's.

    Parameters
    ----------
    embeddings : ndarray of shape (n_samples, m)
        Embeddings.

    Raises
    ------
    InputMismatchError
        If one is.
    """
    usable = np.isfinite(embeddings).all(axis=1) & embeddings.any(axis=1)
    if not usable.all():
        i = int(usable.argmin())
        raise InputMismatchError(
            f"Sample {i} has an embedding of length 0, or one that is not finite, which cannot be "
            "compared: is it blank, or damaged?",
            i,
            "an embedding of length 0 or not finite",
            "an embedding that has a length",
        )


def score_in_blocks(score, left, right, dtype=np.float32):
    """Score pairs, so many at a time as memory should hold.

    Parameters
    ----------
    score : callable
        ``score(left, right)``, on some of the pairs.
    left, right : ndarray of int, shape (n_pairs,)
        Rows.
    dtype : dtype, default=float32
        Of the scores.

    Returns
    -------
    ndarray of shape (n_pairs,)
        Scores.
    """
    scores = np.empty(len(left), dtype=dtype)
    for start in range(0, len(left), _N_PAIRS):
        block = slice(start, start + _N_PAIRS)
        scores[block] = score(left[block], right[block])
    return scores
