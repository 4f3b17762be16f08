"""When an environment must be rebuilt, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.project import venv
from ansible.module_utils.project.root import Directory
from ansible.module_utils.reporting import Problem

from tests.unit.project.conftest import take

HERE = "{}.{}.{}".format(*sys.version_info[:3])


def run(
    argv: Sequence[str], *, env: Mapping[str, str | None] | None = None, text: str = "", seconds: float = 60.0
) -> tuple[int, str, str]:
    """Run a real program as this user."""
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


def test_credentials_among_the_packages_are_refused_and_not_shown(params: dict[str, Any]) -> None:
    url = "https://buyer:s3cret@example.com/thing.whl"
    with pytest.raises(Problem, match="credentials for thing") as caught:
        take(params, "venv", packages=["psutil", f"thing @ {url}"], python="gone")
    assert "s3cret" not in str(caught.value)


def test_interpreter_answers_for_itself() -> None:
    assert venv.interpreter(run, sys.executable, "3.9")["version"] == HERE


def test_interpreter_that_does_not_run_is_named() -> None:
    with pytest.raises(Problem, match="'python-gone' does not run"):
        venv.interpreter(run, "python-gone", "3.9")


def test_interpreter_below_the_floor_is_refused() -> None:
    with pytest.raises(Problem, match=f"is Python {HERE}, below project_python_minimum 9.1"):
        venv.interpreter(run, sys.executable, "9.1")


def test_versions_are_compared_as_numbers() -> None:
    answer = json.dumps({"version": "3.10.1"})
    assert (
        venv.interpreter(lambda *_, **__: (0, "\n" + answer + "\n", ""), "python3", "3.9")["version"]
        == "3.10.1"
    )


def test_probe_tells_what_is_not_installed_and_what_does_not_import() -> None:
    answer = venv.probe(run, sys.executable, ["psutil", "no-such-thing"])
    assert answer is not None
    assert answer["failed"] == {"no-such-thing": "is not installed"}


def made(root: Path, **record: Any) -> None:
    (root / "venv").mkdir(exist_ok=True)
    content = {"asked": ["psutil"], "python": HERE, "installed": {}, **record}
    (root / "venv" / venv.RECORD).write_text(json.dumps(content))


def outdated(root: Path, rebuild: bool = False) -> list[str]:
    with Directory.open(str(root)) as opened:
        return venv.outdated(opened, ["psutil"], sys.executable, HERE, rebuild)


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
    assert outdated(tmp_path, rebuild=True) == ["project_rebuild is set"]
