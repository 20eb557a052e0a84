"""Reports as notebooks, JSON and data frames see them."""

import json
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from skdistort.attacks import ProtectionReport
from skdistort.metrics import (
    DistanceTable,
    DistortionReport,
    VerificationReport,
    distance_table,
    distortion_report,
    verification_report,
)

pytestmark = pytest.mark.fast

NASTY = "<script>alert('&')</script>"
ROW = {"name": NASTY, "rate": 0.12345, "rate_95%": (0.1, np.nan), "n": np.int64(3), "none": None}


def protection(**tables):
    names = ("verification", "baselines", "inversion", "replay", "impersonation")
    empty = {name: [] for name in (*names, "several_templates", "linkage")}
    return ProtectionReport(**empty | tables)


REPORTS = [
    DistanceTable([ROW, {**ROW, "rate": np.nan}]),
    DistortionReport([ROW, {**ROW, "rate": np.nan}], 0.25),
    VerificationReport([ROW, {**ROW, "rate": np.nan}]),
    protection(inversion=[ROW, {**ROW, "rate": np.nan}]),
]
each_report = pytest.mark.parametrize("report", REPORTS, ids=lambda r: type(r).__name__)


class _Cells(HTMLParser):
    """Gather the tags that are open, and the text of each cell."""

    def __init__(self, html):
        super().__init__()
        self.open, self.seen, self.rows = [], set(), []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@each_report
def test_html_holds_what_the_text_holds_and_nothing_gets_out_of_a_cell(report):
    found = _Cells(report._repr_html_())
    assert not found.open
    assert found.seen <= {"div", "table", "caption", "thead", "tbody", "tr", "th", "td", "p"}
    heading, first, second = found.rows
    assert heading == list(ROW)
    assert first == [NASTY, "0.1235", "-", "3", "-"]
    assert second[1] == "-"
    for cell in first:
        assert cell in str(report)


def test_captions_and_notes_are_no_html_either():
    from skdistort._tables import html_table

    html = html_table([{"a": 1}], NASTY, NASTY)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 2


@each_report
def test_plain_values_are_strict_json(report):
    text = json.dumps(report.to_dict(), allow_nan=False)
    rows = json.loads(text)["inversion" if isinstance(report, ProtectionReport) else "rows"]
    plain = {"name": NASTY, "rate": 0.12345, "rate_95%": [0.1, None], "n": 3, "none": None}
    assert rows == [plain, {**plain, "rate": None}]


def test_numpy_values_of_real_reports_become_plain():
    rng = np.random.default_rng(0)
    X = rng.random((24, 8, 8)).astype(np.float32)
    y = np.repeat(np.arange(6), 4)
    reports = [
        distance_table(X, 1 - X, y, pixel_range=(0, 1), random_state=0),
        distortion_report(X, 1 - X, pixel_range=(0, 1), random_state=0),
        verification_report({"toy": (y > 2, rng.random(24).astype(np.float32))}),
    ]
    for report in reports:
        rows = json.loads(json.dumps(report.to_dict(), allow_nan=False))["rows"]
        assert [list(row) for row in rows] == [list(row) for row in report.rows]
    assert reports[0].to_dict()["rows"][0]["class"] == 0
    assert json.loads(json.dumps(reports[1].to_dict()))["blind_ssim"] == reports[1].blind_ssim


@each_report
def test_frames_have_two_columns_for_an_interval(report):
    pytest.importorskip("pandas")
    frame = report.to_frame()
    columns = ["name", "rate", "rate_95%_low", "rate_95%_high", "n", "none"]
    assert [name for name in frame.columns if name != "table"] == columns
    assert frame["rate_95%_low"].tolist() == [0.1, 0.1]
    assert np.isnan(frame["rate"].iloc[1])


def test_one_table_of_a_protection_report():
    pytest.importorskip("pandas")
    report = protection(inversion=[{"attack": "a", "ssim": 0.5}], replay=[{"probe": "b"}])
    frame = report.to_frame()
    assert frame["table"].tolist() == ["inversion", "replay"]
    assert frame["ssim"].iloc[0] == 0.5
    assert report.to_frame("replay").columns.tolist() == ["probe"]
    for name in ("membership", "blind_ssim"):
        with pytest.raises(ValueError, match=rf"one of \['inversion', 'replay'\].*'{name}'"):
            report.to_frame(name)


@each_report
def test_without_pandas_is_one_sentence(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="needs pandas: install it with `pip install pandas`"):
        report.to_frame()


def test_the_note_of_key_recovery_is_in_both():
    recovery = [{"n_pairs": 3, "match_rate": 0.5, "with_prior": 0.5}]
    report = protection(key_recovery=recovery, key_known_match_rate=0.75)
    for shown in (str(report), report._repr_html_()):
        assert "with the key itself: 0.7500" in shown
