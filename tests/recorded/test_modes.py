"""The modes of the backfill against what the service really sent."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from recorded.conftest import body, found, meta

LEDGER = {"splits/": "splits", "div/": "dividends"}
FIELDS = ("open", "high", "low", "close", "adjusted_close", "volume")


def prices(row: dict[str, Any]) -> tuple[Decimal, ...]:
    return tuple(Decimal(str(row[name])) for name in FIELDS)


def test_daily_takes_every_row_of_a_whole_exchange(replay: Any) -> None:
    for name in found("eod-bulk-last-day/"):
        rows = body(name)
        exchange = meta(name)["path"].rpartition("/")[2]
        day = date.fromisoformat(Counter(row["date"] for row in rows).most_common(1)[0][0])
        service = replay({f"eod-bulk-last-day/{exchange}": [name]})
        result = service.load(mode="daily", exchanges=[exchange], last=day)
        traded = [row for row in rows if any(float(row[field] or 0) for field in FIELDS[:4])]
        assert "SUCCESS" in result["report"]
        assert (result["totals"]["inserted"], result["totals"]["set_aside"]) == (len(traded), 0)
        stored = service.query(
            "SELECT symbol, open, high, low, close, adjusted_close, volume FROM market_data"
        )
        wanted = {f"{row['code']}.{row['exchange_short_name']}": prices(row) for row in traded}
        assert {symbol: tuple(values) for symbol, *values in stored} == wanted


def test_daily_does_not_call_an_old_session_todays(replay: Any) -> None:
    name = found("eod-bulk-last-day/")[0]
    exchange, rows = meta(name)["path"].rpartition("/")[2], body(name)
    sent = max(row["date"] for row in rows)
    now = datetime.fromisoformat(sent).replace(tzinfo=timezone.utc) + timedelta(days=60)
    service = replay({f"eod-bulk-last-day/{exchange}": [name]})
    first = service.load(now, mode="daily", exchanges=[exchange])
    assert [entry["outcome"] for entry in first["not_loaded"]] == ["late"]
    assert sent in first["report"]
    assert "SUCCESS" not in first["report"]
    assert service.query("SELECT day::text FROM backfill_session") == [(sent,)]
    again = service.load(now + timedelta(hours=1), mode="daily", exchanges=[exchange])
    assert again["totals"]["calls"] == 100


def test_history_keeps_every_digit(replay: Any) -> None:
    for name in found("eod/"):
        rows = body(name)
        symbol = meta(name)["path"].rpartition("/")[2]
        if not isinstance(rows, list) or len(rows) < 100:
            continue
        service = replay({f"eod/{symbol}": [name]})
        result = service.load(
            symbols=[symbol],
            first=date.fromisoformat(rows[0]["date"]),
            last=date.fromisoformat(rows[-1]["date"]),
        )
        assert result["totals"]["inserted"] == len(rows)
        stored = service.query(
            "SELECT time::date::text, open, high, low, close, adjusted_close, volume FROM market_data"
        )
        assert {day: tuple(values) for day, *values in stored} == {row["date"]: prices(row) for row in rows}
        return
    pytest.skip("no recorded history")


def test_register_enters_every_symbol(replay: Any) -> None:
    name = found("exchange-symbol-list/")[0]
    exchange = meta(name)["path"].rpartition("/")[2]
    service = replay({f"exchange-symbol-list/{exchange}": [name]})
    result = service.load(mode="register", exchanges=[exchange])
    assert result["totals"]["registered"] == len({row["Code"] for row in body(name)})


def test_register_follows_recorded_renames(replay: Any) -> None:
    changes = found("symbol-change-history")[0]
    names = found("exchange-symbol-list/")
    service = replay({"symbol-change-history": [changes], "exchange-symbol-list/US": [names[0]]})
    service.load(mode="register", exchanges=["US"])
    first = body(changes)[0]
    kept = service.query(
        "SELECT new_symbol FROM backfill_rename WHERE old_symbol = %s", f"{first['old_symbol']}.US"
    )
    assert kept == [(f"{first['new_symbol']}.US",)]


@pytest.mark.parametrize(("path", "table"), [("splits/", "market_split"), ("div/", "market_dividend")])
def test_every_recorded_action_is_stored(replay: Any, path: str, table: str) -> None:
    for name in found(path):
        symbol = meta(name)["path"].rpartition("/")[2]
        other = "div/" if path == "splits/" else "splits/"
        service = replay({f"{path}{symbol}": [name]})
        result = service.load(mode="actions", symbols=[symbol])
        assert [entry["symbol"] for entry in result["not_loaded"]] == [
            f"{LEDGER[other]} {symbol}"
        ]  # not recorded
        days = service.query(f"SELECT day::text FROM {table} WHERE symbol = %s", symbol)
        assert {day for (day,) in days} >= {row["date"] for row in body(name)}


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [("eod/", 401, "eodhd_api_token"), ("eod/", 402, "00:00 GMT"), ("eod-bulk-last-day/", 423, "plan")],
)
def test_refusals_say_what_to_do(replay: Any, path: str, status: int, words: str) -> None:
    name = found(path, status)[0]
    subject = meta(name)["path"].rpartition("/")[2]
    service = replay({f"{path}{subject}": [name]})
    bulk = path != "eod/"
    options = {"mode": "daily", "exchanges": [subject]} if bulk else {"symbols": [subject]}
    assert words in service.load(**options)["problem"]


def test_a_warning_of_the_free_plan_is_no_success(replay: Any) -> None:
    for name in found("eod/"):
        rows = body(name)
        if not any("warning" in row for row in rows if isinstance(row, dict)):
            continue
        symbol = meta(name)["path"].rpartition("/")[2]
        service = replay({f"eod/{symbol}": [name]})
        result = service.load(symbols=[symbol], first=date(1990, 1, 1))
        assert [entry["outcome"] for entry in result["not_loaded"]] == ["truncated"]


def test_the_plan_tells_calls_of_the_day_from_those_bought_on_top(replay: Any) -> None:
    name = found("user")[0]
    user = body(name)
    now = datetime.fromisoformat(user["apiRequestsDate"]).replace(tzinfo=timezone.utc) + timedelta(hours=12)
    plan = replay({}).load(now, symbols=["AAPL.US"], check=True)
    left = user["dailyRateLimit"] - user["apiRequests"]
    told = f"{left:,} of {user['dailyRateLimit']:,} calls left today"
    assert told + (f", and {user['extraLimit']:,} extra" if user["extraLimit"] else "") in plan["report"]
