"""Windows, their sessions, and the expected number of bars."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from ansible.module_utils.coverage import expected
from ansible.module_utils.coverage.expected import Window

from tests.unit.coverage import surveys


@pytest.mark.parametrize(
    ("symbol", "bars"),
    [("BTC-USD.CC", 365), ("EURUSD.FOREX", 311), ("AAPL.US", 250), ("US", 250), ("GSPC.INDX", 250)],
)
def test_bars_of_a_year(symbol: str, bars: int) -> None:
    assert expected.bars(symbol, date(2023, 1, 1), date(2023, 12, 31)) == bars


def test_a_fund_is_due_later_than_a_share() -> None:
    markets = surveys.markets(Window.of(1, surveys.TODAY), surveys.NOW - timedelta(hours=5))
    assert markets.due("AAPL.US") == date(2026, 11, 20)
    wednesday = surveys.NOW + timedelta(days=2, hours=-1)  # 11:00 UTC, 6:00 in New York
    markets = surveys.markets(Window.of(1, surveys.TODAY), wednesday)
    assert markets.due("AAPL.US", "Common Stock") == date(2026, 11, 24)
    assert markets.due("VTSAX.US", "FUND") == date(2026, 11, 23)
