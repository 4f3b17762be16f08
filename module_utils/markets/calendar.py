"""When the markets trade and when EODHD publishes, by the suffix of a symbol.

The sessions of the exchanges are data (``sessions.py``). Currencies and crypto have their own rules.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from functools import cache, lru_cache
from typing import NamedTuple

from ansible.module_utils.markets import names, sessions

FIRST, LAST = date.fromisoformat(sessions.FIRST), date.fromisoformat(sessions.LAST)


class Clock(NamedTuple):
    """The clock of a time zone: the days on which its offset from UTC changes, and the offset from each day on."""

    since: tuple[date, ...]
    offsets: tuple[timedelta, ...]

    def utc(self, day: date, at: timedelta) -> datetime:
        """Return in UTC the local time ``at``, counted from the midnight of a day."""
        offset = self.offsets[max(0, bisect_right(self.since, day) - 1)]
        return datetime.combine(day, time(), timezone.utc) + at - offset


UTC = Clock((date.min,), (timedelta(),))


class Calendar(NamedTuple):
    """The sessions of one market; a session has the date of its bar.

    Attributes:
        week: seven characters, Monday first; ``1`` if the market is open.
        first, last: the range of ``closed`` and ``extra``; outside of it, only ``week`` is known.
        closed, extra: days on which the market is closed or open although ``week`` says otherwise.
        close: the usual closing times after midnight, each with the first day on which it applies.
        special: other closing times, by day.
        holidays: months and days on which the market is closed every year.
    """

    week: str
    first: date = date.min
    last: date = date.max
    closed: frozenset[date] = frozenset()
    extra: frozenset[date] = frozenset()
    zone: str = "UTC"
    clock: Clock = UTC
    close: tuple[tuple[date, timedelta], ...] = ((date.min, timedelta(days=1)),)
    special: Mapping[date, timedelta] = {}
    holidays: tuple[tuple[int, int], ...] = ()

    def is_session(self, day: date) -> bool:
        """Return whether the market has a session on this day."""
        usual = self.week[day.weekday()] == "1" and (day.month, day.day) not in self.holidays
        return day in self.extra or (usual and day not in self.closed)

    def sessions(self, first: date, last: date) -> list[date]:
        """Return the sessions from ``first`` to ``last``, both included."""
        days = (date.fromordinal(number) for number in range(first.toordinal(), last.toordinal() + 1))
        return [day for day in days if self.is_session(day)]

    def closing(self, day: date) -> datetime:
        """Return when the session of a day ends, in UTC."""
        usual = self.close[max(0, bisect_right(self.close, (day, timedelta.max)) - 1)][1]
        return self.clock.utc(day, self.special.get(day, usual))


# Currencies trade from Sunday evening to Friday.
OWN: Mapping[str, Calendar] = {
    "FOREX": Calendar("1111101", holidays=((1, 1), (12, 25))),
    "CC": Calendar("1111111"),
}
_EXCHANGES = {suffix: name for name in sessions.MARKETS for suffix in names.CALENDARS[name]}


def of(symbol: str) -> Calendar | None:
    """Return the calendar of a symbol such as ``AAPL.US``, a market or a list; None if there is none."""
    market = names.market(symbol)
    return OWN.get(market) or (_exchange(_EXCHANGES[market]) if market in _EXCHANGES else None)


def of_market(name: str) -> Calendar | None:
    """Return the calendar of a market or list by its name, such as ``F``; None if there is none."""
    return of(name) if name in names.KNOWN else None


@cache
def clock(zone: str) -> Clock:
    """Return the clock of a time zone in ``sessions``, such as ``America/New_York``."""
    changes = [*_days(next(text for zones, text in sessions.ZONES.items() if zone in zones.split()))]
    offsets = [_duration(value[1:]) * (-1 if value[0] == "-" else 1) for _, value in changes]
    return Clock(tuple(day for day, _ in changes), tuple(offsets))


@cache
def _exchange(name: str) -> Calendar:
    data = {**sessions.USUAL, **sessions.MARKETS[name]}
    return Calendar(
        data["week"],
        date.fromisoformat(data["first"]),
        date.fromisoformat(data["last"]),
        frozenset(day for day, _ in _days(data["closed"])),
        frozenset(day for day, _ in _days(data["extra"])),
        data["zone"],
        clock(data["zone"]),
        tuple((day, _duration(value)) for day, value in _days(data["close"])),
        {day: _duration(value) for day, value in _days(data["special"])},
    )


def _days(text: str) -> Iterator[tuple[date, str]]:
    """Yield each day of a text in ``sessions``, with its value."""
    year = 0
    for word in text.split():
        if word.endswith(":"):
            year = int(word[:-1])
        else:
            yield date(year, int(word[:2]), int(word[2:4])), word[5:]


def _duration(text: str) -> timedelta:
    """Return the duration of ``16:00`` or ``+05:30``; the sign is ignored."""
    hours, minutes = text.lstrip("+-").split(":")
    return timedelta(hours=int(hours), minutes=int(minutes))


# --- when EODHD publishes -----------------------------------------------------------------------------------


class Rule(NamedTuple):
    """Data is due ``after`` the end of its session; with a ``zone``, at that local time on the next day."""

    after: timedelta
    zone: str = ""

    def moment(self, market: Calendar, session: date) -> datetime:
        """Return when the data of a session is due, in UTC."""
        if self.zone:
            return clock(self.zone).utc(session + timedelta(days=1), self.after)
        return market.closing(session) + self.after


_MORNING = Rule(timedelta(hours=6), "America/New_York")
# By market and kind. A kind is EODHD's type of an asset or a list of the United States, in lower case, or VOLUME. None
# is the rule for all other kinds of a market. _OTHERS is the rule for all other markets.
VOLUME = "volume"
_RULES: Mapping[tuple[str, str | None], Rule] = {
    ("US", None): Rule(timedelta(minutes=15)),
    ("US", "etf"): Rule(timedelta(hours=3)),
    ("US", "fund"): _MORNING,
    ("US", "mutual fund"): _MORNING,
    ("US", "nmfqs"): _MORNING,
    **{("US", name.lower()): _MORNING for name in names.OTC},
    # Consolidated volumes come hours after the prices.
    ("US", VOLUME): _MORNING,
    # Their sessions end at midnight UTC.
    ("CC", None): Rule(timedelta(hours=1)),
    ("FOREX", None): Rule(timedelta(hours=1)),
}
_OTHERS = Rule(timedelta(hours=3))


def due_at(symbol: str, session: date, kind: str | None = None) -> datetime | None:
    """Return when the data of a session is due, in UTC; None if the market has no calendar.

    ``symbol`` is a symbol such as ``AAPL.US``, a market, or a list such as ``PINK``; see ``names.listed``. ``kind`` is
    EODHD's type or list of the asset, or ``VOLUME``; None for regular shares.
    """
    market = of(symbol)
    return _rule(symbol, kind).moment(market, session) if market else None


@lru_cache(maxsize=1000)  # many symbols of a run have the same market and kind
def due(symbol: str, now: datetime, kind: str | None = None) -> date | None:
    """Return the newest session whose data is due by ``now``, for what ``due_at`` takes; None without a calendar."""
    market = of(symbol)
    if market is None:
        return None
    rule = _rule(symbol, kind)
    day = now.astimezone(timezone.utc).date() + timedelta(days=1)
    while not (market.is_session(day) and rule.moment(market, day) <= now):
        day -= timedelta(days=1)
    return day


def _rule(symbol: str, kind: str | None) -> Rule:
    market = names.market(symbol)
    for each in (kind, names.listed(symbol)):
        if each and (market, each.lower()) in _RULES:
            return _RULES[market, each.lower()]
    return _RULES.get((market, None), _OTHERS)
