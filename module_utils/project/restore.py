"""Undo a run: bring back what it moved."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.project import guards
from ansible.module_utils.project.opening import opened
from ansible.module_utils.project.quarantine import Entry, Manifest, Quarantine
from ansible.module_utils.project.root import described, listed
from ansible.module_utils.project.stages import difference
from ansible.module_utils.reporting import Problem


def work(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Plan the restore, and apply it unless in check mode; the module's documentation explains ``params``."""
    with opened(params, check_mode) as root:
        run: Manifest | None = None
        entries: list[Entry] = []
        unfinished = False
        if root.quarantine is not None:
            run, entries = choose(root.quarantine, params["run"])
            unfinished = _unfinished(root.quarantine) is not None
        leaving = [entry.name for entry in entries if root.folder.stat(entry.name)]
        guards.check_file_systems(root.folder, leaving, root.facts.mounts)
        guards.check_in_use(root.folder, leaving, root.facts, params["allow_in_use"])
        undo = None
        if (entries or unfinished) and not check_mode:
            undo = _apply(root.changing(), params["run"])
    return {
        "changed": bool(entries),
        "back": [{"name": entry.name, **listed(entry.before)} for entry in entries if entry.before],
        "undo": undo,
        "report": _report(params["root"], run, entries, undo),
        "diff": difference(
            [f"{name}\n" for name in leaving],
            [f"{entry.name}  {described(entry.before)}\n" for entry in entries if entry.before],
            f"{params['root']} now",
            f"as before {run.name}" if run else "nothing to restore",
        ),
    }


def choose(quarantine: Quarantine, name: str) -> tuple[Manifest | None, list[Entry]]:
    """Return the run to restore, and what of it: the named run, or the last reset that has something to bring back."""
    runs = quarantine.runs()
    # A killed restore is finished first, even if it only has to be closed.
    unfinished = _unfinished(quarantine)
    name = name or (unfinished.entries[0].source if unfinished else None) or ""
    if name and name not in [run.name for run in runs]:
        known = ", ".join(run.name for run in runs) or "none"
        raise Problem(f"There is no run {name!r}. Set restore_run to one of: {known}.")
    for run in reversed(runs):
        if run.name == name:
            return run, quarantine.kept(run)
        if not name and run.kind == "reset" and (entries := quarantine.kept(run)):
            return run, entries
    return None, []


def _unfinished(quarantine: Quarantine) -> Manifest | None:
    return next((run for run in quarantine.open_runs() if run.kind == "restore" and run.entries), None)


def _apply(quarantine: Quarantine, name: str) -> str | None:
    mine = quarantine.begin("restore")
    run, entries = choose(quarantine, name)
    if run is not None and entries:
        with quarantine.keeping(run.name) as kept:
            mine = quarantine.displace(mine, [entry.name for entry in entries], put=kept, source=run.name)
    quarantine.close(mine)
    return mine.name if mine.entries else None


def _report(root: str, run: Manifest | None, entries: list[Entry], undo: str | None) -> str:
    if run is None or not entries:
        return f"Nothing to restore in {root}."
    lines = [f"⏪ Restore of {root}: as before {run.name}"]
    lines += [f"   {entry.name}: restored" for entry in entries if entry.before]
    lines += [
        f"   {entry.name}: removed, because it did not exist before" for entry in entries if not entry.before
    ]
    if undo:
        lines.append(f"   Undo: ansible-playbook playbooks/restore.yml -e restore_run={undo}")
    return "\n".join(lines)
