"""Thresholds, and their results: levels, tokens, columns, metrics."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.coverage.expected import Window
from ansible.module_utils.eodhd.api import Reply
from ansible.module_utils.health import bars, checks, coverage, services
from ansible.module_utils.health.model import Count, Finding, Host, Wanted
from ansible.module_utils.prometheus import text

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


@pytest.fixture
def context() -> Host:
    return Host(Path("/project/.env"), [], 3, 10, "auto", lambda: None, now=lambda: NOW)


@pytest.mark.parametrize(
    ("found", "level"), [(2, "ok"), (3, "warn"), (9, "warn"), (10, "fail"), (11, "fail")]
)
def test_an_amount_has_the_level_of_the_highest_threshold_that_it_reaches(
    context: Host, found: int, level: str
) -> None:
    assert context.level("stale", found) == level


def test_a_threshold_of_zero_is_off(context: Host) -> None:
    context.limits = {"stale_warn": 0, "stale_fail": 0}
    assert context.level("stale", 1000) == "ok"


def test_the_worst_level_decides(context: Host) -> None:
    def level(*levels: str) -> tuple[str, bool]:
        result = checks.result([Finding("a", one, "") for one in levels], context)
        return result["level"], result["healthy"]

    assert level() == ("ok", True)
    assert level("ok", "warn", "ok") == ("warn", True)
    assert level("warn", "fail", "ok") == ("fail", False)


def test_every_check_has_a_name_of_its_own_and_says_what_it_expects() -> None:
    names = [check.name for check in checks.CHECKS]
    assert len(set(names)) == len(names)
    assert all(check.expects for check in checks.CHECKS)


@pytest.mark.parametrize(
    ("status", "body", "token", "level"),
    [
        (200, {"dailyRateLimit": 100, "apiRequests": 1, "apiRequestsDate": "2026-11-23"}, "t", "ok"),
        (200, {"dailyRateLimit": 100, "apiRequests": 99, "apiRequestsDate": "2026-11-23"}, "t", "warn"),
        (200, {"dailyRateLimit": 100, "apiRequests": 99, "apiRequestsDate": "2026-11-22"}, "t", "ok"),
        (200, {}, "t", "ok"),
        (200, [], "t", "warn"),
        (402, None, "t", "warn"),
        (502, None, "t", "warn"),
        (0, None, "t", "warn"),
        (401, None, "demo", "fail"),
        (403, None, "t", "fail"),
        (423, None, "t", "fail"),
        (403, None, "demo", "ok"),
    ],
)
def test_what_an_answer_about_the_token_means(
    context: Host, status: int, body: Any, token: str, level: str
) -> None:
    answer = json.dumps(body).encode()
    assert services.judge_token(Reply(status, answer, fault="words"), token, context).level == level


@pytest.mark.parametrize(
    ("column", "type_name", "level"),
    [
        ("close", "numeric", "ok"),
        ("close", "numeric(12,4)", "warn"),
        ("close", "numeric(14,8)", "warn"),
        ("close", "numeric(20,8)", "ok"),
        ("close", "double precision", "ok"),
        ("volume", "numeric", "ok"),
        ("volume", "bigint", "warn"),
        ("volume", "integer", "warn"),
    ],
)
def test_which_columns_are_too_narrow(column: str, type_name: str, level: str) -> None:
    assert bars.judge_precision(Wanted("market_data"), {column: type_name}).level == level


def test_a_large_table_is_looked_at_in_windows_each_four_times_as_long_as_all_before() -> None:
    def lengths(days: int) -> list[int]:
        parts = coverage.windows(Window(NOW.date() - timedelta(days=days), NOW.date()))
        return [(part.last - part.first).days + 1 for part in parts]

    assert lengths(3650) == [60, 240, 1200, 2151]
    assert lengths(60) == [60, 1]


def test_the_windows_are_the_newest_first_and_cover_the_days_once() -> None:
    whole = Window(date(2020, 1, 1), date(2024, 12, 31))
    parts = coverage.windows(whole)
    assert parts[0] == Window(date(2024, 11, 2), whole.last)
    assert parts[-1].first == whole.first
    assert [newer.first - timedelta(days=1) for newer in parts[:-1]] == [older.last for older in parts[1:]]


def test_many_symbols_are_loaded_from_a_file() -> None:
    assert bars.load_command(["A.US"], NOW.date()).endswith(
        """-e '{"backfill_symbols": ["A.US"]}' -e backfill_from=2026-11-23"""
    )
    assert bars.load_command(["A.US"] * 21, None, NOW.date()).endswith(
        "-e backfill_symbols=FILE -e backfill_to=2026-11-23"
    )


def test_metrics_are_of_the_worst_level_and_escape_names(context: Host) -> None:
    context.counts = {'odd"name\\': Count(7, estimated=True), "b": Count(None)}
    context.measures = {"quota_left": 12.0}
    findings = [Finding("a", "fail", "x"), Finding("a", "warn", "y"), Finding("b", "ok", "z")]
    lines = text(
        "project_health_", checks.metrics(checks.result(findings, context), 1_700_000_000)
    ).splitlines()
    assert 'project_health_level{check="a"} 2' in lines
    assert 'project_health_level{check="b"} 0' in lines
    assert 'project_health_table_rows{table="odd\\"name\\\\",estimated="1"} 7' in lines
    assert "project_health_quota_left 12" in lines
    assert lines[-1] == "project_health_timestamp_seconds 1700000000"
    assert not [line for line in lines if 'table="b"' in line]
