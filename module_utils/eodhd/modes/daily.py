"""Mode ``daily``: whole exchanges by one bulk call a session, each asked for again until it has settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from ansible.module_utils.eodhd.days import one_day
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
# What the ledger has of the sessions of each exchange.
Sessions = Mapping[str, Mapping[date, SessionEntry]]


def run(context: Context) -> dict[str, Any]:
    """Load the sessions that are due, and those that have not settled, of each exchange."""
    widths = context.widths()
    parser = Parser(widths)
    exchanges = list(dict.fromkeys(context.request.exchanges))
    known, spent = _known(context, exchanges)
    found = _asks(context, known, spent)
    by_name = {ask.name: ask for each in found.values() for ask in each.asks}
    plan = _plan(context, found, known, spent)
    context.notes += _notes(found)
    if priced := context.priced(plan):
        return priced
    came: dict[str, set[date]] = {exchange: set() for exchange in exchanges}
    newest = context.today + timedelta(days=1)  # in the east the next day has begun

    def fetch(task: Task) -> tuple[Answer, Parsed | None]:
        ask = by_name[task.symbol]
        answer, parsed = context.client.get(
            f"eod-bulk-last-day/{ask.exchange}",
            lambda body: parser.bulk(body, ask.exchange, newest),
            {"date": ask.day},
            task.calls,
        )
        days = sorted(parsed.days) if parsed else []
        came[ask.exchange].update(days)
        outcome = verdict(ask, answer.outcome, days, context.now)
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
        # Also those that a run found which was killed.
        restated = _restated(context, exchanges)
        done = _refetch(context, done, restated, widths)
    told = [f"{name} {', '.join(map(str, sorted(came[name]))) or '(no session)'}" for name in exchanges]
    text = report.of_many(
        f"daily: {'; '.join(told)}", done.totals, before, context.counts(), [], context.request.accept
    )
    return conclude(context, done, plan, context.remarked(text, done.run, restated))


def _refetch(
    context: Context, done: Executed, symbols: Sequence[str], widths: Mapping[str, Width]
) -> Executed:
    """Load the histories of symbols whose past is restated."""
    if not symbols:
        return done
    known = context.known(list(symbols))
    tasks = [Task(symbol, known[symbol].range.hull(one_day(context.today))) for symbol in symbols]
    again = history.load(context, planning.Plan("restated histories", tasks, known, calls=len(tasks)), widths)
    again.totals.refetched += len(tasks)
    return replace(again, run=done.run, totals=done.totals.plus(again.totals))


def _restated(context: Context, exchanges: Sequence[str]) -> list[str]:
    suffixes = sorted({names.suffix_of(exchange) for exchange in exchanges})
    return [] if context.absent else context.database.run(lambda cursor: sessions.restated(cursor, suffixes))


def _known(context: Context, exchanges: Sequence[str]) -> tuple[Sessions, int]:
    """Return the ledger's sessions, and the calls that settling has cost today."""
    if context.absent:
        return {exchange: {} for exchange in exchanges}, 0

    def work(cursor: Any) -> tuple[Sessions, int]:
        since = min(context.today, context.request.last or context.today) - MEMORY
        return sessions.read(cursor, exchanges, since), sessions.settling_calls(cursor, context.today)

    return context.database.run(work)


def _asks(context: Context, known: Sessions, spent: int) -> dict[str, Asks]:
    request = context.request
    left = max(0, request.settle_calls - spent) // planning.BULK_CALLS
    found = {}
    for exchange, entries in known.items():
        found[exchange] = daily.asks(
            exchange,
            context.now,
            entries,
            day=request.last,
            fresh=timedelta(hours=request.fresh_hours),
            force=request.force,
            settles=left,
        )
        left -= sum(ask.why == daily.SETTLE for ask in found[exchange].asks)
    return found


def _plan(context: Context, found: Mapping[str, Asks], known: Sessions, spent: int) -> planning.Plan:
    asks = [ask for each in found.values() for ask in each.asks]
    tasks = [Task(ask.name, one_day(ask.day or context.today), calls=planning.BULK_CALLS) for ask in asks]
    plan = planning.Plan(f"daily: {', '.join(found)}", tasks, _entries(context, asks, known))
    for exchange, each in found.items():
        newest = known[exchange].get(max(known[exchange], default=date.min))
        if each.asks:
            plan.rows += len(each.asks) * (newest.rows if newest else 0)
            told = ", ".join(f"{ask.day or 'the last session'} ({ask.why})" for ask in each.asks)
            plan.remarks.append(f"   {exchange}: {told}")
        else:
            day = each.expected or context.today
            entry = known[exchange].get(day) or newest
            plan.fresh[f"daily {exchange}"] = (
                _covered(entry) if entry else SymbolEntry(one_day(day), "loaded", 0, context.now)
            )
    settling = sum(ask.why == daily.SETTLE for ask in asks) * planning.BULK_CALLS
    if settling or any(each.postponed for each in found.values()):
        plan.remarks.append(
            f"   settling: {settling:,} calls; {spent:,} spent on it today, of at most"
            f" {context.request.settle_calls:,} (backfill_settle_calls)"
        )
    pending = len(_restated(context, list(found)))
    if pending:
        plan.remarks.append(f"   restated histories to load again: {pending:,}")
    plan.calls = planning.BULK_CALLS * len(tasks) + planning.HISTORY_CALLS * pending
    return plan


def _entries(context: Context, asks: Sequence[Ask], known: Sessions) -> dict[str, SymbolEntry]:
    """Return what the ledger has of calls, as other symbols stand in it: the time is the clock's."""
    found = {}
    for ask in asks:
        of_exchange = known[ask.exchange]
        newest = max(of_exchange.values(), key=lambda each: each.asked, default=None)
        entry = of_exchange.get(ask.day) if ask.day else newest
        if entry:
            days, at = one_day(ask.day or context.today), entry.asked - context.ahead
            found[ask.name] = replace(_covered(entry), range=days, fetched=at)
    return found


def _covered(entry: SessionEntry) -> SymbolEntry:
    """Return a session as other symbols stand in the ledger."""
    outcome, told = "loaded" if entry.rows else "empty", ""
    if entry.set_aside:
        outcome, told = "set_aside", f"{plural(entry.set_aside, 'row')} in backfill_set_aside"
    return SymbolEntry(one_day(entry.day), outcome, entry.rows, entry.asked, message=told)


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
    ask: Ask, outcome: Outcome | None, days: Sequence[date], now: datetime
) -> tuple[Outcome, str] | None:
    """Return outcome and message of an answer that is not the session asked for; None if it is, or failed.

    ``outcome`` is what the service said, None if it sent data; ``days`` are the sessions of the rows that it sent.
    """
    if outcome not in (None, "unknown") or ask.day is None or ask.day in days:
        return None
    due = publishing.due_at(names.suffix_of(ask.exchange), ask.day)
    if due is None:  # no calendar: nobody knows whether the day was a session, or the exchange one
        return None
    if ask.before is not None:  # what is stored of it stays
        return "loaded", ""
    sent = f"EODHD has no rows of {ask.day}"
    if outcome is None and days:
        sent = f"the newest session that EODHD sent is {days[-1]}"
    told = f"the data of {ask.day} {{}} due at {due:%Y-%m-%d %H:%M} UTC"
    if now < due:
        return "late", f"{sent}; {told.format('is')}"
    if now < due + daily.SETTLES[-1]:
        return "late", f"{sent}; {told.format('was')}. Run the same again later"
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
    answered = [(line.split("\t", 2)[1], line[:10]) for line in lines]
    answered += [(row.symbol, row.day) for row in aside if row.day]
    store.keep_aside(cursor, run, aside, [(symbol, day, day) for symbol, day in answered])
    rows: Mapping[date, int] = item.parsed.days if item.parsed else {}
    if not rows and ask.day and (ask.before or item.outcome == "empty"):
        rows = {ask.day: 0}
    if rows:
        sessions.enter(cursor, run, ask.exchange, rows, result.updated, item.fetched)
    sessions.mark_restated(cursor, run, ask.exchange, restated, item.fetched)
    store.enter_outcomes(cursor, run, [(item, result)])
    return result
