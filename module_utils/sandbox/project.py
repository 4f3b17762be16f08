"""Write the legacy project with its mess, once: what a reset has cleaned stays clean.

A marker in the sandbox's folder, outside the project, records what was done.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from ansible.module_utils.reporting import Problem
from ansible.module_utils.sandbox.legacy import MESS, SOURCES, File, Link
from ansible.module_utils.sandbox.postgres import quiet

MARKER = ".sandbox"
BEGUN, DONE = "begun\n", "laid out\n"


def require_inside(folder: Path, root: Path) -> None:
    """Raise ``Problem`` unless ``root`` is below ``folder`` after links and ``..`` are resolved."""
    if not (folder.is_absolute() and root.is_absolute() and folder.resolve() in root.resolve().parents):
        raise Problem(
            f"project_root ({root}) is not below sandbox_dir ({folder}), and the sandbox touches nothing else. Set them"
            " in group_vars/sandbox/main.yml. Real hosts belong in their own inventory."
        )


def plan(state: str, marker: str | None, root_exists: bool, pollute_again: bool) -> str:
    """Return the step to ``state``: ``nothing``, ``project`` (with its mess), ``mess`` or ``remove``.

    ``marker`` is the content of the marker file; None if there is no sandbox.
    """
    if state == "absent":
        return "nothing" if marker is None else "remove"
    if marker != DONE or not root_exists:
        return "project"
    return "mess" if pollute_again else "nothing"


def ensure(folder: Path, root: Path, state: str, *, pollute_again: bool, check: bool) -> str:
    """Bring the project into ``state`` unless ``check`` is set; return the step, see ``plan``.

    ``absent`` removes the sandbox's folder with everything in it. Raises Problem if the root is not below the folder,
    or if the folder holds other data.
    """
    require_inside(folder, root)
    marker_file = folder / MARKER
    marker = marker_file.read_text(encoding="utf-8") if marker_file.exists() else None
    if marker is None and folder.exists() and any(folder.iterdir()):
        raise Problem(
            f"{folder} is not empty, and the sandbox did not create it. Set sandbox_dir to another folder"
            " (group_vars/sandbox/main.yml), or remove this one yourself."
        )
    step = plan(state, marker, root.exists(), pollute_again)
    if check or step == "nothing":
        return step
    if step == "remove":
        for path in folder.iterdir():  # the marker goes last, so that a killed run can be repeated
            if path != marker_file:
                _remove(path)
        shutil.rmtree(folder)
        return step
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    marker_file.write_text(BEGUN, encoding="utf-8")  # if this run is killed, the next one starts again
    if step == "project":
        _remove(root)
        _lay_out(root, SOURCES)
        _commit(root)
    for name in {Path(path).parts[0] for path in MESS}:
        _remove(root / name)
    _lay_out(root, MESS)
    marker_file.write_text(DONE, encoding="utf-8")
    return step


def _lay_out(root: Path, entries: Mapping[str, File | Link]) -> None:
    for name, entry in entries.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(entry, Link):
            path.symlink_to(entry.target)
        else:
            path.write_text(entry.text, encoding="utf-8")
            path.chmod(entry.mode)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _commit(root: Path) -> None:
    """Create the repository with one commit, independently of this user's git settings."""
    environment = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_DATE": "2024-01-02T00:00:00Z",
        "GIT_COMMITTER_DATE": "2024-01-02T00:00:00Z",
    }
    settings = ("user.name=Sandbox", "user.email=sandbox@example.invalid", "init.defaultBranch=main")
    options = [part for setting in settings for part in ("-c", setting)]
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "MT5-CRS"]):
        done = quiet(["git", *options, *arguments], str(root), 60, **environment)
        if done.returncode == 127:
            raise Problem("git is missing. Install it (Debian, Ubuntu: apt-get install git).")
        if done.returncode:
            raise Problem(f"git {arguments[0]} failed in {root}. Fix this: {done.stdout.strip()}")
