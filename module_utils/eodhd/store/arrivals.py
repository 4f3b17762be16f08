"""Records when rows arrived or were revised, so that the past can be read as it was.

A range names symbols and days. When it is written, all stored rows in it have just arrived, or have just been revised.
So a row's arrival is the last range of arrivals that includes it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ansible.module_utils.database.tables import mingled

# An arbitrary number. Readers and stores share the lock; a snapshot takes it alone.
LOCK = 0x736E617073686F74
# Symbols per piece of a list, so that looking up one symbol of a whole exchange reads few others.
PIECE = 250
# Consecutive rows of one kind, new or revised, are one range. This runs before the rows are written. Most symbols have
# changes on one day only, and need no lookup of stored rows.
RECORD_CHANGES = """
WITH span AS (
  SELECT symbol, min(time) AS a, max(time) AS z FROM backfill_changed GROUP BY symbol HAVING min(time) < max(time)
), placed AS (
  SELECT symbol, time, known AS revised FROM backfill_changed
  UNION ALL
  SELECT m.symbol, m.time, NULL FROM market_data m JOIN span s ON s.symbol = m.symbol AND m.time BETWEEN s.a AND s.z
  LEFT JOIN backfill_changed c ON c.symbol = m.symbol AND c.time = m.time
  WHERE m.time BETWEEN %(first)s AND %(last)s AND m.symbol = ANY (%(symbols)s) AND c.time IS NULL
), numbered AS (
  SELECT symbol, time, revised, row_number() OVER (PARTITION BY symbol ORDER BY time)
    - row_number() OVER (PARTITION BY symbol, revised ORDER BY time) AS island
  FROM placed
), ranges AS (
  SELECT symbol, revised, (min(time) AT TIME ZONE 'UTC')::date AS first_day,
    (max(time) AT TIME ZONE 'UTC')::date AS last_day
  FROM numbered WHERE revised IS NOT NULL GROUP BY symbol, revised, island
), pieces AS (
  SELECT *, (row_number() OVER (PARTITION BY first_day, last_day, revised ORDER BY symbol COLLATE "C") - 1)
    / %(piece)s AS piece
  FROM ranges
)
INSERT INTO backfill_arrival (symbols, first_symbol, last_symbol, first_day, last_day, arrived, run, revised)
SELECT array_agg(symbol), min(symbol COLLATE "C"), max(symbol COLLATE "C"), first_day, last_day, %(at)s, %(run)s,
  revised
FROM pieces GROUP BY first_day, last_day, revised, piece
"""
RECORD_NEW = """
INSERT INTO backfill_arrival (symbols, first_symbol, last_symbol, first_day, last_day, arrived, run)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""


def begin(cursor: Any) -> datetime:
    """Return the arrival time of the rows that a transaction stores; no snapshot is made until it ends.

    If TimescaleDB compresses symbols together, nobody else reads or stores until then: a change decompresses rows of
    other symbols, and statements that were planned before do not see them (TimescaleDB's issue 10487).
    """
    _lock(cursor, alone=mingled(cursor))
    cursor.execute("SELECT clock_timestamp()")
    moment: datetime = cursor.fetchone()[0]
    return moment


def hold(cursor: Any) -> None:
    """Prevent changes that would hide rows from a reading transaction, until it ends."""
    _lock(cursor, alone=False)


def _lock(cursor: Any, *, alone: bool) -> None:
    """Take the lock, without the usual timeout, because all other transactions may come first."""
    cursor.execute(
        f"SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock{'' if alone else '_shared'}({LOCK});"
        " SET LOCAL lock_timeout TO DEFAULT"
    )


def record_changes(cursor: Any, run: int, moment: datetime, values: Mapping[str, Any]) -> None:
    """Record the rows of ``backfill_changed``, before they are written; ``values`` are those of ``bars.COMPARE``."""
    cursor.execute(RECORD_CHANGES, {**values, "run": run, "at": moment, "piece": PIECE})


def record_new(cursor: Any, run: int, moment: datetime, lines: Mapping[str, Sequence[str]]) -> None:
    """Record rows that are new to the table; ``lines`` by symbol, sorted, each starting with its day."""
    ranges: dict[tuple[str, str], list[str]] = defaultdict(list)
    for symbol, some in sorted(lines.items()):
        if some:
            ranges[some[0][:10], some[-1][:10]].append(symbol)
    for (first, last), symbols in ranges.items():
        for at in range(0, len(symbols), PIECE):
            piece = symbols[at : at + PIECE]
            cursor.execute(RECORD_NEW, (piece, piece[0], piece[-1], first, last, moment, run))
