"""What the page shows of a database, read in one read-only session with time-outs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any, Callable

from ansible.module_utils.audit import coverage
from ansible.module_utils.audit.coverage import Asked, Markets, Summary, Window
from ansible.module_utils.database.connection import Server, connect, driver, within
from ansible.module_utils.database.errors import TimedOut, Unreachable, explain

LOCK_TIMEOUT = 1.0
# Where the whole window takes too long, so many months are looked at instead.
SHORT = 3
RUNS = 10

# One pass over the bars: the days of each symbol and month as a mask, and from those the symbols and the months.
_SUMMARY = """
WITH cell AS (
  SELECT symbol, (extract(year FROM day) * 12 + extract(month FROM day))::int AS month, count(*) AS bars,
         bit_or(1::bigint << extract(day FROM day)::int) AS days
  FROM (SELECT symbol, time AT TIME ZONE 'UTC' AS day FROM market_data WHERE time >= %s AND time < %s) AS bar
  GROUP BY 1, 2
)
SELECT symbol, array_agg(month ORDER BY month), array_agg(days ORDER BY month), NULL::int, NULL::bigint, NULL::bigint
FROM cell GROUP BY symbol
UNION ALL
SELECT NULL, NULL, NULL, month, sum(bars)::bigint, count(*) FROM cell GROUP BY month
"""


def look(
    server: Server,
    of: Asked,
    today: date,
    months: int,
    limit: int,
    timeout: float,
    query_timeout: float,
) -> dict[str, Any]:
    """Return ``database`` (which one it is), ``coverage``, ``ledger``, and ``notes`` on what could not be had.

    Args:
        server: where to.
        of: see ``coverage.by_suffix``.
        today: the last day looked at.
        months: how many are looked at.
        limit: how many symbols are drawn one by one.
        timeout: seconds for the connection.
        query_timeout: seconds for all questions together; one has at most half of it.
    """
    url = server.masked_url()
    result: dict[str, Any] = {
        "database": url, "identity": url, "coverage": None, "ledger": None, "notes": [],
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

    def work() -> None:
        with session.cursor() as cursor:
            result["identity"] = _identity(cursor) or url
            result["ledger"] = _tried(result, "The ledger", server, lambda: ledger(cursor))
            for count in (months, SHORT):
                window = Window.of(count, today)
                read = partial(_map, cursor, of, window, limit)
                found = _tried(result, f"The map of {count} months", server, read)
                result["coverage"] = found
                if found is not None or count <= SHORT:
                    break

    try:
        within(query_timeout + LOCK_TIMEOUT, work)
    except TimedOut:
        # Not closed: that would wait for the statement that hangs. It ends with this process.
        result["notes"].append(explain(TimedOut(), server))
        return dict(result)
    session.close()
    return result


def _tried(result: dict[str, Any], what: str, server: Server, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except driver().Error as error:
        result["notes"].append(f"{what} could not be read in time or at all. {explain(error, server)}")
        return None


def _identity(cursor: Any) -> str | None:
    """Return what tells this database from all others, whatever name a host has for its server."""
    try:
        cursor.execute("SELECT system_identifier || '/' || current_database() FROM pg_control_system()")
    except driver().Error:
        return None  # not everybody may ask
    return str(cursor.fetchone()[0])


def _there(cursor: Any, table: str) -> bool:
    cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (table,))
    return bool(cursor.fetchone()[0])


def _map(cursor: Any, of: Asked, window: Window, limit: int) -> dict[str, Any] | None:
    if not _there(cursor, "market_data"):
        return None
    markets = Markets(of, window)
    summary = _summary(cursor, window, markets)
    return coverage.picture(summary, markets, lambda symbols: _days(cursor, symbols, window), window, limit)


def _bounds(window: Window) -> tuple[str, str]:
    """Midnight UTC at both ends: a daily bar's time is midnight UTC of its date."""
    return f"{window.first} 00:00+00", f"{window.last} 23:59:59.999999+00"


def _summary(cursor: Any, window: Window, markets: Markets) -> Summary:
    active: list[str] = []
    if _there(cursor, "assets"):
        cursor.execute("SELECT symbol FROM assets WHERE is_active")
        active = [row[0] for row in cursor]
    cursor.execute(_SUMMARY, _bounds(window))
    found = cursor.fetchall()
    by_key = {coverage.month_key(month): month for month in window.months}
    return coverage.gathered(
        (row[:3] for row in found if row[0] is not None),
        [(by_key[row[3]], row[4], row[5]) for row in found if row[0] is None],
        active,
        markets,
    )


def _days(cursor: Any, symbols: Sequence[str], window: Window) -> Mapping[str, Sequence[date]]:
    cursor.execute(
        "SELECT symbol, array_agg(DISTINCT (time AT TIME ZONE 'UTC')::date) FROM market_data"
        " WHERE symbol = ANY (%s) AND time >= %s AND time < %s GROUP BY symbol",
        (list(symbols), *_bounds(window)),
    )
    return dict(cursor.fetchall())


def ledger(cursor: Any) -> list[dict[str, Any]] | None:
    """Return the last runs of the backfill, the newest first; None where there is no ledger."""
    if not _there(cursor, "backfill_run"):
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
