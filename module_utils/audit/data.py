"""The page's data from a database, read in one read-only session with timeouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, Callable

from ansible.module_utils.audit import coverage, snapshots
from ansible.module_utils.coverage import survey
from ansible.module_utils.coverage.expected import Markets, Window
from ansible.module_utils.database.connection import connect, driver, within
from ansible.module_utils.database.errors import TimedOut, Unreachable, explain
from ansible.module_utils.database.server import Server
from ansible.module_utils.database.tables import there

LOCK_TIMEOUT = 1.0
# Months that are read first, and shown alone if the whole window takes too long.
SHORT = 3
RUNS = 10


def look(
    server: Server, markets: Markets, limit: int, timeout: float, query_timeout: float
) -> dict[str, Any]:
    """Return ``identity``, ``database``, ``coverage``, ``ledger``, ``snapshots``, and ``notes`` on what is missing.

    The map shows the window of ``markets`` and lists ``limit`` symbols. All queries share ``query_timeout`` seconds,
    and each may take half of that.
    """
    url = server.masked_url()
    result: dict[str, Any] = {
        "database": url, "identity": url, "coverage": None, "ledger": None, "snapshots": [], "notes": [],
    }  # fmt: skip
    try:
        session = connect(
            server,
            timeout,
            read_only=True,
            statement_timeout=query_timeout / 2,
            lock_timeout=LOCK_TIMEOUT,
            application_name="ansible-audit",
        )
    except Unreachable as error:
        result["notes"].append(explain(error, server))
        return result
    session.autocommit = True

    def tried(what: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except driver().Error as error:
            result["notes"].append(f"{what} could not be read. {explain(error, server)}")
            return None

    def work() -> None:
        result["snapshots"] = None  # until they are read
        with session.cursor() as cursor:
            result["identity"] = _identity(cursor) or url
            result["ledger"] = tried("The ledger", lambda: ledger(cursor))
            result["coverage"] = _map(cursor, markets, limit, tried)
            result["snapshots"] = tried("The snapshots", lambda: snapshots.read(cursor))

    try:
        within(query_timeout + LOCK_TIMEOUT, work)
    except TimedOut:
        # Not closed, because that would wait for the statement that hangs. It ends with this process.
        result["notes"].append(explain(TimedOut(), server))
        return dict(result)
    session.close()
    return result


def _identity(cursor: Any) -> str | None:
    """Return an identifier of the database that does not depend on the server's name; None if it may not be read."""
    try:
        cursor.execute("SELECT system_identifier || '/' || current_database() FROM pg_control_system()")
    except driver().Error:
        return None
    return str(cursor.fetchone()[0])


def _map(
    cursor: Any, markets: Markets, limit: int, tried: Callable[[str, Callable[[], Any]], Any]
) -> dict[str, Any] | None:
    if not there(cursor, "market_data"):
        return None
    tables = survey.Tables(["market_data"], ["assets"] if there(cursor, "assets") else None)
    whole, months = markets.window, len(markets.window.months)
    recent = Window.of(min(months, SHORT), whole.last)
    parts = [recent, Window(whole.first, recent.first - timedelta(days=1))] if whole != recent else [whole]
    what = f"The map of {months} months"
    found = survey.look(lambda work: tried(what, lambda: work(cursor)), tables, markets, parts, by_month=True)
    if found is None:
        return None
    shown = replace(markets, window=Window(found.since, whole.last))

    def days(symbols: Sequence[str]) -> dict[str, list[date]]:
        return tried("The map by day", lambda: survey.days(cursor, tables.bars, symbols, shown.window)) or {}

    return coverage.picture(found, shown, days, limit)


def ledger(cursor: Any) -> list[dict[str, Any]] | None:
    """Return the last backfill runs, newest first; None if there is no ledger."""
    if not there(cursor, "backfill_run"):
        return None
    cursor.execute(
        "SELECT run, mode, state, to_char(started AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"
        " round(extract(epoch FROM finished - started)::numeric, 1)::float8, totals, message"
        " FROM backfill_run ORDER BY run DESC LIMIT %s",
        (RUNS,),
    )
    kept = ("symbols", "loaded", "calls", "downloaded", "inserted", "updated", "unchanged", "set_aside")
    return [
        {
            "run": run, "mode": mode, "state": state, "started": started, "seconds": seconds,
            "totals": {name: (totals or {}).get(name) for name in kept}, "message": message or "",
        }
        for run, mode, state, started, seconds, totals, message in cursor.fetchall()
    ]  # fmt: skip
