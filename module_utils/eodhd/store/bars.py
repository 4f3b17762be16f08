"""The rows of ``market_data``: COPY, a comparison with what is stored, and the changes alone."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any, Callable, TypeVar

from ansible.module_utils.database import layout, tables
from ansible.module_utils.database.tables import FIGURES
from ansible.module_utils.eodhd.model import Range, midnight
from ansible.module_utils.eodhd.store import arrivals
from ansible.module_utils.eodhd.store.chunks import Chunks
from ansible.module_utils.eodhd.store.database import Database

T = TypeVar("T")

_VALUES = ", ".join(FIGURES)
COPY = f"COPY {{}} (time, symbol, {_VALUES}) FROM STDIN"

_OLD = ", ".join(f"old_{name}" for name in FIGURES)
_NUMBERS = ", ".join(f"{name} numeric" for name in FIGURES)

STAGE = (
    f"CREATE TEMPORARY TABLE IF NOT EXISTS backfill_stage (time timestamptz, symbol text, {_NUMBERS})"
    " ON COMMIT DELETE ROWS"
)
CHANGED = (
    f"CREATE TEMPORARY TABLE IF NOT EXISTS backfill_changed (time timestamptz, symbol text, {_NUMBERS},"
    f" known boolean, {', '.join(f'old_{name} numeric' for name in FIGURES)}) ON COMMIT DELETE ROWS"
)
# Bounds and symbols are named, so that TimescaleDB plans the chunks concerned only, and Citus asks its workers.
COMPARE = f"""
INSERT INTO backfill_changed (time, symbol, {_VALUES}, known, {_OLD})
SELECT s.time, s.symbol, {", ".join(f"s.{name}" for name in FIGURES)}, m.time IS NOT NULL,
  {", ".join(f"m.{name}" for name in FIGURES)}
FROM backfill_stage s LEFT JOIN market_data m ON m.time = s.time AND m.symbol = s.symbol
  AND m.time BETWEEN %(first)s AND %(last)s AND m.symbol = ANY (%(symbols)s)
WHERE m.time IS NULL OR ({", ".join(f"m.{name}" for name in FIGURES)})
  IS DISTINCT FROM ({", ".join(f"s.{name}" for name in FIGURES)})
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
ON CONFLICT (time, symbol) DO UPDATE SET {", ".join(f"{name} = EXCLUDED.{name}" for name in FIGURES)}
WHERE ({", ".join(f"m.{name}" for name in FIGURES)})
  IS DISTINCT FROM ({", ".join(f"EXCLUDED.{name}" for name in FIGURES)})
"""  # noqa: S608 - our own names
RECORD = f"""
INSERT INTO backfill_revision (run, symbol, day, {_OLD}, {", ".join(f"new_{name}" for name in FIGURES)}, found)
SELECT %(run)s, symbol, (time AT TIME ZONE 'UTC')::date, {_OLD}, {_VALUES}, %(at)s
FROM backfill_changed WHERE known ORDER BY time, symbol
"""  # noqa: S608 - our own names
# All days that a bar can have.
ALL = Range(date(1, 1, 2), date(9999, 12, 30))
# Ranges that one statement counts in.
RANGES = 16


@dataclass
class Change:
    """What storing changed of one symbol.

    Attributes:
        inserted, updated: rows.
        restated: whether stored rows stood on another basis of splits and dividends.
    """

    inserted: int = 0
    updated: int = 0
    restated: bool = False

    def add(self, other: Change) -> None:
        """Count another slice of the same answer."""
        self.inserted += other.inserted
        self.updated += other.updated
        self.restated |= other.restated


def copy(cursor: Any, table: str, lines: Sequence[str]) -> None:
    """Send rows of prices to a table; sorted ones are in the order of its key, which halves the work on the index."""
    copy_into(cursor, COPY.format(table), lines)


def copy_into(cursor: Any, statement: str, lines: Sequence[str]) -> None:
    """Send lines of COPY's text format."""
    data = "".join(lines).encode()
    # In one piece: the driver takes the interpreter's lock for every read.
    cursor.copy_expert(statement, io.BytesIO(data), size=max(1, len(data)))


def merge(cursor: Any, run: int, lines: Sequence[str], settled: Mapping[str, date]) -> dict[str, Change]:
    """Compare lines with the stored rows and write what is new or differs.

    Args:
        cursor: in a transaction that the caller commits.
        lines: of COPY's text format.
        settled: by symbol, the day before which a changed volume means a restated past.

    Returns:
        dict: what changed, by symbol with any change.
    """
    if not lines:
        return {}
    lines = sorted(lines)
    for statement in (STAGE, CHANGED, "TRUNCATE backfill_stage, backfill_changed"):
        cursor.execute(statement)
    moment = arrivals.begin(cursor)
    copy(cursor, "backfill_stage", lines)
    cursor.execute("ANALYZE backfill_stage")
    first, last = days_of(lines)
    values = {
        "symbols": list(settled),
        "settled": [midnight(day) for day in settled.values()],
        "first": midnight(first),
        "last": midnight(last),
    }
    cursor.execute(COMPARE, values)
    cursor.execute(SUMMARY, values)
    changes = {symbol: Change(*counts) for symbol, *counts in cursor.fetchall()}
    if changes:
        make_room(cursor, lines)
        arrivals.merged(cursor, run, moment, values)
        cursor.execute(WRITE)
        cursor.execute(RECORD, {"run": run, "at": moment})
    return changes


def make_room(cursor: Any, lines: Sequence[str]) -> None:
    """Make the partitions that sorted lines of COPY need, if the table is partitioned by time."""
    layout.make_room(cursor, *days_of(lines))


def days_of(lines: Sequence[str]) -> tuple[date, date]:
    """Return the first and the last day of sorted lines of COPY, each of which begins with its day."""
    first, last = (date.fromisoformat(line[:10]) for line in (lines[0], lines[-1]))
    return first, last


def _each(database: Database, slices: list[Range], work: Callable[[Any, Range], T]) -> Iterator[T]:
    """Yield what ``work`` returns for each slice, which it reads in a transaction of its own."""

    def reading(cursor: Any, days: Range) -> T:
        arrivals.hold(cursor)
        return work(cursor, days)

    for piece in slices:
        yield database.run(partial(reading, days=piece))


def stored_days(database: Database, symbols: list[str], chunks: Chunks) -> dict[str, set[date]]:
    """Return the days of which rows of symbols are stored, for symbols with any."""

    def work(cursor: Any, days: Range) -> list[tuple[str, list[date]]]:
        cursor.execute(
            "SELECT symbol, array_agg((time AT TIME ZONE 'UTC')::date)"
            " FROM market_data WHERE symbol = ANY (%s) AND time BETWEEN %s AND %s GROUP BY symbol",
            (symbols, midnight(days.first), midnight(days.last)),
        )
        return list(cursor.fetchall())

    found: dict[str, set[date]] = {}
    for rows in _each(database, chunks.slices(chunks.stored or ALL), work):
        for symbol, some in rows:
            found.setdefault(symbol, set()).update(some)
    return found


def read(
    database: Database, symbol: str, days: Range, columns: Sequence[str], chunks: Chunks
) -> dict[date, tuple[Decimal, ...]]:
    """Return by day the values of a symbol's ``columns``, in their order, as they are stored."""

    def work(cursor: Any, days: Range) -> list[Any]:
        cursor.execute(
            f"SELECT (time AT TIME ZONE 'UTC')::date, {', '.join(f'{name}::numeric' for name in columns)}"  # noqa: S608
            " FROM market_data WHERE symbol = %s AND time BETWEEN %s AND %s",
            (symbol, midnight(days.first), midnight(days.last)),
        )
        return list(cursor.fetchall())

    pieces = _each(database, chunks.slices(days), work)
    return {day: tuple(values) for rows in pieces for day, *values in rows}


def count_stored(
    database: Database, wanted: Sequence[tuple[str, Range, Range]], chunks: Chunks
) -> dict[str, tuple[int, int]]:
    """Count the stored rows of symbols in two ranges each, in one pass over the table.

    Args:
        database: any connection will do.
        wanted: symbol, and the two ranges.
        chunks: how the table is cut.

    Returns:
        dict: the two counts, for symbols with any row in either.
    """
    if not wanted:
        return {}
    ranges = list(dict.fromkeys(days for _, *both in wanted for days in both))
    statement, values, picked = (_by_range if len(ranges) <= RANGES else _by_symbol)(wanted, ranges)

    def work(cursor: Any, days: Range) -> list[tuple[Any, ...]]:
        cursor.execute(statement, {**values, "first": midnight(days.first), "last": midnight(days.last)})
        return list(cursor.fetchall())

    reach = ranges[0]
    for days in ranges:
        reach = reach.hull(days)
    sums: dict[str, list[int]] = {}
    for rows in _each(database, chunks.slices(reach), work):
        for symbol, *more in rows:
            sums[symbol] = [a + b for a, b in zip(sums.get(symbol, [0] * len(more)), more)]
    counts = {symbol: (sums[symbol][a], sums[symbol][b]) for symbol, a, b in picked if symbol in sums}
    return {symbol: both for symbol, both in counts.items() if any(both)}


# What counts: a statement, its values, and by symbol the places of its two counts in a row.
_Counting = tuple[str, dict[str, Any], list[tuple[str, int, int]]]


def _by_range(wanted: Sequence[tuple[str, Range, Range]], ranges: Sequence[Range]) -> _Counting:
    """Count in ranges that many symbols share; the form that TimescaleDB answers out of compressed rows."""
    columns = ", ".join(
        f"count(*) FILTER (WHERE time BETWEEN %(first{n})s AND %(last{n})s)" for n in range(len(ranges))
    )
    values: dict[str, Any] = {f"first{n}": midnight(days.first) for n, days in enumerate(ranges)}
    values.update({f"last{n}": midnight(days.last) for n, days in enumerate(ranges)})
    values["symbols"] = [symbol for symbol, _, _ in wanted]
    statement = f"SELECT symbol, {columns} FROM market_data WHERE time BETWEEN %(first)s AND %(last)s"  # noqa: S608
    if len(wanted) <= tables.NAMED:
        statement += " AND symbol = ANY (%(symbols)s)"
    places = {days: n for n, days in enumerate(ranges)}
    return (
        f"{statement} GROUP BY symbol",
        values,
        [(symbol, places[one], places[other]) for symbol, one, other in wanted],
    )


def _by_symbol(wanted: Sequence[tuple[str, Range, Range]], _: Sequence[Range]) -> _Counting:
    """Count in ranges that each symbol has for itself."""
    values: dict[str, Any] = {
        "symbols": [symbol for symbol, _, _ in wanted],
        "a1": [midnight(one.first) for _, one, _ in wanted],
        "a2": [midnight(one.last) for _, one, _ in wanted],
        "b1": [midnight(other.first) for _, _, other in wanted],
        "b2": [midnight(other.last) for _, _, other in wanted],
    }
    statement = (
        "SELECT m.symbol, count(*) FILTER (WHERE m.time BETWEEN k.a1 AND k.a2),"
        " count(*) FILTER (WHERE m.time BETWEEN k.b1 AND k.b2)"
        " FROM market_data m JOIN unnest(%(symbols)s, %(a1)s, %(a2)s, %(b1)s, %(b2)s)"
        " AS k (symbol, a1, a2, b1, b2) USING (symbol)"
        " WHERE m.time BETWEEN %(first)s AND %(last)s GROUP BY m.symbol"
    )
    return statement, values, [(symbol, 0, 1) for symbol, _, _ in wanted]
