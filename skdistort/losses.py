"""Training losses, each a pure function, and the Keras ``Loss`` objects that carry their margins.

The distances they are made of live in :mod:`skdistort.distances`, the choice of triplets in
:mod:`skdistort.mining`. Paper A is Zakharov, Kuznetsov and Frontoni, "Unrecognizable Yet
Identifiable: Image Distortion with Preserved Embeddings"; paper B is Khan and Hernando,
"Unsupervised Training of Siamese Networks for Speaker Verification" (Interspeech 2020).
"""

from ._backend import keras
from .distances import pairwise_squared_euclidean, squared_euclidean
from .mining import mine_triplets

ops = keras.ops


def triplet_loss(anchor, positive, negative, margin=0.2):
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


def batch_triplet_loss(labels, embeddings, margin=0.2, miner="semi-hard", seed=None):
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
    violations, mined = mine_triplets(distances, labels, margin, miner, seed)
    hinge = ops.relu(violations) * mined
    n_active = ops.sum(ops.cast(hinge > 0.0, hinge.dtype))
    return ops.sum(hinge) / ops.maximum(n_active, 1.0), n_active


def stacked_triplet_loss(embeddings, margin=0.2):
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
    hinge = triplet_loss(*ops.split(embeddings, 3, axis=0), margin=margin)
    return ops.mean(hinge), ops.sum(ops.cast(hinge > 0.0, hinge.dtype))


def distortion_loss(image_distance, embedding_distance, *, alpha=0.2, pi_emb=0.5):
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
