"""Transactions that Citus's workers have not committed yet are waited for."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.eodhd.store import doubt
from ansible.module_utils.reporting import Problem


class Looks:
    """A database in which one look after another finds these transactions, the last one for ever."""

    def __init__(self, *found: set[str]) -> None:
        self.found = list(found)

    def run(self, work: Any) -> set[str]:
        return self.found.pop(0) if len(self.found) > 1 else self.found[0]


def waited(*found: set[str]) -> int:
    pauses: list[float] = []
    doubt.wait(Looks(*found), pauses.append)  # type: ignore[arg-type]
    return len(pauses)


def test_nothing_in_doubt_is_not_waited_for() -> None:
    assert waited(set()) == 0


def test_what_is_in_doubt_is_waited_for() -> None:
    assert waited({"a", "b"}, {"b"}, {"b"}, set()) == 3


def test_transactions_that_others_begin_meanwhile_are_not_waited_for() -> None:
    assert waited({"a"}, {"b"}) == 1


def test_a_doubt_without_end_is_told() -> None:
    with pytest.raises(Problem, match="recover_prepared_transactions"):
        waited({"a"})
