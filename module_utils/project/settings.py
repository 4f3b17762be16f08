"""Bring ``.env`` in a root to what is asked; what is decided is in ``dotenv``."""

from __future__ import annotations

import errno
import os
import stat
from typing import Any

from ansible.module_utils.project import managed
from ansible.module_utils.project.guards import DOTENV
from ansible.module_utils.project.managed import Plan, Section
from ansible.module_utils.project.quarantine import BUILD, Quarantine, Run, totals
from ansible.module_utils.project.root import Directory
from ansible.module_utils.project.session import opened
from ansible.module_utils.reporting import Problem

MODE = 0o600


def work(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Plan, and unless in check mode apply; see the module's documentation for ``params``."""
    sections = wanted(params)
    run = None
    with opened(params) as session:
        old = _read(session.root)
        plan = managed.plan(old, sections)
        settled = old is None or _settled(session.root)
        changed = old != plan.content or not settled
        if changed and not check_mode:
            with session.changing() as quarantine:
                run = _replace(quarantine, plan.content, session.holder)
        unfinished = session.unfinished()
    return {
        "changed": changed,
        "unfinished": unfinished,
        "keys": {name: list(getattr(plan, name)) for name in ("added", "changed", "unchanged")},
        "notes": list(plan.notes),
        "run": run.name if run else None,
        "kept": totals([run] if run else []),
        "diff": _diff(f"{params['root']}/{DOTENV}", plan, settled=settled, missing=old is None),
    }


def wanted(params: dict[str, Any]) -> list[Section]:
    """What ``.env`` has to hold, by a module's parameters."""
    sections: list[Section] = managed.sections(
        params["connection"], params["api_keys"] or {}, params["flags"], params["extra"] or {}
    )
    return sections


def _read(root: Directory) -> bytes | None:
    found = root.stat(DOTENV)
    if found is not None and not stat.S_ISREG(found.st_mode):
        kind = "a link" if stat.S_ISLNK(found.st_mode) else "no file"
        raise Problem(
            f"{root.path}/{DOTENV} is {kind}. A reset writes a file of its own there and follows no link;"
            " put a copy of what it stands for in its place, or move it away."
        )
    content: bytes | None = root.read(DOTENV)
    return content


def _settled(root: Directory) -> bool:
    found = root.stat(DOTENV)
    if found is None or stat.S_IMODE(found.st_mode) != MODE:
        return False
    owner = os.fstat(root.fd)
    return os.geteuid() != 0 or (found.st_uid, found.st_gid) == (owner.st_uid, owner.st_gid)


def _replace(quarantine: Quarantine, content: bytes, holder: dict[str, Any]) -> Run:
    run = quarantine.begin("reset", holder)
    with quarantine.state.enter(BUILD) as build:
        try:
            build.write_new(DOTENV, content, MODE)
            if build.read(DOTENV) != content:
                raise OSError(errno.EIO, "what was written reads back differently", DOTENV)
            run = quarantine.displace(run, [DOTENV], put=build)
        finally:
            build.remove(DOTENV)  # there only where it did not get into its place
    return run


def _diff(name: str, plan: Plan, *, settled: bool, missing: bool) -> dict[str, str]:
    same = [f"{key}=***" for key in plan.unchanged]
    before = [] if settled or missing else ["(mode or owner other than wanted)"]
    before += same + [f"{key}=*** (old)" for key in plan.changed]
    after = same + [f"{key}=*** (new)" for key in plan.changed + plan.added]
    return {
        "before_header": f"{name} (managed keys)",
        "after_header": f"{name} (managed keys)",
        "before": "".join(line + "\n" for line in before),
        "after": "".join(line + "\n" for line in after),
    }
