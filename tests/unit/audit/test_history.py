from __future__ import annotations

from pathlib import Path

import pytest
from ansible.module_utils.audit import evidence, history, page
from ansible.module_utils.schedule.state import Run, State

DAY = 86400.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A history of three days: one good, one with a failure that was fixed, one bad."""
    (tmp_path / "spare").mkdir()
    state = State(tmp_path, tmp_path / "spare")
    outcomes = {0: ["ok", "nothing"], 1: ["failed", "ok"], 2: ["ok", "cut"]}
    for day, some in outcomes.items():
        for number, outcome in enumerate(some):
            began = day * DAY + number * 60
            state.keep(Run(f"{day}{number}", "health", began, began + 5, outcome, calls=100, rows=7))
    state.keep(Run("30", "health", 3 * DAY))
    return tmp_path


def test_runs_are_read_by_day_and_those_at_work_are_none(folder: Path) -> None:
    days = history.read([str(folder / "none"), str(folder)])
    assert [(each["day"], len(each["runs"])) for each in days] == [
        ("1970-01-01", 2), ("1970-01-02", 2), ("1970-01-03", 2),
    ]  # fmt: skip


def test_without_a_schedule_there_is_no_history(tmp_path: Path) -> None:
    assert history.read([str(tmp_path)]) == []


def test_a_month_is_a_row_and_a_look_tells_good_mornings_from_bad_ones(folder: Path) -> None:
    (row,) = history.by_day(history.read([str(folder)])).rows
    assert row.name == "Jan 1970"
    assert [cell.text for cell in row.cells[:4]] == ["✓", "~", "✕", ""]
    assert row.cells[0].label == "1970-01-01: all succeeded; 2 runs, 200 calls, 14 rows"
    assert len(row.cells) == 31


def test_the_page_shows_it_if_there_is_one(folder: Path) -> None:
    templates = Path(__file__).resolve().parents[3] / "roles/audit/templates"
    pages = [
        page.text(evidence.document({}, "1970-01-04T00:00:00Z", some), templates)
        for some in (history.read([str(folder)]), [])
    ]
    assert ["Scheduled runs" in text for text in pages] == [True, False]
    assert 'aria-label="1970-01-03: health failed; 2 runs, 200 calls, 14 rows"' in pages[0]
