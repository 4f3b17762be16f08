"""Distribute tests over processes: each file has one, and all tests of the audit share one."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadFileScheduling


class ByFile(LoadFileScheduling):  # type: ignore[misc]  # it has no types
    """All tests of the audit share one process, because their hosts are expensive to set up."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return "audit" if "/audit/" in file else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling | None:
    return ByFile(config, log) if config.option.dist == "loadfile" else None
