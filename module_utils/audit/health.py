"""The health check as part of an audit: one check for each of its checks, and the rows of its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible.module_utils.audit.model import FAIL, PASS, WARN, Judgement, judged
from ansible.module_utils.text import plural

_AGAIN = "Look at `ansible-playbook playbooks/reset.yml --tags health`."
_VERDICTS = {"ok": PASS, "warn": WARN, "fail": FAIL}


def checks(result: Mapping[str, Any], tables: Sequence[str]) -> Iterator[Judgement]:
    """Judge a result of the module ``health_check``.

    Args:
        result: as it is returned; if the module broke off, what Ansible made of that.
        tables: those whose rows have to be known.
    """
    healthy = result.get("healthy") is True
    found = (
        "healthy" if healthy else "unhealthy" if "healthy" in result else str(result.get("msg", "no answer"))
    )
    yield judged("Health", "health", "healthy", found, healthy, _AGAIN)
    named: dict[str, list[Mapping[str, str]]] = {}
    for finding in result.get("checks") or []:
        named.setdefault(finding["check"], []).append(finding)
    for name, findings in named.items():
        yield _one(name, findings)
    yield from rows(result, tables)


def _one(name: str, findings: Sequence[Mapping[str, str]]) -> Judgement:
    """Several findings of one check become one; the worst decides, and is what is shown."""
    levels = [_VERDICTS.get(finding["level"], FAIL) for finding in findings]
    worst = max(levels, key=(PASS, WARN, FAIL).index)
    said = "; ".join(finding["message"] for finding, level in zip(findings, levels) if level == worst)
    expected = findings[0].get("expects") or "no problem"
    # What to do about it is part of a finding's message.
    return Judgement(f"health: {name}", "Health", expected, said, worst)


def rows(result: Mapping[str, Any], tables: Sequence[str]) -> Iterator[Judgement]:
    """The number of rows of each table is known."""
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
