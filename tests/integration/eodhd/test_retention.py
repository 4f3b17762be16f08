"""A TimescaleDB policy that drops old bars: they are not missing, and nobody pays for them again."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from tests import engines

pytestmark = pytest.mark.skipif(engines.LAYOUT.engine != "timescaledb", reason="it is TimescaleDB that drops")
NOTE = "TimescaleDB drops bars older than 60 days"


@pytest.fixture
def dropping(market: Any) -> Any:
    """Bars of 800 days were loaded; a policy came later and dropped the older ones."""
    assert market.load(days=800)["totals"]["inserted"] > 500
    market.query("SELECT add_retention_policy('market_data', interval '60 days')")
    market.query("SELECT drop_chunks('market_data', interval '60 days')")
    return market


def stored(market: Any) -> list[Any]:
    return list(market.query("SELECT * FROM market_data ORDER BY symbol, time"))


def paid(market: Any) -> int:
    return int(market.standin.counts()["paid"]["AAPL.US"])


def test_dropped_bars_are_not_paid_again(dropping: Any) -> None:
    before = stored(dropping)
    for more in ({}, {"fresh_hours": 0}, {"force": True}):
        calls = paid(dropping)
        result = dropping.load(days=800, **more)
        assert "SUCCESS" in result["report"]
        assert [note for note in result["notes"] if NOTE in note]
        assert paid(dropping) - calls == (1 if more else 0)
        assert stored(dropping) == before
    (first,) = dropping.query("SELECT first_day FROM backfill_coverage WHERE symbol = 'AAPL.US'")[0]
    assert datetime.now(timezone.utc).date() - first <= timedelta(days=60)


def test_dropped_bars_are_not_missing_from_a_shorter_range(dropping: Any) -> None:
    result = dropping.load(days=30)
    assert paid(dropping) == 1
    assert not [note for note in result["notes"] if NOTE in note]


def test_kept_bars_that_are_lost_are_asked_for(dropping: Any) -> None:
    dropping.query("DELETE FROM market_data WHERE time > now() - interval '20 days'")
    assert dropping.load(days=800)["totals"]["inserted"] > 5
    assert paid(dropping) == 2


def test_restated_past_is_asked_for_as_far_as_it_is_stored(dropping: Any) -> None:
    before = stored(dropping)
    split = (datetime.now(timezone.utc) - timedelta(days=5)).date()
    dropping.standin.control(splits={"AAPL.US": [split.isoformat(), 4]})
    result = dropping.load(days=800, fresh_hours=0)
    assert "SUCCESS" in result.get("report", result)
    ((oldest, updated),) = dropping.query(
        "SELECT min(first_day), sum(updated) FROM backfill_outcome WHERE run > 1"
    )
    assert oldest >= before[0][0].date()
    assert updated > 30


def test_only_dropped_days_are_refused(dropping: Any) -> None:
    problem = dropping.load(first=date(2020, 1, 1), last=date(2020, 6, 30))["problem"]
    assert NOTE in problem
    assert "backfill_to" in problem
    assert paid(dropping) == 1


def test_verify_compares_only_what_is_kept(dropping: Any) -> None:
    assert "SUCCESS" in dropping.load(mode="verify", days=800)["report"]


def test_a_paused_policy_drops_nothing(dropping: Any) -> None:
    dropping.query(
        "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs"
        " WHERE proc_name = 'policy_retention'"
    )
    assert dropping.load(days=800)["totals"]["inserted"] > 300


def test_daily_loads_a_restated_symbol_whose_entry_the_policy_has_outlived(dropping: Any) -> None:
    dropping.query("UPDATE backfill_coverage SET last_day = first_day + 100, restated = true")
    before = stored(dropping)
    assert "SUCCESS" in dropping.load(mode="daily")["report"]
    ((first, restated),) = dropping.query(
        "SELECT first_day, restated FROM backfill_coverage WHERE symbol = 'AAPL.US'"
    )
    assert not restated
    assert first >= before[0][0].date()
    assert len(stored(dropping)) >= len(before)
