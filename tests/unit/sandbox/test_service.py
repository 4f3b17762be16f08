"""The steps from each status to each state."""

from __future__ import annotations

import pytest
from ansible.module_utils.sandbox.service import plan

NOTHING = {"present": False, "initialised": False, "running": False, "configured": False}
HALF_BUILT = {"present": True, "initialised": False, "running": False, "configured": False}
STOPPED = {"present": True, "initialised": True, "running": False, "configured": True}
RUNNING = {"present": True, "initialised": True, "running": True, "configured": True}
OTHERWISE = {"present": True, "initialised": True, "running": True, "configured": False}


@pytest.mark.parametrize(
    ("state", "status", "steps"),
    [
        ("present", NOTHING, ["initialise", "start"]),
        ("present", HALF_BUILT, ["initialise", "start"]),
        ("present", STOPPED, ["start"]),
        ("present", RUNNING, []),
        ("present", OTHERWISE, ["stop", "start"]),
        ("absent", NOTHING, []),
        ("absent", HALF_BUILT, ["remove"]),
        ("absent", STOPPED, ["remove"]),
        ("absent", OTHERWISE, ["stop", "remove"]),
    ],
)
def test_plan(state: str, status: dict[str, bool], steps: list[str]) -> None:
    assert plan(state, **status) == steps
