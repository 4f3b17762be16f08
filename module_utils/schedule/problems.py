"""Lasting problems and their messages: one when a problem begins, one when it is over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from ansible.module_utils.schedule import troubles
from ansible.module_utils.schedule.troubles import Trouble


@dataclass(frozen=True)
class Lasting:
    """A problem and all hosts that have it; times are seconds since 1970.

    Attributes:
        jobs: those that found it and have not succeeded since.
        told: whether its first message was sent.
        over: when it ended; 0 while it lasts.
    """

    cause: str
    since: float
    hosts: tuple[str, ...]
    jobs: tuple[str, ...]
    message: str
    evidence: str = ""
    told: bool = False
    over: float = 0.0


def judge(
    lasting: Iterable[Lasting],
    job: str,
    found: Sequence[Trouble],
    well: set[str] | None,
    now: float,
    evidence: str,
) -> list[Lasting]:
    """Return the problems after a run.

    Args:
        lasting: those before it.
        found: its troubles.
        well: causes that it rules out; None for all, if it succeeded.
        evidence: path of its output.
    """
    result = []
    causes: dict[str, list[Trouble]] = {}
    for trouble in found:
        causes.setdefault(trouble.cause, []).append(trouble)
    for problem in lasting:
        again = causes.pop(problem.cause, None)
        if again and not problem.over:
            hosts = dict.fromkeys([*problem.hosts, *(trouble.host for trouble in again)])
            problem = replace(problem, hosts=tuple(hosts), jobs=tuple(dict.fromkeys([*problem.jobs, job])))
        elif again:
            # It returned before the message about its end was sent.
            problem = replace(problem, over=0.0, jobs=(job,))
        elif not problem.over:
            jobs = problem.jobs
            if well is None or problem.cause in well:
                # Each job that found it must rule it out, because jobs may see it from different hosts.
                jobs = tuple(each for each in jobs if each != job)
            problem = replace(problem, jobs=jobs, over=0.0 if jobs else now)
        if problem.told or not problem.over:
            result.append(problem)
    for cause, some in causes.items():
        hosts = dict.fromkeys(trouble.host for trouble in some if trouble.host)
        result.append(Lasting(cause, now, tuple(hosts), (job,), some[0].message, evidence))
    return result


def text(problem: Lasting, title: str, node: str) -> str:
    """Return the message about a problem that began or ended; ``node`` is the machine with the evidence."""
    what = troubles.title(problem.cause)
    hosts = f"Hosts: {', '.join(problem.hosts)}" if problem.hosts else ""
    since = f"Since: {_moment(problem.since)}"
    if problem.over:
        lines = [f"✅ {title}: over: {what}", f"{since}, until {_moment(problem.over)}", hosts]
    else:
        lines = [f"❌ {title}: {what}", since, hosts, problem.message]
        lines.append(f"Evidence: {problem.evidence} on {node}" if problem.evidence else "")
    return "\n".join(line for line in lines if line)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
