"""The sections of the protection report: who attacks what, with which knowledge.

Each function gives rows of a table. The attacks themselves are the other modules'; what they are
fed and judged by is :class:`skdistort.attacks._evidence.Evidence`.
"""

import numpy as np

from ..keys import rotate_embeddings
from ..metrics import unlinkability
from ..training._batches import spawn_rng
from ._closed_form import (
    AffineInversion,
    BlindGuess,
    KernelInversion,
    NegationInversion,
    RidgeInversion,
)
from ._key_recovery import key_recovery_curve
from ._linkage import TemplateLinker, draw_linkage_pairs
from ._measures import match_rate, paired_scores
from ._network import NetworkInversion
from ._subjects import draw_companions, pool_embeddings


def invert(evidence, training, rng):
    """Reconstruct the victims' images by every attack, and by the two ends of the scale.

    Parameters
    ----------
    evidence : Evidence
        What is stolen and known.
    training : dict
        Parameters of the attacks that train a network.
    rng : numpy.random.RandomState
        Source of randomness.

    Returns
    -------
    list of dict
        A row for each attack and state of the key; the ends of the scale first and last.
    """

    def attempt(attack, known, stolen):
        found = attack.fit(known, evidence.attack_images).reconstruct(stolen)
        return evidence.judge(found, evidence.own)

    def network():
        return NetworkInversion(**training, random_state=spawn_rng(rng))

    embedded = {"kernel ridge": KernelInversion, "decoder": network}
    plain = evidence.attack_embeddings, evidence.embeddings
    rows = [_inversion_row("blind guess", "nothing", "-", attempt(BlindGuess(), *plain))]
    for key, known, stolen in _states_of_the_key(evidence):
        for name, attack in (
            ("negation", NegationInversion()),
            ("affine per pixel", AffineInversion()),
            ("ridge", RidgeInversion()),
            ("kernel ridge", KernelInversion()),
            ("U-Net", network()),
        ):
            rows.append(_inversion_row(name, "T", key, attempt(attack, known[0], stolen[0])))
        for name, make in embedded.items():
            found = attempt(make(), known[1], stolen[1])
            rows.append(_inversion_row(name, "F(T)", key, found))
    # The limit: what F(X) itself gives away.
    for name, make in embedded.items():
        rows.append(_inversion_row(name, "F(X)", "-", attempt(make(), *plain)))
    return rows


def replay(evidence):
    """Present stolen templates, and honest probes beside them, to the system.

    A probe F(template) is one that gets past the key, to the comparison itself.

    Parameters
    ----------
    evidence : Evidence
        What is stolen.

    Returns
    -------
    list of dict
        Shares accepted at each threshold, a row for each probe and store.
    """
    system, enrolled = evidence.system, evidence.template_embeddings
    limits = np.array(list(evidence.thresholds["system"].values()))

    def row(probe, store, shares):
        names = evidence.thresholds["system"]
        return {"probe": probe, "store": store, **dict(zip(names, map(float, shares), strict=True))}

    def against_others(probes):
        labels = evidence.labels
        return match_rate(probes, labels, enrolled, labels, limits, exclude=evidence.own)

    def against_own(probes, templates):
        return np.mean(paired_scores(probes, templates) >= limits[:, None], axis=1)

    rows = [row("image", "template of another image", against_others(evidence.probes))]
    if not system.keyed:
        replayed = system.embed_probe(evidence.templates)
        return [
            *rows,
            row("template", "the same template", against_own(replayed, enrolled)),
            row("template", "template of another image", against_others(replayed)),
        ]
    # A key for each record: what a single one does is a matter of luck.
    old_keys, new_keys = (system.fresh_keys(len(evidence.images)) for _ in range(2))
    stolen, reissued = (system.templates(evidence.images, keys) for keys in (old_keys, new_keys))
    stolen_embedded, reissued_embedded = system.embed(stolen), system.embed(reissued)
    # What embed_probe gives, with each image embedded once.
    wrong = rotate_embeddings(evidence.embeddings, new_keys)
    same_key, new_key = (rotate_embeddings(stolen_embedded, k) for k in (old_keys, new_keys))
    return [
        *rows,
        row("image, wrong key", "template of another image", against_others(wrong)),
        row("template", "the same template", against_own(same_key, stolen_embedded)),
        row("template", "reissued, new key", against_own(new_key, reissued_embedded)),
        row("F(template)", "reissued, new key", against_own(stolen_embedded, reissued_embedded)),
    ]


def link(evidence, *, n_key_pairs, max_pairs, rng):
    """Link templates under different keys, or without keys those of two images of a subject.

    Parameters
    ----------
    evidence : Evidence
        What is stolen and known.
    n_key_pairs : int
        Pairs of keys that the scores are pooled over where one key serves all records.
    max_pairs : int
        The most mated, and the most non-mated pairs.
    rng : numpy.random.RandomState
        Source of randomness.

    Returns
    -------
    list of dict
        D_sys of the distance and of the trained linker, for each use of keys.
    """
    keyed = evidence.system.keyed
    uses = {"one per record": None, "one for all": n_key_pairs} if keyed else {"none": None}
    attack_labels = evidence.attack_labels
    if attack_labels is None and keyed:
        # Mated templates are of one image: labels serve to tell other subjects only.
        attack_labels = np.arange(len(evidence.attack_images))
    rows = []
    for keys, n_pairs in uses.items():

        def make_pairs(images, labels, n_pairs=n_pairs):
            pairs = draw_linkage_pairs(
                labels,
                same_image=keyed,
                n_key_pairs=n_pairs,
                max_pairs=max_pairs,
                random_state=rng,
            )
            return pairs.mated, *_stolen_views(evidence.system, images, pairs)

        mated, left, right = make_pairs(evidence.images, evidence.labels)
        scores = {"distance": paired_scores(left[0], right[0])}
        if attack_labels is not None:
            own_mated, *own = make_pairs(evidence.attack_images, attack_labels)
            linker = TemplateLinker(random_state=spawn_rng(rng)).fit(*own, own_mated)
            scores["trained"] = linker.score_pairs(left, right)
        for linker, values in scores.items():
            found = unlinkability(mated, values, random_state=spawn_rng(rng))
            rows.append(
                {
                    "keys": keys,
                    "linker": linker,
                    "mated": int(mated.sum()),
                    "d_sys": found.d_sys,
                    "corrected": found.corrected,
                    "null_mean": found.null_mean,
                    "p_value": found.p_value,
                }
            )
    return rows


def recover_key(evidence, rng):
    """Recover the key for all from records of the attacker's own, more and more of them.

    Parameters
    ----------
    evidence : Evidence
        What is stolen and known.
    rng : numpy.random.RandomState
        Source of randomness.

    Returns
    -------
    curve : list of dict
        As from :func:`skdistort.attacks.key_recovery_curve`.
    limit : float
        The match rate where the key itself is known.
    """
    threshold = evidence.thresholds["F"]["fmr_1%"]
    curve = key_recovery_curve(
        evidence.attack_embeddings,
        evidence.attack_template_embeddings,
        evidence.template_embeddings,
        evidence.labels,
        evidence.embeddings,
        threshold,
        random_state=rng,
    )
    # Rotating both sides changes no distance: the probes stand for templates rotated back.
    limit = match_rate(
        evidence.template_embeddings,
        evidence.labels,
        evidence.probes,
        evidence.labels,
        threshold,
        exclude=evidence.own,
    )
    return curve, limit


def multiply(evidence, multiplicities, training, rng):
    """Invert several templates of a subject at once.

    Of a keyless generator they are those of several images; of a keyed one, those of one image
    under as many keys that the attacker does not have.

    Parameters
    ----------
    evidence : Evidence
        What is stolen and known.
    multiplicities : sequence of int
        How many templates.
    training : dict
        Parameters of the decoder.
    rng : numpy.random.RandomState
        Source of randomness.

    Returns
    -------
    list of dict
        A row for each number and way of pooling.
    """
    system = evidence.system
    k_most = max(multiplicities)
    if system.keyed:
        known, stolen = (
            np.stack([_embed_under_fresh_keys(system, images) for _ in range(k_most)], axis=1)
            for images in (evidence.attack_images, evidence.images)
        )
        sources = np.repeat(evidence.own, k_most, axis=1)
    else:
        sources = draw_companions(evidence.labels, k_most, rng)
        known_sources = draw_companions(evidence.attack_labels, k_most, rng)
        known = evidence.attack_template_embeddings[known_sources]
        stolen = evidence.template_embeddings[sources]
    rows = []
    for k in multiplicities:
        for pooling in ("mean", "stacked")[: 1 + (k > 1)]:
            attack = NetworkInversion(**training, random_state=spawn_rng(rng))
            attack.fit(pool_embeddings(known[:, :k], pooling), evidence.attack_images)
            found = attack.reconstruct(pool_embeddings(stolen[:, :k], pooling))
            judged = evidence.judge(found, sources[:, :k])
            rows.append({"templates": k, "pooling": pooling, **judged})
    return rows


def _inversion_row(attack, sees, key, judged):
    return {"attack": attack, "sees": sees, "key": key, **judged}


def _states_of_the_key(evidence):
    """Yield what the attacker knows of the key, and (T, F(T)) to learn from and to invert."""
    system = evidence.system
    yield (
        "known" if system.keyed else "none",
        (evidence.attack_templates, evidence.attack_template_embeddings),
        (evidence.templates, evidence.template_embeddings),
    )
    if system.keyed:
        pairs = []
        for images in (evidence.attack_images, evidence.images):
            T = system.templates(images, system.fresh_keys(len(images)))
            pairs.append((T, system.embed(T)))
        yield "unknown", *pairs


def _embed_under_fresh_keys(system, images):
    return system.embed(system.templates(images, system.fresh_keys(len(images))))


def _stolen_views(system, images, pairs):
    """Make the views (F(T), T) of the left and of the right templates of pairs."""
    keys = system.fresh_keys(1 + max(pairs.left_key.max(), pairs.right_key.max()))
    sides = []
    for rows, numbers in ((pairs.left, pairs.left_key), (pairs.right, pairs.right_key)):
        T = system.templates(images[rows], [keys[number] for number in numbers])
        sides.append((system.embed(T), T))
    return sides
