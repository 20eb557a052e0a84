"""Tables of reports: as text, as HTML, as plain values and as data frames.

Functions of rows, each a dict with the same keys as the others; what is in them does not live
here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from pandas import DataFrame

_Rows = Sequence[Mapping[str, Any]]


def format_table(rows: _Rows) -> str:
    """Lay out rows of the same keys as aligned text: words to the left, numbers to the right.

    Parameters
    ----------
    rows : list of dict
        At least one; the keys of the first are the heading, the types of the last the alignment.

    Returns
    -------
    str
        A line for the heading and one for each row.
    """
    lines = [list(rows[0])]
    for row in rows:
        lines.append([_cell(v) for v in row.values()])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numeric = _numeric(rows)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def html_table(rows: _Rows, caption: str = "", note: str = "") -> str:
    """Lay out rows as :func:`format_table` does, as a table of HTML.

    Nothing has a colour of its own, so that it can be read on a dark ground, and what is wider
    than the page scrolls.

    Parameters
    ----------
    rows : list of dict
        As for :func:`format_table`.
    caption, note : str, default=""
        Text above and below the table, which is not HTML.

    Returns
    -------
    str
        HTML, in which everything that comes from outside is escaped.

    Examples
    --------
    >>> from skdistort._tables import html_table
    >>> "<td>a &lt; b</td>" in html_table([{"name": "a < b"}])
    True
    """
    # Not by a style sheet, which some notebooks take out.
    styles = [' style="text-align:right"' if right else "" for right in _numeric(rows)]

    def line(tag, cells):
        marked = zip(cells, styles, strict=True)
        return f"<tr>{''.join(f'<{tag}{s}>{escape(c)}</{tag}>' for c, s in marked)}</tr>\n"

    above = f'<caption style="text-align:left">{escape(caption)}</caption>\n' if caption else ""
    below = f"<p>{escape(note)}</p>\n" if note else ""
    lines = "".join(line("td", map(_cell, row.values())) for row in rows)
    # With a tab stop, so that it scrolls by the keyboard too.
    return (
        f'<div style="overflow-x:auto" tabindex="0"><table>\n{above}'
        f"<thead>{line('th', rows[0])}</thead>\n<tbody>\n{lines}</tbody>\n</table></div>\n{below}"
    )


def plain_values(report: DataclassInstance) -> dict[str, Any]:
    """Give what a report holds as values that JSON knows.

    Parameters
    ----------
    report : dataclass
        Its attributes are numbers, of numpy too, texts, None, tuples, and lists of rows of these.

    Returns
    -------
    dict
        By the name of the attribute: None for NaN, a list for a tuple.

    Examples
    --------
    >>> from skdistort._tables import plain_values
    >>> from skdistort.metrics import VerificationReport
    >>> plain_values(VerificationReport([{"eer": float("nan"), "eer_95%": (0.0, 0.25)}]))
    {'rows': [{'eer': None, 'eer_95%': [0.0, 0.25]}]}
    """
    return _plain(asdict(report))


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and isnan(value) else value


def data_frame(rows: _Rows) -> DataFrame:
    """Put rows into a data frame of pandas.

    Parameters
    ----------
    rows : list of dict
        Rows; those that lack a key have nothing in its column.

    Returns
    -------
    pandas.DataFrame
        A column for each key, of an interval two: its name with ``_low`` and ``_high``.

    Raises
    ------
    ImportError
        If pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "A data frame needs pandas: install it with `pip install pandas`. to_dict() needs "
            "nothing."
        ) from error
    return pandas.DataFrame([dict(_split_intervals(row)) for row in rows])


def _split_intervals(row):
    """Give the columns of a row, those of an interval as two."""
    for key, value in row.items():
        if isinstance(value, tuple):
            yield from zip((f"{key}_low", f"{key}_high"), value, strict=True)
        else:
            yield key, value


def _numeric(rows):
    return [isinstance(v, (int, float, tuple)) for v in rows[-1].values()]


def _cell(value):
    """Write a number to four places, one that is not known as "-", an interval as its ends."""
    if isinstance(value, tuple):
        return "-" if any(map(isnan, value)) else "..".join(f"{end:.3f}" for end in value)
    if isinstance(value, float):
        return "-" if isnan(value) else f"{value:.4f}"
    return "-" if value is None else str(value)
