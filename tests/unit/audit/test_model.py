"""Verdicts, and the report."""

from __future__ import annotations

import pytest
from ansible.module_utils.audit import model
from ansible.module_utils.audit.model import FAIL, PASS, WAIVED, WARN, Judgement, judged


def check(verdict: str) -> Judgement:
    return Judgement(f"a {verdict}", "Root", "gone", "there", verdict, "Move it.", "waived: why")


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((), FAIL),
        ((PASS,), PASS),
        ((PASS, WAIVED), PASS),
        ((WAIVED,), PASS),
        ((PASS, WARN, WAIVED), WARN),
        ((WARN, FAIL, PASS), FAIL),
    ],
)
def test_the_worst_check_decides_and_none_at_all_fails(verdicts: tuple[str, ...], expected: str) -> None:
    assert model.verdict([check(verdict) for verdict in verdicts]) == expected


def test_what_is_right_needs_no_advice() -> None:
    assert judged("Root", "lib", "gone", "gone", True, "Move it.").advice == ""
    assert judged("Root", "lib", "gone", "file", False, "Move it.").advice == "Move it."


def test_report_names_what_did_not_pass_with_advice_and_waiver() -> None:
    lines = model.report([check(PASS), check(WAIVED), check(WARN)]).splitlines()
    assert lines[0] == "🔎 Audit"
    assert [line for line in lines if "a pass" in line] == []
    assert "🔕 a waived: expected gone; found there" in lines
    assert "   waived: why" in lines
    assert lines[-1] == "⚠️  Audit passed with warnings: 3 checks (1 pass, 1 warn, 1 waived)"


def test_report_of_no_check_is_no_success() -> None:
    assert "❌ Audit failed: 0 checks" in model.report([])
