"""How often a host is asked, and when the control node's wheels come with it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.project import wheels
from ansible.plugins.loader import action_loader

action_loader.add_directory(str(Path(__file__).resolve().parents[3] / "action_plugins"))
ActionModule = action_loader.get("project_reset", class_only=True)

TARGET = {"python": "3.11.2", "implementation": "cpython", "machine": "x86_64", "libc": "glibc 2.36"}
DONE = {"changed": True}
REFUSED = {"failed": True, "msg": "No index served it.", "wanting": TARGET}


def calls(
    monkeypatch: pytest.MonkeyPatch,
    answers: list[dict[str, Any]],
    *,
    transport: str = "ssh",
    check: bool = False,
    **arguments: Any,
) -> list[dict[str, Any]]:
    """The arguments of every module call of one stage, against a host that gives these answers."""
    asked: list[dict[str, Any]] = []

    def execute(module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        asked.append(dict(module_args))
        return answers[len(asked) - 1]

    monkeypatch.setattr(wheels, "kit", lambda *_: "/control/kit.tar")
    action = object.__new__(ActionModule)
    action._task = SimpleNamespace(
        args={"stage": "venv", "packages": ["pandas"], **arguments}, check_mode=check, async_val=0, diff=False
    )
    action._connection = SimpleNamespace(
        transport=transport, _shell=SimpleNamespace(join_path=lambda *parts: "/".join(parts))
    )
    action._execute_module = execute
    action._make_tmp_path = lambda: "/private"
    action._transfer_file = lambda *_: None
    action._fixup_perms2 = lambda *_, **__: None
    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *_: {})
    action.run()
    return asked


def kits(asked: list[dict[str, Any]]) -> list[bool]:
    return ["kit" in arguments for arguments in asked]


def test_a_host_known_to_be_wanting_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kits(calls(monkeypatch, [DONE], wheels="always", wanting=TARGET)) == [True]


def test_what_a_host_imported_is_learnt_and_is_not_in_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    learnt: list[Any] = []
    monkeypatch.setattr(wheels, "learn", lambda kit, names: learnt.append((kit, names)))
    built = {**DONE, "imported": "sound.py"}
    calls(monkeypatch, [built], wheels="always", wanting=TARGET)
    assert learnt == [("/control/kit.tar", "sound.py")]
    assert "imported" not in built


def test_a_host_that_says_it_only_now_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kits(calls(monkeypatch, [REFUSED, DONE], wheels="always")) == [False, True]


def test_an_index_that_serves_spares_the_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kits(calls(monkeypatch, [DONE], wheels="auto", wanting=TARGET)) == [False]


def test_no_index_that_serves_brings_the_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kits(calls(monkeypatch, [REFUSED, DONE], wheels="auto", wanting=TARGET)) == [False, True]


def test_never_is_never(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kits(calls(monkeypatch, [REFUSED], wheels="never", wanting=TARGET)) == [False]


def test_a_plan_fetches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kits(calls(monkeypatch, [DONE], wheels="always", wanting=TARGET, check=True)) == [False]


def test_the_control_node_fetches_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = calls(monkeypatch, [REFUSED], transport="local", wheels="always", wanting=TARGET)
    assert [arguments["wheels"] for arguments in asked] == ["never"]


def test_the_module_is_not_told_what_it_said_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "wanting" not in calls(monkeypatch, [DONE], wheels="auto", wanting=TARGET)[0]
