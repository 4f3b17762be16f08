"""The checks of an audit, each with what was expected, what was found, and a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PASS, WARN, FAIL, WAIVED = "pass", "warn", "fail", "waived"
VERDICTS = (PASS, WARN, FAIL, WAIVED)
# Verdicts for a host without a result.
UNREACHABLE, FAILED = "unreachable", "failed"


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
    found = counts(checks)
    if not checks or found[FAIL]:
        return FAIL
    return WARN if found[WARN] else PASS


MARKS = {PASS: "✅", WARN: "⚠️ ", FAIL: "❌", WAIVED: "🔕", UNREACHABLE: "❌", FAILED: "❌"}


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
