"""When rows came or changed: what reading the past as it was rests on, besides the old values.

A range names symbols and days of which, when it was written, the table had no rows but those that came just then, or
that were revised just then. The last range over a row of the first sort is therefore when the row came.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ansible.module_utils.database import compression

# Any number will do that nobody else uses. Whoever reads or stores holds it shared, a snapshot alone.
LOCK = 0x736E617073686F74
# Symbols in one piece of a list: looking up one of a whole exchange's then reads few others.
PIECE = 250
# Rows of one sort that follow each other without another row in between are one range. To be run before the rows are
# written. Most symbols have changes of one day only, and need no look at what is there.
MERGED = """
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
CAME = """
INSERT INTO backfill_arrival (symbols, first_symbol, last_symbol, first_day, last_day, arrived, run)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""


def begin(cursor: Any) -> datetime:
    """Return the moment that counts for what a transaction stores; no snapshot is made until its end.

    Where TimescaleDB compresses symbols together, nobody else reads or stores until then: a change decompresses rows of
    others, and whose statement was planned before it does not see them (TimescaleDB's issue 10487).
    """
    _wait(cursor, alone=compression.mingled(cursor))
    cursor.execute("SELECT clock_timestamp()")
    moment: datetime = cursor.fetchone()[0]
    return moment


def hold(cursor: Any) -> None:
    """Let no change that would hide rows from the reader be made until the end of a transaction."""
    _wait(cursor, alone=False)


def _wait(cursor: Any, *, alone: bool) -> None:
    """Take the lock. All others may come before, so that the wait has no bound, unlike that for other locks."""
    cursor.execute(
        f"SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock{'' if alone else '_shared'}({LOCK});"
        " SET LOCAL lock_timeout TO DEFAULT"
    )


def merged(cursor: Any, run: int, moment: datetime, values: Mapping[str, Any]) -> None:
    """Note the rows of ``backfill_changed``, before they are written; ``values`` are those of ``bars.COMPARE``."""
    cursor.execute(MERGED, {**values, "run": run, "at": moment, "piece": PIECE})


def came(cursor: Any, run: int, moment: datetime, lines: Mapping[str, Sequence[str]]) -> None:
    """Note rows that came where the table had none; ``lines`` by symbol, each sorted and beginning with its day."""
    ranges: dict[tuple[str, str], list[str]] = defaultdict(list)
    for symbol, some in sorted(lines.items()):
        if some:
            ranges[some[0][:10], some[-1][:10]].append(symbol)
    for (first, last), symbols in ranges.items():
        for at in range(0, len(symbols), PIECE):
            piece = symbols[at : at + PIECE]
            cursor.execute(CAME, (piece, piece[0], piece[-1], first, last, moment, run))
