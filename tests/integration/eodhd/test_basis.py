"""Uses of actions: computed adjusted closes, causes of restatements, and bars with an old basis."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest
from ansible.module_utils.eodhd.store import stored

LAST = date(2026, 11, 20)
PAID = {"AAPL.US": {"2025-11-10": "0.25", "2026-05-11": "0.26", "2026-11-10": "0.27"}}
SPLIT = {"AAPL.US": ["2026-06-08", 4]}


def load(market: Any, **options: Any) -> dict[str, Any]:
    result: dict[str, Any] = market.load(**{"last": LAST, "days": 700, **options})
    return result


def test_verify_computes_the_adjusted_close_from_the_actions(market: Any) -> None:
    market.standin.control(dividends=PAID, splits=SPLIT)
    load(market)
    assert "actions of 1 symbol are unknown" in load(market, mode="verify")["report"]
    load(market, mode="actions")
    good = load(market, mode="verify")
    days = market.query("SELECT count(*) FROM market_data")[0][0]
    assert f"{days:,} of {days:,} days agree to 4 decimals" in good["report"]
    assert good["adjusted"] == []
    assert "SUCCESS" in good["report"]
    market.query("DELETE FROM market_dividend WHERE day = '2026-05-11'")
    bad = load(market, mode="verify")
    first = market.query("SELECT min(time)::date::text FROM market_data")[0][0]
    assert [(found["symbol"], found["first_day"], found["last_day"]) for found in bad["adjusted"]] == [
        ("AAPL.US", first, "2026-05-08")
    ]
    assert "AAPL.US: differs on" in bad["report"]
    assert "SUCCESS" not in bad["report"]
    assert "does not follow from the known splits and dividends" in bad["notes"][-1]
    assert "problem" not in bad  # a load would not fix it


def test_the_action_that_caused_a_restatement_is_reported(market: Any) -> None:
    market.standin.control(dividends=PAID)
    load(market)
    market.standin.control(splits=SPLIT)
    unexplained = load(market, force=True)
    assert "AAPL.US: bars until 2026-06-05 were restated; unexplained" in unexplained["report"]
    load(market, mode="actions")
    market.standin.control(splits={"AAPL.US": ["2026-06-08", 8]})
    explained = load(market, force=True, days=300)
    assert (
        "AAPL.US: bars until 2026-06-05 were restated by the split of 2026-06-08 (4:1)" in explained["report"]
    )
    market.standin.control(dividends={"AAPL.US": {**PAID["AAPL.US"], "2026-11-19": "0.3"}})
    load(market, mode="actions", force=True)
    paid = load(market, force=True, days=20)
    assert "restated by the dividend of 2026-11-19 (0.3 USD)" in paid["report"]


def test_bars_that_are_no_longer_sent_stay_marked_until_they_are_sent_again(market: Any) -> None:
    market.standin.control(dividends=PAID)
    load(market, days=100)
    old = market.query("SELECT time::date::text FROM market_data ORDER BY 1 LIMIT 12")
    market.standin.control(
        splits={"AAPL.US": ["2026-11-17", 4]}, rows={"AAPL.US": {day: "" for (day,) in old}}
    )
    result = load(market, days=10, fresh_hours=0, last=LAST + timedelta(days=3))
    assert "SUCCESS" not in result["report"]
    assert f"12 bars from {old[0][0]} to {old[-1][0]} keep the basis" in result["report"]
    marks = (
        "SELECT symbol, rows, first_day::text, last_day::text FROM backfill_old_basis WHERE resolved IS NULL"
    )
    assert market.query(marks) == [("AAPL.US", 12, old[0][0], old[-1][0])]
    fresh = load(market, days=10)  # makes no call, but still reports it
    assert fresh["totals"]["calls"] == 0
    assert "NOT ON ONE BASIS" in fresh["report"]
    told = load(market, mode="verify", days=200)
    assert told["mismatches"] == []
    assert "12 bars from" in told["report"]
    market.standin.control(rows={})
    again = load(market, days=100, force=True)
    assert "SUCCESS" in again["report"]
    assert market.query(marks) == []


@pytest.mark.parametrize("restated_by", ["history", "daily"])
def test_the_next_run_marks_old_bars_if_a_run_is_killed_before(
    market: Any, monkeypatch: pytest.MonkeyPatch, restated_by: str
) -> None:
    load(market, days=100)
    evening = datetime(2026, 11, 23, 22, 30, tzinfo=timezone.utc)
    if restated_by == "history":
        run = partial(load, market, days=10, last=LAST + timedelta(days=3))
    else:
        market.standin.control(now=evening.isoformat())
        market.load(evening - timedelta(days=3), mode="daily")
        run = partial(market.load, evening, mode="daily")

    market.standin.control(splits={"AAPL.US": ["2026-11-23", 4]}, rows={"AAPL.US": {"2026-09-01": ""}})

    def killed(*_: Any, **__: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(stored, "mark", killed)
        with pytest.raises(RuntimeError, match="killed"):
            run()
    calls = market.standin.counts()["calls"]
    result = run()
    assert "1 bar from 2026-09-01 to 2026-09-01 keep the basis" in result["report"]
    assert market.query("SELECT symbol, rows FROM backfill_old_basis WHERE resolved IS NULL") == [
        ("AAPL.US", 1)
    ]
    assert market.query("SELECT count(*) FROM backfill_coverage WHERE restated") == [(0,)]
    assert market.standin.counts()["calls"] == calls  # the spool kept its answer
