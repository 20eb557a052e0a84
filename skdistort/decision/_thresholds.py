"""Where to decide: the threshold that a strategy chooses from the scores of labelled pairs.

The error rates themselves are in :mod:`skdistort.metrics`.
"""

from numbers import Real

from ..metrics import equal_error_rate, fnmr_at_fmr


def check_strategy(strategy, target_fmr):
    """Check the parameters of a choice, before anything is scored.

    Parameters
    ----------
    strategy : str
        To be "eer" or "fmr".
    target_fmr : float
        To be in ``[0, 1]``.

    Raises
    ------
    ValueError
        If they are not.
    """
    if strategy not in ("eer", "fmr"):
        raise ValueError(f"strategy must be one of 'eer' and 'fmr', got {strategy!r}.")
    if not isinstance(target_fmr, Real) or not 0 <= target_fmr <= 1:
        raise ValueError(f"target_fmr must be in [0, 1], got {target_fmr!r}.")


def choose_threshold(y_true, y_score, strategy, target_fmr):
    """Choose a threshold on scores.

    Parameters
    ----------
    y_true : ndarray of shape (n_pairs,), bool
        True for a genuine pair.
    y_score : ndarray of shape (n_pairs,)
        Scores, higher for more alike.
    strategy : {"eer", "fmr"}
        Where both error rates are equal, or the most lenient threshold whose false match rate is
        at most `target_fmr`.
    target_fmr : float
        The highest false match rate allowed by "fmr".

    Returns
    -------
    float
        The lowest score to accept.
    """
    if strategy == "eer":
        return float(equal_error_rate(y_true, y_score)[1])
    return float(fnmr_at_fmr(y_true, y_score, target_fmr)[1])
