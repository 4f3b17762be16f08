"""The cleaning: exact names, the plan is what is done, a second run does nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.project import clean, restore, verify
from ansible.module_utils.project.quarantine import Quarantine
from ansible.module_utils.reporting import Problem

from tests.unit.project.conftest import picture


def test_artifacts_leave_and_the_venv_stays(params: dict[str, Any], polluted: Path) -> None:
    clean.work(params, check_mode=False, warn=print)
    assert sorted(path.name for path in polluted.iterdir()) == [".env", ".reset", "docs", "src", "venv"]


def test_plan_and_apply_say_the_same(params: dict[str, Any]) -> None:
    plan = clean.work(params, check_mode=True, warn=print)
    done = clean.work(params, check_mode=False, warn=print)
    assert (plan["moved"], plan["diff"]) == (done["moved"], done["diff"])


def test_plan_touches_nothing(params: dict[str, Any], polluted: Path) -> None:
    before = picture(polluted)
    assert clean.work(params, check_mode=True, warn=print)["changed"]
    assert picture(polluted) == before
    assert not (polluted / ".reset").exists()


def test_nothing_moves_where_a_later_stage_cannot_succeed(params: dict[str, Any], polluted: Path) -> None:
    before = picture(polluted)
    with pytest.raises(Problem, match="below project_python_minimum 3.99"):
        clean.work({**params, "python_minimum": "3.99"}, check_mode=False, warn=print)
    assert picture(polluted) == before


def test_an_environment_to_be_built_is_said_with_what_its_wheels_must_fit(params: dict[str, Any]) -> None:
    assert clean.work(params, check_mode=True, warn=print)["wanting"] == {"python": "3.11.2"}


def test_the_run_is_open_until_it_is_closed(params: dict[str, Any]) -> None:
    assert not clean.work(params, check_mode=True, warn=print)["unfinished"]
    assert clean.work(params, check_mode=False, warn=print)["unfinished"]
    verify.work({**params, "artifacts": [], "packages": None, "keys": [], "keep": 5, "keep_days": 90}, False)
    assert not clean.work(params, check_mode=False, warn=print)["unfinished"]


def test_second_run_changes_nothing(params: dict[str, Any]) -> None:
    clean.work(params, check_mode=False, warn=print)
    assert not clean.work(params, check_mode=False, warn=print)["changed"]


def test_diff_shows_kind_files_and_bytes(params: dict[str, Any]) -> None:
    diff = clean.work(params, check_mode=True, warn=print)["diff"]["before"]
    assert "lib  directory, 1 file, 2.9 KiB\n" in diff
    assert "include  link to nowhere\n" in diff


def test_similar_names_stay(params: dict[str, Any], polluted: Path) -> None:
    (polluted / "library").mkdir()
    (polluted / "BIN").mkdir()
    clean.work(params, check_mode=False, warn=print)
    assert (polluted / "library").is_dir()
    assert (polluted / "BIN").is_dir()


def test_restore_gives_the_tree_back(params: dict[str, Any], polluted: Path) -> None:
    before = picture(polluted)
    clean.work(params, check_mode=False, warn=print)
    restore.work({**params, "run": ""}, check_mode=False)
    assert picture(polluted) == before


def test_restore_plan_touches_nothing(params: dict[str, Any], polluted: Path) -> None:
    clean.work(params, check_mode=False, warn=print)
    before = picture(polluted)
    plan = restore.work({**params, "run": ""}, check_mode=True)
    assert [item["name"] for item in plan["back"]] == ["bin", "lib", "lib64", "include", "pyvenv.cfg"]
    assert picture(polluted) == before


def test_second_restore_changes_nothing(params: dict[str, Any]) -> None:
    clean.work(params, check_mode=False, warn=print)
    restore.work({**params, "run": ""}, check_mode=False)
    assert not restore.work({**params, "run": ""}, check_mode=False)["changed"]


def test_restore_without_a_reset_changes_nothing(params: dict[str, Any], polluted: Path) -> None:
    assert not restore.work({**params, "run": ""}, check_mode=False)["changed"]
    assert not (polluted / ".reset").exists()


def test_restore_is_undone_by_its_own_run(params: dict[str, Any], polluted: Path) -> None:
    clean.work(params, check_mode=False, warn=print)
    after = picture(polluted)
    undo = restore.work({**params, "run": ""}, check_mode=False)["undo"]
    restore.work({**params, "run": undo}, check_mode=False)
    assert picture(polluted) == after


def close(params: dict[str, Any], **options: Any) -> dict[str, Any]:
    rest = {"packages": None, "keys": [], "keep": 5, "keep_days": 90, **options}
    return verify.work({**params, **rest}, check_mode=False)


def test_closing_the_run_frees_the_root(params: dict[str, Any]) -> None:
    clean.work(params, check_mode=False, warn=print)
    result = close(params)
    assert len(result["closed"]) == 1
    rival = {**params["holder"], "controller": "laptop/2"}
    clean.work({**params, "holder": rival}, check_mode=False, warn=print)


def test_closing_deletes_at_once_where_nothing_is_kept(params: dict[str, Any], polluted: Path) -> None:
    clean.work(params, check_mode=False, warn=print)
    assert close(params, keep=0)["changed"]
    assert list((polluted / ".reset/runs").iterdir()) == []


def test_unfinished_run_of_another_controller_keeps_out(params: dict[str, Any], polluted: Path) -> None:
    clean.work(params, check_mode=False, warn=print)
    (polluted / "bin").mkdir()
    rival = {**params["holder"], "controller": "laptop/2"}
    with pytest.raises(Problem, match="Another reset of"):
        clean.work({**params, "holder": rival}, check_mode=False, warn=print)
    assert (polluted / "bin").is_dir()


def test_restore_that_was_cut_off_at_its_end_goes_no_further_back(
    params: dict[str, Any], polluted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean.work(params, check_mode=False, warn=print)
    close(params)
    (polluted / "bin").mkdir()
    before = picture(polluted)
    clean.work(params, check_mode=False, warn=print)
    close(params)
    with monkeypatch.context() as cut:
        cut.setattr(Quarantine, "close", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            restore.work({**params, "run": ""}, check_mode=False)
    assert not restore.work({**params, "run": ""}, check_mode=False)["changed"]
    assert picture(polluted) == before
    assert restore.work({**params, "run": ""}, check_mode=False)["changed"]
