"""Several stages as one call: their order, what is said of them together, and where it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.project import settings, stages
from ansible.module_utils.reporting import Problem


@pytest.fixture
def asked(params: dict[str, Any], connection: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a call for clean, dotenv and verify."""
    return {
        **params, "stage": ["clean", "dotenv", "verify"], "connection": connection, "api_keys": {},
        "flags": {"DEBUG": False}, "extra": {}, "keep": 5, "keep_days": 90,
    }  # fmt: skip


def take(asked: dict[str, Any], check: bool = False) -> dict[str, Any]:
    return stages.take(asked, check, print)


def test_stages_of_one_call_are_one_run_with_one_undo(asked: dict[str, Any], polluted: Path) -> None:
    done = take(asked)
    assert [path.name for path in polluted.glob(".reset/runs/*")] == [done["run"]] == done["closed"]
    assert done["kept"]["files"] == 4  # of bin, lib, pyvenv.cfg, .env
    assert not done["unfinished"]


def test_a_second_call_changes_nothing_and_proves_nothing(asked: dict[str, Any]) -> None:
    take(asked)
    again = take(asked)
    assert not again["changed"]
    assert "checks" not in again


def test_the_plan_tells_every_difference_and_touches_nothing(asked: dict[str, Any], polluted: Path) -> None:
    plan = take(asked, check=True)
    assert [diff["before_header"] for diff in plan["diff"]] == [
        str(polluted),
        f"{polluted}/.env (managed keys)",
    ]
    assert not (polluted / ".reset").exists()


def test_what_was_promised_is_what_is_proven(asked: dict[str, Any]) -> None:
    names = {check["name"] for check in take(asked)["checks"]}
    assert {"artifact lib64", ".env keys"} <= names
    assert not any(name.startswith("venv") for name in names)


def test_a_run_that_an_earlier_call_left_open_is_closed_by_verify_alone(asked: dict[str, Any]) -> None:
    opened = take({**asked, "stage": ["clean"]})
    assert take({**asked, "stage": ["verify"]})["closed"] == [opened["run"]]


def test_a_stage_that_fails_is_named_with_what_those_before_it_did(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> dict[str, Any]:
        raise Problem("The disk is full.")

    monkeypatch.setattr(settings, "work", failing)
    with pytest.raises(Problem, match="The disk is full") as caught:
        take(asked)
    assert caught.value.details["stage"] == "dotenv"
    assert caught.value.details["changed"]
    assert caught.value.details["kept"]["files"] == 3


def test_an_option_that_is_missing_stops_the_call_before_its_first_stage(
    asked: dict[str, Any], polluted: Path
) -> None:
    with pytest.raises(Problem, match="dotenv needs the option connection"):
        take({**asked, "connection": None})
    assert not (polluted / ".reset").exists()
