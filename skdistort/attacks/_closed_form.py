"""Inversion attacks that need no network: blind guess, negation, per-pixel map, ridge regression.

They show what is given away for nothing. Those that train a network are in
:mod:`skdistort.attacks._network`.
"""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval

from ..metrics._ridge import fit_ridge
from ._inversion import InversionAttack, PixelwiseAttack


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
