"""Several stages in one call: their order, their common result, and failures in between."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.project import settings
from ansible.module_utils.project.quarantine import Manifest
from ansible.module_utils.project.settings import plan
from ansible.module_utils.project.stages import Stage
from ansible.module_utils.reporting import Problem

from tests.unit.project.conftest import picture, take


@pytest.fixture
def asked(params: dict[str, Any], connection: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a call for clean, dotenv and close."""
    return {**params, "connection": connection, "api_keys": {}, "flags": {"DEBUG": False}, "extra": {}}


WHOLE = ("clean", "dotenv", "close")


def test_stages_of_one_call_are_one_run_with_one_undo(asked: dict[str, Any], polluted: Path) -> None:
    done = take(asked, *WHOLE)
    assert [path.name for path in polluted.glob(".reset/runs/*")] == [done["run"]]
    assert done["kept"]["files"] == 4  # of bin, lib, pyvenv.cfg, .env


def test_a_second_call_changes_nothing_and_proves_nothing(asked: dict[str, Any]) -> None:
    take(asked, *WHOLE)
    again = take(asked, *WHOLE)
    assert not again["changed"]
    assert again["proofs"] == []
    assert (again["run"], again["kept"]) == (None, {"files": 0, "bytes": 0, "text": "0 files, 0 B"})


def test_the_plan_tells_every_difference_and_touches_nothing(asked: dict[str, Any], polluted: Path) -> None:
    plan = take(asked, *WHOLE, check=True)
    assert [diff["before_header"] for diff in plan["diff"]] == [
        str(polluted),
        f"{polluted}/.env (managed keys)",
    ]
    assert not (polluted / ".reset").exists()


def test_what_was_promised_is_what_is_proven(asked: dict[str, Any]) -> None:
    names = {check["name"] for check in take(asked, *WHOLE)["proofs"]}
    assert {"artifact lib64", ".env keys"} <= names
    assert not any(name.startswith("venv") for name in names)


def test_calls_before_the_closing_one_are_one_run(asked: dict[str, Any]) -> None:
    runs = {take(asked, name)["run"] for name in ("clean", "dotenv")}
    assert {take(asked, "close")["run"]} == runs
    assert len(runs) == 1


def planned_on_a_full_disk(*args: Any) -> Stage:
    def full(*_: object) -> Manifest:
        raise OSError(errno.ENOSPC, "No space left on device", ".env")

    return replace(plan(*args), apply=full)


def test_what_was_moved_is_told_though_a_later_stage_fails(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "plan", planned_on_a_full_disk)
    with pytest.raises(Problem, match="disk is full") as caught:
        take(asked, *WHOLE)
    told = caught.value.details
    assert told["stage"] == "dotenv"
    assert told["changed"]
    assert [item["name"] for item in told["moved"]] == ["bin", "lib", "lib64", "include", "pyvenv.cfg"]
    assert told["kept"]["files"] == 3
    assert "not finished" in told["report"]
    assert "   bin: moved away: directory, 1 file, 20 B\n" in told["report"]
    assert f"restore_run={told['run']}" in told["report"]


def test_nothing_is_changed_if_a_later_stage_cannot_be_planned(asked: dict[str, Any], polluted: Path) -> None:
    (polluted / ".env").unlink()
    (polluted / ".env").symlink_to("src/app.py")
    before = picture(polluted)
    with pytest.raises(Problem, match="is a link") as caught:
        take(asked, *WHOLE)
    assert caught.value.details["stage"] == "dotenv"
    assert picture(polluted) == before
    assert not (polluted / ".reset").exists()


def test_reset_that_failed_is_finished_by_the_next_one_as_one_run(
    asked: dict[str, Any], polluted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = picture(polluted)
    with monkeypatch.context() as hurt:
        hurt.setattr(settings, "plan", planned_on_a_full_disk)
        with pytest.raises(Problem) as caught:
            take(asked, *WHOLE)
    assert take(asked, *WHOLE)["run"] == caught.value.details["run"]
    take(asked, "restore")
    assert picture(polluted) == before


def test_wheels_that_are_asked_for_and_not_here_stop_the_call_before_its_first_change(
    params: dict[str, Any], polluted: Path
) -> None:
    with pytest.raises(Problem, match="project_wheels") as caught:
        take(params, "clean", "venv", "close", wheels="always")
    assert caught.value.details["platform"] == {"python": "3.11.2"}
    assert (polluted / "bin").exists()


def test_restore_is_taken_alone(asked: dict[str, Any]) -> None:
    with pytest.raises(Problem, match="alone"):
        take(asked, "clean", "restore")


def test_an_option_that_is_missing_stops_the_call_before_its_first_stage(
    asked: dict[str, Any], polluted: Path
) -> None:
    with pytest.raises(Problem, match="dotenv needs the option connection"):
        take(asked, *WHOLE, connection=None)
    assert not (polluted / ".reset").exists()
