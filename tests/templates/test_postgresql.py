"""A store in PostgreSQL: secrets, privileges, other clients, erasure, what it refuses."""

import pickle
import random
import sys
import threading
import time

import pytest
from support.postgresql import PASSWORD
from support.stores import attack, bytes_on_disk

from skdistort.templates import TemplateDatabase
from skdistort.templates._connection import Connection

try:
    import psycopg
except ImportError:
    psycopg = None

in_postgresql = pytest.mark.parametrize("path", ["postgresql"], indirect=True)
SECRETS = (PASSWORD, "ge%2Fheim", "ge/heim", "heim@1", "heim%401")


@pytest.fixture
def database(path):
    database = TemplateDatabase(path)
    yield database
    database.close()


def rows(n, size=500):
    rng = random.Random(size)
    return [(str(i), rng.randbytes(size), b"check", rng.randbytes(40)) for i in range(n)]


def shows_nothing(text):
    return not any(secret in text for secret in SECRETS)


def in_threads(*tasks):
    """Run tasks at a time, each with a connection of its own, and raise what one raises."""
    failures = []

    def run(task):
        try:
            task()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@in_postgresql
def test_the_password_is_shown_nowhere(path, server, database):
    wrong = path.replace("heim", "wrong")
    with pytest.raises(OSError, match="password authentication failed") as refusal:
        TemplateDatabase(wrong)
    assert "wrong" not in f"{refusal.value} {refusal.value.__cause__}"
    assert "user=owner, host=127.0.0.1" in database.path
    shown = [database.path, repr(database), str(vars(database)), str(vars(database._connection))]
    attack(path, ("UPDATE metadata SET value = 'x'", ()))
    for use in (database.numbers, lambda: database.add([("a", b"1")])):
        with pytest.raises(ValueError, match="is damaged: its ledger") as refusal:
            use()
        shown.append(str(refusal.value))
    assert all(map(shows_nothing, shown))
    for of in (database, database._connection):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(of)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://owner:ge/heim@host/db",
        "postgresql://owner:1/ge/heim@host/db",
        "postgresql://owner:x@ge/heim@host/db",
        "postgresql://owner:x@geheim@host/db",
        "postgresql://owner:ge%zzheim@host/db",
        "postgresql://owner@host/db?pasword=geheim",
        "postgres://owner@[geheim/db",
    ],
)
def test_a_url_that_is_cut_at_the_wrong_place_is_refused_unseen(url):
    if psycopg is None:
        pytest.skip("psycopg is not installed")
    with pytest.raises(ValueError, match="URL of the template store is none") as refusal:
        TemplateDatabase(url)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None
    assert "heim" not in str(refusal.value)


@in_postgresql
def test_password_and_tls_are_what_libpq_takes(path, server, monkeypatch):
    bare = path.replace(":ge%2Fheim%401%3A%25", "")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    TemplateDatabase(bare).close()
    monkeypatch.setenv("PGPASSWORD", "none")
    with pytest.raises(OSError, match="password authentication failed"):
        TemplateDatabase(bare)
    with pytest.raises(OSError, match="server does not support SSL"):
        TemplateDatabase(f"{path}&sslmode=require")


def test_without_psycopg_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ImportError, match=r"pip install 'skdistort\[postgresql\]'"):
        TemplateDatabase("postgresql://owner@host/db")


@in_postgresql
def test_a_session_keeps_what_is_promised(path, database):
    settings = "synchronous_commit", "lock_timeout", "idle_in_transaction_session_timeout"
    found = [database._connection.execute(f"SHOW {name}")[0][0] for name in settings]
    assert found == ["on", "30s", "30s"]


@in_postgresql
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER keep BEFORE UPDATE ON templates FOR EACH ROW "
        "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE TABLE copies (image bytea)",
        "CREATE VIEW seen AS SELECT * FROM contents",
        "CREATE RULE keep AS ON DELETE TO templates DO ALSO NOTHING",
        "CREATE INDEX more ON templates (key_check)",
        "DROP INDEX templates_by_subject",
        "ALTER TABLE contents ADD COLUMN copy bytea",
        "ALTER TABLE contents ADD CHECK (length(image) > 0)",
        "ALTER TABLE contents ALTER image SET DEFAULT ''",
        "CREATE POLICY half ON templates USING (number > 1)",
        "CREATE TABLE pg_temp.child () INHERITS (templates)",
        "ALTER TABLE contents SET UNLOGGED",
        "DROP TABLE contents",
    ],
)
def test_another_schema_is_refused_on_opening_and_by_an_open_store(path, database, statement):
    database.add([("a", b"1")])
    with psycopg.connect(path, autocommit=True) as attacker:
        attacker.execute(statement)
        for use in (lambda: TemplateDatabase(path), lambda: database.remove("a")):
            with pytest.raises(ValueError, match="damaged: its schema is not a template store's"):
                use()


@in_postgresql
def test_what_is_no_store_is_refused_and_left(path, server):
    with pytest.raises(ValueError, match="no template store yet: it is empty"):
        TemplateDatabase(path, read_only=True)
    attack(path, ("CREATE TABLE recipes (text text)", ()))
    with pytest.raises(ValueError, match="but a schema with another table, 'recipes'"):
        TemplateDatabase(path)
    attack(path, ("DROP TABLE recipes", ()))
    TemplateDatabase(path).close()
    attack(path, ("COMMENT ON TABLE metadata IS 'skdistort template store of version 2'", ()))
    with pytest.raises(ValueError, match="of version 2; this is 1"):
        TemplateDatabase(path)
    with pytest.raises(ValueError, match="its search_path names none"):
        TemplateDatabase(server.url(options="?options=-csearch_path%3Dnowhere"))


@in_postgresql
def test_who_only_reads_needs_no_more_than_that(path, server, database):
    database.add(rows(3))
    schema = path.rpartition("%3D")[2]
    reader_url = path.replace("owner:", "reader:")
    server.execute(
        "DROP ROLE IF EXISTS reader; "
        f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'; "
        f"GRANT USAGE ON SCHEMA {schema} TO reader; "
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader"
    )
    try:
        with pytest.raises(PermissionError, match="Only owner, .* open it with read_only=True"):
            TemplateDatabase(reader_url)
        reader = TemplateDatabase(reader_url, read_only=True)
        # The table that is written anew may be read by whom might read the old one.
        database.remove("1")
        assert [row[1] for row in reader.read_embeddings_after(0, 9)] == ["0", "2"]
        reader._connection.execute("SET default_transaction_read_only = off")
        with pytest.raises(PermissionError, match="permission denied for table templates"):
            reader._connection.execute("DELETE FROM templates")
        reader.close()
    finally:
        server.execute("DROP OWNED BY reader; DROP ROLE reader")


@in_postgresql
def test_revoked_bytes_are_in_no_file_whatever_others_still_see(path, server, database):
    # Some in a row's page, some in pages of their own.
    templates = rows(40, size=500) + [
        (f"long {i}", *row[1:]) for i, row in enumerate(rows(9, 9000))
    ]
    database.add(templates)
    with psycopg.connect(server.url(), autocommit=True) as other:
        # VACUUM FULL would keep for it what it could see.
        other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM pg_class")
        for subject in ("3", "4", "long 2"):
            database.remove(subject)
        database.replace({1: (b"x" * 500, b"y" * 40)}, b"new")
        data = bytes_on_disk(path)
    gone = {"0", "3", "4", "long 2"}
    for subject, image, _, embedding in templates:
        parts = image[:24], image[-24:], embedding
        assert [part in data for part in parts] == [subject not in gone] * 3, subject


@in_postgresql
def test_who_reads_for_long_is_waited_for_and_named(path, database, monkeypatch):
    image = random.Random(0).randbytes(500)
    database.add([("a", image), ("b", b"x")])
    monkeypatch.setattr(Connection, "timeout", 0.05)
    impatient = TemplateDatabase(path)
    with psycopg.connect(path) as reader:
        reader.execute("SELECT * FROM contents").fetchall()
        with pytest.raises(
            TimeoutError, match="'a' are revoked, but their bytes stay in the files"
        ):
            impatient.remove("a")
        assert impatient.subjects() == ["b"]
        assert image in bytes_on_disk(path)
        # Nor does opening wait.
        TemplateDatabase(path).close()
    TemplateDatabase(path).close()
    assert image not in bytes_on_disk(path)
    with psycopg.connect(path) as writer:
        writer.execute("LOCK TABLE metadata IN SHARE ROW EXCLUSIVE MODE")
        with pytest.raises(TimeoutError, match="lock timeout"):
            impatient.add([("c", b"1")])
        # Who only reads does not wait.
        assert impatient.subjects() == ["b"]
        assert impatient.numbers() == [2]
    impatient.add([("c", b"1")])
    impatient.close()


@in_postgresql
def test_a_writer_whose_server_leaves_it_has_written_nothing(path, server, database):
    database.add(rows(2))

    def templates():
        yield "a", b"1"
        server.execute(
            "SELECT pg_terminate_backend(%s)",
            (database._connection.execute("SELECT pg_backend_pid()")[0][0],),
        )
        yield "b", b"2"

    with pytest.raises(OSError, match=r"PostgreSQL \(user=owner"):
        database.add(templates())
    with pytest.raises(OSError, match="the connection is closed"):
        database.subjects()
    again = TemplateDatabase(path)
    assert again.subjects() == ["0", "1"]
    again.numbers()
    again.close()


@in_postgresql
def test_several_clients_begin_enrol_revoke_and_read_together(path):
    n = 12

    def write(name):
        database = TemplateDatabase(path)
        for i in range(n):
            database.add([(f"{name} {i} {j}", b"x", b"", b"y" * 40) for j in range(2)])
            if i % 2:
                assert database.remove(f"{name} {i} 0") == 1
        database.close()

    def read():
        database, seen, give_up = None, 0, time.monotonic() + 60
        while seen < 3 * n * 3 / 2:
            assert time.monotonic() < give_up
            try:
                database = database or TemplateDatabase(path, read_only=True)
            except ValueError:
                continue
            found = {row[1] for row in database.read_embeddings_after(0, 999)}
            # Both or none of an enrolment, but for what is revoked.
            assert {name[:-1] + "1" for name in found} <= found
            seen = len(database.numbers())
        database.close()

    in_threads(*(lambda name=name: write(name) for name in "abc"), read)
    database = TemplateDatabase(path)
    assert len(database.numbers()) == 3 * n * 3 // 2
    numbers = [row[0] for row in database.read_after(0, 999)]
    assert len({*numbers}) == len(numbers)
    assert numbers[-1] <= 3 * n * 2 == database.ledger().last_number
    database.close()


@in_postgresql
def test_a_connection_is_its_threads(path, database):
    with pytest.raises(RuntimeError, match="the same thread that opened it"):
        in_threads(database.numbers)
    database.close()
    database.close()
    with pytest.raises(ValueError, match="closed"):
        database.numbers()


@in_postgresql
def test_text_that_is_none_is_damage(path, database):
    database.add([("a", b"1")])
    attack(path, ("UPDATE templates SET subject = ?", (b"\xff",)))
    with pytest.raises(ValueError, match="is damaged: it holds text that is none"):
        database.subjects()
