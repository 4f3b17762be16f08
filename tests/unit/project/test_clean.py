"""The stage clean: it takes exact names, does what it planned, and changes nothing the second time."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.project.quarantine import Quarantine
from ansible.module_utils.reporting import Problem

from tests.unit.project.conftest import picture, take


def test_artifacts_leave_and_the_venv_stays(params: dict[str, Any], polluted: Path) -> None:
    take(params, "clean")
    assert sorted(path.name for path in polluted.iterdir()) == [".env", ".reset", "docs", "src", "venv"]


def test_plan_and_apply_say_the_same(params: dict[str, Any]) -> None:
    plan = take(params, "clean", check=True)
    done = take(params, "clean")
    assert (plan["moved"], plan["diff"]) == (done["moved"], done["diff"])


def test_plan_touches_nothing(params: dict[str, Any], polluted: Path) -> None:
    before = picture(polluted)
    assert take(params, "clean", check=True)["changed"]
    assert picture(polluted) == before
    assert not (polluted / ".reset").exists()


def test_nothing_moves_where_a_later_stage_cannot_succeed(params: dict[str, Any], polluted: Path) -> None:
    before = picture(polluted)
    with pytest.raises(Problem, match="below project_python_minimum 3.99"):
        take(params, "clean", "venv", python_minimum="3.99")
    assert picture(polluted) == before


def test_an_environment_to_be_built_is_said_with_what_its_wheels_must_fit(params: dict[str, Any]) -> None:
    assert take(params, "preflight")["platform"] == {"python": "3.11.2"}


def test_second_run_changes_nothing(params: dict[str, Any]) -> None:
    take(params, "clean")
    assert not take(params, "clean")["changed"]


def test_diff_shows_kind_files_and_bytes(params: dict[str, Any]) -> None:
    diff = take(params, "clean", check=True)["diff"][0]["before"]
    assert "lib  directory, 1 file, 2.9 KiB\n" in diff
    assert "include  link to nowhere\n" in diff


@pytest.fixture
def repository(polluted: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root as a git repository that tracks a team's scripts."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    (polluted / "bin/we ird\nname").touch()
    for command in (["init", "--quiet"], ["add", "bin", "src", "lib64"]):
        subprocess.run(["git", *command], cwd=polluted, check=True)
    return polluted


@pytest.mark.parametrize("stage", ["preflight", "clean"])
@pytest.mark.parametrize("check", [True, False])
def test_what_git_tracks_among_the_artifacts_is_said(
    params: dict[str, Any], repository: Path, stage: str, check: bool
) -> None:
    (note,) = take(params, stage, check=check)["notes"]
    assert "git tracks 3 of the files that leave the root (2 in bin, 1 in lib64)" in note
    assert "`git status` will be dirty" in note


def test_plan_shows_what_git_tracks(params: dict[str, Any], repository: Path) -> None:
    plan = take(params, "clean", check=True)
    assert ", 2 tracked by git\n" in plan["diff"][0]["before"]
    assert [item["tracked"] for item in plan["moved"]] == [2, 0, 1, 0, 0]


def test_root_without_a_repository_has_no_note(params: dict[str, Any]) -> None:
    assert take(params, "clean", check=True)["notes"] == []


def test_host_without_git_is_no_error(
    params: dict[str, Any], repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert take(params, "clean")["notes"] == []


def test_similar_names_stay(params: dict[str, Any], polluted: Path) -> None:
    (polluted / "library").mkdir()
    (polluted / "BIN").mkdir()
    take(params, "clean")
    assert (polluted / "library").is_dir()
    assert (polluted / "BIN").is_dir()


def test_restore_gives_the_tree_back(params: dict[str, Any], polluted: Path) -> None:
    before = picture(polluted)
    take(params, "clean")
    take(params, "restore")
    assert picture(polluted) == before


def test_restore_plan_touches_nothing(params: dict[str, Any], polluted: Path) -> None:
    take(params, "clean")
    before = picture(polluted)
    plan = take(params, "restore", check=True)
    assert [item["name"] for item in plan["back"]] == ["bin", "lib", "lib64", "include", "pyvenv.cfg"]
    assert picture(polluted) == before


def test_second_restore_changes_nothing(params: dict[str, Any]) -> None:
    take(params, "clean")
    take(params, "restore")
    assert not take(params, "restore")["changed"]


def test_restore_without_a_reset_changes_nothing(params: dict[str, Any], polluted: Path) -> None:
    assert not take(params, "restore")["changed"]
    assert not (polluted / ".reset").exists()


def test_restore_is_undone_by_its_own_run(params: dict[str, Any], polluted: Path) -> None:
    take(params, "clean")
    after = picture(polluted)
    undo = take(params, "restore")["undo"]
    take(params, "restore", run=undo)
    assert picture(polluted) == after


def test_closing_deletes_at_once_if_nothing_is_kept(params: dict[str, Any], polluted: Path) -> None:
    take(params, "clean")
    assert take(params, "close", keep=0)["changed"]
    assert list((polluted / ".reset/runs").iterdir()) == []


def test_restore_that_was_cut_off_at_its_end_goes_no_further_back(
    params: dict[str, Any], polluted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(params, "clean", "close")
    (polluted / "bin").mkdir()
    before = picture(polluted)
    take(params, "clean", "close")
    with monkeypatch.context() as cut:
        cut.setattr(Quarantine, "close", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            take(params, "restore")
    assert not take(params, "restore")["changed"]
    assert picture(polluted) == before
    assert take(params, "restore")["changed"]
