"""Everything that can be known before a reset begins."""

from __future__ import annotations

from typing import Any, Callable

from ansible.module_utils.project import guards, venv
from ansible.module_utils.project.guards import VENV
from ansible.module_utils.project.owner import Owner
from ansible.module_utils.project.session import Session, opened


def judge(session: Session, params: dict[str, Any], warn: Callable[[str], None]) -> dict[str, Any]:
    """Pass every guard of a whole reset or raise Problem.

    Returns:
        ``python``, its version, and where the environment will be built ``wanting``, what wheels have to fit.
    """
    session.check_lock()
    root, facts = session.root, session.facts
    wanted = venv.Wanted(
        params["python"], params["python_minimum"], params["packages"], rebuild=params["rebuild"]
    )
    python = venv.interpreter(Owner(root).run, wanted)
    building = bool(venv.outdated(root, VENV, wanted, python))
    moving = [name for name in params["artifacts"] if name != VENV and root.stat(name)]
    if building and root.stat(VENV):
        moving.append(VENV)
    guards.check_file_systems(root, moving, facts.mounts)
    for use in guards.check_in_use(root, moving, facts, params["allow_in_use"]):
        warn(use)
    if building:
        guards.check_space(root, params["space_mb"] << 20, facts.free_bytes)
    return {"python": python["version"], "wanting": venv.target(python) if building else None}


def work(params: dict[str, Any], warn: Callable[[str], None]) -> dict[str, Any]:
    """Judge, and change nothing; see the module's documentation for ``params``."""
    with opened(params) as session:
        return {"changed": False, **judge(session, params, warn)}
