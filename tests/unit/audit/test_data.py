"""The map of bars: gaps, holidays and freshness, by symbol and month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from ansible.module_utils.audit import data
from ansible.module_utils.coverage.expected import Window
from ansible.module_utils.coverage.survey import Span

from tests.unit.coverage import surveys

TODAY = surveys.TODAY
HOLIDAY = date(2026, 9, 7)  # Labor Day
WINDOW = Window.of(3, TODAY)
MARKETS = surveys.markets(WINDOW)
US = MARKETS.named("US")
assert US
SESSIONS = [day for day in US.days if day <= date(2026, 11, 20)]


def picture(bars: Mapping[str, Sequence[date]], active: set[str] | None = None, limit: int = 40) -> Any:
    found = surveys.survey(bars, MARKETS, active)
    return data.picture(found, MARKETS, lambda names: {s: bars[s] for s in names if s in bars}, limit)


def line(bars: Sequence[date], symbol: str = "A.US", active: bool = True) -> Any:
    (found,) = picture({symbol: bars}, {symbol} if active else set())["worst"]
    return found


def test_window_begins_with_a_month() -> None:
    assert (WINDOW.first, WINDOW.last) == (date(2026, 9, 1), TODAY)
    assert WINDOW.months == [date(2026, 9, 1), date(2026, 10, 1), date(2026, 11, 1)]
    assert Window.of(12, date(2026, 12, 31)).first == date(2026, 1, 1)


def test_complete_symbol_lacks_nothing_on_holidays_weekends_and_the_day_that_is_not_over() -> None:
    found = line(SESSIONS)
    assert (found["missing"], found["behind"]) == (0, 0)
    assert [month["bars"] for month in found["months"]] == [21, 22, 15]
    assert set(found["recent"]) == {"b", "."}


def test_gap_is_a_session_inside_the_range() -> None:
    gone = date(2026, 11, 4)
    found = line([day for day in SESSIONS if day != gone])
    assert (found["missing"], found["behind"]) == (1, 0)
    assert found["months"][2] == {"bars": 14, "missing": 1, "behind": 0}
    assert found["recent"][-1 - (TODAY - gone).days] == "m"


def test_sessions_after_the_last_bar_are_behind_and_no_gap() -> None:
    found = line(SESSIONS[:-3])
    assert (found["missing"], found["behind"]) == (0, 3)
    assert found["recent"].count("l") == 3


def test_symbol_that_is_not_active_need_not_go_on() -> None:
    assert line(SESSIONS[:-3], active=False)["behind"] == 0


def test_symbol_that_began_later_lacks_nothing_before() -> None:
    assert line(SESSIONS[30:])["missing"] == 0


def test_active_symbol_without_a_bar_lacks_everything() -> None:
    found = picture({}, {"A.US"})
    assert found["without_bars"] == 1
    assert found["worst"][0]["behind"] == len(SESSIONS)
    assert found["worst"][0]["last"] is None


def test_each_market_has_its_own_sessions() -> None:
    found = picture({"A.US": SESSIONS, "BTC-USD.CC": SESSIONS})
    lacking = {entry["symbol"]: entry["missing"] for entry in found["worst"]}
    assert lacking["A.US"] == 0
    assert lacking["BTC-USD.CC"] == (SESSIONS[-1] - SESSIONS[0]).days + 1 - len(SESSIONS)


def test_without_a_calendar_nothing_is_called_missing() -> None:
    found = picture({"A.XX": SESSIONS[::2]})
    assert found["without_calendar"] == 1
    assert (found["worst"][0]["missing"], found["worst"][0]["behind"]) == (0, 0)
    assert found["markets"] == []


def test_holidays_are_told_by_market() -> None:
    (market,) = picture({"A.US": SESSIONS})["markets"]
    assert market["months"][0] == {"sessions": 21, "holidays": 1}
    assert market["months"][2] == {"sessions": 15, "holidays": 0}
    assert market["holidays"] == []  # none among the recent days
    assert market["recent"].count("h") == 0


def test_worst_come_first_and_the_others_are_summed() -> None:
    bars = {f"S{number:02}.US": SESSIONS[: len(SESSIONS) - number] for number in range(9)}
    found = picture(bars, limit=2)
    assert [entry["symbol"] for entry in found["worst"]] == ["S08.US", "S07.US"]
    assert found["symbols"] == 9
    assert found["behind"] == 8
    assert sum(month["rows"] for month in found["all"]) == sum(map(len, bars.values()))


@pytest.mark.parametrize("cut", [0, 7])
def test_sum_expects_the_sessions_of_each_range(cut: int) -> None:
    bars = {"A.US": SESSIONS[: len(SESSIONS) - cut], "B.US": SESSIONS[5:]}
    expected = sum(month["expected"] for month in picture(bars)["all"])
    assert expected == len(bars["A.US"]) + len(bars["B.US"])


@pytest.mark.parametrize(("hours", "behind"), [(0, 0), (6, 1)])
def test_bar_is_expected_some_hours_after_it_is_due(hours: int, behind: int) -> None:
    due = datetime(2026, 11, 20, 21, 15, tzinfo=timezone.utc)  # the session ended at 21:00
    markets = surveys.markets(WINDOW, due + timedelta(hours=hours))
    found = surveys.survey({"A.US": SESSIONS[:-1]}, markets)
    assert data.picture(found, markets, lambda names: {}, 1)["worst"][0]["last"] == "2026-11-19"
    assert data.picture(found, markets, lambda names: {}, 1)["behind"] == behind


def test_bar_on_a_holiday_does_not_make_up_for_one_that_is_missing() -> None:
    days = sorted([HOLIDAY, *(day for day in SESSIONS if day != date(2026, 9, 9))])
    found = picture({"A.US": days})
    assert (found["with_gaps"], found["missing"], found["worst"][0]["missing"]) == (1, 1, 1)
    assert found["all"][0]["held"] == found["all"][0]["expected"] - 1
    assert found["all"][0]["rows"] == 21


def test_thirty_thousand_symbols_make_no_more_lines() -> None:
    found = surveys.survey({}, MARKETS, [f"S{number}.US" for number in range(30_000)])
    found.spans = dict.fromkeys(found.kinds, Span(SESSIONS[0], SESSIONS[-1], len(SESSIONS) - 1))
    drawn = data.picture(found, MARKETS, lambda symbols: {}, 40)
    assert drawn["symbols"] == drawn["with_gaps"] == drawn["missing"] == 30_000
    assert len(drawn["worst"]) == 40
    assert drawn["all"][0]["expected"] == 30_000 * 21
