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
from ansible.module_utils.eodhd import migrations
from ansible.module_utils.eodhd.api import Reply
from ansible.module_utils.eodhd.client import LEASE_LIFE
from ansible.module_utils.eodhd.days import Range, one_day
from ansible.module_utils.eodhd.model import SymbolEntry
from ansible.module_utils.eodhd.store.database import Database
from ansible.module_utils.eodhd.store.parser import UNTRADED
from ansible.module_utils.markets import names
from ansible.module_utils.text import plural

# What follows the last dot of the column symbol; before PostgreSQL 14, split_part cannot count from the end.
SUFFIX = "reverse(split_part(reverse(symbol), '.', 1))"


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


class Ledger:
    """Reads and writes the ledger, from any thread.

    Args:
        database: its connection holds the run's lock.
        account: identifies the account without revealing the token.

    Attributes:
        claims: of this connection.
        has_leftovers: whether killed runs left answers in the database, when last looked for.
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

    def _read(self, statement: str, values: Sequence[Any]) -> list[Any]:
        """Return the rows of a statement; none if there is no ledger yet, of this or an older version.

        Raises:
            Problem: the ledger is newer than this code.
        """

        def work(cursor: Any) -> list[Any]:
            if not self._found:  # one that was found is not looked for again
                migrations.version(cursor)
                self._found = there(cursor, "backfill_coverage")
                if not self._found:
                    return []
            cursor.execute("SELECT EXISTS (SELECT 1 FROM backfill_answer)")
            self.has_leftovers = cursor.fetchone()[0]
            cursor.execute(statement, values)
            return list(cursor.fetchall())

        return self._database.run(work)

    def entries(self, symbols: Sequence[str]) -> dict[str, SymbolEntry]:
        """Return the entries of ``symbols``; none if there is no ledger yet.

        Call it after a claim, when the previous holder has ended: it also looks for leftovers.
        """
        rows = self._read(
            "SELECT symbol, first_day, last_day, outcome, rows, fetched, restated, message"
            " FROM backfill_coverage WHERE symbol = ANY (%s)",
            (list(symbols),),
        )
        return {symbol: SymbolEntry(Range(first, last), *rest) for symbol, first, last, *rest in rows}

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
        self.claims.claim([f"run {run}"])  # once more, so that a new connection claims it again
        return run

    def end(self, run: int, state: str, totals: Mapping[str, Any], message: str) -> None:
        """Close a run."""
        self._database.execute(
            "UPDATE backfill_run SET state = %s, finished = now(), totals = %s, message = %s WHERE run = %s",
            (state, json.dumps(totals), message, run),
        )

    def leftover(self, name: str, hours: float) -> Reply | None:
        """Return the answer of that name that a killed run left in the last ``hours``, if there is one."""
        if not self.has_leftovers:
            return None
        rows = self._database.execute(
            "SELECT status, body FROM backfill_answer WHERE name = %s AND received > now() - %s * interval '1 hour'",
            (name, hours),
        )
        return Reply(rows[0][0], bytes(rows[0][1])) if rows else None

    def drop_leftovers(self, names: Sequence[str]) -> None:
        """Drop what killed runs left of these answers."""
        if self.has_leftovers:
            self._database.execute("DELETE FROM backfill_answer WHERE name = ANY (%s)", (list(names),))

    def ranking(self, exchange: str, days: int) -> list[str] | None:
        """Return the exchange's symbols by turnover, if they were ranked in the last ``days`` days."""
        rows = self._read(
            "SELECT symbols FROM backfill_ranking WHERE exchange = %s AND fetched > now() - %s * interval '1 day'",
            (exchange, days),
        )
        return list(rows[0][0]) if rows else None

    def delisted(self, suffix: str) -> list[str]:
        """Return the delisted symbols with a suffix, as mode ``register`` loaded them."""
        rows = self._read(
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
                (self._account, 60 + LEASE_LIFE),
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


def sessions(
    cursor: Any, exchanges: Sequence[str], since: date, today: date
) -> tuple[dict[str, dict[date, SymbolEntry]], int]:
    """Return the known sessions of exchanges since a day, and the calls spent on settling on the provider's ``today``.

    The newest session of each exchange is included, however old it is.
    """
    found: dict[str, dict[date, SymbolEntry]] = {exchange: {} for exchange in exchanges}
    if not there(cursor, "backfill_session"):
        return found, 0
    cursor.execute(
        f"SELECT {SUFFIX}, day, count(*) FROM backfill_set_aside"  # noqa: S608 - a constant
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
    cursor.execute(
        "SELECT coalesce(sum(o.calls), 0) FROM backfill_outcome o JOIN backfill_session s"
        " ON o.symbol = 'daily ' || s.exchange || ' ' || s.day AND s.arrived < o.fetched"
        " WHERE o.fetched >= %s AND o.symbol LIKE 'daily %%'",
        (f"{today} 00:00+00",),
    )
    return found, int(cursor.fetchone()[0])


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


def restated(cursor: Any, exchanges: Iterable[str]) -> list[str]:
    """Return the symbols with the exchanges' suffixes that are marked as restated; none without a ledger."""
    if not there(cursor, "backfill_coverage"):
        return []
    cursor.execute(
        f"SELECT symbol FROM backfill_coverage WHERE restated AND {SUFFIX} = ANY (%s) ORDER BY symbol",  # noqa: S608 - a constant
        ([names.suffix_of(exchange) for exchange in exchanges],),
    )
    return [symbol for (symbol,) in cursor.fetchall()]
