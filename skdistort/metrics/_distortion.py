"""Tables that say how far distorted images are from their originals, and how well they hide them.

What lives here pairs images, averages the measures of
:mod:`skdistort.metrics._image_distances` over them, and lays the trivial templates and a fast
inversion attack beside them. Trained attacks do not live here, nor do error rates of verification.

Paper A below is Zakharov, Kuznetsov, Frontoni, "Unrecognizable Yet Identifiable: Image Distortion
with Preserved Embeddings". Its Table 3 is the MSE, not its eq. 12, and MSE alone rewards negation:
1 - x scores 0.925 on MNIST, above the best of the table, 0.886. Trivial templates stand in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.random import sample_without_replacement

from .._labels import as_labels
from .._tables import data_frame, format_table, html_table, plain_values
from .._typing import Seed
from ..images._layout import as_images, to_unit_range
from ._image_distances import abs_pearson, dssim, edge_correlation, l1, mse, pointwise_r2, rmse
from ._ridge import fit_ridge

if TYPE_CHECKING:
    from pandas import DataFrame

_TABLE_MEASURES = {f.__name__: f for f in (mse, rmse, l1, dssim, abs_pearson)}
_REPORT_MEASURES = {
    f.__name__: f for f in (mse, l1, dssim, abs_pearson, edge_correlation, pointwise_r2)
}


@dataclass(frozen=True)
class DistanceTable:
    """Mean image distances by class and kind of pair; ``str()`` lays them out as a table.

    Attributes
    ----------
    rows : list of dict
        Each with ``class`` (a label, or "all"), ``pair``, ``n_pairs``, and the means of ``mse``,
        ``rmse``, ``l1``, ``dssim`` and ``abs_pearson`` over the pairs.
    """

    rows: list

    def __str__(self):
        """Aligned text."""
        return format_table(self.rows)

    def _repr_html_(self):
        return html_table(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Give what is in the report as plain values, such as JSON takes.

        Returns
        -------
        dict
            The ``rows``; None stands for NaN.
        """
        return plain_values(self)

    def to_frame(self) -> DataFrame:
        """Give the rows as a data frame.

        Returns
        -------
        pandas.DataFrame
            A column for each key of a row.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return data_frame(self.rows)


@dataclass(frozen=True)
class DistortionReport:
    """How well templates hide their images; ``str()`` lays it out as a table.

    Attributes
    ----------
    rows : list of dict
        One each for "template", "1-x", "constant", "noise" and others (under ``template``), with
        the means of ``mse``, ``l1``, ``dssim``, ``abs_pearson``, ``edge_correlation`` and
        ``pointwise_r2`` over all images, and ``inversion_ssim``: the mean SSIM, in [-1, 1], of
        held-out images with what a ridge regression makes of their templates.
    blind_ssim : float
        The mean SSIM of the same held-out images with the median training image, the guess of
        an attacker who has no template. An ``inversion_ssim`` above it is what the template
        gives away to this attack; a trained attack may get more.
    """

    rows: list
    blind_ssim: float

    def __str__(self):
        """Aligned text."""
        return f"{format_table(self.rows)}\n{self._note()}"

    def _note(self):
        return f"blind guess: inversion_ssim {self.blind_ssim:.4f}"

    def _repr_html_(self):
        return html_table(self.rows, note=self._note())

    def to_dict(self) -> dict[str, Any]:
        """Give what is in the report as plain values, such as JSON takes.

        Returns
        -------
        dict
            ``rows`` and ``blind_ssim``; None stands for NaN.
        """
        return plain_values(self)

    def to_frame(self) -> DataFrame:
        """Give the rows as a data frame.

        Returns
        -------
        pandas.DataFrame
            A column for each key of a row.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return data_frame(self.rows)


def trivial_templates(X01: ArrayLike, random_state: Seed) -> dict[str, NDArray[np.float32]]:
    """Make the trivial templates that any distortion has to be compared with.

    Parameters
    ----------
    X01 : array-like of shape (n_images, ...)
        Images, pixels in [0, 1].
    random_state : int, RandomState instance or None
        Draws the noise.

    Returns
    -------
    dict of str to ndarray of the shape of X01, dtype float32
        "1-x", the negative, which distorts much and hides nothing; "constant", mid-grey 0.5,
        and "noise", uniform in [0, 1], which hide everything and identify no one.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.metrics import trivial_templates
    >>> templates = trivial_templates(np.array([[0.0, 0.25]]), random_state=0)
    >>> for name, template in templates.items():
    ...     print(name, template.round(2))
    1-x [[1.   0.75]]
    constant [[0.5 0.5]]
    noise [[0.55 0.72]]
    """
    X01 = np.asarray(X01, dtype=np.float32)
    noise = check_random_state(random_state).uniform(size=X01.shape)
    return {
        "1-x": 1 - X01,
        "constant": np.full_like(X01, 0.5),
        "noise": noise.astype(np.float32),
    }


def distance_table(
    X: ArrayLike,
    X_distorted: ArrayLike,
    y: ArrayLike | None = None,
    *,
    image_shape: Sequence[int] | None = None,
    pixel_range: tuple[float, float] | None = None,
    others: Mapping[str, ArrayLike] | None = None,
    max_pairs: int = 2000,
    random_state: Seed = None,
) -> DistanceTable:
    """Tabulate the distances of paper A's Table 3, with the trivial templates left out there.

    Three kinds of pairs, for each class and for "all" of them together: "real-gen", an image and
    its own distorted version; "real-real" and "gen-gen", two different images of one class. For
    "all" also every image against the templates of :func:`trivial_templates`. Paper A's Table 3
    is the column ``mse``.

    Parameters
    ----------
    X : array-like of shape (n_images, n_features), (n_images, h, w) or (n_images, h, w, c)
        Original images.
    X_distorted : array-like of the same kind
        Their distorted versions, in the same order.
    y : array-like of shape (n_images,) or None, default=None
        Classes; None takes all images for one class and leaves only "all".
    image_shape : tuple of 2 or 3 int or None, default=None
        Shape of one image where the layout of `X` does not say it.
    pixel_range : tuple of 2 float or None, default=None
        Values of black and white, mapped to [0, 1]; None takes the extremes of `X`.
    others : dict of str to array-like, default=None
        Further templates of the same images to lay beside them, by name, in the units of `X`: such
        as those of :func:`skdistort.attacks.refined_carriers`.
    max_pairs : int, default=2000
        Most "real-real" and "gen-gen" pairs in a row, drawn without replacement; both rows use
        the same ones.
    random_state : int, RandomState instance or None, default=None
        Draws the pairs and the noise.

    Returns
    -------
    DistanceTable
        The rows. A class of one image has no "real-real" and no "gen-gen" row.

    Raises
    ------
    ValueError
        If the stacks differ in shape, leave `pixel_range`, or `pixel_range` is not rising; if `y`
        has another length, or `max_pairs` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.metrics import distance_table
    >>> X = np.random.default_rng(0).uniform(size=(4, 8, 8))
    >>> table = distance_table(X, 1 - X, pixel_range=(0, 1), random_state=0)
    >>> [row["pair"] for row in table.rows]
    ['real-gen', 'real-real', 'gen-gen', 'real-(1-x)', 'real-constant', 'real-noise']
    >>> round(table.rows[0]["abs_pearson"], 6)
    1.0
    """
    if max_pairs < 1:
        raise ValueError(f"max_pairs must be at least 1, got {max_pairs!r}.")
    rng = check_random_state(random_state)
    beside = _beside(X, others, image_shape, pixel_range)
    X, X_distorted = _unit_images(X, X_distorted, image_shape, pixel_range)
    labels = np.zeros(len(X), dtype=int) if y is None else as_labels(y, "y")
    if labels.shape != (len(X),):
        raise ValueError(f"y must have shape ({len(X)},), one for each image, got {labels.shape}.")
    groups = {} if y is None else {c: np.flatnonzero(labels == c) for c in np.unique(labels)}
    groups["all"] = np.arange(len(X))

    real_gen = _measure(X, X_distorted)
    rows = []
    for name, members in groups.items():
        own = {measure: values[members] for measure, values in real_gen.items()}
        rows.append(_row(name, "real-gen", own))
        left, right = _same_class_pairs(labels[members], max_pairs, rng)
        if left.size:
            left, right = members[left], members[right]
            rows.append(_row(name, "real-real", _measure(X[left], X[right])))
            rows.append(_row(name, "gen-gen", _measure(X_distorted[left], X_distorted[right])))
    for name, template in {**trivial_templates(X, rng), **beside}.items():
        pair = "real-(1-x)" if name == "1-x" else f"real-{name}"
        rows.append(_row("all", pair, _measure(X, template)))
    return DistanceTable(rows)


def ridge_inversion(
    T_train: ArrayLike, X_train: ArrayLike, T_test: ArrayLike, *, alpha: float = 1.0
) -> NDArray[np.float32]:
    """Reconstruct images from templates by ridge regression: the attack that takes no training.

    Parameters
    ----------
    T_train : array-like of shape (n_train, ...)
        Templates (or embeddings) whose images the attacker knows.
    X_train : array-like of shape (n_train, ...)
        Those images, pixels in [0, 1].
    T_test : array-like of shape (n_test, ...)
        Templates to invert.
    alpha : float, default=1.0
        Penalty on the squared weights, as in :class:`sklearn.linear_model.Ridge`.

    Returns
    -------
    ndarray of shape (n_test, *X_train.shape[1:]), dtype float32
        Reconstructions, clipped to [0, 1].

    Raises
    ------
    ValueError
        If `T_train` and `X_train` differ in length, or the templates in shape; from scikit-learn
        if anything is empty or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.metrics import mse, ridge_inversion
    >>> X = np.random.default_rng(0).uniform(size=(200, 4, 4, 1))
    >>> found = ridge_inversion(1 - X[:150], X[:150], 1 - X[150:])
    >>> bool(mse(X[150:], found).max() < 0.01)
    True
    """
    T_train, X_train, T_test = np.asarray(T_train), np.asarray(X_train), np.asarray(T_test)
    if len(T_train) != len(X_train):
        raise ValueError(
            f"T_train and X_train must have the same length, got {len(T_train)} and {len(X_train)}."
        )
    if T_train.shape[1:] != T_test.shape[1:]:
        raise ValueError(
            "T_train and T_test must hold templates of one shape, got "
            f"{T_train.shape[1:]} and {T_test.shape[1:]}."
        )
    unknown = T_test.reshape(len(T_test), -1).astype(np.float64)
    found = fit_ridge(T_train, X_train, alpha).predict(unknown)
    found = np.clip(found, 0, 1).astype(np.float32)
    return found.reshape(len(T_test), *X_train.shape[1:])


def distortion_report(
    X: ArrayLike,
    X_distorted: ArrayLike,
    *,
    image_shape: Sequence[int] | None = None,
    pixel_range: tuple[float, float] | None = None,
    others: Mapping[str, ArrayLike] | None = None,
    random_state: Seed = None,
) -> DistortionReport:
    """Compare templates with the trivial ones, by distance and by what they give away.

    A large distance with a large ``abs_pearson`` or ``pointwise_r2`` is a negative or another
    look-up table, with a large ``edge_correlation`` one that keeps the contours: the failures of
    paper A's Table 5. The inversion attack learns from one half of the images, drawn at random,
    and reconstructs the other.

    Parameters
    ----------
    X : array-like of shape (n_images, n_features), (n_images, h, w) or (n_images, h, w, c)
        Original images, at least two.
    X_distorted : array-like of the same kind
        Their templates, in the same order.
    image_shape : tuple of 2 or 3 int or None, default=None
        Shape of one image where the layout of `X` does not say it.
    pixel_range : tuple of 2 float or None, default=None
        Values of black and white, mapped to [0, 1]; None takes the extremes of `X`.
    others : dict of str to array-like, default=None
        Further templates of the same images to lay beside them, by name, in the units of `X`: such
        as those of :func:`skdistort.attacks.refined_carriers`.
    random_state : int, RandomState instance or None, default=None
        Draws the halves and the noise.

    Returns
    -------
    DistortionReport
        One row for the templates, one for each trivial template and each of `others`, and the
        blind guess.

    Raises
    ------
    ValueError
        If there are fewer than two images, the stacks differ in shape or leave `pixel_range`, or
        `pixel_range` is not rising.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.metrics import distortion_report
    >>> X = np.random.default_rng(0).uniform(size=(20, 4, 4))
    >>> report = distortion_report(X, X**2, pixel_range=(0, 1), random_state=0)
    >>> [row["template"] for row in report.rows]
    ['template', '1-x', 'constant', 'noise']
    >>> [round(row["pointwise_r2"]) for row in report.rows]
    [1, 1, 0, 0]
    """
    rng = check_random_state(random_state)
    beside = _beside(X, others, image_shape, pixel_range)
    X, X_distorted = _unit_images(X, X_distorted, image_shape, pixel_range)
    if len(X) < 2:
        raise ValueError(f"X must hold at least two images, got {len(X)}.")
    order = rng.permutation(len(X))
    known, held_out = order[: len(X) // 2], order[len(X) // 2 :]

    rows = []
    kinds = {"template": X_distorted, **trivial_templates(X, rng), **beside}
    for name, template in kinds.items():
        means = {measure: float(f(X, template).mean()) for measure, f in _REPORT_MEASURES.items()}
        found = ridge_inversion(template[known], X[known], template[held_out])
        rows.append({"template": name, **means, "inversion_ssim": _mean_ssim(X[held_out], found)})
    blind = np.broadcast_to(np.median(X[known], axis=0), X[held_out].shape)
    return DistortionReport(rows, _mean_ssim(X[held_out], blind))


def _unit_images(X, X_distorted, image_shape, pixel_range):
    """Bring originals and distorted images to (n, h, w, c) and to pixels in [0, 1]."""
    X, X_distorted = as_images(X, image_shape), as_images(X_distorted, image_shape)
    if len(X) == 0:
        raise ValueError("X holds no images.")
    if X.shape != X_distorted.shape:
        raise ValueError(
            f"X and X_distorted must hold images of one shape, got {X.shape} and "
            f"{X_distorted.shape}."
        )
    low, high = (X.min(), X.max()) if pixel_range is None else pixel_range
    if not low < high:
        raise ValueError(f"pixel_range must be rising, got ({low}, {high}).")
    # Refused here as well as by every measure, which would report the values after scaling.
    rounding = 1e-5 * (high - low)
    for name, images in (("X", X), ("X_distorted", X_distorted)):
        found = images.min(), images.max()
        if not (found[0] >= low - rounding and found[1] <= high + rounding):
            raise ValueError(
                f"{name} must lie in pixel_range=({low}, {high}), got values in "
                f"[{found[0]}, {found[1]}]; pass the pixel_range of both."
            )
    return to_unit_range(X, (low, high)), to_unit_range(X_distorted, (low, high))


def _beside(X, others, image_shape, pixel_range):
    """Bring further templates of X to (n, h, w, c) and to pixels in [0, 1]."""
    return {
        name: _unit_images(X, templates, image_shape, pixel_range)[1]
        for name, templates in (others or {}).items()
    }


def _measure(X, Y):
    """Every measure of the distance table, for every pair of images."""
    return {name: f(X, Y) for name, f in _TABLE_MEASURES.items()}


def _row(name, pair, values):
    """Average the measures of some pairs into a row of the distance table."""
    means = {measure: float(v.mean()) for measure, v in values.items()}
    label = name.item() if isinstance(name, np.generic) else name
    return {"class": label, "pair": pair, "n_pairs": values["mse"].size, **means}


def _same_class_pairs(labels, max_pairs, rng):
    """Draw pairs of different images of one class, uniformly and without replacement.

    Returns
    -------
    left, right : ndarray of shape (n_pairs,), int
        Positions in `labels`; every possible pair if there are no more than `max_pairs`.
    """
    order = np.argsort(labels, kind="stable")
    first = np.unique(labels[order], return_index=True)[1]
    last = np.repeat(np.append(first[1:], len(labels)), np.diff(np.append(first, len(labels))))
    # With equal labels side by side, a pair is its left image and one of those after it in the
    # class; numbering the pairs in this order spares listing them (1.8e8 on MNIST).
    partners = last - 1 - np.arange(len(labels))
    end = np.cumsum(partners)
    total = int(end[-1])
    number = sample_without_replacement(total, min(total, max_pairs), random_state=rng)
    left = np.searchsorted(end, number, side="right")
    right = left + 1 + number - (end - partners)[left]
    return order[left], order[right]


def _mean_ssim(X, Y):
    """Mean structural similarity of two stacks of images."""
    return float(np.mean(1 - 2 * dssim(X, Y)))
