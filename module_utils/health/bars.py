"""The helpers of all checks on bars, and the short checks.

All queries of these checks share ``health_query_timeout``.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Callable

from ansible.module_utils.database.connection import driver, explain
from ansible.module_utils.database.tables import BARS, PRICES, look_up, misfits
from ansible.module_utils.eodhd.store import chunks
from ansible.module_utils.health.model import BACKFILL, LOCK_TIMEOUT, Finding, Host, Wanted, limit
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import plural

# The most symbols that a message names, and that a command lists; more come from a file.
NAMED = 3
LISTED = 20
# Digits that EODHD sends: crypto has 8 decimals, and some prices are in the millions.
DECIMALS, WHOLE = 8, 7
# The most rows set aside that are read; the message then says "at least".
MANY = 100_000


def readable(host: Host, name: str) -> Wanted | None:
    """Return the table of this name if ``health_tables`` lists it and it could be read."""
    found = (table for table in host.tables if table.parts[-1] == name and table.name in host.counts)
    return next(found, None)


def filled(host: Host, name: str) -> Wanted | None:
    """Return the table if it can be read and is not empty; only the check ``tables`` reports an empty one."""
    table = readable(host, name)
    return table if table and host.counts[table.name].rows != 0 else None


def query(host: Host, table: Wanted, work: Callable[[Any], Any]) -> Any:
    """Return what ``work`` reads from a cursor; None if the time is up.

    Raises:
        Problem: a column or a privilege is missing.
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

    return host.bounded(read, max(0.0, deadline - time.monotonic()) + LOCK_TIMEOUT)


def query_or_raise(host: Host, table: Wanted, what: str, work: Callable[[Any], Any]) -> Any:
    """Return what ``work`` reads, like ``query``, but raise ``too_slow`` if the time is up."""
    found = query(host, table, work)
    if found is None:
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


_SET_ASIDE = """
SELECT count(*), count(DISTINCT symbol), (array_agg(DISTINCT symbol))[1:%s], mode() WITHIN GROUP (ORDER BY reason),
  min(day), max(day)
FROM (SELECT symbol, day, reason FROM backfill_set_aside
  WHERE resolved IS NULL AND reason NOT LIKE ALL (%s) AND symbol NOT LIKE '%% %%' LIMIT %s) AS row
"""
# Bars of symbols that were not traded. EODHD has no price for them, so there is nothing to fix.
_UNTRADED = ["untraded%", "all prices are zero"]


def _may_read(cursor: Any, table: Wanted) -> bool:
    """Return whether a table of the ledger exists and may be read."""
    cursor.execute("SELECT coalesce(has_table_privilege(to_regclass(%s), 'SELECT'), false)", (table.name,))
    return bool(cursor.fetchone()[0])


def check_basis(host: Host) -> Iterator[Finding]:
    """No bar has the basis from before a restatement because EODHD no longer sends it."""
    table = Wanted("backfill_old_basis")

    def read(cursor: Any) -> list[str]:
        if not _may_read(cursor, table):
            return []
        cursor.execute("SELECT symbol FROM backfill_old_basis WHERE resolved IS NULL ORDER BY symbol")
        return [symbol for (symbol,) in cursor.fetchall()]

    symbols = query_or_raise(host, table, "bars on an old basis", read)
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
    table = Wanted("backfill_set_aside")

    def read(cursor: Any) -> Any:
        if not _may_read(cursor, table):
            return 0, 0, [], None, None, None
        cursor.execute(_SET_ASIDE, (LISTED + 1, _UNTRADED, MANY))
        return cursor.fetchone()

    found = query_or_raise(host, table, "bars set aside", read)
    rows, symbols, examples, reason, first, last = found
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
        query_or_raise(host, table, "PostgreSQL's locks", chunks.look)
        yield Finding("locks", "ok", "PostgreSQL has enough locks for the backfill")


def check_precision(host: Host) -> Iterator[Finding]:
    """The columns hold every digit that EODHD sends."""
    table = readable(host, "market_data")
    if table is None:
        return

    def read(cursor: Any) -> Finding:
        from psycopg2 import sql

        name = sql.Identifier(*table.parts).as_string(cursor)
        found = look_up(cursor, replace(BARS, name=name))
        if found and (wrong := misfits(BARS, found)):
            return Finding(
                "precision",
                "warn",
                f"The backfill refuses {table.name}: {'; '.join(wrong)}. Alter the table.",
            )
        return judge_precision(table, found.types if found else {})

    yield query_or_raise(host, table, f"the columns of {table.name}", read)


def judge_precision(table: Wanted, types: Mapping[str, str]) -> Finding:
    """Return the finding for these types of the columns."""
    narrow = {name: types[name] for name in PRICES if _narrow(types.get(name, ""))}
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


def _narrow(type_name: str) -> bool:
    found = re.fullmatch(r"numeric\((\d+),(-?\d+)\)", type_name)
    return found is not None and (int(found[2]) < DECIMALS or int(found[1]) - int(found[2]) < WHOLE)
