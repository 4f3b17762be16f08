"""Fetching, storing and keeping the ledger at the same time, in bounded memory.

Threads fetch and parse, others store, and the calling one hands out the work: it claims symbols shortly before they
are asked for, stores their answers in batches, and gives them back. Only so many are claimed at a time, so that a
slow database slows the fetching, and memory does not grow with the number of symbols.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Callable, Protocol

from ansible.module_utils.eodhd.model import ANSWERED, SymbolEntry, Task
from ansible.module_utils.eodhd.run.totals import Totals
from ansible.module_utils.eodhd.service.budget import Stopped
from ansible.module_utils.eodhd.service.client import Stop
from ansible.module_utils.eodhd.store.parser import Parsed
from ansible.module_utils.eodhd.store.store import Fetched, Written

# Rows stored in one transaction, about: enough that its cost does not show, few enough to lose by a kill.
BATCH_ROWS = 50_000
# Where stores are alone: each reads again what the one before has decompressed.
ALONE_ROWS = 200_000
# Symbols claimed by one statement.
CLAIM = 16
Store = Callable[[list[Fetched]], list[Written]]


class Locks(Protocol):
    """What tells runs apart; see ``claims.Claims``."""

    def claim(self, symbols: Iterable[str]) -> set[str]:
        """Those that no other run works on, ours from now on."""

    def release(self, symbols: Iterable[str]) -> None:
        """Give them up."""


@dataclass(frozen=True)
class _Stored:
    store: Store
    items: list[Fetched]
    written: list[Written]


@dataclass(eq=False)
class Pipeline:
    """Runs tasks, once.

    Attributes:
        fetch: makes one call: the answer and its rows; raises ``Stop`` or ``Stopped``.
        workers: number of threads that fetch.
        stores: each writes a batch, in a thread of its own.
        claims: who is at which symbol.
        entries: what the ledger has of symbols by now.
        planned: what it had for the plan; what other runs answered since need not be asked.
        forced_since: if given, answers from then on count instead.
        stop: ends the run early when set: no new call is made, answers under way are still stored.
        totals: counted into; what was not reached is ``pending`` there.
        batch: rows, about, that are stored in one transaction.
        full: whether a batch waits for what is under way, until it has its size.
        stopped_by: why the service refused every further call, if it did.
    """

    fetch: Callable[[Task], tuple[Any, Parsed | None]]
    workers: int
    stores: Sequence[Store]
    claims: Locks
    entries: Callable[[Sequence[str]], dict[str, SymbolEntry]]
    planned: Mapping[str, SymbolEntry]
    forced_since: datetime | None
    stop: threading.Event
    totals: Totals
    batch: int = BATCH_ROWS
    full: bool = False
    stopped_by: Stop | None = None

    def __post_init__(self) -> None:
        self._fetchers = ThreadPoolExecutor(self.workers)
        self._storers = ThreadPoolExecutor(max(1, len(self.stores)))
        self._free = list(self.stores)
        self._active: dict[str, Task] = {}
        self._asked = 0
        self._answers: deque[Fetched] = deque()
        self._done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()

    def run(self, tasks: Iterable[Task], tick: Callable[[Totals], None]) -> None:
        """Run all tasks, each of another symbol; ``tick`` is told of the totals about every second.

        Raises:
            Exception: what the storing met and could not fix.
        """
        try:
            self._coordinate(deque(tasks), tick)
        finally:
            self.stop.set()
            self._fetchers.shutdown()
            self._storers.shutdown()
            self._store_rest()

    def _coordinate(self, waiting: deque[Task], tick: Callable[[Totals], None]) -> None:
        retry_at = 0.0
        while waiting or self._active:
            if self.stop.is_set():
                for task in waiting:
                    self._drop(task)
                waiting.clear()
            while waiting and len(self._active) < self.workers + CLAIM and time.monotonic() >= retry_at:
                if not self._hand_out(waiting):
                    retry_at = time.monotonic() + 0.25  # another run is at all of these
            self._store_batches()
            tick(self.totals)
            try:
                done = self._done.get(timeout=1.0 if self._active else 0.1)
            except queue.Empty:
                continue
            self._take(done.result())

    def _hand_out(self, waiting: deque[Task]) -> int:
        """Claim the next tasks; those that another run is at go to the end, those that it finished are done."""
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
                self.totals.take_fresh(task.symbol, now)
            else:
                if now and now.restated:  # found by a run that was killed before it asked for the whole past
                    task = Task(task.symbol, now.range.hull(task.range))
                self._ask(task)
        if finished:
            self.claims.release(finished)
        return len(mine)

    def _finished(self, task: Task, now: SymbolEntry) -> bool:
        """Whether another run has answered for a task since this one was planned.

        Another answer than the plan knew tells it: it may have come before the plan, and been stored after it.
        """
        known = self.planned.get(task.symbol)
        other = known is None or known.fetched != now.fetched
        new = now.fetched >= self.forced_since if self.forced_since else other
        return new and now.outcome in ANSWERED and not now.restated and now.range.covers(task.range)

    def _ask(self, task: Task) -> None:
        self._active[task.symbol] = task
        self._asked += 1
        self._fetchers.submit(self._fetched, task).add_done_callback(self._done.put)

    def _fetched(self, task: Task) -> Fetched | Task:
        """Return the answer, or the task if the run stops."""
        if self.stop.is_set():
            return task
        started = time.monotonic()
        try:
            answer, parsed = self.fetch(task)
        except Stopped:
            return task
        except Stop as error:
            self.stopped_by = error
            self.stop.set()
            return task
        digest = hashlib.sha256(answer.body).hexdigest() if answer.body else None
        seconds = time.monotonic() - started
        fetched = datetime.now(timezone.utc)
        return Fetched(task, answer.without_body(), parsed, len(answer.body), digest, fetched, seconds)

    def _store_batches(self) -> None:
        """Store what waits. A batch has its size, or nothing to wait for; a fifth of it is worth a second connection.

        What comes while a batch is being stored is stored together after it: a transaction costs as much as some
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

    def _take(self, done: Fetched | Task | _Stored) -> None:
        if isinstance(done, _Stored):
            self._free.append(done.store)
            self._count(done)
            return
        self._asked -= 1
        if isinstance(done, Fetched):
            self._answers.append(done)
        else:
            del self._active[done.symbol]
            self.claims.release([done.symbol])
            self._drop(done)

    def _count(self, done: _Stored) -> None:
        finished = []
        for item, written in zip(done.items, done.written):
            symbol = item.task.symbol
            self.totals.add(item, written)
            if written.again is None:
                del self._active[symbol]
                finished.append(symbol)
            else:
                # Claimed until its whole past is stored, or another run would take it for done.
                self.totals.refetched += 1
                self._ask(Task(symbol, written.again, whole=True))
        self.claims.release(finished)

    def _drop(self, task: Task) -> None:
        self.totals.settle(task.symbol, "pending", "not asked: the run ended before")

    def _store_rest(self) -> None:
        """Store what was received, if an error ended the run; not if that was a store, which had waited long enough."""
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
    """Return how much room an answer takes, an empty one included."""
    return 1 + (len(item.parsed.lines) if item.parsed else 0)
