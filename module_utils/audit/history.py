"""The scheduled runs by day, for the page and ``audit.json``."""

from __future__ import annotations

import calendar
import contextlib
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils.audit.cells import MONTHS, Cell, Map, Row
from ansible.module_utils.schedule.state import CUT, FAILED, FILE, MET

# Outcomes of a run that did not finish its work.
BAD = (FAILED, CUT)
DAYS = 31


def read(folders: Iterable[str]) -> list[dict[str, Any]]:
    """Return the runs by day, oldest first, from the first folder with a history; empty if there is none.

    Each entry has ``day``, and ``runs`` with job, outcome, hosts, failed, changed, seconds, calls and rows.
    """
    for folder in folders:
        path = Path(folder) / FILE
        with contextlib.suppress(OSError, sqlite3.Error):
            if path.exists():
                return _days(path)
    return []


def _days(path: Path) -> list[dict[str, Any]]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute(
            "SELECT job, outcome, hosts, failed, changed, calls, rows, began, ended - began AS seconds FROM runs"
            " WHERE ended IS NOT NULL AND outcome <> ? ORDER BY began, id",
            (MET,),
        ).fetchall()
    days: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        run = dict(row)
        day = datetime.fromtimestamp(run.pop("began"), timezone.utc).date().isoformat()
        days.setdefault(day, []).append({**run, "seconds": round(run["seconds"], 1)})
    return [{"day": day, "runs": runs} for day, runs in days.items()]


def by_day(history: Sequence[dict[str, Any]]) -> Map:
    """Return a map with a row for each month, newest first, and a cell for each day."""
    known = {date.fromisoformat(each["day"]): each["runs"] for each in history}
    months = sorted({(day.year, day.month) for day in known}, reverse=True)
    rows = []
    for year, month in months:
        last = calendar.monthrange(year, month)[1]
        days = [date(year, month, number) for number in range(1, last + 1)]
        cells = [_cell(day, known[day]) if day in known else Cell() for day in days]
        rows.append(Row(f"{MONTHS[month - 1]} {year}", cells + [Cell()] * (DAYS - last)))
    return Map([("Day, UTC", DAYS)], [str(number) for number in range(1, DAYS + 1)], rows)


def _cell(day: date, runs: Sequence[dict[str, Any]]) -> Cell:
    """Return the cell of a day: good, fixed by a later run on the same day, or bad."""
    last = {run["job"]: run["outcome"] for run in runs}
    bad = sorted(job for job, outcome in last.items() if outcome in BAD)
    fixed = sorted({run["job"] for run in runs if run["outcome"] in BAD} - set(bad))
    totals = f"{len(runs)} runs, {sum(run['calls'] for run in runs):,} calls, {sum(run['rows'] for run in runs):,} rows"
    if bad:
        return Cell("many", "✕", f"{day}: {', '.join(bad)} failed; {totals}")
    if fixed:
        return Cell("few", "~", f"{day}: {', '.join(fixed)} failed first, then succeeded; {totals}")
    return Cell("full", "✓", f"{day}: all succeeded; {totals}")
