"""Wheels from the control node: the platforms they are fetched for, and how a host unpacks them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible.module_utils.project import build, wheels
from ansible.module_utils.project.root import Directory
from ansible.module_utils.project.wheels import Target
from ansible.module_utils.reporting import Problem

from tests.unit.project.archives import pack

DEBIAN = Target("3.11.2", "cpython", "x86_64", "glibc 2.36")


def tags(target: Target) -> list[str]:
    options = target.pip_options()
    return [options[number + 1] for number, option in enumerate(options) if option == "--platform"]


def test_every_older_glibc_fits_the_best_first() -> None:
    assert tags(DEBIAN)[0] == "manylinux_2_36_x86_64"
    assert tags(DEBIAN)[-1] == "linux_x86_64"
    assert {"manylinux_2_28_x86_64", "manylinux2014_x86_64"} <= set(tags(DEBIAN))


def test_newer_glibc_does_not_fit() -> None:
    assert "manylinux_2_37_x86_64" not in tags(DEBIAN)


def accepted(target: Target) -> set[str]:
    """Return the tags of wheels that pip accepts with these options."""
    from pip._internal.models.target_python import TargetPython

    version = tuple(int(part) for part in target.python.split("."))
    python = TargetPython(platforms=tags(target), py_version_info=version, implementation="cp")
    return {str(tag) for tag in python.get_sorted_tags()}


def test_pip_takes_what_the_index_has_for_such_a_host() -> None:
    found = accepted(Target("3.9.2", "cpython", "aarch64", "glibc 2.31"))
    assert {"cp39-cp39-manylinux2014_aarch64", "cp36-abi3-manylinux_2_28_aarch64", "py3-none-any"} <= found
    assert "cp310-cp310-manylinux2014_aarch64" not in found


def test_old_names_of_systems_are_taken_too() -> None:
    assert "cp311-cp311-manylinux1_x86_64" in accepted(DEBIAN)


@pytest.mark.parametrize(
    ("libc", "name"), [("2.36", "2_36"), ("2.29", "2_28"), ("2.26", "2_17"), ("2.50", "2_40")]
)
def test_uv_resolves_for_the_next_older_system_that_it_knows(libc: str, name: str) -> None:
    target = Target("3.11.2", "cpython", "x86_64", f"glibc {libc}")
    assert target.uv_platform() == f"x86_64-manylinux_{name}"


@pytest.mark.parametrize(
    "target",
    [
        Target("3.11.2", "cpython", "x86_64", ""),
        Target("3.11.2", "pypy", "x86_64", "glibc 2.36"),
        Target("3.11.2", "cpython", "riscv64", "glibc 2.36"),
        Target("3.9.2", "cpython", "x86_64", "glibc 2.12"),
    ],
)
def test_system_without_wheels_is_told_what_to_do(target: Target) -> None:
    with pytest.raises(Problem, match="project_index_urls"):
        target.pip_options()


def archive(path: Path, *names: str) -> str:
    return pack(path, dict.fromkeys(names, b"abc"))


def test_kit_is_unpacked_for_its_owner_alone(tmp_path: Path) -> None:
    into = tmp_path / "wheels"
    into.mkdir()
    with Directory.open(str(into)) as folder:
        build.unpack(archive(tmp_path / "kit.tar", "sound-1.0-py3-none-any.whl", "uv"), folder)
    assert (into / "sound-1.0-py3-none-any.whl").read_bytes() == b"abc"
    assert stat.S_IMODE((into / "sound-1.0-py3-none-any.whl").stat().st_mode) == 0o600
    assert os.access(into / "uv", os.X_OK)


@pytest.mark.parametrize("name", ["../evil.whl", "/tmp/evil.whl", "deep/evil.whl"])  # noqa: S108 - refused
def test_kit_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    into = tmp_path / "wheels"
    into.mkdir()
    with Directory.open(str(into)) as folder, pytest.raises(Problem, match="is not a wheel"):
        build.unpack(archive(tmp_path / "kit.tar", name), folder)
    assert list(into.iterdir()) == []


def test_kit_takes_no_room_twice(tmp_path: Path) -> None:
    into, given = tmp_path / "wheels", archive(tmp_path / "kit.tar", "a.whl", "b.whl")
    into.mkdir()
    with Directory.open(str(into)) as folder:
        build.unpack(given, folder)
    assert os.path.getsize(given) == 0
    assert sorted(os.listdir(into)) == ["a.whl", "b.whl"]


def test_kit_overwrites_nothing(tmp_path: Path) -> None:
    into = tmp_path / "wheels"
    into.mkdir()
    (into / "uv").symlink_to("/etc/passwd")
    with Directory.open(str(into)) as folder, pytest.raises(FileExistsError):
        build.unpack(archive(tmp_path / "kit.tar", "uv"), folder)


def test_kit_is_fetched_once_for_all_hosts_of_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []

    def fetch(target: Target, packages: list[str], urls: list[str], folder: str) -> str:
        fetched.append(target)
        return f"{folder}.tar"

    monkeypatch.setattr(wheels, "_fetch", fetch)
    other = Target("3.12.3", "cpython", "x86_64", "glibc 2.39")
    found = [
        wheels.kit(target, ["sound"], [""], str(tmp_path / "kits")) for target in (DEBIAN, DEBIAN, other)
    ]
    assert fetched == [DEBIAN, other]
    assert found[0] == found[1] != found[2]
    assert stat.S_IMODE((tmp_path / "kits").stat().st_mode) == 0o700


def test_failure_to_fetch_is_told_to_every_host_and_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def fetch(*_: object) -> str:
        tried.append(1)
        raise Problem("no index answers")

    monkeypatch.setattr(wheels, "_fetch", fetch)
    for _ in range(2):
        with pytest.raises(Problem, match="no index answers"):
            wheels.kit(DEBIAN, ["sound"], [""], str(tmp_path))
    assert len(tried) == 1


def test_credentials_of_an_index_are_in_no_message(tmp_path: Path) -> None:
    url = "http://reader:s3cr%2Ft@127.0.0.1:1/simple"
    with pytest.raises(Problem) as caught:
        wheels.kit(DEBIAN, ["sound"], [url], str(tmp_path / "kits"))
    assert "http://127.0.0.1:1/simple" in str(caught.value)
    told = str(caught.value) + "".join(path.read_text() for path in tmp_path.rglob("*.txt"))
    assert not any(word in told for word in ("reader", "s3cr"))
