"""Mode ``daily``: whole exchanges, one bulk call per session, requested again until the session has settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from ansible.module_utils.eodhd import ledger, planning
from ansible.module_utils.eodhd.client import Answer
from ansible.module_utils.eodhd.context import Context
from ansible.module_utils.eodhd.days import one_day
from ansible.module_utils.eodhd.model import Outcome, SymbolEntry, Task
from ansible.module_utils.eodhd.modes import history
from ansible.module_utils.eodhd.pipeline import execute, in_one_transaction
from ansible.module_utils.eodhd.report import Totals, Verification, conclude
from ansible.module_utils.eodhd.store import bars, store
from ansible.module_utils.eodhd.store.parser import Parsed
from ansible.module_utils.eodhd.store.store import Fetched, Written
from ansible.module_utils.markets import calendar, names

# Rows compared and written per statement.
SLICE = 50_000
# Older sessions have settled, or no run has requested them since.
MEMORY = timedelta(days=30)
# Ledger entries by exchange and session.
Sessions = Mapping[str, Mapping[date, SymbolEntry]]


def run(context: Context) -> dict[str, Any]:
    """Load the due sessions of each exchange, and those that have not settled."""
    context.look()
    exchanges = list(dict.fromkeys(context.request.exchanges))
    plan = _plan(context, exchanges)
    if priced := context.priced(plan):
        return priced
    received: dict[str, set[date]] = {exchange: set() for exchange in exchanges}
    newest = context.today + timedelta(days=1)  # in the east the next day has begun

    def fetch(task: Task) -> tuple[Answer, Parsed | None]:
        exchange, day = _split(task.symbol)
        answer, parsed = context.client.get(
            f"eod-bulk-last-day/{exchange}",
            lambda body: context.parser.bulk(body, exchange, newest),
            {"date": day},
            task.calls,
        )
        days = sorted(parsed.days) if parsed else []
        received[exchange].update(days)
        outcome = None
        if day and day not in days and answer.outcome in (None, "unknown"):
            outcome = _without_session(task, exchange, day, days, context.now)
        return (replace(answer, outcome=outcome[0], message=outcome[1]) if outcome else answer), parsed

    def entries(names: Sequence[str]) -> dict[str, SymbolEntry]:
        context.ledger.entries([])  # looks for leftovers
        return _entries(context, names, _known(context, exchanges)[0])

    before = context.counts()
    restated: list[str] = []
    done = execute(context, plan, fetch, in_one_transaction(_write, store.enter_outcomes), entries)
    if done.stopped is None:
        # Including those that a killed run found.
        restated = _restated(context, exchanges)
        done = _refetch(context, done, restated)
    titles = [f"{name} {', '.join(map(str, sorted(received[name]))) or '(no session)'}" for name in exchanges]
    found = Verification(before, context.counts(), (), *context.remarks(done.run, restated))
    return conclude(context, plan, done, f"daily: {'; '.join(titles)}", found)


def _split(name: str) -> tuple[str, date | None]:
    """Return exchange and session of a call such as ``daily US 2026-11-25``; None is the provider's last session."""
    exchange, day = name.partition(" ")[2].rsplit(" ", 1)  # the list NYSE ARCA has a space
    return exchange, None if day == "last" else date.fromisoformat(day)


def _refetch(context: Context, done: Totals, symbols: Sequence[str]) -> Totals:
    """Load the full histories of restated symbols."""
    if not symbols:
        return done
    known = context.retained_entries(symbols)
    # A retention policy may drop all days of an entry.
    since = one_day(context.chunks.retained_from or context.today)
    ranges = {symbol: known[symbol].range if symbol in known else since for symbol in symbols}
    tasks = [Task(symbol, days.hull(one_day(context.today))) for symbol, days in ranges.items()]
    again = history.load(context, planning.Plan("restated histories", tasks, known))
    again.refetched += len(tasks)
    return done.plus(again)


def _restated(context: Context, exchanges: Sequence[str]) -> list[str]:
    return [] if context.absent else context.database.run(partial(ledger.restated, exchanges=exchanges))


def _known(context: Context, exchanges: Sequence[str]) -> tuple[Sessions, int]:
    """Return the ledger's sessions, and the calls spent on settling today."""
    if context.absent:
        return {exchange: {} for exchange in exchanges}, 0
    since = min(context.today, context.request.last or context.today) - MEMORY
    return context.database.run(
        partial(ledger.sessions, exchanges=exchanges, since=since, today=context.today)
    )


def _plan(context: Context, exchanges: Sequence[str]) -> planning.Plan:
    """Return the plan of all exchanges, and note the sessions that it does not have."""
    request = context.request
    known, spent = _known(context, exchanges)
    left = max(0, request.settle_calls - spent) // planning.BULK_CALLS
    settling, postponed = 0, False
    plan = planning.Plan(f"daily: {', '.join(exchanges)}", [], {})
    for exchange in exchanges:
        entries = known[exchange]
        newest = entries.get(max(entries, default=date.min))
        found = planning.calls_for(exchange, entries, context.rules, request.last, left - settling)
        for day, why in found.why.items():
            kept = entries[day] if day and why != planning.NEW else None
            days = one_day(day or context.today)
            name = f"daily {exchange} {day or 'last'}"
            plan.tasks.append(Task(name, days, kept=kept, calls=planning.BULK_CALLS))
            plan.rows += newest.rows if newest else 0
            settling += why == planning.SETTLE
        if found.why:
            text = ", ".join(f"{day or 'the last session'} ({why})" for day, why in found.why.items())
            plan.remarks.append(f"   {exchange}: {text}")
        else:
            day = found.expected or context.today
            nothing = SymbolEntry(one_day(day), "loaded", 0, context.now)
            plan.fresh[f"daily {exchange}"] = entries.get(day) or newest or nothing
        if found.missed:
            first, last = found.missed
            context.notes.append(
                f"{exchange}: the sessions from {first} to {last} were missed and are too old for this mode."
                f" Load them with backfill_mode=history, backfill_from={first} and backfill_to={last}."
            )
        if found.postponed:
            postponed = True
            late = ", ".join(map(str, found.postponed))
            context.notes.append(
                f"{exchange}: {late} will be requested again later, because backfill_settle_calls is used up today."
            )
    plan.known = _entries(context, [task.symbol for task in plan.tasks], known)
    if settling or postponed:
        plan.remarks.append(
            f"   settling: {settling * planning.BULK_CALLS:,} calls; {spent:,} spent on it today, of at most"
            f" {request.settle_calls:,} (backfill_settle_calls)"
        )
    plan.extra_calls = len(_restated(context, exchanges))
    if plan.extra_calls:
        plan.remarks.append(f"   restated histories to load again: {plan.extra_calls:,}")
    return plan


def _entries(context: Context, calls: Sequence[str], known: Sessions) -> dict[str, SymbolEntry]:
    """Return the ledger entries of calls by their names."""
    found = {}
    for name in calls:
        exchange, day = _split(name)
        newest = max(known[exchange].values(), key=lambda each: each.fetched, default=None)
        entry = known[exchange].get(day) if day else newest
        if entry:
            found[name] = replace(entry, range=one_day(day or context.today))
    return found


def _without_session(
    task: Task, exchange: str, day: date, days: Sequence[date], now: datetime
) -> tuple[Outcome, str] | None:
    """Return outcome and message of an answer without the session ``day``; ``days`` are those that it has."""
    due = calendar.due_at(names.suffix_of(exchange), day)
    if due is None:  # without a calendar, it is unknown whether the day was a session
        return None
    if task.kept:  # its stored rows stay
        return "loaded", ""
    sent = f"the newest session that EODHD sent is {days[-1]}" if days else f"EODHD has no rows of {day}"
    text = f"the data of {day} {{}} due at {due:%Y-%m-%d %H:%M} UTC"
    if now < due:
        return "late", f"{sent}; {text.format('is')}"
    if now < due + planning.SETTLES[-1]:
        return "late", f"{sent}; {text.format('was')}. Run the same command again later"
    return "empty", f"{sent}; this is correct if {day} was a holiday there"


def _write(cursor: Any, run: int, item: Fetched) -> Written:
    """Store one answer: its rows, each under its own day, and its sessions."""
    exchange, day = _split(item.task.symbol)
    result = Written()
    lines = sorted(item.lines)
    restated: list[str] = []
    for start in range(0, len(lines), SLICE):
        some = lines[start : start + SLICE]
        symbols = sorted({line.split("\t", 2)[1] for line in some})
        new = bars.register(cursor, symbols, item.fetched)
        result.registered += len(new)
        changes = bars.merge(cursor, run, some, dict.fromkeys(symbols, item.settled))
        inserted = sum(change.inserted for change in changes.values())
        updated = sum(change.updated for change in changes.values())
        result.inserted += inserted
        result.updated += updated
        result.unchanged += len(some) - inserted - updated
        bars.mark_synced(cursor, symbols, item.fetched, new)
        restated += [symbol for symbol, change in changes.items() if change.restated]
    answered = [(line.split("\t", 2)[1], line[:10]) for line in lines]
    answered += [(row.symbol, row.day) for row in item.aside if row.day]
    store.keep_aside(cursor, run, item.aside, [(symbol, each, each) for symbol, each in answered])
    rows: Mapping[date, int] = item.parsed.days if item.parsed else {}
    if not rows and day and (item.task.kept or item.outcome == "empty"):
        rows = {day: 0}
    if rows:
        ledger.enter_sessions(cursor, run, exchange, rows, result.updated, item.fetched)
    ledger.mark_restated(cursor, run, exchange, restated, item.fetched)
    return result
