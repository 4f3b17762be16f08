# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes task results without secrets to a file that the scheduler reads, one per line."""

from __future__ import annotations

DOCUMENTATION = r"""
name: results
type: notification
short_description: Writes the results of tasks as lines of JSON
description:
  - Appends a line for each result to the file in E(SCHEDULE_RESULTS). Does nothing without it.
  - Keeps only the result fields listed in RV(ignore:KEPT) in its code.
author: [The maintainers (@ansible-reset)]
"""

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase

VARIABLE = "SCHEDULE_RESULTS"
CHECKING = ("ansible.builtin.assert", "ansible.builtin.validate_argument_spec")
KEPT = ("cause", "plan", "totals", "not_loaded", "checks", "verdicts", "problems")


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "results"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.path = os.environ.get(VARIABLE)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Record a successful task, unless it only checked something: tags that match no task leave nothing else."""
        if result.task.action not in CHECKING:
            self._write("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Record a failed task."""
        self._write("failed", result, ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Record an unreachable host."""
        self._write("unreachable", result, bool(result.task.ignore_unreachable))

    def _write(self, state: str, result: Any, ignored: bool = False) -> None:
        if not self.path:
            return
        values = result.result
        message = values.get("msg", "") if state != "ok" else ""
        record = {
            "host": result.host.get_name(),
            "task": result.task.get_name(),
            "state": state,
            "ignored": ignored,
            "changed": bool(values.get("changed")),
            "msg": "\n".join(map(str, message)) if isinstance(message, list) else str(message),
            **{name: values[name] for name in KEPT if name in values},
        }
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, default=str) + "\n")
