"""Layouts of ``market_data``: one table, partitions by year, a hypertable, or distributed over Citus workers.

An existing table of any layout is kept and works, with any chunks, partitions or distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from ansible.module_utils.reporting import Problem

TABLE = "market_data"
# The new table during a move; see ``move``.
NEXT = f"{TABLE}_next"
# Three years have about 755 sessions. TimescaleDB compresses up to 1,000 rows of a symbol together, but fewer rows fit
# better into PostgreSQL's pieces of 2 kB: a row took 42 bytes, against 45 with chunks of four years.
CHUNK_DAYS = 1096
COMPRESS_AFTER = 30
# An arbitrary advisory lock: only one session at a time creates partitions.
_LOCK = 0x706172746974696F


class Layout(NamedTuple):
    """The layout that is asked for, with the options of the module ``postgres_schema``."""

    kind: str = "plain"
    compress_after: int = COMPRESS_AFTER
    workers: Sequence[str] = ()

    def nodes(self) -> list[tuple[str, int]]:
        """Return host and port of each worker; raises ``Problem`` if one is invalid."""
        nodes = []
        for worker in self.workers:
            host, colon, port = str(worker).rpartition(":")
            if not (port if colon else "5432").isdigit():
                raise Problem(
                    f"postgres_citus_workers holds {worker!r}. Set each worker to host or host:port."
                )
            nodes.append((host, int(port)) if colon else (port, 5432))
        return nodes


class Existing(NamedTuple):
    """The layout of an existing table; ``text`` describes it for people."""

    kind: str
    text: str


def recognise(cursor: Any, table: str = TABLE) -> Existing:
    """Return the layout of an existing table."""
    cursor.execute(
        "SELECT c.relkind, pg_get_partkeydef(c.oid), n.nspname, c.relname,"
        " to_regclass('timescaledb_information.dimensions') IS NOT NULL, to_regclass('citus_tables') IS NOT NULL"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)",
        (table,),
    )
    kind, partition_key, schema, name, timescaledb, citus = cursor.fetchone()
    if timescaledb:
        cursor.execute(
            "SELECT d.time_interval, h.compression_enabled, h.num_chunks FROM timescaledb_information.hypertables h"
            " JOIN timescaledb_information.dimensions d USING (hypertable_schema, hypertable_name)"
            " WHERE h.hypertable_schema = %s AND h.hypertable_name = %s AND d.dimension_number = 1",
            (schema, name),
        )
        row = cursor.fetchone()
        if row:
            interval, compressed, chunks = row
            text = f"a hypertable of {chunks:,} chunks of {interval.days} days"
            return Existing("timescaledb", f"{text}, compressed" if compressed else text)
    if citus:
        cursor.execute(
            "SELECT citus_table_type, distribution_column, shard_count FROM citus_tables"
            " WHERE table_name = to_regclass(%s)",
            (table,),
        )
        row = cursor.fetchone()
        if row:
            return Existing("citus", f"a {row[0]} table by {row[1]} in {row[2]} shards")
    if kind == "p":
        return Existing("partitioned", f"partitioned by {partition_key}")
    return Existing("plain", "one plain table")


def lacks_extension(cursor: Any, kind: str) -> bool:
    """Return whether the database lacks the extension of a layout; raises ``Problem`` if the server lacks it, too."""
    if kind not in ("timescaledb", "citus"):
        return False
    cursor.execute("SELECT 1 FROM pg_extension WHERE extname = %s", (kind,))
    if cursor.fetchone():
        return False
    cursor.execute(
        "SELECT EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = %s),"
        " current_setting('shared_preload_libraries') LIKE '%%' || %s || '%%'",
        (kind, kind),
    )
    if cursor.fetchone() != (True, True):
        raise Problem(
            f"postgres_layout is {kind}, but this server does not have that extension. Install it, add it to"
            " shared_preload_libraries and restart the server, or set another postgres_layout."
        )
    return True


def create(cursor: Any, statement: str, wanted: Layout, table: str = TABLE) -> None:
    """Create a table in a layout whose extension exists; ``statement`` creates a plain table."""
    bars = table in (TABLE, NEXT)
    if bars and wanted.kind == "partitioned":
        cursor.execute(f"{statement} PARTITION BY RANGE (time)")
        create_partition_function(cursor, table)
        return
    cursor.execute(statement)
    if wanted.kind == "citus":
        # Assets are small and joined with the bars, so each worker has them all.
        place = "create_distributed_table(%s, 'symbol')" if bars else "create_reference_table(%s)"
        cursor.execute(f"SELECT {place}", (table,))
    elif bars and wanted.kind == "timescaledb":
        # No index on the time alone, because the primary key begins with it.
        cursor.execute(
            "SELECT create_hypertable(%s, 'time', chunk_time_interval => %s * interval '1 day',"
            " create_default_indexes => false)",
            (table, CHUNK_DAYS),
        )
        if wanted.compress_after:
            cursor.execute(
                f"ALTER TABLE {table} SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol',"
                " timescaledb.compress_orderby = 'time')"
            )
            cursor.execute(
                "SELECT add_compression_policy(%s, %s * interval '1 day')", (table, wanted.compress_after)
            )


# It runs with the rights of its owner, so that a loader need not own the table. ATTACH does not block others.
_PARTITION = """
CREATE OR REPLACE FUNCTION {table}_partition(name text, first timestamptz, beyond timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  EXECUTE format('CREATE TABLE %I (LIKE {table} INCLUDING DEFAULTS)', name);
  EXECUTE format('ALTER TABLE {table} ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, first, beyond);
END $$
"""


def create_partition_function(cursor: Any, table: str = TABLE) -> None:
    """Create the function that creates a partition; see ``make_room``."""
    cursor.execute(_PARTITION.format(table=table))


# The bounds of each partition; one row without any if there is no partition, and no row if time is not the key.
_BOUNDS = """
SELECT coalesce(to_char(bound[1]::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), ''),
  coalesce(to_char(bound[2]::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), '9999'), c.oid IS NOT NULL
FROM pg_partitioned_table p
LEFT JOIN pg_inherits i ON i.inhparent = p.partrelid LEFT JOIN pg_class c ON c.oid = i.inhrelid,
LATERAL regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \\((?:''(.*)''|.*)\\) TO \\((?:''(.*)''|.*)\\)') AS bound
WHERE p.partrelid = to_regclass(%s) AND p.partstrat = 'r' AND pg_get_partkeydef(p.partrelid) = 'RANGE ("time")'
ORDER BY 1
"""


def make_room(cursor: Any, first: date, last: date, table: str = TABLE) -> list[str]:
    """Create the missing partitions of a table for the years of some days; return their names.

    Call it before the transaction writes its first row.
    """
    if not missing_years(cursor, first, last, table):
        return []
    # Checked again under the lock, because another session may have created them.
    cursor.execute("SELECT pg_advisory_xact_lock(%s), to_regproc(%s) IS NULL", (_LOCK, f"{table}_partition"))
    if cursor.fetchone()[1]:
        create_partition_function(cursor, table)
    made = []
    for name, begin, beyond in missing_years(cursor, first, last, table):
        cursor.execute(f"SELECT {table}_partition(%s, %s, %s)", (name, f"{begin}+00", f"{beyond}+00"))  # noqa: S608 - a constant
        made.append(name)
    return made


def missing_years(cursor: Any, first: date, last: date, table: str) -> list[tuple[str, str, str]]:
    """Return name and bounds of each missing partition; none if the table is not partitioned by time."""
    cursor.execute(_BOUNDS, (table,))
    rows = cursor.fetchall()
    # A default partition has no bounds, so it covers all times.
    taken = [(begin, end) for begin, end, partition in rows if partition]
    return [
        (f"{table}_{year}" + (f"_{number}" if number else ""), begin, beyond)
        for year in (range(first.year, last.year + 1) if rows else ())
        for number, (begin, beyond) in enumerate(
            gaps(f"{year:04}-01-01 00:00:00", f"{year + 1:04}-01-01 00:00:00", taken)
        )
    ]


def gaps(begin: str, beyond: str, taken: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the parts of a span that ``taken`` does not cover; all times are ISO texts, and ``taken`` is sorted."""
    found = []
    for first, end in taken:
        if first > begin and first < beyond:
            found.append((begin, first))
        if first < beyond and end > begin:
            begin = end
    return [*found, (begin, beyond)] if begin < beyond else found
