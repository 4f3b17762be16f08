"""Which steps lead from how things are to the state asked for."""

from __future__ import annotations

import pytest
from ansible.module_utils.sandbox.service import Status, plan

NOTHING = Status(present=False, initialised=False, running=False, configured=False)
HALF_BUILT = Status(present=True, initialised=False, running=False, configured=False)
STOPPED = Status(present=True, initialised=True, running=False, configured=True)
RUNNING = Status(present=True, initialised=True, running=True, configured=True)
OTHERWISE = Status(present=True, initialised=True, running=True, configured=False)


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
def test_plan(state: str, status: Status, steps: list[str]) -> None:
    assert plan(state, status) == steps
