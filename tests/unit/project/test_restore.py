"""The stage restore: it brings back what a run moved, and can be undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.project.quarantine import Quarantine

from tests.unit.project.conftest import picture, take


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
