"""Tables with chunks: no transaction locks more than its part of the server's lock table."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import engines
import pytest
from ansible.module_utils.eodhd.store import chunks
from ansible.module_utils.eodhd.store.database import Database

ROWS = "SELECT count(*), count(DISTINCT (symbol, time)) FROM market_data"


@pytest.fixture
def by_day(market: Any) -> Any:
    """Create daily partitions, with locks for two of them per transaction."""
    if engines.LAYOUT.engine != "embedded":
        pytest.skip("the layout has its own chunks")
    market.query("DROP TABLE market_data")
    market.query(
        "CREATE TABLE market_data (time timestamptz, symbol text, open numeric, high numeric, low numeric,"
        " close numeric, adjusted_close numeric, volume bigint, PRIMARY KEY (time, symbol)) PARTITION BY RANGE (time)"
    )
    market.query(
        "DO $$ BEGIN FOR day IN 0..40 LOOP EXECUTE format('CREATE TABLE market_data_%s PARTITION OF market_data"
        " FOR VALUES FROM (%L) TO (%L)', day, to_char(now() + (day - 38) * interval '1 day', 'YYYY-MM-DD') || '+00',"
        " to_char(now() + (day - 37) * interval '1 day', 'YYYY-MM-DD') || '+00'); END LOOP; END $$"
    )
    return market


def test_partitions_are_counted_in_days(by_day: Any) -> None:
    session = Database(by_day.server, "chunks")
    found = session.run(chunks.look)
    session.close()
    assert found.days == 1
    assert found.stored is not None
    assert found.stored.days == 41


def test_a_history_in_many_slices_equals_one_in_a_single_slice(
    by_day: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "SHARE", 64 * 100 // 15)  # three partitions per transaction
    now = datetime.now(timezone.utc)
    symbols = ["AAPL.US", "BTC-USD.CC"]
    first = by_day.load(now - timedelta(days=3), symbols=symbols)
    assert "SUCCESS" in first["report"]
    rows, different = by_day.query(ROWS)[0]
    assert rows == different == first["totals"]["inserted"] > 40
    split = (now - timedelta(days=5)).date().isoformat()
    by_day.standin.control(splits={"AAPL.US": [split, 4]})
    result = by_day.load(now, symbols=symbols, days=8)
    old = by_day.query("SELECT count(*) FROM market_data WHERE symbol = 'AAPL.US' AND time < %s", split)[0][0]
    assert result["totals"]["updated"] == old
    assert "SUCCESS" in result["report"]
    assert by_day.query("SELECT count(*) FROM backfill_coverage WHERE restated") == [(0,)]
    assert by_day.load(now, symbols=symbols, force=True)["changed"] is False


def test_a_restated_history_is_marked_with_the_slice_that_shows_it(
    by_day: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that dies between two slices has overwritten the rows that would show the restatement to the next run."""
    from ansible.module_utils.eodhd.store import store

    monkeypatch.setattr(chunks, "SHARE", 64 * 100 // 15)
    now = datetime.now(timezone.utc)
    by_day.load(now - timedelta(days=3))
    split = (now - timedelta(days=5)).date().isoformat()
    by_day.standin.control(splits={"AAPL.US": [split, 4]})
    enter = store.enter

    def dies(*arguments: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(store, "enter", dies)
    with pytest.raises(RuntimeError):
        by_day.load(now, days=9)
    monkeypatch.setattr(store, "enter", enter)
    assert "SUCCESS" in by_day.load(now, days=9)["report"]
    old = by_day.query("SELECT count(*) FROM market_data WHERE time < %s", split)[0][0]
    assert by_day.query("SELECT count(*) FROM backfill_revision") == [(old,)]


def test_a_lock_table_that_is_too_small_is_reported_before_any_call(
    by_day: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "SHARE", 64 * 100)
    problem = by_day.load()["problem"]
    assert "max_locks_per_transaction is 64" in problem
    assert by_day.standin.counts()["requests"] == 0


def test_a_comparison_in_many_slices_sees_every_row(by_day: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "SHARE", 64 * 100 // 15)
    rows = by_day.load()["totals"]["inserted"]
    by_day.load(mode="actions")
    assert f"compared: {rows} rows" in by_day.load(mode="verify")["report"]
    by_day.query("UPDATE market_data SET close = 1 WHERE time = (SELECT min(time) FROM market_data)")
    assert [found["field"] for found in by_day.load(mode="verify")["mismatches"]] == ["close"]
