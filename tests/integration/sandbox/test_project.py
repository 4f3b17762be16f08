"""The polluted project, on a real file system with the machine's git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible.module_utils.reporting import Problem
from ansible.module_utils.sandbox import project
from ansible.module_utils.sandbox.project import MESS, SOURCES


def ensure(folder: Path, state: str = "present", pollute_again: bool = False, check: bool = False) -> str:
    step: str = project.ensure(folder, folder / "project", state, pollute_again=pollute_again, check=check)
    return step


def git(root: Path, *arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_it_is_laid_out_as_planned_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "nobody-has-this"))
    monkeypatch.setenv("GIT_DIR", "/nonexistent")  # as inside a git hook
    folder, root = tmp_path / "sandbox", tmp_path / "sandbox" / "project"
    assert ensure(folder, check=True) == "project"
    assert not folder.exists()

    assert ensure(folder) == "project"
    monkeypatch.delenv("GIT_DIR")
    assert git(root, "ls-files") == sorted(SOURCES)
    untracked = {line.removeprefix("?? ") for line in git(root, "status", "--short")}
    assert untracked == {"bin/", "include/", "lib/", "lib64", "pyvenv.cfg"}
    assert os.readlink(root / "lib64") == "lib"
    assert not (root / "venv/bin/python").exists()
    assert os.access(root / "bin/sync_nodes.sh", os.X_OK)
    assert ensure(folder) == "nothing"


def test_what_a_reset_cleaned_stays_clean_until_it_is_polluted_again(tmp_path: Path) -> None:
    folder, root = tmp_path / "sandbox", tmp_path / "sandbox" / "project"
    ensure(folder)
    (root / "lib64").unlink()
    (root / "venv").rename(root / "elsewhere")
    (root / "venv").symlink_to("elsewhere")
    (root / "src" / "new.py").touch()
    assert ensure(folder) == "nothing"
    assert not (root / "lib64").is_symlink()

    assert ensure(folder, pollute_again=True) == "mess"
    assert (root / "lib64").is_symlink()
    assert (root / "venv").is_dir()
    assert not (root / "venv").is_symlink()
    assert (root / "elsewhere" / "pyvenv.cfg").exists()  # the link was replaced, not followed
    assert (root / "src" / "new.py").exists()
    assert all(os.path.lexists(root / name) for name in MESS)


def test_a_killed_run_is_begun_anew(tmp_path: Path) -> None:
    folder = tmp_path / "sandbox"
    ensure(folder)
    (folder / project.MARKER).write_text(project.BEGUN, encoding="utf-8")
    (folder / "project" / "src" / "settings.py").unlink()
    assert ensure(folder) == "project"
    assert git(folder / "project", "status", "--short", "src") == []


def test_absent_removes_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "sandbox"
    assert ensure(folder, "absent") == "nothing"
    ensure(folder)
    assert ensure(folder, "absent", check=True) == "remove"
    assert folder.exists()
    assert ensure(folder, "absent") == "remove"
    assert not folder.exists()


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, state: str) -> None:
    mine = tmp_path / "thesis.txt"
    mine.touch()
    with pytest.raises(Problem, match="sandbox_dir"):
        ensure(tmp_path, state)
    assert list(tmp_path.iterdir()) == [mine]
