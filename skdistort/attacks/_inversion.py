"""What inversion attacks share: the check of what they are given, and of what they give back.

The attacks are in `_closed_form` and `_network`; how well they do, in `_measures`.
"""

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils.validation import check_is_fitted

# As in skdistort.metrics: an image that strays further from [0, 1] is on another scale.
_ROUNDING = 1e-5


class InversionAttack(BaseEstimator):
    """Base of the attacks that learn to reconstruct images from templates.

    Subclasses set attributes ending in ``_`` in ``_fit`` and use them in ``_reconstruct``.
    """

    _parameter_constraints: dict = {}

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, templates, images):
        """Learn from templates whose images the attacker knows.

        Parameters
        ----------
        templates : array-like of shape (n_samples, h, w, c) or (n_samples, m)
            Templates, pixels in ``[0, 1]``, or embeddings.
        images : array-like of shape (n_samples, height, width, channels)
            Their images, pixels in ``[0, 1]``.

        Returns
        -------
        InversionAttack
            The fitted attack.

        Raises
        ------
        ValueError
            If there are fewer than two, their numbers differ, `images` are not 4-D or leave
            ``[0, 1]``, a value is not finite, or the attack does not take templates of the shape.
        """
        templates, images = _finite("templates", templates), _finite("images", images)
        if images.ndim != 4:
            raise ValueError(
                f"images must have shape (n_samples, height, width, channels), got {images.shape}."
            )
        if len(templates) != len(images):
            raise ValueError(
                "templates and images must have the same length, got "
                f"{len(templates)} and {len(images)}."
            )
        if len(images) < 2:
            raise ValueError(f"An attack needs at least two images, got {len(images)}.")
        if not (images.min() >= -_ROUNDING and images.max() <= 1 + _ROUNDING):
            raise ValueError(
                "images must have pixels in [0, 1], got values in "
                f"[{images.min():g}, {images.max():g}]."
            )
        self._check_shapes(templates.shape[1:], images.shape[1:])
        self.template_shape_, self.image_shape_ = templates.shape[1:], images.shape[1:]
        self._fit(templates, images)
        return self

    def reconstruct(self, templates):
        """Reconstruct images from templates.

        Parameters
        ----------
        templates : array-like of shape (n_samples, h, w, c) or (n_samples, m)
            Templates or embeddings, of the shape that the attack learned from.

        Returns
        -------
        ndarray of shape (n_samples, height, width, channels), dtype float32
            Reconstructions, pixels in ``[0, 1]``.

        Raises
        ------
        ValueError
            If the templates have another shape than in ``fit``, or a value is not finite.
        """
        check_is_fitted(self)
        templates = _finite("templates", templates)
        if templates.shape[1:] != self.template_shape_:
            raise ValueError(
                f"templates must have shape (n_samples, *{self.template_shape_}), as in fit, got "
                f"{templates.shape}."
            )
        found = np.asarray(self._reconstruct(templates), dtype=np.float32)
        return np.clip(found, 0, 1).reshape(len(templates), *self.image_shape_)

    def _check_shapes(self, template_shape, image_shape):
        """Refuse shapes that the attack cannot invert; here none."""


class PixelwiseAttack(InversionAttack):
    """Base of the attacks that need a template of the size of the image."""

    def _check_shapes(self, template_shape, image_shape):
        if template_shape != image_shape:
            raise ValueError(
                f"{type(self).__name__} needs templates of the shape of the images, "
                f"{image_shape}, got {template_shape}."
            )


def _finite(name, array):
    """Bring templates or images to float32 and refuse NaN and infinity."""
    array = np.asarray(array, dtype=np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got NaN or infinite values.")
    return array
