"""When rows first came: what reading the past as it was rests on, besides the revisions.

A range names symbols and days of which, when it was written, the table had no rows but those that came just then. The
last range over a row is therefore when the row came.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# Any number will do that nobody else uses. Whoever stores holds it shared, a snapshot alone.
LOCK = 0x736E617073686F74
# Inserted rows that follow each other without an older one in between are one range. To be run before the rows are
# written. Most symbols get one new day, and need no look at what is there.
MERGED = """
WITH span AS (
  SELECT symbol, min(time) AS a, max(time) AS z FROM backfill_changed WHERE NOT known GROUP BY symbol
), old AS (
  SELECT m.symbol, m.time FROM market_data m JOIN span s ON s.symbol = m.symbol AND m.time BETWEEN s.a AND s.z
  WHERE s.a < s.z AND m.time BETWEEN %(first)s AND %(last)s AND m.symbol = ANY (%(symbols)s)
), placed AS (
  SELECT symbol, time, fresh, count(*) FILTER (WHERE NOT fresh) OVER (PARTITION BY symbol ORDER BY time) AS island
  FROM (SELECT symbol, time, true AS fresh FROM backfill_changed WHERE NOT known
        UNION ALL SELECT symbol, time, false FROM old) AS row
), ranges AS (
  SELECT symbol, (min(time) AT TIME ZONE 'UTC')::date AS first_day, (max(time) AT TIME ZONE 'UTC')::date AS last_day
  FROM placed WHERE fresh GROUP BY symbol, island
)
INSERT INTO backfill_arrival (symbols, first_day, last_day, arrived, run)
SELECT array_agg(symbol ORDER BY symbol), first_day, last_day, %(at)s, %(run)s FROM ranges GROUP BY first_day, last_day
"""


@dataclass(frozen=True)
class Moment:
    """When a transaction stores; ``kept`` is false if the ledger is too old to keep arrivals."""

    at: datetime
    kept: bool


def begin(cursor: Any) -> Moment:
    """Return the moment that counts for what a transaction stores; no snapshot is made until its end."""
    cursor.execute(
        "SELECT pg_advisory_xact_lock_shared(%s), clock_timestamp(), to_regclass('backfill_arrival') IS NOT NULL",
        (LOCK,),
    )
    _, at, kept = cursor.fetchone()
    return Moment(at, kept)


def merged(cursor: Any, run: int, moment: Moment, values: Mapping[str, Any]) -> None:
    """Note the rows of ``backfill_changed`` that are new, before they are written.

    Args:
        cursor: in a transaction that the caller commits.
        run: the run's number.
        moment: from ``begin``.
        values: the bounds of ``store.COMPARE``.
    """
    if moment.kept:
        cursor.execute(MERGED, {**values, "run": run, "at": moment.at})


def came(cursor: Any, run: int, moment: Moment, lines: Mapping[str, Sequence[str]]) -> None:
    """Note rows that came where the table had none; ``lines`` by symbol, each sorted and beginning with its day."""
    ranges: dict[tuple[str, str], list[str]] = defaultdict(list)
    for symbol, some in lines.items():
        if not some:
            continue
        ranges[some[0][:10], some[-1][:10]].append(symbol)
    for (first, last), symbols in ranges.items():
        cursor.execute(
            "INSERT INTO backfill_arrival (symbols, first_day, last_day, arrived, run) VALUES (%s, %s, %s, %s, %s)",
            (sorted(symbols), first, last, moment.at, run),
        )
