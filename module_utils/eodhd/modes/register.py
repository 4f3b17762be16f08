"""Mode ``register``: enters the symbols of whole exchanges in ``assets``, and records renames."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any

from ansible.module_utils.eodhd.client import Answer
from ansible.module_utils.eodhd.context import Context
from ansible.module_utils.eodhd.days import Range, one_day
from ansible.module_utils.eodhd.model import Task
from ansible.module_utils.eodhd.pipeline import execute, in_one_transaction
from ansible.module_utils.eodhd.planning import Plan, of_tasks
from ansible.module_utils.eodhd.report import Verification, conclude
from ansible.module_utils.eodhd.store import bars
from ansible.module_utils.eodhd.store.parser import Parsed, is_day, symbol_of
from ansible.module_utils.eodhd.store.store import Fetched, Written
from ansible.module_utils.markets import names

RENAMES = "renames US"

LISTING = """
CREATE TEMPORARY TABLE IF NOT EXISTS backfill_listing_stage (symbol text, name text, exchange text,
  country text, currency text, type text, isin text, delisted boolean) ON COMMIT DELETE ROWS
"""
LISTED = "name, exchange, country, currency, type, isin, delisted"
KEEP_LISTING = f"""
INSERT INTO backfill_listing AS l (symbol, {LISTED}, run)
SELECT DISTINCT ON (symbol) symbol, {LISTED}, %(run)s FROM backfill_listing_stage ORDER BY symbol, delisted
ON CONFLICT (symbol) DO UPDATE SET run = EXCLUDED.run,
  {", ".join(f"{name} = EXCLUDED.{name}" for name in LISTED.split(", "))}
WHERE ({", ".join(f"l.{name}" for name in LISTED.split(", "))})
  IS DISTINCT FROM ({", ".join(f"EXCLUDED.{name}" for name in LISTED.split(", "))})
"""  # noqa: S608 - our own names
# Only rows that differ reach the upsert, because an upsert without a change still locks its row.
REGISTER = """
INSERT INTO assets AS a (symbol, exchange, asset_type, is_active, updated_at)
SELECT l.symbol, %(exchange)s, l.type, NOT l.delisted, %(now)s
FROM backfill_listing l JOIN (SELECT DISTINCT symbol FROM backfill_listing_stage) s USING (symbol)
LEFT JOIN assets o USING (symbol)
WHERE o.symbol IS NULL OR o.exchange IS NULL
  OR (o.asset_type, o.is_active) IS DISTINCT FROM (l.type, NOT l.delisted)
ORDER BY l.symbol
ON CONFLICT (symbol) DO UPDATE SET asset_type = EXCLUDED.asset_type, is_active = EXCLUDED.is_active,
  exchange = coalesce(a.exchange, EXCLUDED.exchange), updated_at = EXCLUDED.updated_at
RETURNING xmax = 0
"""
RENAMED = "old_symbol, new_symbol, effective"
KEEP_RENAMES = f"""
INSERT INTO backfill_rename ({RENAMED}, run)
SELECT DISTINCT ON (old_symbol, effective) {RENAMED}, %(run)s
FROM unnest(%(old)s::text[], %(new)s::text[], %(effective)s::date[]) AS k ({RENAMED})
ORDER BY old_symbol, effective
ON CONFLICT (old_symbol, effective) DO NOTHING
RETURNING old_symbol
"""  # noqa: S608 - our own names
# A renamed symbol becomes inactive once, unless this run's list has another company with its ticker.
RETIRED = """
SELECT r.old_symbol FROM backfill_rename r LEFT JOIN backfill_listing l ON l.symbol = r.old_symbol
WHERE r.effective <= %(today)s AND r.run = %(run)s AND (l.symbol IS NULL OR l.delisted OR l.run <> %(run)s)
"""
RETIRE = """
UPDATE assets SET is_active = false, updated_at = %(now)s WHERE symbol = ANY (%(symbols)s) AND is_active IS NOT FALSE
"""
SUCCESSORS = """
SELECT DISTINCT ON (old_symbol) old_symbol, new_symbol FROM backfill_rename
WHERE effective <= %(today)s ORDER BY old_symbol, effective DESC
"""
SUCCEED = """
UPDATE assets a SET renamed_to = k.new_symbol, updated_at = %(now)s
FROM unnest(%(old)s::text[], %(new)s::text[]) AS k (old_symbol, new_symbol)
WHERE a.symbol = k.old_symbol AND a.is_active IS FALSE AND a.renamed_to IS DISTINCT FROM k.new_symbol
"""
# The provider has only US renames, and none before this day.
FIRST_RENAME = date(2022, 7, 22)


def run(context: Context) -> dict[str, Any]:
    """Enter the symbols of each exchange in ``assets``: type, active or delisted, renamed. Details go to the ledger."""
    context.look()

    def fetch(task: Task) -> tuple[Answer, Parsed | None]:
        if task.symbol != RENAMES:
            return _fetch_listings(context, task.symbol.partition(" ")[2])
        days = {"from": task.range.first, "to": task.range.last}
        return context.client.get("symbol-change-history", renames, days, task.calls)

    def write(cursor: Any, run: int, item: Fetched) -> Written:
        return (_write_renames if item.task.symbol == RENAMES else _write_listing)(cursor, run, item)

    plan = _plan(context)
    if priced := context.priced(plan):
        return priced
    before = context.counts()
    done = execute(context, plan, fetch, in_one_transaction(write))
    # Neither a plan that lacks renames nor a range without any fails the run.
    if done.count_as_loaded(RENAMES, ("forbidden", "empty")) == "forbidden":
        context.notes.append("The account's plan does not include symbol renames (403).")
    title = f"register {', '.join(context.request.exchanges)}"
    return conclude(context, plan, done, title, Verification(before, context.counts()))


def _plan(context: Context) -> Plan:
    """Return the plan: two lists per exchange, and the US renames once."""
    exchanges = list(dict.fromkeys(context.request.exchanges))
    tasks = [Task(f"register {exchange}", one_day(context.today), calls=2) for exchange in exchanges]
    if any(names.suffix_of(exchange) == names.DEFAULT for exchange in exchanges):
        tasks.append(Task(RENAMES, Range(FIRST_RENAME, context.today), calls=5))
    known = context.known([task.symbol for task in tasks])
    return of_tasks(f"register: {', '.join(exchanges)}", tasks, known, context.rules)


def _fetch_listings(context: Context, exchange: str) -> tuple[Answer, Parsed | None]:
    """Request the active and the delisted symbols of an exchange."""
    found, answers = Parsed(), []
    for delisted in (0, 1):
        answer, parsed = context.client.get(
            f"exchange-symbol-list/{exchange}",
            partial(listing, exchange=exchange, delisted=bool(delisted)),
            {"delisted": delisted or None},
        )
        answers.append(answer)
        if parsed is None:
            break
        found.lines += parsed.lines
    both = replace(
        answer,
        calls=sum(each.calls for each in answers),
        requests=sum(each.requests for each in answers),
        kept=tuple(name for each in answers for name in each.kept),
        size=sum(each.size for each in answers),
        digest=None,  # of neither body alone
    )
    return both, found if parsed else None


def _write_listing(cursor: Any, run: int, item: Fetched) -> Written:
    cursor.execute(LISTING)
    bars.copy(cursor, f"backfill_listing_stage (symbol, {LISTED})", item.lines)
    cursor.execute(KEEP_LISTING, {"run": run})
    exchange = names.suffix_of(item.task.symbol.partition(" ")[2])
    cursor.execute(REGISTER, {"exchange": exchange, "now": item.fetched})
    new = [row[0] for row in cursor.fetchall()]
    cursor.execute("TRUNCATE backfill_listing_stage")
    changed = len(new) - sum(new)
    return Written(0, changed, len(item.lines) - len(new), registered=sum(new))


def _write_renames(cursor: Any, run: int, item: Fetched) -> Written:
    """Record renames and set the old symbols inactive; their rows keep the old name."""
    rows = [line.rstrip("\n").split("\t") for line in item.lines]
    old, new, effective = ([row[place] for row in rows] for place in range(3))
    cursor.execute(KEEP_RENAMES, {"run": run, "old": old, "new": new, "effective": effective})
    known = cursor.rowcount
    moment = {"run": run, "now": item.fetched, "today": item.fetched.date()}
    # Query the ledger first, because Citus cannot update a table by a join with a local table.
    cursor.execute(RETIRED, moment)
    cursor.execute(RETIRE, {**moment, "symbols": [symbol for (symbol,) in cursor.fetchall()]})
    changed = cursor.rowcount
    cursor.execute(
        "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('assets') AND attname = 'renamed_to'"
        " AND NOT attisdropped"
    )
    if cursor.fetchone()[0]:
        cursor.execute(SUCCESSORS, moment)
        before, after = list(zip(*cursor.fetchall())) or ((), ())
        cursor.execute(SUCCEED, {**moment, "old": list(before), "new": list(after)})
        changed = max(changed, cursor.rowcount)
    return Written(known, changed, len(rows) - known)


def renames(body: bytes) -> Parsed:
    """Return the renames of ``symbol-change-history`` as lines: old symbol, new symbol, day.

    Raises:
        ValueError: the body is not a list of objects.
    """
    lines = []
    for row in _objects(body):
        ending = names.suffix_of(str(row.get("exchange") or names.DEFAULT))
        old, new, day = row.get("old_symbol"), row.get("new_symbol"), str(row.get("effective"))
        if old and new and is_day(day) and f"{old}{new}{ending}".isprintable():
            lines.append(f"{old}.{ending}\t{new}.{ending}\t{day}\n")
    return Parsed(lines)


def listing(body: bytes, exchange: str, delisted: bool) -> Parsed:
    """Return the symbols of a list as lines in COPY's text format.

    Args:
        delisted: whether this is the list of delisted symbols.

    Raises:
        ValueError: the body is not a list of objects.
    """
    fields = ("Name", "Exchange", "Country", "Currency", "Type", "Isin")
    lines = []
    for row in _objects(body):
        symbol = symbol_of(row, exchange)
        if symbol:
            values = [symbol, *(row.get(name) for name in fields), delisted]
            lines.append("\t".join(map(_copied, values)) + "\n")
    return Parsed(lines)


def _objects(body: bytes) -> list[dict[str, Any]]:
    rows = json.loads(body)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError
    return rows


def _copied(value: object) -> str:
    """Return a value as a field in COPY's text format."""
    if value is None:
        return "\\N"
    # PostgreSQL cannot store NUL and halves of a surrogate pair.
    text = str(value).encode(errors="replace").decode().replace("\x00", "").replace("\\", "\\\\")
    return text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
