"""The rate limit: requests per minute, shared by all runs of an account.

The limit becomes known from the headers of answers. Runs take leases from the shared ledger, so that together they
stay below the limit in any 60 seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Callable, Optional

from ansible.module_utils.text import whole

WINDOW = 60.0
# Seconds until a lease expires; the ledger counts it this much longer than the window.
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
        while True:
            if self._stop.is_set():
                raise Stopped
            pause = self._try()
            if pause <= 0:
                return
            self._sleep(pause)

    def _try(self) -> float:
        """Take a permit and return 0, or return the seconds to wait before the next try."""
        with self._lock:
            now = self._clock()
            if now < self._paused_until:
                return min(self._paused_until - now, 1.0)
            if now >= self._granted_until:
                self._granted = 0
            if self._granted == 0:
                self._granted = self._lease(LEASE_SIZE, self.limit)
                self._granted_until = self._clock() + LEASE_LIFE
            if self._granted == 0:
                return 0.25
            self._granted -= 1
            self._sent += 1
            return 0.0

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
