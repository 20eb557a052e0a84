"""What a fitted generator does with images: distort, embed, compare, score and diagnose.

How one is trained does not live here: see `_generator_training`.
"""

import numpy as np
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils.validation import check_is_fitted

from .._backend import keras
from .._shared_embeddings import SharedEmbeddings
from ..images._layout import check_pixel_range, from_unit_range, restore_layout, to_unit_range
from ..images._sources import fill, is_stored, joined, pieces
from ..keys import check_keys, rotate_embeddings
from ..scoring import distortion_score
from ..training._base import KerasTransformer
from ._comparison import DistortionComparison, diagnose_distortion

# Little beside the images: 64 MiB are the embeddings of 131,072 in 128 components.
_EMBEDDINGS = SharedEmbeddings(64 * 2**20)


class DistortingTransformer(OneToOneFeatureMixin, KerasTransformer):
    """The methods of a generator whose ``fit`` sets `network_`, `embedder_` and `keyed_`."""

    def transform(self, X, keys=None, out=None):
        """Distort images.

        Parameters
        ----------
        X : array-like, ImageFolder or keras.utils.PyDataset
            Images ``(n_samples, n_features)`` or ``(n_samples, h, w[, c])``, in the units of
            ``fit``.
        keys : int, bytes or sequence of these, default=None
            For a keyed generator, one key for all images or one for each; None takes the
            parameter `key`.
        out : ndarray of the shape of X, dtype float32, default=None
            Where the distorted images go, such as what ``numpy.lib.format.open_memmap`` gives for
            more than memory holds. None makes a new array.

        Returns
        -------
        ndarray of the shape of X, dtype float32
            Distorted images G(X), within `pixel_range_`: `out`, if it is given, unless
            ``set_output`` asks for a data frame.

        Raises
        ------
        ValueError
            If the images have another shape than in ``fit``, or leave an explicit `pixel_range`;
            if there are keys and the generator was fitted without, or none and it needs them, or
            there is not one for each image; if `out` has not the shape of `X`.
        TypeError
            If a key is neither an int nor bytes, or `out` is no writable array of float32.
        """
        parts = (
            self._in_layout(self._distort(images, keys_of_images), layout)
            for images, layout, keys_of_images in self._each_piece(X, keys)
        )
        return joined(parts) if out is None else fill(out, parts, X)

    def embed(self, X):
        """Embed images, plain or distorted, by the embedder F. No key takes part.

        Parameters
        ----------
        X : array-like, ImageFolder or keras.utils.PyDataset
            Images, in the units of ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, m), dtype float32
            Embeddings F(X).
        """
        return joined(self._embed(images) for images, *_ in self._each_piece(X))

    def embed_probe(self, X, keys=None):
        """Embed undistorted images as what templates are compared with.

        Parameters
        ----------
        X : array-like, ImageFolder or keras.utils.PyDataset
            Images, in the units of ``fit``.
        keys : int, bytes or sequence of these, default=None
            As for ``transform``: the keys of the templates that the probes claim to match.

        Returns
        -------
        ndarray of shape (n_samples, m), dtype float32
            R_key F(X), near F(G(X)) under the same key; F(X) if the generator has no key.
        """
        return joined(
            self._under_keys(self._embed(images), keys_of_images)
            for images, _, keys_of_images in self._each_piece(X, keys)
        )

    def compare(self, X):
        """Distort images and put all that measures look at side by side.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Images, in the units of ``fit``.

        Returns
        -------
        DistortionComparison
            Images and templates with pixels in ``[0, 1]``, and the embeddings of both, those of
            the images as ``embed_probe`` gives them.
        """
        images, _ = self._check_images(X)
        embeddings = self._under_keys(self._embed_shared(images), None)
        templates = self._generate(images, embeddings)
        in_units = from_unit_range(templates, self.pixel_range_)
        return DistortionComparison(
            self._unit_images(images), templates, embeddings, self._embed(in_units)
        )

    def score(self, X, y=None):
        """Score by what the templates keep and what they hide, whatever the loss's weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Images.
        y : array-like of shape (n_samples,), default=None
            Classes. Without them an image is matched to its own template and to the others'.

        Returns
        -------
        float
            Harmonic mean, in ``[0, 1]``, of identifiability (1 - 2 EER of plain probes against
            distorted templates) and dissimilarity (1 - mean absolute Pearson correlation of
            images and templates), the scorers of :mod:`skdistort.scoring`.
        """
        return distortion_score(self, X, y)

    def diagnose(self, X):
        """Look for the failures of paper A's Table 5 in the templates of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Images.

        Returns
        -------
        DistortionDiagnosis
            What was measured, and ``failures``, those that hold.
        """
        return self._diagnose(self._check_images(X)[0])

    def reissue(self, templates, old_keys, new_keys):
        """Make templates under new keys from templates, without the images.

        Parameters
        ----------
        templates : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            What ``transform`` gave under `old_keys`.
        old_keys, new_keys : int, bytes or sequence of these
            One key for all templates or one for each.

        Returns
        -------
        ndarray of the shape of `templates`, dtype float32
            Near to what ``transform`` would give under `new_keys`; the error of F(G(X)) adds up
            from one reissue to the next.

        Raises
        ------
        ValueError
            If the generator was fitted without a key, or as in ``transform``.
        TypeError
            If a key is neither an int nor bytes.
        """
        images, layout = self._check_images(templates)
        for keys in (old_keys, new_keys):
            self._check_keyed(check_keys(keys, len(images)))
        embeddings = rotate_embeddings(self._embed(images), old_keys, inverse=True)
        distorted = self._generate(images, rotate_embeddings(embeddings, new_keys))
        return self._in_layout(distorted, layout)

    def _validate_array(self, X, *, reset, least=1):
        images, layout = super()._validate_array(X, reset=reset, least=least)
        if not isinstance(self.pixel_range, str):
            low, high = np.float32(check_pixel_range(self.pixel_range))
            if images.min() < low or images.max() > high:
                raise ValueError(
                    f"X has pixels from {images.min():g} to {images.max():g}, outside "
                    f"pixel_range=({low:g}, {high:g})."
                )
        return images, layout

    def _each_piece(self, X, keys=None):
        """Go through valid images, with their layout and keys, as many as memory should hold."""
        check_is_fitted(self)
        stored = is_stored(X)
        in_memory = not stored and not isinstance(X, keras.utils.PyDataset)
        shared = in_memory or isinstance(keys, (bytes, str)) or not hasattr(keys, "__len__")
        if stored and not shared:
            check_keys(keys, len(X))
        start = 0
        for piece, _ in pieces(X):
            images, layout = self._check_images(piece)
            stop = start + len(images)
            yield images, layout, keys if shared else keys[start:stop]
            start = stop
        if not shared:
            check_keys(keys, start)

    def _embed(self, images):
        return joined(self.embedder_.predict(part, self.batch_size) for part, _ in pieces(images))

    def _embed_shared(self, images):
        """Embed images that others with this embedder are likely to learn from or to score too."""
        if is_stored(images):
            return self._embed(images)
        return _EMBEDDINGS.predict(self.embedder_, images, self.batch_size)

    def _check_keyed(self, keys):
        """Take the parameter `key` where no keys are given; None for a generator without."""
        keys = self.key if keys is None else keys
        if keys is None and self.keyed_:
            raise ValueError("The generator was fitted with a key: set its key, or give keys.")
        if keys is not None and not self.keyed_:
            raise ValueError("The generator was fitted without a key and takes none.")
        return keys

    def _under_keys(self, embeddings, keys):
        keys = self._check_keyed(keys)
        return embeddings if keys is None else rotate_embeddings(embeddings, keys)

    def _in_layout(self, distorted, layout):
        """Bring what G gives to the units and the layout of the data."""
        distorted = from_unit_range(distorted, self.pixel_range_)
        return restore_layout(distorted.reshape(len(distorted), -1), layout)

    def _unit_images(self, images):
        # An image may be brighter than any that the range was learned from; measures take [0, 1].
        return np.clip(to_unit_range(images, self.pixel_range_), 0.0, 1.0)

    def _distort(self, images, keys=None):
        """Distort valid images; pixels of the result are in ``[0, 1]``."""
        if self.architecture == "unet":
            self._check_keyed(keys)
            return self._generate(images, None)
        return self._generate(images, self._under_keys(self._embed(images), keys))

    def _generate(self, images, embeddings):
        """Apply G to what it sees: valid images, or their embeddings."""
        unet = self.architecture == "unet"
        seen = to_unit_range(images, self.pixel_range_) if unet else embeddings
        return self.network_.predict(seen, self.batch_size)

    def _diagnose(self, images):
        return diagnose_distortion(self._unit_images(images), self._distort(images))
