"""The evidence of a run: the results of all hosts as one document, and the files made from it."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from ansible.module_utils.audit import page
from ansible.module_utils.audit.model import FAIL, FAILED, PASS, UNREACHABLE, VERDICTS, WAIVED, WARN
from ansible.module_utils.schedule import state

SCHEMA = 1
# Characters that XML 1.0 forbids, even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(
    answers: Mapping[str, Mapping[str, Any]], generated: str, history: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Return the content of ``audit.json``; ``generated`` is the time in UTC.

    ``answers`` has the result of the module ``project_audit`` by host, or Ansible's result if it failed.
    """
    hosts = [_host(name, answer) for name, answer in answers.items()]
    found = Counter(host["verdict"] for host in hosts)
    kinds = (PASS, WARN, FAIL, UNREACHABLE, FAILED)
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
    if checks:
        verdict, message = answer["verdict"], ""
    elif known:
        verdict, message = FAIL, "No check ran, so nothing is proven."
    # The task is skipped only if the host was unreachable in the task before.
    elif answer.get("unreachable") is True or answer.get("skipped") is True:
        verdict = UNREACHABLE
        message = "Ansible could not reach the host. Check that it is up, its address, and your access."
    else:
        verdict = FAILED
        message = str(answer.get("msg") or "The host returned no result. Ansible's output says why.")
    data = answer.get("data") or {}
    return {
        "name": name,
        "verdict": verdict,
        "message": message,
        "counts": {kind: sum(1 for check in checks if check["verdict"] == kind) for kind in VERDICTS},
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


def history(folders: Iterable[str]) -> list[dict[str, Any]]:
    """Return the scheduled runs by day, oldest first, from the first folder with a history; empty if there is none.

    Each entry has ``day``, and ``runs`` with job, outcome, hosts, failed, changed, seconds, calls and rows.
    """
    for folder in folders:
        path = Path(folder) / state.FILE
        with contextlib.suppress(OSError, sqlite3.Error):
            if path.exists():
                return _days(path)
    return []


def _days(path: Path) -> list[dict[str, Any]]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute(
            "SELECT job, outcome, hosts, failed, changed, calls, rows, began, ended - began AS seconds FROM runs"
            " WHERE ended IS NOT NULL AND outcome <> ? ORDER BY began, id",
            (state.MET,),
        ).fetchall()
    days: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        run = dict(row)
        day = datetime.fromtimestamp(run.pop("began"), timezone.utc).date().isoformat()
        days.setdefault(day, []).append({**run, "seconds": round(run["seconds"], 1)})
    return [{"day": day, "runs": runs} for day, runs in days.items()]


def problems(host: Mapping[str, Any], where: str) -> str:
    """Return the message for a host that did not pass; ``where`` is the place of the evidence."""
    failed = [check for check in host["checks"] if check["verdict"] == FAIL]
    lines = [f"{check['name']}: expected {check['expected']}; found {check['found']}" for check in failed]
    return " | ".join([host["message"] or f"{len(failed)} failed", *lines, f"Evidence: {where}"])


def write(folder: Path, templates: Path, found: Mapping[str, Any]) -> list[str]:
    """Write the files and return their paths."""
    files = {
        "audit.json": json.dumps(found, indent=1, ensure_ascii=False) + "\n",
        "junit.xml": junit(found),
        "index.html": page.text(found, templates),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [str(folder / name) for name in files]


# --- JUnit XML ---------------------------------------------------------------------------------------------


def junit(document: Mapping[str, Any]) -> str:
    """Return a ``document`` as JUnit XML: a suite for each host, a case for each check.

    A failed check is a failure, a waived check is skipped with its reason, and a warning passes with its message as
    output. A host without a result is a suite with one error, a host without checks a suite with one failure.
    """
    root = ET.Element("testsuites", {"name": "audit"})
    for host in document["hosts"]:
        stamp = document["generated"].rstrip("Z")
        suite = ET.SubElement(root, "testsuite", {"name": host["name"], "timestamp": stamp, "time": "0"})
        for check in host["checks"]:
            _outcome(_case(suite, check["group"], check["name"]), check)
        if not host["checks"]:
            kind = "error" if host["verdict"] in (UNREACHABLE, FAILED) else "failure"
            told = {"type": host["verdict"], "message": host["message"]}
            ET.SubElement(_case(suite, "Audit", "answer"), kind, told)
        suite.attrib.update(_counted(suite))
    root.attrib.update(_counted(root))
    ET.indent(root, " ")
    text = _FORBIDDEN.sub("\ufffd", ET.tostring(root, encoding="unicode"))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _case(suite: ET.Element, group: str, name: str) -> ET.Element:
    case = {"classname": f"{suite.get('name')}.{group}", "name": name, "time": "0"}
    return ET.SubElement(suite, "testcase", case)


def _outcome(case: ET.Element, check: Mapping[str, Any]) -> None:
    message = f"expected {check['expected']}; found {check['found']}"
    more = "\n".join(filter(None, (check["advice"], check["waiver"])))
    if check["verdict"] == FAIL:
        ET.SubElement(case, "failure", {"type": FAIL, "message": message}).text = more
    elif check["verdict"] == WAIVED:
        ET.SubElement(case, "skipped", {"message": f"{check['waiver']}; {message}"})
    elif check["verdict"] == WARN:
        ET.SubElement(case, "system-out").text = f"warning: {message}\n{more}"


def _counted(element: ET.Element) -> dict[str, str]:
    kinds = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
    return {name: str(len(list(element.iter(kind)))) for name, kind in kinds.items()}
