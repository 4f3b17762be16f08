"""The committed calendars against the library that they come from."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from ansible.module_utils.markets import calendar, names, sessions


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:DatetimeIndex.weekday")
@pytest.mark.parametrize("name", sessions.MARKETS)
def test_every_session_and_its_end_is_that_of_the_installed_library(name: str) -> None:
    import exchange_calendars  # heavy: for this process alone

    market = calendar.of(names.CALENDARS[name][0])
    assert market
    ends = {
        day.date(): end.to_pydatetime()
        for day, end in library(name, market.first, market.last).closes.items()
    }
    last = max(market.last, max(ends))
    advice = f"exchange_calendars {exchange_calendars.__version__} knows better: run `make calendars`"
    assert set(ends) ^ set(market.sessions(market.first, last)) == set(), advice
    assert {day: market.closing(day) for day in ends} == ends, advice


def library(name: str, first: date, last: date) -> Any:
    """A calendar up to the end of the data, if the library knows it that far."""
    import exchange_calendars

    try:
        return exchange_calendars.get_calendar(name, first.isoformat(), sessions.LAST)
    except ValueError:
        return exchange_calendars.get_calendar(name, first.isoformat(), last.isoformat())
