"""Calls to EODHD: one GET with a bounded number of retries, and the meaning of its answer."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Callable

from ansible.module_utils.eodhd.model import Outcome
from ansible.module_utils.eodhd.service.budget import Budget, Stopped
from ansible.module_utils.eodhd.service.spool import Spool
from ansible.module_utils.eodhd.service.transport import Policy, Reply, Transport
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import whole

if TYPE_CHECKING:
    from ansible.module_utils.eodhd.service.courier import Courier


class Stop(Problem):
    """No further request makes sense in this run.

    Attributes:
        kind: ``refused`` (token), ``quota`` (until 00:00 GMT), ``plan`` (account) or ``interrupted`` (signal).
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Answer:
    """The result of one call.

    Attributes:
        outcome: None if ``body`` is data; otherwise why there is no data.
        body: as received.
        calls: how many were charged, as far as known.
        requests: how many were sent.
        message: what went wrong, for people.
        kept: its names in the spool, until it is stored.
    """

    outcome: Outcome | None
    body: bytes
    calls: int
    requests: int
    message: str = ""
    kept: tuple[str, ...] = ()

    def without_body(self) -> Answer:
        """Return a copy without the body, which is large and already parsed."""
        return replace(self, body=b"")


_STOPS = {
    401: (
        "refused",
        "EODHD refuses the token (401)."
        " Set eodhd_api_token (vault_eodhd_api_token in the vault) to a valid one.",
    ),
    402: (
        "quota",
        "Today's calls of the account are spent (402). What was stored stays stored. Run the same command again"
        " after 00:00 GMT to load the rest without paying twice.",
    ),
    423: (
        "plan",
        "The account's plan has no bulk requests (423): backfill_mode=daily and backfill_top need a paid plan."
        " Use backfill_mode=history with backfill_symbols.",
    ),
}
# The outcome, the calls charged (if any, the status also belongs in PAID of spool.py), and what the status means.
_OUTCOMES: dict[int, tuple[Outcome, int, str]] = {
    403: (
        "forbidden",
        0,
        "not in the account's plan (403); if every symbol gets this, check eodhd_api_token",
    ),
    404: ("unknown", 1, "EODHD knows no such symbol or exchange (404); check the spelling and the suffix"),
    422: ("rejected", 0, "EODHD rejects the request as malformed (422); check symbol and dates"),
}


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
        skip_spool: make calls even if the spool has the answer.
        jitter: a random number in [0, 1).
    """

    sender: Transport | Courier
    budget: Budget
    stop: threading.Event
    spool: Spool | None = None
    leftover: Callable[[str], Reply | None] = lambda name: None
    policy: Policy = Policy()
    skip_spool: bool = False
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
        skip_spool: bool = False,
    ) -> tuple[Answer, Any]:
        """Make one call, with retries within the limits of the policy.

        Args:
            path: below the base URL, with its parts separated by ``/``.
            parse: parses a body; raises ``ValueError`` if it is not the data requested.
            query: further parameters; None values are left out.
            cost: calls charged for a successful answer.
            skip_spool: make the call even if the spool has the answer.

        Returns:
            tuple: the answer, and what ``parse`` returned for its body.

        Raises:
            Stop: the service refuses all further calls.
            Stopped: the run was stopped first.
        """
        query = query or {}
        name = self.spool.name(path, query) if self.spool else ""
        kept = (name,) if name else ()
        reply = None
        if self.spool and not (skip_spool or self.skip_spool):
            reply = self.spool.take(name, self.stop) or self.leftover(name)
        calls = requests = faults = limited = 0
        while True:
            if reply is None:
                self.budget.acquire()
                requests += 1
                reply = self.sender.send(path, query, name)
                self.budget.observe(reply.headers)
            status, fault = reply.status, reply.fault
            if status in _STOPS:
                raise Stop(*_STOPS[status])
            if status in _OUTCOMES:
                outcome, charged, message = _OUTCOMES[status]
                return Answer(outcome, b"", calls + charged, requests, message, kept), None
            if status == 200:
                calls += cost
                try:
                    # One at a time: parallel parsing would only slow down the threads that store.
                    with self._reading:
                        parsed = parse(reply.body)
                    return Answer(None, reply.body, calls, requests, kept=kept), parsed
                except ValueError:
                    fault = "an answer that is not the JSON requested"
                    if self.spool:
                        self.spool.drop(name)
            if status == 429:
                limited += 1
                fault = "the minute limit (429)"
                asked = whole(reply.headers.get("Retry-After")) or 0
                self.budget.pause(min(60.0, max(asked, 1.5**limited * (0.5 + self.jitter()))))
            else:
                faults += 1
            if faults >= self.policy.tries or limited >= self.policy.tries_limited:
                message = f"{requests} requests failed, the last with {fault}"
                return Answer("failed", b"", calls, requests, message), None
            # After 429, the budget makes all threads wait.
            if status != 429 and self.stop.wait(2**faults * 0.25 * (0.5 + self.jitter())):
                raise Stopped
            reply = None
