"""Which sessions' splits and dividends are requested, and how often."""

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
    """Return which of these runs request the session, each with the last answer before it."""
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
def test_a_session_is_requested_until_it_has_settled(exchange: str, hour: int, days: list[int]) -> None:
    """It is requested when it is due, and one and three days later. Without a calendar, the first run is early."""
    runs = [datetime(2026, 11, 17, hour, 20, tzinfo=timezone.utc) + timedelta(days=day) for day in range(9)]
    assert asked_at(exchange, *runs) == [runs[day] for day in days]


def test_an_unfinished_session_is_not_requested() -> None:
    morning, evening = (datetime(2026, 11, 17, hour, 20, tzinfo=timezone.utc) for hour in (8, 21))
    assert asked_at("US", morning, evening) == [evening]


def test_force_requests_a_settled_session_again() -> None:
    now = datetime(2026, 11, 26, tzinfo=timezone.utc)
    task, _ = actions.by_session(KINDS, ["US"], Range(DAY, DAY), now)
    known = {task.symbol: SymbolEntry(task.range, "loaded", 0, now - timedelta(days=1))}
    assert actions.unanswered([task], known, Rules(now, 12, 10)) == []
    assert actions.unanswered([task], known, Rules(now, 12, 10, force=True)) == [task]


def test_currencies_have_no_actions() -> None:
    now = datetime(2026, 11, 26, tzinfo=timezone.utc)
    assert actions.by_session(KINDS, ["FOREX", "CC"], Range(DAY, DAY), now) == []
