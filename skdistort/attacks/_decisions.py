"""The sections of the protection report on what a verifier decides: who gets in, and how often.

Each function gives rows of a table; shares are of attempts accepted, at the thresholds of honest
probes against templates. What is presented comes from `_probes`, what is stolen from `_evidence`.
"""

import numpy as np
from sklearn.metrics import euclidean_distances

from ..metrics import equal_error_rate, pair_scores
from ._carriers import draw_carriers
from ._evidence import eer_interval, with_interval
from ._measures import mean, paired_scores, subject_interval
from ._probes import (
    best_of_several,
    choose_wolf,
    embedding_from_scores,
    key_search_scores,
    tries_to_accept,
)
from ._subjects import draw_companions

# Where the number of tries until one is accepted is counted.
_COUNTED_AT = "fmr_1%"
_SEVERAL = (1, 2, 5, 20)


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

    def row(probe, store, accepted):
        return {"probe": probe, "store": store, **accepted}

    honest = evidence.against_others(evidence.probes, enrolled) | {"than_guessing": "-"}
    rows = [row("image", "template of another image", honest)]
    if not system.keyed:
        replayed = system.embed_probe(evidence.templates)
        return [
            *rows,
            row("template", "the same template", evidence.against_own(replayed, enrolled)),
            row(
                "template",
                "template of another image",
                evidence.against_others(replayed, enrolled),
            ),
        ]
    # A key for each record: what a single one does is a matter of luck.
    new_keys, stolen = evidence.new_keys, evidence.stolen_embeddings
    # What embed_probe gives, with each image embedded once.
    wrong = evidence.system.rotate(evidence.embeddings, new_keys)
    same_key, new_key = (evidence.system.rotate(stolen, k) for k in (evidence.old_keys, new_keys))
    reissued = evidence.reissued_embeddings
    return [
        *rows,
        row(
            "image, wrong key",
            "template of another image",
            evidence.against_others(wrong, enrolled),
        ),
        row("template", "the same template", evidence.against_own(same_key, stolen)),
        row("template", "reissued, new key", evidence.against_own(new_key, reissued)),
        row("F(template)", "reissued, new key", evidence.against_own(stolen, reissued)),
    ]


def impersonate(evidence, *, n_tries, n_steps, rng):
    """Get in as somebody else, without a photo of her: with keys, scores, G, gradients and wolves.

    With a key for each record, who has an old key and the template under it has ``R_old^T F(T)``;
    what he makes of it is presented to the record that was re-issued under a new key, which the
    system applies for him. Without keys it is presented to templates of other images.

    Parameters
    ----------
    evidence : Evidence
        What is stolen and known.
    n_tries : int
        How many keys, or photos of other people, he tries.
    n_steps : int
        Steps of gradient descent.
    rng : numpy.random.RandomState
        Source of randomness.

    Returns
    -------
    list of dict
        A row for each attack.
    """
    system, own = evidence.system, evidence.attack_images
    rows = []

    def add(attack, has, against, tries, accepted, needed=1.0):
        told = {"attack": attack, "attacker_has": has, "against": against, "tries": tries}
        rows.append({**told, "tries_needed": needed, **accepted})

    right_key = "the right key" if system.keyed else "nothing"
    blank = np.full_like(own[:1], 0.5)
    wolf = choose_wolf(
        system.embed_probe(own), evidence.attack_template_embeddings, evidence.headline_threshold
    )
    centre = evidence.attack_embeddings.mean(axis=0, keepdims=True)
    # As long as an embedding is: the mean of many is shorter.
    centre *= np.linalg.norm(evidence.attack_embeddings, axis=1).mean() / np.linalg.norm(centre)
    guesses = draw_carriers(own, len(evidence.images), rng)
    made = system.descend(guesses["mean image"][:1], centre, n_steps)
    for name, image in (
        ("blank image", blank),
        ("noise", guesses["noise"][:1]),
        ("wolf: the own photo that most own records accept", own[wolf : wolf + 1]),
        ("wolf: image made for the mean embedding", made),
    ):
        probe = np.repeat(system.embed_probe(image), len(evidence.images), axis=0)
        accepted = evidence.against_own(probe, evidence.template_embeddings)
        add(name, right_key, "any record", 1, accepted)

    photos = own[rng.permutation(len(own))[:n_tries]]
    # Of all victims against each photo, in the order of the tries.
    scores = _scores(evidence.template_embeddings, system.embed_probe(photos))
    add(
        "photos of other people, one after the other",
        right_key,
        "any record",
        len(photos),
        *_of_many_tries(evidence, scores),
    )
    if system.keyed:
        scores = key_search_scores(
            system.embed(own[rng.randint(len(own))][None])[0],
            evidence.stolen_embeddings,
            system.fresh_keys(n_tries),
            system.generator._directions,
        )
        add(
            "own face, searched key, where any claimed key is applied",
            "the templates",
            "any record",
            n_tries,
            *_of_many_tries(evidence, scores),
        )

    # m + 1 scores of photos of his own, then what G or gradients make of their solution.
    m = evidence.embeddings.shape[1]
    asked = system.embed(own[rng.permutation(len(own))[: m + 1]])
    plain = evidence.leaked_embeddings
    solved = embedding_from_scores(asked, _scores(plain, asked))
    found = system.descend(guesses["mean image"], solved, n_steps)
    add(
        "score oracle: own photos, then an image made to fit",
        "scores of verify",
        "the same record",
        len(asked) + 1,
        evidence.against_own(system.embed(found), plain),
        float(len(asked) + 1),
    )

    has = "an old key and template" if system.keyed else "the template"
    against = "reissued, new key" if system.keyed else "template of another image"
    starts = {
        "gradients through F, from the mean image": guesses["mean image"],
        "gradients through F, from another person": guesses["another person"],
        "gradients through F, from the template": evidence.stolen,
    }
    made = {name: system.descend(start, plain, n_steps) for name, start in starts.items()}
    if system.inverts:
        made = {"G as the inverse of F": system.invert(plain), **made}
    for name, images in made.items():
        probes = system.embed(images)
        if system.keyed:
            probes = system.rotate(probes, evidence.new_keys)
            accepted = evidence.against_own(probes, evidence.reissued_embeddings)
        else:
            accepted = evidence.against_others(probes, evidence.template_embeddings)
        add(name, has, against, 1, accepted)
    return rows


def enrol_several(evidence, rng):
    """Let each subject have several templates, of which the best counts, at unchanged thresholds.

    Parameters
    ----------
    evidence : Evidence
        Honest probes and templates, under the key for all.
    rng : numpy.random.RandomState
        Draws which images are enrolled.

    Returns
    -------
    list of dict
        What is accepted of impostors, and of other images of the subject, for each number.
    """
    labels = evidence.labels
    _, first, counts = np.unique(labels, return_index=True, return_counts=True)
    most = draw_companions(labels, max(_SEVERAL), rng)[first]
    rows = []
    for k in _SEVERAL:
        with_as_many = most[counts >= k, :k]
        if len(with_as_many) < 2:
            break
        scores, left, right = best_of_several(
            evidence.probes, evidence.template_embeddings, with_as_many
        )
        shares = evidence.accepted_scores(scores)
        genuine = labels[left] == labels[right]
        accepted = evidence.accepted(
            shares[:, ~genuine], labels[left[~genuine]], labels[right[~genuine]]
        )
        rows.append(
            {
                "templates": k,
                "subjects": len(with_as_many),
                **accepted,
                "genuine_fmr_1%": mean(shares[1, genuine]),
            }
        )
    return rows


def renew(evidence, n_renewals):
    """Put templates under new keys, one time after the other, each from the last template alone.

    Parameters
    ----------
    evidence : Evidence
        Templates under a key for each record.
    n_renewals : int
        How often.

    Returns
    -------
    list of dict
        A row for the first templates and one for each renewal: the mean squared distance to what F
        should see, the EER of honest probes, how often the enrolled image itself and how often
        others are accepted, at the thresholds of the first templates.
    """
    system, labels = evidence.system, evidence.labels
    templates, keys = evidence.stolen, evidence.old_keys
    rows = []
    for k in range(n_renewals + 1):
        if k:
            new = system.fresh_keys(len(keys))
            templates, keys = system.renew(templates, keys, new), new
        embedded = system.embed(templates)
        # A key turns both sides alike: all is compared where no key is, one for each record.
        found = system.rotate(embedded, keys, inverse=True)
        own = paired_scores(evidence.embeddings, found)
        pairs = pair_scores(evidence.embeddings, labels, found, labels, exclude_same_index=True)
        genuine, scores = pairs
        enrolled = evidence.accepted_scores(own)
        impostors = evidence.accepted_scores(scores[~genuine])
        row = {
            "renewals": k,
            "distance": float(-own.mean()),
            "eer": equal_error_rate(*pairs)[0],
            **{
                f"enrolled_image_{name}": mean(of_each)
                for name, of_each in zip(evidence.thresholds["system"], enrolled, strict=True)
            },
            "impostors_fmr_1%": mean(impostors[1]),
        }
        row = with_interval(row, "eer", eer_interval(*pairs, labels, once=False))
        at = "enrolled_image_fmr_1%"
        rows.append(with_interval(row, at, subject_interval(enrolled[1], labels)))
    return rows


def _of_many_tries(evidence, scores):
    """Lay out what the best of many tries achieves, and how many are needed in the median."""
    accepted = evidence.accepted(evidence.accepted_scores(scores.max(axis=1)), evidence.labels)
    limit = evidence.thresholds["system"][_COUNTED_AT]
    if np.isnan(limit):
        return accepted, np.nan
    needed = float(np.median(tries_to_accept(scores, limit)))
    return accepted, needed if np.isfinite(needed) else np.nan


def _scores(left, right):
    """Scores of all rows with all, in float64: an oracle's are not to be rounded twice."""
    return -euclidean_distances(left.astype(np.float64), right.astype(np.float64), squared=True)
