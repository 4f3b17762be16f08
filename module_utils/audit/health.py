"""The health check in an audit: one check for each health check, and one for the rows of each table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible.module_utils.audit.model import FAIL, PASS, WARN, Judgement, judged
from ansible.module_utils.text import plural

_AGAIN = "Run `ansible-playbook playbooks/reset.yml --tags health` for details."
_VERDICTS = {"ok": PASS, "warn": WARN, "fail": FAIL}


def checks(result: Mapping[str, Any], tables: Sequence[str]) -> Iterator[Judgement]:
    """Judge a result of the module ``health_check``.

    Args:
        result: the module's result, or Ansible's if the module failed.
        tables: tables that must have been counted.
    """
    healthy = result.get("healthy") is True
    found = (
        "healthy" if healthy else "unhealthy" if "healthy" in result else str(result.get("msg", "no result"))
    )
    yield judged("Health", "health", "healthy", found, healthy, _AGAIN)
    named: dict[str, list[Mapping[str, str]]] = {}
    for finding in result.get("checks") or []:
        named.setdefault(finding["check"], []).append(finding)
    for name, findings in named.items():
        yield _one(name, findings)
    yield from rows(result, tables)


def _one(name: str, findings: Sequence[Mapping[str, str]]) -> Judgement:
    """Merge the findings of one check; the worst level decides, and its messages are shown."""
    levels = [_VERDICTS.get(finding["level"], FAIL) for finding in findings]
    worst = max(levels, key=(PASS, WARN, FAIL).index)
    messages = "; ".join(finding["message"] for finding, level in zip(findings, levels) if level == worst)
    expected = findings[0].get("expects") or "no problem"
    # Without advice, because a finding's message already says what to do.
    return Judgement(f"health: {name}", "Health", expected, messages, worst)


def rows(result: Mapping[str, Any], tables: Sequence[str]) -> Iterator[Judgement]:
    """Each table has rows, and they were counted."""
    counts, estimated = result.get("tables") or {}, result.get("estimated") or []
    for table in tables:
        number = counts.get(table)
        found = "not counted"
        if number is not None:
            about = "about " if table in estimated else ""
            found = about + plural(number, "row")
        advice = _AGAIN if number is None else "Fill it with `ansible-playbook playbooks/backfill.yml`."
        expected, otherwise = "rows, counted", FAIL if number is None else WARN
        yield judged("Rows", f"rows {table}", expected, found, bool(number), advice, otherwise)
