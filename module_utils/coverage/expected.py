"""The sessions of a market in a window, and the last one whose bars are due."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from ansible.module_utils.markets import calendar, names


class Window(NamedTuple):
    """The days from ``first`` to ``last``, both included."""

    first: date
    last: date

    @classmethod
    def of(cls, months: int, last: date) -> Window:
        """Return the window of ``months`` months that ends on ``last``."""
        count = last.year * 12 + last.month - months
        return cls(date(count // 12, count % 12 + 1, 1), last)

    @property
    def months(self) -> list[date]:
        """Return the first day of each month in the window."""
        found = [self.first.replace(day=1)]
        while following(found[-1]) <= self.last:
            found.append(following(found[-1]))
        return found


def following(month: date) -> date:
    """Return the first day of the next month."""
    return (month + timedelta(days=31)).replace(day=1)


def bars(symbol: str, first: date, last: date) -> int:
    """Return how many bars a symbol or a market should have; without a calendar, it counts as one of the US."""
    return _sessions(names.market(symbol), first, last)


@lru_cache(maxsize=1000)  # many symbols of a run have the same market and days
def _sessions(market: str, first: date, last: date) -> int:
    found = calendar.of(market) or calendar.of(names.DEFAULT)
    assert found
    return len(found.sessions(first, last))


class Market(NamedTuple):
    """A market in a window: the suffix of its symbols, and its sessions that can have a bar, in order."""

    name: str
    days: list[date]

    def between(self, first: date, last: date) -> int:
        """Return the number of sessions from ``first`` to ``last``, both included."""
        return max(0, bisect_right(self.days, last) - bisect_left(self.days, first))


@dataclass(frozen=True)
class Markets:
    """The markets of symbols in a window; a bar may be late by ``margin``."""

    window: Window
    now: datetime
    margin: timedelta

    def of(self, symbol: str) -> Market | None:
        """Return the market of a symbol; None if there is no calendar."""
        return self.named(names.suffix(symbol))

    def named(self, suffix: str) -> Market | None:
        """Return the market of a suffix; None if there is no calendar."""
        return _market(suffix, self.window, self.now)

    def due(self, symbol: str, kind: str | None = None) -> date:
        """Return the last session for which a symbol should have a bar; its market must have a calendar."""
        found = calendar.due(names.suffix(symbol), self.now - self.margin, kind)
        assert found
        return found


@lru_cache(maxsize=1000)
def _market(suffix: str, window: Window, now: datetime) -> Market | None:
    found, newest = calendar.of_market(suffix), calendar.due(suffix, now)
    if not found or not newest:
        return None
    # Sessions that cannot have a bar yet are not missing, even before a bar with a future date.
    first, last = max(window.first, found.first), min(window.last, found.last, newest)
    return Market(suffix, found.sessions(first, last))
