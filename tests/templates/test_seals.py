"""A store that is sealed by a key: what somebody without it changed is refused."""

import shutil
import sqlite3

import pytest

from skdistort.templates._database import TemplateDatabase
from skdistort.templates._seals import Ledger, Sealer

pytestmark = pytest.mark.fast

KEY, OTHER = b"a key of the bank", b"a key of another"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "sealed.db"
    database = TemplateDatabase(path, mac_key=KEY)
    database.add([(name, name.encode() * 9, b"check", b"embedding") for name in ("ada", "bob")])
    database.put("thresholds", '{"1": -0.5}')
    database.close()
    return path


def attack(path, *statements):
    """Write to the file as somebody who knows all about it but the key."""
    connection = sqlite3.connect(path)
    for statement, values in statements:
        connection.execute(statement, values)
    connection.commit()
    connection.close()


def refused(path, use, match):
    database = TemplateDatabase(path, mac_key=KEY)
    with pytest.raises(ValueError, match=match):
        use(database)
    database.close()


def test_parts_are_not_mistaken_for_one_another():
    lists = ((b"bc", "a"), (b"c", "ab"), (b"abc",), (b"", "abc"), (b"", b"abc"), (b"", "a", "bc"))
    lists += ((b"a", 1), (b"a", "1"), (b"a')", "b"), (b"a", "b')"))
    for sealer in (Sealer(None), Sealer(KEY)):
        seals = [sealer.seal(*parts) for parts in lists]
        assert len({*seals}) == len(seals)
        assert sealer.is_whole(seals[0], b"bc", "a")
        assert not sealer.is_whole(seals[0], b"bd", "a")
        assert not sealer.is_whole(None, b"bc", "a")
        assert not sealer.is_whole(seals[0], None, "a")
    assert Sealer(KEY).seal(b"a") != Sealer(OTHER).seal(b"a")


def test_keys_that_are_none_are_refused_and_not_shown():
    with pytest.raises(TypeError, match="must be bytes or None, got str"):
        Sealer("secret")
    with pytest.raises(ValueError, match="16 bytes or more, it has 6") as refusal:
        Sealer(b"secret")
    assert "secret" not in str(refusal.value)


def test_the_ledger_tells_sets_apart_and_hides_its_digest():
    sealer = Sealer(KEY)
    seals = [sealer.seal(b"", i) for i in range(4)]
    ledger = Ledger().changed(sealer, seals[:3]).changed(sealer, seals[3:], seals[:1])
    other_way = Ledger().changed(sealer, seals[:0:-1])
    assert ledger.digest == other_way.digest != Ledger().changed(sealer, seals[:3]).digest
    assert ledger[:2] == (2, 3)
    assert ledger[3:] == (1, 1)
    assert ledger.changed(sealer, compacted=True)[3:] == (1, 0)
    text = ledger.text(sealer)
    assert str(ledger.digest) not in text
    assert text != ledger.text(sealer)
    assert Ledger.read(text, sealer) == ledger
    assert Ledger.read(text, Sealer(OTHER)) != ledger
    for broken in (None, "", "1 2 3", text + " 1", text.replace(" 3 ", " -3 ")):
        assert Ledger.read(broken, sealer) is None


def test_another_key_or_none_opens_nothing(path):
    for key in (OTHER, None):
        database = TemplateDatabase(path, mac_key=key)
        with pytest.raises(ValueError, match="sealed with another mac_key"):
            database.get("thresholds")
        with pytest.raises(ValueError, match="template 1 is not what was written"):
            database.read_after(0, 9)
        with pytest.raises(ValueError, match="its ledger is not what was written"):
            database.add([("eve", b"image")])
        database.close()


def test_rows_and_thresholds_with_checksums_made_anew_are_refused(path):
    checksum = Sealer(None).seal
    parts = (1, "ada", b"check")
    attack(
        path,
        ("UPDATE contents SET embedding = ?, image = ? WHERE number = 1", (b"own", b"own image")),
        (
            "UPDATE templates SET embedding_seal = ?, image_seal = ? WHERE number = 1",
            (checksum(b"own", "embedding", *parts), checksum(b"own image", "image", *parts)),
        ),
        ("UPDATE metadata SET value = ? WHERE key = 'thresholds'", ('{"1": -4}',)),
    )
    refused(path, lambda database: database.read_embeddings_of("ada"), "template 1 is not what")
    refused(path, lambda database: database.read_after(0, 9), "template 1 is not what")
    refused(path, lambda database: database.get("thresholds"), "its thresholds is not what")


def test_a_template_of_another_id_is_refused(path):
    attack(path, ("UPDATE templates SET subject = 'bob' WHERE number = 1", ()))
    refused(path, lambda database: database.read_embeddings_of("bob"), "template 1 is not what")


@pytest.mark.parametrize("key", [KEY, None])
def test_what_was_removed_and_comes_back_is_noticed(tmp_path, key):
    path = tmp_path / "store.db"
    database = TemplateDatabase(path, mac_key=key)
    database.add([("ada", b"image", b"check", b"embedding"), ("bob", b"image")])
    database.close()
    old = tmp_path / "old.db"
    shutil.copy(path, old)
    database = TemplateDatabase(path, mac_key=key)
    database.remove("ada")
    database.close()
    attack(
        path,
        ("ATTACH ? AS old", (str(old),)),
        ("DELETE FROM contents WHERE number = 1", ()),
        ("INSERT INTO contents SELECT * FROM old.contents WHERE number = 1", ()),
        ("INSERT INTO templates SELECT * FROM old.templates WHERE number = 1", ()),
    )
    database = TemplateDatabase(path, mac_key=key)
    with pytest.raises(ValueError, match="its templates are not those that it counted"):
        database.numbers()
    database.close()


def test_a_file_put_back_under_an_open_store_is_noticed(path, tmp_path):
    before = path.read_bytes()
    database = TemplateDatabase(path, mac_key=KEY)
    n_changes = database.ledger().n_changes
    database.remove("ada")
    assert database.ledger().n_changes == n_changes + 1
    attack(path, ("PRAGMA wal_checkpoint(TRUNCATE)", ()))
    old = tmp_path / "old.db"
    old.write_bytes(before)
    attack(
        path,
        ("ATTACH ? AS old", (str(old),)),
        ("INSERT OR REPLACE INTO metadata SELECT * FROM old.metadata WHERE key = 'ledger'", ()),
    )
    with pytest.raises(ValueError, match=f"put back from {n_changes + 1} changes to {n_changes}"):
        database.add([("eve", b"image")])
    database.close()
