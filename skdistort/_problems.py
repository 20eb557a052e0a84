"""What is wrong with samples that are looked at one by one, all of it in one message.

Samples are files more often than not: who has a thousand of them wants to hear of all bad ones at
once. What a sample may be is the matter of who reads it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping


def raise_problems(problems: Mapping[int, Exception], n_samples: int, what: str) -> None:
    """Raise what is wrong with samples, all of it in one message.

    Parameters
    ----------
    problems : dict of int to Exception
        What is wrong, by index; if empty, nothing is raised.
    n_samples : int
        Samples looked at.
    what : str
        What to call samples, such as "utterances".

    Raises
    ------
    FileNotFoundError
        If nothing is wrong but that files are missing.
    InputMismatchError
        If nothing is wrong but that samples are in other units; of the first of them.
    ValueError
        Else.
    """
    if not problems:
        return
    in_order = [problems[i] for i in sorted(problems)]
    kind = type(in_order[0])
    # Those of the library's own that say which sample it is, and what was seen.
    telling = kind is FileNotFoundError or hasattr(in_order[0], "sample")
    if not telling or any(type(problem) is not kind for problem in in_order):
        kind = ValueError
    one = len(in_order) == 1
    error = kind(str(in_order[0]) if one else describe_problems(problems, n_samples, what))
    if kind is not ValueError:
        vars(error).update(vars(in_order[0]))
    raise error from in_order[0]


def describe_problems(problems: Mapping[int, Exception], n_samples: int, what: str) -> str:
    """Say what is wrong with samples, a line each.

    Parameters
    ----------
    problems : dict of int to Exception
        What is wrong, by index.
    n_samples : int
        Samples looked at.
    what : str
        What to call samples, such as "utterances".

    Returns
    -------
    str
        The lines, after one that counts them.
    """
    lines = [f"{len(problems)} of {n_samples} {what} cannot be used:"]
    return "\n  ".join(lines + [str(problems[i]) for i in sorted(problems)])


def warn_of_remarks(
    remarks: Mapping[int, Warning], n_samples: int, what: str, stacklevel: int
) -> None:
    """Warn of what may be wrong with samples: by the first remark, and how many there are.

    Parameters
    ----------
    remarks : dict of int to Warning
        What may be wrong, by index; if empty, nothing is warned of.
    n_samples : int
        Samples looked at.
    what : str
        What to call samples, such as "utterances".
    stacklevel : int
        Whose line the warning is of; 2 is the caller's.

    Warns
    -----
    UserWarning
        Of the class of the first remark.
    """
    if remarks:
        first = remarks[min(remarks)]
        others = f" ({len(remarks)} of {n_samples} such {what})" if n_samples > 1 else ""
        warnings.warn(f"{first}{others}", type(first), stacklevel=stacklevel)
