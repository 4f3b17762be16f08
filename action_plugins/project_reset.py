"""Runs the module of this name; where a host gets no packages of its own, brings it those of the control node."""

from __future__ import annotations

import os
from typing import Any

import ansible.module_utils
from ansible.constants import DEFAULT_LOCAL_TMP, DEFAULT_MODULE_UTILS_PATH
from ansible.plugins.action import ActionBase

# As on the targets: the project's module_utils are part of Ansible's.
ansible.module_utils.__path__.extend(
    folder for folder in DEFAULT_MODULE_UTILS_PATH if folder not in ansible.module_utils.__path__
)


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs the stage; a host that says, now or in a stage before, which wheels it is wanting gets them."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the stage; where the host turns out to be wanting wheels, run it with them."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        ways = arguments.setdefault("wheels", "never")
        if self._connection.transport == "local":
            arguments["wheels"] = ways = "never"  # the control node itself: it has just tried
        wanting = arguments.pop("wanting", None)
        failure = ""
        if not wanting or ways != "always" or self._task.check_mode:
            result: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=task_vars)
            wanting = result.get("wanting")
            if ways == "never" or not wanting or not result.get("failed"):
                return result
            failure = "" if ways == "always" else f"{result['msg']} "

        from ansible.module_utils.project import wheels
        from ansible.module_utils.reporting import Problem

        try:
            # In the run's own temporary folder: private, shared by its workers, and gone at its end.
            kit = wheels.kit(
                wheels.Target(**wanting),
                arguments["packages"],
                arguments.get("index_urls") or [""],
                os.path.join(DEFAULT_LOCAL_TMP, "wheels"),
            )
        except Problem as problem:
            return {"failed": True, "msg": f"{failure}{problem}"}
        folder = self._make_tmp_path()  # private, and removed by Ansible when the task ends
        path = self._connection._shell.join_path(folder, "wheels.tar")
        self._transfer_file(kit, path)
        self._fixup_perms2([folder, path], execute=False)
        built: dict[str, Any] = self._execute_module(
            module_args={**arguments, "kit": path}, task_vars=task_vars
        )
        imported = built.pop("imported", None)
        if imported:
            wheels.learn(kit, imported)
        return built
