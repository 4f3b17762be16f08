"""What an audit says: checks, each with what was expected, what was found, and a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PASS, WARN, FAIL, WAIVED = "pass", "warn", "fail", "waived"
VERDICTS = (PASS, WARN, FAIL, WAIVED)
# Of a host that gave no result.
UNREACHABLE, FAILED = "unreachable", "failed"


@dataclass(frozen=True)
class Judgement:
    """One promise looked at.

    Attributes:
        name: the same in every run, for waivers.
        expected, found: for people; never a secret.
        advice: what to do; empty if nothing is to be done.
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
    """Return a check that passes if ``ok``, and is ``otherwise`` with its ``advice`` if not."""
    return Judgement(name, group, expected, found, PASS if ok else otherwise, "" if ok else advice)


def counts(checks: Iterable[Judgement]) -> dict[str, int]:
    """Return how many checks have each verdict."""
    found = Counter(check.verdict for check in checks)
    return {verdict: found[verdict] for verdict in VERDICTS}


def verdict(checks: Sequence[Judgement]) -> str:
    """Return a host's verdict, that of its worst check; an audit that looked at nothing has failed."""
    found = counts(checks)
    if not checks or found[FAIL]:
        return FAIL
    return WARN if found[WARN] else PASS


MARKS = {PASS: "✅", WARN: "⚠️ ", FAIL: "❌", WAIVED: "🔕", UNREACHABLE: "❌", FAILED: "❌"}


def report(checks: Sequence[Judgement]) -> str:
    """Return the text that people read: what did not pass, and the sum."""
    lines = ["🔎 Audit"]
    for check in checks:
        if check.verdict != PASS:
            lines.append(
                f"{MARKS[check.verdict]} {check.name}: expected {check.expected}; found {check.found}"
            )
            lines += [f"   {text}" for text in (check.advice, check.waiver) if text]
    if not checks:
        lines.append(f"{MARKS[FAIL]} No check was run, which proves nothing.")
    total = ", ".join(f"{number} {name}" for name, number in counts(checks).items() if number)
    ended = verdict(checks)
    word = {PASS: "passed", WARN: "passed with warnings", FAIL: "failed"}[ended]
    return "\n".join([*lines, f"{MARKS[ended]} Audit {word}: {len(checks)} checks{total and f' ({total})'}"])
