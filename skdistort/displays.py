"""Curves of verification errors in the style of scikit-learn's displays, with matplotlib.

What lives here draws error rates. The rates come from :func:`skdistort.metrics.det_points`;
pictures of templates are in :mod:`skdistort.plotting`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from .metrics import det_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from typing_extensions import Self

# Points of a curve that a figure can still show apart.
_MAX_POINTS = 2000
_TICKS = (1e-6, 1e-4, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999)
_VIEW_END = ndtri(0.8)


class _ErrorCurveDisplay:
    """What displays of the error rates at all thresholds share; see :class:`DetDisplay`."""

    if TYPE_CHECKING:
        line_: Any
        _coordinates: Callable[..., tuple[Any, Any]]
        _lay_out: Callable[[], None]

    def __init__(self, *, fmr: ArrayLike, fnmr: ArrayLike, name: str | None = None) -> None:
        self.fmr = fmr
        self.fnmr = fnmr
        self.name = name

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_score: ArrayLike,
        *,
        distances: bool = False,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Compute the curve of comparison scores, and draw it.

        Parameters
        ----------
        y_true : array-like of shape (n_pairs,), bool or 0/1
            True for a genuine pair.
        y_score : array-like of shape (n_pairs,)
            Comparison scores, finite, higher for more alike (lower if `distances`).
        distances : bool, default=False
            Whether `y_score` holds distances.
        name : str or None, default=None
            The curve's name in the legend; None leaves it out.
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a new figure.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display
            An instance of this class, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            As :func:`~skdistort.metrics.equal_error_rate`.
        """
        fmr, fnmr, _ = det_points(y_true, y_score, distances=distances)
        # The rejection of every pair, for which no score stands.
        display = cls(fmr=np.append(fmr, 0.0), fnmr=np.append(fnmr, 1.0), name=name)
        return display.plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw, beside what is there; None makes a new figure.
        name : str or None, default=None
            The curve's name in the legend; None takes that of the display.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display
            This display, with ``ax_``, ``figure_`` and ``line_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        name = self.name if name is None else name
        self.ax_ = import_matplotlib("pyplot").subplots()[1] if ax is None else ax
        self.figure_ = self.ax_.figure
        x, y = self._coordinates(*_distinguishable(np.asarray(self.fmr), np.asarray(self.fnmr)))
        (self.line_,) = self.ax_.plot(x, y, **{"label": name, **kwargs})
        self._lay_out()
        if name is not None:
            self.ax_.legend(fontsize="small")
        return self


class DetDisplay(_ErrorCurveDisplay):  # numpydoc ignore=PR02
    """Detection error tradeoff: FNMR over FMR, both on probit axes.

    Normally distributed scores give straight lines there, and small rates have as much room as
    large ones. A rate of 0, which such an axis cannot show, is drawn at half the curve's smallest
    other rate, and a rate of 1 likewise. The axes begin there, at half an error among all pairs,
    since nothing smaller can be measured; they end at 80 %, or beyond the highest equal error
    rate. ``ax_.set_xlim`` and ``ax_.set_ylim`` take probits, which is what is drawn, as by
    scikit-learn's ``DetCurveDisplay``.

    Parameters
    ----------
    fmr, fnmr : array-like of shape (n_points,)
        False match and false non-match rates, the one falling and the other rising.
    name : str or None, default=None
        The curve's name in the legend.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Where it is drawn.
    figure_ : matplotlib.figure.Figure
        The figure of `ax_`.
    line_ : matplotlib.lines.Line2D
        The curve.

    See Also
    --------
    skdistort.metrics.det_points : The rates.

    References
    ----------
    Martin, Doddington, Kamm, Ordowski, Przybocki, "The DET curve in assessment of detection task
    performance", Eurospeech (1997).

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from skdistort.displays import DetDisplay
    >>> y_true, y_score = [True, True, True, False, False], [0.9, 0.7, 0.4, 0.5, 0.2]
    >>> display = DetDisplay.from_predictions(y_true, y_score, ax=Figure().subplots())
    >>> display.ax_.get_xlabel()
    'FMR (%)'
    """

    @staticmethod
    def _coordinates(fmr, fnmr):
        return _probit(fmr), _probit(fnmr)

    def _lay_out(self):
        ticker = import_matplotlib("ticker")
        self.ax_.margins(0)
        for axis in (self.ax_.xaxis, self.ax_.yaxis):
            axis.set_major_locator(ticker.FixedLocator(ndtri(_TICKS)))
            axis.set_major_formatter(ticker.FixedFormatter([f"{100 * t:.6g}" for t in _TICKS]))
        self.ax_.set(xlabel="FMR (%)", ylabel="FNMR (%)")
        # Of a curve worse than chance at least the point of its equal error rate is in view.
        lines = (np.maximum(*line.get_data()) for line in self.ax_.lines)
        end = max(_VIEW_END, *(line.min() + 0.1 for line in lines if line.size))
        # Still automatic, so that the next curve on these axes can extend the lower end.
        self.ax_.set_xlim(right=end, auto=True)
        self.ax_.set_ylim(top=end, auto=True)


class RocDisplay(_ErrorCurveDisplay):  # numpydoc ignore=PR02
    """Receiver operating characteristic: the share of genuine pairs accepted over FMR.

    Parameters
    ----------
    fmr, fnmr : array-like of shape (n_points,)
        False match and false non-match rates, the one falling and the other rising.
    name : str or None, default=None
        The curve's name in the legend.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Where it is drawn; ``ax_.set_xscale("log")`` shows the low false match rates.
    figure_ : matplotlib.figure.Figure
        The figure of `ax_`.
    line_ : matplotlib.lines.Line2D
        The curve.

    See Also
    --------
    skdistort.metrics.det_points : The rates.

    References
    ----------
    ISO/IEC 19795-1, "Biometric performance testing and reporting".

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from skdistort.displays import RocDisplay
    >>> y_true, y_score = [True, True, True, False, False], [0.9, 0.7, 0.4, 0.5, 0.2]
    >>> display = RocDisplay.from_predictions(y_true, y_score, ax=Figure().subplots())
    >>> display.ax_.get_ylabel()
    '1 - FNMR'
    """

    @staticmethod
    def _coordinates(fmr, fnmr):
        return fmr, 1 - fnmr

    def _lay_out(self):
        self.ax_.set(xlabel="FMR", ylabel="1 - FNMR")


def import_matplotlib(module: str) -> ModuleType:
    """Import a module of matplotlib.

    Parameters
    ----------
    module : str
        Its name within matplotlib.

    Returns
    -------
    module
        What is called ``matplotlib.<module>``.

    Raises
    ------
    ImportError
        If matplotlib is not installed; names the extra that brings it.
    """
    try:
        return import_module(f"matplotlib.{module}")
    except ImportError as error:
        raise ImportError(
            "Drawing needs matplotlib: install it with `pip install 'skdistort[plot]'`."
        ) from error


def _probit(rates):
    """Take normal quantiles of rates, 0 and 1 moved half the way to the nearest other rate."""
    inside = rates[(rates > 0) & (rates < 1)]
    low, high = (inside.min() / 2, (1 + inside.max()) / 2) if inside.size else (0.25, 0.75)
    return ndtri(np.clip(rates, low, high))


def _distinguishable(fmr, fnmr):
    """Thin a curve to the points that a figure shows apart, on linear, log and probit axes."""
    # Along a curve one probit falls as the other rises, so their difference measures the way.
    way = _probit(fnmr) - _probit(fmr)
    kept = np.searchsorted(way, np.linspace(way[0], way[-1], _MAX_POINTS))
    kept = np.unique(np.concatenate(([0], kept, [way.size - 1])))
    return fmr[kept], fnmr[kept]
