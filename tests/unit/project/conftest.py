"""A small polluted root, and parameters for stages that work on it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.project import stages, venv


@pytest.fixture
def polluted(tmp_path: Path) -> Path:
    """A root with something of each kind: files, folders, a link, a dangling link, odd modes."""
    root = tmp_path / "project"
    for folder in ("src", "docs", "bin", "lib/deep", "venv/bin"):
        (root / folder).mkdir(parents=True)
    (root / "src/app.py").write_text("print('kept')\n")
    (root / "bin/deploy.sh").write_text("#!/bin/sh\necho ours\n")
    (root / "bin/deploy.sh").chmod(0o750)
    (root / "lib/deep/data").write_bytes(b"x" * 3000)
    (root / "lib64").symlink_to("lib")
    (root / "include").symlink_to("nowhere")
    (root / "pyvenv.cfg").write_text("version = 3.6.8\n")
    (root / "venv/bin/python").symlink_to("/gone/python3.6")
    (root / ".env").write_text("OLD=1\n")
    return root


ARTIFACTS = ["bin", "lib", "lib64", "include", "pyvenv.cfg", "venv"]


@pytest.fixture
def params(polluted: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Parameters for every stage; no process is started to probe the interpreter."""
    answer = {"version": "3.11.2", "base": sys.executable, "platform": {"python": "3.11.2"}}
    monkeypatch.setattr(venv, "probe", lambda run, python, packages: answer)
    return {
        "root": str(polluted), "protected": ["src", "docs"], "artifacts": ARTIFACTS, "allow_in_use": False,
        "python": "python3", "python_minimum": "3.9", "packages": ["pandas"], "index_urls": None, "rebuild": False,
        "space_mb": 1, "keep": 5, "keep_days": 90, "run": "",
    }  # fmt: skip


def take(params: dict[str, Any], *names: str, check: bool = False, **others: Any) -> dict[str, Any]:
    """Run stages as one call of the module."""
    return stages.take({**params, "stages": list(names), **others}, check, print)


@pytest.fixture
def connection() -> dict[str, Any]:
    """The option connection of the stage dotenv, with a password that needs quoting."""
    return {"host": "localhost", "port": 5432, "user": "postgres", "password": "it's", "database": "nexus"}


def picture(root: Path) -> dict[str, tuple[str, int, bytes]]:
    """Return kind, mode, and content or target of every path outside the private folder."""
    seen = {}
    for folder, folders, files in os.walk(root):
        if folder == str(root) and ".reset" in folders:
            folders.remove(".reset")
        for name in folders + files:
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if path.is_symlink():
                content = os.fsencode(os.readlink(path))
            else:
                content = path.read_bytes() if path.is_file() else b""
            seen[str(path.relative_to(root))] = ("link" if path.is_symlink() else "", mode, content)
    return seen
