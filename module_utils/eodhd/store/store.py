"""Writes answers: COPY, a comparison with what is stored, only the changes, and the ledger, in one transaction."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

from ansible.module_utils.database import layout
from ansible.module_utils.eodhd.model import Job, Range, asset_type, midnight
from ansible.module_utils.eodhd.service.client import Answer
from ansible.module_utils.eodhd.store.parser import COLUMNS, Parsed
from ansible.module_utils.text import plural

_VALUES = ", ".join(COLUMNS)
COPY = f"COPY {{}} (time, symbol, {_VALUES}) FROM STDIN"

_OLD = ", ".join(f"old_{name}" for name in COLUMNS)
_NUMBERS = ", ".join(f"{name} numeric" for name in COLUMNS)

STAGE = (
    f"CREATE TEMPORARY TABLE IF NOT EXISTS backfill_stage (time timestamptz, symbol text, {_NUMBERS})"
    " ON COMMIT DELETE ROWS"
)
CHANGED = (
    f"CREATE TEMPORARY TABLE IF NOT EXISTS backfill_changed (time timestamptz, symbol text, {_NUMBERS},"
    f" known boolean, {', '.join(f'old_{name} numeric' for name in COLUMNS)}) ON COMMIT DELETE ROWS"
)
# Bounds and symbols are named, so that TimescaleDB plans the chunks concerned only, and Citus asks its workers.
COMPARE = f"""
INSERT INTO backfill_changed (time, symbol, {_VALUES}, known, {_OLD})
SELECT s.time, s.symbol, {", ".join(f"s.{name}" for name in COLUMNS)}, m.time IS NOT NULL,
  {", ".join(f"m.{name}" for name in COLUMNS)}
FROM backfill_stage s LEFT JOIN market_data m ON m.time = s.time AND m.symbol = s.symbol
  AND m.time BETWEEN %(first)s AND %(last)s AND m.symbol = ANY (%(symbols)s)
WHERE m.time IS NULL OR ({", ".join(f"m.{name}" for name in COLUMNS)})
  IS DISTINCT FROM ({", ".join(f"s.{name}" for name in COLUMNS)})
"""  # noqa: S608 - our own names
# The past was restated if the factor from close to adjusted close is another. Beside a corrected close the factor may
# differ by what four decimals round.
SUMMARY = """
SELECT c.symbol, count(*) FILTER (WHERE NOT c.known), count(*) FILTER (WHERE c.known),
  coalesce(bool_or(c.known AND (
    CASE WHEN c.close = c.old_close THEN c.old_adjusted_close IS DISTINCT FROM c.adjusted_close
    ELSE abs(c.old_adjusted_close * c.close - c.adjusted_close * c.old_close) > 0.0001 * (c.close + c.old_close) END
    OR (c.old_volume IS DISTINCT FROM c.volume AND c.time < k.settled))), false)
FROM backfill_changed c JOIN unnest(%(symbols)s, %(settled)s) AS k (symbol, settled) USING (symbol)
GROUP BY c.symbol
"""
# A row that another session inserted meanwhile meets ON CONFLICT.
WRITE = f"""
INSERT INTO market_data AS m (time, symbol, {_VALUES})
SELECT time, symbol, {_VALUES} FROM backfill_changed ORDER BY time, symbol
ON CONFLICT (time, symbol) DO UPDATE SET {", ".join(f"{name} = EXCLUDED.{name}" for name in COLUMNS)}
WHERE ({", ".join(f"m.{name}" for name in COLUMNS)})
  IS DISTINCT FROM ({", ".join(f"EXCLUDED.{name}" for name in COLUMNS)})
"""  # noqa: S608 - our own names
RECORD = f"""
INSERT INTO backfill_revision (run, symbol, day, {_OLD}, {", ".join(f"new_{name}" for name in COLUMNS)})
SELECT %(run)s, symbol, (time AT TIME ZONE 'UTC')::date, {_OLD}, {_VALUES} FROM backfill_changed WHERE known
"""  # noqa: S608 - our own names
ASSETS = """
INSERT INTO assets AS a (symbol, exchange, asset_type, is_active, last_synced)
SELECT symbol, exchange, asset_type, true, %(at)s
FROM unnest(%(symbols)s::text[], %(exchanges)s::text[], %(types)s::text[]) AS k (symbol, exchange, asset_type)
ORDER BY symbol
ON CONFLICT (symbol) DO UPDATE SET last_synced = EXCLUDED.last_synced,
  exchange = coalesce(a.exchange, EXCLUDED.exchange), asset_type = coalesce(a.asset_type, EXCLUDED.asset_type)
RETURNING symbol, xmax = 0
"""
# A price that changes within these days after its session is a correction, not a restated past.
SETTLE_DAYS = 3


@dataclass(frozen=True)
class Item:
    """An answer to store.

    Attributes:
        job: the call.
        answer: how it was made; its body is not needed any more.
        parsed: None where there is no data.
        size: bytes of the body.
        digest: SHA-256 of the body, in hexadecimal.
        fetched: when it came.
        seconds: from the request to the answer.
    """

    job: Job
    answer: Answer
    parsed: Parsed | None
    size: int
    digest: str | None
    fetched: datetime
    seconds: float

    @property
    def outcome(self) -> str:
        """Return the outcome once the rows are stored."""
        if self.answer.outcome is not None or self.parsed is None:
            return self.answer.outcome or "failed"
        if self.parsed.truncated:
            return "truncated"
        if len(self.parsed.aside) > self.parsed.untraded:
            return "set_aside"
        return "loaded" if self.parsed.lines else "empty"

    def answers_for(self, days: Range) -> bool:
        """Whether this is the provider's word on all of these days."""
        return self.outcome in ("loaded", "set_aside") and self.job.range.covers(days)

    @property
    def message(self) -> str:
        """Return what people should know of it."""
        if self.parsed is None or self.answer.outcome is not None:
            return self.answer.message
        notes = []
        if self.parsed.truncated:
            notes.append("the free plan cuts the history")
        if self.parsed.aside:
            reasons = sorted({row.reason for row in self.parsed.aside})
            notes.append(
                f"{plural(len(self.parsed.aside), 'row')} in backfill_set_aside: {'; '.join(reasons)}"
            )
        if self.outcome == "empty":
            notes.append("no rows in the range")
        return "; ".join(notes)


@dataclass
class Written:
    """What became of one item.

    Attributes:
        inserted, updated, unchanged: rows of the answer.
        registered: symbols that are new in ``assets``.
        again: the past was restated, and stored rows lie outside of the answer: ask for these days.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    registered: int = 0
    again: Range | None = None


def write(cursor: Any, run: int, items: Sequence[Item], errors: Any) -> list[Written]:
    """Store a batch of answers, of different symbols, and their entries in the ledger.

    Args:
        cursor: in a transaction that the caller commits.
        run: the run's number.
        items: the answers.
        errors: the module ``psycopg2.errors``.

    Returns:
        list: one for each item, in order.
    """
    full = [item for item in items if item.parsed and item.parsed.lines]
    straight = [item for item in full if item.job.vacant]
    compared = [item for item in full if not item.job.vacant]
    if straight and not _copy_straight(cursor, straight, errors):
        straight, compared = [], full
    changes = _merge(cursor, run, compared) if compared else {}
    fresh = _register(cursor, full) if full else set()
    vacant = {item.job.symbol for item in straight}
    results = []
    for item in items:
        rows = len(item.parsed.lines) if item.parsed else 0
        if item.job.symbol in vacant:
            result = Written(inserted=rows)
        else:
            inserted, updated, restated = changes.get(item.job.symbol, (0, 0, False))
            result = Written(inserted, updated, rows - inserted - updated)
            if restated:
                result.again = _stored_beyond(cursor, item.job)
        result.registered = int(item.job.symbol in fresh)
        results.append(result)
    _keep_aside(cursor, run, items)
    enter(cursor, run, list(zip(items, results)))
    return results


def copy(cursor: Any, table: str, lines: Sequence[str]) -> None:
    """Send rows of prices to a table, in the order of its key, which halves the work on the index."""
    copy_into(cursor, COPY.format(table), sorted(lines))


def copy_into(cursor: Any, statement: str, lines: Sequence[str]) -> None:
    """Send lines of COPY's text format."""
    data = "".join(lines).encode()
    # In one piece: the driver takes the interpreter's lock for every read.
    cursor.copy_expert(statement, io.BytesIO(data), size=max(1, len(data)))


def _copy_straight(cursor: Any, items: Sequence[Item], errors: Any) -> bool:
    """COPY rows that the table did not have; False where somebody else inserted one meanwhile."""
    lines = _lines(items)
    _make_room(cursor, lines)
    cursor.execute("SAVEPOINT straight")
    try:
        copy(cursor, "market_data", lines)
    except errors.UniqueViolation:
        cursor.execute("ROLLBACK TO SAVEPOINT straight")
        return False
    cursor.execute("RELEASE SAVEPOINT straight")
    return True


def _merge(cursor: Any, run: int, items: Sequence[Item]) -> dict[str, tuple[int, int, bool]]:
    """Compare rows with the stored ones and write what is new or differs; by symbol: new, changed, restated."""
    settled = {item.job.symbol: _settled(item) for item in items}
    return merge(cursor, run, _lines(items), settled)


def merge(
    cursor: Any, run: int, lines: Sequence[str], settled: Mapping[str, date]
) -> dict[str, tuple[int, int, bool]]:
    """Compare lines with the stored rows and write what is new or differs.

    Args:
        cursor: in a transaction that the caller commits.
        run: the run's number.
        lines: of COPY's text format.
        settled: by symbol, the day before which a changed volume means a restated past.

    Returns:
        dict: by symbol with any change: rows inserted, rows updated, whether its past was restated.
    """
    if not lines:
        return {}
    for statement in (STAGE, CHANGED, "TRUNCATE backfill_stage, backfill_changed"):
        cursor.execute(statement)
    copy(cursor, "backfill_stage", lines)
    cursor.execute("ANALYZE backfill_stage")
    first, last = _days(lines)
    values = {
        "symbols": list(settled),
        "settled": [midnight(day) for day in settled.values()],
        "first": midnight(first),
        "last": midnight(last),
    }
    cursor.execute(COMPARE, values)
    cursor.execute(SUMMARY, values)
    changes = {
        symbol: (inserted, updated, restated) for symbol, inserted, updated, restated in cursor.fetchall()
    }
    if changes:
        _make_room(cursor, lines)
        cursor.execute(WRITE)
        cursor.execute(RECORD, {"run": run})
    return changes


def _make_room(cursor: Any, lines: Sequence[str]) -> None:
    """Make the partitions that lines of COPY need, if the table is partitioned by time."""
    layout.make_room(cursor, *_days(lines))


def _days(lines: Sequence[str]) -> tuple[date, date]:
    """Return the first and the last day of lines of COPY, each of which begins with its day."""
    first, last = (date.fromisoformat(line.partition("\t")[0]) for line in (min(lines), max(lines)))
    return first, last


def _settled(item: Item) -> date:
    """Return the day before which stored volumes were final when they were fetched."""
    before = item.job.kept.fetched if item.job.kept else item.fetched
    return before.astimezone(timezone.utc).date() - timedelta(days=SETTLE_DAYS)


def _lines(items: Sequence[Item]) -> list[str]:
    return [line for item in items if item.parsed for line in item.parsed.lines]


def _stored_beyond(cursor: Any, job: Job) -> Range | None:
    """Return the days to ask for anew, if more is stored of a symbol than the job asked for."""
    cursor.execute(
        "SELECT (min(time) AT TIME ZONE 'UTC')::date, (max(time) AT TIME ZONE 'UTC')::date"
        " FROM market_data WHERE symbol = %s",
        (job.symbol,),
    )
    whole = Range(*cursor.fetchone())
    return None if job.range.covers(whole) else whole.hull(job.covered())


def _register(cursor: Any, items: Sequence[Item]) -> set[str]:
    """Keep ``assets`` and ``last_synced``; return the symbols that are new there."""
    symbols = [item.job.symbol for item in items]
    return register(cursor, symbols, max(item.fetched for item in items))


def register(cursor: Any, symbols: Sequence[str], at: datetime) -> set[str]:
    """Enter symbols in ``assets`` as synchronised at a time; return the new ones."""
    exchanges = [symbol.rpartition(".")[2] for symbol in symbols]
    types = [asset_type(symbol) for symbol in symbols]
    cursor.execute(ASSETS, {"symbols": list(symbols), "exchanges": exchanges, "types": types, "at": at})
    return {symbol for symbol, new in cursor.fetchall() if new}


def _keep_aside(cursor: Any, run: int, items: Sequence[Item]) -> None:
    """Keep the rows that are not loaded; those of earlier runs that came back clean are marked as resolved."""
    rows = [row for item in items if item.parsed for row in item.parsed.aside]
    keep_aside(cursor, run, rows)
    jobs = [item.job for item in items if item.parsed]
    resolve(cursor, run, [(job.symbol, job.range.first, job.range.last) for job in jobs])


def resolve(cursor: Any, run: int, answered: Sequence[tuple[str, Any, Any]]) -> None:
    """Mark rows that earlier runs set aside as resolved, since an answer of this run has had its say.

    Args:
        cursor: in a transaction that the caller commits.
        run: the run's number; what it set aside itself stays.
        answered: symbol, and the first and last day of the answer.
    """
    cursor.execute(
        "UPDATE backfill_set_aside a SET resolved = now()"
        " FROM unnest(%s::text[], %s::date[], %s::date[]) AS k (symbol, first_day, last_day)"
        " WHERE a.symbol = k.symbol AND a.day BETWEEN k.first_day AND k.last_day"
        " AND a.resolved IS NULL AND a.run <> %s",
        (
            [symbol for symbol, _, _ in answered],
            [first for _, first, _ in answered],
            [last for _, _, last in answered],
            run,
        ),
    )


def keep_aside(cursor: Any, run: int, rows: Sequence[Any]) -> None:
    """Keep rows aside, each once, however often the provider sends it."""
    if rows:
        cursor.execute(
            "INSERT INTO backfill_set_aside AS a (symbol, day, raw, reason, run)"
            " SELECT DISTINCT ON (symbol, day, reason, md5(raw)) symbol, day, raw, reason, %s"
            " FROM unnest(%s::text[], %s::date[], %s::text[], %s::text[]) AS k (symbol, day, raw, reason)"
            " ON CONFLICT (symbol, coalesce(day, '-infinity'), reason, md5(raw))"
            " DO UPDATE SET run = EXCLUDED.run, resolved = NULL",
            (
                run,
                [row.symbol for row in rows],
                [row.day for row in rows],
                # PostgreSQL's text takes no NUL.
                [row.raw.replace("\x00", "\\u0000") for row in rows],
                [row.reason for row in rows],
            ),
        )


def enter(cursor: Any, run: int, done: Sequence[tuple[Item, Written]]) -> None:
    """Write the outcomes, and what is covered now."""
    enter_outcomes(cursor, run, done)
    _enter_coverage(cursor, run, done)


def enter_outcomes(cursor: Any, run: int, done: Sequence[tuple[Item, Written]]) -> None:
    """Write what became of each call."""
    from psycopg2.extras import execute_values

    outcomes = []
    for item, result in done:
        job, rows = item.job, len(item.parsed.lines) if item.parsed else 0
        aside = len(item.parsed.aside) if item.parsed else 0
        outcomes.append(
            (run, job.symbol, job.range.first, job.range.last, item.outcome, rows, result.inserted)
            + (result.updated, aside, item.size, item.answer.calls, item.answer.requests)
            + (round(item.seconds, 3), item.fetched, item.digest, item.message)
        )
    execute_values(
        cursor,
        "INSERT INTO backfill_outcome (run, symbol, first_day, last_day, outcome, rows, inserted, updated,"
        " set_aside, bytes, calls, requests, seconds, fetched, digest, message)"
        " VALUES %s ON CONFLICT DO NOTHING",
        outcomes,
        page_size=500,
    )


def _enter_coverage(cursor: Any, run: int, done: Sequence[tuple[Item, Written]]) -> None:
    from psycopg2.extras import execute_values

    marked = _restated(cursor, [item.job.symbol for item, _ in done])
    coverage = []
    for item, result in done:
        job, rows = item.job, len(item.parsed.lines) if item.parsed else 0
        covered = job.covered()
        past = marked.get(job.symbol)
        restated = result.again is not None or bool(past and not item.answers_for(past))
        coverage.append(
            (job.symbol, covered.first, covered.last, item.outcome, job.rows_after(rows, result.inserted))
            + (item.fetched, restated, run, item.message)
        )
    execute_values(
        cursor,
        "INSERT INTO backfill_coverage (symbol, first_day, last_day, outcome, rows, fetched, restated, run,"
        " message) VALUES %s ON CONFLICT (symbol) DO UPDATE SET"
        " first_day = EXCLUDED.first_day, last_day = EXCLUDED.last_day, outcome = EXCLUDED.outcome,"
        " rows = EXCLUDED.rows, fetched = EXCLUDED.fetched, restated = EXCLUDED.restated,"
        " run = EXCLUDED.run, message = EXCLUDED.message",
        coverage,
        page_size=500,
    )


def _restated(cursor: Any, symbols: Sequence[str]) -> dict[str, Range]:
    """Return the days covered by symbols whose past is marked as restated; nobody changes them meanwhile."""
    cursor.execute(
        "SELECT symbol, first_day, last_day FROM backfill_coverage"
        " WHERE symbol = ANY (%s) AND restated ORDER BY symbol FOR UPDATE",
        (list(symbols),),
    )
    return {symbol: Range(first, last) for symbol, first, last in cursor.fetchall()}


def count_stored(cursor: Any, wanted: Sequence[tuple[str, Range, Range]]) -> dict[str, tuple[int, int]]:
    """Count the stored rows of symbols in two ranges each, in one pass over the table.

    Args:
        cursor: of any session.
        wanted: symbol, and the two ranges.

    Returns:
        dict: the two counts, for symbols with any row in either.
    """
    if not wanted:
        return {}
    cursor.execute(
        "SELECT m.symbol, count(*) FILTER (WHERE m.time BETWEEN k.a1 AND k.a2),"
        " count(*) FILTER (WHERE m.time BETWEEN k.b1 AND k.b2)"
        " FROM market_data m JOIN unnest(%(symbols)s, %(a1)s, %(a2)s, %(b1)s, %(b2)s)"
        " AS k (symbol, a1, a2, b1, b2) USING (symbol)"
        " WHERE m.time BETWEEN %(first)s AND %(last)s AND m.symbol = ANY (%(symbols)s) GROUP BY m.symbol",
        {
            "symbols": [symbol for symbol, _, _ in wanted],
            "a1": [midnight(one.first) for _, one, _ in wanted],
            "a2": [midnight(one.last) for _, one, _ in wanted],
            "b1": [midnight(other.first) for _, _, other in wanted],
            "b2": [midnight(other.last) for _, _, other in wanted],
            "first": midnight(min(min(one.first, other.first) for _, one, other in wanted)),
            "last": midnight(max(max(one.last, other.last) for _, one, other in wanted)),
        },
    )
    return {symbol: (first, second) for symbol, first, second in cursor.fetchall()}
