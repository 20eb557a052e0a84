"""What a store asks of the database that keeps its tables; one module for each kind of them.

Standard library only.
"""

from abc import ABC, abstractmethod


class Connection(ABC):
    """A connection to the tables of one store, which belongs to the thread that opened it.

    Statements are SQL that all databases understand, with ``?`` in the place of each parameter.

    Attributes
    ----------
    name : str
        How messages call the store; it holds no password.
    timeout : float
        Seconds to wait for another writer, or for readers of what is erased.
    forget : str
        Statement that takes the bytes of a template, by its number, out of what can be read.
    remains : str
        What still holds the bytes of a removed template before :meth:`erase`.
    """

    name: str
    timeout = 30.0
    forget: str
    remains: str

    def __getstate__(self):
        raise TypeError("A template store cannot be pickled: open it again where it is used.")

    @abstractmethod
    def set_up(self, begin):
        """Refuse what is no store, before anything is changed; make the tables of a new one.

        Parameters
        ----------
        begin : callable
            Called within the transaction that makes the tables, to write what has to be there.

        Raises
        ------
        ValueError
            If there is something else, or nothing and the connection is for reading only.
        """

    @abstractmethod
    def execute(self, statement, parameters=()):
        """Execute a statement.

        Parameters
        ----------
        statement : str
            The statement.
        parameters : sequence
            Its parameters.

        Returns
        -------
        list of tuple
            All rows of a query.
        """

    @abstractmethod
    def execute_many(self, statement, rows):
        """Execute a statement that gives nothing back, once for each row of parameters.

        Parameters
        ----------
        statement : str
            The statement.
        rows : sequence of sequence
            Its parameters.
        """

    @abstractmethod
    def transaction(self):
        """Commit what is done within, alone among writers, or, if that raises, undo it.

        Returns
        -------
        context manager
            Its beginning waits for other writers and refuses another schema.
        """

    @abstractmethod
    def snapshot(self):
        """Let all queries within see one state.

        Returns
        -------
        context manager
            Nothing can be changed within.
        """

    @abstractmethod
    def version(self):
        """Tell whether anything may have changed.

        Returns
        -------
        object
            Equal ones stand for equal contents.
        """

    @abstractmethod
    def write_id(self, subject):
        """Make what is kept of an id.

        Parameters
        ----------
        subject : str
            The id.

        Returns
        -------
        str or bytes
            It sorts as the UTF-8 bytes do.
        """

    @abstractmethod
    def read_id(self, kept):
        """Read an id.

        Parameters
        ----------
        kept : str or bytes
            What :meth:`write_id` gave.

        Returns
        -------
        str
            The id.
        """

    @abstractmethod
    def is_worth_rewriting(self, ledger):
        """Tell whether so much is erased that the contents are to be written anew.

        Parameters
        ----------
        ledger : Ledger
            What is recorded.

        Returns
        -------
        bool
            True if so.
        """

    @abstractmethod
    def rewrite_contents(self):
        """Write the contents anew within a transaction, but for those without a template."""

    @abstractmethod
    def erase(self, rewrite, wait):
        """Bring about that no file of the database holds bytes of what was removed.

        Parameters
        ----------
        rewrite : callable
            Calls :meth:`rewrite_contents` in a transaction of its own if it is worth it; returns
            whether it did.
        wait : float
            Seconds to wait for those who read.

        Returns
        -------
        bool
            False if others were reading all the time.
        """

    @abstractmethod
    def close(self):
        """Close the connection; nothing if it is closed."""

    def damaged(self, what):
        """Make the exception that tells of damage.

        Parameters
        ----------
        what : str
            What was found.

        Returns
        -------
        ValueError
            To be raised.
        """
        return ValueError(f"The template store {self.name} is damaged: {what}.")


# The same in every database: bytes that have no template are left out.
COPY = (
    "INSERT INTO compacted SELECT * FROM contents WHERE number IN (SELECT number FROM templates) "
    "ORDER BY number"
)
