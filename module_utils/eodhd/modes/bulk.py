"""Modes ``daily`` and ``register``: one answer for a whole exchange."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from ansible.module_utils.eodhd.model import Job, Range
from ansible.module_utils.eodhd.modes.history import conclude
from ansible.module_utils.eodhd.plan import plan as planning
from ansible.module_utils.eodhd.run import report
from ansible.module_utils.eodhd.run.context import Context
from ansible.module_utils.eodhd.service.client import Answer
from ansible.module_utils.eodhd.store import store
from ansible.module_utils.eodhd.store.parser import Parsed, Parser
from ansible.module_utils.eodhd.store.store import Item, Written

# Rows that are compared and written by one statement.
SLICE = 50_000

LISTING = """
CREATE TEMPORARY TABLE IF NOT EXISTS backfill_listing_stage (symbol text, name text, exchange text,
  country text, currency text, type text, isin text, delisted boolean) ON COMMIT DELETE ROWS
"""
LISTED = "name, exchange, country, currency, type, isin, delisted"
COPY_LISTING = f"COPY backfill_listing_stage (symbol, {LISTED}) FROM STDIN"
KEEP_LISTING = f"""
INSERT INTO backfill_listing AS l (symbol, {LISTED}, run)
SELECT DISTINCT ON (symbol) symbol, {LISTED}, %(run)s FROM backfill_listing_stage ORDER BY symbol, delisted
ON CONFLICT (symbol) DO UPDATE SET run = EXCLUDED.run,
  {", ".join(f"{name} = EXCLUDED.{name}" for name in LISTED.split(", "))}
WHERE ({", ".join(f"l.{name}" for name in LISTED.split(", "))})
  IS DISTINCT FROM ({", ".join(f"EXCLUDED.{name}" for name in LISTED.split(", "))})
"""  # noqa: S608 - our own names
# Only what differs reaches the upsert: one that finds nothing to do would still mark the row as locked.
REGISTER = """
INSERT INTO assets AS a (symbol, exchange, asset_type, is_active, updated_at)
SELECT l.symbol, %(exchange)s, l.type, NOT l.delisted, now()
FROM backfill_listing l JOIN (SELECT DISTINCT symbol FROM backfill_listing_stage) s USING (symbol)
LEFT JOIN assets o USING (symbol)
WHERE o.symbol IS NULL OR o.exchange IS NULL
  OR (o.asset_type, o.is_active) IS DISTINCT FROM (l.type, NOT l.delisted)
ORDER BY l.symbol
ON CONFLICT (symbol) DO UPDATE SET asset_type = EXCLUDED.asset_type, is_active = EXCLUDED.is_active,
  exchange = coalesce(a.exchange, EXCLUDED.exchange), updated_at = EXCLUDED.updated_at
RETURNING xmax = 0
"""


def daily(context: Context) -> dict[str, Any]:
    """Load the last session of each exchange, or that of ``backfill_to``, by one bulk call each."""
    asked = context.request.last or context.today
    parser = Parser(context.widths())

    def fetch(job: Job) -> tuple[Answer, Parsed | None]:
        exchange = job.symbol.rpartition(" ")[2]
        result: tuple[Answer, Parsed | None] = context.client.get(
            f"eod-bulk-last-day/{exchange}",
            lambda body: parser.bulk(body, exchange, context.request.last),
            {"date": context.request.last},
            planning.BULK_CALLS,
        )
        return result

    def write(cursor: Any, run: int, items: list[Item]) -> list[Written]:
        results = [_write_day(cursor, run, item) for item in items]
        store.enter(cursor, run, list(zip(items, results)))
        return results

    return _run(context, "daily", Range(asked, asked), planning.BULK_CALLS, fetch, write)


def _write_day(cursor: Any, run: int, item: Item) -> Written:
    result = Written()
    lines = sorted(item.parsed.lines) if item.parsed else []
    settled = item.fetched.date()
    restated = []
    for start in range(0, len(lines), SLICE):
        some = lines[start : start + SLICE]
        symbols = sorted({line.split("\t", 2)[1] for line in some})
        cursor.execute("TRUNCATE backfill_stage" if start else store.STAGE)
        changes = store.merge(cursor, run, some, dict.fromkeys(symbols, settled))
        inserted = sum(new for new, _, _ in changes.values())
        updated = sum(changed for _, changed, _ in changes.values())
        result.inserted += inserted
        result.updated += updated
        result.unchanged += len(some) - inserted - updated
        result.registered += len(store.register(cursor, symbols, item.fetched))
        restated += [symbol for symbol, (_, _, again) in changes.items() if again]
    # One day does not tell how far back: the next run over the history of these asks for all of it.
    cursor.execute("UPDATE backfill_coverage SET restated = true WHERE symbol = ANY (%s)", (restated,))
    store.keep_aside(cursor, run, item.parsed.aside if item.parsed else [])
    return result


def register(context: Context) -> dict[str, Any]:
    """Enter the symbols of each exchange in ``assets``: type, active or delisted; names in the ledger."""
    context.widths()

    def fetch(job: Job) -> tuple[Answer, Parsed | None]:
        exchange = job.symbol.rpartition(" ")[2]
        merged, calls, requests, body = Parsed(), 0, 0, b""
        kept: tuple[str, ...] = ()
        for delisted in (0, 1):
            answer, parsed = context.client.get(
                f"exchange-symbol-list/{exchange}",
                partial(listing, exchange=exchange, delisted=bool(delisted)),
                {"delisted": delisted or None},
            )
            calls, requests, kept = calls + answer.calls, requests + answer.requests, kept + answer.kept
            if answer.outcome is not None:
                return Answer(answer.outcome, b"", calls, requests, answer.message, kept), None
            merged.lines += parsed.lines
            body += answer.body
        return Answer(None, body, calls, requests, kept=kept), merged

    def write(cursor: Any, run: int, items: list[Item]) -> list[Written]:
        results = [_write_listing(cursor, run, item) for item in items]
        store.enter(cursor, run, list(zip(items, results)))
        return results

    return _run(context, "register", Range(context.today, context.today), 2, fetch, write)


def _write_listing(cursor: Any, run: int, item: Item) -> Written:
    lines = item.parsed.lines if item.parsed else []
    cursor.execute(LISTING)
    store.copy_into(cursor, COPY_LISTING, lines)
    cursor.execute(KEEP_LISTING, {"run": run})
    cursor.execute(REGISTER, {"exchange": item.job.symbol.rpartition(" ")[2]})
    new = [row[0] for row in cursor.fetchall()]
    cursor.execute("TRUNCATE backfill_listing_stage")
    changed = len(new) - sum(new)
    return Written(0, changed, len(lines) - len(new), registered=sum(new))


def listing(body: bytes, exchange: str, delisted: bool) -> Parsed:
    """Return the rows of a symbol list as lines of COPY's text format.

    Args:
        body: the answer as received.
        exchange: part of each symbol's name.
        delisted: which of the two lists this is.

    Raises:
        ValueError: the body is no list of symbols.
    """
    rows = json.loads(body)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError
    fields = ("Name", "Exchange", "Country", "Currency", "Type", "Isin")
    lines = []
    for row in rows:
        if row.get("Code"):
            values = [f"{row['Code']}.{exchange}", *(row.get(name) for name in fields), delisted]
            lines.append("\t".join(map(_copied, values)) + "\n")
    return Parsed(lines)


def _copied(value: object) -> str:
    """Return a value as a field of COPY's text format."""
    if value is None:
        return "\\N"
    text = str(value).replace("\x00", "").replace("\\", "\\\\")
    return text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _run(context: Context, mode: str, days: Range, cost: int, fetch: Any, write: Any) -> dict[str, Any]:
    """Plan and run a mode whose jobs are exchanges; the ledger knows them as ``<mode> <exchange>``."""
    request = context.request
    names = [f"{mode} {exchange}" for exchange in dict.fromkeys(request.exchanges)]
    known = context.known(names)
    jobs: Sequence[Job] = [
        Job(name, days, vacant=False)
        for name in names
        if name not in known or not known[name].range.covers(days) or not context.rules.fresh(known[name])
    ]
    waiting = {job.symbol for job in jobs}
    plan = planning.Plan(
        f"{mode}: {', '.join(request.exchanges)}, {days.last}",
        list(jobs),
        {name: known[name] for name in names if name not in waiting},
        calls=cost * len(jobs),
        rows=sum(known[name].rows for name in waiting if name in known),
    )
    if plan.calls:
        plan.quota = context.quota()
    plan.require_quota(request.partial)
    if request.check:
        return {
            "changed": bool(jobs),
            "plan": plan.facts(),
            "report": "\n".join(plan.lines()),
            "notes": [],
        }
    before = context.counts()
    done = context.execute(plan, fetch, write)
    after = context.counts()
    text = report.of_many(
        f"{mode} {', '.join(request.exchanges)}", done.totals, before, after, [], request.accept
    )
    return conclude(context, done.run, done.totals, plan, text, [], done.stopped, [])
