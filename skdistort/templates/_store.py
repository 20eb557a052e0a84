"""TemplateStore: distorted images kept on disk, and probes compared with them.

What becomes of an image is in :mod:`skdistort.templates._eight_bit`, the file in
:mod:`skdistort.templates._database`, the comparison in :mod:`skdistort.templates._gallery`.
"""

import secrets
import unicodedata
from numbers import Integral

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import _num_samples, check_consistent_length, check_is_fitted

from ..decision._pairs import refuse_without_length
from ..decision._thresholds import check_strategy, choose_threshold
from ..distortion import DistortionGenerator
from ..keys import check_keys, key_check, rotate_embeddings
from ..metrics import pair_scores
from . import _eight_bit
from ._cache import BLOCK, GalleryCache
from ._database import TemplateDatabase
from ._gallery import Identification


class TemplateStore:
    """Enrolled templates on disk: distorted images only, verified and identified by embedding.

    Of every enrolled image the file keeps the distorted one G(X), 8 bits a value, and no pixel
    of the image itself and no embedding. Probes come undistorted and score the negative squared
    distance of their embedding, as ``embed_probe`` gives it, and that of the template, at most 0.
    Embeddings of templates are computed when first asked for and held in memory only.

    Parameters
    ----------
    generator : DistortionGenerator
        A fitted generator, whose embedder compares. A file belongs to the generator that began
        it: another one is refused.
    path : str or os.PathLike
        The file, an SQLite database; made if there is none.

    Raises
    ------
    TypeError
        If `generator` is not a DistortionGenerator.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    ValueError
        If the file is not a template store, is damaged, or belongs to another generator.
    OSError
        If the file cannot be opened or written. All methods raise it, or ValueError if damaged.

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
    given with each call, or stand in the generator's `key`; the file holds none, only a salted
    hash of each, by which `rotate` tells its templates and against which a guess can be tried.

    Unicode has several forms of one name; an id is kept, and given back, in the composed one (NFC).

    `revoke` fills the room of a template in the file and its log with zeros. A file system or a
    drive may keep what was there, and unused parts of the file the text of a revoked id.

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

    def __init__(self, generator, path):
        if not isinstance(generator, DistortionGenerator):
            raise TypeError(
                f"generator must be a DistortionGenerator, got {type(generator).__name__}."
            )
        check_is_fitted(generator)
        self.generator = generator
        self._database = TemplateDatabase(path)
        self._cache = GalleryCache(generator, self._database)
        fingerprint = _eight_bit.generator_fingerprint(generator)
        try:
            owner = self._database.put_first("generator", fingerprint)
            if owner != fingerprint:
                raise ValueError(
                    f"{self._database.path} belongs to another generator: its templates were made "
                    f"with one of fingerprint {owner[:12]}, this one has {fingerprint[:12]}."
                )
            if generator.keyed_:
                salt = self._database.put_first("salt", secrets.token_hex(16))
                self._salt = bytes.fromhex(salt)
        except BaseException:
            self._database.close()
            raise

    def enrol(self, ids, X, keys=None):
        """Distort images and keep the templates, all or none.

        Parameters
        ----------
        ids : sequence of str
            The id of each image. An id may occur more than once and may be enrolled already: it
            then gets further templates, equal ones included.
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Undistorted images, in the units of the generator's ``fit``.
        keys : int, bytes or sequence of these, default=None
            One key for all images or one for each; None takes the generator's `key`.

        Raises
        ------
        TypeError
            If an id is not a str, or a key neither an int nor bytes.
        ValueError
            If there is not one id and one key for each image, or one is none that can be taken.
        """
        ids = _check_ids(ids, X)
        templates = _eight_bit.make_templates(self.generator, X, keys)
        # Such a template would be as near to one person as to another.
        refuse_without_length(_eight_bit.embed_templates(self.generator, templates))
        images = (image.tobytes() for image in templates)
        self._database.add(zip(ids, images, self._key_checks(keys, len(ids)), strict=True))

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
            True where the score, as :meth:`score_claims` gives it, reaches `threshold_`.

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
        ids = _check_ids(ids, X)
        threshold = self.threshold_
        return self._score_claims(ids, X, keys) >= threshold

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
            of the best template of the id.

        Raises
        ------
        KeyError
            If an id is not enrolled.
        TypeError
            If an id is not a str, or a key neither an int nor bytes.
        ValueError
            If ids, keys and probes differ in number, or `X` are not the generator's images.
        """
        return self._score_claims(_check_ids(ids, X), X, keys)

    def identify(self, X, k=1, *, keys=None):
        """Search for probes among all enrolled ids.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, h, w[, c])
            Undistorted probes, in the units of the generator's ``fit``.
        k : int, default=1
            How many ids to name; all of them where there are fewer.
        keys : int, bytes or sequence of these, default=None
            As in `enrol`.

        Returns
        -------
        Identification
            ``ids``, the k best of each probe, each once, and their ``scores``. No threshold is
            applied: a probe of someone not enrolled is like someone, too.

        Raises
        ------
        ValueError
            If `k` is not positive, nothing is enrolled, or `X` are not the generator's images.
        """
        if not isinstance(k, Integral) or k < 1:
            raise ValueError(f"k must be a positive integer, got {k!r}.")
        probes = self.generator.embed_probe(X, keys)
        gallery = self._cache.refreshed()
        if not gallery.names:
            raise ValueError("No id is enrolled, so that none can be found.")
        found, scores = gallery.search(probes, min(k, len(gallery.names)))
        names = np.empty(len(gallery.names), dtype=object)
        names[:] = gallery.names
        return Identification(names[found], scores)

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
            If another process was reading for so long that its log could not be emptied. The id
            is revoked all the same; the bytes go with the next change or when the store opens.
        """
        id = _check_id(id)
        if self._database.remove(id) == 0:
            raise KeyError(f"{id!r} is not enrolled.")

    def rotate(self, id, new_key, *, key=None):
        """Replace templates by some under a new key, without the images; erase the old bytes.

        Every few thousand templates are one transaction: if interrupted, call it again. A new
        template is made from the embedding of the old one, so that errors add up over rotations.

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
        TimeoutError
            As in `revoke`, after a transaction that is done: call it again.
        """
        if id is not None:
            id = _check_id(id)
        if not self.generator.keyed_:
            raise ValueError("Only templates under a key can be rotated; the generator has none.")
        key = self.generator.key if key is None else key
        (old_check,), (new_check,) = self._key_checks(key, 1), self._key_checks(new_key, 1)
        if old_check == new_check:
            raise ValueError("new_key is the key that the templates are under.")
        n_replaced = 0
        # What others enrol under the old key meanwhile has higher numbers and comes in its turn.
        while rows := self._database.read_after(0, BLOCK, subject=id, key_check=old_check):
            numbers, _, images = zip(*rows, strict=True)
            templates = self._cache.decoded(images)
            templates = _eight_bit.reissue_templates(self.generator, templates, key, new_key)
            images = [image.tobytes() for image in templates]
            self._database.replace(dict(zip(numbers, images, strict=True)), new_check)
            n_replaced += len(rows)
        if id is not None and not n_replaced:
            raise KeyError(f"{id!r} has no template under this key.")
        return n_replaced

    def calibrate_threshold(self, X, y, *, keys=None, strategy="eer", target_fmr=0.01):
        """Choose where to decide, from labelled images, and keep it in the file.

        Every image is a probe, and a template through the rounding of the store; a probe is not
        compared with its own template. Images that the generator or its embedder was trained on
        give a threshold too strict for others.

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
            With `threshold_` set, which replaces that of an earlier call.

        Raises
        ------
        ValueError
            If a parameter is out of range, the labels do not fit the images, there are not both
            genuine and impostor pairs, or the images are not the generator's.
        """
        check_strategy(strategy, target_fmr)
        check_consistent_length(X, y)
        probes = self.generator.embed(X)
        templates = _eight_bit.make_templates(self.generator, X, keys)
        enrolled = _eight_bit.embed_templates(self.generator, templates)
        if self.generator.keyed_:
            # As far from plain probes as the templates are from probes under their keys.
            keys = self.generator.key if keys is None else keys
            enrolled = rotate_embeddings(enrolled, keys, inverse=True)
        pairs = pair_scores(probes, y, enrolled, y, exclude_same_index=True)
        threshold = choose_threshold(*pairs, strategy, target_fmr)
        # The shortest text that reads back as the same number.
        self._database.put("threshold", repr(threshold))
        return self

    @property
    def threshold_(self):
        """The lowest score that is accepted, as any process calibrated it last.

        Returns
        -------
        float
            The threshold, a negative squared distance, which the file keeps.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before a calibration. It is an AttributeError too: ``hasattr`` tells.
        """
        value = self._database.get("threshold")
        if value is None:
            raise NotFittedError("This TemplateStore has no threshold: call calibrate_threshold.")
        return float(value)

    @property
    def ids(self):
        """The enrolled ids.

        Returns
        -------
        list of str
            Each once, in the order of their UTF-8 bytes.
        """
        return self._database.subjects()

    def __len__(self):
        """How many ids are enrolled."""
        return self._database.n_subjects()

    def close(self):
        """Close the file and forget the embeddings. A closed store refuses all else."""
        self._database.close()
        self._cache.forget()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _score_claims(self, ids, X, keys):
        probes = self.generator.embed_probe(X, keys)
        return self._cache.refreshed().scores(ids, probes)

    def _key_checks(self, keys, n):
        """Make what the file keeps of n keys; empty for a generator without."""
        if not self.generator.keyed_:
            return [b""] * n
        keys = self.generator.key if keys is None else keys
        return [key_check(key, self._salt) for key in check_keys(keys, n)]


def _check_ids(ids, X):
    """Validate ids, one for each image; a list of str."""
    if isinstance(ids, (str, bytes)):
        raise TypeError(f"ids must be a sequence of str, got a single {type(ids).__name__}.")
    ids = [_check_id(id) for id in ids]
    if len(ids) != _num_samples(X):
        raise ValueError(f"ids has {len(ids)} entries for {_num_samples(X)} images.")
    return ids


def _check_id(id):
    """Validate one id, a str that can be written; its composed form (NFC)."""
    if not isinstance(id, str):
        raise TypeError(f"an id must be a str, got {id!r} of type {type(id).__name__}.")
    if any("\ud800" <= character <= "\udfff" for character in id):
        raise ValueError(f"an id must be text that UTF-8 can hold, got {id!r}.")
    # A name typed on one system and read from a file of another is one name.
    return unicodedata.normalize("NFC", id)
