"""How ``market_data`` is split by time, and how many chunks one transaction may touch.

Each chunk of TimescaleDB and each partition of PostgreSQL needs locks, and the server's lock table is limited. Work on
a longer range is therefore done in slices, each in its own transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from ansible.module_utils.database.tables import mingled, there
from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.reporting import Problem

# One transaction may fill one part in this many of the server's lock table, because two storing connections, other
# workers and a health check need locks at the same time.
SHARE = 8
# Further locks of a chunk that a transaction creates, about: constraints, the TOAST table and its index.
CREATED = 4


@dataclass(frozen=True)
class Chunks:
    """How a table is split by time.

    Attributes:
        stored: the days that its chunks cover; None if it has no chunks.
        days: per chunk, at least 1.
        most: chunks that one transaction may touch.
        mingled: whether symbols are compressed together, so that stores run alone; see ``bars.merge``.
        retention: how long the retention policy keeps bars; None if there is none.
        retained_from: the first day that the policy does not drop.
    """

    stored: Range | None = None
    days: int = 1
    most: int = 1
    mingled: bool = False
    retention: str | None = None
    retained_from: date | None = None

    def slices(self, days: Range) -> list[Range]:
        """Split days into consecutive ranges that each touch at most ``most`` chunks."""
        if self.stored is None:
            return [days]
        # A range as long as n chunks touches up to n + 1 of them.
        step = self.days * (self.most - 1)
        starts = [days.first + timedelta(days=number) for number in range(0, days.days, step)]
        return [Range(first, min(days.last, first + timedelta(days=step - 1))) for first in starts]


# Only the lower bounds of partitions are read; their format is the same in every version.
_PARTITIONS = """
SELECT count(*), min(day), max(day)
FROM (SELECT (substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \\(''([^'']+)''')::timestamptz
    AT TIME ZONE 'UTC')::date AS day
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
  WHERE i.inhparent = to_regclass('market_data') AND c.relispartition) AS part
"""
_HYPERTABLE = """
SELECT coalesce((min(c.range_start) AT TIME ZONE 'UTC')::date, current_date),
  coalesce((max(c.range_end) AT TIME ZONE 'UTC')::date, current_date),
  extract(epoch FROM d.time_interval) / 86400, h.compression_enabled, keep::text,
  ((now() - keep) AT TIME ZONE 'UTC')::date + 1
FROM timescaledb_information.dimensions d
JOIN timescaledb_information.hypertables h USING (hypertable_schema, hypertable_name)
LEFT JOIN timescaledb_information.chunks c USING (hypertable_schema, hypertable_name)
LEFT JOIN (SELECT hypertable_schema, hypertable_name, (config->>'drop_after')::interval AS keep
  FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention' AND scheduled) AS policy
  USING (hypertable_schema, hypertable_name)
WHERE format('%I.%I', hypertable_schema, hypertable_name)::regclass = to_regclass('market_data')
  AND d.dimension_number = 1
GROUP BY d.time_interval, h.compression_enabled, keep
"""
_ROOM = """
SELECT current_setting('max_locks_per_transaction')::int,
  current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int,
  (SELECT count(*) FROM pg_index WHERE indrelid = to_regclass('market_data'))
"""


def look(cursor: Any) -> Chunks:
    """Return how ``market_data`` is split.

    Raises:
        Problem: the server's lock table is too small for it.
    """
    found = None
    if there(cursor, "timescaledb_information.dimensions"):
        cursor.execute(_HYPERTABLE)
        found = cursor.fetchone()
    if found:
        first, last, length, compressed, *retention = found
        days = max(1, int(length))
    else:
        cursor.execute(_PARTITIONS)
        count, first, last = cursor.fetchone()
        if count < 2 or first is None:
            return Chunks()
        days = max(1, (last - first).days // (count - 1))
        last += timedelta(days=days - 1)
        compressed, retention = False, []
    cursor.execute(_ROOM)
    setting, sessions, indexes = cursor.fetchone()
    locks = (1 + indexes) * (2 if compressed else 1) + CREATED
    most = setting * sessions // SHARE // locks
    if most < 2:
        raise Problem(
            f"PostgreSQL's lock table is too small for market_data: max_locks_per_transaction is {setting}, but a"
            f" transaction that touches two of its chunks needs {-(-2 * locks * SHARE // sessions)}. Set"
            " max_locks_per_transaction to that in postgresql.conf and restart the server."
        )
    return Chunks(Range(first, last), days, most, mingled(cursor), *retention)
