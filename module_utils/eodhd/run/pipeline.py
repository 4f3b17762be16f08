"""Fetching, storing and keeping the ledger at the same time, in bounded memory.

Threads fetch and parse, others store, and the calling one hands out the work: it claims symbols shortly
before they are asked for and gives them back once they are stored. Between them stand queues with few places,
so that a slow database slows the fetching, and memory does not grow with the number of symbols.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Callable, Protocol, Union

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


class Locks(Protocol):
    """What tells runs apart; see ``claims.Claims``."""

    def claim(self, symbols: Iterable[str]) -> set[str]:
        """Those that no other run works on, ours from now on."""

    def release(self, symbols: Iterable[str]) -> None:
        """Give them up."""


@dataclass(frozen=True)
class _Stored:
    items: list[Fetched]
    written: list[Written]


@dataclass(frozen=True)
class _Dropped:
    """A task without an answer, because the run stops."""

    task: Task


_Event = Union[_Stored, _Dropped, Exception]


@dataclass(frozen=True)
class Others:
    """What tells runs apart that are at work at the same time.

    Attributes:
        claims: who is at which symbol.
        entries: what the ledger has of symbols by now.
        planned: what it had for the plan; what other runs answered since need not be asked.
        forced_since: if given, answers from then on count instead.
    """

    claims: Locks
    entries: Callable[[Sequence[str]], dict[str, SymbolEntry]]
    planned: Mapping[str, SymbolEntry]
    forced_since: datetime | None = None

    def finished(self, task: Task, now: SymbolEntry) -> bool:
        """Whether another run has answered for a task since this one was planned.

        Another answer than the plan knew tells it: it may have come before the plan, and been stored after it.
        """
        known = self.planned.get(task.symbol)
        other = known is None or known.fetched != now.fetched
        new = now.fetched >= self.forced_since if self.forced_since else other
        return new and now.outcome in ANSWERED and not now.restated and now.range.covers(task.range)


class Answers:
    """Answers that wait to be stored. Who brings one more waits while there are rows for a batch.

    What comes while a batch is being stored is stored together after it, or beside it if it is a fifth of a batch: a
    transaction costs as much as some thousand rows.

    Args:
        batch: rows, about, that are stored in one transaction.
        full: whether a batch waits for what is under way, until it has its size.
    """

    def __init__(self, batch: int = BATCH_ROWS, *, full: bool = False) -> None:
        self._batch = batch
        self._full = full
        self._enough = batch if full else batch // 5
        self._items: deque[Fetched] = deque()
        self._rows = 0
        self._coming = 0
        self._storing = 0
        self._closed = False
        self._changed = threading.Condition()

    def expect(self, tasks: int) -> None:
        """So many more tasks are under way; fewer if it is negative."""
        with self._changed:
            self._coming += tasks
            self._changed.notify_all()

    def put(self, item: Fetched) -> None:
        """Add an answer, as soon as there is room."""
        with self._changed:
            self._changed.wait_for(lambda: self._rows < self._batch)
            self._items.append(item)
            self._rows += _rows(item)
            self._changed.notify_all()

    def _ready(self) -> bool:
        waits = self._storing or (self._full and self._coming > 0)
        return self._closed or self._rows >= self._enough or bool(self._items and not waits)

    def take(self) -> list[Fetched]:
        """Wait for answers and return those that are there, up to the size of a batch; none at the end."""
        with self._changed:
            self._changed.wait_for(self._ready)
            taken: list[Fetched] = []
            rows = 0
            while self._items and rows < self._batch:
                taken.append(self._items.popleft())
                rows += _rows(taken[-1])
            self._rows -= rows
            self._storing += 1
            self._changed.notify_all()
            return taken

    def stored(self) -> None:
        """What was taken is stored."""
        with self._changed:
            self._storing -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """No more will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _rows(item: Fetched) -> int:
    """Return how much room an answer takes, an empty one included."""
    return 1 + (len(item.parsed.lines) if item.parsed else 0)


class Pipeline:
    """Runs tasks.

    Args:
        fetch: makes one call: the answer and its rows; raises ``Stop`` or ``Stopped``.
        workers: number of threads that fetch.
        stores: each writes a batch, in a thread of its own.
        others: what tells this run from others.
        stop: ends the run early when set: no new call is made, answers under way are still stored.
        answers: where answers wait to be stored.
    """

    def __init__(
        self,
        fetch: Callable[[Task], tuple[Any, Parsed | None]],
        workers: int,
        stores: Sequence[Callable[[list[Fetched]], list[Written]]],
        others: Others,
        stop: threading.Event,
        answers: Answers,
    ) -> None:
        self._fetch = fetch
        self._workers = workers
        self._stores = stores
        self._others = others
        self._stop = stop
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._answers = answers
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self.stopped_by: Stop | None = None

    def run(self, tasks: Iterable[Task], totals: Totals, tick: Callable[[Totals], None]) -> None:
        """Run all tasks and count into ``totals``; what was not reached is ``pending`` there.

        Args:
            tasks: each of another symbol.
            totals: counted into.
            tick: told of them about every second.

        Raises:
            Exception: what the storing met and could not fix.
        """
        threads = [threading.Thread(target=self._fetching, daemon=True) for _ in range(self._workers)]
        storing = [
            threading.Thread(target=self._storing, args=(store,), daemon=True) for store in self._stores
        ]
        for thread in (*threads, *storing):
            thread.start()
        try:
            self._coordinate(deque(tasks), totals, tick)
        finally:
            self._stop.set()
            for _ in threads:
                self._tasks.put(None)
            for thread in threads:
                thread.join()
            self._answers.close()
            for thread in storing:
                thread.join()

    def _coordinate(self, waiting: deque[Task], totals: Totals, tick: Callable[[Totals], None]) -> None:
        active: dict[str, Task] = {}
        retry_at = 0.0
        while waiting or active:
            if self._stop.is_set():
                for task in waiting:
                    totals.settle(task.symbol, "pending", "not asked: the run ended before")
                waiting.clear()
            while waiting and len(active) < self._workers + CLAIM and time.monotonic() >= retry_at:
                if not self._hand_out(waiting, active, totals):
                    retry_at = time.monotonic() + 0.25  # another run is at all of these
            tick(totals)
            try:
                event = self._events.get(timeout=1.0 if active else 0.1)
            except queue.Empty:
                continue
            if isinstance(event, Exception):
                raise event
            self._take(event, active, totals)

    def _hand_out(self, waiting: deque[Task], active: dict[str, Task], totals: Totals) -> int:
        """Claim the next tasks; those that another run is at go to the end, those that it finished are done."""
        chunk = [waiting.popleft() for _ in range(min(CLAIM, len(waiting)))]
        mine = self._others.claims.claim([task.symbol for task in chunk])
        known = self._others.entries(sorted(mine))
        finished = []
        for task in chunk:
            now = known.get(task.symbol)
            if task.symbol not in mine:
                waiting.append(task)
            elif now and self._others.finished(task, now):
                finished.append(task.symbol)
                totals.take_fresh(task.symbol, now)
            else:
                if now and now.restated:  # found by a run that was killed before it asked for the whole past
                    task = Task(task.symbol, now.range.hull(task.range), vacant=False)
                self._ask(task, active)
        if finished:
            self._others.claims.release(finished)
        return len(mine)

    def _take(self, event: _Event, active: dict[str, Task], totals: Totals) -> None:
        if isinstance(event, _Dropped):
            del active[event.task.symbol]
            self._others.claims.release([event.task.symbol])
            totals.settle(event.task.symbol, "pending", "not asked: the run ended before")
            return
        assert isinstance(event, _Stored)  # noqa: S101 - for the type checker
        finished = []
        for item, written in zip(event.items, event.written):
            symbol = item.task.symbol
            totals.add(item, written)
            if written.again is None:
                del active[symbol]
                finished.append(symbol)
            else:
                # Claimed until its whole past is stored, or another run would take it for done.
                totals.refetched += 1
                self._ask(Task(symbol, written.again, vacant=False, whole=True), active)
        self._others.claims.release(finished)

    def _ask(self, task: Task, active: dict[str, Task]) -> None:
        active[task.symbol] = task
        self._answers.expect(1)
        self._tasks.put(task)

    def _fetching(self) -> None:
        while task := self._tasks.get():
            answer = self._answer(task)
            if isinstance(answer, Fetched):
                self._answers.put(answer)
            else:
                self._events.put(answer)
            self._answers.expect(-1)

    def _answer(self, task: Task) -> Fetched | _Dropped | Exception:
        if self._stop.is_set():
            return _Dropped(task)
        started = time.monotonic()
        try:
            answer, parsed = self._fetch(task)
        except (Stop, Stopped) as error:
            if isinstance(error, Stop):
                self.stopped_by = error
                self._stop.set()
            return _Dropped(task)
        except Exception as error:  # noqa: BLE001 - raised again by the calling thread
            return error
        digest = hashlib.sha256(answer.body).hexdigest() if answer.body else None
        seconds = time.monotonic() - started
        fetched = datetime.now(timezone.utc)
        return Fetched(task, answer.without_body(), parsed, len(answer.body), digest, fetched, seconds)

    def _storing(self, store: Callable[[list[Fetched]], list[Written]]) -> None:
        broken = False
        while batch := self._answers.take():
            try:
                if not broken:
                    self._events.put(_Stored(batch, store(batch)))
            except Exception as error:  # noqa: BLE001 - raised again by the calling thread
                broken = True
                self._events.put(error)
            self._answers.stored()
