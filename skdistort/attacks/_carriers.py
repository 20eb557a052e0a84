"""Other carriers than what G makes: any image, moved by gradients until F sees what it should.

A template need not come from a generator. What a generator is worth shows beside these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._typing import Key, Seed
from ..distortion._refinement import refine_templates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..distortion import DistortionGenerator


def draw_carriers(images, n, rng):
    """Draw what a template may start from, where no generator makes it.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width, channels)
        Images of other people, pixels in ``[0, 1]``.
    n : int
        How many templates are to be made.
    rng : numpy.random.RandomState
        Draws people and noise.

    Returns
    -------
    dict of str to ndarray of shape (n, height, width, channels), dtype float32
        "mean image", the same for all; "another person", one of the images; "noise", uniform.
    """
    shape = (n, *images.shape[1:])
    return {
        "mean image": np.broadcast_to(images.mean(axis=0, dtype=np.float32), shape).copy(),
        "another person": images[rng.randint(len(images), size=n)],
        "noise": rng.uniform(size=shape).astype(np.float32),
    }


def refined_carriers(
    generator: DistortionGenerator,
    X: ArrayLike,
    X_other: ArrayLike,
    *,
    keys: Key | Sequence[Key] | None = None,
    n_steps: int | None = None,
    random_state: Seed = None,
) -> dict[str, NDArray[np.float32]]:
    """Make templates without G: refine a mean image, photos of other people, and noise.

    The baselines that a generator has to beat, beside those of
    :func:`skdistort.metrics.trivial_templates`. Each carrier is moved, as ``transform`` moves what
    G made, until F sees in it what it has to see; an optimisation of each image alone, after the
    idea of adversarial visual information hiding.

    Parameters
    ----------
    generator : DistortionGenerator
        Fitted: its F, its key and its steps of refinement are used, its G is not.
    X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
        Images to make templates of, in the units of the generator.
    X_other : array-like of shape (n_other, n_features) or (n_other, h, w[, c])
        Images of other people.
    keys : int, bytes, sequence of these or None, default=None
        As for ``generator.transform``.
    n_steps : int or None, default=None
        Steps of gradient descent. None takes those of the generator.
    random_state : int, RandomState instance or None, default=None
        Draws people and noise.

    Returns
    -------
    dict of str to ndarray of the shape of X, dtype float32
        "mean image, refined", "another person, refined" and "noise, refined".

    Raises
    ------
    ValueError
        As ``generator.transform``.

    References
    ----------
    Su, Zhou, Wang, Liu, Wang, Gao, "Hiding visual information via obfuscating adversarial
    perturbations", ICCV 2023, for the optimisation of each image.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistort import DistortionGenerator, TripletEmbedder
    >>> from skdistort.attacks import refined_carriers
    >>> X, y = load_digits(return_X_y=True)
    >>> small = {"filters": (4,), "epochs": 1, "random_state": 0}
    >>> generator = DistortionGenerator(TripletEmbedder(3, **small), **small).fit(X[:300], y[:300])
    >>> templates = refined_carriers(generator, X[300:310], X[400:500], random_state=0)
    >>> [(name, stack.shape) for name, stack in templates.items()][0]
    ('mean image, refined', (10, 64))
    """
    check_is_fitted(generator)
    rng = check_random_state(random_state)
    n_steps = generator.refinement_steps if n_steps is None else n_steps
    targets = generator.embed_probe(X, keys)
    layout = generator._load(X)[1]
    others = generator._unit_images(generator._load(X_other)[0])
    return {
        f"{name}, refined": generator._in_layout(
            refine_templates(
                generator.embedder_, start, targets, generator.pixel_range_, n_steps=n_steps
            ),
            layout,
        )
        for name, start in draw_carriers(others, len(targets), rng).items()
    }
