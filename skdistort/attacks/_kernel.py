"""The inversion attack by kernel regression, which needs few images and no network.

The attacks that need no kernel are in :mod:`skdistort.attacks._closed_form`.
"""

from numbers import Integral

import numpy as np
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import euclidean_distances
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.utils._param_validation import Interval

from ._inversion import InversionAttack

# The first by the median squared distance between templates, the second by the kernel's diagonal.
_GAMMAS = (0.25, 1, 4, 16, 64)
_PENALTIES = (0.01, 0.1, 1.0)
_N_FOR_MEDIAN = 500


class KernelInversion(InversionAttack):
    """Map templates or embeddings to images by ridge regression with a Gaussian kernel.

    The answer is made of images whose templates lie near. Of a few thousand images it
    makes more than a decoder does. Width of the kernel and penalty are those that reconstruct a
    fifth of the attacker's images best from the other four.

    Parameters
    ----------
    max_samples : int, default=5000
        The most images to learn from, taken at equal steps where there are more: time grows with
        the cube of their number, memory with the square.

    Attributes
    ----------
    ridge_ : sklearn.kernel_ridge.KernelRidge
        The regression, of flat images on flat templates.
    template_shape_, image_shape_ : tuple of int
        Shape of one template and of one image.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.attacks import KernelInversion, RidgeInversion
    >>> from skdistort.metrics import mse
    >>> angle = np.random.default_rng(0).uniform(0, 6, size=(300, 1))
    >>> X = (0.5 + 0.5 * np.sin(3 * angle)).reshape(-1, 1, 1, 1)
    >>> Z = np.hstack([np.cos(angle), np.sin(angle)])
    >>> attacks = [KernelInversion().fit(Z[:200], X[:200]), RidgeInversion().fit(Z[:200], X[:200])]
    >>> [bool(mse(X[200:], a.reconstruct(Z[200:])).mean() < 0.01) for a in attacks]
    [True, False]
    """

    _parameter_constraints: dict = {"max_samples": [Interval(Integral, 2, None, closed="left")]}

    def __init__(self, max_samples=5000):
        self.max_samples = max_samples

    def _fit(self, templates, images):
        n = min(len(images), self.max_samples)
        rows = np.linspace(0, len(images) - 1, n).astype(int)
        known, targets = (a[rows].reshape(n, -1).astype(np.float64) for a in (templates, images))
        some = known[np.linspace(0, n - 1, min(n, _N_FOR_MEDIAN)).astype(int)]
        scale = np.median(euclidean_distances(some, squared=True)[np.triu_indices(len(some), 1)])
        search = GridSearchCV(
            KernelRidge(kernel="rbf"),
            {"gamma": [gamma / (scale or 1.0) for gamma in _GAMMAS], "alpha": _PENALTIES},
            scoring="neg_mean_squared_error",
            cv=ShuffleSplit(1, test_size=0.2, random_state=0),
        )
        self.ridge_ = search.fit(known, targets).best_estimator_

    def _reconstruct(self, templates):
        return self.ridge_.predict(templates.reshape(len(templates), -1).astype(np.float64))
