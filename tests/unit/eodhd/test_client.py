"""The rate limit, which all runs together respect."""

from __future__ import annotations

import threading

import pytest
from ansible.module_utils.eodhd.client import Budget, Stopped


class Clock:
    """A clock that advances only during sleep."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Shared:
    """The ledger's request count, in memory."""

    def __init__(self, clock: Clock, limit: int) -> None:
        self.clock, self.limit, self.grants = clock, limit, list[tuple[float, int]]()

    def lease(self, wanted: int, limit: int | None) -> int:
        used = sum(count for at, count in self.grants if at > self.clock() - 65)
        granted = max(0, min(wanted, self.limit - used))
        self.grants.append((self.clock(), granted))
        return granted


def test_two_runs_together_stay_below_the_limit_in_any_minute() -> None:
    clock = Clock()
    shared = Shared(clock, 100)
    runs = [Budget(threading.Event(), shared.lease, clock, clock.sleep) for _ in range(2)]
    sent = []
    for number in range(500):
        runs[number % 2].acquire()
        sent.append(clock())
        clock.sleep(0.01)
    assert max(sum(1 for other in sent if at <= other < at + 60) for at in sent) <= 100
    assert clock() - 1000 < 500


def test_a_pause_stops_all_threads_and_headers_set_the_limit() -> None:
    clock = Clock()
    budget = Budget(threading.Event(), Shared(clock, 10**6).lease, clock, clock.sleep)
    budget.observe({"X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": "900"})
    assert budget.limit == 1000
    budget.observe({"X-RateLimit-Limit": "soon"})
    assert budget.limit == 1000
    budget.pause(7)
    budget.acquire()
    assert clock() >= 1007
    budget.observe({"X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": "2"})
    before = clock()
    budget.acquire()
    assert clock() > before


def test_a_stopped_run_does_not_wait() -> None:
    stop = threading.Event()
    clock = Clock()
    budget = Budget(stop, Shared(clock, 0).lease, clock, lambda seconds: stop.set())
    with pytest.raises(Stopped):
        budget.acquire()
