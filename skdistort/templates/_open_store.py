"""What all stores of people have in common while they are open."""


class OpenStore:
    """A store: its file, and a cache of what was read; `thresholds_` is each one's own."""

    @property
    def threshold_(self):
        """The lowest score that is accepted for an id that enrolled by one sample.

        Returns
        -------
        float
            The first of `thresholds_`, which raises as that does.
        """
        return self.thresholds_[1]

    @property
    def n_changes(self):
        """How often the file has been changed: the count never falls.

        Returns
        -------
        int
            To be kept elsewhere and compared: a lower one tells of an earlier state put back.
        """
        return self._database.ledger().n_changes

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
