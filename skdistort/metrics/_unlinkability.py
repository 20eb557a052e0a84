"""How well templates of one instance under different keys can be told to belong together.

What lives here reads linkage scores and estimates D_sys, the global measure of unlinkability,
with what chance alone would give. How templates are protected or compared does not live here: see
:mod:`skdistort.template_baselines`.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from .._typing import Seed
from ._scores import check_scores, in_input_units

_NULL_LEVELS = (0.05, 0.5, 0.95)


class Unlinkability(NamedTuple):
    """The global and the local measure of unlinkability, and what chance alone gives.

    Attributes
    ----------
    d_sys : float
        D_sys, as estimated from the bins: 0 for unlinkable templates, 1 for fully linkable ones.
    corrected : float
        D_sys corrected for chance, on the same scale.
    p_value : float
        How often permuted labels give at least `d_sys`, in (0, 1].
    null_mean : float
        Mean of `null`: what `d_sys` is on average where labels tell nothing.
    null_quantiles : ndarray of shape (3,), float64
        5 %, 50 % and 95 % quantiles of `null`.
    null : ndarray of shape (n_permutations,), float64
        `d_sys` under each permutation of the labels.
    local : ndarray of shape (n_bins,), float64
        The local measure D(s) in each bin that holds a score, in [0, 1].
    score_range : ndarray of shape (n_bins, 2), float32 or float64
        The lowest and the highest score of each of these bins, rising.
    """

    d_sys: float
    corrected: float
    p_value: float
    null_mean: float
    null_quantiles: np.ndarray
    null: np.ndarray
    local: np.ndarray
    score_range: np.ndarray


def unlinkability(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    omega: float = 1.0,
    n_permutations: int = 200,
    distances: bool = False,
    random_state: Seed = None,
) -> Unlinkability:
    """Estimate D_sys, the global measure of unlinkability, from linkage scores.

    Both classes are counted in bins that hold equal shares of them: of n mated and as many
    non-mated scores, about ``2 * n ** (1 / 3)`` bins, where n is the harmonic mean if the numbers
    differ. The number is even, so that the middle is an edge: where a threshold tells the classes
    apart, no bin holds both, and D_sys is 1. The edges depend on the order of the scores alone,
    so that no rising map of them changes anything, and equal scores stay together.

    On few scores D_sys is above 0 even where the labels tell nothing. Permuted labels show by how
    much, and ``corrected`` is D_sys on the scale where their mean is 0 and full linkability
    stays 1, as a kappa coefficient. It is near 0 for unlinkable templates. Where the `p_value` is
    small it understates linkability, by up to 0.04 on 500 scores of each class, and ``d_sys`` is
    the better estimate.

    Parameters
    ----------
    y_true : array-like of shape (n_pairs,), bool or 0/1
        True for a mated pair, two templates of one instance under different keys; False for a
        non-mated one, of different instances under different keys.
    y_score : array-like of shape (n_pairs,)
        Linkage scores, finite.
    omega : float, default=1.0
        Ratio of the prior probabilities, mated over non-mated, above 0. Above 1 the templates
        need not be compared to be linked: even useless scores have
        ``D_sys = (omega - 1) / (omega + 1)``, which is then the lower end of the scale.
    n_permutations : int, default=200
        Permutations of the labels; the smallest p-value is ``1 / (n_permutations + 1)``.
    distances : bool, default=False
        Whether `y_score` holds distances. D_sys does not depend on the direction of the scores;
        this makes the estimate that of the negated scores to the last bit.
    random_state : int, RandomState instance or None, default=None
        Seed of the permutations.

    Returns
    -------
    Unlinkability
        ``d_sys``, ``corrected``, ``p_value``, the permutations, and the local measure.

    Raises
    ------
    ValueError
        If `omega` or `n_permutations` is out of range; else as
        :func:`~skdistort.metrics.equal_error_rate`.

    Notes
    -----
    The permutations take the pairs for independent. Pairs that share a template are not, so that
    the p-value of all pairs of few subjects is too small: compare each template once.

    Mated scores on either side of the others, which no single threshold tells apart, share a bin
    with them at every boundary but the middle: D_sys is then below 1 by less than a bin's share,
    ``2 / n_bins``, for each.

    References
    ----------
    Gomez-Barrero, Galbally, Rathgeb, Busch, "General framework to evaluate unlinkability in
    biometric template protection systems", IEEE Transactions on Information Forensics and
    Security 13 (2018).

    Phipson, Smyth, "Permutation p-values should never be zero", Statistical Applications in
    Genetics and Molecular Biology 9 (2010).

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.metrics import unlinkability
    >>> rng = np.random.default_rng(0)
    >>> mated = np.arange(1000) < 500
    >>> linkable = unlinkability(mated, rng.normal(3.0 * mated), random_state=0)
    >>> unlinkable = unlinkability(mated, rng.normal(size=1000), random_state=0)
    >>> round(linkable.d_sys, 1), round(unlinkable.corrected, 1)
    (0.9, 0.0)
    >>> linkable.p_value < 0.01 < unlinkable.p_value
    True
    """
    if not 0 < omega < np.inf:
        raise ValueError(f"omega must be finite and above 0, got {omega!r}.")
    if not isinstance(n_permutations, Integral) or n_permutations < 1:
        raise ValueError(f"n_permutations must be an integer of at least 1, got {n_permutations!r}")
    genuine, scores = check_scores(y_true, y_score, distances)
    values, codes = np.unique(scores, return_inverse=True)
    totals = np.bincount(codes)
    mated = np.bincount(codes[genuine], minlength=values.size)
    n_mated = int(mated.sum())
    n_bins = _number_of_bins(n_mated, scores.size - n_mated)
    bins, local, d_sys = _binned_measures(mated, totals, n_bins, omega)

    rng = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
    # Either gives the same distribution: one takes time by the scores, the other by their values.
    method = "count" if scores.size < 4 * values.size else "marginals"
    null = np.empty(n_permutations)
    for i in range(n_permutations):
        permuted = rng.multivariate_hypergeometric(totals, n_mated, method=method)
        null[i] = _binned_measures(permuted, totals, n_bins, omega)[2]

    held = np.unique(bins)
    first = np.searchsorted(bins, held)
    last = np.searchsorted(bins, held, side="right") - 1
    ends = in_input_units(np.stack([values[first], values[last]], axis=1), distances)
    local = local[held]
    if distances:
        ends, local = ends[::-1, ::-1], local[::-1]
    return Unlinkability(
        d_sys=d_sys,
        corrected=_corrected_for_chance(d_sys, null.mean(), omega),
        # Rounding must not part a permutation from the labels that it equals.
        p_value=float((1 + np.count_nonzero(null >= d_sys - 1e-12)) / (1 + n_permutations)),
        null_mean=float(null.mean()),
        null_quantiles=np.quantile(null, _NULL_LEVELS),
        null=null,
        local=local,
        score_range=ends,
    )


def local_linkability(
    mated: NDArray[Any], non_mated: NDArray[Any], omega: float
) -> NDArray[np.float64]:
    """Local measure D(s) of Gomez-Barrero et al. (2018).

    ``p(H_m | s) - p(H_nm | s)``, floored at 0, which in terms of the likelihood ratio is
    ``2 * omega * LR / (1 + omega * LR) - 1`` where ``omega * LR > 1``.

    Parameters
    ----------
    mated, non_mated : ndarray
        Densities of both classes at s, or their shares in a bin.
    omega : float
        Ratio of the prior probabilities.

    Returns
    -------
    ndarray of the shape of mated, float64
        In [0, 1]; 0 where there is neither class.
    """
    total = omega * mated + non_mated
    excess = np.maximum(omega * mated - non_mated, 0)
    return np.divide(excess, total, out=np.zeros(total.shape), where=total > 0)


def _number_of_bins(n_mated, n_non_mated):
    """Rice's rule for the harmonic mean of the class sizes, to the nearest even number."""
    harmonic_mean = 2 * n_mated * n_non_mated / (n_mated + n_non_mated)
    return 2 * max(1, round(harmonic_mean ** (1 / 3)))


def _binned_measures(mated, totals, n_bins, omega):
    """Bin the values of scores by equal shares of both classes, and estimate both measures.

    Parameters
    ----------
    mated, totals : ndarray of shape (n_values,), int
        How many mated scores, and scores in all, have each value; the values rise.
    n_bins : int
        How many bins.
    omega : float
        Ratio of the prior probabilities.

    Returns
    -------
    bins : ndarray of shape (n_values,), int
        The bin of each value: where the middle of its mass lies.
    local : ndarray of shape (n_bins,)
        The local measure in each bin.
    d_sys : float
        Its mean over the mated scores: Gomez-Barrero et al. (2018), the global measure.
    """
    non_mated = totals - mated
    n_mated, n_non_mated = int(mated.sum()), int(non_mated.sum())
    # In whole numbers, so that rounding carries no value over an edge. Either class weighs half.
    mass = mated * n_non_mated + non_mated * n_mated
    middle = (2 * np.cumsum(mass) - mass) / (4 * n_mated * n_non_mated)
    bins = (middle * n_bins).astype(np.intp)
    here = np.bincount(bins, mated, minlength=n_bins)
    others_here = np.bincount(bins, non_mated, minlength=n_bins)
    local = local_linkability(here / n_mated, others_here / n_non_mated, omega)
    # Summed before it is divided, so that it is 1 where the local measure is, and never more.
    return bins, local, float(here @ local / n_mated)


def _corrected_for_chance(d_sys, null_mean, omega):
    """D_sys where its mean under permutation stands for useless scores, as a kappa."""
    lowest = max(0.0, (omega - 1) / (omega + 1))
    if null_mean >= 1:
        return lowest
    return float(lowest + (1 - lowest) * max(0.0, (d_sys - null_mean) / (1 - null_mean)))
