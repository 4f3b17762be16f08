"""Stores a batch of answers: rows, assets and ledger entries."""

from __future__ import annotations

import json
import random
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from ansible.module_utils.eodhd.client import Answer
from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.eodhd.model import Task
from ansible.module_utils.eodhd.store import bars, stored
from ansible.module_utils.eodhd.store.chunks import Chunks
from ansible.module_utils.eodhd.store.database import Database
from ansible.module_utils.eodhd.store.parser import Parsed, SetAside
from ansible.module_utils.text import plural

# A volume that changes within this time after its session is a correction, not a restatement.
SETTLING = timedelta(days=3)


@dataclass(frozen=True)
class Fetched:
    """An answer to store.

    Attributes:
        task: the call.
        answer: what it cost, and why there is no data, if there is none.
        parsed: its rows; None if there is no data.
        fetched: when it arrived.
        seconds: from the request to the answer.
    """

    task: Task
    answer: Answer
    parsed: Parsed | None
    fetched: datetime
    seconds: float

    @property
    def lines(self) -> list[str]:
        """Return the rows to store."""
        return self.parsed.lines if self.parsed else []

    @property
    def aside(self) -> list[SetAside]:
        """Return the rows to set aside."""
        return self.parsed.aside if self.parsed else []

    @property
    def outcome(self) -> str:
        """Return the outcome once the rows are stored."""
        if self.answer.outcome is not None or self.parsed is None:
            return self.answer.outcome or "failed"
        if self.parsed.truncated:
            return "truncated"
        if len(self.parsed.aside) > self.parsed.untraded:
            return "set_aside"
        # A delisted symbol has no later rows, but those that were requested are stored.
        return "loaded" if self.parsed.lines or self.task.rest_stored else "empty"

    @property
    def settled(self) -> date:
        """Return the day before which the stored volumes were final when they were fetched."""
        return (self.task.kept or self).fetched.date() - SETTLING

    @property
    def message(self) -> str:
        """Return the remarks for people."""
        if self.parsed is None or self.answer.outcome is not None:
            return self.answer.message
        notes = []
        if self.parsed.truncated:
            notes.append("the free plan cuts the history")
        if self.aside:
            reasons = sorted({row.reason for row in self.aside})
            notes.append(f"{plural(len(self.aside), 'row')} in backfill_set_aside: {'; '.join(reasons)}")
        if self.outcome == "empty":
            notes.append("no rows in the range")
        return "; ".join(notes)


@dataclass
class Written:
    """What storing one answer changed.

    Attributes:
        inserted, updated, unchanged: rows of the answer.
        registered: symbols that are new in ``assets``.
        again: days to load again, because the history was restated and the answer does not cover all stored rows.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    registered: int = 0
    again: Range | None = None


def write(database: Database, run: int, items: Sequence[Fetched], chunks: Chunks) -> list[Written]:
    """Store a batch of answers for different symbols, and their ledger entries.

    This is one transaction, unless it would lock too many chunks. Then each slice is a transaction that also marks
    restated symbols, and the last one writes the ledger entries.
    """
    full = [item for item in items if item.lines]
    symbols = [item.task.symbol for item in full]
    days = [date.fromisoformat(line[:10]) for item in full for line in (item.lines[0], item.lines[-1])]
    *before, last = chunks.slices(Range(min(days), max(days))) if days else [stored.ALL]
    at = max(item.fetched for item in items)
    fresh = database.run(partial(bars.register, symbols=symbols, at=at)) if before else set()
    # In the same order, one connection would wait in each slice for the decompression by the other.
    random.shuffle(before)
    parts = [database.run(partial(_write_slice, run=run, items=full, days=piece)) for piece in before]

    def work(cursor: Any) -> tuple[list[tuple[Fetched, Written]], set[str], set[str]]:
        cursor.execute(
            "SELECT symbol FROM backfill_coverage WHERE symbol = ANY (%s) AND restated ORDER BY symbol FOR UPDATE",
            (symbols,),
        )
        restated = {symbol for (symbol,) in cursor.fetchall()}
        on_old_basis = {mark.symbol for mark in stored.marked(cursor, symbols)}
        new = fresh or bars.register(cursor, symbols, at)
        every = [*parts, _write_rows(cursor, run, full, last)]
        restated.update(symbol for part in every for symbol, change in part.items() if change.restated)
        bars.mark_synced(cursor, symbols, at, new)
        done = []
        for item in items:
            changes = [part[item.task.symbol] for part in every if item.task.symbol in part]
            inserted = sum(change.inserted for change in changes)
            updated = sum(change.updated for change in changes)
            unchanged = len(item.lines) - inserted - updated
            done.append((item, Written(inserted, updated, unchanged, int(item.task.symbol in new))))
        answered = [
            (item.task.symbol, item.task.range.first, item.task.range.last) for item in items if item.parsed
        ]
        keep_aside(cursor, run, [row for item in items for row in item.aside], answered)
        enter(cursor, run, done, restated)
        return done, restated, on_old_basis

    done, restated, on_old_basis = database.run(work)
    _check_history(database, run, done, chunks, restated, on_old_basis)
    return [written for _, written in done]


def _write_slice(cursor: Any, run: int, items: Sequence[Fetched], days: Range) -> dict[str, bars.Change]:
    """Store some days of a batch, and mark restated symbols at once, because a retry would not find the change."""
    changes = _write_rows(cursor, run, items, days)
    restated = [symbol for symbol, change in changes.items() if change.restated]
    cursor.execute("UPDATE backfill_coverage SET restated = true WHERE symbol = ANY (%s)", (restated,))
    return changes


def _write_rows(cursor: Any, run: int, items: Sequence[Fetched], days: Range) -> dict[str, bars.Change]:
    """Store the rows of some days; return the changes by symbol."""
    first, beyond = days.first.isoformat(), (days.last + timedelta(days=1)).isoformat()
    lines = {
        item.task.symbol: item.lines[bisect_left(item.lines, first) : bisect_left(item.lines, beyond)]
        for item in items
    }
    vacant = {item.task.symbol: lines[item.task.symbol] for item in items if item.task.vacant}
    if not bars.copy_new(cursor, run, vacant):
        vacant = {}
    changes = {symbol: bars.Change(len(some)) for symbol, some in vacant.items()}
    settled = {item.task.symbol: item.settled for item in items if item.task.symbol not in vacant}
    compared = [line for symbol in settled for line in lines[symbol]]
    return {**changes, **bars.merge(cursor, run, compared, settled)}


def _check_history(
    database: Database,
    run: int,
    done: Sequence[tuple[Fetched, Written]],
    chunks: Chunks,
    restated: Collection[str],
    on_old_basis: Collection[str],
) -> None:
    """Have the full history of ``restated`` symbols loaded, or clear their mark if an answer covered it.

    Stored bars of these and of ``on_old_basis`` symbols that such an answer lacks are marked as having an old basis, in
    the transaction that clears the other mark. If a run is killed before, the next run does both.
    """
    # The range of the ledger is loaded first; only an answer for all of it is worth this check.
    complete = {item.task.symbol for item, _ in done if item.task.range.covers(item.task.covered())}
    checked = complete & {*restated, *on_old_basis}
    days_of = stored.stored_days(database, list(checked), chunks) if checked else {}
    for item, result in done:
        symbol, days, whole = item.task.symbol, item.task.range, item.task.covered()
        if symbol in checked:
            held = days_of.get(symbol, set())
            whole = Range(min(held), max(held)).hull(days) if held else days
            if item.outcome in ("loaded", "set_aside") and days.covers(whole):
                sent = {date.fromisoformat(line[:10]) for line in item.lines}
                # Later days than the last one sent are not published yet.
                newest = max(sent, default=days.first)
                old_days = [day for day in held - sent if day <= newest]
                database.run(partial(stored.mark, run=run, symbol=symbol, old_days=old_days))
        if symbol in restated and not days.covers(whole):
            result.again = whole


def keep_aside(
    cursor: Any, run: int, rows: Sequence[SetAside], answered: Sequence[tuple[str, Any, Any]]
) -> None:
    """Set rows aside, each once, however often the provider sends it; resolve earlier ones in the answered days.

    Args:
        answered: symbol, first and last day of each answer; rows that this run set aside remain open.
    """
    if rows:
        _insert(
            cursor,
            "backfill_set_aside",
            [{**vars(row), "run": run} for row in dict.fromkeys(rows)],
            "(symbol, coalesce(day, '-infinity'), reason, md5(raw)) DO UPDATE SET run = EXCLUDED.run, resolved = NULL",
        )
    symbols, first, last = ([each[place] for each in answered] for place in range(3))
    cursor.execute(
        "UPDATE backfill_set_aside a SET resolved = now()"
        " FROM unnest(%s::text[], %s::date[], %s::date[]) AS k (symbol, first_day, last_day)"
        " WHERE a.symbol = k.symbol AND (a.day IS NULL OR a.day BETWEEN k.first_day AND k.last_day)"
        " AND a.resolved IS NULL AND a.run <> %s",
        (symbols, first, last, run),
    )


def enter(
    cursor: Any, run: int, done: Sequence[tuple[Fetched, Written]], restated: Collection[str] = ()
) -> None:
    """Write outcomes and coverage to the ledger, and mark symbols as restated."""
    enter_outcomes(cursor, run, done)
    coverage = [
        {
            "symbol": item.task.symbol,
            "first_day": item.task.covered().first,
            "last_day": item.task.covered().last,
            "outcome": item.outcome,
            "rows": item.task.rows_after([line[:10] for line in item.lines], result.inserted),
            "fetched": item.fetched,
            "restated": item.task.symbol in restated,
            "run": run,
            "message": item.message,
        }
        for item, result in done
    ]
    # Only ``stored.mark`` clears the mark as restated, after an answer for all stored rows.
    sets = [f"{name} = EXCLUDED.{name}" for name in coverage[0] if name not in ("symbol", "restated")]
    conflict = f"(symbol) DO UPDATE SET restated = t.restated OR EXCLUDED.restated, {', '.join(sets)}"
    _insert(cursor, "backfill_coverage", coverage, conflict)


def enter_outcomes(cursor: Any, run: int, done: Sequence[tuple[Fetched, Written]]) -> None:
    """Write the outcome of each call to the ledger."""
    outcomes = [
        {
            "run": run,
            "symbol": item.task.symbol,
            "first_day": item.task.range.first,
            "last_day": item.task.range.last,
            "outcome": item.outcome,
            "rows": len(item.lines),
            "inserted": result.inserted,
            "updated": result.updated,
            "set_aside": len(item.aside),
            "bytes": item.answer.size,
            "calls": item.answer.calls,
            "requests": item.answer.requests,
            "seconds": round(item.seconds, 3),
            "fetched": item.fetched,
            "digest": item.answer.digest,
            "message": item.message,
        }
        for item, result in done
    ]
    _insert(cursor, "backfill_outcome", outcomes, "DO NOTHING")


def _insert(cursor: Any, table: str, rows: Sequence[Mapping[str, Any]], conflict: str) -> None:
    columns = ", ".join(rows[0])
    cursor.execute(
        f"INSERT INTO {table} AS t ({columns}) SELECT {columns}"  # noqa: S608 - our own names
        f" FROM jsonb_populate_recordset(NULL::{table}, %s) ORDER BY 1, 2 ON CONFLICT {conflict}",
        (json.dumps(rows, default=str),),
    )
