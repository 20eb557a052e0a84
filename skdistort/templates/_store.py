"""TemplateStore: distorted images kept on disk, and probes compared with them.

What becomes of an image is in :mod:`skdistort.templates._eight_bit`, the file or the tables in
:mod:`skdistort.templates._database`, the comparison in :mod:`skdistort.templates._gallery`, where
it decides in :mod:`skdistort.templates._thresholds`.
"""

from operator import is_

import numpy as np
from sklearn.utils.validation import _num_samples, check_consistent_length, check_is_fitted

from ..decision._pairs import refuse_without_length
from ..decision._thresholds import check_strategy
from ..distortion import DistortionGenerator
from ..distortion._comparison import MAX_EMBEDDING_DISTANCE
from ..exceptions import RenewalError
from ..keys import key_check
from . import _eight_bit
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
from ._gallery import squared_distances
from ._keys import StoreKeys
from ._open_store import OpenStore
from ._thresholds import choose_thresholds, kept_thresholds, thresholds_for, write_thresholds


class TemplateStore(OpenStore):
    """Enrolled templates on disk: distorted images only, verified and identified by embedding.

    Of every enrolled image the file keeps the distorted one G(X), 8 bits a value, and its embedding
    F(G(X)), which whoever has the template and F can compute; no pixel of the image itself and no
    embedding of it. Probes come undistorted and score the negative squared distance of their
    embedding, as ``embed_probe`` gives it, and that of the template, at most 0.

    Parameters
    ----------
    generator : DistortionGenerator
        A fitted generator, whose embedder compares. A file belongs to the generator that began
        it: another one is refused, be it the same one fitted again.
    path : str or os.PathLike
        The file, an SQLite database; made if there is none, for its owner only. Or, for several
        machines, the URL of a PostgreSQL database, ``"postgresql://..."`` as libpq takes it, whose
        current schema is the store's alone; see Notes.
    read_only : bool, default=False
        Whether to change nothing, as a machine that only verifies does. There has to be a store.
    key_cost : int, default=14
        What a guess at a key costs, from 1 to 20: each step doubles the time that a key takes in
        every call, about 0.05 s at 14, and the memory, 16 MiB at 14. A file keeps the cost that it
        was begun with.
    allow_weak_keys : bool, default=False
        Whether keys may be short or simple, see :func:`skdistort.keys.refuse_guessable`.
    mac_key : bytes or None, default=None
        A key of 16 bytes or more by which the file is sealed, so that rows, thresholds and the
        count of changes that somebody without it wrote are refused. It has to be the same each time
        the file is opened; see Notes. None seals by checksums, which tell of damage only.
    on_attempt : callable or None, default=None
        Called before each ``verify``, ``score_claims`` and ``identify``, with the list of the
        claimed ids, or None for ``identify``. It refuses by raising, and whatever it raises comes
        out of the method; it returns None.

    Raises
    ------
    TypeError
        If `generator` is not a DistortionGenerator, `mac_key` not bytes or `on_attempt` cannot be
        called.
    sklearn.exceptions.NotFittedError
        If the generator is not fitted.
    ValueError
        If the file is not a template store, is damaged, belongs to another generator or was sealed
        by another `mac_key`; if a parameter is out of its range.
    OSError
        If the file cannot be opened or written, or the server not be reached. All methods raise
        it, or ValueError if damaged, or if the generator was fitted again since. What would write
        to a store that is open for reading only raises io.UnsupportedOperation, which is both.
    ImportError
        If it is to be in PostgreSQL and psycopg is not installed.

    Notes
    -----
    A change is one transaction, and on the disk when the method returns: after a crash an
    enrolment is there as a whole or not at all. Other processes may read and write meanwhile;
    every method sees what was committed before it was called. A store belongs to the thread that
    opened it; open another one in every thread and after a fork.

    Without a key a stored template shown as a probe passes, for F(G(X)) is near F(X): whoever
    reads the file can be anyone in it. Revoking an id takes its templates away, but not from who
    has copied them, and enrolling the same image again gives the same template.

    With a key, a template is no use as a probe, and `rotate` makes a copied one useless. Keys are
    given with each call, or stand in the generator's `key`; the file holds none. Each is stretched
    by scrypt with the salt of the file, and what comes out is what the templates are under: the
    same key in another store, or given to ``transform``, makes other templates, and a guess costs
    the stretching. A probe is compared with templates under the key that it claims, and no others.

    Scores help an attacker: some dozens of them, of images of his choice, tell him what image is
    accepted. Give booleans to whoever asks, and count attempts by `on_attempt`.

    A `mac_key` belongs where the file's writers are and its thieves are not: in a key service or
    the process's environment, never beside the file. All that open the file need it. A whole file
    put back to an earlier state has its seals: the count of changes tells, `n_changes`, if it is
    compared with one kept elsewhere; an open store does that by itself. That what was removed did
    not come back is looked at when a store with a `mac_key` is opened and by ``identify``, for all
    templates, in time that grows with their number; ``verify`` looks at the rows of the id.

    Unicode has several forms of one name; an id is kept, and given back, in the composed one (NFC).

    `revoke` fills the room of a template and its embedding in the file and its log with zeros, and
    the file shrinks when more is erased than is left. A file system or a drive may keep what was
    there, and unused parts of the file the text of a revoked id.

    In PostgreSQL all this holds of the tables and the server. Password and TLS are what libpq takes
    them from, and messages show no password. Who writes owns the tables; others wait for him, 30 s
    at most, and who reads does not. `revoke` and `rotate` write the table of the images and
    embeddings anew, so that its files hold no byte of the old ones; the write-ahead log, replicas
    and backups of the server keep theirs.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.frozen import FrozenEstimator
    >>> from skdistort import DistortionGenerator, TripletEmbedder
    >>> from skdistort.templates import TemplateStore
    >>> X, y = load_digits(return_X_y=True)
    >>> small = {"epochs": 3, "filters": (8, 16), "learning_rate": 5e-3, "random_state": 0}
    >>> embedder = FrozenEstimator(TripletEmbedder(**small).fit(X[300:], y[300:]))
    >>> generator = DistortionGenerator(embedder, **small).fit(X[300:])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with TemplateStore(generator, os.path.join(folder, "templates.db")) as store:
    ...         _ = store.calibrate_threshold(X[100:300], y[100:300])
    ...         store.enrol(["ada", "bob"], X[:2])
    ...         accepted = store.verify(["ada", "ada"], X[:2])
    ...         store.revoke("bob")
    ...         ids = store.ids
    >>> accepted.tolist(), ids
    ([True, False], ['ada'])
    """

    def __init__(
        self,
        generator,
        path,
        *,
        read_only=False,
        key_cost=14,
        allow_weak_keys=False,
        mac_key=None,
        on_attempt=None,
    ):
        if not isinstance(generator, DistortionGenerator):
            raise TypeError(
                f"generator must be a DistortionGenerator, got {type(generator).__name__}."
            )
        check_hook(on_attempt)
        check_is_fitted(generator)
        self.generator = generator
        self._on_attempt = on_attempt
        self._database = TemplateDatabase(path, read_only=read_only, mac_key=mac_key)
        self._cache = GalleryCache(self._database)
        try:
            self._parts = None
            self._check_generator()
            self._keys = StoreKeys(self._database, cost=key_cost, allow_weak=allow_weak_keys)
            if mac_key is not None:
                self._database.numbers()
        except BaseException:
            self._database.close()
            raise

    def enrol(self, ids, X, keys=None, *, add_to_existing=False):
        """Distort images and keep the templates, all or none.

        Parameters
        ----------
        ids : sequence of str
            The id of each image. One that occurs more than once gets several templates, each of
            which lets a probe pass.
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Undistorted images, in the units of the generator's ``fit``.
        keys : int, bytes or sequence of these, default=None
            One key for all images or one for each; None takes the generator's `key`.
        add_to_existing : bool, default=False
            Whether ids that are enrolled already get further templates; they are refused otherwise.

        Raises
        ------
        TypeError
            If an id is not a str, or a key neither an int nor bytes.
        ValueError
            If an id is enrolled already, there is not one id and one key for each image, or one is
            none that can be taken.
        """
        self._database.refuse_if_read_only()
        self._check_generator()
        ids = check_ids(ids, X)
        keys = self._stretched(keys, len(ids))
        templates = _eight_bit.make_templates(self.generator, X, keys)
        embeddings = _eight_bit.embed_templates(self.generator, templates)
        # Such a template would be as near to one person as to another.
        refuse_without_length(embeddings)
        rows = zip(
            ids,
            (template.tobytes() for template in templates),
            key_checks(keys, len(ids)),
            _eight_bit.write_embeddings(embeddings),
            strict=True,
        )
        self._database.add(rows, only_new=not add_to_existing)

    def verify(self, ids, X, keys=None):
        """Decide which probes are of the ids that they claim.

        Parameters
        ----------
        ids : sequence of str
            The claimed id of each probe.
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Undistorted probes, in the units of the generator's ``fit``.
        keys : int, bytes or sequence of these, default=None
            The keys that the probes claim.

        Returns
        -------
        ndarray of shape (n_samples,), bool
            True where the score, as :meth:`score_claims` gives it, reaches the threshold for as
            many templates as the id has under the key, one of `thresholds_`; False where it has
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
            If ids, keys and probes differ in number, or `X` are not the generator's images.
        """
        ids = check_ids(ids, X)
        thresholds = self.thresholds_
        scores, numbers = self._score_claims(ids, X, keys)
        return scores >= thresholds_for(thresholds, numbers)

    def score_claims(self, ids, X, keys=None):
        """Compare probes with the templates of the ids that they claim.

        Parameters
        ----------
        ids : sequence of str
            The claimed id of each probe.
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Undistorted probes, in the units of the generator's ``fit``.
        keys : int, bytes or sequence of these, default=None
            The keys that the probes claim.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Negative squared distances of embeddings, at most 0, higher for more alike; each that
            of the best template of the id under the key, -inf where there is none.

        Raises
        ------
        KeyError
            If an id is not enrolled.
        TypeError
            If an id is not a str, or a key neither an int nor bytes.
        ValueError
            If ids, keys and probes differ in number, or `X` are not the generator's images.
        """
        return self._score_claims(ids, X, keys)[0]

    def identify(self, X, k=1, *, keys=None):
        """Search for probes among all enrolled ids.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Undistorted probes, in the units of the generator's ``fit``.
        k : int, default=1
            How many ids to name; all of them where there are fewer.
        keys : int, bytes or sequence of these, default=None
            The keys that the probes claim: each is compared with the templates under its own.

        Returns
        -------
        Identification
            ``ids``, the k best of each probe, each once, and their ``scores``; None and -inf where
            fewer have templates under the key. No threshold is applied: a probe of someone not
            enrolled is like someone, too.

        Raises
        ------
        ValueError
            If `k` is not positive, nothing is enrolled, or `X` are not the generator's images.
        """
        check_n_best(k)
        self._check_generator()
        keys = self._stretched(keys, _num_samples(X))
        attempt(self._on_attempt, None)
        probes = self.generator.embed_probe(X, keys)
        if not self._cache.refresh(probes.shape[1]):
            raise ValueError("No id is enrolled, so that none can be found.")
        return search_under_keys(self._cache.under, probes, key_checks(keys, len(probes)), k)

    def revoke(self, id):
        """Remove all templates of an id and erase their bytes from the file and its log.

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
            If another process was reading for so long that the bytes could not be erased. The id is
            revoked all the same; they go with the next revocation or when the store opens.
        """
        self._database.refuse_if_read_only()
        id = check_id(id)
        if self._database.remove(id) == 0:
            raise KeyError(f"{id!r} is not enrolled.")

    def rotate(self, id, new_key, *, key=None):
        """Replace templates by some under a new key, without the images; erase the old bytes.

        A new template is made from the embedding of the old one, so that errors add up over
        rotations: :func:`skdistort.templates.renewal_error_rates` measures them. It takes the place
        of the old one only if a probe that embeds as the old one does would pass: if their score is
        at least `threshold_`, or, before a calibration, at least -0.4. Others stay.

        Every few thousand templates are one transaction: if interrupted, call it again.

        Parameters
        ----------
        id : str or None
            Whose templates; None for those of all ids.
        new_key : int or bytes
            The key of the new templates. The generator's `key` stays what it is.
        key : int, bytes or None, default=None
            The key that they are under; others stay. None takes the generator's `key`.

        Returns
        -------
        int
            How many templates were replaced.

        Raises
        ------
        KeyError
            If `id` has no template under `key`.
        TypeError
            If `id` is neither a str nor None, or a key neither an int nor bytes.
        ValueError
            If the generator has no key, or both keys are the same.
        skdistort.exceptions.RenewalError
            If some templates stay under the old key because the new ones would not pass, whose ids
            are in its ``failed``; all others are replaced. Enrol their people anew.
        TimeoutError
            As in `revoke`, after a transaction that is done: call it again.
        """
        self._database.refuse_if_read_only()
        self._check_generator()
        if id is not None:
            id = check_id(id)
        if not self.generator.keyed_:
            raise ValueError("Only templates under a key can be rotated; the generator has none.")
        (old,), (new,) = self._stretched(key, 1), self._stretched(new_key, 1)
        if old == new:
            raise ValueError("new_key is the key that the templates are under.")
        limit = -self.threshold_ if hasattr(self, "threshold_") else MAX_EMBEDDING_DISTANCE
        n_renewed, failed, last = 0, [], 0
        # What others enrol under the old key meanwhile has higher numbers and comes in its turn.
        while rows := self._database.read_after(last, BLOCK, subject=id, key_check=key_check(old)):
            numbers, subjects, images = zip(*rows, strict=True)
            renewed, embeddings, distances = _eight_bit.renew_templates(
                self.generator, self._decoded(images), old, new
            )
            passed = np.flatnonzero(distances <= limit)
            blobs = _eight_bit.write_embeddings(embeddings)
            contents = {numbers[i]: (renewed[i].tobytes(), blobs[i]) for i in passed}
            n_renewed += self._database.replace(contents, key_check(new))
            failed += [subjects[i] for i in np.flatnonzero(~(distances <= limit))]
            last = numbers[-1]
        if failed:
            raise RenewalError(
                f"{len(failed)} of {len(failed) + n_renewed} templates stay under their old key, "
                f"such as one of {failed[0]!r}: the new ones lie further than {limit:.3g} from "
                "them. More refinement_steps may help.",
                failed,
                n_renewed,
            )
        if id is not None and not n_renewed:
            raise KeyError(f"{id!r} has no template under this key.")
        return n_renewed

    def calibrate_threshold(self, X, y, *, keys=None, strategy="eer", target_fmr=0.01):
        """Choose where to decide, from labelled images, and keep it in the file.

        Every image is a probe, and a template through the rounding of the store; a probe is not
        compared with its own template. The nearest template of an id decides, and of more templates
        one is nearer by chance: so each number of templates gets a threshold of its own, `n` images
        of one identity at a time being the templates of one id. Numbers beyond the images get
        stricter thresholds, whose false match rate is no higher. Images that the generator or its
        embedder was trained on give thresholds too strict for others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Undistorted images, held out of the training; they are not enrolled. Memory grows
            with ``n_samples ** 2``.
        y : array-like of shape (n_samples,)
            Their identities.
        keys : int, bytes or sequence of these, default=None
            As in `enrol`. Impostors are compared as if they had the key of the template.
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
            If a parameter is out of range, the labels do not fit the images, there are not both
            genuine and impostor pairs, or the images are not the generator's.
        """
        self._database.refuse_if_read_only()
        self._check_generator()
        check_strategy(strategy, target_fmr)
        check_consistent_length(X, y)
        keys = self._stretched(keys, _num_samples(X))
        probes = self.generator.embed(X)
        templates = _eight_bit.make_templates(self.generator, X, keys)
        enrolled = _eight_bit.embed_templates(self.generator, templates)
        if keys is not None:
            # As far from plain probes as the templates are from probes under their keys.
            enrolled = self.generator._rotate(enrolled, keys, inverse=True)
        thresholds = choose_thresholds(probes, enrolled, y, strategy, target_fmr)
        self._database.put("thresholds", write_thresholds(thresholds))
        return self

    @property
    def thresholds_(self):
        """The lowest scores that are accepted, as any process calibrated them last.

        Returns
        -------
        dict of int to float
            A negative squared distance for each number of templates that was tried; the next higher
            number's is that of an id with another one, and an id with more than all is refused.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before a calibration. It is an AttributeError too: ``hasattr`` tells.
        """
        return kept_thresholds(self._database, "TemplateStore")

    def _score_claims(self, ids, X, keys):
        """Score claims; also how many templates each was compared with."""
        self._check_generator()
        ids = check_ids(ids, X)
        keys = self._stretched(keys, len(ids))
        attempt(self._on_attempt, ids)
        probes = self.generator.embed_probe(X, keys)
        claimed = read_claimed(self._database, ids, key_checks(keys, len(ids)))
        scores, numbers = np.full(len(ids), -np.inf), np.ones(len(ids), dtype=np.int64)
        for i, blobs in enumerate(claimed):
            if blobs:
                embeddings = self._reading(_eight_bit.read_embeddings, blobs, probes.shape[1])
                scores[i], numbers[i] = -squared_distances(probes[i], embeddings).min(), len(blobs)
        return scores, numbers

    def _stretched(self, keys, n):
        if self.generator._check_keyed(keys) is None:
            return None
        return self._keys.of(self.generator.key, keys, n)

    def _check_generator(self):
        """Refuse a generator that the file does not belong to, also where it was fitted since."""
        settings, weights = _eight_bit.generator_parts(self.generator)
        if self._parts is not None:
            seen_settings, seen_weights = self._parts
            same = len(seen_weights) == len(weights) and all(map(is_, seen_weights, weights))
            if same and seen_settings == settings:
                return
        fingerprint = _eight_bit.generator_fingerprint(self.generator)
        owner = self._database.put_first("generator", fingerprint)
        if owner != fingerprint:
            raise ValueError(
                f"{self._database.path} belongs to another generator: its templates were made with "
                f"one of fingerprint {owner[:12]}, this one has {fingerprint[:12]}"
                f"{'' if self._parts is None else ', since it was fitted again'}."
            )
        self._parts = settings, weights

    def _decoded(self, images):
        return self._reading(_eight_bit.read_templates, self.generator, images)

    def _reading(self, read, *args):
        """Read what the file holds; what cannot be read tells of damage."""
        try:
            return read(*args)
        except ValueError as error:
            raise self._database.damaged(str(error)) from error
