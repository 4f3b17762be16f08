"""When an environment is built anew, and what a build does when something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.project import venv
from ansible.module_utils.project.root import Directory
from ansible.module_utils.project.venv import Wanted
from ansible.module_utils.reporting import Problem

HERE = "{}.{}.{}".format(*sys.version_info[:3])
WANTED = Wanted(sys.executable, "3.9", ["psutil"])


def run(
    argv: Sequence[str], *, env: Mapping[str, str | None] | None = None, text: str = "", seconds: float = 60.0
) -> tuple[int, str, str]:
    """The real thing, as this user."""
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=seconds, check=False)
    except OSError as error:
        return 127, "", str(error)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("requirement", "name"),
    [
        ("pandas", "pandas"),
        ("pandas==2.2.1", "pandas"),
        ("uvicorn[standard]>=0.30; python_version > '3'", "uvicorn"),
        ("thing @ https://example.com/thing.whl", "thing"),
        ("  spaced >= 1 ", "spaced"),
    ],
)
def test_requirement_names_its_distribution(requirement: str, name: str) -> None:
    assert venv.distribution(requirement) == name


@pytest.mark.parametrize("requirement", ["", "--index-url=https://evil.example", "./local", "/abs"])
def test_option_or_path_among_the_packages_is_refused(requirement: str) -> None:
    with pytest.raises(Problem, match="project_packages"):
        venv.distribution(requirement)


def test_credentials_among_the_packages_are_refused_and_not_shown() -> None:
    with pytest.raises(Problem, match="credentials for thing") as caught:
        Wanted(sys.executable, "3.9", ["psutil", "thing @ https://buyer:s3cret@example.com/thing.whl"])
    assert "s3cret" not in str(caught.value)


def test_interpreter_answers_for_itself() -> None:
    assert venv.interpreter(run, WANTED)["version"] == HERE


def test_interpreter_that_does_not_run_is_named() -> None:
    with pytest.raises(Problem, match="'python-gone' does not run"):
        venv.interpreter(run, Wanted("python-gone", "3.9", []))


def test_interpreter_below_the_floor_is_refused() -> None:
    with pytest.raises(Problem, match=f"is Python {HERE}, below project_python_minimum 9.1"):
        venv.interpreter(run, Wanted(sys.executable, "9.1", []))


def test_versions_are_compared_as_numbers() -> None:
    answer = json.dumps({"version": "3.10.1"})
    assert venv.interpreter(lambda *_, **__: (0, "\n" + answer + "\n", ""), WANTED)["version"] == "3.10.1"


def test_probe_tells_what_is_not_installed_and_what_does_not_import() -> None:
    answer = venv.probe(run, sys.executable, ["psutil", "no-such-thing"])
    assert answer is not None
    assert answer["failed"] == {"no-such-thing": "is not installed"}


def made(root: Path, **record: Any) -> None:
    (root / "venv").mkdir(exist_ok=True)
    content = {"asked": ["psutil"], "python": HERE, "installed": {}, **record}
    (root / "venv" / venv.RECORD).write_text(json.dumps(content))


def outdated(root: Path, wanted: Wanted = WANTED) -> list[str]:
    with Directory.open(str(root)) as opened:
        return venv.outdated(opened, "venv", wanted, {"version": HERE})


def test_missing_environment_is_built(tmp_path: Path) -> None:
    assert outdated(tmp_path) == ["it is missing"]


def test_link_is_replaced_by_an_environment(tmp_path: Path) -> None:
    (tmp_path / "venv").symlink_to("/usr")
    assert outdated(tmp_path) == ["it is not a folder"]


def test_foreign_environment_is_replaced(polluted: Path) -> None:
    assert outdated(polluted) == ["it was not built by this project"]


def test_environment_as_asked_is_kept(tmp_path: Path) -> None:
    made(tmp_path)
    assert outdated(tmp_path) == []


def test_other_packages_are_a_reason(tmp_path: Path) -> None:
    made(tmp_path, asked=["psutil", "redis"])
    assert outdated(tmp_path) == ["other packages are asked for"]


def test_other_python_is_a_reason(tmp_path: Path) -> None:
    made(tmp_path, python="3.6.8")
    assert outdated(tmp_path) == [f"it is Python 3.6.8, {sys.executable} is {HERE}"]


def test_rebuild_is_a_reason(tmp_path: Path) -> None:
    made(tmp_path)
    assert outdated(tmp_path, Wanted(sys.executable, "3.9", ["psutil"], rebuild=True)) == [
        "project_rebuild is set"
    ]


class FakeTools:
    """Stands for uv: makes what an environment consists of; fails for the indexes that it is told."""

    def __init__(
        self, bad_indexes: Sequence[str] = (), failed: Mapping[str, str] | None = None, ahead: str = ""
    ) -> None:
        self.bad_indexes = bad_indexes
        self.ahead = ahead
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
        if argv[1] == "venv":
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
    folder: Path, tools: FakeTools, *urls: str, page: bytes = b"pip-26", bytecode: str = ""
) -> venv.Built:
    wanted = Wanted(sys.executable, "3.9", ["psutil"], list(urls) or [""])
    python = {"version": HERE, "base": sys.executable}
    with Directory.open(str(folder)) as opened:
        return venv.build(
            opened,
            "/final/venv",
            wanted,
            python,
            tools,
            lambda _: "/tools/uv",
            dict,
            lambda *_: page,
            bytecode,
        )


def test_scripts_name_the_place_where_they_will_stand(tmp_path: Path) -> None:
    build(tmp_path, FakeTools())
    script = tmp_path / "venv/bin/pip"
    assert script.read_text() == "#!/final/venv/bin/python\n"
    assert os.access(script, os.X_OK)


def test_build_leaves_its_record(tmp_path: Path) -> None:
    build(tmp_path, FakeTools())
    record = json.loads((tmp_path / "venv" / venv.RECORD).read_text())
    assert record == {"asked": ["psutil"], "python": HERE, "installed": {"psutil": "7"}}


def test_index_that_lacks_a_package_is_passed_over_and_named(tmp_path: Path) -> None:
    bad = "https://u:secret@bad.example/simple"
    built = build(tmp_path, FakeTools([bad]), bad, "https://good.example/simple")
    assert built.index == "https://good.example/simple"
    assert len(built.warnings) == 1
    assert "https://bad.example/simple" in built.warnings[0]
    assert "secret" not in built.warnings[0]


def test_mirror_is_used_alone(tmp_path: Path) -> None:
    environ = venv.index_environment("https://good.example/simple", dict)
    assert environ["UV_INDEX"] is None
    assert environ["PIP_EXTRA_INDEX_URL"] is None
    assert environ["PIP_CONFIG_FILE"] == os.devnull


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
    assert "still serves" in str(problem.value)


def test_bytecode_is_there_before_the_packages_are_proven(tmp_path: Path) -> None:
    tools = FakeTools()
    build(tmp_path, tools, bytecode="/wheels/bytecode")
    minor = ".".join(HERE.split(".")[:2])
    assert tools.commands[-2][-2:] == ["/wheels/bytecode", f"{tmp_path}/venv/lib/python{minor}/site-packages"]
    assert tools.commands[-1][-1] == venv.PROBE


def test_bytecode_that_cannot_be_unpacked_fails_the_build(tmp_path: Path) -> None:
    class Full(FakeTools):
        def __call__(self, argv: Sequence[str], **options: Any) -> tuple[int, str, str]:
            return (
                (1, "", "No space left on device") if "tarfile" in argv else super().__call__(argv, **options)
            )

    with pytest.raises(Problem, match="No space left on device"):
        build(tmp_path, Full(), bytecode="/wheels/bytecode")


def test_package_that_does_not_import_fails_the_build(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="psutil does not import"):
        build(tmp_path, FakeTools(failed={"psutil": "does not import: ImportError: x"}))
