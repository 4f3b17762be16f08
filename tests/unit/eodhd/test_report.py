"""The progress lines and the report of a run."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

from ansible.module_utils.eodhd import report
from ansible.module_utils.eodhd.report import Totals

COUNTS = {"market_data": 0, "assets": 0}


def test_progress_shows_symbols_rows_calls_rate_and_time_left(tmp_path: Path) -> None:
    totals = Totals(symbols=100, done=25, fresh=5, downloaded=5000, calls=20, requests=22)
    totals.not_loaded["A.US"] = ("unknown", "")
    assert report.line(totals, 10) == (
        "25 of 100 symbols (1 not loaded), 5,000 rows, 20 calls, 2.2 requests/s, 38 s left"
    )
    assert report.duration(3700) == "1 h 01 min"
    path, now = tmp_path / "progress", count()
    shown = report.Progress(str(path), now.__next__)
    for _ in range(10):
        shown.tick(totals)
    assert len(path.read_text().splitlines()) == 3


def test_the_report_says_success_only_if_everything_is_loaded() -> None:
    good = Totals(symbols=2, loaded=2)
    whole = report.Verification(COUNTS, COUNTS)
    assert "SUCCESS" in report.text("t", good, whole, bad=False)
    assert "INCOMPLETE" in report.text("t", good, replace(whole, lacking=["A.US"]), bad=False)
    assert "SUCCESS" not in report.text("t", good, replace(whole, old=["A.US: 3 bars"]), bad=False)
    for outcome in ("empty", "unknown", "failed", "pending", "set_aside", "truncated"):
        lacking = Totals(symbols=2, loaded=1, not_loaded={"A.US": (outcome, "why")})
        text = report.text("t", lacking, whole, bad=True)
        assert "INCOMPLETE" in text
        assert f"A.US: {outcome} (why)" in text
        assert "ACCEPTED" in report.text("t", lacking, whole, bad=False)
        assert outcome in report.advice({outcome})
