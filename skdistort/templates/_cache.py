"""The gallery of a store's templates, kept up with its file: only what is new is read.

The comparison is in :mod:`skdistort.templates._gallery`, the file in
:mod:`skdistort.templates._database`.
"""

import numpy as np

from ._eight_bit import read_embeddings
from ._gallery import Gallery

# Templates read, and renewed, at a time.
BLOCK = 4096


class GalleryCache:
    """Embeddings of all templates of a file, for searches among them.

    Parameters
    ----------
    database : TemplateDatabase
        The file.
    """

    def __init__(self, database):
        self._database = database
        self.forget()

    def forget(self):
        """Let go of all embeddings."""
        self._numbers, self._subjects = np.empty(0, dtype=np.int64), []
        # Key checks, and which of them each template has.
        self._code_of, self._codes = {}, np.empty(0, dtype=np.intp)
        self._gallery = self._version = self._n_removed = None
        self._part = None, None

    def refresh(self, n_components):
        """Read what was committed since the last call.

        Parameters
        ----------
        n_components : int
            Components of an embedding.

        Returns
        -------
        int
            How many templates there are.
        """
        # Read before the templates are: what comes between is looked at again next time.
        version = self._database.version()
        if version != self._version:
            self._read_changes(n_components)
            self._version = version
        return len(self._numbers)

    def under(self, key_check):
        """Give the gallery of the templates under one key.

        Parameters
        ----------
        key_check : bytes
            Check of the key.

        Returns
        -------
        Gallery
            Those that were there at the last ``refresh``; it may be empty.
        """
        # Looked up, for there may be as many keys as templates: how long that takes tells nothing,
        # since nobody can choose a part of a check, which is a hash of what was stretched.
        rows = np.flatnonzero(self._codes == self._code_of.get(key_check, -1))
        if len(rows) == len(self._codes):
            return self._gallery
        if self._part[0] != key_check:
            subjects = [self._subjects[row] for row in rows]
            self._part = key_check, Gallery(subjects, self._gallery.embeddings[rows])
        return self._part[1]

    def _read_changes(self, n_components):
        n_removed = self._database.ledger().n_removed
        numbers, subjects, codes = [self._numbers], list(self._subjects), [self._codes]
        embeddings = [] if self._gallery is None else [self._gallery.embeddings]
        last = int(self._numbers[-1]) if len(self._numbers) else 0
        while rows := self._database.read_embeddings_after(last, BLOCK):
            new_numbers, new_subjects, checks, blobs = zip(*rows, strict=True)
            numbers.append(np.array(new_numbers))
            subjects.extend(new_subjects)
            codes.append([self._code_of.setdefault(c, len(self._code_of)) for c in checks])
            try:
                embeddings.append(read_embeddings(blobs, n_components))
            except ValueError as error:
                raise self._database.damaged(str(error)) from error
            last = new_numbers[-1]
        numbers, codes = np.concatenate(numbers), np.concatenate(codes).astype(np.intp)
        everything = np.concatenate([np.empty((0, n_components), np.float32), *embeddings])
        if n_removed != self._n_removed:
            there = np.array(self._database.numbers(), dtype=np.int64)
            # Higher ones were committed a moment ago, after this call began.
            if not np.isin(there[there <= last], numbers).all():
                raise self._database.damaged("its index names templates that cannot be read")
            kept = np.flatnonzero(np.isin(numbers, there))
            numbers, codes, everything = numbers[kept], codes[kept], everything[kept]
            subjects = [subjects[i] for i in kept]
        self._numbers, self._subjects, self._codes = numbers, subjects, codes
        self._gallery, self._n_removed = Gallery(subjects, everything), n_removed
        self._part = None, None
