"""Pictures of distorted images and of verification errors, with matplotlib.

DET and ROC curves with axes of their own are in :mod:`skdistort.displays`; nothing is measured
here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from .displays import DetDisplay, import_matplotlib
from .images._layout import as_images, to_unit_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_overview(
    images: ArrayLike,
    templates: ArrayLike,
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    image_shape: Sequence[int] | None = None,
) -> Figure:
    """Draw originals above their templates, and DET curves beside them.

    Parameters
    ----------
    images, templates : array-like of shape (n, n_features), (n, h, w) or (n, h, w, c)
        Images and their distorted versions, one column each, at most ten. Of four channels the
        first three are drawn, as colours; of another number that is no colour, the mean.
    curves : dict of str to tuple of 2 ndarray
        By name, ``(fmr, fnmr)``, the first two of :func:`skdistort.metrics.det_points`.
    image_shape : tuple of int or None, default=None
        Shape of one image where the layout does not say it.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, to save or to show.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.plotting import plot_overview
    >>> X = np.random.default_rng(0).random((4, 8, 8))
    >>> curve = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.5, 0.5])
    >>> len(plot_overview(X, 1 - X, {"toy": curve}).axes)
    9
    """
    return plot_rows({"image": images, "template": templates}, curves, image_shape=image_shape)


def plot_rows(
    rows: Mapping[str, ArrayLike],
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    image_shape: Sequence[int] | None = None,
) -> Figure:
    """Draw rows of images, one below the other, and DET curves beside them.

    Parameters
    ----------
    rows : dict of str to array-like of shape (n, n_features), (n, h, w) or (n, h, w, c)
        By title, images of the same units: what was made of one image is in its column, of which
        ten at most are drawn. Channels are drawn as by :func:`plot_overview`.
    curves : dict of str to tuple of 2 ndarray
        As for :func:`plot_overview`.
    image_shape : tuple of int or None, default=None
        Shape of one image where the layout does not say it.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, of two subfigures, to save or to show.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistort.plotting import plot_rows
    >>> X = np.random.default_rng(0).random((4, 8, 8))
    >>> curve = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.5, 0.5])
    >>> len(plot_rows({"image": X, "template": 1 - X, "blind guess": 0 * X}, {"toy": curve}).axes)
    13
    """
    Figure = import_matplotlib("figure").Figure
    stacks = [as_images(stack, image_shape)[:10] for stack in rows.values()]
    pixel_range = min(s.min() for s in stacks), max(s.max() for s in stacks)
    stacks = [to_unit_range(stack, pixel_range) for stack in stacks]
    n_rows, n_columns = len(stacks), len(stacks[0])
    height = max(3.4, 0.2 + 1.15 * n_rows)
    figure = Figure(figsize=(0.9 * n_columns + 4, height), layout="constrained")
    grid, side = figure.subfigures(1, 2, width_ratios=(0.9 * n_columns, 4))
    axes = grid.subplots(n_rows, n_columns, squeeze=False)
    for row, stack, title in zip(axes, stacks, rows, strict=True):
        for axis, image in zip(row, stack, strict=True):
            # Room for what the row is called, which a title would take from the first column alone.
            axis.set_title(" ", fontsize="medium")
            # A row of pixels would be too thin to see.
            aspect = "equal" if max(image.shape[:2]) <= 8 * min(image.shape[:2]) else "auto"
            axis.imshow(_as_picture(image), cmap="gray", vmin=0, vmax=1, aspect=aspect)
            axis.set_axis_off()
        row[0].annotate(
            title, (0, 1), xytext=(0, 4), xycoords="axes fraction", textcoords="offset points"
        ).set_in_layout(False)
    plot_det(curves, side.subplots())
    return figure


def _as_picture(image):
    """Bring an image of any channels to what matplotlib draws: grey, or red, green and blue."""
    return image[:, :, :3] if image.shape[2] in (3, 4) else image.mean(axis=2)


def plot_det(curves: Mapping[str, tuple[ArrayLike, ArrayLike]], ax: Axes) -> None:
    """Draw DET curves on probit axes.

    Parameters
    ----------
    curves : dict of str to tuple of 2 ndarray
        By name, ``(fmr, fnmr)``.
    ax : matplotlib.axes.Axes
        Where to draw.
    """
    for name, (fmr, fnmr) in curves.items():
        DetDisplay(fmr=fmr, fnmr=fnmr, name=name).plot(ax)
