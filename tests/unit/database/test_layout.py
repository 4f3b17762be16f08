"""What is decided about layouts without a database."""

from __future__ import annotations

import pytest
from ansible.module_utils.database.layout import Layout, gaps
from ansible.module_utils.reporting import Problem


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ([], [("2024", "2025")]),
        ([("2024", "2025")], []),
        ([("2023", "2024"), ("2025", "2026")], [("2024", "2025")]),
        ([("2024", "2024-03")], [("2024-03", "2025")]),
        ([("2024-02", "2024-03"), ("2024-05", "2024-06")],
         [("2024", "2024-02"), ("2024-03", "2024-05"), ("2024-06", "2025")]),
        ([("2023-12", "2024-02")], [("2024-02", "2025")]),
        ([("2024-11", "2025-02")], [("2024", "2024-11")]),
        ([("", "2030")], []),
        ([("2020", "9999")], []),
    ],
)  # fmt: skip
def test_what_no_partition_covers_is_a_gap(
    taken: list[tuple[str, str]], expected: list[tuple[str, str]]
) -> None:
    assert gaps("2024", "2025", taken) == expected


def test_workers_are_hosts_with_or_without_a_port() -> None:
    assert Layout(workers=["one", "two:6000"]).nodes() == [("one", 5432), ("two", 6000)]


def test_worker_with_a_port_that_is_none_is_named() -> None:
    with pytest.raises(Problem, match="'one:x'"):
        Layout(workers=["one:x"]).nodes()
