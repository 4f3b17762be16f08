"""Waivers: problems that are accepted with a reason until a date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from ansible.module_utils.audit.model import FAIL, WAIVED, WARN, Judgement, judged
from ansible.module_utils.reporting import Problem


@dataclass(frozen=True)
class Waiver:
    """One entry of ``audit_waivers``, valid through ``expires``; an empty ``host`` means every host."""

    check: str
    reason: str
    expires: date
    host: str = ""


def parse(entries: Sequence[object]) -> list[Waiver]:
    """Return the waivers of ``audit_waivers``.

    Raises:
        Problem: an entry has no check, no reason or no date, or an unknown key.
    """
    waivers = []
    for number, entry in enumerate(entries, 1):
        values = dict(entry) if isinstance(entry, Mapping) else {}
        texts = {name: str(values.get(name) or "").strip() for name in ("check", "reason", "expires", "host")}
        wrong = [name for name in ("check", "reason", "expires") if not texts[name]]
        unknown = sorted(str(name) for name in set(values) - set(texts))
        try:
            expires = date.fromisoformat(texts["expires"][:10]) if texts["expires"] else date.min
        except ValueError:
            wrong.append("expires")
        if wrong or unknown:
            why = f"has no {' and no '.join(wrong)}" if wrong else f"has unknown keys: {', '.join(unknown)}"
            raise Problem(
                f"Waiver {number} ({texts['check'] or 'without a check'}) of audit_waivers {why}. Write it as"
                " {check: name, reason: text, expires: YYYY-MM-DD, host: name (optional)}."
            )
        waivers.append(Waiver(texts["check"], texts["reason"], expires, texts["host"]))
    return waivers


def applied(
    checks: Sequence[Judgement], waivers: Sequence[Waiver], host: str, today: date
) -> list[Judgement]:
    """Return the checks with the valid waivers of ``host`` applied, and one check of the waivers themselves."""
    mine = [waiver for waiver in waivers if waiver.host in ("", host)]
    valid = {waiver.check: waiver for waiver in mine if waiver.expires >= today}
    result = []
    for check in checks:
        waiver = valid.get(check.name) if check.verdict in (WARN, FAIL) else None
        if waiver:
            accepted = f"waived until {waiver.expires}: {waiver.reason}"
            check = replace(check, verdict=WAIVED, waiver=accepted)
        result.append(check)
    names = {check.name for check in checks}
    stale = [f"{w.check} expired on {w.expires} ({w.reason})" for w in mine if w.expires < today]
    stale += [
        f"this host has no check {w.check}" for w in mine if w.expires >= today and w.check not in names
    ]
    if mine:
        found = "; ".join(stale) or f"{len(valid)} valid"
        advice = "Renew it with a reason, or remove it from audit_waivers."
        result.append(judged("Audit", "waivers", "all valid", found, not stale, advice, WARN))
    return result
