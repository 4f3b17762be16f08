"""The scheduler's memory on a real file, and on a disk that is full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ansible.module_utils.schedule.state import FAILED, MET, NOTHING, OK, Lasting, Run, State, alone

ROOT = Path(__file__).resolve().parents[3]
PROBLEM = Lasting("token", 1.0, ("hub",), ("daily",), "refused", told=True)
# A disk of one MiB in a mount namespace of its own, which an ordinary user may have, too.
ON_A_SMALL_DISK = """
set -e
mkdir -p "$1/state" "$1/spare"; mount -t tmpfs -o size=1m tmpfs "$1/state"
"$2" "$3" "$1" before
dd if=/dev/zero of="$1/state/filler" bs=4096 2>/dev/null || :
"$2" "$3" "$1" full
rm "$1/state/filler"
"$2" "$3" "$1" after
"""
STEP = """
import sys
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
import ansible.module_utils
ansible.module_utils.__path__.append(%r)
from pathlib import Path
from ansible.module_utils.schedule.state import Lasting, Run, State
folder, step = Path(sys.argv[1]), sys.argv[2]
state = State(folder / "state", folder / "spare")
for number in range(40):
    state.keep(Run(f"{step}-{number:03}", "health", 1.0, 2.0, "ok", note="x" * 500))
known = state.problems()
state.keep_problems([*known, Lasting(step, 1.0, (), ("health",), "", told=True)])
print(step, len(state.runs()), [each.cause for each in state.problems()], state.fault)
"""


@pytest.fixture
def state(tmp_path: Path) -> State:
    (tmp_path / "spare").mkdir()
    return State(tmp_path, tmp_path / "spare")


def test_a_run_is_kept_and_takes_its_new_state(state: State) -> None:
    state.keep(Run("1", "health", 10.0))
    state.keep(Run("1", "health", 10.0, 20.0, OK, hosts=2))
    assert state.runs() == [Run("1", "health", 10.0, 20.0, OK, hosts=2)]


def test_the_last_run_of_each_job_is_the_one_that_tells_something(state: State) -> None:
    for key, outcome in (("1", OK), ("2", FAILED), ("3", NOTHING), ("4", MET)):
        state.keep(Run(key, "daily", float(key), 20.0, outcome))
    assert {job: run.id for job, run in state.last().items()} == {"daily": "2"}


def test_old_runs_are_forgotten(state: State) -> None:
    state.keep(Run("1", "daily", 10.0, 20.0, OK))
    state.keep(Run("2", "daily", 30.0, 40.0, OK))
    state.forget(before=25.0)
    assert [run.id for run in state.runs()] == ["2"]


def test_problems_and_marks_come_back(state: State, tmp_path: Path) -> None:
    state.keep_problems([PROBLEM])
    state.keep_mark("session daily", "2026-11-25")
    later = State(tmp_path, tmp_path / "spare")
    assert later.problems() == [PROBLEM]
    assert later.mark("session daily") == "2026-11-25"


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    with alone(tmp_path / "lock") as one, alone(tmp_path / "lock") as other:
        assert (one, other) == (True, False)
    with alone(tmp_path / "lock") as again:
        assert again


def test_a_damaged_file_stops_no_job(state: State, tmp_path: Path) -> None:
    (tmp_path / "schedule.sqlite").write_bytes(b"no database" * 1000)
    state.keep(Run("1", "health", 10.0))
    state.keep_problems([PROBLEM])
    assert ([run.id for run in state.runs()], state.problems()) == (["1"], [PROBLEM])
    assert state.fault == "DatabaseError"
    (tmp_path / "schedule.sqlite").unlink()
    state.keep(Run("2", "health", 20.0))
    assert ([run.id for run in state.runs()], state.fault) == (["1", "2"], "")


def test_a_full_disk_forgets_nothing(tmp_path: Path) -> None:
    step = tmp_path / "step.py"
    step.write_text(STEP % str(ROOT / "module_utils"))
    own = ["unshare", "--map-root-user", "--mount", "sh", "-c", ON_A_SMALL_DISK, "sh"]
    try:
        done = subprocess.run(
            [*own, str(tmp_path), sys.executable, str(step)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("this machine gives no mount namespace")
    assert done.stdout.splitlines() == [
        "before 40 ['before'] ",
        "full 80 ['before', 'full'] OperationalError",
        "after 120 ['after', 'before', 'full'] ",
    ], done.stderr
