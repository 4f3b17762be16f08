"""Plans the mode ``daily``: which sessions of an exchange to request, new or not yet settled. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from ansible.module_utils.eodhd.days import midnight
from ansible.module_utils.markets import calendar, names, publishing

# A session's file is requested again this long after it was due, because it then has late rows and corrections. A day
# without a file after the last of these counts as a day without a session, and is requested again once a day.
# One day and three days, less two hours: after a clock change, a run at the same hour comes earlier.
SETTLES = (timedelta(hours=22), timedelta(hours=70))
# How far back ``daily`` catches up on missed sessions. Beyond that, the mode ``history`` is cheaper.
CATCH_UP = timedelta(days=7)
# Slightly less than a day, so that a run at the same hour counts.
DAILY = timedelta(hours=20)
NEW, SETTLE, AGAIN = "new", "settle", "again"


@dataclass(frozen=True)
class SessionEntry:
    """The ledger's entry for one session of an exchange.

    Attributes:
        rows: the most that one answer had.
        arrived, asked: times of the first and the last answer.
        set_aside: rows of that day that cannot be loaded, of all symbols with the exchange's suffix.
    """

    day: date
    rows: int
    arrived: datetime
    asked: datetime
    set_aside: int = 0


@dataclass(frozen=True)
class BulkCall:
    """One bulk call to make.

    Attributes:
        exchange: as the user names it.
        day: the session; None for the provider's last one, if the exchange has no calendar.
        why: ``NEW``, ``SETTLE``, or ``AGAIN`` if the user forces it.
        before: time of the session's previous answer.
    """

    exchange: str
    day: date | None
    why: str
    before: datetime | None = None

    @property
    def name(self) -> str:
        """Return the call's name for claims and reports, such as ``daily US 2026-11-25``."""
        return f"daily {self.exchange} {self.day or 'last'}"


@dataclass(frozen=True)
class ExchangeCalls:
    """The calls that one exchange needs.

    Attributes:
        calls: in the order of the sessions.
        expected: the requested session, or the newest whose file is due; None without a calendar.
        missed: first and last missed session that are too old to catch up.
        postponed: unsettled sessions that exceed the limit on calls.
    """

    calls: Sequence[BulkCall]
    expected: date | None
    missed: tuple[date, date] | None = None
    postponed: Sequence[date] = ()


def calls_for(
    exchange: str,
    now: datetime,
    known: Mapping[date, SessionEntry],
    *,
    day: date | None = None,
    fresh: timedelta = timedelta(hours=12),
    force: bool = False,
    settles: int = 1 << 30,
) -> ExchangeCalls:
    """Return the calls that an exchange needs.

    Args:
        exchange: an exchange, or a US list such as ``NYSE``.
        day: the only session to request; None for all that are due.
        fresh: how long an answer counts as fresh, if the exchange has no calendar.
        force: request stored sessions too.
        settles: the maximum number of unsettled sessions to request again.
    """
    market = calendar.of_market(names.suffix_of(exchange))
    if market is None:
        newest = max((each.asked for each in known.values() if day in (None, each.day)), default=None)
        wanted = force or newest is None or now - newest >= fresh
        return ExchangeCalls([BulkCall(exchange, day, NEW)] if wanted else [], day)
    if day is not None:
        why = {}
        if market.is_session(day) and (day not in known or force or _unsettled(exchange, known[day], now)):
            why[day] = NEW if day not in known else AGAIN if force else SETTLE
        return ExchangeCalls(_calls(exchange, why, known), day)
    expected = publishing.due(exchange, now)
    assert expected is not None  # noqa: S101 - the market has a calendar
    new, missed = _new(market, expected, sorted(known), now)
    why = dict.fromkeys(new, NEW)
    if force and expected in known:
        why[expected] = AGAIN
    # Oldest first, because it is the closest to final.
    again = [each for each in sorted(known) if each not in why and _unsettled(exchange, known[each], now)]
    why.update(dict.fromkeys(again[:settles], SETTLE))
    return ExchangeCalls(_calls(exchange, why, known), expected, missed, again[settles:])


def _calls(exchange: str, why: Mapping[date, str], known: Mapping[date, SessionEntry]) -> list[BulkCall]:
    return [
        BulkCall(exchange, day, why[day], known[day].asked if day in known else None) for day in sorted(why)
    ]


def unsettled(exchange: str, day: date, asked: datetime, now: datetime) -> bool:
    """Whether a session's file has become due since it was last requested: at publication or after one of ``SETTLES``.

    Without a calendar, it is first due at the end of the day in UTC.
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
    """Return the sessions to load, and the first and last that are too old to catch up."""
    first = now.date() - CATCH_UP
    newest = max((day for day in known if day <= expected), default=None)
    if newest is None:
        return [expected], None
    if newest < first:  # there was no recent daily run
        missed = market.sessions(newest + timedelta(days=1), expected - timedelta(days=1))
        return [expected], (missed[0], missed[-1]) if missed else None
    return [day for day in market.sessions(max(first, known[0]), expected) if day not in known], None
