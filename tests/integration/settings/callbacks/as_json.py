"""A stdout callback that prints one JSON document, as a controller wants it."""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: as_json
type: stdout
short_description: One JSON document
description: [One JSON document.]
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "as_json"

    def __init__(self) -> None:
        super().__init__()
        self.results: list[dict[str, Any]] = []

    def v2_runner_on_ok(self, result: Any) -> None:
        """Keep it for the document."""
        self.results.append({"host": result.host.get_name(), **self._clean(result.result)})

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Keep it for the document."""
        self.v2_runner_on_ok(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print the document."""
        self._display.display(json.dumps(self.results))

    def _clean(self, result: dict[str, Any]) -> dict[str, Any]:
        cleaned: dict[str, Any] = json.loads(self._dump_results(result))
        return cleaned
