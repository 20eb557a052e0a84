"""Where tests lie: folders of the package's names, each with some that are fast."""

from pathlib import Path

import pytest

import skdistort

pytestmark = pytest.mark.fast

TESTS = Path(__file__).parent
FOLDERS = sorted({p.parent for p in TESTS.glob("*/test_*.py")})


def test_folders_have_the_names_of_the_packages():
    assert {f.name for f in FOLDERS} <= {
        p.parent.name for p in Path(skdistort.__file__).parent.glob("*/__init__.py")
    }


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_folder_has_fast_tests(folder):
    assert any("pytest.mark.fast" in p.read_text(encoding="utf-8") for p in folder.glob("*.py"))
