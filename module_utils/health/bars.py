"""What all checks of the bars share, and the short ones of them.

All questions together have ``health_query_timeout``.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, Callable

from ansible.module_utils.database.connection import driver
from ansible.module_utils.database.errors import explain
from ansible.module_utils.database.tables import PRICES
from ansible.module_utils.eodhd.store import chunks
from ansible.module_utils.health.model import (
    BACKFILL,
    LOCK_TIMEOUT,
    Finding,
    Host,
    Wanted,
    limit,
)
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import plural

# How many symbols one message names, and one command; more come from a file.
NAMED = 3
LISTED = 20
# What the provider sends: crypto has 8 decimals, and prices of millions are seen.
DECIMALS, WHOLE = 8, 7
# Rows set aside that are looked at; more are "at least".
MANY = 100_000


def readable(host: Host, name: str) -> Wanted | None:
    """Return the table of this name among those of ``health_tables`` that could be read."""
    found = (table for table in host.tables if table.parts[-1] == name and table.name in host.counts)
    return next(found, None)


def filled(host: Host, name: str) -> Wanted | None:
    """Return the table if it can be read and is not empty; an empty one is told by the check of tables alone."""
    table = readable(host, name)
    return table if table and host.counts[table.name].rows != 0 else None


def ask(host: Host, table: Wanted, work: Callable[[Any], Any]) -> Any:
    """Return what ``work`` reads from a cursor; None if the time is over.

    Raises:
        Problem: a column is missing, or a right.
        Unreachable: the server fell silent or away.
    """
    if host.deadline is None:
        host.deadline = time.monotonic() + host.query_timeout
    deadline = host.deadline

    def read() -> Any:
        errors = driver().errors
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
                f"{table.name} does not have the columns of the application."
                " `ansible-playbook playbooks/reset.yml --tags database` names what does not fit."
            ) from None
        except driver().Error as error:
            if host.session.closed or host.server is None:
                raise
            raise Problem(f"Table {table.name}: {explain(error, host.server)}") from None

    return host.bounded(read, max(0.0, deadline - time.monotonic()) + LOCK_TIMEOUT)


def too_slow(host: Host, check: str, what: str) -> Finding:
    """Say that the time was over."""
    return Finding(
        check,
        "warn",
        f"{what} could not be told within {host.query_timeout:g} s. Raise health_query_timeout.",
    )


def load(symbols: Sequence[str], first: date | None = None, last: date | None = None) -> str:
    """Return the command that loads some symbols, from a day and to a day if those are given."""
    some = json.dumps({"backfill_symbols": list(symbols)}) if len(symbols) <= LISTED else ""
    which = f"-e '{some}'" if some else "-e backfill_symbols=FILE"
    days = [f" -e backfill_{name}={day}" for name, day in (("from", first), ("to", last)) if day]
    return f"{BACKFILL} {which}" + "".join(days)


def named(texts: Sequence[str], count: int) -> str:
    """Return a list of which the first ones are shown."""
    return ", ".join(texts[:NAMED]) + (", …" if count > min(len(texts), NAMED) else "")


_SET_ASIDE = """
SELECT count(*), count(DISTINCT symbol), (array_agg(DISTINCT symbol))[1:%s], mode() WITHIN GROUP (ORDER BY reason),
  min(day), max(day)
FROM (SELECT symbol, day, reason FROM backfill_set_aside
  WHERE resolved IS NULL AND reason NOT LIKE ALL (%s) AND symbol NOT LIKE '%% %%' LIMIT %s) AS row
"""
# Bars of names that were not traded. The provider has no price for them, so there is nothing to fix.
_UNTRADED = ["untraded%", "all prices are zero"]


def check_basis(host: Host) -> Iterator[Finding]:
    """No bar has kept the basis from before a restatement, because the provider sends it no more."""

    def read(cursor: Any) -> Any:
        cursor.execute(
            "SELECT coalesce(has_table_privilege(to_regclass('backfill_old_basis'), 'SELECT'), false)"
        )
        if not cursor.fetchone()[0]:
            return []
        cursor.execute("SELECT symbol FROM backfill_old_basis WHERE resolved IS NULL ORDER BY symbol")
        return [symbol for (symbol,) in cursor.fetchall()]

    symbols = ask(host, Wanted("backfill_old_basis"), read)
    if symbols is None:
        yield too_slow(host, "basis", "Whether bars are on an old basis")
    elif symbols:
        yield Finding(
            "basis",
            "warn",
            f"older bars of {plural(len(symbols), 'symbol')} ({named(symbols[:NAMED], len(symbols))}) keep the"
            " basis from before a split or dividend: see backfill_old_basis. EODHD sends them no more."
            " Delete them and load the symbol again with -e backfill_force=true, or do not mix them with later ones.",
        )
    else:
        yield Finding("basis", "ok", "all bars of a symbol are on one basis")


def check_set_aside(host: Host) -> Iterator[Finding]:
    """The backfill has set no bar aside that nobody has resolved."""
    table = Wanted("backfill_set_aside")

    def read(cursor: Any) -> Any:
        cursor.execute(
            "SELECT to_regclass('backfill_set_aside') IS NOT NULL"
            " AND coalesce(has_table_privilege(to_regclass('backfill_set_aside'), 'SELECT'), false)"
        )
        if not cursor.fetchone()[0]:
            return (0,)
        cursor.execute(_SET_ASIDE, (LISTED + 1, _UNTRADED, MANY))
        return cursor.fetchone()

    found = ask(host, table, read)
    if found is None:
        yield too_slow(host, "set_aside", "How many bars the backfill set aside")
        return
    rows = found[0]
    host.measures["bars_set_aside"] = rows
    level = host.limits.level("set_aside", rows)
    if level == "ok":
        text = "the backfill has set no bar aside" if not rows else f"{plural(rows, 'bar')} set aside"
        yield Finding("set_aside", "ok", text)
        return
    _, symbols, examples, reason, first, last = found
    least = "At least " if rows == MANY else ""
    yield Finding(
        "set_aside",
        level,
        f"{least}{plural(rows, 'bar')} of {plural(symbols, 'symbol')} ({named(examples, symbols)})"
        f" {'was' if rows == 1 else 'were'} set aside, mostly: {reason}. See the rows of backfill_set_aside"
        f" whose resolved is null, fix the cause, and load them again with `{load(examples, first, last)}"
        " -e backfill_force=true`.",
    )


def check_locks(host: Host) -> Iterator[Finding]:
    """The server has locks enough for the chunks or partitions that one transaction touches."""
    table = readable(host, "market_data")
    if table is None:
        return
    if ask(host, table, chunks.look) is None:
        yield too_slow(host, "locks", "Whether PostgreSQL has locks enough for the backfill")
    else:
        yield Finding("locks", "ok", "PostgreSQL has locks enough for the backfill")


_TYPES = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
"""


def check_precision(host: Host) -> Iterator[Finding]:
    """The columns hold every digit that the provider sends."""
    table = readable(host, "market_data")
    if table is None:
        return

    def read(cursor: Any) -> Any:
        from psycopg2 import sql

        cursor.execute(_TYPES, (sql.Identifier(*table.parts).as_string(cursor),))
        return dict(cursor.fetchall())

    types = ask(host, table, read)
    if types is None:
        yield too_slow(host, "precision", f"What the columns of {table.name} hold")
        return
    yield judge_precision(table, types)


def judge_precision(table: Wanted, types: dict[str, str]) -> Finding:
    """Decide what the types of the columns mean."""
    narrow = {name: types[name] for name in PRICES if _narrow(types.get(name, ""))}
    # Real files of stocks have volumes with fractions too.
    if types.get("volume") in ("integer", "bigint"):
        narrow["volume"] = types["volume"]
    if not narrow:
        return Finding("precision", "ok", f"the columns of {table.name} hold every digit")
    kinds = sorted(set(narrow.values()))
    columns = "; ".join(f"{', '.join(n for n in narrow if narrow[n] == kind)}: {kind}" for kind in kinds)
    return Finding(
        "precision",
        "warn",
        f"{table.name} has columns that are too narrow for what the provider sends: {columns}. Bars that do not fit,"
        " such as those with 8 decimals or a fraction in the volume, are set aside. Set"
        " database_widen: true and run `ansible-playbook playbooks/reset.yml --tags database`.",
    )


def _narrow(type_name: str) -> bool:
    found = re.fullmatch(r"numeric\((\d+),(-?\d+)\)", type_name)
    return found is not None and (int(found[2]) < DECIMALS or int(found[1]) - int(found[2]) < WHOLE)
