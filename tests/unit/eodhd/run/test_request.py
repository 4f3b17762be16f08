"""The options of a run."""

from __future__ import annotations

import pytest
from ansible.module_utils.database.server import Server
from ansible.module_utils.eodhd.run.request import Request
from ansible.module_utils.reporting import Problem


def test_a_run_without_requests_is_refused() -> None:
    with pytest.raises(Problem, match="backfill_concurrency is 0; it must be at least 1"):
        Request("history", Server("h", 1, "u", "p", "d"), "https://example.org", "token", concurrency=0)
