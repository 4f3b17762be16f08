"""Wheels from the control node: for which system they are asked, and how a host takes them in."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible.module_utils.project import bytecode, wheels
from ansible.module_utils.project.root import Directory
from ansible.module_utils.project.wheels import Target
from ansible.module_utils.reporting import Problem

from tests.unit.project.archives import pack

DEBIAN = Target("3.11.2", "cpython", "x86_64", "glibc 2.36")


def tags(target: Target) -> list[str]:
    options = target.pip_tags()
    return [options[number + 1] for number, option in enumerate(options) if option == "--platform"]


def test_every_older_glibc_fits_the_best_first() -> None:
    assert tags(DEBIAN)[0] == "manylinux_2_36_x86_64"
    assert tags(DEBIAN)[-1] == "linux_x86_64"
    assert {"manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64"} <= set(tags(DEBIAN))


def test_newer_glibc_does_not_fit() -> None:
    assert "manylinux_2_37_x86_64" not in tags(DEBIAN)


def test_arm_has_no_wheels_older_than_its_first_glibc() -> None:
    found = tags(Target("3.12.3", "cpython", "aarch64", "glibc 2.39"))
    assert "manylinux2014_aarch64" in found
    assert "manylinux2010_aarch64" not in found


def test_python_is_the_hosts() -> None:
    options = DEBIAN.pip_tags()
    assert options[options.index("--python-version") + 1] == "3.11.2"
    assert "cp311" in options


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
        target.pip_tags()


def archive(path: Path, *names: str) -> str:
    return pack(path, dict.fromkeys(names, b"abc"))


def test_kit_is_unpacked_for_its_owner_alone(tmp_path: Path) -> None:
    into = tmp_path / "wheels"
    into.mkdir()
    with Directory.open(str(into)) as folder:
        wheels.unpack(archive(tmp_path / "kit.tar", "sound-1.0-py3-none-any.whl", "uv"), folder)
    assert (into / "sound-1.0-py3-none-any.whl").read_bytes() == b"abc"
    assert stat.S_IMODE((into / "sound-1.0-py3-none-any.whl").stat().st_mode) == 0o600
    assert os.access(into / "uv", os.X_OK)


@pytest.mark.parametrize("name", ["../evil.whl", "/tmp/evil.whl", "deep/evil.whl"])  # noqa: S108 - refused
def test_kit_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    into = tmp_path / "wheels"
    into.mkdir()
    with Directory.open(str(into)) as folder, pytest.raises(Problem, match="no wheel"):
        wheels.unpack(archive(tmp_path / "kit.tar", name), folder)
    assert list(into.iterdir()) == []


def test_kit_takes_no_room_twice(tmp_path: Path) -> None:
    into, kit = tmp_path / "wheels", archive(tmp_path / "kit.tar", "a.whl", "b.whl")
    into.mkdir()
    with Directory.open(str(into)) as folder:
        wheels.unpack(kit, folder)
    assert os.path.getsize(kit) == 0
    assert sorted(os.listdir(into)) == ["a.whl", "b.whl"]


def test_kit_overwrites_nothing(tmp_path: Path) -> None:
    into = tmp_path / "wheels"
    into.mkdir()
    (into / "uv").symlink_to("/etc/passwd")
    with Directory.open(str(into)) as folder, pytest.raises(FileExistsError):
        wheels.unpack(archive(tmp_path / "kit.tar", "uv"), folder)


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


def test_what_a_host_imported_is_compiled_once_for_those_that_ask_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    def add(kit: str, names: str, python: str) -> str:
        compiled.append((names, python))
        return f"{kit}.compiled"

    monkeypatch.setattr(wheels, "_fetch", lambda *asked: f"{asked[-1]}.tar")
    monkeypatch.setattr(bytecode, "add", add)

    def asking() -> str:
        return wheels.kit(DEBIAN, ["sound"], [""], str(tmp_path))

    first = asking()
    wheels.learn(first, "sound.py")
    assert [asking(), asking()] == [f"{first}.compiled"] * 2
    assert compiled == [("sound.py", "3.11.2")]


def test_wheels_come_also_where_nothing_can_be_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(*_: object) -> str:
        raise OSError("No space left on device")

    monkeypatch.setattr(wheels, "_fetch", lambda *asked: f"{asked[-1]}.tar")
    monkeypatch.setattr(bytecode, "add", add)
    first = wheels.kit(DEBIAN, ["sound"], [""], str(tmp_path))
    wheels.learn(first, "sound.py")
    assert wheels.kit(DEBIAN, ["sound"], [""], str(tmp_path)) == first


def test_host_that_was_built_is_not_failed_by_what_cannot_be_kept(tmp_path: Path) -> None:
    wheels.learn(str(tmp_path / "gone/kit.tar"), "sound.py")


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
    told = str(caught.value) + "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert not any(word in told for word in ("reader", "s3cr"))
