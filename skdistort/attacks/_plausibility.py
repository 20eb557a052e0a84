"""What a protection report cannot be meant to be of: attackers who are victims, an F' that is F.

What is refused here would print figures that say nothing; what may be meant is warned of.
"""

import warnings

import numpy as np
from sklearn.metrics import euclidean_distances

from ..exceptions import InputMismatchError, InputMismatchWarning

# Share of the victims' images that the attacker may have and still be called another.
_TOO_MANY = 0.5
# Images on which F and F' are compared.
_N_COMPARED = 300
# Correlation of the distances under F and under F' above which the latter tells nothing new.
_SAME_DISTANCES, _LIKE_DISTANCES = 0.99999, 0.99


def check_attacker(images, labels, attack_images, attack_labels):
    """Refuse an attacker who has the victims' images, and warn of one who may know them.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width, channels)
        The victims' images.
    labels : ndarray of shape (n_images,)
        Their subjects.
    attack_images : ndarray of shape (n_attack, height, width, channels)
        The attacker's own.
    attack_labels : ndarray of shape (n_attack,) or None
        Their subjects, if they are known.

    Raises
    ------
    InputMismatchError
        If he has half of the victims' images or more.

    Warns
    -----
    InputMismatchWarning
        If he has some of them, or images of the same subjects.
    """
    known = {image.tobytes() for image in attack_images}
    shared = np.flatnonzero([image.tobytes() in known for image in images])
    if shared.size >= _TOO_MANY * len(images):
        raise InputMismatchError(
            f"X_attack holds {shared.size} of the {len(images)} images of X, the first of them "
            f"X[{shared[0]}]: the attacker would learn from what he attacks. Give him images of "
            "other subjects.",
            int(shared[0]),
            f"{shared.size} images in common",
            "none",
        )
    if shared.size:
        warnings.warn(
            f"X_attack holds {shared.size} of the {len(images)} images of X, the first of them "
            f"X[{shared[0]}]: what the attacker knows of the victims counts as leaked.",
            InputMismatchWarning,
            stacklevel=3,
        )
    common = (
        [] if attack_labels is None else sorted(set(labels.tolist()) & set(attack_labels.tolist()))
    )
    if common:
        warnings.warn(
            f"y and y_attack share {len(common)} of the {np.unique(labels).size} subjects of y, "
            f"such as {common[0]!r}: what the attacker knows of the victims counts as leaked. Give "
            "other people other labels.",
            InputMismatchWarning,
            stacklevel=3,
        )


def check_held_out(embeddings, held_out_embeddings):
    """Refuse an F' that is F, whatever its scale or rotation, and warn of one that may be.

    Parameters
    ----------
    embeddings, held_out_embeddings : ndarray of shape (n_images, m) and (n_images, m')
        F(X) and F'(X).

    Raises
    ------
    InputMismatchError
        If both give the same embeddings, or the same distances.

    Warns
    -----
    InputMismatchWarning
        If their distances are nearly the same.
    """
    rows = np.linspace(0, len(embeddings) - 1, min(len(embeddings), _N_COMPARED)).astype(int)
    above = np.triu_indices(len(rows), 1)
    F, held_out = (
        euclidean_distances(Z[rows].astype(np.float64))[above]
        for Z in (embeddings, held_out_embeddings)
    )
    if len(F) < 2 or not (F.std() and held_out.std()):
        return
    correlation = np.corrcoef(F, held_out)[0, 1]
    if correlation > _SAME_DISTANCES:
        raise InputMismatchError(
            "embedder is the generator's own F: under both X has the same distances (correlation "
            f"{correlation:.6f}). What deceives F would pass for showing the subject; give an "
            "embedder that was trained apart.",
            None,
            f"distances of correlation {correlation:.6f}",
            "another embedder than F",
        )
    if correlation > _LIKE_DISTANCES:
        warnings.warn(
            f"embedder may be the generator's own F: the distances of X under both have a "
            f"correlation of {correlation:.4f}.",
            InputMismatchWarning,
            stacklevel=3,
        )
