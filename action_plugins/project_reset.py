"""Runs the module of this name, and transfers wheels from the control node to a host that needs them."""

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
    """See the module's documentation, option ``wheels``."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the stages. A host that lacks wheels fails with its platform, gets them, and runs the stages again."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if self._connection.transport == "local":
            arguments["wheels"] = "never"  # the control node has no other source
        result: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=task_vars)
        lacking = result.get("failed") and result.get("platform")
        if not lacking or arguments.get("wheels", "never") == "never":
            return result

        from ansible.module_utils.project import wheels
        from ansible.module_utils.reporting import Problem

        try:
            # In the run's own temporary folder: private, shared by its workers, and gone at its end.
            kit = wheels.kit(
                wheels.Target(**result["platform"]),
                arguments["packages"],
                arguments.get("index_urls") or [""],
                os.path.join(DEFAULT_LOCAL_TMP, "wheels"),
            )
        except Problem as problem:
            return {**result, "msg": f"{result['msg']} {problem}"}
        folder = self._make_tmp_path()  # private, and removed by Ansible when the task ends
        path = self._connection._shell.join_path(folder, "wheels.tar")
        self._transfer_file(kit, path)
        self._fixup_perms2([folder, path], execute=False)
        built: dict[str, Any] = self._execute_module(
            module_args={**arguments, "kit": path}, task_vars=task_vars
        )
        return {**built, "moved": built.get("moved") or result.get("moved", [])}
