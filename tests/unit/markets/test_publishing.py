"""When the data of a session is due."""

from __future__ import annotations

from datetime import date, datetime, timezone

import pytest
from ansible.module_utils.markets import publishing


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


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
        ("US", publishing.VOLUME, "2026-07-01", "2026-07-02T10:00"),
        ("VOD.LSE", None, "2026-07-01", "2026-07-01T18:30"),
        ("VOD.LSE", "ETF", "2026-07-01", "2026-07-01T18:30"),
        ("EURUSD.FOREX", None, "2026-07-01", "2026-07-02T01:00"),
    ],
)
def test_the_moment_when_data_is_due(symbol: str, kind: str | None, session: str, moment: str) -> None:
    assert publishing.due_at(symbol, date.fromisoformat(session), kind) == at(moment)


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
    assert publishing.due("AAPL.US", at(now), kind) == date.fromisoformat(session)


def test_nothing_is_due_of_a_market_without_a_calendar() -> None:
    assert publishing.due("GSPC.INDX", at("2026-11-25T21:14")) is None
    assert publishing.due_at("GSPC.INDX", date(2026, 11, 25)) is None
