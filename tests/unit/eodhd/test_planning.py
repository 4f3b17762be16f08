"""What a run requests, and what it costs."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from ansible.module_utils.eodhd import planning
from ansible.module_utils.eodhd.api import Quota
from ansible.module_utils.eodhd.days import Range, one_day
from ansible.module_utils.eodhd.model import SymbolEntry
from ansible.module_utils.reporting import Problem

NOW = datetime(2024, 3, 20, 12, tzinfo=timezone.utc)
ASKED = Range(date(2024, 2, 19), date(2024, 3, 20))


def known(first: date = ASKED.first, last: date = ASKED.last, hours: float = 1, **more: Any) -> SymbolEntry:
    given: dict[str, Any] = {"outcome": "loaded", "rows": 20, **more}
    return SymbolEntry(Range(first, last), fetched=NOW - timedelta(hours=hours), **given)


def rules(**more: Any) -> planning.Rules:
    return planning.Rules(**{"now": NOW, "fresh_hours": 12, "overlap_days": 10, **more})


def task(entry: SymbolEntry | None, stored: int = 20, **more: Any) -> Any:
    return planning.task_for("A.US", ASKED, entry, stored, stored == 0, rules(**more))


def test_an_unknown_symbol_is_requested_in_full() -> None:
    asked = task(None, 0)
    assert (asked.range, asked.vacant) == (ASKED, True)


def test_a_fresh_answer_costs_no_call_whatever_its_outcome() -> None:
    assert task(known()) is None
    assert task(known(outcome="unknown", rows=0), 0) is None
    assert task(known(outcome="empty", rows=0), 0) is None
    assert task(known(first=ASKED.first - timedelta(days=900))) is None


@pytest.mark.parametrize(
    "entry",
    [known(outcome="failed"), known(outcome="rejected"), known(outcome="pending"), known(rows=21)],
    ids=["failed", "rejected", "pending", "rows are missing"],
)
def test_an_entry_without_all_rows_is_requested_in_full(entry: SymbolEntry) -> None:
    assert task(entry).range == ASKED


def test_an_old_answer_is_topped_up_with_an_overlap() -> None:
    topped = task(known(last=date(2024, 3, 18), hours=40))
    assert topped.range == Range(date(2024, 3, 9), ASKED.last)
    assert topped.covered() == ASKED
    assert topped.rows_after(["2024-03-18", "2024-03-19", "2024-03-20"], inserted=2) == 22
    # Whatever stored them, the later rows count; otherwise nobody would find that they are lost.
    assert topped.rows_after(["2024-03-18", "2024-03-19", "2024-03-20"], inserted=0) == 22
    assert topped.rows_after(["2024-03-18", "2024-03-19"], inserted=2) == 22


def test_a_top_up_requests_the_last_day_again_even_without_an_overlap() -> None:
    entry = known(last=date(2024, 3, 18), hours=40)
    assert task(entry, overlap_days=0).range == Range(date(2024, 3, 18), ASKED.last)


def test_an_earlier_first_day_requests_the_whole_range() -> None:
    wider = task(known(first=date(2024, 3, 1)))
    assert wider.range == ASKED
    assert wider.rows_after(["2024-03-20"] * 21, inserted=9) == 21


def test_coverage_does_not_span_a_gap() -> None:
    apart = task(known(first=date(2020, 1, 1), last=date(2020, 12, 31), hours=40))
    assert (apart.range, apart.covered()) == (ASKED, ASKED)


def test_force_and_a_restated_history_request_again() -> None:
    assert task(known(), force=True).range == ASKED
    long_ago = date(2001, 1, 1)
    assert task(known(first=long_ago, restated=True)).range == Range(long_ago, ASKED.last)


def test_a_restated_history_is_requested_even_if_it_is_far_from_the_requested_days() -> None:
    long_ago = Range(date(1990, 1, 1), date(1999, 12, 31))
    assert task(known(long_ago.first, long_ago.last, restated=True)).range == Range(
        long_ago.first, ASKED.last
    )
    assert task(known(restated=True, outcome="failed")).range == ASKED


def test_a_history_that_the_provider_cuts_is_not_requested_in_every_run() -> None:
    entry: dict[str, Any] = {"restated": True, "outcome": "truncated"}
    assert task(known(**entry)) is None
    assert task(known(hours=13, **entry)).range == ASKED


def test_requested_ranges() -> None:
    today = NOW.date()
    assert planning.asked_range(30, None, None, today) == ASKED
    assert planning.asked_range(30, date(2024, 1, 1), None, today).first == date(2024, 1, 1)
    # A later run would top up from the end of the range, and leave a gap before it.
    assert planning.asked_range(30, ASKED.first, date(2024, 12, 31), today) == ASKED
    for arguments in [
        (0, None, None),
        (30, date(2024, 3, 21), None),
        (30, date(2024, 2, 2), date(2024, 2, 1)),
    ]:
        with pytest.raises(Problem, match="backfill_"):
            planning.asked_range(*arguments, today)


def test_a_plan_without_calls_does_not_mention_the_quota() -> None:
    lines = planning.Plan("nothing", [], {}).lines()
    assert lines[-1] == "✅ Nothing to pay"
    assert not any("quota" in line for line in lines)


def test_a_plan_over_the_quota_is_refused_unless_partial() -> None:
    plan = planning.of_history(["A.US", "B.US"], ASKED, "history", {}, {}, rules())
    plan.quota = Quota(20, 1)
    with pytest.raises(Problem, match="2 calls and the account has 1 left"):
        plan.require_quota(partial=False)
    plan.require_quota(partial=True)
    plan.quota = Quota(None, None)
    plan.require_quota(partial=False)
    assert "unknown" in plan.lines()[-1]


def test_ledger_entries_lose_the_days_that_the_database_drops() -> None:
    entries = {
        "A.US": known(date(2024, 3, 1), rows=13),
        "B.US": known(date(2023, 12, 1), date(2024, 1, 31), rows=40),
        "C.US": known(),
        "D.US": known(date(2023, 2, 20), rows=5),
    }
    kept = planning.without_dropped_days(entries, date(2024, 3, 1))
    assert kept["A.US"] == entries["A.US"]
    assert "B.US" not in kept
    # 20 rows from February 19 to March 20, 8 sessions of them in February; nobody knows how many of D's are left.
    assert (kept["C.US"].range, kept["C.US"].rows) == (Range(date(2024, 3, 1), ASKED.last), 12)
    assert kept["D.US"].rows == 0


def test_without_a_calendar_a_fresh_session_says_nothing_about_another_day() -> None:
    friday, monday = date(2024, 9, 27), date(2024, 9, 30)
    now = datetime(2024, 9, 30, 22, tzinfo=timezone.utc)
    known = {friday: SymbolEntry(one_day(friday), "loaded", 7, now - timedelta(hours=1))}
    assert planning.calls_for("INDX", known, rules(now=now), monday).why == {monday: planning.NEW}
    assert planning.calls_for("INDX", known, rules(now=now), friday).why == {}
    assert planning.calls_for("INDX", known, rules(now=now)).why == {}


def test_a_settled_session_is_not_requested_again_during_a_holiday_of_more_than_a_week() -> None:
    """From 16 to 23 February 2026, Shanghai did not trade."""
    friday, now = date(2026, 2, 13), datetime(2026, 2, 22, 22, tzinfo=timezone.utc)
    known = {friday: SymbolEntry(one_day(friday), "loaded", 7, now - timedelta(days=5))}
    assert planning.calls_for("SHG", known, rules(now=now)).why == {}


DAY = date(2026, 11, 17)  # a Tuesday
KINDS = ("splits", "dividends")


def asked_at(exchange: str, *runs: datetime) -> list[datetime]:
    """Return which of these runs request the session, each with the last answer before it."""
    known: dict[str, SymbolEntry] = {}
    asked = []
    for now in runs:
        tasks = planning.by_session(KINDS, [exchange], Range(DAY, DAY), now)
        unanswered = planning.of_tasks("", tasks, known, planning.Rules(now, 12, 10)).tasks
        known |= {task.symbol: SymbolEntry(task.range, "loaded", 0, now) for task in unanswered}
        asked += [now] if unanswered else []
    return asked


@pytest.mark.parametrize(
    ("exchange", "hour", "days"), [("US", 21, [0, 1, 3]), ("PINK", 21, [1, 2, 4]), ("XX", 23, [0, 1, 3])]
)
def test_a_session_is_requested_until_it_has_settled(exchange: str, hour: int, days: list[int]) -> None:
    """It is requested when it is due, and one and three days later. Without a calendar, the first run is early."""
    runs = [datetime(2026, 11, 17, hour, 20, tzinfo=timezone.utc) + timedelta(days=day) for day in range(9)]
    assert asked_at(exchange, *runs) == [runs[day] for day in days]


def test_an_unfinished_session_is_not_requested() -> None:
    morning, evening = (datetime(2026, 11, 17, hour, 20, tzinfo=timezone.utc) for hour in (8, 21))
    assert asked_at("US", morning, evening) == [evening]


def test_force_requests_a_settled_session_again() -> None:
    now = datetime(2026, 11, 26, tzinfo=timezone.utc)
    task, _ = planning.by_session(KINDS, ["US"], Range(DAY, DAY), now)
    known = {task.symbol: SymbolEntry(task.range, "loaded", 0, now - timedelta(days=1))}
    assert planning.of_tasks("", [task], known, planning.Rules(now, 12, 10)).tasks == []
    assert planning.of_tasks("", [task], known, planning.Rules(now, 12, 10, force=True)).tasks == [task]


def test_currencies_have_no_actions() -> None:
    now = datetime(2026, 11, 26, tzinfo=timezone.utc)
    assert planning.by_session(KINDS, ["FOREX", "CC"], Range(DAY, DAY), now) == []
