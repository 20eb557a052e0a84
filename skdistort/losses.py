"""Training losses, each a pure function in ``keras.ops``.

The distances they are made of live in :mod:`skdistort.distances`, the choice of triplets in
:mod:`skdistort.mining`. Paper A is Zakharov, Kuznetsov and Frontoni, "Unrecognizable Yet
Identifiable: Image Distortion with Preserved Embeddings"; paper B is Khan and Hernando,
"Unsupervised Training of Siamese Networks for Speaker Verification" (Interspeech 2020).
"""

from __future__ import annotations

from typing import Literal

from ._backend import keras
from ._typing import Tensor
from .distances import pairwise_squared_euclidean, squared_euclidean
from .mining import mine_triplets

ops = keras.ops


def triplet_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 0.2) -> Tensor:
    """Triplet loss of given triplets.

    Parameters
    ----------
    anchor, positive, negative : tensor of shape (n, m)
        Embeddings.
    margin : float, default=0.2
        How much farther the negative has to be, ``mu``, in squared distance.

    Returns
    -------
    tensor of shape (n,)
        ``relu(d(a, p) - d(a, n) + margin)``, d the squared Euclidean distance.

    References
    ----------
    Paper A, eq. 4; paper B, eq. 1.

    Examples
    --------
    >>> from skdistort.losses import triplet_loss
    >>> float(triplet_loss([[0.0]], [[1.0]], [[1.0]], margin=0.25)[0])
    0.25
    """
    difference = squared_euclidean(anchor, positive) - squared_euclidean(anchor, negative)
    return ops.relu(difference + margin)


def batch_triplet_loss(
    labels: Tensor,
    embeddings: Tensor,
    margin: float = 0.2,
    miner: Literal["all", "hard", "random", "semi-hard"] = "semi-hard",
    seed: keras.random.SeedGenerator | int | None = None,
) -> tuple[Tensor, Tensor]:
    """Triplet loss of a labelled batch, averaged over the active mined triplets.

    Parameters
    ----------
    labels : tensor of shape (n,)
        Integer classes.
    embeddings : tensor of shape (n, m)
        Embeddings.
    margin : float, default=0.2
        The margin ``mu``.
    miner : {"all", "hard", "random", "semi-hard"}, default="semi-hard"
        See :func:`skdistort.mining.mine_triplets`.
    seed : keras.random.SeedGenerator, int or None, default=None
        For the ``"random"`` miner.

    Returns
    -------
    loss : tensor of shape ()
        Mean hinge of the mined triplets that violate the margin; 0 if none does.
    n_active : tensor of shape ()
        How many do.

    References
    ----------
    Paper A, eq. 4.

    Examples
    --------
    >>> from keras import ops
    >>> from skdistort.losses import batch_triplet_loss
    >>> loss, n = batch_triplet_loss(ops.array([0, 0, 1]), ops.ones((3, 2)), 0.25, miner="all")
    >>> float(loss), float(n)
    (0.25, 2.0)
    """
    distances = pairwise_squared_euclidean(embeddings)
    total, n_active = mine_triplets(distances, labels, margin, miner, seed)
    return total / ops.maximum(n_active, 1.0), n_active


def stacked_triplet_loss(embeddings: Tensor, margin: float = 0.2) -> tuple[Tensor, Tensor]:
    """Triplet loss of a batch that stacks anchors, positives and negatives in thirds.

    Parameters
    ----------
    embeddings : tensor of shape (3 n, m)
        n anchors, then their positives, then their negatives.
    margin : float, default=0.2
        The margin ``mu``.

    Returns
    -------
    loss : tensor of shape ()
        Mean of :func:`triplet_loss`.
    n_active : tensor of shape ()
        How many triplets violate the margin.

    References
    ----------
    Paper B, eq. 1.

    Examples
    --------
    >>> from keras import ops
    >>> from skdistort.losses import stacked_triplet_loss
    >>> loss, n = stacked_triplet_loss(ops.ones((6, 2)), margin=0.25)
    >>> float(loss), float(n)
    (0.25, 2.0)
    """
    hinge = triplet_loss(*ops.split(embeddings, 3, axis=0), margin=margin)  # type: ignore[misc]
    return ops.mean(hinge), ops.sum(ops.cast(hinge > 0.0, hinge.dtype))


def pair_cross_entropy(client_logits: Tensor, impostor_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of pairs known to be of one identity, and of two.

    Parameters
    ----------
    client_logits : tensor of shape (n, 1)
        Log-odds of one identity, for pairs that are.
    impostor_logits : tensor of shape (m, 1)
        The same, for pairs that are not.

    Returns
    -------
    loss : tensor of shape ()
        ``-log sigmoid(client)`` and ``-log sigmoid(-impostor)``, each averaged, then both.
    accuracy : tensor of shape ()
        Share of the pairs whose log-odds have the right sign, a tie counting as wrong.

    References
    ----------
    Paper B, section 2.2.

    Examples
    --------
    >>> from keras import ops
    >>> from skdistort.losses import pair_cross_entropy
    >>> loss, accuracy = pair_cross_entropy(ops.array([[50.0]]), ops.array([[-50.0]]))
    >>> round(float(loss), 6), float(accuracy)
    (0.0, 1.0)
    """
    loss = ops.mean(ops.softplus(-client_logits)) + ops.mean(ops.softplus(impostor_logits))
    correct = [ops.cast(client_logits > 0, loss.dtype), ops.cast(impostor_logits < 0, loss.dtype)]
    return loss / 2, ops.mean(ops.concatenate(correct, axis=0))


def am_softmax_loss(
    labels: Tensor, cosines: Tensor, scale: float = 30.0, margin: float = 0.2
) -> Tensor:
    """Additive-margin softmax: cross-entropy that wants the own class nearer by a margin.

    Parameters
    ----------
    labels : tensor of int, shape (n,)
        Classes.
    cosines : tensor of shape (n, n_classes)
        Cosines of the embeddings and the class centres.
    scale : float, default=30.0
        Factor s of the cosines.
    margin : float, default=0.2
        Margin m, in cosine.

    Returns
    -------
    tensor of shape (n,)
        ``-log softmax(s (cos - m [own class]))`` of the own class.

    References
    ----------
    Wang, Cheng, Liu and Liu, "Additive margin softmax for face verification", IEEE Signal
    Processing Letters 25 (2018), eq. 6. Paper B, section 3, names no s and m.

    Examples
    --------
    >>> from keras import ops
    >>> from skdistort.losses import am_softmax_loss
    >>> loss = am_softmax_loss(ops.array([0]), ops.array([[0.5, 0.3]]), scale=1.0, margin=0.2)
    >>> round(float(loss[0]), 4)  # the margin makes it a tie of two classes
    0.6931
    """
    own_class = ops.one_hot(labels, cosines.shape[-1], dtype=cosines.dtype)
    return cross_entropy(labels, scale * (cosines - margin * own_class))


def aam_softmax_loss(
    labels: Tensor, cosines: Tensor, scale: float = 30.0, margin: float = 0.2
) -> Tensor:
    """Additive angular margin softmax: cross-entropy that wants the own class nearer by an angle.

    Parameters
    ----------
    labels : tensor of int, shape (n,)
        Classes.
    cosines : tensor of shape (n, n_classes)
        Cosines of the embeddings and the class centres.
    scale : float, default=30.0
        Factor s of the cosines.
    margin : float, default=0.2
        Margin m, in radians.

    Returns
    -------
    tensor of shape (n,)
        ``-log softmax(s cos(theta + m [own class]))`` of the own class. Where ``theta + m`` is
        beyond pi, ``cos(theta) - m sin(m)`` stands in for its cosine, which would rise again.

    References
    ----------
    Deng, Guo, Xue and Zafeiriou, "ArcFace: additive angular margin loss for deep face recognition",
    CVPR 2019, eq. 3.

    Examples
    --------
    >>> from keras import ops
    >>> from skdistort.losses import aam_softmax_loss
    >>> cosines = ops.cos(ops.array([[0.8, 1.0]]))
    >>> loss = aam_softmax_loss(ops.array([0]), cosines, scale=1.0, margin=0.2)
    >>> round(float(loss[0]), 4)  # the margin makes it a tie of two classes
    0.6931
    """
    # As a product, without the rounding of a square near 1; the root's gradient at 0 is infinite.
    sines = ops.sqrt(ops.maximum((1.0 - cosines) * (1.0 + cosines), 1e-12))
    angle = ops.convert_to_tensor(margin, dtype=cosines.dtype)
    farther = ops.where(
        cosines > -ops.cos(angle),
        cosines * ops.cos(angle) - sines * ops.sin(angle),
        cosines - angle * ops.sin(angle),
    )
    own_class = ops.one_hot(labels, cosines.shape[-1], dtype=cosines.dtype)
    return cross_entropy(labels, scale * (cosines + own_class * (farther - cosines)))


def cross_entropy(labels: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of a softmax with the true classes.

    Parameters
    ----------
    labels : tensor of int, shape (n,)
        Classes.
    logits : tensor of shape (n, n_classes)
        Logits.

    Returns
    -------
    tensor of shape (n,)
        ``-log softmax(logits)`` of the own class.

    Examples
    --------
    >>> from keras import ops
    >>> from skdistort.losses import cross_entropy
    >>> round(float(cross_entropy(ops.array([0]), ops.array([[0.0, 0.0]]))[0]), 4)
    0.6931
    """
    return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def distortion_loss(
    image_distance: Tensor, embedding_distance: Tensor, *, alpha: float = 0.2, pi_emb: float = 0.5
) -> Tensor:
    """Loss of the distortion generator: far in pixels, near in embedding.

    Parameters
    ----------
    image_distance : tensor of shape (n,)
        ``d_img(X, G(X))``, any of :mod:`skdistort.distances`.
    embedding_distance : tensor of shape (n,)
        ``d_F(G(X), X) = ||F(G(X)) - F(X)||^2``.
    alpha : float, default=0.2
        Embedding distance that costs nothing.
    pi_emb : float, default=0.5
        Weight of the embedding term, in ``[0, 1]``.

    Returns
    -------
    tensor of shape (n,)
        ``-(1 - pi_emb) d_img + pi_emb relu(d_F - alpha)``.

    References
    ----------
    Paper A, eq. 7-9.

    Examples
    --------
    >>> from skdistort.losses import distortion_loss
    >>> [float(loss) for loss in distortion_loss([1.0], [1.5], alpha=0.5, pi_emb=0.25)]
    [-0.5]
    """
    hinge = ops.relu(ops.subtract(embedding_distance, alpha))
    return pi_emb * hinge - (1.0 - pi_emb) * ops.convert_to_tensor(image_distance)
