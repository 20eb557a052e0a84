"""How two branches are compared in training, and pairs of embeddings scored after it.

The networks are in :mod:`skdistort.networks`, the losses proper in :mod:`skdistort.losses`.
"""

import numpy as np
from sklearn.preprocessing import normalize

from .._backend import keras
from ..decision._pairs import refuse_without_length, score_in_blocks
from ..losses import pair_cross_entropy, stacked_triplet_loss


@keras.saving.register_keras_serializable(package="skdistort")
class BranchComparison(keras.Model):
    """The double branch in training: log-odds of client pairs, then of impostor pairs.

    Parameters
    ----------
    encoder : keras.Model
        Samples to embeddings.
    head : keras.Model
        Two embeddings, one after the other, to a log-odds.
    """

    def __init__(self, encoder, head):
        super().__init__(dtype="float32")
        self.encoder = encoder
        self.head = head

    def get_config(self):
        """Tell of both networks, so that other ones are trained by another step."""
        parts = {"encoder": self.encoder, "head": self.head}
        return {k: keras.saving.serialize_keras_object(part) for k, part in parts.items()}

    @classmethod
    def from_config(cls, config):
        """Make one of networks that are rebuilt."""
        return cls(*map(keras.saving.deserialize_keras_object, (config["encoder"], config["head"])))

    def call(self, x, training=None):
        """Compare anchors, clients and impostors that `x` stacks in thirds."""
        codes = self.encoder(x, training=training)
        anchors, clients, impostors = keras.ops.split(codes, 3, axis=0)
        orders = [
            (anchors, clients),
            (clients, anchors),
            (anchors, impostors),
            (impostors, anchors),
        ]
        pairs = [keras.ops.concatenate(order, axis=1) for order in orders]
        return self.head(keras.ops.concatenate(pairs, axis=0), training=training)


def pair_loss(_, logits):
    """Evaluate the double branch's loss of a batch.

    Parameters
    ----------
    _ : None
        There are no targets.
    logits : tensor of shape (4 n, 1)
        What :class:`BranchComparison` gives.

    Returns
    -------
    loss : tensor of shape ()
        Mean cross-entropy.
    parts : dict of str to tensor of shape ()
        ``"accuracy"``.
    """
    loss, accuracy = pair_cross_entropy(*keras.ops.split(logits, 2, axis=0))
    return loss, {"accuracy": accuracy}


def margin_loss(_, embeddings, margin):
    """Evaluate the triple branch's loss of a batch.

    Parameters
    ----------
    _ : None
        There are no targets.
    embeddings : tensor of shape (3 n, m)
        Anchors, clients and impostors, stacked.
    margin : float
        The triplet loss's margin.

    Returns
    -------
    loss : tensor of shape ()
        Mean hinge.
    parts : dict of str to tensor of shape ()
        ``"n_active_triplets"``.
    """
    loss, n_active = stacked_triplet_loss(embeddings, margin)
    return loss, {"n_active_triplets": n_active}


def score_by_cosine(codes, left, right):
    """Score pairs of embeddings by the cosine of their angle.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, m)
        Embeddings of unit length.
    left, right : ndarray of int, shape (n_pairs,)
        Rows of `codes`.

    Returns
    -------
    ndarray of shape (n_pairs,), dtype float32
        Cosines, in ``[-1, 1]``.

    Raises
    ------
    InputMismatchError
        If an embedding has no length.
    """
    refuse_without_length(codes)
    return score_in_blocks(
        lambda a, b: np.clip(np.einsum("ij,ij->i", codes[a], codes[b]), -1.0, 1.0), left, right
    )


def score_by_head(head, codes, left, right):
    """Score pairs of embeddings by a pair head, in both orders.

    Parameters
    ----------
    head : StoredNetwork
        Two embeddings, one after the other, to a log-odds.
    codes : ndarray of shape (n_samples, m)
        Embeddings.
    left, right : ndarray of int, shape (n_pairs,)
        Rows of `codes`.

    Returns
    -------
    ndarray of shape (n_pairs,), dtype float32
        Means of the log-odds of (left, right) and (right, left).
    """

    def score(a, b):
        orders = [np.concatenate([codes[i], codes[j]], axis=1) for i, j in ((a, b), (b, a))]
        return sum(head.predict(pairs, batch_size=4096)[:, 0] for pairs in orders) / 2

    return score_in_blocks(score, left, right)


def score_models_by_cosine(codes, models, probes):
    """Score each model, the mean of its embeddings, with each probe by the cosine of their angle.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, m)
        Embeddings of unit length.
    models : ndarray of int, shape (n_samples,)
        Model of each, numbered from 0 without a gap.
    probes : ndarray of shape (n_probes, m)
        Embeddings of unit length.

    Returns
    -------
    ndarray of shape (n_models, n_probes), dtype float32
        Cosines, in ``[-1, 1]``.

    Raises
    ------
    InputMismatchError
        If an embedding, or the mean of a model, has no length.
    """
    refuse_without_length(codes)
    refuse_without_length(probes)
    means = _means_of_models(models, codes)
    refuse_without_length(means)
    return np.clip(normalize(means) @ probes.T, -1.0, 1.0).astype(np.float32, copy=False)


def score_models_by_head(head, codes, models, probes):
    """Score each model with each probe by the mean of what a pair head says of its embeddings.

    Parameters
    ----------
    head : StoredNetwork
        Two embeddings, one after the other, to a log-odds.
    codes : ndarray of shape (n_samples, m)
        Embeddings.
    models : ndarray of int, shape (n_samples,)
        Model of each, numbered from 0 without a gap.
    probes : ndarray of shape (n_probes, m)
        Embeddings.

    Returns
    -------
    ndarray of shape (n_models, n_probes), dtype float32
        Means of log-odds.
    """
    left, right = np.indices((len(codes), len(probes))).reshape(2, -1)
    both = np.concatenate([codes, probes])
    scores = score_by_head(head, both, left, len(codes) + right)
    return _means_of_models(models, scores.reshape(len(codes), len(probes)))


def _means_of_models(models, values):
    """Average the rows of each model."""
    sums = np.zeros((models.max() + 1, values.shape[1]), dtype=values.dtype)
    np.add.at(sums, models, values)
    return sums / np.bincount(models)[:, None].astype(values.dtype)
