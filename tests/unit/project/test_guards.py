"""Each guard stops one mistake with its own message, and touches nothing; its facts are read from the machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.module_utils.project import guards
from ansible.module_utils.project.guards import Facts
from ansible.module_utils.project.root import Directory
from ansible.module_utils.reporting import Problem


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("srv/project", "is relative"),
        ("~/project", "is relative"),
        ("/", "is the root of the file system"),
        ("//", "is the root of the file system"),
        ("/opt/..", "is the root of the file system"),
        ("/opt", "is a system directory"),
        ("/opt/", "is a system directory"),
        ("/usr/bin", "is a system directory"),
        ("/etc/project", "is a system directory"),
        ("/opt/$HOME/project", "contains a [$]"),
        ("/opt/project/../other", "is not a plain path"),
        ("/opt//project", "is not a plain path"),
        ("/home/quant", "is the home directory of quant"),
        ("/home/quant/", "is the home directory of quant"),
    ],
)
def test_path_is_refused(path: str, message: str) -> None:
    with pytest.raises(Problem, match=message) as problem:
        guards.check_path(path, {"/home/quant": "quant"})
    assert "project_root" in str(problem.value)


@pytest.mark.parametrize(
    "path", ["/opt/mt5-crs", "/opt/mt5-crs/", "/home/quant/project", "/usr/local/project"]
)
def test_path_is_accepted(path: str) -> None:
    guards.check_path(path, {"/home/quant": "quant"})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("/etc", "absolute"),
        ("lib/python", "slash"),
        ("..", "is not a name"),
        (".", "is not a name"),
        ("../other", "slash"),
        ("lib*", "pattern"),
        ("[ab]", "pattern"),
        ("src", "'src'"),
        ("models", "'models/prod'"),
        (".env", "never an artifact"),
        (".git", "never an artifact"),
        (".reset", "never an artifact"),
    ],
)
def test_artifact_name_is_refused(name: str, message: str) -> None:
    with pytest.raises(Problem, match=message):
        guards.check_names(["bin", name], ["src", "models/prod"])


@pytest.mark.parametrize("path", ["", "/etc", "../other", "."])
def test_protected_path_outside_the_root_is_refused(path: str) -> None:
    with pytest.raises(Problem, match="project_protected"):
        guards.check_names(["bin"], [path])


def test_root_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(Problem, match="is a link to real"):
        guards.open_root(str(tmp_path / "link"), Facts())


def test_root_reached_through_a_link_to_a_system_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "disk").symlink_to("/etc")
    with pytest.raises(Problem, match="is a system directory"):
        guards.open_root(str(tmp_path / "disk" / "ssl"), Facts())


def test_root_of_somebody_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="belongs to user id"):
        guards.open_root(str(tmp_path), Facts(uid=os.getuid() + 1))


def test_root_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="cannot be opened as a folder"):
        guards.open_root(str(tmp_path / "gone"), Facts())


def test_missing_protected_path_is_named(polluted: Path) -> None:
    with Directory.open(str(polluted)) as root, pytest.raises(Problem, match="has no scripts"):
        guards.check_protected(root, ["src", "scripts"])


@pytest.mark.parametrize("point", ["lib", "lib/deep"])
def test_mount_inside_an_artifact_is_refused(polluted: Path, point: str) -> None:
    with Directory.open(str(polluted)) as root, pytest.raises(Problem, match="is a mount point"):
        guards.check_file_systems(root, ["bin", "lib"], [os.path.realpath(polluted / point)])


def test_mount_beside_the_artifacts_is_no_matter(polluted: Path) -> None:
    with Directory.open(str(polluted)) as root:
        guards.check_file_systems(root, ["bin", "lib"], ["/", str(polluted), str(polluted / "library")])


def test_process_in_an_artifact_is_named(polluted: Path) -> None:
    facts = Facts(
        processes=lambda: [("trader", 4711, ["/usr/bin/python3", str(polluted / "venv/bin/python")])]
    )
    with Directory.open(str(polluted)) as root, pytest.raises(Problem, match=r"trader \(pid 4711\) uses"):
        guards.check_in_use(root, ["venv"], facts, allow=False)


def test_allowed_use_is_a_warning(polluted: Path) -> None:
    facts = Facts(processes=lambda: [("trader", 4711, [str(polluted / "bin")])])
    with Directory.open(str(polluted)) as root:
        assert len(guards.check_in_use(root, ["bin"], facts, allow=True)) == 1


def test_process_beside_the_artifacts_is_no_matter(polluted: Path) -> None:
    facts = Facts(
        processes=lambda: [("editor", 1, [str(polluted), str(polluted / "binary"), str(polluted / "src")])]
    )
    with Directory.open(str(polluted)) as root:
        assert guards.check_in_use(root, ["bin"], facts, allow=False) == []


def test_too_little_space_is_told(polluted: Path) -> None:
    with (
        Directory.open(str(polluted)) as root,
        pytest.raises(Problem, match="3 MiB free, but a build needs 4 MiB"),
    ):
        guards.check_space(root, 4 << 20, Facts(free_bytes=3 << 20))


def test_file_system_without_programs_is_refused(polluted: Path) -> None:
    with Directory.open(str(polluted)) as root, pytest.raises(Problem, match="mounted with noexec"):
        guards.check_space(root, 0, Facts(noexec=True))


def test_private_folder_that_is_a_link_is_refused(polluted: Path) -> None:
    (polluted / ".reset").symlink_to("src")
    with Directory.open(str(polluted)) as root, pytest.raises(Problem, match="is not a private folder"):
        guards.check_state(root)


def test_mount_point_with_a_space_is_read_as_it_is() -> None:
    assert re.sub(r"\\([0-7]{3})", guards._octal, r"/mnt/my\040disk\134x") == "/mnt/my disk\\x"


def test_root_of_the_file_system_is_a_mount_point() -> None:
    assert "/" in guards.mounts()


def test_process_is_found_by_the_name_that_it_was_started_with(tmp_path: Path) -> None:
    """A venv's python is a link to a program elsewhere."""
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    with subprocess.Popen(["./python", "-c", "input()"], cwd=tmp_path, stdin=subprocess.PIPE) as process:
        time.sleep(0.2)
        found = {pid: paths for _, pid, paths in guards.processes()}
        process.kill()
    assert str(link) in found[process.pid]


@pytest.mark.parametrize("noexec", [True, False])
def test_file_system_is_read_with_its_options(monkeypatch: pytest.MonkeyPatch, noexec: bool) -> None:
    found = SimpleNamespace(f_bavail=3, f_frsize=4096, f_flag=os.ST_NOATIME | os.ST_NOEXEC * noexec)
    monkeypatch.setattr(os, "statvfs", lambda path: found)
    facts = guards.facts("/")
    assert (facts.free_bytes, facts.noexec) == (3 * 4096, noexec)


def test_own_process_is_left_out() -> None:
    assert os.getpid() not in {pid for _, pid, _ in guards.processes()}


def test_own_home_is_a_home() -> None:
    assert os.path.normpath(os.path.expanduser("~")) in guards.homes()


def test_processes_are_there_for_each_guard_that_asks() -> None:
    processes = guards.facts("/").processes
    assert list(processes())
    assert list(processes())
