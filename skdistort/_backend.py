"""The one place that imports Keras, so that a missing backend is one clear sentence.

Which backend it is, is Keras's affair; nothing else of the package asks for one at import.
"""

try:
    import keras
except ImportError as error:
    raise ImportError(
        "skdistort needs a Keras backend and could not import one "
        f"({error}): install it with one of the extras, for example "
        "`pip install 'skdistort[tensorflow]'`, `'skdistort[torch]'` or `'skdistort[jax]'`; "
        "for torch and jax also set KERAS_BACKEND to that name."
    ) from error

__all__ = ["keras"]
