"""The end of a reset: what it promises is proven, its run is closed, and the oldest runs may go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from ansible.module_utils.project.proofs import Proof
from ansible.module_utils.project.quarantine import Entry, Manifest, Quarantine, totals
from ansible.module_utils.project.root import described, listed
from ansible.module_utils.reporting import Problem


def proven(path: str, proofs: Iterable[Proof]) -> list[dict[str, Any]]:
    """The proofs of a stage of the root at ``path``, for a result; raises Problem if one fails."""
    looked = list(proofs)
    failed = [
        f"{proof.name}: expected {proof.expected}, found {proof.found}" for proof in looked if not proof.ok
    ]
    found = [asdict(proof) for proof in looked]
    if failed:
        raise Problem(
            f"The reset of {path} did not leave what it promises: {'; '.join(failed)}."
            " Run it again; `ansible-playbook playbooks/restore.yml` brings back what was there before.",
            proofs=found,
        )
    return found


def close(path: str, quarantine: Quarantine, params: dict[str, Any]) -> dict[str, Any]:
    """Close the open runs of the root at ``path`` and expire the oldest; see the module's documentation."""
    closed = []
    for run in quarantine.runs():
        if run.state == "open":
            quarantine.settle(run)
            quarantine.close(run)
            closed += [run] if run.entries else []
    gone = [run.name for run in quarantine.expire(params["keep"], params["keep_days"])]
    return {
        "changed": bool(gone),
        "closed": [run.name for run in closed],
        "run": closed[-1].name if closed else None,
        "kept": totals(closed),
        "expired": gone,
        "report": report(path, closed, gone),
    }


def unfinished(path: str, quarantine: Quarantine) -> dict[str, Any]:
    """What the open runs of the root at ``path`` have changed, for the result of a reset that failed."""
    runs = [run for run in quarantine.runs() if run.state == "open" and run.entries]
    moved = [
        {"name": entry.name, **listed(entry.before)}
        for run in runs
        for entry in run.entries
        if entry.before and not entry.after
    ]
    told = {"run": runs[-1].name, "kept": totals(runs)} if runs else {}
    return {"changed": bool(runs), "moved": moved, "report": report(path, runs, []), **told}


def report(path: str, runs: Sequence[Manifest], gone: Sequence[str]) -> str:
    """What runs have moved and how to undo them, for people; those whose names are ``gone`` were deleted at once."""
    lines = []
    for run in runs:
        unfinished = ", not finished: the next reset goes on from here" if run.state == "open" else ""
        lines.append(f"🧹 Reset of {path}{unfinished}")
        lines += [f"   {entry.name}: {_what(entry)}" for entry in run.entries]
        if run.name in gone:
            lines.append("   Deleted at once, as project_quarantine_keep asks")
        else:
            lines.append(f"   Undo: ansible-playbook playbooks/restore.yml -e restore_run={run.name}")
    return "\n".join(lines)


def _what(entry: Entry) -> str:
    if entry.before is None:
        return "made"
    return f"{'replaced, kept' if entry.after else 'moved away'}: {described(entry.before)}"
