"""Linkage: whether two templates under different keys belong to one subject.

What lives here draws the pairs and scores them, by distance and by a trained linker. What the
scores say about unlinkability is :func:`skdistort.metrics.unlinkability`.
"""

from __future__ import annotations

from numbers import Integral
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._labels import as_labels
from .._typing import Seed
from ._subjects import draw_companions, draw_strangers

# Principal components of each view that the linker sees.
_MAX_COMPONENTS = 32


class LinkagePairs(NamedTuple):
    """Which images to make templates of, under which keys, and which pairs are mated.

    Attributes
    ----------
    left, right : ndarray of shape (n_pairs,), int
        Rows of the images.
    left_key, right_key : ndarray of shape (n_pairs,), int
        Numbers of the keys, from 0; equal numbers stand for the same key.
    mated : ndarray of shape (n_pairs,), bool
        True for a mated pair, of one subject.
    """

    left: np.ndarray
    right: np.ndarray
    left_key: np.ndarray
    right_key: np.ndarray
    mated: np.ndarray


def draw_linkage_pairs(
    labels: ArrayLike,
    *,
    same_image: bool = True,
    n_key_pairs: int | None = None,
    max_pairs: int = 2000,
    random_state: Seed = None,
) -> LinkagePairs:
    """Draw mated and non-mated pairs of templates, every two of them under different keys.

    Where the same key serves all records, two databases are under one pair of keys. It shifts
    all mated scores alike, up or down, so that those of a single pair of keys say little: they
    are pooled over `n_key_pairs`. The permutations of :func:`skdistort.metrics.unlinkability` do
    not know of these shifts, and with few pairs of keys call them linkability. The mated and the
    non-mated pair of an image are under different keys, so that hardly a template is used twice.

    Parameters
    ----------
    labels : array-like of shape (n_images,)
        Subjects, at least two.
    same_image : bool, default=True
        Whether a mated pair is of one image, as where a template is issued anew: the attacker's
        best case. Else it is of two images of one subject, who has to have as many.
    n_key_pairs : int or None, default=None
        Pairs of keys, at least 2. None is a key of its own for every template.
    max_pairs : int, default=2000
        The most mated pairs, and as many non-mated ones.
    random_state : int, RandomState instance or None, default=None
        Draws the pairs.

    Returns
    -------
    LinkagePairs
        The pairs, the mated ones first.

    Raises
    ------
    ValueError
        If there are fewer than two subjects, a parameter is out of range, or with
        ``same_image=False`` no subject has two images.

    References
    ----------
    Gomez-Barrero, Galbally, Rathgeb, Busch, "General framework to evaluate unlinkability in
    biometric template protection systems", IEEE Transactions on Information Forensics and
    Security 13 (2018), for mated and non-mated instances.

    Examples
    --------
    >>> from skdistort.attacks import draw_linkage_pairs
    >>> pairs = draw_linkage_pairs(["ann", "ann", "bob"], random_state=0)
    >>> pairs.mated
    array([ True,  True,  True, False, False, False])
    >>> bool((pairs.left == pairs.right)[pairs.mated].all())
    True
    """
    labels = as_labels(labels, "labels")
    if labels.ndim != 1 or np.unique(labels).size < 2:
        raise ValueError("labels must be 1-D and hold at least two subjects.")
    if n_key_pairs is not None and not (isinstance(n_key_pairs, Integral) and n_key_pairs >= 2):
        raise ValueError(f"n_key_pairs must be None or at least 2, got {n_key_pairs!r}.")
    if not isinstance(max_pairs, Integral) or max_pairs < 1:
        raise ValueError(f"max_pairs must be an integer of at least 1, got {max_pairs!r}.")
    rng = check_random_state(random_state)
    own, other = draw_companions(labels, 1 if same_image else 2, rng)[:, [0, -1]].T
    candidates = own if same_image else own[own != other]
    if candidates.size == 0:
        raise ValueError("labels must hold a subject with two images for same_image=False.")
    left = rng.permutation(candidates)[:max_pairs]
    n = left.size
    if n_key_pairs is None:
        mated_key, non_mated_key = np.arange(n), np.arange(n, 2 * n)
    else:
        mated_key = np.arange(n) % n_key_pairs
        non_mated_key = (mated_key + 1) % n_key_pairs
    key_pair = np.concatenate([mated_key, non_mated_key])
    return LinkagePairs(
        left=np.concatenate([left, left]),
        right=np.concatenate([other[left], draw_strangers(labels, left, rng)]),
        left_key=2 * key_pair,
        right_key=2 * key_pair + 1,
        mated=np.arange(2 * n) < n,
    )


class TemplateLinker(BaseEstimator):
    """A classifier that learned, from pairs made under other keys, whether templates are mated.

    Each view of a template, such as its embedding and its pixels, is brought to its first
    principal components. Gradient boosted trees get those of both templates, their differences
    and products, and the distance and the cosine of the whole views.

    Parameters
    ----------
    random_state : int, RandomState instance or None, default=None
        Seeds the components and the trees.

    Attributes
    ----------
    components_ : list of sklearn.decomposition.PCA
        One for each view.
    classifier_ : sklearn.ensemble.HistGradientBoostingClassifier
        The trees.

    References
    ----------
    Gomez-Barrero, Galbally, Rathgeb, Busch, "General framework to evaluate unlinkability in
    biometric template protection systems", IEEE Transactions on Information Forensics and
    Security 13 (2018): any linkage function may be evaluated, and the protection is as good as
    the best one allows.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.attacks import TemplateLinker
    >>> rng = np.random.default_rng(0)
    >>> left, noise = rng.normal(size=(2, 400, 3))
    >>> mated = np.arange(400) < 200
    >>> right = np.where(mated[:, None], left, 0) + noise / 2
    >>> linker = TemplateLinker(random_state=0).fit([left], [right], mated)
    >>> scores = linker.score_pairs([left], [right])
    >>> bool(scores[mated].mean() > scores[~mated].mean() + 0.5)
    True
    """

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, left, right, mated):
        """Learn from pairs of templates.

        Parameters
        ----------
        left, right : sequence of array-like of shape (n_pairs, ...)
            The views of the one and of the other template of each pair.
        mated : array-like of shape (n_pairs,), bool
            True for a mated pair.

        Returns
        -------
        TemplateLinker
            The fitted linker.

        Raises
        ------
        ValueError
            If the views of both sides do not match, there are none, or `mated` is of one class.
        """
        left, right = _check_views(left, right)
        mated = np.asarray(mated, dtype=bool)
        if mated.shape != (len(left[0]),) or mated.all() or not mated.any():
            raise ValueError(
                f"mated must have shape ({len(left[0])},) and hold both classes, got "
                f"{np.count_nonzero(mated)} mated of shape {mated.shape}."
            )
        rng = check_random_state(self.random_state)
        self.components_ = []
        for L, R in zip(left, right, strict=True):
            n_components = min(_MAX_COMPONENTS, L.shape[1], 2 * len(L))
            pca = PCA(n_components, random_state=rng.randint(2**31 - 1))
            pca.set_output(transform="default")
            self.components_.append(pca.fit(np.concatenate([L, R])))
        self.classifier_ = HistGradientBoostingClassifier(random_state=rng.randint(2**31 - 1))
        self.classifier_.fit(self._features(left, right), mated)
        return self

    def score_pairs(self, left, right):
        """Score pairs of templates.

        Parameters
        ----------
        left, right : sequence of array-like of shape (n_pairs, ...)
            The views, as for ``fit``.

        Returns
        -------
        ndarray of shape (n_pairs,), float64
            Linkage scores, log odds, higher for more likely mated.

        Raises
        ------
        ValueError
            If the views do not match those of ``fit``.
        """
        check_is_fitted(self)
        left, right = _check_views(left, right)
        found = [view.shape[1] for view in left]
        expected = [pca.n_features_in_ for pca in self.components_]
        if found != expected:
            raise ValueError(f"The views must have {expected} values, as in fit, got {found}.")
        return self.classifier_.decision_function(self._features(left, right))

    def _features(self, left, right):
        features = []
        for L, R, pca in zip(left, right, self.components_, strict=True):
            a, b = pca.transform(L), pca.transform(R)
            lengths = np.linalg.norm(L, axis=1) * np.linalg.norm(R, axis=1)
            whole = [np.sum((L - R) ** 2, axis=1), np.sum(L * R, axis=1) / (lengths + 1e-12)]
            features += [a, b, np.abs(a - b), a * b, np.stack(whole, axis=1)]
        return np.concatenate(features, axis=1)


def _check_views(left, right):
    """Bring the views of both templates to flat rows of float32."""
    sides = []
    for side in (left, right):
        views = [np.asarray(view, dtype=np.float32) for view in side]
        sides.append([view.reshape(len(view), -1) for view in views])
    shapes = [[view.shape for view in side] for side in sides]
    if not shapes[0] or shapes[0] != shapes[1] or len({shape[0] for shape in shapes[0]}) != 1:
        raise ValueError(
            "left and right must hold the same views of as many templates, got flat shapes "
            f"{shapes[0]} and {shapes[1]}."
        )
    return sides
