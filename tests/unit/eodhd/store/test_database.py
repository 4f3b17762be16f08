"""The wait for in-doubt transactions on Citus's workers."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.eodhd.store import database
from ansible.module_utils.reporting import Problem


class Checks:
    """A database in which successive checks find these transactions; the last result repeats."""

    def __init__(self, *found: set[str]) -> None:
        self.found = list(found)
        self.pauses: list[float] = []
        self.sleep = self.pauses.append

    def run(self, work: Any) -> set[str]:
        return self.found.pop(0) if len(self.found) > 1 else self.found[0]


def waited(*found: set[str]) -> int:
    checks = Checks(*found)
    database.wait_for_doubtful(checks)  # type: ignore[arg-type]
    return len(checks.pauses)


def test_without_transactions_in_doubt_there_is_no_wait() -> None:
    assert waited(set()) == 0


def test_transactions_in_doubt_are_waited_for() -> None:
    assert waited({"a", "b"}, {"b"}, {"b"}, set()) == 3


def test_later_transactions_are_not_waited_for() -> None:
    assert waited({"a"}, {"b"}) == 1


def test_a_transaction_that_stays_in_doubt_is_reported() -> None:
    with pytest.raises(Problem, match="recover_prepared_transactions"):
        waited({"a"})
