"""The committed calendars agree with the library that they come from."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from ansible.module_utils.markets import calendar, names, sessions


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:DatetimeIndex.weekday")
@pytest.mark.parametrize("name", sessions.MARKETS)
def test_every_session_and_its_end_is_that_of_the_installed_library(name: str) -> None:
    import exchange_calendars  # it is slow to import, so only where it is needed

    market = calendar.of(names.CALENDARS[name][0])
    assert market
    ends = {
        day.date(): end.to_pydatetime()
        for day, end in library(name, market.first, market.last).closes.items()
    }
    last = max(market.last, max(ends))
    advice = f"exchange_calendars {exchange_calendars.__version__} differs: run `make calendars`"
    assert set(ends) ^ set(market.sessions(market.first, last)) == set(), advice
    assert {day: market.closing(day) for day in ends} == ends, advice


def library(name: str, first: date, last: date) -> Any:
    """Return a calendar up to the end of our data, or as far as the library has one."""
    import exchange_calendars

    try:
        return exchange_calendars.get_calendar(name, first.isoformat(), sessions.LAST)
    except ValueError:
        return exchange_calendars.get_calendar(name, first.isoformat(), last.isoformat())
