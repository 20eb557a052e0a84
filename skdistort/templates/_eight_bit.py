"""From an image to a template of 8-bit values and on to its embedding; and what rounding costs.

What is kept of templates, and where, does not live here: see :mod:`skdistort.templates`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import column_or_1d

from ..images._layout import from_unit_range
from ..images._photos import recompress
from ..images._sources import joined
from ..metrics import pairwise_equal_error_rate

if TYPE_CHECKING:
    from ..distortion import DistortionGenerator


class StorageErrorRates(NamedTuple):
    """Equal error rates of plain probes against templates, before and after rounding.

    Attributes
    ----------
    as_float : float
        EER of the generator's own output, in [0, 1].
    as_bytes : float
        EER of what a store keeps of it, 8 bits a value.
    as_jpeg : float or None
        EER of that as a JPEG image, if it was asked for.
    """

    as_float: float
    as_bytes: float
    as_jpeg: float | None


def storage_error_rates(
    generator: DistortionGenerator,
    X: ArrayLike,
    y: ArrayLike,
    *,
    jpeg_quality: int | None = None,
) -> StorageErrorRates:
    """Measure what rounding templates to 8 bits costs, and what compressing them would.

    Parameters
    ----------
    generator : DistortionGenerator
        A fitted generator.
    X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
        Undistorted images, each a probe and, distorted, a template for the others.
    y : array-like of shape (n_samples,)
        Their identities.
    jpeg_quality : int or None, default=None
        From 1 to 100, such as 90; needs Pillow, of the extra ``faces``. None measures no JPEG.

    Returns
    -------
    StorageErrorRates
        EER of plain probes against templates ``as_float``, ``as_bytes`` and ``as_jpeg``.

    Raises
    ------
    ImportError
        If `jpeg_quality` is given and Pillow is not installed.
    ValueError
        If there are not both genuine and impostor pairs, `y` does not fit `X`, or `jpeg_quality` is
        out of its range or given for images of neither 1 nor 3 channels.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.frozen import FrozenEstimator
    >>> from skdistort import DistortionGenerator, TripletEmbedder
    >>> from skdistort.templates import storage_error_rates
    >>> X, y = load_digits(return_X_y=True)
    >>> small = {"epochs": 3, "filters": (8, 16), "learning_rate": 5e-3, "random_state": 0}
    >>> embedder = FrozenEstimator(TripletEmbedder(**small).fit(X[300:], y[300:]))
    >>> generator = DistortionGenerator(embedder, **small).fit(X[300:])
    >>> rates = storage_error_rates(generator, X[:300], y[:300])
    >>> abs(rates.as_float - rates.as_bytes) < 0.01
    True
    """
    if jpeg_quality is not None and not 1 <= jpeg_quality <= 100:
        raise ValueError(f"jpeg_quality must be from 1 to 100, got {jpeg_quality}.")
    y = column_or_1d(y)
    probes = generator.embed_probe(X)
    distorted = _distorted(generator, X, None)
    stored = _quantised(distorted)

    def error_rate(enrolled):
        return pairwise_equal_error_rate(probes, y, enrolled, y, exclude_same_index=True)[0]

    as_jpeg = None
    if jpeg_quality is not None:
        compressed = recompress(stored, jpeg_quality)
        as_jpeg = error_rate(embed_templates(generator, compressed))
    return StorageErrorRates(
        error_rate(_embedded(generator, distorted)),
        error_rate(embed_templates(generator, stored)),
        as_jpeg,
    )


def make_templates(generator, X, keys=None):
    """Distort images and round them to what a store keeps.

    Parameters
    ----------
    generator : DistortionGenerator
        A fitted generator.
    X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
        Undistorted images.
    keys : int, bytes or sequence of these, default=None
        See :meth:`skdistort.DistortionGenerator.transform`.

    Returns
    -------
    ndarray of shape (n_samples, h, w, c), uint8
        G(X), with 0 and 255 at the ends of the generator's ``pixel_range_``.
    """
    return _quantised(_distorted(generator, X, keys))


def reissue_templates(generator, templates, old_key, new_key):
    """Make templates under a new key from templates as a store keeps them.

    Parameters
    ----------
    generator : DistortionGenerator
        A fitted generator, with a key.
    templates : ndarray of shape (n_samples, h, w, c), uint8
        What :func:`make_templates` gives.
    old_key, new_key : int or bytes
        Their key, and that of the new ones.

    Returns
    -------
    ndarray of shape (n_samples, h, w, c), uint8
        The new templates.
    """
    return _quantised(generator._renew(embed_templates(generator, templates), old_key, new_key))


def read_templates(generator, blobs):
    """Read templates from the bytes that a store keeps.

    Parameters
    ----------
    generator : DistortionGenerator
        The generator that they come from.
    blobs : sequence of bytes
        What ``tobytes`` gives for each template.

    Returns
    -------
    ndarray of shape (n_samples, h, w, c), uint8
        The templates.

    Raises
    ------
    ValueError
        If one does not have a byte for each value of an image.
    """
    sizes = {len(blob) for blob in blobs} - {generator.n_features_in_}
    if sizes:
        raise ValueError(
            f"templates must have {generator.n_features_in_} bytes, one has {sizes.pop()}"
        )
    return np.frombuffer(b"".join(blobs), np.uint8).reshape(-1, *generator.image_shape_)


def embed_templates(generator, templates):
    """Embed templates as a store keeps them.

    Parameters
    ----------
    generator : DistortionGenerator
        The generator that they come from.
    templates : ndarray of shape (n_samples, h, w, c), uint8
        What :func:`make_templates` gives.

    Returns
    -------
    ndarray of shape (n_samples, m), float32
        F(template).
    """
    return _embedded(generator, templates / np.float32(255))


def generator_fingerprint(generator):
    """Name a generator by all that its templates and their embeddings depend on.

    Parameters
    ----------
    generator : DistortionGenerator
        A fitted generator.

    Returns
    -------
    str
        SHA-256, in hexadecimal, of both networks' configurations and weights, the architecture,
        whether there is a key, the image shape and the pixel range. Pickling keeps it.
    """
    digest = hashlib.sha256()
    settings = (
        generator.architecture,
        generator.keyed_,
        generator.image_shape_,
        generator.pixel_range_,
    )
    digest.update(repr(settings).encode())
    for network in (generator.network_, generator.embedder_):
        digest.update(network.config.encode())
        for weight in network.weights:
            weight = np.ascontiguousarray(weight)
            digest.update(f"{weight.dtype.str}{weight.shape}".encode())
            digest.update(weight.tobytes())
    return digest.hexdigest()


def _distorted(generator, X, keys):
    """Distort images, whatever output the user has asked of ``transform``; pixels in [0, 1]."""
    return joined(
        generator._distort(images, keys_of_images)
        for images, _, keys_of_images in generator._each_piece(X, keys)
    )


def _embedded(generator, images):
    """Embed images of pixels in [0, 1] that are the generator's own and need no validation."""
    return generator._embed(from_unit_range(images, generator.pixel_range_))


def _quantised(images):
    """Round pixels in [0, 1] to 8 bits."""
    return np.rint(images * np.float32(255)).astype(np.uint8)
