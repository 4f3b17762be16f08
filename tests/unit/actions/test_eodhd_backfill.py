"""The progress of a backfill is read over a separate connection while its module runs."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.loader import action_loader, become_loader

action_loader.add_directory(str(Path(__file__).resolve().parents[3] / "action_plugins"))
ActionModule = action_loader.get("eodhd_backfill", class_only=True)


class Connection:
    """Like SSH, waits for its own command's mark while another command runs."""

    def __init__(self) -> None:
        self.become = become_loader.get("sudo")
        self.become.set_options(direct={"become_user": "trader"})
        self._shell = SimpleNamespace(join_path=lambda *parts: "/".join(parts), ECHO="echo", COMMAND_SEP="&&")
        self.begun, self.read = threading.Event(), threading.Event()

    def run(self, command: str) -> dict[str, str]:
        if command == "module":
            self.become.build_become_command(command, self._shell)
            mark = self.become.success
            self.begun.set()
            assert self.read.wait(10)
            return {"stdout": "done" if self.become.success == mark else "waits for ever"}
        assert self.begun.wait(10)
        self.become.build_become_command(command, self._shell)
        self.read.set()
        return {"stdout": "1 of 2 symbols\n"}


class Action(ActionModule):  # type: ignore[misc, valid-type]
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._task = SimpleNamespace(args={}, check_mode=False)

    def _make_tmp_path(self) -> str:
        return "/private"

    def _fixup_perms2(self, paths: list[str]) -> None:
        pass

    def _remove_tmp_path(self, folder: str) -> None:
        pass

    def _low_level_execute_command(self, command: str, sudoable: bool = True) -> dict[str, str]:
        return self._connection.run(command)

    def _execute_module(self, module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        return {"report": self._low_level_execute_command("module")["stdout"]}


def test_reading_the_progress_does_not_use_the_connection_of_the_module(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[str] = []
    module = ActionModule.run.__globals__
    monkeypatch.setitem(module, "INTERVAL", 0.01)
    monkeypatch.setitem(module, "Display", lambda: SimpleNamespace(display=shown.append))
    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *_: {})
    result = Action(Connection()).run(task_vars={"inventory_hostname": "hub"})
    assert result == {"report": "done"}
    assert shown[0] == "[hub] 1 of 2 symbols"
