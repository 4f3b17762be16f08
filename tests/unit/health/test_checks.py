"""How counts are judged, and the report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible.module_utils.database.server import Server
from ansible.module_utils.health import bars, checks, model
from ansible.module_utils.health.model import Check, Count, Finding, Host, Wanted
from ansible.module_utils.reporting import Problem


@pytest.fixture
def context() -> Host:
    made = Host(Path(".env"), [], 1, 1, "auto", lambda: None)
    made.server = Server("localhost", 5432, "postgres", "password", "data_nexus")
    made.server_version = "18.1"
    made.counts = {"market_data": Count(21), "assets": Count(1)}
    return made


def test_the_report_reads_as_the_contract_says(context: Host) -> None:
    assert checks.report([Finding("tables", "ok", "x")], context, healthy=True) == (
        "📊 Infrastructure Health Check\n"
        "Database: postgresql://postgres:***@localhost:5432/data_nexus\n"
        "✅ Connection successful\n"
        "📈 Table Statistics:\n"
        "   market_data: 21 rows\n"
        "   assets: 1 row\n"
        "✅ System Healthy"
    )


def test_warnings_stand_above_system_healthy(context: Host) -> None:
    result = checks.result([Finding("tables", "warn", "assets is empty.")], context)
    assert result["healthy"]
    assert result["problems"] == []
    assert result["report"].endswith("⚠️  assets is empty.\n✅ System Healthy")


def test_a_failure_makes_the_host_unhealthy(context: Host) -> None:
    result = checks.result([Finding("tables", "fail", "No.")], context)
    assert not result["healthy"]
    assert result["problems"] == ["No."]
    assert result["report"].endswith("❌ No.\n❌ System Unhealthy")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (Count(0), "0 rows"),
        (Count(1), "1 row"),
        (Count(340000), "340,000 rows"),
        (Count(2500000, estimated=True), "about 2,500,000 rows (estimate)"),
        (Count(None), "not counted"),
    ],
)
def test_counts_read_well(count: Count, text: str) -> None:
    assert count.text() == text


@pytest.mark.parametrize(
    ("table", "count", "mode", "level"),
    [
        (Wanted("t"), Count(1), "auto", "ok"),
        (Wanted("t"), Count(0), "auto", "warn"),
        (Wanted("t", 5), Count(4), "auto", "fail"),
        (Wanted("t", 5), Count(5, estimated=True), "auto", "ok"),
        (Wanted("t"), Count(None), "exact", "fail"),
        (Wanted("t"), Count(None), "estimate", "warn"),
        (Wanted("t", 1), Count(None), "auto", "fail"),
    ],
)
def test_the_level_of_a_count(table: Wanted, count: Count, mode: str, level: str) -> None:
    assert bars.judge(table, count, mode, 10).level == level


def test_an_empty_table_names_the_backfill() -> None:
    assert "playbooks/backfill.yml" in bars.judge(Wanted("t"), Count(0), "auto", 10).message


def test_tables_are_names_or_names_with_a_floor() -> None:
    assert model.wanted(["a", "s.b", {"name": "c", "min_rows": "7"}]) == [
        Wanted("a"),
        Wanted("s.b"),
        Wanted("c", 7),
    ]


@pytest.mark.parametrize("entry", ["", "a.b.c", "a.", 5, {"min_rows": 1}, {"name": "a", "rows": 1},
                                   {"name": "a", "min_rows": "many"}, None])  # fmt: skip
def test_an_entry_that_names_no_table_is_refused(entry: object) -> None:
    with pytest.raises(Problem, match="health_tables"):
        model.wanted([entry])


def test_a_check_that_needs_a_session_is_left_out_without_one(context: Host) -> None:
    def never(_: Host) -> Iterator[Finding]:
        raise AssertionError("it was asked without a session")

    some = [Check("a", lambda _: iter([Finding("a", "ok", "")]), ""), Check("b", never, "", True)]
    assert [check["check"] for check in checks.examine(context, some)["checks"]] == ["a"]


def test_before_any_check_there_is_only_the_finding(context: Host) -> None:
    result = checks.result([Finding("environment", "fail", "No venv.")], Host(context.env, [], 3, 10, "auto"))
    assert result["report"] == "📊 Infrastructure Health Check\n❌ No venv.\n❌ System Unhealthy"
