"""Mode actions: splits and dividends by symbol and by session, revisions, and meaningless rows."""

from __future__ import annotations

import signal
import time
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from standin import worker

LAST = date(2026, 11, 20)
PAID = {"AAPL.US": {"2026-08-10": "0.26", "2026-11-10": "0.27"}, "MSFT.US": {"2026-11-12": "0.83"}}


def actions(market: Any, **options: Any) -> dict[str, Any]:
    asked = {"mode": "actions", "symbols": ["AAPL.US", "MSFT.US"], "last": LAST, **options}
    result: dict[str, Any] = market.load(**asked)
    return result


def stored(market: Any) -> set[tuple[Any, ...]]:
    splits = market.query("SELECT symbol, day::text, new_shares / old_shares FROM market_split")
    dividends = market.query("SELECT symbol, day::text, value FROM market_dividend")
    return {*splits, *dividends}


def test_by_symbol_the_full_history_is_loaded_once(market: Any) -> None:
    market.standin.control(splits={"AAPL.US": ["2014-06-09", 7]}, dividends=PAID)
    plan = actions(market, check=True)
    assert plan["plan"]["calls"] == 4
    assert "by symbol: 4 calls; by session:" in plan["report"]
    first = actions(market)
    assert "SUCCESS" in first["report"]
    assert (first["changed"], first["totals"]["inserted"]) == (True, 4)
    assert stored(market) == {
        ("AAPL.US", "2014-06-09", Decimal(7)),
        ("AAPL.US", "2026-08-10", Decimal("0.26")),
        ("AAPL.US", "2026-11-10", Decimal("0.27")),
        ("MSFT.US", "2026-11-12", Decimal("0.83")),
    }
    assert market.query("SELECT currency, paid::text FROM market_dividend WHERE symbol = 'MSFT.US'") == [
        ("USD", "2026-11-12")
    ]
    second = actions(market)
    assert (second["changed"], second["totals"]["calls"]) == (False, 0)
    third = actions(market, force=True)
    assert (third["changed"], third["totals"]["calls"]) == (False, 4)


def test_actions_are_loaded_by_session_if_that_is_cheaper(market: Any) -> None:
    symbols = [f"SYM{number:05d}.US" for number in range(101)]
    market.standin.control(universe=120, dividends={"SYM00003.US": {"2026-11-18": "0.5"}})
    options = {"symbols": symbols, "first": date(2026, 11, 18), "last": date(2026, 11, 18)}
    first = actions(market, **options)
    assert first["totals"]["calls"] == 200
    assert "SUCCESS" in first["report"]
    assert stored(market) == {("SYM00003.US", "2026-11-18", Decimal("0.50000"))}
    assert actions(market, **options)["totals"]["calls"] == 0
    # An answer by symbol has more columns than a bulk one; the common columns are unchanged.
    more = actions(market, symbols=["SYM00003.US"], last=LAST)
    assert more["totals"]["updated"] == 1
    assert market.query("SELECT unadjusted, currency FROM market_dividend") == [(Decimal("0.5"), "USD")]


def test_without_symbols_those_of_the_exchange_are_loaded(market: Any) -> None:
    market.standin.control(dividends=PAID)
    few = actions(market, symbols=[], exchanges=["US"], first=date(2026, 11, 10), last=date(2026, 11, 10))
    assert few["totals"]["calls"] == 200  # nothing is registered yet
    assert stored(market) == {("AAPL.US", "2026-11-10", Decimal("0.27"))}
    market.load(mode="register", exchanges=["AU"])
    plan = actions(market, symbols=[], exchanges=["AU"], check=True)
    assert plan["plan"]["calls"] == 2 * 12


def test_changed_and_withdrawn_actions_are_recorded(market: Any) -> None:
    market.standin.control(dividends=PAID)
    actions(market)
    market.standin.control(dividends={"AAPL.US": {"2026-11-10": "0.28"}, "MSFT.US": PAID["MSFT.US"]})
    result = actions(market, force=True)
    assert result["totals"]["updated"] == 2
    assert {row for row in stored(market) if row[0] == "AAPL.US"} == {
        ("AAPL.US", "2026-11-10", Decimal("0.28"))
    }
    kept = market.query(
        "SELECT day::text, old->>'value', new->>'value' FROM backfill_action_revision ORDER BY day"
    )
    assert kept == [("2026-08-10", "0.26", None), ("2026-11-10", "0.27", "0.28")]


def test_a_meaningless_split_is_set_aside_without_failing_the_run(market: Any) -> None:
    market.standin.control(junk=["AAPL.US"])
    result = actions(market)
    assert "SUCCESS" in result["report"]
    assert stored(market) == set()
    aside = "SELECT symbol, day::text, reason FROM backfill_set_aside WHERE resolved IS NULL"
    assert market.query(aside) == [("splits AAPL.US", "2010-01-04", "junk: a split of 0.000000/1.000000")]
    market.load(first=date(2010, 1, 1), last=date(2010, 1, 10))  # must not resolve the set-aside action
    assert len(market.query(aside)) == 1
    market.standin.control(junk=[])
    actions(market, force=True)
    assert market.query(aside) == []


def test_an_unknown_symbol_is_reported(market: Any) -> None:
    result = actions(market, symbols=["NOPE.US"])
    assert {entry["outcome"] for entry in result["not_loaded"]} == {"unknown"}


def test_killed_runs_resume_without_requesting_what_the_ledger_has(market: Any) -> None:
    symbols = [f"SYM{number:05d}.US" for number in range(200)]
    paid = {symbol: {"2026-11-10": "0.27"} for symbol in symbols}
    market.standin.control(latency=0.1, token="", universe=200, dividends=paid)
    request = {"mode": "actions", "base_url": market.standin.url, "token": "token", "symbols": symbols}
    request |= {"concurrency": 8, "spool": market.spool, "first": LAST - timedelta(days=300), "last": LAST}
    names = "SELECT symbol FROM backfill_coverage"
    for _ in range(3):
        before = len(known(market, names))
        process = worker.start(market.server, **request)
        while len(known(market, names)) < before + 40:
            assert process.poll() is None, worker.finish(process)
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    asked = market.standin.counts()["asked"]
    had = {name: asked[name] for name in known(market, names)}
    result = worker.finish(worker.start(market.server, **request))
    assert "SUCCESS" in result["report"]
    counts = market.standin.counts()
    assert {name: counts["asked"][name] for name in had} == had
    assert max(counts["paid"][f"{kind} {name}"] for kind in ("splits", "dividends") for name in symbols) == 1
    assert market.query("SELECT count(*), count(DISTINCT symbol) FROM market_dividend") == [(200, 200)]


def known(market: Any, names: str) -> list[str]:
    if market.query("SELECT to_regclass('backfill_coverage')") == [(None,)]:
        return []
    return [row[0] for row in market.query(names)]
