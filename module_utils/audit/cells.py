"""The maps of the audit's page as tables; each cell has a colour, a short text and a tooltip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

from ansible.module_utils.text import plural

# Not strftime, because the evidence must not depend on the controller's locale.
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
MANY = 0.2  # share of a month's sessions that must be missing for the darker colour


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
    lines = [(market["name"], market["recent"], False) for market in coverage["markets"]]
    lines += [(line["symbol"], line["recent"], True) for line in coverage["worst"]]
    rows = [
        Row(
            name if symbol else f"{name} sessions",
            _row(name, names, (_DAYS[letter] for letter in letters)),
            symbol=symbol,
        )
        for name, letters, symbol in lines
    ]
    return Map(_groups(months), [str(day.day) for day in days], rows)


# By the letters in ``audit.json``.
_DAYS = {
    "b": ("full", "•", "a bar"), "s": ("open", "s", "session"), "h": ("off", "h", "holiday"),
    "m": ("many", "×", "missing"), "l": ("late", "▸", "session after the last bar"), ".": ("", "", ""),
}  # fmt: skip


def _row(name: str, columns: Iterable[str], found: Iterable[tuple[str, str, str]]) -> list[Cell]:
    return [
        Cell(kind, text, f"{name}, {column}: {words}") if kind else Cell()
        for column, (kind, text, words) in zip(columns, found)
    ]


def _groups(names: Iterable[str]) -> list[tuple[str, int]]:
    return [(name, len(list(same))) for name, same in groupby(names)]


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
