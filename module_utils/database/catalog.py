"""What the server's catalogs say about a table: about how many rows it holds, and whether TimescaleDB compresses them.

Like the planner, an estimate multiplies the pages by the rows per page at the last ANALYZE. For compressed chunks, it
uses the row counts that TimescaleDB recorded when it compressed them; for Citus, the statistics of the shards on the
workers.
"""

from __future__ import annotations

import json
from typing import Any

from ansible.module_utils.database.tables import there

# Measured for market_data: about 100 bytes a row.
BARS_PER_PAGE = 80
# The share of the pages that may lack statistics.
TOLERATED = 0.1
_BLOCK = "current_setting('block_size')::int"
_TREE = """
WITH RECURSIVE tree(oid) AS (
  SELECT %(oid)s::oid UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid
)"""
# A partition without statistics is assumed to have as many rows a page as the others.
_PAGES = f"""
{_TREE}, leaf AS (
  SELECT c.reltuples AS rows, c.relpages AS seen, pg_relation_size(c.oid) / {_BLOCK} AS pages,
    c.reltuples >= 0 AND c.relpages > 0 AS known
  FROM pg_class c JOIN tree USING (oid) WHERE c.relkind IN ('r', 'm') AND c.oid <> ALL (%(packed)s::oid[])
), usual AS (
  SELECT coalesce(sum(rows) / nullif(sum(seen), 0), %(density)s) AS density FROM leaf WHERE known
)
SELECT coalesce(sum(pages * CASE WHEN known THEN rows / seen ELSE density END), 0),
  coalesce(sum(pages) FILTER (WHERE NOT known) > sum(pages) * %(tolerated)s, false)
FROM leaf, usual WHERE pages > 0
"""  # noqa: S608 - constants
_HAS = """
SELECT to_regclass('_timescaledb_catalog.compression_chunk_size') IS NOT NULL
  AND EXISTS (SELECT 1 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE i.inhparent = %(oid)s AND n.nspname = '_timescaledb_internal'),
  to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL
"""
# Rows changed since the compression are in the chunk itself, and their batches are gone from its compressed part. After
# the next compression, only dead rows are in the chunk, and the old statistics of the compressed part are wrong.
_PARTIAL = "c.status & 8 = 8"
_COMPRESSED = f"""
SELECT sum(s.numrows_pre_compression * CASE WHEN {_PARTIAL} AND part.reltuples >= 0 AND s.numrows_post_compression > 0
  THEN least(1, part.reltuples / s.numrows_post_compression) ELSE 1 END),
  array_agg(format('%%I.%%I', c.schema_name, c.table_name)::regclass::oid) FILTER (WHERE NOT {_PARTIAL})
FROM _timescaledb_catalog.hypertable h
JOIN _timescaledb_catalog.chunk c ON c.hypertable_id = h.id
JOIN _timescaledb_catalog.compression_chunk_size s ON s.chunk_id = c.id
JOIN _timescaledb_catalog.chunk p ON p.id = c.compressed_chunk_id
JOIN pg_namespace n ON n.nspname = p.schema_name
JOIN pg_class part ON part.relname = p.table_name AND part.relnamespace = n.oid
WHERE format('%%I.%%I', h.schema_name, h.table_name)::regclass = %(oid)s
"""  # noqa: S608 - constants
# Each node reports the shards that no node with a lower number has as well, so that each shard counts once.
_SHARDS = f"""
{_TREE}
SELECT success, result FROM tree JOIN pg_dist_partition d ON d.logicalrelid = tree.oid
CROSS JOIN LATERAL run_command_on_all_nodes(format($$
  SELECT json_build_array(count(*), count(rows), coalesce(sum(rows), 0)) FROM (
    SELECT CASE WHEN pg_relation_size(c.oid) = 0 THEN 0 WHEN relpages > 0
      THEN reltuples / relpages * (pg_relation_size(c.oid) / {_BLOCK}) END AS rows
    FROM pg_dist_shard s JOIN pg_class c ON c.oid = to_regclass(shard_name(s.logicalrelid, s.shardid))
    WHERE s.logicalrelid = %%L::regclass AND (SELECT groupid FROM pg_dist_local_group)
      = (SELECT min(groupid) FROM pg_dist_placement p WHERE p.shardid = s.shardid)
  ) AS shard
$$, d.logicalrelid))
"""  # noqa: S608 - constants


def estimate(cursor: Any, oid: int) -> int | None:
    """Return about how many rows a table, partitioned table or hypertable holds; None if the server does not know."""
    asked: dict[str, Any] = {"oid": oid, "density": None, "tolerated": TOLERATED, "packed": []}
    cursor.execute(_HAS, asked)
    chunks, citus = cursor.fetchone()
    if citus:
        cursor.execute(_SHARDS, asked)
        nodes = cursor.fetchall()
        if nodes:
            if not all(success for success, _ in nodes):
                return None
            shards, known, rows = map(sum, zip(*(json.loads(result) for _, result in nodes)))
            return round(rows * shards / known) if known > shards * (1 - TOLERATED) else None
    compressed = 0
    if chunks:
        cursor.execute(_COMPRESSED, asked)
        compressed, packed = cursor.fetchone()
        # Few rows are not compressed, so missing statistics for them do not matter.
        if compressed:
            asked.update(density=BARS_PER_PAGE, tolerated=1, packed=packed or [])
    cursor.execute(_PAGES, asked)
    rows, unknown = cursor.fetchone()
    return None if unknown else round(float(compressed or 0) + rows)


def compressed(cursor: Any, table: str) -> bool:
    """Return whether TimescaleDB compresses a table. Unlike ``layout.recognise``, it waits for no other lock."""
    if not there(cursor, "timescaledb_information.hypertables"):
        return False
    cursor.execute(
        "SELECT coalesce(bool_or(compression_enabled), false) FROM timescaledb_information.hypertables"
        " WHERE to_regclass(format('%%I.%%I', hypertable_schema, hypertable_name)) = to_regclass(%s)",
        (table,),
    )
    return bool(cursor.fetchone()[0])
