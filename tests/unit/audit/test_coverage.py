"""Gaps, holidays and freshness, by symbol and month."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from ansible.module_utils.audit import coverage
from ansible.module_utils.audit.coverage import Markets, Summary, Window
from ansible.module_utils.health.calendars import Calendar, Calendars

from tests.unit.audit.answers import masks

TODAY = date(2026, 11, 23)  # a Monday
HOLIDAY = date(2026, 11, 11)
US = Calendar("1111100", closed=frozenset({HOLIDAY}), closes=((date(2000, 1, 3), 21 * 60),))
CALENDARS = Calendars({"US": US, "CC": Calendar("1111111")})
NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
OF = coverage.by_suffix(CALENDARS, NOW, 6)
WINDOW = Window.of(3, TODAY)
SESSIONS = US.sessions(WINDOW.first, date(2026, 11, 20))


def summary(bars: Mapping[str, Sequence[date]], active: set[str] | None = None) -> Summary:
    rows = Counter(day.replace(day=1) for days in bars.values() for day in days)
    return coverage.gathered(
        [(symbol, *masks(days)) for symbol, days in bars.items() if days],
        [(month, number, len(bars)) for month, number in rows.items()],
        bars if active is None else active,
        Markets(OF, WINDOW),
    )


def picture(bars: Mapping[str, Sequence[date]], active: set[str] | None = None, limit: int = 40) -> Any:
    found = summary(bars, active)
    return coverage.picture(
        found, Markets(OF, WINDOW), lambda names: {s: bars[s] for s in names if s in bars}, WINDOW, limit
    )


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
    assert [month["bars"] for month in found["months"]] == [22, 22, 14]
    assert set(found["recent"]) == {"b", "."}


def test_gap_is_a_session_inside_the_range() -> None:
    gone = date(2026, 11, 4)
    found = line([day for day in SESSIONS if day != gone])
    assert (found["missing"], found["behind"]) == (1, 0)
    assert found["months"][2] == {"bars": 13, "missing": 1, "behind": 0}
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
    assert market["holidays"] == ["2026-11-11"]
    assert market["months"][2] == {"sessions": 14, "holidays": 1}
    assert market["recent"].count("h") == 1


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


def test_bar_is_expected_some_hours_after_its_session() -> None:
    evening = datetime(2026, 11, 20, 21, 30, tzinfo=timezone.utc)  # the session has just ended
    told = coverage.by_suffix(CALENDARS, evening, 6)("A.US")
    assert told is not None
    assert told[2] == date(2026, 11, 19)
    later = coverage.by_suffix(CALENDARS, evening + timedelta(hours=6), 6)("A.US")
    assert later is not None
    assert later[2] == date(2026, 11, 20)


def test_bar_on_a_holiday_does_not_make_up_for_one_that_is_missing() -> None:
    days = sorted([HOLIDAY, *(day for day in SESSIONS if day != date(2026, 11, 4))])
    found = picture({"A.US": days})
    assert (found["with_gaps"], found["missing"], found["worst"][0]["missing"]) == (1, 1, 1)
    assert found["all"][2]["held"] == found["all"][2]["expected"] - 1
    assert found["all"][2]["rows"] == 14


def test_thirty_thousand_symbols_make_no_more_lines() -> None:
    keys, days = masks(SESSIONS)
    markets = Markets(OF, WINDOW)
    names = [f"S{number}.US" for number in range(30_000)]
    rows = ((name, keys, [days[0], days[1] & ~(days[1] & -days[1]), days[2]]) for name in names)
    everything = coverage.gathered(rows, [], names, markets)
    found = coverage.picture(everything, markets, lambda symbols: {}, WINDOW, 40)
    assert found["symbols"] == found["with_gaps"] == found["missing"] == 30_000
    assert len(found["worst"]) == 40
    assert found["all"][0]["expected"] == found["all"][0]["held"] == 30_000 * 22
