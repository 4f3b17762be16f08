"""One run at a time; the dead block nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.project import lock
from ansible.module_utils.project.root import Directory
from ansible.module_utils.reporting import Problem

NOW = 1_800_000_000.0


def lease(holder: dict[str, Any], touched: float = NOW) -> dict[str, Any]:
    return {"holder": holder, "since": touched, "touched": touched}


def other(holder: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**holder, "user": "rival", "pid": 200, "process": "200 2.00", "alive": ["200 2.00"], **changes}


def test_nobody_holds_a_root_without_a_lease(holder: dict[str, Any]) -> None:
    assert lock.judge(None, holder, NOW) is None


def test_own_lease_is_free(holder: dict[str, Any]) -> None:
    assert lock.judge(lease(holder), holder, NOW) is None


def test_living_run_of_the_same_controller_holds(holder: dict[str, Any]) -> None:
    asking = other(holder, alive=["100 1.00", "200 2.00"])
    assert lock.judge(lease(holder), asking, NOW) == "ops on control/1, pid 100, since 2027-01-15T08:00:00Z"


def test_killed_run_of_the_same_controller_does_not_hold(holder: dict[str, Any]) -> None:
    assert lock.judge(lease(holder), other(holder), NOW) is None


def test_later_process_of_the_same_pid_is_not_the_holder(holder: dict[str, Any]) -> None:
    assert lock.judge(lease(holder), other(holder, alive=["100 9.00", "200 2.00"]), NOW) is None


def test_run_of_another_controller_holds_while_it_is_touched(holder: dict[str, Any]) -> None:
    assert lock.judge(lease(holder, NOW - lock.LEASE + 1), other(holder, controller="laptop/2"), NOW)


def test_run_of_another_controller_ends_with_its_lease(holder: dict[str, Any]) -> None:
    assert lock.judge(lease(holder, NOW - lock.LEASE - 1), other(holder, controller="laptop/2"), NOW) is None


def test_working_module_holds_whoever_asks(tmp_path: Path, holder: dict[str, Any]) -> None:
    with (
        Directory.open(str(tmp_path)) as state,
        lock.held(state, holder),
        pytest.raises(Problem, match="ops on control/1, pid 100"),
        lock.held(state, other(holder)),
    ):
        pass


def test_refused_run_leaves_the_lease_alone(tmp_path: Path, holder: dict[str, Any]) -> None:
    asking = other(holder, controller="laptop/2")
    with Directory.open(str(tmp_path)) as state:
        with lock.held(state, holder):
            pass
        before = (tmp_path / "lock").read_bytes()
        with pytest.raises(Problem), lock.held(state, asking):
            pass
        assert (tmp_path / "lock").read_bytes() == before


def test_keeper_tells_without_taking(tmp_path: Path, holder: dict[str, Any]) -> None:
    asking = other(holder, controller="laptop/2")
    with Directory.open(str(tmp_path)) as state:
        assert lock.keeper(state, asking) is None
        with lock.held(state, holder):
            assert lock.keeper(state, asking) is not None
        assert lock.keeper(state, asking) is not None


def test_released_lease_is_free_for_everybody(tmp_path: Path, holder: dict[str, Any]) -> None:
    with Directory.open(str(tmp_path)) as state:
        with lock.held(state, holder):
            lock.release(state)
        assert lock.keeper(state, other(holder, controller="laptop/2")) is None


@pytest.mark.parametrize("rubbish", [b"", b"{", b"[]", b"null"])
def test_damaged_lease_is_nobodys(tmp_path: Path, holder: dict[str, Any], rubbish: bytes) -> None:
    (tmp_path / "lock").write_bytes(rubbish)
    with Directory.open(str(tmp_path)) as state:
        assert lock.keeper(state, holder) is None
