"""Text layout of the tables that reports print.

What is in them does not live here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
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
    numeric = [isinstance(v, (int, float, tuple)) for v in rows[-1].values()]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def _cell(value):
    """Write a number to four places, one that is not known as "-", an interval as its ends."""
    if isinstance(value, tuple):
        return "-" if any(map(isnan, value)) else "..".join(f"{end:.3f}" for end in value)
    if isinstance(value, float):
        return "-" if isnan(value) else f"{value:.4f}"
    return "-" if value is None else str(value)
