"""What every mode of the backfill needs: the request, the database, the ledger, the client, a way to stop."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Any, Callable

from ansible.module_utils.database import tables
from ansible.module_utils.database.errors import Unreachable
from ansible.module_utils.eodhd.ledger.ledger import Ledger
from ansible.module_utils.eodhd.model import SymbolEntry, Task
from ansible.module_utils.eodhd.plan.plan import Plan, Rules
from ansible.module_utils.eodhd.run import report
from ansible.module_utils.eodhd.run.pipeline import ALONE_ROWS, BATCH_ROWS, Locks, Pipeline
from ansible.module_utils.eodhd.run.progress import Progress, to_file
from ansible.module_utils.eodhd.run.request import Request
from ansible.module_utils.eodhd.run.signals import signals, stop_of
from ansible.module_utils.eodhd.run.totals import Totals
from ansible.module_utils.eodhd.service import budget
from ansible.module_utils.eodhd.service.account import Quota, account, quota, today
from ansible.module_utils.eodhd.service.client import Client, Stop
from ansible.module_utils.eodhd.service.courier import Courier
from ansible.module_utils.eodhd.service.spool import Spool, Unusable
from ansible.module_utils.eodhd.service.transport import Policy, Reply, Sender, Transport
from ansible.module_utils.eodhd.store import basis, causes, chunks, doubt, parser
from ansible.module_utils.eodhd.store.chunks import Chunks
from ansible.module_utils.eodhd.store.database import Database
from ansible.module_utils.eodhd.store.store import Fetched, Written
from ansible.module_utils.eodhd.store.stored import ALL
from ansible.module_utils.reporting import Problem

# Stores a batch by a connection: database, run, items.
Writing = Callable[[Database, int, list[Fetched]], list[Written]]
# Connections that store: a second one works if enough waits while the first is at a batch.
STORES = 2
# Seconds for each of the counts that the report shows; over it the report says what was written only.
COUNT_TIMEOUT = 10
POLICY = Policy()


class Context:
    """The parts of one run, made from a request.

    Args:
        now: the present, in UTC.
    """

    def __init__(self, request: Request, now: datetime | None = None) -> None:
        self.request = request
        self.now = now or datetime.now(timezone.utc)
        self.today = today(self.now)
        # Of the clock, also if ``now`` is another: the ledger's times are of the clock.
        self.began = datetime.now(timezone.utc)
        self.ahead = self.now - self.began
        self.absent = False
        self.chunks = Chunks()
        self.stop = threading.Event()
        self.database = Database(request.server, "backfill")
        self.ledger = Ledger(self.database, account(request.token))
        self.budget = budget.Budget(budget.Unshared(), self.stop)
        self.notes: list[str] = []
        self.claims: Locks = self.ledger.claims
        self.client = self._client(request)
        self.rules = Rules(
            self.now, request.fresh_hours, request.overlap_days, self.now if request.force else None
        )

    def _client(self, request: Request) -> Client:
        """The client, its answers kept in the spool if there is one; to be called before a thread is made."""
        transport = Transport(request.base_url, request.token, request.concurrency, POLICY)
        sender: Sender = transport
        spool = None
        if request.spool and not request.check:
            try:
                spool = Spool(request.spool, request.base_url, request.fresh_hours)
                spool.sweep()
                courier = Courier(
                    transport, spool, Database(request.server, "backfill claims"), request.concurrency, POLICY
                )
                sender = self.claims = courier
            except Unusable as error:
                self.notes.append(
                    f"Answers are not kept before they are stored, for {error}: a kill may cost their calls again."
                    " Let the folder belong to the user of this run, with mode 0700."
                )

        def left(name: str) -> Reply | None:
            found = self.ledger.take_left(name)
            if found is None or spool is None:
                return None
            status, body, received = found
            if (self.now - received).total_seconds() > request.fresh_hours * 3600:
                return None
            # From now on it is ours, as if this host had received it.
            reply = Reply(status, body)
            spool.put(name, reply, received.timestamp())
            self.ledger.forget_left(name)
            return reply

        return Client(sender, self.budget, self.stop, spool, left, POLICY, request.force)

    def close(self) -> None:
        """Close every connection."""
        self.client.close()
        self.database.close()

    def widths(self) -> dict[str, parser.Width]:
        """Return what the columns of ``market_data`` hold, once all of its rows can be seen.

        Raises:
            Problem: a table is missing or does not fit.
        """
        types: dict[str, str] = {}
        for table in tables.TABLES:

            def look(cursor: Any, table: Any = table) -> Any:
                return tables.look_up(cursor, table)

            try:
                found = self.database.run(look)
            except Unreachable as error:
                if not self.request.check or error.kind != "database":
                    raise
                found = None
            if found is None and self.request.check:
                # A plan is wanted before there is a database, too; nothing is stored then.
                self.absent = True
                return {}
            if found is None:
                raise Problem(
                    f"Database {self.request.server.database} has no table {table.name}. Create it with"
                    " `ansible-playbook playbooks/reset.yml --tags database`, or check postgres_db."
                )
            wrong = tables.misfits(table, found)
            if wrong:
                raise Problem(
                    f"{'; '.join(wrong)}. Nothing was asked. Alter the table, or use another postgres_db."
                )
            if table.name == "market_data":
                types = dict(found.types)
        self.chunks = self.database.run(chunks.look)
        doubt.wait(self.database)
        return {name: parser.width(types[name]) for name in tables.FIGURES}

    def known(self, names: list[str]) -> dict[str, SymbolEntry]:
        """Return what the ledger has of symbols or exchanges; nothing before there is a database."""
        return {} if self.absent else self.ledger.entries(names)

    def rounding(self, widths: dict[str, parser.Width]) -> list[str]:
        """Return a warning for each price column that is narrower than what the provider may send."""
        return [
            f"market_data.{name} is {found.name}: rows with more digits are kept in backfill_set_aside. Set"
            " database_widen: true and run `ansible-playbook playbooks/reset.yml --tags database`, which loads them."
            for name, found in widths.items()
            if name in tables.PRICES and found.name != "numeric"
        ]

    def quota(self) -> Quota:
        """Ask what the account has left today; an account that may not know is taken as unknown."""
        answer, user = self.client.get("user", json.loads, anew=True)
        self.client.stored(answer)  # nothing is stored of it
        return quota(user if answer.outcome is None else None, self.today)

    def priced(self, plan: Plan, notes: Sequence[str] = (), *, changes: bool = True) -> dict[str, Any] | None:
        """Hold a plan against what the account has left; in check mode the plan is the result, else None.

        Args:
            plan: gets the quota.
            notes: of the result.
            changes: whether a run that makes calls may change something.

        Raises:
            Problem: the quota does not cover it, and going as far as it can is not asked.
        """
        if plan.calls:
            plan.quota = self.quota()
        plan.require_quota(self.request.partial)
        if not self.request.check:
            return None
        report = "\n".join(plan.lines())
        return {
            "changed": changes and plan.calls > 0,
            "plan": plan.facts(),
            "report": report,
            "notes": list(notes),
        }

    def counts(self, tables: Sequence[str] = ("market_data", "assets")) -> dict[str, int | None]:
        """Count tables; None if that takes too long, or locks more than one transaction should."""

        def work(table: str, cursor: Any) -> int:
            cursor.execute(f"SET LOCAL statement_timeout = '{COUNT_TIMEOUT}s'")
            cursor.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - our own names
            count: int = cursor.fetchone()[0]
            return count

        counts: dict[str, int | None] = dict.fromkeys(tables)
        for table in counts:
            if table == "market_data" and len(self.chunks.slices(self.chunks.stored or ALL)) > 1:
                continue
            try:
                counts[table] = self.database.run(partial(work, table))
            except Exception as error:
                if getattr(error, "pgcode", None) != "57014":  # cancelled by the time-out
                    raise
        return counts

    def remarked(self, text: str, run: int, symbols: Sequence[str]) -> str:
        """Return a report with the causes of restatements since a run began, and the bars on an old basis.

        Args:
            text: the report.
            symbols: those whose bars may be on an old basis.
        """

        def work(cursor: Any) -> tuple[list[str], list[str]]:
            return causes.explained(cursor, run), [mark.text for mark in basis.marked(cursor, symbols)]

        return report.remarked(text, *self.database.run(work))

    def execute(
        self,
        plan: Plan,
        fetch: Callable[[Any], Any],
        write: Writing,
        entries: Callable[[Sequence[str]], dict[str, SymbolEntry]] | None = None,
    ) -> Executed:
        """Run a plan's tasks and keep the ledger; a signal ends it early, and what was received is stored.

        Args:
            fetch: makes one call.
            write: stores a batch.
            entries: what the ledger has by the names of the tasks, if they are no symbols.
        """
        self.ledger.create()
        run = self.ledger.begin(
            self.request.mode, self.request.facts(), f"{socket.gethostname()} {os.getpid()}"
        )
        self.budget.share(self.ledger)
        totals = Totals(symbols=len(plan.tasks) + len(plan.fresh))
        for symbol, known in plan.fresh.items():
            totals.take_fresh(symbol, known)
        alone = self.chunks.mingled
        stores = min(1 if alone else STORES, len(plan.tasks))
        databases = [Database(self.request.server, "backfill store") for _ in range(stores)]
        for database in databases:
            database.prepare()
        progress = Progress(to_file(self.request.progress_path))
        pipeline = Pipeline(
            fetch,
            min(self.request.concurrency, max(1, len(plan.tasks))),
            [self._storing(database, run, write) for database in databases],
            self.claims,
            entries or self.ledger.entries,
            plan.known,
            self.began if self.request.force else None,
            self.stop,
            totals,
            ALONE_ROWS if alone else BATCH_ROWS,
            full=alone,
        )
        tasks = own_part_first(plan.tasks, self.request.shard, self.request.shards)
        try:
            with signals(self.stop) as caught:
                pipeline.run(tasks, progress.tick)
        finally:
            for database in databases:
                database.close()
        # A run that does not come here is closed by the next one, as interrupted.
        stopped = pipeline.stopped_by or stop_of(caught)
        if stopped is None:
            self.stop.clear()  # the pipeline has ended its threads by it; a further one may follow
        self.ledger.end(run, stopped.kind if stopped else "done", totals.facts(), str(stopped or ""))
        return Executed(run, totals, stopped)

    def _storing(
        self, database: Database, run: int, write: Writing
    ) -> Callable[[list[Fetched]], list[Written]]:
        """Return what stores a batch by its own connection."""

        def keep(items: list[Fetched]) -> list[Written]:
            written = write(database, run, items)
            for item in items:
                self.client.stored(item.answer)
            return written

        return keep


def in_one_transaction(write: Callable[[Any, int, list[Fetched]], list[Written]]) -> Writing:
    """Return what stores a batch in one transaction, from what does it with a cursor."""
    return lambda database, run, items: database.run(lambda cursor: write(cursor, run, items))


@dataclass(frozen=True)
class Executed:
    """A run that is over; ``stopped`` says why it ended before its time."""

    run: int
    totals: Totals
    stopped: Stop | None


def own_part_first(tasks: list[Task], shard: int, shards: int) -> list[Task]:
    """Return all tasks, beginning with the part of this run, so that several runs seldom meet."""
    start = len(tasks) * shard // max(1, shards)
    return tasks[start:] + tasks[:start]
