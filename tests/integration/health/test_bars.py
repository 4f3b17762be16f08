"""Each check of the bars: cause its problem, then repair it."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.eodhd.migrations import MIGRATIONS
from ansible.module_utils.eodhd.store import chunks
from ansible.module_utils.health import bars, coverage

from tests import engines

if TYPE_CHECKING:
    from tests.integration.health.conftest import Host


def drop(host: Host, *days: date, symbol: str = "AAPL.US") -> None:
    host.run(
        "DELETE FROM market_data WHERE symbol = %s AND (time AT TIME ZONE 'UTC')::date = ANY (%s)",
        values=(symbol, list(days)),
    )


# --- freshness ---------------------------------------------------------------------------------------------


def test_a_last_bar_that_has_aged_is_a_warning_and_then_a_failure(host: Host) -> None:
    days = host.sessions()
    assert host.finding("freshness") == ("ok", "1 symbol up to date.")
    drop(host, *days[-2:])
    assert host.finding("freshness")[0] == "ok"
    drop(host, *days[-3:])
    level, message = host.finding("freshness")
    assert level == "warn"
    assert message == (
        f"1 of 1 symbol stale: AAPL.US (last bar {days[-4]}, 3 sessions behind {days[-1]}). Load with"
        ' `ansible-playbook playbooks/backfill.yml -e \'{"backfill_symbols": ["AAPL.US"]}\''
        f" -e backfill_from={days[-4]}`, or set assets.is_active to false for a symbol that is no longer traded."
    )
    drop(host, *days[-10:])
    level, message = host.finding("freshness")
    assert level == "fail"
    assert f"AAPL.US (last bar {days[-11]}, 10 sessions behind {days[-1]})" in message
    host.load("AAPL.US", days[-10:])
    assert host.finding("freshness")[0] == "ok"


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Auckland"])
def test_a_bar_is_of_its_day_whatever_the_zone_of_the_server(host: Host, zone: str) -> None:
    host.run(f"ALTER DATABASE \"{host.database.database}\" SET timezone TO '{zone}'")
    assert host.finding("freshness") == ("ok", "1 symbol up to date.")
    assert host.finding("gaps")[0] == "ok"


def test_a_symbol_that_is_no_longer_active_may_be_old(host: Host) -> None:
    host.load("OLD.US", [date(2020, 1, 2), date(2020, 1, 3)])
    host.run("UPDATE assets SET is_active = false WHERE symbol = 'OLD.US'")
    assert host.finding("freshness") == ("ok", "1 symbol up to date.")


def test_a_few_dead_symbols_of_many_are_a_warning(host: Host) -> None:
    days = host.sessions(count=30)
    for number in range(10):
        host.load(f"S{number}.US", days[-1:])
    host.load("DEAD.US", days[:1])
    level, message = host.finding("freshness")
    assert level == "warn"
    assert message.startswith(f"1 of 12 symbols stale: DEAD.US (last bar {days[0]}, 29 sessions behind")
    assert host.finding("freshness", limits={"stale_share": 0.01})[0] == "fail"


def test_many_stale_symbols_are_one_line_with_the_worst_first(host: Host) -> None:
    days = host.sessions(count=30)
    for number in range(4):
        host.load(f"S{number}.US", days[number : number + 1])
    _, message = host.finding("freshness")
    assert message.startswith("4 of 5 symbols stale: S0.US (")
    assert "S2.US (" in message
    assert "S3.US (" not in message


def test_each_market_has_its_own_last_session(host: Host) -> None:
    for suffix in ("LSE", "FOREX", "CC"):
        host.load(f"X.{suffix}", host.sessions(suffix))
    assert host.finding("freshness") == ("ok", "4 symbols up to date.")


def test_a_market_without_a_calendar_is_named(host: Host) -> None:
    host.load("GSPC.INDX", [date(2020, 1, 2)])
    assert host.finding("freshness") == (
        "ok",
        "1 symbol up to date. Not checked, because there is no calendar: INDX.",
    )


def test_a_large_table_is_looked_at_in_windows_that_together_tell_the_same(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.load("OLD.US", [date(2020, 1, 2)])
    host.load("NEW.US", host.sessions())
    whole = host.finding("freshness", query_timeout=60)
    assert whole[1].startswith("1 of 3 symbols stale: OLD.US (last bar 2020-01-02, ")
    monkeypatch.setattr(coverage, "LARGE", 10)
    monkeypatch.setattr(coverage, "RECENT", 5)
    assert host.finding("freshness", query_timeout=60) == whole


# --- coverage ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("large", [10, 1_000_000])
def test_an_active_symbol_without_bars(host: Host, monkeypatch: pytest.MonkeyPatch, large: int) -> None:
    monkeypatch.setattr(coverage, "LARGE", large)
    assert host.finding("coverage") == ("ok", "0 active symbols of assets without a bar")
    host.run("INSERT INTO assets (symbol) VALUES ('BARE.US')")
    found = [f for f in host.check()["checks"] if f["check"] == "coverage"]
    assert [f["level"] for f in found] == ["warn"]
    assert found[0]["message"] == (
        "1 active symbol of assets without a bar: BARE.US. Load with `ansible-playbook playbooks/backfill.yml"
        ' -e \'{"backfill_symbols": ["BARE.US"]}\'`, or set assets.is_active to false.'
    )
    assert host.check(limits={"coverage_fail": 1})["level"] == "fail"
    host.run("UPDATE assets SET is_active = false WHERE symbol = 'BARE.US'")
    assert host.finding("coverage")[0] == "ok"


# --- gaps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("large", [10, 1_000_000])
def test_a_session_dropped_in_the_middle(host: Host, monkeypatch: pytest.MonkeyPatch, large: int) -> None:
    monkeypatch.setattr(coverage, "LARGE", large)
    days = host.sessions()
    assert host.finding("gaps")[0] == "ok"
    drop(host, days[10])
    level, message = host.finding("gaps")
    assert level == "warn"
    assert message == (
        f"1 session missing in 1 symbol: AAPL.US ({days[10]}). Load with `ansible-playbook playbooks/backfill.yml"
        f' -e \'{{"backfill_symbols": ["AAPL.US"]}}\' -e backfill_from={days[10]} -e backfill_force=true`.'
    )
    assert host.finding("gaps", limits={"gap_fail": 1})[0] == "fail"
    assert host.finding("gaps", limits={"gap_warn": 2})[0] == "ok"
    host.load("AAPL.US", [days[10]])
    assert host.finding("gaps")[0] == "ok"


def test_a_bar_on_a_holiday_hides_no_gap(host: Host) -> None:
    days = host.sessions()
    holiday = next(day for day in (days[5] + timedelta(days=n) for n in range(1, 9)) if day not in days)
    host.load("AAPL.US", [holiday])
    assert host.finding("gaps")[0] == "ok"
    drop(host, days[10])
    assert host.finding("gaps")[1].startswith(f"1 session missing in 1 symbol: AAPL.US ({days[10]})")


def test_a_bar_after_all_sessions_that_are_known_is_no_trouble(host: Host) -> None:
    host.load("AAPL.US", [date(2040, 1, 3)])
    assert host.finding("gaps")[0] == "ok"


def test_currencies_miss_a_sunday_and_crypto_a_saturday(host: Host) -> None:
    for suffix, weekday in (("FOREX", 6), ("CC", 5)):
        days = host.sessions(suffix)
        host.load(
            f"X.{suffix}", [day for day in days if day.weekday() != weekday or day in days[:1] + days[-1:]]
        )
    _, message = host.finding("gaps")
    assert " missing in 2 symbols: " in message


def test_a_symbol_that_begins_later_misses_nothing_before(host: Host) -> None:
    host.load("NEW.US", host.sessions()[-3:])
    assert host.finding("gaps")[0] == "ok"


def test_gaps_can_be_left_out(host: Host) -> None:
    drop(host, host.sessions()[10])
    assert "gaps" not in [found["check"] for found in host.check(limits={"gap_days": 0})["checks"]]


def test_what_the_time_did_not_reach_is_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    query = bars.query
    answers: list[Any] = []

    def twice(*arguments: Any) -> Any:
        # Enough for the assets and the newest window.
        answers.append(query(*arguments) if len(answers) < 2 else None)
        return answers[-1]

    monkeypatch.setattr(coverage, "LARGE", 10)
    monkeypatch.setattr(coverage, "query", twice)
    level, message = host.finding("gaps")
    since = datetime.now(timezone.utc).date() - timedelta(days=coverage.RECENT - 1)
    assert level == "warn"
    assert message.startswith(f"The search for gaps reached back only to {since} within 10 s. Raise")


@pytest.mark.skipif(engines.LAYOUT.engine == "citus", reason="Citus reads a view to its end for one row")
def test_a_question_over_its_time_is_a_warning(host: Host) -> None:
    host.run(
        "ALTER TABLE market_data RENAME TO bars",
        "CREATE VIEW market_data AS SELECT b.* FROM bars b, LATERAL (SELECT pg_sleep(0.2), b.time) AS slow",
    )
    result = host.check(count="estimate", query_timeout=1)
    assert result["healthy"]
    assert (
        "⚠️  The check of stale symbols did not finish within 1 s. Raise health_query_timeout."
        in result["report"]
    )


# --- one trouble, one line ---------------------------------------------------------------------------------


def test_an_empty_table_makes_no_noise(host: Host) -> None:
    host.run("TRUNCATE market_data")
    assert host.finding("tables") == (
        "warn",
        "market_data is empty. Fill it with `ansible-playbook playbooks/backfill.yml`.",
    )


def test_a_table_that_is_not_the_applications(host: Host) -> None:
    host.run("ALTER TABLE market_data RENAME COLUMN symbol TO ticker")
    problems = set(host.check()["problems"])
    assert problems == {
        "market_data does not have the columns that the application needs. Run `ansible-playbook"
        " playbooks/reset.yml --tags database`, which names the differences."
    }


# --- locks -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(engines.LAYOUT.engine == "citus", reason="the layout has no chunks")
def test_a_lock_table_that_is_too_small_for_the_backfill(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    if not engines.LAYOUT.statements:
        host.run(*engines.PARTITIONED)
        host.load("AAPL.US", host.sessions())
    assert host.finding("locks") == ("ok", "PostgreSQL has enough locks for the backfill")
    monkeypatch.setattr(chunks, "SHARE", 64 * 100)
    level, message = host.finding("locks")
    assert level == "fail"
    assert "max_locks_per_transaction is 64" in message
    assert "restart the server" in message


# --- set aside, precision ----------------------------------------------------------------------------------


def test_bars_set_aside_until_they_are_resolved(host: Host) -> None:
    assert host.finding("set_aside") == ("ok", "the backfill has set no bar aside")
    host.run(
        *MIGRATIONS,
        "INSERT INTO backfill_set_aside (symbol, day, raw, reason, run) VALUES"
        " ('AAPL.US', '2026-01-02', '{}', 'close is missing', 1),"
        " ('MSFT.US', '2026-01-02', '{}', 'close is missing', 1)",
    )
    level, message = host.finding("set_aside")
    assert level == "warn"
    assert message == (
        "2 bars of 2 symbols (AAPL.US, MSFT.US) were set aside. The most frequent reason: close is missing. See the"
        " rows of backfill_set_aside in which resolved is null, fix the cause, and load the bars again with"
        ' `ansible-playbook playbooks/backfill.yml -e \'{"backfill_symbols": ["AAPL.US", "MSFT.US"]}\''
        " -e backfill_from=2026-01-02 -e backfill_to=2026-01-02 -e backfill_force=true`."
    )
    assert host.finding("set_aside", limits={"set_aside_fail": 2})[0] == "fail"
    host.run("UPDATE backfill_set_aside SET resolved = now()")
    assert host.finding("set_aside")[0] == "ok"


def test_bars_of_names_that_were_not_traded_are_no_trouble(host: Host) -> None:
    host.run(
        *MIGRATIONS,
        "INSERT INTO backfill_set_aside (symbol, day, raw, reason, run) VALUES"
        " ('AAPL.US', '2026-01-02', '{}', 'untraded: all prices are zero', 1),"
        " ('AAPL.US', '2026-01-05', '{}', 'all prices are zero', 1)",
    )
    assert host.finding("set_aside") == ("ok", "the backfill has set no bar aside")


@pytest.mark.parametrize(
    ("narrow", "told"),
    [
        ("ALTER close TYPE numeric(12,4), ALTER open TYPE numeric(20,8)", "sends: close: numeric(12,4)."),
        ("ALTER volume TYPE bigint", "sends: volume: bigint."),
    ],
)
def test_columns_that_would_round(host: Host, narrow: str, told: str) -> None:
    assert host.finding("precision") == ("ok", "the columns of market_data hold every digit")
    host.run("DROP TABLE market_data", "DROP TABLE assets")
    engines.create_tables(host.database, narrow=narrow)
    host.load("AAPL.US", host.sessions())
    level, message = host.finding("precision")
    assert level == "warn"
    assert told in message
    assert "Set database_widen: true and run" in message


# --- tables and bars that this project did not write ---------------------------------------------------------


def test_a_table_that_the_backfill_refuses_is_named(host: Host) -> None:
    key = "SELECT conname FROM pg_constraint WHERE conrelid = 'market_data'::regclass AND contype = 'p'"
    host.run(f"DO $$ BEGIN EXECUTE format('ALTER TABLE market_data DROP CONSTRAINT %I', ({key})); END $$")
    level, message = host.finding("precision")
    assert level == "warn"
    assert message.startswith(
        "The backfill refuses market_data: market_data has no unique key on (time, symbol)"
    )


def test_bars_at_another_time_than_midnight_utc(host: Host) -> None:
    days = host.sessions()
    assert host.finding("keys") == ("ok", "each bar has one time and one symbol")
    host.run(
        "INSERT INTO market_data VALUES (%s, 'AAPL.US', 1, 1, 1, 1, 1, 1)", values=(f"{days[10]} 21:00+00",)
    )
    level, message = host.finding("keys")
    assert level == "warn"
    assert message.startswith("1 symbol (AAPL.US) has bars at other times than midnight UTC.")


def test_bars_of_each_hour_are_data_of_another_kind(host: Host) -> None:
    host.run(
        "INSERT INTO market_data SELECT day + hour * interval '1 hour', 'HOUR.US', 1, 1, 1, 1, 1, 1"
        " FROM unnest(%s::timestamptz[]) AS day, generate_series(14, 20) AS hour",
        values=([f"{day} 00:00+00" for day in host.sessions()],),
    )
    assert host.finding("keys") == ("ok", "each bar has one time and one symbol")


@pytest.mark.parametrize(("other", "us"), [("AAPL", "AAPL.US"), ("aapl.us", "AAPL.US"), ("aapl", "AAPL.US")])
def test_a_symbol_that_is_stored_under_two_names(host: Host, other: str, us: str) -> None:
    host.load(other, host.sessions())
    level, message = host.finding("keys")
    assert level == "warn"
    assert message.startswith(f"1 symbol is stored under two names: {other} and {us}.")


@pytest.mark.skipif(
    engines.LAYOUT.engine == "timescaledb" or engines.LAYOUT is engines.LAYOUTS["partitioned"],
    reason="no chunk or partition takes such times",
)
def test_times_that_no_calendar_has(host: Host) -> None:
    host.load("AAPL.US", [])
    host.run(
        "INSERT INTO market_data SELECT t::timestamptz, 'MSFT.US', 1, 1, 1, 1, 1, 1 FROM"
        " unnest(ARRAY['infinity', '-infinity', '20000-01-01', '0044-03-15 BC']) AS t"
    )
    assert host.check()["healthy"] is True


# --- one definition of active, market and expected -----------------------------------------------------------


def test_what_nobody_said_about_a_symbol_means_active(host: Host) -> None:
    old = host.sessions(count=30)[:1]
    host.load("NULL.US", old)
    host.run("UPDATE assets SET is_active = NULL WHERE symbol = 'NULL.US'")
    assert "NULL.US (" in host.finding("freshness")[1]


def test_a_symbol_that_assets_does_not_list_is_active(host: Host) -> None:
    host.load("VOD.LSE", host.sessions("LSE", count=30)[:1])
    host.run("DELETE FROM assets WHERE symbol = 'VOD.LSE'")
    assert "VOD.LSE (" in host.finding("freshness")[1]


def test_a_symbol_without_a_suffix_is_one_of_the_united_states(host: Host) -> None:
    days = host.sessions()
    host.load("F", days)
    assert host.finding("gaps")[0] == "ok"
    drop(host, days[10], symbol="F")
    assert host.finding("gaps")[1].startswith(f"1 session missing in 1 symbol: F ({days[10]}). Load with")


def test_a_bar_long_before_the_days_that_are_looked_at_is_known(host: Host) -> None:
    host.load("OLD.US", [date(2014, 3, 3)])
    assert "OLD.US (last bar 2014-03-03, " in host.check()["report"]
    assert [f["level"] for f in host.check()["checks"] if f["check"] == "coverage"] == ["ok"]


def test_bars_on_an_old_basis_until_they_are_resolved(host: Host) -> None:
    assert host.finding("basis")[0] == "ok"
    host.run(
        *MIGRATIONS,
        "INSERT INTO backfill_old_basis (symbol, first_day, last_day, rows, since, run)"
        " VALUES ('AAPL.US', '2020-01-02', '2020-06-30', 120, now(), 1)",
    )
    level, message = host.finding("basis")
    assert level == "warn"
    assert "1 symbol (AAPL.US)" in message
    host.run("UPDATE backfill_old_basis SET resolved = now()")
    assert host.finding("basis")[0] == "ok"
