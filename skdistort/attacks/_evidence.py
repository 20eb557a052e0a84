"""What the sections of the protection report share: templates, embeddings, thresholds, verdicts.

Who attacks what with which knowledge is in :mod:`skdistort.attacks._sections`.
"""

import numpy as np

from ..metrics import pair_scores, verification_report
from ._measures import decision_thresholds, match_rate, reconstruction_quality

_STRICT = ("fmr_1%", "fmr_0.1%")


class Evidence:
    """The victims' and the attacker's images, and what the system makes of them.

    Parameters
    ----------
    system : AttackedSystem
        The system under attack.
    images : ndarray of shape (n_images, height, width, channels)
        The victims' images, pixels in ``[0, 1]``.
    labels : ndarray of shape (n_images,)
        Their subjects.
    attack_images : ndarray of shape (n_attack, height, width, channels)
        The attacker's own images.
    attack_labels : ndarray of shape (n_attack,) or None
        Their subjects, if the attacker knows them.

    Attributes
    ----------
    own : ndarray of shape (n_images, 1), int
        The row of each image, which what is made of it is not compared with.
    embeddings, held_out_embeddings : ndarray of shape (n_images, m), dtype float32
        F(X) and F'(X) of the victims.
    probes : ndarray of shape (n_images, m), dtype float32
        What their images are as probes, under the key for all.
    templates, template_embeddings : ndarray, dtype float32
        Their templates T under the key for all, and F(T).
    attack_embeddings, attack_templates, attack_template_embeddings : ndarray, dtype float32
        F(X), T and F(T) of the attacker's images, under the key for all.
    verification : list of dict
        Error rates of honest comparisons.
    thresholds : dict of str to dict of str to float
        Where F and F' decide on images, and where the "system" decides on templates.
    """

    def __init__(self, system, images, labels, attack_images, attack_labels):
        self.system = system
        self.images = images
        self.labels = labels
        self.attack_images = attack_images
        self.attack_labels = attack_labels
        self.own = np.arange(len(images))[:, None]
        self.held_out_embeddings = system.embed_held_out(images)
        self.embeddings = system.embed(images)
        self.probes = system.embed_probe(images)
        self.templates = system.templates(images)
        self.template_embeddings = system.embed(self.templates)
        self.attack_embeddings = system.embed(attack_images)
        self.attack_templates = system.templates(attack_images)
        self.attack_template_embeddings = system.embed(self.attack_templates)
        self.verification, self.thresholds = [], {}
        for name, embedder, *compared in (
            ("image - image", "F", self.embeddings, labels),
            ("image - image", "F'", self.held_out_embeddings, labels),
            ("image - template", "system", self.probes, labels, self.template_embeddings),
        ):
            # Not kept: the pairs take more memory than all else.
            pairs = pair_scores(*compared, exclude_same_index=embedder == "system")
            self.verification += verification_report({f"{embedder}, {name}": pairs}).rows
            self.thresholds[embedder] = decision_thresholds(*pairs)

    def judge(self, reconstructions, exclude):
        """Measure reconstructions of the victims' images, one for each, in pixels and as probes.

        Parameters
        ----------
        reconstructions : ndarray of the shape of images
            Pixels in ``[0, 1]``.
        exclude : ndarray of shape (n_images, k), int
            Images whose templates a reconstruction was made from.

        Returns
        -------
        dict of str to float
            Quality, and match rates under F and F'.
        """
        row = reconstruction_quality(self.images, reconstructions)
        for name, embed, embeddings in (
            ("F", self.system.embed, self.embeddings),
            ("F'", self.system.embed_held_out, self.held_out_embeddings),
        ):
            limits = [self.thresholds[name][rate] for rate in _STRICT]
            rates = match_rate(
                embed(reconstructions),
                self.labels,
                embeddings,
                self.labels,
                limits,
                exclude=exclude,
            )
            row |= {f"{name}_{rate}": float(r) for rate, r in zip(_STRICT, rates, strict=True)}
        return row
