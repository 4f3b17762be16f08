from __future__ import annotations

from datetime import date, datetime, timezone

import pytest
from ansible.module_utils.reporting import Problem
from ansible.module_utils.schedule import due
from ansible.module_utils.schedule.jobs import Job


def job(exchange: str) -> Job:
    return Job("daily", "backfill", "published", exchange=exchange)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def test_a_session_that_is_published_is_to_be_loaded() -> None:
    assert due.newest(job("US"), date(2026, 11, 24), at("2026-11-25T21:30")) == date(2026, 11, 25)


def test_before_it_is_published_there_is_nothing_to_ask() -> None:
    assert due.newest(job("US"), date(2026, 11, 24), at("2026-11-25T21:10")) is None


def test_on_a_holiday_there_is_nothing_to_ask() -> None:
    """Thanksgiving."""
    assert due.newest(job("US"), date(2026, 11, 25), at("2026-11-26T22:00")) is None


def test_a_machine_that_slept_over_sessions_has_the_newest_one_to_load() -> None:
    assert due.newest(job("US"), date(2026, 11, 18), at("2026-11-25T09:00")) == date(2026, 11, 24)


def test_at_the_beginning_the_last_session_is_to_be_loaded() -> None:
    assert due.newest(job("LSE"), None, at("2026-11-29T09:00")) == date(2026, 11, 27)


def test_a_market_without_a_calendar_is_asked_every_day() -> None:
    assert due.newest(job("NOWHERE"), date(2026, 11, 25), at("2026-11-26T22:00")) == date(2026, 11, 26)


@pytest.mark.parametrize(
    ("exchange", "moment"),
    [
        ("US", "Mon,Tue,Wed,Thu,Fri *-*-* 16:20:00 America/New_York"),
        ("LSE", "Mon,Tue,Wed,Thu,Fri *-*-* 19:35:00 Europe/London"),
        # The days of crypto end at midnight: the file is there on the next one.
        ("CC", "Tue,Wed,Thu,Fri,Sat,Sun,Mon *-*-* 01:05:00 UTC"),
    ],
)
def test_a_market_is_asked_after_its_publishing_time_in_its_own_zone(exchange: str, moment: str) -> None:
    assert due.moment(job(exchange)) == moment


def test_a_market_that_nobody_knows_needs_a_time() -> None:
    with pytest.raises(Problem, match="Give the job a time"):
        due.moment(job("NOWHERE"))
