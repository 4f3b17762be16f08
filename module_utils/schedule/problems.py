"""The troubles that a run shows, the lasting problems that they become, and the message when one begins or is over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.schedule.jobs import Job
from ansible.module_utils.schedule.state import Lasting, Run

# Causes by health check. Any other check is its own cause.
CHECKS = {"connection": "database"}
# Kinds of the backfill's STOPS, except a refused token.
ACCOUNT = {"quota", "plan"}
_NO_DATA = {"service", "token", "database", "unreachable", *ACCOUNT}
# A trouble is not reported while one of these causes lasts, because that explains it.
EXPLAINED_BY = {"freshness": _NO_DATA, "gaps": _NO_DATA, "audit": {"disk", *_NO_DATA}}
# What must work if a run got as far as this trouble.
PROVEN = {
    "data": _NO_DATA,
    **dict.fromkeys(ACCOUNT, _NO_DATA - ACCOUNT),
    "token": {"database", "service", "unreachable"},
    "service": {"database", "unreachable"},
    "database": {"unreachable"},
}
# Often over within minutes, without any action.
PASSING = {"database", "service", "unreachable"}
# Titles in messages, by cause.
TITLES = {
    "database": "the database cannot be used",
    "service": "EODHD does not answer",
    "token": "EODHD refuses the token",
    "quota": "today's calls are used up",
    "plan": "the account's plan does not include what was requested",
    "data": "requested data was not loaded",
    "disk": "the disk is full",
    "unreachable": "hosts cannot be reached",
    "freshness": "the newest bars are missing",
    "gaps": "sessions are missing",
    "drift": "hosts have changed since their reset",
    "audit": "the audit failed",
    "control": "the scheduler cannot write its records",
    "failed": "the job {job} fails",
    "cut": "the job {job} does not finish",
}


@dataclass(frozen=True)
class Trouble:
    """A problem of one host; ``message`` says what is wrong and what to do."""

    cause: str
    host: str
    message: str


def title(cause: str) -> str:
    """Return the title of a cause: one of ``TITLES``, ``failed:JOB``, ``cut:JOB``, or a health check."""
    kind, _, job = cause.partition(":")
    return TITLES.get(kind, f"the check {cause} fails").format(job=job)


def troubles(job: Job, records: Iterable[Mapping[str, Any]]) -> tuple[list[Trouble], set[str]]:
    """Return the troubles that the task results of a run show, and the causes that they rule out."""
    found: dict[tuple[str, str], Trouble] = {}
    well: set[str] = set()
    general: list[tuple[str, str]] = []

    def add(cause: str, host: str, message: str) -> None:
        found.setdefault((cause, host), Trouble(cause, host, message))

    for record in records:
        host, message = record["host"], record.get("msg") or "The task failed without a message."
        for check in record.get("checks", ()):
            if "check" not in check:
                continue  # a check of the audit, which returns verdicts
            cause = CHECKS.get(check["check"], check["check"])
            if check["level"] == "fail":
                add(cause, host, check["message"])
            else:
                well.add(cause)
        for name, verdict in record.get("verdicts", {}).items():
            if verdict == "fail":
                add("audit", name, record.get("problems", {}).get(name, ""))
            well.add("audit")
        if record.get("ignored"):
            continue
        if record["state"] == "unreachable":
            add("unreachable", host, message)
        elif record["state"] == "failed":
            if cause := _cause(record):
                add(cause, host, message)
            else:
                general.append((host, message))
        elif record.get("changed") and job.check:
            add("drift", host, f"The reset would change it at: {record.get('task', '')}.")
    explained = {host for _, host in found}
    for host, message in general:
        if host not in explained:
            add(f"failed:{job.name}", host, message)
    causes = {cause for cause, _ in found}
    shown = [trouble for trouble in found.values() if not EXPLAINED_BY.get(trouble.cause, set()) & causes]
    for trouble in shown:
        well |= PROVEN.get(trouble.cause, set())
    return shown, well - causes


def _cause(record: Mapping[str, Any]) -> str:
    """Return why a task failed; empty if unknown."""
    if record.get("cause"):
        return "token" if record["cause"] == "refused" else str(record["cause"])
    plan = record.get("plan") or {}
    if plan.get("quota_left") is not None and plan.get("calls", 0) > plan["quota_left"]:
        return "quota"
    outcomes = {each.get("outcome") for each in record.get("not_loaded", ())}
    if outcomes:
        return "service" if outcomes <= {"failed", "pending"} else "data"
    return ""


def counted(run: Run, records: Sequence[Mapping[str, Any]]) -> Run:
    """Return a run with the totals of one more attempt."""
    totals = [record.get("totals") or {} for record in records]
    failed = [record for record in records if record["state"] != "ok" and not record.get("ignored")]
    return replace(
        run,
        hosts=len({record["host"] for record in records}),
        failed=len({record["host"] for record in failed}),
        changed=len({record["host"] for record in records if record.get("changed")}),
        calls=run.calls + sum(each.get("calls", 0) for each in totals),
        rows=run.rows + sum(each.get("inserted", 0) + each.get("updated", 0) for each in totals),
    )


# --- lasting problems ------------------------------------------------------------------------------------


def judge(
    lasting: list[Lasting], job: str, found: list[Trouble], well: set[str] | None, now: float, evidence: str
) -> list[Lasting]:
    """Return the problems after a run of ``job``, out of those before it and the troubles that it found.

    ``well`` are the causes that it rules out, None if it succeeded, which rules out all. ``evidence`` is its log.
    """
    result = []
    known = {problem.cause for problem in lasting if not problem.over}
    causes: dict[str, list[Trouble]] = {}
    for trouble in found:
        if trouble.cause in known or not EXPLAINED_BY.get(trouble.cause, set()) & known:
            causes.setdefault(trouble.cause, []).append(trouble)
    for problem in lasting:
        again = causes.pop(problem.cause, None)
        if again:
            hosts = dict.fromkeys([*problem.hosts, *(trouble.host for trouble in again)])
            jobs = dict.fromkeys([*problem.jobs, job])
            problem = replace(problem, hosts=tuple(hosts), jobs=tuple(jobs), over=0.0)
        elif not problem.over and (well is None or problem.cause in well):
            # Each job that found it must rule it out, because jobs may see it from different hosts.
            left = tuple(each for each in problem.jobs if each != job)
            problem = replace(problem, jobs=left, over=0.0 if left else now)
        if problem.told or not problem.over:
            result.append(problem)
    for cause, some in causes.items():
        hosts = dict.fromkeys(trouble.host for trouble in some)
        result.append(Lasting(cause, now, tuple(hosts), (job,), some[0].message, evidence))
    return result


def text(problem: Lasting, sender: str, node: str) -> str:
    """Return the message about a problem that began or ended; ``node`` is the machine with the evidence."""
    what = title(problem.cause)
    hosts = f"Hosts: {', '.join(problem.hosts)}" if problem.hosts else ""
    since = f"Since: {_moment(problem.since)}"
    if problem.over:
        lines = [f"✅ {sender}: over: {what}", f"{since}, until {_moment(problem.over)}", hosts]
    else:
        evidence = f"Evidence: {problem.evidence} on {node}"
        lines = [f"❌ {sender}: {what}", since, hosts, problem.message, evidence]
    return "\n".join(line for line in lines if line)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
