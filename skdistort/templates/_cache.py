"""The gallery of a store's templates, kept up with its file: only what is new is read.

The comparison is in :mod:`skdistort.templates._gallery`, the file in
:mod:`skdistort.templates._database`.
"""

import numpy as np

from . import _eight_bit
from ._gallery import Gallery

# Templates read, and embedded or reissued, at a time.
BLOCK = 4096


class GalleryCache:
    """Embeddings of the templates of a file, in memory only.

    Parameters
    ----------
    generator : DistortionGenerator
        The generator that the templates come from.
    database : TemplateDatabase
        The file.
    """

    def __init__(self, generator, database):
        self._generator = generator
        self._database = database
        self.forget()

    def forget(self):
        """Let go of all embeddings."""
        self._numbers, self._subjects = np.empty(0, dtype=np.int64), []
        self._gallery = self._version = None

    def refreshed(self):
        """Get the gallery of what is in the file now.

        Returns
        -------
        Gallery
            All templates that were committed before the call.
        """
        # Read before the templates are: what comes between is looked at again next time.
        version = self._database.version()
        if version != self._version:
            self._read_changes()
            self._version = version
        return self._gallery

    def decoded(self, images):
        """Read templates from their bytes.

        Parameters
        ----------
        images : sequence of bytes
            What the file holds.

        Returns
        -------
        ndarray of shape (n_templates, h, w, c), uint8
            The templates.

        Raises
        ------
        ValueError
            If one is not of the generator's size, which tells of a damaged file.
        """
        try:
            return _eight_bit.read_templates(self._generator, images)
        except ValueError as error:
            raise self._database.damaged(str(error)) from error

    def _read_changes(self):
        numbers, subjects, embeddings = [self._numbers], list(self._subjects), []
        last = 0
        if subjects:
            last = int(self._numbers[-1])
            embeddings.append(self._gallery.embeddings)
        while rows := self._database.read_after(last, BLOCK):
            new_numbers, new_subjects, images = zip(*rows, strict=True)
            numbers.append(np.array(new_numbers))
            subjects.extend(new_subjects)
            templates = self.decoded(images)
            embeddings.append(_eight_bit.embed_templates(self._generator, templates))
            last = new_numbers[-1]
        there = np.array(self._database.numbers(), dtype=np.int64)
        numbers = np.concatenate(numbers)
        # Higher ones were committed a moment ago, after this call began.
        if not np.isin(there[there <= last], numbers).all():
            raise self._database.damaged("its index names templates that cannot be read")
        kept = np.flatnonzero(np.isin(numbers, there))
        self._numbers = numbers[kept]
        self._subjects = [subjects[i] for i in kept]
        everything = np.concatenate(embeddings) if embeddings else np.empty((0, 0), np.float32)
        self._gallery = Gallery(self._subjects, everything[kept])
