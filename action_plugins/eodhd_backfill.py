"""Runs the module of this name and shows its progress meanwhile, which a module cannot do itself."""

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
    """Gives the module a file for its progress, on the target, and prints the lines that appear in it."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module, and print its progress meanwhile."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        # What people read belongs to the output for people.
        watched = constants.DEFAULT_STDOUT_CALLBACK.removeprefix("ansible.builtin.") == "default"
        if self._task.check_mode or not watched:
            unwatched: dict[str, Any] = self._execute_module(task_vars=variables)
            return unwatched
        folder = self._make_tmp_path()
        self._fixup_perms2([folder])
        path = self._connection._shell.join_path(folder, "progress")
        over = threading.Event()
        host = variables.get("inventory_hostname", "")
        following = threading.Thread(target=self._apart()._follow, args=(path, host, over), daemon=True)
        following.start()
        try:
            result: dict[str, Any] = self._execute_module(
                module_args={**self._task.args, "progress_path": path}, task_vars=variables
            )
            return result
        finally:
            over.set()
            following.join(5)
            self._remove_tmp_path(folder)

    def _apart(self) -> ActionModule:
        """This action with a connection of its own; one is used by one thread alone."""
        apart = copy.copy(self)
        apart._connection = copy.copy(self._connection)
        # It keeps how its last command began.
        apart._connection.become = copy.copy(self._connection.become)
        return apart

    def _follow(self, path: str, host: str, over: threading.Event) -> None:
        shown = 0
        while not over.wait(INTERVAL):
            # What cannot be read now is read the next time; the load does not depend on it.
            with contextlib.suppress(AnsibleError, OSError):
                done = self._low_level_execute_command(
                    f"tail -n +{shown + 1} {shlex.quote(path)} 2>/dev/null", sudoable=True
                )
                for line in done.get("stdout", "").splitlines():
                    shown += 1
                    Display().display(f"[{host}] {line}")
