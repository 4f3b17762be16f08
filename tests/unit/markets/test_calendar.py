"""The sessions of the markets, and when their data is due."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest
from ansible.module_utils.markets import calendar, names, sessions
from ansible.module_utils.markets.calendar import Calendar


def of(symbol: str) -> Calendar:
    found = calendar.of(symbol)
    assert found
    return found


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def test_the_data_reaches_ten_years_back_and_to_the_end_of_next_year() -> None:
    today = date.today()
    assert today - timedelta(days=3653) > calendar.FIRST
    assert date(today.year + 1, 12, 31) <= calendar.LAST, "run `make calendars`"


def test_all_markets_of_the_table_have_data() -> None:
    assert list(sessions.MARKETS) == list(names.CALENDARS)


def test_a_holiday_of_the_united_states() -> None:
    assert of("AAPL.US").sessions(date(2026, 11, 24), date(2026, 11, 30)) == [
        date(2026, 11, 24), date(2026, 11, 25), date(2026, 11, 27), date(2026, 11, 30)]  # fmt: skip


def test_good_friday_and_easter_monday_in_london() -> None:
    assert of("VOD.LSE").sessions(date(2026, 4, 2), date(2026, 4, 7)) == [date(2026, 4, 2), date(2026, 4, 7)]


def test_a_day_of_mourning_that_no_rule_foretells() -> None:
    assert not of("AAPL.US").is_session(date(2025, 1, 9))
    assert of("VOD.LSE").is_session(date(2025, 1, 9))


@pytest.mark.parametrize(
    ("symbol", "day", "end"),
    [
        ("AAPL.US", "2026-11-25", "2026-11-25T21:00"),
        ("AAPL.US", "2026-11-27", "2026-11-27T18:00"),
        ("AAPL.US", "2026-07-01", "2026-07-01T20:00"),
        ("AAPL.US", "2026-11-30", "2026-11-30T21:00"),
        ("BHP.AU", "2026-11-24", "2026-11-24T05:00"),
        ("EURUSD.FOREX", "2026-11-22", "2026-11-23T00:00"),
        ("BTC-USD.CC", "2026-11-21", "2026-11-22T00:00"),
    ],
)
def test_a_session_ends_by_the_clock_of_its_market_and_early_on_some_days(
    symbol: str, day: str, end: str
) -> None:
    assert of(symbol).closing(date.fromisoformat(day)) == at(end)


def test_currencies_have_sundays_and_no_saturdays() -> None:
    market = of("EURUSD.FOREX")
    assert market.sessions(date(2026, 11, 20), date(2026, 11, 23)) == [
        date(2026, 11, 20), date(2026, 11, 22), date(2026, 11, 23)]  # fmt: skip
    assert not market.is_session(date(2026, 12, 25))


def test_crypto_has_all_days() -> None:
    assert len(of("BTC-USD.CC").sessions(date(2026, 1, 1), date(2026, 12, 31))) == 365


def test_outside_the_years_of_the_data_weekdays_are_known() -> None:
    market = of("AAPL.US")
    assert len(market.sessions(market.last + timedelta(days=1), market.last + timedelta(days=7))) == 5


@pytest.mark.parametrize("symbol", ["AAPL.US", "AAPL", "US", "AAPL.NYSE", "NASDAQ", "AISI.OTC", "PINK"])
def test_a_symbol_without_a_suffix_and_all_lists_of_the_united_states_are_one_market(symbol: str) -> None:
    assert names.market(symbol) == "US"
    assert of(symbol) is of("A.US")


def test_a_suffix_that_nobody_knows_has_no_calendar() -> None:
    assert calendar.of("GSPC.INDX") is None


def test_a_symbol_whose_name_is_that_of_a_market_keeps_its_own() -> None:
    assert names.suffix("F") == "US"
    assert names.market("F.US") == "US"
    assert names.market("F") == "F"


@pytest.mark.parametrize(
    ("symbol", "kind", "session", "moment"),
    [
        ("AAPL.US", None, "2026-11-25", "2026-11-25T21:15"),
        ("AAPL", "Common Stock", "2026-07-01", "2026-07-01T20:15"),
        ("AAPL.US", None, "2026-11-27", "2026-11-27T18:15"),  # an early close
        ("SPY.US", "ETF", "2026-11-25", "2026-11-26T00:00"),
        ("VTSAX.US", "FUND", "2026-11-25", "2026-11-26T11:00"),
        ("VTSAX.US", "FUND", "2026-10-30", "2026-10-31T10:00"),  # daylight saving ends on 1 November
        ("VTSAX.US", "FUND", "2026-10-31", "2026-11-01T11:00"),
        ("AISI.US", "OTCQB", "2026-07-01", "2026-07-02T10:00"),
        ("PINK", None, "2026-07-01", "2026-07-02T10:00"),
        ("US", calendar.VOLUME, "2026-07-01", "2026-07-02T10:00"),
        ("VOD.LSE", None, "2026-07-01", "2026-07-01T18:30"),
        ("VOD.LSE", "ETF", "2026-07-01", "2026-07-01T18:30"),
        ("EURUSD.FOREX", None, "2026-07-01", "2026-07-02T01:00"),
    ],
)
def test_the_moment_when_data_is_due(symbol: str, kind: str | None, session: str, moment: str) -> None:
    assert calendar.due_at(symbol, date.fromisoformat(session), kind) == at(moment)


@pytest.mark.parametrize(
    ("now", "kind", "session"),
    [
        ("2026-11-25T21:14", None, "2026-11-24"),
        ("2026-11-25T21:15", None, "2026-11-25"),
        ("2026-11-26T10:59", "fund", "2026-11-24"),
        ("2026-11-26T11:00", "fund", "2026-11-25"),
        ("2026-11-27T12:00", None, "2026-11-25"),  # Thanksgiving lies between
    ],
)
def test_the_newest_session_that_is_due(now: str, kind: str | None, session: str) -> None:
    assert calendar.due("AAPL.US", at(now), kind) == date.fromisoformat(session)


def test_nothing_is_due_of_a_market_without_a_calendar() -> None:
    assert calendar.due("GSPC.INDX", at("2026-11-25T21:14")) is None
    assert calendar.due_at("GSPC.INDX", date(2026, 11, 25)) is None
