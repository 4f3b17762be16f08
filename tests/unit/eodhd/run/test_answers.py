"""When answers that wait are stored, and how many of them together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date, datetime, timezone
from typing import Any

from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.eodhd.model import Task
from ansible.module_utils.eodhd.run.pipeline import Answers
from ansible.module_utils.eodhd.service.client import Answer
from ansible.module_utils.eodhd.store.parser import Parsed
from ansible.module_utils.eodhd.store.store import Fetched

DAYS = Range(date(2024, 1, 1), date(2024, 1, 31))


def answer(symbol: str, rows: int = 9) -> Fetched:
    parsed = Parsed()
    parsed.lines = ["a row\n"] * rows
    now = datetime.now(timezone.utc)
    return Fetched(Task(symbol, DAYS, vacant=True), Answer(None, b"", 1, 1), parsed, 0, None, now, 0.0)


def taken(answers: Answers, meanwhile: Callable[[], Any]) -> tuple[list[str], list[str]]:
    """Return what is taken at once, and what is taken when something has happened, if it was not taken before."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(item.task.symbol for item in answers.take()))
    thread.start()
    thread.join(0.1)
    before = list(found)
    meanwhile()
    thread.join(5)
    assert not thread.is_alive()
    return before, found


def two_under_way(answers: Answers) -> Answers:
    answers.expect(2)
    answers.put(answer("A"))
    answers.expect(-1)
    return answers


def test_what_is_there_is_stored_at_once() -> None:
    assert taken(two_under_way(Answers()), lambda: None) == (["A"], ["A"])


def test_what_comes_while_a_batch_is_stored_waits_for_its_end() -> None:
    answers = two_under_way(Answers())
    assert [item.task.symbol for item in answers.take()] == ["A"]
    answers.put(answer("B"))
    answers.put(answer("C"))
    assert taken(answers, answers.stored) == ([], ["B", "C"])


def test_a_fifth_of_a_batch_is_stored_beside_another() -> None:
    answers = two_under_way(Answers(50))
    answers.take()
    answers.put(answer("B"))
    assert taken(answers, lambda: None) == (["B"], ["B"])


def test_a_full_batch_waits_for_the_answer_that_is_under_way() -> None:
    answers = two_under_way(Answers(full=True))

    def arrives() -> None:
        answers.put(answer("B"))
        answers.expect(-1)

    assert taken(answers, arrives) == ([], ["A", "B"])


def test_a_full_batch_waits_for_no_answer_that_never_comes() -> None:
    answers = two_under_way(Answers(full=True))
    assert taken(answers, lambda: answers.expect(-1)) == ([], ["A"])


def test_a_batch_of_its_size_waits_no_longer() -> None:
    answers = two_under_way(Answers(10, full=True))
    assert taken(answers, lambda: None) == (["A"], ["A"])


def test_the_end_lets_nobody_wait() -> None:
    answers = two_under_way(Answers(full=True))
    assert taken(answers, answers.close) == ([], ["A"])
