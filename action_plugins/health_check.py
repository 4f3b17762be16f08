"""Runs the module of this name in the environment that it checks, which saves starting a second Python."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]
    """See the module's documentation, option ``interpreter``."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module; if the environment cannot run it, use the host's own Python, where the module reports why."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        own = self._task.args.get("interpreter") or f"{self._task.args.get('root')}/venv/bin/python"
        result: dict[str, Any] = self._execute_module(
            task_vars={**variables, "ansible_python_interpreter": own}
        )
        # Only a result of the module itself has this.
        if "invocation" not in result:
            result = self._execute_module(task_vars=variables)
        return result
