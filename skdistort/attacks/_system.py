"""The system under attack: a generator and a held-out embedder, on images in ``[0, 1]``.

Knows units, layouts and keys, so that nothing else of the attacks has to, and how to go from
embeddings back to images, by G and by gradients through F.
"""

from copy import copy

import numpy as np
from sklearn import config_context
from sklearn.utils.validation import check_is_fitted

from ..distortion._embedder import check_embedder, fit_embedder
from ..distortion._network import is_network
from ..distortion._refinement import LEAST_EDGE, refine_templates
from ..images._layout import as_images, from_unit_range, restore_layout, split_layout
from ..images._sources import joined
from ..images._units import units_unchecked

_KEY_BYTES = 16


class AttackedSystem:
    """A fitted generator, and an embedder F' that it was not trained with.

    Parameters
    ----------
    generator : DistortionGenerator
        Fitted.
    embedder : estimator, keras model or layer, torch module, path or onnx.ModelProto
        F'.
    X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
        Images that show the layout in which F' takes them.
    rng : numpy.random.RandomState
        Draws keys.
    """

    def __init__(self, generator, embedder, X, rng):
        check_is_fitted(generator)
        self.generator = generator
        self._rng = rng
        self._layout = split_layout(X)[1]
        self._embed_held_out = _as_function(embedder, generator.image_shape_, generator.batch_size)
        self.keyed = generator.keyed_
        # What serves all records: the generator's own key, or one for the occasion.
        self.key = generator.key if self.keyed else None
        if self.keyed and self.key is None:
            self.key = self.fresh_keys(1)[0]

    def fresh_keys(self, n):
        """Draw keys that nobody has.

        Parameters
        ----------
        n : int
            How many.

        Returns
        -------
        list of bytes
            The keys.
        """
        return [self._rng.bytes(_KEY_BYTES) for _ in range(n)]

    def images(self, X):
        """Bring images to ``(n, height, width, channels)`` and to pixels in ``[0, 1]``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Images in the units of the generator.

        Returns
        -------
        ndarray of shape (n_samples, height, width, channels), dtype float32
            The images.
        """
        images = joined(images for images, *_ in self.generator._each_piece(X))
        return self.generator._unit_images(images)

    def templates(self, images, keys=None):
        """Distort images, under one key or a list of keys; None is the key for all, if any.

        Parameters
        ----------
        images : ndarray of shape (n_samples, height, width, channels)
            Pixels in ``[0, 1]``.
        keys : bytes, int, list of these or None, default=None
            The keys.

        Returns
        -------
        ndarray of the shape of images, dtype float32
            Templates, pixels in ``[0, 1]``, of 8 bits, as they are stored.
        """
        return as_stored(self.generator._distort(self._in_units(images), self._keys(keys)))

    def renew(self, templates, old_keys, new_keys):
        """Put templates under other keys, without the images.

        Parameters
        ----------
        templates : ndarray of shape (n_samples, height, width, channels)
            Pixels in ``[0, 1]``.
        old_keys, new_keys : bytes, int or list of these
            The keys.

        Returns
        -------
        ndarray of the shape of templates, dtype float32
            Templates, of 8 bits.
        """
        return as_stored(self.generator._renew(self.embed(templates), old_keys, new_keys))

    @property
    def inverts(self):
        """Tell whether G makes images of embeddings, so that it is an inverse of F.

        Returns
        -------
        bool
            Whether it does.
        """
        return self.generator.architecture == "bottleneck"

    def invert(self, embeddings):
        """Make images that F sees embeddings in, by G itself, and refined as templates are.

        Parameters
        ----------
        embeddings : ndarray of shape (n_samples, m)
            What F is to see.

        Returns
        -------
        ndarray of shape (n_samples, height, width, channels), dtype float32
            Pixels in ``[0, 1]``.
        """
        return self.generator._generate(None, embeddings.astype(np.float32))

    def descend(self, images, embeddings, n_steps):
        """Move images by gradients through F until it sees embeddings in them.

        Parameters
        ----------
        images : ndarray of shape (n_samples, height, width, channels)
            Where to start, pixels in ``[0, 1]``.
        embeddings : ndarray of shape (n_samples, m)
            What F is to see.
        n_steps : int
            Steps of Adam.

        Returns
        -------
        ndarray of the shape of images, dtype float32
            Pixels in ``[0, 1]``.
        """
        generator = self.generator
        # Who begins at what F takes for somebody is not to be moved away from it first.
        return refine_templates(
            generator.embedder_,
            images,
            embeddings,
            generator.pixel_range_,
            n_steps=n_steps,
            edge=LEAST_EDGE,
        )

    def unrefined_errors(self, images):
        """Find how far G alone misses what F is to see in a template: less on what it learned from.

        Parameters
        ----------
        images : ndarray of shape (n_samples, height, width, channels)
            Pixels in ``[0, 1]``.

        Returns
        -------
        ndarray of shape (n_samples,), float32
            Squared distances of F(G(X)) and F(X), under the key for all.
        """
        generator = copy(self.generator)
        generator.refinement_steps = 0
        found = generator._distort(self._in_units(images), self._keys(None))
        return np.sum((self.embed(found) - self.embed_probe(images)) ** 2, axis=1)

    def embed(self, images):
        """Embed images or templates by F.

        Parameters
        ----------
        images : ndarray of shape (n_samples, height, width, channels)
            Pixels in ``[0, 1]``.

        Returns
        -------
        ndarray of shape (n_samples, m), dtype float32
            Embeddings, no key involved.
        """
        return self.generator._embed(self._in_units(images))

    def embed_probe(self, images, keys=None):
        """Embed what is presented at verification, under the keys of the claimed templates.

        Parameters
        ----------
        images : ndarray of shape (n_samples, height, width, channels)
            Pixels in ``[0, 1]``.
        keys : bytes, int, list of these or None, default=None
            The keys.

        Returns
        -------
        ndarray of shape (n_samples, m), dtype float32
            What is compared with the embeddings of templates.
        """
        embeddings, keys = self.embed(images), self._keys(keys)
        return embeddings if keys is None else self.rotate(embeddings, keys)

    def rotate(self, embeddings, keys, *, inverse=False):
        """Apply to each embedding the map of its key, or undo it.

        Parameters
        ----------
        embeddings : ndarray of shape (n_samples, m)
            Embeddings.
        keys : bytes, int or list of these
            The keys.
        inverse : bool, default=False
            Whether to undo it.

        Returns
        -------
        ndarray of shape (n_samples, m), dtype float32
            Embeddings.
        """
        return self.generator._rotate(embeddings, keys, inverse)

    def embed_held_out(self, images):
        """Embed images by F'.

        Parameters
        ----------
        images : ndarray of shape (n_samples, height, width, channels)
            Pixels in ``[0, 1]``.

        Returns
        -------
        ndarray of shape (n_samples, m'), dtype float32
            Embeddings.
        """
        rows = self._in_units(images).reshape(len(images), -1)
        # F' may hold steps of its own, between which tables would not do, and gets templates too.
        with config_context(transform_output="default"), units_unchecked():
            found = np.asarray(self._embed_held_out(restore_layout(rows, self._layout)))
        if found.ndim != 2 or len(found) != len(images):
            raise ValueError(
                f"embedder must give one vector an image, ({len(images)}, m), got shape "
                f"{found.shape}."
            )
        return found

    def _keys(self, keys):
        # Keys for a generator without any make no difference, as no key does for its templates.
        return (self.key if keys is None else keys) if self.keyed else None

    def _in_units(self, images):
        return from_unit_range(images, self.generator.pixel_range_)


def as_stored(templates):
    """Round templates to the 256 values that a store keeps of a pixel.

    Parameters
    ----------
    templates : ndarray, dtype float32
        Pixels in ``[0, 1]``.

    Returns
    -------
    ndarray of the shape of templates, dtype float32
        Pixels in ``[0, 1]``.
    """
    return np.rint(templates * np.float32(255)) / np.float32(255)


def _as_function(embedder, image_shape, batch_size):
    """Find the function from images, in the layout of the data, to embeddings."""
    if hasattr(embedder, "transform"):
        check_is_fitted(embedder)
        return embedder.transform
    if not is_network(embedder):
        raise TypeError(
            "embedder must be a fitted estimator with transform, or a network as for "
            f"DistortionGenerator; got {type(embedder).__name__}."
        )
    check_embedder(embedder, image_shape)
    network = fit_embedder(embedder, np.empty((0, *image_shape)), None, defaults={})
    return lambda X: network.predict(as_images(X, image_shape), batch_size)
