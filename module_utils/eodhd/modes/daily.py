"""Mode ``daily``: whole exchanges, one bulk call per session, requested again until the session has settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from ansible.module_utils.eodhd import ledger, planning, report
from ansible.module_utils.eodhd.client import Answer
from ansible.module_utils.eodhd.context import Context, Executed, in_one_transaction
from ansible.module_utils.eodhd.days import one_day
from ansible.module_utils.eodhd.model import Outcome, SymbolEntry, Task
from ansible.module_utils.eodhd.modes import history
from ansible.module_utils.eodhd.modes.history import conclude
from ansible.module_utils.eodhd.planning import BulkCall, ExchangeCalls, SessionEntry
from ansible.module_utils.eodhd.store import bars, store
from ansible.module_utils.eodhd.store.parser import Parsed
from ansible.module_utils.eodhd.store.store import Fetched, Written
from ansible.module_utils.markets import calendar, names
from ansible.module_utils.text import plural

# Rows compared and written per statement.
SLICE = 50_000
# Older sessions have settled, or no run has requested them since.
MEMORY = timedelta(days=30)
# Ledger entries by exchange and session.
Sessions = Mapping[str, Mapping[date, SessionEntry]]


def run(context: Context) -> dict[str, Any]:
    """Load the due sessions of each exchange, and those that have not settled."""
    context.look()
    exchanges = list(dict.fromkeys(context.request.exchanges))
    known, spent = _known(context, exchanges)
    wanted = _calls(context, known, spent)
    by_name = {call.name: call for each in wanted.values() for call in each.calls}
    plan = _plan(context, wanted, known, spent)
    context.notes += _notes(wanted)
    if priced := context.priced(plan):
        return priced
    received: dict[str, set[date]] = {exchange: set() for exchange in exchanges}
    newest = context.today + timedelta(days=1)  # in the east the next day has begun

    def fetch(task: Task) -> tuple[Answer, Parsed | None]:
        call = by_name[task.symbol]
        answer, parsed = context.client.get(
            f"eod-bulk-last-day/{call.exchange}",
            lambda body: context.parser.bulk(body, call.exchange, newest),
            {"date": call.day},
            task.calls,
        )
        days = sorted(parsed.days) if parsed else []
        received[call.exchange].update(days)
        outcome = verdict(call, answer.outcome, days, context.now)
        return (replace(answer, outcome=outcome[0], message=outcome[1]) if outcome else answer), parsed

    def write(cursor: Any, run: int, items: list[Fetched]) -> list[Written]:
        return [_write(cursor, run, by_name[item.task.symbol], item) for item in items]

    def entries(names: Sequence[str]) -> dict[str, SymbolEntry]:
        context.database.run(context.ledger.check_leftovers)
        stored, _ = _known(context, exchanges)
        return _entries(context, [by_name[name] for name in names], stored)

    before = context.counts()
    restated: list[str] = []
    done = context.execute(plan, fetch, in_one_transaction(write), entries)
    if done.stopped is None:
        # Including those that a killed run found.
        restated = _restated(context, exchanges)
        done = _refetch(context, done, restated)
    titles = [f"{name} {', '.join(map(str, sorted(received[name]))) or '(no session)'}" for name in exchanges]
    remarks = context.remarks(done.run, restated)
    found = report.Verification(context.request.accept, before, context.counts(), (), *remarks)
    return conclude(context, done, plan, report.for_many(f"daily: {'; '.join(titles)}", done.totals, found))


def _refetch(context: Context, done: Executed, symbols: Sequence[str]) -> Executed:
    """Load the full histories of restated symbols."""
    if not symbols:
        return done
    known = context.retained_entries(symbols)
    # A retention policy may drop all days of an entry.
    since = one_day(context.chunks.retained_from or context.today)
    ranges = {symbol: known[symbol].range if symbol in known else since for symbol in symbols}
    tasks = [Task(symbol, days.hull(one_day(context.today))) for symbol, days in ranges.items()]
    again = history.load(context, planning.Plan("restated histories", tasks, known))
    again.totals.refetched += len(tasks)
    return replace(again, run=done.run, totals=done.totals.plus(again.totals))


def _restated(context: Context, exchanges: Sequence[str]) -> list[str]:
    suffixes = sorted({names.suffix_of(exchange) for exchange in exchanges})
    return [] if context.absent else context.database.run(lambda cursor: ledger.restated(cursor, suffixes))


def _known(context: Context, exchanges: Sequence[str]) -> tuple[Sessions, int]:
    """Return the ledger's sessions, and the calls spent on settling today."""
    if context.absent:
        return {exchange: {} for exchange in exchanges}, 0

    def work(cursor: Any) -> tuple[Sessions, int]:
        since = min(context.today, context.request.last or context.today) - MEMORY
        return ledger.sessions(cursor, exchanges, since), ledger.settling_calls(cursor, context.today)

    return context.database.run(work)


def _calls(context: Context, known: Sessions, spent: int) -> dict[str, ExchangeCalls]:
    request = context.request
    left = max(0, request.settle_calls - spent) // planning.BULK_CALLS
    found = {}
    for exchange, entries in known.items():
        found[exchange] = planning.calls_for(
            exchange,
            context.now,
            entries,
            day=request.last,
            fresh=timedelta(hours=request.fresh_hours),
            force=request.force,
            settles=left,
        )
        left -= sum(call.why == planning.SETTLE for call in found[exchange].calls)
    return found


def _plan(context: Context, found: Mapping[str, ExchangeCalls], known: Sessions, spent: int) -> planning.Plan:
    calls = [call for each in found.values() for call in each.calls]
    tasks = [Task(call.name, one_day(call.day or context.today), calls=planning.BULK_CALLS) for call in calls]
    plan = planning.Plan(f"daily: {', '.join(found)}", tasks, _entries(context, calls, known))
    for exchange, each in found.items():
        newest = known[exchange].get(max(known[exchange], default=date.min))
        if each.calls:
            plan.rows += len(each.calls) * (newest.rows if newest else 0)
            text = ", ".join(f"{call.day or 'the last session'} ({call.why})" for call in each.calls)
            plan.remarks.append(f"   {exchange}: {text}")
        else:
            day = each.expected or context.today
            entry = known[exchange].get(day) or newest
            plan.fresh[f"daily {exchange}"] = (
                _as_symbol_entry(entry) if entry else SymbolEntry(one_day(day), "loaded", 0, context.now)
            )
    settling = sum(call.why == planning.SETTLE for call in calls) * planning.BULK_CALLS
    if settling or any(each.postponed for each in found.values()):
        plan.remarks.append(
            f"   settling: {settling:,} calls; {spent:,} spent on it today, of at most"
            f" {context.request.settle_calls:,} (backfill_settle_calls)"
        )
    plan.extra_calls = len(_restated(context, list(found)))
    if plan.extra_calls:
        plan.remarks.append(f"   restated histories to load again: {plan.extra_calls:,}")
    return plan


def _entries(context: Context, calls: Sequence[BulkCall], known: Sessions) -> dict[str, SymbolEntry]:
    """Return the ledger entries of calls in the form of symbol entries."""
    found = {}
    for call in calls:
        of_exchange = known[call.exchange]
        newest = max(of_exchange.values(), key=lambda each: each.asked, default=None)
        entry = of_exchange.get(call.day) if call.day else newest
        if entry:
            found[call.name] = replace(_as_symbol_entry(entry), range=one_day(call.day or context.today))
    return found


def _as_symbol_entry(entry: SessionEntry) -> SymbolEntry:
    """Return a session's entry in the form of a symbol's entry."""
    outcome, text = "loaded" if entry.rows else "empty", ""
    if entry.set_aside:
        outcome, text = "set_aside", f"{plural(entry.set_aside, 'row')} in backfill_set_aside"
    return SymbolEntry(one_day(entry.day), outcome, entry.rows, entry.asked, message=text)


def _notes(found: Mapping[str, ExchangeCalls]) -> list[str]:
    notes = []
    for exchange, each in found.items():
        if each.missed:
            first, last = each.missed
            notes.append(
                f"{exchange}: the sessions from {first} to {last} were missed and are too old for this mode."
                f" Load them with backfill_mode=history, backfill_from={first} and backfill_to={last}."
            )
        if each.postponed:
            days = ", ".join(map(str, each.postponed))
            notes.append(
                f"{exchange}: {days} will be requested again later, because backfill_settle_calls is used up today."
            )
    return notes


def verdict(
    call: BulkCall, outcome: Outcome | None, days: Sequence[date], now: datetime
) -> tuple[Outcome, str] | None:
    """Return outcome and message of an answer without the requested session; None if it has the session or failed.

    ``outcome`` is that of the answer, None if it has data; ``days`` are the sessions of its rows.
    """
    if outcome not in (None, "unknown") or call.day is None or call.day in days:
        return None
    due = calendar.due_at(names.suffix_of(call.exchange), call.day)
    if due is None:  # without a calendar, it is unknown whether the day was a session
        return None
    if call.before is not None:  # its stored rows stay
        return "loaded", ""
    sent = f"EODHD has no rows of {call.day}"
    if outcome is None and days:
        sent = f"the newest session that EODHD sent is {days[-1]}"
    text = f"the data of {call.day} {{}} due at {due:%Y-%m-%d %H:%M} UTC"
    if now < due:
        return "late", f"{sent}; {text.format('is')}"
    if now < due + planning.SETTLES[-1]:
        return "late", f"{sent}; {text.format('was')}. Run the same command again later"
    return "empty", f"{sent}; this is correct if {call.day} was a holiday there"


def _write(cursor: Any, run: int, call: BulkCall, item: Fetched) -> Written:
    """Store one answer: its rows, each under its own day, and its sessions."""
    result = Written()
    lines = sorted(item.lines)
    # A change of a volume that was not final when it was stored is a correction, not a restatement.
    settled = (call.before or item.fetched).date() - timedelta(days=store.SETTLE_DAYS)
    restated: list[str] = []
    for start in range(0, len(lines), SLICE):
        some = lines[start : start + SLICE]
        symbols = sorted({line.split("\t", 2)[1] for line in some})
        new = bars.register(cursor, symbols, item.fetched)
        result.registered += len(new)
        changes = bars.merge(cursor, run, some, dict.fromkeys(symbols, settled))
        inserted = sum(change.inserted for change in changes.values())
        updated = sum(change.updated for change in changes.values())
        result.inserted += inserted
        result.updated += updated
        result.unchanged += len(some) - inserted - updated
        bars.mark_synced(cursor, symbols, item.fetched, new)
        restated += [symbol for symbol, change in changes.items() if change.restated]
    answered = [(line.split("\t", 2)[1], line[:10]) for line in lines]
    answered += [(row.symbol, row.day) for row in item.aside if row.day]
    store.keep_aside(cursor, run, item.aside, [(symbol, day, day) for symbol, day in answered])
    rows: Mapping[date, int] = item.parsed.days if item.parsed else {}
    if not rows and call.day and (call.before or item.outcome == "empty"):
        rows = {call.day: 0}
    if rows:
        ledger.enter_sessions(cursor, run, call.exchange, rows, result.updated, item.fetched)
    ledger.mark_restated(cursor, run, call.exchange, restated, item.fetched)
    store.enter_outcomes(cursor, run, [(item, result)])
    return result
