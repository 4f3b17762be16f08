"""`database_widen` loads the rows that a narrow column refused, even if the module is killed at any moment."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import asdict
from datetime import date
from typing import Any

import pytest
from ansible.module_utils.database.schema import Schema

from tests import engines
from tests.conftest import FULL, ROOT

pytestmark = pytest.mark.skipif(
    bool(engines.LAYOUT.settle), reason="TimescaleDB widens no column of compressed chunks"
)
SYMBOLS = ["AAPL.US", "MSFT.US", "BTC-USD.CC"]
LAST = date(2026, 11, 20)
DAYS = ["2026-11-10", "2026-11-11", "2026-11-18"]
# The module's work without Ansible. It kills itself before one of its statements.
WORKER = """
import json, os, signal, sys, ansible.module_utils
ansible.module_utils.__path__.append("module_utils")
import psycopg2, psycopg2.extensions
from ansible.module_utils.database import connection, schema
from ansible.module_utils.database.server import Server
left = int(sys.argv[1])
def passing():
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
class Cursor(psycopg2.extensions.cursor):
    def execute(self, *given):
        passing()
        super().execute(*given)
    def copy_expert(self, *given, **more):
        passing()
        super().copy_expert(*given, **more)
connect = connection.connect
def opened(*given, **more):
    made = connect(*given, **more)
    made.cursor_factory = Cursor
    return made
server = Server(**json.load(sys.stdin))
connection.connect = opened
schema.Schema(server, 5, check=False, widen=True).ensure()
"""


def start(market: Any, points: int = 1_000) -> subprocess.Popen[str]:
    """Start the module, which kills itself after this many statements."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(points)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    with process.stdin:
        process.stdin.write(json.dumps(asdict(market.server)))
    process.stdin = None
    return process


def killed(process: subprocess.Popen[str]) -> bool:
    """Wait for the module and return whether it was killed."""
    _, err = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGKILL), err
    return process.returncode != 0


def refused(market: Any) -> None:
    """Load three symbols into narrow columns, with some rows that do not fit, one of them twice."""
    market.query("ALTER TABLE market_data ALTER COLUMN volume TYPE bigint")
    for volume in (7.25, 7.5):
        row = f'{{"date": "%s", "open": 2, "high": 3, "low": 1, "close": 2, "adjusted_close": 2, "volume": {volume}}}'
        rows = {day: row % day for day in DAYS}
        market.standin.control(rows={"AAPL.US": rows, "BTC-USD.CC": {DAYS[0]: rows[DAYS[0]]}})
        load(market, force=True)


def load(market: Any, **options: Any) -> dict[str, Any]:
    result: dict[str, Any] = market.load(symbols=SYMBOLS, last=LAST, days=60, **options)
    return result


def state(market: Any) -> tuple[Any, ...]:
    """Return the column's type, the rows, and how many are still set aside."""
    kind = market.query("SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
                        " WHERE attrelid = 'market_data'::regclass AND attname = 'volume'")  # fmt: skip
    rows = market.query("SELECT time, symbol, open, close, volume FROM market_data ORDER BY 1, 2")
    aside = market.query("SELECT count(*) FROM backfill_set_aside WHERE resolved IS NULL")
    return kind, rows, aside


def finished(market: Any, before: tuple[Any, ...]) -> None:
    """Check that all set-aside rows are loaded once."""
    kind, rows, aside = state(market)
    assert kind == [("numeric",)]
    assert aside == [(0,)]
    came = [(str(row[0])[:10], row[1], str(row[4])) for row in rows if row not in before[1]]
    assert came == [
        (DAYS[0], "AAPL.US", "7.5"),
        (DAYS[0], "BTC-USD.CC", "7.5"),
        (DAYS[1], "AAPL.US", "7.5"),
        (DAYS[2], "AAPL.US", "7.5"),
    ]
    assert len(rows) == len(before[1]) + len(came)
    # This would load anything lost, and fail on duplicates.
    again = load(market, force=True)
    assert (again["changed"], again.get("problem")) == (False, None)


def test_the_next_run_completes_after_a_kill_before_any_statement(market: Any) -> None:
    refused(market)
    before = state(market)
    points = 0
    while killed(start(market, points)):
        assert state(market) == before
        points += 1 if FULL else 5
    assert points > 20
    finished(market, before)


def test_the_next_run_completes_after_a_kill_during_a_statement(market: Any) -> None:
    refused(market)
    before = state(market)
    with closing(market.server.connect()) as reader, reader.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM market_data")  # widening waits for this transaction
        process = start(market)
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE%%' AND wait_event_type = 'Lock'"
        )
        while process.poll() is None and not market.query(waiting):
            time.sleep(0.01)
        process.kill()
        assert killed(process)
    assert state(market) == before
    assert not killed(start(market))
    finished(market, before)


def test_resolved_rows_are_not_reported(market: Any) -> None:
    refused(market)
    assert "set_aside" in load(market)["report"]
    Schema(market.server, 5, check=False, widen=True).ensure()
    again = load(market)
    assert again["totals"]["calls"] == 0
    assert again.get("problem") is None
    assert "SUCCESS" in again["report"]
