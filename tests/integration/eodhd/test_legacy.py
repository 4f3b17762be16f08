"""Existing tables with their own constraints."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any

import pytest
from ansible.module_utils.database import tables
from ansible.module_utils.database.schema import Schema

from tests import engines

SYMBOLS = ["AAPL.US", "MSFT.US", "BTC-USD.CC"]
EVENING = datetime(2026, 11, 24, 23, 0, tzinfo=timezone.utc)


@pytest.fixture
def referring(market: Any) -> Any:
    """Give bars a foreign key to ``assets``."""
    if engines.LAYOUT.engine == "citus":
        pytest.skip("Citus checks no such rule between these tables")
    market.query(
        "ALTER TABLE market_data ADD CONSTRAINT known FOREIGN KEY (symbol) REFERENCES assets (symbol)"
    )
    return market


@pytest.mark.parametrize("mode", ["history", "daily"])
def test_bars_may_have_a_foreign_key_to_assets(referring: Any, mode: str) -> None:
    referring.standin.control(now=EVENING.isoformat())
    # Long enough for slices if TimescaleDB has weekly chunks.
    asked: dict[str, Any] = {"mode": mode, "symbols": SYMBOLS, "exchanges": ["US"]}
    if mode == "history":
        asked["first"] = date(1995, 1, 2)
    result = referring.load(EVENING, **asked)
    assert "SUCCESS" in result.get("report", result)
    ((symbols,),) = referring.query("SELECT count(DISTINCT symbol) FROM market_data")
    assert symbols >= len(SYMBOLS)
    assert result["totals"]["registered"] == symbols
    assert referring.load(EVENING, **asked)["changed"] is False


@pytest.mark.skipif(bool(engines.LAYOUT.settle), reason="TimescaleDB widens no column of compressed chunks")
def test_bars_loaded_by_widening_may_have_a_foreign_key_to_assets(referring: Any) -> None:
    referring.query("ALTER TABLE market_data ALTER COLUMN close TYPE numeric(12,4)")
    asked = {"symbols": ["BTC-USD.CC"], "now": EVENING}
    assert referring.load(**asked)["totals"]["set_aside"]
    Schema(referring.server, 5, check=False, widen=True).ensure()
    assert referring.query("SELECT DISTINCT symbol FROM market_data") == [("BTC-USD.CC",)]


@pytest.mark.skipif(bool(engines.LAYOUT.settle), reason="TimescaleDB widens no column of compressed chunks")
@pytest.mark.skipif(engines.LAYOUT.engine == "citus", reason="Citus widens no column that it distributes by")
def test_a_symbol_that_is_too_long_is_loaded_after_widening(market: Any) -> None:
    market.query("ALTER TABLE market_data ALTER COLUMN symbol TYPE varchar(8)")
    refused = market.load(symbols=SYMBOLS)
    assert "database_widen: true" in refused["problem"]
    Schema(market.server, 5, check=False, widen=True).ensure()
    assert "SUCCESS" in market.load(symbols=SYMBOLS)["report"]
    paid = market.standin.counts()["paid"]
    assert [paid[symbol] for symbol in SYMBOLS] == [1, 1, 1]
    assert market.query("SELECT count(DISTINCT symbol) FROM market_data") == [(len(SYMBOLS),)]


def test_a_constraint_that_a_bar_violates_is_named(market: Any) -> None:
    market.query("ALTER TABLE market_data ADD CONSTRAINT busy CHECK (volume > 1e15)")
    problem = market.load()["problem"]
    assert "breaks a constraint" in problem
    assert "busy" in problem


@pytest.fixture
def legacy(market: Any) -> Any:
    """Return a function that stores ten bars of another program."""

    def store(symbol: str, time: str, days: int = 10) -> None:
        market.server.run(
            "INSERT INTO market_data SELECT (current_date - day) + %s::time AT TIME ZONE 'UTC', %s, 1, 1, 1, 1, 1, 1"
            " FROM generate_series(1, %s) AS day",
            values=(time, symbol, days),
        )

    return store


def test_daily_bars_at_another_time_are_not_stored_twice(market: Any, legacy: Any) -> None:
    legacy("AAPL.US", "21:00")
    problem = market.load(symbols=["AAPL.US", "MSFT.US"])["problem"]
    assert "daily bars of 1 symbol at other times than midnight UTC, such as AAPL.US at " in problem
    assert market.standin.counts()["calls"] == 0
    market.server.run("DELETE FROM market_data")
    assert "SUCCESS" in market.load()["report"]


def test_older_bars_at_another_time_are_not_stored_twice_later(market: Any, legacy: Any) -> None:
    assert "SUCCESS" in market.load(days=5)["report"]
    legacy("AAPL.US", "21:00", days=100)
    assert "other times than midnight" in market.load(days=100)["problem"]


def test_bars_within_a_day_stay(market: Any, legacy: Any) -> None:
    legacy("AAPL.US", "20:00")
    legacy("AAPL.US", "21:00")
    assert "SUCCESS" in market.load()["report"]


def test_bars_without_a_suffix_are_named(market: Any, legacy: Any) -> None:
    legacy("AAPL", "00:00")
    result = market.load(symbols=["AAPL.US", "MSFT.US"])
    assert "SUCCESS" in result["report"]
    (note,) = result["notes"]
    assert "market_data also has bars of AAPL, without a suffix." in note


@pytest.mark.skipif(engines.LAYOUT.engine == "citus", reason="Citus has no triggers on such tables")
@pytest.mark.parametrize("stored", [0, 1])
def test_a_trigger_that_drops_rows_is_named_and_costs_no_second_call(
    market: Any, legacy: Any, stored: int
) -> None:
    """The second one keeps the first row of each day, as loaders without an upsert did."""
    legacy("AAPL.US", "00:00", days=10 * stored)
    known = "EXISTS (SELECT FROM market_data WHERE time = NEW.time AND symbol = NEW.symbol)"
    market.server.run(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF {known if stored else 'extract(dow FROM NEW.time) = 2'} THEN RETURN NULL; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER keeper BEFORE INSERT ON market_data FOR EACH ROW EXECUTE FUNCTION keep()",
    )
    before = market.query("SELECT count(*) FROM market_data")
    problem = market.load()["problem"]
    assert "a trigger (keeper) drops them" in problem
    assert market.query("SELECT count(*) FROM market_data") == before
    market.server.run("DROP TRIGGER keeper ON market_data")
    assert "problem" not in market.load()
    assert market.standin.counts()["paid"]["AAPL.US"] == 1


@pytest.mark.skipif(bool(engines.LAYOUT.statements), reason="only plain tables inherit")
def test_tables_that_inherit_are_refused(market: Any) -> None:
    market.server.run("CREATE TABLE older () INHERITS (market_data)")
    assert "market_data is a table that others inherit from" in market.load()["problem"]


@pytest.mark.skipif(engines.LAYOUT.engine != "timescaledb", reason="a hypertable's")
def test_a_hypertable_may_have_its_chunks_in_any_schema(market: Any) -> None:
    market.server.run(
        "DROP TABLE market_data",
        tables.BARS.statement(),
        "CREATE SCHEMA chunks",
        "SELECT create_hypertable('market_data', 'time', associated_schema_name => 'chunks')",
    )
    assert "SUCCESS" in market.load()["report"]
    assert market.load()["changed"] is False


@pytest.mark.skipif(
    engines.LAYOUT.engine not in ("embedded", "postgresql"), reason="it is PostgreSQL that refuses"
)
def test_row_level_security_is_named_and_costs_no_second_call(market: Any) -> None:
    with engines.application(market.server) as role:
        market.server.run(
            "ALTER TABLE market_data ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY everything ON market_data USING (true) WITH CHECK (true)",
        )
        market.server, owner = role, market.server
        problem = market.load()["problem"]
        assert f'ALTER ROLE "{role.user}" BYPASSRLS' in problem
        assert "Report it" not in problem
        owner.run(f'ALTER ROLE "{role.user}" BYPASSRLS')
        assert "SUCCESS" in market.load()["report"]
        market.server = owner
    assert market.standin.counts()["paid"]["AAPL.US"] == 1
