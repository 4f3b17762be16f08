"""Builds of an environment, and their failures."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from ansible.module_utils.project.build import Build
from ansible.module_utils.project.root import Directory
from ansible.module_utils.project.venv import RECORD
from ansible.module_utils.reporting import Problem

HERE = "{}.{}.{}".format(*sys.version_info[:3])
PLATFORM = {"python": HERE, "implementation": "cpython", "machine": "x86_64", "libc": "glibc 2.36"}
# The message of uv 0.13 about an index whose certificate it does not trust.
UNTRUSTED = """error: Request failed after 1 retry
  Caused by: Failed to fetch: `https://good.example/simple/psutil/`
  Caused by: invalid peer certificate: UnknownIssuer
"""


class FakeTools:
    """A fake of uv and pip that makes the files of an environment, and fails for the given indexes."""

    def __init__(
        self,
        bad_indexes: Sequence[str] = (),
        failed: Mapping[str, str] | None = None,
        ahead: str = "",
        unreached: str = "",
    ) -> None:
        self.bad_indexes = bad_indexes
        self.ahead = ahead
        self.unreached = unreached
        self.failed = failed or {}
        self.commands: list[list[str]] = []

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        text: str = "",
        seconds: float = 60.0,
    ) -> tuple[int, str, str]:
        self.commands.append(list(argv))
        if "-c" in argv:
            answer = {"version": HERE, "installed": {"psutil": "7"}, "failed": dict(self.failed)}
            return 0, "\n" + json.dumps(answer) + "\n", ""
        if argv[-1] == "--":
            return 1, "", "ERROR: You must give at least one requirement to install"
        if argv[0] == "/tools/uv" and argv[1] == "pip" and self.unreached:
            return 2, "", self.unreached
        if argv[1] == "venv" or argv[1:3] == ["-m", "venv"]:
            path = Path(argv[-1])
            (path / "bin").mkdir(parents=True)
            (path / "bin/pip").write_text(f"#!{path}/bin/python\n")
            (path / "bin/pip").chmod(0o755)
            (path / "bin/python").symlink_to(sys.executable)
            return 0, "", ""
        index = str((env or {}).get("UV_DEFAULT_INDEX") or "")
        if index in self.bad_indexes:
            return 1, "", f"{self.ahead}error: {index} has no psutil"
        return 0, "", ""


def build(
    folder: Path,
    tools: FakeTools,
    *urls: str,
    page: bytes = b"pip-26",
    uv: str | None = "/tools/uv",
    packages: Sequence[str] = ("psutil",),
) -> Build:
    python = {"version": HERE, "base": sys.executable, "platform": PLATFORM}
    with Directory.open(str(folder)) as opened:
        built = Build(opened, packages, python, urls or [""], {}, tools, lambda _: uv, lambda *_: page)
        built.make("/final/venv")
    return built


def test_scripts_name_the_place_where_they_will_stand(tmp_path: Path) -> None:
    build(tmp_path, FakeTools())
    script = tmp_path / "venv/bin/pip"
    assert script.read_text() == "#!/final/venv/bin/python\n"
    assert os.access(script, os.X_OK)


def test_build_leaves_its_record(tmp_path: Path) -> None:
    build(tmp_path, FakeTools())
    record = json.loads((tmp_path / "venv" / RECORD).read_text())
    assert record == {"asked": ["psutil"], "python": HERE, "installed": {"psutil": "7"}}


def test_index_that_lacks_a_package_is_passed_over_and_named(tmp_path: Path) -> None:
    bad = "https://u:secret@bad.example/simple"
    built = build(tmp_path, FakeTools([bad]), bad, "https://good.example/simple")
    assert built.index == "https://good.example/simple"
    assert len(built.skipped) == 1
    assert "https://bad.example/simple" in built.skipped[0]
    assert "secret" not in built.skipped[0]


def test_credentials_of_an_index_are_on_no_command_line(tmp_path: Path) -> None:
    tools = FakeTools()
    build(tmp_path, tools, "https://u:s3cret@good.example/simple")
    assert "s3cret" not in str(tools.commands)


@pytest.mark.parametrize("length", [568, 574, 580])
def test_no_piece_of_a_password_is_left_where_a_long_message_is_cut(tmp_path: Path, length: int) -> None:
    bad = "https://u:s3cret-s3cret-s3cret@mirror.example"
    with pytest.raises(Problem) as problem:
        build(tmp_path, FakeTools([bad], ahead="x" * length), bad)
    assert "s3c" not in str(problem.value)


def test_failure_of_every_index_lists_them_in_order(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"a\.example.*b\.example") as problem:
        build(tmp_path, FakeTools(), "https://a.example/", "https://u:secret@b.example/", page=b"hotel")
    assert "secret" not in str(problem.value)
    assert "is unchanged" in str(problem.value)


def test_full_disk_is_not_blamed_on_the_index(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="Free space or inodes on that file system") as problem:
        build(tmp_path, FakeTools(unreached="error: Failed to copy: No space left on device (os error 28)"))
    assert "Fix project_index_urls" not in str(problem.value)


def test_package_that_does_not_import_fails_the_build(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="psutil does not import"):
        build(tmp_path, FakeTools(failed={"psutil": "does not import: ImportError: x"}))


def test_what_uv_cannot_reach_is_built_by_pip(tmp_path: Path) -> None:
    built = build(tmp_path, FakeTools(unreached=UNTRUSTED), "https://good.example/simple")
    assert (built.tool, built.index, built.skipped) == ("pip", "https://good.example/simple", [])


def test_without_packages_pip_is_not_asked_for_any(tmp_path: Path) -> None:
    """Pip fails if it gets no requirement."""
    assert build(tmp_path, FakeTools(), uv=None, packages=[]).tool == "pip"


def test_what_uv_does_not_find_is_not_asked_of_pip(tmp_path: Path) -> None:
    tools = FakeTools(
        unreached="Because psutil was not found in the package registry, your requirements are unsatisfiable"
    )
    with pytest.raises(Problem, match="not found"):
        build(tmp_path, tools)
    assert {command[0] for command in tools.commands} == {"/tools/uv"}


def test_failure_tells_what_wheels_for_the_host_must_fit(tmp_path: Path) -> None:
    with pytest.raises(Problem) as problem:
        build(tmp_path, FakeTools(), "https://a.example/", page=b"hotel")
    assert problem.value.details == {"platform": PLATFORM}
