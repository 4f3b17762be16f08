"""Histories over real sockets into the real PostgreSQL: the report, idempotence, plans, ranges."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, time, timedelta, timezone
from time import sleep
from typing import Any

import pytest
from ansible.module_utils.eodhd import context as contexts

from tests import engines


def test_the_emergency_backfill_reports_as_documented_and_a_second_one_does_nothing(market: Any) -> None:
    first = market.load()
    count = first["totals"]["inserted"]
    assert 18 <= count <= 23
    assert first["report"] == (
        "⬇️  DOWNLOADING AAPL.US (30 days)\n"
        f"✅ Downloaded {count} records\n"
        "\n"
        "💾 INSERTING INTO DATABASE\n"
        f"✅ Inserted {count} rows into market_data\n"
        "✅ Registered AAPL.US in assets\n"
        "\n"
        "📊 VERIFICATION\n"
        f"   market_data: {count} rows (was 0) → +{count}\n"
        "   assets: 1 row (was 0) → +1\n"
        "\n"
        "🎉 SUCCESS: Database populated"
    )
    assert first["changed"] is True
    assert market.query("SELECT symbol, exchange, last_synced IS NOT NULL FROM assets") == [
        ("AAPL.US", "US", True)
    ]
    versions = market.versions()
    second = market.load()
    assert second["changed"] is False
    assert second["totals"]["calls"] == 0
    assert market.standin.counts()["calls"] == 1
    assert "SUCCESS" in second["report"]
    assert market.versions() == versions


@pytest.mark.skipif(engines.LAYOUT.engine == "citus", reason="a trigger changes no distributed table")
def test_deleted_rows_are_reported_and_loaded_again(market: Any) -> None:
    market.load()
    market.query(
        "CREATE FUNCTION thief() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " DELETE FROM market_data WHERE symbol = NEW.symbol; RETURN NEW; END $$;"
        " CREATE TRIGGER thief AFTER INSERT ON backfill_outcome FOR EACH ROW EXECUTE FUNCTION thief()"
    )
    robbed = market.load(symbols=["AAPL.US", "MSFT.US"])
    assert "lacks rows of 1 symbols" in robbed["problem"]
    assert "❌ rows are missing in market_data: MSFT.US" in robbed["report"]
    market.query("DROP FUNCTION thief CASCADE")
    again = market.load(symbols=["AAPL.US", "MSFT.US"])
    assert again["totals"]["calls"] == 1
    assert "SUCCESS" in again["report"]


def test_bars_are_at_midnight_utc_whatever_the_server_s_time_zone(market: Any) -> None:
    market.query(f'ALTER DATABASE "{market.server.database}" SET timezone TO %s', "America/New_York")
    market.load()
    assert market.query("SELECT DISTINCT time::time FROM market_data") == [(time(0, 0),)]
    assert market.load(force=True)["changed"] is False


def test_a_delisted_symbol_is_loaded_whenever_it_is_requested(market: Any) -> None:
    now = datetime.now(timezone.utc)
    market.standin.control(delisted={"AAPL.US": (now - timedelta(days=60)).date().isoformat()})
    first = market.load(now, days=365)["totals"]["inserted"]
    for number in (1, 2):
        later = market.load(now + timedelta(days=number), days=365)
        assert later["totals"]["calls"] == 1
        assert "✅ Downloaded 0 records" in later["report"]
        assert "SUCCESS" in later["report"]
    assert market.query("SELECT rows, outcome FROM backfill_coverage") == [(first, "loaded")]
    recent = market.load(now + timedelta(days=3), days=30)
    assert [entry["outcome"] for entry in recent["not_loaded"]] == ["empty"]


def test_a_plan_costs_nothing_and_changes_nothing(market: Any) -> None:
    plan = market.load(symbols=["AAPL.US", "MSFT.US", "BTC-USD.CC"], check=True)
    assert plan["plan"]["calls"] == 3
    assert plan["plan"]["quota_left"] == 100_000
    assert plan["changed"] is True
    assert abs(plan["plan"]["rows_expected"] - (21 + 21 + 31)) <= 3
    assert market.standin.counts()["calls"] == 0
    assert market.query("SELECT count(*) FROM market_data") == [(0,)]
    assert market.query("SELECT to_regclass('backfill_run')") == [(None,)]


def test_a_run_that_the_quota_does_not_cover_is_refused_unless_partial(market: Any) -> None:
    market.standin.control(daily=10, used=8)
    symbols = [f"SYM{number:05d}.US" for number in range(4)]
    refused = market.load(symbols=symbols)
    assert "backfill_partial" in refused["problem"]
    assert "4 calls" in refused["problem"]
    assert "2 left" in refused["problem"]
    assert market.standin.counts()["calls"] == 0
    partial = market.load(symbols=symbols, partial=True, concurrency=1)
    assert "00:00 GMT" in partial["problem"]
    assert partial["totals"]["loaded"] == 2
    assert [entry["outcome"] for entry in partial["not_loaded"]] == ["pending", "pending"]
    market.standin.control(daily=100)
    rest = market.load(symbols=symbols)
    assert rest["totals"]["calls"] == 2
    assert rest["totals"]["fresh"] == 2
    assert "SUCCESS" in rest["report"]
    assert set(market.standin.counts()["paid"].values()) == {1}


def test_the_quota_of_another_day_does_not_count(market: Any) -> None:
    market.standin.control(daily=10, used=10, requests_date="2020-01-01")
    assert market.load(check=True)["plan"]["quota_left"] == 10


def test_a_later_run_requests_only_new_days_and_an_overlap(market: Any) -> None:
    today = datetime.now(timezone.utc)
    early = today - timedelta(days=20)
    market.standin.control(today=early.date().isoformat())
    market.load(early, days=365)
    market.standin.control(today=today.date().isoformat())
    later = market.load(today, days=365)
    assert later["totals"]["calls"] == 1
    assert later["totals"]["downloaded"] < 30
    assert later["totals"]["unchanged"] > 0
    assert later["totals"]["updated"] == 0
    assert "SUCCESS" in later["report"]
    first, last = market.query("SELECT first_day, last_day FROM backfill_coverage")[0]
    assert (last - first).days > 380
    stored = market.query("SELECT count(*), count(DISTINCT time) FROM market_data")[0]
    assert stored[0] == stored[1] == market.query("SELECT rows FROM backfill_coverage")[0][0]


def test_lost_rows_are_requested_again(market: Any) -> None:
    market.load(days=100)
    market.query("DELETE FROM market_data WHERE time = (SELECT min(time) FROM market_data)")
    again = market.load(days=100)
    assert again["totals"]["inserted"] == 1
    assert again["totals"]["calls"] == 1
    assert "SUCCESS" in again["report"]


def test_a_forced_run_does_not_rewrite_equal_rows(market: Any) -> None:
    market.load(symbols=["AAPL.US", "MSFT.US"], days=100)
    before = [version for version in market.versions() if version[1]]  # of bars
    forced = market.load(symbols=["AAPL.US", "MSFT.US"], days=100, force=True)
    assert forced["totals"]["calls"] == 2
    assert forced["changed"] is False
    assert [version for version in market.versions() if version[1]] == before


def test_a_split_refetches_the_whole_history_and_records_old_and_new(market: Any) -> None:
    now = datetime.now(timezone.utc)
    early = now - timedelta(days=3)
    market.load(early, days=400)
    split = (now - timedelta(days=5)).date().isoformat()
    market.standin.control(splits={"AAPL.US": [split, 4]})
    result = market.load(now, days=30)
    assert result["totals"]["calls"] == 2
    assert result["totals"]["refetched"] == 1
    old = market.query("SELECT count(*) FROM market_data WHERE time < %s", split)[0][0]
    assert result["totals"]["updated"] == old
    recorded = market.query("SELECT old_volume, new_volume, run FROM backfill_revision")
    assert len(recorded) == old
    assert all(new == 4 * before for before, new, _ in recorded)
    assert {run for _, _, run in recorded} == {result["run"]}
    assert "SUCCESS" in result["report"]
    again = market.load(now, days=30)
    assert again["changed"] is False
    assert again["totals"]["calls"] == 0


def test_a_split_also_refetches_rows_that_the_ledger_does_not_know(market: Any) -> None:
    now = datetime.now(timezone.utc)
    market.load(now - timedelta(days=3), days=400)
    ((first,),) = market.query("UPDATE backfill_coverage SET first_day = last_day - 20 RETURNING first_day")
    rows = market.query("SELECT count(*) FROM market_data WHERE time >= %s::date::timestamptz", first)[0][0]
    market.query("UPDATE backfill_coverage SET rows = %s", rows)
    split = (now - timedelta(days=5)).date().isoformat()
    market.standin.control(splits={"AAPL.US": [split, 4]})
    result = market.load(now, days=10)
    old = market.query("SELECT count(*) FROM market_data WHERE time < %s", split)[0][0]
    assert result["totals"]["updated"] == old > 200
    assert market.query("SELECT restated FROM backfill_coverage") == [(False,)]


@pytest.mark.parametrize("answer", ["unprocessable", "forbidden"])
def test_a_restated_history_stays_marked_until_it_is_loaded(market: Any, answer: str) -> None:
    now = datetime.now(timezone.utc)
    market.load(now - timedelta(days=3), days=400)
    split = (now - timedelta(days=5)).date().isoformat()
    market.standin.control(splits={"AAPL.US": [split, 4]}, answers={"AAPL.US": ["ok", answer]})
    assert "SUCCESS" not in market.load(now, days=30)["report"]
    assert market.query("SELECT restated FROM backfill_coverage") == [(True,)]
    # Loading a separate range keeps the mark, too.
    later = now + timedelta(hours=13)
    result = market.load(later, days=2)
    assert "SUCCESS" in result["report"]
    old = market.query("SELECT count(*) FROM market_data WHERE time < %s", split)[0][0]
    assert market.query("SELECT count(*) FROM backfill_revision") == [(old,)]
    assert market.query("SELECT restated FROM backfill_coverage") == [(False,)]


def test_a_corrected_volume_of_the_last_bar_is_no_restatement(market: Any) -> None:
    now = datetime.now(timezone.utc)
    last = market.load(now - timedelta(days=1))["plan"] and market.query(
        "SELECT max(time)::date::text, max(time)::date FROM market_data"
    )
    day = last[0][0]
    market.standin.control(
        rows={
            "AAPL.US": {
                day: f'{{"date":"{day}","open":1,"high":2,"low":1,"close":2,"adjusted_close":2,"volume":7}}'
            }
        }
    )
    old_ratio = market.query("SELECT adjusted_close / close FROM market_data WHERE time = %s", day)
    result = market.load(now)
    assert result["totals"]["updated"] == 1
    # The stand-in's adjusted close is 0.9 of the close, so this one changes the ratio, which is a restatement; its
    # history is requested again, and no other change is found.
    assert old_ratio
    assert market.query("SELECT volume FROM market_data WHERE time = %s", day) == [(7,)]


def test_the_most_traded_symbols_are_ranked_once(market: Any) -> None:
    planned = market.load(top=3, check=True)
    assert planned["plan"]["calls"] == 103
    first = market.load(top=3)
    assert first["totals"]["loaded"] == 3
    assert first["totals"]["calls"] == 103
    by_turnover = market.query(
        "SELECT symbol FROM market_data WHERE time = (SELECT max(time) FROM market_data)"
        " ORDER BY close * volume DESC, symbol"
    )
    ranked = market.query("SELECT symbols[1:3] FROM backfill_ranking")[0][0]
    assert ranked == [row[0] for row in by_turnover]
    assert len(set(ranked)) == 3
    wider = market.load(top=5)
    assert wider["totals"]["calls"] == 2
    assert market.standin.counts()["paid"]["US"] == 1


def test_two_parallel_backfills_share_the_symbols(market: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    market.standin.control(latency=0.01)
    symbols = [f"SYM{number:05d}.US" for number in range(60)]
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda order: market.load(symbols=order), [symbols, symbols[::-1]])
    assert "SUCCESS" in one["report"]
    assert "SUCCESS" in other["report"]
    assert one["totals"]["calls"] + other["totals"]["calls"] == 60
    assert market.standin.counts()["calls"] == 60
    assert market.query("SELECT count(DISTINCT symbol) FROM market_data") == [(60,)]


@pytest.mark.parametrize("form", ["numeric(12,4)", "partitioned"])
def test_existing_tables_are_used_as_they_are(market: Any, form: str) -> None:
    market.query("DROP TABLE market_data")
    price = form if form.startswith("numeric") else "numeric"
    columns = ", ".join(f"{name} {price}" for name in ("open", "high", "low", "close", "adjusted_close"))
    market.query(
        f"CREATE TABLE market_data (time timestamptz, symbol text, {columns}, volume bigint,"
        f" PRIMARY KEY (time, symbol)) {'PARTITION BY RANGE (time)' if form == 'partitioned' else ''}"
    )
    if form == "partitioned":
        market.query("CREATE TABLE market_data_all PARTITION OF market_data DEFAULT")
    result = market.load(symbols=["AAPL.US", "BTC-USD.CC"], days=10)
    coins = market.query("SELECT count(*) FROM market_data WHERE symbol = 'BTC-USD.CC'")[0][0]
    if form == "partitioned":
        assert "SUCCESS" in result["report"]
        assert coins == 11
        second = market.load(symbols=["AAPL.US", "BTC-USD.CC"], days=10, force=True)
        assert second["changed"] is False
        return
    # A coin's 8 decimals do not fit into 4, so rows are set aside and reported, and the run is no success.
    assert coins < 11
    assert result["totals"]["set_aside"] == 11 - coins
    assert "numeric(12,4)" in result["notes"][0]
    reasons = market.query("SELECT DISTINCT reason FROM backfill_set_aside")
    assert all("numeric(12,4)" in reason for (reason,) in reasons)
    assert "set_aside" in result["problem"]
    assert "SUCCESS" not in result["report"]
    accepted = market.load(symbols=["AAPL.US", "BTC-USD.CC"], days=10, accept=frozenset({"set_aside"}))
    assert "ACCEPTED" in accepted["report"]


@pytest.mark.parametrize("missing", ["tables", "database"])
@pytest.mark.parametrize("mode", ["history", "daily", "register", "actions", "verify"])
def test_a_plan_works_without_a_database(market: Any, missing: str, mode: str) -> None:
    if missing == "tables":
        market.query("DROP TABLE market_data, assets")
    else:
        market.server = replace(market.server, database="not_there_yet")
    plan = market.load(mode=mode, check=True)
    assert (
        plan["plan"]["calls"] == {"history": 1, "daily": 100, "register": 7, "actions": 2, "verify": 0}[mode]
    )


def test_missing_tables_are_reported(market: Any) -> None:
    market.query("DROP TABLE market_data")
    assert "--tags database" in market.load()["problem"]


def test_the_runs_of_an_account_share_its_limit(market: Any) -> None:
    from ansible.module_utils.eodhd.ledger import Ledger
    from ansible.module_utils.eodhd.store.database import Database

    sessions = [Database(market.server, f"backfill {number}") for number in range(2)]
    one, other = (Ledger(session, "account") for session in sessions)
    one.create()
    other.create()
    granted = [ledger.lease(16, 40) for ledger in (one, other, one, other)]
    assert granted == [16, 16, 8, 0]
    assert Ledger(sessions[0], "another account").lease(16, 40) == 16
    # The limit that one run has read applies to the other, too.
    assert other.lease(16, None) == 0
    assert one.claims.claim(["A.US", "B.US"]) == {"A.US", "B.US"}
    assert other.claims.claim(["B.US", "C.US"]) == {"C.US"}
    sessions[0].close()  # as a kill does
    # The server releases the locks of a session shortly after its client has disconnected.
    while market.query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'backfill 0'")[0][0]:
        sleep(0.01)
    assert other.claims.claim(["A.US", "B.US"]) == {"A.US", "B.US"}
    sessions[1].close()


def test_lost_bars_of_the_mode_daily_are_loaded_again(market: Any) -> None:
    """The ledger counts bars that daily stored before a history reached them."""
    evening = datetime(2024, 9, 30, 22, 30, tzinfo=timezone.utc)
    market.load(evening - timedelta(days=3), symbols=["AAPL.US"], days=100)
    market.standin.control(now=evening.isoformat())
    market.load(evening, mode="daily")
    market.load(evening, days=100)
    market.query("DELETE FROM market_data WHERE symbol = 'AAPL.US' AND time = '2024-08-01 00:00+00'")
    again = market.load(evening, days=100)
    assert again["totals"]["inserted"] == 1


def test_a_table_that_takes_too_long_to_count_has_no_count(
    market: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contexts, "COUNT_TIMEOUT", 1)
    market.query("CREATE VIEW slow AS SELECT 1 WHERE pg_sleep(9) IS NOT NULL")
    context = contexts.Context(market.request())
    assert context.counts(["slow", "assets"]) == {"slow": None, "assets": 0}
    context.close()
    market.query("DROP VIEW slow")
