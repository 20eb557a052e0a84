"""Every attack against one generator, in tables and on the leak scale: `protection_report`.

What each section measures is in :mod:`skdistort.attacks._sections`, and what verifiers decide in
:mod:`skdistort.attacks._decisions`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, column_or_1d

from .._labels import as_labels
from .._tables import data_frame, format_table, html_table, plain_values
from .._typing import Seed
from ..displays import import_matplotlib
from ..training._batches import spawn_rng
from . import _decisions, _sections
from ._evidence import Evidence
from ._key_recovery import smallest_sufficient
from ._system import AttackedSystem

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

    from ..distortion import DistortionGenerator

# What each table is about, and how ISO/IEC 24745 and 30136 call it.
_TITLES = {
    "verification": (
        "Verification of honest probes",
        "accuracy (30136)",
    ),
    "baselines": (
        "Templates beside those that need no generator",
        "accuracy and irreversibility, of what the generator has to beat",
    ),
    "inversion": (
        "Inversion: reconstructions of the image, and their type-2 match rates",
        "irreversibility (24745); what is leaked of the image, successful attack rate (30136)",
    ),
    "replay": (
        "Replay: share of probes accepted",
        "renewability (24745); successful attack rate (30136)",
    ),
    "impersonation": (
        "Impersonation: share of attempts accepted, by who has no photo of the subject",
        "confidentiality and renewability (24745); successful attack rate (30136)",
    ),
    "several_templates": (
        "Several templates of a subject, of which the best counts: share of impostors accepted",
        "accuracy (30136): the false match rate of the decision that is taken",
    ),
    "renewal": (
        "Renewal: templates made under new keys from templates, time after time",
        "renewability (24745); accuracy after renewal (30136)",
    ),
    "linkage": (
        "Linkage of templates",
        "unlinkability (24745, 30136)",
    ),
    "key_recovery": (
        "Key recovery where one key serves all records: match rate at FMR 1 %",
        "confidentiality of the key (24745); successful attack rate in full disclosure (30136)",
    ),
    "multiplicity": (
        "Multiplicity: inversion of several templates of a subject",
        "irreversibility (24745) where several templates are compromised (30136)",
    ),
    "membership": (
        "Membership: whether the generator learned from an image",
        "confidentiality of the training images (24745)",
    ),
}


@dataclass(frozen=True)
class ProtectionReport:
    """What attacks achieve against templates; ``str()`` lays it out as tables.

    Match rates are of type 2: a reconstruction is compared with other images of its subject than
    those whose templates it was made from. ``F_fmr_1%`` is the rate under the embedder F at the
    threshold whose false match rate on plain images is 1 %, ``F'_fmr_1%`` that under the
    held-out embedder, and so on.

    A column that ends in ``_95%`` is the interval of the one before it, over subjects
    (:func:`subject_interval`). ``than_guessing`` says whether that interval lies above what needs
    no template: the SSIM of the blind guess, or what one try with any image achieves. "like
    guessing" is an attack that was not seen to work, "worse than guessing" one that misleads its
    attacker. A rate is NaN, and printed as "-", where there are fewer pairs than it needs: a false
    match rate of 0.1 % takes a thousand impostor pairs.

    Attributes
    ----------
    verification : list of dict
        Error rates of honest comparisons, as in :class:`skdistort.metrics.VerificationReport`.
    baselines : list of dict
        Each with ``template``, which is "template" for the generator's, one of
        :func:`skdistort.metrics.trivial_templates` or of :func:`refined_carriers`; ``distance``,
        the mean squared distance of F(T) to what F should see, ``eer`` of honest probes, ``ssim``
        and ``abs_pearson`` with the image, and ``ridge_ssim``, what a ridge regression rebuilds.
    inversion : list of dict
        Each with ``attack``, ``sees`` (what is inverted), ``key`` ("none" if the generator has
        none, "known" to the attacker, who can make templates under it, or "unknown", a key for
        each record), ``ssim``, ``mse``, ``abs_pearson`` and match rates. The first row is the
        blind guess; the last ones see F(X), and the best of them is the embedding-only limit:
        the ends of the leak scale.
    replay : list of dict
        Each with ``probe``, ``store`` and the shares accepted at the thresholds "eer", "fmr_1%"
        and "fmr_0.1%" of honest probes against templates.
    impersonation : list of dict
        Each with ``attack``, ``attacker_has``, ``against`` (which record), ``tries`` and
        ``tries_needed`` (in the median, to be accepted at FMR 1 %; NaN if more than were made),
        and the shares accepted as in `replay`.
    several_templates : list of dict
        Each with ``templates`` of a subject, ``subjects`` who have as many, the shares of
        impostors accepted at the thresholds for one template, and ``genuine_fmr_1%``.
    renewal : list of dict or None
        Each with ``renewals`` in a row, ``distance`` and ``eer`` as in `baselines`, the shares of
        enrolled images that are accepted at the thresholds of the first templates, and that of
        impostors; None for a keyless generator.
    linkage : list of dict or None
        Each with ``keys``, ``linker``, ``mated`` (pairs; as many are non-mated), and ``d_sys``,
        ``corrected``, ``null_mean`` and ``p_value`` of :func:`skdistort.metrics.unlinkability`;
        ``linked_at_1%`` is the share of mated pairs found where 1 % of the others are.
        With keys, mated templates are of one image, and "one for all" pools several pairs of
        keys. Without, they are of two images of one subject, and nothing hides that.
    key_recovery : list of dict or None
        ``n_pairs`` known pairs and the ``match_rate`` of templates that were rotated back, from
        the pairs alone and ``with_prior``; None for a keyless generator.
    key_known_match_rate : float or None
        That rate where the key is known.
    multiplicity : list of dict or None
        ``templates`` of a subject, their ``pooling``, and the measures of ``inversion``; None for
        a keyless generator if the attacker's subjects are not known.
    membership : list of dict or None
        Each with ``sign`` of a member, ``members`` and ``others``, ``auc`` (how often a member
        shows more of it than another, 0.5 by guessing) and ``found_at_1%``; None without `X_train`.
    """

    verification: list
    baselines: list
    inversion: list
    replay: list
    impersonation: list
    several_templates: list
    linkage: list
    renewal: list | None = None
    key_recovery: list | None = None
    key_known_match_rate: float | None = None
    multiplicity: list | None = None
    membership: list | None = None

    @property
    def blind_ssim(self) -> float:
        """Look up the lower end of the leak scale.

        Returns
        -------
        float
            Mean SSIM of the blind guess.
        """
        return self.inversion[0]["ssim"]

    @property
    def limit_ssim(self) -> float:
        """Look up the end of the leak scale that is to be aimed at.

        Returns
        -------
        float
            Mean SSIM of the embedding-only limit, the best attack on the embedding F(X) itself.
        """
        return max(row["ssim"] for row in self.inversion if row["sees"] == "F(X)")

    def pairs_to_recover_key(self, share: float) -> int | None:
        """Find how many known pairs undo the rotation as well as a share of what the key would.

        Parameters
        ----------
        share : float
            Share, in [0, 1], of the match rate that the key itself gives.

        Returns
        -------
        int or None
            The smallest number of those tried; None if there is no key or none is enough.
        """
        if self.key_recovery is None:
            return None
        return smallest_sufficient(self.key_recovery, share * self.key_known_match_rate)  # type: ignore[operator]

    def __str__(self):
        """Aligned text."""
        return "\n\n".join(
            "\n".join([title, f"[{terms}]", format_table(rows), *filter(None, [note])])
            for title, terms, rows, note in self._tables()
        )

    def _repr_html_(self):
        return "".join(
            html_table(rows, f"{title} [{terms}]", note)
            for title, terms, rows, note in self._tables()
        )

    def to_dict(self) -> dict[str, Any]:
        """Give what is in the report as plain values, such as JSON takes.

        Returns
        -------
        dict
            The attributes of the report; None stands for NaN, too.
        """
        return plain_values(self)

    def to_frame(self, table: str | None = None) -> DataFrame:
        """Give one of the tables, or all of them, as a data frame.

        Parameters
        ----------
        table : str or None, default=None
            The attribute that holds it, such as "inversion". None puts the rows of all below one
            another; the first column, ``table``, tells them apart, and what a table has not is
            missing in its rows.

        Returns
        -------
        pandas.DataFrame
            A column for each key of a row, of an interval two, which end in ``_low`` and ``_high``.

        Raises
        ------
        ImportError
            If pandas is not installed.
        ValueError
            If the report holds no table of this name.
        """
        held = [name for name in _TITLES if getattr(self, name)]
        if table is None:
            rows = [{"table": name, **row} for name in held for row in getattr(self, name)]
            return data_frame(rows)
        if table not in held:
            raise ValueError(f"table must be one of {held}, which there are, got {table!r}.")
        return data_frame(getattr(self, table))

    def _tables(self):
        """Give title, terms, rows and note of each table that there is."""
        for name, (title, terms) in _TITLES.items():
            rows, note = getattr(self, name), ""
            if name == "key_recovery" and rows is not None:
                half, most = self.pairs_to_recover_key(0.5), self.pairs_to_recover_key(0.9)
                note = (
                    f"with the key itself: {self.key_known_match_rate:.4f}; half of that from "
                    f"{half} known pairs, 90 % from {most}"
                )
            if rows:
                yield title, terms, rows, note

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the leak scale: the SSIM of each attack between blind guess and limit.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            What was drawn on.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if ax is None:
            ax = import_matplotlib("pyplot").subplots(layout="constrained")[1]
        attacks = [row for row in self.inversion if row["sees"] in ("T", "F(T)")]
        of_attack = [f"{row['attack']}, {row['sees']}" for row in attacks]
        names = list(dict.fromkeys(of_attack))
        ax.axvspan(self.blind_ssim, self.limit_ssim, color="0.92", zorder=0)
        for value, name in ((self.blind_ssim, "blind guess"), (self.limit_ssim, "limit")):
            ax.axvline(value, color="0.4", linestyle="--", linewidth=1)
            ax.annotate(
                f"{name}\n{value:.2f}",
                (value, 1),
                xycoords=ax.get_xaxis_transform(),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize="small",
            )
        for key in dict.fromkeys(row["key"] for row in attacks):
            of_key = [i for i, row in enumerate(attacks) if row["key"] == key]
            ax.plot(
                [attacks[i]["ssim"] for i in of_key],
                [names.index(of_attack[i]) for i in of_key],
                "o",
                label=f"key: {key}",
            )
        ax.set(xlabel="SSIM of reconstruction and image", yticks=range(len(names)))
        ax.set_yticklabels(names)
        ax.invert_yaxis()
        ax.legend(fontsize="small")
        return ax


def protection_report(
    generator: DistortionGenerator,
    embedder: Any,
    X: ArrayLike,
    y: ArrayLike,
    X_attack: ArrayLike,
    y_attack: ArrayLike | None = None,
    *,
    epochs: int = 10,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    filters: Sequence[int] = (16, 32, 64),
    distance: str | Callable[..., Any] = "mse",
    multiplicities: Sequence[int] = (1, 2, 5),
    n_key_pairs: int = 200,
    max_pairs: int = 2000,
    n_tries: int = 1000,
    n_renewals: int = 5,
    gradient_steps: int = 60,
    X_train: ArrayLike | None = None,
    y_train: ArrayLike | None = None,
    verbose: int = 0,
    random_state: Seed = None,
) -> ProtectionReport:
    """Attack a generator's templates in every way of this module, and tabulate what it yields.

    The attacker has the generator, its embedder F and images of his own, `X_attack`, and learns
    from the templates that he makes of them. He attacks the templates of `X`, of subjects that he
    has no image of. What he knows of the key is part of each attack: nothing, in what ISO/IEC
    30136 calls the general model, or all, in the full disclosure model.

    Parameters
    ----------
    generator : DistortionGenerator
        The fitted generator under attack.
    embedder : estimator, keras model or layer, torch module or path
        The held-out embedder F', which neither the generator nor an attack has seen: it tells
        whether a reconstruction shows the subject or merely deceives F. A fitted estimator, such
        as a :class:`skdistort.TripletEmbedder` or a :class:`sklearn.frozen.FrozenEstimator` of
        one, whose ``transform`` takes images in the layout and units of `X`; or a network as for
        :class:`skdistort.DistortionGenerator`. Embeddings are compared by squared distance, so
        they should have unit length.
    X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
        The victims' images, in the units of the generator.
    y : array-like of shape (n_samples,)
        Their subjects, at least two, of which one has two images.
    X_attack : array-like of shape (n_attack, n_features) or (n_attack, h, w[, c])
        The attacker's images, of other subjects. What he knows of the victims too, the report
        counts as leaked.
    y_attack : array-like of shape (n_attack,) or None, default=None
        Their subjects. For a keyless generator the trained linker and multiplicity need them; for
        a keyed one, None takes each image for a subject.
    epochs : int, default=10
        Passes over `X_attack` of the attacks that train a network.
    batch_size : int, default=64
        Images in a batch of theirs.
    learning_rate : float, default=2e-3
        Adam's learning rate at the start of theirs.
    filters : tuple of int, default=(16, 32, 64)
        Convolution maps of each level of their networks, the finest first.
    distance : str or callable, default="mse"
        The image distance that they minimise, as for :class:`NetworkInversion`.
    multiplicities : tuple of int, default=(1, 2, 5)
        How many templates of a subject to pool.
    n_key_pairs : int, default=200
        Pairs of keys that linkage is measured over where one key serves all records. Few of them
        feign linkability; see :func:`draw_linkage_pairs`.
    max_pairs : int, default=2000
        The most mated pairs of linkage, and as many non-mated.
    n_tries : int, default=1000
        Keys, or photos of other people, that an impostor tries one after the other.
    n_renewals : int, default=5
        How often in a row templates are put under new keys.
    gradient_steps : int, default=60
        Steps of gradient descent through F of the attacks that know it.
    X_train : array-like of shape (n_train, n_features) or (n_train, h, w[, c]), default=None
        Images that the generator learned from, for the attack on membership. They should be of
        the same kind as `X`, else what tells them apart is the kind.
    y_train : array-like of shape (n_train,) or None, default=None
        Their subjects.
    verbose : int, default=0
        0 silent, 1 a progress bar for each training, 2 a line an epoch.
    random_state : int, RandomState instance or None, default=None
        Seeds the attacks and draws pairs and keys.

    Returns
    -------
    ProtectionReport
        The tables, and the leak scale as a plot.

    Raises
    ------
    ValueError
        If the arrays do not match the generator or one another, no subject has two images, or a
        parameter is out of range; if half of `X` or more is in `X_attack`, or `embedder` is F.
    TypeError
        If `embedder` is nothing that can be one.
    sklearn.exceptions.NotFittedError
        If the generator or the embedder is not fitted.

    Warns
    -----
    skdistort.exceptions.InputMismatchWarning
        If `X_attack` holds images of `X`, `y_attack` subjects of `y`, or `embedder` may be F.

    Notes
    -----
    A network that is trained longer, or another, may invert better: what is reported is a lower
    bound on what leaks. The embedding-only limit is that of the same attacks, trained alike.

    Where one key serves all records, the distances between templates are those between the
    embeddings, whatever the key. Two databases of the same people can then be matched as a whole,
    which the linkage of single pairs does not show. A key for each record leaves no such thing.

    All pairs of `X` are compared: their scores take 0.5 GB at 10,000 images.

    Templates have 8 bits a pixel, as those that are stored. Images that an impostor presents are
    not rounded: he reaches the camera, or the wire behind it. Nothing is said of a store that
    checks the claimed key against that of the template: there the key search fails.

    Attacks on a key that serves all records use the generator's own key, or a random one if it
    has none set; all other keys are random, 128 bits each.

    References
    ----------
    Mai, Cao, Yuen, Jain, "On the reconstruction of face images from deep face templates", IEEE
    Transactions on Pattern Analysis and Machine Intelligence 41 (2019).

    Gomez-Barrero, Galbally, Rathgeb, Busch, "General framework to evaluate unlinkability in
    biometric template protection systems", IEEE Transactions on Information Forensics and
    Security 13 (2018).

    ISO/IEC 24745:2022, "Information security, cybersecurity and privacy protection - Biometric
    information protection", for the properties that a table is about: irreversibility,
    unlinkability, renewability, confidentiality.

    ISO/IEC 30136:2018, "Performance testing of biometric template protection schemes", for
    accuracy, the rate of successful attacks, and what is leaked.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skdistort import DistortionGenerator, TripletEmbedder
    >>> from skdistort.attacks import protection_report
    >>> X, y = load_digits(return_X_y=True)
    >>> small = {"filters": (4,), "epochs": 1, "random_state": 0}
    >>> generator = DistortionGenerator(TripletEmbedder(3, **small), **small).fit(X[:300], y[:300])
    >>> held_out = PCA(8, whiten=True).fit(X[300:600])
    >>> report = protection_report(
    ...     generator, held_out, X[600:800], y[600:800], X[800:1000], **small
    ... )
    >>> report.blind_ssim < report.limit_ssim
    True
    """
    rng = check_random_state(random_state)
    system = AttackedSystem(generator, embedder, X, spawn_rng(rng))
    images, attack_images = system.images(X), system.images(X_attack)
    labels = column_or_1d(as_labels(y, "y"))
    attack_labels = None if y_attack is None else column_or_1d(as_labels(y_attack, "y_attack"))
    check_consistent_length(images, labels)
    check_consistent_length(attack_images, attack_labels)
    n_images = np.unique(labels, return_counts=True)[1]
    if n_images.size < 2 or n_images.max() < 2:
        raise ValueError(
            f"y must hold two subjects, one of them with two images; got {n_images.size} subjects "
            f"with at most {n_images.max(initial=0)}."
        )
    multiplicities = tuple(multiplicities)
    if not multiplicities or min(multiplicities) < 1:
        raise ValueError(f"multiplicities must be positive integers, got {multiplicities!r}.")
    for name, number in (
        ("n_tries", n_tries),
        ("n_renewals", n_renewals),
        ("gradient_steps", gradient_steps),
    ):
        if not isinstance(number, Integral) or number < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {number!r}.")
    train_labels = None if y_train is None else column_or_1d(as_labels(y_train, "y_train"))
    train_images = None if X_train is None else system.images(X_train)
    if train_labels is not None:
        check_consistent_length(train_images, train_labels)
    training = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "filters": filters,
        "distance": distance,
        "verbose": verbose,
    }
    evidence = Evidence(system, images, labels, attack_images, attack_labels)
    invert_rng, link_rng, recover_rng, multiply_rng, decide_rng, compare_rng = (
        spawn_rng(rng) for _ in range(6)
    )
    curve, limit = _sections.recover_key(evidence, recover_rng) if system.keyed else (None, None)
    multiplicity = None
    if system.keyed or attack_labels is not None:
        multiplicity = _sections.multiply(evidence, multiplicities, training, multiply_rng)
    return ProtectionReport(
        verification=evidence.verification,
        baselines=_sections.compare_baselines(evidence, generator.refinement_steps, compare_rng),
        inversion=_sections.invert(evidence, training, gradient_steps, invert_rng),
        replay=_decisions.replay(evidence),
        impersonation=_decisions.impersonate(
            evidence, n_tries=n_tries, n_steps=gradient_steps, rng=decide_rng
        ),
        several_templates=_decisions.enrol_several(evidence, decide_rng),
        renewal=_decisions.renew(evidence, n_renewals) if system.keyed else None,
        linkage=_sections.link(
            evidence, n_key_pairs=n_key_pairs, max_pairs=max_pairs, rng=link_rng
        ),
        key_recovery=curve,
        key_known_match_rate=limit,
        multiplicity=multiplicity,
        membership=(
            None
            if train_images is None
            else _sections.tell_members(evidence, train_images, train_labels)
        ),
    )
