"""DET and ROC displays: what is drawn, where, and what it takes."""

import sys
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from scipy.spatial import cKDTree
from sklearn.metrics import DetCurveDisplay

from skdistort.displays import DetDisplay, RocDisplay
from skdistort.metrics import det_points
from skdistort.plotting import plot_det

pytestmark = pytest.mark.fast

DISPLAYS = [DetDisplay, RocDisplay]


def scores(n=300, seed=0, distance=2):
    rng = np.random.default_rng(seed)
    y_true = rng.random(n) < 0.4
    return y_true, rng.standard_normal(n) + distance * y_true


def drawn(display):
    return np.array(display.line_.get_data())


def test_roc_draws_the_rates():
    display = RocDisplay.from_predictions(*scores(), ax=Figure().subplots())
    fmr, fnmr, _ = det_points(*scores())
    assert np.array_equal(display.fmr, [*fmr, 0])
    assert np.array_equal(display.fnmr, [*fnmr, 1])
    expected = np.unique([display.fmr, 1 - display.fnmr], axis=1)
    # A curve as short as this one leaves nothing out.
    np.testing.assert_array_equal(np.unique(drawn(display), axis=1), expected)


def test_curves_end_where_every_pair_is_rejected():
    # No threshold that is a score does that where an impostor pair scores best.
    display = RocDisplay.from_predictions([1, 0, 0], [2, 1, 3], ax=Figure().subplots())
    assert drawn(display).T.tolist() == [[1, 1], [0.5, 1], [0.5, 0], [0, 0]]


def test_det_draws_probits():
    display = DetDisplay.from_predictions(*scores(), ax=Figure().subplots())
    probit = np.vectorize(NormalDist().inv_cdf)
    rates = np.array([display.fmr, display.fnmr])
    visible = ((rates > 0) & (rates < 1)).all(axis=0)
    where = {tuple(p) for p in drawn(display).T.round(9)}
    assert {tuple(p) for p in probit(rates[:, visible]).T.round(9)} <= where
    # Where nothing is accepted any more: at half the lowest rate that is drawn.
    lowest, highest = display.fmr[display.fmr > 0].min(), display.fnmr[display.fnmr < 1].max()
    end = probit(lowest / 2), probit((1 + highest) / 2)
    np.testing.assert_allclose(drawn(display)[:, -1], end)


def test_normal_scores_give_a_straight_line():
    display = DetDisplay.from_predictions(*scores(200_000), ax=Figure().subplots())
    x, y = drawn(display)
    middle = (np.abs(x) < 2.5) & (np.abs(y) < 2.5)
    np.testing.assert_allclose(x[middle] + y[middle], -2, atol=0.1)


def test_ticks_are_percents_and_labels_say_so():
    ax = DetDisplay.from_predictions(*scores(), ax=Figure().subplots()).ax_
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("FMR (%)", "FNMR (%)")
    ax.figure.canvas.draw()
    for axis in (ax.xaxis, ax.yaxis):
        labels = [label.get_text() for label in axis.get_ticklabels()]
        rates = [100 * NormalDist().cdf(t) for t in axis.get_ticklocs()]
        np.testing.assert_allclose(rates, np.array(labels, dtype=float), rtol=1e-6)
        assert {"0.1", "1", "5", "20", "50"} <= set(labels)
    ax = RocDisplay.from_predictions(*scores(), ax=Figure().subplots()).ax_
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("FMR", "1 - FNMR")


@pytest.mark.parametrize("Display", DISPLAYS)
def test_distances_draw_the_same(Display):
    y, s = scores()
    curves = [
        drawn(Display.from_predictions(y, score, distances=distances, ax=Figure().subplots()))
        for score, distances in ((s, False), (-s, True))
    ]
    np.testing.assert_array_equal(*curves)


@pytest.mark.parametrize("Display", DISPLAYS)
def test_long_curves_are_thinned_unseen(Display):
    y, s = scores(100_000)
    display = Display.from_predictions(y, s, ax=Figure().subplots())
    kept = drawn(display).T
    assert len(display.fmr) > 50_000
    assert len(kept) <= 2002
    # Every rate is drawn, or lies less than a pixel of a large figure away from one that is.
    whole = np.transpose(display._coordinates(display.fmr, display.fnmr))
    side = np.ptp(kept, axis=0)
    distance = cKDTree(kept / side).query(whole / side)[0]
    assert distance.max() < 1 / 500
    np.testing.assert_array_equal(kept[[0, -1]], whole[[0, -1]])


@pytest.mark.parametrize("Display", DISPLAYS)
@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), max_size=12))
def test_any_comparisons_can_be_drawn(Display, pairs):
    y_true, y_score = zip((True, 1), (False, 0), *pairs, strict=True)
    display = Display.from_predictions(y_true, y_score, ax=Figure().subplots())
    assert np.isfinite(drawn(display)).all()
    (left, right), (bottom, top) = display.ax_.get_xlim(), display.ax_.get_ylim()
    x, y = drawn(display)
    assert left < right
    assert bottom < top
    # Some of the curve is in view.
    assert np.any((x >= left) & (x <= right) & (y >= bottom) & (y <= top))


def test_scores_the_wrong_way_round_are_seen():
    y, s = scores(20_000, distance=6)
    ax = Figure().subplots()
    curves = [DetDisplay.from_predictions(y, score, ax=ax) for score in (-s, s)]
    view = max(ax.get_xlim()[1], ax.get_ylim()[1])
    for display in curves:
        assert (drawn(display) < view).all(axis=0).any()


def test_axes_grow_with_the_curves():
    ax = Figure().subplots()
    coarse = DetDisplay.from_predictions(*scores(50), ax=ax)
    before = ax.get_xlim()
    fine = DetDisplay.from_predictions(*scores(50_000), ax=ax)
    assert coarse.ax_ is fine.ax_ is ax
    assert ax.get_xlim()[0] < before[0]
    assert ax.get_xlim()[0] <= drawn(fine)[0].min()
    assert NormalDist().cdf(ax.get_xlim()[1]) == pytest.approx(0.8)
    assert NormalDist().cdf(ax.get_ylim()[1]) == pytest.approx(0.8)


def test_axes_begin_where_the_number_of_pairs_ends():
    y, s = scores(2000)
    ax = DetDisplay.from_predictions(y, s, ax=Figure().subplots()).ax_
    for (low, _), pairs in ((ax.get_xlim(), ~np.asarray(y, bool)), (ax.get_ylim(), y)):
        assert NormalDist().cdf(low) == pytest.approx(1 / (2 * np.count_nonzero(pairs)))


def test_lines_without_points_do_not_matter():
    ax = Figure().subplots()
    ax.plot([], [], label="systems")
    DetDisplay.from_predictions(*scores(), name="one", ax=ax)
    assert NormalDist().cdf(ax.get_xlim()[1]) == pytest.approx(0.8)


def test_scikit_learn_can_share_the_axes():
    ours = DetDisplay.from_predictions(*scores(), ax=Figure().subplots())
    theirs = DetCurveDisplay.from_predictions(*scores(), ax=ours.ax_)
    where = {tuple(p) for p in drawn(ours).T.round(9)}
    x, y = theirs.line_.get_data()
    visible = (np.abs(x) < 5) & (np.abs(y) < 5)
    assert {tuple(p) for p in np.array([x, y])[:, visible].T.round(9)} <= where


@pytest.mark.parametrize("Display", DISPLAYS)
def test_names_and_options_of_the_line(Display):
    y, s = scores()
    display = Display.from_predictions(y, s, name="ours", ax=Figure().subplots(), color="red")
    assert display.line_.get_color() == "red"
    assert [t.get_text() for t in display.ax_.get_legend().get_texts()] == ["ours"]
    again = display.plot(Figure().subplots(), name="theirs", linestyle=":")
    assert again is display
    assert again.line_.get_label() == "theirs"
    assert again.line_.get_linestyle() == ":"
    without = Display(fmr=display.fmr, fnmr=display.fnmr).plot(Figure().subplots())
    assert without.ax_.get_legend() is None


@pytest.mark.parametrize("Display", DISPLAYS)
def test_a_figure_of_its_own(Display):
    display = Display.from_predictions(*scores())
    try:
        assert display.figure_ is display.ax_.figure
        assert plt.fignum_exists(display.figure_.number)
    finally:
        plt.close(display.figure_)


def test_plot_det_draws_displays():
    ax = Figure().subplots()
    curves = {name: det_points(*scores(seed=i))[:2] for i, name in enumerate("ab")}
    plot_det(curves, ax)
    alone = DetDisplay(fmr=curves["a"][0], fnmr=curves["a"][1]).plot(Figure().subplots())
    assert [line.get_label() for line in ax.lines] == ["a", "b"]
    np.testing.assert_array_equal(ax.lines[0].get_data(), alone.line_.get_data())
    assert ax.get_legend() is not None


@pytest.mark.parametrize("Display", DISPLAYS)
def test_missing_matplotlib_is_one_sentence(Display, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"needs matplotlib.*pip install 'skdistort\[plot\]'"):
        Display.from_predictions(*scores())


@pytest.mark.parametrize("Display", DISPLAYS)
def test_bad_scores_are_refused(Display):
    with pytest.raises(ValueError, match="both classes"):
        Display.from_predictions([1, 1], [0.5, 0.6])
