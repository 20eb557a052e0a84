"""The sections of the protection report on what templates give away of images, people and keys.

What a verifier decides is in `_decisions`. Each function gives rows of a table. The attacks are the
other modules'; what they are fed and judged by is :class:`skdistort.attacks._evidence.Evidence`.
"""

import numpy as np

from ..metrics import (
    abs_pearson,
    dssim,
    equal_error_rate,
    pair_scores,
    trivial_templates,
    unlinkability,
)
from ..training._batches import spawn_rng
from ._carriers import draw_carriers
from ._closed_form import (
    AffineInversion,
    BlindGuess,
    KernelInversion,
    NegationInversion,
    RidgeInversion,
)
from ._evidence import eer_interval, with_interval
from ._key_recovery import key_recovery_curve
from ._linkage import TemplateLinker, draw_linkage_pairs
from ._measures import match_rate, paired_scores, subject_interval, verdict
from ._membership import membership, spread_of_people
from ._network import NetworkInversion
from ._subjects import draw_companions, pool_embeddings
from ._system import as_stored

# Images of either side that baselines are tried on.
_N_BASELINES = 1000
# Share of other pairs that may be linked by mistake.
_FALSE_LINKS = 0.01


def invert(evidence, training, n_steps, rng):
    """Reconstruct the victims' images by every attack, and by the two ends of the scale.

    Parameters
    ----------
    evidence : Evidence
        What is stolen and known.
    training : dict
        Parameters of the attacks that train a network.
    n_steps : int
        Steps of gradient descent.
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
    blind = attempt(BlindGuess(), *plain) | {"than_guessing": "-"}
    rows = [_inversion_row("blind guess", "nothing", "-", blind)]
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
        if key != "unknown":
            for name, found in _white_box(evidence, n_steps, rng).items():
                judged = evidence.judge(found, evidence.own)
                rows.append(_inversion_row(name, "F(T)", key, judged))
    # The limit: what F(X) itself gives away.
    for name, make in embedded.items():
        rows.append(_inversion_row(name, "F(X)", "-", attempt(make(), *plain)))
    return rows


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
            views = _stolen_views(evidence.system, images, pairs)
            return pairs.mated, labels[pairs.left], *views

        mated, subjects, left, right = make_pairs(evidence.images, evidence.labels)
        scores = {"distance": paired_scores(left[0], right[0])}
        if attack_labels is not None:
            own_mated, _, *own = make_pairs(evidence.attack_images, attack_labels)
            linker = TemplateLinker(random_state=spawn_rng(rng)).fit(*own, own_mated)
            scores["trained"] = linker.score_pairs(left, right)
        for linker, values in scores.items():
            found = unlinkability(mated, values, random_state=spawn_rng(rng))
            linked = _linked(mated, values)
            interval = subject_interval(linked, subjects[mated])
            row = {
                "keys": keys,
                "linker": linker,
                "mated": int(mated.sum()),
                "d_sys": found.d_sys,
                "corrected": found.corrected,
                "null_mean": found.null_mean,
                "p_value": found.p_value,
                "linked_at_1%": float(linked.mean()),
                "than_guessing": verdict(interval, _FALSE_LINKS),
            }
            rows.append(with_interval(row, "linked_at_1%", interval))
    return rows


def _linked(mated, scores):
    """Tell which mated pairs a linker finds where it links 1 % of the others by mistake."""
    others = np.sort(scores[~mated])
    n_false = int(others.size * _FALSE_LINKS)
    if n_false < 1:
        return np.full(np.count_nonzero(mated), np.nan)
    return (scores[mated] > others[-1 - n_false]).astype(np.float64)


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
    if np.isnan(threshold):
        threshold = evidence.thresholds["F"]["eer"]
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


def tell_members(evidence, images, labels):
    """Tell the images that the generator learned from, from the victims'.

    Parameters
    ----------
    evidence : Evidence
        The victims, whom it did not learn from.
    images : ndarray of shape (n_members, height, width, channels)
        What it learned from.
    labels : ndarray of shape (n_members,) or None
        Their subjects, if they are known.

    Returns
    -------
    list of dict
        A row for each sign of a member.
    """
    system = evidence.system
    # Less is a sign of a member.
    signs = {
        "error of G before refinement, the image at hand": [
            system.unrefined_errors(stack) for stack in (images, evidence.images)
        ],
    }
    if labels is not None:
        signs["spread of a person's photos under F"] = [
            spread_of_people(system.embed(images), labels),
            spread_of_people(evidence.embeddings, evidence.labels),
        ]
    rows = []
    for sign, values in signs.items():
        people = [np.arange(len(images)) if labels is None else labels, evidence.labels]
        known = [np.isfinite(v) for v in values]
        if not all(k.any() for k in known):
            continue
        found = membership(
            *(-v[k] for v, k in zip(values, known, strict=True)),
            *(who[k] for who, k in zip(people, known, strict=True)),
        )
        rows.append(
            {
                "sign": sign,
                "members": int(known[0].sum()),
                "others": int(known[1].sum()),
                "auc": found.auc,
                "auc_95%": found.interval,
                "found_at_1%": found.found,
                "than_guessing": verdict(found.interval, 0.5),
            }
        )
    return rows


def compare_baselines(evidence, n_steps, rng):
    """Put templates beside those that need no generator: trivial ones, and refined carriers.

    Parameters
    ----------
    evidence : Evidence
        Images, and templates under the key for all.
    n_steps : int
        Steps of refinement: as many as the generator's.
    rng : numpy.random.RandomState
        Source of randomness.

    Returns
    -------
    list of dict
        A row for each kind of template: the mean squared distance of F(T) to what F should see,
        the EER of honest probes, likeness to the image, and what a ridge regression rebuilds.
    """
    system = evidence.system
    some, own = (
        np.linspace(0, n - 1, min(n, _N_BASELINES)).astype(int)
        for n in (len(evidence.images), len(evidence.attack_images))
    )
    images, attack_images = evidence.images[some], evidence.attack_images[own]
    targets, labels = evidence.probes[some], evidence.labels[some]

    def without_generator(images, targets, rng):
        made = trivial_templates(images, rng)
        if n_steps:
            for name, start in draw_carriers(evidence.attack_images, len(images), rng).items():
                made[f"{name}, refined"] = system.descend(start, targets, n_steps)
        return made

    kinds = {"template": evidence.templates[some], **without_generator(images, targets, rng)}
    known = without_generator(attack_images, system.embed_probe(attack_images), rng)
    known["template"] = evidence.attack_templates[own]
    rows = []
    for name, templates in kinds.items():
        templates = as_stored(templates)
        found = system.embed(templates)
        pairs = pair_scores(targets, labels, found, labels, exclude_same_index=True)
        rebuilt = RidgeInversion().fit(as_stored(known[name]), attack_images).reconstruct(templates)
        row = {
            "template": name,
            "distance": float(-paired_scores(targets, found).mean()),
            "eer": equal_error_rate(*pairs)[0],
            "ssim": float(1 - 2 * dssim(images, templates).mean()),
            "abs_pearson": float(abs_pearson(images, templates).mean()),
            "ridge_ssim": float(1 - 2 * dssim(images, rebuilt).mean()),
        }
        rows.append(with_interval(row, "eer", eer_interval(*pairs, labels, once=False)))
    return rows


def _white_box(evidence, n_steps, rng):
    """Make images that F sees what leaked in: by G, and by gradients from guesses and from T."""
    system, plain = evidence.system, evidence.embeddings_known
    guesses = draw_carriers(evidence.attack_images, len(plain), rng)
    starts = {
        "gradients from the mean image": guesses["mean image"],
        "gradients from another person": guesses["another person"],
        "gradients from T": evidence.templates,
    }
    made = {name: system.descend(start, plain, n_steps) for name, start in starts.items()}
    return {"G as the inverse of F": system.invert(plain), **made} if system.inverts else made


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
