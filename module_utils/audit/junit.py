"""The audit as JUnit XML: a suite for each host, a case for each check."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from ansible.module_utils.audit.model import FAIL, FAILED, UNREACHABLE, WAIVED, WARN

# Characters that XML 1.0 forbids, even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(document: Mapping[str, Any]) -> str:
    """Return the file for a ``document`` as in ``audit.json``.

    A failed check is a failure, a waived check is skipped with its reason, and a warning passes with its message as
    output. A host without a result is a suite with one error, a host without checks a suite with one failure.
    """
    root = ET.Element("testsuites", {"name": "audit"})
    root.extend(_suite(host, document["generated"]) for host in document["hosts"])
    root.attrib.update(_counted(root))
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(host: Mapping[str, Any], generated: str) -> ET.Element:
    name = _plain(host["name"])
    suite = ET.Element("testsuite", {"name": name, "timestamp": generated.rstrip("Z"), "time": "0"})
    suite.extend(_case(host["name"], check) for check in host["checks"])
    if not host["checks"]:
        case = _new(host["name"], "Audit", "answer")
        kind = "error" if host["verdict"] in (UNREACHABLE, FAILED) else "failure"
        ET.SubElement(case, kind, {"type": host["verdict"], "message": _plain(host["message"])})
        suite.append(case)
    suite.attrib.update(_counted(suite))
    return suite


def _counted(element: ET.Element) -> dict[str, str]:
    kinds = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
    return {name: str(len(list(element.iter(kind)))) for name, kind in kinds.items()}


def _case(host: str, check: Mapping[str, Any]) -> ET.Element:
    case = _new(host, check["group"], check["name"])
    message = _plain(f"expected {check['expected']}; found {check['found']}")
    more = _plain("\n".join(filter(None, (check["advice"], check["waiver"]))))
    if check["verdict"] == FAIL:
        ET.SubElement(case, "failure", {"type": FAIL, "message": message}).text = more
    elif check["verdict"] == WAIVED:
        ET.SubElement(case, "skipped", {"message": f"{_plain(check['waiver'])}; {message}"})
    elif check["verdict"] == WARN:
        ET.SubElement(case, "system-out").text = f"warning: {message}\n{more}"
    return case


def _new(host: str, group: str, name: str) -> ET.Element:
    return ET.Element(
        "testcase", {"classname": f"{_plain(host)}.{_plain(group)}", "name": _plain(name), "time": "0"}
    )


def _plain(value: str) -> str:
    return _FORBIDDEN.sub("\ufffd", value)
