from __future__ import annotations

from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.reporting import Problem
from ansible.module_utils.schedule import jobs
from ansible.module_utils.schedule.jobs import Job


def test_each_exchange_gets_a_job_of_its_own() -> None:
    found = jobs.parse(
        {"daily": {"playbook": "backfill", "at": "published", "each": "exchange"}}, ["US", "LSE"]
    )
    assert {name: job.variables for name, job in found.items()} == {
        "daily-US": {"backfill_exchange": "US"}, "daily-LSE": {"backfill_exchange": "LSE"},
    }  # fmt: skip


@pytest.mark.parametrize("off", [None, False])
def test_a_job_can_be_switched_off(off: object) -> None:
    assert jobs.parse({"audit": off}, ["US"]) == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"x": {"playbook": "reset"}}, "x has no at"),
        ({"x": {"playbook": "reset", "at": "daily", "when": 1}}, "x has when"),
        ({"x": {"playbook": "reset", "at": "daily", "each": "host"}}, "only `exchange`"),
        ({"a b": {"playbook": "reset", "at": "daily"}}, "is not a valid job name"),
        ({"x": {"playbook": "reset", "at": "daily", "seconds": "1h"}}, "x has seconds: '1h'"),
        ({"again": {"playbook": "reset", "at": "daily"}}, "is not a valid job name"),
    ],
)
def test_a_wrong_job_is_refused_by_name(given: dict[str, object], said: str) -> None:
    with pytest.raises(Problem, match=said):
        jobs.parse(given, ["US"])


def test_values_may_be_texts_as_templates_and_people_write_them() -> None:
    texts = {"tags": "health,dotenv", "seconds": "900", "again": "60", "check": "no", "heartbeat": "true"}
    given = {"playbook": "reset", "at": "daily", "variables": '{"debug": true}', **texts}
    values: dict[str, Any] = {
        "tags": ["health", "dotenv"],
        "seconds": 900,
        "again": 60,
        "check": False,
        "heartbeat": True,
    }
    assert jobs.parse({"x": given}, []) == {
        "x": jobs.Job("x", "reset", "daily", variables={"debug": True}, **values)
    }


def test_a_configuration_comes_back_from_its_file(tmp_path: Path) -> None:
    given = {"health": {"playbook": "reset", "tags": ["health"], "at": "*-*-* 05:30:00"}}
    config = jobs.Config("/p", ["hosts"], jobs.parse(given, []), "/state", "/run/x")
    (tmp_path / "c").write_text(config.text())
    assert jobs.load(tmp_path / "c").text() == config.text()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"jobs": [{"name": "x", "new": 1}]}'])
def test_another_versions_configuration_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c").write_text(text)
    with pytest.raises(Problem, match="playbooks/schedule.yml"):
        jobs.load(tmp_path / "c")


def job(exchange: str) -> Job:
    return Job("daily", "backfill", "published", exchange=exchange)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def test_a_session_that_is_published_is_to_be_loaded() -> None:
    assert jobs.newest(job("US"), date(2026, 11, 24), at("2026-11-25T21:30")) == date(2026, 11, 25)


def test_before_it_is_published_there_is_nothing_to_ask() -> None:
    assert jobs.newest(job("US"), date(2026, 11, 24), at("2026-11-25T21:10")) is None


def test_on_a_holiday_there_is_nothing_to_ask() -> None:
    """Thanksgiving."""
    assert jobs.newest(job("US"), date(2026, 11, 25), at("2026-11-26T22:00")) is None


def test_a_machine_that_slept_over_sessions_has_the_newest_one_to_load() -> None:
    assert jobs.newest(job("US"), date(2026, 11, 18), at("2026-11-25T09:00")) == date(2026, 11, 24)


def test_at_the_beginning_the_last_session_is_to_be_loaded() -> None:
    assert jobs.newest(job("LSE"), None, at("2026-11-29T09:00")) == date(2026, 11, 27)


def test_a_market_without_a_calendar_is_asked_every_day() -> None:
    assert jobs.newest(job("NOWHERE"), date(2026, 11, 25), at("2026-11-26T22:00")) == date(2026, 11, 26)


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
    assert jobs.moment(job(exchange)) == moment


def test_a_market_that_nobody_knows_needs_a_time() -> None:
    with pytest.raises(Problem, match="Give the job a time"):
        jobs.moment(job("NOWHERE"))
