"""Estimators in files that are safe to load: nothing in them is ever executed.

What lives here are the two functions that save and load, and the methods of the estimators that
call them. What a file may name is decided in `_classes` and, for networks, in `_networks`;
enrolled templates have their own file, :mod:`skdistort.templates`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from sklearn import __version__ as sklearn_version
from sklearn.base import BaseEstimator

from .._typing import FilePath
from .._version import __version__
from ._document import Decoder, Encoder
from ._file import read_model, write_model

__all__ = ["PersistenceMixin", "load", "save"]


def save(estimator: BaseEstimator, path: FilePath, *, with_keys: bool = False) -> None:
    """Save an estimator, fitted or not, to a file that :func:`load` reads on any Keras backend.

    Parameters
    ----------
    estimator : estimator
        One of this package, or one of scikit-learn's that holds such ones: a pipeline, a feature
        union, a column transformer or a frozen estimator, with the usual scalers, projections and
        imputers as steps.
    path : str or os.PathLike
        The file. One that is there is replaced when the new one is complete, and not before, and
        its mode kept; a new one is its owner's only.
    with_keys : bool, default=False
        Whether parameters that are keys are in the file, such as that of
        :class:`skdistort.DistortionGenerator`. Where they are left out they are None when it is
        loaded: set them then, by ``set_params``, from where keys are kept.

    Raises
    ------
    TypeError
        If it is no estimator, or a parameter or attribute, which is named, is something that only
        pickle can keep: a function, such as a `distance` of your own, a list of `callbacks`, a
        Lambda layer.
    ValueError
        If a pipeline has a cache, its parameter `memory`.
    OSError
        If the file cannot be written.

    Warns
    -----
    UserWarning
        If :func:`load` will need `trusted`, being told to trust a class, layer or function, or
        `embedder`, the code of a torch module.

    Notes
    -----
    The file holds JSON, the bytes of arrays and a checksum. What a key was made into is in it, be
    the key or not: a fitted :class:`~skdistort.template_baselines.BioHashing` is as secret as its
    file. A pickle holds the key, too.

    A generator of random numbers is saved in its present state.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.pipeline import make_pipeline
    >>> from skdistort import PLDA
    >>> from skdistort.persistence import load, save
    >>> X, y = load_digits(return_X_y=True)
    >>> pipeline = make_pipeline(PCA(20), PLDA()).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "digits.skdistort")
    ...     save(pipeline, path)
    ...     again = load(path)
    >>> bool((again.transform(X) == pipeline.transform(X)).all())
    True
    """
    if not isinstance(estimator, BaseEstimator):
        raise TypeError(f"estimator must be an estimator, got {type(estimator).__name__}.")
    encoder = Encoder(with_keys=with_keys)
    node = encoder.encode(estimator, type(estimator).__name__)
    document = {
        "written_by": {"skdistort": __version__, "scikit-learn": sklearn_version},
        "networks": encoder.networks,
        "estimator": node,
    }
    write_model(path, document, encoder.arrays)
    if encoder.modules:
        warnings.warn(
            f"{os.fspath(path)!r} holds the weights of {encoder.modules[0]}, a torch module, and "
            "not its code: load(path, embedder=module) takes that.",
            UserWarning,
            stacklevel=2,
        )
    if encoder.refusals:
        warnings.warn(
            f"{os.fspath(path)!r} can be loaded with trusted=[...] only: "
            f"{'; '.join(encoder.refusals)}.",
            UserWarning,
            stacklevel=2,
        )


def load(
    path: FilePath,
    *,
    trusted: Sequence[type | Callable[..., Any]] = (),
    embedder: Any = None,
) -> Any:
    """Load an estimator that :func:`save` wrote, without executing anything the file holds.

    Classes are looked up in a list of those that compute with their arrays and parameters alone,
    the layers of a network likewise, and everything is checked before it is built. Pickle and
    joblib run whatever a file says: load them from sources that you trust only.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    trusted : sequence of type or callable, default=()
        What the file may name beside the classes of that list: classes of estimators, and layers
        and functions that are registered with ``keras.saving.register_keras_serializable``. They
        run on data of the file, so give only what bears that.
    embedder : torch.nn.Module or None, default=None
        The module that is the embedder of the estimator, if it is one: files hold no code. Its
        weights are taken from the file, and what it then computes is compared with what it computed
        when the estimator was saved. It stays as it is itself.

    Returns
    -------
    estimator
        The estimator.

    Raises
    ------
    ValueError
        If the file is damaged, is no such file, is of another release's layout, or names what
        is not trusted; or if `embedder` is needed and not given, given and not needed, or another
        function than the one saved. The message has the path and what is wrong.
    TypeError
        If `trusted` holds something else.
    OSError
        If the file cannot be read.

    Warns
    -----
    sklearn.exceptions.InconsistentVersionWarning
        If another release of scikit-learn fitted one of its estimators.

    Notes
    -----
    The checksum in the file shows damage, not forgery: whoever can write the file can write a
    checksum. A forged file cannot run code, but it can hold another model than you think, or one
    that needs more memory than there is.

    Examples
    --------
    See :func:`save`.
    """
    trusted = tuple(trusted)
    for item in trusted:
        if not callable(item):
            raise TypeError(f"trusted must hold classes, or registered functions, got {item!r}.")
    try:
        document, payload = read_model(path)
        decoder = Decoder(document["networks"], payload, trusted, embedder)
        estimator = decoder.decode(document["estimator"])
        if not isinstance(estimator, BaseEstimator):
            raise ValueError("it holds no estimator")
        if embedder is not None and not decoder.embedder_wanted:
            raise ValueError("embedder is given, and nothing in it needs one")
        return estimator
    except (OSError, ImportError, Warning):
        raise
    # What a forged file can make go wrong is past listing.
    except Exception as error:
        reason = str(error) if isinstance(error, ValueError) else repr(error)
        raise ValueError(f"{os.fspath(path)!r} cannot be loaded: {reason}.") from error


class PersistenceMixin:
    """Methods that save an estimator and load it, see :func:`save` and :func:`load`."""

    def save(self, path, *, with_keys=False):
        """Save the estimator, see :func:`skdistort.persistence.save`.

        Parameters
        ----------
        path : str or os.PathLike
            The file; one that is there is replaced.
        with_keys : bool, default=False
            Whether parameters that are keys are in the file; they are None in what is loaded
            otherwise.
        """
        save(self, path, with_keys=with_keys)

    @classmethod
    def load(cls, path, *, trusted=(), embedder=None):
        """Load an estimator of this class, see :func:`skdistort.persistence.load`.

        Parameters
        ----------
        path : str or os.PathLike
            The file.
        trusted : sequence of type or callable, default=()
            What the file may name beside what is known to be safe.
        embedder : torch.nn.Module or None, default=None
            The code of the embedder, if that is a torch module.

        Returns
        -------
        estimator
            The estimator.

        Raises
        ------
        ValueError
            If the file holds another class, or as :func:`skdistort.persistence.load`.
        """
        estimator = load(path, trusted=trusted, embedder=embedder)
        if not isinstance(estimator, cls):
            raise ValueError(
                f"{os.fspath(path)!r} holds a {type(estimator).__name__}, not a {cls.__name__}: "
                "skdistort.persistence.load takes any estimator."
            )
        return estimator
