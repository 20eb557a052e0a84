"""What may serve as the frozen embedder F, brought to one form: a :class:`StoredNetwork`.

F takes images of shape ``(n, height, width, channels)`` in the units of the data.

How an embedder learns does not live here: see :mod:`skdistort.embedding`.
"""

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from .._backend import keras
from ..embedding import TripletEmbedder
from ..networks._stored import StoredNetwork


def check_embedder(embedder, image_shape):
    """Check an embedder before anything is trained.

    Parameters
    ----------
    embedder : None, TripletEmbedder, FrozenEstimator, keras.Model or keras.layers.Layer
        The parameter `embedder` of an estimator.
    image_shape : tuple of 3 int
        Height, width and channels of the images it will be given.

    Raises
    ------
    TypeError
        If it is of no such kind.
    ValueError
        If it takes images of another shape, or does not give one vector an image.
    sklearn.exceptions.NotFittedError
        If it is a FrozenEstimator of an embedder that is not fitted.
    """
    if embedder is None or isinstance(embedder, TripletEmbedder):
        return
    if isinstance(embedder, FrozenEstimator):
        inner = embedder.estimator
        if not isinstance(inner, TripletEmbedder):
            raise TypeError(
                "embedder must freeze a TripletEmbedder, got a FrozenEstimator of "
                f"{type(inner).__name__}."
            )
        check_is_fitted(inner)
        if inner.image_shape_ != image_shape:
            raise ValueError(
                f"embedder takes images of shape {inner.image_shape_}, X has {image_shape}."
            )
        return
    model = _as_model(embedder, image_shape)
    try:
        _ = StoredNetwork(model).model
    except Exception as error:
        raise ValueError(
            "embedder cannot be rebuilt from its configuration; a layer or model of your own needs "
            "get_config and keras.saving.register_keras_serializable, and a Lambda layer has to "
            f"become one. Keras says: {error}"
        ) from error


def fit_embedder(embedder, images, y, *, defaults):
    """Get the trained network F, training an embedder first where that is asked for.

    Parameters
    ----------
    embedder : None, TripletEmbedder, FrozenEstimator, keras.Model or keras.layers.Layer
        None trains a ``TripletEmbedder`` with the `defaults`; a ``TripletEmbedder`` is cloned
        and trained; anything else is used as it is.
    images : ndarray of shape (n_samples, height, width, channels)
        Images to train on.
    y : array-like of shape (n_samples,) or None
        Classes, if there are any.
    defaults : dict
        Parameters of the embedder that None stands for.

    Returns
    -------
    StoredNetwork
        The network F.
    """
    if embedder is None:
        return TripletEmbedder(**defaults).fit(images, y).network_
    if isinstance(embedder, TripletEmbedder):
        return clone(embedder).fit(images, y).network_
    if isinstance(embedder, FrozenEstimator):
        return embedder.estimator.network_
    return StoredNetwork(_as_model(embedder, images.shape[1:]))


def _as_model(embedder, image_shape):
    """Wrap a Keras model or layer as a functional model on images of that shape."""
    if not isinstance(embedder, keras.layers.Layer):
        raise TypeError(
            "embedder must be None, a TripletEmbedder, a FrozenEstimator of one, or a Keras model "
            f"or layer; got {type(embedder).__name__}."
        )
    inputs = keras.layers.Input(image_shape)
    try:
        outputs = embedder(inputs, training=False)
    except TypeError:
        outputs = embedder(inputs)
    except ValueError as error:
        raise ValueError(
            f"embedder does not take images of shape {image_shape}, which X has: {error}"
        ) from error
    if not isinstance(outputs, keras.KerasTensor) or len(outputs.shape) != 2:
        raise ValueError(
            "embedder must give one vector an image, (n, m); "
            f"for images of shape {image_shape} it gives {outputs}."
        )
    return keras.Model(inputs, outputs)
