"""Runs, the lock and the last reset, as the quarantine records them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.audit import runs
from ansible.module_utils.audit.model import Judgement
from ansible.module_utils.project import lock
from ansible.module_utils.project.quarantine import BUILD, Manifest, Quarantine
from ansible.module_utils.project.root import Directory


class Estate:
    """A root with a reset that moved ``lib`` and replaced ``.env``."""

    def __init__(self, folder: Path) -> None:
        (folder / "lib").mkdir()
        (folder / "lib/a").write_text("12345")
        (folder / ".env").write_text("OLD=1\n")
        self.root = Directory.open(str(folder))
        self.quarantine = quarantine = Quarantine.make(self.root)
        quarantine.prepare()
        self.run: Manifest = quarantine.begin("reset")
        self.run = quarantine.displace(self.run, ["lib"])
        with quarantine.state.enter(BUILD) as build:
            build.write_new(".env", b"NEW=1\n")
            self.run = quarantine.displace(self.run, [".env"], put=build)


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    return Estate(tmp_path)


def found(quarantine: Quarantine | None) -> dict[str, Judgement]:
    return {check.name: check for check in runs.checks(quarantine)}


def test_a_root_that_was_never_reset_has_neither_runs_nor_a_lock() -> None:
    assert {check.verdict for check in found(None).values()} == {"pass"}


def test_run_that_was_cut_off(estate: Estate) -> None:
    check = found(estate.quarantine)["unfinished runs"]
    assert (check.verdict, check.found) == ("fail", estate.run.name)
    estate.quarantine.close(estate.run)
    assert found(estate.quarantine)["unfinished runs"].verdict == "pass"


def test_lock_that_another_run_holds(estate: Estate) -> None:
    with lock.held(estate.quarantine.state):
        lock.sign(estate.quarantine.state)
        check = found(estate.quarantine)["lock"]
    assert check.verdict == "fail"
    assert f"pid {os.getpid()}" in check.found
    assert found(estate.quarantine)["lock"].verdict == "pass"


def test_last_reset_tells_what_it_moved_and_how_to_undo_it(estate: Estate) -> None:
    estate.quarantine.close(estate.run)
    told: Any = runs.last_reset(estate.quarantine)
    assert told["undo"] == f"ansible-playbook playbooks/restore.yml -e restore_run={estate.run.name}"
    assert told["entries"] == [
        {"name": "lib", "what": "moved away", "kept": "directory, 1 file, 5 B"},
        {"name": ".env", "what": "replaced", "kept": "file, 6 B"},
    ]


def test_last_reset_of_which_nothing_is_left_cannot_be_undone(estate: Estate) -> None:
    with estate.quarantine.state.enter("runs") as kept, kept.enter(estate.run.name) as run:
        for name in ("lib", ".env"):
            with run.enter("kept") as folder:
                folder.remove(name)
    told: Any = runs.last_reset(estate.quarantine)
    assert told["undo"] is None


def test_dotenv_of_before_the_last_reset(estate: Estate) -> None:
    before: Any = runs.dotenv_before(estate.quarantine)
    assert before[0] == b"OLD=1\n"
    assert Path(before[1]).read_bytes() == b"OLD=1\n"
