"""The modes of the backfill against what the service really sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from ansible.module_utils.eodhd.modes.verify import TOLERANCE, adjusted, differing
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


def test_the_adjusted_close_follows_from_recorded_actions(replay: Any) -> None:
    """A symbol with recorded bars, splits and dividends; held against the provider by `verify`."""
    kinds = [{meta(name)["path"]: name for name in found(path)} for path in ("eod/", "splits/", "div/")]
    recorded = [{path.rpartition("/")[2]: name for path, name in kind.items()} for kind in kinds]
    symbols = set(recorded[0]) & set(recorded[1]) & set(recorded[2])
    if not symbols:
        pytest.skip("no symbol with recorded bars, splits and dividends")
    for symbol in sorted(symbols):
        names = [[kind[symbol]] for kind in recorded]
        service = replay({f"{path}{symbol}": name for path, name in zip(("eod/", "splits/", "div/"), names)})
        days = sorted(row["date"] for row in body(recorded[0][symbol]))
        span = {"first": date.fromisoformat(days[0]), "last": date.fromisoformat(days[-1])}
        service.load(symbols=[symbol], **span)
        service.load(mode="actions", symbols=[symbol], last=span["last"])
        verified = service.load(mode="verify", **span)
        assert "agree to 4 decimals" in verified["report"]
        print(symbol, verified["report"])


def test_the_adjusted_close_follows_from_the_steps_of_a_recorded_history(replay: Any) -> None:
    """Without recorded dividends: those that the steps of adjusted close ÷ close amount to give every other day."""
    for name in found("eod/"):
        rows = body(name)
        if not isinstance(rows, list) or len(rows) < 100:
            continue
        symbol = meta(name)["path"].rpartition("/")[2]
        closes = {date.fromisoformat(row["date"]): Decimal(str(row["close"])) for row in rows}
        provider = {date.fromisoformat(row["date"]): Decimal(str(row["adjusted_close"])) for row in rows}
        periods = list(steady(closes, provider))
        steps = {}
        for (before, factor), (after, next_factor) in pairwise(periods):
            steps[after[0]] = closes[before[-1]] * (1 - factor / next_factor)
        computed = adjusted(closes, {}, steps)
        days = differing(computed, provider)
        agree = len(closes) - len(days)
        print(f"{symbol}: {len(steps)} steps; {agree:,} of {len(closes):,} days agree to 4 decimals")
        print(*days)
        # Where they do not, closes are not as traded: they are rounded, too, after a spin-off. That is all of it.
        assert all(abs(computed[day] - provider[day]) < 2 * TOLERANCE for day in closes)
        assert all(day < periods[-1][0][0] for day in days)
        return
    pytest.skip("no recorded history")


def steady(
    closes: dict[date, Decimal], provider: dict[date, Decimal]
) -> Iterator[tuple[list[date], Decimal]]:
    """Yield the periods without a step of more than rounding makes: their days, and adjusted close ÷ close."""
    period: list[date] = []
    for day in [*sorted(closes), None]:
        factors = [provider[each] / closes[each] for each in (*period[-1:], *([day] if day else []))]
        if period and (day is None or abs(factors[-1] / factors[0] - 1) > Decimal("0.0004")):
            # What all days of it allow, of which the provider rounds each to four decimals.
            least = max((provider[each] - TOLERANCE) / closes[each] for each in period)
            most = min((provider[each] + TOLERANCE) / closes[each] for each in period)
            yield period, (least + most) / 2
            period = []
        if day:
            period.append(day)
