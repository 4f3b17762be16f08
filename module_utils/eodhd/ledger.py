"""The ledger: runs, answers, claims, sessions of exchanges, and the account's request rate.

Its tables are in the same database as the data, so that all hosts that load into it share them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from ansible.module_utils.database.tables import there
from ansible.module_utils.eodhd import client, migrations
from ansible.module_utils.eodhd.days import Range, one_day
from ansible.module_utils.eodhd.model import SymbolEntry
from ansible.module_utils.eodhd.store.database import Database
from ansible.module_utils.eodhd.store.parser import UNTRADED
from ansible.module_utils.markets import names
from ansible.module_utils.text import plural


def key(name: str) -> int:
    """Return the number of the advisory lock for a name."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, person=b"backfill").digest()
    return int.from_bytes(digest, "big", signed=True)


class Claims:
    """Claims that a database connection holds; they are taken again on a new connection."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: set[int] = set()
        database.opened = self._reclaim

    def hold(self, name: str) -> None:
        """Note a lock that this connection already has."""
        self._held.add(key(name))

    def claim(self, names: Iterable[str]) -> set[str]:
        """Claim names for this run and return those that no other run holds."""
        wanted = list(names)
        rows = self._database.execute(
            "SELECT name FROM unnest(%s::text[], %s::bigint[]) AS k (name, key) WHERE pg_try_advisory_lock(key)",
            (wanted, [key(name) for name in wanted]),
        )
        locked = {name for (name,) in rows}
        self._held.update(map(key, locked))
        return locked

    def release(self, names: Iterable[str]) -> None:
        """Release claims."""
        keys = [key(name) for name in names]
        self._held.difference_update(keys)
        self._database.execute("SELECT pg_advisory_unlock(key) FROM unnest(%s::bigint[]) AS key", (keys,))

    def _reclaim(self, cursor: Any) -> None:
        """Take the claims again on a new connection; those that another run got meanwhile are lost."""
        cursor.execute(
            "SELECT pg_try_advisory_lock(key) FROM unnest(%s::bigint[]) AS key", (list(self._held),)
        )


WINDOW = client.WINDOW + client.LEASE_LIFE


class Ledger:
    """Reads and writes the ledger, from any thread.

    Args:
        database: its connection holds the run's lock.
        account: identifies the account without revealing the token.

    Attributes:
        claims: of this connection.
        has_leftovers: whether killed runs left answers in the database, when last checked.
    """

    def __init__(self, database: Database, account: str) -> None:
        self._database = database
        self._account = account
        self.claims = Claims(database)
        self.has_leftovers = False
        self._found = False

    def create(self) -> None:
        """Create the tables, or migrate them to this code's version."""
        migrations.migrate(self._database.run)

    def _exists(self, cursor: Any) -> bool:
        """Whether there is a ledger, of this or an older version; one that was found is not looked for again.

        Raises:
            Problem: the ledger is newer than this code.
        """
        if not self._found:
            migrations.version(cursor)
            self._found = there(cursor, "backfill_coverage")
        return self._found

    def entries(self, symbols: Sequence[str]) -> dict[str, SymbolEntry]:
        """Return the entries of ``symbols``; none if there is no ledger yet."""

        def work(cursor: Any) -> list[Any]:
            if not self._exists(cursor):
                return []
            self.check_leftovers(cursor)
            cursor.execute(
                "SELECT symbol, first_day, last_day, outcome, rows, fetched, restated, message"
                " FROM backfill_coverage WHERE symbol = ANY (%s)",
                (list(symbols),),
            )
            return list(cursor.fetchall())

        return {
            row[0]: SymbolEntry(Range(row[1], row[2]), row[3], row[4], row[5], row[6], row[7])
            for row in self._database.run(work)
        }

    def check_leftovers(self, cursor: Any) -> None:
        """Check whether killed runs left answers. Call it after a claim, when the previous holder has ended."""
        cursor.execute("SELECT EXISTS (SELECT 1 FROM backfill_answer)")
        self.has_leftovers = cursor.fetchone()[0]

    def begin(self, mode: str, request: Mapping[str, Any], worker: str) -> int:
        """Open a run and return its number; close runs whose process is gone as ``interrupted``."""

        def work(cursor: Any) -> int:
            cursor.execute("SELECT run FROM backfill_run WHERE state = 'running'")
            open_runs = [row[0] for row in cursor.fetchall()]
            cursor.execute(
                "UPDATE backfill_run r SET state = 'interrupted', finished = now()"
                " FROM unnest(%s::bigint[], %s::bigint[]) AS k (run, key)"
                " WHERE r.run = k.run AND pg_try_advisory_xact_lock(k.key)",
                (open_runs, [key(f"run {run}") for run in open_runs]),
            )
            cursor.execute(
                "INSERT INTO backfill_run (mode, request, worker) VALUES (%s, %s, %s) RETURNING run",
                (mode, json.dumps(request), worker),
            )
            run = int(cursor.fetchone()[0])
            # In the same transaction, so that nobody sees the run without its lock.
            cursor.execute("SELECT pg_advisory_lock(%s)", (key(f"run {run}"),))
            cursor.execute("DELETE FROM backfill_lease WHERE at < now() - interval '10 minutes'")
            cursor.execute("DELETE FROM backfill_answer WHERE received < now() - interval '7 days'")
            return run

        run = self._database.run(work)
        self.claims.hold(f"run {run}")
        return run

    def end(self, run: int, state: str, totals: Mapping[str, Any], message: str) -> None:
        """Close a run."""
        self._database.execute(
            "UPDATE backfill_run SET state = %s, finished = now(), totals = %s, message = %s WHERE run = %s",
            (state, json.dumps(totals), message, run),
        )

    def leftover(self, name: str, hours: float) -> tuple[int, bytes, datetime] | None:
        """Return status, body and time of an answer that a killed run left in the last ``hours``, if there is one."""
        if not self.has_leftovers:
            return None
        rows = self._database.execute(
            "SELECT status, body, received FROM backfill_answer"
            " WHERE name = %s AND received > now() - %s * interval '1 hour'",
            (name, hours),
        )
        return next(((status, bytes(body), received) for status, body, received in rows), None)

    def delete_leftover(self, name: str) -> None:
        """Delete an answer that a killed run left."""
        self._database.execute("DELETE FROM backfill_answer WHERE name = %s", (name,))

    def _read(self, table: str, statement: str, values: Sequence[Any]) -> list[Any]:
        """Return the rows of a statement; none if the ledger has no such table yet."""

        def work(cursor: Any) -> list[Any]:
            if not (self._exists(cursor) and there(cursor, table)):
                return []
            cursor.execute(statement, values)
            return list(cursor.fetchall())

        return self._database.run(work)

    def ranking(self, exchange: str, days: int) -> list[str] | None:
        """Return the exchange's symbols by turnover, if they were ranked in the last ``days`` days."""
        rows = self._read(
            "backfill_ranking",
            "SELECT symbols FROM backfill_ranking WHERE exchange = %s AND fetched > now() - %s * interval '1 day'",
            (exchange, days),
        )
        return list(rows[0][0]) if rows else None

    def delisted(self, suffix: str) -> list[str]:
        """Return the delisted symbols with a suffix, as mode ``register`` loaded them."""
        rows = self._read(
            "backfill_listing",
            "SELECT symbol FROM backfill_listing WHERE delisted AND symbol LIKE %s ORDER BY symbol",
            (f"%.{suffix}",),
        )
        return [row[0] for row in rows]

    def keep_ranking(self, exchange: str, symbols: Sequence[str], fetched: datetime) -> None:
        """Store a ranking, so that it is not paid for again."""
        self._database.execute(
            "INSERT INTO backfill_ranking (exchange, fetched, symbols) VALUES (%s, %s, %s)"
            " ON CONFLICT (exchange) DO UPDATE SET fetched = EXCLUDED.fetched, symbols = EXCLUDED.symbols",
            (exchange, fetched, list(symbols)),
        )

    def lease(self, wanted: int, limit: int | None) -> int:
        """Return how many requests this run may send; all runs of the account stay below its limit per minute."""

        def work(cursor: Any) -> int:
            # Do not wait for the disk: a server crash loses only the leases of the last second.
            cursor.execute(
                "SET LOCAL synchronous_commit = off; SELECT pg_advisory_xact_lock(%s)",
                (key(f"account {self._account}"),),
            )
            cursor.execute(
                "SELECT coalesce(sum(requests), 0), max(minute_limit) FROM backfill_lease"
                " WHERE account = %s AND at > clock_timestamp() - %s * interval '1 second'",
                (self._account, WINDOW),
            )
            used, seen = cursor.fetchone()
            known = limit or seen
            granted = wanted if known is None else max(0, min(wanted, known - used))
            if granted:
                cursor.execute(
                    "INSERT INTO backfill_lease (account, at, requests, minute_limit)"
                    " VALUES (%s, clock_timestamp(), %s, %s)",
                    (self._account, granted, known),
                )
            return granted

        return self._database.run(work)


def sessions(cursor: Any, exchanges: Sequence[str], since: date) -> dict[str, dict[date, SymbolEntry]]:
    """Return the known sessions of exchanges since a day, and the newest of each exchange however old it is."""
    found: dict[str, dict[date, SymbolEntry]] = {exchange: {} for exchange in exchanges}
    if there(cursor, "backfill_session"):
        cursor.execute(
            "SELECT reverse(split_part(reverse(symbol), '.', 1)), day, count(*) FROM backfill_set_aside"
            " WHERE resolved IS NULL AND day >= %s AND reason NOT LIKE %s AND symbol NOT LIKE '%% %%' GROUP BY 1, 2",
            (since, f"{UNTRADED}%"),
        )
        aside = {(of, day): count for of, day, count in cursor.fetchall()}
        cursor.execute(
            "SELECT exchange, day, rows, asked FROM backfill_session s WHERE exchange = ANY (%s)"
            " AND (day >= %s OR day = (SELECT max(day) FROM backfill_session n WHERE n.exchange = s.exchange))",
            (list(exchanges), since),
        )
        for exchange, day, rows, asked in cursor.fetchall():
            outcome, message = "loaded" if rows else "empty", ""
            kept = aside.get((names.suffix_of(exchange), day))
            if kept:
                outcome, message = "set_aside", f"{plural(kept, 'row')} in backfill_set_aside"
            found[exchange][day] = SymbolEntry(one_day(day), outcome, rows, asked, message=message)
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


def enter_sessions(
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
    """Mark symbols whose history a session has shown to be restated; all of it has to be loaded.

    For a symbol without an entry, the range is that of the exchange's sessions, so call it after ``enter_sessions``.
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
