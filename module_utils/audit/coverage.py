"""The map of bars by symbol and month for ``audit.json``, computed from the numbers passed in.

Its size is bounded: it lists the ``limit`` symbols that lack most, and adds up all others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Callable

from ansible.module_utils.coverage.expected import Market, Markets, Window, following
from ansible.module_utils.coverage.judge import Lack, lacks
from ansible.module_utils.coverage.survey import Month, Survey

# Days in the map by day, the newest on the right.
RECENT = 42
NO_CALENDAR = "no calendar"


def picture(
    survey: Survey,
    markets: Markets,
    days: Callable[[Sequence[str]], Mapping[str, Sequence[date]]],
    limit: int,
) -> dict[str, Any]:
    """Return the map; ``days`` returns the days with a bar of each of the ``limit`` symbols listed."""
    window = markets.window
    every = sorted(lacks(survey, markets), key=lambda lack: (-lack.missing - lack.behind, lack.symbol))
    worst = every[:limit]
    bars = days([lack.symbol for lack in worst])
    return {
        "first": window.first.isoformat(),
        "last": window.last.isoformat(),
        "months": [month.strftime("%Y-%m") for month in window.months],
        "recent": [day.isoformat() for day in recent(window)],
        "symbols": len(every),
        "without_bars": len(survey.bare()),
        "with_gaps": sum(1 for lack in every if lack.missing),
        "missing": sum(lack.missing for lack in every),
        "behind": sum(1 for lack in every if lack.behind),
        "without_calendar": sum(1 for lack in every if not lack.charted),
        "all": summed(survey, markets),
        "markets": calendars(every, markets),
        "worst": [drawn(lack, survey, bars.get(lack.symbol, ()), markets) for lack in worst],
    }


def drawn(lack: Lack, survey: Survey, days: Iterable[date], markets: Markets) -> dict[str, Any]:
    """Return the line of a symbol with bars on ``days`` of the window.

    Each of ``months`` has ``bars``, ``missing`` (sessions inside the symbol's range) and ``behind`` (sessions
    after its last bar). ``recent`` has one letter a day: ``b`` a bar, ``m`` missing, ``l`` later than the last
    bar, ``.`` no session, or not checked.
    """
    have, span, window = set(days), survey.spans.get(lack.symbol), markets.window
    market = markets.of(lack.symbol)
    active = lack.symbol not in survey.inactive
    lacking = [day for day in (market.days if market else ()) if day not in have]
    missing = {day for day in lacking if span and span.first <= day <= span.last}
    behind: set[date] = set()
    if active and market:
        due = markets.due(lack.symbol, survey.kinds.get(lack.symbol))
        behind = {day for day in lacking if (span is None or day > span.last) and day <= due}
    by_month = [Counter(day.replace(day=1) for day in group) for group in (have, missing, behind)]
    return {
        "symbol": lack.symbol,
        "market": market.name if market else NO_CALENDAR,
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
    """Return the days of the map by day."""
    count = min(RECENT, (window.last - window.first).days + 1)
    return [window.last - timedelta(days=count - 1 - back) for back in range(count)]


def summed(survey: Survey, markets: Markets) -> list[dict[str, int]]:
    """Return the sessions expected in each month of all symbols with a calendar, inside their ranges.

    Symbols with the same market and range are counted together, so that 150,000 symbols are fast.
    """
    spans: Counter[tuple[str, date, date]] = Counter()
    known: dict[str, Market] = {}
    for symbol, span in survey.spans.items():
        market = markets.of(symbol)
        if market:
            known[market.name] = market
            spans[(market.name, span.first, span.last)] += 1
    expected: Counter[date] = Counter()
    for (name, first, last), number in spans.items():
        for month in markets.window.months:
            end = following(month) - timedelta(days=1)
            if first <= end and month <= last:
                expected[month] += number * known[name].between(max(first, month), min(last, end))
    found = {month: survey.months.get(month, Month(0, 0, 0)) for month in markets.window.months}
    return [
        {"rows": have.bars, "symbols": have.symbols, "expected": expected[month], "held": have.held}
        for month, have in found.items()
    ]


def calendars(every: Iterable[Lack], markets: Markets) -> list[dict[str, Any]]:
    """Return the sessions and holidays of each market by month, and its recent holidays.

    A holiday is a weekday without a session, up to the last session that is over.
    """
    found = []
    window, shown = markets.window, recent(markets.window)
    users = Counter(market.name for lack in every if (market := markets.of(lack.symbol)))
    for name in sorted(users):
        market = markets.named(name)
        assert market
        due = markets.due(f".{name}")
        held = {day for day in market.days if day <= due}
        end = max(held, default=window.first)
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
