"""What the sections of the protection report share: templates, embeddings, thresholds, verdicts.

Who attacks what with which knowledge is in :mod:`skdistort.attacks._sections`.
"""

from functools import cached_property

import numpy as np

from ..metrics import bootstrap_interval, equal_error_rate, pair_scores, verification_report
from ._measures import (
    decision_thresholds,
    match_shares,
    mean,
    paired_scores,
    quality_of_each,
    subject_interval,
    verdict,
)
from ._plausibility import check_attacker, check_held_out

_STRICT = ("fmr_1%", "fmr_0.1%")
# Pairs of either kind that an interval of error rates is resampled from: its width comes from the
# subjects, of which these show nearly all.
_RESAMPLED = 100_000


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
    false_match_rates : dict of str to float
        The share of impostors that the system accepts at each of its thresholds: what one try with
        any image achieves.

    Raises
    ------
    InputMismatchError
        If the attacker has the victims' images, or F' is F.
    """

    def __init__(self, system, images, labels, attack_images, attack_labels):
        check_attacker(images, labels, attack_images, attack_labels)
        self.system = system
        self.images = images
        self.labels = labels
        self.attack_images = attack_images
        self.attack_labels = attack_labels
        self.own = np.arange(len(images))[:, None]
        self.held_out_embeddings = system.embed_held_out(images)
        self.embeddings = system.embed(images)
        check_held_out(self.embeddings, self.held_out_embeddings)
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
            (row,) = verification_report({f"{embedder}, {name}": pairs}).rows
            interval = eer_interval(*pairs, labels, once=embedder != "system")
            self.verification.append(with_interval(row, "eer", interval))
            self.thresholds[embedder] = decision_thresholds(*pairs)
        genuine, scores = pairs
        self.false_match_rates = {
            name: np.nan if np.isnan(threshold) else float(np.mean(scores[~genuine] >= threshold))
            for name, threshold in self.thresholds["system"].items()
        }

    @property
    def headline_threshold(self):
        """Give the threshold of FMR 1 %, or that of the EER where there are too few pairs.

        Returns
        -------
        float
            The lowest score to accept.
        """
        return self.limits[0] if np.isnan(self.limits[1]) else self.limits[1]

    @cached_property
    def old_keys(self):
        """Give a key for each record.

        Returns
        -------
        list of bytes
            The keys.
        """
        return self.system.fresh_keys(len(self.images))

    @cached_property
    def new_keys(self):
        """Give another key for each record.

        Returns
        -------
        list of bytes
            The keys.
        """
        return self.system.fresh_keys(len(self.images))

    @cached_property
    def stolen(self):
        """Give the templates under a key for each record; of a keyless system, its templates.

        Returns
        -------
        ndarray of shape (n_images, height, width, channels), dtype float32
            Pixels in ``[0, 1]``.
        """
        if not self.system.keyed:
            return self.templates
        return self.system.templates(self.images, self.old_keys)

    @cached_property
    def stolen_embeddings(self):
        """Give F(T) of these.

        Returns
        -------
        ndarray of shape (n_images, m), dtype float32
            Embeddings.
        """
        return self.system.embed(self.stolen)

    @cached_property
    def leaked_embeddings(self):
        """Give what the stolen templates and their keys tell of F(X): ``R_old^T F(T)``.

        Returns
        -------
        ndarray of shape (n_images, m), dtype float32
            Embeddings.
        """
        if not self.system.keyed:
            return self.stolen_embeddings
        return self.system.rotate(self.stolen_embeddings, self.old_keys, inverse=True)

    @cached_property
    def embeddings_known(self):
        """Give what the templates under the key for all tell of F(X), if the key is known.

        Returns
        -------
        ndarray of shape (n_images, m), dtype float32
            Embeddings.
        """
        if not self.system.keyed:
            return self.template_embeddings
        return self.system.rotate(self.template_embeddings, self.system.key, inverse=True)

    @cached_property
    def reissued_embeddings(self):
        """Give F(T) of the templates that the victims' images have under the new keys.

        Returns
        -------
        ndarray of shape (n_images, m), dtype float32
            Embeddings.
        """
        return self.system.embed(self.system.templates(self.images, self.new_keys))

    @cached_property
    def limits(self):
        """Give the thresholds of the system, in the order of their names.

        Returns
        -------
        ndarray of shape (3,)
            Lowest scores to accept.
        """
        return np.array(list(self.thresholds["system"].values()))

    @cached_property
    def blind_ssim(self):
        """Give the SSIM of each victim's image and the median image of the attacker.

        Returns
        -------
        ndarray of shape (n_images,)
            What a blind guess achieves.
        """
        blind = np.median(self.attack_images, axis=0)
        return quality_of_each(self.images, np.broadcast_to(blind, self.images.shape))["ssim"]

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
        each = quality_of_each(self.images, reconstructions)
        row = {name: float(values.mean()) for name, values in each.items()}
        row = with_interval(row, "ssim", subject_interval(each["ssim"], self.labels))
        for name, embed, embeddings in (
            ("F", self.system.embed, self.embeddings),
            ("F'", self.system.embed_held_out, self.held_out_embeddings),
        ):
            limits = [self.thresholds[name][rate] for rate in _STRICT]
            found, labels = embed(reconstructions), self.labels
            shares = match_shares(found, labels, embeddings, labels, limits, exclude=exclude)
            for rate, of_each in zip(_STRICT, shares, strict=True):
                row[f"{name}_{rate}"] = mean(of_each)
        # Under F', the last: a look-alike of the subject, not what deceives F.
        row = with_interval(row, f"F'_{_STRICT[0]}", subject_interval(shares[0], self.labels))
        beyond = subject_interval(each["ssim"] - self.blind_ssim, self.labels)
        return row | {"than_guessing": verdict(beyond, 0.0)}

    def accepted(self, shares, subjects, other_subjects=None):
        """Lay out how often the system accepts, at each of its thresholds.

        Parameters
        ----------
        shares : ndarray of shape (n_thresholds, n_attempts)
            What was accepted of each attempt, in [0, 1]; NaN where nothing can be said.
        subjects : ndarray of shape (n_attempts,)
            The subject under attack.
        other_subjects : ndarray of shape (n_attempts,) or None, default=None
            Who attacks, if it matters.

        Returns
        -------
        dict of str to object
            The mean and the interval over subjects at each threshold, and whether the attack does
            better than any image does at one try: at the threshold of FMR 1 %, or at that of the
            EER where there are too few pairs for it.
        """
        row, verdicts = {}, {}
        for name, of_each in zip(self.thresholds["system"], shares, strict=True):
            interval = subject_interval(of_each, subjects, other_subjects)
            row |= with_interval({name: mean(of_each)}, name, interval)
            verdicts[name] = verdict(interval, self.false_match_rates[name])
        headline = "eer" if np.isnan(self.limits[1]) else "fmr_1%"
        return row | {"than_guessing": verdicts[headline]}

    def accepted_scores(self, scores):
        """Compare the score of each attempt with the thresholds of the system.

        Parameters
        ----------
        scores : ndarray of shape (n_attempts,)
            Scores, higher for more alike.

        Returns
        -------
        ndarray of shape (n_thresholds, n_attempts), float64
            1 for accepted, 0 for refused, NaN for a threshold of NaN.
        """
        return accepted_at(scores, self.limits)

    def against_own(self, probes, templates):
        """Score probes against the template in the same row, and lay out what is accepted.

        Parameters
        ----------
        probes, templates : ndarray of shape (n_images, m)
            Embeddings, of the victims in their order.

        Returns
        -------
        dict of str to object
            As :meth:`accepted` gives.
        """
        return self.accepted(self.accepted_scores(paired_scores(probes, templates)), self.labels)

    def against_others(self, probes, templates):
        """Score probes against the other templates of their subject.

        Parameters
        ----------
        probes, templates : ndarray of shape (n_images, m)
            Embeddings, of the victims in their order.

        Returns
        -------
        dict of str to object
            As :meth:`accepted` gives.
        """
        labels = self.labels
        shares = match_shares(probes, labels, templates, labels, self.limits, exclude=self.own)
        return self.accepted(shares, labels)


def accepted_at(scores, limits):
    """Compare scores with thresholds: 1 for accepted, 0 for refused, NaN for a threshold of NaN.

    Parameters
    ----------
    scores : ndarray of shape (n_attempts,)
        Scores, higher for more alike.
    limits : ndarray of shape (n_thresholds,)
        The lowest to accept.

    Returns
    -------
    ndarray of shape (n_thresholds, n_attempts), float64
        What is accepted.
    """
    accepted = (np.asarray(scores) >= limits[:, None]).astype(np.float64)
    accepted[np.isnan(limits)] = np.nan
    return accepted


def with_interval(row, name, interval):
    """Put an interval behind the measure that it is of.

    Parameters
    ----------
    row : dict of str to object
        A row of a table.
    name : str
        The measure.
    interval : tuple of 2 float
        Its 95 % interval.

    Returns
    -------
    dict of str to object
        The row, with the interval under ``name_95%``.
    """
    found = {}
    for key, value in row.items():
        found[key] = value
        if key == name:
            found[f"{name}_95%"] = interval
    return found


def eer_interval(genuine, scores, labels, *, once, random_state=0):
    """Find the 95 % interval of the EER of all pairs of images, by resampling subjects.

    Parameters
    ----------
    genuine, scores : ndarray of shape (n_pairs,)
        As from :func:`skdistort.metrics.pair_scores`, without pairs of an image with itself.
    labels : ndarray of shape (n_images,)
        Subjects of the images, on both sides.
    once : bool
        Whether each pair comes once, or in both orders.
    random_state : int, default=0
        Draws subjects, and pairs where there are more than are needed.

    Returns
    -------
    tuple of 2 float
        The ends of the interval; NaN where there are not two kinds of pairs.
    """
    rng = np.random.RandomState(random_state)
    kept = []
    for of_kind in (np.flatnonzero(genuine), np.flatnonzero(~genuine)):
        if of_kind.size > _RESAMPLED:
            of_kind = of_kind[rng.randint(of_kind.size, size=_RESAMPLED)]
        kept.append(of_kind)
    if not all(of_kind.size for of_kind in kept):
        return np.nan, np.nan
    kept = np.concatenate(kept)
    n = len(labels)
    if once:
        starts = np.concatenate([[0], np.cumsum(np.arange(n - 1, 0, -1))])
        left = np.searchsorted(starts, kept, side="right") - 1
        right = left + 1 + kept - starts[left]
    else:
        left, right = np.divmod(kept, n - 1)
        right += right >= left
    found = bootstrap_interval(
        equal_error_rate,
        genuine[kept],
        scores[kept],
        labels[left],
        labels[right],
        random_state=rng,
    )
    return found.low, found.high
