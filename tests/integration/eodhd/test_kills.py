"""Kills of every mode at any moment: the next run loses nothing, doubles nothing and pays for nothing again."""

from __future__ import annotations

import random
import signal
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from standin import worker

from tests import engines
from tests.conftest import FULL

MONDAY = datetime(2024, 9, 30, 22, tzinfo=timezone.utc)
TUESDAY = MONDAY + timedelta(days=1)
STEP = 1 if FULL else 4
PAID = {f"SYM{number:05d}.US": {"2024-09-11": "0.27"} for number in range(40)}


def settling(market: Any) -> dict[str, Any]:
    """Monday's session is requested again with its corrections, besides Tuesday's."""
    market.load(MONDAY, mode="daily")
    return {"mode": "daily"}


def restated(market: Any) -> dict[str, Any]:
    """A session shows a restatement, and the history is loaded again."""
    market.load(MONDAY, mode="daily")
    market.load(MONDAY, symbols=["AAPL.US"], days=300)
    market.standin.control(splits={"AAPL.US": [TUESDAY.date().isoformat(), 4]})
    return {"mode": "daily"}


def renames(market: Any) -> dict[str, Any]:
    market.load(MONDAY, mode="daily")
    market.standin.control(renames=[["TSLA.US", "TSLX.US", MONDAY.date().isoformat()]])
    return {"mode": "register", "exchanges": ["US", "AU"]}


def delisted(market: Any) -> dict[str, Any]:
    market.load(TUESDAY, mode="register")
    return {"mode": "history", "symbols": [*PAID, "AAPL.US"], "delisted": True, "days": 2000}


def actions(market: Any) -> dict[str, Any]:
    market.standin.control(dividends=PAID, splits={"AAPL.US": ["2014-06-09", 7]})
    return {"mode": "actions", "symbols": [*PAID, "AAPL.US"], "last": TUESDAY.date()}


def snapshot(market: Any) -> dict[str, Any]:
    market.load(MONDAY, symbols=list(PAID), days=2000)
    return {"mode": "snapshot", "snapshot": "kept"}


# The stored data and the ledger, both at one moment.
BOOKS = """
SELECT 'bars', (SELECT count(*) FROM market_data), (SELECT sum(inserted) FROM backfill_outcome WHERE symbol !~ {other})
UNION ALL
SELECT 'sessions',
  (SELECT count(*) FROM market_data WHERE (time AT TIME ZONE 'UTC')::date IN (SELECT day FROM backfill_session)),
  (SELECT sum(rows) FROM backfill_session)
UNION ALL
SELECT 'revisions', (SELECT count(*) FROM backfill_revision),
  (SELECT sum(updated) FROM backfill_outcome WHERE symbol !~ {other})
UNION ALL
SELECT 'actions', (SELECT count(*) FROM market_split) + (SELECT count(*) FROM market_dividend),
  (SELECT sum(inserted) FROM backfill_outcome WHERE symbol ~ '^(splits|dividends)')
UNION ALL
SELECT 'listings', (SELECT count(*) FROM backfill_listing),
  (SELECT sum(rows) FROM backfill_coverage WHERE symbol ~ '^register')
UNION ALL
SELECT 'renames', (SELECT count(*) FROM backfill_rename),
  (SELECT sum(rows) FROM backfill_coverage WHERE symbol ~ '^renames')
""".format(other="'^(splits|dividends|register|renames)'")
MODES = pytest.mark.parametrize("prepare", [settling, restated, renames, delisted, actions, snapshot])


class Run:
    """A run to be killed, and what the next runs must achieve.

    Args:
        market: where.
        prepare: one of the above.
        latency: of the stand-in, in seconds.
    """

    def __init__(self, market: Any, prepare: Any, latency: float) -> None:
        self._market = market
        market.standin.control(now=MONDAY.isoformat())
        self._options = prepare(market)
        market.standin.control(now=TUESDAY.isoformat(), latency=latency)
        self._least = market.load(TUESDAY, check=True, **self._options).get("plan", {"calls": 0})["calls"]
        if prepare is restated:
            self._least += 1  # unknown before the run
        self._before = self._asked = market.standin.counts()["calls"]

    def start(self, **more: Any) -> worker.Run:
        market = self._market
        request = {"base_url": market.standin.url, "token": market.request().token, "spool": market.spool}
        request |= {"now": TUESDAY.isoformat(), "concurrency": 4, **self._options, **more}
        process: worker.Run = worker.start(market.server, **request)
        return process

    def at_work(self) -> bool:
        """Return whether a call was made since the last check; without calls, whether the run is connected."""
        if self._least:
            before, self._asked = self._asked, self._market.standin.counts()["calls"]
            return bool(self._asked > before)
        found = self._market.query(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'backfill%'"
        )
        return bool(found[0][0])

    def killed(self, process: worker.Run) -> bool:
        """Wait for a run and return whether it was killed; check that the ledger matches the data."""
        code: int = process.wait(60)
        there = self._market.query("SELECT to_regclass('backfill_snapshot') IS NOT NULL")
        if (
            there == [(True,)] and engines.LAYOUT.engine == "embedded"
        ):  # other layouts store long histories in slices
            for what, stored, told in self._market.query(BOOKS):
                assert stored == (told or 0), what
        return code == -signal.SIGKILL

    def finished(self) -> None:
        """Check that everything is stored once and was paid for once."""
        market = self._market
        assert market.standin.counts()["calls"] - self._before == self._least
        assert market.query("SELECT count(*) FROM backfill_coverage WHERE restated") == [(0,)]
        # This would load anything lost, and fail on duplicates. It uses a later time, because otherwise the earlier
        # answers would count as those of a parallel run.
        later = TUESDAY + timedelta(minutes=5)
        market.standin.control(now=later.isoformat())
        again = market.load(later, **self._options, force=True)
        assert (again["changed"], again.get("problem")) == (False, None)


@pytest.mark.safety
@MODES
def test_the_next_run_finishes_a_killed_one(market: Any, prepare: Any) -> None:
    run = Run(market, prepare, 0.15)
    chance, killed = random.Random(prepare.__name__), 0
    for attempt in range(5 if FULL else 3):
        process = run.start()
        while not run.at_work() and process.poll() is None:
            time.sleep(0.005)
        # The first kill is immediate, because a fast machine finishes soon.
        time.sleep(attempt and chance.random() * 0.4)
        process.send_signal(signal.SIGKILL)
        killed += run.killed(process)
    worker.finish(run.start())
    assert killed
    run.finished()


@MODES
def test_the_next_run_finishes_one_that_was_killed_between_changes(market: Any, prepare: Any) -> None:
    run = Run(market, prepare, 0)
    points = 0
    while run.killed(run.start(points=points)):
        points += STEP
    run.finished()
