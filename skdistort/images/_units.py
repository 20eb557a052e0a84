"""The units that images are in: what ``fit`` learns of them, and how later images are held to it.

Three numbers of each image tell: its darkest and its brightest pixel, and their mean. What ``fit``
keeps is how these are spread over the images, not two numbers of all. What cannot be in the same
units is refused, what may not be is warned of; limits are shares of what ``fit`` saw, and wide, so
that a dark photo is not refused. Keras-free.

Shapes and layouts are checked in `_arrays`, which calls all this.
"""

import warnings
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from ..exceptions import InputMismatchError, InputMismatchWarning

# Shares of images at which their numbers are kept.
_SHARES = (0.0, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0)

# How far a pixel may lie beyond the range that fit saw, in ranges; it may lie further where the
# extremes of the images differ, as of sounds. The range of [-1, 1] lies a whole one below [0, 1].
_FAR, _TOO_FAR = 0.4, 0.6
# No light makes a pixel darker than black.
_FAR_BELOW = 0.25
# Other units move many pixels, or many of those that are not ground, which is most of a thin
# stroke's image. A few of them lie far outside also where each column of rows was scaled by itself,
# as scikit-learn's scalers do: by up to the ratio of the units, but not by this.
_MANY_PIXELS, _MANY_BUT_GROUND, _ABSURD = 0.1, 0.5, 100
# How much narrower than usual an image's range may be. Units differ by a factor of 16 or more; an
# underexposed photo may span a fifth.
_NARROW, _TOO_NARROW = 6, 12
# The span of fewer pixels than these is a matter of chance.
_FEW_PIXELS = 16
# How far the mean, or the darkest pixel, may move up or down, in ranges.
_SHIFT = 0.35
# Fewer images than these do not tell what most of them are like.
_MANY = 10
# Share of a range that 9 of 10 images should use.
_LEAST_USED = 0.1
# Images that lie so far from the others are too many to be left out of the range.
_FEW = 0.01

_unchecked = ContextVar("images_not_held_to_units", default=False)


@contextmanager
def units_unchecked():
    """Do not hold images to the units of ``fit`` meanwhile: they are templates, no probes."""
    token = _unchecked.set(True)
    try:
        yield
    finally:
        _unchecked.reset(token)


def measure(images):
    """Measure what tells the units of images.

    Parameters
    ----------
    images : ndarray of shape (n_samples, ...)
        Images, finite.

    Returns
    -------
    ndarray of shape (3, n_samples), dtype float64
        Darkest pixel, brightest pixel and mean of each.
    """
    rows = images.reshape(len(images), -1)
    # A sum may leave float32; it belongs to a pixel that is refused.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array([rows.min(axis=1), rows.max(axis=1), rows.mean(axis=1)], dtype=np.float64)


def learn_units(measured):
    """Sum up the units of the images of ``fit``, and find those that would set the range alone.

    Parameters
    ----------
    measured : ndarray of shape (3, n_samples)
        What :func:`measure` gives.

    Returns
    -------
    units : dict of str to list of float
        ``"range"``, the darkest and the brightest pixel but for the outliers; ``"extremes"``,
        the same with them; ``"shares"``, and, at these shares of the images, their ``"lowest"``
        pixel, ``"highest"`` pixel, ``"mean"`` and ``"span"`` from lowest to highest.
    outliers : ndarray of int
        Numbers of the images that lie outside of the range: a few at most, and far.
    """
    lowest, highest, mean = measured
    kept = np.ones(len(lowest), dtype=bool)
    low, high = np.quantile(lowest, 0.1), np.quantile(highest, 0.9)
    width = high - low
    if 0 < width < _LEAST_USED * (highest.max() - lowest.min()):
        near = (lowest >= low - 3 * width) & (highest <= high + 3 * width)
        if np.count_nonzero(~near) <= max(1, _FEW * len(near)):
            kept = near
    numbers = {"lowest": lowest, "highest": highest, "mean": mean, "span": highest - lowest}
    units = {name: _quantiles(values[kept]) for name, values in numbers.items()}
    units["shares"] = list(_SHARES)
    units["range"] = [float(lowest[kept].min()), float(highest[kept].max())]
    units["extremes"] = [float(lowest.min()), float(highest.max())]
    return units, np.flatnonzero(~kept)


def warn_of_unused_range(units, outliers, pixel_range):
    """Warn where the images of ``fit`` use little of the range of their pixels.

    Parameters
    ----------
    units : dict
        What :func:`learn_units` gives.
    outliers : ndarray of int
        Images left out of it.
    pixel_range : tuple of 2 float or None
        The range that the user states, if he does.

    Warns
    -----
    InputMismatchWarning
        If 9 of 10 images lie within a tenth of the range, or an outlier was left out.
    """
    if len(outliers):
        _warn(
            f"X[{outliers[0]}] has pixels far outside of those of all other images, "
            f"{_span_of(units)}, and does not count for the range of pixels"
            f"{_and_others(len(outliers))}. Is a pixel defective?"
        )
    low, high = units["range"] if pixel_range is None else pixel_range
    darkest, brightest = _at(units, "lowest", 0.1), _at(units, "highest", 0.9)
    used = (brightest - darkest) / (high - low) if high > low else 1.0
    if 0 < used < _LEAST_USED:
        _warn(
            f"9 of 10 images of X lie between {darkest:g} and {brightest:g}, which is "
            f"{100 * used:.2g} % of {'their' if pixel_range is None else 'pixel_range, the'} range "
            f"{low:g} to {high:g}: other units, or an outlier?"
        )


def warn_of_one_image(measured, rows=None):
    """Warn where all images of ``fit`` are the same, so that nothing can be learned from them.

    Parameters
    ----------
    measured : ndarray of shape (3, n_samples)
        What :func:`measure` gives.
    rows : ndarray of shape (n_samples, n_features) or None, default=None
        The images; None where they are not in memory, of which only blank ones can be told.

    Warns
    -----
    InputMismatchWarning
        If they are.
    """
    lowest, highest, _ = measured
    alike = len(lowest) > 1 and (measured == measured[:, :1]).all()
    if alike and (lowest[0] == highest[0] if rows is None else (rows == rows[0]).all()):
        pixels = f", all pixels {lowest[0]:.4g}" if lowest[0] == highest[0] else ""
        _warn(f"All {len(lowest)} images of X are the same{pixels}: was the right array given?")


def _many_beyond(images, lowest, highest, low, high):
    """Tell which images have more than a few pixels outside of two values."""
    found = (lowest < low) | (highest > high)
    # Few images have any, so that the others need no second look.
    suspects = images[found].reshape(int(found.sum()), images[0].size)
    n_beyond = ((suspects < low) | (suspects > high)).sum(axis=1)
    n_of_ground = (suspects == lowest[found, None]).sum(axis=1)
    found[found] = (n_beyond >= _MANY_PIXELS * suspects.shape[1]) | (
        n_beyond >= _MANY_BUT_GROUND * (suspects.shape[1] - n_of_ground)
    )
    return found


def hold_to_units(units, images, first=0, doubts=True):
    """Hold images to the units of ``fit``.

    Parameters
    ----------
    units : dict
        What :func:`learn_units` gave.
    images : ndarray of shape (n_samples, height, width, channels)
        Images.
    first : int, default=0
        The number of the first one, for messages.
    doubts : bool, default=True
        Whether to warn, and to refuse what is blank; templates may look like no image.

    Raises
    ------
    InputMismatchError
        If one cannot be in the same units: many pixels are far beyond the range, one is absurdly
        far, or all pixels are nearly the same where that cannot be.

    Warns
    -----
    InputMismatchWarning
        If some may not be: darker, brighter or of less contrast than any that ``fit`` saw.
    """
    low, high = units["range"]
    if _unchecked.get() or not len(images) or low == high:
        return
    lowest, highest, mean = measure(images)
    width, span = high - low, highest - lowest
    usual, least = _at(units, "span", 0.5), _at(units, "span", 0.01)
    # Where the extremes of images differ much among themselves, later ones may differ more.
    above, below = high - _at(units, "highest", 0.5), _at(units, "lowest", 0.5) - low
    enough = images[0].size >= _FEW_PIXELS
    # What fit saw itself is not refused.
    darkest, brightest = units["extremes"]
    too_bright = max(brightest, high + _TOO_FAR * width + 3 * above)
    too_dark = min(darkest, low - _TOO_FAR * width - 3 * below)
    refused = (
        _many_beyond(images, lowest, highest, too_dark, too_bright)
        | (highest > max(brightest, high + _ABSURD * width))
        | (lowest < min(darkest, low - _ABSURD * width))
        | (
            ((span > 0) | doubts)
            & enough
            & (span < min(usual / _TOO_NARROW, least / 2, _at(units, "span", 0.0)))
        )
    )
    if refused.any():
        i = int(refused.argmax())
        seen = f"spans {lowest[i]:.4g} to {highest[i]:.4g}"
        if lowest[i] == highest[i]:
            seen = f"is blank, all pixels {lowest[i]:.4g}"
        raise InputMismatchError(
            f"X[{first + i}] {seen}, but fit saw {_span_of(units)}: other units?"
            f"{_and_others(int(refused.sum()))}",
            first + i,
            seen,
            _span_of(units),
        )
    if not doubts:
        return
    rather_bright, rather_dark = high + _FAR * width + above, low - _FAR_BELOW * width - below
    found = {
        "brighter": _many_beyond(images, lowest, highest, -np.inf, rather_bright)
        | (mean > _at(units, "mean", 0.99) + _SHIFT * width)
        | (lowest > _at(units, "lowest", 0.99) + _SHIFT * width),
        "darker": _many_beyond(images, lowest, highest, rather_dark, np.inf)
        | (mean < _at(units, "mean", 0.01) - _SHIFT * width),
        "of less contrast": enough & (span < min(usual / _NARROW, least / 1.5)),
    }
    for how, doubtful in found.items():
        if doubtful.any():
            i = int(doubtful.argmax())
            _warn(
                f"X[{first + i}], of {lowest[i]:.4g} to {highest[i]:.4g} and mean {mean[i]:.4g}, "
                f"is much {how} than the images of fit, which span {_span_of(units)}: other units?"
                f"{_and_others(int(doubtful.sum()))}"
            )
            return
    if len(images) >= _MANY:
        moved = np.median(mean) - _at(units, "mean", 0.5)
        raised = np.median(lowest) - _at(units, "lowest", 0.5)
        if max(abs(moved), raised) > _SHIFT * width or np.median(span) < usual / 8:
            _warn(
                f"Most images of X are much darker, brighter or of less contrast than those of "
                f"fit: pixels of {np.median(lowest):.4g} to {np.median(highest):.4g} and mean "
                f"{np.median(mean):.4g}, in fit {_at(units, 'lowest', 0.5):.4g} to "
                f"{_at(units, 'highest', 0.5):.4g} and {_at(units, 'mean', 0.5):.4g}: other units?"
            )


def _quantiles(values):
    # Not between two values: of a few images none would be as dark as the darkest.
    lower = np.quantile(values, _SHARES, method="lower")
    higher = np.quantile(values, _SHARES, method="higher")
    return np.where(np.less_equal(_SHARES, 0.5), lower, higher).tolist()


def _at(units, name, share):
    return units[name][units["shares"].index(share)]


def _span_of(units):
    low, high = units["range"]
    return f"{low:.4g} to {high:.4g}"


def _and_others(n):
    return f" ({n} such images in all)" if n > 1 else ""


def _warn(message):
    # Where in the caller's code it is depends on the way here; the message names the sample.
    warnings.warn(message, InputMismatchWarning, stacklevel=2)
