"""The audit's page: one self-contained HTML file for all hosts of a run.

Its maps are tables; each cell has a colour, a short text and a tooltip.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

from ansible.module_utils.audit.model import FAIL, FAILED, PASS, UNREACHABLE, WAIVED, WARN
from ansible.module_utils.schedule import state
from ansible.module_utils.text import plural

# Mark and word of each verdict, so that none depends on colour alone.
WORDS = {
    PASS: ("✓", "pass"),
    WARN: ("!", "warning"),
    FAIL: ("✕", "fail"),
    WAIVED: ("~", "waived"),
    UNREACHABLE: ("?", "unreachable"),
    FAILED: ("✕", "no result"),
}
_ORDER = (UNREACHABLE, FAILED, FAIL, WARN, PASS)
# With more hosts than this, the page only counts the checks that passed, so that it stays small.
IN_FULL = 50
# Not strftime, because the evidence must not depend on the controller's locale.
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
MANY = 0.2  # share of a month's sessions that must be missing for the darker colour


def text(document: Mapping[str, Any], templates: Path) -> str:
    """Return the page of a document; ``templates`` is the folder of ``page.html.j2`` and ``page.css``."""
    # Only the controller has these packages, and the linters import this module without them.
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        number=lambda value: "–" if value is None else f"{value:,}",
        by_month=by_month,
        by_day=by_day,
        by_runs=by_runs,
    )
    page: str = environment.get_template("page.html.j2").render(
        **document,
        style=Markup((templates / "page.css").read_text(encoding="utf-8")),  # noqa: S704 - the role's own file
        words=WORDS,
        order=sorted(document["hosts"], key=lambda host: (_ORDER.index(host["verdict"]), host["name"])),
        in_full=len(document["hosts"]) <= IN_FULL,
    )
    return page


@dataclass(frozen=True)
class Cell:
    """One cell; ``kind`` is its CSS class, empty if nothing is expected, and ``label`` its tooltip."""

    kind: str = ""
    text: str = ""
    label: str = ""


@dataclass(frozen=True)
class Row:
    """A line of a map: a symbol or a market, ``facts`` about it, and its cells."""

    name: str
    cells: list[Cell]
    facts: Sequence[str] = ()
    symbol: bool = True


@dataclass(frozen=True)
class Map:
    """A map; ``groups`` are headings, each with the number of columns that it spans."""

    groups: list[tuple[str, int]]
    columns: list[str]
    rows: list[Row]
    facts: Sequence[str] = ()


def by_month(coverage: dict[str, Any]) -> Map:
    """Return the map of symbols by month; ``coverage`` is that of ``audit.json``."""
    years = [month[:4] for month in coverage["months"]]
    short = [MONTHS[int(month[5:]) - 1] for month in coverage["months"]]
    names = [f"{month} {year}" for month, year in zip(short, years)]
    rows = [
        Row(
            f"{market['name']} sessions",
            _row(market["name"], names, map(_sessions, market["months"])),
            (plural(market["symbols"], "symbol"), "", ""),
            symbol=False,
        )
        for market in coverage["markets"]
    ]
    total = ("", f"{coverage['missing']:,}", f"{coverage['behind']:,}")
    rows.append(Row("all symbols", _row("All symbols", names, map(_share, coverage["all"])), total, False))
    for line in coverage["worst"]:
        facts = (_freshness(line), f"{line['missing']:,}", f"{line['behind']:,}")
        rows.append(Row(line["symbol"], _row(line["symbol"], names, map(_month, line["months"])), facts))
    return Map(_groups(years), short, rows, ("Last bar", "Missing", "Behind"))


def by_day(coverage: dict[str, Any]) -> Map:
    """Return the map of symbols by day, for the last days; see ``by_month``."""
    days = [date.fromisoformat(day) for day in coverage["recent"]]
    months = [f"{MONTHS[day.month - 1]} {day.year}" for day in days]
    names = [f"{WEEKDAYS[day.weekday()]} {day.day} {month}" for day, month in zip(days, months)]
    rows = [
        Row(
            f"{market['name']} sessions",
            _row(market["name"], names, map(_day, market["recent"])),
            symbol=False,
        )
        for market in coverage["markets"]
    ]
    rows += [
        Row(line["symbol"], _row(line["symbol"], names, map(_day, line["recent"])))
        for line in coverage["worst"]
    ]
    return Map(_groups(months), [str(day.day) for day in days], rows)


def by_runs(history: Sequence[dict[str, Any]]) -> Map:
    """Return the map of scheduled runs, with a row for each month, newest first, and a cell for each day."""
    known = {date.fromisoformat(each["day"]): each["runs"] for each in history}
    rows = []
    for year, month in sorted({(day.year, day.month) for day in known}, reverse=True):
        last = calendar.monthrange(year, month)[1]
        days = [date(year, month, number) for number in range(1, last + 1)]
        cells = [_runs(day, known[day]) if day in known else Cell() for day in days]
        rows.append(Row(f"{MONTHS[month - 1]} {year}", cells + [Cell()] * (31 - last)))
    return Map([("Day, UTC", 31)], [str(number) for number in range(1, 32)], rows)


def _groups(names: Iterable[str]) -> list[tuple[str, int]]:
    return [(name, len(list(same))) for name, same in groupby(names)]


def _row(name: str, columns: Iterable[str], found: Iterable[tuple[str, str, str]]) -> list[Cell]:
    return [
        Cell(kind, text, f"{name}, {column}: {words}") if kind else Cell()
        for column, (kind, text, words) in zip(columns, found)
    ]


def _sessions(month: dict[str, int]) -> tuple[str, str, str]:
    sessions, holidays = month["sessions"], month["holidays"]
    if not sessions:
        return "", "", ""
    if not holidays:
        return "open", str(sessions), plural(sessions, "session")
    return "off", f"{sessions}h{holidays}", f"{plural(sessions, 'session')}, {plural(holidays, 'holiday')}"


def _share(month: dict[str, int]) -> tuple[str, str, str]:
    held, expected = month["held"], month["expected"]
    if not expected:
        return "", "", ""
    share = held / expected
    # Rounded down, so that an incomplete month never shows 100 %.
    text = "100" if share >= 1 else f"{int(share * 1000) / 10:g}"
    return _gap(1 - share), text, f"{held:,} of {plural(expected, 'session')} have a bar ({text} %)"


def _month(month: dict[str, int]) -> tuple[str, str, str]:
    bars, missing, behind = month["bars"], month["missing"], month["behind"]
    words = plural(bars, "bar")
    if missing:
        words += f", {plural(missing, 'session')} missing"
    if behind:
        words += f", {plural(behind, 'session')} after the last bar"
    if missing:
        return _gap(missing / (bars + missing)), f"−{missing}", words
    if behind:
        return "late", f"▸{behind}", words
    return ("full", str(bars), words) if bars else ("", "", "")


def _gap(share: float) -> str:
    return "full" if share <= 0 else "few" if share < MANY else "many"


def _freshness(line: dict[str, Any]) -> str:
    if line["last"] is None:
        return "no bar"
    if not line["active"]:
        return f"{line['last']} (not active)"
    if line["market"] == "no calendar":
        return f"{line['last']} (no calendar)"
    return f"{line['last']} {'▸' if line['behind'] else '✓'}"


def _day(letter: str) -> tuple[str, str, str]:
    return {
        "b": ("full", "•", "a bar"), "s": ("open", "s", "session"), "h": ("off", "h", "holiday"),
        "m": ("many", "×", "missing"), "l": ("late", "▸", "session after the last bar"), ".": ("", "", ""),
    }[letter]  # fmt: skip


def _runs(day: date, runs: Sequence[dict[str, Any]]) -> Cell:
    """Return the cell of a day: good, fixed by a later run on the same day, or bad."""
    failed = (state.FAILED, state.CUT)
    last = {run["job"]: run["outcome"] for run in runs}
    bad = sorted(job for job, outcome in last.items() if outcome in failed)
    fixed = sorted({run["job"] for run in runs if run["outcome"] in failed} - set(bad))
    totals = f"{len(runs)} runs, {sum(run['calls'] for run in runs):,} calls, {sum(run['rows'] for run in runs):,} rows"
    if bad:
        return Cell("many", "✕", f"{day}: {', '.join(bad)} failed; {totals}")
    if fixed:
        return Cell("few", "~", f"{day}: {', '.join(fixed)} failed first, then succeeded; {totals}")
    return Cell("full", "✓", f"{day}: all succeeded; {totals}")
