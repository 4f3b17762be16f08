"""Runs the module of this name and shows its progress, which a module cannot do itself."""

from __future__ import annotations

import contextlib
import copy
import shlex
import threading
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

INTERVAL = 2.0


class ActionModule(ActionBase):  # type: ignore[misc]
    """Gives the module a progress file on the target, and prints the lines that appear in it."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Any:
        """Run the module and print its progress."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        # Other output formats are for programs.
        watched = constants.DEFAULT_STDOUT_CALLBACK.removeprefix("ansible.builtin.") == "default"
        if self._task.check_mode or not watched:
            return self._execute_module(task_vars=variables)
        folder = self._make_tmp_path()
        self._fixup_perms2([folder])
        path = self._connection._shell.join_path(folder, "progress")
        ended = threading.Event()
        host = variables.get("inventory_hostname", "")
        # A copy with its own connection, because a connection serves only one thread.
        other = copy.copy(self)
        other._connection = copy.copy(self._connection)
        # This object keeps the state of its last command.
        other._connection.become = copy.copy(self._connection.become)
        following = threading.Thread(target=other._follow, args=(path, host, ended), daemon=True)
        following.start()
        try:
            return self._execute_module(
                module_args={**self._task.args, "progress_path": path}, task_vars=variables
            )
        finally:
            ended.set()
            following.join(5)
            self._remove_tmp_path(folder)

    def _follow(self, path: str, host: str, ended: threading.Event) -> None:
        shown = 0
        while not ended.wait(INTERVAL):
            # After an error, the next round reads the lines; the load does not depend on them.
            with contextlib.suppress(AnsibleError, OSError):
                done = self._low_level_execute_command(
                    f"tail -n +{shown + 1} {shlex.quote(path)} 2>/dev/null", sudoable=True
                )
                for line in done.get("stdout", "").splitlines():
                    shown += 1
                    Display().display(f"[{host}] {line}")
