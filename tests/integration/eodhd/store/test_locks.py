"""Everything works with more chunks than the lock table of a default server can hold."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from ansible.module_utils.audit import data
from ansible.module_utils.coverage.expected import Markets, Window
from ansible.module_utils.database import connection, layout, move
from ansible.module_utils.health import bars, coverage
from ansible.module_utils.health.model import USUAL, Host, Wanted

from tests import engines

CHUNKS = 1600
FIRST = date(1998, 1, 2)
SYMBOLS = [f"SYM{number:05d}.US" for number in range(6)]
pytestmark = pytest.mark.skipif(engines.LAYOUT.engine != "timescaledb", reason="needs TimescaleDB")


@pytest.fixture
def chunked(market: Any) -> Any:
    """Create many chunks, each with a bar of a symbol that the provider does not know."""
    market.query(f"SELECT set_chunk_time_interval('market_data', interval '{9700 // CHUNKS} days')")
    step = timedelta(days=9700 // CHUNKS)
    for start in range(0, CHUNKS, 100):  # each of these creates and locks chunks
        days = [FIRST + step * number for number in range(start, start + 100)]
        market.query(
            "INSERT INTO market_data (time, symbol, close)"
            " SELECT day, 'OLD.US', 1 FROM unnest(%s::timestamptz[]) AS day",
            [f"{day} 00:00+00" for day in days],
        )
    market.query("INSERT INTO assets (symbol) VALUES ('OLD.US')")
    market.server.run(*engines.LAYOUT.settle)
    assert market.query("SHOW max_locks_per_transaction") == [("64",)]
    return market


def test_every_mode_works_on_many_chunks(chunked: Any) -> None:
    days = {"symbols": SYMBOLS, "first": FIRST, "last": date(2024, 6, 28)}
    assert "SUCCESS" in chunked.load(**days)["report"]
    with ThreadPoolExecutor(2) as pool:  # histories compared from their first day, and readers
        forced = pool.submit(chunked.load, **days, force=True)
        seen = pool.submit(health, chunked)
        result = forced.result()
        assert "SUCCESS" in result.get("report", ""), result
        assert seen.result().coverage is not None
    assert "compared" in chunked.load(mode="verify", **{**days, "symbols": []})["report"]
    now = datetime.now(timezone.utc)
    markets = Markets(Window.of(400, now.date()), now, timedelta(hours=6))
    found = data.look(chunked.server, markets, 40, 5, 120)
    assert found["notes"] == []
    assert found["coverage"] is not None
    with closing(connection.connect(chunked.server, 10)) as session:
        moved = move.run(session, layout.Layout("plain"), check=False)
    assert moved["rows"] == chunked.query("SELECT count(*) FROM market_data")[0][0] > 6 * 6000


def health(market: Any) -> Host:
    """Run the gap check on everything stored."""
    tables = [Wanted("market_data"), Wanted("assets")]
    context = Host(market.server, tables, 5, 120, "auto", connection.connect, {**USUAL, "gap_days": 12000})
    context.server = market.server
    with closing(connection.connect(market.server, 10, read_only=True)) as session:
        session.autocommit = True
        context.session = session
        for check in (bars.check_tables, coverage.check_freshness, coverage.check_gaps):
            assert [
                found for found in check(context) if found.level == "fail" and "lock" in found.message
            ] == []
    return context
