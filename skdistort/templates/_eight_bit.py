"""From an image to a template of 8 bits a value and its embedding; what rounding and renewing cost.

What is kept of templates, and where, does not live here: see :mod:`skdistort.templates`.
"""

from __future__ import annotations

import hashlib
from numbers import Integral
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import column_or_1d

from ..images._layout import from_unit_range
from ..images._photos import recompress
from ..images._sources import joined
from ..metrics import pairwise_equal_error_rate
from ._gallery import squared_distances

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


class RenewalErrorRates(NamedTuple):
    """What templates are worth after none, one and more renewals in a row.

    Attributes
    ----------
    error_rates : ndarray of shape (n_renewals + 1,)
        EER of plain probes, under the key of the moment, against templates; before any renewal
        first.
    distances : ndarray of shape (n_renewals + 1,)
        Mean squared distance of a template's embedding to the one of its image, under that key.
    """

    error_rates: np.ndarray
    distances: np.ndarray


def renewal_error_rates(
    generator: DistortionGenerator, X: ArrayLike, y: ArrayLike, *, n_renewals: int = 10
) -> RenewalErrorRates:
    """Measure what renewals cost: each template made anew from the one before it alone.

    Templates are those of a store, 8 bits a value, and go from one key to another each time, as
    :meth:`skdistort.TemplateStore.rotate` brings them.

    Parameters
    ----------
    generator : DistortionGenerator
        A generator fitted with a key.
    X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
        Undistorted images, each a probe and, distorted, a template for the others.
    y : array-like of shape (n_samples,)
        Their identities.
    n_renewals : int, default=10
        How many renewals in a row.

    Returns
    -------
    RenewalErrorRates
        ``error_rates`` and ``distances`` after 0, 1, ..., `n_renewals` renewals.

    Raises
    ------
    ValueError
        If the generator has no key, there are not both genuine and impostor pairs, `y` does not fit
        `X`, or `n_renewals` is negative.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.frozen import FrozenEstimator
    >>> from skdistort import DistortionGenerator, TripletEmbedder
    >>> from skdistort.templates import renewal_error_rates
    >>> X, y = load_digits(return_X_y=True)
    >>> small = {"epochs": 3, "filters": (8, 16), "learning_rate": 5e-3, "random_state": 0}
    >>> embedder = FrozenEstimator(TripletEmbedder(**small).fit(X[300:], y[300:]))
    >>> generator = DistortionGenerator(embedder, architecture="bottleneck", key=0, **small)
    >>> rates = renewal_error_rates(generator.fit(X[300:]), X[:200], y[:200], n_renewals=2)
    >>> rates.error_rates.shape, bool((rates.error_rates < 0.4).all())
    ((3,), True)
    """
    if not isinstance(n_renewals, Integral) or n_renewals < 0:
        raise ValueError(f"n_renewals must be an int of at least 0, got {n_renewals!r}.")
    y = column_or_1d(y)
    if not generator.keyed_:
        raise ValueError("Only templates under a key can be renewed; the generator has none.")
    plain = generator.embed(X)
    templates = make_templates(generator, X, 0)
    enrolled = embed_templates(generator, templates)
    error_rates, distances = [], []
    for key in range(n_renewals + 1):
        if key:
            templates, enrolled, _ = renew_templates(generator, templates, key - 1, key)
        probes = generator._rotate(plain, key)
        rate, _ = pairwise_equal_error_rate(probes, y, enrolled, y, exclude_same_index=True)
        error_rates.append(rate)
        distances.append(np.mean(squared_distances(probes, enrolled)))
    return RenewalErrorRates(np.array(error_rates), np.array(distances))


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


def renew_templates(generator, templates, old_key, new_key):
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
    renewed : ndarray of shape (n_samples, h, w, c), uint8
        The new templates.
    embeddings : ndarray of shape (n_samples, m), float32
        Their embeddings.
    distances : ndarray of shape (n_samples,), float64
        Squared distance of each to what the embedding of the old one is to become.
    """
    before = embed_templates(generator, templates)
    renewed = _quantised(generator._renew(before, old_key, new_key))
    embeddings = embed_templates(generator, renewed)
    targets = generator._renewed(before, old_key, new_key)
    return renewed, embeddings, squared_distances(embeddings, targets)


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


def write_embeddings(embeddings):
    """Bring embeddings to the bytes that a store keeps.

    Parameters
    ----------
    embeddings : ndarray of shape (n_samples, m), float32
        Embeddings.

    Returns
    -------
    list of bytes
        Four for each component, the lowest first.
    """
    return [embedding.tobytes() for embedding in np.asarray(embeddings, dtype="<f4")]


def read_embeddings(blobs, n_components):
    """Read embeddings from the bytes that a store keeps.

    Parameters
    ----------
    blobs : sequence of bytes
        What :func:`write_embeddings` gives.
    n_components : int
        How many components each must have.

    Returns
    -------
    ndarray of shape (n_samples, n_components), float32
        The embeddings.

    Raises
    ------
    ValueError
        If one has not so many components, or is not finite.
    """
    sizes = {len(blob) for blob in blobs} - {4 * n_components}
    if sizes:
        raise ValueError(
            f"embeddings of templates must have {4 * n_components} bytes, one has {sizes.pop()}"
        )
    embeddings = np.frombuffer(b"".join(blobs), "<f4").reshape(-1, n_components)
    if not np.isfinite(embeddings).all():
        raise ValueError("an embedding of a template is not finite")
    return embeddings.astype(np.float32, copy=False)


def generator_parts(generator):
    """List what a generator's templates and their embeddings depend on, as it is held now.

    Parameters
    ----------
    generator : DistortionGenerator
        A fitted generator.

    Returns
    -------
    settings : tuple
        The architecture, whether there is a key, the image shape, the pixel range, both networks'
        configurations and, where they are few, how many directions a key turns among themselves.
    weights : list of ndarray
        Their weights and these directions, not copied.
    """
    networks = generator.network_, generator.embedder_
    settings = (
        generator.architecture,
        generator.keyed_,
        generator.image_shape_,
        generator.pixel_range_,
        *(network.config for network in networks),
    )
    weights = [weight for network in networks for weight in network.weights]
    if generator._directions is None:
        return settings, weights
    directions, n_filled = generator._directions
    return (*settings, n_filled), [*weights, directions]


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
        whether there is a key and what it turns, the image shape and the pixel range. Pickling
        keeps it.
    """
    settings, weights = generator_parts(generator)
    digest = hashlib.sha256(repr(settings).encode())
    for weight in weights:
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
