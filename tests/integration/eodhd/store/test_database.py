"""Transactions that conflict with other sessions."""

from __future__ import annotations

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import engines
import psycopg2
import pytest
from ansible.module_utils.database.connection import Unreachable
from ansible.module_utils.eodhd.store import bars
from ansible.module_utils.eodhd.store import database as databases

if TYPE_CHECKING:
    from tests.engines import Database


def colliding(times: int, code: str) -> Any:
    """Return work that fails this many times on the server, and its call count."""
    calls: list[int] = []

    def work(cursor: Any) -> int:
        calls.append(1)
        if len(calls) <= times:
            cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'met' USING ERRCODE = '{code}'; END $$")
        return len(calls)

    return work


@pytest.mark.parametrize("code", ["40P01", "40001"])
def test_deadlocks_are_retried_however_long_the_waits_are(database: Database, code: str) -> None:
    with closing(databases.Database(database, "collision", patience=0, sleep=lambda seconds: None)) as made:
        assert made.run(colliding(8, code)) == 9


def test_a_permanent_deadlock_is_reported(database: Database) -> None:
    with closing(databases.Database(database, "collision", patience=0, sleep=lambda seconds: None)) as made:
        with pytest.raises(psycopg2.errors.DeadlockDetected):
            made.run(colliding(databases.TRIES + 1, "40P01"))
        assert made.run(colliding(0, "")) == 1


@pytest.mark.parametrize("runs_before", [0, 1])
def test_a_prepared_connection_is_used(database: Database, runs_before: int) -> None:
    opened: list[Any] = []
    with closing(databases.Database(database, "prepared", opened=opened.append)) as made:
        for _ in range(runs_before):
            made.run(lambda cursor: None)
        made.prepare()
        time.sleep(0.1)
        made.run(lambda cursor: None)
    assert len(opened) == 1


def test_a_failed_prepared_connection_is_reported_by_the_first_run(database: Database) -> None:
    nowhere = dataclasses.replace(database, password="wrong")
    with closing(databases.Database(nowhere, "prepare")) as made:
        made.prepare()
        with pytest.raises(Unreachable) as met:
            made.run(lambda cursor: None)
    assert met.value.kind == "password"


@pytest.mark.skipif(
    engines.LAYOUT.engine != "timescaledb", reason="TEST_LAYOUT=week-compressed: TimescaleDB alone"
)
def test_more_rows_can_be_decompressed_than_timescaledb_s_default(market: Any) -> None:
    rows = (
        "INSERT INTO market_data AS m (time, symbol, close, adjusted_close)"
        " SELECT '2024-01-03 00:00+00'::timestamptz + (i %% 5) * interval '1 day', 'S' || i / 5, 1, %s"
        " FROM generate_series(0, 149999) i"
        " ON CONFLICT (time, symbol) DO UPDATE SET adjusted_close = EXCLUDED.adjusted_close"
    )
    market.query(rows, 1)
    market.server.run(*engines.LAYOUT.settle)
    made = databases.Database(market.server, "store")
    with closing(made):
        made.run(lambda cursor: cursor.execute(rows, (2,)))
    assert market.query("SELECT min(adjusted_close) FROM market_data") == [(2,)]


def test_a_bar_inserted_during_its_copy_is_compared(market: Any) -> None:
    loaded = market.load(symbols=["AAPL.US"], days=30)["totals"]["inserted"]
    ((last,),) = market.query("SELECT max(time) FROM market_data")
    market.query("DELETE FROM market_data")
    market.query("DELETE FROM backfill_coverage")
    with closing(market.server.connect()) as other, other.cursor() as cursor, ThreadPoolExecutor() as threads:
        cursor.execute("INSERT INTO market_data (time, symbol, close) VALUES (%s, 'AAPL.US', 1)", (last,))
        loading = threads.submit(market.load, symbols=["AAPL.US"], days=30, force=True)
        copying = (
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY market_data%'"
        )
        end = time.monotonic() + 30
        while market.query(copying) == [(0,)] and time.monotonic() < end:
            time.sleep(0.02)
        other.commit()
        result = loading.result(60)
    assert "SUCCESS" in result.get("report", ""), result
    assert (result["totals"]["inserted"], result["totals"]["updated"]) == (loaded - 1, 1)


@pytest.mark.skipif(engines.LAYOUT.engine != "citus", reason="TEST_LAYOUT=citus: Citus alone")
def test_a_batch_for_many_shards_uses_one_connection_per_worker(market: Any) -> None:
    lines = [f"2024-01-03\tS{number}\t1\t1\t1\t1\t1\t1\n" for number in range(40)]

    def work(cursor: Any) -> list[Any]:
        bars.copy(cursor, "market_data", lines)
        return list(
            market.query(
                "SELECT count(*) FROM citus_stat_activity WHERE is_worker_query AND state = 'idle in transaction'"
                " AND datname = current_database() GROUP BY nodeid"
            )
        )

    with closing(databases.Database(market.server, "store")) as made:
        assert made.run(work) == [(1,)] * engines.WORKERS
