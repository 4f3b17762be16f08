"""The courier process: what happens when the run or the courier ends."""

from __future__ import annotations

import gc
import json
import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from ansible.module_utils.eodhd.api import Policy, Reply, Transport
from ansible.module_utils.eodhd.client import Budget, Client
from ansible.module_utils.eodhd.courier import Courier, Spool
from ansible.module_utils.eodhd.ledger import Ledger
from ansible.module_utils.eodhd.store.database import Database
from ansible.module_utils.reporting import Problem
from standin.process import StandIn

from tests.integration.eodhd.conftest import TOKEN

POLICY = Policy(connect=5, read=5, total=10)


@pytest.fixture
def spool(tmp_path: Path, standin: StandIn) -> Spool:
    return Spool(str(tmp_path / "spool"), standin.url, 12)


@pytest.fixture
def courier(market: Any, standin: StandIn, spool: Spool) -> Iterator[Courier]:
    made = start(market, standin, spool)
    yield made
    made.close()


def start(market: Any, standin: StandIn, spool: Spool) -> Courier:
    session = Database(market.server, "backfill claims")
    return Courier(Transport(standin.url, TOKEN, POLICY, 2), spool, session)


def child() -> psutil.Process:
    return max(psutil.Process().children(), key=lambda process: process.create_time())


def ended(process: psutil.Process) -> bool:
    """Return whether it ends soon; in a container, the first process may never reap it."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


def test_an_answer_is_kept_before_the_run_gets_it(courier: Courier, spool: Spool) -> None:
    name = spool.name("eod/AAPL.US", {})
    reply = courier.send("eod/AAPL.US", {}, name)
    assert reply.status == 200
    assert "X-RateLimit-Limit" in reply.headers
    kept = spool.take(name)
    assert kept
    assert kept.body == reply.body


def test_a_fault_is_described_in_words(courier: Courier, spool: Spool, standin: StandIn) -> None:
    standin.control(answers={"AAPL.US": ["reset"]})
    reply = courier.send("eod/AAPL.US", {}, spool.name("eod/AAPL.US", {}))
    assert (reply.status, reply.fault) == (0, "a failed or closed connection")


class Garbage:
    """An object that only the garbage collector frees; that would close its file number, whoever has it by then."""

    def __init__(self) -> None:
        self.itself = self


def test_garbage_of_the_run_closes_no_file_of_the_courier(market: Any, spool: Spool) -> None:
    class Collecting:
        """Reports whether a collection frees inherited objects."""

        policy = POLICY
        connections = 2

        def send(self, _path: str, _query: dict[str, Any]) -> Reply:
            gc.collect()
            return Reply(200, b"freed" if seen() is None else b"left alone")

    gc.disable()
    try:
        seen = weakref.ref(Garbage())
        session = Database(market.server, "backfill claims")
        made = Courier(Collecting(), spool, session)  # type: ignore[arg-type]
    finally:
        gc.enable()
    try:
        assert made.send("eod/AAPL.US", {}, "answer").body == b"left alone"
    finally:
        made.close()


def test_no_channel_stays_open(market: Any, standin: StandIn, spool: Spool) -> None:
    before = len(os.listdir("/dev/fd"))
    made = start(market, standin, spool)
    made.close()
    assert len(os.listdir("/dev/fd")) == before


def test_the_courier_ends_with_the_run(courier: Courier) -> None:
    asking = child()
    courier.close()
    assert not asking.is_running()


def test_a_killed_courier_ends_the_run_with_a_message(courier: Courier, spool: Spool) -> None:
    asking = child()
    asking.kill()
    with pytest.raises(Problem, match="same command again"):
        courier.send("eod/AAPL.US", {}, spool.name("eod/AAPL.US", {}))


def test_answers_in_flight_at_a_kill_are_in_the_database_before_the_claim_is_released(
    market: Any, spool: Spool, standin: StandIn
) -> None:
    """The run is killed while it waits; the courier, in its own session, finishes and ends."""
    ledger = Ledger(Database(market.server, "test"), "account")
    ledger.create()
    standin.control(latency=0.5)
    name = spool.name("eod/AAPL.US", {})
    run = os.fork()
    if run == 0:
        try:
            made = start(market, standin, spool)
            made.claim(["AAPL.US"])
            made.send("eod/AAPL.US", {}, name)
        finally:
            os._exit(1)
    deadline = time.monotonic() + 10
    while name not in os.listdir(spool.fd) and time.monotonic() < deadline:
        time.sleep(0.01)
    [asking] = psutil.Process(run).children()
    os.kill(run, signal.SIGKILL)
    os.waitpid(run, 0)
    assert ledger.claims.claim(["AAPL.US"]) == set()
    deadline = time.monotonic() + 5
    while not ledger.claims.claim(["AAPL.US"]) and time.monotonic() < deadline:
        time.sleep(0.01)
    ledger.entries([])
    left = ledger.leftover(name, 12)
    assert left
    assert left.status == 200
    assert ended(asking)
    assert standin.counts()["paid"] == {"AAPL.US": 1}
    assert spool.take(name) is None


def test_an_answer_replaces_an_older_one_in_the_database(market: Any, courier: Courier, spool: Spool) -> None:
    Ledger(Database(market.server, "test"), "account").create()
    name = spool.name("eod/AAPL.US", {})
    market.query("INSERT INTO backfill_answer VALUES (%s, 404, 'old', now() - interval '1 day')", name)
    courier.send("eod/AAPL.US", {}, name)
    courier.close()
    assert market.query("SELECT status, received > now() - interval '1 hour' FROM backfill_answer") == [
        (200, True)
    ]


def test_a_killed_runs_answer_stays_in_the_database_until_it_is_stored(
    market: Any, courier: Courier, spool: Spool
) -> None:
    ledger = Ledger(Database(market.server, "test"), "account")
    ledger.create()
    name, stop = spool.name("eod/AAPL.US", {}), threading.Event()
    market.query("INSERT INTO backfill_answer VALUES (%s, 200, '[7]', now())", name)
    ledger.entries([])
    client = Client(courier, Budget(stop), stop, ledger, spool, POLICY, force=False)
    answer, parsed = client.get("eod/AAPL.US", json.loads)
    assert (parsed, answer.calls, answer.requests) == ([7], 1, 0)
    assert market.query("SELECT name FROM backfill_answer") == [(name,)]
    client.stored([answer])
    assert market.query("SELECT name FROM backfill_answer") == []
