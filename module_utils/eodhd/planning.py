"""Plans a run's calls, what they cost, and whether the quota covers them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

from ansible.module_utils.coverage import expected
from ansible.module_utils.eodhd.api import Quota
from ansible.module_utils.eodhd.days import Range, midnight, one_day
from ansible.module_utils.eodhd.model import ANSWERED, WITHOUT_HISTORY, SymbolEntry, Task
from ansible.module_utils.markets import calendar, names
from ansible.module_utils.reporting import Problem

BULK_CALLS = 100


@dataclass(frozen=True)
class Rules:
    """When an answer in the ledger is still valid.

    Attributes:
        fresh_hours: how long an answer counts as fresh.
        overlap_days: how many known days a top-up reads again.
        force: whether answers before ``now`` do not count (``backfill_force``).
    """

    now: datetime
    fresh_hours: float
    overlap_days: int
    force: bool = False

    def forced(self, entry: SymbolEntry) -> bool:
        """Whether the user forces a new answer."""
        return self.force and entry.fetched < self.now

    def fresh(self, entry: SymbolEntry) -> bool:
        """Whether an answer is too recent to be requested again."""
        return not self.forced(entry) and self.now - entry.fetched < timedelta(hours=self.fresh_hours)


def asked_range(days: int, first: date | None, last: date | None, today: date) -> Range:
    """Return the days that a user requests, without days to come: ``days`` back from ``last``, or from ``first``.

    Raises:
        Problem: the range is empty or in the future.
    """
    if first is None and days < 1:
        raise Problem(f"backfill_days is {days}; it must be at least 1.")
    start = first or (last or today) - timedelta(days=days)
    end = min(last or today, today)  # otherwise, the ledger would cover days before they have bars
    if start > end:
        raise Problem(
            f"There are no days from {start} to {end}"
            f"{f' (today is {today} GMT)' if start > today else ''}; check backfill_from and backfill_to."
        )
    return Range(start, end)


def without_dropped_days(known: Mapping[str, SymbolEntry], first: date) -> dict[str, SymbolEntry]:
    """Return ledger entries without the days before ``first``, whose bars the database drops.

    The calendar tells how many rows those days had.
    """
    found = {}
    for symbol, entry in known.items():
        if entry.range.first >= first:
            found[symbol] = entry
        elif entry.range.last >= first:
            dropped = expected.bars(symbol, entry.range.first, first - timedelta(days=1))
            found[symbol] = replace(
                entry, range=Range(first, entry.range.last), rows=max(0, entry.rows - dropped)
            )
    return found


def task_for(
    symbol: str, asked: Range, known: SymbolEntry | None, stored: int, vacant: bool, rules: Rules
) -> Task | None:
    """Return the call that a symbol needs; None if the requested rows are stored.

    Args:
        stored: rows in ``known.range`` in the table now; if the ledger counts more, some were lost.
        vacant: whether the table has no row of the symbol in ``asked``.
    """
    if known is not None and known.restated and not (known.outcome in WITHOUT_HISTORY and rules.fresh(known)):
        return Task(symbol, known.range.hull(asked))
    if known is None or known.outcome not in ANSWERED or stored < known.rows:
        return Task(symbol, asked, vacant)
    kept = known if known.range.touches(asked) else None
    if known.range.covers(asked) and rules.fresh(known):
        return None
    extends = kept is not None and known.range.first <= asked.first
    if not extends or known.outcome in WITHOUT_HISTORY or rules.forced(known):
        return Task(symbol, asked, vacant, kept)
    # The length does not change the cost, but a short answer is faster to parse and compare. The last day is always
    # requested again, because its session may have ended since.
    overlap = min(known.range.last, asked.last) - timedelta(days=max(1, rules.overlap_days) - 1)
    return Task(symbol, Range(max(asked.first, overlap), asked.last), kept=kept, rest_stored=not vacant)


@dataclass
class Plan:
    """What a run will do.

    Attributes:
        title: what is loaded, for people.
        known: ledger entries of the tasks; a task whose entry changes before it starts was done by another run.
        fresh: symbols that need no call, with their ledger entries.
        extra_calls: those beside the tasks, such as the one for a ranking.
        rows: roughly how many to expect.
        quota: what the account has left.
        remarks: further lines of the report.
    """

    title: str
    tasks: list[Task]
    known: Mapping[str, SymbolEntry]
    fresh: dict[str, SymbolEntry] = field(default_factory=dict)
    extra_calls: int = 0
    rows: int = 0
    quota: Quota = Quota(None, None)
    remarks: list[str] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """Return the total cost."""
        return sum(task.calls for task in self.tasks) + self.extra_calls

    @property
    def affordable(self) -> bool:
        """Whether the quota covers the calls; True if it is unknown."""
        return self.quota.left is None or self.calls <= self.quota.left

    def require_quota(self, partial: bool) -> None:
        """Raise ``Problem`` if the quota does not cover the run, unless a ``partial`` run is allowed."""
        if self.affordable or partial:
            return
        raise Problem(
            f"This run costs {self.calls:,} calls and the account has {self.quota.left:,} left today."
            " No call was made. Load fewer symbols, wait until 00:00 GMT, or load as many as the quota covers with"
            " -e backfill_partial=true; the next run continues from there.",
            plan=self.facts(),
            report="\n".join(self.lines()),
        )

    def facts(self) -> dict[str, Any]:
        """Return the plan for the module's result."""
        return {
            "calls": self.calls,
            "rows_expected": self.rows,
            "symbols": len(self.tasks) + len(self.fresh),
            "symbols_to_ask": len(self.tasks),
            "symbols_fresh": len(self.fresh),
            "quota_left": self.quota.left,
            "quota_limit": self.quota.limit,
        }

    def lines(self) -> list[str]:
        """Return the plan as lines of the report."""
        names = ", ".join(task.symbol for task in self.tasks[:10]) or "none to request"
        more = f" … {len(self.tasks):,} in all" if len(self.tasks) > 10 else ""
        fresh = f"; {len(self.fresh):,} fresh in the ledger, not requested again" if self.fresh else ""
        lines = [
            f"📋 PLAN {self.title}",
            f"   symbols: {names}{more}{fresh}",
            *self.remarks,
            f"   calls: {self.calls:,}",
        ]
        if not self.calls:
            return [*lines, "✅ Nothing to pay"]
        lines += [f"   quota: {self.quota.text()}", f"   rows expected: about {self.rows:,}"]
        verdict = "✅ The quota covers it" if self.affordable else "❌ The quota does not cover it"
        return [*lines, verdict if self.quota.left is not None else "⚠️  The quota is unknown"]


def of_history(
    symbols: Sequence[str],
    asked: Range,
    title: str,
    known: Mapping[str, SymbolEntry],
    stored: Mapping[str, tuple[int, int]],
    rules: Rules,
) -> Plan:
    """Return the plan for the histories of ``symbols``.

    Args:
        stored: by symbol, the table's row counts in the ledger's range and in ``asked``; missing means none.
    """
    plan = Plan(title, [], known)
    for symbol in symbols:
        within, wanted = stored.get(symbol, (0, 0))
        task = task_for(symbol, asked, known.get(symbol), within, wanted == 0, rules)
        if task is None:
            plan.fresh[symbol] = known[symbol]
        else:
            plan.tasks.append(task)
            plan.rows += expected.bars(symbol, task.range.first, task.range.last)
    return plan


# --- mode daily --------------------------------------------------------------------------------------------

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
class ExchangeCalls:
    """The bulk calls that one exchange needs.

    Attributes:
        why: ``NEW``, ``SETTLE``, or ``AGAIN`` if the user forces it, by session in their order. The session None is the
            provider's last one, if the exchange has no calendar.
        expected: the requested session, or the newest whose file is due; None without a calendar.
        missed: first and last missed session that are too old to catch up.
        postponed: unsettled sessions that exceed the limit on calls.
    """

    why: Mapping[date | None, str]
    expected: date | None
    missed: tuple[date, date] | None = None
    postponed: Sequence[date] = ()


def calls_for(
    exchange: str,
    known: Mapping[date, SymbolEntry],
    rules: Rules,
    day: date | None = None,
    settles: int = 1 << 30,
) -> ExchangeCalls:
    """Return the calls that an exchange needs.

    Args:
        exchange: an exchange, or a US list such as ``NYSE``.
        known: the ledger's entries by session.
        day: the only session to request; None for all that are due.
        settles: the maximum number of unsettled sessions to request again.
    """
    market = calendar.of_market(names.suffix_of(exchange))
    if market is None:
        fresh = any(rules.fresh(entry) for at, entry in known.items() if day in (None, at))
        return ExchangeCalls({} if fresh else {day: NEW}, day)
    if day is not None:
        entry = known.get(day)
        settled = entry and not rules.force and not _unsettled(exchange, entry, rules.now)
        if settled or not market.is_session(day):
            return ExchangeCalls({}, day)
        return ExchangeCalls({day: NEW if entry is None else AGAIN if rules.force else SETTLE}, day)
    expected = calendar.due(exchange, rules.now)
    assert expected is not None  # noqa: S101 - the market has a calendar
    new, missed = _new(market, expected, sorted(known), rules.now)
    why = dict.fromkeys(new, NEW)
    if rules.force and expected in known:
        why[expected] = AGAIN
    # Oldest first, because it is the closest to final.
    again = [
        each for each in sorted(known) if each not in why and _unsettled(exchange, known[each], rules.now)
    ]
    why.update(dict.fromkeys(again[:settles], SETTLE))
    return ExchangeCalls(dict(sorted(why.items())), expected, missed, again[settles:])


def unsettled(exchange: str, day: date, asked: datetime, now: datetime) -> bool:
    """Whether a session's file has become due since it was last requested: at publication or after one of ``SETTLES``.

    Without a calendar, it is first due at the end of the day in UTC.
    """
    due = calendar.due_at(exchange, day) if names.suffix_of(exchange) in names.KNOWN else None
    due = due or midnight(day) + timedelta(days=1)
    return any(asked < due + after <= now for after in (timedelta(0), *SETTLES))


def _unsettled(exchange: str, known: SymbolEntry, now: datetime) -> bool:
    due = calendar.due_at(exchange, known.range.last)
    assert due is not None  # noqa: S101 - the market has a calendar
    if not known.rows and now - due < CATCH_UP:
        return now - known.fetched >= DAILY
    return unsettled(exchange, known.range.last, known.fetched, now)


def _new(
    market: calendar.Calendar, expected: date, known: Sequence[date], now: datetime
) -> tuple[list[date], tuple[date, date] | None]:
    """Return the sessions to load, and the first and last that are too old to catch up."""
    first = now.date() - CATCH_UP
    newest = max((day for day in known if day <= expected), default=None)
    if newest is None:
        return [expected], None
    if newest < min(first, expected):  # there was no recent daily run
        missed = market.sessions(newest + timedelta(days=1), expected - timedelta(days=1))
        return [expected], (missed[0], missed[-1]) if missed else None
    return [day for day in market.sessions(max(first, known[0]), expected) if day not in known], None


# --- mode actions ------------------------------------------------------------------------------------------

# A symbol's full history costs as much as one day of it.
FIRST = date(1962, 1, 1)
# Currency markets have no splits and no dividends.
WITHOUT_ACTIONS = ("CC", "FOREX")


def by_symbol(kinds: Iterable[str], symbols: Sequence[str], last: date) -> list[Task]:
    """Return a call for each symbol and kind, for the full history."""
    return [Task(f"{kind} {symbol}", Range(FIRST, last)) for symbol in symbols for kind in kinds]


def by_session(kinds: Iterable[str], exchanges: Sequence[str], asked: Range, now: datetime) -> list[Task]:
    """Return a bulk call for each due session and kind; without a calendar, every day counts as a session."""
    tasks = []
    for exchange in (each for each in exchanges if each not in WITHOUT_ACTIONS):
        market = calendar.of_market(names.suffix_of(exchange))
        if market:
            due = calendar.due(exchange, now)
            days = [day for day in market.sessions(asked.first, asked.last) if due and day <= due]
        else:
            days = [asked.first + timedelta(days=number) for number in range(asked.days)]
        tasks += [
            Task(f"{kind} {exchange} {day}", one_day(day), calls=BULK_CALLS) for day in days for kind in kinds
        ]
    return tasks


def of_tasks(title: str, tasks: Sequence[Task], known: Mapping[str, SymbolEntry], rules: Rules) -> Plan:
    """Return the plan for the tasks without a valid answer in the ledger."""
    fresh = {
        task.symbol: known[task.symbol] for task in tasks if _answered(task, known.get(task.symbol), rules)
    }
    needed = [task for task in tasks if task.symbol not in fresh]
    rows = sum(known[task.symbol].rows for task in needed if task.symbol in known)
    return Plan(title, needed, known, fresh, rows=rows)


def _answered(task: Task, known: SymbolEntry | None, rules: Rules) -> bool:
    if known is None or known.outcome not in ANSWERED or not known.range.covers(task.range):
        return False
    if task.calls < BULK_CALLS:
        return rules.fresh(known)
    exchange = task.symbol.split(" ")[1]
    return not rules.forced(known) and not unsettled(exchange, task.range.last, known.fetched, rules.now)
