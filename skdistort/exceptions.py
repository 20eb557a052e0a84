"""Errors and warnings of skdistort: what comes in is not what was meant, what could not be done.

Classes only; they import nothing.
"""

__all__ = ["InputMismatchError", "InputMismatchWarning", "RenewalError"]


class InputMismatchError(ValueError):
    """A sample cannot be in the units of what ``fit`` saw, or cannot be compared at all.

    Parameters
    ----------
    message : str
        What to say.
    sample : int or None, default=None
        The number of the sample, from 0.
    seen : str or None, default=None
        What the sample is like.
    expected : str or None, default=None
        What it had to be like.

    Attributes
    ----------
    sample : int or None
        As given.
    seen, expected : str or None
        As given.

    Examples
    --------
    >>> from skdistort.exceptions import InputMismatchError
    >>> error = InputMismatchError("X[2] is blank", 2, "pixels of 0", "pixels from 0 to 255")
    >>> error.sample, error.seen, isinstance(error, ValueError)
    (2, 'pixels of 0', True)
    """

    def __init__(self, message, sample=None, seen=None, expected=None):
        super().__init__(message)
        self.sample = sample
        self.seen = seen
        self.expected = expected


class InputMismatchWarning(UserWarning):
    """What comes in may not be what was meant, or not in the units of what ``fit`` saw.

    Examples
    --------
    >>> import warnings
    >>> from skdistort.exceptions import InputMismatchWarning
    >>> warnings.simplefilter("error", InputMismatchWarning)  # to have none pass
    >>> warnings.resetwarnings()
    """


class RenewalError(RuntimeError):
    """Some templates could not be renewed, and stay as they were under their old key.

    Parameters
    ----------
    message : str
        What to say.
    failed : list of str
        The id of each template that stays, one for each.
    n_renewed : int
        How many others were renewed.

    Attributes
    ----------
    failed : list of str
        As given.
    n_renewed : int
        As given.

    Examples
    --------
    >>> from skdistort.exceptions import RenewalError
    >>> RenewalError("1 of 3 templates stays under its old key", ["ada"], 2).failed
    ['ada']
    """

    def __init__(self, message, failed, n_renewed):
        super().__init__(message)
        self.failed = failed
        self.n_renewed = n_renewed
