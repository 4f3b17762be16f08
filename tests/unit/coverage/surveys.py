"""Surveys of invented bars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone

from ansible.module_utils.coverage.expected import Markets, Window
from ansible.module_utils.coverage.survey import Month, Span, Survey

TODAY = date(2026, 11, 23)  # a Monday
NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


def markets(window: Window, now: datetime = NOW) -> Markets:
    return Markets(window, now, timedelta(hours=6))


def survey(
    bars: Mapping[str, Sequence[date]],
    known: Markets,
    active: Iterable[str] | None = None,
) -> Survey:
    """Return a survey of some symbols with their days; by default, all are active."""
    kinds: dict[str, str | None] = dict.fromkeys(bars if active is None else active)
    found = Survey(known.window.first, kinds, frozenset(bars.keys() - kinds.keys()))
    rows: Counter[date] = Counter()
    held: Counter[date] = Counter()
    symbols: Counter[date] = Counter()
    for symbol, days in bars.items():
        market = known.of(symbol)
        kept = [day for day in days if market is None or day in market.days] if market else []
        if days:
            found.spans[symbol] = Span(min(days), max(days), len(kept))
        rows.update(day.replace(day=1) for day in days)
        held.update(day.replace(day=1) for day in kept)
        symbols.update({day.replace(day=1) for day in days})
    found.months = {month: Month(rows[month], held[month], symbols[month]) for month in rows}
    return found
