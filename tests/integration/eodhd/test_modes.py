"""The modes for whole exchanges, and the comparison with the provider."""

from __future__ import annotations

from typing import Any


def test_bulk_on_the_free_plan_stops_with_a_message(market: Any) -> None:
    market.standin.control(answers={"US": ["bulk_free"]})
    assert "plan" in market.load(mode="daily")["problem"]
    unknown = market.load(mode="daily", exchanges=["NOWHERE"])
    assert [entry["outcome"] for entry in unknown["not_loaded"]] == ["unknown"]


def test_register_enters_types_and_delisted_symbols_once(market: Any) -> None:
    first = market.load(mode="register", exchanges=["US", "CC"])
    assert first["totals"]["calls"] == 2 + 2 + 5  # two lists per exchange, and the renames
    assert first["totals"]["registered"] == 56 + 2 + 2 + 2
    rows = {
        symbol: (kind, active)
        for symbol, kind, active in market.query("SELECT symbol, asset_type, is_active FROM assets")
    }
    assert rows["VTI.US"] == ("ETF", True)
    assert rows["GONE.US"] == ("Common Stock", False)
    assert market.query("SELECT name FROM backfill_listing WHERE symbol = 'VTI.US'") == [
        ("VTI Incorporated",)
    ]
    versions = market.versions()
    assert market.load(mode="register", exchanges=["US", "CC"], force=True)["changed"] is False
    assert market.versions() == versions
    # A backfill keeps what mode register has entered.
    market.load(symbols=["VTI.US"])
    assert market.query("SELECT asset_type FROM assets WHERE symbol = 'VTI.US'") == [("ETF",)]


def test_verify_compares_field_by_field(market: Any) -> None:
    assert "nothing to verify" in market.load(mode="verify")["problem"]
    symbols = ["AAPL.US", "MSFT.US", "BTC-USD.CC"]
    market.load(symbols=symbols, days=60)
    good = market.load(mode="verify", days=60)
    assert "SUCCESS" in good["report"]
    assert good["changed"] is False
    assert good["plan"]["calls"] == 3
    market.query(
        "UPDATE market_data SET close = close + 0.0001 WHERE symbol = 'MSFT.US' AND time = "
        "(SELECT min(time) FROM market_data WHERE symbol = 'MSFT.US')"
    )
    market.query(
        "DELETE FROM market_data WHERE symbol = 'AAPL.US' AND time = "
        "(SELECT min(time) FROM market_data WHERE symbol = 'AAPL.US')"
    )
    bad = market.load(mode="verify", days=60)
    assert {(entry["symbol"], entry["field"]) for entry in bad["mismatches"]} == {
        ("MSFT.US", "close"),
        ("AAPL.US", "row"),
    }
    assert "backfill_force" in bad["problem"]
    market.load(symbols=symbols, days=60, force=True)
    assert "SUCCESS" in market.load(mode="verify", days=60)["report"]
