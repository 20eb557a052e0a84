"""EmbeddingStore: embeddings kept on disk under keys, and probes compared with them.

How they are protected is in :mod:`skdistort.templates._protection`, the file in
:mod:`skdistort.templates._database`, what all stores share in :mod:`skdistort.templates._claims`.
"""

import json
import math
import warnings

import numpy as np
from scipy.special import expit, logit
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import normalize
from sklearn.utils import check_array
from sklearn.utils.validation import _num_samples, check_is_fitted

from .._labels import encode_classes
from ..decision._pairs import refuse_without_length
from ..decision._thresholds import check_strategy
from ..fusion import ScoreFusion
from ..keys import key_check, rotate_embeddings
from ..persistence._fingerprint import Fingerprint
from ._cache import BLOCK, GalleryCache
from ._claims import (
    attempt,
    check_hook,
    check_id,
    check_ids,
    check_n_best,
    key_checks,
    read_claimed,
    search_under_keys,
)
from ._database import TemplateDatabase
from ._eight_bit import read_embeddings, write_embeddings
from ._gallery import Gallery, Identification, squared_distances
from ._keys import StoreKeys
from ._open_store import OpenStore
from ._protection import check_protection, describe_protection, mean_codes, protect, to_codes
from ._thresholds import (
    choose_group_thresholds,
    group_trials,
    kept_thresholds,
    thresholds_for,
    write_thresholds,
)

# Whom a file belongs to stands where a TemplateStore writes the fingerprint of its generator:
# neither takes the other's file for its own.
_OWNER = "generator"
_PREFIX = "embeddings"
# Keys under which scores are calibrated: those of a hash are of another distribution under each.
_CALIBRATION_KEYS = [f"calibration {i}".encode() for i in range(16)]


class EmbeddingStore(OpenStore):
    """Embeddings of people on disk, under keys: enrolled, verified, identified, revoked.

    What :class:`TemplateStore` is to images, for what a network or a statistical model makes of
    recordings: the embeddings of a :class:`~skdistort.SiameseVerifier`, a
    :class:`~skdistort.SoftmaxEmbedder`, i-vectors. A person enrols by one utterance or several;
    probes are compared with their mean.

    Parameters
    ----------
    encoder : transformer or None
        What makes embeddings of samples by ``transform``, fitted: compared by cosine, so that
        i-vectors want a step that centres them. A file belongs to the encoder that began it:
        another one is refused, be it the same one fitted again. None takes embeddings themselves
        in place of samples, of which nothing can tell where they come from.
    path : str or os.PathLike
        The file, an SQLite database; made if there is none, for its owner only. Or the URL of a
        PostgreSQL database, see :class:`TemplateStore`.
    protection : "rotation", None or a transformer, default="rotation"
        What is kept: embeddings turned by an orthogonal map that a key determines, which changes no
        score; or hashes, by a BioHashing, MLPHash, IoMHashing or PolyProtect of
        :mod:`skdistort.template_baselines`, whose own `key` is not used. None keeps embeddings in
        clear, under no key.
    key : int, bytes or None, default=None
        The key where none is given with a call. The file does not hold it.
    read_only : bool, default=False
        Whether to change nothing, as a machine that only verifies does. There has to be a store.
    key_cost : int, default=14
        What a guess at a key costs, from 1 to 20, see :class:`TemplateStore`. A file keeps the cost
        that it was begun with.
    allow_weak_keys : bool, default=False
        Whether keys may be short or simple, see :func:`skdistort.keys.refuse_guessable`.
    mac_key : bytes or None, default=None
        A key of 16 bytes or more by which the file is sealed, see :class:`TemplateStore`.
    on_attempt : callable or None, default=None
        Called before each ``verify``, ``verify_proba``, ``score_claims`` and ``identify``, with the
        list of the claimed ids, or None for ``identify``. It refuses by raising, and whatever it
        raises comes out of the method; it returns None.

    Raises
    ------
    TypeError
        If `encoder` has no ``transform`` or cannot be told from another one, `protection` is none,
        `mac_key` not bytes or `on_attempt` cannot be called.
    sklearn.exceptions.NotFittedError
        If the encoder is not fitted.
    ValueError
        If the encoder compares by a head and not by cosine; if the file is no store of embeddings,
        is damaged, belongs to another encoder, is under another protection or was sealed by another
        `mac_key`; if a parameter is out of its range.
    OSError
        If the file cannot be opened or written. All methods raise it, or ValueError if damaged.

    Warns
    -----
    UserWarning
        If embeddings are kept in clear.

    See Also
    --------
    TemplateStore : Keeps distorted images, and says what holds of files, seals and threads.

    Notes
    -----
    An embedding says a lot: of a voice sex, age and health, and a network inverts it to what sounds
    like the person; it cannot be changed when it is stolen. In clear, ``protection=None``, whoever
    reads the file has all that, and can be anyone in it.

    A rotated embedding of unit length may, to who has no key, be any vector. Who has the key has
    the embedding. Embeddings under one key keep their angles to one another: give each person a key
    of their own, or the file tells who is like whom. What several utterances of one person have in
    common is not hidden. `rotate` brings them to a new key without loss, so that a stolen file is
    worth nothing with the old one.

    A hash loses something, for those who verify too, and cannot be renewed without the person: only
    enrolling again takes a new key. To who has the key, all hashes tell of the embedding; see
    :mod:`skdistort.template_baselines`. One threshold serves all keys: the false match rate of
    BioHashing and IoMHashing is about the same under each, that of MLPHash and PolyProtect is not,
    and the target is met on average over keys only.

    Scores help an attacker, as does a search: give booleans to whoever asks, and count attempts by
    `on_attempt`.

    Examples
    --------
    >>> import os, secrets, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skdistort.templates import EmbeddingStore
    >>> X, y = load_digits(return_X_y=True)
    >>> encoder, key = PCA(20).fit(X[:900]), secrets.token_bytes(16)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with EmbeddingStore(encoder, os.path.join(folder, "voices.db"), key=key) as store:
    ...         _ = store.calibrate_threshold(X[900:1200], y[900:1200])
    ...         store.enrol(["ada", "ada", "ada", "bob"], X[[1203, 1231, 1233, 1204]])
    ...         accepted = store.verify(["ada", "bob"], X[[1255, 1255]])
    ...         store.revoke("bob")
    ...         ids = store.ids
    >>> ids
    ['ada']
    """

    def __init__(
        self,
        encoder,
        path,
        *,
        protection="rotation",
        key=None,
        read_only=False,
        key_cost=14,
        allow_weak_keys=False,
        mac_key=None,
        on_attempt=None,
    ):
        check_hook(on_attempt)
        check_protection(protection)
        _check_encoder(encoder)
        if protection is None and key is not None:
            raise ValueError("Embeddings in clear, protection=None, are under no key; got one.")
        self.encoder, self.protection = encoder, protection
        self._key, self._on_attempt = key, on_attempt
        self._fingerprint = None if encoder is None else Fingerprint(encoder, "encoder")
        self._owner()
        self._database = TemplateDatabase(path, read_only=read_only, mac_key=mac_key)
        self._cache = GalleryCache(self._database)
        # A gallery of embeddings, and that of the means of each id's.
        self._means = None, None
        try:
            self._check_encoder()
            self._keys = StoreKeys(self._database, cost=key_cost, allow_weak=allow_weak_keys)
            if mac_key is not None:
                self._database.numbers()
        except BaseException:
            self._database.close()
            raise
        if protection is None:
            warnings.warn(
                f"{self._database.path} keeps embeddings in clear: whoever reads it can be anyone "
                "in it, and learns from each what an embedding says of a person. "
                'protection="rotation" keeps them under keys, at the same error rates.',
                stacklevel=2,
            )

    def enrol(self, ids, X, keys=None, *, add_to_existing=False):
        """Embed samples and keep what the protection makes of them, all or none.

        Parameters
        ----------
        ids : sequence of str
            The id of each sample. One that occurs more than once is compared by the mean of its
            embeddings.
        X : array-like or list of n_samples
            What the encoder takes.
        keys : int, bytes or sequence of these, default=None
            One key for all samples or one for each; None takes the store's `key`.
        add_to_existing : bool, default=False
            Whether ids that are enrolled already get further embeddings; they are refused
            otherwise.

        Raises
        ------
        TypeError
            If an id is not a str, or a key neither an int nor bytes.
        ValueError
            If an id is enrolled already, there is not one id and one key for each sample, or one is
            none that can be taken; if an embedding is not finite or has no length.
        """
        self._database.refuse_if_read_only()
        self._check_encoder()
        ids = check_ids(ids, X, "samples")
        keys = self._stretched(keys, len(ids))
        values = self._protected(self._embed(X), keys, writes=True)
        rows = zip(
            ids,
            [b""] * len(ids),
            key_checks(keys, len(ids)),
            write_embeddings(values),
            strict=True,
        )
        self._database.add(rows, only_new=not add_to_existing)

    def verify(self, ids, X, keys=None):
        """Decide which probes are of the ids that they claim.

        Parameters
        ----------
        ids : sequence of str
            The claimed id of each probe.
        X : array-like or list of n_samples
            Probes, as the encoder takes them.
        keys : int, bytes or sequence of these, default=None
            The keys that the probes claim.

        Returns
        -------
        ndarray of shape (n_samples,), bool
            True where the score, as :meth:`score_claims` gives it, reaches the threshold for as
            many embeddings as the id has under the key, one of `thresholds_`; False where it has
            none.

        Raises
        ------
        KeyError
            If an id is not enrolled.
        sklearn.exceptions.NotFittedError
            If there is no threshold yet.
        TypeError
            If an id is not a str, or a key neither an int nor bytes.
        ValueError
            If ids, keys and probes differ in number, or the encoder refuses `X`.
        """
        ids = check_ids(ids, X, "samples")
        thresholds = self.thresholds_
        scores, numbers = self._score_claims(ids, X, keys)
        return scores >= thresholds_for(thresholds, numbers)

    def verify_proba(self, ids, X, keys=None):
        """Give the probability that probes are of the ids that they claim.

        Parameters
        ----------
        ids : sequence of str
            The claimed id of each probe.
        X : array-like or list of n_samples
            Probes, as the encoder takes them.
        keys : int, bytes or sequence of these, default=None
            The keys that the probes claim.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Probabilities at the prior of the calibration; 0 where the id has no embedding under the
            key.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`calibrate_probability`.
        KeyError, TypeError, ValueError
            As :meth:`verify`.
        """
        ids = check_ids(ids, X, "samples")
        prior, lines = self._kept_lines()
        scores, numbers = self._score_claims(ids, X, keys)
        slopes, intercepts = np.array([lines[min(n, len(lines)) - 1] for n in numbers]).T
        probabilities = np.zeros(len(ids))
        there = np.isfinite(scores)
        odds = slopes[there] * scores[there] + intercepts[there] + logit(prior)
        probabilities[there] = expit(odds)
        return probabilities

    def score_claims(self, ids, X, keys=None):
        """Compare probes with the embeddings of the ids that they claim.

        Parameters
        ----------
        ids : sequence of str
            The claimed id of each probe.
        X : array-like or list of n_samples
            Probes, as the encoder takes them.
        keys : int, bytes or sequence of these, default=None
            The keys that the probes claim.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Cosines with the mean of the id's embeddings under the key, as they are kept: of
            rotated ones that of the embeddings; of bits of one hash ``1 - 2 d``, with d the share
            that differ; -inf where there is none.

        Raises
        ------
        KeyError, TypeError, ValueError
            As :meth:`verify`.
        """
        return self._score_claims(check_ids(ids, X, "samples"), X, keys)[0]

    def identify(self, X, k=1, *, keys=None):
        """Search for probes among all enrolled ids.

        Parameters
        ----------
        X : array-like or list of n_samples
            Probes, as the encoder takes them.
        k : int, default=1
            How many ids to name; all of them where there are fewer.
        keys : int, bytes or sequence of these, default=None
            The keys that the probes claim: each is compared with what is under its own.

        Returns
        -------
        Identification
            ``ids``, the k best of each probe, each once, and their ``scores``, as
            :meth:`score_claims` gives them; None and -inf where fewer have embeddings under the
            key. No threshold is applied: a probe of someone not enrolled is like someone, too.

        Raises
        ------
        ValueError
            If `k` is not positive, nothing is enrolled, or the encoder refuses `X`.
        """
        check_n_best(k)
        self._check_encoder()
        n = _num_samples(X)
        keys = self._stretched(keys, n)
        attempt(self._on_attempt, None)
        values = self._protected(self._embed(X), keys)
        if not self._cache.refresh(values.shape[1]):
            raise ValueError("No id is enrolled, so that none can be found.")
        codes = to_codes(self.protection, values)
        found = search_under_keys(self._means_under, codes, key_checks(keys, n), k)
        # Of vectors of unit length.
        return Identification(found.ids, 1 + found.scores / 2)

    def revoke(self, id):
        """Remove all embeddings of an id and erase their bytes from the file and its log.

        Parameters
        ----------
        id : str
            The id; it may be enrolled again.

        Raises
        ------
        KeyError
            If it is not enrolled.
        TypeError
            If it is not a str.
        TimeoutError
            As :meth:`TemplateStore.revoke`.
        """
        self._database.refuse_if_read_only()
        id = check_id(id)
        if self._database.remove(id) == 0:
            raise KeyError(f"{id!r} is not enrolled.")

    def rotate(self, id, new_key, *, key=None):
        """Bring rotated embeddings to a new key, without the person; erase the old bytes.

        Nothing is lost. Every few thousand embeddings are one transaction: if interrupted, call it
        again.

        Parameters
        ----------
        id : str or None
            Whose embeddings; None for those of all ids.
        new_key : int or bytes
            Their new key. The store's `key` stays what it is.
        key : int, bytes or None, default=None
            The key that they are under; others stay. None takes the store's `key`.

        Returns
        -------
        int
            How many embeddings were brought to the new key.

        Raises
        ------
        KeyError
            If `id` has no embedding under `key`.
        TypeError
            If `id` is neither a str nor None, or a key neither an int nor bytes.
        ValueError
            If the store's protection is not "rotation", or both keys are the same.
        TimeoutError
            As `revoke`, after a transaction that is done: call it again.
        """
        self._database.refuse_if_read_only()
        self._check_encoder()
        if id is not None:
            id = check_id(id)
        if self.protection != "rotation":
            raise ValueError(
                "Only rotated embeddings can be brought to another key; this store keeps "
                f"{describe_protection(self.protection)}: enrol its people anew."
            )
        (old,), (new,) = self._stretched(key, 1), self._stretched(new_key, 1)
        if old == new:
            raise ValueError("new_key is the key that the embeddings are under.")
        n_renewed, last, old_check = 0, 0, key_check(old)
        while rows := self._database.read_embeddings_after(last, BLOCK):
            last = rows[-1][0]
            rows = [row for row in rows if row[2] == old_check and id in (None, row[1])]
            if rows:
                values = self._read([row[3] for row in rows], len(rows[0][3]) // 4)
                plain = rotate_embeddings(values, old, inverse=True)
                blobs = write_embeddings(rotate_embeddings(plain, new))
                contents = {row[0]: (b"", blob) for row, blob in zip(rows, blobs, strict=True)}
                n_renewed += self._database.replace(contents, key_check(new))
        if id is not None and not n_renewed:
            raise KeyError(f"{id!r} has no embedding under this key.")
        return n_renewed

    def calibrate_threshold(self, X, y, *, strategy="eer", target_fmr=0.01):
        """Choose where to decide, from labelled samples, and keep it in the file.

        Every sample is a probe, and with others of its identity one of those that somebody enrols
        by; none is compared with itself. Scores with the mean of several are of another
        distribution than those with one, so that each number gets a threshold of its own. Numbers
        beyond the samples get stricter ones. All are compared under one key, as if an impostor had
        that of the person; hashes, whose scores hang on the key, under 16 keys in turn.

        Parameters
        ----------
        X : array-like or list of n_samples
            Samples that the encoder was not trained on; they are not enrolled. Memory grows with
            ``n_samples ** 2``.
        y : array-like of shape (n_samples,)
            Their identities.
        strategy : {"eer", "fmr"}, default="eer"
            The threshold of the equal error rate, or the most lenient score with a false match
            rate of at most `target_fmr`.
        target_fmr : float, default=0.01
            In [0, 1], for "fmr".

        Returns
        -------
        self
            With `thresholds_` set, which replace those of an earlier call.

        Raises
        ------
        ValueError
            If a parameter is out of range, the labels do not fit the samples, or there are not both
            genuine and impostor pairs.
        """
        self._database.refuse_if_read_only()
        self._check_encoder()
        check_strategy(strategy, target_fmr)
        identities, score_groups = self._calibration_trials(X, y)
        thresholds = choose_group_thresholds(identities, score_groups, strategy, target_fmr)
        self._database.put("thresholds", write_thresholds(thresholds))
        return self

    def calibrate_probability(self, X, y, *, prior=0.5):
        """Learn what a score says about the odds, from labelled samples, and keep it in the file.

        A line by logistic regression for each number of embeddings that an id may have, as far as
        the samples go; the last one serves for more.

        Parameters
        ----------
        X : array-like or list of n_samples
            Samples that the encoder was not trained on; they are not enrolled.
        y : array-like of shape (n_samples,)
            Their identities.
        prior : float, default=0.5
            Probability of a genuine claim where the probabilities will be used.

        Returns
        -------
        self
            Whose :meth:`verify_proba` can be asked.

        Raises
        ------
        ValueError
            If `prior` is not in (0, 1), the labels do not fit the samples, or there are not both
            genuine and impostor pairs.
        """
        self._database.refuse_if_read_only()
        self._check_encoder()
        lines = []
        for _, genuine, scores in group_trials(*self._calibration_trials(X, y)):
            line = ScoreFusion("logistic", prior=prior).fit(scores[:, None], genuine)
            lines.append([float(line.coef_[0]), line.intercept_])
        self._database.put("probabilities", json.dumps({"prior": float(prior), "lines": lines}))
        return self

    @property
    def thresholds_(self):
        """The lowest scores that are accepted, as any process calibrated them last.

        Returns
        -------
        dict of int to float
            A cosine for each number of embeddings that was tried; the next higher number's is that
            of an id with another one, and an id with more than all is refused.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before a calibration. It is an AttributeError too: ``hasattr`` tells.
        """
        return kept_thresholds(self._database, "EmbeddingStore")

    def close(self):
        """Close the file and forget the embeddings. A closed store refuses all else."""
        super().close()
        self._means = None, None

    def _score_claims(self, ids, X, keys):
        """Score claims; also how many embeddings each was compared with."""
        self._check_encoder()
        keys = self._stretched(keys, len(ids))
        attempt(self._on_attempt, ids)
        values = self._protected(self._embed(X), keys)
        codes = to_codes(self.protection, values)
        claimed = read_claimed(self._database, ids, key_checks(keys, len(ids)))
        scores, numbers = np.full(len(ids), -np.inf), np.ones(len(ids), dtype=np.int64)
        for i, blobs in enumerate(claimed):
            if blobs:
                enrolled = to_codes(self.protection, self._read(blobs, values.shape[1]))
                mean = mean_codes(enrolled, np.zeros(len(blobs), dtype=np.intp), 1)
                scores[i] = 1 - squared_distances(codes[i : i + 1], mean)[0] / 2
                numbers[i] = len(blobs)
        return scores, numbers

    def _means_under(self, check):
        """Give the gallery of each id's mean under one key."""
        gallery = self._cache.under(check)
        if gallery is None or not gallery.names:
            return gallery
        if self._means[0] is not gallery:
            codes = to_codes(self.protection, gallery.embeddings)
            means = mean_codes(codes, gallery.codes, len(gallery.names))
            self._means = gallery, Gallery(gallery.names, means)
        return self._means[1]

    def _calibration_trials(self, X, y):
        """Embed labelled samples; whose each is, and how groups of them are scored."""
        embeddings = self._embed(X)
        # A rotation changes no score.
        isometric = self.protection in ("rotation", None)
        keys = _CALIBRATION_KEYS[:1] if isometric else _CALIBRATION_KEYS
        parts = [
            to_codes(self.protection, self._protected(embeddings, [key] * len(embeddings), True))
            for key in keys
        ]
        identities = encode_classes(embeddings, y)

        def score_groups(groups):
            rows = np.repeat(np.arange(len(groups)), groups.shape[1])
            each, n = groups.ravel(), len(groups)
            return np.stack([codes @ mean_codes(codes[each], rows, n).T for codes in parts])

        return identities, score_groups

    def _embed(self, X):
        """Embed samples, to unit length."""
        Z = X if self.encoder is None else self.encoder.transform(X)
        Z = check_array(np.asarray(Z), dtype=[np.float64, np.float32], input_name="embeddings")
        n = _num_samples(X)
        if len(Z) != n:
            raise ValueError(f"The encoder gave {len(Z)} embeddings for {n} samples.")
        # Such a one would be as near to one person as to another.
        refuse_without_length(Z)
        return normalize(Z)

    def _protected(self, embeddings, keys, writes=False):
        """Protect embeddings; what a file keeps of them, of one width."""
        values = protect(self.protection, embeddings, keys)
        width = str(values.shape[1])
        kept = self._database.put_first("width", width) if writes else self._database.get("width")
        if kept not in (width, None):
            raise ValueError(
                f"Embeddings of {embeddings.shape[1]} components become {width} values each, but "
                f"the store keeps {kept}: are they of another encoder?"
            )
        return values

    def _kept_lines(self):
        """Read the prior, and slope and intercept for each number of embeddings."""
        text = self._database.get("probabilities")
        if text is None:
            raise NotFittedError(
                "This EmbeddingStore is not calibrated: call calibrate_probability."
            )
        try:
            kept = json.loads(text)
            prior, lines = float(kept["prior"]), [(float(a), float(b)) for a, b in kept["lines"]]
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise self._database.damaged("its probabilities are none") from error
        if not (0 < prior < 1 and lines and all(map(math.isfinite, sum(lines, ())))):
            raise self._database.damaged("its probabilities are none")
        return prior, lines

    def _stretched(self, keys, n):
        if self.protection is None:
            if keys is not None:
                raise ValueError("Embeddings in clear, protection=None, are under no key.")
            return None
        if keys is None and self._key is None:
            raise ValueError(
                "Embeddings are kept under keys: give keys with the call, or the store a key."
            )
        return self._keys.of(self._key, keys, n)

    def _read(self, blobs, width):
        """Read what the file holds; what cannot be read tells of damage."""
        try:
            return read_embeddings(blobs, width)
        except ValueError as error:
            raise self._database.damaged(str(error)) from error

    def _owner(self):
        encoder = "unknown" if self._fingerprint is None else self._fingerprint()
        return f"{_PREFIX} {encoder} {describe_protection(self.protection)}"

    def _check_encoder(self):
        """Refuse an encoder that the file does not belong to, also where it was fitted since."""
        here = self._owner()
        owner = self._database.put_first(_OWNER, here)
        if owner == here:
            return
        path = self._database.path
        if not owner.startswith(f"{_PREFIX} "):
            raise ValueError(f"{path} is the file of a TemplateStore.")
        _, theirs, protection = owner.split(" ", 2)
        _, ours, wanted = here.split(" ", 2)
        if protection != wanted:
            raise ValueError(
                f"{path} keeps embeddings under the protection {protection}, not {wanted}."
            )
        raise ValueError(
            f"{path} belongs to another encoder: its embeddings are of one of fingerprint "
            f"{theirs[:12]}, this one has {ours[:12]}. Was it fitted again?"
        )


def _check_encoder(encoder):
    """Refuse what gives no embeddings that cosines compare."""
    if encoder is None:
        return
    if not hasattr(encoder, "transform"):
        raise TypeError(f"encoder must have transform, got {type(encoder).__name__}.")
    check_is_fitted(encoder)
    if getattr(encoder, "head_", None) is not None:
        raise ValueError(
            "Embeddings of a SiameseVerifier of mode 'double' are compared by its head, which "
            'needs them in clear and not by cosine: train it with mode="triple".'
        )
