"""Kills of every mode: whenever one comes, the next run pays for nothing again, loses nothing and doubles nothing."""

from __future__ import annotations

import random
import signal
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from standin import worker

MONDAY = datetime(2024, 9, 30, 22, tzinfo=timezone.utc)
TUESDAY = MONDAY + timedelta(days=1)
PAID = {f"SYM{number:05d}.US": {"2024-09-11": "0.27"} for number in range(40)}


def settling(market: Any) -> dict[str, Any]:
    """Monday's session is asked for again, with its corrections, besides Tuesday's."""
    market.load(MONDAY, mode="daily")
    return {"mode": "daily"}


def restated(market: Any) -> dict[str, Any]:
    """A session shows that a past was restated, and its history is loaded again."""
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


@pytest.mark.parametrize("prepare", [settling, restated, renames, delisted, actions, snapshot])
def test_a_killed_run_is_finished_by_the_next(market: Any, prepare: Any) -> None:
    market.standin.control(now=MONDAY.isoformat())
    options = prepare(market)
    market.standin.control(now=TUESDAY.isoformat(), latency=0.15)
    least = market.load(TUESDAY, check=True, **options).get("plan", {"calls": 0})["calls"]
    if prepare is restated:
        least += 1  # nobody knows it before
    before = market.standin.counts()["calls"]
    request = {"base_url": market.standin.url, "token": market.request().token, "spool": market.spool}
    request |= {"now": TUESDAY.isoformat(), "concurrency": 4, **options}
    chance, killed = random.Random(prepare.__name__), 0
    for _ in range(5):
        process = worker.start(market.server, **request)
        while not at_work(market) and process.poll() is None:
            time.sleep(0.005)
        time.sleep(chance.random() * 0.4)
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    worker.finish(worker.start(market.server, **request))
    assert killed > 1
    assert market.standin.counts()["calls"] - before == least
    assert market.query("SELECT count(*) FROM backfill_coverage WHERE restated") == [(0,)]
    # Whatever had been lost would come now, and whatever is there twice would not bear it.
    again = market.load(TUESDAY, **options, force=True)
    assert (again["changed"], again.get("problem")) == (False, None)


def at_work(market: Any) -> bool:
    found = market.query("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'backfill%'")
    return bool(found[0][0])
