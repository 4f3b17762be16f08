"""Mounts, processes and homes are read from the machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.module_utils.project import machine


def test_mount_point_with_a_space_is_read_as_it_is() -> None:
    assert re.sub(r"\\([0-7]{3})", machine._octal, r"/mnt/my\040disk\134x") == "/mnt/my disk\\x"


def test_root_of_the_file_system_is_a_mount_point() -> None:
    assert "/" in machine.mounts()


def test_process_is_found_by_the_name_that_it_was_started_with(tmp_path: Path) -> None:
    """A venv's python is a link to a program elsewhere."""
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    with subprocess.Popen(["./python", "-c", "input()"], cwd=tmp_path, stdin=subprocess.PIPE) as process:
        time.sleep(0.2)
        found = {pid: paths for _, pid, paths in machine.Processes()}
        process.kill()
    assert str(link) in found[process.pid]


@pytest.mark.parametrize("noexec", [True, False])
def test_file_system_is_read_with_its_options(monkeypatch: pytest.MonkeyPatch, noexec: bool) -> None:
    found = SimpleNamespace(f_bavail=3, f_frsize=4096, f_flag=os.ST_NOATIME | os.ST_NOEXEC * noexec)
    monkeypatch.setattr(os, "statvfs", lambda path: found)
    facts = machine.facts("/")
    assert (facts.free_bytes, facts.noexec) == (3 * 4096, noexec)


def test_own_process_is_left_out() -> None:
    assert os.getpid() not in {pid for _, pid, _ in machine.Processes()}


def test_own_home_is_a_home() -> None:
    assert os.path.normpath(os.path.expanduser("~")) in machine.homes()


def test_processes_are_there_for_each_guard_that_asks() -> None:
    processes = machine.facts("/").processes
    assert list(processes)
    assert list(processes)
