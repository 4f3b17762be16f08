"""Fetches, stores and updates the ledger at the same time, in bounded memory.

Some threads fetch and parse, others store, and the calling thread coordinates: it claims symbols shortly before they
are requested, has their answers stored in batches, and releases them. The number of claims is limited, so that a slow
database slows the fetching, and memory does not grow with the number of symbols.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Callable, Protocol

from ansible.module_utils.eodhd.client import Stop, Stopped
from ansible.module_utils.eodhd.context import Context
from ansible.module_utils.eodhd.model import ANSWERED, SymbolEntry, Task
from ansible.module_utils.eodhd.planning import Plan
from ansible.module_utils.eodhd.report import Progress, Totals
from ansible.module_utils.eodhd.store.database import Database
from ansible.module_utils.eodhd.store.parser import Parsed
from ansible.module_utils.eodhd.store.store import Fetched, Written, enter

# Approximate rows per transaction: enough to make its cost negligible, few enough to repeat after a kill.
BATCH_ROWS = 50_000
# If stores run alone: each reads again what the one before decompressed.
ALONE_ROWS = 200_000
# Connections that store. The second is used if enough rows wait while the first stores a batch.
STORES = 2
# Symbols per claiming statement.
CLAIM = 16
Store = Callable[[list[Fetched]], list[Written]]
# Stores a batch through a connection: database, run, items.
Writing = Callable[[Database, int, list[Fetched]], list[Written]]


class Locks(Protocol):
    """Keeps runs from working on the same symbol; see ``ledger.Claims``."""

    def claim(self, symbols: Iterable[str]) -> set[str]:
        """Claim symbols for this run and return those that no other run holds."""

    def release(self, symbols: Iterable[str]) -> None:
        """Release claims."""


@dataclass(frozen=True)
class _Stored:
    store: Store
    items: list[Fetched]
    written: list[Written]


@dataclass(eq=False)
class Pipeline:
    """Runs tasks, once.

    Attributes:
        fetch: makes one call and returns the answer and its rows; raises ``Stop`` or ``Stopped``.
        workers: number of threads that fetch.
        stores: each stores a batch, in its own thread.
        claims: keep other runs from the same symbols.
        entries: returns the current ledger entries of symbols.
        planned: the entries at planning time; a task that another run has answered since is skipped.
        clock: returns the current time in UTC.
        stop: if set, the run ends early: it makes no further call, but stores the answers in flight.
        totals: updated; tasks that were not reached become ``pending``; ``stopped`` is why the service refused them.
        batch: approximate rows per transaction.
        full: whether a batch waits for requests in flight until it has its size.
    """

    fetch: Callable[[Task], tuple[Any, Parsed | None]]
    workers: int
    stores: Sequence[Store]
    claims: Locks
    entries: Callable[[Sequence[str]], dict[str, SymbolEntry]]
    planned: Mapping[str, SymbolEntry]
    clock: Callable[[], datetime]
    stop: threading.Event
    totals: Totals
    batch: int = BATCH_ROWS
    full: bool = False

    def __post_init__(self) -> None:
        self._fetchers = ThreadPoolExecutor(self.workers)
        self._storers = ThreadPoolExecutor(max(1, len(self.stores)))
        self._free = list(self.stores)
        self._active: set[str] = set()
        self._asked = 0
        self._answers: deque[Fetched] = deque()
        self._done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()

    def run(self, tasks: Iterable[Task], tick: Callable[[Totals], None]) -> None:
        """Run all tasks, each for a different symbol; call ``tick`` with the totals about every second.

        Raises:
            Exception: storing failed.
        """
        try:
            self._coordinate(deque(tasks), tick)
        finally:
            self.stop.set()
            self._fetchers.shutdown()
            self._storers.shutdown()
            self._store_remaining()

    def _coordinate(self, waiting: deque[Task], tick: Callable[[Totals], None]) -> None:
        retry_at = 0.0
        while waiting or self._active:
            if self.stop.is_set():
                for task in waiting:
                    self._mark_pending(task)
                waiting.clear()
            while waiting and len(self._active) < self.workers + CLAIM and time.monotonic() >= retry_at:
                if not self._start_next(waiting):
                    retry_at = time.monotonic() + 0.25  # another run holds all of these
            self._store_batches()
            tick(self.totals)
            try:
                done = self._done.get(timeout=1.0 if self._active else 0.1)
            except queue.Empty:
                continue
            self._handle(done.result())

    def _start_next(self, waiting: deque[Task]) -> int:
        """Claim and start the next tasks. Requeue those that another run holds; skip those that it has finished."""
        chunk = [waiting.popleft() for _ in range(min(CLAIM, len(waiting)))]
        mine = self.claims.claim([task.symbol for task in chunk])
        known = self.entries(sorted(mine))
        finished = []
        for task in chunk:
            now = known.get(task.symbol)
            if task.symbol not in mine:
                waiting.append(task)
            elif now and self._finished(task, now):
                finished.append(task.symbol)
                self.totals.add_fresh(task.symbol, now)
            else:
                if now and now.restated:  # by a run that was killed before it requested the full history
                    task = Task(task.symbol, now.range.hull(task.range))
                self._submit(task)
        if finished:
            self.claims.release(finished)
        return len(mine)

    def _finished(self, task: Task, now: SymbolEntry) -> bool:
        """Whether another run has finished a task since the plan was made.

        A different answer than at planning time shows it. Times do not: it may have arrived before the plan and been
        stored after it.
        """
        known = self.planned.get(task.symbol)
        other = known is None or known.fetched != now.fetched
        return other and now.outcome in ANSWERED and not now.restated and now.range.covers(task.range)

    def _submit(self, task: Task) -> None:
        self._active.add(task.symbol)
        self._asked += 1
        self._fetchers.submit(self._fetch_task, task).add_done_callback(self._done.put)

    def _fetch_task(self, task: Task) -> Fetched | Task:
        """Fetch a task; return its answer, or the task if the run stops."""
        if self.stop.is_set():
            return task
        started = time.monotonic()
        try:
            answer, parsed = self.fetch(task)
        except Stopped:
            return task
        except Stop as error:
            self.totals.stopped = error
            self.stop.set()
            return task
        return Fetched(task, answer, parsed, self.clock(), time.monotonic() - started)

    def _store_batches(self) -> None:
        """Start storing the waiting answers. A second store starts once they are a fifth of a batch.

        Answers that arrive during a store are stored together afterwards, because a transaction costs as much as some
        thousand rows.
        """
        while self._answers and self._free:
            busy = len(self._free) < len(self.stores) or (self.full and self._asked)
            if busy and sum(map(_rows, self._answers)) < (self.batch if self.full else self.batch // 5):
                return
            items: list[Fetched] = []
            while self._answers and sum(map(_rows, items)) < self.batch:
                items.append(self._answers.popleft())
            store = self._free.pop()
            self._storers.submit(_stored, store, items).add_done_callback(self._done.put)

    def _handle(self, done: Fetched | Task | _Stored) -> None:
        if isinstance(done, _Stored):
            self._free.append(done.store)
            self._finish_batch(done)
            return
        self._asked -= 1
        if isinstance(done, Fetched):
            self._answers.append(done)
        else:
            self._active.remove(done.symbol)
            self.claims.release([done.symbol])
            self._mark_pending(done)

    def _finish_batch(self, done: _Stored) -> None:
        finished = []
        for item, written in zip(done.items, done.written):
            symbol = item.task.symbol
            self.totals.add(item, written)
            if written.again is None:
                self._active.remove(symbol)
                finished.append(symbol)
            else:
                # Stays claimed until its full history is stored; otherwise another run would skip it as done.
                self.totals.refetched += 1
                self._submit(Task(symbol, written.again))
        self.claims.release(finished)

    def _mark_pending(self, task: Task) -> None:
        self.totals.finish(task.symbol, "pending", "not requested: the run ended first")

    def _store_remaining(self) -> None:
        """Store what was received if an error ended the run, unless a store failed, which has retried already."""
        while not self._done.empty():
            done = self._done.get()
            if done.exception() is None:
                result = done.result()
                if isinstance(result, _Stored):
                    self._free.append(result.store)
                elif isinstance(result, Fetched):
                    self._answers.append(result)
        if self._answers and len(self._free) == len(self.stores):
            self._free[0](list(self._answers))


def _stored(store: Store, items: list[Fetched]) -> _Stored:
    return _Stored(store, items, store(items))


def _rows(item: Fetched) -> int:
    """Return the size of an answer in a batch; an empty one counts too."""
    return 1 + len(item.lines)


def execute(
    context: Context,
    plan: Plan,
    fetch: Callable[[Task], tuple[Any, Parsed | None]],
    write: Writing,
    entries: Callable[[Sequence[str]], dict[str, SymbolEntry]] | None = None,
) -> Totals:
    """Run a plan's tasks and record them in the ledger; after a signal, store what was received and end.

    Args:
        fetch: makes one call.
        write: stores a batch.
        entries: returns ledger entries by task name, if the names are not symbols.
    """
    request, ledger = context.request, context.ledger
    ledger.create()
    run = ledger.begin(request.mode, request.facts(), f"{socket.gethostname()} {os.getpid()}")
    context.budget.share(ledger.lease)
    totals = Totals(run=run, symbols=len(plan.tasks) + len(plan.fresh))
    for symbol, known in plan.fresh.items():
        totals.add_fresh(symbol, known)
    tasks = own_part_first(plan.tasks, request.shard, request.shards)
    alone = context.chunks.mingled

    def store(items: list[Fetched], database: Database) -> list[Written]:
        written = write(database, run, items)
        context.client.stored(item.answer for item in items)
        return written

    with contextlib.ExitStack() as stack:
        stores = []
        for _ in range(min(1 if alone else STORES, len(tasks))):
            database = Database(request.server, "backfill store")
            database.prepare()
            stack.callback(database.close)
            stores.append(partial(store, database=database))
        pipeline = Pipeline(
            fetch,
            min(request.concurrency, max(1, len(tasks))),
            stores,
            context.claims,
            entries or ledger.entries,
            plan.known,
            context.clock,
            context.stop,
            totals,
            ALONE_ROWS if alone else BATCH_ROWS,
            full=alone,
        )
        caught = stack.enter_context(_signals(context.stop))
        pipeline.run(tasks, Progress(request.progress_path).tick)
    # The next run closes a run that does not get here, as interrupted.
    if caught and not totals.stopped:
        totals.stopped = Stop(
            "interrupted",
            f"The run was ended by {caught[0].name}. What was received is stored."
            " Run the same command again to load the rest without paying twice.",
        )
    if totals.stopped is None:
        context.stop.clear()  # the pipeline set it to end its threads; another pipeline may follow
    state = totals.stopped.kind if totals.stopped else "done"
    ledger.end(run, state, totals.facts(), str(totals.stopped or ""))
    return totals


def in_one_transaction(
    write: Callable[[Any, int, Fetched], Written],
    enter: Callable[[Any, int, Sequence[tuple[Fetched, Written]]], None] = enter,
) -> Writing:
    """Return a function that stores a batch in one transaction: each answer, then all ledger entries."""

    def work(cursor: Any, run: int, items: list[Fetched]) -> list[Written]:
        written = [write(cursor, run, item) for item in items]
        enter(cursor, run, list(zip(items, written)))
        return written

    return lambda database, run, items: database.run(partial(work, run=run, items=items))


def own_part_first(tasks: list[Task], shard: int, shards: int) -> list[Task]:
    """Return all tasks, starting with this run's part, so that parallel runs seldom want the same one."""
    start = len(tasks) * shard // max(1, shards)
    return tasks[start:] + tasks[:start]


@contextlib.contextmanager
def _signals(stop: threading.Event) -> Iterator[list[signal.Signals]]:
    """Set ``stop`` on the first terminating signal; the second one ends the process."""
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
