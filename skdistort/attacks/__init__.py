"""Attacks on templates, and the report of what they achieve: inversion, entry, linkage, keys.

What lives here learns from an attacker's own images, of other subjects than the victims', and
measures what stolen templates then give away. Each attack is a plain function of embeddings or
images, or a small object with ``fit``; :func:`protection_report` runs them all against a fitted
:class:`skdistort.DistortionGenerator`. The error rates of honest comparisons and the estimate of
unlinkability do not live here: see :mod:`skdistort.metrics`. Other template protections to
compare with are in :mod:`skdistort.template_baselines`.
"""

from ._carriers import refined_carriers
from ._closed_form import (
    AffineInversion,
    BlindGuess,
    KernelInversion,
    NegationInversion,
    RidgeInversion,
)
from ._key_recovery import key_recovery_curve, recover_rotation, smallest_sufficient
from ._linkage import LinkagePairs, TemplateLinker, draw_linkage_pairs
from ._measures import (
    decision_thresholds,
    match_rate,
    paired_scores,
    reconstruction_quality,
    subject_interval,
    verdict,
)
from ._membership import Membership, membership
from ._network import NetworkInversion
from ._probes import choose_wolf, embedding_from_scores, key_search_scores, tries_to_accept
from ._report import ProtectionReport, protection_report
from ._subjects import pool_embeddings

__all__ = [
    "AffineInversion",
    "BlindGuess",
    "KernelInversion",
    "LinkagePairs",
    "Membership",
    "NegationInversion",
    "NetworkInversion",
    "ProtectionReport",
    "RidgeInversion",
    "TemplateLinker",
    "choose_wolf",
    "decision_thresholds",
    "draw_linkage_pairs",
    "embedding_from_scores",
    "key_recovery_curve",
    "key_search_scores",
    "match_rate",
    "membership",
    "paired_scores",
    "pool_embeddings",
    "protection_report",
    "reconstruction_quality",
    "recover_rotation",
    "refined_carriers",
    "smallest_sufficient",
    "subject_interval",
    "tries_to_accept",
    "verdict",
]
