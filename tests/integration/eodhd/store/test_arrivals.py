"""Reads of one symbol while TimescaleDB decompresses its rows for a change of another."""

from __future__ import annotations

import functools
import threading
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from typing import Any

import engines
import pytest
from ansible.module_utils.eodhd.store import bars, chunks
from ansible.module_utils.eodhd.store.database import Database
from ansible.module_utils.eodhd.store.stored import stored_days


@pytest.mark.skipif(
    engines.LAYOUT.engine != "timescaledb", reason="TEST_LAYOUT=week-compressed: TimescaleDB alone"
)
def test_rows_are_visible_while_a_change_of_another_symbol_moves_them(market: Any) -> None:
    market.load(symbols=["AAPL.US", "MSFT.US"], days=800)
    weekly = market.query(
        "SELECT max(time)::date::text FROM market_data WHERE symbol = 'MSFT.US' GROUP BY date_trunc('week', time)"
    )
    done = threading.Event()

    def change() -> None:
        try:
            with closing(Database(market.server, "writer")) as writer:
                for (day,) in weekly:
                    line = f"{day}\tMSFT.US\t1\t1\t1\t1\t1\t1\n"
                    settled = {"MSFT.US": date.min}
                    writer.run(functools.partial(bars.merge, run=1, lines=[line], settled=settled))
        finally:
            done.set()

    with closing(Database(market.server, "reader")) as reader:
        cut = reader.run(chunks.look)
        stored = stored_days(reader, ["AAPL.US"], cut)
        changing = threading.Thread(target=change)
        changing.start()
        found = []
        while not done.is_set():
            found.append(stored_days(reader, ["AAPL.US"], cut))
        changing.join()
    assert market.query("SELECT count(*) FROM backfill_revision") == [(len(weekly),)]
    assert [len(stored["AAPL.US"] - some.get("AAPL.US", set())) for some in found] == [0] * len(found)


@pytest.mark.skipif(
    engines.LAYOUT is not engines.LAYOUTS["week-compressed"], reason="TEST_LAYOUT=week-compressed alone"
)
def test_histories_compressed_together_can_be_restated_together(market: Any) -> None:
    now = datetime.now(timezone.utc)
    symbols = [f"SYM{number:05d}.US" for number in range(24)]
    market.standin.control(universe=24)
    market.load(symbols=symbols, days=400)
    split = [(now - timedelta(days=6)).date().isoformat(), 4]
    market.standin.control(latency=0.3, splits=dict.fromkeys(symbols, split))
    result = market.load(symbols=symbols, days=400, fresh_hours=0)
    assert "SUCCESS" in result.get("report", ""), result
    revised = "SELECT count(DISTINCT symbol), count(DISTINCT xmin::text) FROM backfill_revision GROUP BY day"
    assert set(market.query(revised)) == {(24, 1)}
