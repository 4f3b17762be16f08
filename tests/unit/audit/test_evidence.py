"""The document of a run, its JUnit form, and the history of a schedule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import audit_evidence
import pytest
from ansible.module_utils.audit import evidence, page
from ansible.module_utils.reporting import Problem
from ansible.module_utils.schedule.state import Run, State

from tests.unit.audit.answers import TEMPLATES, answers, check

WHEN = "2026-11-23T04:20:00Z"
DAY = 86400.0
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return evidence.document(answers(), WHEN)


def test_every_host_appears_with_its_verdict(document: dict[str, Any]) -> None:
    assert {host["name"]: host["verdict"] for host in document["hosts"]} == {
        "hub": "fail", "inference": "pass", "gpu": "unreachable", "spare": "unreachable", "broken": "failed",
        "empty": "fail", "silent": "failed",
    }  # fmt: skip
    assert document["totals"] == {
        "hosts": 7, "pass": 1, "warn": 0, "fail": 2, "unreachable": 2, "failed": 2,
    }  # fmt: skip


def test_no_check_at_all_is_a_failure_that_says_so(document: dict[str, Any]) -> None:
    (host,) = [host for host in document["hosts"] if host["name"] == "empty"]
    assert host["message"] == "No check ran, so nothing is proven."


def test_host_that_failed_is_told_with_the_words_of_the_failure(document: dict[str, Any]) -> None:
    (host,) = [host for host in document["hosts"] if host["name"] == "broken"]
    assert evidence.problems(host, "page") == "Waiver 1 has no reason. | Evidence: page"


def test_problems_name_what_failed_and_nothing_that_is_waived(document: dict[str, Any]) -> None:
    told = evidence.problems(document["hosts"][0], "page")
    assert told == "1 failed | artifact lib64: expected gone; found link to lib | Evidence: page"


def test_a_database_of_several_hosts_stands_there_once(document: dict[str, Any]) -> None:
    (database,) = document["databases"]
    assert database["hosts"] == ["hub", "inference"]


def test_a_database_is_shown_as_the_host_that_could_read_it_saw_it() -> None:
    both = answers()
    both["hub"]["data"] = {**both["hub"]["data"], "coverage": None, "notes": ["no time"]}
    (database,) = evidence.document(both, WHEN)["databases"]
    assert database["coverage"] is not None
    assert (database["hosts"], database["notes"]) == (["hub", "inference"], [])


def test_files_are_written_into_a_new_folder(document: dict[str, Any], tmp_path: Path) -> None:
    written = evidence.write(tmp_path / "a/b", ROOT / TEMPLATES, document)
    assert [Path(path).name for path in written] == ["audit.json", "junit.xml", "index.html"]
    assert json.loads((tmp_path / "a/b/audit.json").read_text()) == document


@pytest.fixture(scope="module")
def suites(document: dict[str, Any]) -> ET.Element:
    return ET.fromstring(evidence.junit(document))  # noqa: S314 - made here


def test_junit_has_a_suite_for_each_host_and_a_case_for_each_check(suites: ET.Element) -> None:
    assert [suite.get("name") for suite in suites] == list(answers())
    hub = suites[0]
    assert {name: hub.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4", "failures": "1", "errors": "0", "skipped": "1",
    }  # fmt: skip
    assert [case.get("name") for case in hub] == [entry["name"] for entry in answers()["hub"]["checks"]]


def test_junit_sums_up(suites: ET.Element) -> None:
    for name in ("tests", "failures", "errors", "skipped"):
        assert suites.get(name) == str(sum(int(suite.get(name, "")) for suite in suites))


def test_junit_attributes_are_those_that_readers_need(suites: ET.Element) -> None:
    for suite in suites:
        assert suite.get("timestamp") == "2026-11-23T04:20:00"
        for case in suite:
            assert (case.get("classname") or "").startswith(f"{suite.get('name')}.")
            assert case.get("time") == "0"
            assert {child.tag for child in case} <= {"failure", "error", "skipped", "system-out"}


def test_junit_tells_failure_waiver_warning_and_silence_apart(suites: ET.Element) -> None:
    outcomes = {case.get("name"): [child.tag for child in case] for case in suites[0]}
    assert outcomes == {
        "artifact lib64": ["failure"], "package redis": ["skipped"], "rows assets": ["system-out"],
        "artifact bin": [],
    }  # fmt: skip
    silent = {suite.get("name"): [child.tag for case in suite for child in case] for suite in suites[2:]}
    assert silent == {
        "gpu": ["error"], "spare": ["error"], "broken": ["error"], "empty": ["failure"], "silent": ["error"],
    }  # fmt: skip


def test_junit_bears_what_xml_cannot_hold() -> None:
    odd = {
        "h": {"verdict": "fail", "checks": [check("a\x00b", "fail", found='"<\x1b]&\ud800')], "data": None}
    }
    text = evidence.junit(evidence.document(odd, WHEN))
    (case,) = ET.fromstring(text.encode()).iter("testcase")  # noqa: S314 - made here
    assert case.get("name") == "a\ufffdb"


def test_evidence_that_cannot_be_written_is_an_error_with_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = str(tmp_path / "file/below")
    options = {"folder": folder, "hosts": answers(), "history": "", "templates": str(ROOT / TEMPLATES)}
    with pytest.raises(Problem, match=f"cannot be written to {folder} .* Set audit_evidence_dir"):
        audit_evidence.work(options, check_mode=False)


# --- the history of a schedule -----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A history of three days: one good, one with a failure that was fixed, one bad."""
    (tmp_path / "spare").mkdir()
    state = State(tmp_path, tmp_path / "spare")
    outcomes = {0: ["ok", "nothing"], 1: ["failed", "ok"], 2: ["ok", "cut"]}
    for day, some in outcomes.items():
        for number, outcome in enumerate(some):
            began = day * DAY + number * 60
            state.keep(Run(f"{day}{number}", "health", began, began + 5, outcome, calls=100, rows=7))
    state.keep(Run("30", "health", 3 * DAY))
    return tmp_path


def test_runs_are_read_by_day_and_those_at_work_are_none(folder: Path) -> None:
    days = evidence.history([str(folder / "none"), str(folder)])
    assert [(each["day"], len(each["runs"])) for each in days] == [
        ("1970-01-01", 2), ("1970-01-02", 2), ("1970-01-03", 2),
    ]  # fmt: skip


def test_without_a_schedule_there_is_no_history(tmp_path: Path) -> None:
    assert evidence.history([str(tmp_path)]) == []


def test_a_month_is_a_row_and_a_look_tells_good_mornings_from_bad_ones(folder: Path) -> None:
    (row,) = page.by_runs(evidence.history([str(folder)])).rows
    assert row.name == "Jan 1970"
    assert [cell.text for cell in row.cells[:4]] == ["✓", "~", "✕", ""]
    assert row.cells[0].label == "1970-01-01: all succeeded; 2 runs, 200 calls, 14 rows"
    assert len(row.cells) == 31


def test_the_page_shows_it_if_there_is_one(folder: Path) -> None:
    pages = [
        page.text(evidence.document({}, "1970-01-04T00:00:00Z", some), ROOT / TEMPLATES)
        for some in (evidence.history([str(folder)]), [])
    ]
    assert ["Scheduled runs" in text for text in pages] == [True, False]
    assert 'aria-label="1970-01-03: health failed; 2 runs, 200 calls, 14 rows"' in pages[0]
