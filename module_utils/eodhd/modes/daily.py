"""Mode ``daily``: whole exchanges by one bulk call a session, each asked for again until it has settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.eodhd.ledger import sessions
from ansible.module_utils.eodhd.model import Outcome, SymbolEntry, Task
from ansible.module_utils.eodhd.modes import history
from ansible.module_utils.eodhd.modes.history import conclude
from ansible.module_utils.eodhd.plan import daily
from ansible.module_utils.eodhd.plan import plan as planning
from ansible.module_utils.eodhd.plan.daily import Ask, Asks, SessionEntry
from ansible.module_utils.eodhd.run import report
from ansible.module_utils.eodhd.run.context import Context, Executed, in_one_transaction
from ansible.module_utils.eodhd.service.client import Answer
from ansible.module_utils.eodhd.store import assets, bars, store
from ansible.module_utils.eodhd.store.parser import Parsed, Parser, Width
from ansible.module_utils.eodhd.store.store import Fetched, Written
from ansible.module_utils.markets import names, publishing
from ansible.module_utils.text import plural

# Rows that are compared and written by one statement.
SLICE = 50_000
# Sessions older than this have settled, or nobody has asked for them since.
MEMORY = timedelta(days=30)


def run(context: Context) -> dict[str, Any]:
    """Load the sessions that are due, and those that have not settled, of each exchange."""
    request = context.request
    widths = context.widths()
    parser = Parser(widths)
    exchanges = list(dict.fromkeys(request.exchanges))
    known, spent = _known(context, exchanges)
    found = _asks(context, exchanges, known, spent)
    by_name = {ask.name: ask for each in found.values() for ask in each.asks}
    plan = _plan(context, found, known, spent)
    notes = _notes(found)
    if priced := context.priced(plan, notes):
        return priced
    came: dict[str, list[date]] = {}
    newest = context.today + timedelta(days=1)  # in the east the next day has begun

    def fetch(task: Task) -> tuple[Answer, Parsed | None]:
        ask = by_name[task.symbol]
        answer, parsed = context.client.get(
            f"eod-bulk-last-day/{ask.exchange}",
            lambda body: parser.bulk(body, ask.exchange, newest),
            {"date": ask.day},
            planning.BULK_CALLS,
        )
        came[ask.name] = sorted(parsed.days) if parsed else []
        outcome = verdict(ask, answer.outcome, came[ask.name], context)
        return (replace(answer, outcome=outcome[0], message=outcome[1]) if outcome else answer), parsed

    def write(cursor: Any, run: int, items: list[Fetched]) -> list[Written]:
        # Of the run's present: what the ledger has of a session is held against the calendar.
        present = [replace(item, fetched=item.fetched + context.ahead) for item in items]
        return [_write(cursor, run, by_name[item.task.symbol], item) for item in present]

    def entries(names: Sequence[str]) -> dict[str, SymbolEntry]:
        context.database.run(context.ledger.notice_left)
        stored, _ = _known(context, exchanges)
        return _entries(context, [by_name[name] for name in names], stored)

    before = context.counts()
    restated: list[str] = []
    done = context.execute(plan, fetch, in_one_transaction(write), entries)
    if done.stopped is None:
        restated = _restated(context, exchanges)
        done = _refetch(context, done, restated, widths)
    after = context.counts()
    text = report.of_many(_title(found, came), done.totals, before, after, [], request.accept)
    text = context.remarked(text, done.run, restated)
    return conclude(context, done, plan, text, notes)


def _refetch(
    context: Context, done: Executed, symbols: Sequence[str], widths: Mapping[str, Width]
) -> Executed:
    """Load the histories of symbols whose past a session has shown to be restated, also by a run that was killed."""
    if not symbols:
        return done
    today = Range(context.today, context.today)
    known = context.known(list(symbols))
    tasks = [Task(symbol, known[symbol].range.hull(today)) for symbol in symbols]
    again = history.load(context, planning.Plan("restated histories", tasks, known, calls=len(tasks)), widths)
    again.totals.refetched += len(tasks)
    return replace(again, run=done.run, totals=done.totals.plus(again.totals))


def _restated(context: Context, exchanges: Sequence[str]) -> list[str]:
    suffixes = sorted({names.suffix_of(exchange) for exchange in exchanges})
    return [] if context.absent else context.database.run(lambda cursor: sessions.restated(cursor, suffixes))


def _known(context: Context, exchanges: Sequence[str]) -> tuple[dict[str, dict[date, SessionEntry]], int]:
    """Return the ledger's sessions, and the calls that settling has cost today."""
    if context.absent:
        return {exchange: {} for exchange in exchanges}, 0

    def work(cursor: Any) -> tuple[dict[str, dict[date, SessionEntry]], int]:
        since = min(context.today, context.request.last or context.today) - MEMORY
        return sessions.read(cursor, exchanges, since), sessions.settling_calls(cursor, context.today)

    return context.database.run(work)


def _asks(
    context: Context, exchanges: Sequence[str], known: Mapping[str, Mapping[date, SessionEntry]], spent: int
) -> dict[str, Asks]:
    request = context.request
    left = max(0, request.settle_calls - spent) // planning.BULK_CALLS
    found = {}
    for exchange in exchanges:
        found[exchange] = daily.asks(
            exchange,
            context.now,
            known[exchange],
            day=request.last,
            fresh=timedelta(hours=request.fresh_hours),
            force=request.force,
            settles=left,
        )
        left -= sum(ask.why == daily.SETTLE for ask in found[exchange].asks)
    return found


def _plan(
    context: Context, found: Mapping[str, Asks], known: Mapping[str, Mapping[date, SessionEntry]], spent: int
) -> planning.Plan:
    asks = [ask for each in found.values() for ask in each.asks]
    settling = sum(ask.why == daily.SETTLE for ask in asks) * planning.BULK_CALLS
    fresh = {}
    rows = 0
    for exchange, each in found.items():
        newest = known[exchange].get(max(known[exchange], default=date.min))
        rows += len(each.asks) * (newest.rows if newest else 0)
        if not each.asks:
            day = each.expected or context.today
            entry = known[exchange].get(day) or newest
            fresh[f"daily {exchange}"] = (
                _covered(entry) if entry else SymbolEntry(Range(day, day), "loaded", 0, context.now)
            )
    remarks = [f"   {exchange}: {', '.join(map(_told, each.asks))}" for exchange, each in found.items()
               if each.asks]  # fmt: skip
    if settling or any(each.postponed for each in found.values()):
        remarks.append(
            f"   settling: {settling:,} calls; {spent:,} spent on it today, of at most"
            f" {context.request.settle_calls:,} (backfill_settle_calls)"
        )
    tasks = [Task(ask.name, _days(ask, context.today)) for ask in asks]
    title = f"daily: {', '.join(found)}"
    pending = len(_restated(context, list(found)))
    if pending:
        remarks.append(f"   restated histories to load again: {pending:,}")
    calls = planning.BULK_CALLS * len(tasks) + planning.HISTORY_CALLS * pending
    stored = _entries(context, asks, known)
    return planning.Plan(title, tasks, stored, fresh, calls=calls, rows=rows, remarks=remarks)


def _title(found: Mapping[str, Asks], came: Mapping[str, Sequence[date]]) -> str:
    """Name each exchange with the sessions that came."""
    told = []
    for exchange, each in found.items():
        days = sorted({day for ask in each.asks for day in came.get(ask.name, ())})
        told.append(f"{exchange} {', '.join(map(str, days)) if days else '(no session)'}")
    return f"daily: {'; '.join(told)}"


def _days(ask: Ask, today: date) -> Range:
    return Range(ask.day or today, ask.day or today)


def _told(ask: Ask) -> str:
    return f"{ask.day or 'the last session'} ({ask.why})"


def _entries(
    context: Context, asks: Sequence[Ask], known: Mapping[str, Mapping[date, SessionEntry]]
) -> dict[str, SymbolEntry]:
    """Return what the ledger has of calls, as other symbols stand in it: the time is the clock's."""
    found = {}
    for ask in asks:
        sessions_of = known[ask.exchange]
        newest = max(sessions_of.values(), key=lambda each: each.asked, default=None)
        entry = sessions_of.get(ask.day) if ask.day else newest
        if entry:
            days = _days(ask, context.today)
            found[ask.name] = replace(_covered(entry), range=days, fetched=entry.asked - context.ahead)
    return found


def _covered(entry: SessionEntry) -> SymbolEntry:
    """Return a session as other symbols stand in the ledger."""
    days = Range(entry.day, entry.day)
    if entry.set_aside:
        told = f"{plural(entry.set_aside, 'row')} in backfill_set_aside"
        return SymbolEntry(days, "set_aside", entry.rows, entry.asked, message=told)
    return SymbolEntry(days, "loaded" if entry.rows else "empty", entry.rows, entry.asked)


def _notes(found: Mapping[str, Asks]) -> list[str]:
    notes = []
    for exchange, each in found.items():
        if each.missed:
            first, last = each.missed
            notes.append(
                f"{exchange}: the sessions from {first} to {last} were missed and are too old to catch up here."
                f" Load them with backfill_mode=history, backfill_from={first} and backfill_to={last}."
            )
        if each.postponed:
            days = ", ".join(map(str, each.postponed))
            notes.append(
                f"{exchange}: asking again for {days} was put off, because backfill_settle_calls is used up today."
            )
    return notes


def verdict(
    ask: Ask, outcome: Outcome | None, days: Sequence[date], context: Context
) -> tuple[Outcome, str] | None:
    """Return outcome and message of an answer that is not the session asked for; None if it is, or failed.

    Args:
        ask: the call.
        outcome: what the service said; None if it sent data.
        days: the sessions of the rows that it sent.
        context: of the run.
    """
    if outcome not in (None, "unknown") or ask.day is None or ask.day in days:
        return None
    due = publishing.due_at(names.suffix_of(ask.exchange), ask.day)
    if due is None:  # no calendar: nobody knows whether the day was a session, or the exchange one
        return None
    if outcome is None and days:
        sent = f"the newest session that EODHD sent is {days[-1]}"
    else:
        sent = f"EODHD has no rows of {ask.day}"
    if ask.before is not None:  # what is stored of it stays
        return "loaded", ""
    if context.now < due + daily.SETTLES[-1]:
        told = f"{due:%Y-%m-%d %H:%M} UTC"
        if context.now < due:
            return "late", f"{sent}; the data of {ask.day} is due at {told}"
        return "late", f"{sent}; the data of {ask.day} was due at {told}. Run the same again later"
    return "empty", f"{sent}; if {ask.day} was a holiday there, this is right"


def _write(cursor: Any, run: int, ask: Ask, item: Fetched) -> Written:
    """Store one answer: its rows, each under its own day, and the sessions that it had rows of."""
    result = Written()
    lines = sorted(item.parsed.lines) if item.parsed else []
    # Volumes that were not final when they were stored are corrected, not restated.
    settled = (ask.before or item.fetched).date() - timedelta(days=store.SETTLE_DAYS)
    restated: list[str] = []
    for start in range(0, len(lines), SLICE):
        some = lines[start : start + SLICE]
        symbols = sorted({line.split("\t", 2)[1] for line in some})
        new = assets.enter(cursor, symbols, item.fetched)
        result.registered += len(new)
        changes = bars.merge(cursor, run, some, dict.fromkeys(symbols, settled))
        inserted = sum(change.inserted for change in changes.values())
        updated = sum(change.updated for change in changes.values())
        result.inserted += inserted
        result.updated += updated
        result.unchanged += len(some) - inserted - updated
        assets.synced(cursor, symbols, item.fetched, new)
        restated += [symbol for symbol, change in changes.items() if change.restated]
    aside = item.parsed.aside if item.parsed else []
    store.keep_aside(cursor, run, aside)
    answered = [(line.split("\t", 2)[1], line[:10]) for line in lines]
    answered += [(row.symbol, row.day) for row in aside if row.day]
    store.resolve(cursor, run, [(symbol, day, day) for symbol, day in answered])
    rows: Mapping[date, int] = item.parsed.days if item.parsed else {}
    if not rows and ask.day and (ask.before or item.outcome == "empty"):
        rows = {ask.day: 0}
    if rows:
        sessions.enter(cursor, run, ask.exchange, rows, result.updated, item.fetched)
    sessions.mark_restated(cursor, run, ask.exchange, restated, item.fetched)
    store.enter_outcomes(cursor, run, [(item, result)])
    return result
