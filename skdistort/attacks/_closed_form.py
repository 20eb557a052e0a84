"""Inversion attacks that need no network: a blind guess, the negative, lines, ridges and kernels.

They show what is given away for nothing, or for the solution of a linear system. Those that train
a network are in :mod:`skdistort.attacks._network`.
"""

from numbers import Integral, Real

import numpy as np
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import euclidean_distances
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.utils._param_validation import Interval

from ..metrics._ridge import fit_ridge
from ._inversion import InversionAttack, PixelwiseAttack

# What KernelInversion chooses from: widths by the median squared distance between templates, of
# which it looks at so many, and penalties by the kernel's diagonal.
_GAMMAS = (0.25, 1, 4, 16, 64)
_N_FOR_MEDIAN = 500
_PENALTIES = (0.01, 0.1, 1.0)


class BlindGuess(InversionAttack):
    """Answer every template with the median training image: what is known without a template.

    One end of the leak scale; :class:`NetworkInversion` of embeddings is the other.

    Attributes
    ----------
    guess_ : ndarray of shape (height, width, channels), dtype float32
        The median of each pixel.
    template_shape_, image_shape_ : tuple of int
        Shape of one template and of one image.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.attacks import BlindGuess
    >>> images = np.array([0.0, 0.2, 0.7]).reshape(3, 1, 1, 1)
    >>> attack = BlindGuess().fit(1 - images, images)
    >>> attack.reconstruct(np.zeros((2, 1, 1, 1))).ravel()
    array([0.2, 0.2], dtype=float32)
    """

    def _fit(self, templates, images):
        self.guess_ = np.median(images, axis=0)

    def _reconstruct(self, templates):
        return np.broadcast_to(self.guess_, (len(templates), *self.image_shape_))


class NegationInversion(PixelwiseAttack):
    """Answer a template with its negative, 1 - T. There is nothing to learn.

    A distortion that maximises the distance of pixels tends to the negative, which hides nothing.

    Attributes
    ----------
    template_shape_, image_shape_ : tuple of int
        Shape of one template and of one image.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.attacks import NegationInversion
    >>> images = np.array([0.0, 0.25, 0.75]).reshape(3, 1, 1, 1)
    >>> NegationInversion().fit(1 - images, images).reconstruct(1 - images).ravel()
    array([0.  , 0.25, 0.75], dtype=float32)
    """

    def _fit(self, templates, images):
        pass

    def _reconstruct(self, templates):
        return 1 - templates


class AffineInversion(PixelwiseAttack):
    """Map each pixel of a template by a line of its own, fitted by least squares.

    Attributes
    ----------
    slope_, intercept_ : ndarray of shape (height, width, channels), float64
        The lines; a pixel in which the templates do not differ has slope 0.
    template_shape_, image_shape_ : tuple of int
        Shape of one template and of one image.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.attacks import AffineInversion
    >>> images = np.array([0.0, 0.25, 0.75]).reshape(3, 1, 1, 1)
    >>> AffineInversion().fit(0.9 - images / 2, images).slope_.round(3).item()
    -2.0
    """

    def _fit(self, templates, images):
        T, X = templates.astype(np.float64), images.astype(np.float64)
        T_mean, X_mean = T.mean(axis=0), X.mean(axis=0)
        T -= T_mean
        covariance, variance = np.mean(T * (X - X_mean), axis=0), np.mean(T**2, axis=0)
        # Below the rounding of float32 pixels there is no variation to learn from.
        self.slope_ = np.divide(
            covariance, variance, out=np.zeros_like(variance), where=variance > 1e-12
        )
        self.intercept_ = X_mean - self.slope_ * T_mean

    def _reconstruct(self, templates):
        return self.slope_ * templates + self.intercept_


class RidgeInversion(InversionAttack):
    """Map templates or embeddings to images by ridge regression.

    The estimator behind what :func:`skdistort.metrics.ridge_inversion` does in one call.

    Parameters
    ----------
    alpha : float, default=1.0
        Penalty on the squared weights, as in :class:`sklearn.linear_model.Ridge`.

    Attributes
    ----------
    ridge_ : sklearn.linear_model.Ridge or sklearn.compose.TransformedTargetRegressor
        The regression, of flat images on flat templates; the latter, which solves the dual problem,
        where a template has more values than there are samples.
    template_shape_, image_shape_ : tuple of int
        Shape of one template and of one image.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.attacks import RidgeInversion
    >>> from skdistort.metrics import mse
    >>> X = np.random.default_rng(0).uniform(size=(200, 4, 4, 1))
    >>> mixed = X[:, ::-1] / 2 + X / 4
    >>> found = RidgeInversion(alpha=0.01).fit(mixed[:150], X[:150]).reconstruct(mixed[150:])
    >>> bool(mse(X[150:], found).max() < 0.01)
    True
    """

    _parameter_constraints: dict = {"alpha": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def _fit(self, templates, images):
        self.ridge_ = fit_ridge(templates, images, self.alpha)

    def _reconstruct(self, templates):
        return self.ridge_.predict(templates.reshape(len(templates), -1).astype(np.float64))


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
