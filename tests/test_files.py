"""Text files: what begins them is the same for every list that is read."""

import pytest

from skdistort._files import numbered_lines
from skdistort.datasets import read_lfw_pairs


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n")
    # Only the first is a mark.
    assert list(numbered_lines(path)) == [(1, "a\n"), (2, "\ufeffb\n")]


def test_lists_of_pairs_may_have_a_byte_order_mark(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_bytes(b"\xef\xbb\xbf1\t1\nAnn\t1\t2\nAnn\t1\tBob\t3\n")
    assert read_lfw_pairs(path).trials.labels.tolist() == [True, False]


def test_what_is_no_text_is_refused_behind_a_mark(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes(b"\xef\xbb\xbfa\nb\xff\n")
    with pytest.raises(ValueError, match=r"lines.txt, line 2 is no text in UTF-8: b'b.xff'"):
        list(numbered_lines(path))
