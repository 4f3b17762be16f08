"""Which bars are there, symbols by months: gaps, holidays and freshness. Decisions; the numbers are passed in.

The map is bounded: the ``limit`` symbols that lack most are drawn one by one, all others are summed up.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Callable, Optional

from ansible.module_utils.health.calendars import Calendar, Calendars

# Days that are drawn one by one, the newest on the right.
RECENT = 42
NO_CALENDAR = "no calendar"


# Gives the market of a symbol: its name, its calendar, and the last session whose bars are expected; None where
# no calendar is known.
Asked = Callable[[str], Optional["tuple[str, Calendar, date]"]]


@dataclass(frozen=True)
class Range:
    """What a symbol has in the window: first and last day with a bar, and its bars on sessions of its market."""

    first: date
    last: date
    bars: int


@dataclass
class Market:
    """A calendar with its sessions in the window, up to the last one that is over.

    Attributes:
        name: for people.
        days: in order.
        masks: the same by month, as ``month_key`` counts them: bit 1 is the first day.
    """

    name: str
    days: list[date]
    masks: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        """The masks of the days."""
        self.masks = {}
        for day in self.days:
            self.masks[month_key(day)] = self.masks.get(month_key(day), 0) | 1 << day.day

    def between(self, first: date, last: date) -> int:
        """Number of sessions, both ends included."""
        return max(0, bisect_right(self.days, last) - bisect_left(self.days, first))


def month_key(day: date) -> int:
    """The number of a day's month."""
    return day.year * 12 + day.month


def _day(key: int, number: int) -> date:
    return date((key - 1) // 12, (key - 1) % 12 + 1, number)


@dataclass
class Window:
    """The days that are looked at.

    Attributes:
        first, last: both included.
        months: the first day of each.
    """

    first: date
    last: date
    months: list[date] = field(init=False)

    def __post_init__(self) -> None:
        """The months that it touches."""
        self.months = [self.first.replace(day=1)]
        while following(self.months[-1]) <= self.last:
            self.months.append(following(self.months[-1]))

    @classmethod
    def of(cls, months: int, last: date) -> Window:
        """The month of ``last`` and those before it, ``months`` in all."""
        count = last.year * 12 + last.month - months
        return cls(date(count // 12, count % 12 + 1, 1), last)


def following(month: date) -> date:
    """The first day of the next month."""
    return (month + timedelta(days=31)).replace(day=1)


@dataclass
class Summary:
    """What is known of all symbols in the window.

    Attributes:
        ranges: of those with a bar.
        active: those that should go on to the last session.
        rows, symbols: bars, and symbols that have one, by month.
        held: bars on sessions of their markets, by month.
    """

    ranges: dict[str, Range]
    active: frozenset[str]
    rows: dict[date, int]
    symbols: dict[date, int]
    held: Counter[date]


class Markets:
    """The markets of symbols, each made once.

    Args:
        of: see ``by_suffix``.
        window: the days that are looked at.
    """

    def __init__(self, of: Asked, window: Window) -> None:
        self._of = of
        self._window = window
        self._known: dict[str, Market] = {}

    def get(self, symbol: str) -> Market | None:
        """The market of a symbol; None where no calendar is known."""
        answer = self._of(symbol)
        if answer is None:
            return None
        name, calendar, over = answer
        if name not in self._known:
            days = list(calendar.sessions(self._window.first, min(over, self._window.last)))
            self._known[name] = Market(name, days)
        return self._known[name]


def gathered(
    symbols: Iterable[tuple[str, Sequence[int], Sequence[int]]],
    months: Iterable[tuple[date, int, int]],
    active: Iterable[str],
    markets: Markets,
) -> Summary:
    """Return the summary of what a database holds.

    Args:
        symbols: each with the numbers of its months in order, and the days with a bar in each as a mask.
        months: each with its bars and its symbols.
        active: symbols.
        markets: of the symbols.
    """
    listed = list(months)
    rows = {month: bars for month, bars, _ in listed}
    found = Summary({}, frozenset(active), rows, {month: number for month, _, number in listed}, Counter())
    held: Counter[int] = Counter()
    for symbol, keys, masks in symbols:
        sessions = markets.get(symbol)
        total = 0
        for key, mask in zip(keys, masks):
            bars = bin(mask & sessions.masks.get(key, 0) if sessions else mask).count("1")
            total += bars
            if sessions:
                held[key] += bars
        first, last = masks[0], masks[-1]
        found.ranges[symbol] = Range(
            _day(keys[0], (first & -first).bit_length() - 1), _day(keys[-1], last.bit_length() - 1), total
        )
    found.held = Counter({_day(key, 1): number for key, number in held.items()})
    return found


def by_suffix(calendars: Calendars, now: datetime, publish_hours: float) -> Asked:
    """Return what gives the market of a symbol, by its suffix.

    Args:
        calendars: of all markets.
        now: the present, with its zone.
        publish_hours: from the end of a session until its bar is expected.
    """
    known: dict[str, tuple[str, Calendar, date] | None] = {}

    def of(symbol: str) -> tuple[str, Calendar, date] | None:
        suffix = symbol.rpartition(".")[2]
        if suffix not in known:
            calendar = calendars.of(symbol)
            over = calendar.last_finished(now - timedelta(hours=publish_hours)) if calendar else now.date()
            known[suffix] = (suffix, calendar, over) if calendar else None
        return known[suffix]

    return of


@dataclass(frozen=True)
class Lack:
    """What a symbol lacks: sessions inside its range, and sessions after its last bar."""

    symbol: str
    missing: int
    behind: int


def lacks(summary: Summary, markets: Markets, window: Window) -> list[Lack]:
    """Return what each symbol lacks, the worst first; active ones without a bar lack the whole window."""
    found = []
    for symbol in {*summary.ranges, *summary.active}:
        sessions, span = markets.get(symbol), summary.ranges.get(symbol)
        if sessions is None:
            found.append(Lack(symbol, 0, 0))
        elif span is None:
            found.append(Lack(symbol, 0, len(sessions.days)))
        else:
            missing = sessions.between(span.first, span.last) - span.bars
            behind = sessions.between(span.last + timedelta(days=1), window.last)
            found.append(Lack(symbol, missing, behind if symbol in summary.active else 0))
    return sorted(found, key=lambda lack: (-lack.missing - lack.behind, lack.symbol))


def drawn(
    lack: Lack, summary: Summary, days: Iterable[date], sessions: Market | None, window: Window
) -> dict[str, Any]:
    """Return the line of one symbol.

    Args:
        lack: what it lacks.
        summary: of all symbols.
        days: its bars in the window.
        sessions: of its market; None where no calendar is known, so that nothing can be called missing.
        window: the days that are looked at.

    In ``months``, each has ``bars``, ``missing`` (sessions inside the symbol's range) and ``behind`` (sessions
    after its last bar). ``recent`` has one letter a day: ``b`` a bar, ``m`` missing, ``l`` later than the last
    bar, ``.`` no session or not judged.
    """
    have, span = set(days), summary.ranges.get(lack.symbol)
    active = lack.symbol in summary.active
    lacking = [day for day in (sessions.days if sessions else ()) if day not in have]
    missing = {day for day in lacking if span and span.first <= day <= span.last}
    behind = {day for day in lacking if active and (span is None or day > span.last)}
    by_month = [Counter(day.replace(day=1) for day in group) for group in (have, missing, behind)]
    return {
        "symbol": lack.symbol,
        "market": sessions.name if sessions else NO_CALENDAR,
        "active": active,
        "first": span.first.isoformat() if span else None,
        "last": span.last.isoformat() if span else None,
        "bars": len(have),
        "missing": len(missing),
        "behind": len(behind),
        "months": [
            dict(zip(("bars", "missing", "behind"), (group[month] for group in by_month)))
            for month in window.months
        ],
        "recent": "".join(
            "b" if day in have else "m" if day in missing else "l" if day in behind else "."
            for day in recent(window)
        ),
    }


def recent(window: Window) -> list[date]:
    """The days that are drawn one by one."""
    count = min(RECENT, (window.last - window.first).days + 1)
    return [window.last - timedelta(days=count - 1 - back) for back in range(count)]


def summed(summary: Summary, markets: Markets, window: Window) -> list[dict[str, int]]:
    """Return for each month the sessions expected of all symbols with a calendar, inside their ranges.

    Symbols of the same market and range are counted together, so that 150,000 of them take no time.
    """
    spans: Counter[tuple[str, date, date]] = Counter()
    known: dict[str, Market] = {}
    for symbol, span in summary.ranges.items():
        market = markets.get(symbol)
        if market:
            known[market.name] = market
            spans[(market.name, span.first, span.last)] += 1
    expected: Counter[date] = Counter()
    for (name, first, last), number in spans.items():
        for month in window.months:
            end = following(month) - timedelta(days=1)
            if first <= end and month <= last:
                expected[month] += number * known[name].between(max(first, month), min(last, end))
    return [
        {
            "rows": summary.rows.get(month, 0),
            "symbols": summary.symbols.get(month, 0),
            "expected": expected[month],
            "held": summary.held[month],
        }
        for month in window.months
    ]


def calendars(symbols: Mapping[str, Market], window: Window) -> list[dict[str, Any]]:
    """Return for each market its sessions and holidays by month, and its recent holidays.

    A holiday is a weekday without a session up to the last session that is over.
    """
    found = []
    shown, users = recent(window), Counter(entry.name for entry in symbols.values())
    for name, sessions in sorted({entry.name: entry for entry in symbols.values()}.items()):
        held = set(sessions.days)
        end = sessions.days[-1] if sessions.days else window.first
        span = (window.first + timedelta(days=n) for n in range((end - window.first).days + 1))
        holidays = [day for day in span if day.weekday() < 5 and day not in held]
        each = [Counter(day.replace(day=1) for day in group) for group in (held, holidays)]
        found.append(
            {
                "name": name,
                "symbols": users[name],
                "months": [
                    {"sessions": each[0][month], "holidays": each[1][month]} for month in window.months
                ],
                "recent": "".join("s" if day in held else "h" if day in holidays else "." for day in shown),
                "holidays": [day.isoformat() for day in holidays if day >= shown[0]],
            }
        )
    return found


def picture(
    summary: Summary,
    markets: Markets,
    days: Callable[[Sequence[str]], Mapping[str, Sequence[date]]],
    window: Window,
    limit: int,
) -> dict[str, Any]:
    """Return the whole map, as ``audit.json`` keeps it.

    Args:
        summary: of all symbols.
        markets: of the symbols.
        days: gives the days with a bar of some symbols.
        window: the days that are looked at.
        limit: how many symbols are drawn one by one.
    """
    every = lacks(summary, markets, window)
    market = {lack.symbol: found for lack in every if (found := markets.get(lack.symbol))}
    worst = every[:limit]
    bars = days([lack.symbol for lack in worst])
    return {
        "first": window.first.isoformat(),
        "last": window.last.isoformat(),
        "months": [month.strftime("%Y-%m") for month in window.months],
        "recent": [day.isoformat() for day in recent(window)],
        "symbols": len(every),
        "without_bars": len(summary.active - set(summary.ranges)),
        "with_gaps": sum(1 for lack in every if lack.missing),
        "missing": sum(lack.missing for lack in every),
        "behind": sum(1 for lack in every if lack.behind),
        "without_calendar": len(every) - len(market),
        "all": summed(summary, markets, window),
        "markets": calendars(market, window),
        "worst": [
            drawn(lack, summary, bars.get(lack.symbol, ()), market.get(lack.symbol), window) for lack in worst
        ],
    }
