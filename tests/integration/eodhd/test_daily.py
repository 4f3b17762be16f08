"""Mode daily: which sessions are requested, and when again; set-aside, late and corrected rows."""

from __future__ import annotations

import random
import signal
import time
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
import requests
from ansible.module_utils.database.schema import Schema
from ansible.module_utils.eodhd.courier import Spool
from standin import worker

from tests import engines

MONDAY = date(2024, 9, 30)


def at(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=timezone.utc)


def daily(market: Any, now: datetime, **options: Any) -> dict[str, Any]:
    """Run the mode at this time of the stand-in."""
    market.standin.control(now=now.isoformat())
    result: dict[str, Any] = market.load(now, mode="daily", **options)
    return result


def sessions(market: Any) -> list[str]:
    return [row[0] for row in market.query("SELECT day::text FROM backfill_session ORDER BY day")]


def calls(result: dict[str, Any]) -> int:
    return int(result["totals"]["calls"])


def test_the_due_session_is_loaded_once_by_one_call(market: Any) -> None:
    evening = at(MONDAY, 22)
    market.standin.control(now=evening.isoformat())
    assert market.load(evening, mode="daily", check=True)["plan"]["calls"] == 100
    first = daily(market, evening)
    assert calls(first) == 100
    assert "SUCCESS" in first["report"]
    assert "US 2024-09-30" in first["report"]
    versions = market.versions()
    second = daily(market, evening + timedelta(hours=1))
    assert (second["changed"], calls(second)) == (False, 0)
    assert market.versions() == versions


def test_a_morning_run_does_not_prevent_the_evening_session(market: Any) -> None:
    assert "US 2024-09-27" in daily(market, at(MONDAY, 8))["report"]
    assert "2024-09-30" in daily(market, at(MONDAY, 22))["report"]
    assert sessions(market) == ["2024-09-27", "2024-09-30"]


def test_an_old_session_does_not_count_as_the_due_one(market: Any) -> None:
    old = '{"date":"2024-09-20","open":1,"high":2,"low":1,"close":2,"adjusted_close":2,"volume":1}'
    rows = {f"{code}.US": {"2024-09-30": old} for code in ("AAPL", "MSFT", "TSLA", "VTI", "BRK-B", "AT&T")}
    market.standin.control(universe=0, rows=rows)
    first = daily(market, at(MONDAY, 22))
    assert [entry["outcome"] for entry in first["not_loaded"]] == ["late"]
    assert "2024-09-20" in first["not_loaded"][0]["message"]
    assert "SUCCESS" not in first["report"]
    assert sessions(market) == ["2024-09-20"]
    again = daily(market, at(MONDAY, 23))
    assert calls(again) == 100  # requested again, not fresh


def test_a_late_file_is_reported_and_requested_again(market: Any) -> None:
    market.standin.control(late={"US 2024-09-30": 3})
    first = daily(market, at(MONDAY, 22))
    assert [entry["outcome"] for entry in first["not_loaded"]] == ["late"]
    assert calls(first) <= 1  # a 404 means no file
    assert "SUCCESS" in daily(market, at(MONDAY + timedelta(days=1), 1))["report"]
    assert sessions(market) == ["2024-09-30"]


def test_a_holiday_makes_no_call_and_is_no_failure(market: Any) -> None:
    labor_day = date(2024, 9, 2)
    daily(market, at(labor_day - timedelta(days=3), 22))
    result = daily(market, at(labor_day, 22), fresh_hours=0, settle_calls=0)
    assert (calls(result), "problem" in result) == (0, False)
    asked = daily(market, at(labor_day, 22), last=labor_day)
    assert (calls(asked), "problem" in asked) == (0, False)


def test_a_session_without_a_file_may_be_a_local_holiday(market: Any) -> None:
    market.standin.control(late={"US 2024-09-30": 24 * 30})
    asked = daily(market, at(MONDAY + timedelta(days=5), 22), last=MONDAY)
    assert [(entry["outcome"], entry["message"]) for entry in asked["not_loaded"]] == [
        ("empty", "EODHD has no rows of 2024-09-30; this is correct if 2024-09-30 was a holiday there")
    ]


def test_missed_sessions_are_caught_up(market: Any) -> None:
    daily(market, at(MONDAY, 22))
    daily(market, at(MONDAY + timedelta(days=4), 22), settle_calls=0)
    assert sessions(market) == [f"2024-{day}" for day in ("09-30", "10-01", "10-02", "10-03", "10-04")]


def test_sessions_missed_long_ago_are_left_to_history(market: Any) -> None:
    daily(market, at(MONDAY, 22))
    result = daily(market, at(MONDAY + timedelta(days=30), 22), settle_calls=0)
    assert sessions(market) == ["2024-09-30", "2024-10-30"]
    assert "from 2024-10-01 to 2024-10-29" in result["notes"][0]


def test_a_session_is_requested_again_until_it_has_settled(market: Any) -> None:
    first = daily(market, at(MONDAY, 22))
    days = [daily(market, at(MONDAY + timedelta(days=n), 22)) for n in range(1, 7)]
    # One and three days later, late rows and corrections arrive, and none counts as a restatement.
    asked = market.query("SELECT count(*) FROM backfill_outcome WHERE symbol = 'daily US 2024-09-30'")
    assert asked == [(3,)]
    assert first["totals"]["inserted"] < 56
    assert days[0]["totals"]["updated"] > 0
    assert market.query("SELECT count(*) FROM market_data WHERE time = '2024-09-30'") == [(56,)]
    assert [day["totals"]["refetched"] for day in days] == [0] * 6  # no history was reloaded
    corrected = market.query("SELECT corrected FROM backfill_session WHERE day = '2024-09-30'")[0][0]
    assert (
        corrected == market.query("SELECT count(*) FROM backfill_revision WHERE day = '2024-09-30'")[0][0] > 0
    )


def test_settling_calls_per_day_are_bounded_and_in_the_plan(market: Any) -> None:
    for number in range(4):
        daily(market, at(MONDAY + timedelta(days=number), 22), settle_calls=0)
    evening = at(MONDAY + timedelta(days=4), 22)
    market.standin.control(now=evening.isoformat())
    plan = market.load(evening, mode="daily", check=True, settle_calls=200)
    assert plan["plan"]["calls"] == 300
    assert "settling: 200 calls" in plan["report"]
    assert any("backfill_settle_calls" in note for note in plan["notes"])
    assert calls(daily(market, evening, settle_calls=200)) == 300
    again = market.load(evening, mode="daily", check=True, settle_calls=200)
    assert again["plan"]["calls"] == 0  # today's calls count


def test_rows_of_a_real_file_are_loaded_or_set_aside(market: Any) -> None:
    market.standin.control(odd=True)
    result = daily(market, at(MONDAY, 22))
    assert "SUCCESS" in result["report"]
    assert (result["totals"]["set_aside"], result["totals"]["untraded"]) == (0, 2)
    assert market.query("SELECT volume::text FROM market_data WHERE symbol = 'FRAC.US'") == [("1765.53",)]
    reasons = market.query("SELECT symbol, reason FROM backfill_set_aside ORDER BY symbol")
    assert reasons == [("NULL.US", "untraded: no prices"), ("ZERO.US", "untraded: no prices")]


def test_set_aside_rows_are_resolved_once_they_are_correct(market: Any) -> None:
    null = '{"date":"2024-09-30","open":null,"high":2,"low":1,"close":2,"adjusted_close":2,"volume":7}'
    market.standin.control(rows={"VTI.US": {"2024-09-30": null}})
    first = daily(market, at(MONDAY, 22))
    assert first["totals"]["set_aside"] == 1
    assert "SUCCESS" not in first["report"]
    market.standin.control(rows={})
    daily(market, at(MONDAY + timedelta(days=1), 22))
    assert market.query("SELECT count(*) FROM backfill_set_aside WHERE resolved IS NULL") == [(0,)]


def test_a_fresh_session_with_set_aside_rows_is_not_a_success(market: Any) -> None:
    torn = '{"date":"2024-09-30","open":1,"high":1,"low":2,"close":2,"adjusted_close":2,"volume":7}'
    market.standin.control(rows={"VTI.US": {"2024-09-30": torn}})
    daily(market, at(MONDAY, 22))
    again = daily(market, at(MONDAY, 23))
    assert calls(again) == 0
    assert "daily US: set_aside (1 row in backfill_set_aside)" in again["report"]
    assert "problem" in again
    assert "problem" not in daily(market, at(MONDAY, 23), accept=["set_aside"])


def test_a_future_row_is_set_aside_until_it_is_no_longer_sent(market: Any) -> None:
    future = '{"date":"2031-01-02","open":1,"high":2,"low":1,"close":2,"adjusted_close":2,"volume":7}'
    market.standin.control(rows={"VTI.US": {"2024-09-30": future}})
    daily(market, at(MONDAY, 22))
    assert sessions(market) == ["2024-09-30"]
    unresolved = "SELECT symbol, reason FROM backfill_set_aside WHERE resolved IS NULL"
    assert market.query(unresolved) == [("VTI.US", "its date lies in the future")]
    market.standin.control(rows={})
    daily(market, at(MONDAY + timedelta(days=1), 22))
    assert market.query(unresolved) == []


@pytest.mark.skipif(bool(engines.LAYOUT.settle), reason="TimescaleDB widens no column of compressed chunks")
def test_rows_too_wide_for_a_column_are_loaded_once_it_is_widened(market: Any) -> None:
    market.query("ALTER TABLE market_data ALTER COLUMN volume TYPE bigint")
    market.standin.control(odd=True)
    assert daily(market, at(MONDAY, 22))["totals"]["set_aside"] == 1
    asked = market.standin.counts()["requests"]
    result = Schema(market.server, 5, check=False, widen=True).ensure()
    assert result["notes"] == ["1 bar that had been set aside went into market_data."]
    assert market.standin.counts()["requests"] == asked
    assert market.query("SELECT volume::text FROM market_data WHERE symbol = 'FRAC.US'") == [("1765.53",)]
    assert market.query(
        "SELECT count(*) FROM backfill_set_aside WHERE resolved IS NULL AND reason NOT LIKE 'untraded%%'"
    ) == [(0,)]


def test_symbols_of_a_us_list_have_the_suffix_us(market: Any) -> None:
    result = daily(market, at(MONDAY, 22), exchanges=["NYSE"])
    assert "SUCCESS" in result["report"]
    found = market.query("SELECT DISTINCT split_part(symbol, '.', 2) FROM market_data")
    assert found == [("US",)]


def test_a_split_reloads_the_histories_of_its_symbols(market: Any) -> None:
    tuesday = MONDAY + timedelta(days=1)
    for number in range(3, 0, -1):
        daily(market, at(MONDAY - timedelta(days=number + 2 if number > 1 else 3), 22))
    daily(market, at(MONDAY, 22))
    market.standin.control(splits={"MSFT.US": [tuesday.isoformat(), 4]})
    result = daily(market, at(tuesday, 22))
    assert result["totals"]["refetched"] == 1
    assert market.standin.counts()["paid"]["MSFT.US"] == 1
    assert market.query("SELECT count(*) FROM backfill_coverage WHERE restated") == [(0,)]


def test_two_hosts_pay_a_session_once(market: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    evening = at(MONDAY, 22)
    market.standin.control(now=evening.isoformat(), latency=0.2)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: market.load(evening, mode="daily", spool=None), range(2)))
    assert sum(map(calls, done)) == 100
    assert all("SUCCESS" in each["report"] for each in done)


def test_register_records_renames_and_delisted_symbols(market: Any) -> None:
    tuesday = MONDAY + timedelta(days=1)
    daily(market, at(MONDAY, 22))
    market.standin.control(
        renames=[["TSLA.US", "TSLX.US", tuesday.isoformat()]], delisted={"VTI.US": MONDAY.isoformat()}
    )
    evening = at(tuesday, 22)
    daily(market, evening)
    market.load(evening, mode="register")
    assets = dict(market.query("SELECT symbol, is_active FROM assets WHERE symbol ~ '^(TSL|VTI)'"))
    assert assets == {"TSLA.US": False, "TSLX.US": True, "VTI.US": False}
    assert market.query("SELECT renamed_to FROM assets WHERE symbol = 'TSLA.US'") == [("TSLX.US",)]
    bars = market.query(
        "SELECT symbol, count(*) FROM market_data WHERE symbol ~ '^TSL' GROUP BY 1 ORDER BY 1"
    )
    assert bars == [("TSLA.US", 1), ("TSLX.US", 2)]  # the provider has the full history under the new name


def test_delisted_symbols_are_loaded_on_request(market: Any) -> None:
    assert "backfill_mode=register" in market.load(delisted=True)["problem"]
    market.load(mode="register")
    result = market.load(delisted=True)
    assert "problem" not in result  # the stand-in has no bars of those two
    assert market.standin.counts()["asked"]["GONE.US"] == 1
    assert market.standin.counts()["asked"]["SYM90001_old.US"] == 1


def test_an_answer_that_a_killed_run_left_in_the_database_is_not_paid_again(market: Any) -> None:
    evening = at(MONDAY, 22)
    daily(market, evening)
    asked = {"date": MONDAY}
    spool = Spool(market.spool, market.standin.url, 12)
    name = spool.name("eod-bulk-last-day/US", asked)
    spool.close()
    body = requests.get(
        f"{market.standin.url}/eod-bulk-last-day/US",
        {"date": "2024-09-30", "api_token": market.request().token, "fmt": "json"},
        timeout=5,
    ).content
    market.query(
        "INSERT INTO backfill_answer (name, status, body, received) VALUES (%s, 200, %s, now())", name, body
    )
    market.query("DELETE FROM backfill_session")
    paid = market.standin.counts()["paid"]["US"]
    assert "SUCCESS" in daily(market, evening)["report"]
    assert market.standin.counts()["paid"]["US"] == paid
    assert market.query("SELECT count(*) FROM backfill_answer") == [(0,)]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_resumes_without_paying_a_session_twice(market: Any, how: int) -> None:
    """Kill runs of four past sessions, each at another moment, until one completes."""
    market.standin.control(latency=0.4, universe=400)
    chance = random.Random(how)
    days = [date(2024, 9, 23) + timedelta(days=number) for number in (0, 1, 2, 3)]
    request = {"mode": "daily", "base_url": market.standin.url, "spool": market.spool}
    request["token"] = market.request().token
    killed = 0
    for day in days:
        asked = market.standin.counts()["asked"].get("US", 0)
        process = worker.start(market.server, **request, last=day)
        while market.standin.counts()["asked"].get("US", 0) <= asked and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.4)
        killed += process.poll() is None
        process.send_signal(how)
        process.wait(60)
        worker.finish(worker.start(market.server, **request, last=day, fresh_hours=12))
    assert killed == len(days)
    assert market.standin.counts()["paid"]["US"] == len(days)
    stored = market.query("SELECT count(*), count(DISTINCT (time, symbol)) FROM market_data")
    assert stored == [(4 * 406, 4 * 406)]
