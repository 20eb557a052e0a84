"""Samples that are looked at one by one, such as recordings and photos, on many processors.

What a sample is, and what is made of it, is the matter of the estimator; where the processors are
is that of joblib: threads, or what ``joblib.parallel_config`` names.
"""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend
from numpy.typing import NDArray

from ._problems import describe_problems, raise_problems, warn_of_remarks
from ._progress import Progress
from .exceptions import InputMismatchError

# So many for each worker, that one of them with large files does not hold up the rest; but no more
# samples in a part, which is what the bar moves by and what travels at a time.
_PARTS_PER_WORKER, _LARGEST_PART = 8, 32


@runtime_checkable
class SampleReader(Protocol):
    """An estimator that makes images of samples, of each for itself.

    Attributes
    ----------
    _sample_kind : str
        What to call samples, such as "photos".
    n_jobs : int or None
        Workers, in joblib's way of counting.
    """

    _sample_kind: str
    n_jobs: int | None

    def _check_samples(self, X: Any) -> tuple[list[Any], dict[int, Exception]]:
        """Check cheaply; the samples, None where there is a problem, and the problems by index.

        A sample has a `source`, which is an absolute path or what a file would hold, the `span` of
        it that is meant, and a `name` for messages.
        """

    def _make_images(
        self, samples: Sequence[Any]
    ) -> tuple[Any, dict[int, Exception], dict[int, Warning]]:
        """Make images, one after the other; problems and remarks by index.

        Images are those of the samples without a problem: an array, or a list of arrays.
        """


class CountedParallel(Parallel):
    """Let joblib's workers do tasks, and count in a bar what is done.

    Parameters
    ----------
    n_jobs : int or None
        Workers, in joblib's way of counting.
    progress : Progress
        The bar.
    size : int
        How much of it a task is; the last one may be less.
    in_process : bool, default=False
        Whether tasks cannot leave this process.
    """

    def __init__(self, n_jobs, progress, size, *, in_process=False):
        # A preference only: it gives way to what the caller chose.
        where = {"require": "sharedmem"} if in_process else {"prefer": "threads"}
        super().__init__(n_jobs=n_jobs, **where)
        self._progress, self._size, self._before = progress, size, progress.n_done

    def print_progress(self):
        """Draw the bar; joblib calls it after each task, wherever it was done."""
        done = min(self._before + self._size * self.n_completed_tasks, self._progress.n)
        if done > self._progress.n_done:
            self._progress.step(done - self._progress.n_done)


def shares_memory() -> bool:
    """Tell whether those whom :class:`CountedParallel` employs see what is in this process.

    Returns
    -------
    bool
        True for threads.
    """
    backend, _ = get_active_backend(prefer="threads")
    return getattr(backend, "supports_sharedmem", False)


def make_all(estimator: SampleReader, X: Any, verbose: bool | int = False) -> Any:
    """Make images of all samples, or say of which none can be made.

    Parameters
    ----------
    estimator : SampleReader
        What makes them, its parameters checked.
    X : list, tuple or ndarray
        The samples.
    verbose : bool or int, default=False
        Whether to draw a bar.

    Returns
    -------
    ndarray or list of ndarray
        The images.

    Raises
    ------
    ValueError, FileNotFoundError
        If there are problems, all of them in one message.

    Warns
    -----
    UserWarning
        If there are remarks, of the class of the first.
    """
    kind = estimator._sample_kind
    samples, problems = estimator._check_samples(X)
    # What costs nothing to find is told of before hours of decoding.
    raise_problems(problems, len(samples), kind)
    images, problems = _make(estimator, samples, problems, verbose)
    raise_problems(problems, len(samples), kind)
    return images


def make_usable(
    estimator: SampleReader, X: Any, verbose: bool | int = False
) -> tuple[Any, NDArray[np.bool_]]:
    """Make images of the samples of which they can be made.

    Parameters
    ----------
    estimator : SampleReader
        What makes them, its parameters checked.
    X : list, tuple or ndarray
        The samples.
    verbose : bool or int, default=False
        Whether to draw a bar.

    Returns
    -------
    images : ndarray or list of ndarray
        The images.
    usable : ndarray of shape (n_samples,), bool
        Of which samples they are.

    Raises
    ------
    ValueError, FileNotFoundError
        If no image can be made.

    Warns
    -----
    UserWarning
        If samples are left out, or there are remarks.
    """
    kind = estimator._sample_kind
    samples, problems = estimator._check_samples(X)
    images, problems = _make(estimator, samples, problems, verbose)
    usable = np.array([i not in problems for i in range(len(samples))])
    if not usable.any():
        raise_problems(problems, len(samples), kind)
    if problems:
        warnings.warn(describe_problems(problems, len(samples), kind), stacklevel=3)
    return images, usable


def make_part(
    estimator: SampleReader, samples: Sequence[Any]
) -> tuple[Any, dict[int, Exception], dict[int, Warning]]:
    """Make images of a few samples, perhaps on another machine.

    Parameters
    ----------
    estimator : SampleReader
        What makes them.
    samples : list
        What it checked.

    Returns
    -------
    images : ndarray or list of ndarray
        Images of the samples without a problem.
    problems : dict of int to Exception
        What is wrong, by index.
    remarks : dict of int to Warning
        What may be wrong, by index.

    Raises
    ------
    FileNotFoundError
        If a file that was there is not to be seen: who works here sees other disks.
    """
    for sample in samples:
        if isinstance(sample.source, str) and not os.path.isfile(sample.source):
            raise FileNotFoundError(
                f"{sample.name}: there is no file {sample.source!r} on {platform.node()}, where "
                "this part of the work is done. Every worker must see the files under the same "
                "paths."
            )
    return estimator._make_images(samples)


def _make(estimator, samples, problems, verbose):
    """Make images of the samples without a problem yet; add the problems found."""
    rows = [i for i, sample in enumerate(samples) if i not in problems]
    problems, remarks = dict(problems), {}
    images, n_images = None, 0
    progress = Progress(len(rows), estimator._sample_kind, verbose)
    for start, (some, found, remarked) in _parts(estimator, [samples[i] for i in rows], progress):
        remarks.update({rows[start + i]: remark for i, remark in remarked.items()})
        for i, problem in found.items():
            problems[rows[start + i]] = problem
            if isinstance(problem, InputMismatchError):
                problem.sample = rows[start + i]
        if isinstance(some, list):
            images = [] if images is None else images
            images += some
            continue
        if images is None:
            # Memory that is not written to yet is none: parts go one by one as this fills up.
            images = np.empty((len(rows), *some.shape[1:]), dtype=some.dtype)
        images[n_images : n_images + len(some)] = some
        n_images += len(some)
    warn_of_remarks(remarks, len(samples), estimator._sample_kind, stacklevel=4)
    return images if isinstance(images, list) or images is None else images[:n_images], problems


def _parts(estimator, samples, progress) -> Iterator[tuple[int, Any]]:
    """Go through what is made of the parts of samples, each forgotten here as it is given."""
    n_workers = effective_n_jobs(estimator.n_jobs)
    size = max(1, min(_LARGEST_PART, -(-len(samples) // (n_workers * _PARTS_PER_WORKER))))
    starts = range(0, len(samples), size)
    # Open files have one position, which no other process shares.
    in_process = any(hasattr(sample.source, "read") for sample in samples)
    parallel = CountedParallel(estimator.n_jobs, progress, size, in_process=in_process)
    found = parallel(
        delayed(make_part)(estimator, samples[start : start + size]) for start in starts
    )
    found.reverse()
    for start in starts:
        yield start, found.pop()
