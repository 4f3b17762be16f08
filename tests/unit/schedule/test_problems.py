from __future__ import annotations

from dataclasses import replace

from ansible.module_utils.schedule import problems
from ansible.module_utils.schedule.problems import Lasting
from ansible.module_utils.schedule.troubles import Trouble

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
