"""Writes rows of ``market_data``: by COPY, or after a comparison with the stored rows, which writes only changes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from ansible.module_utils.database import layout
from ansible.module_utils.database.tables import FIGURES
from ansible.module_utils.eodhd.days import midnight
from ansible.module_utils.eodhd.store import arrivals
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import plural

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
# The explicit bounds and symbols limit TimescaleDB's plan to the chunks concerned, and reach the workers of Citus.
COMPARE = f"""
INSERT INTO backfill_changed (time, symbol, {_VALUES}, known, {_OLD})
SELECT s.time, s.symbol, {", ".join(f"s.{name}" for name in FIGURES)}, m.time IS NOT NULL,
  {", ".join(f"m.{name}" for name in FIGURES)}
FROM backfill_stage s LEFT JOIN market_data m ON m.time = s.time AND m.symbol = s.symbol
  AND m.time BETWEEN %(first)s AND %(last)s AND m.symbol = ANY (%(symbols)s)
WHERE m.time IS NULL OR ({", ".join(f"m.{name}" for name in FIGURES)})
  IS DISTINCT FROM ({", ".join(f"s.{name}" for name in FIGURES)})
"""  # noqa: S608 - our own names
# A history was restated if the factor from close to adjusted close changed. If the close changed, too, the factor may
# differ by the rounding of four decimals.
SUMMARY = """
SELECT c.symbol, count(*) FILTER (WHERE NOT c.known), count(*) FILTER (WHERE c.known),
  coalesce(bool_or(c.known AND (
    CASE WHEN c.close = c.old_close THEN c.old_adjusted_close IS DISTINCT FROM c.adjusted_close
    ELSE abs(c.old_adjusted_close * c.close - c.adjusted_close * c.old_close) > 0.0001 * abs(c.close + c.old_close) END
    OR (c.old_volume IS DISTINCT FROM c.volume AND c.time < k.settled))), false)
FROM backfill_changed c JOIN unnest(%(symbols)s, %(settled)s) AS k (symbol, settled) USING (symbol)
GROUP BY c.symbol
"""
# ON CONFLICT is for rows that another session inserted meanwhile.
WRITE = f"""
INSERT INTO market_data AS m (time, symbol, {_VALUES})
SELECT time, symbol, {_VALUES} FROM backfill_changed ORDER BY time, symbol
ON CONFLICT (time, symbol) DO UPDATE SET {", ".join(f"{name} = EXCLUDED.{name}" for name in FIGURES)}
WHERE ({", ".join(f"m.{name}" for name in FIGURES)})
  IS DISTINCT FROM ({", ".join(f"EXCLUDED.{name}" for name in FIGURES)})
"""  # noqa: S608 - our own names
# Rows that the table still lacks, unless another session wrote them.
LOST = f"""
SELECT count(*) FROM backfill_changed c LEFT JOIN market_data m ON m.time = c.time AND m.symbol = c.symbol
  AND m.time BETWEEN %(first)s AND %(last)s AND m.symbol = ANY (%(symbols)s)
WHERE m.time IS NULL OR ({", ".join(f"m.{name}" for name in FIGURES)})
  IS NOT DISTINCT FROM ({", ".join(f"c.old_{name}" for name in FIGURES)})
"""  # noqa: S608 - our own names
RECORD = f"""
INSERT INTO backfill_revision (run, symbol, day, {_OLD}, {", ".join(f"new_{name}" for name in FIGURES)}, found)
SELECT %(run)s, symbol, (time AT TIME ZONE 'UTC')::date, {_OLD}, {_VALUES}, %(at)s
FROM backfill_changed WHERE known ORDER BY time, symbol
"""  # noqa: S608 - our own names


@dataclass
class Change:
    """What a store changed of one symbol.

    Attributes:
        inserted, updated: rows.
        restated: whether stored rows had another adjustment basis (splits and dividends).
    """

    inserted: int = 0
    updated: int = 0
    restated: bool = False

    def add(self, other: Change) -> None:
        """Add the change by another slice of the same answer."""
        self.inserted += other.inserted
        self.updated += other.updated
        self.restated |= other.restated


def copy(cursor: Any, table: str, lines: Sequence[str]) -> None:
    """COPY rows of prices into a table; sort them, because key order halves the work on the index."""
    copy_into(cursor, COPY.format(table), lines)


def require_stored(cursor: Any, lost: int) -> None:
    """Raise ``Problem`` if the table did not take some rows."""
    if not lost:
        return
    cursor.execute(
        "SELECT string_agg(tgname, ', ' ORDER BY tgname) FROM pg_trigger"
        " WHERE tgrelid = to_regclass('market_data') AND NOT tgisinternal"
    )
    triggers = cursor.fetchone()[0] or "one of a partition"
    raise Problem(
        f"market_data did not take {plural(lost, 'row')}: a trigger ({triggers}) drops them. Nothing of this batch was"
        " stored. Change or drop the trigger, then run the same command again; it pays no call twice."
    )


def copy_into(cursor: Any, statement: str, lines: Sequence[str]) -> None:
    """COPY lines in text format."""
    data = "".join(lines).encode()
    # In one piece, because the driver takes the interpreter's lock for every read.
    cursor.copy_expert(statement, io.BytesIO(data), size=max(1, len(data)))


def merge(cursor: Any, run: int, lines: Sequence[str], settled: Mapping[str, date]) -> dict[str, Change]:
    """Compare lines with the stored rows and write those that are new or differ; return the changes by symbol.

    Args:
        settled: by symbol, the day before which a changed volume means a restated history.
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
        arrivals.record_changes(cursor, run, moment, values)
        cursor.execute(WRITE)
        if cursor.rowcount < sum(change.inserted + change.updated for change in changes.values()):
            cursor.execute(LOST, values)
            require_stored(cursor, cursor.fetchone()[0])
        cursor.execute(RECORD, {"run": run, "at": moment})
    return changes


def make_room(cursor: Any, lines: Sequence[str]) -> None:
    """Create the partitions that sorted lines need, if the table is partitioned by time."""
    layout.make_room(cursor, *days_of(lines))


def days_of(lines: Sequence[str]) -> tuple[date, date]:
    """Return the first and the last day of sorted lines, which start with their day."""
    first, last = (date.fromisoformat(line[:10]) for line in (lines[0], lines[-1]))
    return first, last
