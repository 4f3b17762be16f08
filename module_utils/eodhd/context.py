"""What every mode of the backfill uses: the request, the tables, the ledger and the client."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Callable

from ansible.module_utils.database import tables
from ansible.module_utils.database.connection import Unreachable, driver
from ansible.module_utils.eodhd.api import Policy, Transport, account, check_clock, quota, today
from ansible.module_utils.eodhd.client import Budget, Client
from ansible.module_utils.eodhd.courier import Courier, Spool, Unusable
from ansible.module_utils.eodhd.days import Range, utc_now
from ansible.module_utils.eodhd.ledger import Claims, Ledger
from ansible.module_utils.eodhd.model import Request, SymbolEntry
from ansible.module_utils.eodhd.planning import Plan, Rules, without_dropped_days
from ansible.module_utils.eodhd.store import chunks, parser, stored
from ansible.module_utils.eodhd.store.chunks import Chunks
from ansible.module_utils.eodhd.store.database import Database, wait_for_doubtful
from ansible.module_utils.reporting import Problem

# Timeout in seconds of each count in the report; after it, the report shows only what was written.
COUNT_TIMEOUT = 10
POLICY = Policy()


class Context:
    """The parts of one run, created from a request.

    Attributes:
        clock: returns the current time in UTC.
        now, today: when the run began, and the provider's day.
        absent: whether a plan has to do without a database or its tables.
        parser: for the columns of ``market_data``, once ``look`` has read them.
        notes: of the result.
    """

    def __init__(self, request: Request, clock: Callable[[], datetime] = utc_now) -> None:
        self.request = request
        self.clock = clock
        self.now = clock()
        self.today = today(self.now)
        self.absent = False
        self.chunks = Chunks()
        self.parser = parser.Parser({})
        self.stop = threading.Event()
        self.database = Database(request.server, "backfill")
        self.ledger = Ledger(self.database, account(request.token))
        self.budget = Budget(self.stop)
        self.notes: list[str] = []
        self.claims: Claims | Courier = self.ledger.claims
        self.client = self._client(request)
        self.rules = Rules(self.now, request.fresh_hours, request.overlap_days, request.force)

    def _client(self, request: Request) -> Client:
        """Return the client, with a spool and a courier if possible; call it before any thread is created."""
        transport = Transport(request.base_url, request.token, POLICY, request.concurrency)
        sender: Transport | Courier = transport
        spool = None
        if request.spool and not request.check:
            try:
                spool = Spool(request.spool, request.base_url, request.fresh_hours)
                courier = Courier(transport, spool, Database(request.server, "backfill claims"))
                sender = self.claims = courier
            except Unusable as error:
                self.notes.append(
                    f"Answers are not kept until they are stored ({error}). A kill may cost their calls again."
                    " Make the user of this run own the folder, with mode 0700."
                )

        return Client(sender, self.budget, self.stop, self.ledger, spool, POLICY, request.force)

    def close(self) -> None:
        """Close every connection."""
        self.client.close()
        self.database.close()

    def look(self) -> None:
        """Check the tables, and wait until all rows of ``market_data`` are visible.

        Raises:
            Problem: a table is missing or has the wrong columns.
        """
        types: dict[str, str] = {}
        for table in tables.TABLES:
            try:
                found = self.database.run(partial(tables.look_up, table=table))
            except Unreachable as error:
                if not self.request.check or error.kind != "database":
                    raise
                found = None
            if found is None and self.request.check:
                # A plan must work before the database exists; it stores nothing.
                self.absent = True
                return
            if found is None:
                raise Problem(
                    f"Database {self.request.server.database} has no table {table.name}. Create it with"
                    " `ansible-playbook playbooks/reset.yml --tags database`, or check postgres_db."
                )
            wrong = tables.misfits(table, found)
            if wrong:
                raise Problem(
                    f"{'; '.join(wrong)}. No call was made. Alter the table, or use another postgres_db."
                )
            types.update(found.types)
        self.chunks = self.database.run(chunks.look)
        wait_for_doubtful(self.database)
        self.parser = parser.Parser({name: parser.width(types[name]) for name in tables.FIGURES})

    def known(self, names: Sequence[str]) -> dict[str, SymbolEntry]:
        """Return the ledger entries of symbols or exchanges; none without a database."""
        return {} if self.absent else self.ledger.entries(names)

    def retained_entries(self, symbols: Sequence[str]) -> dict[str, SymbolEntry]:
        """Return the ledger entries of symbols, without days that a retention policy drops."""
        known, first = self.known(symbols), self.chunks.retained_from
        return without_dropped_days(known, first) if first else known

    def retained_days(self, asked: Range) -> Range:
        """Return the requested days without those that a retention policy drops, and note the difference.

        Raises:
            Problem: the policy drops all of them.
        """
        first = self.chunks.retained_from
        if first is None or first <= asked.first:
            return asked
        text = f"TimescaleDB drops bars older than {self.chunks.retention}"
        if asked.last < first:
            raise Problem(
                f"{text}, and all days from {asked.first} to {asked.last} are older. No call was made. Check"
                " backfill_from and backfill_to, or change the retention policy of market_data."
            )
        self.notes.append(
            f"{text} (retention policy of market_data), so bars are requested from {first} instead of {asked.first}."
        )
        return Range(first, asked.last)

    def priced(self, plan: Plan, *, changes: bool = True) -> dict[str, Any] | None:
        """Check a plan against the quota. In check mode, return it as the result, else None.

        Args:
            plan: gets the quota.
            changes: whether a run that makes calls can change something.

        Raises:
            Problem: the clock is wrong, or the quota does not cover the plan and ``backfill_partial`` is off.
        """
        if plan.calls:
            answer, user = self.client.get("user", json.loads, keep=False)
            check_clock(answer.sent, utc_now())
            plan.quota = quota(user, self.today)
        plan.require_quota(self.request.partial)
        if not self.request.check:
            return None
        return {
            "changed": changes and plan.calls > 0,
            "plan": plan.facts(),
            "report": "\n".join(plan.lines()),
        }

    def counts(self, tables: Sequence[str] = ("market_data", "assets")) -> dict[str, int | None]:
        """Count the rows of tables; None if that takes too long or needs too many locks for one transaction."""
        counts: dict[str, int | None] = dict.fromkeys(tables)
        in_slices = len(self.chunks.slices(self.chunks.stored or stored.ALL)) > 1
        for table in tables:
            if table != "market_data" or not in_slices:
                statement = f"SET LOCAL statement_timeout = '{COUNT_TIMEOUT}s'; SELECT count(*) FROM {table}"  # noqa: S608
                with contextlib.suppress(driver().errors.QueryCanceled):
                    counts[table] = self.database.execute(statement, ())[0][0]
        return counts

    def remarks(self, run: int, symbols: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return why symbols were restated, and which bars have an old adjustment basis, in words."""
        restated = self.database.run(partial(stored.causes, run=run))
        marks = self.database.run(partial(stored.marked, symbols=symbols))
        return restated, [mark.text for mark in marks]
