"""Files: texts begin alike in all lists that are read; who may read what is written."""

import os
import stat
import sys

import numpy as np
import pytest
from sklearn.decomposition import PCA

from skdistort._files import make_private, numbered_lines, replacing
from skdistort.datasets import read_lfw_pairs
from skdistort.persistence import save

knows_modes = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


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


@knows_modes
def test_a_new_file_is_its_owners_and_a_replaced_one_keeps_its_mode(tmp_path):
    path, before = tmp_path / "model", os.umask(0)
    try:
        save(PCA(2).fit(np.eye(3)), path)
        assert mode(path) == 0o600
        for kept in (0o640, 0o400):
            path.chmod(kept)
            save(PCA(2).fit(np.eye(3)), path)
            assert mode(path) == kept
        with replacing(tmp_path / "text", "x", encoding="utf-8") as file:
            # Nor may others read it while it is written.
            assert mode(file.name) == 0o600
            file.write("é")
        assert (tmp_path / "text").read_bytes() == "é".encode()
        make_private(tmp_path / "empty")
        assert mode(tmp_path / "empty") == 0o600
        make_private(path)
        assert mode(path) == 0o400
        assert path.stat().st_size > 0
    finally:
        os.umask(before)
