"""A store that is sealed by a key: what somebody without it changed is refused."""

import pytest
from support.stores import attack, in_both

from skdistort.templates._database import TemplateDatabase
from skdistort.templates._seals import Ledger, Sealer

pytestmark = pytest.mark.fast

KEY, OTHER = b"a key of the bank", b"a key of another"


@pytest.fixture
def sealed(path):
    return begin(path, KEY)


def begin(path, key):
    database = TemplateDatabase(path, mac_key=key)
    database.add([(name, name.encode() * 9, b"check", b"embedding") for name in ("ada", "bob")])
    database.put("thresholds", '{"1": -0.5}')
    database.close()
    return path


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
    assert ledger.changed(sealer, rewritten=True)[3:] == (1, 0)
    text = ledger.text(sealer)
    assert str(ledger.digest) not in text
    assert text != ledger.text(sealer)
    assert Ledger.read(text, sealer) == ledger
    assert Ledger.read(text, Sealer(OTHER)) != ledger
    for broken in (None, "", "1 2 3", text + " 1", text.replace(" 3 ", " -3 ")):
        assert Ledger.read(broken, sealer) is None


@in_both
def test_another_key_or_none_opens_nothing(sealed):
    for key in (OTHER, None):
        database = TemplateDatabase(sealed, mac_key=key)
        with pytest.raises(ValueError, match="sealed with another mac_key"):
            database.get("thresholds")
        with pytest.raises(ValueError, match="template 1 is not what was written"):
            database.read_after(0, 9)
        with pytest.raises(ValueError, match="its ledger is not what was written"):
            database.add([("eve", b"image")])
        database.close()


@in_both
def test_rows_and_thresholds_with_checksums_made_anew_are_refused(sealed):
    checksum = Sealer(None).seal
    parts = (1, "ada", b"check")
    attack(
        sealed,
        ("UPDATE contents SET embedding = ?, image = ? WHERE number = 1", (b"own", b"own image")),
        (
            "UPDATE templates SET embedding_seal = ?, image_seal = ? WHERE number = 1",
            (checksum(b"own", "embedding", *parts), checksum(b"own image", "image", *parts)),
        ),
        ("UPDATE metadata SET value = ? WHERE key = 'thresholds'", ('{"1": -4}',)),
    )
    refused(sealed, lambda database: database.read_embeddings_of("ada"), "template 1 is not what")
    refused(sealed, lambda database: database.read_after(0, 9), "template 1 is not what")
    refused(sealed, lambda database: database.get("thresholds"), "its thresholds is not what")


@in_both
def test_a_template_of_another_id_is_refused(sealed):
    bob = "(SELECT subject FROM templates WHERE number = 2)"
    attack(sealed, (f"UPDATE templates SET subject = {bob} WHERE number = 1", ()))
    refused(sealed, lambda database: database.read_embeddings_of("bob"), "template 1 is not what")


@in_both
@pytest.mark.parametrize("key", [KEY, None])
def test_what_was_removed_and_comes_back_is_noticed(path, key):
    begin(path, key)
    contents = attack(path, ("SELECT * FROM contents WHERE number = 1", ()))[0]
    template = attack(path, ("SELECT * FROM templates WHERE number = 1", ()))[0]
    database = TemplateDatabase(path, mac_key=key)
    database.remove("ada")
    database.close()
    attack(
        path,
        ("DELETE FROM contents WHERE number = 1", ()),
        ("INSERT INTO contents VALUES (?, ?, ?)", contents),
        ("INSERT INTO templates VALUES (?, ?, ?, ?, ?)", template),
    )
    database = TemplateDatabase(path, mac_key=key)
    with pytest.raises(ValueError, match="its templates are not those that it counted"):
        database.numbers()
    database.close()


@in_both
def test_a_store_put_back_under_an_open_one_is_noticed(sealed):
    database = TemplateDatabase(sealed, mac_key=KEY)
    n_changes = database.ledger().n_changes
    ((value, seal),) = attack(sealed, ("SELECT value, seal FROM metadata WHERE key = 'ledger'", ()))
    database.remove("ada")
    # Where bytes are erased by writing a table anew, that is a change, too.
    since = database.ledger().n_changes
    assert since > n_changes
    attack(sealed, ("UPDATE metadata SET value = ?, seal = ? WHERE key = 'ledger'", (value, seal)))
    with pytest.raises(ValueError, match=f"put back from {since} changes to {n_changes}"):
        database.add([("eve", b"image")])
    database.close()
