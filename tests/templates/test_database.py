"""The tables of a template store: durability under SIGKILL, erasure, other processes, refusals.

What holds in every database is tested in both.
"""

import os
import random
import sqlite3
import subprocess
import sys
import threading

import pytest
from support.stores import attack, bytes_on_disk, in_both
from support.templates import batches_in, contents

from skdistort.templates._connection import Connection
from skdistort.templates._database import TemplateDatabase

FORKS = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no fork and kills otherwise"
)


@pytest.fixture
def database(path):
    database = TemplateDatabase(path)
    yield database
    database.close()


def occurs(image, data):
    """Whether a good part of random bytes occurs, be it cut by pages."""
    pieces = [image[start : start + 24] for start in range(0, len(image) - 23, 1000)]
    return any(piece in data for piece in [*pieces, image[-24:]])


@in_both
def test_reads_what_was_added(database):
    database.add([("b", b"1"), ("a", b"\0" * 5000), ("b", b"")])
    database.add([("a\0x", b"4"), ("é", b"5")])
    rows = [
        (1, "b", b"1"),
        (2, "a", b"\0" * 5000),
        (3, "b", b""),
        (4, "a\0x", b"4"),
        (5, "é", b"5"),
    ]
    assert database.read_after(0, 10) == rows
    assert database.read_after(1, 2) == rows[1:3]
    assert sorted(database.numbers()) == [1, 2, 3, 4, 5]
    assert database.subjects() == ["a", "a\0x", "b", "é"]
    assert database.n_subjects() == 4


@in_both
def test_ids_may_be_of_any_length_and_of_any_text(database):
    rng = random.Random(0)
    ids = [
        "",
        "'; DROP TABLE templates --",
        "%s?",
        "\\x00",
        rng.randbytes(20_000).hex(),
        "\U0001f600",
    ]
    database.add([(id, id.encode()) for id in ids], only_new=True)
    assert database.subjects() == sorted(ids, key=str.encode)
    assert {id: rows[0][1] for id, rows in database.read_claimed(ids).items()} == dict.fromkeys(
        ids, b""
    )
    for id in ids:
        assert [row[2] for row in database.read_after(0, 9, subject=id)] == [id.encode()]
        assert database.remove(id) == 1
    assert database.n_subjects() == 0


@in_both
def test_removes_all_templates_of_one_id(database):
    database.add([("b", b"1"), ("a", b"2"), ("b", b"3")])
    assert database.remove("b") == 2
    assert database.remove("b") == 0
    assert database.read_after(0, 10) == [(2, "a", b"2")]
    database.add([("b", b"4")])
    assert database.read_after(2, 10) == [(4, "b", b"4")]


@in_both
def test_failed_addition_leaves_nothing(database):
    def templates():
        yield "a", b"1"
        raise RuntimeError("the camera broke")

    with pytest.raises(RuntimeError, match="camera"):
        database.add(templates())
    with pytest.raises(ValueError, match="surrogates"):
        database.add([("a", b"1"), ("\ud800", b"2")])
    assert database.numbers() == []
    database.add([("a", b"1")])
    assert database.read_after(0, 9) == [(1, "a", b"1")]


# Of the first two, deleted rows would leave copies, for SQLite moved them to other pages before.
@pytest.mark.parametrize(("seed", "size", "n_steps"), [(8, 100, 20), (74, 300, 20), (0, 9000, 4)])
def test_revoked_bytes_are_on_no_page(path, seed, size, n_steps):
    check_erasure(path, seed, size, n_steps)


def check_erasure(path, seed, size, n_steps):
    rng = random.Random(seed)
    database = TemplateDatabase(path)
    alive, gone = {}, []
    for _ in range(n_steps):
        batch = {f"{rng.random()}": rng.randbytes(size) for _ in range(rng.randint(1, 30))}
        database.add(batch.items())
        alive |= batch
        revoked = rng.sample(sorted(alive), min(len(alive), rng.randint(0, 25)))
        before = bytes_on_disk(path)
        assert all(occurs(alive[subject], before) for subject in revoked)
        for subject in revoked:
            assert database.remove(subject) == 1
            gone.append(alive.pop(subject))
        data = bytes_on_disk(path)
        assert not any(occurs(image, data) for image in gone)
    assert len(gone) > 20
    assert all(occurs(image, data) for image in alive.values())
    database.close()


def test_revocation_while_another_reads_says_that_bytes_remain(path, database, monkeypatch):
    image = random.Random(0).randbytes(500)
    database.add([("a", image), ("b", b"x")])
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM templates").fetchall()
    monkeypatch.setattr(Connection, "timeout", 0.05)
    impatient = TemplateDatabase(path)
    with pytest.raises(TimeoutError, match="'a' are revoked, but their bytes stay"):
        impatient.remove("a")
    assert impatient.subjects() == ["b"]
    assert image in bytes_on_disk(path)
    reader.close()
    TemplateDatabase(path).close()
    assert image not in bytes_on_disk(path)
    impatient.close()


READER = """
import sys
from skdistort.templates._database import TemplateDatabase
database = TemplateDatabase(sys.argv[1])
print("ready", flush=True)
seen = set()
while "last" not in seen:
    found = {}
    for _, subject, image in database.read_after(0, 10**6):
        found.setdefault(subject, []).append(image)
    for subject, images in found.items():
        assert images == [f"{subject} {i}".encode() for i in range(7)], (subject, images)
    # Nothing that was read before is gone, but for what is revoked.
    assert seen - set(found) <= {"revoked"}, (seen, set(found))
    seen |= set(found)
print(len(seen), flush=True)
"""


def test_others_read_whole_enrolments_while_one_writes(path, database):
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for reader in readers:
        assert reader.stdout.readline() == b"ready\n"
    for subject in ["revoked", *map(str, range(60)), "last"]:
        database.add([(subject, f"{subject} {i}".encode()) for i in range(7)])
        if subject == "30":
            database.remove("revoked")
    for reader in readers:
        said, complaint = reader.communicate(timeout=60)
        assert reader.returncode == 0, complaint.decode()
        assert int(said) >= 61


@in_both
def test_commits_of_another_connection_change_the_version(path, database):
    other = TemplateDatabase(path)
    before = database.version()
    assert database.version() == before
    other.add([("a", b"1")])
    after_other = database.version()
    assert after_other != before
    assert database.subjects() == ["a"]
    assert database.version() == after_other
    database.add([("b", b"2")])
    assert database.version() != after_other
    other.close()


@in_both
def test_metadata(path, database):
    assert database.get("threshold") is None
    database.put("threshold", "1")
    database.put("threshold", "2")
    assert database.put_first("threshold", "3") == "2"
    assert database.put_first("generator", "4") == "4"
    other = TemplateDatabase(path)
    assert (other.get("threshold"), other.get("generator")) == ("2", "4")
    other.close()


# One process, which has imported all, lets children write and kills them.
KILLER = """
import os, signal, sys, time
from skdistort.templates._database import TemplateDatabase
from support.templates import contents

def write(path, batch):
    database = TemplateDatabase(path)
    while True:
        subject = f"batch {batch}"
        say("adding", batch)
        rows = [contents(batch, i, False) for i in range(5)]
        database.add([(subject, image, b"old", embedding) for image, embedding in rows])
        say("added", batch)
        if batch % 2 == 0:
            say("renewing", batch)
            numbers = [number for number, *_ in database.read_after(0, 5, subject=subject)]
            renewed = [contents(batch, i, True) for i in range(5)]
            database.replace(dict(zip(numbers, renewed)), b"new")
            say("renewed", batch)
        if batch % 3 == 0:
            say("removing", batch)
            database.remove(subject)
            say("removed", batch)
        batch += 1

def say(word, batch):
    os.write(1, f"{word} {batch}\\n".encode())

for line in sys.stdin:
    first, seconds = line.split()
    child = os.fork()
    if child == 0:
        write(sys.argv[1], int(first))
    time.sleep(float(seconds))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    say("killed", 0)
"""


@FORKS
def test_killed_writers_lose_and_halve_nothing(path):
    rng = random.Random(0)
    words = ("adding", "added", "renewing", "renewed", "removing", "removed")
    said = {word: set() for word in words}
    killer = subprocess.Popen(
        [sys.executable, "-c", KILLER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        text=True,
    )
    for _ in range(25):
        first = 1 + max(said["adding"], default=-1)
        killer.stdin.write(f"{first} {rng.uniform(0, 0.2)}\n")
        killer.stdin.flush()
        while (heard := killer.stdout.readline().split())[0] != "killed":
            said[heard[0]].add(int(heard[1]))
        database = TemplateDatabase(path)
        found = {}
        for number, subject, image in database.read_after(0, 10**6):
            found.setdefault(int(subject.split()[1]), []).append((number, image))
        embeddings = {row[0]: row[2:] for row in database.read_embeddings_after(0, 10**6)}
        database.numbers()
        database.close()
        assert said["added"] - said["removing"] <= set(found) <= said["adding"] - said["removed"]
        alive = set()
        for batch, templates in found.items():
            renewed = {embeddings[number][0] for number, _ in templates} == {b"new"}
            assert renewed or batch not in said["renewed"]
            kept = [(image, embeddings[number][1]) for number, image in templates]
            assert kept == [contents(batch, i, renewed) for i in range(5)]
            alive.add((batch, renewed))
        assert batches_in(bytes_on_disk(path)) == alive
    killer.stdin.close()
    killer.wait()
    killer.stdout.close()
    assert len(said["added"]) > 15
    assert said["renewed"]
    assert said["removed"]
    # Kills did hit writers at work.
    cut_off = [
        said[begun] - said[done] for begun, done in zip(words[::2], words[1::2], strict=True)
    ]
    assert any(cut_off)


FORKED = """
import os, sys
from skdistort.templates._database import TemplateDatabase

def work(i):
    database = TemplateDatabase(sys.argv[1])
    {}
    database.close()

children = []
for i in range({}):
    child = os.fork()
    if child == 0:
        work(i)
        os._exit(0)
    children.append(child)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


def run_together(work, n_processes, path):
    """Do a line of work in several processes at once, which have imported all that they need."""
    script = FORKED.format(work, n_processes)
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, timeout=120)


@FORKS
def test_processes_that_begin_a_store_together(path):
    run_together("for _ in range(20): database.add([(str(i), b'x')])", 4, path)
    database = TemplateDatabase(path)
    assert database.subjects() == ["0", "1", "2", "3"]
    assert len(database.numbers()) == 80
    database.close()


def test_refuses_files_of_other_kinds_and_leaves_them(path):
    path.write_text("certainly no database, but long enough to be looked at as one" * 40)
    before = bytes_on_disk(path)
    with pytest.raises(ValueError, match="is not a template store: file is not a database"):
        TemplateDatabase(path)
    assert bytes_on_disk(path) == before
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE recipes (text)")
    other.commit()
    other.close()
    before = bytes_on_disk(path)
    with pytest.raises(ValueError, match="not a template store, but another SQLite database"):
        TemplateDatabase(path)
    assert bytes_on_disk(path) == before


def test_refuses_another_version(path, database):
    attack(path, ("PRAGMA user_version = 4", ()))
    with pytest.raises(ValueError, match="of version 4; this is 3"):
        TemplateDatabase(path)


def test_refuses_what_cannot_be_opened(tmp_path):
    with pytest.raises(OSError, match="unable to open"):
        TemplateDatabase(tmp_path / "nowhere" / "templates.db")
    with pytest.raises(OSError, match="unable to open"):
        TemplateDatabase(tmp_path)


def test_tells_of_a_changed_byte(path, database):
    image = random.Random(1).randbytes(1000)
    database.add([("a", image), ("b", b"x" * 1000)])
    database.close()
    data = bytearray(path.read_bytes())
    where = data.index(image)
    data[where + 500] ^= 1
    path.write_bytes(data)
    database = TemplateDatabase(path)
    with pytest.raises(ValueError, match="damaged: template 1 is not what was written"):
        database.read_after(0, 10)
    assert len(database.read_after(1, 10)) == 1
    database.close()


def test_tells_of_a_file_cut_short(path, database):
    database.add([(str(i), bytes(3000)) for i in range(50)])
    database.close()
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(ValueError, match="damaged: database disk image is malformed"):
        TemplateDatabase(path)


def test_closed_and_foreign_threads(database):
    failures = []

    def read():
        try:
            database.numbers()
        except sqlite3.ProgrammingError as error:
            failures.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert "same thread" in failures[0]
    database.close()
    database.close()
    for use in (database.numbers, lambda: database.add([("a", b"")]), lambda: database.remove("a")):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_tells_of_damage_that_sqlite_cannot_name(path):
    TemplateDatabase(path).close()
    data = path.read_bytes()
    assert b"NOT NULL, image BLOB" in data
    # The schema is text, and comes back in SQLite's message.
    path.write_bytes(data.replace(b"NOT NULL, image BLOB", b"NOT NULL\xcc image BLOB"))
    with pytest.raises(ValueError, match="is damaged: it holds text that is none") as refusal:
        TemplateDatabase(path).subjects()
    assert not isinstance(refusal.value, UnicodeError)


def rows(n, size=500, seed=0):
    rng = random.Random(seed)
    return [(str(i), rng.randbytes(size), b"check", rng.randbytes(40)) for i in range(n)]


def test_embeddings_of_one_id_are_read_by_their_index(database):
    database.add(rows(20))
    database.add([("7", b"image", b"other", b"embedding")])
    eighth = rows(20)[7]
    found = database.read_embeddings_of("7")
    assert found == [(b"check", eighth[3]), (b"other", b"embedding")]
    assert database.read_embeddings_of("nobody") == []
    assert database.read_embeddings_after(19, 9)[1] == (21, "7", b"other", b"embedding")
    plan = database._connection.execute(
        "EXPLAIN QUERY PLAN SELECT number, (SELECT embedding FROM contents "
        "WHERE contents.number = templates.number) FROM templates WHERE subject IN ('7', '8') "
        "ORDER BY number"
    )
    assert not any("SCAN" in str(step) for step in plan), plan


@in_both
def test_embeddings_are_erased_with_their_templates(path, database):
    database.add(rows(3))
    old = {subject: embedding for subject, _, _, embedding in rows(3)}
    database.remove("0")
    database.replace({2: (b"x" * 500, b"y" * 40)}, b"new")
    data = bytes_on_disk(path)
    assert [old[subject] in data for subject in "012"] == [False, False, True]
    assert database.read_embeddings_of("1") == [(b"new", b"y" * 40)]


def test_the_file_shrinks_and_nothing_revoked_is_left(path, database):
    templates = rows(1100)
    database.add(templates)
    other = TemplateDatabase(path)
    assert len(other.read_embeddings_after(0, 9999)) == 1100
    sizes = []
    for subject, *_ in templates[100:]:
        database.remove(subject)
        sizes.append(path.stat().st_size)
    assert sizes[-1] < sizes[0] / 3
    # Not at each revocation, nor only at the last.
    assert 1 < len({*sizes}) < 10
    data = bytes_on_disk(path)
    for i, (_, image, _, embedding) in enumerate(templates):
        assert (occurs(image, data), embedding in data) == (i < 100, i < 100)
    assert other.numbers() == list(range(1, 101))
    found = other.read_after(0, 999)
    assert [image for _, _, image in found] == [image for _, image, *_ in templates[:100]]
    # A number that was given away does not come again.
    other.add([("late", b"image")])
    assert other.read_after(100, 9) == [(1101, "late", b"image")]
    other.close()
    again = TemplateDatabase(path)
    assert len(again.numbers()) == 101
    again.close()


def test_a_file_of_which_all_is_revoked_is_small_and_goes_on(path, database):
    database.add([("a", os.urandom(3000)) for _ in range(300)])
    assert len(bytes_on_disk(path)) > 900_000
    database.remove("a")
    assert path.stat().st_size < 60_000
    database.add([("b", b"image")])
    assert database.read_after(0, 9) == [(301, "b", b"image")]


@in_both
def test_an_id_that_is_there_is_refused_within_the_transaction(database):
    database.add([("a", b"1"), ("a", b"2")], only_new=True)
    with pytest.raises(ValueError, match="'a' is enrolled already"):
        database.add([("b", b"3"), ("a", b"4")], only_new=True)
    assert database.subjects() == ["a"]
    database.add([("a", b"5")])
    assert len(database.read_embeddings_of("a")) == 3


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER keep AFTER DELETE ON templates BEGIN SELECT 1; END",
        "CREATE TABLE copies (image BLOB)",
        "CREATE VIEW seen AS SELECT * FROM contents",
        "CREATE INDEX more ON templates (key_check)",
        "DROP INDEX templates_by_subject",
        "ALTER TABLE contents ADD COLUMN copy BLOB",
    ],
)
def test_another_schema_is_refused_on_opening_and_by_an_open_store(path, database, statement):
    database.add([("a", b"1")])
    attacker = sqlite3.connect(path)
    attacker.execute(statement)
    attacker.commit()
    for use in (lambda: TemplateDatabase(path), lambda: database.remove("a")):
        with pytest.raises(ValueError, match="damaged: its schema is not a template store's"):
            use()
    attacker.close()


@in_both
def test_an_entry_that_was_changed_is_noticed(path, database):
    database.put("threshold", "-0.5")
    attack(path, ("UPDATE metadata SET value = '-9' WHERE key = 'threshold'", ()))
    with pytest.raises(ValueError, match="its threshold is not what was written"):
        database.get("threshold")


@in_both
def test_readers_only_read(path, database, monkeypatch):
    database.add(rows(3))
    reader = TemplateDatabase(path, read_only=True)
    assert reader.subjects() == ["0", "1", "2"]
    for use in (
        lambda: reader.add([("b", b"")]),
        lambda: reader.remove("0"),
        lambda: reader.replace({1: (b"", b"")}, b""),
        lambda: reader.put("a", "b"),
    ):
        with pytest.raises(OSError, match="open for reading only"):
            use()
    with pytest.raises(OSError, match=r"readonly|read-only"):
        reader._connection.execute("DELETE FROM templates")
    before = reader.version()
    database.remove("1")
    assert reader.version() != before
    assert reader.subjects() == ["0", "2"]
    with pytest.raises(ValueError, match="nothing was written to yet"):
        reader.put_first("generator", "x")
    reader.close()


def test_reading_only_makes_no_file(path):
    with pytest.raises(OSError, match="unable to open"):
        TemplateDatabase(path, read_only=True)
    assert not path.exists()
    path.touch()
    with pytest.raises(ValueError, match="no template store yet: it is empty"):
        TemplateDatabase(path, read_only=True)
    assert path.stat().st_size == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_the_file_and_its_log_are_their_owners(path):
    before = os.umask(0)
    try:
        database = TemplateDatabase(path)
        database.add([("a", b"1")])
        files = list(path.parent.glob(path.name + "*"))
        assert len(files) == 3
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
        database.close()
        path.chmod(0o640)
        database = TemplateDatabase(path)
        database.add([("a", b"1")])
        files = list(path.parent.glob(path.name + "*"))
        assert {file.stat().st_mode & 0o777 for file in files} == {0o640}
        database.close()
    finally:
        os.umask(before)


def test_another_one_that_empties_the_log_is_waited_for(path, database, monkeypatch):
    database.add(rows(3))
    looks = []

    execute = database._connection.execute

    def busy_twice(query, parameters=()):
        if "checkpoint" in query:
            looks.append(query)
            if len(looks) < 3:
                # What SQLite says, at once, where another connection is at it.
                return [(1, -1, -1)]
        return execute(query, parameters)

    monkeypatch.setattr(database._connection, "execute", busy_twice)
    assert database.remove("0") == 1
    assert len(looks) == 3
    assert not occurs(rows(1)[0][1], bytes_on_disk(path))


@FORKS
def test_three_that_revoke_in_turn_wait_for_one_another(path, database):
    database.add(rows(150))
    run_together("for k in range(i, 150, 3): assert database.remove(str(k)) == 1", 3, path)
    assert database.numbers() == []
