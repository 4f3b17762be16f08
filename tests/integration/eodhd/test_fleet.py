"""Several workers on one list share ledger and rate limit, and pay no call twice, even if one is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.database.tables import mingled
from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.eodhd.model import Task
from ansible.module_utils.eodhd.pipeline import own_part_first
from standin import worker

from tests.conftest import FULL

ROOT = Path(__file__).resolve().parents[3]
WORKERS = 3
SYMBOLS = [f"SYM{number:05d}.US" for number in range(240)]
CONTENT = "SELECT symbol, time, open, high, low, close, adjusted_close, volume FROM market_data ORDER BY 1, 2"
DIGESTS = "SELECT symbol, digest FROM backfill_outcome WHERE outcome = 'loaded' ORDER BY 1"


def fleet(market: Any, tmp_path: Path, **options: Any) -> list[worker.Run]:
    """Start the workers, each with its own spool, as on separate hosts."""
    return [
        worker.start(
            market.server,
            **{
                "mode": "history", "base_url": market.standin.url, "token": "token", "symbols": SYMBOLS,
                "days": 60, "concurrency": 4, "shard": shard, "shards": WORKERS,
                "spool": str(tmp_path / f"spool{shard}"), **options,
            },
        )
        for shard in range(WORKERS)
    ]  # fmt: skip


def test_every_worker_starts_with_its_own_part() -> None:
    days = Range.__new__(Range)
    tasks = [Task(name, days, vacant=True) for name in "ABCDEFG"]
    firsts = ["".join(task.symbol for task in own_part_first(tasks, shard, 3)) for shard in range(3)]
    assert firsts == ["ABCDEFG", "CDEFGAB", "EFGABCD"]


def test_three_workers_load_the_same_as_one(market: Any, tmp_path: Path) -> None:
    market.standin.control(latency=0.02, token="", universe=240)
    results = [worker.finish(process) for process in fleet(market, tmp_path)]
    assert all("SUCCESS" in result["report"] for result in results)
    assert min(result["totals"]["calls"] for result in results) > 20, "the work is shared"
    assert max(market.standin.counts()["paid"].values()) == 1
    together = market.query(CONTENT), market.query(DIGESTS)
    market.query("TRUNCATE market_data, assets, backfill_coverage, backfill_outcome")
    market.load(symbols=SYMBOLS, days=60)
    assert (market.query(CONTENT), market.query(DIGESTS)) == together


def test_other_workers_take_over_from_a_killed_one_without_paying_twice(market: Any, tmp_path: Path) -> None:
    market.standin.control(latency=0.05, token="", universe=240)
    processes = fleet(market, tmp_path)
    while not market.query("SELECT to_regclass('backfill_coverage') IS NOT NULL")[0][0]:
        time.sleep(0.02)
    while market.query("SELECT count(*) < 40 FROM backfill_coverage")[0][0]:
        time.sleep(0.02)
    processes[0].send_signal(signal.SIGKILL)
    processes[0].wait(30)
    for process in processes[1:]:
        assert "SUCCESS" in worker.finish(process)["report"]
    assert market.query("SELECT count(DISTINCT symbol) FROM market_data") == [(240,)]
    assert max(market.standin.counts()["paid"].values()) == 1


EVENING = datetime(2024, 9, 30, 22, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "history", "symbols": SYMBOLS[:3]},
        {"mode": "actions", "symbols": SYMBOLS[:3]},
        {"mode": "actions", "symbols": [], "first": EVENING.date(), "last": EVENING.date()},
        {"mode": "daily", "exchanges": ["US", "AU"]},
        {"mode": "daily", "exchanges": ["VN"]},
        {"mode": "register", "exchanges": ["US"]},
    ],
    ids=[
        "history",
        "actions by symbol",
        "actions by session",
        "daily",
        "daily without a calendar",
        "register",
    ],
)
@pytest.mark.parametrize("asked", ["never", "before"])
def test_an_answer_from_before_the_plan_stored_after_it_is_not_paid_again(
    market: Any, asked: str, options: dict[str, Any]
) -> None:
    began = time.monotonic()

    def start() -> subprocess.Popen[str]:
        request = {"base_url": market.standin.url, "token": "token", **options}
        # Its ``now`` follows the clock.
        present = now + timedelta(seconds=time.monotonic() - began)
        process: subprocess.Popen[str] = worker.start(market.server, now=present.isoformat(), **request)
        return process

    now = EVENING
    market.standin.control(token="", now=now.isoformat())
    market.load(now)  # creates the ledger
    if asked == "before":
        market.load(now, **options)
        market.query("UPDATE backfill_coverage SET fetched = %s", now)
        now += timedelta(days=1)
        market.standin.control(reset=True, now=now.isoformat())
    with closing(market.server.connect()) as connection, connection.cursor() as cursor:
        if options["mode"] == "history" and mingled(cursor):
            pytest.skip("no plan is made there while another run stores")
        # Plans are complete, but nothing is stored.
        cursor.execute("LOCK TABLE backfill_coverage, backfill_session, backfill_set_aside IN SHARE MODE")
        first = start()
        until(market, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND locktype = 'relation'")
        second = start()
        until(market, "SELECT count(*) = 2 FROM backfill_run WHERE state = 'running'")
        connection.rollback()
    results = [worker.finish(process) for process in (first, second)]
    assert [result.get("problem") for result in results] == [None, None]
    assert results[1]["totals"]["calls"] == 0


def until(market: Any, question: str) -> None:
    """Wait until the query returns true."""
    end = time.monotonic() + 30
    while not market.query(question)[0][0]:
        assert time.monotonic() < end, question
        time.sleep(0.02)


@pytest.mark.parametrize("_time", range(20 if FULL else 1))
def test_a_restated_history_is_loaded_whichever_worker_detects_it(
    market: Any, tmp_path: Path, _time: int
) -> None:
    symbols = SYMBOLS[:60]
    now = datetime.now(timezone.utc)
    early = now - timedelta(days=3)
    market.standin.control(token="", universe=60, today=early.date().isoformat())
    assert "SUCCESS" in market.load(early, symbols=symbols, days=800)["report"]
    split = (now - timedelta(days=6)).date().isoformat()
    market.standin.control(
        today=now.date().isoformat(), latency=0.01, splits={symbol: [split, 4] for symbol in symbols}
    )
    results = [worker.finish(process) for process in fleet(market, tmp_path, symbols=symbols, days=30)]
    assert all("SUCCESS" in result["report"] for result in results)
    bars = market.query("SELECT symbol, time::date FROM market_data WHERE time < %s", split)
    revised = market.query("SELECT symbol, day FROM backfill_revision")
    assert {symbol for symbol, _ in set(bars) - set(revised)} == set(), (
        "keep a history from before their split"
    )
    assert market.query("SELECT count(*) FROM backfill_coverage WHERE restated") == [(0,)]
    assert sum(result["totals"]["calls"] for result in results) == 120


@pytest.mark.skipif(not FULL, reason="FAULTS=full only (make faults): it lasts more than a minute")
def test_all_workers_together_respect_the_limit_per_minute(market: Any, tmp_path: Path) -> None:
    market.standin.control(token="", universe=240, minute=60)
    began = time.monotonic()
    processes = fleet(market, tmp_path, symbols=SYMBOLS[:70])
    results = [worker.finish(process) for process in processes]
    assert time.monotonic() - began > 50, "70 calls at 60 a minute"
    assert all("SUCCESS" in result["report"] for result in results)
    counts = market.standin.counts()
    assert counts["peak_minute"] <= 60
    assert max(counts["paid"].values()) == 1


def test_workers_pay_for_the_ranking_once(market: Any, tmp_path: Path) -> None:
    market.standin.control(latency=0.05, token="", universe=240)
    results = [worker.finish(process) for process in fleet(market, tmp_path, symbols=[], top=30)]
    assert all("SUCCESS" in result["report"] for result in results)
    counts = market.standin.counts()
    assert counts["calls"] == 130
    assert sum(result["totals"]["calls"] for result in results) == 130


def test_the_hosts_of_the_group_share_the_play(market: Any, tmp_path: Path) -> None:
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    names = [f"worker-{number}" for number in range(WORKERS)]
    for name in names:
        (tmp_path / name).mkdir()
    inventory = tmp_path / "hosts.json"
    inventory.write_text(
        json.dumps(
            {
                "all": {
                    "children": {
                        "backfill_workers": {
                            "hosts": {n: {**host, "project_root": str(tmp_path / n)} for n in names}
                        },
                        "others": {"hosts": {"idle": host}},
                    }
                }
            }
        )
    )
    server = market.server
    given = tmp_path / "variables.json"
    given.write_text(
        json.dumps(
            {
                "postgres_host": server.host, "postgres_port": server.port, "postgres_user": server.user,
                "postgres_password": server.password, "postgres_db": server.database,
                "eodhd_api_token": "token", "eodhd_base_url": market.standin.url,
                "project_interpreter": sys.executable,
                "backfill_symbols": SYMBOLS, "ansible_remote_tmp": str(tmp_path / "tmp"),
            }
        )
    )  # fmt: skip
    market.standin.control(latency=0.02, token="", universe=240)
    done = subprocess.run(
        [
            Path(sys.executable).parent / "ansible-playbook", "-i", "inventory/sandbox.yml", "-i", inventory,
            "playbooks/backfill.yml", "-e", f"@{given}",
        ],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("🎉 SUCCESS") == WORKERS
    assert "idle" not in done.stdout
    assert market.standin.counts()["calls"] == len(SYMBOLS)
