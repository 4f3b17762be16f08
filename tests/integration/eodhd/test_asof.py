"""The past as it was: ``market_data_asof`` compared with copies from that time, and snapshots."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from typing import Any

import psycopg2
import pytest
from ansible.module_utils.audit import data
from ansible.module_utils.eodhd.store import bars

from tests import engines

COLUMNS = "time, symbol, open, high, low, close, adjusted_close, volume"


def rows(market: Any, table: str, *values: Any) -> set[tuple[Any, ...]]:
    return set(market.query(f"SELECT {COLUMNS} FROM {table}", *values))


def copy(market: Any) -> tuple[datetime, set[tuple[Any, ...]]]:
    """Return a moment and the rows of the table at it."""
    return market.query("SELECT clock_timestamp()")[0][0], rows(market, "market_data")


def equal(market: Any, moment: datetime, copied: set[tuple[Any, ...]]) -> None:
    assert rows(market, "market_data_asof(%s)", moment) == copied


def test_later_rows_are_left_out_and_changed_rows_have_old_values(market: Any) -> None:
    today = date(2026, 11, 20)
    symbols = ["AAPL.US", "MSFT.US", "BTC-USD.CC"]
    copies = []
    market.load(symbols=symbols[:2], last=today, days=20)
    copies.append(copy(market))
    market.load(symbols=symbols, last=today + timedelta(days=1), days=60, fresh_hours=0)
    copies.append(copy(market))
    market.standin.control(splits={"MSFT.US": ["2026-11-10", 4]})
    market.load(symbols=symbols, last=today + timedelta(days=3), days=10, fresh_hours=0)
    copies.append(copy(market))
    market.standin.control(splits={"MSFT.US": ["2026-11-10", 2]})
    market.load(symbols=symbols, last=today + timedelta(days=4), days=10, fresh_hours=0)
    copies.append(copy(market))
    assert len({len(copied) for _, copied in copies}) >= 3
    for moment, copied in copies:
        equal(market, moment, copied)
    assert rows(market, "market_data_asof(now())") == copies[-1][1]


def test_a_new_row_between_older_ones_has_its_own_arrival(market: Any) -> None:
    market.standin.control(rows={"AAPL.US": {"2026-11-10": "", "2026-11-11": "", "2026-11-16": ""}})
    market.load(last=date(2026, 11, 20), days=20)
    first = copy(market)
    market.standin.control(rows={"AAPL.US": {"2026-11-11": ""}})
    market.load(last=date(2026, 11, 20), days=20, force=True)
    second = copy(market)
    market.standin.control(rows={})
    market.load(last=date(2026, 11, 20), days=30, force=True)
    assert len(second[1]) == len(first[1]) + 2
    for moment, copied in (first, second):
        equal(market, moment, copied)


def corrected(market: Any) -> list[tuple[datetime, set[tuple[Any, ...]]]]:
    """Revise single days of several symbols twice, and add days; return a copy from before each load."""
    last, symbols = date(2026, 11, 20), ["AAPL.US", "MSFT.US", "BTC-USD.CC"]
    market.load(symbols=symbols, last=last, days=30)
    copies = []
    for number, days in enumerate(
        (["2026-11-02", "2026-11-03", "2026-11-10"], ["2026-11-03", "2026-11-05"]), 1
    ):
        price = json.dumps(dict.fromkeys(("open", "high", "low", "close", "adjusted_close"), 77 + number))
        rows = {day: f'{{"date": "{day}", "volume": 5, {price[1:]}' for day in days}
        market.standin.control(rows=dict.fromkeys(symbols, rows))
        copies.append(copy(market))
        market.load(symbols=symbols, last=last + timedelta(days=3 * number), days=40, force=True)
    return [*copies, copy(market)]


def test_single_revised_days_have_their_old_values(market: Any) -> None:
    copies = corrected(market)
    assert market.query("SELECT count(*) FROM backfill_revision") != [(0,)]
    for moment, copied in copies:
        equal(market, moment, copied)


def test_symbols_and_days_can_be_given(market: Any) -> None:
    copies = corrected(market)
    named = ["AAPL.US", "BTC-USD.CC"]
    first, last = date(2026, 11, 3), date(2026, 11, 10)
    for moment, copied in copies:
        of_named = {row for row in copied if row[1] in named}
        since = {row for row in copied if row[0].date() >= first}
        until = {row for row in copied if row[0].date() <= last}
        assert rows(market, "market_data_asof(%s, %s)", moment, named) == of_named
        assert rows(market, "market_data_asof(%s, first => %s)", moment, first) == since
        assert rows(market, "market_data_asof(%s, last => %s)", moment, last) == until
        assert (
            rows(market, "market_data_asof(%s, %s, %s, %s)", moment, named, first, last)
            == of_named & since & until
        )
        assert 0 < len(of_named & since & until) < len(since & until) < len(since)


def test_a_symbol_of_a_whole_exchange_is_found_in_its_piece(market: Any) -> None:
    evening = datetime(2026, 11, 18, 23, tzinfo=timezone.utc)
    market.standin.control(universe=2 * bars.PIECE + 50, now=evening.isoformat())
    market.load(mode="daily", exchanges=["US"], now=evening)
    before = copy(market)
    evening += timedelta(days=1)
    market.standin.control(now=evening.isoformat())
    market.load(mode="daily", exchanges=["US"], now=evening)
    assert before[1] != rows(market, "market_data")
    for symbol in sorted({row[1] for row in before[1]}):
        of_it = {row for row in before[1] if row[1] == symbol}
        assert rows(market, "market_data_asof(%s, %s)", before[0], [symbol]) == of_it
    sizes = market.query("SELECT max(cardinality(symbols)), count(*) FROM backfill_arrival")
    assert sizes[0][0] <= bars.PIECE < sizes[0][1] * bars.PIECE


def test_a_list_from_older_code_can_contain_any_symbol(market: Any) -> None:
    copies = corrected(market)
    market.query("UPDATE backfill_arrival SET first_symbol = NULL, last_symbol = NULL")
    for moment, copied in copies:
        of_it = {row for row in copied if row[1] == "AAPL.US"}
        assert rows(market, "market_data_asof(%s, ARRAY['AAPL.US'])", moment) == of_it


@pytest.mark.skipif(engines.LAYOUT.engine == "citus", reason="Citus plans no function of SQL")
@pytest.mark.parametrize("arguments", ["now()", "now(), ARRAY['AAPL.US']", "now(), first => '2026-11-03'"])
def test_the_planner_inlines_the_function(market: Any, arguments: str) -> None:
    market.load()
    plan = market.query(f"EXPLAIN SELECT * FROM market_data_asof({arguments}) WHERE symbol = 'AAPL.US'")
    assert not [line for (line,) in plan if "market_data_asof" in line]


def test_revisions_from_before_the_ranges_count_too(market: Any) -> None:
    copies = corrected(market)
    market.query(
        "DELETE FROM backfill_arrival WHERE revised; ALTER TABLE backfill_arrival DROP COLUMN revised,"
        " DROP COLUMN first_symbol, DROP COLUMN last_symbol;"
        " DROP INDEX backfill_arrival_later, backfill_revision_time;"
        " CREATE INDEX backfill_arrival_arrived ON backfill_arrival (arrived);"
        " DELETE FROM backfill_schema WHERE version >= 4"
    )  # as the previous version left it
    market.load()
    for moment, copied in copies:
        equal(market, moment, copied)


def test_a_moment_before_the_ledger_is_refused(market: Any) -> None:
    market.load()
    with pytest.raises(psycopg2.DataError, match="The ledger records arrivals since"):
        market.query("SELECT * FROM market_data_asof('2001-01-01')")


def audited(market: Any) -> dict[str, str]:
    """Return the audit's checks of the snapshots by name."""
    with closing(market.server.connect()) as connection, connection.cursor() as cursor:
        return {check.name: check.verdict for check in data.unchanged(data.snapshots(cursor))}


def test_a_snapshot_stays_the_same_during_later_backfills(market: Any) -> None:
    assert audited(market) == {}
    assert "backfill_snapshot" in market.load(mode="snapshot")["problem"]
    market.load(symbols=["AAPL.US", "MSFT.US"])
    assert market.load(mode="snapshot", snapshot="month", check=True)["changed"] is True
    made = market.load(mode="snapshot", snapshot="month")
    assert made["changed"] is True
    market.standin.control(splits={"MSFT.US": [str(made["snapshot"]["moment"])[:10], 4]})
    market.load(symbols=["AAPL.US", "MSFT.US"], days=60, force=True)
    again = market.load(mode="snapshot", snapshot="month")
    assert again["changed"] is False
    assert again["snapshot"] == made["snapshot"]
    assert audited(market) == {"snapshot month": "pass"}


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE market_data SET close = close + 1 WHERE time = (SELECT max(time) FROM market_data)",
        "DELETE FROM market_data WHERE time = (SELECT max(time) FROM market_data)",
    ],
)
def test_changes_by_other_programs_are_detected(market: Any, damage: str) -> None:
    market.load()
    market.load(mode="snapshot", snapshot="before")
    market.query(damage)
    assert "Another program has written" in market.load(mode="snapshot", snapshot="before")["problem"]
    assert audited(market) == {"snapshot before": "fail"}


@pytest.mark.parametrize("table", ["backfill_snapshot", "backfill_arrival", "backfill_revision"])
def test_the_data_of_a_snapshot_is_protected(market: Any, table: str) -> None:
    market.load()
    market.load(mode="snapshot", snapshot="kept")
    for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}"):
        with pytest.raises(psycopg2.Error, match="snapshots depend on it"):
            market.query(statement)


def test_the_function_returns_the_copies_taken_during_runs(market: Any) -> None:
    market.load(symbols=["AAPL.US"])  # creates the ledger
    symbols = [f"SYM{number:05d}.US" for number in range(40)]
    market.standin.control(latency=0.01)
    with market.copies(0.05) as copies:
        for days in (20, 40):
            market.standin.control(splits={symbol: ["2026-11-01", days] for symbol in symbols[:5]})
            market.load(symbols=symbols, days=days, force=True, concurrency=4)
    assert copies.compare() > 3
