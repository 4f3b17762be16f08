"""How often a host is asked, and when the control node's wheels come with it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.project import wheels
from ansible.module_utils.reporting import Problem
from ansible.plugins.loader import action_loader

action_loader.add_directory(str(Path(__file__).resolve().parents[3] / "action_plugins"))
ActionModule = action_loader.get("project_reset", class_only=True)

PLATFORM = {"python": "3.11.2", "implementation": "cpython", "machine": "x86_64", "libc": "glibc 2.36"}
DONE = {"changed": True}
REFUSED = {"failed": True, "msg": "No index served it.", "platform": PLATFORM}


class Host:
    """Answers the module's calls in turn, and keeps their arguments."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def __call__(self, module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        self.asked.append(dict(module_args))
        return self.answers.pop(0)

    def kits(self) -> list[bool]:
        """For each call, whether it came with wheels."""
        return ["kit" in arguments for arguments in self.asked]


def run(
    monkeypatch: pytest.MonkeyPatch, host: Host, wheels_are: str, transport: str = "ssh"
) -> dict[str, Any]:
    """The plugin's result with this host."""
    action = object.__new__(ActionModule)
    arguments = {"stages": ["clean", "venv"], "packages": ["pandas"], "wheels": wheels_are}
    action._task = SimpleNamespace(args=arguments, check_mode=False, async_val=0, diff=False)
    action._connection = SimpleNamespace(
        transport=transport, _shell=SimpleNamespace(join_path=lambda *parts: "/".join(parts))
    )
    action._execute_module = host
    action._make_tmp_path = lambda: "/private"
    action._transfer_file = lambda *_: None
    action._fixup_perms2 = lambda *_, **__: None
    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *_: {})
    result: dict[str, Any] = action.run()
    return result


@pytest.fixture(autouse=True)
def kit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "kit", lambda *_: "/control/kit.tar")


@pytest.mark.parametrize("wheels_are", ["auto", "always", "never"])
def test_a_host_that_needs_nothing_is_asked_once(monkeypatch: pytest.MonkeyPatch, wheels_are: str) -> None:
    host = Host(DONE)
    assert run(monkeypatch, host, wheels_are) == DONE
    assert host.kits() == [False]


@pytest.mark.parametrize("wheels_are", ["auto", "always"])
def test_a_host_that_says_what_it_is_gets_wheels(monkeypatch: pytest.MonkeyPatch, wheels_are: str) -> None:
    host = Host(REFUSED, DONE)
    assert run(monkeypatch, host, wheels_are)["changed"]
    assert host.kits() == [False, True]


def test_never_is_never(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(REFUSED)
    assert run(monkeypatch, host, "never") == REFUSED


def test_a_failure_for_another_reason_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    full = {"failed": True, "msg": "The disk is full.", "platform": None}
    host = Host(full)
    assert run(monkeypatch, host, "auto") == full


def test_what_the_first_call_moved_is_told_after_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = [{"name": "bin"}]
    assert (
        run(monkeypatch, Host({**REFUSED, "moved": moved}, {**DONE, "moved": []}), "auto")["moved"] == moved
    )


def test_a_control_node_without_wheels_adds_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def kit(*_: object) -> str:
        raise Problem("The control node has none either.")

    monkeypatch.setattr(wheels, "kit", kit)
    told = run(monkeypatch, Host({**REFUSED, "stage": "venv"}), "auto")
    assert (told["msg"], told["stage"]) == ("No index served it. The control node has none either.", "venv")


def test_the_control_node_fetches_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(REFUSED)
    run(monkeypatch, host, "always", transport="local")
    assert [arguments["wheels"] for arguments in host.asked] == ["never"]
