"""Which sessions of an exchange the mode ``daily`` asks for: new ones, and those that have not settled. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from ansible.module_utils.eodhd.days import midnight
from ansible.module_utils.markets import calendar, names, publishing

# So long after a session was due its file is asked for again: late rows and corrections are in it by then. If there is
# no file even after the last of these, the day is taken for one without a session, and looked at again once a day.
# One day and three, less two hours: where a clock was put forward, a run at the same hour comes earlier.
SETTLES = (timedelta(hours=22), timedelta(hours=70))
# How far back missed sessions are caught up. Further back the mode ``history`` is cheaper.
CATCH_UP = timedelta(days=7)
# A little less than a day, so that a run at the same hour counts.
DAILY = timedelta(hours=20)
NEW, SETTLE, AGAIN = "new", "settle", "again"


@dataclass(frozen=True)
class SessionEntry:
    """What the ledger has of one session of an exchange.

    Attributes:
        rows: stored of it by the last answer.
        arrived, asked: when its rows came, first and last.
        set_aside: rows that cannot be loaded, of all its market's symbols.
    """

    day: date
    rows: int
    arrived: datetime
    asked: datetime
    set_aside: int = 0


@dataclass(frozen=True)
class Ask:
    """One bulk call to make.

    Attributes:
        exchange: as the user names it.
        day: the session; None for an exchange without a calendar: whatever the provider has last.
        why: ``NEW``, ``SETTLE``, or ``AGAIN`` if the user insists.
        before: when the session was asked for before.
    """

    exchange: str
    day: date | None
    why: str
    before: datetime | None = None

    @property
    def name(self) -> str:
        """The name of the call for claims and reports, such as ``daily US 2026-11-25``."""
        return f"daily {self.exchange} {self.day or 'last'}"


@dataclass(frozen=True)
class Asks:
    """The calls of one exchange.

    Attributes:
        asks: in the order of the sessions.
        expected: the newest session whose file is due; None without a calendar.
        missed: first and last session that were missed and lie too far back to catch up.
        postponed: sessions that would be asked for again but for the bound on calls.
    """

    asks: Sequence[Ask]
    expected: date | None
    missed: tuple[date, date] | None = None
    postponed: Sequence[date] = ()


def asks(
    exchange: str,
    now: datetime,
    known: Mapping[date, SessionEntry],
    *,
    day: date | None = None,
    fresh: timedelta = timedelta(hours=12),
    force: bool = False,
    settles: int = 1 << 30,
) -> Asks:
    """Return the calls that an exchange needs.

    Args:
        exchange: an exchange, or a list of the United States such as ``NYSE``.
        day: the one session that the user wants; None for the newest and what belongs to it.
        fresh: for so long an answer is not asked for again if nothing says when it is final.
        force: ask also for what is there.
        settles: how many sessions may be asked for again.
    """
    market = calendar.of_market(names.suffix_of(exchange))
    if market is None:
        newest = max((each.asked for each in known.values()), default=None)
        wanted = force or newest is None or now - newest >= fresh
        return Asks([Ask(exchange, day, NEW)] if wanted else [], None)
    if day is not None:
        why = {}
        if market.is_session(day) and (day not in known or force or _unsettled(exchange, known[day], now)):
            why[day] = NEW if day not in known else AGAIN if force else SETTLE
        return Asks(_calls(exchange, why, known), day)
    expected = publishing.due(exchange, now)
    assert expected is not None  # noqa: S101 - the market has a calendar
    new, missed = _new(market, expected, sorted(known), now)
    why = dict.fromkeys(new, NEW)
    if force and expected in known:
        why[expected] = AGAIN
    # The oldest first: it is the nearest to being final.
    again = [each for each in sorted(known) if each not in why and _unsettled(exchange, known[each], now)]
    why.update(dict.fromkeys(again[:settles], SETTLE))
    return Asks(_calls(exchange, why, known), expected, missed, again[settles:])


def _calls(exchange: str, why: Mapping[date, str], known: Mapping[date, SessionEntry]) -> list[Ask]:
    return [Ask(exchange, day, why[day], known[day].asked if day in known else None) for day in sorted(why)]


def unsettled(exchange: str, day: date, asked: datetime, now: datetime) -> bool:
    """Whether a moment at which a session's files are asked for has passed since they were last asked for.

    Without a calendar, the moments count from the end of the day in UTC.
    """
    due = publishing.due_at(exchange, day) if names.suffix_of(exchange) in names.KNOWN else None
    due = due or midnight(day) + timedelta(days=1)
    return any(asked < due + after <= now for after in (timedelta(0), *SETTLES))


def _unsettled(exchange: str, known: SessionEntry, now: datetime) -> bool:
    due = publishing.due_at(exchange, known.day)
    assert due is not None  # noqa: S101 - the market has a calendar
    if not known.rows and now - due < CATCH_UP:
        return now - known.asked >= DAILY
    return unsettled(exchange, known.day, known.asked, now)


def _new(
    market: calendar.Calendar, expected: date, known: Sequence[date], now: datetime
) -> tuple[list[date], tuple[date, date] | None]:
    """Return the sessions to load, and those that were missed too long ago."""
    first = now.date() - CATCH_UP
    newest = max((day for day in known if day <= expected), default=None)
    if newest is None:
        return [expected], None
    if newest < first:  # daily was not at work lately
        missed = market.sessions(newest + timedelta(days=1), expected - timedelta(days=1))
        return [expected], (missed[0], missed[-1]) if missed else None
    return [day for day in market.sessions(max(first, known[0]), expected) if day not in known], None
