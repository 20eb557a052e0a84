"""Trial lists: both formats both ways, what is refused, and how trials are drawn."""

import itertools
import os
import time
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdistort.trials import TrialList, make_trials, read_trials, write_trials

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=50)
FORMATS = ["voxceleb", "kaldi"]
# Among them words that could be labels of either format.
WORDS = st.sampled_from(["0", "1", "target", "nontarget", "id1/x/1.wav", "é-ü"])


def as_tuples(trials):
    return list(
        zip(trials.labels.tolist(), trials.left.tolist(), trials.right.tolist(), strict=True)
    )


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_voxceleb_lines(tmp_path):
    path = write(tmp_path / "veri.txt", "1 id1/a.wav id1/b.wav\n0 id1/a.wav id2/c.wav\n")
    for format in ("auto", "voxceleb"):
        trials = read_trials(path, format)
        assert as_tuples(trials) == [
            (True, "id1/a.wav", "id1/b.wav"),
            (False, "id1/a.wav", "id2/c.wav"),
        ]
        assert trials.labels.dtype == bool
        assert trials.left.dtype.kind == trials.right.dtype.kind == "U"
        assert len(trials) == 2


def test_kaldi_lines_blank_lines_and_any_white_space(tmp_path):
    path = write(tmp_path / "trials", "\n  a\tb   target\r\n\n \nc d nontarget")
    for format in ("auto", "kaldi"):
        assert as_tuples(read_trials(str(path), format)) == [(True, "a", "b"), (False, "c", "d")]


@pytest.mark.parametrize("format", FORMATS)
@properties
@given(rows=st.lists(st.tuples(st.booleans(), WORDS, WORDS), min_size=1, max_size=8))
def test_what_is_written_can_be_read(format, rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("trials") / "list.txt"
    trials = TrialList(*map(list, zip(*rows, strict=True)))
    write_trials(path, trials, format)
    assert as_tuples(read_trials(path, format)) == rows
    with open(path, encoding="utf-8") as file:
        labels = [line.split(" ")[{"voxceleb": 0, "kaldi": -1}[format]] for line in file]
    spelled = {"voxceleb": ("0", "1"), "kaldi": ("nontarget\n", "target\n")}[format]
    assert labels == [spelled[label] for label, *_ in rows]
    assert os.listdir(path.parent) == ["list.txt"]


@pytest.mark.parametrize(
    ("text", "format", "message"),
    [
        ("1 a b\n1 a\n", "auto", "line 2, must hold '1|0 left right', got '1 a'"),
        ("\n\n1 a b\n\n 2 a  b \n", "auto", "line 5, must hold '1|0 left right', got '2 a  b'"),
        ("1 a b\n# a b\n", "voxceleb", "line 2, must hold '1|0 left right', got '# a b'"),
        ("1 a b c\n", "voxceleb", "line 1, must hold '1|0 left right', got '1 a b c'"),
        ("a b target\n1 a b\n", "auto", "line 2, must hold 'left right target|nontarget'"),
        ("a b Target\n", "kaldi", "line 1, must hold 'left right target|nontarget'"),
        ("a b\n", "auto", "line 1, must hold '1|0 left right' or 'left right target|nontarget'"),
        # Both a VoxCeleb and a Kaldi line.
        ("1 a target\n", "auto", "line 1, must hold '1|0 left right' or 'left"),
        ("\n \n", "auto", "holds no trials"),
        ("", "kaldi", "holds no trials"),
        ("1 a b\n", "csv", "format must be one of ['auto', 'voxceleb', 'kaldi'], got 'csv'"),
    ],
)
def test_wrong_files_are_refused(tmp_path, text, format, message):
    path = write(tmp_path / "list.txt", text)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        read_trials(path, format)
    assert message in str(error.value)
    assert format == "csv" or str(path) in str(error.value)


def test_what_is_no_text_is_refused(tmp_path):
    path = tmp_path / "trials.txt"
    path.write_bytes("1 ä b\n".encode() + b"1 a \xff\n1 c d\n")
    with pytest.raises(
        ValueError, match=r"trials.txt, line 2 is no text in UTF-8: b'1 a .xff'"
    ) as refusal:
        read_trials(path)
    assert not isinstance(refusal.value, UnicodeError)


def test_a_line_of_both_formats_can_be_read_by_name(tmp_path):
    path = write(tmp_path / "list.txt", "1 a target\n")
    assert as_tuples(read_trials(path, "voxceleb")) == [(True, "a", "target")]
    assert as_tuples(read_trials(path, "kaldi")) == [(True, "1", "a")]


@pytest.mark.parametrize("name", ["", "a b", " a", "a\t", "a\nb"])
def test_names_that_no_line_can_carry_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="one word without white space, got "):
        write_trials(tmp_path / "list.txt", TrialList([True], ["a"], [name]))
    assert not list(tmp_path.iterdir())


def test_a_file_is_written_as_a_whole_or_not_at_all(tmp_path):
    path = write(tmp_path / "list.txt", "1 old old\n")
    with (
        mock.patch("os.replace", side_effect=OSError("disk full")),
        pytest.raises(OSError, match="disk full"),
    ):
        write_trials(path, TrialList([True], ["a"], ["b"]))
    assert path.read_text() == "1 old old\n"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="format must be one of .* got 'auto'"):
        write_trials(path, TrialList([True], ["a"], ["b"]), format="auto")


def test_utterances_and_where_they_are():
    trials = TrialList([True, False, False], ["b", "a", "b"], ["c", "c", "a"])
    assert trials.utterances.tolist() == ["a", "b", "c"]
    for names in (["c", "x", "a", "b"], np.array(["a", "b", "c"])):
        left, right = trials.indices(names)
        assert left.dtype == right.dtype == np.intp
        assert [names[i] for i in left] == trials.left.tolist()
        assert [names[i] for i in right] == trials.right.tolist()
    with pytest.raises(ValueError, match="lacks 2 of the utterances in the trials, such as 'a'"):
        trials.indices(["c", "d"])
    with pytest.raises(ValueError, match="names holds 'b' more than once"):
        trials.indices(["a", "b", "c", "b"])
    left, right = make_trials([0, 1, 0]).indices(range(3))
    assert sorted(zip(left.tolist(), right.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 2)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (([True], ["a"], ["b", "c"]), r"of one length, got shapes \(1,\), \(1,\) and \(2,\)"),
        (([[True]], [["a"]], [["b"]]), "must be 1-D"),
        (([1], ["a"], ["b"]), "labels must hold True and False, got dtype int"),
    ],
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TrialList(*fields)


def test_trials_cannot_be_changed():
    trials = TrialList([True], ["a"], ["b"])
    with pytest.raises(AttributeError):
        trials.labels = np.array([False])


@properties
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=9))
def test_all_trials_are_all_pairs(labels):
    pairs = list(itertools.combinations(range(len(labels)), 2))
    trials = make_trials(labels)
    found = [(int(a), int(b)) for _, a, b in as_tuples(trials)]
    assert sorted(found) == pairs
    assert trials.labels.tolist() == [labels[a] == labels[b] for a, b in found]
    assert trials.labels.tolist() == sorted(trials.labels, reverse=True)


@properties
@given(st.lists(st.integers(0, 2), min_size=2, max_size=9), st.data(), st.integers(0, 99))
def test_drawn_trials_are_different_pairs(labels, data, seed):
    every = make_trials(labels)
    n_all = int(every.labels.sum()), int((~every.labels).sum())
    n = [data.draw(st.integers(0, available)) for available in n_all]
    names = [f"u{i}" for i in range(len(labels))]
    trials = make_trials(labels, *n, names=names, random_state=seed)
    found = as_tuples(trials)
    assert [int(trials.labels.sum()), int((~trials.labels).sum())] == n
    assert len(set(found)) == len(found)
    assert set(found) <= {(label, f"u{a}", f"u{b}") for label, a, b in as_tuples(every)}
    assert found == as_tuples(make_trials(labels, *n, names=names, random_state=seed))


def test_trials_are_drawn_alike():
    labels = [0, 0, 0, 1, 1, 2]
    every = as_tuples(make_trials(labels))
    counts = dict.fromkeys(every, 0)
    for seed in range(1500):
        for trial in as_tuples(make_trials(labels, 1, 2, random_state=seed)):
            counts[trial] += 1
    genuine = [n for (label, *_), n in counts.items() if label]
    impostor = [n for (label, *_), n in counts.items() if not label]
    np.testing.assert_allclose(genuine, 1500 / 4, rtol=0.2)
    np.testing.assert_allclose(impostor, 3000 / 11, rtol=0.25)


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        (([0, 0, 1], 2), {}, "n_genuine must be an integer from 0 to the 1 there are, got 2"),
        (([0, 0, 1], 0, 3), {}, "n_impostor must be an integer from 0 to the 2 there are, got 3"),
        (([0, 0, 1], -1), {}, "n_genuine must be an integer"),
        (([0, 0], None, 1), {}, "n_impostor must be an integer from 0 to the 0"),
        (([0, 0, 1], 0.5), {}, "n_genuine must be an integer from 0 to the 1 there are, got 0.5"),
        (([1.0, np.nan, np.nan],), {}, "labels contains NaN"),
        ((["a", None, "a"],), {}, "labels must hold values of one kind, none of them missing"),
        (([0, 0],), {"names": ["a"]}, r"names of the same shape, got \(1,\)"),
        (([[0], [0]],), {}, "labels must be 1-D"),
        (([0, 0],), {"names": ["a", "a"]}, "names must be different"),
    ],
)
def test_impossible_trials_are_refused(args, options, message):
    with pytest.raises(ValueError, match=message):
        make_trials(*args, **options)


def test_long_lists_are_quick(tmp_path):
    labels = np.arange(2000) // 20
    trials = make_trials(labels, n_impostor=181_000, random_state=0)
    assert len(trials) == 200_000
    start = time.perf_counter()
    write_trials(tmp_path / "list.txt", trials)
    read = read_trials(tmp_path / "list.txt")
    left, right = read.indices(np.arange(2000).astype(str))
    # A fifth of a second here; the bound only tells a quadratic way from a linear one.
    assert time.perf_counter() - start < 10
    assert np.array_equal(labels[left] == labels[right], read.labels)
