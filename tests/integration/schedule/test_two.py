"""Two schedulers by mistake, each with a memory of its own, on one database and one account."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from ansible.module_utils.schedule import jobs
from ansible.module_utils.schedule.jobs import Config, Job
from ansible.module_utils.schedule.runner import Played, Runner
from ansible.module_utils.schedule.state import OK, Run
from standin import worker

from tests.integration.eodhd.conftest import TOKEN, Market, market, standin, standin_process, today  # noqa: F401

GIVEN = {
    mode: {
        "playbook": "backfill",
        "each": "exchange",
        "at": "published",
        "variables": {"backfill_mode": mode},
    }
    for mode in ("daily", "actions")
}


class Scheduler:
    """One of them; its playbook is the backfill itself, in a process of its own."""

    def __init__(self, folder: Path, estate: Market) -> None:
        (folder / "spare").mkdir(parents=True)
        self.market, self.folder = estate, folder
        config = Config("/p", [], jobs.parse(GIVEN, ["US"]), str(folder), str(folder / "spare"), retries=[])
        self.runner = Runner(config, self._play, say=lambda line: None)

    def _play(self, job: Job, _log: Path) -> Played:
        server = replace(self.market.server)
        options = {"mode": job.variables["backfill_mode"], "exchanges": ["US"], "symbols": [], "days": 5}
        options |= {"base_url": self.market.standin.url, "token": TOKEN}
        result = worker.finish(worker.start(server, **options, spool=str(self.folder / "spool")))
        failed = "problem" in result
        record: dict[str, Any] = {
            "state": "failed" if failed else "ok",
            "host": "hub",
            "msg": result.get("problem"),
        }
        return Played(2 if failed else 0, [{**record, "totals": result.get("totals")}])

    @property
    def last(self) -> Run:
        return self.runner.state.runs()[-1]


def run_both(estate: Market, folder: Path, job: str) -> list[Scheduler]:
    """Let both run a job at the same time."""
    paid = {str(today() - timedelta(days=days)): "0.27" for days in range(6)}
    estate.standin.control(latency=1.5, dividends={"AAPL.US": paid})
    schedulers = [Scheduler(folder / name, estate) for name in ("one", "other")]
    threads = [threading.Thread(target=each.runner.run, args=(job,)) for each in schedulers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.last.outcome for each in schedulers] == [OK, OK]
    assert sorted("another scheduler" in each.last.note for each in schedulers) == [False, True]
    return schedulers


def test_no_call_is_paid_twice_no_row_is_lost_and_one_says_that_the_other_works(
    market: Market,  # noqa: F811
    tmp_path: Path,
) -> None:
    schedulers = run_both(market, tmp_path, "daily-US")
    assert market.standin.counts()["paid"]["US"] == 1
    assert market.query("SELECT count(DISTINCT time), count(*) FROM market_data") == [(1, 56)]
    assert sum(each.last.calls for each in schedulers) == 100


def test_the_same_of_splits_and_dividends(market: Market, tmp_path: Path) -> None:  # noqa: F811
    schedulers = run_both(market, tmp_path, "actions-US")
    paid = sum(market.standin.counts()["paid"].values())
    # Of each session two files.
    assert market.query("SELECT count(*), count(DISTINCT day) FROM market_dividend") == [
        (paid // 2, paid // 2)
    ]
    assert sum(each.last.calls for each in schedulers) == 100 * paid
