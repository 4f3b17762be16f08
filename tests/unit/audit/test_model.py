"""Verdicts, the report, and waivers: valid, expired, refused."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from ansible.module_utils.audit import model
from ansible.module_utils.audit.model import FAIL, PASS, WAIVED, WARN, Judgement, judged
from ansible.module_utils.reporting import Problem

TODAY = date(2026, 11, 23)


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


# --- waivers -----------------------------------------------------------------------------------------------


def waiver(**more: Any) -> dict[str, Any]:
    return {"check": "artifact lib", "reason": "moves next week", "expires": "2026-11-23", **more}


def verdicts(found: str, *entries: dict[str, Any]) -> dict[str, Judgement]:
    checks = [
        Judgement("artifact lib", "Root", "gone", "file", found),
        Judgement("artifact bin", "Root", "gone", "gone", PASS),
    ]
    return {check.name: check for check in model.waived(checks, model.waivers(entries), "hub", TODAY)}


@pytest.mark.parametrize("found", [WARN, FAIL])
def test_waived_up_to_its_last_day_with_the_reason(found: str) -> None:
    check = verdicts(found, waiver())["artifact lib"]
    assert check.verdict == WAIVED
    assert check.waiver == "waived until 2026-11-23: moves next week"


def test_expired_counts_no_more_and_is_named() -> None:
    checks = verdicts(FAIL, waiver(expires="2026-11-22"))
    assert checks["artifact lib"].verdict == FAIL
    assert checks["waivers"].verdict == WARN
    assert checks["waivers"].found == "artifact lib expired on 2026-11-22 (moves next week)"


def test_a_renewed_one_counts_though_an_old_one_stands_beside_it() -> None:
    checks = verdicts(FAIL, waiver(expires="2026-12-31"), waiver(expires="2026-11-01"))
    assert checks["artifact lib"].verdict == WAIVED


def test_for_another_host_is_none() -> None:
    checks = verdicts(FAIL, waiver(host="gpu"))
    assert checks["artifact lib"].verdict == FAIL
    assert "waivers" not in checks
    assert verdicts(FAIL, waiver(host="hub"))["artifact lib"].verdict == WAIVED


def test_of_a_check_that_does_not_exist_is_named() -> None:
    found = verdicts(FAIL, waiver(check="artefact lib"))["waivers"]
    assert (found.verdict, found.found) == (WARN, "this host has no check artefact lib")


def test_what_passes_is_not_waived() -> None:
    checks = verdicts(PASS, waiver())
    assert checks["artifact lib"].verdict == PASS
    assert checks["waivers"].verdict == PASS


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (waiver(reason=" "), "has no reason"),
        (waiver(expires=None), "has no expires"),
        (waiver(expires="soon"), "has no expires"),
        (waiver(check=""), "without a check"),
        (waiver(until="2027-01-01"), "has unknown keys: until"),
        ("artifact lib", "has no check and no reason and no expires"),
    ],
)
def test_refused_with_its_number_and_the_form(entry: Any, said: str) -> None:
    with pytest.raises(Problem, match=r"^Waiver 2 .*audit_waivers") as caught:
        model.waivers([waiver(), entry])
    assert said in str(caught.value)


def test_a_date_of_yaml_is_taken() -> None:
    assert model.waivers([waiver(expires=date(2027, 1, 2))])[0].expires == date(2027, 1, 2)
