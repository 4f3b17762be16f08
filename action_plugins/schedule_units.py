"""Runs the module of this name with the vault passwords of this run, which are in no variable."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]
    """Adds credentials ``vault.ID`` to the secrets."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module."""
        super().run(tmp, task_vars)
        arguments = self._task.args
        secrets = {name: value for name, value in (arguments.get("secrets") or {}).items() if value}
        # Only the loader has them, including what was typed for -J.
        for name, secret in getattr(getattr(self._loader, "_vault", None), "secrets", None) or ():
            secrets.setdefault(f"vault.{name}", secret.bytes.decode())
        result: dict[str, Any] = self._execute_module(
            module_args={**arguments, "secrets": secrets}, task_vars=task_vars or {}
        )
        return result
