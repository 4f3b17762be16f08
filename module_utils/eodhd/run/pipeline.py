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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Callable, Protocol, Union

from ansible.module_utils.eodhd.model import ANSWERED, Coverage, Job
from ansible.module_utils.eodhd.service.budget import Stopped
from ansible.module_utils.eodhd.service.client import Stop
from ansible.module_utils.eodhd.store.parser import Parsed
from ansible.module_utils.eodhd.store.store import Item, Written

# Rows stored in one transaction, about: enough that its cost does not show, few enough to lose by a kill.
BATCH_ROWS = 50_000
# Answers that wait for the storing thread.
QUEUE = 8
# Symbols claimed by one statement.
CLAIM = 16


class Locks(Protocol):
    """What tells runs apart; see ``claims.Claims``."""

    def claim(self, symbols: Iterable[str]) -> set[str]:
        """Those that no other run works on, ours from now on."""

    def release(self, symbols: Iterable[str]) -> None:
        """Give them up."""


@dataclass
class Totals:
    """What a run did; ``not_loaded`` holds outcome and message of each symbol that is not as asked."""

    symbols: int = 0
    done: int = 0
    loaded: int = 0
    fresh: int = 0
    calls: int = 0
    requests: int = 0
    bytes: int = 0
    downloaded: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    set_aside: int = 0
    untraded: int = 0
    registered: int = 0
    refetched: int = 0
    not_loaded: dict[str, tuple[str, str]] = field(default_factory=dict)

    def facts(self) -> dict[str, int]:
        """Return the numbers as plain data."""
        return {name: value for name, value in vars(self).items() if name != "not_loaded"}

    def add(self, item: Item, written: Written) -> None:
        """Count a stored answer."""
        rows, aside = (len(item.parsed.lines), len(item.parsed.aside)) if item.parsed else (0, 0)
        self.calls += item.answer.calls
        self.requests += item.answer.requests
        self.bytes += item.size
        self.downloaded += rows + aside
        self.inserted += written.inserted
        self.updated += written.updated
        self.unchanged += written.unchanged
        untraded = item.parsed.untraded if item.parsed else 0
        self.set_aside += aside - untraded
        self.untraded += untraded
        self.registered += written.registered
        if written.again is None:
            self.settle(item.job.symbol, item.outcome, item.message)

    def plus(self, other: Totals) -> Totals:
        """Return what two parts of a run did together."""
        counts = {name: count + other.facts()[name] for name, count in self.facts().items()}
        return Totals(**counts, not_loaded={**self.not_loaded, **other.not_loaded})

    def settle(self, symbol: str, outcome: str, message: str) -> None:
        """Note what finally became of a symbol."""
        self.done += 1
        if outcome == "loaded":
            self.loaded += 1
        else:
            self.not_loaded[symbol] = (outcome, message)

    def take_fresh(self, symbol: str, known: Coverage) -> None:
        """Count a symbol that was not asked for, because the ledger has it."""
        self.fresh += 1
        self.settle(symbol, known.outcome, known.message)


@dataclass(frozen=True)
class _Stored:
    items: list[Item]
    written: list[Written]


@dataclass(frozen=True)
class _Dropped:
    """A job without an answer, because the run stops."""

    job: Job


_Event = Union[_Stored, _Dropped, Exception]


class Pipeline:
    """Runs jobs.

    Args:
        fetch: makes one call: the answer and its rows; raises ``Stop`` or ``Stopped``.
        stores: each writes a batch in one transaction, in a thread of its own.
        claims: the ledger.
        stop: ends the run early when set: no new call is made, answers under way are still stored.
        workers: number of fetching threads.
        tick: called about every second with the totals.
        planned: when the ledger was read for the plan; what other runs answered since need not be asked.
        clock: the present, in UTC.
    """

    def __init__(
        self,
        fetch: Callable[[Job], tuple[Any, Parsed | None]],
        stores: Sequence[Callable[[list[Item]], list[Written]]],
        claims: Locks,
        coverage: Callable[[Sequence[str]], dict[str, Coverage]],
        stop: threading.Event,
        workers: int,
        tick: Callable[[Totals], None],
        planned: datetime,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._fetch = fetch
        self._stores = stores
        self._claims = claims
        self._coverage = coverage
        self._stop = stop
        self._workers = workers
        self._tick = tick
        self._planned = planned
        self._clock = clock
        self._tasks: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._answers: queue.Queue[Item | None] = queue.Queue(QUEUE)
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self.stopped_by: Stop | None = None

    def run(self, jobs: Iterable[Job], totals: Totals) -> None:
        """Run all jobs and count into ``totals``; what was not reached is ``pending`` there.

        Raises:
            Exception: what the storing met and could not mend.
        """
        threads = [threading.Thread(target=self._fetching, daemon=True) for _ in range(self._workers)]
        storing = [
            threading.Thread(target=self._storing, args=(store,), daemon=True) for store in self._stores
        ]
        for thread in (*threads, *storing):
            thread.start()
        try:
            self._coordinate(deque(jobs), totals)
        finally:
            self._stop.set()
            for _ in threads:
                self._tasks.put(None)
            for thread in threads:
                thread.join()
            for _ in storing:
                self._answers.put(None)
            for thread in storing:
                thread.join()

    def _coordinate(self, waiting: deque[Job], totals: Totals) -> None:
        active: dict[str, Job] = {}
        retry_at = 0.0
        while waiting or active:
            if self._stop.is_set():
                for job in waiting:
                    totals.settle(job.symbol, "pending", "not asked: the run ended before")
                waiting.clear()
            while waiting and len(active) < self._workers + CLAIM and time.monotonic() >= retry_at:
                if not self._hand_out(waiting, active, totals):
                    retry_at = time.monotonic() + 0.25  # another run is at all of these
            self._tick(totals)
            try:
                event = self._events.get(timeout=1.0 if active else 0.1)
            except queue.Empty:
                continue
            if isinstance(event, Exception):
                raise event
            self._take(event, active, totals)

    def _hand_out(self, waiting: deque[Job], active: dict[str, Job], totals: Totals) -> int:
        """Claim the next jobs; those that another run is at go to the end, those that it finished are done."""
        chunk = [waiting.popleft() for _ in range(min(CLAIM, len(waiting)))]
        mine = self._claims.claim([job.symbol for job in chunk])
        known = self._coverage(sorted(mine))
        finished = []
        for job in chunk:
            now = known.get(job.symbol)
            if job.symbol not in mine:
                waiting.append(job)
            elif now and finished_since(now, job, self._planned):
                finished.append(job.symbol)
                totals.take_fresh(job.symbol, now)
            else:
                if now and now.restated:  # found by a run that was killed before it asked for the whole past
                    job = Job(job.symbol, now.range.hull(job.range), vacant=False)
                active[job.symbol] = job
                self._tasks.put(job)
        if finished:
            self._claims.release(finished)
        return len(mine)

    def _take(self, event: _Event, active: dict[str, Job], totals: Totals) -> None:
        if isinstance(event, _Dropped):
            del active[event.job.symbol]
            self._claims.release([event.job.symbol])
            totals.settle(event.job.symbol, "pending", "not asked: the run ended before")
            return
        assert isinstance(event, _Stored)  # noqa: S101 - for the type checker
        finished = []
        for item, written in zip(event.items, event.written):
            symbol = item.job.symbol
            totals.add(item, written)
            if written.again is None:
                del active[symbol]
                finished.append(symbol)
            else:
                # Claimed until its whole past is stored, or another run would take it for done.
                totals.refetched += 1
                active[symbol] = Job(symbol, written.again, vacant=False, whole=True)
                self._tasks.put(active[symbol])
        self._claims.release(finished)

    def _fetching(self) -> None:
        while True:
            job = self._tasks.get()
            if job is None:
                return
            if self._stop.is_set():
                self._events.put(_Dropped(job))
                continue
            started = time.monotonic()
            try:
                answer, parsed = self._fetch(job)
            except (Stop, Stopped) as error:
                if isinstance(error, Stop):
                    self.stopped_by = error
                    self._stop.set()
                self._events.put(_Dropped(job))
                continue
            except Exception as error:  # noqa: BLE001 - raised again by the calling thread
                self._events.put(error)
                continue
            digest = hashlib.sha256(answer.body).hexdigest() if answer.body else None
            seconds = time.monotonic() - started
            self._answers.put(
                Item(
                    job,
                    answer.without_body(),
                    parsed,
                    len(answer.body),
                    digest,
                    self._clock(),
                    seconds,
                )
            )

    def _storing(self, store: Callable[[list[Item]], list[Written]]) -> None:
        broken = closing = False
        while not closing:
            batch, closing = self._batch()
            if batch and not broken:
                try:
                    self._events.put(_Stored(batch, store(batch)))
                except Exception as error:  # noqa: BLE001 - raised again by the calling thread
                    broken = True
                    self._events.put(error)

    def _batch(self) -> tuple[list[Item], bool]:
        """Wait for an answer and take the others that are there already, up to the size of a batch.

        Returns:
            tuple: the answers, and whether they were the last.
        """
        batch: list[Item] = []
        rows = 0
        item = self._answers.get()
        while item is not None:
            batch.append(item)
            rows += len(item.parsed.lines) if item.parsed else 0
            if rows >= BATCH_ROWS:
                return batch, False
            try:
                item = self._answers.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True


def finished_since(known: Coverage, job: Job, planned: datetime) -> bool:
    """Whether another run has answered for a job since this one was planned."""
    return (
        known.fetched > planned
        and known.outcome in ANSWERED
        and not known.restated
        and known.range.covers(job.range)
    )
