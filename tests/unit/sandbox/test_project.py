"""The steps for the project, the folders allowed, and the content of the mess."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from ansible.module_utils.reporting import Problem
from ansible.module_utils.sandbox.project import BEGUN, DONE, MESS, SOURCES, File, Link, plan, require_inside


@pytest.mark.parametrize(
    ("state", "marker", "root_exists", "pollute_again", "step"),
    [
        ("present", None, False, False, "project"),
        ("present", BEGUN, True, False, "project"),  # killed half-way
        ("present", DONE, True, False, "nothing"),  # reset or not: left alone
        ("present", DONE, False, False, "project"),
        ("present", DONE, True, True, "mess"),
        ("present", DONE, False, True, "project"),
        ("absent", None, False, False, "nothing"),
        ("absent", BEGUN, True, False, "remove"),
        ("absent", DONE, False, False, "remove"),
    ],
)
def test_plan(state: str, marker: str | None, root_exists: bool, pollute_again: bool, step: str) -> None:
    assert plan(state, marker, root_exists, pollute_again) == step


@pytest.mark.parametrize("root", ["other", "sandbox", "sandbox/../other", "sandbox/link", "sandboxed/x"])
def test_a_root_outside_is_refused(tmp_path: Path, root: str) -> None:
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "sandbox/link").symlink_to(tmp_path)
    with pytest.raises(Problem, match="project_root"):
        require_inside(tmp_path / "sandbox", tmp_path / root)


def test_a_relative_root_is_refused() -> None:
    with pytest.raises(Problem, match="project_root"):
        require_inside(Path("sandbox"), Path("sandbox/project"))


def test_a_root_inside_is_taken_even_before_it_exists(tmp_path: Path) -> None:
    require_inside(tmp_path / "sandbox", tmp_path / "sandbox" / "deeper" / "project")


def test_the_mess_holds_every_artifact_and_a_dotenv() -> None:
    names = {PurePosixPath(path).parts[0] for path in MESS}
    assert names == {"bin", "lib", "lib64", "include", "pyvenv.cfg", "venv", ".env"}
    assert MESS["lib64"] == Link("lib")
    assert MESS["venv/bin/python"] == Link("/usr/bin/python3.6-removed")


def test_the_mess_and_the_sources_do_not_overlap() -> None:
    names = {PurePosixPath(path).parts[0] for path in SOURCES}
    assert {"src", "scripts", "docs"} <= names
    assert not names & {PurePosixPath(path).parts[0] for path in MESS}


def test_the_sources_are_python_that_compiles() -> None:
    for name, entry in SOURCES.items():
        if name.endswith(".py"):
            compile(entry.text, name, "exec")


def test_the_dotenv_mixes_foreign_and_outdated_keys() -> None:
    entry = MESS[".env"]
    assert isinstance(entry, File)
    for part in ("AI_PROVIDER_API_KEY=", "REDIS_HOST=", "GATEWAY_URL=", "export FOO=bar", "\n\n", "\n# "):
        assert part in entry.text
    assert "DB_URL=postgresql://trader:outdated@" in entry.text
