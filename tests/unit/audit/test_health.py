"""The health check's result as checks of an audit."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.audit import health
from ansible.module_utils.audit.model import Judgement

HEALTHY: dict[str, Any] = {
    "healthy": True,
    "tables": {"market_data": 2100, "assets": 1},
    "estimated": ["market_data"],
    "checks": [
        {"check": "settings", "level": "ok", "message": "fine", "expects": "every key"},
        {"check": "tables", "level": "ok", "message": "a", "expects": "rows"},
        {"check": "tables", "level": "ok", "message": "b", "expects": "rows"},
    ],
}


def found(**changed: Any) -> dict[str, Judgement]:
    checks = health.checks({**HEALTHY, **changed}, ["market_data", "assets"])
    return {check.name: check for check in checks}


def test_each_check_once_with_what_it_expects() -> None:
    checks = found()
    assert {check.verdict for check in checks.values()} == {"pass"}
    assert set(checks) == {"health", "health: settings", "health: tables", "rows market_data", "rows assets"}
    assert checks["health: settings"].expected == "every key"
    assert checks["rows market_data"].found == "about 2,100 rows"
    assert checks["rows assets"].found == "1 row"


@pytest.mark.parametrize(("level", "verdict"), [("warn", "warn"), ("fail", "fail"), ("odd", "fail")])
def test_worst_finding_decides_and_is_shown(level: str, verdict: str) -> None:
    findings = [
        *HEALTHY["checks"],
        {"check": "tables", "level": level, "message": "locked", "expects": "rows"},
    ]
    check = found(checks=findings)["health: tables"]
    assert (check.verdict, check.found) == (verdict, "locked")


def test_unhealthy_host() -> None:
    assert found(healthy=False)["health"].verdict == "fail"


def test_health_check_that_broke_off() -> None:
    checks = {check.name: check for check in health.checks({"failed": True, "msg": "no reply"}, ["assets"])}
    assert (checks["health"].verdict, checks["health"].found) == ("fail", "no reply")
    assert (checks["rows assets"].verdict, checks["rows assets"].found) == ("fail", "not counted")


def test_empty_table_is_a_warning_that_names_the_backfill() -> None:
    check = found(tables={"market_data": 0, "assets": 1})["rows market_data"]
    assert check.verdict == "warn"
    assert "playbooks/backfill.yml" in check.advice
