"""Cancelable templates by polynomials of embeddings: PolyProtect.

What lives here is the transformer, of one key, and its formula. The function that takes a key a
call is in :mod:`skdistort.template_baselines._functions`.
"""

from numbers import Integral

import numpy as np
from sklearn.utils._param_validation import Interval

from ..keys import keyed_normals
from ._hashing import _KeyedHashing


def polynomial_templates(X, coefficients, exponents, overlap):
    """Map embeddings by one polynomial, applied to each group of neighbouring values.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Embeddings.
    coefficients, exponents : ndarray of shape (m,), int
        C and E.
    overlap : int
        How many values a group shares with the one before, below m.

    Returns
    -------
    ndarray of shape (n_samples, n_outputs)
        ``sum_j c_j v_{s+j}^{e_j}`` for the groups that start at s = 0, m - overlap, and so on;
        the last is filled up with zeros.

    References
    ----------
    Hahn, Marcel, "Towards protecting face embeddings in mobile face verification scenarios", IEEE
    Transactions on Biometrics, Behavior, and Identity Science 4 (2022), eq. 1 and 2.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.template_baselines._polynomials import polynomial_templates
    >>> polynomial_templates(np.array([[1.0, 2.0, 3.0]]), np.array([10, 1]), np.array([1, 2]), 0)
    array([[14., 30.]])
    """
    m, step = len(coefficients), len(coefficients) - overlap
    starts = np.arange(0, max(X.shape[1] - overlap, 1), step)
    padded = np.pad(X, ((0, 0), (0, starts[-1] + m - X.shape[1])))
    groups = padded[:, starts[:, None] + np.arange(m)]
    return (coefficients * groups**exponents).sum(axis=2)


class PolyProtect(_KeyedHashing):
    """Map embeddings by polynomials whose coefficients and exponents one key determines.

    Parameters
    ----------
    overlap : int, default=4
        How many values neighbouring groups share, below `n_terms`: the more, the more of the
        embedding is kept, for those who verify and for those who invert.
    key : int or bytes, default=0
        The user's own; it determines C, distinct and not 0, and E, the numbers from 1 to
        `n_terms` in some order.
    n_terms : int, default=5
        Terms of the polynomial, m.
    max_coefficient : int, default=50
        Coefficients lie between this and its negative.

    Attributes
    ----------
    coefficients_, exponents_ : ndarray of shape (n_terms,), int
        C and E.
    n_features_in_ : int
        Length of the embeddings.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if ``fit`` saw a data frame with string names.

    See Also
    --------
    polyprotect : The same as a function, for a key a user.
    sklearn.metrics.pairwise.cosine_similarity : Compare the templates, as the paper does.

    Notes
    -----
    The scheme is as secret as its key, which a pickled or printed estimator shows. To who has it a
    template is a system of polynomial equations for the embedding, more of them the greater the
    overlap; who has several templates of one embedding under known keys solves it the sooner.

    References
    ----------
    Hahn, Marcel, "Towards protecting face embeddings in mobile face verification scenarios", IEEE
    Transactions on Biometrics, Behavior, and Identity Science 4 (2022).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.preprocessing import normalize
    >>> from skdistort.template_baselines import PolyProtect
    >>> X, _ = load_digits(return_X_y=True)
    >>> PolyProtect(overlap=2, key=b"secret").fit_transform(normalize(X)).shape
    (1797, 21)
    """

    _parameter_constraints: dict = {
        "overlap": [Interval(Integral, 0, None, closed="left")],
        "key": [Interval(Integral, 0, None, closed="left"), bytes],
        "n_terms": [Interval(Integral, 1, None, closed="left")],
        "max_coefficient": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, overlap=4, *, key=0, n_terms=5, max_coefficient=50):
        self.overlap = overlap
        self.key = key
        self.n_terms = n_terms
        self.max_coefficient = max_coefficient

    def _draw(self, n_features):
        m, most = self.n_terms, self.max_coefficient
        if self.overlap >= m:
            raise ValueError(
                f"overlap={self.overlap} must be below n_terms={m}: groups would not move on."
            )
        if m > 2 * most:
            raise ValueError(
                f"n_terms={m} needs as many distinct coefficients, but max_coefficient={most} "
                f"leaves {2 * most} that are not 0."
            )
        # The order of numbers drawn at random is a random order.
        drawn = np.argsort(keyed_normals(self.key, "PolyProtect coefficients", (2 * most,)))[:m]
        values = np.concatenate([np.arange(-most, 0), np.arange(1, most + 1)])
        self.coefficients_ = values[drawn]
        self.exponents_ = 1 + np.argsort(keyed_normals(self.key, "PolyProtect exponents", (m,)))
        self._n_features_out = len(range(0, max(n_features - self.overlap, 1), m - self.overlap))

    def _hash(self, X):
        return polynomial_templates(X, self.coefficients_, self.exponents_, self.overlap)
