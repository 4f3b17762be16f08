"""The runs in the quarantine: unfinished ones, and what the last reset moved and how to undo it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from ansible.module_utils.audit.model import Judgement, judged
from ansible.module_utils.project import lock
from ansible.module_utils.project.guards import DOTENV
from ansible.module_utils.project.quarantine import Entry, Quarantine
from ansible.module_utils.project.root import described

_runs = partial(judged, "Runs")


def checks(quarantine: Quarantine | None) -> Iterator[Judgement]:
    """No run was interrupted, and none holds the lock; without a quarantine nothing was ever moved."""
    runs = quarantine.runs() if quarantine else []
    unfinished = ", ".join(run.name for run in runs if run.state == "open")
    advice = "Run `ansible-playbook playbooks/reset.yml` again. It continues the interrupted run."
    yield _runs("unfinished runs", "none", unfinished or "none", not unfinished, advice)
    holder = lock.holder(quarantine.state) if quarantine else None
    yield _runs(
        "lock", "free", holder or "free", holder is None, "Wait for that run to end, and audit again."
    )


def last_reset(quarantine: Quarantine) -> dict[str, Any] | None:
    """Return what the last reset moved and how to undo it; None if the quarantine has no reset."""
    runs = [run for run in quarantine.runs() if run.kind == "reset" and run.entries]
    if not runs:
        return None
    run = runs[-1]
    back = quarantine.kept(run)
    return {
        "run": run.name,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(run.started)),
        "state": run.state,
        "entries": [_entry(entry) for entry in run.entries],
        "undo": f"ansible-playbook playbooks/restore.yml -e restore_run={run.name}" if back else None,
    }


def _entry(entry: Entry) -> dict[str, str]:
    if entry.before is None:
        return {"name": entry.name, "what": "made", "kept": ""}
    what = "replaced" if entry.after else "moved away"
    return {"name": entry.name, "what": what, "kept": described(entry.before)}


def dotenv_before(quarantine: Quarantine) -> tuple[bytes, str] | None:
    """Return the ``.env`` that a reset replaced last, and its path; None if there is none."""
    for run in reversed(quarantine.runs()):
        entry = run.entry(DOTENV) if run.kind == "reset" else None
        if entry and entry.before and entry.before.kind == "file":
            with quarantine.keeping(run.name) as kept:
                content = kept.read(DOTENV)
            if content is not None:
                return content, f"{kept.path}/{DOTENV}"
    return None
