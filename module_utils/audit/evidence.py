"""The evidence of a run: the results of all hosts as one document, and the files made from it."""

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
    """Return the content of ``audit.json``; ``generated`` is the time in UTC.

    ``answers`` has the result of the module ``project_audit`` by host, or Ansible's result if it failed.
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
    """Return the entry of one host; without checks it never passes, whatever its result says."""
    known = "verdict" in answer and answer.get("failed") is not True
    checks = list(answer.get("checks") or []) if known else []
    # The task is skipped only if the host was unreachable in the task before.
    gone = answer.get("unreachable") is True or answer.get("skipped") is True
    no_result = model.UNREACHABLE if gone else model.FAILED
    verdict = answer["verdict"] if checks else model.FAIL if known else no_result
    messages = {
        model.FAIL: "" if checks else "No check ran, so nothing is proven.",
        model.UNREACHABLE: "Ansible could not reach the host. Check that it is up, its address, and your access.",
        model.FAILED: str(answer.get("msg") or "The host returned no result. Ansible's output says why."),
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
    """Return each database once, even if several hosts share it, as read by the first host that could."""
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
    """Return the message for a host that did not pass; ``where`` is the place of the evidence."""
    failed = [check for check in host["checks"] if check["verdict"] == model.FAIL]
    lines = [f"{check['name']}: expected {check['expected']}; found {check['found']}" for check in failed]
    return " | ".join([host["message"] or f"{len(failed)} failed", *lines, f"Evidence: {where}"])


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
