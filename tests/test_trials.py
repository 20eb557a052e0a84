"""Trial lists: all formats both ways, scores, Kaldi's folders, and how trials are drawn."""

import itertools
import os
import pickle
import time
import tracemalloc
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdistort.trials import (
    TrialList,
    make_trials,
    read_kaldi_data,
    read_scores,
    read_trials,
    write_scores,
    write_trials,
)

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=50)
FORMATS = ["voxceleb", "kaldi", "cnceleb"]
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


@pytest.mark.filterwarnings("ignore:.*contradicts itself")
@pytest.mark.parametrize("format", FORMATS)
@properties
@given(rows=st.lists(st.tuples(st.booleans(), WORDS, WORDS), min_size=1, max_size=8))
def test_what_is_written_can_be_read(format, rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("trials") / "list.txt"
    trials = TrialList(*map(list, zip(*rows, strict=True)))
    write_trials(path, trials, format)
    assert as_tuples(read_trials(path, format)) == rows
    with open(path, encoding="utf-8") as file:
        labels = [line.split(" ")[0 if format == "voxceleb" else -1] for line in file]
    spelled = {"voxceleb": ("0", "1"), "kaldi": ("nontarget\n", "target\n")}
    spelled = spelled.get(format, ("0\n", "1\n"))
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
        ("a\n", "auto", "line 1, must hold '1|0 left right' or 'left right target|nontarget' or"),
        ("a b\na b 1\n", "auto", "line 2, must hold 'left right', got 'a b 1'"),
        ("1 a 0\n0 b 1\n", "auto", "may be of more than one format, voxceleb or cnceleb: say"),
        ("a b c\n", "cnceleb", "line 1, must hold 'left right 1|0', got 'a b c'"),
        ("a b\n", "nist", "line 1, must hold NIST's 'modelid<tab>segmentid[<tab>side]"),
        ("modelid\tsegment\n", "auto", "holds no trials"),
        ("modelid\tsegment\na\n", "auto", "line 2, must hold 2 columns, modelid, segment, got"),
        (
            "modelid,segmentid,targettype\na,b,yes\n",
            "auto",
            "line 2, must hold 3 columns, modelid, segmentid, targettype, got 'a,b,yes'",
        ),
        ("\n \n", "auto", "holds no trials"),
        ("", "kaldi", "holds no trials"),
        ("1 a b\n", "csv", "format must be one of ['auto', 'voxceleb', 'kaldi', 'cnc"),
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
    assert as_tuples(read_trials(path)) == [(True, "1", "a")]
    assert as_tuples(read_trials(path, "voxceleb")) == [(True, "a", "target")]
    assert as_tuples(read_trials(path, "kaldi")) == [(True, "1", "a")]


@pytest.mark.parametrize("format", [*FORMATS, "nist"])
@pytest.mark.parametrize("labels", [["a", "b", "a", "b"], ["a"] * 3, list("aabbccddaa")])
def test_what_is_drawn_is_read_without_a_word_on_its_format(tmp_path, labels, format):
    """Names are numbers, two of which could be labels."""
    path = tmp_path / "list.txt"
    trials = make_trials(labels)
    write_trials(path, trials, format)
    if format == "cnceleb" and len(labels) == 3:
        # "0 1 1", "0 2 1" and "1 2 1" tell nobody which of their columns is the label.
        with pytest.raises(ValueError, match="more than one format, voxceleb or cnceleb"):
            read_trials(path)
    else:
        assert as_tuples(read_trials(path)) == as_tuples(trials)


def test_a_list_that_begins_like_another(tmp_path):
    path = write(tmp_path / "list.txt", "0 2 target\n1 3 target\n0 x target\n1 2 nontarget\n")
    assert read_trials(path).left.tolist() == ["0", "1", "0", "1"]
    path = write(tmp_path / "list.txt", "0 2 target\n1 3 0\n")
    assert read_trials(path, "auto").right.tolist() == ["target", "0"]
    path = write(tmp_path / "list.txt", "0 a 1\n1 a 0\nid-enroll test/x.wav 1\n")
    assert as_tuples(read_trials(path)) == [
        (True, "0", "a"),
        (False, "1", "a"),
        (True, "id-enroll", "test/x.wav"),
    ]


@pytest.mark.parametrize(
    "text", ["1 a b\n", "a b target\n", "a b 1\n", "modelid\tsegmentid\ttargettype\na\tb\ttarget\n"]
)
def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path, text):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert as_tuples(read_trials(path)) == [(True, "a", "b")]


def test_unlabelled_lists(tmp_path):
    path = write(tmp_path / "list.txt", "a b\n\n c\td\n")
    trials = read_trials(path)
    assert trials.labels is None
    assert (trials.left.tolist(), trials.right.tolist()) == (["a", "c"], ["b", "d"])
    assert repr(trials) == "TrialList(2 trials of 4 utterances, unlabelled)"
    for format in ("unlabelled", "nist"):
        write_trials(path, trials, format)
        again = read_trials(path)
        assert again.labels is None
        assert again.right.tolist() == ["b", "d"]
    with pytest.raises(ValueError, match="format='kaldi' needs labels, and the trials have none"):
        write_trials(path, trials, "kaldi")
    write_trials(path, TrialList([True], ["a"], ["b"]), "unlabelled")
    assert path.read_text() == "a b\n"


def test_nists_lists(tmp_path):
    key = (
        "modelid\tsegmentid\tside\ttargettype\tgender\n"
        "1001_sre16\tkbnd.sph\ta\ttarget\tmale\n1001_sre16\tx.sph\tb\tnontarget\tmale\n"
    )
    for text in (key, key.replace("\t", ",").replace("segmentid", "segment")):
        trials = read_trials(write(tmp_path / "key.tsv", text))
        assert as_tuples(trials) == [
            (True, "1001_sre16", "kbnd.sph"),
            (False, "1001_sre16", "x.sph:b"),
        ]
    write_trials(tmp_path / "key.tsv", trials, "nist")
    assert (tmp_path / "key.tsv").read_text() == (
        "modelid\tsegmentid\tside\ttargettype\n"
        "1001_sre16\tkbnd.sph\ta\ttarget\n1001_sre16\tx.sph\tb\tnontarget\n"
    )
    assert as_tuples(read_trials(tmp_path / "key.tsv")) == as_tuples(trials)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 a b\n1 c d\n0 b a\n", "1 time.*: 'a' and 'b' are genuine in one trial and imp"),
        ("1 a b\n0 a b\n1 a b\n", "1 time.*: 'a' and 'b' are genuine in one trial and imp"),
        ("1 a b\n0 c c\n", "1 time.*: 'c' and 'c' are one utterance and called impostors"),
    ],
)
def test_contradictions_are_warned_of(tmp_path, text, message):
    with pytest.warns(UserWarning, match="list.txt contradicts itself " + message):
        read_trials(write(tmp_path / "list.txt", text))
    # The same said twice is none.
    assert len(read_trials(write(tmp_path / "list.txt", "1 a b\n1 b a\n0 c d\n1 e e\n"))) == 4


def test_trials_are_chosen_by_a_mask():
    trials = TrialList([True, False, False], ["b", "a", "b"], ["c", "c", "a"])
    assert as_tuples(trials[~trials.labels]) == [(False, "a", "c"), (False, "b", "a")]
    assert as_tuples(trials[[2, 0]]) == [(False, "b", "a"), (True, "b", "c")]
    assert as_tuples(trials[::2]) == [(True, "b", "c"), (False, "b", "a")]
    assert len(trials[[]]) == len(trials[trials.left == "x"]) == 0
    first = trials[:1]
    assert first.utterances.tolist() == ["b", "c"]
    assert [side.tolist() for side in first.indices(["c", "b"])] == [[1], [0]]
    assert TrialList(None, ["a", "b"], ["c", "d"])[1:].labels is None
    with pytest.raises(TypeError, match="a mask, positions or a slice, got 1"):
        trials[1]


@pytest.mark.parametrize("format", ["kaldi", "nist"])
def test_scores_come_back_in_the_order_of_the_trials(tmp_path, format):
    rng = np.random.default_rng(0)
    trials = make_trials(np.arange(40) // 4, n_impostor=300, random_state=0)
    scores = rng.standard_normal(len(trials))
    scores[:2] = -np.inf, np.inf
    path = tmp_path / "scores.txt"
    order = rng.permutation(len(trials))
    write_scores(path, trials[order], scores[order], format)
    np.testing.assert_array_equal(read_scores(path, trials), scores)
    some = trials[trials.labels]
    np.testing.assert_array_equal(read_scores(path, some), scores[trials.labels])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b 1.5\na b\n", "line 2, must hold 'left right score', got 'a b'"),
        ("a b x\n", "line 1, must hold 'left right score'"),
        ("a b nan\n", "line 1, must hold 'left right score'"),
        ("a b 1\na b 2\n", "has two scores of 'a' and 'b'"),
        ("a b 1\n", "has no score of 1 of the 2 trials, such as 'a' and 'c'"),
        ("b a 1\na c 1\n", "has no score of 1 of the 2 trials, such as 'a' and 'b'"),
        ("\n", "holds no scores"),
        ("modelid\tsegmentid\tscore\na\tb\t1\n", "has no column LLR"),
        ("modelid\tsegmentid\tLLR\na\tb\tx\n", "line 2, must hold 3 columns"),
    ],
)
def test_wrong_scores_are_refused(tmp_path, text, message):
    path = write(tmp_path / "scores.txt", text)
    with pytest.raises(ValueError, match="scores.txt.*" + message):
        read_scores(path, TrialList([True, False], ["a", "a"], ["b", "c"]))


def test_scores_that_are_none_are_not_written(tmp_path):
    trials = TrialList([True, False], ["a", "a"], ["b", "c"])
    for scores, message in (
        ([1], r"shape \(2,\), got \(1,\)"),
        ([1, np.nan], "NaN, the first at 1"),
    ):
        with pytest.raises(ValueError, match=message):
            write_scores(tmp_path / "scores.txt", trials, scores)
    with pytest.raises(ValueError, match="format must be one of"):
        write_scores(tmp_path / "scores.txt", trials, [1, 2], "csv")
    assert not list(tmp_path.iterdir())
    write_scores(tmp_path / "scores.txt", trials, [1, 1])
    write(tmp_path / "twice.txt", "a b 1\na b 1.0\na c 1\n")
    assert read_scores(tmp_path / "twice.txt", trials).tolist() == [1, 1]


KALDI = {
    "wav.scp": "call1 /data/call 1.wav\ncall2\t/data/call2.flac\n",
    "segments": "ann-1 call1 0.5 3.25\nbob-1 call2 0 -1\nann-2 call1 4 5\n",
    "utt2spk": "ann-1 ann\nann-2 ann\nbob-1 bob\n",
    "spk2utt": "ann ann-1 ann-2\nbob bob-1\n",
}


def write_folder(folder, **changed):
    files = KALDI | {name.replace("_", "."): text for name, text in changed.items()}
    for name, text in files.items():
        if text is not None:
            write(folder / name, text)
    return folder


def test_kaldis_folders(tmp_path):
    segments = {
        "ann-1": ("/data/call 1.wav", 0.5, 3.25),
        "bob-1": ("/data/call2.flac", 0, -1),
        "ann-2": ("/data/call 1.wav", 4, 5),
    }
    for i, without in enumerate(({}, {"spk2utt": None}, {"utt2spk": None})):
        (tmp_path / str(i)).mkdir()
        data = read_kaldi_data(write_folder(tmp_path / str(i), **without))
        assert dict(zip(data.names, data.utterances, strict=True)) == segments
        assert data.speakers == ["ann", "bob", "ann"]
    (tmp_path / "plain").mkdir()
    plain = write_folder(tmp_path / "plain", segments=None, utt2spk=None, spk2utt=None)
    data = read_kaldi_data(str(plain))
    assert data.names == ["call1", "call2"]
    assert data.utterances == ["/data/call 1.wav", "/data/call2.flac"]
    assert data.speakers is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"wav_scp": "a sph2pipe -f wav a.sph |\n"}, "wav.scp, line 1, is a command, and none is"),
        ({"wav_scp": "a\n"}, "wav.scp, line 1, must hold 'recording path', got 'a'"),
        ({"wav_scp": "a x\n\na y\n"}, "wav.scp, line 3: 'a' was named before"),
        (
            {"segments": "u call1 0\n"},
            "segments, line 1, must hold 'utterance recording start end'",
        ),
        ({"segments": "u call1 0 x\n"}, "segments, line 1, must hold"),
        ({"segments": "u call9 0 1\n"}, "segments, line 1: wav.scp has no recording 'call9'"),
        ({"utt2spk": "ann-1 ann x\n"}, "utt2spk, line 1, must hold 'utterance speaker'"),
        (
            {"utt2spk": "ann-1 ann\n", "spk2utt": None},
            "no speaker of 2 utterances, such as 'bob-1'",
        ),
        ({"spk2utt": "ann\n"}, "spk2utt, line 1, must hold 'speaker utterance"),
        ({"spk2utt": "ann ann-1 bob-1\nbob ann-2\n"}, "utt2spk and spk2utt differ on 'ann-2'"),
    ],
)
def test_wrong_folders_are_refused(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        read_kaldi_data(write_folder(tmp_path, **changed))


def test_folders_without_recordings_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="wav.scp"):
        read_kaldi_data(tmp_path)


@pytest.mark.parametrize("name", ["", "a b", " a", "a\t", "a\nb", "\ufeffa"])
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


def test_a_long_list_is_small(tmp_path):
    n = 200_000
    path = tmp_path / "list.txt"
    trials = make_trials(np.arange(4000) // 20, n_impostor=n - 38_000, random_state=0)
    assert len(pickle.dumps(trials)) < 12 * n
    write_trials(path, trials)
    tracemalloc.start()
    try:
        read = read_trials(path)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(read) == n
    assert held < 12 * n
    assert peak < 40 * n
