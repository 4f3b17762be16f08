"""Several stages in one call, the stage clean, and the proofs of all stages."""

from __future__ import annotations

import errno
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.project import managed, stages, venv
from ansible.module_utils.project.managed import plan
from ansible.module_utils.project.quarantine import Manifest
from ansible.module_utils.project.root import Directory
from ansible.module_utils.project.stages import Stage
from ansible.module_utils.reporting import Problem

from tests.unit.project.conftest import picture, take


@pytest.fixture
def asked(params: dict[str, Any], connection: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a call for clean, dotenv and close."""
    return {**params, "connection": connection, "api_keys": {}, "flags": {"DEBUG": False}, "extra": {}}


WHOLE = ("clean", "dotenv", "close")


def test_stages_of_one_call_are_one_run_with_one_undo(asked: dict[str, Any], polluted: Path) -> None:
    done = take(asked, *WHOLE)
    assert [path.name for path in polluted.glob(".reset/runs/*")] == [done["run"]]
    assert done["kept"]["files"] == 4  # of bin, lib, pyvenv.cfg, .env


def test_a_second_call_changes_nothing_and_proves_nothing(asked: dict[str, Any]) -> None:
    take(asked, *WHOLE)
    again = take(asked, *WHOLE)
    assert not again["changed"]
    assert again["proofs"] == []
    assert (again["run"], again["kept"]) == (None, {"files": 0, "bytes": 0, "text": "0 files, 0 B"})


def test_the_plan_tells_every_difference_and_touches_nothing(asked: dict[str, Any], polluted: Path) -> None:
    plan = take(asked, *WHOLE, check=True)
    assert [diff["before_header"] for diff in plan["diff"]] == [
        str(polluted),
        f"{polluted}/.env (managed keys)",
    ]
    assert not (polluted / ".reset").exists()


def test_what_was_promised_is_what_is_proven(asked: dict[str, Any]) -> None:
    names = {check["name"] for check in take(asked, *WHOLE)["proofs"]}
    assert {"artifact lib64", ".env keys"} <= names
    assert not any(name.startswith("venv") for name in names)


def test_calls_before_the_closing_one_are_one_run(asked: dict[str, Any]) -> None:
    runs = {take(asked, name)["run"] for name in ("clean", "dotenv")}
    assert {take(asked, "close")["run"]} == runs
    assert len(runs) == 1


def planned_on_a_full_disk(*args: Any) -> Stage:
    def full(*_: object) -> Manifest:
        raise OSError(errno.ENOSPC, "No space left on device", ".env")

    return replace(plan(*args), apply=full)


def test_what_was_moved_is_told_though_a_later_stage_fails(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed, "plan", planned_on_a_full_disk)
    with pytest.raises(Problem, match="disk is full") as caught:
        take(asked, *WHOLE)
    told = caught.value.details
    assert told["stage"] == "dotenv"
    assert told["changed"]
    assert [item["name"] for item in told["moved"]] == ["bin", "lib", "lib64", "include", "pyvenv.cfg"]
    assert told["kept"]["files"] == 3
    assert "not finished" in told["report"]
    assert "   bin: moved away: directory, 1 file, 20 B\n" in told["report"]
    assert f"restore_run={told['run']}" in told["report"]


def test_nothing_is_changed_if_a_later_stage_cannot_be_planned(asked: dict[str, Any], polluted: Path) -> None:
    (polluted / ".env").unlink()
    (polluted / ".env").symlink_to("src/app.py")
    before = picture(polluted)
    with pytest.raises(Problem, match="is a link") as caught:
        take(asked, *WHOLE)
    assert caught.value.details["stage"] == "dotenv"
    assert picture(polluted) == before
    assert not (polluted / ".reset").exists()


def test_reset_that_failed_is_finished_by_the_next_one_as_one_run(
    asked: dict[str, Any], polluted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = picture(polluted)
    with monkeypatch.context() as hurt:
        hurt.setattr(managed, "plan", planned_on_a_full_disk)
        with pytest.raises(Problem) as caught:
            take(asked, *WHOLE)
    assert take(asked, *WHOLE)["run"] == caught.value.details["run"]
    take(asked, "restore")
    assert picture(polluted) == before


def test_wheels_that_are_asked_for_and_not_here_stop_the_call_before_its_first_change(
    params: dict[str, Any], polluted: Path
) -> None:
    with pytest.raises(Problem, match="project_wheels") as caught:
        take(params, "clean", "venv", "close", wheels="always")
    assert caught.value.details["platform"] == {"python": "3.11.2"}
    assert (polluted / "bin").exists()


def test_restore_is_taken_alone(asked: dict[str, Any]) -> None:
    with pytest.raises(Problem, match="alone"):
        take(asked, "clean", "restore")


def test_an_option_that_is_missing_stops_the_call_before_its_first_stage(
    asked: dict[str, Any], polluted: Path
) -> None:
    with pytest.raises(Problem, match="dotenv needs the option connection"):
        take(asked, *WHOLE, connection=None)
    assert not (polluted / ".reset").exists()


# --- clean


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


def test_closing_deletes_at_once_if_nothing_is_kept(params: dict[str, Any], polluted: Path) -> None:
    take(params, "clean")
    assert take(params, "close", keep=0)["changed"]
    assert list((polluted / ".reset/runs").iterdir()) == []


# --- proofs


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A root as a reset leaves it."""
    root = tmp_path / "project"
    (root / "venv/bin").mkdir(parents=True)
    for script in ("activate", "pip", "python"):
        (root / "venv/bin" / script).touch()
    (root / "venv/.reset.json").write_text(json.dumps({"asked": ["redis"]}))
    (root / ".env").write_text("A=1\nB=2\n")
    (root / ".env").chmod(0o600)
    return root


def failures(root: Path) -> list[str]:
    with Directory.open(str(root)) as folder:
        looked = [
            *stages.gone(folder, ["lib64", "venv"]),
            *venv.programs(folder),
            venv.packages(folder, ["redis"]),
            *managed.proofs(folder, ["A", "B"]),
        ]
        return [proof.name for proof in looked if not proof.ok]


def test_every_promise_is_kept(finished: Path) -> None:
    assert failures(finished) == []


def test_artifact_that_stayed_is_found_even_as_a_dangling_link(finished: Path) -> None:
    (finished / "lib64").symlink_to("gone")
    assert failures(finished) == ["artifact lib64"]


@pytest.mark.parametrize("script", ["activate", "pip", "python"])
def test_missing_program_is_found(finished: Path, script: str) -> None:
    (finished / "venv/bin" / script).unlink()
    assert failures(finished) == [f"venv/bin/{script}"]


def test_dangling_python_is_found(finished: Path) -> None:
    (finished / "venv/bin/python").unlink()
    (finished / "venv/bin/python").symlink_to("/gone/python")
    assert failures(finished) == ["venv/bin/python"]


@pytest.mark.parametrize("record", ['{"asked": []}', "[]", "{", "null"])
def test_environment_for_other_packages_is_found(finished: Path, record: str) -> None:
    (finished / "venv/.reset.json").write_text(record)
    assert failures(finished) == ["venv built and proven for"]


def test_open_mode_is_found(finished: Path) -> None:
    (finished / ".env").chmod(0o644)
    assert failures(finished) == [".env mode"]


@pytest.mark.parametrize("text", ["A=1\n", "A=1\nB=2\nA=3\n"])
def test_missing_or_repeated_key_is_found(finished: Path, text: str) -> None:
    (finished / ".env").write_text(text)
    assert failures(finished) == [".env keys"]


def test_broken_promise_fails_with_its_name(finished: Path) -> None:
    (finished / "lib").mkdir()
    with (
        Directory.open(str(finished)) as folder,
        pytest.raises(Problem, match="artifact lib: expected gone, found directory, 0 files"),
    ):
        stages.proven(folder.path, stages.gone(folder, ["lib"]))
