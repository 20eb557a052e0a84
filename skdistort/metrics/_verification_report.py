"""The verification table: error rates of several comparisons, side by side.

The rates are computed in `_verification`, the text is laid out in `_tables`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._tables import data_frame, format_table, html_table, plain_values
from ._verification import best_f1_threshold, equal_error_rate, fnmr_at_fmr

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class VerificationReport:
    """Error rates by comparison; ``str()`` lays them out as a table.

    Attributes
    ----------
    rows : list of dict
        Each with ``comparison``, ``genuine`` and ``impostor`` (numbers of pairs), ``eer``,
        ``fnmr_at_fmr_1%``, ``fnmr_at_fmr_0.1%`` and ``best_f1``, rates in ``[0, 1]``. The last
        is chosen on the same scores, so it is an upper bound. A rate at a false match rate that
        so few impostor pairs cannot show, below one over their number, is NaN.
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


def verification_report(
    comparisons: Mapping[str, tuple[Sequence[Any] | NDArray[Any], Sequence[Any] | NDArray[Any]]],
    *,
    distances: bool = False,
) -> VerificationReport:
    """Tabulate the error rates of several comparisons.

    Parameters
    ----------
    comparisons : dict of str to tuple of 2 ndarray
        By name, ``(y_true, y_score)`` as from :func:`pair_scores`.
    distances : bool, default=False
        Whether low scores mean the same identity.

    Returns
    -------
    VerificationReport
        A row for each comparison.

    Examples
    --------
    >>> from skdistort.metrics import verification_report
    >>> report = verification_report({"toy": ([True, True, False, False], [0.9, 0.4, 0.5, 0.1])})
    >>> report.rows[0]["eer"]
    0.5
    """
    rows = []
    for name, scores in comparisons.items():
        n_genuine = int(np.count_nonzero(scores[0]))
        n_impostor = len(scores[0]) - n_genuine
        at = {
            f"fnmr_at_fmr_{100 * rate:g}%": fnmr_at_fmr(*scores, rate, distances=distances)[0]
            if n_impostor * rate >= 1
            else np.nan
            for rate in (0.01, 0.001)
        }
        rows.append(
            {
                "comparison": name,
                "genuine": n_genuine,
                "impostor": n_impostor,
                "eer": equal_error_rate(*scores, distances=distances)[0],
                **at,
                "best_f1": best_f1_threshold(*scores, distances=distances)[0],
            }
        )
    return VerificationReport(rows)
