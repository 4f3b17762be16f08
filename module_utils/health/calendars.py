"""The sessions of the markets, by the suffix of a symbol.

Holidays and closing times come from a calendar library on the controller
(``roles/health/lookup_plugins/health_calendars.py``), as text that holds no more than is needed here.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from itertools import accumulate
from typing import Any

_DAY = timedelta(days=1)
_MIDNIGHT = 24 * 60


@dataclass(frozen=True)
class Calendar:
    """The sessions of one market; a session has the date of its bar.

    Attributes:
        week: seven characters, Monday first; ``1`` where the market is open.
        first, last: the days that ``closed`` and ``extra`` are known for; outside, weekdays alone are.
        closed, extra: days that are otherwise than ``week`` says.
        closes: from which day on a session ends how many minutes after midnight UTC of its date, in order.
    """

    week: str
    first: date = date.min
    last: date = date.max
    closed: frozenset[date] = frozenset()
    extra: frozenset[date] = frozenset()
    closes: tuple[tuple[date, int], ...] = ()

    def is_session(self, day: date) -> bool:
        """Whether the market has a bar of this day."""
        return day in self.extra or (self.week[day.weekday()] == "1" and day not in self.closed)

    def sessions(self, first: date, last: date) -> list[date]:
        """Return the sessions from ``first`` to ``last``, both included."""
        days = (date.fromordinal(number) for number in range(first.toordinal(), last.toordinal() + 1))
        return [day for day in days if self.is_session(day)]

    def closing(self, day: date) -> datetime:
        """Return when the session of a day ends, in UTC."""
        at = bisect_right(self.closes, (day, _MIDNIGHT))
        minutes = self.closes[max(0, at - 1)][1] if self.closes else _MIDNIGHT
        return datetime(day.year, day.month, day.day, tzinfo=timezone.utc) + timedelta(minutes=minutes)

    def last_finished(self, now: datetime) -> date:
        """Return the newest session that has ended by ``now``, a time with its zone."""
        day = now.astimezone(timezone.utc).date() + _DAY
        while not (self.is_session(day) and self.closing(day) <= now):
            day -= _DAY
        return day


# Currencies trade from Sunday evening to Friday; on these two days their market rests as good as everywhere.
@dataclass(frozen=True)
class _Currencies(Calendar):
    def is_session(self, day: date) -> bool:
        return super().is_session(day) and (day.month, day.day) not in ((1, 1), (12, 25))


OWN: Mapping[str, Calendar] = {"FOREX": _Currencies("1111101"), "CC": Calendar("1111111")}


@dataclass(frozen=True)
class Calendars:
    """The calendars by suffix; ``missing`` says why those of the exchanges are not there."""

    by_suffix: Mapping[str, Calendar] = field(default_factory=lambda: OWN)
    missing: str = ""

    def of(self, symbol: str) -> Calendar | None:
        """Return the calendar of ``AAPL.US``, or of the suffix ``US`` alone; None where there is none."""
        return self.by_suffix.get(symbol.rpartition(".")[2])


def parse(raw: str | None) -> Calendars:
    """Return the calendars that the controller sent.

    The text is base64 of zlib of JSON: ``{markets: {name: …}, suffixes: {suffix: name}}``, or ``{missing: why}``.
    A market is ``{week, first, last, closed, extra, closes}``: days are numbers (``date.toordinal``), each of a
    list as the distance to the one before it and the first as that to ``first``; ``closes`` is a list of
    ``[day, minutes]``. Without any, or where the text is none of ours, there are those of currencies and crypto alone.
    """
    try:
        data = json.loads(zlib.decompress(base64.b64decode(raw or "", validate=True)))
        if "missing" in data:
            return Calendars(missing=str(data["missing"]))
        markets = {name: _market(found) for name, found in data["markets"].items()}
        suffixes = {suffix: markets[name] for suffix, name in data["suffixes"].items() if name in markets}
    except (binascii.Error, zlib.error, ValueError, KeyError, TypeError, AttributeError):
        return Calendars(missing="the controller sent no calendars of exchanges")
    return Calendars({**suffixes, **OWN})


def _market(data: Mapping[str, Any]) -> Calendar:
    first = int(data["first"])

    def days(distances: list[int]) -> list[date]:
        return [date.fromordinal(number) for number in accumulate([first, *distances])][1:]

    return Calendar(
        data["week"],
        date.fromordinal(first),
        date.fromordinal(int(data["last"])),
        frozenset(days(data["closed"])),
        frozenset(days(data["extra"])),
        tuple(zip(days([at for at, _ in data["closes"]]), [minutes for _, minutes in data["closes"]])),
    )
