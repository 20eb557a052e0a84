"""Key recovery: the rotation of a key, estimated from embeddings whose templates are known.

Only where one key serves many records is there anything to gain by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import orthogonal_procrustes
from sklearn.utils import check_random_state

from .._typing import Seed
from ._measures import match_shares, mean, subject_interval

# Known pairs are drawn so many times for each number of them.
_N_DRAWS = 5
# How many people it takes for the likeness of two populations to be worth as much as a known pair,
# and how often R is improved.
_PEOPLE_PER_PAIR, _PRIOR_STEPS = 5, 30


def recover_rotation(
    embeddings: ArrayLike,
    template_embeddings: ArrayLike,
    *,
    population: ArrayLike | None = None,
    stolen: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Estimate R_key from plain embeddings and the embeddings of their templates.

    The orthogonal R that minimises ``sum ||R F(X_i) - F(T_i)||^2`` (Schönemann 1966): ``U V'``
    from the singular value decomposition of ``sum F(T_i) F(X_i)'``. With fewer than m pairs,
    what R does beyond their span is left to chance, unless a prior settles it: one population is
    spread like another, and a key that serves all records turns it as a whole. Then R also
    minimises ``||S - R M R'||^2``, with M and S the second moments ``E[F F']`` of the attacker's
    population and of all stolen templates, no pair of which has to be known.

    Parameters
    ----------
    embeddings : array-like of shape (n_pairs, m)
        F(X), of photos that the attacker has.
    template_embeddings : array-like of shape (n_pairs, m)
        F(T), of their templates under the key.
    population : array-like of shape (n_population, m) or None, default=None
        F(X) of people like the victims. None does without a prior.
    stolen : array-like of shape (n_stolen, m) or None, default=None
        F(T) of the victims' templates under the key; needed with `population`.

    Returns
    -------
    ndarray of shape (m, m), float64
        The estimate of R_key, orthogonal: ``F(T) = F(X) @ R_key.T``.

    Raises
    ------
    ValueError
        If the shapes differ, a value is not finite, or only one of `population` and `stolen` is
        given.

    References
    ----------
    Schönemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika 31
    (1966).

    Grave, Joulin, Berthet, "Unsupervised alignment of embeddings with Wasserstein Procrustes",
    AISTATS 2019, for the alignment of point sets without pairs.

    Journée, Nesterov, Richtárik, Sepulchre, "Generalized power method for sparse principal
    component analysis", Journal of Machine Learning Research 11 (2010), for the iteration: each
    step solves a Procrustes problem, and none makes the fit worse.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.stats import ortho_group
    >>> from skdistort.attacks import recover_rotation
    >>> R = ortho_group.rvs(4, random_state=0)
    >>> plain = np.random.default_rng(0).normal(size=(6, 4))
    >>> np.allclose(recover_rotation(plain, plain @ R.T), R)
    True
    """
    embeddings, template_embeddings = (
        np.asarray(a, dtype=np.float64) for a in (embeddings, template_embeddings)
    )
    if (population is None) != (stolen is None):
        raise ValueError("population and stolen must be given together, or neither.")
    R = orthogonal_procrustes(embeddings, template_embeddings)[0].T
    if population is None:
        return R
    M, S = (_second_moment(np.asarray(Z, dtype=np.float64)) for Z in (population, stolen))
    paired = template_embeddings.T @ embeddings
    # The moments of few people are those of another few by accident only.
    worth = min(len(population), len(stolen)) / _PEOPLE_PER_PAIR  # type: ignore[arg-type]
    worth *= np.mean(np.sum(embeddings**2, axis=1))
    for _ in range(_PRIOR_STEPS):
        R = _nearest_rotation(paired + worth * S @ R @ M)
    return R


def _second_moment(Z):
    """Give E[Z Z'], of mean squared length 1."""
    return Z.T @ Z / np.sum(Z**2)


def _nearest_rotation(A):
    """Find the orthogonal matrix nearest to A."""
    U, _, Vt = np.linalg.svd(A)
    return U @ Vt


def key_recovery_curve(
    known: ArrayLike,
    known_templates: ArrayLike,
    template_embeddings: ArrayLike,
    labels: ArrayLike,
    embeddings: ArrayLike,
    threshold: float,
    *,
    n_pairs: Sequence[int] | None = None,
    random_state: Seed = None,
) -> list[dict[str, Any]]:
    """How many known pairs it takes to undo the rotation of a key that serves all records.

    For each number of pairs the rotation is estimated, from them alone and with the attacker's
    records as a prior for the spread of people (:func:`recover_rotation`). Either is undone on the
    templates of subjects that the attacker has no photo of, and the result presented against their
    other images: an attack in the full disclosure model of ISO/IEC 30136, short of the key itself.

    Parameters
    ----------
    known, known_templates : array-like of shape (n_known, m)
        F(X) and F(T) of the attacker's own records under the key.
    template_embeddings : array-like of shape (n_templates, m)
        F(T) of the other records under the key.
    labels : array-like of shape (n_templates,)
        Their subjects.
    embeddings : array-like of shape (n_templates, m)
        F(X) of the same images: a template is compared with those of the subject's other ones.
    threshold : float
        Lowest score ``-||a - b||^2`` to accept.
    n_pairs : sequence of int or None, default=None
        How many known pairs to try. None takes numbers in steps of about 20 % up to ``4 * m``,
        or to what there is.
    random_state : int, RandomState instance or None, default=None
        Draws the known pairs, five times for each number.

    Returns
    -------
    list of dict
        Each with ``n_pairs`` and ``match_rate``, the mean of the draws, in [0, 1];
        ``with_prior``, the same with the prior, and ``with_prior_95%``, its interval over subjects.

    Raises
    ------
    ValueError
        If shapes do not match, more pairs are asked for than known, or no subject has two images.

    See Also
    --------
    smallest_sufficient : The number of pairs that reaches a rate.

    References
    ----------
    Schönemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika 31
    (1966).

    ISO/IEC 30136:2018, "Performance testing of biometric template protection schemes".

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.stats import ortho_group
    >>> from skdistort.attacks import key_recovery_curve
    >>> R = ortho_group.rvs(4, random_state=0)
    >>> plain = np.random.default_rng(0).normal(size=(40, 4))
    >>> plain[1::2] = plain[::2] + 0.01
    >>> labels = np.repeat(np.arange(20), 2)
    >>> curve = key_recovery_curve(
    ...     plain[:20], plain[:20] @ R.T, plain[20:] @ R.T, labels[20:], plain[20:], -0.1,
    ...     n_pairs=[1, 8], random_state=0,
    ... )
    >>> curve[1]["n_pairs"], curve[1]["match_rate"]
    (8, 1.0)
    """
    known, known_templates = np.asarray(known), np.asarray(known_templates)
    if n_pairs is None:
        limit = min(4 * known.shape[1], len(known))
        n_pairs = np.unique(np.geomspace(1, limit, 1 + int(4 * np.log2(limit))).astype(int))
    if max(n_pairs) > len(known) or min(n_pairs) < 1:
        raise ValueError(
            f"n_pairs must lie between 1 and the {len(known)} known pairs, got {list(n_pairs)}."
        )
    rng = check_random_state(random_state)
    template_embeddings = np.asarray(template_embeddings, dtype=np.float64)
    own = np.arange(len(template_embeddings))[:, None]
    spread = {"population": known, "stolen": template_embeddings}
    rows = []
    for n in n_pairs:
        shares: list[list[Any]] = [[], []]
        for _ in range(_N_DRAWS):
            drawn = rng.permutation(len(known))[:n]
            for prior, found in zip(({}, spread), shares, strict=True):
                R = recover_rotation(known[drawn], known_templates[drawn], **prior)
                undone = template_embeddings @ R
                found += list(
                    match_shares(undone, labels, embeddings, labels, threshold, exclude=own)
                )
        of_each = [np.mean(found, axis=0) for found in shares]
        rows.append(
            {
                "n_pairs": int(n),
                "match_rate": mean(of_each[0]),
                "with_prior": mean(of_each[1]),
                "with_prior_95%": subject_interval(of_each[1], labels),
            }
        )
    return rows


def smallest_sufficient(curve: list[dict[str, Any]], rate: float) -> int | None:
    """Find the smallest number of known pairs from which on a match rate is reached, either way.

    Parameters
    ----------
    curve : list of dict
        What :func:`key_recovery_curve` returned.
    rate : float
        The match rate.

    Returns
    -------
    int or None
        The number of pairs; None if none of those tried is enough.

    Examples
    --------
    >>> from skdistort.attacks import smallest_sufficient
    >>> curve = [{"n_pairs": 2, "match_rate": 0.1}, {"n_pairs": 4, "match_rate": 0.7}]
    >>> smallest_sufficient(curve, 0.5), smallest_sufficient(curve, 0.9)
    (4, None)
    """
    reached = [
        row["n_pairs"]
        for row in curve
        if max(row["match_rate"], row.get("with_prior", 0.0)) >= rate
    ]
    return min(reached, default=None)
