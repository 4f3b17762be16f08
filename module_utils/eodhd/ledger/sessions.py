"""The sessions of whole exchanges in the ledger: their rows and times, and the calls spent on settling today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from ansible.module_utils.database.tables import there
from ansible.module_utils.eodhd.plan.daily import SessionEntry
from ansible.module_utils.eodhd.store.parser import UNTRADED
from ansible.module_utils.markets import names


def read(cursor: Any, exchanges: Sequence[str], since: date) -> dict[str, dict[date, SessionEntry]]:
    """Return the known sessions of exchanges since a day, and the newest of each exchange however old it is."""
    found: dict[str, dict[date, SessionEntry]] = {exchange: {} for exchange in exchanges}
    if there(cursor, "backfill_session"):
        cursor.execute(
            "SELECT reverse(split_part(reverse(symbol), '.', 1)), day, count(*) FROM backfill_set_aside"
            " WHERE resolved IS NULL AND day >= %s AND reason NOT LIKE %s AND symbol NOT LIKE '%% %%' GROUP BY 1, 2",
            (since, f"{UNTRADED}%"),
        )
        aside = {(of, day): count for of, day, count in cursor.fetchall()}
        cursor.execute(
            "SELECT exchange, day, rows, arrived, asked FROM backfill_session s WHERE exchange = ANY (%s)"
            " AND (day >= %s OR day = (SELECT max(day) FROM backfill_session n WHERE n.exchange = s.exchange))",
            (list(exchanges), since),
        )
        for exchange, day, rows, arrived, asked in cursor.fetchall():
            kept = aside.get((names.suffix_of(exchange), day), 0)
            found[exchange][day] = SessionEntry(day, rows, arrived, asked, kept)
    return found


def settling_calls(cursor: Any, today: date) -> int:
    """Return the calls made on the provider's day ``today`` for sessions that had arrived before."""
    if not there(cursor, "backfill_session"):
        return 0
    cursor.execute(
        "SELECT coalesce(sum(o.calls), 0) FROM backfill_outcome o JOIN backfill_session s"
        " ON o.symbol = 'daily ' || s.exchange || ' ' || s.day AND s.arrived < o.fetched"
        " WHERE o.fetched >= %s AND o.symbol LIKE 'daily %%'",
        (f"{today} 00:00+00",),
    )
    return int(cursor.fetchone()[0])


def enter(
    cursor: Any, run: int, exchange: str, rows: Mapping[date, int], corrected: int, asked: datetime
) -> None:
    """Record how many rows of each session an answer had, 0 included, and how many were ``corrected``."""
    cursor.execute(
        "INSERT INTO backfill_session AS s (exchange, day, rows, arrived, asked, corrected, run)"
        " SELECT %s, day, rows, %s, %s, %s, %s FROM unnest(%s::date[], %s::int[]) AS k (day, rows)"
        " ON CONFLICT (exchange, day) DO UPDATE SET rows = greatest(s.rows, EXCLUDED.rows),"
        " asked = EXCLUDED.asked, corrected = s.corrected + EXCLUDED.corrected, run = EXCLUDED.run",
        (exchange, asked, asked, corrected, run, list(rows), list(rows.values())),
    )


def mark_restated(cursor: Any, run: int, exchange: str, symbols: Sequence[str], asked: datetime) -> None:
    """Mark symbols whose history a session has shown to be restated, after ``enter``; all of it has to be loaded.

    For a symbol without an entry, the range is that of the exchange's sessions.
    """
    cursor.execute(
        "INSERT INTO backfill_coverage AS c"
        " (symbol, first_day, last_day, outcome, rows, fetched, restated, run, message)"
        " SELECT k.symbol, s.first_day, s.last_day, 'loaded', 0, %s, true, %s, ''"
        " FROM unnest(%s::text[]) AS k (symbol),"
        " (SELECT min(day) AS first_day, max(day) AS last_day FROM backfill_session WHERE exchange = %s) AS s"
        " ORDER BY k.symbol ON CONFLICT (symbol) DO UPDATE SET restated = true",
        (asked, run, list(symbols), exchange),
    )


def restated(cursor: Any, suffixes: Sequence[str]) -> list[str]:
    """Return the symbols with these suffixes that are marked as restated; none without a ledger."""
    if not there(cursor, "backfill_coverage"):
        return []
    cursor.execute(
        "SELECT symbol FROM backfill_coverage WHERE restated"
        " AND reverse(split_part(reverse(symbol), '.', 1)) = ANY (%s) ORDER BY symbol",
        (list(suffixes),),
    )
    return [row[0] for row in cursor.fetchall()]
