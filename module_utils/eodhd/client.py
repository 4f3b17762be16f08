"""Calls to EODHD: one GET with a bounded number of retries, within the limit of requests per minute.

The limit becomes known from the headers of answers. Runs take leases from the shared ledger, so that together they
stay below the limit in any 60 seconds.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Optional

from ansible.module_utils.eodhd.api import OUTCOMES, STOPS, Policy, Reply, Transport
from ansible.module_utils.eodhd.model import Outcome
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import whole

if TYPE_CHECKING:
    from ansible.module_utils.eodhd.courier import Courier, Spool
    from ansible.module_utils.eodhd.ledger import Ledger

# Seconds until a lease expires.
LEASE_LIFE = 5.0
LEASE_SIZE = 16

# Takes the number of requests wanted and the limit per minute, if known; returns how many may be sent now.
Lease = Callable[[int, Optional[int]], int]


class Stopped(Exception):
    """The run was stopped while a request waited."""


class Budget:
    """Permits requests; used by all fetching threads.

    Args:
        stop: set when the run ends early; then nothing waits any longer.
        lease: takes from the count that all runs share; without a ledger, as in a plan, nothing is counted.
        clock, sleep: in seconds; ``sleep`` returns early when the run is stopped.
    """

    def __init__(
        self,
        stop: threading.Event,
        lease: Lease = lambda wanted, limit: 1,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._lease = lease
        self._stop = stop
        self._clock = clock
        self._sleep = sleep or stop.wait
        self._lock = threading.Lock()
        self._granted = 0
        self._granted_until = 0.0
        self._sent = 0
        self._paused_until = 0.0
        self.limit: int | None = None

    def share(self, lease: Lease) -> None:
        """Count together with other runs from now on, including the requests sent so far."""
        with self._lock:
            self._lease = lease
            if self._sent:
                lease(self._sent, self.limit)

    def acquire(self) -> None:
        """Wait until one request may be sent.

        Raises:
            Stopped: the run was stopped first.
        """
        while not self._stop.is_set():
            with self._lock:
                now = self._clock()
                pause = min(self._paused_until - now, 1.0)
                if pause <= 0:
                    if self._granted == 0 or now >= self._granted_until:
                        self._granted = self._lease(LEASE_SIZE, self.limit)
                        self._granted_until = self._clock() + LEASE_LIFE
                    if self._granted:
                        self._granted -= 1
                        self._sent += 1
                        return
                    pause = 0.25
            self._sleep(pause)
        raise Stopped

    def observe(self, headers: Mapping[str, str]) -> None:
        """Read the limit from an answer's headers; ignore values that are not numbers."""
        limit, left = whole(headers.get("X-RateLimit-Limit")), whole(headers.get("X-RateLimit-Remaining"))
        with self._lock:
            if limit:
                self.limit = limit
            # Another program uses the token too: leave the last few requests to those in flight.
            if limit and left is not None and left < min(LEASE_SIZE, limit // 4):
                self._paused_until = max(self._paused_until, self._clock() + 1.0)

    def pause(self, seconds: float) -> None:
        """Block all requests for some seconds, after the provider refused one for the limit per minute."""
        with self._lock:
            self._granted = 0
            self._paused_until = max(self._paused_until, self._clock() + seconds)


class Stop(Problem):
    """No further request makes sense in this run.

    Attributes:
        kind: as in ``STOPS``, or ``interrupted`` (signal).
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass
class Answer:
    """The result of one call.

    Attributes:
        outcome: None if there is data; otherwise why there is none.
        calls: how many were charged, as far as known.
        requests: how many were sent.
        kept: its names in the spool, until it is stored.
        size: bytes of the data.
        digest: SHA-256 of the data, in hexadecimal.
        sent: the header Date.
    """

    outcome: Outcome | None = None
    calls: int = 0
    requests: int = 0
    message: str = ""
    kept: tuple[str, ...] = ()
    size: int = 0
    digest: str | None = None
    sent: str = ""


@dataclass(eq=False)
class Client:
    """Makes calls, from any number of threads.

    Attributes:
        ledger: has the answers that killed runs on other hosts left.
        spool: keeps answers until they are stored; None keeps none.
        force: make calls even if a killed run left the answer.
        jitter: a random number in [0, 1).
    """

    sender: Transport | Courier
    budget: Budget
    stop: threading.Event
    ledger: Ledger
    spool: Spool | None
    policy: Policy
    force: bool
    jitter: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        # Parallel parsing would only slow down the threads that store.
        self._reading = threading.Lock()

    def close(self) -> None:
        """Close the kept connections."""
        self.sender.close()
        if self.spool:
            self.spool.close()

    def stored(self, answers: Iterable[Answer]) -> None:
        """Drop what is kept of answers, because the ledger has them."""
        if self.spool:
            names = [name for answer in answers for name in answer.kept]
            for name in names:
                self.spool.drop(name)
            self.ledger.drop_leftovers(names)

    def get(
        self,
        path: str,
        parse: Callable[[bytes], Any],
        query: Mapping[str, Any] | None = None,
        cost: int = 1,
        keep: bool = True,
    ) -> tuple[Answer, Any]:
        """Make one call, with retries within the limits of the policy.

        Args:
            path: below the base URL, with its parts separated by ``/``.
            parse: parses a body; raises ``ValueError`` if it is not the data requested.
            query: further parameters; None values are left out.
            cost: calls charged for a successful answer.
            keep: keep the answer in the spool until it is ``stored``, and use one that a killed run left there.

        Returns:
            tuple: the answer, and what ``parse`` returned for its body.

        Raises:
            Stop: the service refuses all further calls.
            Stopped: the run was stopped first.
        """
        query = query or {}
        name = self.spool.name(path, query) if self.spool and keep else ""
        answer, fault = Answer(kept=(name,) if name else ()), ""
        for reply in self._replies(path, query, name, answer):
            if reply.status in STOPS:
                raise Stop(*STOPS[reply.status])
            if reply.status in OUTCOMES:
                answer.outcome, charged, answer.message = OUTCOMES[reply.status]
                answer.calls += charged
                return answer, None
            fault = "the minute limit (429)" if reply.status == 429 else reply.fault
            if reply.status == 200:
                answer.calls += cost
                try:
                    with self._reading:
                        parsed = parse(reply.body)
                except ValueError:
                    fault = "an answer that is not the JSON requested"
                    if self.spool:
                        self.spool.drop(name)
                    continue
                answer.size, answer.digest = len(reply.body), hashlib.sha256(reply.body).hexdigest()
                answer.sent = reply.headers.get("Date", "")
                return answer, parsed
        answer.outcome = "failed"
        answer.message = f"{answer.requests} requests failed, the last with {fault}"
        return answer, None

    def _replies(self, path: str, query: Mapping[str, Any], name: str, answer: Answer) -> Iterator[Reply]:
        """Yield the reply that a killed run left, then one to each request until too many have failed."""
        if self.spool and name and not self.force:
            left = self.spool.take(name, self.stop) or self.ledger.leftover(name, self.spool.hours)
            if left:
                yield left
        faults = limited = 0
        while True:
            self.budget.acquire()
            answer.requests += 1
            reply = self.sender.send(path, query, name)
            self.budget.observe(reply.headers)
            yield reply
            limited += reply.status == 429
            faults += reply.status != 429
            if faults >= self.policy.tries or limited >= self.policy.tries_limited:
                return
            # Longer each time; after 429, the budget makes all threads wait.
            spread = 0.5 + self.jitter()
            if reply.status == 429:
                asked = whole(reply.headers.get("Retry-After")) or 0
                self.budget.pause(min(60.0, max(asked, 1.5**limited * spread)))
            elif self.stop.wait(2**faults * 0.25 * spread):
                raise Stopped
