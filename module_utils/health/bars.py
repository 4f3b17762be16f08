"""The checks that read tables: rows, columns, and what the backfill recorded. Checks on bars share ``query``."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Callable

from ansible.module_utils.database.catalog import compressed, estimate
from ansible.module_utils.database.connection import driver, explain, meaning
from ansible.module_utils.database.tables import BARS, PRICES, look_up, misfits
from ansible.module_utils.eodhd.store import chunks
from ansible.module_utils.health.model import BACKFILL, LOCK_TIMEOUT, Count, Finding, Host, Wanted
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import plural

# The most symbols that a message names, and that a command lists; more come from a file.
NAMED = 3
LISTED = 20
# Digits that EODHD sends: crypto has 8 decimals, and some prices are in the millions.
DECIMALS, WHOLE = 8, 7
# The most rows set aside that are read; the message then says "at least".
MANY = 100_000
# About how many seconds PostgreSQL takes to cancel a statement that ran out of time.
_CANCEL_SECONDS = 0.02
_HOLDERS = """
SELECT string_agg(DISTINCT pid::text, ', ') FROM pg_locks
WHERE relation = to_regclass(%s) AND mode = 'AccessExclusiveLock' AND granted
"""


def limit(cursor: Any, deadline: float) -> None:
    """Limit the next statement to the time left until ``deadline``, a monotonic time."""
    seconds = deadline - time.monotonic()
    left = max(1, round((seconds - min(_CANCEL_SECONDS, seconds / 10)) * 1000))
    lock = max(1, min(round(LOCK_TIMEOUT * 1000), left // 2))
    cursor.execute("SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false)",
                   (str(left), str(lock)))  # fmt: skip


def check_tables(host: Host) -> Iterator[Finding]:
    """Every table exists, can be read, and has enough rows."""
    # The server enforces the timeouts; the extra second detects a server that stops answering.
    findings: list[Finding] = host.bounded(lambda: list(_count_tables(host)), host.query_timeout + 1)
    yield from findings


def _count_tables(host: Host) -> Iterator[Finding]:
    deadline = time.monotonic() + host.query_timeout
    estimates: dict[Wanted, int | None] = {}
    with host.session.cursor() as cursor:
        for table in host.tables:
            try:
                limit(cursor, deadline)
                estimates[table] = _estimate(cursor, table)
            except Problem as problem:
                yield Finding("tables", "fail", str(problem))
            except driver().Error as error:
                if host.session.closed:
                    raise
                yield Finding("tables", "fail", _table_problem(error, table, host, cursor))
        # The smallest first, so that a table that takes all the time does not cost the others their count.
        counts = {
            table: _count(cursor, table, about, host.count, deadline)
            for table, about in sorted(estimates.items(), key=lambda item: item[1] or 0)
        }
    for table in estimates:
        host.counts[table.name] = counts[table]
        yield judge(table, counts[table], host.count, host.query_timeout)


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
    from psycopg2 import sql

    assert host.server is not None
    kind = meaning(error)
    if kind == "locked":
        cursor.execute(_HOLDERS, (sql.Identifier(*table.parts).as_string(cursor),))
        (pids,) = cursor.fetchone()
        return (
            f"Table {table.name} is locked by another session{f' (pid {pids})' if pids else ''}."
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


# --- bars ---------------------------------------------------------------------------------------------------


def readable(host: Host, name: str) -> Wanted | None:
    """Return the table of this name if ``health_tables`` lists it and it could be read."""
    return next((t for t in host.tables if t.parts[-1] == name and t.name in host.counts), None)


def filled(host: Host, name: str) -> Wanted | None:
    """Return the table if it can be read and is not empty; only the check ``tables`` reports an empty one."""
    table = readable(host, name)
    return table if table and host.counts[table.name].rows != 0 else None


def query(host: Host, table: Wanted, work: Callable[[Any], Any], what: str = "") -> Any:
    """Return what ``work`` reads from a cursor; None if the time is up.

    Raises:
        Problem: a column or a privilege is missing, or the time for the check of ``what`` is up.
        Unreachable: the server stopped answering or closed the connection.
    """
    deadline = host.deadline = host.deadline or time.monotonic() + host.query_timeout
    errors = driver().errors

    def read() -> Any:
        if time.monotonic() >= deadline:
            return None
        try:
            with host.session.cursor() as cursor:
                limit(cursor, deadline)
                return work(cursor)
        except (errors.QueryCanceled, errors.LockNotAvailable):
            return None
        except (errors.UndefinedColumn, errors.UndefinedFunction, errors.DatatypeMismatch):
            raise Problem(
                f"{table.name} does not have the columns that the application needs."
                " Run `ansible-playbook playbooks/reset.yml --tags database`, which names the differences."
            ) from None
        except driver().Error as error:
            if host.session.closed or host.server is None:
                raise
            raise Problem(f"Table {table.name}: {explain(error, host.server)}") from None

    found = host.bounded(read, max(0.0, deadline - time.monotonic()) + LOCK_TIMEOUT)
    if found is None and what:
        raise too_slow(host, what)
    return found


def too_slow(host: Host, what: str) -> Problem:
    """Return the warning that a check ran out of time."""
    text = f"The check of {what} did not finish within {host.query_timeout:g} s. Raise health_query_timeout."
    return Problem(text, level="warn")


def load_command(symbols: Sequence[str], first: date | None = None, last: date | None = None) -> str:
    """Return the command that loads these symbols, limited to the given days."""
    some = json.dumps({"backfill_symbols": list(symbols)}) if len(symbols) <= LISTED else ""
    which = f"-e '{some}'" if some else "-e backfill_symbols=FILE"
    days = [f" -e backfill_{name}={day}" for name, day in (("from", first), ("to", last)) if day]
    return f"{BACKFILL} {which}" + "".join(days)


def shortened(texts: Sequence[str], count: int) -> str:
    """Return the first ``NAMED`` texts, with an ellipsis if ``count`` is higher."""
    return ", ".join(texts[:NAMED]) + (", …" if count > min(len(texts), NAMED) else "")


_OLD_BASIS = "SELECT symbol FROM backfill_old_basis WHERE resolved IS NULL ORDER BY symbol"
_SET_ASIDE = """
SELECT count(*), count(DISTINCT symbol), (array_agg(DISTINCT symbol))[1:%s], mode() WITHIN GROUP (ORDER BY reason),
  min(day), max(day)
FROM (SELECT symbol, day, reason FROM backfill_set_aside
  WHERE resolved IS NULL AND reason NOT LIKE ALL (%s) AND symbol NOT LIKE '%% %%' LIMIT %s) AS row
"""
# Bars of symbols that were not traded. EODHD has no price for them, so there is nothing to fix.
_UNTRADED = ["untraded%", "all prices are zero"]


def _ledger(host: Host, name: str, what: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Return the rows that a statement reads from a table of the ledger; none if it is missing or not readable."""

    def read(cursor: Any) -> Any:
        cursor.execute("SELECT coalesce(has_table_privilege(to_regclass(%s), 'SELECT'), false)", (name,))
        if not cursor.fetchone()[0]:
            return []
        cursor.execute(statement, values)
        return cursor.fetchall()

    found: list[tuple[Any, ...]] = query(host, Wanted(name), read, what)
    return found


def check_basis(host: Host) -> Iterator[Finding]:
    """No bar has the basis from before a restatement because EODHD no longer sends it."""
    rows = _ledger(host, "backfill_old_basis", "bars on an old basis", _OLD_BASIS)
    symbols = [symbol for (symbol,) in rows]
    if not symbols:
        yield Finding("basis", "ok", "all bars of each symbol are on one basis")
        return
    yield Finding(
        "basis",
        "warn",
        f"Older bars of {plural(len(symbols), 'symbol')} ({shortened(symbols, len(symbols))}) still have the basis"
        " from before a split or dividend, because EODHD no longer sends them. backfill_old_basis lists them."
        " Delete them and load the symbol again with -e backfill_force=true, or do not mix them with later bars.",
    )


def check_set_aside(host: Host) -> Iterator[Finding]:
    """No bar that the backfill set aside is unresolved."""
    values = LISTED + 1, _UNTRADED, MANY
    found = _ledger(host, "backfill_set_aside", "bars set aside", _SET_ASIDE, *values)
    rows, symbols, examples, reason, first, last = found[0] if found else (0, 0, [], None, None, None)
    host.measures["bars_set_aside"] = rows
    level = host.level("set_aside", rows)
    text = f"{plural(rows, 'bar')} set aside" if rows else "the backfill has set no bar aside"
    if level != "ok":
        least = "At least " if rows == MANY else ""
        text = (
            f"{least}{plural(rows, 'bar')} of {plural(symbols, 'symbol')} ({shortened(examples, symbols)})"
            f" {'was' if rows == 1 else 'were'} set aside. The most frequent reason: {reason}. See the rows of"
            " backfill_set_aside in which resolved is null, fix the cause, and load the bars again with"
            f" `{load_command(examples, first, last)} -e backfill_force=true`."
        )
    yield Finding("set_aside", level, text)


def check_locks(host: Host) -> Iterator[Finding]:
    """The server has enough locks for the chunks or partitions that one transaction touches."""
    table = readable(host, "market_data")
    if table:
        query(host, table, chunks.look, "PostgreSQL's locks")
        yield Finding("locks", "ok", "PostgreSQL has enough locks for the backfill")


def check_precision(host: Host) -> Iterator[Finding]:
    """The columns hold every digit that EODHD sends."""
    table = readable(host, "market_data")
    if table is None:
        return

    def read(cursor: Any) -> Finding:
        from psycopg2 import sql

        name = sql.Identifier(*table.parts).as_string(cursor)
        found = look_up(cursor, BARS._replace(name=name))
        if found and (wrong := misfits(BARS, found)):
            return Finding(
                "precision",
                "warn",
                f"The backfill refuses {table.name}: {'; '.join(wrong)}. Alter the table.",
            )
        return judge_precision(table, found.types if found else {})

    yield query(host, table, read, f"the columns of {table.name}")


def judge_precision(table: Wanted, types: Mapping[str, str]) -> Finding:
    """Return the finding for these types of the columns."""
    narrow = {}
    for name in PRICES:
        found = re.fullmatch(r"numeric\((\d+),(-?\d+)\)", types.get(name, ""))
        if found and (int(found[2]) < DECIMALS or int(found[1]) - int(found[2]) < WHOLE):
            narrow[name] = types[name]
    # EODHD sends volumes with fractions even for stocks.
    if types.get("volume") in ("integer", "bigint"):
        narrow["volume"] = types["volume"]
    if not narrow:
        return Finding("precision", "ok", f"the columns of {table.name} hold every digit")
    kinds = sorted(set(narrow.values()))
    columns = "; ".join(f"{', '.join(n for n in narrow if narrow[n] == kind)}: {kind}" for kind in kinds)
    return Finding(
        "precision",
        "warn",
        f"{table.name} has columns that are too narrow for what EODHD sends: {columns}. Bars that do not fit,"
        " such as those with 8 decimals or a fraction in the volume, are set aside. Set"
        " database_widen: true and run `ansible-playbook playbooks/reset.yml --tags database`.",
    )
