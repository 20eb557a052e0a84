"""Thresholds for ids of one, two and more templates, and how a file keeps them.

The nearest of an id's templates decides, and the more there are, the nearer the nearest one of
anybody is. So every number of templates has its threshold.
"""

import json
import math

import numpy as np
from sklearn.exceptions import NotFittedError

from ..decision._thresholds import choose_threshold
from ..metrics import pair_scores

# Numbers of templates that are tried, as far as the images go; and how often the last is doubled.
_MOST, _DOUBLINGS = 32, 8


def choose_thresholds(probes, enrolled, y, strategy, target_fmr):
    """Choose thresholds from labelled images, each a probe and a template.

    For n templates an id, the images of each identity are taken n at a time, in their order, as the
    templates of one id; a probe is not compared with a group that it is in. Numbers are tried up to
    that which half of the identities have images for, and one for a probe. For more templates the
    false match rate of one try is lowered as much as their number grows: n tries at a rate of
    f / n pass in f of the cases at most.

    Parameters
    ----------
    probes, enrolled : ndarray of shape (n_samples, d)
        Embeddings of the images and of their templates.
    y : array-like of shape (n_samples,)
        Identities.
    strategy : {"eer", "fmr"}
        See :func:`skdistort.decision._thresholds.choose_threshold`.
    target_fmr : float
        The highest false match rate allowed by "fmr".

    Returns
    -------
    dict of int to float
        The lowest score to accept for each number of templates; it never falls with the number.

    Raises
    ------
    ValueError
        If the labels do not make both genuine and impostor pairs.
    """
    genuine, scores = pair_scores(probes, y, enrolled, y)
    n_samples = len(probes)
    scores = scores.reshape(n_samples, -1)
    # Images of one identity are genuine with the same ones, the first of which names it.
    identities = genuine.reshape(n_samples, -1).argmax(axis=1)

    def score_groups(groups):
        best = scores[:, groups[:, 0]]
        for templates in groups.T:
            np.maximum(best, scores[:, templates], out=best)
        return best

    return choose_group_thresholds(identities, score_groups, strategy, target_fmr)


def choose_group_thresholds(identities, score_groups, strategy, target_fmr):
    """Choose thresholds as :func:`choose_thresholds` does, for any score of several templates.

    Parameters
    ----------
    identities : ndarray of int, shape (n_samples,)
        Whose each sample is.
    score_groups : callable
        See :func:`group_trials`.
    strategy : {"eer", "fmr"}
        See :func:`skdistort.decision._thresholds.choose_threshold`.
    target_fmr : float
        The highest false match rate allowed by "fmr".

    Returns
    -------
    dict of int to float
        The lowest score to accept for each number of templates; it never falls with the number.
    """
    thresholds = {}
    for n, genuine, scores in group_trials(identities, score_groups):
        thresholds[n] = choose_threshold(genuine, scores, strategy, target_fmr)
    matched = float(np.mean(scores[~genuine] >= thresholds[n]))
    for doubling in range(1, _DOUBLINGS + 1):
        thresholds[n * 2**doubling] = choose_threshold(
            genuine, scores, "fmr", matched / 2**doubling
        )
    rising = np.maximum.accumulate(list(thresholds.values())).tolist()
    return dict(zip(thresholds, rising, strict=True))


def group_trials(identities, score_groups):
    """Compare samples with groups of n of one identity, for each number n that there are enough of.

    Parameters
    ----------
    identities : ndarray of int, shape (n_samples,)
        Whose each sample is.
    score_groups : callable
        Given rows of samples, shape (n_groups, n), the scores of all samples with each of these
        groups, shape (n_samples, n_groups), or several such, one after the other, as under
        different keys.

    Yields
    ------
    n : int
        How many templates, from 1 on.
    genuine : ndarray of shape (n_trials,), bool
        True for a sample compared with others of its own identity.
    scores : ndarray of shape (n_trials,)
        The scores.
    """
    order = np.argsort(identities, kind="stable")
    counts = np.unique(identities, return_counts=True)[1]
    starts = np.cumsum(counts) - counts
    n_most = min(_MOST, max(1, int(np.sort(counts)[len(counts) // 2]) - 1))
    for n in range(1, n_most + 1):
        groups = np.array(
            [
                order[start + first : start + first + n]
                for start, count in zip(starts, counts, strict=True)
                for first in range(0, count - n + 1, n)
            ]
        )
        compared = np.ones((len(identities), len(groups)), dtype=bool)
        compared[groups.T, np.arange(len(groups))] = False
        genuine = identities[:, None] == identities[groups[:, 0]]
        scores = score_groups(groups).reshape(-1, *compared.shape)
        yield n, np.tile(genuine[compared], len(scores)), scores[:, compared].ravel()


def thresholds_for(thresholds, numbers):
    """Give the threshold for each number of templates.

    Parameters
    ----------
    thresholds : dict of int to float
        What :func:`choose_thresholds` gives.
    numbers : array-like of int
        Numbers of templates.

    Returns
    -------
    ndarray of float64
        That of the least number tried that is no smaller; infinite where there is none.
    """
    tried = np.array([*thresholds, np.iinfo(np.int64).max])
    return np.array([*thresholds.values(), np.inf])[np.searchsorted(tried, numbers)]


def write_thresholds(thresholds):
    """Write thresholds as text.

    Parameters
    ----------
    thresholds : dict of int to float
        What :func:`choose_thresholds` gives.

    Returns
    -------
    str
        What :func:`read_thresholds` reads, to the last bit.
    """
    return json.dumps(thresholds)


def read_thresholds(text):
    """Read thresholds.

    Parameters
    ----------
    text : str
        What :func:`write_thresholds` gave.

    Returns
    -------
    dict of int to float
        The thresholds.

    Raises
    ------
    ValueError
        If they are none: not finite, falling, or not from one template on.
    """
    try:
        thresholds = {int(n): float(value) for n, value in json.loads(text).items()}
    except (AttributeError, TypeError, RecursionError) as error:
        raise ValueError("its thresholds are none") from error
    numbers, values = list(thresholds), list(thresholds.values())
    if (
        not all(map(math.isfinite, values))
        or numbers[:1] != [1]
        or numbers != sorted(set(numbers))
        or values != sorted(values)
    ):
        raise ValueError("its thresholds are not finite, fall, or do not begin with one template")
    return thresholds


def kept_thresholds(database, store):
    """Read the thresholds that a file keeps.

    Parameters
    ----------
    database : TemplateDatabase
        The file.
    store : str
        What to call the store.

    Returns
    -------
    dict of int to float
        The thresholds.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If there are none yet.
    ValueError
        If the file is damaged.
    """
    text = database.get("thresholds")
    if text is None:
        raise NotFittedError(f"This {store} has no threshold: call calibrate_threshold.")
    try:
        return read_thresholds(text)
    except ValueError as error:
        raise database.damaged(str(error)) from error
