"""Calls to EODHD: one GET repeated within bounds, and what an answer means."""

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
        kind: ``refused`` (the token), ``quota`` (until 00:00 GMT) or ``plan`` (what the account may ask).
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Answer:
    """What came of one call.

    Attributes:
        outcome: None if ``body`` is data; otherwise why there is none.
        body: as received.
        calls: how many the account was charged, as far as is known.
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
        """Return the same without the body, which is large and read by now."""
        return replace(self, body=b"")


_STOPS = {
    401: (
        "refused",
        "EODHD refuses the token (401)."
        " Set eodhd_api_token (vault_eodhd_api_token in the vault) to a valid one.",
    ),
    402: (
        "quota",
        "The account's calls of today are spent (402). What is loaded stays; run the same command again after"
        " 00:00 GMT and the rest follows without paying twice.",
    ),
    423: (
        "plan",
        "The account's plan has no bulk requests (423): backfill_mode=daily and backfill_top need a paid plan."
        " Use backfill_mode=history with backfill_symbols.",
    ),
}
# The outcome, the calls that the account is charged (if any, the status is in PAID of spool.py too), and what it means.
_OUTCOMES: dict[int, tuple[Outcome, int, str]] = {
    403: ("forbidden", 0, "not in the account's plan (403); if all are, check eodhd_api_token too"),
    404: ("unknown", 1, "EODHD knows no such symbol or exchange (404); check the spelling and the suffix"),
    422: ("rejected", 0, "EODHD calls the request malformed (422); check symbol and dates"),
}


@dataclass(eq=False)
class Client:
    """Makes calls; may be used by many threads at once.

    Attributes:
        sender: sends one request.
        budget: says when a request may be sent.
        stop: set when the run ends early.
        spool: where answers are kept that no run has stored yet; None: nowhere.
        left: gives an answer that another host's killed run left, by its name in the spool.
        policy: bounds of each call.
        anew: ask also for what the spool has.
        jitter: a random number in [0, 1).
    """

    sender: Transport | Courier
    budget: Budget
    stop: threading.Event
    spool: Spool | None = None
    left: Callable[[str], Reply | None] = lambda name: None
    policy: Policy = Policy()
    anew: bool = False
    jitter: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        self._reading = threading.Lock()

    def close(self) -> None:
        """Close the kept connections."""
        self.sender.close()
        if self.spool:
            self.spool.close()

    def stored(self, answer: Answer) -> None:
        """Let go of what was kept of an answer: the ledger has it."""
        if self.spool:
            for name in answer.kept:
                self.spool.drop(name)

    def get(
        self,
        path: str,
        usable: Callable[[bytes], Any],
        query: Mapping[str, Any] | None = None,
        cost: int = 1,
        anew: bool = False,
    ) -> tuple[Answer, Any]:
        """Make one call, repeating it within the bounds of the policy.

        Args:
            path: below the base URL, its parts separated by ``/``.
            usable: reads a body; raises ``ValueError`` if it is not what was asked for.
            query: further parameters; those that are None are left out.
            cost: calls that the account is charged for an answer.
            anew: ask, whatever was received before.

        Returns:
            tuple: the answer, and what ``usable`` made of its body.

        Raises:
            Stop: the service refuses every further call.
            Stopped: the run was stopped first.
        """
        query = query or {}
        name = self.spool.name(path, query) if self.spool else ""
        kept = (name,) if name else ()
        reply = None
        if self.spool and not (anew or self.anew):
            reply = self.spool.take(name, self.stop) or self.left(name)
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
                    # One at a time: more would only take the interpreter from the threads that store.
                    with self._reading:
                        made = usable(reply.body)
                    return Answer(None, reply.body, calls, requests, kept=kept), made
                except ValueError:
                    fault = "an answer that is not the JSON list asked for"
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
                message = f"{requests} requests, the last met {fault}"
                return Answer("failed", b"", calls, requests, message), None
            # After 429 the budget waits, and every thread with it.
            if status != 429 and self.stop.wait(2**faults * 0.25 * (0.5 + self.jitter())):
                raise Stopped
            reply = None
