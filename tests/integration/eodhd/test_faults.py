"""Faults from outside: kills, database restarts, and connections lost during a COPY."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.database import tables
from ansible.module_utils.eodhd.store import database as databases
from ansible.module_utils.sandbox import postgres
from standin import kills, worker
from standin.data import Market as Service
from standin.process import StandIn

from tests import engines
from tests.conftest import FULL
from tests.engines import Database

KILLS = 30 if FULL else 4


@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_runs_resume_without_requesting_what_the_ledger_has(
    market: Any, standin: StandIn, how: int
) -> None:
    standin.control(latency=0.1, token="")
    today = datetime.now(timezone.utc).date()
    figures = kills.run(
        market.server,
        standin,
        KILLS,
        symbols=120 * KILLS,
        how=how,
        between=lambda: market.server.run(*engines.LAYOUT.settle),
        days=30,
        concurrency=8,
        spool=market.spool,
    )
    kills.compare_rows(market.server, Service(), today - timedelta(days=30), today, figures)
    assert figures.result
    assert "SUCCESS" in figures.result["report"]
    assert (figures.known_asked_again, figures.rows_lost, figures.rows_doubled) == (0, 0, 0)
    assert figures.paid_again == 0
    states = market.query("SELECT state, count(*) FROM backfill_run GROUP BY state ORDER BY state")
    assert dict(states) == {"done": 1, "interrupted": KILLS}


def test_a_run_survives_terminated_database_sessions(market: Any, standin: StandIn) -> None:
    """Sessions are terminated repeatedly in the middle of statements, including COPY."""
    standin.control(latency=0.01, token="")
    symbols = [f"SYM{number:05d}.US" for number in range(60)]
    process = worker.start(
        market.server,
        mode="history",
        base_url=standin.url,
        token="x",
        symbols=symbols,
        days=3000,
    )
    cut = 0
    while process.poll() is None and cut < 25:
        time.sleep(0.07)
        cut += len(
            market.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND application_name LIKE 'backfill%'"
            )
        )
    result = worker.finish(process)
    assert cut >= 6
    assert "SUCCESS" in result["report"], result
    assert market.query("SELECT count(DISTINCT symbol) FROM market_data") == [(60,)]
    counts = standin.counts()
    assert max(counts["paid"].values()) == 1
    rows = market.query("SELECT count(*) FROM market_data")[0][0]
    assert rows == market.query("SELECT sum(rows) FROM backfill_coverage")[0][0]


def test_a_run_survives_database_restarts(memory: Path, tmp_path: Path, standin: StandIn) -> None:
    """The server itself stops and restarts, twice."""
    cluster = postgres.Cluster(memory / "restarted")
    server = Database("127.0.0.1", postgres.free_port(), "postgres", "restarted", "postgres")
    standin.control(latency=0.1, token="")
    symbols = [f"SYM{number:05d}.US" for number in range(200)]
    options = {"mode": "history", "base_url": standin.url, "token": "x", "symbols": symbols, "days": 1000}
    options["spool"] = str(tmp_path / "spool")
    try:
        cluster.initialise(server.user, server.password)
        cluster.start(server.port)
        server.run(*(table.statement() for table in tables.TABLES))
        process = worker.start(server, concurrency=4, **options)
        for _ in range(2):
            time.sleep(1.0)
            assert process.poll() is None, worker.finish(process)
            cluster.stop()
            time.sleep(0.3)
            cluster.start(server.port)
        result = worker.finish(process)
        assert "SUCCESS" in result["report"], result
        assert max(standin.counts()["paid"].values()) == 1
        with closing(server.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(DISTINCT symbol), count(*) FROM market_data")
            loaded, rows = cursor.fetchone() or (0, 0)
            cursor.execute("SELECT sum(rows) FROM backfill_coverage")
            assert (loaded, rows) == (200, (cursor.fetchone() or [0])[0])
    finally:
        cluster.remove()


def test_the_pipeline_ends_if_the_database_stays_away(market: Any, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(
        databases.Database.__init__, "__defaults__", (0.5, time.sleep, databases.Database.opened)
    )
    market.standin.control(latency=0.05)
    symbols = [f"SYM{number:05d}.US" for number in range(200)]
    name, elsewhere = market.server.database, replace(market.server, database="postgres")

    def shut() -> None:
        time.sleep(0.5)
        elsewhere.run(
            f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false',
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        )

    closer = threading.Thread(target=shut)
    closer.start()
    result = market.load(symbols=symbols, days=1000)
    closer.join()
    assert "problem" in result
    assert "same command again" in result["problem"]
    elsewhere.run(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    rest = market.load(symbols=symbols, days=1000)
    assert "SUCCESS" in rest["report"]


WORKERS = pytest.mark.skipif(
    engines.LAYOUT.engine != "citus" or "TEST_CITUS_URL" in os.environ, reason="needs Citus's workers"
)


@WORKERS
def test_after_a_stopped_worker_of_citus_the_next_run_finishes(market: Any, standin: StandIn) -> None:
    standin.control(latency=0.05, token="")
    figures = kills.Figures(symbols=300)
    request = {"mode": "history", "base_url": standin.url, "token": "x", "spool": market.spool, "days": 500}
    request["symbols"] = [f"SYM{number:05d}.US" for number in range(figures.symbols)]
    port = engines.WORKER_SERVERS[0].port
    cluster, settings = engines.STARTED[port]
    process = worker.start(market.server, **request, concurrency=4)
    try:
        while kills.stored(market.server) == 0:
            time.sleep(0.02)
        cluster.stop()
        result = worker.finish(process)
    finally:
        # Keep the setting of `CREATE EXTENSION citus`: nodes require TLS, and a start rewrites all settings.
        cluster.start(port, {**settings, "ssl": "on"})
    assert "one of its own nodes" in result["problem"]
    assert "same command again" in result["problem"]
    rest = worker.finish(worker.start(market.server, **request, concurrency=4))
    assert "SUCCESS" in rest.get("report", ""), rest
    today = datetime.now(timezone.utc).date()
    kills.compare_rows(market.server, Service(), today - timedelta(days=500), today, figures)
    assert (figures.rows_lost, figures.rows_doubled) == (0, 0)
    paid = {name: times for name, times in standin.counts()["paid"].items() if name != "user"}
    assert (len(paid), max(paid.values())) == (figures.symbols, 1)


@WORKERS
def test_rows_in_doubt_on_a_citus_worker_are_not_paid_for_again(market: Any, standin: StandIn) -> None:
    standin.control(token="")
    market.load(symbols=["AAPL.US"], days=30)
    with closing(market.server.connect()) as session, session.cursor() as cursor:
        session.autocommit = True
        cursor.execute(
            "SELECT shardid, groupid, nodeport FROM pg_dist_placement JOIN pg_dist_node USING (groupid)"
            " WHERE shardid = get_shard_id_for_distribution_column('market_data', 'AAPL.US')"
        )
        shard, group, port = cursor.fetchone()
        with closing(replace(market.server, port=port).connect()) as worker_session:
            # The state after a worker stopped between the phases: prepared there, committed here.
            rows = worker_session.cursor()
            rows.execute("SET citus.enable_manual_changes_to_shards = on")
            rows.execute(
                f"CREATE TABLE kept AS SELECT * FROM market_data_{shard}; DELETE FROM market_data_{shard}"
            )
            worker_session.commit()
            rows.execute(f"INSERT INTO market_data_{shard} SELECT * FROM kept; DROP TABLE kept")
            rows.execute("PREPARE TRANSACTION 'citus_0_1_1_1'")
        cursor.execute("INSERT INTO pg_dist_transaction VALUES (%s, 'citus_0_1_1_1')", (group,))
        request = {"base_url": standin.url, "token": "x", "symbols": ["AAPL.US"], "days": 30}
        process = worker.start(market.server, mode="history", **request)
        time.sleep(3)
        cursor.execute("SELECT recover_prepared_transactions()")
    rest = worker.finish(process)
    assert "SUCCESS" in rest.get("report", ""), rest
    assert standin.counts()["paid"]["AAPL.US"] == 1
