"""Prove what a reset leaves behind, then close its run: the older ones may go, the next reset may come."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ansible.module_utils.project import dotenv, lock, settings, venv
from ansible.module_utils.project.clean import described
from ansible.module_utils.project.guards import DOTENV, VENV
from ansible.module_utils.project.quarantine import Quarantine, Run, totals
from ansible.module_utils.project.root import Directory
from ansible.module_utils.project.session import opened
from ansible.module_utils.reporting import Problem


@dataclass(frozen=True)
class Check:
    """One promise, what was expected and what was found."""

    name: str
    expected: str
    found: str
    ok: bool


def checks(
    root: Directory, artifacts: list[str], packages: list[str] | None, keys: list[str]
) -> Iterator[Check]:
    """The promises about a root's files.

    Args:
        root: held open.
        artifacts: names that must be gone, ``venv`` aside; empty: not looked at.
        packages: what the environment was built to hold; None: not looked at.
        keys: names that ``.env`` must hold; empty: not looked at.
    """
    for name in artifacts:
        if name != VENV:
            item = root.item(name)
            yield Check(f"artifact {name}", "gone", described(item) if item else "gone", item is None)
    if packages is not None:
        yield from _environment(root, packages)
    if keys:
        yield from _settings(root, keys)


def _environment(root: Directory, packages: list[str]) -> Iterator[Check]:
    for script in ("activate", "pip", "python"):
        path = os.path.join(root.path, VENV, "bin", script)
        there = os.path.exists(path)  # a dangling link does not count
        yield Check(f"{VENV}/bin/{script}", "there", "there" if there else "missing", there)
    try:
        with root.enter(VENV) as folder:
            record = json.loads(folder.read(venv.RECORD) or b"{}")
    except (OSError, ValueError):
        record = {}
    asked = record.get("asked")
    yield Check(
        f"{VENV} built and proven for", ", ".join(packages), ", ".join(asked or []), asked == packages
    )


def _settings(root: Directory, keys: list[str]) -> Iterator[Check]:
    found = root.stat(DOTENV)
    mode = f"{stat.S_IMODE(found.st_mode):04o}" if found else "missing"
    yield Check(f"{DOTENV} mode", f"{settings.MODE:04o}", mode, mode == f"{settings.MODE:04o}")
    text = (root.read(DOTENV) or b"").decode("utf-8", "surrogateescape")
    seen = [statement.key for statement in dotenv.parse(text)]
    wrong = [key for key in keys if seen.count(key) != 1]
    yield Check(
        f"{DOTENV} keys", "each once", f"not once: {', '.join(wrong)}" if wrong else "each once", not wrong
    )


def work(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Prove, close and expire; see the module's documentation for ``params``."""
    closed: list[Run] = []
    expired: list[Run] = []
    with opened(params) as session:
        proofs = list(checks(session.root, params["artifacts"], params["packages"], params["keys"]))
        failed = [
            f"{proof.name}: expected {proof.expected}, found {proof.found}"
            for proof in proofs
            if not proof.ok
        ]
        if failed:
            raise Problem(
                f"The reset of {params['root']} did not leave what it promises: {'; '.join(failed)}."
                " Run it again; `ansible-playbook playbooks/restore.yml` brings back what was there before.",
                checks=[asdict(proof) for proof in proofs],
            )
        with session.looking() as found:
            if found is not None and not check_mode and found.unfinished():
                with session.changing() as quarantine:
                    closed = _close(quarantine)
                    expired = quarantine.expire(params["keep"], params["keep_days"])
                    lock.release(quarantine.state)
    return {
        "changed": bool(expired),
        "unfinished": False,
        "checks": [asdict(proof) for proof in proofs],
        "closed": [run.name for run in closed],
        "run": closed[-1].name if closed else None,
        "kept": totals(closed),
        "expired": [run.name for run in expired],
        "report": _report(params["root"], closed, expired),
    }


def _close(quarantine: Quarantine) -> list[Run]:
    closed = []
    for run in quarantine.runs():
        if run.state == "open":
            quarantine.settle(run)
            quarantine.close(run)
            closed += [run] if run.entries else []
    return closed


def _report(root: str, closed: list[Run], expired: list[Run]) -> str:
    gone = {run.name for run in expired}
    lines = []
    for run in closed:
        lines.append(f"🧹 Reset of {root}")
        for entry in run.entries:
            what = f"replaced, kept: {described(entry.before)}" if entry.after and entry.before else "made"
            if entry.before and not entry.after:
                what = f"moved away: {described(entry.before)}"
            lines.append(f"   {entry.name}: {what}")
        if run.name in gone:
            lines.append("   Deleted at once, as project_quarantine_keep asks")
        else:
            lines.append(f"   Undo: ansible-playbook playbooks/restore.yml -e restore_run={run.name}")
    return "\n".join(lines)
