"""Every example runs, on data that the dependencies embed."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("plot_*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, capsys):
    import matplotlib.pyplot as plt

    namespace = runpy.run_path(str(path))
    plt.close("all")
    assert capsys.readouterr().out
    if "search" in namespace:
        assert namespace["search"].best_score_ > 0.5
    if "comparisons" in namespace:
        assert namespace["embedder"].score(namespace["X_test"], namespace["y_test"]) > 0.95


def test_there_are_examples():
    assert len(EXAMPLES) >= 3
