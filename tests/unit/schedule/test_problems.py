from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible.module_utils.schedule import problems
from ansible.module_utils.schedule.jobs import Job
from ansible.module_utils.schedule.problems import Trouble
from ansible.module_utils.schedule.state import Lasting, Run

DAILY = Job("daily-US", "backfill", "published", exchange="US")
HEALTH = Job("health", "reset", "*-*-* 05:30:00")
DRIFT = Job("drift", "reset", "*-*-* 05:30:00", check=True)


def record(state: str = "failed", host: str = "hub", **fields: Any) -> dict[str, Any]:
    return {"state": state, "host": host, "msg": "what and what to do", "changed": False, **fields}


def check(name: str, level: str) -> dict[str, str]:
    return {"check": name, "level": level, "message": f"{name} says {level}"}


def causes(job: Job, *records: dict[str, Any]) -> set[str]:
    return {trouble.cause for trouble in problems.troubles(job, records)[0]}


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"cause": "refused"}, "token"),
        ({"cause": "database"}, "database"),
        ({"plan": {"calls": 100, "quota_left": 3}}, "quota"),
        ({"not_loaded": [{"outcome": "failed"}, {"outcome": "pending"}]}, "service"),
        ({"not_loaded": [{"outcome": "failed"}, {"outcome": "unknown"}]}, "data"),
        ({}, "failed:daily-US"),
    ],
)
def test_a_failed_task_tells_its_cause(fields: dict[str, Any], cause: str) -> None:
    assert causes(DAILY, record(**fields)) == {cause}


def test_a_host_that_cannot_be_reached_is_a_cause() -> None:
    assert causes(DAILY, record("unreachable")) == {"unreachable"}


def test_what_a_playbook_ignores_is_no_trouble() -> None:
    assert causes(DAILY, record(ignored=True)) == set()


def test_a_failed_check_is_a_cause_and_the_assertion_after_it_is_none() -> None:
    checks = [check("connection", "fail"), check("disk", "warn")]
    found, well = problems.troubles(HEALTH, [record("ok", checks=checks), record()])
    assert {trouble.cause for trouble in found} == {"database"}
    assert "disk" in well
    assert "database" not in well


def test_a_check_that_fails_on_one_host_is_not_well() -> None:
    records = [
        record("ok", "a", checks=[check("disk", "ok")]),
        record("ok", "b", checks=[check("disk", "fail")]),
    ]
    assert "disk" not in problems.troubles(HEALTH, records)[1]


def test_missing_bars_are_a_consequence_of_a_refused_token() -> None:
    checks = [check("token", "fail"), check("freshness", "fail")]
    assert causes(HEALTH, record("ok", checks=checks)) == {"token"}


def test_missing_bars_alone_are_a_trouble() -> None:
    assert causes(HEALTH, record("ok", checks=[check("freshness", "fail")])) == {"freshness"}


def test_a_plan_that_would_change_something_is_drift() -> None:
    assert causes(DRIFT, record("ok", changed=True)) == {"drift"}
    assert causes(HEALTH, record("ok", changed=True)) == set()


def test_the_checks_of_an_audit_are_no_health() -> None:
    assert causes(HEALTH, record("ok", checks=[{"name": "venv", "level": "fail"}])) == set()


def test_an_audit_that_fails_is_told_by_host() -> None:
    verdicts = record("ok", verdicts={"a": "fail", "b": "pass"}, problems={"a": "venv is missing"})
    found, _ = problems.troubles(HEALTH, [verdicts])
    assert [(trouble.cause, trouble.host, trouble.message) for trouble in found] == [
        ("audit", "a", "venv is missing")
    ]


def test_a_run_that_was_refused_the_token_proves_that_the_database_works() -> None:
    assert "database" in problems.troubles(DAILY, [record(cause="refused")])[1]


def test_figures_are_those_of_all_hosts() -> None:
    records = [
        record("ok", "a", changed=True, totals={"calls": 100, "inserted": 3, "updated": 2}),
        record("failed", "b"),
        record("ok", "b"),
    ]
    begun = Run("1", "daily-US", 0.0, calls=100, rows=1)
    run = problems.counted(begun, records)
    assert run == replace(begun, hosts=2, failed=1, changed=1, calls=200, rows=6)


TOKEN = Trouble("token", "hub", "EODHD refuses the token. Set eodhd_api_token.")
LASTS = Lasting("token", 100.0, ("hub",), ("daily",), TOKEN.message, "/log", told=True)


def judge(
    lasting: list[Lasting], found: list[Trouble], well: set[str] | None, job: str = "daily"
) -> list[Lasting]:
    return problems.judge(lasting, job, found, well, 200.0, "/log2")


def test_a_trouble_becomes_one_problem_over_its_hosts() -> None:
    (problem,) = judge([], [TOKEN, replace(TOKEN, host="node")], set())
    assert problem == Lasting("token", 200.0, ("hub", "node"), ("daily",), TOKEN.message, "/log2")


def test_one_that_is_found_again_stays_as_it_is_told() -> None:
    assert judge([LASTS], [TOKEN], set()) == [LASTS]


def test_it_is_over_when_its_job_goes_well() -> None:
    assert judge([LASTS], [], None) == [replace(LASTS, jobs=(), over=200.0)]


def test_it_is_not_over_when_its_job_fails_for_another_cause() -> None:
    (problem, _) = judge([LASTS], [Trouble("database", "hub", "")], set())
    assert problem == LASTS


def test_it_is_over_when_its_job_fails_later_than_it() -> None:
    (problem, _) = judge([LASTS], [Trouble("data", "hub", "")], {"token"})
    assert problem.over


def test_it_is_not_over_when_another_job_goes_well() -> None:
    assert judge([LASTS], [], None, job="health") == [LASTS]


def test_two_jobs_that_found_it_have_to_find_it_gone() -> None:
    both = replace(LASTS, jobs=("daily", "health"))
    (problem,) = judge([both], [], None)
    assert problem.jobs == ("health",)
    assert not problem.over


def test_one_that_nobody_was_told_of_goes_without_a_word() -> None:
    assert judge([replace(LASTS, told=False)], [], None) == []


def test_one_that_comes_back_before_its_end_was_told_goes_on() -> None:
    over = replace(LASTS, jobs=(), over=150.0)
    assert judge([over], [TOKEN], set()) == [LASTS]


def test_one_that_comes_back_on_another_host_names_both() -> None:
    over = replace(LASTS, jobs=(), over=150.0)
    (problem,) = judge([over], [replace(TOKEN, host="node")], set())
    assert problem.hosts == ("hub", "node")


def test_the_message_says_what_since_when_where_and_what_to_do() -> None:
    text = problems.text(LASTS, "market data", "node-1")
    assert text == (
        "❌ market data: EODHD refuses the token\nSince: 1970-01-01 00:01 UTC\nHosts: hub\n"
        "EODHD refuses the token. Set eodhd_api_token.\nEvidence: /log on node-1"
    )


def test_the_last_message_says_that_it_is_over() -> None:
    text = problems.text(replace(LASTS, over=200.0), "market data", "node-1")
    assert text.startswith(
        "✅ market data: over: EODHD refuses the token\nSince: 1970-01-01 00:01 UTC, until"
    )
