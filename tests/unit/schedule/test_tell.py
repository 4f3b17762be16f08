from __future__ import annotations

from typing import Any

from ansible.module_utils import prometheus
from ansible.module_utils.schedule import jobs, tell
from ansible.module_utils.schedule.state import Lasting, Run

JOBS = jobs.parse({"health": {"playbook": "reset", "at": "*-*-* 05:30:00"}}, [])
DAY = 86400.0
OK = Run("1", "health", DAY + 10, DAY + 14.5, "ok", hosts=2, calls=100, rows=7)


def metrics(*given: Any) -> str:
    return prometheus.text("project_schedule_", tell.metrics(*given))


def test_the_last_run_is_told_in_numbers() -> None:
    text = metrics(JOBS, [OK], [], DAY + 100)
    assert 'project_schedule_last_duration_seconds{job_name="health"} 4.500' in text
    assert 'project_schedule_last_rows{job_name="health"} 7' in text
    assert "project_schedule_calls_today 100\n" in text


def test_nothing_to_do_is_a_success_and_tells_nothing_of_the_hosts() -> None:
    nothing = Run("2", "health", DAY + 50, DAY + 51, "nothing")
    text = metrics(JOBS, [OK, nothing], [], DAY + 100)
    assert f'project_schedule_last_success_timestamp_seconds{{job_name="health"}} {DAY + 51:.0f}' in text
    assert 'project_schedule_last_hosts{job_name="health"} 2' in text


def test_a_failed_run_is_no_success() -> None:
    text = metrics(JOBS, [OK, Run("2", "health", DAY + 50, DAY + 51, "failed")], [], DAY + 100)
    assert f'last_success_timestamp_seconds{{job_name="health"}} {OK.ended:.0f}' in text
    assert 'project_schedule_last_ok{job_name="health"} 0' in text


def test_a_problem_is_there_until_it_is_over() -> None:
    lasts = Lasting("token", 5.0, ('a"b', "c"), ("health",), "", told=True)
    over = Lasting("disk", 5.0, (), (), "", told=True, over=9.0)
    text = metrics(JOBS, [], [lasts, over], DAY)
    assert 'project_schedule_problem_since_timestamp_seconds{cause="token",hosts="a\\"b,c"} 5' in text
    assert "disk" not in text
