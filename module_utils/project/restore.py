"""Bring back what a run moved."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.project import guards, lock
from ansible.module_utils.project.clean import described, listed
from ansible.module_utils.project.quarantine import KEPT, RUNS, Entry, Quarantine, Run, choose
from ansible.module_utils.project.session import opened


def work(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Plan, and unless in check mode apply; see the module's documentation for ``params``."""
    with opened(params) as session:
        run, entries = None, []
        with session.looking() as quarantine:
            if quarantine is not None:
                run, entries = _plan(quarantine, params["run"])
        session.check_lock()
        names = [entry.name for entry in entries]
        leaving = [name for name in names if session.root.stat(name)]
        guards.check_file_systems(session.root, leaving, session.facts.mounts)
        guards.check_in_use(session.root, leaving, session.facts, params["allow_in_use"])
        undo = None
        if entries and not check_mode:
            with session.changing() as quarantine:
                undo = _apply(quarantine, session.holder, params["run"])
    return {
        "changed": bool(entries),
        "restored": run.name if run else None,
        "back": [{"name": entry.name, **listed(entry.before)} for entry in entries if entry.before],
        "removed": [entry.name for entry in entries if not entry.before],
        "undo": undo,
        "diff": {
            "before": "".join(f"{name}\n" for name in leaving),
            "after": "".join(f"{entry.name}  {described(entry.before)}\n" for entry in entries if entry.before),
            "before_header": f"{params['root']} now",
            "after_header": f"as before {run.name}" if run else "nothing to restore",
        },
    }


def _plan(quarantine: Quarantine, name: str) -> tuple[Run | None, list[Entry]]:
    run = choose(quarantine.runs(), name, quarantine.kept)
    return run, quarantine.kept(run) if run else []


def _apply(quarantine: Quarantine, holder: dict[str, Any], name: str) -> str | None:
    # A restore that was killed is settled first; what it had not brought back is then still to do.
    mine = quarantine.begin("restore", holder)
    run, entries = _plan(quarantine, name)
    if run is not None and entries:
        with quarantine.state.enter(RUNS) as runs, runs.enter(run.name) as folder, folder.enter(KEPT) as kept:
            mine = quarantine.displace(mine, [entry.name for entry in entries], put=kept, source=run)
    quarantine.close(mine)
    lock.release(quarantine.state)
    return mine.name if mine.entries else None
