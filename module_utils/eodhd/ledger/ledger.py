"""The ledger: runs, answers, claims, and the account's request rate.

Its tables are in the same database as the data, so that all hosts that load into it share them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ansible.module_utils.database.tables import there
from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.eodhd.ledger import migrations
from ansible.module_utils.eodhd.ledger.claims import Claims, key
from ansible.module_utils.eodhd.model import SymbolEntry
from ansible.module_utils.eodhd.service import budget
from ansible.module_utils.eodhd.store.database import Database

WINDOW = budget.WINDOW + budget.LEASE_LIFE


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
