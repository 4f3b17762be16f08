"""The sessions of the markets: as the library has them, and the project's own."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType

import exchange_calendars
import pytest
from ansible.module_utils.health import calendars
from ansible.module_utils.health.calendars import Calendar, Calendars


@pytest.fixture(scope="module")
def made(plugin: ModuleType) -> Calendars:
    """A few markets through the whole way: library, text, calendars."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            plugin,
            "MARKETS",
            {name: plugin.MARKETS[name] for name in ("XNYS", "XLON", "XPAR", "XASX", "XTKS", "XSAU")},
        )
        data = dict(plugin.calendars(date(2021, 1, 1), date(2027, 12, 31)))
    return calendars.parse(plugin.pack(data))


def calendar(made: Calendars, symbol: str) -> Calendar:
    found = made.of(symbol)
    assert found
    return found


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def test_a_holiday_of_the_united_states(made: Calendars) -> None:
    market = calendar(made, "AAPL.US")
    assert market.sessions(date(2026, 11, 24), date(2026, 11, 30)) == [
        date(2026, 11, 24), date(2026, 11, 25), date(2026, 11, 27), date(2026, 11, 30)]  # fmt: skip


def test_good_friday_and_easter_monday_in_london(made: Calendars) -> None:
    market = calendar(made, "VOD.LSE")
    assert market.sessions(date(2026, 4, 2), date(2026, 4, 7)) == [date(2026, 4, 2), date(2026, 4, 7)]


def test_a_day_of_mourning_that_no_rule_foretells(made: Calendars) -> None:
    assert not calendar(made, "AAPL.US").is_session(date(2025, 1, 9))
    assert calendar(made, "VOD.LSE").is_session(date(2025, 1, 9))


@pytest.mark.parametrize(
    ("day", "end"),
    [("2026-11-25", "21:00"), ("2026-11-27", "18:00"), ("2026-07-01", "20:00"), ("2026-11-30", "21:00")],
)
def test_a_session_ends_by_the_clock_of_its_market_and_early_on_some_days(
    made: Calendars, day: str, end: str
) -> None:
    assert calendar(made, "AAPL.US").closing(date.fromisoformat(day)) == at(f"{day}T{end}")


@pytest.mark.parametrize(
    ("symbol", "now", "last"),
    [
        ("AAPL.US", "2026-11-27T17:59", "2026-11-25"),
        ("AAPL.US", "2026-11-27T18:00", "2026-11-27"),
        ("AAPL.US", "2026-11-29T12:00", "2026-11-27"),
        ("BHP.AU", "2026-11-24T06:00", "2026-11-24"),
        ("EURUSD.FOREX", "2026-11-22T12:00", "2026-11-20"),
        ("EURUSD.FOREX", "2026-11-23T00:00", "2026-11-22"),
        ("BTC-USD.CC", "2026-11-22T23:59", "2026-11-21"),
        ("BTC-USD.CC", "2026-11-23T00:00", "2026-11-22"),
    ],
)
def test_the_last_finished_session(made: Calendars, symbol: str, now: str, last: str) -> None:
    assert calendar(made, symbol).last_finished(at(now)) == date.fromisoformat(last)


def test_currencies_have_sundays_and_no_saturdays(made: Calendars) -> None:
    market = calendar(made, "EURUSD.FOREX")
    assert market.sessions(date(2026, 11, 20), date(2026, 11, 23)) == [
        date(2026, 11, 20), date(2026, 11, 22), date(2026, 11, 23)]  # fmt: skip
    assert not market.is_session(date(2026, 12, 25))


def test_crypto_has_all_days(made: Calendars) -> None:
    assert len(calendar(made, "BTC-USD.CC").sessions(date(2026, 1, 1), date(2026, 12, 31))) == 365


@pytest.mark.parametrize(
    ("symbol", "name"),
    [("A.US", "XNYS"), ("A.LSE", "XLON"), ("A.PA", "XPAR"), ("A.AU", "XASX"), ("A.SR", "XSAU")],
)
def test_every_session_and_its_end_is_that_of_the_library(made: Calendars, symbol: str, name: str) -> None:
    market, library = (
        calendar(made, symbol),
        exchange_calendars.get_calendar(name, "2021-01-01", "2027-12-31"),
    )
    expected = {day.date(): end.to_pydatetime() for day, end in library.closes.items()}
    assert market.sessions(date(2021, 1, 1), date(2027, 12, 31)) == list(expected)
    assert {day: market.closing(day) for day in expected} == expected


def test_a_suffix_that_nobody_knows_has_no_calendar(made: Calendars) -> None:
    assert made.of("GSPC.INDX") is None


@pytest.mark.parametrize("raw", [None, "", "not base64!", "bm90IHpsaWI=", "eJyrrgUAAXUA+Q=="])
def test_without_usable_text_there_are_currencies_and_crypto(raw: str | None) -> None:
    found = calendars.parse(raw)
    assert found.missing
    assert sorted(found.by_suffix) == ["CC", "FOREX"]


# --- the lookup --------------------------------------------------------------------------------------------


@pytest.fixture
def one(plugin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The lookup with one market, so that it takes no seconds."""
    monkeypatch.setattr(plugin, "MARKETS", {"XSHG": ["SHG"]})
    return plugin


def test_a_text_is_made_once_for_a_year_and_a_version(
    one: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = one.text(date(2026, 11, 23), 3650, [tmp_path])
    monkeypatch.setattr(one, "calendars", None)
    assert one.text(date(2026, 11, 24), 3650, [tmp_path]) == first
    (kept,) = tmp_path.iterdir()
    assert kept.name == f"calendars-{exchange_calendars.__version__}-2016-2027"
    with pytest.raises(TypeError):
        one.text(date(2027, 1, 1), 3650, [tmp_path])


def test_a_cut_file_is_made_anew(one: ModuleType, tmp_path: Path) -> None:
    whole = one.text(date(2026, 11, 23), 30, [tmp_path])
    (kept,) = tmp_path.iterdir()
    kept.write_text(whole[: len(whole) // 2])
    assert one.text(date(2026, 11, 23), 30, [tmp_path]) == whole
    assert kept.read_text() == whole


def test_a_folder_that_takes_nothing_is_passed_over(one: ModuleType, tmp_path: Path) -> None:
    obstacle = tmp_path / "file"
    obstacle.write_text("")
    one.text(date(2026, 11, 23), 30, [obstacle / "folder", tmp_path / "other"])
    assert list((tmp_path / "other").iterdir())


def test_a_private_folder_of_somebody_else_is_not_used(
    plugin: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin.tempfile, "gettempdir", lambda: str(tmp_path))
    mine = plugin.private()
    assert mine.stat().st_mode & 0o777 == 0o700
    mine.chmod(0o777)
    assert plugin.private() != mine


def test_a_controller_without_the_library_says_so(
    plugin: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "LIBRARY", "no_such_library")
    found = calendars.parse(plugin.text(date(2026, 11, 23), 30, []))
    assert found.missing == "the controller has no no_such_library; run `make setup` in the clone"


def test_outside_the_years_of_the_library_weekdays_are_known(made: Calendars) -> None:
    market = calendar(made, "AAPL.US")
    day = market.last + timedelta(days=10)
    assert market.last_finished(at(f"{day + timedelta(days=7)}T23:59")) > market.last
