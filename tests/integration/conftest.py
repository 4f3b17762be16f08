"""Which tests share a process: those of a file, and those of the audit, whose hosts are dear."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadFileScheduling


class ByFile(LoadFileScheduling):  # type: ignore[misc]  # it has no types
    """A file to a process, and all of the audit to one."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return "audit" if "/audit/" in file else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling | None:
    return ByFile(config, log) if config.option.dist == "loadfile" else None
