"""The evidence of a run: what all hosts answered, as one document, and the files made of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.audit import junit, model, page

SCHEMA = 1


def document(
    answers: Mapping[str, Mapping[str, Any]], generated: str, history: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Return what ``audit.json`` holds, written at ``generated`` in UTC.

    ``answers`` are by host what the module ``project_audit`` returned, or what Ansible made of its failure.
    """
    hosts = [_host(name, answer) for name, answer in answers.items()]
    found = Counter(host["verdict"] for host in hosts)
    kinds = (model.PASS, model.WARN, model.FAIL, model.UNREACHABLE, model.FAILED)
    return {
        "schema": SCHEMA,
        "generated": generated,
        "totals": {"hosts": len(hosts), **{kind: found[kind] for kind in kinds}},
        "hosts": hosts,
        "databases": _databases(answers),
        "history": list(history),
    }


def _host(name: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """One host; an answer without checks is none, whatever it says of itself."""
    known = "verdict" in answer and answer.get("failed") is not True
    checks = list(answer.get("checks") or []) if known else []
    # It is skipped only if the host could not be reached just before.
    gone = answer.get("unreachable") is True or answer.get("skipped") is True
    silence = model.UNREACHABLE if gone else model.FAILED
    verdict = answer["verdict"] if checks else model.FAIL if known else silence
    messages = {
        model.FAIL: "" if checks else "No check was run, which proves nothing.",
        model.UNREACHABLE: "Ansible could not reach it. Check the host, its address and your access to it.",
        model.FAILED: str(answer.get("msg") or "It gave no answer; Ansible's output says why."),
    }
    data = answer.get("data") or {}
    return {
        "name": name,
        "verdict": verdict,
        "message": messages.get(verdict, ""),
        "counts": {kind: sum(1 for check in checks if check["verdict"] == kind) for kind in model.VERDICTS},
        "checks": checks,
        "last_reset": answer.get("last_reset") if known else None,
        "database": data.get("identity") if known else None,
    }


def _databases(answers: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each database once, however many hosts use it, as the first of them that could read it saw it."""
    found: dict[str, dict[str, Any]] = {}
    for name, answer in answers.items():
        data = answer.get("data")
        if not data or answer.get("failed") is True:
            continue
        known = found.setdefault(data["identity"], {**data, "hosts": []})
        known["hosts"].append(name)
        if known["coverage"] is None and data["coverage"] is not None:
            known.update(data)
    return list(found.values())


def problems(host: Mapping[str, Any], where: str) -> str:
    """Return what to say of a host that did not pass; ``where`` the evidence is."""
    failed = [check for check in host["checks"] if check["verdict"] == model.FAIL]
    told = [f"{check['name']}: expected {check['expected']}; found {check['found']}" for check in failed]
    return " | ".join([host["message"] or f"{len(failed)} failed", *told, f"Evidence: {where}"])


def write(folder: Path, templates: Path, found: Mapping[str, Any]) -> list[str]:
    """Write the files and return their paths."""
    files = {
        "audit.json": json.dumps(found, indent=1, ensure_ascii=False) + "\n",
        "junit.xml": junit.text(found),
        "index.html": page.text(found, templates),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [str(folder / name) for name in files]
