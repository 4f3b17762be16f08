"""Which sessions' splits and dividends are asked for, and how often."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest
from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.eodhd.model import SymbolEntry
from ansible.module_utils.eodhd.plan import actions
from ansible.module_utils.eodhd.plan.plan import Rules

DAY = date(2026, 11, 17)  # a Tuesday
KINDS = ("splits", "dividends")


def asked_at(exchange: str, *runs: datetime) -> list[datetime]:
    """Which of these runs ask for the session, each with the answer of the last that did."""
    known: dict[str, SymbolEntry] = {}
    asked = []
    for now in runs:
        tasks = actions.by_session(KINDS, [exchange], Range(DAY, DAY), now)
        unanswered = actions.unanswered(tasks, known, Rules(now, 12, 10))
        known |= {task.symbol: SymbolEntry(task.range, "loaded", 0, now) for task in unanswered}
        asked += [now] if unanswered else []
    return asked


@pytest.mark.parametrize(
    ("exchange", "hour", "days"), [("US", 21, [0, 1, 3]), ("PINK", 21, [1, 2, 4]), ("XX", 23, [0, 1, 3])]
)
def test_a_session_is_asked_for_until_it_has_settled(exchange: str, hour: int, days: list[int]) -> None:
    """When it is due, a day after that and three, as its bars are. Without a calendar the first run is early."""
    runs = [datetime(2026, 11, 17, hour, 20, tzinfo=timezone.utc) + timedelta(days=day) for day in range(9)]
    assert asked_at(exchange, *runs) == [runs[day] for day in days]


def test_a_session_that_is_not_over_is_not_asked_for() -> None:
    morning, evening = (datetime(2026, 11, 17, hour, 20, tzinfo=timezone.utc) for hour in (8, 21))
    assert asked_at("US", morning, evening) == [evening]


def test_what_is_final_is_asked_for_again_if_the_user_insists() -> None:
    now = datetime(2026, 11, 26, tzinfo=timezone.utc)
    task, _ = actions.by_session(KINDS, ["US"], Range(DAY, DAY), now)
    known = {task.symbol: SymbolEntry(task.range, "loaded", 0, now - timedelta(days=1))}
    assert actions.unanswered([task], known, Rules(now, 12, 10)) == []
    assert actions.unanswered([task], known, Rules(now, 12, 10, forced_since=now)) == [task]


def test_currencies_have_none() -> None:
    now = datetime(2026, 11, 26, tzinfo=timezone.utc)
    assert actions.by_session(KINDS, ["FOREX", "CC"], Range(DAY, DAY), now) == []
