"""Calls to EODHD: one GET with a bounded number of retries, and the meaning of its answer."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable

from ansible.module_utils.eodhd.model import Outcome
from ansible.module_utils.eodhd.service.budget import Budget, Stopped
from ansible.module_utils.eodhd.service.spool import Spool
from ansible.module_utils.eodhd.service.statuses import OUTCOMES, STOPS
from ansible.module_utils.eodhd.service.transport import Policy, Reply, Transport
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import whole

if TYPE_CHECKING:
    from ansible.module_utils.eodhd.service.courier import Courier


class Stop(Problem):
    """No further request makes sense in this run.

    Attributes:
        kind: as in ``STOPS``, or ``interrupted`` (signal).
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Answer:
    """The result of one call.

    Attributes:
        outcome: None if there is data; otherwise why there is none.
        calls: how many were charged, as far as known.
        requests: how many were sent.
        message: what went wrong, for people.
        kept: its names in the spool, until it is stored.
        size: bytes of the data.
        digest: SHA-256 of the data, in hexadecimal.
        sent: the header Date.
    """

    outcome: Outcome | None
    calls: int
    requests: int
    message: str = ""
    kept: tuple[str, ...] = ()
    size: int = 0
    digest: str | None = None
    sent: str = ""


@dataclass(eq=False)
class Client:
    """Makes calls, from any number of threads.

    Attributes:
        sender: sends one request.
        budget: permits requests.
        stop: set when the run ends early.
        spool: keeps answers until they are stored; None keeps none.
        leftover: returns the answer that a killed run on another host left, by its name in the spool.
        policy: limits of each call.
        force: make calls even if the spool has the answer.
        jitter: a random number in [0, 1).
    """

    sender: Transport | Courier
    budget: Budget
    stop: threading.Event
    spool: Spool | None = None
    leftover: Callable[[str], Reply | None] = lambda name: None
    policy: Policy = Policy()
    force: bool = False
    jitter: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        self._reading = threading.Lock()

    def close(self) -> None:
        """Close the kept connections."""
        self.sender.close()
        if self.spool:
            self.spool.close()

    def stored(self, answer: Answer) -> None:
        """Remove an answer from the spool, because the ledger has it."""
        if self.spool:
            for name in answer.kept:
                self.spool.drop(name)

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
        kept = (name,) if name else ()
        reply = None
        if self.spool and name and not self.force:
            reply = self.spool.take(name, self.stop) or self.leftover(name)
        calls = requests = faults = limited = 0
        while True:
            if reply is None:
                self.budget.acquire()
                requests += 1
                reply = self.sender.send(path, query, name)
                self.budget.observe(reply.headers)
            status, fault = reply.status, reply.fault
            if status in STOPS:
                raise Stop(*STOPS[status])
            if status in OUTCOMES:
                outcome, charged, message = OUTCOMES[status]
                return Answer(outcome, calls + charged, requests, message, kept), None
            if status == 200:
                calls += cost
                try:
                    # One at a time: parallel parsing would only slow down the threads that store.
                    with self._reading:
                        parsed = parse(reply.body)
                    size, digest = len(reply.body), hashlib.sha256(reply.body).hexdigest()
                    sent = reply.headers.get("Date", "")
                    return Answer(None, calls, requests, "", kept, size, digest, sent), parsed
                except ValueError:
                    fault = "an answer that is not the JSON requested"
                    if self.spool:
                        self.spool.drop(name)
            if status == 429:
                limited += 1
                fault = "the minute limit (429)"
            else:
                faults += 1
            if faults >= self.policy.tries or limited >= self.policy.tries_limited:
                message = f"{requests} requests failed, the last with {fault}"
                return Answer("failed", calls, requests, message), None
            self._wait(reply, faults, limited)
            reply = None

    def _wait(self, reply: Reply, faults: int, limited: int) -> None:
        """Wait before the next request, longer each time; after 429, the budget makes all threads wait.

        Raises:
            Stopped: the run was stopped first.
        """
        spread = 0.5 + self.jitter()
        if reply.status == 429:
            asked = whole(reply.headers.get("Retry-After")) or 0
            self.budget.pause(min(60.0, max(asked, 1.5**limited * spread)))
        elif self.stop.wait(2**faults * 0.25 * spread):
            raise Stopped
