"""The check of the tables: do they exist, may they be read, and how many rows do they have."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.database.catalog import compressed, estimate
from ansible.module_utils.database.connection import driver, explain, meaning
from ansible.module_utils.health.model import BACKFILL, Count, Finding, Host, Wanted, limit
from ansible.module_utils.reporting import Problem


def check_tables(host: Host) -> Iterator[Finding]:
    """Every table exists, can be read, and has enough rows."""
    # The server enforces the timeouts; the extra second detects a server that stops answering.
    findings: list[Finding] = host.bounded(lambda: list(_count_tables(host)), host.query_timeout + 1)
    yield from findings


def _count_tables(host: Host) -> Iterator[Finding]:
    deadline = time.monotonic() + host.query_timeout
    estimates: dict[str, int | None] = {}
    with host.session.cursor() as cursor:
        for table in host.tables:
            try:
                limit(cursor, deadline)
                estimates[table.name] = _estimate(cursor, table)
            except Problem as problem:
                yield Finding("tables", "fail", str(problem))
            except driver().Error as error:
                if host.session.closed:
                    raise
                yield Finding("tables", "fail", _table_problem(error, table, host, cursor))
        # The smallest first, so that a table that takes all the time does not cost the others their count.
        known = [table for table in host.tables if table.name in estimates]
        counts = {
            table.name: _count(cursor, table, estimates[table.name], host.count, deadline)
            for table in sorted(known, key=lambda table: estimates[table.name] or 0)
        }
    for table in known:
        host.counts[table.name] = counts[table.name]
        yield judge(table, counts[table.name], host.count, host.query_timeout)


def judge(table: Wanted, count: Count, mode: str, query_timeout: float) -> Finding:
    """Return the finding for a count."""
    name, level, text = table.name, "ok", f"{table.name}: {count.text()}"
    if count.rows is None:
        level = "fail" if mode == "exact" or table.min_rows else "warn"
        late = f"{name} could not be counted within {query_timeout:g} s"
        text = {
            "exact": f"{late}. Raise health_query_timeout, or set health_count to auto.",
            "auto": f"{late}, and was never analysed. Raise health_query_timeout, or run ANALYZE {name}.",
            "estimate": f"{name} was never analysed, so it has no estimate. Run ANALYZE {name}, or set health_count to"
            " auto.",
        }[mode]
    elif count.rows < table.min_rows:
        level = "fail"
        text = (
            f"{name} has {count.text()}, but health_tables asks for at least {table.min_rows:,}. Fill it with"
            f" `{BACKFILL}`."
        )
    elif count.rows == 0:
        level, text = "warn", f"{name} is empty. Fill it with `{BACKFILL}`."
    return Finding("tables", level, text)


def _estimate(cursor: Any, table: Wanted) -> int | None:
    """Return the planner's number of rows, 0 for an empty table, None if it was never analysed.

    Raises:
        Problem: the table is missing.
        psycopg2.Error: the table is locked, or may not be read.
    """
    from psycopg2 import sql

    name = sql.Identifier(*table.parts)
    cursor.execute("SELECT to_regclass(%s)::oid", (name.as_string(cursor),))
    (oid,) = cursor.fetchone()
    if oid is None:
        raise Problem(
            f"Table {table.name} is missing. Create it with `ansible-playbook playbooks/reset.yml --tags"
            " database`, or remove it from health_tables."
        )
    # Detects locks and missing privileges without reading a row, which would plan each of the table's chunks.
    cursor.execute(sql.SQL("SELECT 1 FROM {} WHERE false").format(name))
    about = estimate(cursor, oid)
    if about:
        return about
    # An estimate of 0 is wrong if the table has a row.
    cursor.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(name))
    return None if cursor.fetchone() else 0


def _count(cursor: Any, table: Wanted, about: int | None, mode: str, deadline: float) -> Count:
    """Return the number of rows of a readable table."""
    from psycopg2 import errors, sql

    if mode == "estimate":
        return Count(about, estimated=bool(about))
    name = sql.Identifier(*table.parts)
    try:
        limit(cursor, deadline)
        # A single process counts compressed rows from each batch's metadata; parallel workers decompress them.
        packed = compressed(cursor, name.as_string(cursor))
        alone = sql.SQL("SET LOCAL max_parallel_workers_per_gather = 0;" if packed else "")
        cursor.execute(sql.SQL("{} SELECT count(*) FROM {}").format(alone, name))
        return Count(int(cursor.fetchone()[0]))
    except (errors.QueryCanceled, errors.LockNotAvailable, errors.OutOfMemory):
        return Count(about if mode == "auto" else None, estimated=mode == "auto" and about is not None)


def _table_problem(error: Exception, table: Wanted, host: Host, cursor: Any) -> str:
    assert host.server is not None
    kind = meaning(error)
    if kind == "locked":
        return (
            f"Table {table.name} is locked by another session{_holders(cursor, table)}."
            " Wait for it, or end it with pg_terminate_backend. pg_stat_activity shows what it is doing."
        )
    if kind == "rights":
        return (
            f"User {host.server.user} may not read table {table.name}. Let an administrator run:"
            f' GRANT SELECT ON {table.name} TO "{host.server.user}";'
        )
    if kind == "slow":
        return (
            f"Table {table.name} returned no row within {host.query_timeout:g} s. Run VACUUM {table.name} in"
            " the database, or raise health_query_timeout."
        )
    text: str = explain(error, host.server)
    return f"Table {table.name}: {text}"


def _holders(cursor: Any, table: Wanted) -> str:
    from psycopg2 import sql

    cursor.execute(
        "SELECT string_agg(DISTINCT pid::text, ', ') FROM pg_locks"
        " WHERE relation = to_regclass(%s) AND mode = 'AccessExclusiveLock' AND granted",
        (sql.Identifier(*table.parts).as_string(cursor),),
    )
    (pids,) = cursor.fetchone()
    return f" (pid {pids})" if pids else ""
