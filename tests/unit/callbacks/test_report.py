"""What the summary of many hosts says of each of them, and what the scheduler gets to read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace as Named
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "callback_plugins"))

import report
from report import Host, summary

RESET = {"changed": True, "run": "20261123T041500Z", "kept": {"text": "9 files, 1.8 KiB"}}


def host(*results: dict[str, Any], **known: Any) -> Host:
    made = Host(**{"task": "health | Check", **known})
    for result in results:
        made.take(result)
    return made


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (host(RESET, {"healthy": True}), "✅ healthy, changed"),
        (host({"changed": False}, {"healthy": True}), "✅ healthy, nothing to do"),
        (host(RESET), "✅ done, changed"),
        (host(RESET, {"healthy": False}, failure="No password."), "❌ failed at health | Check"),
        (host(failure="Timed out.", unreachable=True), "❌ unreachable at health | Check"),
        (Host(), "⏸️  not begun"),
        (host({"evaluated_to": False}, failure="Too many failed."), "⏸️  not begun"),
        (host(RESET, {"evaluated_to": False}, failure="Sick."), "❌ failed at health | Check"),
    ],
)
def test_verdict(made: Host, verdict: str) -> None:
    assert made.verdict(plan=False) == verdict


def test_stage_that_could_not_be_taken_is_named() -> None:
    made = host({"stage": "venv"}, task="build | Take the stages venv, dotenv", failure="The disk is full.")
    assert made.verdict(plan=False) == "❌ failed at venv"


def test_plan_is_told_as_one() -> None:
    assert host(RESET).verdict(plan=True) == "📝 planned: would change"


def test_host_that_failed_half_way_names_its_undo_and_its_reason() -> None:
    text = summary(
        {"hub": host(RESET, task="venv | Build", failure="The disk is full.", seconds=4.04)}, plan=False
    )
    assert (
        "   hub  ❌ failed at venv | Build, 4.0 s;"
        " moved 9 files, 1.8 KiB; undo: --limit hub -e restore_run=20261123T041500Z\n"
    ) in text
    assert "The disk is full.\n" in text


def test_later_stage_that_moved_nothing_keeps_the_run() -> None:
    made = host(RESET, {"changed": False, "run": None, "kept": {"text": "0 files, 0 B"}})
    assert (made.run, made.moved) == ("20261123T041500Z", "9 files, 1.8 KiB")


def test_hosts_to_run_again_are_listed() -> None:
    hosts = {"hub": host({"healthy": True}), "cut": host(failure="x", unreachable=True), "later": Host()}
    assert summary(hosts, plan=False).endswith("with --limit cut,later")


def test_nothing_to_undo_says_nothing_of_it() -> None:
    assert "restore" not in summary({"hub": host({"changed": False, "healthy": True})}, plan=False)


@pytest.mark.parametrize(
    ("action", "recorded"),
    [
        ("project_reset", True),
        ("ansible.builtin.command", True),  # of a user's own playbook
        ("ansible.builtin.assert", False),
        ("ansible.builtin.validate_argument_spec", False),
    ],
)
def test_a_check_of_arguments_that_passes_is_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str, recorded: bool
) -> None:
    monkeypatch.setenv(report.VARIABLE, str(tmp_path / "results"))
    task = Named(action=action, get_name=lambda: "a task")
    result = Named(result={"changed": False}, host=Named(get_name=lambda: "hub"), task=task)
    callback = report.CallbackModule()
    callback.v2_runner_on_ok(result)
    assert (tmp_path / "results").exists() == recorded
    callback.v2_runner_on_failed(result)
    assert json.loads((tmp_path / "results").read_text().splitlines()[-1])["state"] == "failed"


def test_the_scheduler_gets_records_beside_any_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(report.VARIABLE, str(tmp_path / "results"))
    monkeypatch.setattr(report.constants, "DEFAULT_STDOUT_CALLBACK", "json")
    task = Named(action="project_reset", get_name=lambda: "a task")
    callback = report.CallbackModule()
    monkeypatch.setattr(callback, "_display", None)  # prints nothing
    callback.v2_runner_on_ok(
        Named(result={"report": "text", "totals": 1}, host=Named(get_name=lambda: "hub"), task=task)
    )
    assert json.loads((tmp_path / "results").read_text())["totals"] == 1
