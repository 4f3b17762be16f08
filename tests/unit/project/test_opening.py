"""One run at a time; a killed run does not block the next one."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.module_utils.project import opening, quarantine
from ansible.module_utils.project.root import Directory
from ansible.module_utils.reporting import Problem

HOLDING = """
import sys, time
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[2])
from ansible.module_utils.project import opening
from ansible.module_utils.project.root import Directory
with Directory.open(sys.argv[1]) as state, opening.held(state):
    opening.sign(state)
    print("held", flush=True)
    time.sleep(60)
"""


def test_run_that_works_is_named_to_the_second_one(tmp_path: Path) -> None:
    who = f"{quarantine.me()['user']}, pid {os.getpid()}, since 2"
    with Directory.open(str(tmp_path)) as state, opening.held(state):
        opening.sign(state)
        with pytest.raises(Problem, match=who), opening.held(state):
            pass


def test_hosts_that_share_a_root_learn_what_to_set(tmp_path: Path) -> None:
    told = pytest.raises(Problem, match="If hosts share this root, set reset_batch: 1")
    with Directory.open(str(tmp_path)) as state, opening.held(state), told:
        opening.check(state)


def test_it_can_be_held_on_nfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS turns flock into a lock of bytes, which needs a file that is open for writing; see flock(2)."""

    def of_nfs(fd: int, how: int) -> None:
        if how & fcntl.LOCK_EX and not fcntl.fcntl(fd, fcntl.F_GETFL) & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(fcntl, "flock", of_nfs)
    with Directory.open(str(tmp_path)) as state, opening.held(state):
        opening.check(state)


def test_plan_stops_at_a_run_that_has_not_signed_yet(tmp_path: Path) -> None:
    with (
        Directory.open(str(tmp_path)) as state,
        opening.held(state),
        pytest.raises(Problem, match="just started"),
    ):
        opening.check(state)


def test_what_a_killed_run_signed_is_not_told_of_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text('{"user": "ops", "pid": 4194305, "since": "2026-11-26T05:00:00Z"}')
    with Directory.open(str(tmp_path)) as state, opening.held(state):
        assert opening.holder(state) == "it has just started"


def test_holder_is_told_without_taking_or_writing(tmp_path: Path) -> None:
    with Directory.open(str(tmp_path)) as state:
        assert opening.holder(state) is None
        assert list(tmp_path.iterdir()) == []
        with opening.held(state):
            assert opening.holder(state) is not None
        assert opening.holder(state) is None


def test_run_that_was_killed_blocks_nobody(tmp_path: Path) -> None:
    utils = str(Path(opening.__file__).parent.parent)
    command = [sys.executable, "-c", HOLDING, str(tmp_path), utils]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "held\n"
        with Directory.open(str(tmp_path)) as state:
            assert f"pid {run.pid}" in str(opening.holder(state))
            run.kill()
            run.wait()
            with opening.held(state):
                pass


@pytest.mark.parametrize("rubbish", ["", "{", "[]", "null", '{"pid": 1}'])
def test_damaged_signature_is_no_answer(tmp_path: Path, rubbish: str) -> None:
    (tmp_path / "lock").write_text(rubbish)
    with Directory.open(str(tmp_path)) as state, opening.held(state):
        assert opening.holder(state) == "it has just started"
