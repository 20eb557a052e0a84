"""The tables of a store in a schema of a PostgreSQL database, for clients on several machines.

Needs psycopg 3, which is imported when such a store is opened.

One writer at a time: a change begins by locking the table that every change writes its count of
changes to, so that none has to be tried again; readers do not wait for it. Rows that were deleted
stay in the pages of a table, and ``VACUUM`` leaves their bytes there. So the contents are copied to
a new table, which takes the place of the old one, whose files the server removes. That copies what
is there now, where ``VACUUM FULL`` would copy what an older transaction of anybody may still see,
and keeps others from reading for an instant only.
"""

import os
import threading
import time
from contextlib import contextmanager

from ._connection import COPY, Connection

SCHEMES = ("postgresql://", "postgres://")
# Of a URL, what messages may show.
_SHOWN = ("user", "host", "port", "dbname", "service")
# A comment on the table of metadata tells what the tables are; the version is theirs.
_MARK, _VERSION = "skdistort template store of version ", "1"
# Ids are their UTF-8 bytes: text of PostgreSQL holds no NUL, and sorts as the locale wants. Their
# index is one of hashes: others take 2700 bytes at most.
# Distorted images hardly get smaller by compression, which takes its time.
_CONTENTS = (
    "CREATE TABLE {} (number bigint CONSTRAINT {}_key PRIMARY KEY, embedding bytea NOT NULL, "
    "image bytea NOT NULL)",
    "ALTER TABLE {} ALTER embedding SET STORAGE EXTERNAL, ALTER image SET STORAGE EXTERNAL",
)
_TABLES = (
    "CREATE TABLE metadata (key text PRIMARY KEY, value text NOT NULL, seal bytea NOT NULL)",
    "CREATE TABLE templates (number bigint PRIMARY KEY, subject bytea NOT NULL, "
    "key_check bytea NOT NULL, embedding_seal bytea NOT NULL, image_seal bytea NOT NULL)",
    "CREATE INDEX templates_by_subject ON templates USING hash (subject)",
    f"COMMENT ON TABLE metadata IS '{_MARK}{_VERSION}'",
)
# All that is in the schema but what belongs to an extension, and what else a statement could run.
_OURS = """
WITH ours AS (
    SELECT * FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND NOT EXISTS
    (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid
     AND deptype = 'e'))
"""
_LOOK = f"""{_OURS}
SELECT concat_ws(' ', relkind, relpersistence, relname) FROM ours WHERE relkind <> 'i'
UNION ALL SELECT pg_get_indexdef(oid, 0, true) FROM ours WHERE relkind = 'i'
UNION ALL SELECT concat_ws(' ', relname, attname, format_type(atttypid, atttypmod),
        CASE WHEN attnotnull THEN 'NOT NULL' END, CASE WHEN atthasdef THEN 'DEFAULT' END)
    FROM ours JOIN pg_attribute ON attrelid = ours.oid
    WHERE relkind = 'r' AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'trigger ' || tgname FROM ours JOIN pg_trigger ON tgrelid = ours.oid
UNION ALL SELECT 'rule ' || rulename FROM ours JOIN pg_rewrite ON ev_class = ours.oid
UNION ALL SELECT 'policy ' || polname FROM ours JOIN pg_policy ON polrelid = ours.oid
UNION ALL SELECT 'constraint ' || conname FROM ours JOIN pg_constraint ON conrelid = ours.oid
    WHERE contype NOT IN ('n', 'p')
UNION ALL SELECT 'child ' || inhrelid::regclass FROM ours JOIN pg_inherits ON inhparent = ours.oid
"""
_SCHEMA = {
    "r p metadata",
    "metadata key text NOT NULL",
    "metadata value text NOT NULL",
    "metadata seal bytea NOT NULL",
    "CREATE UNIQUE INDEX metadata_pkey ON metadata USING btree (key)",
    "r p contents",
    "contents number bigint NOT NULL",
    "contents embedding bytea NOT NULL",
    "contents image bytea NOT NULL",
    "CREATE UNIQUE INDEX contents_key ON contents USING btree (number)",
    "r p templates",
    "templates number bigint NOT NULL",
    "templates subject bytea NOT NULL",
    "templates key_check bytea NOT NULL",
    "templates embedding_seal bytea NOT NULL",
    "templates image_seal bytea NOT NULL",
    "CREATE UNIQUE INDEX templates_pkey ON templates USING btree (number)",
    "CREATE INDEX templates_by_subject ON templates USING hash (subject)",
}
# Seconds after which a client that says nothing within a change is taken for lost.
_LOST = 30.0
# Seconds for which others may have to wait behind one who waits for readers, and between two tries.
_AT_A_TIME, _PAUSE = 0.1, 0.02


class PostgreSQLConnection(Connection):
    """A connection to the schema that comes first in the search path.

    Parameters
    ----------
    url : str
        As libpq takes it; what is not in it comes from a service file, a password file and the
        environment.
    read_only : bool
        Whether to change nothing.

    Raises
    ------
    ImportError
        If psycopg is not installed.
    ValueError
        If the URL is none.
    OSError
        If there is no connection.
    """

    forget = "DELETE FROM contents WHERE number = ?"
    remains = "files"

    def __init__(self, url, *, read_only):
        self._psycopg = _import_psycopg()
        parameters = _parameters(self._psycopg, url)
        self.name = _without_secrets(parameters)
        self._read_only = read_only
        self._opened_by = os.getpid(), threading.get_ident()
        self._open = None
        options = {"autocommit": True, "client_encoding": "utf8"}
        if "connect_timeout" not in parameters:
            options["connect_timeout"] = max(1, int(self.timeout))
        with self._naming_the_store():
            self._open = self._psycopg.connect(url, **options)
        self._open.isolation_level = self._psycopg.IsolationLevel.READ_COMMITTED

    def set_up(self, begin):
        """Set what the session promises; make the tables in an empty schema."""
        self._set("lock_timeout", _milliseconds(self.timeout))
        # A machine that is lost within a change holds others up no longer than that.
        self._set("idle_in_transaction_session_timeout", _milliseconds(_LOST))
        schema, acknowledged_early = self.execute(
            "SELECT quote_ident(current_schema()), current_setting('synchronous_commit') = 'off'"
        )[0]
        if schema is None:
            raise ValueError(f"{self.name} has no schema for a store: its search_path names none.")
        self._set("search_path", schema)
        if acknowledged_early:
            self._set("synchronous_commit", "on")
        if self._read_only:
            self._set("default_transaction_read_only", "on")
            if self._is_blank():
                raise ValueError(f"{self.name} is no template store yet: it is empty.")
            self._check_schema()
            return
        if self._is_blank():
            self._make_tables(begin)
        self._check_schema()
        self._become_the_owner()

    def execute(self, statement, parameters=()):
        """Execute a statement and read all rows."""
        with self._naming_the_store():
            cursor = self._connection().execute(
                statement.replace("?", "%s"), parameters or None, binary=True
            )
            return cursor.fetchall() if cursor.description else []

    def execute_many(self, statement, rows):
        """Execute a statement for each row, without waiting for each."""
        with self._naming_the_store(), self._connection().cursor() as cursor:
            cursor.executemany(statement.replace("?", "%s"), rows)

    @contextmanager
    def transaction(self):
        """Write alone."""
        with self._naming_the_store(), self._connection().transaction():
            self.execute("LOCK TABLE metadata IN SHARE ROW EXCLUSIVE MODE")
            self._check_schema()
            yield

    @contextmanager
    def snapshot(self):
        """Read one state."""
        with self._naming_the_store(), self._connection().transaction():
            self.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield

    def version(self):
        """Read the record that every change writes, a random number within."""
        return self.execute("SELECT value FROM metadata WHERE key = 'ledger'")

    def write_id(self, subject):
        """Keep its bytes."""
        return subject.encode()

    def read_id(self, kept):
        """Decode it."""
        try:
            return kept.decode()
        except UnicodeDecodeError as error:
            raise self.damaged("it holds text that is none") from error

    def is_worth_rewriting(self, ledger):
        """Leave no byte of what was removed."""
        return ledger.n_erased > 0

    def rewrite_contents(self):
        """Write the table anew, beside those who read, and let it take the other's place."""
        # Whoever cannot be waited for is known before all is copied.
        with self._connection().transaction(force_rollback=True):
            self._lock_contents()
        for statement in _CONTENTS:
            self.execute(statement.format("compacted", "compacted"))
        self.execute(COPY)
        # Who might read the old table may read the new one.
        grants = self.execute(
            "SELECT format('GRANT %s ON compacted TO %s', privilege_type, CASE grantee WHEN 0 "
            "THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END) "
            "FROM pg_class, aclexplode(relacl) WHERE pg_class.oid = 'contents'::regclass"
        )
        for (grant,) in grants:
            self.execute(grant)
        self._lock_contents()
        self.execute("DROP TABLE contents")
        self.execute("ALTER TABLE compacted RENAME TO contents")
        self.execute("ALTER INDEX compacted_key RENAME TO contents_key")

    def erase(self, rewrite, wait):
        """Write the contents anew as soon as no one reads them."""
        give_up = time.monotonic() + wait
        while True:
            try:
                rewrite()
                return True
            except TimeoutError:
                if time.monotonic() >= give_up:
                    return False
            time.sleep(_PAUSE)

    def close(self):
        """Close the connection; in a process that was forked off, leave the parent's alone."""
        connection, self._open = self._open, None
        if connection is not None and self._opened_by[0] == os.getpid():
            connection.close()

    def _connection(self):
        if self._open is None:
            raise ValueError("The template store is closed.")
        if self._opened_by != (os.getpid(), threading.get_ident()):
            raise RuntimeError("A template store is used in the same thread that opened it.")
        return self._open

    def _set(self, name, value):
        self.execute("SELECT set_config(?, ?, false)", (name, value))

    def _lock_contents(self):
        """Keep others from the contents, who wait behind this for a moment at most."""
        self.execute(f"SET LOCAL lock_timeout = {_milliseconds(min(_AT_A_TIME, self.timeout))}")
        self.execute("LOCK TABLE contents IN ACCESS EXCLUSIVE MODE")

    def _make_tables(self, begin):
        with self._naming_the_store(), self._connection().transaction():
            # Another client may be making them.
            self.execute(
                "SELECT pg_advisory_xact_lock(hashtext(?), "
                "current_schema()::regnamespace::oid::int)",
                (_MARK,),
            )
            if self._is_blank():
                for statement in _CONTENTS:
                    self.execute(statement.format("contents", "contents"))
                for statement in _TABLES:
                    self.execute(statement)
                begin()

    def _is_blank(self):
        """Whether the schema holds nothing yet; raises if it holds something else."""
        found = dict(
            self.execute(
                f"{_OURS} SELECT relname::text, obj_description(oid, 'pg_class') FROM ours "
                "WHERE relkind <> 'i'"
            )
        )
        mark = found.get("metadata") or ""
        if mark == f"{_MARK}{_VERSION}":
            return False
        if mark.startswith(_MARK):
            raise ValueError(
                f"{self.name} is a template store of version {mark[len(_MARK) :]}; "
                f"this is {_VERSION}."
            )
        if found:
            raise ValueError(
                f"{self.name} is not a template store, but a schema with another table, "
                f"{min(found)!r}."
            )
        return True

    def _check_schema(self):
        """Refuse tables, views, triggers and rules that are not ours: one could keep copies."""
        found = [line for (line,) in self.execute(_LOOK)]
        strange = set(found) ^ _SCHEMA
        if strange or len(found) != len(_SCHEMA):
            raise self.damaged(f"its schema is not a template store's: {sorted(strange)[:1]}")

    def _become_the_owner(self):
        """Act for the owner of the tables, who alone can erase; refuse who may not."""
        owner, may = self.execute(
            "SELECT quote_ident(pg_get_userbyid(relowner)), pg_has_role(relowner, 'MEMBER') "
            "FROM pg_class WHERE oid = 'metadata'::regclass"
        )[0]
        if not may:
            raise PermissionError(
                f"Only {owner}, who owns the tables of {self.name}, can change and erase what is "
                "in them: others open it with read_only=True."
            )
        self.execute(f"SET ROLE {owner}")

    @contextmanager
    def _naming_the_store(self):
        """Turn psycopg's exceptions about the database into Python's, with the store's name."""
        errors = self._psycopg.errors
        try:
            yield
        except errors.LockNotAvailable as error:
            raise TimeoutError(f"{self.name}: {_first_line(error)}.") from error
        except errors.InsufficientPrivilege as error:
            raise PermissionError(f"{self.name}: {_first_line(error)}.") from error
        except (
            self._psycopg.IntegrityError,
            errors.InternalError_,
            errors.DataCorrupted,
            errors.IndexCorrupted,
            errors.UndefinedTable,
            errors.UndefinedColumn,
        ) as error:
            raise self.damaged(_first_line(error)) from error
        except (self._psycopg.OperationalError, self._psycopg.InternalError) as error:
            raise OSError(f"{self.name}: {_first_line(error)}.") from error


def _import_psycopg():
    try:
        import psycopg
    except ImportError as error:
        raise ImportError(
            "A template store in PostgreSQL needs psycopg: install it with "
            "`pip install 'skdistort[postgresql]'`."
        ) from error
    return psycopg


def _parameters(psycopg, url):
    """Read a URL; one that is none is not quoted, for a part of the password may be anywhere."""
    try:
        parameters = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        parameters = None
    if parameters is not None:
        # Where a URL is cut at the wrong place, the password is in another part.
        ports = str(parameters.get("port", "")).split(",")
        places = str(parameters.get("host", "")) + str(parameters.get("dbname", ""))
        if all(port.isdecimal() or not port for port in ports) and "@" not in places:
            return parameters
    raise ValueError(
        "The URL of the template store is none of PostgreSQL's: it has to be like "
        "postgresql://user:password@host:port/database, where @, /, :, %, ? and # within the "
        "password are written as %40, %2F, %3A, %25, %3F and %23. It is not shown here, for it "
        "may hold a password."
    )


def _without_secrets(parameters):
    """Name a store by what may be seen."""
    shown = [f"{key}={parameters[key]}" for key in _SHOWN if parameters.get(key)]
    return f"PostgreSQL ({', '.join(shown) or 'as its environment says'})"


def _milliseconds(seconds):
    return str(max(1, int(1000 * seconds)))


def _first_line(error):
    return str(error).strip().split("\n")[0].rstrip(".")
