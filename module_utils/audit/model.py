"""The checks of an audit, each with what was expected, what was found, and a verdict; and the waivers of problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from ansible.module_utils.reporting import Problem

PASS, WARN, FAIL, WAIVED = "pass", "warn", "fail", "waived"
VERDICTS = (PASS, WARN, FAIL, WAIVED)
# Verdicts for a host without a result.
UNREACHABLE, FAILED = "unreachable", "failed"
MARKS = {PASS: "✅", WARN: "⚠️ ", FAIL: "❌", WAIVED: "🔕", UNREACHABLE: "❌", FAILED: "❌"}


@dataclass(frozen=True)
class Judgement:
    """The result of one check.

    Attributes:
        name: the same in every run, for waivers.
        expected, found: text without secrets.
        advice: what to do; empty if nothing.
        waiver: why a problem is accepted, and until when.
    """

    name: str
    group: str
    expected: str
    found: str
    verdict: str
    advice: str = ""
    waiver: str = ""


def judged(
    group: str, name: str, expected: str, found: str, ok: bool, advice: str, otherwise: str = FAIL
) -> Judgement:
    """Return a check that passes if ``ok``; if not, its verdict is ``otherwise``, with ``advice``."""
    return Judgement(name, group, expected, found, PASS if ok else otherwise, "" if ok else advice)


def counts(checks: Iterable[Judgement]) -> dict[str, int]:
    """Return the number of checks by verdict."""
    found = Counter(check.verdict for check in checks)
    return {verdict: found[verdict] for verdict in VERDICTS}


def verdict(checks: Sequence[Judgement]) -> str:
    """Return a host's verdict, that of its worst check; without checks it fails."""
    found = {check.verdict for check in checks}
    if not checks or FAIL in found:
        return FAIL
    return WARN if WARN in found else PASS


def report(checks: Sequence[Judgement]) -> str:
    """Return the report: the checks that did not pass, and the totals."""
    lines = ["🔎 Audit"]
    for check in checks:
        if check.verdict != PASS:
            lines.append(
                f"{MARKS[check.verdict]} {check.name}: expected {check.expected}; found {check.found}"
            )
            lines += [f"   {text}" for text in (check.advice, check.waiver) if text]
    if not checks:
        lines.append(f"{MARKS[FAIL]} No check ran, so nothing is proven.")
    total = ", ".join(f"{number} {name}" for name, number in counts(checks).items() if number)
    ended = verdict(checks)
    word = {PASS: "passed", WARN: "passed with warnings", FAIL: "failed"}[ended]
    return "\n".join([*lines, f"{MARKS[ended]} Audit {word}: {len(checks)} checks{total and f' ({total})'}"])


@dataclass(frozen=True)
class Waiver:
    """One entry of ``audit_waivers``, valid through ``expires``; an empty ``host`` means every host."""

    check: str
    reason: str
    expires: date
    host: str = ""


def waivers(entries: Sequence[object]) -> list[Waiver]:
    """Return the waivers of ``audit_waivers``.

    Raises:
        Problem: an entry has no check, no reason or no date, or an unknown key.
    """
    found = []
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
        found.append(Waiver(texts["check"], texts["reason"], expires, texts["host"]))
    return found


def waived(checks: Sequence[Judgement], waivers: Sequence[Waiver], host: str, today: date) -> list[Judgement]:
    """Return the checks with the valid waivers of ``host`` applied, and one check of the waivers themselves."""
    mine = [waiver for waiver in waivers if waiver.host in ("", host)]
    if not mine:
        return list(checks)
    valid = {waiver.check: waiver for waiver in mine if waiver.expires >= today}
    result = []
    for check in checks:
        waiver = valid.get(check.name)
        if waiver and check.verdict in (WARN, FAIL):
            accepted = f"waived until {waiver.expires}: {waiver.reason}"
            check = replace(check, verdict=WAIVED, waiver=accepted)
        result.append(check)
    names = {check.name for check in checks}
    stale = [f"{w.check} expired on {w.expires} ({w.reason})" for w in mine if w.expires < today]
    stale += [
        f"this host has no check {w.check}" for w in mine if w.expires >= today and w.check not in names
    ]
    found = "; ".join(stale) or f"{len(valid)} valid"
    advice = "Renew it with a reason, or remove it from audit_waivers."
    return [*result, judged("Audit", "waivers", "all valid", found, not stale, advice, WARN)]
