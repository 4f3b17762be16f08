"""What every mode of the backfill needs: the request, the database, the ledger, the client, a way to stop."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Any, Callable

from ansible.module_utils.database import tables
from ansible.module_utils.database.connection import driver
from ansible.module_utils.database.errors import Unreachable
from ansible.module_utils.eodhd.ledger.ledger import Ledger
from ansible.module_utils.eodhd.model import SymbolEntry, Task
from ansible.module_utils.eodhd.plan.plan import Plan, Rules
from ansible.module_utils.eodhd.run import report
from ansible.module_utils.eodhd.run.pipeline import ALONE_ROWS, BATCH_ROWS, Locks, Pipeline
from ansible.module_utils.eodhd.run.progress import Progress, to_file
from ansible.module_utils.eodhd.run.request import Request
from ansible.module_utils.eodhd.run.totals import Totals
from ansible.module_utils.eodhd.service import budget
from ansible.module_utils.eodhd.service.account import account, quota, today
from ansible.module_utils.eodhd.service.client import Client, Stop
from ansible.module_utils.eodhd.service.courier import Courier
from ansible.module_utils.eodhd.service.spool import Spool, Unusable
from ansible.module_utils.eodhd.service.transport import Policy, Reply, Transport
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

    Attributes:
        now, today: the present, in UTC, and the provider's day.
        absent: there is no database, or no table, to plan with.
        notes: of the result.
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
        self.budget = budget.Budget(self.stop)
        self.notes: list[str] = []
        self.claims: Locks = self.ledger.claims
        self.client = self._client(request)
        self.rules = Rules(
            self.now, request.fresh_hours, request.overlap_days, self.now if request.force else None
        )

    def _client(self, request: Request) -> Client:
        """The client, its answers kept in the spool if there is one; to be called before a thread is made."""
        transport = Transport(request.base_url, request.token, request.concurrency, POLICY)
        sender: Transport | Courier = transport
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
            try:
                found = self.database.run(partial(tables.look_up, table=table))
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
            types.update(found.types)
        self.chunks = self.database.run(chunks.look)
        doubt.wait(self.database)
        return {name: parser.width(types[name]) for name in tables.FIGURES}

    def known(self, names: list[str]) -> dict[str, SymbolEntry]:
        """Return what the ledger has of symbols or exchanges; nothing before there is a database."""
        return {} if self.absent else self.ledger.entries(names)

    def priced(self, plan: Plan, *, changes: bool = True) -> dict[str, Any] | None:
        """Hold a plan against what the account has left; in check mode the plan is the result, else None.

        Args:
            plan: gets the quota.
            changes: whether a run that makes calls may change something.

        Raises:
            Problem: the quota does not cover it, and going as far as it can is not asked.
        """
        if plan.calls:
            answer, user = self.client.get("user", json.loads, anew=True)
            self.client.stored(answer)  # nothing is stored of it
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
        """Count tables; None if that takes too long, or locks more than one transaction should."""
        counts: dict[str, int | None] = dict.fromkeys(tables)
        in_slices = len(self.chunks.slices(self.chunks.stored or ALL)) > 1
        for table in tables:
            if table != "market_data" or not in_slices:
                with contextlib.suppress(driver().errors.QueryCanceled):
                    counts[table] = self.database.run(partial(_count, table=table))
        return counts

    def remarked(self, text: str, run: int, symbols: Sequence[str]) -> str:
        """Return a report with the causes of what a run found restated, and the bars of symbols on an old basis."""
        restated = self.database.run(partial(causes.explained, run=run))
        marks = self.database.run(partial(basis.marked, symbols=symbols))
        return report.remarked(text, restated, [mark.text for mark in marks])

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
        worker = f"{socket.gethostname()} {os.getpid()}"
        run = self.ledger.begin(self.request.mode, self.request.facts(), worker)
        self.budget.share(self.ledger.lease)
        totals = Totals(symbols=len(plan.tasks) + len(plan.fresh))
        for symbol, known in plan.fresh.items():
            totals.take_fresh(symbol, known)
        alone = self.chunks.mingled
        stores = min(1 if alone else STORES, len(plan.tasks))
        databases = [Database(self.request.server, "backfill store") for _ in range(stores)]
        for database in databases:
            database.prepare()

        def store(items: list[Fetched], database: Database) -> list[Written]:
            written = write(database, run, items)
            for item in items:
                self.client.stored(item.answer)
            return written

        progress = Progress(to_file(self.request.progress_path))
        pipeline = Pipeline(
            fetch,
            min(self.request.concurrency, max(1, len(plan.tasks))),
            [partial(store, database=database) for database in databases],
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
            with _signals(self.stop) as caught:
                pipeline.run(tasks, progress.tick)
        finally:
            for database in databases:
                database.close()
        # A run that does not come here is closed by the next one, as interrupted.
        stopped = pipeline.stopped_by
        if caught and not stopped:
            stopped = Stop(
                "interrupted",
                f"The run was ended by {caught[0].name}. What was received is stored;"
                " run the same command again and the rest follows without paying twice.",
            )
        if stopped is None:
            self.stop.clear()  # the pipeline has ended its threads by it; a further one may follow
        self.ledger.end(run, stopped.kind if stopped else "done", totals.facts(), str(stopped or ""))
        return Executed(run, totals, stopped)


def in_one_transaction(write: Callable[[Any, int, list[Fetched]], list[Written]]) -> Writing:
    """Return what stores a batch in one transaction, from what does it with a cursor."""
    return lambda database, run, items: database.run(lambda cursor: write(cursor, run, items))


def _count(cursor: Any, table: str) -> int:
    cursor.execute(f"SET LOCAL statement_timeout = '{COUNT_TIMEOUT}s'")
    cursor.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - our own names
    count: int = cursor.fetchone()[0]
    return count


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


@contextlib.contextmanager
def _signals(stop: threading.Event) -> Iterator[list[signal.Signals]]:
    """Turn the first signal that would end the process into ``stop``; the second one ends it."""
    caught: list[signal.Signals] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, _frame: object) -> None:
        caught.append(signal.Signals(number))
        stop.set()
        restore()

    for number in before:
        signal.signal(number, handle)
    try:
        yield caught
    finally:
        restore()
