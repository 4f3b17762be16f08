"""The bars that a symbol lacks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import pytest
from ansible.module_utils.coverage.expected import Window
from ansible.module_utils.coverage.survey import Lack, lacks

from tests.unit.coverage import surveys

MARKETS = surveys.markets(Window(date(2026, 11, 1), surveys.TODAY))
US = MARKETS.named("US")
assert US
DUE = [day for day in US.days if day <= date(2026, 11, 20)]


def lack(symbol: str, days: Sequence[date], active: bool = True) -> Lack:
    (found,) = lacks(surveys.survey({symbol: days}, MARKETS, [symbol] if active else []), MARKETS)
    return found


@pytest.mark.parametrize("symbol", ["A.US", "A", "F", "A.NYSE"])
def test_a_complete_symbol_lacks_nothing(symbol: str) -> None:
    assert lack(symbol, DUE) == Lack(symbol, DUE[-1], 0, 0)


def test_a_session_inside_the_range_is_missing_and_one_after_it_is_behind() -> None:
    assert lack("A.US", [*DUE[:3], *DUE[5:-4]]) == Lack("A.US", DUE[-5], 2, 4)


def test_a_session_that_is_to_come_is_not_missing_before_a_bar_of_the_far_future() -> None:
    future = date(2040, 1, 3)
    assert lack("A.US", [*DUE, future]) == Lack("A.US", future, 0, 0)


def test_an_inactive_symbol_is_never_behind() -> None:
    assert lack("A.US", DUE[:3], active=False).behind == 0


def test_a_symbol_without_a_bar_is_behind_by_the_whole_window() -> None:
    assert lack("A.US", []) == Lack("A.US", None, 0, len(DUE))


def test_without_a_calendar_nothing_is_missing() -> None:
    assert lack("GSPC.INDX", DUE[::2]) == Lack("GSPC.INDX", DUE[::2][-1], 0, 0, charted=False)


def test_a_bar_before_the_window_counts_as_the_last_one() -> None:
    found = surveys.survey({"A.US": []}, MARKETS, ["A.US"])
    found.older = {"A.US": date(2026, 10, 30)}
    assert list(lacks(found, MARKETS)) == [Lack("A.US", date(2026, 10, 30), 0, len(DUE))]
