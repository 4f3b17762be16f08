"""Prints the ``report`` of a result as the text that it is."""

from __future__ import annotations

from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: report
type: notification
short_description: Prints the report of a result as the text that it is
description:
  - Modules of this project return what people read as RV(ignore:report). The default output would show it as YAML,
    with escapes for every pictograph; this shows it line by line.
author: [The project's maintainers]
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "report"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_ok(self, result: Any) -> None:
        """Show the report of a task that went well."""
        self._show(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Show the report of a task that failed; its message follows or precedes by the default output."""
        self._show(result)

    def _show(self, result: Any) -> None:
        report = result.result.get("report") if hasattr(result, "result") else result._result.get("report")
        if isinstance(report, str) and report:
            self._display.display(report)
